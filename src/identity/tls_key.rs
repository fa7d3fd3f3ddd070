//! The key of a certificate, by the name that every key of ours goes by: its RFC 7638 thumbprint.
//!
//! The same key has the same thumbprint whatever certificate it stands in, and as an access, instruction or report
//! key: one key has one use and one principal, for ever (decision 0021). The handshake has proven that the
//! peer holds its private part.

use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::domain::{Reason, Refusal};
use crate::token::{KeyId, base64url};

/// The thumbprint of a certificate's key. `CERTIFICATE_UNUSABLE` where the key is of no type that TLS here takes, or
/// spelled so that it would have a second thumbprint.
pub(super) fn thumbprint(certificate: &X509Certificate<'_>) -> Result<KeyId, Refusal> {
    let canonical = canonical_jwk(certificate.public_key()).ok_or_else(|| {
        Refusal::new(Reason::CertificateUnusable)
            .note("its key is of no type, or in no form, that is accepted")
    })?;
    Ok(KeyId::of_canonical_jwk(&canonical))
}

/// The thumbprint of the key in a DER certificate, if it is of a type that has one.
pub(super) fn thumbprint_of(certificate: &[u8]) -> Option<KeyId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    thumbprint(&certificate).ok()
}

/// The required members of the key's JWK (RFC 7638 §3.2, RFC 7518 §6, RFC 8037). Only the key's shape is looked at. A
/// compressed point (SEC 1 §2.3.3) is none of them: the same key has an uncompressed one.
pub fn canonical_jwk(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let b = |bytes: &[u8]| base64url::encode(bytes);
    // RFC 8410 §3: Ed25519 is 1.3.101.112, and its key stands as it is.
    if key.algorithm.algorithm.to_id_string() == "1.3.101.112" {
        let x: &[u8; 32] = key.subject_public_key.data.as_ref().try_into().ok()?;
        return Some(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b(x)));
    }
    match key.parsed().ok()? {
        PublicKey::EC(point) => {
            let coordinates = point.data().strip_prefix(&[4])?;
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let curve = match (x.len(), y.len()) {
                (32, 32) => "P-256",
                (48, 48) => "P-384",
                (66, 66) => "P-521",
                _ => return None,
            };
            Some(format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, b(x), b(y)))
        }
        PublicKey::RSA(key) => {
            // A DER integer may begin with a zero for its sign; JOSE's number does not.
            let bare = |integer: &[u8]| b(&integer[integer.iter().take_while(|byte| **byte == 0).count()..]);
            Some(format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, bare(key.exponent), bare(key.modulus)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::RsaPublicKeyComponents;
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
        PKCS_ED25519,
    };
    use x509_parser::prelude::FromDer;

    use super::*;
    use crate::identity::TokenSigner;

    fn in_a_certificate(key: &KeyPair) -> KeyId {
        let certificate = CertificateParams::default().self_signed(key).unwrap();
        let (_, certificate) = X509Certificate::from_der(certificate.der()).unwrap();
        thumbprint(&certificate).unwrap()
    }

    #[test]
    fn a_key_has_one_thumbprint_in_any_certificate_and_as_an_access_key() {
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let signer = TokenSigner::from_pkcs8_pem(key.serialize_pem().as_bytes()).unwrap();
            assert_eq!(in_a_certificate(&key).to_string(), signer.kid());
            assert_eq!(in_a_certificate(&key), in_a_certificate(&key), "two certificates");
        }
        // No access key can be of this curve; a certificate may.
        let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
        assert_eq!(in_a_certificate(&key), in_a_certificate(&key));
        assert_ne!(in_a_certificate(&key), in_a_certificate(&KeyPair::generate_for(&PKCS_ED25519).unwrap()));
    }

    #[test]
    fn an_rsa_key_has_the_thumbprint_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let n = base64url::decode(n).unwrap();
        let der: PublicKeyX509Der<'_> =
            RsaPublicKeyComponents { n: &n[..], e: &[1, 0, 1][..] }.as_der().unwrap();
        let (_, key) = SubjectPublicKeyInfo::from_der(der.as_ref()).unwrap();
        let canonical = canonical_jwk(&key).unwrap();
        let thumbprint = KeyId::of_canonical_jwk(&canonical).to_string();
        assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_compressed_point_is_no_second_spelling() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let point = key.public_key_raw();
        // RFC 5480 §2.1: id-ecPublicKey, prime256v1; a BIT STRING of 33 bytes, or of 65.
        let head = |length: u8, bits: u8| {
            let fixed =
                b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
            [&[0x30, length][..], fixed, &[0x03, bits, 0]].concat()
        };
        let is_known = |der: &[u8]| canonical_jwk(&SubjectPublicKeyInfo::from_der(der).unwrap().1).is_some();
        assert!(is_known(&[&head(0x59, 0x42)[..], point].concat()));
        let compressed = [&head(0x39, 0x22)[..], &[2 | (point[64] & 1)], &point[1..33]].concat();
        assert!(!is_known(&compressed));
    }
}
