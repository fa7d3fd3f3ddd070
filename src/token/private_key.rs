//! Signing keys as private JWKs, for the command line, `init` and tests.
//!
//! A gateway never holds a controller's signing key. The JWK text is wiped
//! from memory when the key is dropped; `Debug` shows the public id alone.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::digest::KeyId;
use super::jwk::{Algorithm, PublicJwk};
use super::{base64url, json};
use crate::domain::{Entropy, Reason, Refusal};

/// Which key to make. RSA keys are taken as they come from elsewhere, not made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Ed25519,
    P256,
    P384,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A signing key.
pub struct PrivateKey {
    pair: Pair,
    public: PublicJwk,
    id: KeyId,
    text: Zeroizing<String>,
}

fn unsuitable(rule: &'static str) -> Refusal {
    Refusal::at(Reason::KeyUnsuitable, "jwk").note(rule)
}

impl PrivateKey {
    /// A new key. Ed25519 takes its seed from `entropy`; for the NIST curves
    /// AWS-LC draws the scalar itself, because it must be uniform below the order.
    pub fn generate(kind: KeyKind, entropy: &dyn Entropy) -> Result<Self, Refusal> {
        match kind {
            KeyKind::Ed25519 => {
                let seed = Zeroizing::new(entropy.array::<32>());
                let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
                    .map_err(|_| unsuitable("the seed makes no key"))?;
                Self::from_ed25519(pair, seed.as_slice())
            }
            KeyKind::P256 | KeyKind::P384 => {
                let alg = if kind == KeyKind::P256 {
                    &ECDSA_P256_SHA256_FIXED_SIGNING
                } else {
                    &ECDSA_P384_SHA384_FIXED_SIGNING
                };
                let pair = EcdsaKeyPair::generate(alg).map_err(|_| unsuitable("no key could be made"))?;
                let scalar: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_| unsuitable("no key could be made"))?;
                let scalar = Zeroizing::new(scalar.as_ref().to_vec());
                let public = PublicJwk::ec_point(pair.public_key().as_ref())
                    .ok_or_else(|| unsuitable("no key could be made"))?;
                Ok(Self::assemble(Pair::Ecdsa(pair), public, &[("d", &scalar)]))
            }
        }
    }

    /// Reads a private JWK: OKP/Ed25519, EC/P-256, EC/P-384 (`d`), or RSA with
    /// all of `d p q dp dq qi`. The public part must belong to the private one.
    pub fn from_jwk(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut map = json::read_object(bytes).map_err(|_| unsuitable("must be a JSON object"))?;
        let read = Self::take_from(&mut map);
        for value in map.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
        read
    }

    fn take_from(map: &mut Map<String, Value>) -> Result<Self, Refusal> {
        let public = PublicJwk::take_from(map)?;
        let d = take_secret(map, "d")?;
        let mismatch = |_| unsuitable("the private part does not belong to the public part");
        match public.algorithm() {
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&d).map_err(mismatch)?;
                let key = Self::from_ed25519(pair, &d)?;
                if key.public == public {
                    Ok(key)
                } else {
                    Err(unsuitable("the private part does not belong to the public part"))
                }
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                let alg = if public.algorithm() == Algorithm::Es256 {
                    &ECDSA_P256_SHA256_FIXED_SIGNING
                } else {
                    &ECDSA_P384_SHA384_FIXED_SIGNING
                };
                let point = public.to_ec_point().ok_or_else(|| unsuitable("the key has no point"))?;
                let pair =
                    EcdsaKeyPair::from_private_key_and_public_key(alg, &d, &point).map_err(mismatch)?;
                Ok(Self::assemble(Pair::Ecdsa(pair), public, &[("d", &d)]))
            }
            Algorithm::Ps256 => {
                let [p, q, dp, dq, qi] = ["p", "q", "dp", "dq", "qi"].map(|name| take_secret(map, name));
                let (p, q, dp, dq, qi) = (p?, q?, dp?, dq?, qi?);
                let (n, e) = public.rsa_components().ok_or_else(|| unsuitable("the key has no modulus"))?;
                let pair = RsaKeyPair::from_components(&aws_lc_rs::rsa::KeyPairComponents {
                    public_key: aws_lc_rs::rsa::PublicKeyComponents { n, e },
                    d: d.as_slice(),
                    p: p.as_slice(),
                    q: q.as_slice(),
                    dP: dp.as_slice(),
                    dQ: dq.as_slice(),
                    qInv: qi.as_slice(),
                })
                .map_err(mismatch)?;
                let secrets = [
                    ("d", &d[..]),
                    ("p", &p[..]),
                    ("q", &q[..]),
                    ("dp", &dp[..]),
                    ("dq", &dq[..]),
                    ("qi", &qi[..]),
                ];
                Ok(Self::assemble(Pair::Rsa(pair), public, &secrets))
            }
        }
    }

    fn from_ed25519(pair: Ed25519KeyPair, seed: &[u8]) -> Result<Self, Refusal> {
        let x = pair.public_key().as_ref().try_into().map_err(|_| unsuitable("the seed makes no key"))?;
        Ok(Self::assemble(Pair::Ed25519(pair), PublicJwk::ed25519(x), &[("d", seed)]))
    }

    fn assemble(pair: Pair, public: PublicJwk, secrets: &[(&str, &[u8])]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(4096));
        let canonical = public.canonical();
        // The canonical form ends with its closing brace; the secret members go before it.
        text.push_str(canonical.strip_suffix('}').unwrap_or(&canonical));
        for (name, bytes) in secrets {
            let encoded = Zeroizing::new(base64url::encode(bytes));
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":\"");
            text.push_str(&encoded);
            text.push('"');
        }
        text.push('}');
        Self { id: public.thumbprint(), pair, public, text }
    }

    pub fn public(&self) -> &PublicJwk {
        &self.public
    }
    pub fn id(&self) -> KeyId {
        self.id
    }
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The private JWK, to be written to a file only its owner can read.
    pub fn to_jwk(&self) -> &str {
        &self.text
    }

    /// A signature in JOSE's form (RFC 7518 §3).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let failed = |_| Refusal::new(Reason::Internal).note("AWS-LC could not sign");
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ecdsa(pair) => {
                Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.id)
    }
}

