//! What the audit asks of executions and exports: `ORDERED`, `REPORT_*`, `RAN_ONCE`,
//! `ENDED_RIGHTLY`, `EXPORT_RELEASED`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::authority_log::AuthorityLog;
use super::judged::{self, Admitted};
use super::registered::Registered;
use super::rules::{Broken, Rule};
use crate::domain::event::Event;
use crate::domain::execution::state_of;
use crate::domain::{
    AgentId, ControllerId, ExecutionId, ExecutionState, ExportId, InstructionId, StoreId, Timestamp,
};
use crate::token::Digest;

#[derive(Debug)]
struct Execution {
    instruction: Rc<Admitted>,
    store: StoreId,
    state: ExecutionState,
    /// The newest lease.
    lease: Option<(AgentId, u32)>,
    /// What the report says of its export: digest and size.
    export: Option<(Digest, u64)>,
    released: bool,
}

#[derive(Debug)]
struct Export {
    controller: ControllerId,
    /// Seconds.
    expires: i64,
    removed: bool,
}

/// The orders given so far and what became of them.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    instructions: BTreeMap<(ControllerId, InstructionId), Rc<Admitted>>,
    /// Two controllers may have chosen one `jti`.
    ids: BTreeSet<InstructionId>,
    ended: BTreeSet<(ControllerId, InstructionId)>,
    executions: BTreeMap<ExecutionId, Execution>,
    exports: BTreeMap<ExportId, Export>,
}

impl Deeds {
    pub(super) fn admit(&mut self, admitted: Admitted) -> Result<(), Broken> {
        let admitted = Rc::new(admitted);
        for order in &admitted.orders {
            let execution = Execution {
                instruction: Rc::clone(&admitted),
                store: order.store.clone(),
                state: ExecutionState::Pending,
                lease: None,
                export: None,
                released: false,
            };
            let before = self.executions.insert(order.execution, execution);
            Rule::RanOnce.holds(before.is_none(), "an order takes the id of another execution")?;
        }
        self.ids.insert(admitted.id);
        self.instructions.insert((admitted.controller.clone(), admitted.id), admitted);
        Ok(())
    }

