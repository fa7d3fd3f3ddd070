//! The keys of certificates are keys like any other (DESIGN §5, decision 0021): the first call over one claims it for
//! its principal. From then on it gets no other use, and a key that has one, or another's, lets no call in.

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use mandate::cli::client::{Client, Profile};
use mandate::cli::dev_ca::{Validity, issue_client_for, load_ca};
use mandate::domain::Clock;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::grpc::v1;
use mandate::token::{PrivateKey, base64url};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use tonic::Code;

use crate::harness::{Process, World, configure, reason, replica_name};
use crate::key_sets::{key_of, new_key, next, rotate};
use crate::key_uses::{
    answer, as_access_key, as_first_set, as_instruction_key, as_report_key, first_set, pin_newcomer,
    register, register_newcomer,
};
use crate::published::{get, publishing, reader, reader_with};

const USED: &str = "KEY_ALREADY_USED";
const ELSEWHERE: &str = "TLS_KEY_USED_ELSEWHERE";

/// A P-256 key as certificates' files hold it and as a JWK.
pub struct TlsKey {
    pem: String,
    pub jwk: PrivateKey,
}

impl TlsKey {
    pub fn new() -> Self {
        Self::read(
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key").serialize_pem(),
        )
    }

    /// That of a certificate which `mandate init` made.
    pub fn of(dir: &Path, name: &str) -> Self {
        Self::read(std::fs::read_to_string(dir.join(format!("keys/{name}/tls.key"))).expect("its file"))
    }

    fn read(pem: String) -> Self {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("PKCS#8");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        let pair = pair.expect("a P-256 key");
        let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().expect("its scalar");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let [x, y, d] = [x, y, scalar.as_ref()].map(base64url::encode);
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","d":"{d}"}}"#);
        Self { jwk: PrivateKey::from_jwk(jwk.as_bytes()).expect("a JWK"), pem }
    }
}

/// A profile that shows another certificate of the same name, for this key.
pub fn shown(world: &World, mut profile: Profile, key: &TlsKey) -> Profile {
    let authority = match profile.principal.strip_prefix("controllers/") {
        Some(id) => id.to_owned(),
        None => "ppio".to_owned(),
    };
    let read = |end| std::fs::read_to_string(world.path().join(format!("ca/{authority}.{end}")));
    let ca = load_ca(&read("pem").expect("there"), &read("key").expect("there")).expect("an authority");
    let month = Validity::days(SystemClock.now(), 30);
    let issued =
        issue_client_for(&ca, &key.pem, &[&profile.spiffe_id], month, &SystemEntropy).expect("issued");
    let name = uuid_v7(&SystemClock, &SystemEntropy).to_string();
    let write = |end: &str, text: &str| -> PathBuf {
        let path = world.path().join(format!("{name}.{end}"));
        std::fs::write(&path, text).expect("written");
        path
    };
    profile.certificate = write("pem", &issued.certificate_pem);
    profile.key = write("key", &issued.key_pem);
    profile
}

/// `taken`, or the reason why a call that reads is not.
pub async fn calls(client: &Client) -> String {
    match client.profile.principal.split('/').next() {
        Some("controllers") => {
            let call = v1::ListInstructionsRequest::default();
            answer(client.instructions().list_instructions(call).await)
        }
        Some("auditors") => {
            let call = v1::GetCheckpointRequest { log: v1::Log::Trail.into() };
            answer(client.audit().get_checkpoint(call).await)
        }
        Some("support") => answer(client.registry().list_apps(v1::ListAppsRequest::default()).await),
        _ => answer(client.registry().list_controllers(v1::ListControllersRequest::default()).await),
    }
}

async fn calls_with(world: &World, name: &str, key: &TlsKey) -> String {
    calls(&Client::open(shown(world, world.profile(name), key)).await.expect("it connects")).await
}

