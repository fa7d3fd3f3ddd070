//! The audit: every leaf of both logs, in order, against every rule of [`super::rules`].
//!
//! A streaming state machine. Feed the **whole authority log first**, then the trail;
//! it stops at the first leaf that breaks a rule. It proves nothing about the bytes
//! themselves: whoever feeds it has checked them against a signed checkpoint
//! ([`super::published`] does both).
//!
//! Memory grows with the number of requests, instructions, executions and exports, not
//! with the bytes of the log.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::audit_cases::Cases;
use super::audit_deeds::Deeds;
use super::authority_log::AuthorityLog;
use super::judged;
use super::leaf_form;
use super::pins::Pins;
use super::registered::Registered;
use super::rules::{Broken, LogName, Rule, Violation};
use crate::domain::event::{Event, KeySetRegistered};
use crate::domain::{ControllerId, InstructionId, Timestamp};
use crate::trail::Leaf;

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

/// The machine.
#[derive(Debug)]
pub struct Audit {
    source: String,
    origin: String,
    authority: AuthorityLog,
    registered: Registered,
    /// Key sets named by the trail so far: (controller, version).
    key_sets: BTreeSet<(ControllerId, u64)>,
    jtis: BTreeSet<(ControllerId, InstructionId)>,
    cases: Cases,
    deeds: Deeds,
    leaves: BTreeMap<&'static str, u64>,
    size: u64,
    last: Option<Timestamp>,
}

impl Audit {
    pub fn new(pins: &Pins) -> Self {
        Self {
            source: pins.source().to_owned(),
            origin: pins.trail.origin.clone(),
            authority: AuthorityLog::new(pins),
            registered: Registered::new(pins),
            key_sets: BTreeSet::new(),
            jtis: BTreeSet::new(),
            cases: Cases::default(),
            deeds: Deeds::default(),
            leaves: BTreeMap::new(),
            size: 0,
            last: None,
        }
    }

    /// Takes the next leaf of a log: `index` counts from 0 without gaps.
    pub fn feed(&mut self, log: LogName, index: u64, bytes: &[u8]) -> Result<(), Violation> {
        let expected = match log {
            LogName::Authority => self.authority.size(),
            LogName::Trail => self.size,
        };
        let taken = if index != expected {
            Err(Rule::LeafForm.broken(format!("leaf {expected} was to come next")))
        } else {
            match log {
                LogName::Authority if self.size > 0 => {
                    Err(Rule::KeySetChain.broken("the authority log must be read whole before the trail"))
                }
                LogName::Authority => self.authority.feed(bytes).map(drop),
                LogName::Trail => self.take(bytes),
            }
        };
        taken.map_err(|Broken { rule, what }| Violation { log, index, rule, what: what.into_owned() })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let (leaf, event) = leaf_form::read(LogName::Trail, &self.source, self.last, bytes)?;
        let opens = matches!(event, Event::LogOpened(_));
        Rule::OpenedFirst.holds(self.size > 0 || opens, "the first leaf does not open the log")?;
        Rule::OpenedFirst.holds(self.size == 0 || !opens, "the log is opened again")?;
        self.judge(&leaf, &event)?;
        *self.leaves.entry(event.type_name()).or_default() += 1;
        self.size += 1;
        self.last = Some(leaf.time());
        Ok(())
    }

