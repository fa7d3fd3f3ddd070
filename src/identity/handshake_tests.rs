//! Knocking at the door over real TLS, the right way and every wrong one.

use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription as Alert;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

use super::staging::{DAY, Door, Heard, NOW, Outcome, TRUST_DOMAIN, World, at, days};
use super::{Anchors, ClientTls, ClientTlsConfig, ConnectedPeer, PeerIdentity, SetupError, serve};
use crate::cli::dev_ca::{Issued, Validity, issue_ca, issue_client, issue_crl, issue_server};
use crate::domain::clock::SystemEntropy;
use crate::domain::{Kind, Reason};

const XINGYU: &str = "spiffe://ppio.example/controller/xingyu/backend";

async fn refused(world: &World, shown: Option<&Issued>, alert: Alert, reason: Reason) {
    let door = Door::open(world).await;
    assert_eq!(door.knock(world.client(shown)).await, Outcome::Alert(alert));
    assert_eq!(door.heard.reasons(), [reason]);
}

#[tokio::test]
async fn a_registered_controller_gets_in_under_its_own_name() {
    let world = World::new();
    let mut door = Door::open(&world).await;
    let shown = world.xingyu_backend();
    let peer = door.identity(world.client(Some(&shown))).await.unwrap();
    assert_eq!(peer.spiffe.to_string(), XINGYU);
    assert_eq!(peer.spiffe.principal().controller().unwrap().as_str(), "xingyu");
    assert_eq!(peer.serial, hex::encode(&shown.serial));
    assert_eq!(peer.not_after, at(NOW + 30 * DAY));
    assert!(door.heard.reasons().is_empty());
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in() {
    refused(&World::new(), None, Alert::CertificateRequired, Reason::CertificateRequired).await;
}

#[tokio::test]
async fn a_strange_authority_is_refused_even_under_the_name_of_a_registered_one() {
    let world = World::new();
    for name in ["strange ca", "xingyu ca"] {
        let strange = issue_ca(name, days(100), &SystemEntropy).unwrap();
        let shown = issue_client(&strange, &[XINGYU], days(30), &SystemEntropy).unwrap();
        refused(&world, Some(&shown), Alert::UnknownCA, Reason::CertificateUntrusted).await;
    }
}

#[tokio::test]
async fn a_certificate_outside_its_time_is_refused() {
    let world = World::new();
    let past = Validity { not_before: at(NOW - 10 * DAY), not_after: at(NOW - 1) };
    let shown = issue_client(&world.xingyu, &[XINGYU], past, &SystemEntropy).unwrap();
    refused(&world, Some(&shown), Alert::CertificateExpired, Reason::CertificateExpired).await;
    let future = Validity { not_before: at(NOW + 60), not_after: at(NOW + DAY) };
    let shown = issue_client(&world.xingyu, &[XINGYU], future, &SystemEntropy).unwrap();
    refused(&world, Some(&shown), Alert::CertificateExpired, Reason::CertificateNotYetValid).await;
}

#[tokio::test]
async fn an_anchor_past_its_own_end_vouches_for_nobody() {
    let mut world = World::new();
    let short = Validity { not_before: at(NOW - 10 * DAY), not_after: at(NOW - 1) };
    world.xingyu = issue_ca("xingyu ca", short, &SystemEntropy).unwrap();
    world.write("xingyu-ca.pem", &world.xingyu.certificate_pem);
    world.revoke(&world.xingyu, "xingyu.crl", &[]);
    let shown = world.xingyu_backend();
    refused(&world, Some(&shown), Alert::CertificateExpired, Reason::CertificateExpired).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_its_neighbour_is_not() {
    let world = World::new();
    let (stolen, kept) = (world.xingyu_backend(), world.xingyu_backend());
    world.revoke(&world.xingyu, "xingyu.crl", &[&stolen.serial]);
    refused(&world, Some(&stolen), Alert::CertificateRevoked, Reason::CertificateRevoked).await;
    let mut door = Door::open(&world).await;
    assert!(door.identity(world.client(Some(&kept))).await.is_ok());
}

#[tokio::test]
async fn a_stale_revocation_list_stops_its_own_anchor_alone() {
    let world = World::new();
    let list = issue_crl(&world.xingyu, &[], 1, at(NOW - 2 * DAY), at(NOW - 1)).unwrap();
    world.write("xingyu.crl", &list);
    let shown = world.xingyu_backend();
    refused(&world, Some(&shown), Alert::UnknownCA, Reason::RevocationListStale).await;
    let uri = "spiffe://ppio.example/operator/lin/desk";
    let operator = issue_client(&world.staff, &[uri], days(30), &SystemEntropy).unwrap();
    let mut door = Door::open(&world).await;
    assert!(door.identity(world.client(Some(&operator))).await.is_ok());
}

#[tokio::test]
async fn a_revocation_list_of_another_issuer_counts_as_none() {
    let world = World::new();
    let namesake = issue_ca("xingyu ca", days(100), &SystemEntropy).unwrap();
    for other in [&world.staff, &namesake] {
        world.revoke(other, "xingyu.crl", &[]);
        let shown = world.xingyu_backend();
        refused(&world, Some(&shown), Alert::UnknownCA, Reason::RevocationListStale).await;
    }
}

#[tokio::test]
async fn a_certificate_made_for_something_else_is_no_client_certificate() {
    let world = World::new();
    let server = issue_server(&world.xingyu, &["localhost"], days(30), &SystemEntropy).unwrap();
    refused(&world, Some(&server), Alert::UnsupportedCertificate, Reason::CertificateUnusable).await;
    let authority = Issued {
        certificate_pem: world.xingyu.certificate_pem.clone(),
        key_pem: world.xingyu.key_pem.clone(),
        serial: vec![],
    };
    refused(&world, Some(&authority), Alert::UnsupportedCertificate, Reason::CertificateUnusable).await;
}

/// A client certificate two steps below the anchor; `reach` is the anchor's room below it.
fn below_an_intermediate(
    world: &mut World,
    reach: rcgen::BasicConstraints,
    revoked: bool,
    list: bool,
) -> Issued {
    use rcgen::{
        CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    };
    let time = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let params = |name: &str, serial: u64| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = time(NOW - DAY);
        params.not_after = time(NOW + DAY);
        params
    };
    let authority = |name: &str, serial, reach| {
        let mut params = params(name, serial);
        params.is_ca = IsCa::Ca(reach);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    };
    let list_of = |issuer: &Issuer<'_, KeyPair>, serials: &[u64]| {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: time(NOW - 60),
            reason_code: None,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: time(NOW - 60),
            next_update: time(NOW + DAY),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(issuer)
        .unwrap()
        .pem()
        .unwrap()
    };
    let root_params = authority("root", 7, reach);
    let root_key = KeyPair::generate().unwrap();
    let root_pem = root_params.self_signed(&root_key).unwrap().pem();
    let root = Issuer::new(root_params, root_key);
    let middle_params = authority("middle", 8, rcgen::BasicConstraints::Constrained(0));
    let middle_key = KeyPair::generate().unwrap();
    let middle_pem = middle_params.signed_by(&middle_key, &root).unwrap().pem();
    let middle = Issuer::new(middle_params, middle_key);
    let mut leaf = params("leaf", 9);
    leaf.subject_alt_names = vec![SanType::URI(XINGYU.try_into().unwrap())];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf_key = KeyPair::generate().unwrap();
    let leaf_pem = leaf.signed_by(&leaf_key, &middle).unwrap().pem();
    let mut lists = list_of(&root, if revoked { &[8] } else { &[] });
    if list {
        lists.push_str(&list_of(&middle, &[]));
    }
    world.write("xingyu-ca.pem", &root_pem);
    world.write("xingyu.crl", &lists);
    Issued {
        certificate_pem: format!("{leaf_pem}{middle_pem}"),
        key_pem: leaf_key.serialize_pem(),
        serial: vec![9],
    }
}

