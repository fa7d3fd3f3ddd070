//! A public key out of a file: a JWK, or the PEM that OpenSSL and every HSM's tool write.

use std::path::Path;

use serde_json::json;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{CliError, files};
use crate::token::{PublicJwk, base64url};

/// Reads a JWK, or `-----BEGIN PUBLIC KEY-----` (RFC 5280 §4.1.2.7, RFC 8410).
pub fn read(path: &Path) -> Result<PublicJwk, CliError> {
    let bytes = files::read(path)?;
    let wrong = |what: &str| CliError::Plain(format!("{}: {what}", path.display()));
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return PublicJwk::from_json(&bytes).map_err(|refusal| wrong(&refusal.to_string()));
    }
    let pem = Pem::iter_from_buffer(&bytes).next().and_then(Result::ok);
    let pem = pem
        .filter(|pem| pem.label == "PUBLIC KEY")
        .ok_or_else(|| wrong("neither a JWK nor a PEM PUBLIC KEY"))?;
    let jwk = of_der(&pem.contents).ok_or_else(|| wrong("the key is of a type that is not accepted"))?;
    PublicJwk::from_json(jwk.to_string().as_bytes()).map_err(|refusal| wrong(&refusal.to_string()))
}

/// The JWK of a SubjectPublicKeyInfo, with no more than its shape checked.
fn of_der(der: &[u8]) -> Option<serde_json::Value> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    // RFC 8410 §3: Ed25519 is 1.3.101.112, and its key stands as it is.
    if info.algorithm.algorithm.to_id_string() == "1.3.101.112" {
        return Some(
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(&info.subject_public_key.data)}),
        );
    }
    match info.parsed().ok()? {
        PublicKey::EC(point) => {
            let coordinates = point.data().strip_prefix(&[4])?;
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let crv = match x.len() {
                32 => "P-256",
                48 => "P-384",
                _ => return None,
            };
            Some(json!({"kty": "EC", "crv": crv, "x": base64url::encode(x), "y": base64url::encode(y)}))
        }
        PublicKey::RSA(key) => {
            // A leading zero of the DER integer is not part of JOSE's form.
            let bare =
                |integer: &[u8]| base64url::encode(&integer[usize::from(integer.first() == Some(&0))..]);
            Some(json!({"kty": "RSA", "n": bare(key.modulus), "e": bare(key.exponent)}))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Algorithm;

    /// RFC 8410 §10.1.
    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    fn read_text(text: &str) -> Result<PublicJwk, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        files::write_public(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn the_example_of_rfc_8410_is_read() {
        let key = read_text(ED25519).unwrap();
        assert_eq!(key.algorithm(), Algorithm::EdDsa);
        assert!(key.canonical().contains("Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"));
    }

    #[test]
    fn a_private_key_and_a_type_that_is_not_accepted_are_refused() {
        let x25519 = ED25519.replace("MCowBQYDK2Vw", "MCowBQYDK2Vu");
        let private =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"AA"}"#;
        for bad in [x25519.as_str(), private, "hello", &ED25519.replace("PUBLIC", "PRIVATE")] {
            assert!(read_text(bad).is_err(), "{bad}");
        }
    }
}
