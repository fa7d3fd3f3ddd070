//! Signed notes (C2SP `signed-note`): a text, a blank line, and signature lines.
//!
//! A parsed [`Note`] proves nothing yet; [`Note::verified_by`] does. Lines of unknown keys are
//! ignored, malformed lines are errors, and a line that claims a known key must verify.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::notekey::{VerifierKey, name_ok};
use crate::domain::Timestamp;

/// Largest note that is read, in bytes.
pub const MAX_NOTE: usize = 1 << 20;
/// Most signature lines that are read.
pub const MAX_SIGNATURES: usize = 64;

const LINE_START: &str = "\u{2014} ";

/// What is wrong with a note, a signature or a key. Never holds any of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the note is larger than {MAX_NOTE} bytes")]
    TooLarge,
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    #[error("the text holds a control character, or does not end in a newline")]
    Text,
    #[error("the note has no text, blank line and signatures")]
    Shape,
    #[error("a signature line is malformed")]
    SignatureLine,
    #[error("a key name is empty, too long, or holds a space or a plus")]
    KeyName,
    #[error("the verifier key is malformed, or its key id is not its own")]
    VerifierKey,
    #[error("the key is of a type that is not used here")]
    KeyType,
    #[error("the seed makes no Ed25519 key")]
    Seed,
    #[error("a signature of a known key does not verify")]
    Signature,
    #[error("the note bears no signature of the expected key")]
    Unsigned,
    #[error("the time of a cosignature is out of range")]
    Time,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: u32,
    bytes: Vec<u8>,
}

impl NoteSignature {
    pub(super) fn of(key: &VerifierKey, bytes: &[u8]) -> Self {
        Self { name: key.name().to_owned(), key_id: key.id(), bytes: bytes.to_vec() }
    }

    /// The name of the key that is said to have signed.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The signature without the key id.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads one line without its newline: em dash, space, name, space, base64.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(LINE_START).ok_or(NoteError::SignatureLine)?;
        let (name, encoded) = rest.split_once(' ').ok_or(NoteError::SignatureLine)?;
        if !name_ok(name) {
            return Err(NoteError::SignatureLine);
        }
        let decoded = STANDARD.decode(encoded).map_err(|_| NoteError::SignatureLine)?;
        match decoded.split_first_chunk::<4>() {
            Some((id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name: name.to_owned(), key_id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
            }
            _ => Err(NoteError::SignatureLine),
        }
    }
}

impl fmt::Display for NoteSignature {
    /// The line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.to_be_bytes(), self.bytes.as_slice()].concat();
        write!(f, "{LINE_START}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// That a key signed a note; for a cosigner, when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// Set for cosignatures alone.
    pub at: Option<Timestamp>,
}

/// A note as it was read or is being put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note with one signature. The text is not empty and ends in a newline.
    pub fn new(text: &str, signature: NoteSignature) -> Result<Self, NoteError> {
        text_ok(text)?;
        Ok(Self { text: text.to_owned(), signatures: vec![signature] })
    }

