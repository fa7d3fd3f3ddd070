//! What the audit asks of waiting, approvals, withdrawals, revocations, contests and holds: each rule kept, and broken.

use super::audit_tests::{put, run};
use super::log_fixtures::*;
use super::rules::Rule;
use crate::domain::event::*;
use crate::domain::{Act, ContestGround, InstructionId, Reason, Stop};
use crate::token::fixtures as token;
use crate::token::{
    Detached, Envelope, InstructionDraft, KeySetDraft, KeySetRef, Policy, Says, SignedKeySet,
};

const OTHER: &str = "instructions/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e99";
const OTHER_EXECUTION: &str = "executions/01938a5e-0000-7b2e-9f7a-0000000000aa";

/// Both logs as told, each leaf of the authority log with its time.
struct Tale {
    authority: Vec<(String, Event, i64)>,
    trail: Story,
}

impl Tale {
    fn new() -> Self {
        let times = (AUTHORITY_START..).step_by(10);
        let authority = authority_story().into_iter().zip(times).map(|((s, e), t)| (s, e, t)).collect();
        Self { authority, trail: trail_story() }
    }

    /// The rule that is broken and the trail's leaf; none where all is good.
    fn audit(&self) -> Option<(Rule, usize)> {
        let entropy = token::CountedEntropy::new();
        let authority: Vec<_> =
            self.authority.iter().map(|(s, event, time)| seal_at(s, event, *time, &entropy)).collect();
        let found = run(&authority, &sealed(&self.trail, token::NOW), &pins()).err();
        found.map(|violation| (violation.rule, violation.index as usize))
    }

    /// A leaf of the authority log at the time of trail leaf `at`; its index.
    fn publish(&mut self, subject: &str, event: impl Into<Event>, at: usize) -> u64 {
        let time = token::NOW + 10 * i64::try_from(at).unwrap();
        self.authority.push((subject.to_owned(), event.into(), time));
        self.authority.len() as u64 - 1
    }
}

/// An erasure, which takes two people.
fn erasure() -> InstructionDraft {
    InstructionDraft {
        jti: InstructionId::from_resource_name(OTHER).unwrap(),
        act: Act::Erase,
        export: None,
        req: None,
        ..instruction()
    }
}

fn envelope() -> Envelope {
    sign(&erasure(), &["ann"]).envelope().clone()
}

fn received(missing: u32) -> InstructionReceived {
    let envelope = envelope();
    InstructionReceived {
        controller: "xingyu".parse().unwrap(),
        app: erasure().app,
        act: Act::Erase,
        digest: envelope.instruction_digest().to_string(),
        signed_part: envelope.signed_part(),
        key_set_version: 1,
        key_set_digest: token::key_set().digest().to_string(),
        authority_size: 2,
        request: None,
        missing,
    }
}

fn approved_by(name: &str) -> (Detached, ApprovalGiven) {
    let approval = Detached::sign(Says::Approved, &envelope(), &token::key(name)).unwrap();
    let given = ApprovalGiven {
        controller: "xingyu".parse().unwrap(),
        digest: envelope().instruction_digest().to_string(),
        approval: approval.to_text(),
        missing: 0,
    };
    (approval, given)
}

fn completed(by: &str, authority_size: u64) -> InstructionAdmitted {
    let whole = envelope().approved(&approved_by(by).0);
    let signed = sign(&erasure(), &["ann"]);
    InstructionAdmitted {
        signed_part: whole.signed_part(),
        authority_size,
        executions: vec![Order {
            execution: OTHER_EXECUTION.trim_start_matches("executions/").parse().unwrap(),
            store: "rtc".parse().unwrap(),
        }],
        ..admission(&erasure(), &signed)
    }
}

/// It waits at 11, is approved at 12 and admitted at 13.
fn four_eyes() -> Tale {
    let mut tale = Tale::new();
    put(&mut tale.trail, at::ADMITTED, OTHER, received(1));
    put(&mut tale.trail, at::ADMITTED + 1, OTHER, approved_by("bob").1);
    put(&mut tale.trail, at::ADMITTED + 2, OTHER, completed("bob", 2));
    tale
}

