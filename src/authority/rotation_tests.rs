//! Logs whose keys were replaced: who follows with which pin, and who is not fooled.

use std::num::NonZeroUsize;

use super::log_fixtures::*;
use super::published::{Fault, Options, Since, pins_of_any_time, verify};
use super::{Pins, proven, verdict};
use crate::domain::event::{Event, LogKeyRetired, LogKeyVouched};
use crate::token::fixtures as token;
use crate::trail::{Note, SigningKey, Succession};

const LATER: i64 = token::NOW + 100_000;
const BY: &str = "operators/local";

fn next_key(origin: &str) -> SigningKey {
    SigningKey::from_seed(origin, &[77; 32]).unwrap()
}

fn vouched() -> Vec<(&'static str, Event)> {
    let one = |former: &SigningKey, origin| {
        let succession = Succession::sign(former, &next_key(origin)).unwrap().to_string();
        (origin, Event::from(LogKeyVouched { by: BY.into(), succession }))
    };
    vec![one(&trail_key(), TRAIL), one(&authority_key(), AUTHORITY)]
}

fn retired() -> Vec<(&'static str, Event)> {
    let one = |key: SigningKey, origin| {
        let vkey = key.verifier_key().to_string();
        (origin, Event::from(LogKeyRetired { by: BY.into(), vkey }))
    };
    vec![one(trail_key(), TRAIL), one(authority_key(), AUTHORITY)]
}

/// Both logs with these leaves at their ends.
struct Rotated {
    trail: Log,
    authority: Log,
}

impl Rotated {
    /// Signed by the old keys (0), by both (1) or by the new ones (2).
    fn new(in_trail: &[(&str, Event)], in_authority: &[(&str, Event)], signed: u8) -> Self {
        let log = |origin, story: &Story, start, more: &[(&str, Event)], old: SigningKey| {
            let entropy = token::CountedEntropy::new();
            let mut leaves = sealed(story, start);
            leaves.extend(more.iter().map(|(subject, event)| seal_at(subject, event, LATER, &entropy)));
            let next = next_key(origin);
            let mut log = Log::of(origin, leaves, if signed == 2 { &next } else { &old });
            if signed == 1 {
                let mut note = Note::parse(&log.checkpoint).unwrap();
                note.add(next.sign(note.text())).unwrap();
                log.checkpoint = note.to_string();
                log.vkey = format!("{}\n{}", old.verifier_key(), next.verifier_key());
            }
            log
        };
        Self {
            trail: log(TRAIL, &trail_story(), token::NOW, in_trail, trail_key()),
            authority: log(AUTHORITY, &authority_story(), AUTHORITY_START, in_authority, authority_key()),
        }
    }

    fn same(events: &[(&str, Event)], signed: u8) -> Self {
        Self::new(events, events, signed)
    }

    /// What a verifier with these pins says: nothing, or where the fault is.
    fn fault(&self, pins: &Pins) -> Option<String> {
        self.fault_since(pins, &Since::default())
    }

    fn fault_since(&self, pins: &Pins, since: &Since) -> Option<String> {
        let scratch = || unreachable!("so small a log fits in memory");
        let options = Options {
            threads: NonZeroUsize::MIN,
            memory: 1 << 20,
            scratch: &scratch,
            progress: &|_, _, _| {},
        };
        let (trail, authority) = (self.trail.files(), self.authority.files());
        match verify(&trail, &authority, pins, since, &options) {
            Ok(_) => None,
            Err(Fault::NotGood { which, rule: Some(rule), .. }) => Some(format!("{which} {rule}")),
            Err(Fault::NotGood { which, .. } | Fault::Unreadable { which, .. }) => Some(which),
        }
    }

    fn evidence(&self, pins: &Pins) -> Result<verdict::Verdict, verdict::Fault> {
        verdict::verify(&bundle(&self.trail, &self.authority, None), pins)
    }
}