fn take_secret(map: &mut Map<String, Value>, name: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let Some(Value::String(text)) = map.remove(name) else {
        return Err(unsuitable("a private member is missing"));
    };
    let text = Zeroizing::new(text);
    base64url::decode(text.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| unsuitable("a private member is no canonical base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemEntropy;
    use crate::token::VerifyingKey;

    #[test]
    fn what_each_kind_signs_its_public_key_verifies() {
        for kind in [KeyKind::Ed25519, KeyKind::P256, KeyKind::P384] {
            let made = PrivateKey::generate(kind, &SystemEntropy).unwrap();
            let key = PrivateKey::from_jwk(made.to_jwk().as_bytes()).unwrap();
            assert_eq!(key.public(), made.public());
            let signature = key.sign(b"message").unwrap();
            let verifying = VerifyingKey::new(key.public().clone()).unwrap();
            assert_eq!(verifying.verify(key.algorithm(), b"message", &signature), Ok(()), "{kind:?}");
            assert!(verifying.verify(key.algorithm(), b"massage", &signature).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn the_rsa_key_of_rfc_7515_signs_ps256() {
        // RFC 7515, Appendix A.2.1: a private key that everybody knows.
        let text = include_bytes!("../../tests/vectors/rfc7515-a2-rsa.jwk.json");
        let key = PrivateKey::from_jwk(text).unwrap();
        assert_eq!(key.algorithm(), Algorithm::Ps256);
        let again = PrivateKey::from_jwk(key.to_jwk().as_bytes()).unwrap();
        assert_eq!(again.id(), key.id());
        let signature = again.sign(b"message").unwrap();
        let verifying = VerifyingKey::new(key.public().clone()).unwrap();
        assert_eq!(verifying.verify(Algorithm::Ps256, b"message", &signature), Ok(()));
        assert!(verifying.verify(Algorithm::Ps256, b"massage", &signature).is_err());
    }

    #[test]
    fn a_private_part_of_another_key_is_refused() {
        let [a, b] = [(); 2].map(|()| PrivateKey::generate(KeyKind::P256, &SystemEntropy).unwrap());
        let mut mixed = json::read_object(a.to_jwk().as_bytes()).unwrap();
        mixed.insert("d".into(), json::read_object(b.to_jwk().as_bytes()).unwrap()["d"].clone());
        let refusal = PrivateKey::from_jwk(Value::Object(mixed).to_string().as_bytes()).unwrap_err();
        assert_eq!(refusal.reason, Reason::KeyUnsuitable);
    }

    #[test]
    fn the_secret_is_not_in_debug() {
        let key = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).unwrap();
        let d = json::read_object(key.to_jwk().as_bytes()).unwrap()["d"].as_str().unwrap().to_owned();
        assert!(!format!("{key:?}").contains(&d));
    }
}
