//! Registered access keys: the second key of a principal, beside its certificate.

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::domain::{Reason, Refusal};

/// Where registered access keys are found. Implemented by the registry.
#[async_trait]
pub trait AccessKeys: Send + Sync {
    /// The key with this RFC 7638 thumbprint, if it is registered now.
    /// An error is the registry's own trouble, such as `UNAVAILABLE`.
    async fn access_key(&self, kid: &str) -> Result<Option<AccessKey>, Refusal>;

    /// Grows whenever an access key is added or withdrawn. Tokens verified under
    /// an older number are verified again, so a withdrawn key ends at once.
    fn generation(&self) -> u64;
}

/// A registered public key, its owner, and the one algorithm it is used with.
#[derive(Clone)]
pub struct AccessKey {
    owner: String,
    kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessKey({} of {})", self.kid, self.owner)
    }
}

impl AccessKey {
    /// Reads a public JWK (RFC 7517). `owner` is the principal's resource name.
    ///
    /// The algorithm follows from the key: Ed25519 → EdDSA, P-256 → ES256,
    /// P-384 → ES384, RSA of 2048 to 8192 bits → PS256. `KEY_UNSUITABLE` for
    /// anything else, for a private key, and for a second spelling of a key.
    pub fn from_jwk(owner: impl Into<String>, jwk: &str) -> Result<Self, Refusal> {
        let bad = |note: &'static str| Refusal::new(Reason::KeyUnsuitable).note(note);
        let members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(jwk).map_err(|_| bad("no JWK (RFC 7517)"))?;
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|secret| members.contains_key(*secret)) {
            return Err(bad("a private key: register its public part alone"));
        }
        let stated = members.get("alg").map(|alg| alg.as_str().unwrap_or_default().to_owned());
        let jwk: Jwk = serde_json::from_value(serde_json::Value::Object(members))
            .map_err(|_| bad("no JWK of a type that is accepted"))?;
        let algorithm = suitable(&jwk).ok_or_else(|| bad("type, size or encoding is not accepted"))?;
        if stated.is_some_and(|alg| !names(algorithm).contains(&alg.as_str())) {
            return Err(bad("alg does not fit the key"));
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| bad("the key does not parse"))?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| bad("the key has no thumbprint"))?;
        Ok(Self { owner: owner.into(), kid, algorithm, key })
    }

    /// The resource name of the principal whose key this is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The RFC 7638 thumbprint, SHA-256, base64url.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether the `alg` of a token is this key's.
    pub(super) fn goes_by(&self, alg: &str) -> bool {
        names(self.algorithm).contains(&alg)
    }

    /// Verifies a JWS signature, still in base64url, over the ASCII signing input.
    pub(super) fn verifies(&self, signing_input: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, signing_input.as_bytes(), &self.key, self.algorithm)
            .unwrap_or(false)
    }
}

/// The names of an algorithm in a JOSE header. Ed25519 has two (RFC 8037, RFC 9864).
fn names(algorithm: Algorithm) -> &'static [&'static str] {
    match algorithm {
        Algorithm::EdDSA => &["EdDSA", "Ed25519"],
        Algorithm::ES256 => &["ES256"],
        Algorithm::ES384 => &["ES384"],
        Algorithm::PS256 => &["PS256"],
        _ => &[],
    }
}

/// Whether some registered key could go by this `alg`.
pub(super) fn is_accepted(alg: &str) -> bool {
    [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::PS256]
        .into_iter()
        .any(|algorithm| names(algorithm).contains(&alg))
}

/// The key's algorithm if the key is sound: parsed by AWS-LC (a point on its
/// curve, a modulus of allowed size) and in its one canonical encoding.
fn suitable(jwk: &Jwk) -> Option<Algorithm> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            ParsedPublicKey::new(&ED25519, bytes(&pair.x)?).ok()?;
            Some(Algorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(point) => {
            let (x, y) = (bytes(&point.x)?, bytes(&point.y)?);
            let uncompressed = [&[4u8][..], &x, &y].concat();
            match point.curve {
                EllipticCurve::P256 if (x.len(), y.len()) == (32, 32) => {
                    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, uncompressed).ok()?;
                    Some(Algorithm::ES256)
                }
                EllipticCurve::P384 if (x.len(), y.len()) == (48, 48) => {
                    ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, uncompressed).ok()?;
                    Some(Algorithm::ES384)
                }
                _ => None,
            }
        }
        AlgorithmParameters::RSA(rsa) => {
            let (n, e) = (bytes(&rsa.n)?, bytes(&rsa.e)?);
            // RFC 7518 §6.3.1.1: no leading zero octets, so that a modulus has one thumbprint.
            if n.first() == Some(&0) || e.first() == Some(&0) || !(256..=1024).contains(&n.len()) {
                return None;
            }
            let der: PublicKeyX509Der<'_> = RsaPublicKeyComponents { n: &n, e: &e }.as_der().ok()?;
            ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, der.as_ref()).ok()?;
            Some(Algorithm::PS256)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// RFC 8037 appendix A.2 and A.3.
    const RFC8037: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// RFC 7517 appendix A.1, the first key.
    const RFC7517_EC: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    /// RFC 7638 section 3.1.
    const RFC7638_RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB"}"#;

    fn load(jwk: &str) -> Result<AccessKey, Reason> {
        AccessKey::from_jwk("controllers/xingyu", jwk).map_err(|refusal| refusal.reason)
    }

    fn spoilt(jwk: &str, member: &str, value: Value) -> String {
        let mut jwk: Value = serde_json::from_str(jwk).unwrap();
        jwk[member] = value;
        jwk.to_string()
    }

    #[test]
    fn the_examples_of_the_rfcs_have_their_published_thumbprints() {
        assert_eq!(load(RFC8037).unwrap().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(load(RFC7638_RSA).unwrap().kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert!(load(RFC7517_EC).unwrap().goes_by("ES256"));
        assert!(load(RFC7638_RSA).unwrap().goes_by("PS256"));
        assert!(!load(RFC7638_RSA).unwrap().goes_by("RS256"));
    }

    #[test]
    fn an_unsuitable_key_is_refused() {
        for jwk in [
            "{}".into(),
            "[]".into(),
            r#"{"kty":"oct","k":"AAAA"}"#.into(),
            spoilt(RFC8037, "d", json!("AAAA")),
            spoilt(RFC8037, "alg", json!("ES256")),
            spoilt(RFC8037, "alg", json!("none")),
            spoilt(RFC8037, "x", json!("11qY")),
            // The last character carries stray bits: a second spelling of the key.
            spoilt(RFC8037, "x", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp")),
            spoilt(RFC7517_EC, "crv", json!("P-384")),
            spoilt(RFC7517_EC, "crv", json!("secp256k1")),
            // A point beside the curve.
            spoilt(RFC7517_EC, "y", json!("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyA")),
            spoilt(RFC7638_RSA, "n", json!("0vx7agoebGcQSuuPiLJXZptN9nndrQmb")),
            spoilt(RFC7638_RSA, "e", json!("AAEAAQ")),
        ] {
            assert_eq!(load(&jwk).map(|_| ()), Err(Reason::KeyUnsuitable), "{jwk} was taken");
        }
    }
}
