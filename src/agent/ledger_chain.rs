//! The hash chain of the agent's ledger.
//!
//! Each entry's head is SHA-256 over the head before it and the entry's bytes;
//! before the first entry the head is 32 zero bytes. Every report carries the
//! [`Anchor`] at which the ledger stood, so a ledger that was set back to an
//! older copy does not contain what the trail says it reported.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// A point of the chain: the number of entries so far and the head after the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Anchor {
    pub sequence: u64,
    #[serde(with = "hex_head")]
    pub head: [u8; 32],
}

impl Anchor {
    /// The empty ledger.
    pub const GENESIS: Anchor = Anchor { sequence: 0, head: [0; 32] };

    /// The anchor after one more entry.
    pub fn next(self, entry: &[u8]) -> Anchor {
        let mut context = Context::new(&SHA256);
        context.update(&self.head);
        context.update(entry);
        let mut head = [0; 32];
        head.copy_from_slice(context.finish().as_ref());
        Anchor { sequence: self.sequence + 1, head }
    }
}

/// A head stands as hex in JSON.
mod hex_head {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(head: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(head))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(d)?;
        let mut head = [0; 32];
        hex::decode_to_slice(text, &mut head).map_err(|_| serde::de::Error::custom("not 64 hex digits"))?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_changed_anywhere_changes_every_later_head() {
        let honest = Anchor::GENESIS.next(b"a").next(b"b");
        let forged = Anchor::GENESIS.next(b"x").next(b"b");
        assert_eq!(honest.sequence, forged.sequence);
        assert_ne!(honest.head, forged.head);
    }
}