#[test]
fn what_waits_is_completed_by_another_person_at_its_own_leaf() {
    let here = at::ADMITTED;
    assert_eq!(four_eyes().audit(), None);
    let broken = |change: fn(&mut Tale)| {
        let mut tale = four_eyes();
        change(&mut tale);
        tale.audit()
    };
    let miscounted = |tale: &mut Tale| tale.trail[at::ADMITTED].1 = received(2).into();
    assert_eq!(broken(miscounted), Some((Rule::AdmittedSigned, here)));
    let twice = |tale: &mut Tale| put(&mut tale.trail, at::ADMITTED + 1, OTHER, received(1));
    assert_eq!(broken(twice), Some((Rule::JtiOnce, here + 1)));
    // The second signature is his own other key's, or is left out.
    let alone = |tale: &mut Tale| tale.trail[at::ADMITTED + 2].1 = completed("ann-2", 2).into();
    assert_eq!(broken(alone), Some((Rule::AdmittedSigned, here + 2)));
    let less = |tale: &mut Tale| {
        let mut event = completed("bob", 2);
        event.signed_part = envelope().signed_part();
        tale.trail[at::ADMITTED + 2].1 = event.into();
    };
    assert_eq!(broken(less), Some((Rule::AdmittedSigned, here + 2)));
    let nowhere = |tale: &mut Tale| drop(tale.trail.remove(at::ADMITTED));
    assert_eq!(broken(nowhere), Some((Rule::JtiOnce, here)));
    let late = |tale: &mut Tale| put(&mut tale.trail, at::ADMITTED + 3, OTHER, approved_by("bob").1);
    assert_eq!(broken(late), Some((Rule::JtiOnce, here + 3)));
    let over = |tale: &mut Tale| {
        tale.trail.truncate(at::ADMITTED + 1);
        let ended = InstructionEnded { controller: erasure().iss, state: "expired".into() };
        put(&mut tale.trail, at::ADMITTED + 1, OTHER, ended);
    };
    assert_eq!(broken(over), Some((Rule::EndedRightly, here + 1)), "it still waited");
}

/// Bob takes back what he gave, before the admission says he counts.
#[test]
fn who_took_his_signature_back_does_not_count() {
    let digest = envelope().instruction_digest().to_string();
    let withdrawal = Detached::sign(Says::Withdrawn, &envelope(), &token::key("bob")).unwrap().to_text();
    let controller = erasure().iss;
    let tell = |named: bool, counted_at: u64| {
        let mut tale = four_eyes();
        let event = SignatureWithdrawn {
            controller: controller.clone(),
            digest: digest.clone(),
            withdrawal: withdrawal.clone(),
        };
        let authority_index = tale.publish(OTHER, event, at::ADMITTED + 1);
        let event = ApprovalWithdrawn {
            controller: controller.clone(),
            digest: digest.clone(),
            withdrawal: withdrawal.clone(),
            missing: 1,
            is_last: false,
            authority_index: if named { authority_index } else { 1 },
        };
        put(&mut tale.trail, at::ADMITTED + 2, OTHER, event);
        tale.trail[at::ADMITTED + 3].1 = completed("bob", counted_at).into();
        tale.audit()
    };
    assert_eq!(tell(false, 3), Some((Rule::AdmittedSigned, at::ADMITTED + 2)));
    assert_eq!(tell(true, 3), Some((Rule::AdmittedSigned, at::ADMITTED + 3)));
    // Nor can the gateway say that it had not heard of it.
    assert_eq!(tell(true, 2), Some((Rule::AdmittedSigned, at::ADMITTED + 3)));
}

#[test]
fn a_contested_instruction_is_not_begun_and_ends_as_contested() {
    let controller = || instruction().iss;
    let tell = |change: &dyn Fn(&mut Tale, u64)| {
        let mut tale = Tale::new();
        let stopped = InstructionStopped { controller: controller(), why: Stop::Contested };
        let authority_index = tale.publish(INSTRUCTION, stopped, at::ADMITTED);
        tale.trail.truncate(at::ADMITTED + 1);
        let contested = InstructionContested {
            controller: controller(),
            by: "operators/o-1".into(),
            ground: ContestGround::Unlawful,
            authority_index,
        };
        put(&mut tale.trail, at::ADMITTED + 1, INSTRUCTION, contested);
        change(&mut tale, authority_index);
        tale.audit()
    };
    let ended = |state: &str| InstructionEnded { controller: controller(), state: state.to_owned() };
    let given_up = || ExecutionFailed { attempt: 0, reason: Reason::InstructionContested };
    let end = |tale: &mut Tale, state: &str| {
        put(&mut tale.trail, at::ADMITTED + 2, EXECUTION, given_up());
        put(&mut tale.trail, at::ADMITTED + 3, INSTRUCTION, ended(state));
    };
    assert_eq!(tell(&|tale, _| end(tale, "contested")), None);
    assert_eq!(tell(&|tale, _| end(tale, "failed")), Some((Rule::EndedRightly, at::ADMITTED + 3)));
    assert_eq!(
        tell(&|tale, _| put(&mut tale.trail, at::ADMITTED + 2, EXECUTION, lease(1))),
        Some((Rule::Ordered, at::ADMITTED + 2)),
        "it was begun after it had been contested"
    );
    let elsewhere = |tale: &mut Tale, index: u64| {
        let Event::InstructionContested(event) = &mut tale.trail[at::ADMITTED + 1].1 else { panic!() };
        event.authority_index = index - 1;
    };
    assert_eq!(tell(&elsewhere), Some((Rule::AdmittedSigned, at::ADMITTED + 1)));
    let again = |tale: &mut Tale, _: u64| {
        let copy = tale.trail[at::ADMITTED + 1].clone();
        tale.trail.push(copy);
    };
    assert_eq!(tell(&again), Some((Rule::EndedRightly, at::ADMITTED + 2)));
}