/// How many TLS keys the trail tells of, of one principal.
async fn claimed(world: &World, principal: &str) -> usize {
    let subject = format!(r#""subject":"{principal}""#);
    let is = |leaf: &&String| leaf.contains("mandate.tls_key.registered") && leaf.contains(&subject);
    world.trail_leaves().await.iter().filter(is).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_key_gets_no_other_use() {
    let world = World::without_agent(|_| {}).await;
    let operator = world.client("operator").await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    register_newcomer(&operator).await;
    let (root, their_root) = (key_of(world.path(), "xingyu", "root"), key_of(world.path(), "leting", "root"));
    for name in ["xingyu", "auditor", "support"] {
        assert_eq!(calls(&world.client(name).await).await, "taken");
    }
    for name in ["xingyu", "auditor", "support", "operator"] {
        let key = TlsKey::of(world.path(), name).jwk;
        for principal in ["controllers/xingyu", "controllers/leting", "operators/o-1", "witnesses/w-1"] {
            assert_eq!(as_access_key(&operator, principal, &key).await, USED, "{name}'s, of {principal}");
        }
        assert_eq!(as_report_key(&operator, &key).await, USED, "{name}'s to sign reports");
        assert_eq!(as_first_set(&operator, &xingyu, &key, &new_key()).await, USED, "{name}'s as a root");
        assert_eq!(as_first_set(&operator, &xingyu, &new_key(), &key).await, USED, "{name}'s as a signer");
        assert_eq!(as_instruction_key(&xingyu, &root, &key).await, USED, "{name}'s in xingyu's next set");
        assert_eq!(
            as_instruction_key(&leting, &their_root, &key).await,
            USED,
            "{name}'s in leting's next set"
        );
    }
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_a_use_or_is_anothers_lets_no_call_in() {
    let world = World::without_agent(publishing).await;
    let operator = world.client("operator").await;
    let xingyu = world.enterprise("xingyu").await;
    register_newcomer(&operator).await;
    let [access, report, root, signer, instruction] = [(); 5].map(|()| TlsKey::new());
    assert_eq!(as_access_key(&operator, "controllers/xingyu", &access.jwk).await, "taken");
    assert_eq!(as_report_key(&operator, &report.jwk).await, "taken");
    let first = first_set(&xingyu, &root.jwk, &signer.jwk);
    pin_newcomer(&world, &first);
    assert_eq!(register(&operator, first).await, "taken");
    let own_root = key_of(world.path(), "xingyu", "root");
    let set = next(&xingyu, &own_root, &[(&instruction.jwk, "somebody")]).sign(&[&own_root]).expect("signs");
    rotate(&xingyu, &set).await.expect("in force");
    for (what, key) in [
        ("an access key", &access),
        ("a report key", &report),
        ("a root key", &root),
        ("another's signer", &signer),
        ("an instruction key", &instruction),
    ] {
        for name in ["xingyu", "leting", "auditor", "support", "operator"] {
            assert_eq!(calls_with(&world, name, key).await, ELSEWHERE, "{what}, shown by {name}");
        }
    }

    // Nobody is told what for or whose it is, and the certificate alone opens nothing.
    let client = Client::open(shown(&world, world.profile("xingyu"), &access)).await.expect("it connects");
    let call = v1::ListInstructionsRequest::default();
    let status = client.instructions().list_instructions(call).await.expect_err("refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, ELSEWHERE));
    assert!(!status.message().contains("xingyu") && !status.message().contains("access"), "{status:?}");
    let profile = shown(&world, world.profile("auditor"), &access);
    let published = reader_with(&world, &profile.certificate, &profile.key);
    let (code, body, _) = get(&published, "trail/checkpoint").await;
    assert_eq!(code, 403);
    assert!(String::from_utf8_lossy(&body).starts_with(ELSEWHERE));
    assert_eq!(get(&reader(&world, "auditor"), "trail/checkpoint").await.0, 200);

    // A key that is new belongs to who comes first with it, in any certificate.
    let new = TlsKey::new();
    assert_eq!(calls_with(&world, "xingyu", &new).await, "taken");
    for name in ["leting", "auditor", "operator"] {
        assert_eq!(calls_with(&world, name, &new).await, ELSEWHERE, "{name}");
    }
    assert_eq!(calls_with(&world, "xingyu", &new).await, "taken", "a renewed certificate");
    assert_eq!(as_access_key(&operator, "controllers/xingyu", &new.jwk).await, USED);
    assert_eq!(claimed(&world, "controllers/xingyu").await, 2, "the one it was given, and the new one");
    assert_eq!(claimed(&world, "controllers/leting").await, 1, "the one it was given");

    // And after a new start.
    let mut world = world;
    world.gateway.take().expect("it runs").stop();
    world.gateway = Some(Process::serve(world.path()));
    assert_eq!(calls_with(&world, "leting", &new).await, ELSEWHERE);
    assert_eq!(calls_with(&world, "xingyu", &new).await, "taken");
    assert_eq!(claimed(&world, "controllers/xingyu").await, 2);
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proven_call_claims_a_key_and_only_so_many_an_hour() {
    const LIMIT: i64 = 3;
    let world = World::without_agent(|dir| {
        configure(dir, |gateway| {
            let limits = gateway.entry("limits").or_insert(toml::Table::new().into());
            limits.as_table_mut().expect("a table").insert("tls_keys_per_hour".into(), LIMIT.into());
        });
    })
    .await;
    let known = world.client("xingyu").await;
    assert_eq!(calls(&known).await, "taken");

    // A token that nobody registered the key of, a method that is not for controllers, and health.
    let mut stranger = shown(&world, world.profile("xingyu"), &TlsKey::new());
    stranger.access_key = world.path().join("stranger.jwk");
    std::fs::write(&stranger.access_key, new_key().to_jwk()).expect("written");
    let stranger = Client::open(stranger).await.expect("it connects");
    let mut keys: Vec<TlsKey> = (0..LIMIT).map(|_| TlsKey::new()).collect();
    let other = Client::open(shown(&world, world.profile("xingyu"), &keys[0])).await.expect("it connects");
    for _ in 0..2 {
        assert_eq!(calls(&stranger).await, "TOKEN_KEY_UNKNOWN");
        let call = v1::ListControllersRequest::default();
        assert_eq!(answer(other.registry().list_controllers(call).await), "KIND_NOT_ALLOWED");
    }
    assert_eq!(claimed(&world, "controllers/xingyu").await, 1);

    // Many calls at once over one key, and over many connections: also of the last key that there is room for.
    let last = keys.pop().expect("the one too many");
    for key in &keys {
        let mut clients = Vec::new();
        for _ in 0..16 {
            let profile = shown(&world, world.profile("xingyu"), key);
            clients.push(Client::open(profile).await.expect("it connects"));
        }
        let answers = clients.into_iter().map(|client| async move { calls(&client).await });
        assert_eq!(answers.collect::<tokio::task::JoinSet<_>>().join_all().await, ["taken"; 16]);
    }
    assert_eq!(claimed(&world, "controllers/xingyu").await, 3);
    for _ in 0..2 {
        assert_eq!(calls_with(&world, "xingyu", &last).await, "RATE_LIMITED");
    }
    // What is known goes on, on new connections too, and so do others.
    assert_eq!(calls(&known).await, "taken");
    assert_eq!(calls_with(&world, "xingyu", &keys[0]).await, "taken");
    assert_eq!(calls_with(&world, "leting", &last).await, "taken");
    assert_eq!(claimed(&world, "controllers/xingyu").await, 3);
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_principals_that_come_to_two_gateways_with_one_key_do_not_both_get_in() {
    let world = World::on_postgres(2).await;
    let second = Process::replica(world.path(), &replica_name(1));
    let at = |name: &str, n| Profile::load(&world.profile_at(name, n)).expect("a profile");
    for round in 0..8 {
        let key = TlsKey::new();
        let open =
            async |name: &str, n| Client::open(shown(&world, at(name, n), &key)).await.expect("it connects");
        let clients = [open("xingyu", 0).await, open("leting", 1).await, open("xingyu", 1).await];
        let [own, others, again] = &clients;
        let answers = tokio::join!(calls(own), calls(others), calls(again));
        assert_eq!(answers.0, answers.2, "one principal, in round {round}");
        assert_ne!(answers.0, answers.1, "in round {round}");
        let answers: [&str; 2] = [&answers.0, &answers.1];
        assert!(answers.contains(&"taken") && answers.contains(&ELSEWHERE), "{answers:?} in round {round}");
    }
    let all = claimed(&world, "controllers/xingyu").await + claimed(&world, "controllers/leting").await;
    assert_eq!(all, 2 + 8, "one leaf for each key, and those that they were given");
    second.stop();
    world.export_and_verify().await;
}

fn thumbprint(key: &TlsKey) -> String {
    key.jwk.id().to_string()
}

async fn new_controller(operator: &Client, id: &str, tls_keys: Vec<String>) -> String {
    let call = v1::CreateControllerRequest {
        controller_id: id.into(),
        display_name: "Newcomer".into(),
        tls_keys,
        ..Default::default()
    };
    answer(operator.registry().create_controller(call).await)
}

/// An agent of that id, beside a store of that name.
fn new_agent(id: &str, report: &PrivateKey, tls_keys: Vec<String>) -> v1::CreateAgentRequest {
    let agent = v1::Agent {
        stores: vec![format!("stores/{id}")],
        region: "cn".into(),
        report_key: report.public().canonical(),
        ..Default::default()
    };
    v1::CreateAgentRequest { agent_id: id.into(), agent: Some(agent), tls_keys, ..Default::default() }
}

/// Another who has seen the key first cannot put it into a set of his own, nor call with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_named_when_its_owner_is_registered_is_his_before_he_calls() {
    let world = World::without_agent(|_| {}).await;
    let operator = world.client("operator").await;
    let leting = world.enterprise("leting").await;
    let their_root = key_of(world.path(), "leting", "root");

    // `mandate init` names the sample's: nobody of them has called, but the operator.
    for (name, principal) in [
        ("rtc-agent", "agents/rtc-agent"),
        ("xingyu", "controllers/xingyu"),
        ("auditor", "auditors/a-1"),
        ("support", "support/s-1"),
    ] {
        assert_eq!(claimed(&world, principal).await, 1, "{name}");
        let key = TlsKey::of(world.path(), name);
        assert_eq!(as_instruction_key(&leting, &their_root, &key.jwk).await, USED, "{name}'s");
        assert_eq!(calls_with(&world, "leting", &key).await, ELSEWHERE, "{name}'s");
    }
    let xingyu = world.client("xingyu").await;
    assert_eq!(calls(&xingyu).await, "taken");
    assert_eq!(claimed(&world, "controllers/xingyu").await, 1, "it was claimed again");

    // One shape for all that are registered.
    let [of_agent, of_controller, of_witness] = [(); 3].map(|()| TlsKey::new());
    let agent = new_agent("second", &new_key(), vec![thumbprint(&of_agent)]);
    assert_eq!(answer(operator.registry().create_agent(agent).await), "taken");
    assert_eq!(new_controller(&operator, "newcomer", vec![thumbprint(&of_controller)]).await, "taken");
    let access = v1::CreateAccessKeyRequest {
        principal: "witnesses/w-1".into(),
        key: new_key().public().canonical(),
        tls_keys: vec![thumbprint(&of_witness)],
        ..Default::default()
    };
    assert_eq!(answer(operator.registry().create_access_key(access).await), "taken");
    for (key, principal) in [
        (&of_agent, "agents/second"),
        (&of_controller, "controllers/newcomer"),
        (&of_witness, "witnesses/w-1"),
    ] {
        assert_eq!(claimed(&world, principal).await, 1, "{principal}");
        assert_eq!(as_instruction_key(&leting, &their_root, &key.jwk).await, USED, "{principal}");
        assert_eq!(as_access_key(&operator, principal, &key.jwk).await, USED, "{principal}");
        assert_eq!(calls_with(&world, "leting", key).await, ELSEWHERE, "{principal}");
    }
    let by = r#""by":"operators/o-1""#;
    let named = world.trail_leaves().await;
    let named = named.iter().filter(|leaf| leaf.contains("mandate.tls_key.registered") && leaf.contains(by));
    assert!(named.count() >= 3 + 4, "the leaves do not say who named them");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_named_key_that_has_a_use_nothing_is_registered() {
    let world = World::without_agent(|_| {}).await;
    let operator = world.client("operator").await;
    let leaves = world.trail_leaves().await.len();
    let (new, report) = (TlsKey::new(), new_key());
    let used = [
        ("another's TLS key", thumbprint(&TlsKey::of(world.path(), "xingyu"))),
        ("an access key", key_of(world.path(), "leting", "access").id().to_string()),
        ("a root key", key_of(world.path(), "leting", "root").id().to_string()),
        ("the report key itself", report.id().to_string()),
        ("the gateway's own", thumbprint(&TlsKey::of(world.path(), "gateway"))),
    ];
    for (what, used) in used {
        let agent = new_agent("second", &report, vec![thumbprint(&new), used.clone()]);
        assert_eq!(answer(operator.registry().create_agent(agent).await), USED, "{what}");
        if what != "the report key itself" {
            let keys = vec![thumbprint(&new), used.clone()];
            assert_eq!(new_controller(&operator, "newcomer", keys).await, USED, "{what}");
            let access = v1::CreateAccessKeyRequest {
                principal: "witnesses/w-1".into(),
                key: report.public().canonical(),
                tls_keys: vec![used],
                ..Default::default()
            };
            assert_eq!(answer(operator.registry().create_access_key(access).await), USED, "{what}");
        }
    }
    for (keys, why) in [
        (vec!["none".to_owned()], "no thumbprint"),
        ((0..17).map(|_| thumbprint(&TlsKey::new())).collect(), "too many"),
    ] {
        assert_eq!(new_controller(&operator, "newcomer", keys).await, "FIELD_INVALID", "{why}");
    }
    assert_eq!(world.trail_leaves().await.len(), leaves, "something was registered");
    // The very same names are free, and the same key again is the owner's already.
    let agent = new_agent("second", &report, vec![thumbprint(&new), thumbprint(&new)]);
    assert_eq!(answer(operator.registry().create_agent(agent).await), "taken");
    let access = |tls_keys| v1::CreateAccessKeyRequest {
        principal: "agents/second".into(),
        key: new_key().public().canonical(),
        tls_keys,
        ..Default::default()
    };
    let again = access(vec![thumbprint(&new)]);
    assert_eq!(answer(operator.registry().create_access_key(again).await), "taken");
    assert_eq!(claimed(&world, "agents/second").await, 1);
    // Asked again under its request id, it is the first answer; with another key named, another call.
    let id = uuid_v7(&SystemClock, &SystemEntropy).to_string();
    let other = TlsKey::new();
    let call = v1::CreateAccessKeyRequest { request_id: id, ..access(vec![thumbprint(&other)]) };
    for _ in 0..2 {
        assert_eq!(answer(operator.registry().create_access_key(call.clone()).await), "taken");
    }
    assert_eq!(claimed(&world, "agents/second").await, 2);
    let changed = v1::CreateAccessKeyRequest { tls_keys: Vec::new(), ..call };
    assert_eq!(answer(operator.registry().create_access_key(changed).await), "REQUEST_ID_REUSED");
    world.export_and_verify().await;
}
