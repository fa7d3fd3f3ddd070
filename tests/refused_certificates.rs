//! Whose certificate does not let him in, at a running gateway (DESIGN §5, decision 0007).
//!
//! Each caller here holds a genuine access token bound to the certificate it shows, so that the
//! certificate alone stands in the way. What is wrong with a chain ends the handshake: the client
//! is told nothing, and the gateway's log names the reason. What is wrong with a name is answered with
//! the reason, and stands in the log too. The log never repeats anything of the certificate.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mandate::cli::dev_ca::{Ca, Issued, Validity, issue_ca, issue_client, issue_crl, issue_server, load_ca};
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Clock, Timestamp};
use mandate::grpc::v1;
use mandate::token::access::Confirmation;
use mandate::token::{AccessClaims, Digest, PrivateKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Process, World, reason, within};

const XINGYU: &str = "spiffe://ppio.example/controller/xingyu/backend";
const DAY: i64 = 86_400;

fn at(seconds_from_now: i64) -> Timestamp {
    Timestamp::from_second(SystemClock.now_seconds() + seconds_from_now).expect("an instant")
}

fn month() -> Validity {
    Validity::days(SystemClock.now(), 30)
}

fn authority(dir: &Path, name: &str) -> Ca {
    let read = |end| std::fs::read_to_string(dir.join(format!("ca/{name}.{end}"))).expect("the authority");
    load_ca(&read("pem"), &read("key")).expect("the authority loads")
}

fn client_of(ca: &Ca, uris: &[&str]) -> Issued {
    issue_client(ca, uris, month(), &SystemEntropy).expect("issued")
}

/// What `mandate init` gave a principal.
fn shown_by(dir: &Path, name: &str) -> Issued {
    let read = |file| std::fs::read_to_string(dir.join(format!("keys/{name}/{file}"))).expect("its file");
    Issued { certificate_pem: read("tls.pem"), key_pem: read("tls.key"), serial: Vec::new() }
}

fn leaf(shown: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(shown.certificate_pem.as_bytes()).expect("a certificate")
}

