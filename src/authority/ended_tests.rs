//! What the audit asks of an instruction's end, which comes by itself: what was begun by then goes on, and what was not
//! is neither signed nor stopped any more, and ends as expired and as nothing else.

use super::audit_tests::{put, run};
use super::log_fixtures::*;
use super::rules::Rule;
use crate::domain::event::*;
use crate::domain::{Act, ContestGround, Reason, Stop};
use crate::token::fixtures as token;
use crate::token::{Detached, InstructionDraft, Report, ReportOutcome, Says};

/// Leaves are ten seconds apart: when leaf `at` is written.
fn time_of(at: usize) -> i64 {
    token::NOW + 10 * i64::try_from(at).unwrap()
}

/// The good story as far as its admission, of an instruction whose end comes with leaf `exp`, and these leaves after it.
struct Tale {
    draft: InstructionDraft,
    authority: Vec<(String, Event, i64)>,
    trail: Story,
}

impl Tale {
    fn ending_at(exp: usize) -> Self {
        let draft = InstructionDraft { exp: time_of(exp), ..instruction() };
        let mut trail = trail_story();
        trail.truncate(at::ADMITTED);
        trail.push((INSTRUCTION.into(), admission(&draft, &sign(&draft, &["ann"])).into()));
        let times = (AUTHORITY_START..).step_by(10);
        let authority = authority_story().into_iter().zip(times).map(|((s, e), t)| (s, e, t)).collect();
        Self { draft, authority, trail }
    }

    fn then(mut self, subject: &str, event: impl Into<Event>) -> Self {
        let end = self.trail.len();
        put(&mut self.trail, end, subject, event);
        self
    }

    fn contested(mut self) -> Self {
        let controller = self.draft.iss.clone();
        let stopped = InstructionStopped { controller: controller.clone(), why: Stop::Contested };
        self.authority.push((INSTRUCTION.into(), stopped.into(), time_of(self.trail.len())));
        let (by, ground) = ("operators/o-1".into(), ContestGround::Unlawful);
        let authority_index = self.authority.len() as u64 - 1;
        self.then(INSTRUCTION, InstructionContested { controller, by, ground, authority_index })
    }

    fn given_up(self, attempt: u32, reason: Reason) -> Self {
        self.then(EXECUTION, ExecutionFailed { attempt, reason })
    }

    fn put_off(self, begun: bool) -> Self {
        let (agent, reason, next) = ("rtc-agent".parse().unwrap(), Reason::AuthorityStale, token::NOW);
        self.then(EXECUTION, ExecutionDeferred { agent, attempt: 1, reason, next, begun })
    }

    fn refused(self, reason: Reason) -> Self {
        let report = report(&self.draft, &sign(&self.draft, &["ann"]));
        let outcome = ReportOutcome::Refused;
        let report =
            Report { outcome, reason: Some(reason), collections: Vec::new(), export: None, ..report };
        self.then(EXECUTION, reported(&report))
    }

    fn ended(self, state: &str) -> Self {
        let controller = self.draft.iss.clone();
        self.then(INSTRUCTION, InstructionEnded { controller, state: state.to_owned() })
    }

    /// The rule that is broken and how many leaves after the admission; none where all is good.
    fn audit(&self) -> Option<(Rule, usize)> {
        let entropy = token::CountedEntropy::new();
        let authority: Vec<_> =
            self.authority.iter().map(|(s, event, time)| seal_at(s, event, *time, &entropy)).collect();
        let found = run(&authority, &sealed(&self.trail, token::NOW), &pins()).err();
        found.map(|violation| (violation.rule, violation.index as usize - at::ADMITTED))
    }
}

const SOON: usize = at::ADMITTED + 1;
const LATER: usize = at::ADMITTED + 3;
const EXPIRED: Reason = Reason::InstructionExpired;
const CONTESTED: Reason = Reason::InstructionContested;

#[test]
fn what_nobody_began_ends_as_expired_once_its_end_has_come() {
    assert_eq!(Tale::ending_at(SOON).given_up(0, EXPIRED).ended("expired").audit(), None);
    assert_eq!(
        Tale::ending_at(SOON).given_up(0, EXPIRED).ended("failed").audit(),
        Some((Rule::EndedRightly, 2))
    );
    let early = Tale::ending_at(LATER).given_up(0, EXPIRED);
    assert_eq!(early.audit(), Some((Rule::Ordered, 1)), "its end had not come");
    let otherwise = Tale::ending_at(SOON).given_up(0, Reason::SignerRevoked);
    assert_eq!(otherwise.audit(), Some((Rule::Ordered, 1)), "it had come");
    assert_eq!(Tale::ending_at(LATER).given_up(0, Reason::SignerRevoked).ended("failed").audit(), None);
}

