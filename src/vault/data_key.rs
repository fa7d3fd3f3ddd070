//! Data keys: 256 random bits each, one per (case or instruction, retention class).
//!
//! The bytes are never used as they are. Two keys are derived from them (HKDF, RFC 5869): one seals
//! values, one makes keyed digests. A third use gets a label of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::{aead::LessSafeKey, hkdf, hmac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::aead;
use crate::domain::{Clock, Entropy, clock::uuid_v7};

/// What the data is held for; each class is destroyed on its own day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetentionClass {
    /// The case: identifiers, the extract that was forwarded.
    Request,
    /// What proves who the requester is; gone as soon as that is settled, either way.
    Verification,
    /// An instruction's disclosures.
    Instruction,
    /// Where an export goes.
    Export,
    /// The mail as it was taken in.
    Intake,
    /// Salts behind the commitments of refused input.
    Refusal,
    /// The agent's ledger: primary keys it touches.
    Ledger,
}

impl RetentionClass {
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::Verification,
        Self::Instruction,
        Self::Export,
        Self::Intake,
        Self::Refusal,
        Self::Ledger,
    ];

    /// The word in the database and in the sealed value's associated data: it can never change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Verification => "verification",
            Self::Instruction => "instruction",
            Self::Export => "export",
            Self::Intake => "intake",
            Self::Refusal => "refusal",
            Self::Ledger => "ledger",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

impl fmt::Display for RetentionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a data key: a UUIDv7 (RFC 9562 §5.7). In a keyring that is a file, its last 32 bits are the key's slot.
///
/// The slot lets the file find the row without an index over ids; an index would move ids about
/// and leave copies of them behind (see `keyring_rows`). The other 42 random bits and the
/// millisecond keep two keys of one slot apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Uuid);

impl KeyId {
    pub(super) fn new(clock: &dyn Clock, entropy: &dyn Entropy, slot: Option<u32>) -> Self {
        let random = uuid_v7(clock, entropy);
        let Some(slot) = slot else { return Self(random) };
        Self(Uuid::from_u128(random.as_u128() & !u128::from(u32::MAX) | u128::from(slot)))
    }

    pub(super) fn slot(self) -> u32 {
        // The low 32 bits, on purpose.
        self.0.as_u128() as u32
    }

    pub fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A data key in memory, in the class its holder named. Cheap to clone; wiped when the last clone goes.
///
/// A holder can still use its clone after the key was shredded: what it then seals can never be opened.
#[derive(Clone)]
pub struct DataKey {
    id: KeyId,
    class: RetentionClass,
    pub(super) material: Arc<KeyMaterial>,
}

impl DataKey {
    pub(super) fn new(id: KeyId, class: RetentionClass, material: Arc<KeyMaterial>) -> Self {
        Self { id, class, material }
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub fn class(&self) -> RetentionClass {
        self.class
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).field("class", &self.class).finish_non_exhaustive()
    }
}

/// What is derived from a data key's bytes. AWS-LC wipes both when they are dropped.
pub(super) struct KeyMaterial {
    pub(super) sealing: LessSafeKey,
    pub(super) digesting: hmac::Key,
}

impl KeyMaterial {
    pub(super) fn derive(bytes: &[u8; 32]) -> Self {
        // The bytes are uniformly random, so they are HKDF's pseudorandom key themselves (RFC 5869 §3.3).
        let root = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, bytes);
        Self {
            sealing: aead::key(&expand(&root, b"mandate/data-key/seal/v1")),
            digesting: hmac::Key::new(
                hmac::HMAC_SHA256,
                expand(&root, b"mandate/data-key/digest/v1").as_slice(),
            ),
        }
    }
}

fn expand(root: &hkdf::Prk, label: &'static [u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0u8; 32]);
    root.expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .expect("HKDF-SHA256 gives 32 bytes for any label");
    out
}