/// A client that judges nothing of what it shows.
fn tls(world: &World, shown: Option<&Issued>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(world.path().join("ca/server.pem")).expect("PEM"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(issued) => builder
            .with_client_auth_cert(
                vec![leaf(issued)],
                PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("a key"),
            )
            .expect("key and certificate fit"),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn connect(world: &World, shown: Option<&Issued>) -> Option<Channel> {
    let (config, profile) = (tls(world, shown), world.profile("xingyu"));
    let endpoint = Endpoint::from_shared(format!("https://{}", profile.gateway)).expect("an address");
    let connector = tower::service_fn(move |_| {
        let (config, profile) = (config.clone(), profile.clone());
        async move {
            let socket = TcpStream::connect(&profile.gateway).await?;
            let name = ServerName::try_from(profile.server_name).expect("a name");
            TlsConnector::from(config).connect(name, socket).await.map(TokioIo::new)
        }
    });
    endpoint.connect_with_connector(connector).await.ok()
}

/// A token of `name`'s own access key, in the name the certificate bears, bound to the certificate.
fn token(world: &World, name: &str, uri: &str, shown: Option<&Issued>) -> String {
    let profile = world.profile(name);
    let key =
        PrivateKey::from_jwk(&std::fs::read(&profile.access_key).expect("the key")).expect("an access key");
    let certificate = shown.map_or(Digest::from_bytes([0; 32]), |shown| Digest::of(leaf(shown)));
    let now = SystemClock.now_seconds();
    let claims = AccessClaims {
        iss: profile.principal.clone(),
        sub: uri.to_owned(),
        aud: profile.audience.clone(),
        iat: now,
        exp: now + 120,
        jti: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
        scope: profile.scopes.join(" "),
        cnf: Confirmation { certificate },
    };
    claims.mint(&key).expect("signs")
}

/// How a controller's call ends: `OK`, a reason, or `CUT OFF` where no answer came at all.
async fn call(world: &World, name: &str, uri: &str, shown: Option<&Issued>) -> String {
    let attempt = async {
        let Some(channel) = connect(world, shown).await else { return "CUT OFF".to_owned() };
        let mut requests = v1::request_service_client::RequestServiceClient::new(channel.clone());
        let mut request = tonic::Request::new(v1::ListRequestsRequest::default());
        let bearer = format!("Bearer {}", token(world, name, uri, shown));
        request.metadata_mut().insert("authorization", bearer.parse().expect("a header"));
        let answer = requests.list_requests(request).await.map(drop);
        // Health asks for no token; it asks for a certificate that names somebody.
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        let healthy = health.check(tonic_health::pb::HealthCheckRequest::default()).await.map(drop);
        let told = [answer, healthy].map(|answer| match answer {
            Ok(()) => "OK".to_owned(),
            Err(status) if status.code() == tonic::Code::Unauthenticated => reason(&status),
            // The connection was closed: no message of the gateway's came.
            Err(_) => "CUT OFF".to_owned(),
        });
        let [answer, healthy] = told;
        assert_eq!(answer, healthy, "with and without a token");
        answer
    };
    within(20, "a call", attempt).await
}

fn log(world: &World) -> String {
    std::fs::read_to_string(world.path().join("gateway.log")).expect("the log")
}

/// Waits until the log says more than it said, and the reason in it.
async fn logged_after(world: &World, before: usize, code: &str) -> String {
    let find = async {
        loop {
            let new = log(world)[before..].to_owned();
            if new.contains(code) {
                return new;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), find)
        .await
        .unwrap_or_else(|_| panic!("{code} is not in the log: {}", &log(world)[before..]))
}

async fn turned_away(world: &World, who: &str, uri: &str, shown: Option<&Issued>, told: &str, code: &str) {
    let before = log(world).len();
    assert_eq!(call(world, "xingyu", uri, shown).await, told, "{who}");
    let new = logged_after(world, before, code).await;
    assert!(!new.contains("spiffe:") && !new.contains("xingyu"), "{who}: the log repeats the certificate");
    let reasons: Vec<_> = new.lines().filter(|line| line.contains("\"reason\"")).collect();
    assert!(
        !reasons.is_empty() && reasons.iter().all(|line| line.contains(code)),
        "{who}: other reasons too: {new}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_chain_is_cut_off_and_the_log_says_why() {
    let world = World::without_agent(|dir| {
        // A list that is past its next update, and one that another authority signed.
        let stale = issue_crl(&authority(dir, "yunting"), &[], 2, at(-2 * DAY), at(-1)).expect("a list");
        std::fs::write(dir.join("ca/yunting.crl"), stale).expect("written");
        std::fs::copy(dir.join("ca/leting.crl"), dir.join("ca/xiaolu.crl")).expect("copied");
    })
    .await;
    let own = authority(world.path(), "xingyu");
    let good = client_of(&own, &[XINGYU]);
    assert_eq!(call(&world, "xingyu", XINGYU, Some(&good)).await, "OK", "nothing else stands in the way");

    let of = |validity| issue_client(&own, &[XINGYU], validity, &SystemEntropy).expect("issued");
    let expired = of(Validity { not_before: at(-2 * DAY), not_after: at(-1) });
    let early = of(Validity { not_before: at(DAY), not_after: at(2 * DAY) });
    let namesake = issue_ca("xingyu ca", month(), &SystemEntropy).expect("an authority");
    let strange = client_of(&namesake, &[XINGYU]);
    let server = issue_server(&own, &["localhost"], month(), &SystemEntropy).expect("issued");
    let itself =
        Issued { certificate_pem: own.certificate_pem.clone(), key_pem: own.key_pem.clone(), serial: vec![] };
    let servers_ca = client_of(&authority(world.path(), "server"), &[XINGYU]);
    let cases = [
        ("no certificate", None, "CERTIFICATE_REQUIRED"),
        ("expired", Some(&expired), "CERTIFICATE_EXPIRED"),
        ("not yet valid", Some(&early), "CERTIFICATE_NOT_YET_VALID"),
        ("a strange authority of the same name", Some(&strange), "CERTIFICATE_UNTRUSTED"),
        ("the authority of the gateway's own certificate", Some(&servers_ca), "CERTIFICATE_UNTRUSTED"),
        ("a server's certificate", Some(&server), "CERTIFICATE_UNUSABLE"),
        ("the authority itself", Some(&itself), "CERTIFICATE_UNUSABLE"),
    ];
    for (who, shown, code) in cases {
        turned_away(&world, who, XINGYU, shown, "CUT OFF", code).await;
    }

    for name in ["yunting", "xiaolu"] {
        let uri = world.profile(name).spiffe_id;
        let shown = shown_by(world.path(), name);
        turned_away(&world, name, &uri, Some(&shown), "CUT OFF", "REVOCATION_LIST_STALE").await;
    }
    let leting = world.profile("leting").spiffe_id;
    let shown = shown_by(world.path(), "leting");
    assert_eq!(
        call(&world, "leting", &leting, Some(&shown)).await,
        "OK",
        "a stale list stops its own anchor"
    );
    assert_eq!(call(&world, "xingyu", XINGYU, Some(&good)).await, "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_name_is_answered_with_its_reason() {
    let world = World::without_agent(|_| {}).await;
    let (own, staff) = (authority(world.path(), "xingyu"), authority(world.path(), "ppio"));
    let operator = "spiffe://ppio.example/operator/o-1/cli";
    let leting = "spiffe://ppio.example/controller/leting/backend";
    let cases: [(&str, &Ca, &[&str], &str); 9] = [
        ("no name", &own, &[], "SPIFFE_ID_MISSING"),
        ("twice the same", &own, &[XINGYU, XINGYU], "SPIFFE_ID_AMBIGUOUS"),
        (
            "two of its own",
            &own,
            &[XINGYU, "spiffe://ppio.example/controller/xingyu/second"],
            "SPIFFE_ID_AMBIGUOUS",
        ),
        ("an operator's beside its own", &own, &[XINGYU, operator], "SPIFFE_ID_AMBIGUOUS"),
        (
            "another trust domain",
            &own,
            &["spiffe://other.example/controller/xingyu/backend"],
            "SPIFFE_ID_MALFORMED",
        ),
        ("an unknown kind", &own, &["spiffe://ppio.example/root/xingyu/backend"], "SPIFFE_ID_MALFORMED"),
        ("an enterprise names an operator", &own, &[operator], "ANCHOR_NOT_ENTITLED"),
        ("an enterprise names another", &own, &[leting], "ANCHOR_NOT_ENTITLED"),
        ("PPIO's own authority names an enterprise", &staff, &[XINGYU], "ANCHOR_NOT_ENTITLED"),
    ];
    for (who, ca, uris, code) in cases {
        let shown = client_of(ca, uris);
        let uri = uris.last().copied().unwrap_or(XINGYU);
        turned_away(&world, who, uri, Some(&shown), code, code).await;
    }
    let good = client_of(&own, &[XINGYU]);
    assert_eq!(call(&world, "xingyu", XINGYU, Some(&good)).await, "OK", "nothing else stands in the way");
}

/// `mandate certificate …`: what it printed.
fn certificate(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_mandate")).arg("certificate").args(arguments).output();
    let done = done.expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_revokes_a_certificate_and_issues_the_next() {
    let mut world = World::without_agent(|_| {}).await;
    let dir = world.path().to_owned();
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let stolen = shown_by(&dir, "xingyu");
    assert_eq!(call(&world, "xingyu", XINGYU, Some(&stolen)).await, "OK");
    world.gateway.take().expect("it runs").stop();

    let printed = certificate(&["revoke", "--dir", &text(&dir), &text(&dir.join("keys/xingyu/tls.pem"))]);
    assert!(printed.contains("1 taken back"), "{printed}");
    let out = dir.join("keys/xingyu/second");
    certificate(&["issue", "--dir", &text(&dir), XINGYU, "--out", &text(&out)]);
    world.gateway = Some(Process::serve(&dir));

    turned_away(&world, "revoked", XINGYU, Some(&stolen), "CUT OFF", "CERTIFICATE_REVOKED").await;
    let next = shown_by(&dir, "xingyu/second");
    assert_eq!(call(&world, "xingyu", XINGYU, Some(&next)).await, "OK");
    let (uri, shown) = (world.profile("leting").spiffe_id, shown_by(&dir, "leting"));
    assert_eq!(call(&world, "leting", &uri, Some(&shown)).await, "OK");

    // The next list still names it.
    world.gateway.take().expect("it runs").stop();
    certificate(&["renew-lists", "--dir", &text(&dir)]);
    world.gateway = Some(Process::serve(&dir));
    turned_away(&world, "revoked before", XINGYU, Some(&stolen), "CUT OFF", "CERTIFICATE_REVOKED").await;
}
