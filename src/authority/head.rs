//! A log's signed head, held against the pins.
//!
//! As C2SP `signed-note` asks, a line of a stranger is ignored: a log may have more cosigners than
//! one auditor pins. Every line of a pinned key must verify, and stand once. A line with a pinned name and
//! another key's id is a stranger's, too: a witness that was made anew, or the log's next key until the pinned
//! one vouches for it ([`Pins::follow`]). Of the former the head tells ([`Head::other_keys`]). Stricter than
//! C2SP in one thing: a line that has a pinned key's name or id and not both is that key's line spoilt, and
//! refused, if the key made its signature. So no changed byte of a line goes unnoticed.

use std::fmt;

use super::pins::{LogPin, Pins};
use crate::domain::Timestamp;
use crate::trail::{Checkpoint, Note, NoteSignature, VerifierKey};

/// A head that is signed as the pins ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub checkpoint: Checkpoint,
    /// When the freshness cosigner said it was the newest.
    pub fresh_at: Option<Timestamp>,
    /// Pinned witnesses that cosigned.
    pub witnesses: usize,
    /// Since when as many witnesses as are required have vouched for it: the time of the *k*-th newest
    /// of their cosignatures. None where none are required.
    pub witnessed_at: Option<Timestamp>,
    /// Names of pinned cosigners under which a key that is not pinned signed. Such a line counts for nothing.
    pub other_keys: Vec<String>,
}

impl Head {
    /// When it was the newest: by its witnesses where the pins require any, else by the freshness cosigner.
    pub fn dated(&self) -> Option<Timestamp> {
        self.witnessed_at.or(self.fresh_at)
    }
}

/// Why a head is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadFault {
    /// One sentence.
    NotGood(String),
    /// It is signed as it should be, and too few of the pinned witnesses have cosigned it: more may follow.
    Witnesses { have: usize, required: usize },
}

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadFault::NotGood(what) => f.write_str(what),
            HeadFault::Witnesses { have, required } => {
                write!(f, "{have} of the pinned witnesses cosigned it, {required} must have")
            }
        }
    }
}

impl From<HeadFault> for String {
    fn from(fault: HeadFault) -> Self {
        fault.to_string()
    }
}

impl HeadFault {
    fn not_good(what: impl fmt::Display) -> Self {
        HeadFault::NotGood(what.to_string())
    }
}

/// Opens a checkpoint of the trail or the authority log.
pub fn open(note: &str, log: &LogPin, pins: &Pins) -> Result<Head, HeadFault> {
    let checkpoint = Checkpoint::open_by(note, &log.origin, log.keys()).map_err(HeadFault::not_good)?;
    // It parsed a moment ago.
    let note = Note::parse(note).map_err(HeadFault::not_good)?;
    let cosigners = || pins.witnesses.vkeys.iter().chain(&pins.freshness);
    let pinned = || log.keys().chain(cosigners());
    let mut other_keys = Vec::new();
    for (at, line) in note.signatures().iter().enumerate() {
        if !pinned().any(|key| key.claims(line)) {
            if pinned().any(|key| is_spoilt(line, key, note.text())) {
                return Err(HeadFault::not_good(
                    "a pinned key's signature has its name or its id, and not both",
                ));
            }
            let name = line.name();
            if cosigners().any(|key| key.name() == name) && !other_keys.iter().any(|known| known == name) {
                other_keys.push(name.to_owned());
            }
            continue;
        }
        // A line that stands twice adds nothing and would be a second spelling.
        let again = |other: &&NoteSignature| other.key_id() == line.key_id() && other.name() == line.name();
        if note.signatures()[..at].iter().any(|other| again(&other)) {
            return Err(HeadFault::not_good("a key signed it twice"));
        }
    }
    let mut fresh_at = None;
    if let Some(key) = &pins.freshness {
        let signed = note.verified_by(key).map_err(HeadFault::not_good)?;
        fresh_at = signed.and_then(|signed| signed.at);
    }
    let mut seen = Vec::new();
    for key in &pins.witnesses.vkeys {
        seen.extend(note.verified_by(key).map_err(HeadFault::not_good)?.and_then(|signed| signed.at));
    }
    let required = pins.witnesses.required;
    if seen.len() < required {
        return Err(HeadFault::Witnesses { have: seen.len(), required });
    }
    seen.sort_unstable();
    let witnessed_at = required.checked_sub(1).and_then(|k| seen.iter().rev().nth(k)).copied();
    Ok(Head { checkpoint, fresh_at, witnesses: seen.len(), witnessed_at, other_keys })
}

