//! Certificates, lists and anchors that change under running processes (DESIGN §5).

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use mandate::cli::certificate::issue;
use mandate::cli::client::Client;
use mandate::cli::dev_ca::{Validity, issue_crl, issue_server};
use mandate::cli::witness_init;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock, Identifier, Timestamp};
use mandate::grpc::v1;
use mandate::https::Line;
use mandate::identity::{ClientTls, ClientTlsConfig, SpiffeId};

use crate::harness::{Process, World, configure, free_port, reason, within};
use crate::key_uses::answer;
use crate::published::{publishing, reader};

type Deliveries = tonic::Streaming<v1::WatchRequestsResponse>;

/// The gateway looks at its files each second.
fn each_second(dir: &Path) {
    configure(dir, |gateway| drop(gateway.insert("reload_seconds".into(), 1.into())));
}

/// It practically never looks by itself.
fn when_told(dir: &Path) {
    configure(dir, |gateway| drop(gateway.insert("reload_seconds".into(), 3600.into())));
}

async fn watch(client: &Client) -> Deliveries {
    let call = v1::WatchRequestsRequest::default();
    client.requests().watch_requests(call).await.expect("the stream opens").into_inner()
}

/// Waits for the stream's end; a token's end would be too late.
async fn ends(stream: &mut Deliveries) {
    let end = async { while let Ok(Some(_)) = stream.message().await {} };
    within(15, "the end of the stream", end).await;
}

async fn lives(stream: &mut Deliveries) {
    let item = tokio::time::timeout(Duration::from_millis(500), stream.message()).await;
    assert!(item.is_err(), "the stream ended, or said something nobody sent");
}

async fn lists(client: &Client) -> Result<(), tonic::Status> {
    client.requests().list_requests(v1::ListRequestsRequest::default()).await.map(drop)
}

/// Whether a call, on whatever connection there is then, gets through.
async fn gets_in(world: &World, name: &str) -> bool {
    match Client::open(world.profile(name)).await {
        Ok(client) => lists(&client).await.is_ok(),
        Err(_) => false,
    }
}

