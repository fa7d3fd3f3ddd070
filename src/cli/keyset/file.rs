//! A key set in its file: the payload exactly as it will be signed, and the signatures it has so far.
//!
//! Members that this tool does not know are carried on unchanged; the form's own rules judge the whole.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::{CliError, files};
use crate::domain::{Reason, Refusal};
use crate::token::jws::JwsSignature;
use crate::token::keyset::{self, KeyUse, SignedKeySet};
use crate::token::{Digest, PublicJwk, ToSign, VerifyingKey, base64url};

#[derive(Clone)]
pub struct KeySetFile {
    segment: String,
    pub payload: Map<String, Value>,
    signatures: Vec<Value>,
}

/// A key of the set as it is listed.
pub struct Listed<'a> {
    pub kid: String,
    pub signer: &'a str,
    pub usage: &'a str,
    pub jwk: PublicJwk,
}

fn malformed(what: &'static str) -> CliError {
    Refusal::at(Reason::KeySetMalformed, "key_set").note(what).into()
}

impl KeySetFile {
    /// Version 1 without keys, and without an end yet.
    pub fn first(iss: &str, aud: &str, now: i64) -> Self {
        let payload = json!({"iss": iss, "aud": aud, "version": 1, "prev": null, "iat": now, "exp": now, "keys": [], "roles": {}});
        let Value::Object(payload) = payload else { unreachable!("an object was written above") };
        Self { segment: String::new(), payload, signatures: Vec::new() }
    }

