//! The audit: every leaf of the trail against every rule of [`super::rules`].
//!
//! ```text
//! leaf ─► Judge: what the leaf alone, the registrations and the authority log tell   (on all cores)
//!           └─► facts ─► sorted by thing ─► Replay: what came before and after       (one thing at a time)
//! ```
//!
//! The answer is the first leaf by index that breaks a rule, whatever the number of threads and
//! wherever the facts were kept. The audit proves nothing about the bytes themselves: whoever feeds it
//! has checked them against a signed checkpoint ([`super::published`] does both).
//!
//! Memory grows with what is registered and with the authority log; the rest is bounded.

use std::collections::BTreeMap;

use serde::Serialize;

use super::audit_facts::{
    CaseFact, ExecutionFact, ExportFact, Facts, InstructionFact, Kept, MessageFact, RefusalFact,
};
use super::audit_replay::{Reread, Unread, Wrong};
use super::audit_shredded;
use super::authority_log::AuthorityLog;
use super::judged::{self, Admitted, Asked, Told};
use super::leaf_form;
use super::registered::Registered;
use super::rules::{Broken, LogName, Rule};
use crate::domain::Reason;
use crate::domain::event::{Event, ExecutionReported, InstructionAdmitted, Order};
use crate::domain::ids::IdError;
use crate::domain::{
    ControllerId, ExecutionId, ExecutionState, ExportId, InstructionId, MessageId, RequestId, Stop, StoreId,
    Timestamp,
};
use crate::token::{Report, ReportOutcome};
use crate::trail::{Hash, Leaf, leaf_hash};

/// What a good trail holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub trail_size: u64,
    pub authority_size: u64,
    /// Trail leaves by type.
    pub leaves: BTreeMap<&'static str, u64>,
    pub controllers: u64,
    pub apps: u64,
    pub agents: u64,
    pub requests: u64,
    pub instructions: u64,
    pub executions: u64,
    /// Executions that have ended.
    pub ended: u64,
    /// Leaf time of the trail's last leaf.
    pub until: Timestamp,
}

/// The registrations of a trail, taken in order, up to the first that breaks a rule.
#[derive(Debug)]
pub(super) struct Registrations {
    pub registered: Registered,
    pub broken: Option<(u64, Broken)>,
}

impl Registrations {
    pub(super) fn take(&mut self, index: u64, bytes: &[u8], source: &str, authority: &AuthorityLog) {
        if self.broken.is_some() {
            return;
        }
        let taken =
            leaf_form::read(LogName::Trail, source, None, bytes).and_then(|(leaf, event)| match &event {
                Event::KeySetRegistered(named) => {
                    self.registered.take_key_set(index, leaf.subject(), named, authority)
                }
                Event::ReportKeyVouched(_) | Event::ReportKeyRetired(_) => {
                    self.registered.take_report_key(index, leaf.subject(), &event, authority)
                }
                _ => self.registered.take(index, leaf.subject(), &event),
            });
        self.broken = taken.err().map(|broken| (index, broken));
    }

    /// When all were taken: what no single one shows.
    pub(super) fn finish(&mut self) {
        if self.broken.is_none() {
            self.broken = self.registered.holds_pins().err();
        }
    }
}

/// Judges leaves, each for itself and on any thread.
pub(super) struct Judge<'a> {
    pub source: &'a str,
    pub authority: &'a AuthorityLog,
    pub registrations: &'a Registrations,
    /// Leaves before this one were judged by an earlier audit: their signatures are not checked again.
    pub since: u64,
    /// Since when the required witnesses have vouched for the trail's head; none where none are required.
    pub witnessed_at: Option<Timestamp>,
}

/// A leaf's place and bytes.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub index: u64,
    pub bytes: &'a [u8],
}

fn id<T>(parsed: Result<T, IdError>) -> Result<T, Broken> {
    parsed.map_err(|error| Rule::LeafForm.broken(error.to_string()))
}