#[tokio::test]
async fn an_intermediate_is_held_to_its_anchors_list_and_reach() {
    use rcgen::BasicConstraints::{Constrained, Unconstrained};
    let mut world = World::new();
    let shown = below_an_intermediate(&mut world, Unconstrained, false, true);
    let mut door = Door::open(&world).await;
    assert_eq!(door.identity(world.client(Some(&shown))).await.unwrap().spiffe.to_string(), XINGYU);
    let shown = below_an_intermediate(&mut world, Unconstrained, true, true);
    refused(&world, Some(&shown), Alert::CertificateRevoked, Reason::CertificateRevoked).await;
    let shown = below_an_intermediate(&mut world, Unconstrained, false, false);
    refused(&world, Some(&shown), Alert::UnknownCA, Reason::RevocationListStale).await;
    let shown = below_an_intermediate(&mut world, Constrained(0), false, true);
    refused(&world, Some(&shown), Alert::UnsupportedCertificate, Reason::CertificateUnusable).await;
}

#[tokio::test]
async fn a_client_certificate_has_the_uses_of_the_profile() {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
    let world = World::new();
    let key = KeyPair::from_pem(&world.xingyu.key_pem).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&world.xingyu.certificate_pem, key).unwrap();
    let made = |uses: &[KeyUsagePurpose], purposes: &[ExtendedKeyUsagePurpose]| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(XINGYU.try_into().unwrap())];
        params.key_usages = uses.to_vec();
        params.extended_key_usages = purposes.to_vec();
        let key = KeyPair::generate().unwrap();
        let certificate_pem = params.signed_by(&key, &issuer).unwrap().pem();
        Issued { certificate_pem, key_pem: key.serialize_pem(), serial: vec![] }
    };
    let client = [ExtendedKeyUsagePurpose::ClientAuth];
    for shown in [
        made(&[KeyUsagePurpose::DigitalSignature], &[]),
        made(&[KeyUsagePurpose::DigitalSignature], &[ExtendedKeyUsagePurpose::Any]),
        made(&[KeyUsagePurpose::KeyAgreement], &client),
    ] {
        refused(&world, Some(&shown), Alert::UnsupportedCertificate, Reason::CertificateUnusable).await;
    }
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let mut door = Door::open(&world).await;
    let shown = made(&[KeyUsagePurpose::DigitalSignature], &both);
    assert!(door.identity(world.client(Some(&shown))).await.is_ok());
}

