//! The client's side of the access token: it issues its own.
//!
//! A workload holds an access key beside its TLS key. It mints a token of at
//! most 300 seconds whenever the last one runs out, bound to its certificate.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::access_token::{LIFETIME, TOKEN_TYPE};
use super::certificate::sha256;
use super::spiffe::SpiffeId;
use crate::domain::{Clock, Entropy, clock::uuid_v7};

/// What is wrong with an access key or an order. Holds nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    #[error("the access key is no PKCS#8 private key of type Ed25519, P-256 or P-384")]
    Key,
    #[error("an access token lives 1 to 300 seconds")]
    Lifetime,
    #[error("a scope is one or more visible ASCII characters without quote, backslash or space")]
    Scope,
    #[error("the access key could not sign")]
    Sign,
}

/// What a token should say.
#[derive(Debug, Clone, Copy)]
pub struct TokenOrder<'a> {
    /// The name in the certificate of the connection; `iss` and `sub` follow from it.
    pub spiffe: &'a SpiffeId,
    /// SHA-256 of the DER certificate of the connection.
    pub certificate_sha256: &'a [u8; 32],
    /// The gateway's audience.
    pub audience: &'a str,
    /// `resource.verb`, as the calls declare them.
    pub scopes: &'a [&'a str],
    /// Seconds, 1 to 300.
    pub lifetime: i64,
}

/// A private access key, ready to sign.
pub struct TokenSigner {
    algorithm: Algorithm,
    alg: &'static str,
    key: EncodingKey,
    kid: String,
    jwk: Value,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenSigner({})", self.kid)
    }
}

impl TokenSigner {
    /// Reads a `PRIVATE KEY` block (PKCS#8, unencrypted).
    pub fn from_pkcs8_pem(pem: &[u8]) -> Result<Self, MintError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| MintError::Key)?;
        Self::from_pkcs8_der(der.secret_pkcs8_der())
    }

    /// Reads PKCS#8 DER; the algorithm follows from the key: EdDSA, ES256 or ES384.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, MintError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            // RFC 7638 §3.2, RFC 8037 §2: members in lexical order, no spaces.
            let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            return Ok(Self::with(Algorithm::EdDSA, "EdDSA", EncodingKey::from_ed_der(der), &canonical, jwk));
        }
        let curves = [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", Algorithm::ES256, "ES256"),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", Algorithm::ES384, "ES384"),
        ];
        for (signing, crv, algorithm, alg) in curves {
            let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, der) else { continue };
            // SEC 1 §2.3.3: 0x04, x, y.
            let (x, y) = match pair.public_key().as_ref() {
                [4, point @ ..] => point.split_at(point.len() / 2),
                _ => return Err(MintError::Key),
            };
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            let canonical = format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#);
            let jwk = json!({"kty": "EC", "crv": crv, "x": x, "y": y});
            return Ok(Self::with(algorithm, alg, EncodingKey::from_ec_der(der), &canonical, jwk));
        }
        Err(MintError::Key)
    }

    fn with(
        algorithm: Algorithm,
        alg: &'static str,
        key: EncodingKey,
        canonical: &str,
        mut jwk: Value,
    ) -> Self {
        let kid = URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()));
        jwk["kid"] = json!(kid);
        jwk["alg"] = json!(alg);
        Self { algorithm, alg, key, kid, jwk }
    }

    /// The RFC 7638 thumbprint under which the key must be registered.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public JWK to register, with `kid` and `alg`.
    pub fn public_jwk(&self) -> &Value {
        &self.jwk
    }

    /// Mints a token; `iat` is the clock's now.
    pub fn mint(
        &self,
        order: &TokenOrder<'_>,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<String, MintError> {
        if !LIFETIME.contains(&order.lifetime) {
            return Err(MintError::Lifetime);
        }
        if !order.scopes.iter().all(|scope| is_scope(scope)) {
            return Err(MintError::Scope);
        }
        let iat = clock.now_seconds();
        let issuer = order.spiffe.principal().resource_name();
        let claims = json!({
            "iss": issuer,
            "client_id": issuer,
            "sub": order.spiffe.to_string(),
            "aud": order.audience,
            "iat": iat,
            "exp": iat.saturating_add(order.lifetime),
            "jti": uuid_v7(clock, entropy).to_string(),
            "scope": order.scopes.join(" "),
            "cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(order.certificate_sha256)},
        });
        let header = json!({"typ": TOKEN_TYPE, "alg": self.alg, "kid": self.kid});
        self.sign(&header, &claims)
    }

    /// Signs the header and claims as they stand, right or wrong (JWS compact, RFC 7515 §7.1).
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String, MintError> {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(super) fn sign_text(&self, header: &str, claims: &str) -> Result<String, MintError> {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &self.key, self.algorithm)
            .map_err(|_| MintError::Sign)?;
        Ok(format!("{input}.{signature}"))
    }
}

/// `scope-token` of RFC 6749 §3.3.
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}