impl Judge<'_> {
    /// Judges the leaf after one of time `previous`. A leaf that breaks a rule leaves no facts.
    pub(super) fn judge(
        &self,
        placed: Placed<'_>,
        previous: Option<Timestamp>,
        facts: &mut Facts,
    ) -> Result<(Timestamp, &'static str), Broken> {
        let (leaf, event) = leaf_form::read(LogName::Trail, self.source, previous, placed.bytes)?;
        leaf_form::seen_by(self.witnessed_at, leaf.time())?;
        let opens = matches!(event, Event::LogOpened(_));
        Rule::OpenedFirst.holds(placed.index > 0 || opens, "the first leaf does not open the log")?;
        Rule::OpenedFirst.holds(placed.index == 0 || !opens, "the log is opened again")?;
        if let Some(opening) = self.authority.opening_at(placed.index) {
            let told = matches!(&event, Event::LogReopened(told) if told == opening);
            Rule::OpenedFirst.holds(told, "the trail does not tell here that it has a new origin")?;
        }
        self.by_type(placed, &leaf, &event, facts)?;
        Ok((leaf.time(), event.type_name()))
    }

    fn by_type(
        &self,
        placed: Placed<'_>,
        leaf: &Leaf,
        event: &Event,
        facts: &mut Facts,
    ) -> Result<(), Broken> {
        let (index, subject) = (placed.index, leaf.subject());
        let registered = self.registrations.registered.before(index);
        match event {
            Event::LogOpened(opened) => {
                let first = self.authority.trail_origin_at(0);
                Rule::OpenedFirst.holds(opened.origin == first, "it opens a log of another origin")?;
            }
            Event::LogReopened(reopened) => {
                let told = reopened.size == index && self.authority.tells(event);
                Rule::OpenedFirst.holds(told, "the authority log does not say so of the origin")?;
            }
            Event::ControllerRegistered(_)
            | Event::AppRegistered(_)
            | Event::AgreementRegistered(_)
            | Event::AgentRegistered(_)
            | Event::SubProcessorRegistered(_)
            | Event::ReportKeyVouched(_)
            | Event::ReportKeyRetired(_)
            | Event::AccessKeyRegistered(_)
            | Event::AccessKeyRevoked(_)
            | Event::TlsKeyRegistered(_)
            | Event::KeySetRegistered(_) => {
                if let Some((at, broken)) = &self.registrations.broken
                    && *at == index
                {
                    return Err(broken.clone());
                }
            }
            Event::LogKeyVouched(_) | Event::LogKeyRetired(_) => {
                let told = self.authority.tells(event);
                Rule::LogKeys.holds(told, "the authority log does not say so of the key")?;
            }
            // `leaf_form` knows that they belong in the other log.
            Event::KeySetPublished(_) | Event::InstructionStopped(_) | Event::SignatureWithdrawn(_) => {}

            Event::MessageReceived(_) => {
                let id = id(MessageId::from_resource_name(subject))?;
                facts.message(id.as_uuid(), index, &MessageFact::Received);
            }
            Event::MessageRead(_) | Event::MessageDismissed(_) | Event::MessageAssigned(_) => {
                let id = id(MessageId::from_resource_name(subject))?;
                let fact = match event {
                    Event::MessageAssigned(assigned) => {
                        registered.needs_any_app(&assigned.app)?;
                        MessageFact::Assigned
                    }
                    Event::MessageDismissed(_) => MessageFact::Dismissed,
                    _ => MessageFact::Read,
                };
                facts.message(id.as_uuid(), index, &fact);
            }
            Event::RequestReceived(_)
            | Event::RequestForwarded(_)
            | Event::RequestAcknowledged(_)
            | Event::RequestMisrouted(_)
            | Event::RequestAnswered(_)
            | Event::RequestRead(_) => self.case(index, subject, event, facts)?,

            Event::InstructionAdmitted(admission) => self.admission(placed, leaf, admission, facts)?,
            Event::InstructionRefused(refused) => {
                facts.refusal(index, index, &RefusalFact::Refused);
                if let (Some(jti), Ok(controller)) = (refused.jti, ControllerId::from_resource_name(subject))
                {
                    registered.needs_controller(&controller)?;
                    facts.instruction(jti.as_uuid(), index, &InstructionFact::Refused(controller));
                }
            }
            Event::InstructionReceived(_)
            | Event::ApprovalGiven(_)
            | Event::ApprovalWithdrawn(_)
            | Event::InstructionContested(_)
            | Event::InstructionEnded(_) => {
                let id = id(InstructionId::from_resource_name(subject))?;
                let fact = self.of_instruction(index, &id, leaf, event)?;
                facts.instruction(id.as_uuid(), index, &fact);
            }
            Event::ExecutionLeased(_)
            | Event::ExecutionDeferred(_)
            | Event::ExecutionFailed(_)
            | Event::ExecutionReported(_) => self.execution(placed, leaf, event, facts)?,

            Event::ExportReleased(_)
            | Event::ExportDownloaded(_)
            | Event::ExportRemoved(_)
            | Event::EvidenceExported(_) => export(index, leaf, event, facts)?,
            Event::DataShredded(event) => audit_shredded::shredded(index, subject, event, facts)?,
            Event::EpochRotated(_) => audit_shredded::rotated(index, subject, facts)?,
        }
        Ok(())
    }

    fn case(&self, index: u64, subject: &str, event: &Event, facts: &mut Facts) -> Result<(), Broken> {
        let fact = match event {
            Event::RequestReceived(received) => {
                let registered = self.registrations.registered.before(index);
                registered.needs_app(&received.app, &received.controller)?;
                CaseFact::Received(received.clone())
            }
            Event::RequestForwarded(e) => CaseFact::Forwarded(e.controller.clone()),
            Event::RequestAcknowledged(e) => CaseFact::Acknowledged(e.controller.clone()),
            Event::RequestMisrouted(e) => CaseFact::Misrouted(e.controller.clone()),
            Event::RequestAnswered(answered) => CaseFact::Answered(answered.clone()),
            Event::RequestRead(read) => {
                // A controller looks at its own cases only: at one, or at a page of them.
                let reader = id(ControllerId::from_resource_name(&read.by))?;
                if RequestId::from_resource_name(subject).is_err() {
                    let own = subject == read.by;
                    return Rule::RequestStages.holds(own, "the cases read are not the reader's");
                }
                CaseFact::Read(reader)
            }
            _ => return Ok(()),
        };
        facts.case(id(RequestId::from_resource_name(subject))?.as_uuid(), index, &fact);
        Ok(())
    }

    /// What a leaf says of an instruction beside its admission.
    fn of_instruction(
        &self,
        index: u64,
        id: &InstructionId,
        leaf: &Leaf,
        event: &Event,
    ) -> Result<InstructionFact, Broken> {
        let published = |holds, what| Rule::AdmittedSigned.holds(holds, what);
        let at = leaf.time().as_second();
        Ok(match event {
            Event::InstructionReceived(received) => {
                let exp = judged::waiting(received, self.place(index, leaf))?;
                let (controller, digest) = (received.controller.clone(), received.digest.clone());
                InstructionFact::Received { controller, digest, exp }
            }
            Event::ApprovalGiven(given) => {
                InstructionFact::Approved { controller: given.controller.clone(), at }
            }
            Event::ApprovalWithdrawn(withdrawn) => {
                let there = self.authority.withdrawn_by(withdrawn.authority_index);
                published(
                    there.is_some_and(|(controller, digest)| {
                        *controller == withdrawn.controller && digest.to_string() == withdrawn.digest
                    }),
                    "the authority log withdraws no such signature at the place it names",
                )?;
                InstructionFact::Withdrawn {
                    controller: withdrawn.controller.clone(),
                    is_last: withdrawn.is_last,
                    at,
                }
            }
            Event::InstructionContested(contested) => {
                let there = self.authority.stopped_by(contested.authority_index);
                let same = (contested.controller.clone(), *id, Stop::Contested);
                published(there == Some(&same), "the authority log does not stop it at the place it names")?;
                let controller = contested.controller.clone();
                InstructionFact::Stopped { controller, why: Stop::Contested, at }
            }
            Event::InstructionEnded(ended) => InstructionFact::Ended {
                controller: ended.controller.clone(),
                state: ended.state.clone(),
                at,
            },
            _ => return Err(Rule::LeafForm.broken("it says nothing of an instruction")),
        })
    }

    fn place<'a>(&'a self, index: u64, leaf: &'a Leaf) -> judged::Place<'a> {
        judged::Place {
            subject: leaf.subject(),
            time: leaf.time(),
            registered: self.registrations.registered.before(index),
            authority: self.authority,
            trail_origin: self.authority.trail_origin_at(index),
        }
    }

    fn admission(
        &self,
        placed: Placed<'_>,
        leaf: &Leaf,
        event: &InstructionAdmitted,
        facts: &mut Facts,
    ) -> Result<(), Broken> {
        let index = placed.index;
        let instruction = id(InstructionId::from_resource_name(leaf.subject()))?;
        let admitted = if index < self.since { None } else { Some(self.admitted(index, leaf, event)?) };
        let asked = admitted.as_ref().map(Admitted::asked);
        // A leaf has far fewer orders than a u32 counts.
        let orders = event.executions.len() as u32;
        let (controller, digest) = (event.controller.clone(), event.digest.clone());
        let fact = InstructionFact::Admitted { controller, digest, orders };
        facts.instruction(instruction.as_uuid(), index, &fact);
        if let Some(target) = event.target {
            let stops = self.authority.taken_back(&event.controller).why(&target);
            Rule::AdmittedSigned.holds(stops.is_some(), "the authority log does not stop what it revokes")?;
            let (controller, at) = (event.controller.clone(), leaf.time().as_second());
            let fact = InstructionFact::Stopped { controller, why: Stop::Revoked, at };
            facts.instruction(target.as_uuid(), index, &fact);
        }
        if let Some(request) = event.request {
            let instructed = CaseFact::Instructed {
                controller: event.controller.clone(),
                app: event.app.clone(),
                enough_for_minor: admitted.as_ref().is_none_or(|admitted| admitted.enough_for_minor),
            };
            facts.case(request.as_uuid(), index, &instructed);
        }
        for Order { execution, store } in &event.executions {
            let asked = match &asked {
                Some(asked) => Kept::Read(asked.clone()),
                None => Kept::In { index, leaf: leaf_hash(placed.bytes) },
            };
            let ordered = ExecutionFact::Ordered {
                controller: event.controller.clone(),
                instruction,
                store: StoreId::clone(store),
                asked,
            };
            facts.execution(execution.as_uuid(), index, &ordered);
        }
        Ok(())
    }

    fn admitted(&self, index: u64, leaf: &Leaf, event: &InstructionAdmitted) -> Result<Admitted, Broken> {
        let place = self.place(index, leaf);
        let admitted = judged::admission(event, place)?;
        place.registered.needs_key_set(&admitted.controller, &admitted.key_set.digest)?;
        Ok(admitted)
    }

    fn execution(
        &self,
        placed: Placed<'_>,
        leaf: &Leaf,
        event: &Event,
        facts: &mut Facts,
    ) -> Result<(), Broken> {
        let index = placed.index;
        let registered = self.registrations.registered.before(index);
        let at = leaf.time().as_second();
        let fact = match event {
            Event::ExecutionLeased(leased) => {
                registered.agent(&leased.agent)?;
                let (agent, attempt) = (leased.agent.clone(), leased.attempt);
                ExecutionFact::Leased { agent, attempt, at }
            }
            Event::ExecutionDeferred(deferred) => {
                let (agent, attempt, begun) = (deferred.agent.clone(), deferred.attempt, deferred.begun);
                ExecutionFact::Deferred { agent, attempt, begun, at }
            }
            Event::ExecutionFailed(failed) => ExecutionFact::Failed {
                attempt: failed.attempt,
                expired: failed.reason == Reason::InstructionExpired,
                at,
            },
            Event::ExecutionReported(reported) => {
                registered.agent(&reported.agent)?;
                let (agent, outcome) = (reported.agent.clone(), reported.outcome.clone());
                // Why an agent refused, its report alone says.
                let refused = outcome == ExecutionState::Refused.as_str();
                let is_old = index < self.since;
                let report = if is_old && !refused { None } else { Some(self.reported(index, reported)?) };
                let expired = report.as_ref().is_some_and(|report| {
                    report.outcome == ReportOutcome::Refused
                        && report.reason == Some(Reason::InstructionExpired)
                });
                let told = match report {
                    Some(report) if !is_old => Kept::Read(judged::told(reported, &report)),
                    _ => Kept::In { index, leaf: leaf_hash(placed.bytes) },
                };
                ExecutionFact::Reported { agent, attempt: reported.attempt, outcome, expired, told }
            }
            _ => return Ok(()),
        };
        facts.execution(id(ExecutionId::from_resource_name(leaf.subject()))?.as_uuid(), index, &fact);
        Ok(())
    }

    fn reported(&self, index: u64, event: &ExecutionReported) -> Result<Report, Broken> {
        judged::signed_report(event, self.registrations.registered.before(index), self.authority)
    }
}

