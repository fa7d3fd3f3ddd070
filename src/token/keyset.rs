//! A controller's key set: who may sign what, under which threshold.
//!
//! The rule is TUF's (specification 5.3.4–5.3.5): version N+1 is signed by the
//! root thresholds of N **and** N+1 and is exactly N+1; version 1 is signed by
//! its own root and pinned by digest over a second channel. A [`KeySet`] comes
//! into being only through these two doors.
//!
//! Thresholds count distinct *signers* (people, machines), not keys. A root key
//! signs key sets and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::digest::{Digest, KeyId};
use super::json;
use super::jwk::{PublicJwk, VerifyingKey};
use super::jws::{Jws, JwsError, Profile};
use super::keyset_policy::Policy;
use super::members::{Codes, Members};
use crate::domain::{Act, ControllerId, Reason, Refusal};

pub const MAX_KEY_SET_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 64;

pub const PROFILE: Profile = Profile { typ: "keyset+jwt", max_payload: 32 * 1024, max_signatures: 32 };

/// One key, one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// Signs key sets.
    Root,
    /// Signs instructions.
    Instruction,
}

impl KeyUse {
    pub fn as_str(self) -> &'static str {
        match self {
            KeyUse::Root => "root",
            KeyUse::Instruction => "instruction",
        }
    }
}

impl FromStr for KeyUse {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "root" => Ok(KeyUse::Root),
            "instruction" => Ok(KeyUse::Instruction),
            _ => Err(()),
        }
    }
}

/// What a role allows: to change the key set, or to order one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetRole {
    Root,
    Act(Act),
}

impl SetRole {
    pub fn key_use(self) -> KeyUse {
        match self {
            SetRole::Root => KeyUse::Root,
            SetRole::Act(_) => KeyUse::Instruction,
        }
    }
}

impl fmt::Display for SetRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetRole::Root => f.write_str("root"),
            SetRole::Act(act) => act.fmt(f),
        }
    }
}

impl FromStr for SetRole {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "root" { Ok(SetRole::Root) } else { text.parse().map(SetRole::Act).map_err(|_| ()) }
    }
}

/// A key of the set.
#[derive(Debug, Clone)]
pub struct SetKey {
    pub verifying: VerifyingKey,
    /// Opaque id of the person or machine that holds the key.
    pub signer: String,
    pub usage: KeyUse,
}

/// Which keys have a role, and how many distinct signers it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    pub kids: BTreeSet<KeyId>,
    pub threshold: u32,
}

#[derive(Debug, Clone)]
struct Content {
    iss: ControllerId,
    aud: String,
    version: u64,
    prev: Option<Digest>,
    iat: Option<i64>,
    exp: i64,
    keys: BTreeMap<KeyId, SetKey>,
    roles: BTreeMap<SetRole, RoleKeys>,
    policy: Policy,
}

/// A key set as received: well-formed, its signatures **not** yet checked.
#[derive(Debug, Clone)]
pub struct SignedKeySet {
    content: Content,
    jws: Jws,
    bytes: Vec<u8>,
}

const CODES: Codes = Codes {
    missing: Reason::KeySetMalformed,
    invalid: Reason::KeySetMalformed,
    unknown: Reason::KeySetMalformed,
};

fn malformed(rule: &'static str) -> Refusal {
    Refusal::at(Reason::KeySetMalformed, "key_set").note(rule)
}

fn unsigned(rule: &'static str) -> Refusal {
    Refusal::at(Reason::KeySetSignature, "key_set.signatures").note(rule)
}

fn refuse(error: JwsError) -> Refusal {
    match error {
        JwsError::TooLarge(_) => malformed("too large"),
        JwsError::Malformed(rule) | JwsError::Header(rule) => malformed(rule),
        JwsError::Encoding(_) => malformed("not canonical base64url"),
        JwsError::Algorithm => malformed("the algorithm is not allowed or not the key's"),
        JwsError::Signature => unsigned("a signature does not verify"),
    }
}

/// Whether these would be the members of a key set, before anybody has signed them.
pub fn check_payload(payload: &[u8]) -> Result<(), Refusal> {
    let map = json::read_object(payload).map_err(|_| malformed("the payload is no strict object"))?;
    Content::read(Members::new(map, "key_set", &CODES)).map(drop)
}

