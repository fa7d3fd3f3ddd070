//! Writing a key set, for the controller's side: `mandate init`, examples, tests.

use serde_json::{Map, Value, json};

use super::digest::{Digest, KeyId};
use super::jwk::PublicJwk;
use super::jws::Jws;
use super::keyset::{KeyUse, PROFILE, SetRole};
use super::keyset_policy::Policy;
use super::private_key::PrivateKey;
use crate::domain::{ControllerId, Reason, Refusal};

/// One key to be listed.
#[derive(Debug, Clone)]
pub struct KeyEntryDraft {
    pub jwk: PublicJwk,
    /// Opaque id of who holds it.
    pub signer: String,
    pub usage: KeyUse,
}

/// A key set before it is signed.
#[derive(Debug, Clone)]
pub struct KeySetDraft {
    pub iss: ControllerId,
    /// The trail's origin.
    pub aud: String,
    pub version: u64,
    pub prev: Option<Digest>,
    pub iat: i64,
    pub exp: i64,
    pub keys: Vec<KeyEntryDraft>,
    pub roles: Vec<(SetRole, Vec<KeyId>, u32)>,
}

impl KeySetDraft {
    /// Signs with root keys: of this set, and of the one before when there is one.
    /// The result is General JSON; reading it back is what checks it.
    pub fn sign(&self, keys: &[&PrivateKey]) -> Result<Vec<u8>, Refusal> {
        self.sign_with(&Policy::default(), keys)
    }

    /// The same with a policy.
    pub fn sign_with(&self, policy: &Policy, keys: &[&PrivateKey]) -> Result<Vec<u8>, Refusal> {
        let mut entries = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let mut entry: Map<String, Value> =
                serde_json::from_str(&key.jwk.canonical()).map_err(|_| Reason::Internal)?;
            entry.insert("kid".into(), key.jwk.thumbprint().to_string().into());
            entry.insert("alg".into(), key.jwk.algorithm().header_name().into());
            entry.insert("signer".into(), key.signer.clone().into());
            entry.insert("use".into(), key.usage.as_str().into());
            entries.push(Value::Object(entry));
        }
        let roles: Map<String, Value> = self
            .roles
            .iter()
            .map(|(role, kids, threshold)| (role.to_string(), json!({"kids": kids, "threshold": threshold})))
            .collect();
        let mut payload = json!({
            "iss": self.iss.resource_name(),
            "aud": self.aud,
            "version": self.version,
            "prev": self.prev,
            "iat": self.iat,
            "exp": self.exp,
            "keys": entries,
            "roles": roles,
        });
        if let Some(policy) = policy.to_json() {
            payload["policy"] = policy;
        }
        let jws = Jws::sign(payload.to_string().into_bytes(), &PROFILE, keys)?;
        Ok(jws.to_general(&[]).into_bytes())
    }
}