    pub(super) fn take(
        &mut self,
        subject: &str,
        time: Timestamp,
        event: &Event,
        registered: &Registered,
        authority: &AuthorityLog,
        origin: &str,
    ) -> Result<(), Broken> {
        if let Event::InstructionEnded(ended) = event {
            return self.end(subject, &ended.controller, &ended.state);
        }
        let ordered = |holds, what| Rule::Ordered.holds(holds, what);
        let id = ExecutionId::from_resource_name(subject)
            .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
        let execution = self.executions.get_mut(&id);
        let execution =
            execution.ok_or_else(|| Rule::Ordered.broken("no admitted instruction ordered it"))?;
        Rule::RanOnce.holds(!execution.state.has_ended(), "the execution had ended before")?;
        let leased_by = |agent: &AgentId, execution: &Execution| {
            let held = execution.state == ExecutionState::Leased
                && execution.lease.as_ref().is_some_and(|(holder, _)| holder == agent);
            ordered(held, "the agent holds no lease of it")
        };
        match event {
            Event::ExecutionLeased(leased) => {
                let stores = &registered.agent(&leased.agent)?.stores;
                ordered(
                    stores.contains(&execution.store),
                    "the agent is not registered for the order's store",
                )?;
                let last = execution.lease.as_ref().map_or(0, |(_, attempt)| *attempt);
                ordered(Some(leased.attempt) == last.checked_add(1), "attempts are not counted one by one")?;
                ordered(
                    last > 0 || time.as_second() < execution.instruction.exp,
                    "it was first leased after the instruction's end",
                )?;
                execution.lease = Some((leased.agent.clone(), leased.attempt));
                execution.state = ExecutionState::Leased;
            }
            Event::ExecutionDeferred(deferred) => {
                leased_by(&deferred.agent, execution)?;
                let attempt = execution.lease.as_ref().map(|(_, attempt)| *attempt);
                ordered(attempt == Some(deferred.attempt), "another attempt is deferred than was leased")?;
                execution.state = ExecutionState::Pending;
            }
            Event::ExecutionFailed(failed) => {
                let last = execution.lease.as_ref().map_or(0, |(_, attempt)| *attempt);
                ordered(failed.attempt == last, "another attempt is given up than was leased last")?;
                execution.state = ExecutionState::Failed;
            }
            Event::ExecutionReported(reported) => {
                leased_by(&reported.agent, execution)?;
                // The report of an earlier attempt may come late: the agent's ledger keeps the first one.
                let last = execution.lease.as_ref().map_or(0, |(_, attempt)| *attempt);
                ordered(reported.attempt <= last, "an attempt is reported that was not leased")?;
                let admitted = &execution.instruction;
                let report =
                    judged::report(reported, id, &execution.store, admitted, registered, authority, origin)?;
                execution.export = report.export.map(|export| (export.digest, export.size));
                // The report's word for its outcome is that of the execution's state.
                execution.state = reported
                    .outcome
                    .parse()
                    .map_err(|_| Rule::ReportScope.broken("the outcome is no registered word"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, subject: &str, controller: &ControllerId, state: &str) -> Result<(), Broken> {
        let (key, admitted) = self.instruction(subject, controller)?;
        let states: Vec<ExecutionState> = admitted
            .orders
            .iter()
            .filter_map(|order| self.executions.get(&order.execution))
            .map(|execution| execution.state)
            .collect();
        let ended = |holds, what| Rule::EndedRightly.holds(holds, what);
        ended(states.iter().all(|state| state.has_ended()), "an execution of it has not ended")?;
        ended(state_of(&states).as_str() == state, "it did not end as its executions did")?;
        ended(self.ended.insert(key), "the instruction ends again")
    }

    fn instruction(
        &self,
        subject: &str,
        controller: &ControllerId,
    ) -> Result<((ControllerId, InstructionId), Rc<Admitted>), Broken> {
        let id = InstructionId::from_resource_name(subject)
            .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
        let key = (controller.clone(), id);
        match self.instructions.get(&key) {
            Some(admitted) => Ok((key, Rc::clone(admitted))),
            None => Err(Rule::Ordered.broken("the instruction was not admitted before")),
        }
    }

    pub(super) fn take_export(
        &mut self,
        subject: &str,
        time: Timestamp,
        event: &Event,
    ) -> Result<(), Broken> {
        let rule = |holds, what| Rule::ExportReleased.holds(holds, what);
        if let Event::EvidenceExported(evidence) = event {
            return self.evidence(subject, &evidence.by, evidence.disclosures);
        }
        let id = ExportId::from_resource_name(subject)
            .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
        if let Event::ExportReleased(released) = event {
            let execution = self.executions.get_mut(&released.execution);
            let execution =
                execution.ok_or_else(|| Rule::ExportReleased.broken("no admitted instruction ordered it"))?;
            let named = execution
                .export
                .is_some_and(|(digest, size)| digest.to_string() == released.digest && size == released.size);
            rule(named, "no report before it names this package")?;
            rule(
                !std::mem::replace(&mut execution.released, true),
                "the execution's export is released again",
            )?;
            let controller = execution.instruction.controller.clone();
            let before =
                self.exports.insert(id, Export { controller, expires: released.expires, removed: false });
            return rule(before.is_none(), "the export is released again");
        }
        let export = self.exports.get_mut(&id);
        let export =
            export.ok_or_else(|| Rule::ExportReleased.broken("the export was not released before"))?;
        match event {
            Event::ExportDownloaded(downloaded) => {
                let own = downloaded.by == export.controller.resource_name();
                rule(own, "another than its controller downloaded it")?;
                rule(!export.removed, "it had been removed")?;
                rule(time.as_second() < export.expires, "it had expired")
            }
            Event::ExportRemoved(_) => {
                rule(!std::mem::replace(&mut export.removed, true), "it is removed again")
            }
            _ => Ok(()),
        }
    }

    /// Evidence is given for what was admitted; with disclosures only to the instruction's own controller.
    fn evidence(&self, subject: &str, by: &str, disclosures: bool) -> Result<(), Broken> {
        let rule = |holds, what| Rule::ExportReleased.holds(holds, what);
        if let Ok(controller) = ControllerId::from_resource_name(by) {
            return self.instruction(subject, &controller).map(drop);
        }
        rule(!disclosures, "disclosures were given to another than the controller")?;
        let id = InstructionId::from_resource_name(subject)
            .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
        rule(self.ids.contains(&id), "the instruction was not admitted before")
    }

    /// Instructions, executions, and those of them that ended.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let ended = self.executions.values().filter(|execution| execution.state.has_ended()).count();
        (self.instructions.len() as u64, self.executions.len() as u64, ended as u64)
    }
}