#[test]
fn what_has_ended_by_itself_is_not_stopped() {
    let in_time = Tale::ending_at(LATER).contested().given_up(0, CONTESTED).ended("contested");
    assert_eq!(in_time.audit(), None);
    let late = || Tale::ending_at(SOON).contested();
    assert_eq!(late().given_up(0, CONTESTED).audit(), Some((Rule::Ordered, 2)));
    assert_eq!(late().given_up(0, EXPIRED).ended("contested").audit(), Some((Rule::EndedRightly, 3)));
    // What an agent has in hand may be stopped at any time.
    let begun = Tale::ending_at(LATER - 1).then(EXECUTION, lease(1)).contested().refused(CONTESTED);
    assert_eq!(begun.ended("contested").audit(), None);
    let put_off = || Tale::ending_at(LATER).then(EXECUTION, lease(1)).put_off(false).contested();
    assert_eq!(put_off().given_up(1, EXPIRED).ended("contested").audit(), Some((Rule::EndedRightly, 5)));
}

#[test]
fn what_was_leased_and_put_off_untouched_expires_and_what_was_begun_does_not() {
    let leased = || Tale::ending_at(LATER).then(EXECUTION, lease(1));
    assert_eq!(leased().put_off(false).given_up(1, EXPIRED).ended("expired").audit(), None);
    assert_eq!(leased().put_off(true).given_up(1, EXPIRED).audit(), Some((Rule::Ordered, 3)));
    // Its lease ran out without a word.
    let silent = Tale::ending_at(LATER - 1).then(EXECUTION, lease(1)).given_up(1, EXPIRED);
    assert_eq!(silent.audit(), Some((Rule::Ordered, 2)));
    assert_eq!(leased().put_off(true).put_off(false).audit(), Some((Rule::Ordered, 3)), "nobody holds it");
    let told = leased().refused(EXPIRED);
    assert_eq!(told.ended("expired").audit(), None, "its agent says that it touched nothing");
    assert_eq!(leased().refused(EXPIRED).ended("failed").audit(), Some((Rule::EndedRightly, 3)));
    assert_eq!(leased().refused(Reason::SignerRevoked).ended("failed").audit(), None);
    assert_eq!(
        leased().refused(Reason::SignerRevoked).ended("expired").audit(),
        Some((Rule::EndedRightly, 3))
    );
}

#[test]
fn what_waited_until_its_end_is_not_signed_any_more_nor_taken_back() {
    let draft = |exp| InstructionDraft {
        exp: time_of(exp),
        act: Act::Erase,
        export: None,
        req: None,
        ..instruction()
    };
    let waiting = |exp| {
        let (draft, mut tale) = (draft(exp), Tale::ending_at(exp));
        let envelope = sign(&draft, &["ann"]).envelope().clone();
        let received = InstructionReceived {
            controller: draft.iss.clone(),
            app: draft.app.clone(),
            act: draft.act,
            digest: envelope.instruction_digest().to_string(),
            signed_part: envelope.signed_part(),
            key_set_version: 1,
            key_set_digest: token::key_set().digest().to_string(),
            authority_size: 2,
            request: None,
            missing: 1,
        };
        tale.trail[at::ADMITTED] = (INSTRUCTION.into(), received.into());
        (tale, envelope)
    };
    let controller = instruction().iss;
    let said = |says, envelope: &_| Detached::sign(says, envelope, &token::key("ann")).unwrap().to_text();
    for (exp, broken) in [(LATER, None), (SOON, Some((Rule::EndedRightly, 1)))] {
        let (tale, envelope) = waiting(exp);
        let approval = said(Says::Approved, &envelope);
        let digest = envelope.instruction_digest().to_string();
        let given = ApprovalGiven { controller: controller.clone(), digest, approval, missing: 1 };
        assert_eq!(tale.then(INSTRUCTION, given).audit(), broken);

        let (mut tale, envelope) = waiting(exp);
        let (withdrawal, digest) =
            (said(Says::Withdrawn, &envelope), envelope.instruction_digest().to_string());
        let controller = controller.clone();
        let there = SignatureWithdrawn {
            controller: controller.clone(),
            digest: digest.clone(),
            withdrawal: withdrawal.clone(),
        };
        tale.authority.push((INSTRUCTION.into(), there.into(), time_of(SOON)));
        let (missing, is_last, authority_index) = (1, true, 2);
        let back = ApprovalWithdrawn { controller, digest, withdrawal, missing, is_last, authority_index };
        assert_eq!(tale.then(INSTRUCTION, back).ended("revoked").audit(), broken);

        let (tale, _) = waiting(exp);
        assert_eq!(tale.contested().ended("contested").audit(), broken);
    }
    assert_eq!(waiting(SOON).0.ended("expired").audit(), None);
}
