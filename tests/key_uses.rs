//! One key has one use and one principal, for ever (DESIGN §5): whatever a key was registered for, every other way to
//! register it is refused, and so is the same use for another. The keys of certificates: `tls_keys.rs`.

use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use mandate::cli::client::Client;
use mandate::cli::demo::Enterprise;
use mandate::domain::Clock;
use mandate::domain::clock::SystemClock;
use mandate::grpc::v1;
use mandate::token::{KeyEntryDraft, KeySetDraft, KeyUse, PrivateKey, SetRole, base64url};

use crate::harness::{World, reason};
use crate::key_sets::{key_of, named, new_key, next, rotate};
use crate::tls_keys::TlsKey;

pub fn answer<T>(done: Result<tonic::Response<T>, tonic::Status>) -> String {
    done.map_or_else(|status| reason(&status), |_| "taken".to_owned())
}

pub async fn as_access_key(operator: &Client, principal: &str, key: &PrivateKey) -> String {
    let call = v1::CreateAccessKeyRequest {
        principal: principal.into(),
        key: key.public().canonical(),
        request_id: String::new(),
        tls_keys: Vec::new(),
    };
    answer(operator.registry().create_access_key(call).await)
}

pub async fn as_report_key(operator: &Client, key: &PrivateKey) -> String {
    let agent = v1::Agent {
        name: "agents/second".into(),
        stores: vec!["stores/second".into()],
        region: "cn".into(),
        report_key: key.public().canonical(),
        operators: Vec::new(),
    };
    let call = v1::CreateAgentRequest { agent_id: "second".into(), agent: Some(agent), ..Default::default() };
    answer(operator.registry().create_agent(call).await)
}

/// The controller whose first set is [`first_set`].
pub async fn register_newcomer(operator: &Client) {
    let newcomer = v1::CreateControllerRequest {
        controller_id: "newcomer".into(),
        display_name: "Newcomer".into(),
        house: false,
        request_id: String::new(),
        tls_keys: Vec::new(),
    };
    operator.registry().create_controller(newcomer).await.expect("registered");
}

/// The first set of a controller that has none, with these two keys.
pub fn first_set(of: &Enterprise, root: &PrivateKey, signs: &PrivateKey) -> Vec<u8> {
    let entry = |key: &PrivateKey, signer: &str, usage| KeyEntryDraft {
        jwk: key.public().clone(),
        signer: signer.to_owned(),
        usage,
    };
    let now = SystemClock.now_seconds();
    let draft = KeySetDraft {
        iss: "newcomer".parse().expect("a slug"),
        aud: format!("{}/trail", of.client.profile.audience),
        version: 1,
        prev: None,
        iat: now,
        exp: now + 86_400,
        keys: vec![entry(root, "board", KeyUse::Root), entry(signs, "office", KeyUse::Instruction)],
        roles: vec![(SetRole::Root, vec![root.id()], 1)],
    };
    draft.sign(&[root]).expect("signs")
}

pub async fn register(operator: &Client, key_set: Vec<u8>) -> String {
    let confirmed_digest = named(&key_set).digest.to_string();
    let call =
        v1::CreateKeySetRequest { key_set: key_set.into(), confirmed_digest, recovers_digest: String::new() };
    answer(operator.registry().create_key_set(call).await)
}

pub async fn as_first_set(
    operator: &Client,
    of: &Enterprise,
    root: &PrivateKey,
    signs: &PrivateKey,
) -> String {
    register(operator, first_set(of, root, signs)).await
}

