//! Each rule, broken once: the audit names the rule and the leaf.

use super::log_fixtures::*;
use super::published::Fault;
use super::rules::{LogName, Rule, Violation};
use super::{Pins, Summary};
use crate::domain::event::*;
use crate::domain::{Act, Reason};
use crate::token::report::AuthorityHead;
use crate::token::{
    Digest, InstructionDraft, KeySetDraft, Report, ReportOutcome, SignedKeySet, fixtures as token,
};

pub(super) fn run(authority: &[Vec<u8>], trail: &[Vec<u8>], pins: &Pins) -> Result<Summary, Violation> {
    let trail = Log::of(TRAIL, trail.to_vec(), &trail_key()).files();
    let authority = Log::of(AUTHORITY, authority.to_vec(), &authority_key()).files();
    match verify(&trail, &authority, pins) {
        Ok(report) => Ok(report.summary),
        Err(Fault::NotGood { which, rule: Some(rule), what }) => {
            let (log, index) = which.split_once(" leaf ").unwrap();
            let log = if log == "trail" { LogName::Trail } else { LogName::Authority };
            Err(Violation { log, index: index.parse().unwrap(), rule, what })
        }
        Err(fault) => panic!("no leaf is named: {fault}"),
    }
}

fn audit(trail: &Story) -> Result<Summary, Violation> {
    run(&sealed(&authority_story(), AUTHORITY_START), &sealed(trail, token::NOW), &pins())
}

/// The story, changed: the rule and the trail leaf at which the audit stops.
pub(super) fn broken(change: impl FnOnce(&mut Story)) -> (Rule, usize) {
    let mut story = trail_story();
    change(&mut story);
    match audit(&story) {
        Err(violation) => {
            assert_eq!(violation.log, LogName::Trail);
            assert!(!violation.what.is_empty());
            (violation.rule, violation.index as usize)
        }
        Ok(_) => panic!("the changed trail was taken"),
    }
}

macro_rules! edit {
    ($story:expr, $at:expr, $variant:ident, |$event:ident| $body:expr) => {{
        let Event::$variant($event) = &mut $story[$at].1 else { panic!("the story has another leaf there") };
        $body
    }};
}

pub(super) fn put(story: &mut Story, at: usize, subject: &str, event: impl Into<Event>) {
    story.insert(at, (subject.to_owned(), event.into()));
}

#[test]
fn the_good_story_is_good_and_counted() {
    let summary = audit(&trail_story()).unwrap();
    assert_eq!((summary.trail_size, summary.authority_size), (18, 2));
    assert_eq!((summary.controllers, summary.apps, summary.agents), (1, 1, 1));
    assert_eq!((summary.requests, summary.instructions, summary.executions, summary.ended), (1, 1, 1, 1));
    assert_eq!(summary.leaves["mandate.execution.reported"], 1);
    assert_eq!(summary.leaves.values().sum::<u64>(), 18);
}

