//! A log's signed head, held against the pins.
//!
//! As C2SP `signed-note` asks, a line of a stranger is ignored: a log may have more cosigners than
//! one auditor pins. Every line of a pinned key must verify, and stand once. Stricter than C2SP: a line
//! with a pinned cosigner's name and another key's id, or with a pinned key's id and another name, is no
//! stranger's but a pinned key's line spoilt, and refused. A line in the log's own name may be that of
//! its next key: it is a stranger's until the pinned one vouches for it ([`Pins::follow`]).

use std::fmt;

use super::pins::{LogPin, Pins};
use crate::domain::Timestamp;
use crate::trail::{Checkpoint, Note, NoteSignature};

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
    for (at, line) in note.signatures().iter().enumerate() {
        if !pinned().any(|key| key.claims(line)) {
            let spoilt = cosigners().any(|key| key.name() == line.name())
                || pinned().any(|key| key.id() == line.key_id());
            if spoilt {
                return Err(HeadFault::not_good("a signature has a pinned key's name or id, and not both"));
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
    Ok(Head { checkpoint, fresh_at, witnesses: seen.len(), witnessed_at })
}

#[cfg(test)]
mod tests {
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
    fn a_strangers_line_is_ignored_and_a_half_known_one_is_not() {
        let pins = pins();
        let with = |name: &str, seed: u8| {
            let mut note = note();
            let key = CosigningKey::from_seed(name, &[seed; 32]).unwrap();
            note.add(key.cosign(note.text(), at(5)).unwrap()).unwrap();
            open(&note.to_string(), &pins.authority, &pins)
        };
        assert_eq!(with("stranger.example", 8), open(&note().to_string(), &pins.authority, &pins));
        assert!(with("stranger.example", 8).is_ok());
        // In the log's own name: perhaps its next key, which nobody vouched for yet.
        assert!(with(pins.authority.vkey.name(), 9).is_ok());
        let freshness = pins.freshness.as_ref().unwrap().name();
        assert!(with(freshness, 9).unwrap_err().to_string().contains("and not both"));
        let mut note = note();
        let line = freshness_key().cosign(note.text(), at(5)).unwrap().to_string();
        let renamed = line.replace("/freshness", "/elsewhere");
        note.add(NoteSignature::parse(&renamed).unwrap()).unwrap();
        assert!(
            open(&note.to_string(), &pins.authority, &pins).unwrap_err().to_string().contains("and not both")
        );
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_noticed() {
        let pins = pins();
        let mut note = note();
        note.add(freshness_key().cosign(note.text(), at(77)).unwrap()).unwrap();
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
