//! Whose access token is refused, through the wire, each with its reason. Certificates: `refused_certificates`.

use mandate::cli::client::Profile;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Clock, Entropy};
use mandate::grpc::v1;
use mandate::identity::{ClientTls, ClientTlsConfig};
use mandate::token::access::{Confirmation, MAX_TOKEN_LIFETIME};
use mandate::token::{AccessClaims, Digest, PrivateKey, base64url};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{World, reason};

/// A line without a token, and the certificate it shows.
pub async fn channel(profile: &Profile) -> (Channel, [u8; 32]) {
    let files = ClientTlsConfig {
        ca: profile.ca.clone(),
        certificate: profile.certificate.clone(),
        key: profile.key.clone(),
        server_name: Some(profile.server_name.clone()),
    };
    let tls = ClientTls::load(&files, std::sync::Arc::new(SystemClock)).expect("the client's material loads");
    let endpoint =
        tonic::transport::Endpoint::from_shared(format!("https://{}", profile.gateway)).expect("an address");
    (tls.connect(&endpoint).await.expect("the handshake"), *tls.certificate_sha256())
}

pub fn access_key(profile: &Profile) -> PrivateKey {
    PrivateKey::from_jwk(&std::fs::read(&profile.access_key).expect("the key")).expect("a key")
}

pub fn claims(profile: &Profile, certificate: [u8; 32]) -> AccessClaims {
    let now = SystemClock.now_seconds();
    AccessClaims {
        iss: profile.principal.clone(),
        sub: profile.spiffe_id.clone(),
        aud: profile.audience.clone(),
        iat: now,
        exp: now + MAX_TOKEN_LIFETIME,
        jti: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
        scope: profile.scopes.join(" "),
        cnf: Confirmation { certificate: Digest::from_bytes(certificate) },
    }
}

/// The reason a call with this token is refused with; `OK` where it is not.
async fn call(channel: &Channel, token: Option<&str>) -> String {
    let mut client = v1::request_service_client::RequestServiceClient::new(channel.clone());
    let mut request = tonic::Request::new(v1::ListRequestsRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    }
    match client.list_requests(request).await {
        Ok(_) => "OK".into(),
        Err(status) => reason(&status),
    }
}

fn raw(header: &Value, claims: &Value, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
    let input =
        format!("{}.{}", base64url::encode(header.to_string()), base64url::encode(claims.to_string()));
    let signature = sign(&input);
    format!("{input}.{}", base64url::encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_spoil_a_token_has_its_reason() {
    let world = World::without_agent(|_| {}).await;
    let (xingyu, leting, auditor) =
        (world.profile("xingyu"), world.profile("leting"), world.profile("auditor"));
    let (line, certificate) = channel(&xingyu).await;
    let key = access_key(&xingyu);
    let mint = |claims: &AccessClaims| claims.mint(&key).expect("signs");
    let good = claims(&xingyu, certificate);
    assert_eq!(call(&line, Some(&mint(&good))).await, "OK");
    assert_eq!(call(&line, None).await, "TOKEN_MISSING");
    assert_eq!(call(&line, Some("rubbish")).await, "TOKEN_MALFORMED");

    let now = SystemClock.now_seconds();
    let spoilt = [
        ("aud", AccessClaims { aud: "another.example".into(), ..good.clone() }, "TOKEN_AUDIENCE"),
        ("lifetime", AccessClaims { exp: now + 301, ..good.clone() }, "TOKEN_LIFETIME"),
        ("expired", AccessClaims { iat: now - 400, exp: now - 100, ..good.clone() }, "TOKEN_EXPIRED"),
        ("future", AccessClaims { iat: now + 100, exp: now + 200, ..good.clone() }, "TOKEN_NOT_YET_VALID"),
        ("iss", AccessClaims { iss: leting.principal.clone(), ..good.clone() }, "TOKEN_ISSUER"),
        (
            "cnf",
            AccessClaims { cnf: Confirmation { certificate: Digest::from_bytes([7; 32]) }, ..good.clone() },
            "TOKEN_BINDING",
        ),
        ("scope", AccessClaims { scope: "instructions.submit".into(), ..good.clone() }, "SCOPE_MISSING"),
    ];
    for (name, claims, expected) in spoilt {
        assert_eq!(call(&line, Some(&mint(&claims))).await, expected, "{name}");
    }

    let body = serde_json::to_value(&good).expect("JSON");
    let kid = key.id().to_string();
    let header = |typ: &str, alg: &str| json!({"typ": typ, "alg": alg, "kid": kid});
    let eddsa = |input: &str| key.sign(input.as_bytes()).expect("signs");
    assert_eq!(call(&line, Some(&raw(&header("JWT", "EdDSA"), &body, eddsa))).await, "TOKEN_TYPE");
    assert_eq!(
        call(&line, Some(&raw(&header("at+jwt", "none"), &body, |_| Vec::new()))).await,
        "TOKEN_ALGORITHM"
    );
    let public = key.public().canonical();
    let hs256 = |input: &str| {
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
        aws_lc_rs::hmac::sign(&secret, input.as_bytes()).as_ref().to_vec()
    };
    assert_eq!(call(&line, Some(&raw(&header("at+jwt", "HS256"), &body, hs256))).await, "TOKEN_ALGORITHM");
    let noise: [u8; 64] = (&SystemEntropy as &dyn Entropy).array();
    assert_eq!(
        call(&line, Some(&raw(&header("at+jwt", "EdDSA"), &body, |_| noise.to_vec()))).await,
        "TOKEN_SIGNATURE"
    );

    // Certificate of A with the token of B; a kind that may not call; health without a token.
    let (others, other_certificate) = channel(&leting).await;
    assert_eq!(call(&others, Some(&mint(&good))).await, "PRINCIPAL_MISMATCH");
    let rebound = AccessClaims {
        cnf: Confirmation { certificate: Digest::from_bytes(other_certificate) },
        ..good.clone()
    };
    assert_eq!(call(&others, Some(&mint(&rebound))).await, "PRINCIPAL_MISMATCH");
    let (audit_line, audit_certificate) = channel(&auditor).await;
    let mut wide = claims(&auditor, audit_certificate);
    wide.scope = "requests.read".into();
    assert_eq!(
        call(&audit_line, Some(&wide.mint(&access_key(&auditor)).expect("signs"))).await,
        "KIND_NOT_ALLOWED"
    );
    let mut health = tonic_health::pb::health_client::HealthClient::new(line);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.expect("health needs no token");
}
