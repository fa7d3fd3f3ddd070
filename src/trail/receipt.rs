//! Receipts (C2SP `tlog-proof`): that a leaf is in the log, as one text that is checked offline.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::hash::{Hash, leaf_hash};
use super::note::{MAX_NOTE, Note};
use super::notekey::VerifierKey;
use super::path::decimal;
use super::proof::{ProofFault, verify_inclusion};

/// Largest receipt that is read, in bytes: the note and as much again for extra data and proof.
pub const MAX_RECEIPT: usize = 2 * MAX_NOTE;
/// Most hashes in an inclusion proof of a 64-bit tree.
pub const MAX_PROOF: usize = 64;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Why a receipt cannot be read or proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("the text is no receipt: {0}")]
    Shape(&'static str),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Proof(#[from] ProofFault),
}

/// An inclusion proof with the checkpoint it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf's index.
    pub index: u64,
    /// The audit path, from the leaf's sibling upwards.
    pub proof: Vec<Hash>,
    /// Application data that **nothing authenticates**. We write none.
    pub extra: Option<Vec<u8>>,
    /// The checkpoint, signed by the log and perhaps by witnesses.
    pub checkpoint: Note,
}

impl Receipt {
    pub fn new(index: u64, proof: Vec<Hash>, checkpoint: Note) -> Self {
        Self { index, proof, extra: None, checkpoint }
    }

    /// The text; the same as `Display`.
    pub fn encode(&self) -> String {
        self.to_string()
    }

    /// Reads exactly what [`Receipt::encode`] writes. Proves nothing yet.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > MAX_RECEIPT {
            return Err(ReceiptError::Shape("it is too large"));
        }
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(ReceiptError::Shape("it has no blank line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(ReceiptError::Shape("its first line names another format"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            None => None,
            Some(encoded) => {
                lines.next();
                let bytes = STANDARD.decode(encoded);
                Some(bytes.map_err(|_| ReceiptError::Shape("its extra data is not base64"))?)
            }
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(ReceiptError::Shape("its index line is missing or no decimal number"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF {
                return Err(ReceiptError::Shape("its proof is longer than any tree is high"));
            }
            let hash = Hash::from_base64(line);
            proof.push(hash.map_err(|_| ReceiptError::Shape("a line of its proof is no hash"))?);
        }
        let checkpoint = Note::parse(checkpoint).map_err(CheckpointError::from)?;
        Checkpoint::parse_body(checkpoint.text())?;
        Ok(Self { index, proof, extra, checkpoint })
    }

    /// That `leaf`, byte for byte, stands at [`Receipt::index`] of the log `origin`, as `key` signed
    /// it. Gives the checkpoint that proves it.
    pub fn verify(&self, leaf: &[u8], origin: &str, key: &VerifierKey) -> Result<Checkpoint, ReceiptError> {
        self.verify_by(leaf, origin, [key])
    }

    /// The same where any of these keys may have signed.
    pub fn verify_by<'a>(
        &self,
        leaf: &[u8],
        origin: &str,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
    ) -> Result<Checkpoint, ReceiptError> {
        let checkpoint = Checkpoint::open_by(&self.checkpoint.to_string(), origin, keys)?;
        verify_inclusion(&leaf_hash(leaf), self.index, checkpoint.size(), &self.proof, checkpoint.root())?;
        Ok(checkpoint)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.proof {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::super::appender::Appender;
    use super::super::merkle::inclusion_proof;
    use super::super::notekey::SigningKey;
    use super::*;

    const ORIGIN: &str = "gateway.example/trail";

    fn entry(i: u64) -> Vec<u8> {
        format!("leaf {i}").into_bytes()
    }

    fn receipt(index: u64, size: u64) -> (Receipt, SigningKey) {
        let key = SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap();
        let mut tree = Appender::new();
        for i in 0..size {
            tree.append(leaf_hash(&entry(i)));
        }
        let head = Checkpoint::new(ORIGIN, size, tree.root()).unwrap().sign(&key);
        (Receipt::new(index, inclusion_proof(index, size, &tree).unwrap(), head), key)
    }

    #[test]
    fn a_receipt_survives_the_wire_and_proves_its_own_leaf_alone() {
        for (index, size) in [(0, 1), (0, 2), (6, 7), (300, 301), (255, 257)] {
            let (receipt, key) = receipt(index, size);
            let read = Receipt::parse(&receipt.encode()).unwrap();
            assert_eq!(read, receipt);
            let head = read.verify(&entry(index), ORIGIN, key.verifier_key()).unwrap();
            assert_eq!((head.origin(), head.size()), (ORIGIN, size));
            assert_eq!(
                read.verify(&entry(index + 1), ORIGIN, key.verifier_key()),
                Err(ReceiptError::Proof(ProofFault::OtherRoot))
            );
            assert_eq!(
                read.verify(&entry(index), "gateway.example/authority", key.verifier_key()),
                Err(ReceiptError::Checkpoint(CheckpointError::OtherOrigin))
            );
        }
    }

    #[test]
    fn the_text_is_that_of_the_specification() {
        let (mut receipt, _) = receipt(1, 2);
        receipt.extra = Some(b"more".to_vec());
        let text = receipt.encode();
        let first = leaf_hash(&entry(0));
        let expected = format!("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 1\n{first}\n\n{ORIGIN}\n2\n");
        assert!(text.starts_with(&expected), "{text}");
        assert_eq!(Receipt::parse(&text), Ok(receipt));
    }

    #[test]
    fn every_flipped_bit_of_receipt_and_leaf_is_noticed() {
        let (receipt, key) = receipt(2, 5);
        let bytes = receipt.encode().into_bytes();
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let Ok(text) = std::str::from_utf8(&bad) else { continue };
            let verdict = Receipt::parse(text).and_then(|r| r.verify(&entry(2), ORIGIN, key.verifier_key()));
            assert!(verdict.is_err(), "bit {at} was not noticed");
        }
        for at in 0..entry(2).len() * 8 {
            let mut leaf = entry(2);
            leaf[at / 8] ^= 1 << (at % 8);
            assert!(receipt.verify(&leaf, ORIGIN, key.verifier_key()).is_err());
        }
    }

    #[test]
    fn malformed_receipts_are_refused() {
        let good = receipt(2, 5).0.encode();
        let (head, note) = good.split_once("\n\n").unwrap();
        let hash = leaf_hash(b"x");
        for bad in [
            String::new(),
            head.to_owned(),
            good.replace("@v1", "@v2"),
            good.replace("index 2", "index 02"),
            good.replace("index 2", "index  2"),
            good.replace("index 2", "index -2"),
            good.replace("index 2", "index 18446744073709551616"),
            good.replace("index 2\n", ""),
            good.replace("index 2", "extra !\nindex 2"),
            good.replace("index 2", "extra AA==\nextra AA==\nindex 2"),
            good.replace("index 2", "index 2\nindex 2"),
            good.replace("index 2", "index 2\nAAAA"),
            good.replace("index 2", &format!("index 2{}", format!("\n{hash}").repeat(64))),
            good.replace('\n', "\r\n"),
            format!("{head}\n\n\n{note}"),
            format!("{head}\n\n{}", note.replace("\n5\n", "\n05\n")),
            format!("{good}x"),
            "x".repeat(MAX_RECEIPT + 1),
        ] {
            assert!(Receipt::parse(&bad).is_err(), "a malformed receipt was taken");
        }
    }
}
