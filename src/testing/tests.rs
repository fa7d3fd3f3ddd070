//! Made-up trails held against the verifier: valid ones are good, each flaw is found, named and placed,
//! on any number of threads and however little memory there is.

use std::collections::{BTreeMap, BTreeSet};

use super::parties::origin;
use super::*;
use crate::authority::log_fixtures::{Files, verify, verify_on};
use crate::authority::published::{Fault, Since};
use crate::authority::{LogName, Rule};
use crate::domain::event::Event;

const SIZE: u64 = 900;

pub(super) fn files(parties: &Parties, log: &str, leaves: Vec<Vec<u8>>) -> Files {
    let mut files = BTreeMap::new();
    let put = |path: &str, bytes: &[u8]| {
        files.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    };
    let key = if log == "trail" { &parties.trail_key } else { &parties.authority_key };
    publish(key, &parties.witness, &origin(log), leaves, put).unwrap();
    Files(files)
}

pub(super) fn sealed(story: &[Told]) -> Vec<Vec<u8>> {
    let salts = Seeded::new(7);
    story.iter().map(|told| told.seal(&salts)).collect()
}

pub(super) struct Made {
    pub parties: Parties,
    pub story: Vec<Told>,
    pub authority: Files,
}

pub(super) fn made(seed: u64, size: u64) -> Made {
    let parties = Parties::new(seed, 3);
    let story = Story::new(&parties, seed, size);
    let authority = files(&parties, "authority", story.authority_leaves().to_vec());
    let story = story.collect();
    Made { parties, story, authority }
}

impl Made {
    pub(super) fn trail(&self) -> Files {
        files(&self.parties, "trail", sealed(&self.story))
    }
}

#[test]
fn a_made_up_trail_is_good_of_every_size_and_has_all_that_a_gateway_writes() {
    for (seed, size) in [(1, 1), (2, 18), (3, 255), (4, 256), (5, 257), (6, 2000)] {
        let made = made(seed, size);
        let report = verify(&made.trail(), &made.authority, &made.parties.pins()).unwrap();
        assert_eq!(report.summary.trail_size, size);
        if size == 2000 {
            let summary = report.summary;
            let seen: BTreeSet<&str> = summary.leaves.keys().copied().collect();
            let never = [
                "mandate.log.reopened",
                "mandate.log_key.vouched",
                "mandate.log_key.retired",
                "mandate.key_set.published",
                "mandate.instruction.stopped",
                "mandate.signature.withdrawn",
                "mandate.approval.withdrawn",
                "mandate.instruction.contested",
                "mandate.access_key.registered",
                "mandate.access_key.revoked",
                "mandate.message.read",
                "mandate.export.removed",
                "mandate.epoch.rotated",
            ];
            let missing: Vec<_> =
                Event::TYPES.iter().filter(|name| !seen.contains(*name) && !never.contains(name)).collect();
            assert!(missing.is_empty(), "never told: {missing:?}");
            assert!(summary.ended > 100 && summary.ended < summary.executions, "{summary:?}");
        }
    }
}

#[test]
fn the_seed_decides_every_byte() {
    let (one, same, other) = (made(9, 300), made(9, 300), made(10, 300));
    assert!(one.trail().0 == same.trail().0);
    assert!(one.authority.0 == same.authority.0);
    assert!(one.trail().0 != other.trail().0);
}

/// What the verdict must say, where a rule has many sides.
const MEANT: &[(&str, &str)] = &[
    ("a second agent beside a store", "an agent stands beside the store already"),
    ("a second house", "a second controller is the house"),
    ("a case that is forwarded twice", "the case is forwarded again"),
    ("a case that is forwarded after it was acknowledged", "the case had been acknowledged"),
    ("a message that is dismissed twice", "the message is dismissed again"),
];

#[test]
fn each_flaw_is_found_named_and_placed_on_any_threads_and_with_little_memory() {
    let mut rules = BTreeSet::new();
    for flaw in FLAWS {
        let mut made = made(11, SIZE);
        let spoilt = (flaw.spoil)(&mut made.story, &made.parties);
        let index = spoilt.unwrap_or_else(|| panic!("the story has no place for {}", flaw.name));
        // On 1, 2 and 5 threads, spilling on the last.
        match verify(&made.trail(), &made.authority, &made.parties.pins()) {
            Err(Fault::NotGood { which, rule: Some(rule), what }) => {
                // Of several things that would break the rule, the one that was meant.
                if let Some((_, meant)) = MEANT.iter().find(|(name, _)| *name == flaw.name) {
                    assert_eq!(what, *meant, "{}", flaw.name);
                }
                let found = (rule, which.as_str());
                assert_eq!(
                    found,
                    (flaw.rule, format!("trail leaf {index}").as_str()),
                    "{}: {what}",
                    flaw.name
                );
            }
            verdict => panic!("{}: {verdict:?}", flaw.name),
        }
        rules.insert(flaw.rule);
    }
    assert!(Rule::ALL.iter().all(|rule| rules.contains(rule)), "a rule has no flaw: {rules:?}");
}

#[test]
fn of_several_flaws_the_first_leaf_is_named() {
    for (one, other) in [(7, 16), (16, 7), (18, 20), (13, 22)] {
        let mut made = made(12, SIZE);
        let found = [one, other].map(|at| (FLAWS[at].spoil)(&mut made.story, &made.parties).unwrap());
        let first = verify(&made.trail(), &made.authority, &made.parties.pins()).unwrap_err().to_string();
        let named: usize = first.split(' ').nth(2).unwrap().parse().unwrap();
        assert!(named <= *found.iter().min().unwrap(), "{first}, and flaws at {found:?}");
    }
}

#[test]
fn since_any_checkpoint_the_rest_is_found_good_and_a_newer_flaw_is_found() {
    let mut made = made(13, 600);
    let pins = made.parties.pins();
    let head = |made: &Made, size: usize| {
        let trail = files(&made.parties, "trail", sealed(&made.story[..size]));
        let mut since = Since::default();
        since.take(std::str::from_utf8(&trail.0["checkpoint"]).unwrap(), &pins).unwrap();
        since
    };
    let whole = verify(&made.trail(), &made.authority, &pins).unwrap();
    let mut reread = 0;
    for size in [0, 100, 255, 256, 300, 511, 599, 600] {
        let since = head(&made, size);
        let report = verify_on(2, 2000, &made.trail(), &made.authority, &pins, &since).unwrap();
        assert_eq!(report.summary, whole.summary, "since {size}");
        reread += report.since.unwrap().reread;
    }
    assert!(reread > 10, "no open order crossed a checkpoint");
    let since = head(&made, 150);
    let flaw = FLAWS.iter().find(|flaw| flaw.rule == Rule::ReportScope).unwrap();
    let index = (flaw.spoil)(&mut made.story, &made.parties).unwrap();
    assert!(index >= 150);
    let fault = verify_on(2, 2000, &made.trail(), &made.authority, &pins, &since).unwrap_err();
    assert!(fault.to_string().starts_with(&format!("{} leaf {index} breaks REPORT_SCOPE", LogName::Trail)));
}