    /// Reads a signed note.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::TooLarge);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Shape)?;
        let (text, signatures) = (&note[..split + 1], &note[split + 2..]);
        text_ok(text)?;
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Shape)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let signatures = lines.split('\n').map(NoteSignature::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What was signed, final newline included. Not to be trusted before [`Note::verified_by`].
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature, once; one that stands there already changes nothing.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Whether the key signed. `None` if no line claims it; every line that does must verify. Of
    /// several cosignatures the latest counts.
    pub fn verified_by(&self, key: &VerifierKey) -> Result<Option<Signed>, NoteError> {
        let mut found: Option<Signed> = None;
        for signature in self.signatures.iter().filter(|signature| key.claims(signature)) {
            let at = key.verify(&self.text, &signature.bytes)?;
            found = Some(Signed { at: at.max(found.and_then(|earlier| earlier.at)) });
        }
        Ok(found)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

fn text_ok(text: &str) -> Result<(), NoteError> {
    let clean = text.ends_with('\n') && !text.bytes().any(|b| b < 0x20 && b != b'\n');
    if clean { Ok(()) } else { Err(NoteError::Text) }
}

#[cfg(test)]
mod tests {
    use super::super::notekey::{CosigningKey, SigningKey};
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const EXAMPLE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn signed() -> (SigningKey, Note) {
        let key = SigningKey::from_seed("log.example/trail", &[3; 32]).unwrap();
        let text = "log.example/trail\n5\nsome root\n";
        let note = Note::new(text, key.sign(text)).unwrap();
        (key, note)
    }

    #[test]
    fn the_note_of_the_specification_verifies() {
        let note = Note::parse(EXAMPLE).unwrap();
        let key = VerifierKey::parse(VKEY).unwrap();
        assert_eq!(note.verified_by(&key), Ok(Some(Signed { at: None })));
        assert_eq!(note.to_string(), EXAMPLE);
    }

    #[test]
    fn an_independent_reader_takes_what_we_sign() {
        use signed_note::{Note as TheirNote, StandardVerifier, VerifierList};
        let (key, note) = signed();
        let verifier = StandardVerifier::new(&key.verifier_key().to_string()).unwrap();
        let theirs = TheirNote::from_bytes(note.to_string().as_bytes()).unwrap();
        let (verified, unverified) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!((verified.len(), unverified.len()), (1, 0));
    }

    #[test]
    fn we_take_what_an_independent_signer_signs() {
        use signed_note::{Note as TheirNote, Signer, StandardSigner};
        // The example key pair of the signed_note crate's documentation.
        let signer = StandardSigner::new(
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
        )
        .unwrap();
        let vkey =
            VerifierKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let mut theirs = TheirNote::new(b"a text\n\nof two parts\n", &[]).unwrap();
        theirs.add_sigs(&[&signer as &dyn Signer]).unwrap();
        let note = Note::parse(std::str::from_utf8(&theirs.to_bytes()).unwrap()).unwrap();
        assert_eq!(note.text(), "a text\n\nof two parts\n");
        assert!(note.verified_by(&vkey).unwrap().is_some());
    }

    #[test]
    fn every_flipped_bit_of_a_note_is_noticed() {
        let (key, note) = signed();
        let bytes = note.to_string().into_bytes();
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let Ok(text) = std::str::from_utf8(&bad) else { continue };
            let verdict = Note::parse(text).and_then(|note| note.verified_by(key.verifier_key()));
            assert!(!matches!(verdict, Ok(Some(_))), "bit {at} was not noticed");
        }
    }

    #[test]
    fn malformed_notes_are_refused() {
        let line = EXAMPLE.split("\n\n").nth(1).unwrap();
        for (bad, error) in [
            (String::new(), NoteError::Shape),
            ("text\n".to_owned(), NoteError::Shape),
            ("text\n\n".to_owned(), NoteError::Shape),
            (EXAMPLE.trim_end().to_owned(), NoteError::Shape),
            (format!("text\n\n{line}\n"), NoteError::Shape),
            (format!("text\r\n\n{line}"), NoteError::Text),
            (format!("te\txt\n\n{line}"), NoteError::Text),
            (format!("text\n\n{line}garbage\n"), NoteError::SignatureLine),
            (format!("text\n\n{}", line.replace('\u{2014}', "-")), NoteError::SignatureLine),
            (format!("text\n\n{}", line.replace("foo ", "foo  ")), NoteError::SignatureLine),
            (format!("text\n\n{}", line.replace("foo ", "f+o ")), NoteError::SignatureLine),
            (format!("text\n\n{}", line.replace("foo ", "f\u{3000}o ")), NoteError::SignatureLine),
            (format!("text\n\n{}", line.replace("aQM=", "aQM")), NoteError::SignatureLine),
            ("text\n\n\u{2014} name AAAAAA==\n".to_owned(), NoteError::SignatureLine),
            (format!("text\n\n{}", line.repeat(65)), NoteError::TooManySignatures),
            ("x".repeat(MAX_NOTE + 1), NoteError::TooLarge),
        ] {
            assert_eq!(Note::parse(&bad), Err(error));
        }
        assert!(Note::parse(&format!("text\n\n{}", line.repeat(64))).is_ok());
    }

    #[test]
    fn unknown_lines_are_ignored_and_a_false_line_of_a_known_key_is_not() {
        let (key, mut note) = signed();
        let stranger = SigningKey::from_seed("log.example/trail", &[4; 32]).unwrap();
        note.add(stranger.sign("another text\n")).unwrap();
        assert!(note.verified_by(key.verifier_key()).unwrap().is_some());
        assert_eq!(note.verified_by(stranger.verifier_key()), Err(NoteError::Signature));
        note.add(key.sign("another text\n")).unwrap();
        assert_eq!(note.verified_by(key.verifier_key()), Err(NoteError::Signature));
        let nobody = SigningKey::from_seed("nobody.example", &[5; 32]).unwrap();
        assert_eq!(note.verified_by(nobody.verifier_key()), Ok(None));
    }

    #[test]
    fn a_cosignature_tells_its_time_and_binds_it() {
        let (_, mut note) = signed();
        let witness = CosigningKey::from_seed("witness.example/w", &[9; 32]).unwrap();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let line = witness.cosign(note.text(), at(1_679_315_147)).unwrap();
        assert_eq!(line.bytes().len(), 72);
        note.add(line.clone()).unwrap();
        let read = Note::parse(&note.to_string()).unwrap();
        let signed = read.verified_by(witness.verifier_key()).unwrap().unwrap();
        assert_eq!(signed.at, Some(at(1_679_315_147)));

        note.add(witness.cosign(note.text(), at(1_679_315_100)).unwrap()).unwrap();
        assert_eq!(note.verified_by(witness.verifier_key()).unwrap().unwrap().at, Some(at(1_679_315_147)));

        let mut later = line.clone();
        later.bytes[7] ^= 1;
        let forged = Note::new(note.text(), later).unwrap();
        assert_eq!(forged.verified_by(witness.verifier_key()), Err(NoteError::Signature));
        assert_eq!(witness.cosign("x\n", at(-1)), Err(NoteError::Time));
    }

    #[test]
    fn the_cosignature_is_over_the_message_of_the_specification() {
        let witness = CosigningKey::from_seed("witness.example/w", &[9; 32]).unwrap();
        let as_log = SigningKey::from_seed("witness.example/w", &[9; 32]).unwrap();
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let line = witness.cosign(text, Timestamp::from_second(1_679_315_147).unwrap()).unwrap();
        let message = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(&line.bytes()[8..], as_log.sign(message).bytes());
        assert_eq!(line.bytes()[..8], 1_679_315_147u64.to_be_bytes());
    }
}
