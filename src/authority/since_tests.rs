//! Verifying after an earlier audit: what must be the same, what is read again, what is believed.

use super::log_fixtures::*;
use super::published::{Fault, Report, Since};
use super::rules::Rule;
use crate::domain::event::*;
use crate::token::fixtures as token;
use crate::trail::Checkpoint;

fn since(trail: Option<&Log>, authority: Option<&Log>) -> Since {
    let mut since = Since::default();
    for log in [trail, authority].into_iter().flatten() {
        since.take(&log.checkpoint, &pins()).unwrap();
    }
    since
}

/// The story's log when it had `size` leaves.
fn earlier(story: &Story, size: usize) -> Log {
    Log::trail(&story[..size].to_vec())
}

fn verify_since(story: &Story, since: &Since) -> Result<Report, Fault> {
    let (trail, authority) = (Log::trail(story).files(), Log::authority(&authority_story()).files());
    let one = verify_on(1, usize::MAX, &trail, &authority, &pins(), since);
    let two = verify_on(2, 100, &trail, &authority, &pins(), since);
    assert_eq!(one.clone().map(|report| report.summary), two.map(|report| report.summary));
    one
}

#[test]
fn from_every_earlier_size_the_verdict_is_the_same_and_says_what_was_read_again() {
    let story = trail_story();
    let whole = verify_since(&story, &Since::default()).unwrap();
    assert_eq!(whole.since, None);
    for size in 0..=story.len() {
        let report = verify_since(&story, &since(Some(&earlier(&story, size)), None)).unwrap();
        assert_eq!(report.summary, whole.summary, "since {size}");
        let told = report.since.unwrap();
        // The admission for the lease and the report after it, the report for the release after that.
        let reread = match size {
            12..=13 => 1,
            14 => 1,
            _ => 0,
        };
        assert_eq!((told.trail, told.reread), (size as u64, reread), "since {size}");
    }
    let authority = Log::authority(&authority_story()[..1].to_vec());
    let report = verify_since(&story, &since(None, Some(&authority))).unwrap();
    assert_eq!(report.since.unwrap().authority, Some(1));
}

#[test]
fn a_smaller_tree_is_a_rollback_and_another_history_a_fork() {
    let story = trail_story();
    let what = |story: &Story, since: &Since| match verify_since(story, since).unwrap_err() {
        Fault::NotGood { which, rule: None, what } => format!("{which}: {what}"),
        fault => panic!("another fault: {fault}"),
    };
    let whole = Log::trail(&story);
    let rollback = what(&story[..17].to_vec(), &since(Some(&whole), None));
    assert!(rollback.starts_with("trail/checkpoint: rollback: it has 17 leaves"), "{rollback}");
    let mut other = story.clone();
    other[8].1 = RequestForwarded { controller: "xingyu".parse().unwrap(), sequence: 2 }.into();
    for size in [9, 17, 18] {
        let fork = what(&story, &since(Some(&earlier(&other, size)), None));
        assert!(fork.starts_with(&format!("trail/checkpoint: fork: its first {size} leaves")), "{fork}");
    }
    // Before the difference both are one history.
    assert!(verify_since(&story, &since(Some(&earlier(&other, 8)), None)).is_ok());
    let mut longer = authority_story();
    longer.push(longer[1].clone());
    let rollback = what(&story, &since(None, Some(&Log::authority(&longer))));
    assert!(rollback.starts_with("authority/checkpoint: rollback"), "{rollback}");
}

#[test]
fn an_older_signature_is_believed_until_something_newer_rests_on_it() {
    let broken = |change: fn(&mut Story)| {
        let mut story = trail_story();
        change(&mut story);
        story
    };
    let rule = |story: &Story, size| match verify_since(story, &since(Some(&earlier(story, size)), None)) {
        Ok(_) => None,
        Err(Fault::NotGood { which, rule, .. }) => Some((which, rule.unwrap())),
        Err(fault) => panic!("{fault}"),
    };
    let unsigned = broken(|story| {
        let Event::InstructionAdmitted(event) = &mut story[at::ADMITTED].1 else { panic!() };
        let dot = event.signed_part.rfind('.').unwrap();
        let flipped = if event.signed_part.as_bytes()[dot + 5] == b'A' { "B" } else { "A" };
        event.signed_part.replace_range(dot + 5..dot + 6, flipped);
    });
    let admitted = Some((format!("trail leaf {}", at::ADMITTED), Rule::AdmittedSigned));
    for size in [0, at::ADMITTED, at::LEASED, at::REPORTED] {
        assert_eq!(rule(&unsigned, size), admitted, "since {size}");
    }
    assert_eq!(rule(&unsigned, at::ENDED), None);
    let forged = broken(|story| {
        let draft = instruction();
        let forged = report(&draft, &sign(&draft, &["ann"])).sign(&token::key("ann")).unwrap();
        let Event::ExecutionReported(event) = &mut story[at::REPORTED].1 else { panic!() };
        event.report = forged;
    });
    let reported = Some((format!("trail leaf {}", at::REPORTED), Rule::ReportSigned));
    for size in [0, at::REPORTED, at::RELEASED] {
        assert_eq!(rule(&forged, size), reported, "since {size}");
    }
    assert_eq!(rule(&forged, at::ENDED), None);
    // Order and history are checked of every leaf.
    let unleased = broken(|story| drop(story.remove(at::LEASED)));
    assert_eq!(rule(&unleased, unleased.len()).map(|(_, rule)| rule), Some(Rule::Ordered));
}

#[test]
fn only_a_checkpoint_that_the_pins_ask_for_counts_and_one_of_each_log() {
    let (trail, authority) = (Log::trail(&trail_story()), Log::authority(&authority_story()));
    let mut since = Since::default();
    since.take(&trail.checkpoint, &pins()).unwrap();
    assert!(since.take(&trail.checkpoint, &pins()).is_err());
    since.take(&authority.checkpoint, &pins()).unwrap();
    assert_eq!(since.trail.as_ref().map(Checkpoint::size), Some(18));
    let foreign = Log::of("other.example/trail", trail.leaves.clone(), &trail_key()).checkpoint;
    let forged = Log::of(TRAIL, trail.leaves, &authority_key()).checkpoint;
    for bad in [foreign.as_str(), &forged, "", "text\n\n"] {
        assert!(Since::default().take(bad, &pins()).is_err());
    }
}