fn export(index: u64, leaf: &Leaf, event: &Event, facts: &mut Facts) -> Result<(), Broken> {
    let subject = leaf.subject();
    if let Event::EvidenceExported(evidence) = event {
        let id = id(InstructionId::from_resource_name(subject))?;
        let by = ControllerId::from_resource_name(&evidence.by).ok();
        let fact = InstructionFact::Evidence { by, disclosures: evidence.disclosures };
        facts.instruction(id.as_uuid(), index, &fact);
        return Ok(());
    }
    let id = id(ExportId::from_resource_name(subject))?;
    match event {
        Event::ExportReleased(released) => {
            let fact = ExecutionFact::Released {
                export: id,
                digest: released.digest.clone(),
                size: released.size,
                expires: released.expires,
            };
            facts.execution(released.execution.as_uuid(), index, &fact);
        }
        Event::ExportDownloaded(downloaded) => {
            let fact = ExportFact::Downloaded { by: downloaded.by.clone(), at: leaf.time().as_second() };
            facts.export(id.as_uuid(), index, &fact);
        }
        Event::ExportRemoved(removed) => {
            facts.export(id.as_uuid(), index, &ExportFact::Removed(removed.execution));
        }
        _ => {}
    }
    Ok(())
}

/// Gives older leaves to [`Judge`] once more.
pub(super) struct Older<'a, 'j> {
    pub judge: &'a Judge<'j>,
    /// The entry at an index.
    pub entry: &'a dyn Fn(u64) -> Result<Vec<u8>, Unread>,
}

