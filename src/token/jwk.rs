//! Public keys as JWK (RFC 7517, 7518 §6, 8037), their thumbprints (RFC 7638),
//! and checking signatures with them.
//!
//! Each type of key has exactly one algorithm, so `alg` in a header can only
//! agree or be refused; it never chooses (RFC 8725 §3.1).

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Map, Value};

use super::digest::KeyId;
use super::{base64url, json};
use crate::domain::{Reason, Refusal};

/// The signature algorithms of the profile (RFC 7518 §3, RFC 8037 §3.1, RFC 9864 for the name `Ed25519`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Ps256,
}

impl Algorithm {
    pub fn from_header(name: &str) -> Option<Self> {
        match name {
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            "ES256" => Some(Algorithm::Es256),
            "ES384" => Some(Algorithm::Es384),
            "PS256" => Some(Algorithm::Ps256),
            _ => None,
        }
    }

    pub fn header_name(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Ps256 => "PS256",
        }
    }
}

/// The key's bytes, checked for shape. Coordinates have their full fixed length;
/// `n` and `e` are big-endian without leading zeros.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Material {
    Ed25519 { x: [u8; 32] },
    P256 { x: [u8; 32], y: [u8; 32] },
    P384 { x: [u8; 48], y: [u8; 48] },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// A public key whose type, size and encoding are acceptable.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicJwk(Material);

fn unsuitable(rule: &'static str) -> Refusal {
    Refusal::at(Reason::KeyUnsuitable, "jwk").note(rule)
}