fn certificate(arguments: &[&str]) {
    let done = Command::new(env!("CARGO_BIN_EXE_mandate")).arg("certificate").args(arguments).output();
    let done = done.expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn revoke(world: &World, file: &str) {
    let (dir, file) = (world.path().display().to_string(), world.path().join(file).display().to_string());
    certificate(&["revoke", "--dir", &dir, &file]);
}

fn log(world: &World) -> String {
    world.gateway.as_ref().expect("it runs").logged()
}

async fn logged(world: &World, times: usize, text: &str) {
    let find = async {
        while log(world).matches(text).count() < times {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(20, text, find).await;
}

/// Puts a new certificate of the same name in the place of a principal's own.
fn replace_certificate(world: &World, name: &str, spiffe_id: &str, seconds: i64) {
    let now = SystemClock.now_seconds();
    let at = |second| Timestamp::from_second(second).expect("an instant");
    let validity = Validity { not_before: at(now - 3600), not_after: at(now + seconds) };
    let (own, out) = (world.path().join(format!("keys/{name}")), tempfile::tempdir().expect("a folder"));
    let spiffe_id: SpiffeId = spiffe_id.parse().expect("a name");
    issue(world.path(), &spiffe_id, out.path(), validity, &SystemEntropy).expect("issued");
    for file in ["tls.key", "tls.pem"] {
        std::fs::copy(out.path().join(file), own.join(file)).expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_taken_back_ends_its_streams_and_nobody_elses() {
    let world = World::without_agent(each_second).await;
    let (xingyu, leting) = (world.client("xingyu").await, world.client("leting").await);
    let (mut taken, mut kept) = (watch(&xingyu).await, watch(&leting).await);
    lives(&mut taken).await;
    revoke(&world, "keys/xingyu/tls.pem");
    ends(&mut taken).await;
    let entry = "connection closed: the certificate is on its issuer's revocation list";
    logged(&world, 1, entry).await;
    assert!(log(&world).contains("CERTIFICATE_REVOKED") && !log(&world).contains("spiffe:"));
    assert!(lists(&xingyu).await.is_err(), "the old connection still answers, or a new one was let in");
    assert!(!gets_in(&world, "xingyu").await, "it came back");
    lives(&mut kept).await;
    lists(&leting).await.expect("on the same connection");
    assert_eq!(log(&world).matches("connection closed").count(), 1);

    // With its next certificate the same client gets in, without a new start on either side.
    let uri = xingyu.profile.spiffe_id.clone();
    replace_certificate(&world, "xingyu", &uri, 3600);
    let again = async {
        while lists(&xingyu).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    within(20, "the client's own reload", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_lived_certificate_ends_its_connection_by_itself() {
    let world = World::without_agent(when_told).await;
    let uri = world.profile("xingyu").spiffe_id;
    replace_certificate(&world, "xingyu", &uri, 8);
    let (xingyu, leting) = (world.client("xingyu").await, world.client("leting").await);
    let (mut short, mut long) = (watch(&xingyu).await, watch(&leting).await);
    lives(&mut short).await;
    ends(&mut short).await;
    logged(&world, 1, "connection closed: the certificate is past its end").await;
    lives(&mut long).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hangup_puts_the_next_set_in_force_and_a_broken_one_never() {
    let world = World::without_agent(when_told).await;
    let dir = world.path().to_owned();
    let leting = world.client("leting").await;
    let mut kept = watch(&leting).await;
    let hang_up = || world.gateway.as_ref().expect("it runs").hang_up();

    // Broken: the list of one authority, then the configuration. Everybody still gets in.
    let list = dir.join("ca/xingyu.crl");
    let good = std::fs::read(&list).expect("the list");
    std::fs::write(&list, "no list").expect("written");
    hang_up();
    logged(&world, 1, "MATERIAL_INVALID").await;
    let config = std::fs::read(dir.join("gateway.toml")).expect("the configuration");
    std::fs::write(&list, good).expect("written");
    std::fs::write(dir.join("gateway.toml"), "gateway = ").expect("written");
    hang_up();
    logged(&world, 2, "MATERIAL_INVALID").await;
    std::fs::write(dir.join("gateway.toml"), config).expect("written");
    assert!(gets_in(&world, "xingyu").await && gets_in(&world, "leting").await);

    // Another certificate of the gateway's, by another authority: who trusts that one gets in now.
    let validity = Validity::days(SystemClock.now(), 30);
    let next = mandate::cli::dev_ca::issue_ca("next ca", validity, &SystemEntropy).expect("an authority");
    let name = world.profile("leting").server_name;
    let server = issue_server(&next, &[&name], validity, &SystemEntropy).expect("issued");
    std::fs::write(dir.join("keys/gateway/tls.key"), server.key_pem).expect("written");
    std::fs::write(dir.join("keys/gateway/tls.pem"), server.certificate_pem).expect("written");
    std::fs::write(dir.join("ca/next.pem"), &next.certificate_pem).expect("written");
    hang_up();
    logged(&world, 1, "were loaded anew").await;
    assert!(!gets_in(&world, "leting").await, "the old certificate is still served");
    let mut profile = world.profile("leting");
    profile.ca = dir.join("ca/next.pem");
    let renewed = Client::open(profile).await.expect("the new certificate is served");
    lists(&renewed).await.expect("a call");
    lives(&mut kept).await;

    // Revoked, and told at once.
    revoke(&world, "keys/leting/tls.pem");
    lives(&mut kept).await;
    hang_up();
    ends(&mut kept).await;
    assert!(lists(&renewed).await.is_err());
}

/// What the operator is told who would register the key of a certificate for somebody.
async fn registered(operator: &Client, certificate: &str) -> String {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).expect("PEM");
    let certificate = pem.parse_x509().expect("a certificate");
    let call = v1::CreateAccessKeyRequest {
        principal: "support/s-9".into(),
        key: mandate::identity::tls_key::canonical_jwk(certificate.public_key()).expect("a key"),
        request_id: String::new(),
        tls_keys: Vec::new(),
    };
    answer(operator.registry().create_access_key(call).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_certificates_and_anchors_read_anew_are_the_gateways_own_and_so_are_those_before() {
    let world = World::without_agent(when_told).await;
    let dir = world.path().to_owned();
    let operator = world.client("operator").await;
    let hang_up = || world.gateway.as_ref().expect("it runs").hang_up();
    let validity = Validity::days(SystemClock.now(), 30);
    let authority =
        |name| mandate::cli::dev_ca::issue_ca(name, validity, &SystemEntropy).expect("an authority");
    let (next, anchor) = (authority("next ca"), authority("next anchor"));
    let name = world.profile("operator").server_name;
    let server = || issue_server(&next, &[&name], validity, &SystemEntropy).expect("issued");
    let (never, renewed) = (server(), server());
    let list = issue_crl(&anchor, &[], 1, validity.not_before, validity.not_after).expect("a list");
    let before = std::fs::read_to_string(dir.join("keys/gateway/tls.pem")).expect("its file");
    const USED: &str = "KEY_ALREADY_USED";

    // A certificate without its key is never in force, and its key is anybody's.
    std::fs::write(dir.join("keys/gateway/tls.pem"), &never.certificate_pem).expect("written");
    hang_up();
    logged(&world, 1, "MATERIAL_INVALID").await;
    assert_eq!(registered(&operator, &never.certificate_pem).await, "taken");

    std::fs::write(dir.join("keys/gateway/tls.key"), &renewed.key_pem).expect("written");
    std::fs::write(dir.join("keys/gateway/tls.pem"), &renewed.certificate_pem).expect("written");
    std::fs::write(dir.join("ca/anchor.pem"), &anchor.certificate_pem).expect("written");
    std::fs::write(dir.join("ca/anchor.crl"), list).expect("written");
    configure(&dir, |gateway| {
        let anchors = gateway["anchor"].as_array_mut().expect("anchors");
        let mut another = anchors[0].clone();
        another["certificate"] = "ca/anchor.pem".into();
        another["crl"] = "ca/anchor.crl".into();
        anchors.push(another);
    });
    hang_up();
    logged(&world, 1, "were loaded anew").await;
    assert_eq!(registered(&operator, &renewed.certificate_pem).await, USED, "its certificate");
    assert_eq!(registered(&operator, &anchor.certificate_pem).await, USED, "an anchor");
    assert_eq!(registered(&operator, &before).await, USED, "its certificate before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_and_a_first_key_may_be_added_and_an_anchor_taken_out() {
    let world = World::without_agent(each_second).await;
    let dir = world.path().to_owned();
    let (xingyu, leting) = (world.client("xingyu").await, world.client("leting").await);
    let (mut taken, mut kept) = (watch(&xingyu).await, watch(&leting).await);
    let mut anchor = None;
    configure(&dir, |gateway| {
        let anchors = gateway["anchor"].as_array_mut().expect("anchors");
        let at = anchors.iter().position(|anchor| anchor["certificate"].as_str() == Some("ca/xingyu.pem"));
        anchor = Some(anchors.remove(at.expect("xingyu's")));
    });
    ends(&mut taken).await;
    assert!(!gets_in(&world, "xingyu").await);
    lives(&mut kept).await;

    let registered = "access key of the configuration registered";
    let before = log(&world).matches(registered).count();
    // Back again, with a second operator that the configuration introduces.
    let key = mandate::token::PrivateKey::generate(mandate::token::KeyKind::Ed25519, &SystemEntropy);
    let key = key.expect("a key");
    std::fs::write(dir.join("second.jwk"), key.public().canonical()).expect("written");
    std::fs::write(dir.join("keys/operator/access.jwk"), key.to_jwk()).expect("written");
    configure(&dir, |gateway| {
        gateway["anchor"].as_array_mut().expect("anchors").extend(anchor);
        let keys = gateway["bootstrap_access_key"].as_array_mut().expect("keys");
        let mut second = keys[0].clone();
        second["jwk_file"] = "second.jwk".into();
        keys.push(second);
    });
    logged(&world, before + 1, registered).await;
    assert!(gets_in(&world, "xingyu").await);
    let operator = world.client("operator").await;
    let refusal = lists(&operator).await.expect_err("an operator lists no cases");
    assert_eq!(reason(&refusal), "KIND_NOT_ALLOWED", "the new key proves who calls");
    lives(&mut kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_on_under_its_renewed_certificate() {
    let mut world = World::without_agent(each_second).await;
    world.agent = Some(Process::agent(world.path()));
    let xingyu = world.enterprise("xingyu").await;
    let preview = async |user: &str| {
        let subject = vec![Identifier::user(&xingyu.app, user)];
        let order = xingyu.order(Act::Preview, subject, None).expect("an order");
        let wire = xingyu.sign(&order).expect("signs").to_wire();
        let instruction = xingyu.submit(&wire).await.expect("admitted").instruction.expect("given");
        let ended = within(60, "the preview", xingyu.follow(&instruction.executions[0])).await;
        assert_eq!(ended.expect("it ends").state(), v1::ExecutionState::Completed);
    };
    preview("u_8839201").await;
    let old = world.path().join("old.pem");
    std::fs::copy(world.path().join("keys/rtc-agent/tls.pem"), &old).expect("copied");
    let uri = std::fs::read_to_string(world.path().join("agent.toml")).expect("read");
    let uri = uri.lines().find_map(|line| line.strip_prefix("spiffe_id = ")).expect("its name");
    replace_certificate(&world, "rtc-agent", uri.trim_matches('"'), 3600);
    revoke(&world, "old.pem");
    logged(&world, 1, "connection closed").await;
    preview("u_8839201").await;
    assert!(world.agent.as_ref().expect("it runs").logged().contains("the own certificate was loaded anew"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_logs_and_a_witness_reload_too() {
    let world = World::without_agent(|dir| {
        each_second(dir);
        publishing(dir);
    })
    .await;
    let dir = world.path().join("w1");
    let init = witness_init::Init {
        dir: dir.clone(),
        id: "w1".into(),
        key_name: None,
        listen: format!("127.0.0.1:{}", free_port()),
        host: "127.0.0.1".into(),
        trust_domain: "ppio.example".into(),
        pins: world.path().join("pins.toml"),
        gateway_ca: world.path().join("ca/ppio.pem"),
        gateway_crl: world.path().join("ca/ppio.crl"),
    };
    let made = witness_init::make(&init, SystemClock.now(), &SystemEntropy).expect("the witness is made");
    let text = std::fs::read_to_string(dir.join("witness.toml")).expect("its configuration");
    let text = text.replace("reload_seconds = 10", "reload_seconds = 1");
    std::fs::write(dir.join("witness.toml"), text).expect("written");
    let witness = Process::witness(&dir);
    let calling = |file: &str| world.path().join(format!("keys/gateway/calling.{file}"));
    let files = ClientTlsConfig {
        ca: dir.join("ca.pem"),
        certificate: calling("pem"),
        key: calling("key"),
        server_name: None,
    };
    let tls = ClientTls::load(&files, Arc::new(SystemClock)).expect("it loads");
    let line = Line::new(tls, &made.url, Duration::from_secs(10)).expect("a URL");
    let asks = async || line.call(Method::POST, "add-checkpoint", "x", 1024).await.is_ok();
    let (auditor, operator) = (reader(&world, "auditor"), reader(&world, "operator"));
    let reads = async |line: &Line| line.call(Method::GET, "trail/checkpoint", "", 4096).await.is_ok();
    assert!(asks().await && reads(&auditor).await && reads(&operator).await);

    revoke(&world, "keys/auditor/tls.pem");
    revoke(&world, "keys/gateway/calling.pem");
    std::fs::copy(&init.gateway_crl, dir.join("gateway-ca.crl")).expect("copied");
    let cut = "connection closed: the certificate is on its issuer's revocation list";
    logged(&world, 1, cut).await;
    let told = async {
        while !witness.logged().contains(cut) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(20, "the witness", told).await;
    assert!(!asks().await && !reads(&auditor).await, "a certificate that was taken back got in again");
    assert!(reads(&operator).await);
}
