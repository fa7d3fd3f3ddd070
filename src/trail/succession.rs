//! That a log's key names the one that comes after it: a signed note (C2SP `signed-note`) of both keys.
//!
//! ```text
//! mandate.log_key.succession/v1
//! mandate.ppio.example/trail                    the log's origin
//! mandate.ppio.example/trail+xxxxxxxx+base64    the key that vouches
//! mandate.ppio.example/trail+yyyyyyyy+base64    the key that it vouches for
//!
//! — mandate.ppio.example/trail …               the first one's signature
//! — mandate.ppio.example/trail …               the second one's
//! ```
//!
//! It is no checkpoint and no checkpoint is one: the second line of a checkpoint is a number. The
//! new key signs too, so that nobody is vouched for who does not know of it.

use super::note::{Note, NoteError};
use super::notekey::{KeyKind, SigningKey, VerifierKey};

const FIRST_LINE: &str = "mandate.log_key.succession/v1";

/// One key that followed on another. That it exists says that both signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// Of the log whose checkpoints the keys sign.
    pub origin: String,
    pub former: VerifierKey,
    pub next: VerifierKey,
}

impl Succession {
    /// The note of two different keys of one log.
    pub fn sign(former: &SigningKey, next: &SigningKey) -> Result<Note, NoteError> {
        let text = text(former.verifier_key(), next.verifier_key());
        let mut note = Note::new(&text, former.sign(&text))?;
        note.add(next.sign(&text))?;
        // What could not be read back is not given out.
        Self::read(&note.to_string())?;
        Ok(note)
    }

    /// Reads exactly what [`Succession::sign`] makes, and verifies both signatures.
    pub fn read(note: &str) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let lines = note.text().strip_suffix('\n').ok_or(NoteError::Text)?;
        let [FIRST_LINE, origin, former, next] = *lines.split('\n').collect::<Vec<_>>() else {
            return Err(NoteError::Text);
        };
        let (former, next) = (VerifierKey::parse(former)?, VerifierKey::parse(next)?);
        if [&former, &next].iter().any(|key| key.kind() != KeyKind::Log) {
            return Err(NoteError::KeyType);
        }
        let of_one_log = former.name() == origin && next.name() == origin;
        if !of_one_log || former.public_key() == next.public_key() {
            return Err(NoteError::VerifierKey);
        }
        let [first, second] = note.signatures() else { return Err(NoteError::Unsigned) };
        for (key, line) in [(&former, first), (&next, second)] {
            if !key.claims(line) {
                return Err(NoteError::Unsigned);
            }
            key.verify(note.text(), line.bytes())?;
        }
        Ok(Self { origin: origin.to_owned(), former, next })
    }
}

fn text(former: &VerifierKey, next: &VerifierKey) -> String {
    format!("{FIRST_LINE}\n{}\n{former}\n{next}\n", former.name())
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoint;
    use super::super::notekey::CosigningKey;
    use super::*;

    const ORIGIN: &str = "gateway.example/trail";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
    }

    #[test]
    fn what_two_keys_signed_reads_back() {
        let (former, next) = (key(1), key(2));
        let note = Succession::sign(&former, &next).unwrap();
        let read = Succession::read(&note.to_string()).unwrap();
        assert_eq!(read.origin, ORIGIN);
        assert_eq!((&read.former, &read.next), (former.verifier_key(), next.verifier_key()));
        assert!(Checkpoint::parse_body(note.text()).is_err(), "it passes for a checkpoint");
    }

    #[test]
    fn a_key_is_vouched_for_by_another_key_of_the_same_log_alone() {
        let elsewhere = SigningKey::from_seed("gateway.example/authority", &[2; 32]).unwrap();
        assert!(Succession::sign(&key(1), &elsewhere).is_err());
        assert!(Succession::sign(&key(1), &key(1)).is_err());
    }

    #[test]
    fn both_must_have_signed_and_nobody_else() {
        let (former, next) = (key(1), key(2));
        let good = Succession::sign(&former, &next).unwrap();
        let text = good.text().to_owned();
        let note = |lines: &[&SigningKey]| {
            let mut note = Note::new(&text, lines[0].sign(&text)).unwrap();
            lines[1..].iter().for_each(|key| note.add(key.sign(&text)).unwrap());
            note.to_string()
        };
        assert!(Succession::read(&note(&[&former, &next])).is_ok());
        for lines in [vec![&former], vec![&next], vec![&next, &former], vec![&former, &key(3)]] {
            assert!(Succession::read(&note(&lines)).is_err());
        }
        assert!(Succession::read(&note(&[&former, &next, &key(3)])).is_err());
        let cosigner = CosigningKey::from_seed(ORIGIN, &[2; 32]).unwrap();
        let other = text.replace(&next.verifier_key().to_string(), &cosigner.verifier_key().to_string());
        let mut foreign = Note::new(&other, former.sign(&other)).unwrap();
        foreign.add(next.sign(&other)).unwrap();
        assert!(Succession::read(&foreign.to_string()).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = Succession::sign(&key(1), &key(2)).unwrap().to_string().into_bytes();
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            if let Ok(text) = std::str::from_utf8(&bad) {
                assert!(Succession::read(text).is_err(), "bit {at}");
            }
        }
    }
}
