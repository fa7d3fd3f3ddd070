//! The log's hash: SHA-256 with RFC 6962's prefixes, so that a leaf can never
//! be taken for a node.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 hash: of a leaf, of a node, or the root of a tree.
///
/// As text (`Display`, `Debug`, serde) it is base64 with padding, the form of C2SP checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

/// The text is not the canonical base64 of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the base64 of a 32-byte hash")]
pub struct HashTextError;

impl Hash {
    /// Bytes in a hash.
    pub const LEN: usize = 32;

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Plain SHA-256 over the bytes, without a prefix.
    pub fn sha256(bytes: &[u8]) -> Self {
        // In one call: a context costs more than the hashing of a node.
        let mut out = [0u8; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(out)
    }

    /// Reads canonical base64 (RFC 4648 §4, with padding, no stray bits).
    pub fn from_base64(text: &str) -> Result<Self, HashTextError> {
        // 32 bytes are always 44 characters; checked first so that a long text costs nothing.
        if text.len() != 44 {
            return Err(HashTextError);
        }
        let bytes = STANDARD.decode(text).map_err(|_| HashTextError)?;
        Self::from_slice(&bytes).ok_or(HashTextError)
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

/// `SHA-256(0x00 ‖ entry)`, the hash of a leaf (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut bytes = Vec::with_capacity(1 + entry.len());
    bytes.push(0);
    bytes.extend_from_slice(entry);
    Hash::sha256(&bytes)
}

/// `SHA-256(0x01 ‖ left ‖ right)`, the hash of an inner node (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1u8; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash::sha256(&bytes)
}

/// `SHA-256("")`, the root of a tree without leaves (RFC 6962 §2.1).
pub fn empty_root() -> Hash {
    Hash::sha256(&[])
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::from_base64(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_tree_has_the_root_that_rfc_6962_says() {
        assert_eq!(
            hex::encode(empty_root().as_bytes()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn a_leaf_of_no_bytes_has_the_hash_of_the_certificate_transparency_vectors() {
        assert_eq!(
            hex::encode(leaf_hash(b"").as_bytes()),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let hash = leaf_hash(b"x");
        let text = hash.to_base64();
        assert_eq!(Hash::from_base64(&text), Ok(hash));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);

        // 32 bytes leave two bits in the last character before the padding: they must be zero.
        let mut stray = text.clone().into_bytes();
        stray[42] = match stray[42] {
            b'A' => b'B',
            other => other + 1,
        };
        for bad in
            [String::from_utf8(stray).unwrap(), text[..43].to_owned(), format!("{text}="), String::new()]
        {
            assert!(Hash::from_base64(&bad).is_err(), "{bad:?} was taken");
        }
    }
}
