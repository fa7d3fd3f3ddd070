//! One flaw of each kind: a story is changed so that exactly one leaf is the first to break a rule.

use super::parties::{Parties, SEEN, START, origin};
use super::seeded::Seeded;
use super::story::Told;
use crate::authority::Rule;
use crate::domain::event::*;
use crate::domain::{Act, Timestamp};
use crate::token::{Digest, KeyKind, PrivateKey, Report, ReportKeySuccession, VerifyingKey};

/// A way to spoil a story.
pub struct Flaw {
    pub name: &'static str,
    /// The rule that is broken.
    pub rule: Rule,
    /// Changes the story; answers the index of the leaf that breaks the rule, if the story has a place for
    /// the flaw.
    pub spoil: fn(&mut Vec<Told>, &Parties) -> Option<usize>,
}

/// The place from the story's first third on where an event of this kind is, and the event.
macro_rules! find {
    ($story:expr, $variant:ident) => {
        find!($story, $variant, |_e| true)
    };
    ($story:expr, $variant:ident, |$event:ident| $holds:expr) => {{
        let from = $story.len() / 3;
        let at = $story[from..]
            .iter()
            .position(|told| matches!(&told.event, Event::$variant($event) if $holds))
            .map(|at| from + at)?;
        at
    }};
}

macro_rules! edit {
    ($story:expr, $at:expr, $variant:ident, |$event:ident| $change:expr) => {
        match &mut $story[$at].event {
            Event::$variant($event) => $change,
            _ => return None,
        }
    };
}

/// The next leaf after `at` about the same subject.
fn next_about(story: &[Told], at: usize) -> Option<usize> {
    let about = &story[at].subject;
    story[at + 1..].iter().position(|told| told.subject == *about).map(|more| at + 1 + more)
}

/// The report at `at`, changed and signed again by that key; by the agent's own if none.
fn report_again(
    story: &mut [Told],
    at: usize,
    parties: &Parties,
    by: Option<&PrivateKey>,
    change: impl FnOnce(&mut Report),
) -> Option<usize> {
    let Event::ExecutionReported(event) = &mut story[at].event else { return None };
    let agent = parties.agents.iter().find(|agent| agent.id == event.agent)?;
    let key = VerifyingKey::new(agent.key.public().clone()).ok()?;
    let mut report = Report::verify(&event.report, &key, &agent.id, &origin("trail")).ok()?;
    change(&mut report);
    event.report = report.sign(by.unwrap_or(&agent.key)).ok()?;
    Some(at)
}

fn insert_copy(story: &mut Vec<Told>, from: usize, to: usize) {
    let mut copy = story[from].clone();
    copy.time = story[to - 1].time;
    story.insert(to, copy);
}

