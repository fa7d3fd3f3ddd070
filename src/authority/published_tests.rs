//! Published logs in memory: good ones, and every byte of every file changed.

use super::log_fixtures::*;
use super::published::{self, Fault, Options, Since, Stage};
use super::{Pins, proven};
use crate::domain::event::*;
use crate::token::fixtures as token;
use crate::trail::{CosigningKey, SigningKey};

fn both() -> (Files, Files) {
    (Log::trail(&trail_story()).files(), Log::authority(&authority_story()).files())
}

fn named(fault: Fault) -> String {
    match fault {
        Fault::NotGood { which, .. } => which,
        Fault::Unreadable { which, .. } => panic!("{which} could not be read"),
    }
}

#[test]
fn what_was_published_is_good() {
    let (trail, authority) = both();
    let report = verify(&trail, &authority, &pins()).unwrap();
    assert_eq!((report.summary.trail_size, report.summary.authority_size), (18, 2));
    assert_eq!(report.authority_fresh_at.map(|time| time.as_second()), Some(token::NOW + 500));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["leaves"]["mandate.instruction.admitted"], 1);
}

#[test]
fn any_flipped_byte_of_any_file_is_noticed_and_named() {
    let (trail, authority) = both();
    let pins = pins();
    for (log, files) in [("trail", &trail), ("authority", &authority)] {
        for (path, bytes) in &files.0 {
            let mut bad = files.clone();
            for at in 0..bytes.len() {
                let file = bad.0.get_mut(path).unwrap();
                file[at] ^= 1 << (at % 8);
                let none = Since::default();
                let verdict = match log {
                    "trail" => verify_on(1, usize::MAX, &bad, &authority, &pins, &none),
                    _ => verify_on(1, usize::MAX, &trail, &bad, &pins, &none),
                };
                let which = named(verdict.expect_err("a changed byte went unnoticed"));
                let fits = which.contains(&format!("{log}/{path}"));
                assert!(fits, "byte {at} of {log}/{path} was called {which}");
                bad.0.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
            }
        }
    }
}

#[test]
fn a_missing_file_and_one_too_many_are_named() {
    let (trail, authority) = both();
    for path in trail.0.keys().filter(|path| *path != "vkey") {
        let mut bad = trail.clone();
        bad.0.remove(path);
        assert_eq!(named(verify(&bad, &authority, &pins()).unwrap_err()), format!("trail/{path}"));
    }
    for extra in ["tile/0/001.p/1", "tile/0/000", "tile/1/000.p/1", "tile/entries/000.p/99", "notes.txt"] {
        let mut bad = trail.clone();
        bad.0.insert(extra.into(), vec![0; 32]);
        assert_eq!(named(verify(&bad, &authority, &pins()).unwrap_err()), format!("trail/{extra}"));
    }
}

#[test]
fn an_earlier_narrower_tile_may_stay_if_it_is_a_true_one() {
    let mut earlier = trail_story();
    earlier.truncate(9);
    let (mut trail, authority) = both();
    for (path, bytes) in Log::trail(&earlier).files().0 {
        if path.starts_with("tile/") {
            trail.0.insert(path, bytes);
        }
    }
    verify(&trail, &authority, &pins()).unwrap();
    trail.0.get_mut("tile/0/000.p/9").unwrap()[40] ^= 1;
    assert_eq!(named(verify(&trail, &authority, &pins()).unwrap_err()), "trail/tile/0/000.p/9");
}

#[test]
fn a_log_of_more_than_one_tile_is_read_bundle_by_bundle() {
    let mut story = trail_story();
    let read: Event = RequestRead { by: "controllers/xingyu".into(), count: 1 }.into();
    story.extend((0..300).map(|_| (REQUEST.to_owned(), read.clone())));
    let (trail, authority) = (Log::trail(&story).files(), Log::authority(&authority_story()).files());
    assert!(trail.0.contains_key("tile/entries/000") && trail.0.contains_key("tile/entries/001.p/62"));
    let report = verify(&trail, &authority, &pins()).unwrap();
    assert_eq!(report.summary.leaves["mandate.request.read"], 300);
    let mut bad = trail.clone();
    bad.0.get_mut("tile/entries/001.p/62").unwrap()[9] ^= 1;
    let which = named(verify(&bad, &authority, &pins()).unwrap_err());
    assert_eq!(which, "trail leaf 256, in trail/tile/entries/001.p/62");
    let mut bad = trail;
    bad.0.get_mut("tile/1/000.p/1").unwrap()[9] ^= 1;
    assert_eq!(named(verify(&bad, &authority, &pins()).unwrap_err()), "trail/tile/1/000.p/1");
}