    fn judge(&mut self, leaf: &Leaf, event: &Event) -> Result<(), Broken> {
        let (subject, time) = (leaf.subject(), leaf.time());
        match event {
            Event::LogOpened(opened) => {
                Rule::OpenedFirst.holds(opened.origin == self.origin, "it opens a log of another origin")
            }
            Event::ControllerRegistered(_)
            | Event::AppRegistered(_)
            | Event::AgreementRegistered(_)
            | Event::AgentRegistered(_)
            | Event::AccessKeyRegistered(_)
            | Event::AccessKeyRevoked(_) => self.registered.take(subject, event),
            Event::KeySetRegistered(registered) => self.take_key_set(subject, registered),
            Event::KeySetPublished(_) => Err(Rule::LeafForm.broken("its type does not belong in this log")),

            Event::MessageReceived(_) | Event::MessageRead(_) | Event::MessageDismissed(_) => {
                self.cases.message(subject, event)
            }
            Event::MessageAssigned(assigned) => {
                Rule::Registered
                    .holds(self.registered.has_app(&assigned.app), "the app was not registered before")?;
                self.cases.message(subject, event)
            }
            Event::RequestReceived(_)
            | Event::RequestForwarded(_)
            | Event::RequestAcknowledged(_)
            | Event::RequestMisrouted(_)
            | Event::RequestAnswered(_)
            | Event::RequestRead(_) => self.cases.take(subject, event, &self.registered),

            Event::InstructionAdmitted(admission) => {
                let admitted = judged::admission(
                    admission,
                    subject,
                    time,
                    &self.registered,
                    &self.authority,
                    &self.origin,
                )?;
                let set = (admitted.controller.clone(), admitted.key_set.version);
                Rule::Registered
                    .holds(self.key_sets.contains(&set), "the trail did not name the key set before")?;
                self.use_jti(&admitted.controller, admitted.id, true)?;
                if let Some(request) = admitted.request {
                    self.cases.instructed(&request, &admitted.controller, &admitted.app)?;
                }
                self.deeds.admit(admitted)
            }
            Event::InstructionRefused(refused) => {
                match (refused.jti, ControllerId::from_resource_name(subject)) {
                    (Some(jti), Ok(controller)) => {
                        self.registered.needs_controller(&controller)?;
                        self.use_jti(&controller, jti, false)
                    }
                    _ => Ok(()),
                }
            }
            Event::InstructionEnded(_)
            | Event::ExecutionLeased(_)
            | Event::ExecutionDeferred(_)
            | Event::ExecutionFailed(_)
            | Event::ExecutionReported(_) => {
                self.deeds.take(subject, time, event, &self.registered, &self.authority, &self.origin)
            }
            Event::ExportReleased(_)
            | Event::ExportDownloaded(_)
            | Event::ExportRemoved(_)
            | Event::EvidenceExported(_) => self.deeds.take_export(subject, time, event),
            // States what was destroyed; there is nothing left to hold it against.
            Event::DataShredded(_) => Ok(()),
        }
    }

    /// The trail names a key set of the authority log, each once and in order.
    fn take_key_set(&mut self, subject: &str, event: &KeySetRegistered) -> Result<(), Broken> {
        let controller = ControllerId::from_resource_name(subject)
            .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
        self.registered.needs_controller(&controller)?;
        let published = self.authority.published_at(event.authority_index);
        let same = published.is_some_and(|(owner, version, digest)| {
            *owner == controller && *version == event.version && digest.to_string() == event.digest
        });
        Rule::KeySetChain.holds(same, "the authority log has another leaf at the place it names")?;
        let next = event.version == 1 || self.key_sets.contains(&(controller.clone(), event.version - 1));
        Rule::KeySetChain.holds(next, "the trail did not name the version before it")?;
        let new = self.key_sets.insert((controller.clone(), event.version));
        Rule::KeySetChain.holds(new, "the trail names the key set again")?;
        if let Some(set) = self.authority.newest_at(&controller, event.authority_index.saturating_add(1)) {
            for (kid, _) in set.keys() {
                self.registered.claim_key(*kid, "key_set", subject)?;
            }
        }
        Ok(())
    }

    /// A refusal may name a `jti` that was used up before: that is what `JTI_REUSED` says.
    fn use_jti(&mut self, controller: &ControllerId, jti: InstructionId, admits: bool) -> Result<(), Broken> {
        let new = self.jtis.insert((controller.clone(), jti));
        Rule::JtiOnce.holds(new || !admits, "the jti was used up before")
    }

    /// Ends the audit.
    pub fn finish(self) -> Result<Summary, Violation> {
        let unopened = |log| Violation {
            log,
            index: 0,
            rule: Rule::OpenedFirst,
            what: "the log has no leaf".to_owned(),
        };
        if self.authority.size() == 0 {
            return Err(unopened(LogName::Authority));
        }
        let until = self.last.ok_or_else(|| unopened(LogName::Trail))?;
        let (controllers, apps, agents) = self.registered.counts();
        let (instructions, executions, ended) = self.deeds.counts();
        Ok(Summary {
            trail_size: self.size,
            authority_size: self.authority.size(),
            leaves: self.leaves,
            controllers,
            apps,
            agents,
            requests: self.cases.count(),
            instructions,
            executions,
            ended,
            until,
        })
    }
}