/// Every rule at least once.
pub const FLAWS: &[Flaw] = &[
    Flaw {
        name: "a leaf earlier than the one before it",
        rule: Rule::LeafForm,
        spoil: |story, _| {
            let at = find!(story, RequestForwarded);
            story[at].time = story[at / 2].time;
            Some(at)
        },
    },
    Flaw {
        name: "an event about a thing of another kind",
        rule: Rule::LeafForm,
        spoil: |story, _| {
            let at = find!(story, RequestForwarded);
            story[at].subject = story[at].subject.replace("requests/", "messages/");
            Some(at)
        },
    },
    Flaw {
        name: "an address in a member",
        rule: Rule::PersonalData,
        spoil: |story, _| {
            let at = find!(story, RequestReceived);
            edit!(story, at, RequestReceived, |e| e.origin = "someone@example.com".to_owned());
            Some(at)
        },
    },
    Flaw {
        name: "a log that is opened again",
        rule: Rule::OpenedFirst,
        spoil: |story, _| {
            let at = story.len() / 2;
            insert_copy(story, 0, at);
            Some(at)
        },
    },
    Flaw {
        name: "an app that is registered again",
        rule: Rule::Registered,
        spoil: |story, _| {
            let app = story.iter().position(|told| matches!(told.event, Event::AppRegistered(_)))?;
            let at = story.len() / 2;
            insert_copy(story, app, at);
            Some(at)
        },
    },
    Flaw {
        name: "a lease by an agent that nobody registered",
        rule: Rule::Registered,
        spoil: |story, _| {
            let at = find!(story, ExecutionLeased);
            edit!(story, at, ExecutionLeased, |e| e.agent = "stranger".parse().ok()?);
            Some(at)
        },
    },
    Flaw {
        name: "a key set that the authority log does not have",
        rule: Rule::KeySetChain,
        spoil: |story, _| {
            let at = find!(story, KeySetRegistered);
            edit!(story, at, KeySetRegistered, |e| e.digest = Digest::of("another").to_string());
            Some(at)
        },
    },
    Flaw {
        name: "a signature that does not verify",
        rule: Rule::AdmittedSigned,
        spoil: |story, _| {
            let at = find!(story, InstructionAdmitted, |e| e.act != Act::Erase);
            edit!(story, at, InstructionAdmitted, |e| {
                let place = e.signed_part.rfind('.')? + 5;
                let other = if e.signed_part.as_bytes()[place] == b'A' { "B" } else { "A" };
                e.signed_part.replace_range(place..=place, other);
            });
            Some(at)
        },
    },
    Flaw {
        name: "an admission of another act than was signed",
        rule: Rule::AdmittedSigned,
        spoil: |story, _| {
            let at = find!(story, InstructionAdmitted, |e| e.act == Act::Preview);
            edit!(story, at, InstructionAdmitted, |e| e.act = Act::Erase);
            Some(at)
        },
    },
    Flaw {
        name: "an instruction that is admitted again",
        rule: Rule::JtiOnce,
        spoil: |story, _| {
            let at = find!(story, InstructionAdmitted);
            let again = (at + 40).min(story.len());
            insert_copy(story, at, again);
            Some(again)
        },
    },
    Flaw {
        name: "an order that is left out",
        rule: Rule::InAgreement,
        spoil: |story, _| {
            let at = find!(story, InstructionAdmitted);
            edit!(story, at, InstructionAdmitted, |e| drop(e.executions.pop()));
            Some(at)
        },
    },
    Flaw {
        name: "a sub-processor that the admission does not name",
        rule: Rule::InAgreement,
        spoil: |story, _| {
            let at = find!(story, InstructionAdmitted, |e| !e.sub_processors.is_empty());
            edit!(story, at, InstructionAdmitted, |e| e.sub_processors.clear());
            Some(at)
        },
    },
    Flaw {
        name: "a report without a lease",
        rule: Rule::Ordered,
        spoil: |story, _| {
            let at = find!(story, ExecutionLeased, |e| e.attempt == 1);
            let next = next_about(story, at)?;
            story.remove(at);
            Some(next - 1)
        },
    },
    Flaw {
        name: "an execution that nobody ordered",
        rule: Rule::Ordered,
        spoil: |story, _| {
            let at = find!(story, ExecutionLeased);
            story[at].subject = "executions/01938a5e-0000-7b2e-9f7a-00000000ffff".to_owned();
            Some(at)
        },
    },
    Flaw {
        name: "a report that another key signed",
        rule: Rule::ReportSigned,
        spoil: |story, parties| {
            let at = find!(story, ExecutionReported);
            let Event::ExecutionReported(event) = &story[at].event else { return None };
            let another = parties.agents.iter().find(|agent| agent.id != event.agent)?;
            report_again(story, at, parties, Some(&another.key), |_| ())
        },
    },
    Flaw {
        name: "a report by a key that was retired before",
        rule: Rule::ReportSigned,
        spoil: |story, parties| {
            let agent = parties.agents.iter().find(|agent| agent.former.is_some())?;
            let at = find!(story, ExecutionReported, |e| e.agent == agent.id);
            report_again(story, at, parties, agent.former.as_ref(), |_| ())
        },
    },
    Flaw {
        name: "a report key that another agent's key vouches for",
        rule: Rule::ReportSigned,
        spoil: |story, parties| {
            let is = |told: &Told| matches!(told.event, Event::ReportKeyVouched(_));
            let at = story.iter().position(is)?;
            let agent = parties.agents.iter().find(|agent| agent.former.is_some())?;
            let another = parties.agents.iter().find(|agent| agent.former.is_none())?;
            edit!(story, at, ReportKeyVouched, |e| {
                e.succession =
                    ReportKeySuccession::sign(&agent.id, &origin("trail"), 1, &another.key, &agent.key)
                        .ok()?;
            });
            Some(at)
        },
    },
    Flaw {
        name: "a report key that only the trail says is retired",
        rule: Rule::ReportSigned,
        spoil: |story, parties| {
            let at = story.len() / 2;
            insert_copy(story, 0, at);
            let agent = parties.agents.iter().find(|agent| agent.former.is_none())?;
            story[at].subject = agent.id.resource_name();
            let (by, in_force) = (agent.id.resource_name(), agent.key.id().to_string());
            story[at].event = ReportKeyRetired { by, in_force, from: at as u64 }.into();
            Some(at)
        },
    },
    Flaw {
        name: "a report about another person",
        rule: Rule::ReportScope,
        spoil: |story, parties| {
            let at = find!(story, ExecutionReported);
            report_again(story, at, parties, None, |report| report.sub_digests = vec![Digest::of("another")])
        },
    },
    Flaw {
        name: "a report of another instruction's payload",
        rule: Rule::ReportScope,
        spoil: |story, parties| {
            let at = find!(story, ExecutionReported);
            report_again(story, at, parties, None, |report| report.instruction_digest = Digest::of("another"))
        },
    },
    Flaw {
        name: "an execution that is reported again",
        rule: Rule::RanOnce,
        spoil: |story, _| {
            let at = find!(story, ExecutionReported);
            let again = (at + 40).min(story.len());
            insert_copy(story, at, again);
            Some(again)
        },
    },
    Flaw {
        name: "an order that takes the id of an older one",
        rule: Rule::RanOnce,
        spoil: |story, _| {
            let older = find!(story, InstructionAdmitted);
            let taken = edit!(story, older, InstructionAdmitted, |e| e.executions[0].execution);
            let more = story[older + 1..]
                .iter()
                .position(|told| matches!(told.event, Event::InstructionAdmitted(_)))?;
            let at = older + 1 + more;
            edit!(story, at, InstructionAdmitted, |e| e.executions[0].execution = taken);
            Some(at)
        },
    },
    Flaw {
        name: "an end that is better than it was",
        rule: Rule::EndedRightly,
        spoil: |story, _| {
            let at = find!(story, InstructionEnded);
            edit!(story, at, InstructionEnded, |e| {
                e.state = if e.state == "done" { "failed" } else { "done" }.to_owned();
            });
            Some(at)
        },
    },
    Flaw {
        name: "an end before the last execution",
        rule: Rule::EndedRightly,
        spoil: |story, _| {
            let ended = find!(story, InstructionEnded);
            let about = story[ended].subject.clone();
            let admitted = story.iter().position(|told| told.subject == about)?;
            insert_copy(story, ended, admitted + 1);
            Some(admitted + 1)
        },
    },
    Flaw {
        name: "a case that was never received",
        rule: Rule::RequestStages,
        spoil: |story, _| {
            let at = find!(story, RequestReceived);
            let next = next_about(story, at)?;
            story.remove(at);
            Some(next - 1)
        },
    },
    Flaw {
        name: "a case that is forwarded to another controller",
        rule: Rule::RequestStages,
        spoil: |story, parties| {
            let at = find!(story, RequestForwarded);
            edit!(story, at, RequestForwarded, |e| {
                let other = parties.controllers.iter().find(|controller| controller.id != e.controller)?;
                e.controller = other.id.clone();
            });
            Some(at)
        },
    },
    Flaw {
        name: "a package that no report names",
        rule: Rule::ExportReleased,
        spoil: |story, _| {
            let at = find!(story, ExportReleased);
            edit!(story, at, ExportReleased, |e| e.size += 1);
            Some(at)
        },
    },
    Flaw {
        name: "an export that another controller downloads",
        rule: Rule::ExportReleased,
        spoil: |story, parties| {
            let at = find!(story, ExportDownloaded);
            edit!(story, at, ExportDownloaded, |e| {
                let mut names = parties.controllers.iter().map(|controller| controller.resource_name());
                e.by = names.find(|name| *name != e.by)?;
            });
            Some(at)
        },
    },
    Flaw {
        name: "a log key that only the trail says is retired",
        rule: Rule::LogKeys,
        spoil: |story, parties| {
            let at = story.len() / 2;
            insert_copy(story, 0, at);
            let vkey = parties.pins().trail.vkey.to_string();
            story[at].event = LogKeyRetired { by: "operators/local".into(), vkey }.into();
            Some(at)
        },
    },
    Flaw {
        name: "a TLS key that signs instructions",
        rule: Rule::Registered,
        spoil: |story, parties| {
            let (of, at) = (&parties.controllers[0], story.len() / 2);
            let (by, thumbprint) = (of.resource_name(), of.signers[0].id().to_string());
            insert_copy(story, 0, at);
            story[at].subject.clone_from(&by);
            story[at].event = TlsKeyRegistered { by, thumbprint }.into();
            Some(at)
        },
    },
    Flaw {
        name: "an access key that is another's TLS key",
        rule: Rule::Registered,
        spoil: |story, parties| {
            let at = story.len() / 2;
            let (by, thumbprint) = ("operators/o-1".to_owned(), parties.controllers[1].tls_key());
            insert_copy(story, 0, at);
            story[at].subject = parties.controllers[0].resource_name();
            story[at].event = AccessKeyRegistered { by, thumbprint }.into();
            Some(at)
        },
    },
    Flaw {
        name: "a TLS key of two principals",
        rule: Rule::Registered,
        spoil: |story, parties| {
            let is = |told: &Told| matches!(told.event, Event::TlsKeyRegistered(_));
            let (first, at) = (story.iter().position(is)?, story.len() / 2);
            insert_copy(story, first, at);
            let by = parties.agents[0].id.resource_name();
            story[at].subject.clone_from(&by);
            edit!(story, at, TlsKeyRegistered, |e| e.by = by);
            Some(at)
        },
    },
    Flaw {
        name: "a leaf of a time to come",
        rule: Rule::LeafTime,
        spoil: |story, _| {
            let at = find!(story, RequestForwarded);
            for told in &mut story[at..] {
                let later = told.time.as_second() + 2 * (SEEN - START);
                told.time = Timestamp::from_second(later).ok()?;
            }
            Some(at)
        },
    },
    Flaw {
        name: "a message that a controller assigns",
        rule: Rule::ByWhom,
        spoil: |story, parties| {
            let at = find!(story, MessageAssigned);
            edit!(story, at, MessageAssigned, |e| e.by = parties.controllers[0].resource_name());
            Some(at)
        },
    },
    Flaw {
        name: "a second agent beside a store",
        rule: Rule::Registered,
        spoil: |story, _| {
            let agent = story.iter().position(|told| matches!(told.event, Event::AgentRegistered(_)))?;
            let at = story.len() / 2;
            insert_copy(story, agent, at);
            story[at].subject = "agents/another".to_owned();
            // A key that no principal has: the flaw is the store's.
            let another = PrivateKey::generate(KeyKind::Ed25519, &Seeded::new(99)).ok()?.public().canonical();
            edit!(story, at, AgentRegistered, |e| e.report_key = serde_json::from_str(&another).ok()?);
            Some(at)
        },
    },
    Flaw {
        name: "a second house",
        rule: Rule::Registered,
        spoil: |story, _| {
            let house = story.iter().position(|told| matches!(told.event, Event::ControllerRegistered(_)))?;
            edit!(story, house, ControllerRegistered, |e| e.house = true);
            let at = story.len() / 2;
            insert_copy(story, house, at);
            story[at].subject = "controllers/another".to_owned();
            Some(at)
        },
    },
    Flaw {
        name: "a case that is forwarded twice",
        rule: Rule::RequestStages,
        spoil: |story, _| {
            let at = find!(story, RequestForwarded);
            insert_copy(story, at, at + 1);
            Some(at + 1)
        },
    },
    Flaw {
        name: "a case that is forwarded after it was acknowledged",
        rule: Rule::RequestStages,
        spoil: |story, _| {
            let at = find!(story, RequestForwarded);
            let about = story[at].subject.clone();
            let is =
                |told: &Told| told.subject == about && matches!(told.event, Event::RequestAcknowledged(_));
            let acknowledged = story.iter().position(is)?;
            let (from, to) = (story[at].time, story[acknowledged].time);
            story.swap(at, acknowledged);
            (story[at].time, story[acknowledged].time) = (from, to);
            Some(acknowledged)
        },
    },
    Flaw {
        name: "a message that is dismissed twice",
        rule: Rule::RequestStages,
        spoil: |story, _| {
            let at = find!(story, MessageDismissed);
            insert_copy(story, at, at + 1);
            Some(at + 1)
        },
    },
    Flaw {
        name: "destroyed data of a case that was never received",
        rule: Rule::Shredded,
        spoil: |story, _| {
            let at = find!(story, DataShredded);
            story[at].subject = "requests/01938a5e-0000-7b2e-9f7a-00000000ffff".to_owned();
            Some(at)
        },
    },
    Flaw {
        name: "destroyed data of a class that is of other things",
        rule: Rule::Shredded,
        spoil: |story, _| {
            let at = find!(story, DataShredded);
            edit!(story, at, DataShredded, |e| e.class = "intake".to_owned());
            Some(at)
        },
    },
    Flaw {
        name: "destroyed data of a refusal that is none",
        rule: Rule::Shredded,
        spoil: |story, _| {
            let at = find!(story, DataShredded);
            story[at].subject = "leaves/0".to_owned();
            edit!(story, at, DataShredded, |e| e.class = "refusal".to_owned());
            Some(at)
        },
    },
    Flaw {
        name: "a keyring that goes back to a former epoch",
        rule: Rule::Shredded,
        spoil: |story, _| {
            let at = story.len() / 2;
            for (place, epoch) in [(at, 3), (at + 1, 3), (at + 2, 2)] {
                insert_copy(story, 0, place);
                story[place].subject = format!("epochs/{epoch}");
                story[place].event = EpochRotated { by: "operators/local".into(), rewrapped: 0 }.into();
            }
            Some(at + 2)
        },
    },
];