fn new_pins() -> Pins {
    let mut pins = pins();
    pins.trail.vkey = next_key(TRAIL).verifier_key().clone();
    pins.authority.vkey = next_key(AUTHORITY).verifier_key().clone();
    pins
}

fn all() -> Vec<(&'static str, Event)> {
    [vouched(), retired()].concat()
}

#[test]
fn a_trail_verifies_across_a_rotation_with_either_pin() {
    let overlap = Rotated::same(&vouched(), 1);
    let done = Rotated::same(&all(), 2);
    for (which, rotated) in [("both sign", overlap), ("the new one signs", done)] {
        for (whose, pins) in [("old", pins()), ("new", new_pins())] {
            assert_eq!(rotated.fault(&pins), None, "{which}, {whose} pin");
            let evidence = rotated.evidence(&pins);
            assert!(evidence.is_ok(), "{which}, {whose} pin: {:?}", evidence.err());
        }
    }
}

#[test]
fn a_key_that_nobody_vouched_for_proves_nothing() {
    let swapped = Rotated::same(&[], 2);
    assert_eq!(swapped.fault(&pins()).as_deref(), Some("authority/checkpoint"));
    assert!(swapped.evidence(&pins()).is_err());
    // Vouched for by somebody else's key, which says it is this log's.
    let stranger = SigningKey::from_seed(AUTHORITY, &[78; 32]).unwrap();
    let succession = Succession::sign(&stranger, &next_key(AUTHORITY)).unwrap().to_string();
    let by_stranger = [(AUTHORITY, Event::from(LogKeyVouched { by: BY.into(), succession }))];
    let swapped = Rotated::same(&by_stranger, 2);
    assert_eq!(swapped.fault(&pins()).as_deref(), Some("authority/checkpoint"));
    assert!(swapped.evidence(&pins()).is_err());
}

#[test]
fn a_retired_key_signs_nothing_more() {
    assert_eq!(Rotated::same(&vouched(), 0).fault(&pins()), None, "not everybody has the new file yet");
    let stolen = Rotated::same(&all(), 0);
    assert_eq!(stolen.fault(&pins()).as_deref(), Some("authority/checkpoint"));
    assert!(stolen.evidence(&pins()).is_err());
}