#[test]
fn a_log_that_is_whole_but_breaks_a_rule_is_named_by_leaf_and_rule() {
    let mut story = trail_story();
    story.remove(at::LEASED);
    let trail = Log::trail(&story).files();
    let fault = verify(&trail, &Log::authority(&authority_story()).files(), &pins()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!("trail leaf {} breaks ORDERED: the agent holds no lease of it", at::REPORTED - 1)
    );
}

#[test]
fn another_pinned_key_or_too_few_witnesses_are_not_good() {
    let (trail, authority) = both();
    let which = |change: &dyn Fn(&mut Pins)| {
        let mut pins = pins();
        change(&mut pins);
        named(verify(&trail, &authority, &pins).unwrap_err())
    };
    let other = SigningKey::from_seed(TRAIL, &[9; 32]).unwrap();
    assert_eq!(which(&|pins| pins.trail.vkey = other.verifier_key().clone()), "trail/checkpoint");
    let witness = CosigningKey::from_seed("w.example", &[7; 32]).unwrap();
    assert_eq!(
        which(&|pins| {
            pins.witnesses.required = 1;
            pins.witnesses.vkeys = vec![witness.verifier_key().clone()];
        }),
        "authority/checkpoint"
    );
}

#[test]
fn a_receipt_proves_one_leaf_and_no_flipped_byte_of_it_passes() {
    let log = Log::trail(&trail_story());
    let (receipt, leaf) = (log.receipt(at::REPORTED), &log.leaves[at::REPORTED]);
    let pins = pins();
    let proven = proven::verify(&receipt, leaf, &pins).unwrap();
    assert_eq!((proven.index as usize, proven.type_.as_str()), (at::REPORTED, "mandate.execution.reported"));
    for at in 0..receipt.len() {
        let mut bad = receipt.clone().into_bytes();
        bad[at] ^= 1 << (at % 8);
        let verdict = String::from_utf8(bad).map(|text| proven::verify(&text, leaf, &pins));
        assert!(!matches!(verdict, Ok(Ok(_))), "byte {at} of the receipt went unnoticed");
    }
    for at in 0..leaf.len() {
        let mut bad = leaf.clone();
        bad[at] ^= 1;
        assert!(proven::verify(&receipt, &bad, &pins).is_err(), "byte {at} of the leaf went unnoticed");
    }
    let authority = Log::authority(&authority_story());
    let proven = proven::verify(&authority.receipt(1), &authority.leaves[1], &pins).unwrap();
    assert_eq!(proven.log, super::LogName::Authority);
}

#[test]
fn a_full_disk_is_no_verdict() {
    let (trail, authority) = both();
    let options = Options {
        threads: std::num::NonZeroUsize::MIN,
        memory: 100,
        scratch: &|| Err(std::io::ErrorKind::StorageFull.into()),
        progress: &|_, _, _| (),
    };
    let fault = published::verify(&trail, &authority, &pins(), &Since::default(), &options).unwrap_err();
    assert!(matches!(fault, Fault::Unreadable { which, .. } if which == "a temporary file"));
}

#[test]
fn progress_counts_every_leaf_in_each_stage() {
    let (trail, authority) = both();
    let told = std::cell::RefCell::new(Vec::new());
    let options = Options {
        threads: std::num::NonZeroUsize::MIN,
        memory: usize::MAX,
        scratch: &|| Err(std::io::ErrorKind::Other.into()),
        progress: &|stage, done, all| told.borrow_mut().push((stage, done, all)),
    };
    published::verify(&trail, &authority, &pins(), &Since::default(), &options).unwrap();
    let histories = [(Stage::Histories, 0, 18), (Stage::Histories, 18, 18)];
    let expected = [&[(Stage::Tree, 18, 18), (Stage::Rules, 18, 18)][..], &histories].concat();
    assert_eq!(told.into_inner(), expected);
}