/// The seven encodings of `y` (sign bit apart) of points of small order on
/// Curve25519, canonical and not. Under such a "key" one signature fits many messages.
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn almost_p(first: u8) -> [u8; 32] {
        let mut y = [0xff; 32];
        y[0] = first;
        y[31] = 0x7f;
        y
    }
    const fn small(first: u8) -> [u8; 32] {
        let mut y = [0; 32];
        y[0] = first;
        y
    }
    [
        small(0),
        small(1),
        almost_p(0xec),
        almost_p(0xed),
        almost_p(0xee),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

impl PublicJwk {
    /// Reads a JWK's JSON. Private members (`d`, `p`, …) and any member beyond
    /// `kty crv x y n e kid alg use` are refused; `kid` and `alg`, when present, must be the key's own.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut map = json::read_object(bytes).map_err(|_| unsuitable("must be a JSON object"))?;
        let key = Self::take_from(&mut map)?;
        if let Some(usage) = map.remove("use")
            && usage != "sig"
        {
            return Err(unsuitable("use, when present, must be sig"));
        }
        if !map.is_empty() {
            return Err(unsuitable("only kty, crv, x, y, n, e, kid, alg and use may stand in a public key"));
        }
        Ok(key)
    }

    /// Takes the key's own members out of an object and leaves the rest to the caller.
    pub(super) fn take_from(map: &mut Map<String, Value>) -> Result<Self, Refusal> {
        let kty = take_string(map, "kty")?;
        let material = match kty.as_str() {
            "OKP" => {
                if take_string(map, "crv")? != "Ed25519" {
                    return Err(unsuitable("the only OKP curve is Ed25519"));
                }
                Material::Ed25519 { x: take_array(map, "x")? }
            }
            "EC" => match take_string(map, "crv")?.as_str() {
                "P-256" => Material::P256 { x: take_array(map, "x")?, y: take_array(map, "y")? },
                "P-384" => Material::P384 { x: take_array(map, "x")?, y: take_array(map, "y")? },
                _ => return Err(unsuitable("the EC curves are P-256 and P-384")),
            },
            "RSA" => Material::Rsa { n: take_bytes(map, "n")?, e: take_bytes(map, "e")? },
            _ => return Err(unsuitable("kty must be OKP, EC or RSA")),
        };
        let key = Self(material);
        key.check_strength()?;
        if let Some(kid) = map.remove("kid")
            && kid.as_str() != Some(key.thumbprint().to_string().as_str())
        {
            return Err(unsuitable("kid, when present, must be the RFC 7638 thumbprint"));
        }
        if let Some(alg) = map.remove("alg")
            && alg.as_str().and_then(Algorithm::from_header) != Some(key.algorithm())
        {
            return Err(unsuitable("alg, when present, must be the key's own algorithm"));
        }
        Ok(key)
    }

    fn check_strength(&self) -> Result<(), Refusal> {
        match &self.0 {
            Material::Ed25519 { x } => {
                let mut y = *x;
                y[31] &= 0x7f;
                if SMALL_ORDER.contains(&y) {
                    return Err(unsuitable("the Ed25519 key is a point of small order"));
                }
            }
            Material::Rsa { n, e } => {
                let bits = match n.first() {
                    Some(0) | None => return Err(unsuitable("n must have no leading zero")),
                    Some(first) => n.len() * 8 - first.leading_zeros() as usize,
                };
                if !(2048..=4096).contains(&bits) || n.last().is_some_and(|last| last & 1 == 0) {
                    return Err(unsuitable("an RSA modulus must be odd and have 2048 to 4096 bits"));
                }
                // FIPS 186-5 §5.1 asks for an odd e over 2^16; over 2^32 only slows us down.
                let exponent = e.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
                if e.len() > 4 || e.first() == Some(&0) || exponent < 65_537 || exponent & 1 == 0 {
                    return Err(unsuitable("an RSA exponent must be odd, from 65537 to 2^32"));
                }
            }
            // Whether the point lies on the curve is checked when the key is made ready.
            Material::P256 { .. } | Material::P384 { .. } => {}
        }
        Ok(())
    }

    pub(super) fn ed25519(x: [u8; 32]) -> Self {
        Self(Material::Ed25519 { x })
    }

    /// From the uncompressed point `04 ‖ x ‖ y` (SEC 1 §2.3.3).
    pub(super) fn ec_point(point: &[u8]) -> Option<Self> {
        let coordinates = point.strip_prefix(&[4])?;
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        let material = match x.len() {
            32 => Material::P256 { x: x.try_into().ok()?, y: y.try_into().ok()? },
            48 => Material::P384 { x: x.try_into().ok()?, y: y.try_into().ok()? },
            _ => return None,
        };
        Some(Self(material))
    }

    /// The uncompressed point of an EC key.
    pub(super) fn to_ec_point(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Material::P256 { x, y } => Some([&[4][..], x, y].concat()),
            Material::P384 { x, y } => Some([&[4][..], x, y].concat()),
            Material::Ed25519 { .. } | Material::Rsa { .. } => None,
        }
    }

    pub(super) fn rsa_components(&self) -> Option<(&[u8], &[u8])> {
        match &self.0 {
            Material::Rsa { n, e } => Some((n, e)),
            _ => None,
        }
    }

    /// The one algorithm this key signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Material::Ed25519 { .. } => Algorithm::EdDsa,
            Material::P256 { .. } => Algorithm::Es256,
            Material::P384 { .. } => Algorithm::Es384,
            Material::Rsa { .. } => Algorithm::Ps256,
        }
    }

    /// The required members alone, in lexicographic order, without white space (RFC 7638 §3.2).
    /// This is also the form in which we show a key.
    pub fn canonical(&self) -> String {
        let b = |bytes: &[u8]| base64url::encode(bytes);
        match &self.0 {
            Material::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b(x)),
            Material::P256 { x, y } => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, b(x), b(y))
            }
            Material::P384 { x, y } => {
                format!(r#"{{"crv":"P-384","kty":"EC","x":"{}","y":"{}"}}"#, b(x), b(y))
            }
            Material::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b(e), b(n)),
        }
    }

    /// RFC 7638 thumbprint: the key's id.
    pub fn thumbprint(&self) -> KeyId {
        KeyId::of_canonical_jwk(&self.canonical())
    }
}

impl fmt::Debug for PublicJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicJwk({}, {})", self.algorithm().header_name(), self.thumbprint())
    }
}

fn take_string(map: &mut Map<String, Value>, name: &str) -> Result<String, Refusal> {
    match map.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(unsuitable("a member of the key is missing or no string")),
    }
}

fn take_bytes(map: &mut Map<String, Value>, name: &str) -> Result<Vec<u8>, Refusal> {
    base64url::decode(take_string(map, name)?)
        .map_err(|_| unsuitable("a member of the key is no canonical base64url"))
}

fn take_array<const N: usize>(map: &mut Map<String, Value>, name: &str) -> Result<[u8; N], Refusal> {
    take_bytes(map, name)?.try_into().map_err(|_| {
        unsuitable("a coordinate has not the length of the curve's field (RFC 7518 section 6.2.1.2)")
    })
}