impl Older<'_, '_> {
    fn read(&self, index: u64, hash: &Hash) -> Result<(Leaf, Event), Wrong> {
        let bytes = (self.entry)(index).map_err(Wrong::Unread)?;
        if leaf_hash(&bytes) != *hash {
            return Err(Wrong::Unread(Unread {
                which: format!("{} leaf {index}", LogName::Trail),
                what: "it changed while it was read".to_owned(),
            }));
        }
        leaf_form::read(LogName::Trail, self.judge.source, None, &bytes)
            .map_err(|broken| Wrong::Broken(Some(index), broken))
    }
}

impl Reread for Older<'_, '_> {
    fn admission(&self, index: u64, leaf: &Hash) -> Result<Vec<(ExecutionId, Asked)>, Wrong> {
        let (leaf, event) = self.read(index, leaf)?;
        // The fact was made of an admission.
        let Event::InstructionAdmitted(event) = event else { return Ok(Vec::new()) };
        let admitted = self.judge.admitted(index, &leaf, &event);
        let admitted = admitted.map_err(|broken| Wrong::Broken(Some(index), broken))?;
        Ok(admitted.orders.iter().map(|order| (order.execution, admitted.asked())).collect())
    }

    fn report(&self, index: u64, leaf: &Hash) -> Result<Told, Wrong> {
        let (_, event) = self.read(index, leaf)?;
        let Event::ExecutionReported(event) = event else {
            return Err(Wrong::Broken(Some(index), Rule::Ordered.broken("it is no report")));
        };
        let report = self.judge.reported(index, &event);
        let report = report.map_err(|broken| Wrong::Broken(Some(index), broken))?;
        Ok(judged::told(&event, &report))
    }
}
