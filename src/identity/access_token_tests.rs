//! Every way to spoil an access token, and the reason each gets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rstest::rstest;
use serde_json::{Value, json};

use super::access_token::{AccessTokens, LEEWAY, MAX_TOKEN, bearer};
use super::{AccessKey, AccessKeys, MintError, Peer, TokenOrder, TokenSigner};
use crate::cli::dev_ca::issue_access_key;
use crate::domain::clock::{FixedClock, SystemEntropy};
use crate::domain::{Kind, Reason, Refusal, Timestamp};

const NOW: i64 = 1_795_000_000;
const AUDIENCE: &str = "gateway.ppio.example";

#[derive(Default)]
struct Registry {
    keys: Mutex<HashMap<String, AccessKey>>,
    generation: AtomicU64,
    lookups: AtomicUsize,
}

impl Registry {
    fn register(&self, owner: &str, signer: &TokenSigner) {
        let key = AccessKey::from_jwk(owner, &signer.public_jwk().to_string()).unwrap();
        assert_eq!(key.kid(), signer.kid(), "both sides compute one thumbprint");
        self.keys.lock().unwrap().insert(key.kid().to_owned(), key);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn withdraw(&self, signer: &TokenSigner) {
        self.keys.lock().unwrap().remove(signer.kid());
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl AccessKeys for Registry {
    async fn access_key(&self, kid: &str) -> Result<Option<AccessKey>, Refusal> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        Ok(self.keys.lock().unwrap().get(kid).cloned())
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
}

fn peer(uri: &str, thumbprint: u8) -> Peer {
    Peer {
        spiffe: uri.parse().unwrap(),
        certificate_sha256: [thumbprint; 32],
        key: crate::token::KeyId::from_bytes([thumbprint; 32]),
        not_after: Timestamp::from_second(NOW + 86_400).unwrap(),
        serial: "01".into(),
    }
}

/// Two enterprises with a key and a certificate each.
struct Scene {
    clock: FixedClock,
    registry: Arc<Registry>,
    tokens: AccessTokens,
    xingyu: (Peer, TokenSigner),
    heyu: (Peer, TokenSigner),
}

impl Scene {
    fn new() -> Self {
        let clock = FixedClock::at(NOW);
        let registry = Arc::new(Registry::default());
        let party = |id: &str, thumbprint| {
            let signer = TokenSigner::from_pkcs8_pem(issue_access_key().unwrap().as_bytes()).unwrap();
            registry.register(&format!("controllers/{id}"), &signer);
            (peer(&format!("spiffe://ppio.example/controller/{id}/backend"), thumbprint), signer)
        };
        let (xingyu, heyu) = (party("xingyu", 1), party("heyu", 2));
        let tokens = AccessTokens::new(AUDIENCE, registry.clone(), Arc::new(clock.clone()));
        Self { clock, registry, tokens, xingyu, heyu }
    }

    fn mint(&self, (peer, signer): &(Peer, TokenSigner)) -> String {
        let order = TokenOrder {
            spiffe: &peer.spiffe,
            certificate_sha256: &peer.certificate_sha256,
            audience: AUDIENCE,
            scopes: &["requests.read", "instructions.submit"],
            lifetime: 300,
        };
        signer.mint(&order, &self.clock, &SystemEntropy).unwrap()
    }

    /// A good header and good claims of xingyu, to be spoilt.
    fn parts(&self) -> (Value, Value) {
        let token = self.mint(&self.xingyu);
        let part = |n: usize| {
            let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        (part(0), part(1))
    }

    async fn reason(&self, token: &str) -> Reason {
        self.tokens.verify(token, &self.xingyu.0).await.expect_err("the token was taken").reason
    }

    async fn reason_of_parts(&self, header: &Value, claims: &Value) -> Reason {
        self.reason(&self.xingyu.1.sign(header, claims).unwrap()).await
    }
}

#[tokio::test]
async fn a_good_token_makes_a_caller() {
    let scene = Scene::new();
    let caller = scene.tokens.verify(&scene.mint(&scene.xingyu), &scene.xingyu.0).await.unwrap();
    assert_eq!(caller.principal().resource_name(), "controllers/xingyu");
    assert_eq!(caller.token_expires_at().as_second(), NOW + 300);
    assert_eq!(caller.certificate_sha256(), &[1; 32]);
    assert!(caller.require_scope("requests.read").is_ok());
    assert_eq!(caller.require_scope("registry.write").unwrap_err().reason, Reason::ScopeMissing);
    assert!(caller.require_kind(&[Kind::Controller]).is_ok());
    let denied = caller.require_kind(&[Kind::Operator]).unwrap_err();
    assert_eq!(denied.reason, Reason::KindNotAllowed);
}

#[rstest]
#[case::no_typ("typ", json!(null), Reason::TokenType)]
#[case::plain_jwt("typ", json!("JWT"), Reason::TokenType)]
#[case::an_instructions_typ("typ", json!("instruction+sd-jwt"), Reason::TokenType)]
#[case::none("alg", json!("none"), Reason::TokenAlgorithm)]
#[case::none_in_capitals("alg", json!("NONE"), Reason::TokenAlgorithm)]
#[case::hmac("alg", json!("HS256"), Reason::TokenAlgorithm)]
#[case::another_accepted_algorithm("alg", json!("ES256"), Reason::TokenAlgorithm)]
#[case::rs256("alg", json!("RS256"), Reason::TokenAlgorithm)]
#[case::no_algorithm("alg", json!(null), Reason::TokenAlgorithm)]
#[case::unknown_key("kid", json!("A".repeat(43)), Reason::TokenKeyUnknown)]
#[case::a_path_for_kid("kid", json!("../../dev/null"), Reason::TokenKeyUnknown)]
#[case::no_kid("kid", json!(null), Reason::TokenMalformed)]
#[case::embedded_key("jwk", json!({"kty": "OKP"}), Reason::TokenMalformed)]
#[case::key_by_url("jku", json!("https://attacker.example/"), Reason::TokenMalformed)]
#[case::critical_extension("crit", json!(["b64"]), Reason::TokenMalformed)]
#[tokio::test]
async fn a_spoilt_header_is_refused(#[case] member: &str, #[case] value: Value, #[case] reason: Reason) {
    let scene = Scene::new();
    let (mut header, claims) = scene.parts();
    header[member] = value;
    assert_eq!(scene.reason_of_parts(&header, &claims).await, reason);
}

#[rstest]
#[case::issuer("iss", json!("controllers/heyu"), Reason::TokenIssuer)]
#[case::client("client_id", json!("controllers/heyu"), Reason::TokenIssuer)]
#[case::subject_no_uri("sub", json!("controllers/xingyu"), Reason::TokenSubject)]
#[case::subject_of_another("sub", json!("spiffe://ppio.example/controller/heyu/backend"), Reason::PrincipalMismatch)]
#[case::subject_another_workload("sub", json!("spiffe://ppio.example/controller/xingyu/other"), Reason::PrincipalMismatch)]
#[case::subject_another_domain("sub", json!("spiffe://other.example/controller/xingyu/backend"), Reason::PrincipalMismatch)]
#[case::subject_another_kind("sub", json!("spiffe://ppio.example/operator/xingyu/backend"), Reason::PrincipalMismatch)]
#[case::audience("aud", json!("another.example"), Reason::TokenAudience)]
#[case::audience_list("aud", json!([AUDIENCE]), Reason::TokenMalformed)]
#[case::too_long("exp", json!(NOW + 301), Reason::TokenLifetime)]
#[case::no_life("exp", json!(NOW), Reason::TokenLifetime)]
#[case::ends_before_it_begins("exp", json!(NOW - 10), Reason::TokenLifetime)]
#[case::overflow("exp", json!(i64::MAX), Reason::TokenLifetime)]
#[case::underflow("iat", json!(i64::MIN), Reason::TokenLifetime)]
#[case::fraction("exp", json!(1_795_000_300.5), Reason::TokenMalformed)]
#[case::text_for_time("iat", json!("1795000000"), Reason::TokenMalformed)]
#[case::begins_later("nbf", json!(NOW + 31), Reason::TokenNotYetValid)]
#[case::unbound("cnf", json!(null), Reason::TokenBinding)]
#[case::bound_to_nothing("cnf", json!({}), Reason::TokenBinding)]
#[case::bound_to_a_key("cnf", json!({"jkt": "x"}), Reason::TokenBinding)]
#[case::bound_to_another("cnf", json!({"x5t#S256": URL_SAFE_NO_PAD.encode([2; 32])}), Reason::TokenBinding)]
#[case::no_jti("jti", json!(null), Reason::TokenMalformed)]
#[case::empty_jti("jti", json!(""), Reason::TokenMalformed)]
#[case::scope_list("scope", json!(["requests.read"]), Reason::TokenMalformed)]
#[case::scope_two_spaces("scope", json!("a.b  c.d"), Reason::TokenMalformed)]
#[tokio::test]
async fn a_spoilt_claim_is_refused(#[case] member: &str, #[case] value: Value, #[case] reason: Reason) {
    let scene = Scene::new();
    let (header, mut claims) = scene.parts();
    claims[member] = value;
    assert_eq!(scene.reason_of_parts(&header, &claims).await, reason);
}

#[tokio::test]
async fn a_token_outside_its_time_is_refused_beyond_the_leeway() {
    let scene = Scene::new();
    let token = scene.mint(&scene.xingyu);
    scene.clock.set(NOW + 300 + LEEWAY + 1);
    assert_eq!(scene.reason(&token).await, Reason::TokenExpired);
    scene.clock.set(NOW - LEEWAY - 1);
    assert_eq!(scene.reason(&token).await, Reason::TokenNotYetValid);
    scene.clock.set(NOW - LEEWAY);
    assert!(scene.tokens.verify(&token, &scene.xingyu.0).await.is_ok());
    scene.clock.set(NOW + 300 + LEEWAY);
    assert!(scene.tokens.verify(&token, &scene.xingyu.0).await.is_ok());
}

#[tokio::test]
async fn the_public_key_as_an_hmac_secret_opens_nothing() {
    let scene = Scene::new();
    let (mut header, claims) = scene.parts();
    header["alg"] = json!("HS256");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(&header), part(&claims));
    let public = scene.xingyu.1.public_jwk();
    for secret in
        [URL_SAFE_NO_PAD.decode(public["x"].as_str().unwrap()).unwrap(), public.to_string().into_bytes()]
    {
        let key = EncodingKey::from_secret(&secret);
        let mac = jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::HS256).unwrap();
        assert_eq!(scene.reason(&format!("{input}.{mac}")).await, Reason::TokenAlgorithm);
        // The same signature under the honest algorithm's name.
        header["alg"] = json!("EdDSA");
        let honest = format!("{}.{}", part(&header), part(&claims));
        assert_eq!(scene.reason(&format!("{honest}.{mac}")).await, Reason::TokenSignature);
    }
}

#[tokio::test]
async fn without_a_signature_a_token_is_nothing() {
    let scene = Scene::new();
    let (mut header, claims) = scene.parts();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |header: &Value| format!("{}.{}.", part(header), part(&claims));
    assert_eq!(scene.reason(&unsigned(&header)).await, Reason::TokenSignature);
    header["alg"] = json!("none");
    assert_eq!(scene.reason(&unsigned(&header)).await, Reason::TokenAlgorithm);
}

#[tokio::test]
async fn anothers_token_on_my_connection_is_refused() {
    let scene = Scene::new();
    let stolen = scene.mint(&scene.heyu);
    assert_eq!(scene.reason(&stolen).await, Reason::PrincipalMismatch);
    // Even when the gateway remembers the token from its rightful owner.
    assert!(scene.tokens.verify(&stolen, &scene.heyu.0).await.is_ok());
    assert_eq!(scene.reason(&stolen).await, Reason::PrincipalMismatch);
}

#[tokio::test]
async fn my_key_cannot_speak_for_another() {
    let scene = Scene::new();
    let (header, mut claims) = scene.parts();
    let heyu = &scene.heyu.0;
    claims["iss"] = json!("controllers/heyu");
    claims["client_id"] = json!("controllers/heyu");
    claims["sub"] = json!(heyu.spiffe.to_string());
    claims["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(heyu.certificate_sha256)});
    let forged = scene.xingyu.1.sign(&header, &claims).unwrap();
    let refusal = scene.tokens.verify(&forged, heyu).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TokenIssuer);
    claims["iss"] = json!("controllers/xingyu");
    claims["client_id"] = json!("controllers/xingyu");
    let forged = scene.xingyu.1.sign(&header, &claims).unwrap();
    let refusal = scene.tokens.verify(&forged, heyu).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::PrincipalMismatch);
}

#[tokio::test]
async fn the_same_principal_with_a_renewed_certificate_needs_a_new_token() {
    let scene = Scene::new();
    let token = scene.mint(&scene.xingyu);
    assert!(scene.tokens.verify(&token, &scene.xingyu.0).await.is_ok());
    let renewed = Peer { certificate_sha256: [9; 32], ..scene.xingyu.0.clone() };
    let refusal = scene.tokens.verify(&token, &renewed).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TokenBinding);
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_refused() {
    let scene = Scene::new();
    let token = scene.mint(&scene.xingyu);
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        let outcome = scene.tokens.verify(&changed, &scene.xingyu.0).await;
        assert!(outcome.is_err(), "byte {at} may be changed");
    }
}