/// The signature does not verify, or `alg` is not the key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the algorithm is not the key's")]
    Algorithm,
    #[error("the signature does not verify")]
    Signature,
}

/// A public key made ready once, for many signatures.
#[derive(Clone)]
pub struct VerifyingKey {
    jwk: PublicJwk,
    id: KeyId,
    parsed: ParsedPublicKey,
}

impl VerifyingKey {
    pub fn new(jwk: PublicJwk) -> Result<Self, Refusal> {
        let point = jwk.to_ec_point();
        let parsed = match (&jwk.0, &point) {
            (Material::Ed25519 { x }, _) => ParsedPublicKey::new(&ED25519, x),
            (Material::P256 { .. }, Some(point)) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            (Material::P384 { .. }, Some(point)) => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            (Material::Rsa { n, e }, _) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PSS_2048_8192_SHA256)
            }
            (Material::P256 { .. } | Material::P384 { .. }, None) => {
                return Err(unsuitable("the key has no point"));
            }
        }
        .map_err(|_| unsuitable("the key's point is not on its curve"))?;
        Ok(Self { id: jwk.thumbprint(), jwk, parsed })
    }

    pub fn jwk(&self) -> &PublicJwk {
        &self.jwk
    }
    pub fn id(&self) -> KeyId {
        self.id
    }
    pub fn algorithm(&self) -> Algorithm {
        self.jwk.algorithm()
    }

    /// ES signatures are raw `r ‖ s` (RFC 7518 §3.4); PS256's salt is 32 bytes (§3.5).
    pub fn verify(&self, alg: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        if alg != self.algorithm() {
            return Err(SignatureError::Algorithm);
        }
        self.parsed.verify_sig(message, signature).map_err(|_| SignatureError::Signature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jwk.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638_and_rfc_8037() {
        let rsa = br#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        // RFC 7638 §3.1 has another alg and kid; the profile refuses both, so take them away.
        let mut map = json::read_object(rsa).unwrap();
        map.remove("alg");
        map.remove("kid");
        let key = PublicJwk::take_from(&mut map).unwrap();
        assert_eq!(key.thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037 appendix A.3
        let okp = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = PublicJwk::from_json(okp).unwrap();
        assert_eq!(key.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn rfc_8037_appendix_a_5_verifies_and_one_bit_more_does_not() {
        let okp = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = VerifyingKey::new(PublicJwk::from_json(okp).unwrap()).unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let mut signature = base64url::decode(
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        )
        .unwrap();
        assert_eq!(key.verify(Algorithm::EdDsa, message, &signature), Ok(()));
        assert_eq!(key.verify(Algorithm::Es256, message, &signature), Err(SignatureError::Algorithm));
        signature[3] ^= 1;
        assert_eq!(key.verify(Algorithm::EdDsa, message, &signature), Err(SignatureError::Signature));
    }

    #[test]
    fn weak_private_and_odd_keys_are_unsuitable() {
        let b = |bytes: &[u8]| base64url::encode(bytes);
        let okp = |x: &str, rest: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{rest}}}"#);
        let good = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let mut signed_zero = [0u8; 32];
        signed_zero[31] = 0x80;
        let short_n = b(&[0xff; 255]);
        for bad in [
            okp(&b(&[0; 32]), ""),
            okp(&b(&signed_zero), ""),
            okp(&b(&SMALL_ORDER[6]), ""),
            okp(&b(&[9; 31]), ""),
            okp(good, r#","d":"AAAA""#),
            okp(good, r#","kid":"mine""#),
            okp(good, r#","alg":"HS256""#),
            okp(good, r#","use":"enc""#),
            r#"{"kty":"oct","k":"AAAA"}"#.to_owned(),
            r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_owned(),
            format!(r#"{{"kty":"RSA","n":"{short_n}","e":"AQAB"}}"#),
            format!(r#"{{"kty":"RSA","n":"{}","e":"Aw"}}"#, b(&[0xff; 256])),
        ] {
            let refusal = PublicJwk::from_json(bad.as_bytes()).expect_err(&bad);
            assert_eq!(refusal.reason, Reason::KeyUnsuitable);
        }
        let off_curve =
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, b(&[1; 32]), b(&[1; 32]));
        let key = PublicJwk::from_json(off_curve.as_bytes()).unwrap();
        assert_eq!(VerifyingKey::new(key).unwrap_err().reason, Reason::KeyUnsuitable);
    }
}
