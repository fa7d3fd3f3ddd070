//! The claims of an access token (RFC 9068), bound to a certificate (RFC 8705).
//!
//! Here are the claims, their pure checks, and minting for the command line.
//! The signature on an incoming token is checked at the edge, with the key that
//! was registered for the caller.

use serde::{Deserialize, Serialize};

use super::base64url;
use super::digest::Digest;
use super::private_key::PrivateKey;
use crate::domain::{Reason, Refusal};

/// `exp - iat`, seconds.
pub const MAX_TOKEN_LIFETIME: i64 = 300;
/// How far two clocks may differ, seconds.
pub const LEEWAY: i64 = 30;

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

/// What the connection and the gateway say the token must be.
#[derive(Debug, Clone, Copy)]
pub struct AccessExpected<'a> {
    /// The owner of the registered key.
    pub iss: &'a str,
    /// The URI in the certificate on this connection.
    pub spiffe_uri: &'a str,
    pub aud: &'a str,
    /// SHA-256 of that certificate's DER.
    pub certificate: &'a Digest,
    /// Seconds.
    pub now: i64,
}

impl AccessClaims {
    /// Everything but the signature.
    pub fn check(&self, expected: &AccessExpected<'_>) -> Result<(), Refusal> {
        if self.iss != expected.iss {
            return Err(Reason::TokenIssuer.into());
        }
        if !self.sub.starts_with("spiffe://") {
            return Err(Reason::TokenSubject.into());
        }
        if self.sub != expected.spiffe_uri {
            return Err(Reason::PrincipalMismatch.into());
        }
        if self.aud != expected.aud {
            return Err(Reason::TokenAudience.into());
        }
        let lifetime = self.exp.checked_sub(self.iat);
        if !lifetime.is_some_and(|seconds| (1..=MAX_TOKEN_LIFETIME).contains(&seconds)) {
            return Err(Reason::TokenLifetime.into());
        }
        if expected.now >= self.exp.saturating_add(LEEWAY) {
            return Err(Reason::TokenExpired.into());
        }
        if self.iat > expected.now.saturating_add(LEEWAY) {
            return Err(Reason::TokenNotYetValid.into());
        }
        if self.cnf.certificate != *expected.certificate {
            return Err(Reason::TokenBinding.into());
        }
        Ok(())
    }

    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|held| held == scope)
    }

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

    fn reason(claims: &AccessClaims, now: i64) -> Option<Reason> {
        let certificate = Digest::of("certificate");
        let expected = AccessExpected {
            iss: "controllers/xingyu",
            spiffe_uri: "spiffe://ppio.example/controller/xingyu/backend",
            aud: "mandate.ppio.example",
            certificate: &certificate,
            now,
        };
        claims.check(&expected).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn each_wrong_claim_has_its_reason() {
        let good = claims();
        assert_eq!(reason(&good, 1000), None);
        assert_eq!(reason(&good, 1329), None);
        assert_eq!(reason(&good, 1330), Some(Reason::TokenExpired));
        assert_eq!(reason(&good, 970), None);
        assert_eq!(reason(&good, 969), Some(Reason::TokenNotYetValid));
        let with = |change: fn(&mut AccessClaims)| {
            let mut claims = claims();
            change(&mut claims);
            reason(&claims, 1000)
        };
        assert_eq!(with(|c| c.iss = "controllers/other".into()), Some(Reason::TokenIssuer));
        assert_eq!(with(|c| c.sub = "xingyu".into()), Some(Reason::TokenSubject));
        assert_eq!(with(|c| c.sub.push('2')), Some(Reason::PrincipalMismatch));
        assert_eq!(with(|c| c.aud = "else".into()), Some(Reason::TokenAudience));
        assert_eq!(with(|c| c.exp = 1301), Some(Reason::TokenLifetime));
        assert_eq!(with(|c| c.exp = i64::MIN), Some(Reason::TokenLifetime));
        assert_eq!(with(|c| c.cnf.certificate = Digest::of("stolen")), Some(Reason::TokenBinding));
        assert!(good.has_scope("requests.read") && !good.has_scope("requests"));
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