#[test]
fn leaf_form_a_leaf_of_another_spelling_source_time_or_kind() {
    let authority = sealed(&authority_story(), AUTHORITY_START);
    let stopped = |trail: &[Vec<u8>]| {
        let violation = run(&authority, trail, &pins()).unwrap_err();
        (violation.rule, violation.index)
    };
    let good = sealed(&trail_story(), token::NOW);
    let mut spaced = good.clone();
    spaced[3].insert(1, b' ');
    assert_eq!(stopped(&spaced), (Rule::LeafForm, 3));
    let mut swapped = good.clone();
    swapped.swap(7, 8);
    assert_eq!(stopped(&swapped), (Rule::RequestStages, 7));
    let mut earlier = good.clone();
    let (subject, event) = &trail_story()[5];
    earlier[5] = seal_at(subject, event, token::NOW + 1, &token::CountedEntropy::new());
    assert_eq!(stopped(&earlier), (Rule::LeafForm, 5));
    let mut foreign = good.clone();
    let text = String::from_utf8(good[4].clone()).unwrap();
    foreign[4] =
        text.replace(r#""source":"mandate.ppio.example""#, r#""source":"other.ppio.example""#).into_bytes();
    assert_eq!(stopped(&foreign), (Rule::LeafForm, 4));
    let mut more = good.clone();
    more[1] =
        String::from_utf8(good[1].clone()).unwrap().replace(r#""by":"#, r#""alias":"x","by":"#).into_bytes();
    assert_eq!(stopped(&more), (Rule::LeafForm, 1));
    assert_eq!(broken(|story| story[1].0 = "apps/xingyu".into()), (Rule::LeafForm, 1));
    let published = authority_story()[1].clone();
    assert_eq!(broken(|story| story.insert(6, published)), (Rule::LeafForm, 6));
}

#[test]
fn personal_data_an_address_a_name_or_a_sentence_in_a_member() {
    for text in ["li.na@example.com", "李娜", "please delete it", "https://x.example/?u=1"] {
        assert_eq!(
            broken(|story| edit!(story, at::RECEIVED, RequestReceived, |e| e.origin = text.into())),
            (Rule::PersonalData, at::RECEIVED)
        );
    }
}

#[test]
fn opened_first_a_log_that_begins_elsewhere_or_twice() {
    assert_eq!(broken(|story| drop(story.remove(0))), (Rule::OpenedFirst, 0));
    let opened = trail_story()[0].clone();
    assert_eq!(broken(|story| story.insert(3, opened)), (Rule::OpenedFirst, 3));
    let (trail, authority) =
        (sealed(&trail_story(), token::NOW), sealed(&authority_story(), AUTHORITY_START));
    for (authority, trail, log) in [
        (authority.as_slice(), &[][..], LogName::Trail),
        (&[], &trail, LogName::Authority),
        (&trail[..1], &trail, LogName::Authority),
    ] {
        let violation = run(authority, trail, &pins()).unwrap_err();
        assert_eq!((violation.log, violation.index, violation.rule), (log, 0, Rule::OpenedFirst));
    }
}

#[test]
fn registered_what_is_used_before_or_registered_twice() {
    assert_eq!(broken(|story| drop(story.remove(1))), (Rule::Registered, 1));
    assert_eq!(broken(|story| drop(story.remove(at::APP))), (Rule::Registered, at::RECEIVED - 1));
    assert_eq!(broken(|story| drop(story.remove(at::AGENT))), (Rule::Registered, at::LEASED - 1));
    assert_eq!(broken(|story| drop(story.remove(at::KEY_SET))), (Rule::Registered, at::ADMITTED - 1));
    for at in [1, at::AGREEMENT, at::APP] {
        assert_eq!(broken(|story| story.insert(at + 1, story[at].clone())), (Rule::Registered, at + 1));
    }
    // The access key comes again as another controller's, and as a report key.
    assert_eq!(
        broken(|story| put(story, 7, "controllers/leting", {
            let Event::AccessKeyRegistered(key) = &story[6].1 else { panic!() };
            key.clone()
        })),
        (Rule::Registered, 7)
    );
    let report_key = token::key("report").id().to_string();
    let key = AccessKeyRegistered { by: "operators/o-1".into(), thumbprint: report_key };
    assert_eq!(broken(|story| put(story, 7, "controllers/xingyu", key)), (Rule::Registered, 7));
    // Nor is a key that signs the logs anybody's.
    for vkey in [pins().trail.vkey, pins().authority.vkey] {
        let thumbprint = crate::token::KeyId::of_ed25519(vkey.public_key()).to_string();
        let key = AccessKeyRegistered { by: "operators/o-1".into(), thumbprint };
        assert_eq!(broken(|story| put(story, 7, "controllers/xingyu", key)), (Rule::Registered, 7));
    }
    let revoked =
        AccessKeyRevoked { by: "operators/o-1".into(), thumbprint: token::key("access").id().to_string() };
    assert_eq!(broken(|story| put(story, 7, "controllers/leting", revoked)), (Rule::Registered, 7));
}

fn authority_violation(authority: &Story, pins: &Pins) -> (Rule, u64) {
    let violation = run(&sealed(authority, AUTHORITY_START), &[], pins).unwrap_err();
    assert_eq!(violation.log, LogName::Authority);
    (violation.rule, violation.index)
}

/// Version 2, signed by these roots.
fn second(roots: &[&str]) -> KeySetPublished {
    let draft = KeySetDraft { version: 2, prev: Some(token::key_set().digest()), ..token::set_draft() };
    let keys: Vec<_> = roots.iter().map(|name| token::key(name)).collect();
    let signed = draft.sign(&keys.iter().collect::<Vec<_>>()).unwrap();
    let digest = SignedKeySet::read(&signed).unwrap().digest().to_string();
    KeySetPublished { version: 2, digest, key_set: String::from_utf8(signed).unwrap() }
}

#[test]
fn key_set_chain_a_key_set_that_is_not_pinned_not_signed_or_not_named() {
    let good = authority_story();
    let mut other_pin = pins();
    other_pin.controllers.insert("xingyu".parse().unwrap(), Digest::of("another"));
    assert_eq!(authority_violation(&good, &other_pin), (Rule::KeySetChain, 1));
    let mut no_pin = pins();
    no_pin.controllers.clear();
    assert_eq!(authority_violation(&good, &no_pin), (Rule::KeySetChain, 1));

    let mut renamed = good.clone();
    edit!(renamed, 1, KeySetPublished, |e| e.version = 2);
    assert_eq!(authority_violation(&renamed, &pins()), (Rule::KeySetChain, 1));
    let mut unsigned = good.clone();
    put(&mut unsigned, 2, "controllers/xingyu", second(&["ann"]));
    assert_eq!(authority_violation(&unsigned, &pins()), (Rule::KeySetChain, 2));
    let mut twice = good.clone();
    twice.push(good[1].clone());
    assert_eq!(authority_violation(&twice, &pins()), (Rule::KeySetChain, 2));

    let at = at::KEY_SET;
    assert_eq!(
        broken(|s| edit!(s, at, KeySetRegistered, |e| e.authority_index = 0)),
        (Rule::KeySetChain, at)
    );
    assert_eq!(
        broken(|s| edit!(s, at, KeySetRegistered, |e| e.digest = Digest::of("x").to_string())),
        (Rule::KeySetChain, at)
    );
    assert_eq!(broken(|s| s.insert(at + 1, s[at].clone())), (Rule::KeySetChain, at + 1));
}

#[test]
fn key_set_chain_an_admission_under_an_older_key_set_than_the_newest_is_refused() {
    let mut authority = sealed(&authority_story(), AUTHORITY_START);
    let rotated: Event = second(&["root"]).into();
    let late = token::NOW + 50;
    authority.push(seal_at("controllers/xingyu", &rotated, late, &token::CountedEntropy::new()));
    let violation = run(&authority, &sealed(&trail_story(), token::NOW), &pins()).unwrap_err();
    assert_eq!((violation.rule, violation.index as usize), (Rule::AdmittedSigned, at::ADMITTED));
    // Published after the admission, it changes nothing for what was admitted.
    authority.pop();
    let after = token::NOW + 10 * (at::ADMITTED as i64) + 5;
    authority.push(seal_at("controllers/xingyu", &rotated, after, &token::CountedEntropy::new()));
    assert_eq!(
        run(&authority, &sealed(&trail_story(), token::NOW), &pins()).map(|s| s.authority_size),
        Ok(3)
    );
}

#[test]
fn admitted_signed_whatever_the_leaf_says_beyond_the_signatures() {
    let at = at::ADMITTED;
    let admitted = |change: fn(&mut InstructionAdmitted)| {
        broken(|story| edit!(story, at, InstructionAdmitted, |event| change(event)))
    };
    let here = (Rule::AdmittedSigned, at);
    assert_eq!(admitted(|e| e.digest = Digest::of("x").to_string()), here);
    assert_eq!(admitted(|e| e.act = Act::Preview), here);
    assert_eq!(admitted(|e| e.request = None), here);
    assert_eq!(admitted(|e| e.authority_size = 1), here);
    assert_eq!(admitted(|e| e.authority_size = 3), here);
    assert_eq!(admitted(|e| e.key_set_version = 2), here);
    assert_eq!(admitted(|e| e.key_set_digest = Digest::of("x").to_string()), here);
    assert_eq!(
        admitted(|e| {
            let dot = e.signed_part.rfind('.').unwrap();
            let flipped = if e.signed_part.as_bytes()[dot + 5] == b'A' { "B" } else { "A" };
            e.signed_part.replace_range(dot + 5..dot + 6, flipped);
        }),
        here
    );
    assert_eq!(
        broken(|story| story[at].0 = "instructions/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e89".into()),
        here
    );
    // `reader` has no role for an export; an erasure takes two distinct signers, and ann's two keys are one.
    let signed_by = |draft: &crate::token::InstructionDraft, signers: &[&str]| {
        broken(|story| story[at].1 = admission(draft, &sign(draft, signers)).into())
    };
    assert_eq!(signed_by(&instruction(), &["reader"]), here);
    assert_eq!(signed_by(&instruction(), &["stranger"]), here);
    let erase = crate::token::InstructionDraft { act: Act::Erase, export: None, ..instruction() };
    assert_eq!(signed_by(&erase, &["ann", "ann-2"]), here);
    let late = crate::token::InstructionDraft { exp: token::NOW + 60, ..instruction() };
    assert_eq!(signed_by(&late, &["ann"]), here);
    let early = crate::token::InstructionDraft { iat: token::NOW + 900, ..instruction() };
    assert_eq!(signed_by(&early, &["ann"]), here);
}

#[test]
fn jti_once_admitted_again_or_after_a_refusal() {
    let at = at::ADMITTED;
    assert_eq!(broken(|story| story.insert(at + 1, story[at].clone())), (Rule::JtiOnce, at + 1));
    let refused = trail_story().pop().unwrap();
    assert_eq!(broken(|story| story.insert(at, refused)), (Rule::JtiOnce, at + 1));
}

#[test]
fn in_agreement_beyond_categories_stores_period_or_region() {
    let at = at::AGREEMENT;
    let agreed = |change: fn(&mut AgreementRegistered)| {
        broken(|story| edit!(story, at, AgreementRegistered, |event| change(event)))
    };
    let there = (Rule::InAgreement, at::ADMITTED);
    assert_eq!(agreed(|e| e.categories.truncate(1)), there);
    assert_eq!(agreed(|e| drop(e.stores.remove(0))), there);
    assert_eq!(agreed(|e| e.regions = vec![crate::domain::Region::Sg]), there);
    assert_eq!(agreed(|e| e.end = token::NOW + 60), there);
    assert_eq!(agreed(|e| e.start = token::NOW + 900), there);
    assert_eq!(agreed(|e| e.end = 0), (Rule::Registered, at));
    assert_eq!(broken(|story| drop(story.remove(at))), (Rule::InAgreement, at::ADMITTED - 1));
    let orders = |change: fn(&mut Vec<Order>)| {
        broken(|story| edit!(story, at::ADMITTED, InstructionAdmitted, |e| change(&mut e.executions)))
    };
    assert_eq!(orders(Vec::clear), there);
    assert_eq!(orders(|list| list[0].store = "logs".parse().unwrap()), there);
    assert_eq!(orders(|list| list.push(list[0].clone())), there);
}

#[test]
fn ordered_nothing_runs_without_an_order_and_a_lease() {
    let (leased, reported) = (at::LEASED, at::REPORTED);
    let other = "executions/01938a5e-0000-7b2e-9f7a-00000000ffff";
    assert_eq!(broken(|story| story[leased].0 = other.into()), (Rule::Ordered, leased));
    assert_eq!(broken(|story| story[reported].0 = other.into()), (Rule::Ordered, reported));
    assert_eq!(broken(|story| drop(story.remove(at::ADMITTED))), (Rule::Ordered, leased - 1));
    assert_eq!(broken(|story| drop(story.remove(leased))), (Rule::Ordered, reported - 1));
    assert_eq!(broken(|s| edit!(s, leased, ExecutionLeased, |e| e.attempt = 2)), (Rule::Ordered, leased));
    assert_eq!(
        broken(|s| edit!(s, at::AGENT, AgentRegistered, |e| e.stores = vec!["logs".parse().unwrap()])),
        (Rule::Ordered, leased)
    );
    let deferred = |attempt| ExecutionDeferred {
        agent: "rtc-agent".parse().unwrap(),
        attempt,
        reason: Reason::Unavailable,
        next: token::NOW,
        begun: true,
    };
    assert_eq!(broken(|s| put(s, reported, EXECUTION, deferred(2))), (Rule::Ordered, reported));
    // Deferred, the agent holds it no longer.
    assert_eq!(broken(|s| put(s, reported, EXECUTION, deferred(1))), (Rule::Ordered, reported + 1));
    let failed = ExecutionFailed { attempt: 3, reason: Reason::LeaseLost };
    assert_eq!(broken(|s| put(s, reported, EXECUTION, failed)), (Rule::Ordered, reported));
    let short = crate::token::InstructionDraft { exp: token::NOW + 10 * leased as i64, ..instruction() };
    assert_eq!(
        broken(|s| s[at::ADMITTED].1 = admission(&short, &sign(&short, &["ann"])).into()),
        (Rule::Ordered, leased)
    );
}

#[test]
fn a_second_attempt_after_a_deferral_is_good() {
    let mut story = trail_story();
    let deferred = ExecutionDeferred {
        agent: "rtc-agent".parse().unwrap(),
        attempt: 1,
        reason: Reason::Unavailable,
        next: token::NOW,
        begun: true,
    };
    put(&mut story, at::REPORTED, EXECUTION, deferred);
    put(&mut story, at::REPORTED + 1, EXECUTION, lease(2));
    assert_eq!(audit(&story).unwrap().ended, 1);
}

fn with_report(change: impl FnOnce(&mut crate::token::Report)) -> (Rule, usize) {
    let draft = instruction();
    let mut changed = report(&draft, &sign(&draft, &["ann"]));
    change(&mut changed);
    broken(|story| story[at::REPORTED].1 = reported(&changed).into())
}

#[test]
fn report_signed_by_another_key_or_a_changed_one() {
    let at = at::REPORTED;
    let forged = {
        let draft = instruction();
        report(&draft, &sign(&draft, &["ann"])).sign(&token::key("ann")).unwrap()
    };
    assert_eq!(broken(|s| edit!(s, at, ExecutionReported, |e| e.report = forged)), (Rule::ReportSigned, at));
    assert_eq!(with_report(|r| r.aud = "other/trail".into()), (Rule::ReportSigned, at));
    let mut other = pins();
    other.agents.insert("rtc-agent".parse().unwrap(), token::key("ann").public().clone());
    let authority = sealed(&authority_story(), AUTHORITY_START);
    let violation = run(&authority, &sealed(&trail_story(), token::NOW), &other).unwrap_err();
    assert_eq!((violation.rule, violation.index as usize), (Rule::ReportSigned, at::AGENT));
}

#[test]
fn report_scope_of_anything_but_the_order() {
    let here = (Rule::ReportScope, at::REPORTED);
    let other: uuid::Uuid = "01938a5e-0000-7b2e-9f7a-00000000ffff".parse().unwrap();
    assert_eq!(with_report(|r| r.execution = crate::domain::ExecutionId::from_uuid(other)), here);
    assert_eq!(with_report(|r| r.instruction = crate::domain::InstructionId::from_uuid(other)), here);
    assert_eq!(with_report(|r| r.instruction_digest = Digest::of("x")), here);
    assert_eq!(with_report(|r| r.sub_digests.truncate(1)), here);
    assert_eq!(with_report(|r| r.store = "logs".parse().unwrap()), here);
    assert_eq!(with_report(|r| r.authority = AuthorityHead { size: 2, root: Digest::of("x") }), here);
    assert_eq!(with_report(|r| r.authority.size = 1), here);
    assert_eq!(with_report(|r| r.authority.size = 9), here);
    assert_eq!(
        with_report(|r| r.export.as_mut().unwrap().recipient_digest = Digest::of("someone else")),
        here
    );
    assert_eq!(broken(|s| edit!(s, at::REPORTED, ExecutionReported, |e| e.outcome = "partial".into())), here);
}

#[test]
fn an_agent_that_refuses_an_altered_order_is_believed_about_what_it_saw() {
    let draft = instruction();
    let mut refused = report(&draft, &sign(&draft, &["ann"]));
    refused.outcome = ReportOutcome::Refused;
    refused.reason = Some(Reason::SignatureInvalid);
    refused.instruction_digest = Digest::of("what the gateway showed");
    refused.collections.clear();
    refused.export = None;
    let mut story = trail_story();
    story[at::REPORTED].1 = reported(&refused).into();
    story.truncate(at::RELEASED);
    let ended = InstructionEnded { controller: draft.iss.clone(), state: "failed".into() };
    put(&mut story, at::RELEASED, INSTRUCTION, ended);
    assert_eq!(audit(&story).unwrap().ended, 1);
}

/// The story of a contract's end, ordered so, and reported so.
fn ending_story(change: impl FnOnce(&mut InstructionDraft), told: impl FnOnce(&mut Report)) -> Story {
    let mut draft =
        InstructionDraft { stores: Some(vec!["rtc".parse().unwrap()]), ..token::ending(Some(token::NOW)) };
    change(&mut draft);
    let signed = sign(&draft, &["ann"]);
    let mut report = report(&draft, &signed);
    told(&mut report);
    let mut story = trail_story();
    story[at::ADMITTED].1 = admission(&draft, &signed).into();
    story[at::REPORTED].1 = reported(&report).into();
    story
}

#[test]
fn a_contracts_end_outlives_the_agreement_waits_for_its_day_and_returns_what_it_erases() {
    let good = ending_story(|_| {}, |_| {});
    assert_eq!(audit(&good).unwrap().ended, 1);
    let stopped = |story: &Story| {
        let violation = audit(story).unwrap_err();
        (violation.rule, violation.index as usize)
    };
    let mut after = good.clone();
    edit!(after, at::AGREEMENT, AgreementRegistered, |e| e.end = token::NOW - 1);
    assert_eq!(audit(&after).unwrap().ended, 1, "no period binds what ends the agreement");
    let mut without = good.clone();
    without.remove(at::AGREEMENT);
    assert_eq!(stopped(&without), (Rule::InAgreement, at::ADMITTED - 1));
    let early =
        ending_story(|draft| (draft.nbf, draft.exp) = (Some(token::NOW + 9_000), token::NOW + 9_999), |_| {});
    assert_eq!(stopped(&early), (Rule::Ordered, at::LEASED));
    // What was to be returned went, and no package is named.
    let unreturned = ending_story(|_| {}, |report| report.export = None);
    assert_eq!(stopped(&unreturned), (Rule::ReportScope, at::REPORTED));
    let mut only = ending_story(|draft| draft.export = None, |_| {});
    only.retain(|(subject, _)| subject != EXPORT);
    assert_eq!(audit(&only).unwrap().ended, 1, "nothing was to be returned");
    // It failed half-way: what had been returned is given out.
    let mut failed = ending_story(
        |_| {},
        |report| {
            report.outcome = ReportOutcome::Failed;
            report.reason = Some(Reason::InstructionContested);
            report.collections.clear();
        },
    );
    edit!(failed, at::ENDED, InstructionEnded, |e| e.state = "failed".into());
    assert_eq!(audit(&failed).unwrap().ended, 1);
    let person = ending_story(|_| {}, |report| report.sub_digests = vec![Digest::of("somebody")]);
    assert_eq!(stopped(&person), (Rule::ReportScope, at::REPORTED));
}

#[test]
fn ran_once_a_second_report_or_a_lease_after_the_end() {
    let at = at::REPORTED;
    assert_eq!(broken(|story| story.insert(at + 1, story[at].clone())), (Rule::RanOnce, at + 1));
    assert_eq!(broken(|story| put(story, at + 1, EXECUTION, lease(2))), (Rule::RanOnce, at + 1));
    let again = crate::token::InstructionDraft {
        jti: "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9eff".parse().unwrap(),
        ..instruction()
    };
    let second = admission(&again, &sign(&again, &["ann"]));
    assert_eq!(broken(|story| put(story, at, &again.jti.resource_name(), second)), (Rule::RanOnce, at));
}

#[test]
fn ended_rightly_not_before_not_twice_and_not_better_than_it_was() {
    let at = at::ENDED;
    assert_eq!(broken(|story| story.swap(at, at::LEASED)), (Rule::EndedRightly, at::LEASED));
    assert_eq!(
        broken(|s| edit!(s, at, InstructionEnded, |e| e.state = "failed".into())),
        (Rule::EndedRightly, at)
    );
    assert_eq!(broken(|story| story.insert(at, story[at].clone())), (Rule::EndedRightly, at + 1));
    assert_eq!(
        broken(|story| {
            let failed = ExecutionFailed { attempt: 1, reason: Reason::LeaseLost };
            story[at::REPORTED].1 = failed.into();
            story.remove(at::RELEASED);
        }),
        (Rule::EndedRightly, at - 1)
    );
}

#[test]
fn request_stages_only_what_was_received_and_only_its_controller() {
    let at = at::RECEIVED;
    assert_eq!(broken(|story| drop(story.remove(at))), (Rule::RequestStages, at));
    assert_eq!(broken(|story| story.insert(at + 1, story[at].clone())), (Rule::RequestStages, at + 1));
    let leting = || "leting".parse().unwrap();
    assert_eq!(
        broken(|s| edit!(s, at::FORWARDED, RequestForwarded, |e| e.controller = leting())),
        (Rule::RequestStages, at::FORWARDED)
    );
    assert_eq!(
        broken(|s| edit!(s, at::ANSWERED, RequestAnswered, |e| e.controller = leting())),
        (Rule::RequestStages, at::ANSWERED)
    );
    assert_eq!(
        broken(|s| edit!(s, at::ANSWERED, RequestAnswered, |e| e.outcomes[0].right =
            crate::domain::Right::Delete)),
        (Rule::RequestStages, at::ANSWERED)
    );
    let misrouted = RequestMisrouted { controller: "xingyu".parse().unwrap() };
    assert_eq!(broken(|s| put(s, at::ADMITTED, REQUEST, misrouted)), (Rule::RequestStages, at::ADMITTED + 1));
    let peeked = RequestRead { by: "controllers/leting".into(), count: 1 };
    assert_eq!(broken(|s| put(s, at::ADMITTED, REQUEST, peeked)), (Rule::RequestStages, at::ADMITTED));
    let message = "messages/01938a5e-0000-7b2e-9f7a-000000000009";
    let read = MessageRead { by: "support/s-1".into() };
    assert_eq!(broken(|s| put(s, 7, message, read)), (Rule::RequestStages, 7));
}

#[test]
fn export_released_after_its_report_and_only_to_its_controller() {
    let (released, downloaded) = (at::RELEASED, at::DOWNLOADED);
    let other = || Digest::of("another package").to_string();
    assert_eq!(
        broken(|s| edit!(s, released, ExportReleased, |e| e.digest = other())),
        (Rule::ExportReleased, released)
    );
    assert_eq!(
        broken(|s| edit!(s, released, ExportReleased, |e| e.size = 8)),
        (Rule::ExportReleased, released)
    );
    assert_eq!(broken(|s| s.swap(released, at::REPORTED)), (Rule::ExportReleased, at::REPORTED));
    assert_eq!(broken(|s| drop(s.remove(released))), (Rule::ExportReleased, downloaded - 1));
    assert_eq!(
        broken(|s| edit!(s, downloaded, ExportDownloaded, |e| e.by = "controllers/leting".into())),
        (Rule::ExportReleased, downloaded)
    );
    assert_eq!(
        broken(|s| edit!(s, released, ExportReleased, |e| e.expires = token::NOW + 145)),
        (Rule::ExportReleased, downloaded)
    );
    let removed = ExportRemoved { execution: EXECUTION.trim_start_matches("executions/").parse().unwrap() };
    assert_eq!(broken(|s| put(s, downloaded, EXPORT, removed)), (Rule::ExportReleased, downloaded + 1));
    let evidence = EvidenceExported { by: "auditors/a-1".into(), disclosures: true };
    assert_eq!(broken(|s| put(s, downloaded, INSTRUCTION, evidence)), (Rule::ExportReleased, downloaded));
}
