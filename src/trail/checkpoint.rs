//! Checkpoints (C2SP `tlog-checkpoint`): origin, size and root of a log, as a signed note.

use super::hash::{Hash, empty_root};
use super::note::{Note, NoteError};
use super::notekey::{KeyKind, SigningKey, VerifierKey};
use super::path::decimal;
use crate::domain::Timestamp;

/// Longest origin, in bytes.
pub const MAX_ORIGIN: usize = 255;

/// Why a text is no checkpoint of the expected log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error("the text is no checkpoint: {0}")]
    Body(&'static str),
    #[error("the checkpoint is of another origin")]
    OtherOrigin,
}

/// A log's head. That one exists says nothing; [`Checkpoint::open`] gives only signed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A head to sign. The empty tree has one root only.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !(1..=MAX_ORIGIN).contains(&origin.len()) || origin.chars().any(char::is_control) {
            return Err(CheckpointError::Body("the origin is empty, too long or not one line"));
        }
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::Body("the empty tree has another root"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// Lines after the root, opaque. We write none.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The text that is signed: three lines and the extensions, each ended by a newline.
    pub fn body(&self) -> String {
        let mut body = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            body.push_str(line);
            body.push('\n');
        }
        body
    }

    /// Reads a text as [`Checkpoint::body`] writes it.
    pub fn parse_body(body: &str) -> Result<Self, CheckpointError> {
        let lines = body.strip_suffix('\n').ok_or(CheckpointError::Body("it does not end in a newline"))?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Body("it has fewer than three lines"));
        };
        let size = decimal(size).ok_or(CheckpointError::Body("the size is no decimal number"))?;
        let root = Hash::from_base64(root).map_err(|_| CheckpointError::Body("the root is no hash"))?;
        let mut checkpoint = Self::new(origin, size, root)?;
        for line in lines {
            if line.is_empty() || line.chars().any(char::is_control) {
                return Err(CheckpointError::Body("an extension line is empty or holds a control character"));
            }
            checkpoint.extensions.push(line.to_owned());
        }
        Ok(checkpoint)
    }

    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> Note {
        let body = self.body();
        let signature = key.sign(&body);
        // `new` and `parse_body` let no control character in, and each line ends in a newline.
        Note::new(&body, signature).expect("a checkpoint's body is a note's text")
    }

    /// The note with the signature of the next key, too, where there is one.
    pub fn sign_by(&self, key: &SigningKey, next: Option<&SigningKey>) -> Note {
        let mut note = self.sign(key);
        if let Some(next) = next {
            // Two lines are fewer than a note may have.
            note.add(next.sign(note.text())).expect("a note has room for a second signature");
        }
        note
    }

    /// The head in a signed note, if `key` signed it and it is of `origin`. Verifies first, parses after.
    pub fn open(note: &str, origin: &str, key: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::open_by(note, origin, [key])
    }

    /// The same of a log whose key is being replaced: any of `keys` may have signed, and whichever of
    /// them is said to have must have.
    pub fn open_by<'a>(
        note: &str,
        origin: &str,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
    ) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let mut signed = false;
        for key in keys {
            if key.kind() != KeyKind::Log {
                return Err(NoteError::KeyType.into());
            }
            signed |= note.verified_by(key)?.is_some();
        }
        if !signed {
            return Err(NoteError::Unsigned.into());
        }
        let checkpoint = Self::parse_body(note.text())?;
        if checkpoint.origin == origin { Ok(checkpoint) } else { Err(CheckpointError::OtherOrigin) }
    }
}

/// When the cosigner saw this checkpoint; `None` if it has not cosigned it. A false cosignature is an error.
pub fn cosigned_at(note: &Note, cosigner: &VerifierKey) -> Result<Option<Timestamp>, NoteError> {
    if cosigner.kind() != KeyKind::Cosigner {
        return Err(NoteError::KeyType);
    }
    Ok(note.verified_by(cosigner)?.and_then(|signed| signed.at))
}

#[cfg(test)]
mod tests {
    use super::super::hash::leaf_hash;
    use super::super::notekey::CosigningKey;
    use super::*;

    const ORIGIN: &str = "gateway.example/trail";

    fn key() -> SigningKey {
        SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
    }

