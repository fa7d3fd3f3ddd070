//! What the audit asks of instruction ids and exports: `JTI_ONCE`, `ENDED_RIGHTLY`, `EXPORT_RELEASED`.

use std::collections::BTreeMap;

use super::audit_facts::{ExportFact, InstructionFact};
use super::rules::{Broken, Rule};
use crate::domain::execution::{Stand, settled};
use crate::domain::{ControllerId, ExecutionId, InstructionState, Stop};

/// One instruction id so far. Two controllers may have chosen it; they have nothing to do with each other.
#[derive(Debug, Default)]
pub(super) struct Instruction(BTreeMap<ControllerId, Used>);

#[derive(Debug, Default)]
struct Used {
    /// While it waits: its digest, and its end in seconds.
    waiting: Option<(String, i64)>,
    /// How many orders; none: it was refused, or it waits.
    admitted: Option<u32>,
    /// Of its executions that ended.
    stands: Vec<Stand>,
    stop: Option<Stop>,
    /// So many executions had ended when it was stopped.
    stood: usize,
    /// Those that ended since were all over by then, its end having come.
    over_before: bool,
    ended: bool,
    /// An admission or a refusal used it up.
    known: bool,
}

fn ended(holds: bool, what: &'static str) -> Result<(), Broken> {
    Rule::EndedRightly.holds(holds, what)
}

impl Instruction {
    pub(super) fn take(&mut self, fact: InstructionFact) -> Result<(), Broken> {
        match fact {
            InstructionFact::Shredded => Rule::Shredded
                .holds(self.was_taken(), "the instruction whose data is destroyed was not received before"),
            InstructionFact::Received { controller, digest, exp } => {
                let used = Used { waiting: Some((digest, exp)), ..Used::default() };
                Rule::JtiOnce.holds(self.0.insert(controller, used).is_none(), "the jti was used up before")
            }
            InstructionFact::Approved { controller, at } => self.waiting(&controller, at).map(drop),
            InstructionFact::Withdrawn { controller, is_last, at } => {
                let used = self.waiting(&controller, at)?;
                // With the last signature the order itself is taken back.
                used.stop = is_last.then_some(Stop::Revoked);
                Ok(())
            }
            InstructionFact::Admitted { controller, digest, orders } => {
                let used = self.0.entry(controller).or_default();
                let completes = match used.waiting.take() {
                    Some((waits, _)) => waits == digest && used.stop.is_none() && !used.ended,
                    None => used.is_new(),
                };
                used.admitted = Some(orders);
                used.known = true;
                Rule::JtiOnce.holds(completes, "the jti was used up before")
            }
            // A refusal may name a jti that was used up before: that is what `JTI_REUSED` says.
            InstructionFact::Refused(controller) => {
                self.0.entry(controller).or_default().known = true;
                Ok(())
            }
            InstructionFact::Stopped { controller, why, at } => {
                let used = self.0.get_mut(&controller).filter(|used| used.is_open());
                let used = used.ok_or_else(|| Rule::EndedRightly.broken("there was nothing left to stop"))?;
                ended(used.stop.is_none(), "it was stopped before")?;
                ended(used.waits_at(at), "it was stopped after its end")?;
                (used.stop, used.stood, used.over_before) = (Some(why), used.stands.len(), true);
                Ok(())
            }
            InstructionFact::ExecutionEnded { controller, state, expired, over_before } => {
                let used = self.0.entry(controller).or_default();
                used.stands.push(Stand { state, begun: false, expired });
                used.over_before &= over_before;
                Ok(())
            }
            InstructionFact::Ended { controller, state, at } => self.end(&controller, &state, at),
            // Evidence is given for what was admitted; with disclosures only to its own controller.
            InstructionFact::Evidence { by: Some(controller), .. } => {
                let used = self.0.get(&controller).filter(|used| used.admitted.is_some());
                used.map(drop).ok_or_else(|| Rule::Ordered.broken("the instruction was not admitted before"))
            }
            InstructionFact::Evidence { by: None, disclosures } => {
                let rule = |holds, what| Rule::ExportReleased.holds(holds, what);
                rule(!disclosures, "disclosures were given to another than the controller")?;
                let any = self.0.values().any(|used| used.admitted.is_some());
                rule(any, "the instruction was not admitted before")
            }
        }
    }