/// Whether these would be the members of the version after `previous`, before anybody has signed them.
pub fn check_next_payload(payload: &[u8], previous: &SignedKeySet) -> Result<(), Refusal> {
    let map = json::read_object(payload).map_err(|_| malformed("the payload is no strict object"))?;
    let content = Content::read(Members::new(map, "key_set", &CODES))?;
    content.check_follows(&previous.content, previous.digest())
}

impl SignedKeySet {
    /// Reads General JSON; the payload's members are checked, the signatures are not.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_KEY_SET_BYTES {
            return Err(malformed("over 64 KiB"));
        }
        let (jws, unprotected) = Jws::read_general(bytes, &PROFILE).map_err(refuse)?;
        if unprotected.is_some() {
            return Err(malformed("a key set has no unprotected header"));
        }
        let map =
            json::read_object(jws.payload()).map_err(|_| malformed("the payload is no strict object"))?;
        let content = Content::read(Members::new(map, "key_set", &CODES))?;
        Ok(Self { content, jws, bytes: bytes.to_vec() })
    }

    /// The thumbprint that is confirmed over a second channel and pinned:
    /// SHA-256 over the ASCII payload segment.
    pub fn digest(&self) -> Digest {
        self.jws.digest()
    }
    pub fn iss(&self) -> &ControllerId {
        &self.content.iss
    }
    /// The trail that it says it is for.
    pub fn aud(&self) -> &str {
        &self.content.aud
    }
    pub fn version(&self) -> u64 {
        self.content.version
    }
    /// What it asks of its orders. Whether the set is in force is for its signatures to say.
    pub fn policy(&self) -> &Policy {
        &self.content.policy
    }
    /// Who holds a key that it lists.
    pub fn signer_of(&self, kid: &KeyId) -> Option<&str> {
        self.content.keys.get(kid).map(|key| key.signer.as_str())
    }
    /// Thumbprint and use of each key it lists. Whether the set is in force is for its signatures to say.
    pub fn key_uses(&self) -> impl Iterator<Item = (KeyId, KeyUse)> {
        self.content.keys.iter().map(|(kid, key)| (*kid, key.usage))
    }

    /// The first door: version 1, with the digest that was pinned, signed by its own root.
    pub fn genesis(self, iss: &ControllerId, aud: &str, pin: &Digest) -> Result<KeySet, Refusal> {
        self.content.check_address(iss, aud)?;
        if self.content.version != 1 {
            return Err(Refusal::at(Reason::KeySetVersion, "key_set.version").note("the first is 1"));
        }
        if self.digest() != *pin {
            return Err(Refusal::at(Reason::KeySetThumbprint, "key_set"));
        }
        let signed = self.verify_all(None)?;
        self.content.check_root_threshold(&signed)?;
        Ok(self.into_key_set())
    }

    /// The second door: exactly the next version, naming its predecessor, signed by both roots.
    pub fn succeed(self, previous: &KeySet) -> Result<KeySet, Refusal> {
        self.check_succeeds(&previous.content, previous.digest)?;
        Ok(self.into_key_set())
    }

    /// The same rule for who has the files alone: whether it would follow that set, if that one is in force.
    pub fn would_succeed(&self, previous: &SignedKeySet) -> Result<(), Refusal> {
        self.check_succeeds(&previous.content, previous.digest())
    }

    fn check_succeeds(&self, previous: &Content, digest: Digest) -> Result<(), Refusal> {
        self.content.check_follows(previous, digest)?;
        let signed = self.verify_all(Some(previous))?;
        previous.check_root_threshold(&signed)?;
        self.content.check_root_threshold(&signed)
    }

    /// Every signature must verify under a root key of this set or the one before.
    fn verify_all(&self, previous: Option<&Content>) -> Result<BTreeSet<KeyId>, Refusal> {
        let mut signed = BTreeSet::new();
        for signature in self.jws.signatures() {
            let key = self
                .content
                .keys
                .get(&signature.kid)
                .or_else(|| previous.and_then(|set| set.keys.get(&signature.kid)))
                .filter(|key| key.usage == KeyUse::Root)
                .ok_or_else(|| unsigned("signed by a key that is no root key"))?;
            self.jws.verify(signature, &key.verifying).map_err(refuse)?;
            signed.insert(signature.kid);
        }
        Ok(signed)
    }

    fn into_key_set(self) -> KeySet {
        KeySet { digest: self.jws.digest(), content: self.content, bytes: self.bytes }
    }
}