    fn head() -> Checkpoint {
        Checkpoint::new(ORIGIN, 5, leaf_hash(b"x")).unwrap()
    }

    #[test]
    fn a_signed_head_opens_for_its_origin_and_key_alone() {
        let key = key();
        let note = head().sign(&key).to_string();
        assert_eq!(Checkpoint::open(&note, ORIGIN, key.verifier_key()), Ok(head()));
        assert_eq!(
            Checkpoint::open(&note, "gateway.example/authority", key.verifier_key()),
            Err(CheckpointError::OtherOrigin)
        );
        let other = SigningKey::from_seed(ORIGIN, &[2; 32]).unwrap();
        assert_eq!(
            Checkpoint::open(&note, ORIGIN, other.verifier_key()),
            Err(CheckpointError::Note(NoteError::Unsigned))
        );
    }

    #[test]
    fn an_independent_reader_takes_our_head() {
        let theirs = tlog_tiles::Checkpoint::from_bytes(head().body().as_bytes()).unwrap();
        assert_eq!((theirs.origin(), theirs.size()), (ORIGIN, 5));
        assert_eq!(theirs.hash().0, *head().root().as_bytes());
    }

    #[test]
    fn a_head_has_one_spelling() {
        let root = leaf_hash(b"x").to_base64();
        let good = format!("o\n5\n{root}\n");
        assert_eq!(Checkpoint::parse_body(&good).unwrap().body(), good);
        let extended = format!("o\n5\n{root}\nmore\nand more\n");
        let parsed = Checkpoint::parse_body(&extended).unwrap();
        assert_eq!(parsed.extensions(), ["more", "and more"]);
        assert_eq!(parsed.body(), extended);
        for bad in [
            String::new(),
            "\n".to_owned(),
            format!("o\n5\n{root}"),
            format!("\n5\n{root}\n"),
            format!("o\n05\n{root}\n"),
            format!("o\n+5\n{root}\n"),
            format!("o\n-5\n{root}\n"),
            format!("o\n\n{root}\n"),
            format!("o\n18446744073709551616\n{root}\n"),
            format!("o\n5\n{}\n", &root[..43]),
            format!("o\n5\n{root} \n"),
            format!("o\n5\n{root}\n\n"),
            format!("o\n5\n{root}\n\nx\n"),
            format!("o\n0\n{root}\n"),
            format!("{}\n5\n{root}\n", "o".repeat(256)),
            "o\n5\n".to_owned(),
        ] {
            assert!(
                matches!(Checkpoint::parse_body(&bad), Err(CheckpointError::Body(_))),
                "{bad:?} was taken"
            );
        }
        let largest = format!("o\n18446744073709551615\n{root}\n");
        assert_eq!(Checkpoint::parse_body(&largest).unwrap().size(), u64::MAX);
        let empty = format!("o\n0\n{}\n", empty_root());
        assert!(Checkpoint::parse_body(&empty).is_ok());
    }

    #[test]
    fn every_flipped_bit_of_a_signed_head_is_noticed() {
        let key = key();
        let bytes = head().sign(&key).to_string().into_bytes();
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            if let Ok(text) = std::str::from_utf8(&bad) {
                assert!(Checkpoint::open(text, ORIGIN, key.verifier_key()).is_err(), "bit {at}");
            }
        }
    }

    #[test]
    fn a_witness_adds_its_time_and_is_no_log() {
        let key = key();
        let witness = CosigningKey::from_seed("witness.example", &[8; 32]).unwrap();
        let mut note = head().sign(&key);
        assert_eq!(cosigned_at(&note, witness.verifier_key()), Ok(None));
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        note.add(witness.cosign(note.text(), now).unwrap()).unwrap();
        assert_eq!(cosigned_at(&note, witness.verifier_key()), Ok(Some(now)));
        let text = note.to_string();
        assert_eq!(Checkpoint::open(&text, ORIGIN, key.verifier_key()), Ok(head()));
        assert_eq!(
            Checkpoint::open(&text, ORIGIN, witness.verifier_key()),
            Err(CheckpointError::Note(NoteError::KeyType))
        );
        assert_eq!(cosigned_at(&note, key.verifier_key()), Err(NoteError::KeyType));
    }
}