/// Whether a line that has the key's name or its id alone is this key's with a character changed.
fn is_spoilt(line: &NoteSignature, key: &VerifierKey, text: &str) -> bool {
    let named = key.name() == line.name();
    // One character of the base64 holds the last two bits of the id and the first four of the signature.
    let same_but_last_bits = key.id() >> 2 == line.key_id() >> 2;
    named && same_but_last_bits
        || (named || key.id() == line.key_id()) && key.verify(text, line.bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::authority::log_fixtures::{authority_key, freshness_key, pins};
    use crate::trail::{CosigningKey, empty_root};

    fn note() -> Note {
        let pins = pins();
        Checkpoint::new(&pins.authority.origin, 0, empty_root()).unwrap().sign(&authority_key())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_head_tells_how_fresh_it_is() {
        let pins = pins();
        let mut note = note();
        assert_eq!(open(&note.to_string(), &pins.authority, &pins).unwrap().fresh_at, None);
        note.add(freshness_key().cosign(note.text(), at(77)).unwrap()).unwrap();
        assert_eq!(open(&note.to_string(), &pins.authority, &pins).unwrap().fresh_at, Some(at(77)));
        note.add(freshness_key().cosign(note.text(), at(78)).unwrap()).unwrap();
        assert!(open(&note.to_string(), &pins.authority, &pins).is_err());
    }

    #[test]
    fn a_foreign_log_and_too_few_witnesses_are_refused() {
        let mut pins = pins();
        let witness = CosigningKey::from_seed("witness.example", &[8; 32]).unwrap();
        let mut note = note();
        assert!(open(&note.to_string(), &pins.trail, &pins).is_err());
        note.add(witness.cosign(note.text(), at(5)).unwrap()).unwrap();
        let text = note.to_string();
        pins.witnesses.vkeys.push(witness.verifier_key().clone());
        pins.witnesses.required = 1;
        assert_eq!(open(&text, &pins.authority, &pins).unwrap().witnesses, 1);
        let unseen = text.split_inclusive('\n').filter(|line| !line.contains("witness")).collect::<String>();
        let missing = HeadFault::Witnesses { have: 0, required: 1 };
        assert_eq!(open(&unseen, &pins.authority, &pins).unwrap_err(), missing);
        assert_eq!(missing.to_string(), "0 of the pinned witnesses cosigned it, 1 must have");
    }

    #[test]
    fn a_head_is_as_fresh_as_the_kth_newest_of_its_cosignatures() {
        let mut pins = pins();
        let mut note = note();
        for (seed, seconds) in [(10, 100), (11, 300), (12, 200)] {
            let witness = CosigningKey::from_seed(&format!("w{seed}.example"), &[seed; 32]).unwrap();
            note.add(witness.cosign(note.text(), at(seconds)).unwrap()).unwrap();
            pins.witnesses.vkeys.push(witness.verifier_key().clone());
        }
        let text = note.to_string();
        for (required, since) in [(0, None), (1, Some(300)), (2, Some(200)), (3, Some(100))] {
            pins.witnesses.required = required;
            let head = open(&text, &pins.authority, &pins).unwrap();
            assert_eq!((head.witnesses, head.witnessed_at), (3, since.map(at)), "k = {required}");
        }
    }

    #[test]
    fn a_strangers_line_is_ignored_whatever_its_name_and_a_spoilt_one_is_not() {
        let pins = pins();
        let judged = |line: NoteSignature| {
            let mut note = note();
            note.add(line).unwrap();
            open(&note.to_string(), &pins.authority, &pins)
        };
        let with = |name: &str, seed: u8| {
            let key = CosigningKey::from_seed(name, &[seed; 32]).unwrap();
            judged(key.cosign(note().text(), at(5)).unwrap())
        };
        assert_eq!(with("stranger.example", 8), open(&note().to_string(), &pins.authority, &pins));
        assert!(with("stranger.example", 8).unwrap().other_keys.is_empty());
        // In the log's own name: perhaps its next key, which nobody vouched for yet.
        assert!(with(pins.authority.vkey.name(), 9).unwrap().other_keys.is_empty());
        let freshness = pins.freshness.as_ref().unwrap().name();
        let other = with(freshness, 9).unwrap();
        assert_eq!((other.fresh_at, other.other_keys), (None, vec![freshness.to_owned()]));

        let line = freshness_key().cosign(note().text(), at(5)).unwrap().to_string();
        let renamed = line.replace("/freshness", "/elsewhere");
        let fault = judged(NoteSignature::parse(&renamed).unwrap()).unwrap_err().to_string();
        assert!(fault.contains("and not both"), "{fault}");
        // Another's signature under its id: a stranger whose id happens to be the same.
        let key = CosigningKey::from_seed("stranger.example", &[8; 32]).unwrap();
        let theirs = key.cosign(note().text(), at(5)).unwrap();
        let id = pins.freshness.as_ref().unwrap().id().to_be_bytes();
        let encoded = STANDARD.encode([&id, theirs.bytes()].concat());
        let line = format!("\u{2014} stranger.example {encoded}");
        assert!(judged(NoteSignature::parse(&line).unwrap()).is_ok());
    }

    #[test]
    fn one_of_three_witnesses_made_anew_leaves_the_pinned_two() {
        let mut pins = pins();
        let witness =
            |n: u8, seed: u8| CosigningKey::from_seed(&format!("w{n}.example"), &[seed; 32]).unwrap();
        for n in 1..=3 {
            pins.witnesses.vkeys.push(witness(n, 20 + n).verifier_key().clone());
        }
        pins.witnesses.required = 2;
        let signed_by = |keys: &[CosigningKey]| {
            let mut note = note();
            for key in keys {
                note.add(key.cosign(note.text(), at(5)).unwrap()).unwrap();
            }
            note.to_string()
        };
        let text = signed_by(&[witness(1, 21), witness(2, 22), witness(3, 99)]);
        let head = open(&text, &pins.authority, &pins).unwrap();
        assert_eq!((head.witnesses, head.witnessed_at), (2, Some(at(5))));
        assert_eq!(head.other_keys, ["w3.example"]);
        // It counts for nothing: with one pinned witness gone it does not make up for it.
        let text = signed_by(&[witness(1, 21), witness(3, 99)]);
        let missing = HeadFault::Witnesses { have: 1, required: 2 };
        assert_eq!(open(&text, &pins.authority, &pins).unwrap_err(), missing);
        // While both its keys are pinned, each line is its key's.
        pins.witnesses.vkeys.push(witness(3, 99).verifier_key().clone());
        let head = open(&text, &pins.authority, &pins).unwrap();
        assert_eq!((head.witnesses, head.other_keys.is_empty()), (2, true));
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_noticed() {
        let mut pins = pins();
        let mut note = note();
        note.add(freshness_key().cosign(note.text(), at(77)).unwrap()).unwrap();
        // More than are required: no byte of a line counts only because too few would be left.
        for seed in [31, 32] {
            let witness = CosigningKey::from_seed(&format!("w{seed}.example"), &[seed; 32]).unwrap();
            note.add(witness.cosign(note.text(), at(78)).unwrap()).unwrap();
            pins.witnesses.vkeys.push(witness.verifier_key().clone());
        }
        pins.witnesses.required = 1;
        let good = note.to_string().into_bytes();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let verdict = String::from_utf8(bad).map(|text| open(&text, &pins.authority, &pins));
                assert!(!matches!(verdict, Ok(Ok(_))), "byte {at}, bit {bit} went unnoticed");
            }
        }
    }
}