#[test]
fn a_next_key_that_was_lost_signs_nothing_once_it_is_retired() {
    let lost = |origin| SigningKey::from_seed(origin, &[76; 32]).unwrap();
    let mut events = Vec::new();
    for (former, origin) in [(trail_key(), TRAIL), (authority_key(), AUTHORITY)] {
        let succession = Succession::sign(&former, &lost(origin)).unwrap().to_string();
        events.push((origin, Event::from(LogKeyVouched { by: BY.into(), succession })));
    }
    events.extend(all());
    let signed_by_the_lost = |events: &[(&'static str, Event)]| {
        let mut cut = Rotated::same(events, 2);
        cut.trail = Log::of(TRAIL, cut.trail.leaves[..18].to_vec(), &lost(TRAIL));
        cut.fault(&pins())
    };
    assert_eq!(signed_by_the_lost(&events), None, "until it is retired, it was vouched for");
    for origin in [TRAIL, AUTHORITY] {
        let vkey = lost(origin).verifier_key().to_string();
        events.push((origin, Event::from(LogKeyRetired { by: BY.into(), vkey })));
    }
    assert_eq!(Rotated::same(&events, 2).fault(&pins()), None);
    assert_eq!(signed_by_the_lost(&events).as_deref(), Some("trail/checkpoint"));
}

#[test]
fn the_trail_tells_of_a_key_what_the_authority_log_tells() {
    let index = trail_story().len();
    let only_trail = Rotated::new(&vouched(), &[], 1);
    assert_eq!(only_trail.fault(&pins()), Some(format!("trail leaf {index} LOG_KEYS")));
    let index = authority_story().len();
    let unfollowed = Rotated::same(&retired(), 1);
    assert_eq!(unfollowed.fault(&new_pins()), Some(format!("authority leaf {index} LOG_KEYS")));
}

#[test]
fn a_receipt_alone_needs_the_pin_of_a_key_that_signed_it() {
    let done = Rotated::same(&all(), 2).trail;
    let (receipt, leaf) = (done.receipt(at::ADMITTED), &done.leaves[at::ADMITTED]);
    assert!(proven::verify(&receipt, leaf, &new_pins()).is_ok());
    assert!(proven::verify(&receipt, leaf, &pins()).is_err());
    let overlap = Rotated::same(&vouched(), 1).trail;
    let (receipt, leaf) = (overlap.receipt(at::ADMITTED), &overlap.leaves[at::ADMITTED]);
    for pins in [pins(), new_pins()] {
        assert!(proven::verify(&receipt, leaf, &pins).is_ok());
    }
}

#[test]
fn a_checkpoint_that_was_kept_counts_with_either_pin_whichever_of_the_keys_signed_it() {
    let done = Rotated::same(&all(), 2);
    let before = Rotated::same(&[], 0);
    for (when, kept) in [("before", &before), ("meanwhile", &Rotated::same(&vouched(), 1)), ("after", &done)]
    {
        for (whose, pins) in [("old", pins()), ("new", new_pins())] {
            let mut since = Since::default();
            let believed = pins_of_any_time(&done.authority.files(), &pins);
            for checkpoint in [&kept.trail.checkpoint, &kept.authority.checkpoint] {
                since
                    .take(checkpoint, &believed)
                    .unwrap_or_else(|what| panic!("{when}, {whose} pin: {what}"));
            }
            assert_eq!(done.fault_since(&pins, &since), None, "{when}, {whose} pin");
        }
    }
    // That counts for what was kept. What is shown now needs a key that is in force.
    assert!(Rotated::same(&all(), 0).fault(&pins()).is_some());
}

#[test]
fn a_checkpoint_that_was_kept_needs_a_key_that_the_log_had_and_tells_of_its_own_log() {
    let stranger = SigningKey::from_seed(TRAIL, &[78; 32]).unwrap();
    let done = Rotated::same(&all(), 2);
    for pins in [pins(), new_pins()] {
        let believed = pins_of_any_time(&done.authority.files(), &pins);
        let forged = Log::of(TRAIL, done.trail.leaves.clone(), &stranger).checkpoint;
        assert!(Since::default().take(&forged, &believed).is_err());
        // Nobody who had one of its keys vouched for the stranger: not forward, not back.
        for (former, next) in [(&stranger, &next_key(TRAIL)), (&trail_key(), &stranger)] {
            let text = Succession::sign(former, next).unwrap().to_string();
            let mangled =
                text.replace(&stranger.verifier_key().to_string(), &trail_key().verifier_key().to_string());
            let told = [(TRAIL, Event::from(LogKeyVouched { by: BY.into(), succession: mangled }))];
            let lying = Rotated::new(&[], &told, 0).authority;
            assert!(Since::default().take(&forged, &pins_of_any_time(&lying.files(), &pins)).is_err());
        }
    }
    // The reason is the authority log's own: its witnesses, not "of another log".
    let believed = pins_of_any_time(&done.authority.files(), &pins());
    let unsigned = Log::of(
        AUTHORITY,
        done.authority.leaves.clone(),
        &SigningKey::from_seed(AUTHORITY, &[79; 32]).unwrap(),
    );
    let what = Since::default().take(&unsigned.checkpoint, &believed).unwrap_err();
    let told = crate::trail::Checkpoint::open_by(&unsigned.checkpoint, AUTHORITY, believed.authority.keys());
    assert_eq!(what, told.unwrap_err().to_string());
    let mut asking = believed;
    asking.witnesses.required = 1;
    let what = Since::default().take(&done.authority.checkpoint, &asking).unwrap_err();
    assert!(what.contains("0 of the pinned witnesses"), "{what}");
}