    /// It was submitted by some controller: which of those that chose the id, its leaf does not say.
    fn was_taken(&self) -> bool {
        self.0.values().any(|used| used.admitted.is_some() || used.waiting.is_some())
    }

    fn waiting(&mut self, controller: &ControllerId, at: i64) -> Result<&mut Used, Broken> {
        let used = self.0.get_mut(controller).filter(|used| used.is_open() && used.waiting.is_some());
        let used = used.ok_or_else(|| Rule::JtiOnce.broken("no such instruction waits for a signature"))?;
        ended(used.waits_at(at), "its end had come while it waited")?;
        Ok(used)
    }

    fn end(&mut self, controller: &ControllerId, state: &str, at: i64) -> Result<(), Broken> {
        let used =
            self.0.get_mut(controller).filter(|used| used.admitted.is_some() || used.waiting.is_some());
        let used =
            used.ok_or_else(|| Rule::Ordered.broken("the instruction was neither admitted nor waiting"))?;
        let orders = used.admitted.unwrap_or(0);
        ended(used.stands.len() == orders as usize, "an execution of it has not ended")?;
        let stopped_late = used.over_before && used.stands.len() > used.stood;
        ended(!stopped_late, "it was stopped after its end, when nothing of it was in work")?;
        let expected = match (used.stop, &used.waiting) {
            (Some(Stop::Revoked), _) => InstructionState::Revoked,
            (Some(Stop::Contested), _) => InstructionState::Contested,
            (None, Some((_, exp))) => {
                ended(at >= *exp, "it ended while it still waited")?;
                InstructionState::Expired
            }
            (None, None) => settled(InstructionState::Admitted, &used.stands),
        };
        ended(expected.as_str() == state, "it did not end as its executions did")?;
        ended(!std::mem::replace(&mut used.ended, true), "the instruction ends again")
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().filter(|used| used.admitted.is_some()).count() as u64
    }
}

impl Used {
    /// It was not used up.
    fn is_new(&self) -> bool {
        !self.known && self.admitted.is_none() && self.stop.is_none()
    }

    /// Whatever of it waits for signatures still does at that second.
    fn waits_at(&self, at: i64) -> bool {
        self.waiting.as_ref().is_none_or(|(_, exp)| at < *exp)
    }

    fn is_open(&self) -> bool {
        (self.admitted.is_some() || self.waiting.is_some()) && !self.ended
    }
}

/// One export so far: none before it is released.
#[derive(Debug, Default)]
pub(super) struct Export(Option<Released>);

#[derive(Debug)]
struct Released {
    controller: ControllerId,
    execution: ExecutionId,
    /// Seconds.
    expires: i64,
    removed: bool,
}

impl Export {
    pub(super) fn take(&mut self, fact: ExportFact) -> Result<(), Broken> {
        let rule = |holds, what| Rule::ExportReleased.holds(holds, what);
        if let ExportFact::Released { controller, execution, expires } = fact {
            rule(self.0.is_none(), "the export is released again")?;
            self.0 = Some(Released { controller, execution, expires, removed: false });
            return Ok(());
        }
        let export = self.0.as_mut();
        let export =
            export.ok_or_else(|| Rule::ExportReleased.broken("the export was not released before"))?;
        match fact {
            ExportFact::Downloaded { by, at } => {
                let own = by == export.controller.resource_name();
                rule(own, "another than its controller downloaded it")?;
                rule(!export.removed, "it had been removed")?;
                rule(at < export.expires, "it had expired")
            }
            ExportFact::Removed(execution) => {
                rule(execution == export.execution, "it was the export of another execution")?;
                rule(!std::mem::replace(&mut export.removed, true), "it is removed again")
            }
            // Taken before.
            ExportFact::Released { .. } => Ok(()),
        }
    }
}
