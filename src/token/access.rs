//! The claims of an access token (RFC 9068), bound to a certificate (RFC 8705).
//!
//! The client's half: what a token says, and minting it. An incoming token is judged in one
//! place, at the edge (`identity::access_token`), by the key that was registered for the caller.

use serde::{Deserialize, Serialize};

use super::base64url;
use super::digest::Digest;
use super::private_key::PrivateKey;
use crate::domain::{Reason, Refusal};

/// `exp - iat`, seconds.
pub const MAX_TOKEN_LIFETIME: i64 = 300;

/// RFC 7800's confirmation, with RFC 8705's member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// SHA-256 of the certificate's DER.
    #[serde(rename = "x5t#S256")]
    pub certificate: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// The caller's resource name, as `controllers/xingyu`.
    pub iss: String,
    /// The SPIFFE URI of the caller's certificate.
    pub sub: String,
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    /// Scopes, separated by one space (RFC 6749 §3.3).
    pub scope: String,
    pub cnf: Confirmation,
}

impl AccessClaims {
    /// Signs the claims, `typ: at+jwt`, with the caller's access key.
    pub fn mint(&self, key: &PrivateKey) -> Result<String, Refusal> {
        let header =
            format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"}}"#, key.algorithm().header_name(), key.id());
        let claims = serde_json::to_vec(self).map_err(|_| Refusal::new(Reason::TokenMalformed))?;
        let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
        let signature = key.sign(input.as_bytes())?;
        Ok(format!("{input}.{}", base64url::encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::VerifyingKey;
    use crate::token::fixtures::key;
    use crate::token::jws::{Jws, Profile};

    fn claims() -> AccessClaims {
        AccessClaims {
            iss: "controllers/xingyu".into(),
            sub: "spiffe://ppio.example/controller/xingyu/backend".into(),
            aud: "mandate.ppio.example".into(),
            iat: 1000,
            exp: 1300,
            jti: "t1".into(),
            scope: "requests.read instructions.submit".into(),
            cnf: Confirmation { certificate: Digest::of("certificate") },
        }
    }

    #[test]
    fn a_minted_token_verifies_and_carries_the_claims() {
        let key = key("access");
        let token = claims().mint(&key).unwrap();
        let profile = Profile { typ: "at+jwt", max_payload: 4096, max_signatures: 1 };
        let jws = Jws::read_compact(&token, &profile).unwrap();
        let verifying = VerifyingKey::new(key.public().clone()).unwrap();
        jws.verify(&jws.signatures()[0], &verifying).unwrap();
        assert_eq!(serde_json::from_slice::<AccessClaims>(jws.payload()).unwrap(), claims());
    }
}
