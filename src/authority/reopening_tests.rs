//! A trail that lost leaves and went on under another origin: what its readers ask of it.

use std::num::NonZeroUsize;

use super::authority_log::AuthorityLog;
use super::log_fixtures::*;
use super::pins::LogPin;
use super::published::{Fault, Options, Report, Since, verify};
use super::{Pins, Rule};
use crate::domain::event::{Event, LogReopened, RequestRead};
use crate::token::fixtures as token;
use crate::trail::SigningKey;

const LATER: i64 = token::NOW + 100_000;
const NEW: &str = "mandate.ppio.example/trail-b";

fn new_key() -> SigningKey {
    SigningKey::from_seed(NEW, &[79; 32]).unwrap()
}

fn new_pins() -> Pins {
    Pins { trail: LogPin::new(NEW, new_key().verifier_key().clone()), ..pins() }
}

/// Opened after the whole story, of which seven leaves more were known.
fn opening() -> LogReopened {
    let size = trail_story().len() as u64;
    LogReopened {
        by: "operators/local".into(),
        origin: NEW.into(),
        former: TRAIL.into(),
        size,
        known_size: size + 7,
        known_root: crate::trail::leaf_hash(b"lost").to_base64(),
    }
}

fn log(origin: &str, story: &Story, start: i64, last: Option<Event>, key: &SigningKey) -> Log {
    let mut leaves = sealed(story, start);
    let entropy = token::CountedEntropy::new();
    let subject = |event: &Event| match event {
        Event::LogReopened(one) => one.origin.clone(),
        _ => "controllers/xingyu".to_owned(),
    };
    leaves.extend(last.map(|event| seal_at(&subject(&event), &event, LATER, &entropy)));
    Log::of(origin, leaves, key)
}

fn judge(in_trail: Option<Event>, in_authority: Option<Event>, pins: &Pins) -> Result<Report, Fault> {
    let trail = log(NEW, &trail_story(), token::NOW, in_trail, &new_key());
    let authority = log(AUTHORITY, &authority_story(), AUTHORITY_START, in_authority, &authority_key());
    let scratch = || unreachable!("so small a log fits in memory");
    let options =
        Options { threads: NonZeroUsize::MIN, memory: 1 << 20, scratch: &scratch, progress: &|_, _, _| {} };
    verify(&trail.files(), &authority.files(), pins, &Since::default(), &options)
}

/// Where the fault is, and the rule.
fn fault(in_trail: Option<Event>, in_authority: Option<Event>) -> String {
    match judge(in_trail, in_authority, &new_pins()).expect_err("it was taken") {
        Fault::NotGood { which, rule, .. } => {
            format!("{which} {}", rule.map(|rule| rule.code()).unwrap_or_default())
        }
        other => other.to_string(),
    }
}

#[test]
fn the_break_is_shown_and_what_came_before_it_still_counts() {
    let told = || Some(Event::from(opening()));
    let report = judge(told(), told(), &new_pins()).unwrap();
    let [one] = report.breaks.as_slice() else { panic!("{:?}", report.breaks) };
    assert_eq!((one.at, one.lost, &*one.former), (opening().size, 7, TRAIL));
    assert!(report.summary.ended > 0, "the story's instruction was of the former origin");
    // Whoever was not given the new pin does not follow.
    assert!(judge(told(), told(), &pins()).is_err());
}

#[test]
fn a_break_that_one_of_the_logs_hides_or_tells_otherwise_is_found() {
    let index = opening().size;
    let told = || Some(Event::from(opening()));
    let read: Event = RequestRead { by: "controllers/xingyu".into(), count: 1 }.into();
    assert_eq!(fault(Some(read), told()), format!("trail leaf {index} OPENED_FIRST"));
    let fewer = LogReopened { known_size: index, ..opening() };
    assert_eq!(fault(Some(fewer.into()), told()), format!("trail leaf {index} OPENED_FIRST"));
    // Not in the authority log: then its key sets are another trail's.
    assert_eq!(fault(told(), None), "authority leaf 1 KEY_SET_CHAIN");
    let elsewhere = LogReopened { size: 3, ..opening() };
    assert_eq!(fault(told(), Some(elsewhere.into())), "trail leaf 3 OPENED_FIRST");
}

#[test]
fn an_origin_follows_on_the_one_before() {
    for bad in [
        LogReopened { former: "other.example/trail".into(), ..opening() },
        LogReopened { origin: TRAIL.into(), ..opening() },
        LogReopened { origin: AUTHORITY.into(), ..opening() },
        LogReopened { known_size: opening().size - 1, ..opening() },
        LogReopened { size: 0, ..opening() },
    ] {
        let last = Some(Event::from(bad));
        let leaves = log(AUTHORITY, &authority_story(), AUTHORITY_START, last, &authority_key()).leaves;
        let mut read = AuthorityLog::new(&pins());
        let (last, before) = leaves.split_last().unwrap();
        before.iter().for_each(|leaf| drop(read.feed(leaf).unwrap()));
        assert_eq!(read.feed(last).unwrap_err().rule, Rule::OpenedFirst);
    }
}
