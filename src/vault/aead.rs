//! AES-256-GCM (NIST SP 800-38D) with a random nonce: `nonce(12) ‖ ciphertext ‖ tag(16)`.
//!
//! A random 96-bit nonce bounds one key to 2³² messages (SP 800-38D §8.3). A data key seals some dozens
//! of values. An epoch key wraps one data key per case or instruction and class: begin a new epoch each year.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::domain::Entropy;

/// Bytes that sealing adds.
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

pub(super) fn key(bytes: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("AES-256 takes any 32 bytes"))
}

/// Appends `nonce ‖ ciphertext ‖ tag` to `out`.
pub(super) fn seal_onto(
    out: &mut Vec<u8>,
    key: &LessSafeKey,
    entropy: &dyn Entropy,
    aad: &[u8],
    plaintext: &[u8],
) {
    // Reserved at once: growing later could leave a copy of the plaintext in freed memory.
    out.reserve_exact(OVERHEAD + plaintext.len());
    let nonce: [u8; NONCE_LEN] = entropy.array();
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plaintext);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            // `start` is where the plaintext was just appended.
            out.get_mut(start..).unwrap_or_default(),
        )
        .expect("AES-GCM fails only beyond 64 GiB in one message");
    out.extend_from_slice(tag.as_ref());
}

/// The plaintext, or nothing if a bit of the message or of `aad` differs.
pub(super) fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, message) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = Zeroizing::new(message.to_vec());
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), buffer.as_mut_slice())
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}

/// Joins the parts with their lengths, so that no two lists of parts give the same bytes.
pub(super) fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}
