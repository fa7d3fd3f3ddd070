//! An `age` X25519 recipient, to which an export is encrypted: Bech32 (BIP 173)
//! with the prefix `age` over 32 bytes (age specification, "X25519 recipient").
//!
//! The check sum is verified here, so that a mistyped key is refused before
//! anybody signs off an export that no one can open.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an age X25519 recipient")]
pub struct NotARecipient;

/// A well-formed `age1…` recipient. Public.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgeRecipient(String);

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// 32 bytes are 52 groups of five bits, and six more for the check sum.
const DATA_CHARS: usize = 58;

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1u32, |sum, value| {
        let top = sum >> 25;
        let shifted = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        GENERATOR.iter().enumerate().filter(|(bit, _)| (top >> bit) & 1 == 1).fold(shifted, |s, (_, g)| s ^ g)
    })
}

impl FromStr for AgeRecipient {
    type Err = NotARecipient;
    fn from_str(text: &str) -> Result<Self, NotARecipient> {
        let data = text.strip_prefix("age1").ok_or(NotARecipient)?;
        if data.len() != DATA_CHARS {
            return Err(NotARecipient);
        }
        let groups: Vec<u8> = data
            .bytes()
            .map(|byte| ALPHABET.iter().position(|c| *c == byte).and_then(|at| u8::try_from(at).ok()))
            .collect::<Option<_>>()
            .ok_or(NotARecipient)?;
        let prefix = b"age";
        let expanded = prefix.iter().map(|c| c >> 5).chain([0]).chain(prefix.iter().map(|c| c & 31));
        if polymod(expanded.chain(groups.iter().copied())) != 1 {
            return Err(NotARecipient);
        }
        // 52 groups are 260 bits; the four that pad must be zero.
        if groups[DATA_CHARS - 7] & 0x0f != 0 {
            return Err(NotARecipient);
        }
        Ok(Self(text.to_owned()))
    }
}

impl AgeRecipient {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipient_of_the_age_manual_is_taken_and_a_mistyped_one_is_not() {
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        assert_eq!(good.parse::<AgeRecipient>().unwrap().as_str(), good);
        for bad in [
            good.replace("ql3", "qk3"),
            good.to_uppercase(),
            good[..60].to_owned(),
            format!("{good}q"),
            String::new(),
        ] {
            assert!(bad.parse::<AgeRecipient>().is_err(), "{bad}");
        }
    }
}
