//! A log's signed head, held against the pins.
//!
//! Stricter than C2SP `signed-note` asks: **every** signature line must be of a pinned
//! key and must verify. A line of a stranger would be a part of the file that nobody
//! checked; whoever publishes with more cosigners than the pins name tells the auditor.

use super::pins::{LogPin, Pins};
use crate::domain::Timestamp;
use crate::trail::Checkpoint;
use crate::trail::note::Note;

/// A head that is signed as the pins ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub checkpoint: Checkpoint,
    /// When the freshness cosigner said it was the newest.
    pub fresh_at: Option<Timestamp>,
    /// Pinned witnesses that cosigned.
    pub witnesses: usize,
}

/// Opens a checkpoint of the trail or the authority log; the error is one sentence.
pub fn open(note: &str, log: &LogPin, pins: &Pins) -> Result<Head, String> {
    let checkpoint = Checkpoint::open(note, &log.origin, &log.vkey).map_err(|error| error.to_string())?;
    // It parsed a moment ago.
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    for line in note.signatures() {
        let mut pinned = std::iter::once(&log.vkey).chain(&pins.witnesses.vkeys).chain(&pins.freshness);
        if !pinned.any(|key| key.claims(line)) {
            return Err("it bears a signature of a key that is not pinned".to_owned());
        }
    }
    // A line that stands twice adds nothing and would be a second spelling.
    for (at, line) in note.signatures().iter().enumerate() {
        if note.signatures()[..at]
            .iter()
            .any(|other| other.key_id() == line.key_id() && other.name() == line.name())
        {
            return Err("a key signed it twice".to_owned());
        }
    }
    let mut head = Head { checkpoint, fresh_at: None, witnesses: 0 };
    if let Some(key) = &pins.freshness {
        let signed = note.verified_by(key).map_err(|error| error.to_string())?;
        head.fresh_at = signed.and_then(|signed| signed.at);
    }
    for key in &pins.witnesses.vkeys {
        if note.verified_by(key).map_err(|error| error.to_string())?.is_some() {
            head.witnesses += 1;
        }
    }
    if head.witnesses < pins.witnesses.required {
        return Err(format!(
            "{} of the pinned witnesses cosigned it, {} must have",
            head.witnesses, pins.witnesses.required
        ));
    }
    Ok(head)
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
    fn a_strangers_line_a_foreign_log_and_too_few_witnesses_are_refused() {
        let mut pins = pins();
        let stranger = CosigningKey::from_seed("stranger.example", &[8; 32]).unwrap();
        let mut note = note();
        assert!(open(&note.to_string(), &pins.trail, &pins).is_err());
        note.add(stranger.cosign(note.text(), at(5)).unwrap()).unwrap();
        let text = note.to_string();
        assert!(open(&text, &pins.authority, &pins).unwrap_err().contains("not pinned"));
        pins.witnesses.vkeys.push(stranger.verifier_key().clone());
        pins.witnesses.required = 1;
        assert_eq!(open(&text, &pins.authority, &pins).unwrap().witnesses, 1);
        let unseen = text.split_inclusive('\n').filter(|line| !line.contains("stranger")).collect::<String>();
        assert!(open(&unseen, &pins.authority, &pins).unwrap_err().contains("0 of"));
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
