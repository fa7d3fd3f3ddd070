//! Keys of signed notes: Ed25519 for a log (C2SP `signed-note`, type 0x01) and for a cosigner
//! (C2SP `tlog-cosignature`, type 0x04).
//!
//! Log and cosigner have types of their own, so that neither can sign in the other's form.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hash::Hash;
use super::note::{NoteError, NoteSignature};
use crate::domain::Timestamp;

/// Longest vkey that is read: far over a name of 255 bytes with its key.
const MAX_VKEY: usize = 1024;
/// Bytes of an Ed25519 signature (RFC 8032 §5.1.6).
const SIGNATURE: usize = 64;

/// What a key signs, by its C2SP type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// 0x01: the note's text itself. A log's own signature.
    Log,
    /// 0x04: a checkpoint as it was seen at a time. A witness's signature.
    Cosigner,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            KeyKind::Log => 0x01,
            KeyKind::Cosigner => 0x04,
        }
    }
}

/// The public half: name, key id and Ed25519 public key. Its text is the C2SP *vkey*,
/// `<name>+<8 hex digits>+<base64>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: KeyKind,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key id is computed: the first four bytes of `SHA-256(name ‖ LF ‖ type ‖ public key)`.
    pub fn new(name: &str, kind: KeyKind, public: [u8; 32]) -> Result<Self, NoteError> {
        if !name_ok(name) {
            return Err(NoteError::KeyName);
        }
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend_from_slice(&[b'\n', kind.byte()]);
        bytes.extend_from_slice(&public);
        let [a, b, c, d, ..] = *Hash::sha256(&bytes).as_bytes();
        Ok(Self { name: name.to_owned(), id: u32::from_be_bytes([a, b, c, d]), kind, public })
    }

    /// Reads a vkey of one of the two kinds. The key id in it must be the computed one.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        if vkey.len() > MAX_VKEY {
            return Err(NoteError::VerifierKey);
        }
        // Base64 may hold '+' itself: only the first two separate.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::VerifierKey);
        };
        let key = STANDARD.decode(key).map_err(|_| NoteError::VerifierKey)?;
        let (kind, public) = key.split_first().ok_or(NoteError::VerifierKey)?;
        let kind = match kind {
            0x01 => KeyKind::Log,
            0x04 => KeyKind::Cosigner,
            _ => return Err(NoteError::KeyType),
        };
        let public = public.try_into().map_err(|_| NoteError::VerifierKey)?;
        let parsed = Self::new(name, kind, public)?;
        if id == format!("{:08x}", parsed.id) { Ok(parsed) } else { Err(NoteError::VerifierKey) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The four bytes that stand before each signature of this key.
    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whether a signature line claims to be this key's.
    pub fn claims(&self, signature: &NoteSignature) -> bool {
        signature.name() == self.name && signature.key_id() == self.id
    }

    /// Verifies signature bytes (without the key id) over a note's text. For a cosigner answers the
    /// time it signed at.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<Timestamp>, NoteError> {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        match self.kind {
            KeyKind::Log => {
                if signature.len() != SIGNATURE {
                    return Err(NoteError::Signature);
                }
                key.verify(text.as_bytes(), signature).map_err(|_| NoteError::Signature)?;
                Ok(None)
            }
            KeyKind::Cosigner => {
                let (seconds, signature) = signature.split_first_chunk::<8>().ok_or(NoteError::Signature)?;
                if signature.len() != SIGNATURE {
                    return Err(NoteError::Signature);
                }
                let seconds = u64::from_be_bytes(*seconds);
                key.verify(cosigned_message(text, seconds).as_bytes(), signature)
                    .map_err(|_| NoteError::Signature)?;
                let time = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
                time.map(Some).ok_or(NoteError::Time)
            }
        }
    }
}

/// What a cosigner signs (C2SP `tlog-cosignature`, "Ed25519 signed message").
fn cosigned_message(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// Not empty, no Unicode space, no plus, no control character (C2SP `signed-note`).
pub(super) fn name_ok(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = [0u8; 33];
        key[0] = self.kind.byte();
        key[1..].copy_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(vkey: &str) -> Result<Self, NoteError> {
        Self::parse(vkey)
    }
}

impl Serialize for VerifierKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifierKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

fn key_pair(name: &str, kind: KeyKind, seed: &[u8; 32]) -> Result<(VerifierKey, Ed25519KeyPair), NoteError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Seed)?;
    let public = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Seed)?;
    Ok((VerifierKey::new(name, kind, public)?, pair))
}