async fn named(world: &World, uris: &[&str]) -> PeerIdentity {
    let shown = issue_client(&world.xingyu, uris, days(30), &SystemEntropy).unwrap();
    let mut door = Door::open(world).await;
    let peer = door.identity(world.client(Some(&shown))).await;
    let heard: Vec<Reason> = peer.as_ref().err().map(|refusal| refusal.reason).into_iter().collect();
    assert_eq!(door.heard.reasons(), heard, "the operator hears what the caller is told");
    peer
}

#[tokio::test]
async fn exactly_one_uri_is_a_name() {
    let world = World::new();
    assert_eq!(named(&world, &[]).await.unwrap_err().reason, Reason::SpiffeIdMissing);
    for second in [XINGYU, "spiffe://ppio.example/controller/xingyu/other", "https://xingyu.example/"] {
        let refusal = named(&world, &[XINGYU, second]).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::SpiffeIdAmbiguous);
    }
}

#[tokio::test]
async fn a_hostile_name_is_answered_with_its_reason() {
    let world = World::new();
    for hostile in [
        "spiffe://other.example/controller/xingyu/backend",
        "spiffe://ppio.example/controller/Xingyu/backend",
        "SPIFFE://ppio.example/controller/xingyu/backend",
        "spiffe://ppio.example/controller/xingyu/backend/more",
        "spiffe://ppio.example/controller/xingyu",
        "spiffe://ppio.example/controller/xing%79u/backend",
        "https://ppio.example/controller/xingyu/backend",
    ] {
        let refusal = named(&world, &[hostile]).await.expect_err(hostile);
        assert_eq!(refusal.reason, Reason::SpiffeIdMalformed);
        let told = refusal.to_string();
        assert!(!told.contains("xing") && !told.contains("other.example"), "the answer repeats the input");
    }
}

#[tokio::test]
async fn an_enterprises_authority_cannot_name_an_operator_or_another_enterprise() {
    let world = World::new();
    for uri in [
        "spiffe://ppio.example/operator/lin/desk",
        "spiffe://ppio.example/operator/xingyu/backend",
        "spiffe://ppio.example/agent/xingyu/backend",
        "spiffe://ppio.example/controller/heyu/backend",
    ] {
        assert_eq!(named(&world, &[uri]).await.unwrap_err().reason, Reason::AnchorNotEntitled, "{uri}");
    }
}

#[tokio::test]
async fn the_staffs_authority_cannot_name_a_controller() {
    let world = World::new();
    let shown = issue_client(&world.staff, &[XINGYU], days(30), &SystemEntropy).unwrap();
    let mut door = Door::open(&world).await;
    let refusal = door.identity(world.client(Some(&shown))).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::AnchorNotEntitled);
}

#[tokio::test]
async fn only_tls_1_3_and_only_h2_is_spoken() {
    let world = World::new();
    let door = Door::open(&world).await;
    let shown = world.xingyu_backend();
    let old = world.client_of_versions(Some(&shown), &[&rustls::version::TLS12]);
    assert_eq!(door.knock(old).await, Outcome::Alert(Alert::ProtocolVersion));
    let mut http1 = world.client(Some(&shown));
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(door.knock(http1).await, Outcome::Alert(Alert::NoApplicationProtocol));
}