#[tokio::test]
async fn bytes_that_are_no_token_are_malformed() {
    let scene = Scene::new();
    let good = scene.mint(&scene.xingyu);
    for bad in [
        String::new(),
        "a".into(),
        "a.b".into(),
        "..".into(),
        format!("{good}."),
        format!("{good}="),
        format!(" {good}"),
        "a".repeat(MAX_TOKEN + 1),
    ] {
        assert_eq!(scene.reason(&bad).await, Reason::TokenMalformed, "of {} bytes", bad.len());
    }
}

#[tokio::test]
async fn a_claim_that_stands_twice_is_refused() {
    let scene = Scene::new();
    let (header, claims) = scene.parts();
    let doubled =
        claims.to_string().replacen('{', r#"{"sub":"spiffe://ppio.example/controller/heyu/backend","#, 1);
    let token = scene.xingyu.1.sign_text(&header.to_string(), &doubled).unwrap();
    assert_eq!(scene.reason(&token).await, Reason::TokenMalformed);
}

#[tokio::test]
async fn a_remembered_token_ends_with_its_time_its_key_and_its_certificate() {
    let scene = Scene::new();
    let token = scene.mint(&scene.xingyu);
    let verify = || scene.tokens.verify(&token, &scene.xingyu.0);
    verify().await.unwrap();
    verify().await.unwrap();
    assert_eq!(scene.registry.lookups.load(Ordering::SeqCst), 1, "the second came from memory");
    // Somebody else's key changes: verified again, and still good.
    scene.registry.withdraw(&scene.heyu.1);
    verify().await.unwrap();
    assert_eq!(scene.registry.lookups.load(Ordering::SeqCst), 2);
    scene.clock.set(NOW + 300 + LEEWAY + 1);
    assert_eq!(verify().await.unwrap_err().reason, Reason::TokenExpired);
    scene.clock.set(NOW);
    verify().await.unwrap();
    scene.clock.set(NOW + 86_401);
    assert_eq!(verify().await.unwrap_err().reason, Reason::CertificateExpired);
    scene.clock.set(NOW);
    scene.registry.withdraw(&scene.xingyu.1);
    assert_eq!(verify().await.unwrap_err().reason, Reason::TokenKeyUnknown);
}

#[tokio::test]
async fn keys_of_every_accepted_curve_work_by_their_own_algorithm() {
    let scene = Scene::new();
    for (algorithm, alg) in
        [(&rcgen::PKCS_ECDSA_P256_SHA256, "ES256"), (&rcgen::PKCS_ECDSA_P384_SHA384, "ES384")]
    {
        let pem = rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        let signer = TokenSigner::from_pkcs8_pem(pem.as_bytes()).unwrap();
        assert_eq!(signer.public_jwk()["alg"], alg);
        scene.registry.register("controllers/xingyu", &signer);
        let party = (scene.xingyu.0.clone(), signer);
        let caller = scene.tokens.verify(&scene.mint(&party), &party.0).await.unwrap();
        assert_eq!(caller.principal().resource_name(), "controllers/xingyu");
    }
    let (mut header, claims) = scene.parts();
    header["alg"] = json!("Ed25519"); // RFC 9864's name for the same.
    let token = scene.xingyu.1.sign(&header, &claims).unwrap();
    assert!(scene.tokens.verify(&token, &scene.xingyu.0).await.is_ok());
}

#[test]
fn a_client_cannot_mint_what_the_gateway_would_refuse() {
    let scene = Scene::new();
    let (peer, signer) = &scene.xingyu;
    let order = TokenOrder {
        spiffe: &peer.spiffe,
        certificate_sha256: &peer.certificate_sha256,
        audience: AUDIENCE,
        scopes: &["requests.read"],
        lifetime: 301,
    };
    let mint = |order: &TokenOrder<'_>| signer.mint(order, &scene.clock, &SystemEntropy);
    assert_eq!(mint(&order).unwrap_err(), MintError::Lifetime);
    assert_eq!(mint(&TokenOrder { lifetime: 0, ..order }).unwrap_err(), MintError::Lifetime);
    let spaced = TokenOrder { lifetime: 60, scopes: &["a b"], ..order };
    assert_eq!(mint(&spaced).unwrap_err(), MintError::Scope);
    assert_eq!(TokenSigner::from_pkcs8_pem(b"no key").unwrap_err(), MintError::Key);
}

#[test]
fn the_bearer_scheme_is_read_from_exactly_one_header() {
    let read = |values: &[&'static str]| {
        bearer(values.iter().map(|value| value.as_bytes())).map_err(|refusal| refusal.reason)
    };
    assert_eq!(read(&["Bearer abc"]), Ok("abc"));
    assert_eq!(read(&["bearer abc"]), Ok("abc"));
    assert_eq!(read(&[]), Err(Reason::TokenMissing));
    assert_eq!(read(&["Basic abc"]), Err(Reason::TokenMissing));
    assert_eq!(read(&["abc"]), Err(Reason::TokenMissing));
    assert_eq!(read(&["Bearer a", "Bearer b"]), Err(Reason::TokenMalformed));
}

#[tokio::test]
async fn what_was_verified_is_forgotten_when_other_lists_are_put_in_force() {
    let world = super::staging::World::new();
    let materials = super::Materials::load(&world.files()).unwrap();
    let mut scene = Scene::new();
    scene.tokens = scene.tokens.under(materials.clone());
    let token = scene.mint(&scene.xingyu);
    let lookups = async || {
        scene.tokens.verify(&token, &scene.xingyu.0).await.unwrap();
        scene.registry.lookups.load(Ordering::SeqCst)
    };
    assert_eq!((lookups().await, lookups().await), (1, 1));
    materials.replace(super::Material::load(&world.files()).unwrap());
    assert_eq!((lookups().await, lookups().await), (2, 2));
}