/// A log's signing key. `Debug` shows the public half.
pub struct SigningKey {
    key: VerifierKey,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// From the 32 secret bytes of RFC 8032 §5.1.5. `name` is the log's origin.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let (key, pair) = key_pair(name, KeyKind::Log, seed)?;
        Ok(Self { key, pair })
    }

    pub fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    /// Signs a note's text, which ends in a newline.
    pub fn sign(&self, text: &str) -> NoteSignature {
        NoteSignature::of(&self.key, self.pair.sign(text.as_bytes()).as_ref())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.key)
    }
}

/// A witness's signing key. `Debug` shows the public half.
pub struct CosigningKey {
    key: VerifierKey,
    pair: Ed25519KeyPair,
}

impl CosigningKey {
    /// From the 32 secret bytes of RFC 8032 §5.1.5. `name` identifies the witness.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let (key, pair) = key_pair(name, KeyKind::Cosigner, seed)?;
        Ok(Self { key, pair })
    }

    pub fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    /// Cosigns the text of a checkpoint as seen at `time` (whole seconds, not before the epoch).
    ///
    /// The caller has first verified that the checkpoint continues the one it cosigned before.
    pub fn cosign(&self, text: &str, time: Timestamp) -> Result<NoteSignature, NoteError> {
        let seconds = u64::try_from(time.as_second()).map_err(|_| NoteError::Time)?;
        let signature = self.pair.sign(cosigned_message(text, seconds).as_bytes());
        let bytes = [&seconds.to_be_bytes(), signature.as_ref()].concat();
        Ok(NoteSignature::of(&self.key, &bytes))
    }
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosigningKey({})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_specification_reads_back() {
        let vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let key = VerifierKey::parse(vkey).unwrap();
        assert_eq!((key.name(), key.id(), key.kind()), ("example.com/foo", 0x530d_903a, KeyKind::Log));
        assert_eq!(key.to_string(), vkey);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<VerifierKey>(&json).unwrap(), key);
    }

    #[test]
    fn malformed_keys_are_refused() {
        let public = "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        for bad in [
            String::new(),
            "example.com/foo".to_owned(),
            "example.com/foo+530d903a".to_owned(),
            "example.com/foo+530d903a+".to_owned(),
            format!("example.com/foo+530D903A+{public}"),
            format!("example.com/foo+530d903b+{public}"),
            format!("example.com/foo+0530d903a+{public}"),
            format!("example.com/bar+530d903a+{public}"),
            format!("+530d903a+{public}"),
            format!("example.com/ foo+530d903a+{public}"),
            format!("example.com/foo+530d903a+{public}="),
            format!("example.com/foo+530d903a+{}", &public[..40]),
            "n".repeat(5000),
        ] {
            assert!(VerifierKey::parse(&bad).is_err(), "a malformed key was taken");
        }
        // ECDSA, type 0x02: known to the specification, not used here.
        let mut other = STANDARD.decode(public).unwrap();
        other[0] = 2;
        let other = format!("example.com/foo+530d903a+{}", STANDARD.encode(other));
        assert_eq!(VerifierKey::parse(&other), Err(NoteError::KeyType));
    }

    #[test]
    fn one_seed_as_log_and_as_cosigner_gives_two_key_ids() {
        let log = SigningKey::from_seed("example.com/a", &[7; 32]).unwrap();
        let cosigner = CosigningKey::from_seed("example.com/a", &[7; 32]).unwrap();
        assert_eq!(log.verifier_key().public_key(), cosigner.verifier_key().public_key());
        assert_ne!(log.verifier_key().id(), cosigner.verifier_key().id());
        assert_eq!(
            VerifierKey::parse(&cosigner.verifier_key().to_string()).unwrap().kind(),
            KeyKind::Cosigner
        );
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        let seed = [7u8; 32];
        let shown = format!("{:?}", SigningKey::from_seed("example.com/a", &seed).unwrap());
        assert!(!shown.contains(&STANDARD.encode(seed)) && !shown.contains(&hex::encode(seed)));
    }
}