#[tokio::test]
async fn whoever_knocks_learns_of_no_authority() {
    #[derive(Debug, Default)]
    struct Asked(std::sync::Mutex<Vec<usize>>);
    impl rustls::client::ResolvesClientCert for Asked {
        fn resolve(
            &self,
            hints: &[&[u8]],
            _: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            self.0.lock().unwrap().push(hints.len());
            None
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let world = World::new();
    let door = Door::open(&world).await;
    let asked = Arc::new(Asked::default());
    let mut config = world.client(None);
    config.client_auth_cert_resolver = asked.clone();
    assert_eq!(door.knock(config).await, Outcome::Alert(Alert::CertificateRequired));
    assert_eq!(*asked.0.lock().unwrap(), [0], "the handshake lists the registered authorities");
}

#[tokio::test]
async fn a_session_is_never_resumed_past_the_checks() {
    let world = World::new();
    let door = Door::open(&world).await;
    // One configuration keeps its tickets, were any given.
    let config = Arc::new(world.client(Some(&world.xingyu_backend())));
    assert_eq!(door.knock_with(&config).await, Outcome::In);
    world.clock.advance(8 * DAY);
    assert_eq!(door.knock_with(&config).await, Outcome::Alert(Alert::UnknownCA));
    assert_eq!(door.heard.reasons(), [Reason::RevocationListStale]);
}

#[tokio::test]
async fn a_silent_handshake_delays_nobody() {
    let world = World::new();
    let door = Door::open(&world).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(("127.0.0.1", door.port)).await.unwrap());
    }
    let knock = door.knock(world.client(Some(&world.xingyu_backend())));
    let outcome = tokio::time::timeout(Duration::from_secs(5), knock).await;
    assert_eq!(outcome.expect("the silent ones hold up the door"), Outcome::In);
}

#[tokio::test]
async fn when_silent_handshakes_fill_the_bound_their_time_runs_out() {
    let world = World::new();
    let heard = Arc::new(Heard::default());
    let acceptor = world.acceptor(heard.clone()).with_bounds(Duration::from_millis(1500), 2);
    let door = Door::open_with(acceptor, heard).await;
    let _first = TcpStream::connect(("127.0.0.1", door.port)).await.unwrap();
    let _second = TcpStream::connect(("127.0.0.1", door.port)).await.unwrap();
    let mut knock = std::pin::pin!(door.knock(world.client(Some(&world.xingyu_backend()))));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut knock).await;
    assert!(early.is_err(), "a third handshake began while the bound was two");
    assert_eq!(knock.await, Outcome::In);
}

#[tokio::test]
async fn noise_that_is_no_tls_leaves_the_door_open() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    let door = Door::open(&world).await;
    let mut noisy = TcpStream::connect(("127.0.0.1", door.port)).await.unwrap();
    noisy.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // It is told "no" and hung up on, whichever way the system words that.
    let _ = noisy.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    assert_eq!(door.knock(world.client(Some(&world.xingyu_backend()))).await, Outcome::In);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_door() {
    let world = World::new();
    let door = Door::open(&world).await;
    door.server.abort();
    let mut closed = false;
    for _ in 0..100 {
        closed = TcpStream::connect(("127.0.0.1", door.port)).await.is_err();
        if closed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(closed, "the port still answers");
}

#[tokio::test]
async fn a_call_carries_the_identity_of_its_connection() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::health_server::HealthServer;

    let world = World::new();
    let heard = Arc::new(Heard::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = serve(listener, world.acceptor(heard));
    let (_reporter, health) = tonic_health::server::health_reporter();
    let _: &HealthServer<_> = &health;
    let guarded = tonic::service::interceptor::InterceptedService::new(health, |call: tonic::Request<()>| {
        match call.extensions().get::<ConnectedPeer>().map(|peer| peer.identity().clone()) {
            Some(Ok(peer)) if peer.spiffe.id() == "xingyu" => Ok(call),
            Some(Ok(_)) => Err(tonic::Status::permission_denied("another")),
            Some(Err(refusal)) => Err(tonic::Status::unauthenticated(refusal.reason.code())),
            None => Err(tonic::Status::internal("no identity")),
        }
    });
    let server =
        tokio::spawn(tonic::transport::Server::builder().add_service(guarded).serve_with_incoming(incoming));
    let call = async |shown: &Issued, name: &str| {
        let files = ClientTlsConfig {
            ca: world.path("gateway-ca.pem"),
            certificate: world.write("client.pem", &shown.certificate_pem),
            key: world.write("client.key", &shown.key_pem),
            server_name: None,
        };
        let tls = ClientTls::load(&files, Arc::new(world.clock.clone())).unwrap();
        let endpoint = Endpoint::from_shared(format!("https://{name}:{port}")).unwrap();
        let mut client = HealthClient::new(tls.connect_lazy(&endpoint));
        client.check(tonic_health::pb::HealthCheckRequest::default()).await
    };
    let shown = world.xingyu_backend();
    call(&shown, "localhost").await.unwrap();
    call(&shown, "127.0.0.1").await.unwrap();
    let other = "spiffe://ppio.example/controller/heyu/backend";
    let other = issue_client(&world.xingyu, &[other], days(30), &SystemEntropy).unwrap();
    let status = call(&other, "localhost").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::Unauthenticated, "ANCHOR_NOT_ENTITLED"));
    let status = call(&shown, "127.0.0.2").await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "a gateway of another name was believed");
    server.abort();
}