/// The next set of a controller, in which the key signs.
pub async fn as_instruction_key(of: &Enterprise, root: &PrivateKey, key: &PrivateKey) -> String {
    let set = next(of, root, &[(key, "somebody")]).sign(&[root]).expect("signs");
    rotate(of, &set).await.err().unwrap_or_else(|| "taken".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_a_use_gets_no_other() {
    let world = World::without_agent(|_| {}).await;
    let operator = world.client("operator").await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    let root = key_of(world.path(), "xingyu", "root");
    let their_root = key_of(world.path(), "leting", "root");
    register_newcomer(&operator).await;
    const USED: &str = "KEY_ALREADY_USED";

    let of_xingyu = |name| key_of(world.path(), "xingyu", name);
    let keys = [
        ("a root key", of_xingyu("root")),
        ("an instruction key", of_xingyu("instruction")),
        ("an access key", of_xingyu("access")),
        ("a report key", key_of(world.path(), "rtc-agent", "report")),
        ("an operator's access key", key_of(world.path(), "operator", "access")),
    ];
    for (what, key) in &keys {
        for principal in ["controllers/xingyu", "controllers/leting", "support/s-1"] {
            // The very same registration again is no second use.
            if (*what, principal) != ("an access key", "controllers/xingyu") {
                assert_eq!(as_access_key(&operator, principal, key).await, USED, "{what}, of {principal}");
            }
        }
        assert_eq!(as_report_key(&operator, key).await, USED, "{what} to sign reports");
        assert_eq!(as_first_set(&operator, &xingyu, key, &new_key()).await, USED, "{what} as another's root");
        assert_eq!(
            as_first_set(&operator, &xingyu, &new_key(), key).await,
            USED,
            "{what} as another's signer"
        );
        assert_eq!(as_instruction_key(&leting, &their_root, key).await, USED, "{what} in another's next set");
        if *what != "an instruction key" && *what != "a root key" {
            assert_eq!(as_instruction_key(&xingyu, &root, key).await, USED, "{what} in the own next set");
        }
    }
    // Within one set and from one set to the next.
    let [signs, again] = [of_xingyu("instruction"), of_xingyu("instruction")];
    let twice = next(&xingyu, &root, &[(&signs, "privacy-office-1"), (&again, "privacy-office-2")]);
    assert_eq!(rotate(&xingyu, &twice.sign(&[&root]).expect("signs")).await, Err("KEY_SET_MALFORMED".into()));
    let as_root = next(&xingyu, &signs, &[(&new_key(), "privacy-office-2")]);
    let as_root = as_root.sign(&[&root, &signs]).expect("signs");
    assert_eq!(rotate(&xingyu, &as_root).await, Err("KEY_SET_MALFORMED".into()), "a signer's key as root");

    // A new key is taken for any one of these, and for that alone.
    let fresh = new_key();
    assert_eq!(as_report_key(&operator, &fresh).await, "taken");
    assert_eq!(as_access_key(&operator, "controllers/xingyu", &fresh).await, USED);
    assert_eq!(as_first_set(&operator, &xingyu, &new_key(), &fresh).await, USED);
    let set = first_set(&xingyu, &new_key(), &new_key());
    pin_newcomer(&world, &set);
    assert_eq!(register(&operator, set).await, "taken");
    world.export_and_verify().await;
}

/// The 32-byte seed in this file, as a key.
fn of_seed(path: &Path) -> PrivateKey {
    let d = std::fs::read_to_string(path).expect("its file").trim_end().to_owned();
    let seed = base64url::decode(d.as_bytes()).expect("base64url");
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed");
    let x = base64url::encode(pair.public_key().as_ref());
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","d":"{d}"}}"#);
    PrivateKey::from_jwk(jwk.as_bytes()).expect("a JWK")
}

/// The JWK of a certificate's key.
fn in_certificate(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("its file");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&bytes).expect("PEM");
    let certificate = pem.parse_x509().expect("a certificate");
    mandate::identity::tls_key::canonical_jwk(certificate.public_key()).expect("a key")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_keys_get_no_use() {
    let world = World::without_agent(|_| {}).await;
    let operator = world.client("operator").await;
    let xingyu = world.enterprise("xingyu").await;
    let root = key_of(world.path(), "xingyu", "root");
    register_newcomer(&operator).await;
    const USED: &str = "KEY_ALREADY_USED";

    let own = world.path().join("keys/gateway");
    let mut keys: Vec<_> = ["trail", "authority", "freshness"]
        .map(|name| (name, of_seed(&own.join(name).with_extension("key"))))
        .into();
    keys.push(("the server's", TlsKey::of(world.path(), "gateway").jwk));
    for (what, key) in &keys {
        assert_eq!(as_access_key(&operator, "support/s-9", key).await, USED, "{what}");
        assert_eq!(as_report_key(&operator, key).await, USED, "{what}");
        assert_eq!(as_first_set(&operator, &xingyu, key, &new_key()).await, USED, "{what} as a root");
        assert_eq!(as_first_set(&operator, &xingyu, &new_key(), key).await, USED, "{what} as a first signer");
        assert_eq!(as_instruction_key(&xingyu, &root, key).await, USED, "{what} in the next set");
    }
    for ca in ["ppio", "xingyu", "leting"] {
        let call = v1::CreateAccessKeyRequest {
            principal: "support/s-9".into(),
            key: in_certificate(&world.path().join("ca").join(ca).with_extension("pem")),
            request_id: String::new(),
            tls_keys: Vec::new(),
        };
        assert_eq!(answer(operator.registry().create_access_key(call).await), USED, "the authority of {ca}");
    }
    // The refusals are those keys': another gets in.
    assert_eq!(as_access_key(&operator, "support/s-9", &new_key()).await, "taken");
    world.export_and_verify().await;
}

/// Auditors know the first set of the newcomer.
pub fn pin_newcomer(world: &World, set: &[u8]) {
    let digest = named(set).digest.to_string();
    crate::witness::edit(&world.path().join("pins.toml"), |pins| {
        let pin = toml::Table::from_iter([("key_set_digest".to_owned(), digest.into())]);
        pins["controllers"].as_table_mut().expect("a table").insert("newcomer".into(), pin.into());
    });
}
