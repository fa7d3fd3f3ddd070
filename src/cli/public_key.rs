//! A public key out of a file: a JWK, or the PEM that OpenSSL and every HSM's tool write.

use std::path::Path;

use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{CliError, files};
use crate::identity::tls_key::canonical_jwk;
use crate::token::PublicJwk;

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
    PublicJwk::from_json(jwk.as_bytes()).map_err(|refusal| wrong(&refusal.to_string()))
}

/// The JWK of a SubjectPublicKeyInfo, with no more than its shape checked.
fn of_der(der: &[u8]) -> Option<String> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    if rest.is_empty() { canonical_jwk(&info) } else { None }
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
