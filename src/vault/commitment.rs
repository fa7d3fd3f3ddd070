//! Salted commitments and keyed digests: how the trail and the look-up columns speak of personal data.
//!
//! A *commitment* stands in the trail for good. Its salt is sealed beside the value; with salt and value
//! anyone can check it, without the salt it says nothing, however small the set of possible values.
//! A *keyed digest* finds equal values again; it can be made and matched only while its data key lives.
//!
//! Both are HMAC-SHA256 (RFC 2104) over a framed message, so that a commitment made for one purpose
//! never equals one made for another.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::data_key::DataKey;
use crate::domain::Entropy;

/// HMAC-SHA256(salt, framed(version, domain, value)); base64url without padding in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

/// The text is not 32 bytes in canonical base64url.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a commitment: 32 bytes in base64url without padding")]
pub struct CommitmentError;

impl FromStr for Commitment {
    type Err = CommitmentError;
    fn from_str(text: &str) -> Result<Self, CommitmentError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CommitmentError)?;
        bytes.try_into().map(Self).map_err(|_| CommitmentError)
    }
}

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// 256 random bits. Seal it beside the value; it has no text form, and no `Debug` that shows it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Salt([u8; 32]);

impl Salt {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// Commits to `value`. `domain` names the purpose, such as `leaf/subject`: a word of ours.
pub fn commit(entropy: &dyn Entropy, domain: &str, value: &[u8]) -> (Commitment, Salt) {
    let salt = Salt(entropy.array());
    let tag = message(&salt_key(&salt), COMMITMENT, domain, value).sign();
    (Commitment(digest(&tag)), salt)
}

/// Whether `commitment` was made of this salt, domain and value. Takes the same time for any answer.
pub fn verify_commitment(commitment: &Commitment, salt: &Salt, domain: &str, value: &[u8]) -> bool {
    let tag = message(&salt_key(salt), COMMITMENT, domain, value).sign();
    aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref(), &commitment.0).is_ok()
}

/// The same value under the same key and domain gives the same digest, for look-ups and for telling
/// whether a payload was seen before. Once the key is shredded no one can make it or match it.
pub fn keyed_digest(key: &DataKey, domain: &str, value: &[u8]) -> [u8; 32] {
    digest(&message(&key.material.digesting, KEYED_DIGEST, domain, value).sign())
}

const COMMITMENT: &str = "mandate/commitment/v1";
const KEYED_DIGEST: &str = "mandate/keyed-digest/v1";

fn salt_key(salt: &Salt) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &salt.0)
}

/// Each part with its length before it: moving bytes between `domain` and `value` changes the message.
fn message(key: &hmac::Key, version: &str, domain: &str, value: &[u8]) -> hmac::Context {
    let mut context = hmac::Context::with_key(key);
    for part in [version.as_bytes(), domain.as_bytes(), value] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context
}

fn digest(tag: &hmac::Tag) -> [u8; 32] {
    tag.as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemEntropy;

    #[test]
    fn a_commitment_is_checked_with_its_salt_domain_and_value_and_nothing_else() {
        let (commitment, salt) = commit(&SystemEntropy, "leaf/subject", b"user-7");
        assert!(verify_commitment(&commitment, &salt, "leaf/subject", b"user-7"));
        assert!(!verify_commitment(&commitment, &salt, "leaf/subject", b"user-8"));
        assert!(!verify_commitment(&commitment, &salt, "leaf/reply", b"user-7"));
        assert!(!verify_commitment(&commitment, &Salt::from_bytes([0; 32]), "leaf/subject", b"user-7"));
    }

    #[test]
    fn bytes_moved_from_the_domain_into_the_value_change_the_commitment() {
        let (commitment, salt) = commit(&SystemEntropy, "leaf/a", b"bc");
        assert!(!verify_commitment(&commitment, &salt, "leaf/ab", b"c"));
    }

    #[test]
    fn equal_values_have_unequal_commitments() {
        let (one, _) = commit(&SystemEntropy, "leaf/subject", b"user-7");
        let (two, _) = commit(&SystemEntropy, "leaf/subject", b"user-7");
        assert_ne!(one, two, "the salt is not fresh: equal users can be matched in the trail");
    }

    #[test]
    fn the_construction_is_hmac_sha256_over_the_framed_message() {
        // Made with Python's hmac: key 32 × 0x01, parts "mandate/commitment/v1", "leaf/subject", "user-7".
        struct Ones;
        impl Entropy for Ones {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(1);
            }
        }
        let (commitment, _) = commit(&Ones, "leaf/subject", b"user-7");
        assert_eq!(
            hex::encode(commitment.as_bytes()),
            "a19e641d39f17724151a32bcdb9c6b61f8dd9d4cc9ff3917c482f5f5e52d659e"
        );
    }

    #[test]
    fn only_the_commitment_has_a_text_form() {
        let (commitment, salt) = commit(&SystemEntropy, "leaf/subject", b"user-7");
        assert_eq!(format!("{salt:?}"), "Salt(..)");
        let json = serde_json::to_string(&commitment).unwrap();
        assert_eq!(serde_json::from_str::<Commitment>(&json).unwrap(), commitment);
        assert_eq!(format!("{commitment}x").parse::<Commitment>(), Err(CommitmentError));
    }
}
