//! What the audit asks of instruction ids and exports: `JTI_ONCE`, `ENDED_RIGHTLY`, `EXPORT_RELEASED`.

use std::collections::BTreeMap;

use super::audit_facts::{ExportFact, InstructionFact};
use super::rules::{Broken, Rule};
use crate::domain::execution::state_of;
use crate::domain::{ControllerId, ExecutionId, ExecutionState};

/// One instruction id so far. Two controllers may have chosen it; they have nothing to do with each other.
#[derive(Debug, Default)]
pub(super) struct Instruction(BTreeMap<ControllerId, Used>);

#[derive(Debug, Default)]
struct Used {
    /// How many orders; none: it was refused.
    admitted: Option<u32>,
    /// Of its executions that ended.
    states: Vec<ExecutionState>,
    ended: bool,
}

impl Instruction {
    pub(super) fn take(&mut self, fact: InstructionFact) -> Result<(), Broken> {
        match fact {
            InstructionFact::Admitted { controller, orders } => {
                let used = Used { admitted: Some(orders), ..Used::default() };
                Rule::JtiOnce.holds(self.0.insert(controller, used).is_none(), "the jti was used up before")
            }
            // A refusal may name a jti that was used up before: that is what `JTI_REUSED` says.
            InstructionFact::Refused(controller) => {
                self.0.entry(controller).or_default();
                Ok(())
            }
            InstructionFact::ExecutionEnded(controller, state) => {
                self.0.entry(controller).or_default().states.push(state);
                Ok(())
            }
            InstructionFact::Ended(controller, state) => self.end(&controller, &state),
            // Evidence is given for what was admitted; with disclosures only to its own controller.
            InstructionFact::Evidence { by: Some(controller), .. } => self.admitted(&controller).map(drop),
            InstructionFact::Evidence { by: None, disclosures } => {
                let rule = |holds, what| Rule::ExportReleased.holds(holds, what);
                rule(!disclosures, "disclosures were given to another than the controller")?;
                let any = self.0.values().any(|used| used.admitted.is_some());
                rule(any, "the instruction was not admitted before")
            }
        }
    }

    fn admitted(&mut self, controller: &ControllerId) -> Result<(&mut Used, u32), Broken> {
        let used = self.0.get_mut(controller).and_then(|used| used.admitted.map(|orders| (used, orders)));
        used.ok_or_else(|| Rule::Ordered.broken("the instruction was not admitted before"))
    }

    fn end(&mut self, controller: &ControllerId, state: &str) -> Result<(), Broken> {
        let (used, orders) = self.admitted(controller)?;
        let ended = |holds, what| Rule::EndedRightly.holds(holds, what);
        ended(used.states.len() == orders as usize, "an execution of it has not ended")?;
        ended(state_of(&used.states).as_str() == state, "it did not end as its executions did")?;
        ended(!std::mem::replace(&mut used.ended, true), "the instruction ends again")
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().filter(|used| used.admitted.is_some()).count() as u64
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