#[test]
fn a_revocation_orders_nothing_and_stands_in_the_authority_log() {
    // Version 2 gives ann the role.
    let mut set = KeySetDraft { version: 2, prev: Some(token::key_set().digest()), ..token::set_draft() };
    set.roles.push((crate::token::SetRole::Act(Act::Revoke), vec![token::key("ann").id()], 1));
    let bytes = set.sign(&[&token::key("root")]).unwrap();
    let digest = SignedKeySet::read(&bytes).unwrap().digest();
    let target = instruction().jti;
    let draft = InstructionDraft {
        jti: InstructionId::from_resource_name(OTHER).unwrap(),
        act: Act::Revoke,
        export: None,
        req: None,
        stores: None,
        subject: Vec::new(),
        target: Some(target),
        key_set: KeySetRef { version: 2, digest },
        ..instruction()
    };
    let tell = |stops: bool, change: &dyn Fn(&mut InstructionAdmitted)| {
        let mut tale = Tale::new();
        let published = KeySetPublished {
            version: 2,
            digest: digest.to_string(),
            key_set: String::from_utf8(bytes.clone()).unwrap(),
        };
        let authority_index = tale.publish("controllers/xingyu", published, at::ADMITTED);
        if stops {
            let stopped = InstructionStopped { controller: draft.iss.clone(), why: Stop::Revoked };
            tale.publish(INSTRUCTION, stopped, at::ADMITTED + 2);
        }
        tale.trail.truncate(at::ADMITTED + 1);
        let named = KeySetRegistered {
            by: "controllers/xingyu".into(),
            version: 2,
            digest: digest.to_string(),
            authority_index,
            recovers: None,
        };
        put(&mut tale.trail, at::ADMITTED + 1, "controllers/xingyu", named);
        let signed = sign(&draft, &["ann"]);
        let mut event = InstructionAdmitted {
            authority_size: 3,
            target: Some(target),
            executions: Vec::new(),
            ..admission(&draft, &signed)
        };
        change(&mut event);
        put(&mut tale.trail, at::ADMITTED + 2, OTHER, event);
        let failed = ExecutionFailed { attempt: 0, reason: Reason::InstructionRevoked };
        put(&mut tale.trail, at::ADMITTED + 3, EXECUTION, failed);
        let ended = InstructionEnded { controller: draft.iss.clone(), state: "revoked".into() };
        put(&mut tale.trail, at::ADMITTED + 4, INSTRUCTION, ended);
        tale.audit()
    };
    let here = at::ADMITTED + 2;
    assert_eq!(tell(true, &|_| {}), None);
    assert_eq!(tell(false, &|_| {}), Some((Rule::AdmittedSigned, here)), "no agent heard of it");
    assert_eq!(tell(true, &|event| event.target = None), Some((Rule::AdmittedSigned, here)));
    let orders = |event: &mut InstructionAdmitted| {
        event.executions = vec![Order {
            execution: OTHER_EXECUTION.trim_start_matches("executions/").parse().unwrap(),
            store: "rtc".parse().unwrap(),
        }];
    };
    assert_eq!(tell(true, &orders), Some((Rule::InAgreement, here)));
}

#[test]
fn no_lease_comes_before_the_hold_is_over() {
    // The pinned first set itself asks for a hold.
    let tell = |hold: i64| {
        let policy = Policy { hold, ..Policy::default() };
        let bytes = token::set_draft().sign_with(&policy, &[&token::key("root")]).unwrap();
        let digest = SignedKeySet::read(&bytes).unwrap().digest();
        let draft = InstructionDraft { key_set: KeySetRef { version: 1, digest }, ..instruction() };
        let mut tale = Tale::new();
        let key_set = String::from_utf8(bytes).unwrap();
        tale.authority[1].1 = KeySetPublished { version: 1, digest: digest.to_string(), key_set }.into();
        let Event::KeySetRegistered(named) = &mut tale.trail[at::KEY_SET].1 else { panic!() };
        named.digest = digest.to_string();
        tale.trail[at::ADMITTED].1 = admission(&draft, &sign(&draft, &["ann"])).into();
        tale.trail.truncate(at::LEASED + 1);
        let mut pins = pins();
        pins.controllers.insert("xingyu".parse().unwrap(), digest);
        let entropy = token::CountedEntropy::new();
        let authority: Vec<_> =
            tale.authority.iter().map(|(s, event, time)| seal_at(s, event, *time, &entropy)).collect();
        let found = run(&authority, &sealed(&tale.trail, token::NOW), &pins).err();
        found.map(|violation| (violation.rule, violation.index as usize))
    };
    // Leaves are ten seconds apart.
    assert_eq!(tell(10), None);
    assert_eq!(tell(11), Some((Rule::Ordered, at::LEASED)));
}