#[test]
fn an_anchor_is_registered_for_somebody_in_particular() {
    let world = World::new();
    let load = |kinds: &[Kind], ids: &[&str]| {
        Anchors::load(TRUST_DOMAIN, &[world.anchor("xingyu", kinds, ids)]).map(|_| ())
    };
    assert!(load(&[Kind::Controller], &["xingyu"]).is_ok());
    assert!(load(&[Kind::Operator], &["*"]).is_ok());
    for (kinds, ids) in [
        (&[][..], &["xingyu"][..]),
        (&[Kind::Controller], &[]),
        (&[Kind::Controller], &["*"]),
        (&[Kind::Operator, Kind::Controller], &["*"]),
        (&[Kind::Controller], &["xingyu", "*"]),
        (&[Kind::Controller], &["Xingyu"]),
    ] {
        assert!(matches!(load(kinds, ids), Err(SetupError::Field { .. })), "{kinds:?} {ids:?} was taken");
    }
    assert!(Anchors::load("PPIO.example", &world.anchor_configs()).is_err());
    assert!(Anchors::load(TRUST_DOMAIN, &[]).is_err());
}

#[test]
fn material_that_cannot_protect_anybody_stops_the_start() {
    let world = World::new();
    let load = || Anchors::load(TRUST_DOMAIN, &world.anchor_configs()).map(|_| ());
    assert!(load().is_ok());
    world.write("xingyu.crl", "");
    assert!(matches!(load(), Err(SetupError::File { .. })), "an anchor without a list was taken");
    std::fs::remove_file(world.path("xingyu.crl")).unwrap();
    assert!(matches!(load(), Err(SetupError::Read { .. })));
    world.revoke(&world.xingyu, "xingyu.crl", &[]);
    world.write("xingyu-ca.pem", &world.xingyu_backend().certificate_pem);
    assert!(matches!(load(), Err(SetupError::File { .. })), "a leaf was taken for an anchor");
    let two = format!("{}{}", world.xingyu.certificate_pem, world.staff.certificate_pem);
    world.write("xingyu-ca.pem", &two);
    assert!(matches!(load(), Err(SetupError::File { .. })), "two certificates were taken for one anchor");
}

#[test]
fn an_anchors_entry_with_an_unknown_member_is_refused() {
    let entry = "certificate = 'a.pem'\ncrl = 'a.crl'\nkinds = ['operator']\n";
    assert!(toml::from_str::<super::AnchorConfig>(entry).is_ok());
    assert!(toml::from_str::<super::AnchorConfig>(&format!("{entry}kind = 'operator'\n")).is_err());
}

#[tokio::test]
async fn a_principal_has_so_many_connections_and_takes_nobody_elses() {
    let world = World::new();
    let heard = Arc::new(Heard::default());
    let two = std::num::NonZeroU32::new(2).unwrap();
    let door = Door::open_with(world.acceptor(heard.clone()).at_most_each(two), heard).await;
    let shown = world.xingyu_backend();
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(door.hold(world.client(Some(&shown))).await.expect("one of its two"));
    }
    // Whichever of its workloads comes.
    let other = "spiffe://ppio.example/controller/xingyu/other";
    let other = issue_client(&world.xingyu, &[other], days(30), &SystemEntropy).unwrap();
    for shown in [&shown, &other] {
        assert!(door.hold(world.client(Some(shown))).await.is_err(), "a third one");
    }
    let operator = "spiffe://ppio.example/operator/lin/desk";
    let operator = issue_client(&world.staff, &[operator], days(30), &SystemEntropy).unwrap();
    assert!(door.hold(world.client(Some(&operator))).await.is_ok());
}
