//! A controller that lost its root begins anew: only by pin, shown to everybody, and nothing of before is begun.

use super::log_fixtures::*;
use super::published::Fault;
use super::{Pins, verdict};
use crate::domain::event::{Event, KeySetPublished, KeySetRegistered};
use crate::token::fixtures as token;
use crate::token::{Digest, KeyUse, SignedKeySet};

/// A version 1 under another root; its other keys are those of before.
fn anew() -> (Vec<u8>, Digest) {
    let mut draft = token::set_draft();
    draft.keys[0] = token::entry("root-2", "root-2", KeyUse::Root);
    draft.roles[0].1 = vec![token::key("root-2").id()];
    let bytes = draft.sign(&[&token::key("root-2")]).unwrap();
    let digest = SignedKeySet::read(&bytes).unwrap().digest();
    (bytes, digest)
}

fn new_pins() -> Pins {
    let mut pins = pins();
    pins.recovered.insert("xingyu".parse().unwrap(), vec![anew().1]);
    pins
}

/// Both logs, the new set published at the time of trail leaf `at` and named there.
fn logs(at: usize, recovers: Option<Digest>) -> (Log, Log) {
    let (bytes, digest) = anew();
    let published: Event = KeySetPublished {
        version: 1,
        digest: digest.to_string(),
        key_set: String::from_utf8(bytes).unwrap(),
    }
    .into();
    let named = KeySetRegistered {
        by: "operators/o-1".into(),
        version: 1,
        digest: digest.to_string(),
        authority_index: 2,
        recovers: recovers.map(|digest| digest.to_string()),
    };
    let mut leaves = sealed(&authority_story(), AUTHORITY_START);
    let time = token::NOW + 10 * i64::try_from(at).unwrap();
    leaves.push(seal_at("controllers/xingyu", &published, time, &token::CountedEntropy::new()));
    let mut story = trail_story();
    story.insert(at, ("controllers/xingyu".to_owned(), named.into()));
    (Log::trail(&story), Log::of(AUTHORITY, leaves, &authority_key()))
}

fn judge(at: usize, recovers: Option<Digest>, pins: &Pins) -> Result<usize, String> {
    let (trail, authority) = logs(at, recovers);
    match verify(&trail.files(), &authority.files(), pins) {
        Ok(report) => {
            assert!(report.restarts.iter().all(|one| one.to_string().contains("restarts at version 1")));
            Ok(report.restarts.len())
        }
        Err(Fault::NotGood { which, rule, what }) => {
            Err(format!("{which} {} {what}", rule.map(|rule| rule.code()).unwrap_or_default()))
        }
        Err(fault) => panic!("{fault}"),
    }
}

#[test]
fn with_the_pin_the_break_is_shown_and_without_it_nothing_is_good() {
    let lost = Some(token::key_set().digest());
    assert_eq!(judge(at::REPORTED + 1, lost, &new_pins()), Ok(1));
    let refused = judge(at::REPORTED + 1, lost, &pins()).unwrap_err();
    assert!(refused.starts_with("authority leaf 2 KEY_SET_CHAIN"), "{refused}");
    assert!(refused.contains(&anew().1.to_string()), "{refused}");
    let mut other = new_pins();
    other.recovered.insert("xingyu".parse().unwrap(), vec![Digest::of("another")]);
    assert!(judge(at::REPORTED + 1, lost, &other).is_err());
}

#[test]
fn the_trail_says_after_which_set_it_begins_anew() {
    for wrong in [None, Some(Digest::of("another"))] {
        let refused = judge(at::REPORTED + 1, wrong, &new_pins()).unwrap_err();
        assert!(refused.starts_with(&format!("trail leaf {} KEY_SET_CHAIN", at::REPORTED + 1)), "{refused}");
    }
}

#[test]
fn what_was_admitted_before_is_not_begun_after() {
    let lost = Some(token::key_set().digest());
    // Within the second of the lease either may have been first; the next one is too late.
    let refused = judge(at::ADMITTED + 1, lost, &new_pins()).unwrap_err();
    assert!(refused.starts_with(&format!("trail leaf {} ORDERED", at::LEASED + 1)), "{refused}");
    // What had begun is seen through.
    assert_eq!(judge(at::LEASED + 1, lost, &new_pins()), Ok(1));
}

#[test]
fn evidence_shows_the_break_to_who_pinned_it_and_proves_nothing_to_who_did_not() {
    let digest = anew().1;
    let (_, authority) = logs(at::DOWNLOADED, None);
    let bundle = bundle(&Log::trail(&trail_story()), &authority, None);
    let shown = verdict::verify(&bundle, &new_pins()).unwrap();
    assert_eq!(shown.restarts.len(), 1);
    let text = shown.to_string();
    assert!(text.contains("BREAK") && text.contains(&digest.to_string()), "{text}");
    let fault = verdict::verify(&bundle, &pins()).unwrap_err().to_string();
    assert!(fault.contains(&digest.to_string()), "{fault}");
}