impl Content {
    fn read(mut set: Members) -> Result<Self, Refusal> {
        let iss = set.resource("iss", ControllerId::from_resource_name)?;
        let aud = set.string("aud")?;
        let version = set.count("version")?;
        if set.peek("prev") == Some(&Value::Null) {
            set.take("prev");
        }
        let prev = set.opt_parsed("prev", "must be a digest in canonical base64url, or null")?;
        if version == 0 || (version == 1) != prev.is_none() {
            return Err(set.invalid("version", "begins at 1; prev is null for 1 and a digest after"));
        }
        let (iat, exp) = (set.opt_seconds("iat")?, set.seconds("exp")?);
        if iat.is_some_and(|iat| exp <= iat) {
            return Err(set.invalid("exp", "must be after iat"));
        }
        let keys = read_keys(set.list("keys")?)?;
        let roles = read_roles(set.object("roles")?, &keys)?;
        let policy = match set.opt_object("policy")? {
            Some(policy) => Policy::read(policy, &roles, |role| distinct(role, &keys))?,
            None => Policy::default(),
        };
        set.finish()?;
        Ok(Self { iss, aud, version, prev, iat, exp, keys, roles, policy })
    }

    fn check_address(&self, iss: &ControllerId, aud: &str) -> Result<(), Refusal> {
        if self.iss != *iss {
            return Err(Refusal::at(Reason::KeySetIssuer, "key_set.iss"));
        }
        if self.aud != aud {
            return Err(Refusal::at(Reason::KeySetIssuer, "key_set.aud"));
        }
        Ok(())
    }

    /// Whether its members are those of the version after; the signatures are another matter.
    fn check_follows(&self, previous: &Content, digest: Digest) -> Result<(), Refusal> {
        self.check_address(&previous.iss, &previous.aud)?;
        if Some(self.version) != previous.version.checked_add(1) {
            return Err(Refusal::at(Reason::KeySetVersion, "key_set.version"));
        }
        if self.prev != Some(digest) {
            return Err(Refusal::at(Reason::KeySetVersion, "key_set.prev").note("names another predecessor"));
        }
        // A key keeps its use and its signer for as long as it stands in sets.
        for (kid, key) in &self.keys {
            if let Some(before) = previous.keys.get(kid)
                && (before.usage != key.usage || before.signer != key.signer)
            {
                return Err(malformed("a key changed its use or its signer; make a new key instead"));
            }
        }
        Ok(())
    }

    fn check_root_threshold(&self, signed: &BTreeSet<KeyId>) -> Result<(), Refusal> {
        let root = self.roles.get(&SetRole::Root).ok_or_else(|| malformed("there is no root role"))?;
        let counted: BTreeSet<&str> = root
            .kids
            .intersection(signed)
            .filter_map(|kid| self.keys.get(kid))
            .map(|key| key.signer.as_str())
            .collect();
        if counted.len() < root.threshold as usize {
            return Err(unsigned("fewer distinct root signers than the threshold")
                .note(format!("version {} needs {} distinct root signers", self.version, root.threshold)));
        }
        Ok(())
    }
}