    pub fn read(path: &Path) -> Result<Self, CliError> {
        Self::parse(&files::read(path)?)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, CliError> {
        let outer: Value = serde_json::from_slice(bytes).map_err(|_| malformed("the file is no JSON"))?;
        let (Some(segment), Some(signatures)) = (outer["payload"].as_str(), outer["signatures"].as_array())
        else {
            return Err(malformed("a key set is JWS General JSON: payload and signatures"));
        };
        let payload =
            base64url::decode(segment).map_err(|_| malformed("the payload is not canonical base64url"))?;
        keyset::check_payload(&payload)?;
        if !signatures.is_empty() {
            SignedKeySet::read(bytes)?;
        }
        let payload = serde_json::from_slice(&payload).map_err(|_| malformed("the payload is no object"))?;
        Ok(Self { segment: segment.to_owned(), payload, signatures: signatures.clone() })
    }

    /// The version after this one: same keys and roles, no end yet, nobody has signed.
    pub fn next(&self, now: i64) -> Result<Self, CliError> {
        if !self.is_signed() {
            return Err(CliError::plain(
                "this set is not signed: it is no version that another could follow",
            ));
        }
        let mut payload = self.payload.clone();
        payload.insert("prev".into(), json!(self.digest()));
        payload.insert("version".into(), json!(self.version()? + 1));
        payload.insert("iat".into(), json!(now));
        payload.insert("exp".into(), json!(now));
        Ok(Self { segment: String::new(), payload, signatures: Vec::new() })
    }

    /// Writes the payload down for good and holds it against the form.
    pub fn checked(mut self) -> Result<Self, CliError> {
        let bytes = Value::Object(self.payload.clone()).to_string();
        keyset::check_payload(bytes.as_bytes())?;
        self.segment = base64url::encode(bytes);
        Ok(self)
    }

    pub fn text(&self) -> String {
        json!({"payload": self.segment, "signatures": self.signatures}).to_string()
    }

    /// SHA-256 over the payload segment: for version 1, what is pinned.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.segment)
    }
    pub fn version(&self) -> Result<u64, CliError> {
        self.payload.get("version").and_then(Value::as_u64).ok_or_else(|| malformed("no version"))
    }
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }
    pub fn word(&self, name: &str) -> &str {
        self.payload.get(name).and_then(Value::as_str).unwrap_or_default()
    }
    pub fn seconds(&self, name: &str) -> Option<i64> {
        self.payload.get(name).and_then(Value::as_i64)
    }

    pub fn keys(&self) -> Result<Vec<Listed<'_>>, CliError> {
        let keys = self.payload.get("keys").and_then(Value::as_array).ok_or_else(|| malformed("no keys"))?;
        keys.iter().map(listed).collect()
    }

    /// Role, thumbprints, threshold, in the order of the names.
    pub fn roles(&self) -> Vec<(&str, Vec<&str>, u64)> {
        let roles = self.payload.get("roles").and_then(Value::as_object);
        let mut read: Vec<_> = roles
            .into_iter()
            .flatten()
            .map(|(name, role)| {
                let kids = role["kids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                (name.as_str(), kids, role["threshold"].as_u64().unwrap_or_default())
            })
            .collect();
        read.sort();
        read
    }

    /// Whether any role names the key. One that none names is listed in vain.
    pub fn has_role(&self, kid: &str) -> bool {
        self.roles().iter().any(|(_, kids, _)| kids.contains(&kid))
    }

    /// Whether its members are those of the version after; signatures are another matter.
    pub fn check_follows(&self, previous: &KeySetFile) -> Result<(), CliError> {
        let before = SignedKeySet::read(previous.text().as_bytes())?;
        let payload = base64url::decode(&self.segment).map_err(|_| malformed("no payload"))?;
        Ok(keyset::check_next_payload(&payload, &before)?)
    }

    /// The bytes that this root key is to sign.
    pub fn to_sign(&self, key: PublicJwk) -> Result<ToSign, Refusal> {
        ToSign::new(keyset::PROFILE.typ, &self.segment, key)
    }

    pub fn add_signature(&mut self, signature: &JwsSignature) -> Result<(), CliError> {
        let kid = signature.kid.to_string();
        // A root that leaves signs the next set, too: it need not be listed in it.
        if self.keys()?.iter().any(|key| key.kid == kid && key.usage != KeyUse::Root.as_str()) {
            return Err(CliError::plain(
                "this key signs instructions; a key set is signed by root keys alone",
            ));
        }
        if self.signers()?.contains(&kid) {
            return Err(CliError::plain("this key has signed already"));
        }
        self.signatures.push(json!({
            "protected": signature.protected_segment(), "signature": signature.signature_segment(),
        }));
        Ok(())
    }

    /// The thumbprints in the protected headers, in order.
    pub fn signers(&self) -> Result<Vec<String>, CliError> {
        let kid = |entry: &Value| {
            let header = base64url::decode(entry["protected"].as_str()?).ok()?;
            serde_json::from_slice::<Value>(&header).ok()?["kid"].as_str().map(str::to_owned)
        };
        self.signatures
            .iter()
            .map(|entry| kid(entry).ok_or_else(|| malformed("a signature without kid")))
            .collect()
    }

    /// Those whose signature verifies under a root key of this set or of the one before.
    pub fn proven_signers(&self, previous: Option<&KeySetFile>) -> Result<Vec<String>, CliError> {
        let mut roots = self.keys()?;
        roots.extend(previous.map(KeySetFile::keys).transpose()?.unwrap_or_default());
        roots.retain(|key| key.usage == KeyUse::Root.as_str());
        let mut proven = Vec::new();
        for (kid, entry) in self.signers()?.into_iter().zip(&self.signatures) {
            let Some(root) = roots.iter().find(|key| key.kid == kid) else { continue };
            if self.verifies(entry, &root.jwk)? {
                proven.push(kid);
            }
        }
        Ok(proven)
    }

    fn verifies(&self, entry: &Value, jwk: &PublicJwk) -> Result<bool, CliError> {
        let word = |name: &str| entry[name].as_str().unwrap_or_default();
        let key = VerifyingKey::new(jwk.clone())?;
        let Ok(signature) = base64url::decode(word("signature")) else { return Ok(false) };
        let input = format!("{}.{}", word("protected"), self.segment);
        Ok(key.verify(key.algorithm(), input.as_bytes(), &signature).is_ok())
    }
}

/// Splits an entry of `keys` into the JWK and what the set says of it.
fn listed(entry: &Value) -> Result<Listed<'_>, CliError> {
    let material = ["kty", "crv", "x", "y", "n", "e"];
    let jwk: Map<String, Value> = entry
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| material.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let jwk = PublicJwk::from_json(Value::Object(jwk).to_string().as_bytes())?;
    let word = |name: &str| entry[name].as_str().unwrap_or_default();
    Ok(Listed { kid: jwk.thumbprint().to_string(), signer: word("signer"), usage: word("use"), jwk })
}