fn read_keys(items: Vec<Value>) -> Result<BTreeMap<KeyId, SetKey>, Refusal> {
    if !(1..=MAX_KEYS).contains(&items.len()) {
        return Err(malformed("must have 1 to 64 keys"));
    }
    let mut keys = BTreeMap::new();
    for item in items {
        let Value::Object(mut map) = item else { return Err(malformed("a key is an object")) };
        let jwk = PublicJwk::take_from(&mut map)?;
        let mut rest = Members::new(map, "key_set.keys", &CODES);
        let usage = rest.parsed("use", "must be root or instruction")?;
        let signer = rest.string("signer")?;
        // Opaque: no '@', no space, so that no address or name of a person fits by accident.
        let opaque = signer.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !opaque || !(1..=64).contains(&signer.len()) {
            return Err(rest.invalid("signer", "an opaque id: 1 to 64 letters, digits, '-', '_' and '.'"));
        }
        rest.finish()?;
        let verifying = VerifyingKey::new(jwk)?;
        if keys.insert(verifying.id(), SetKey { verifying, signer, usage }).is_some() {
            return Err(malformed("a key stands twice"));
        }
    }
    Ok(keys)
}

/// Distinct signers of a role.
fn distinct(role: &RoleKeys, keys: &BTreeMap<KeyId, SetKey>) -> usize {
    let signers: BTreeSet<&str> =
        role.kids.iter().filter_map(|kid| keys.get(kid)).map(|key| key.signer.as_str()).collect();
    signers.len()
}

fn read_roles(
    mut roles: Members,
    keys: &BTreeMap<KeyId, SetKey>,
) -> Result<BTreeMap<SetRole, RoleKeys>, Refusal> {
    let mut read = BTreeMap::new();
    for name in roles.names() {
        let role: SetRole = name.parse().map_err(|()| malformed("a role is root or an act"))?;
        let Some(Value::Object(map)) = roles.take(&name) else {
            return Err(malformed("a role is an object"));
        };
        let mut members = Members::new(map, format!("key_set.roles.{role}"), &CODES);
        let kids: BTreeSet<KeyId> =
            members.set("kids", "must be thumbprints of keys of this set")?.into_iter().collect();
        let threshold = members.count("threshold")?;
        let mut signers = BTreeSet::new();
        for kid in &kids {
            match keys.get(kid) {
                Some(key) if key.usage == role.key_use() => signers.insert(key.signer.as_str()),
                Some(_) => return Err(members.invalid("kids", "names a key of another use")),
                None => return Err(members.invalid("kids", "names a key that is not in the set")),
            };
        }
        let threshold = match u32::try_from(threshold) {
            Ok(threshold) if (1..=signers.len()).contains(&(threshold as usize)) => threshold,
            _ => return Err(members.invalid("threshold", "from 1 to the number of distinct signers")),
        };
        members.finish()?;
        read.insert(role, RoleKeys { kids, threshold });
    }
    if !read.contains_key(&SetRole::Root) {
        return Err(malformed("there must be a root role"));
    }
    Ok(read)
}

/// A key set that is proven: pinned, or signed by the one before it and its own root.
#[derive(Debug, Clone)]
pub struct KeySet {
    content: Content,
    digest: Digest,
    bytes: Vec<u8>,
}

impl KeySet {
    pub fn iss(&self) -> &ControllerId {
        &self.content.iss
    }
    pub fn aud(&self) -> &str {
        &self.content.aud
    }
    pub fn version(&self) -> u64 {
        self.content.version
    }
    /// SHA-256 over the ASCII payload segment.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    pub fn prev(&self) -> Option<Digest> {
        self.content.prev
    }
    /// When it says it was made, seconds.
    pub fn iat(&self) -> Option<i64> {
        self.content.iat
    }
    /// Its end, seconds; at this second it is over.
    pub fn exp(&self) -> i64 {
        self.content.exp
    }
    pub fn is_expired(&self, now: i64) -> bool {
        now >= self.content.exp
    }
    pub fn key(&self, kid: &KeyId) -> Option<&SetKey> {
        self.content.keys.get(kid)
    }
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &SetKey)> {
        self.content.keys.iter()
    }
    pub fn role(&self, role: SetRole) -> Option<&RoleKeys> {
        self.content.roles.get(&role)
    }
    pub fn roles(&self) -> impl Iterator<Item = (&SetRole, &RoleKeys)> {
        self.content.roles.iter()
    }
    /// What it asks of its orders beyond thresholds.
    pub fn policy(&self) -> &Policy {
        &self.content.policy
    }
    /// The signed JSON as received. Holds no personal data.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
#[path = "keyset_tests.rs"]
mod tests;
