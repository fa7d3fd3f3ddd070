//! What the audit asks of executions: `ORDERED`, `REPORT_SCOPE`, `RAN_ONCE`, and the release of what
//! they exported.

use super::audit_facts::{ExecutionFact, ExportFact, Facts, InstructionFact, Kept};
use super::audit_replay::{Again, Wrong};
use super::judged::{self, Asked, Told};
use super::rules::{Broken, Rule};
use super::signers::check_still_signed;
use crate::domain::{AgentId, ControllerId, ExecutionId, ExecutionState, InstructionId, StoreId};

/// One execution so far: none before it is ordered.
#[derive(Debug, Default)]
pub(super) struct Execution(Option<Order>);

#[derive(Debug)]
struct Order {
    controller: ControllerId,
    instruction: InstructionId,
    store: StoreId,
    asked: Kept<Asked>,
    state: ExecutionState,
    /// The newest lease.
    lease: Option<(AgentId, u32)>,
    /// An agent that put it off did not say that nothing was touched.
    begun: bool,
    /// When an agent put it off last. Seconds.
    put_off: Option<i64>,
    /// Given up because the instruction's end came first.
    expired: bool,
    /// It was over when the instruction was stopped.
    over_before: bool,
    reported: Option<Kept<Told>>,
    released: bool,
}

fn ordered(holds: bool, what: &'static str) -> Result<(), Broken> {
    Rule::Ordered.holds(holds, what)
}

impl Execution {
    /// Takes what leaf `index` says. What it means for the instruction or export goes into `then`.
    pub(super) fn take(
        &mut self,
        id: ExecutionId,
        index: u64,
        fact: ExecutionFact,
        again: &mut Again<'_>,
        then: &mut Facts,
    ) -> Result<(), Wrong> {
        if let ExecutionFact::Ordered { controller, instruction, store, asked } = fact {
            Rule::RanOnce.holds(self.0.is_none(), "an order takes the id of another execution")?;
            self.0 = Some(Order {
                controller,
                instruction,
                store,
                asked,
                state: ExecutionState::Pending,
                lease: None,
                begun: false,
                put_off: None,
                expired: false,
                over_before: false,
                reported: None,
                released: false,
            });
            return Ok(());
        }
        let release = matches!(fact, ExecutionFact::Released { .. });
        let order = self.0.as_mut().ok_or_else(|| {
            let rule = if release { Rule::ExportReleased } else { Rule::Ordered };
            rule.broken("no admitted instruction ordered it")
        })?;
        if let ExecutionFact::Released { export, digest, size, expires } = fact {
            order.release(index, &digest, size, again)?;
            let controller = order.controller.clone();
            let released = ExportFact::Released { controller, execution: id, expires };
            then.export(export.as_uuid(), index, &released);
            return Ok(());
        }
        Rule::RanOnce.holds(!order.state.has_ended(), "the execution had ended before")?;
        order.go_on(id, index, fact, again)?;
        if order.state.has_ended() {
            let (controller, state) = (order.controller.clone(), order.state);
            let (expired, over_before) = (order.expired, order.over_before);
            let ended = InstructionFact::ExecutionEnded { controller, state, expired, over_before };
            then.instruction(order.instruction.as_uuid(), index, &ended);
        }
        Ok(())
    }

    /// 1 and whether it ended, or 0.
    pub(super) fn count(&self) -> (u64, u64) {
        let state = self.0.as_ref().map(|order| order.state);
        (u64::from(state.is_some()), u64::from(state.is_some_and(ExecutionState::has_ended)))
    }
}

impl Order {
    fn last_attempt(&self) -> u32 {
        self.lease.as_ref().map_or(0, |(_, attempt)| *attempt)
    }

    fn leased_by(&self, agent: &AgentId) -> Result<(), Broken> {
        let held = self.state == ExecutionState::Leased
            && self.lease.as_ref().is_some_and(|(holder, _)| holder == agent);
        ordered(held, "the agent holds no lease of it")
    }

    fn go_on(
        &mut self,
        id: ExecutionId,
        index: u64,
        fact: ExecutionFact,
        again: &mut Again<'_>,
    ) -> Result<(), Wrong> {
        let last = self.last_attempt();
        match fact {
            ExecutionFact::Leased { agent, attempt, at } => {
                ordered(
                    again.registered.before(index).agent(&agent)?.stores.contains(&self.store),
                    "the agent is not registered for the order's store",
                )?;
                ordered(Some(attempt) == last.checked_add(1), "attempts are not counted one by one")?;
                if last == 0 && again.is_new(index) {
                    self.may_begin(id, at, again)?;
                }
                self.lease = Some((agent, attempt));
                self.state = ExecutionState::Leased;
            }
            ExecutionFact::Deferred { agent, attempt, begun, at } => {
                self.leased_by(&agent)?;
                ordered(attempt == last, "another attempt is deferred than was leased")?;
                self.begun |= begun;
                self.put_off = Some(at);
                self.state = ExecutionState::Pending;
            }
            ExecutionFact::Failed { attempt, expired, at } => {
                ordered(attempt == last, "another attempt is given up than was leased last")?;
                let unbegun = self.state == ExecutionState::Pending && !self.begun;
                ordered(!expired || unbegun, "what was begun is seen through, also after the end")?;
                if unbegun && again.is_new(index) {
                    self.given_up_unbegun(id, expired, at, again)?;
                }
                self.expired = expired;
                self.state = ExecutionState::Failed;
            }
            ExecutionFact::Reported { agent, attempt, outcome, expired, told } => {
                self.leased_by(&agent)?;
                // The report of an earlier attempt may come late: the agent's ledger keeps the first one.
                ordered(attempt <= last, "an attempt is reported that was not leased")?;
                ordered(
                    again.registered.before(index).agent(&agent)?.stores.contains(&self.store),
                    "the agent is not registered for the order's store",
                )?;
                if let Kept::Read(told) = &told {
                    let asked = again.asked(id, &mut self.asked)?;
                    judged::fits(told, id, &self.store, asked, again.authority)?;
                }
                // The report's word for its outcome is that of the execution's state.
                self.state = outcome
                    .parse()
                    .map_err(|_| Rule::ReportScope.broken("the outcome is no registered word"))?;
                self.expired = expired;
                self.reported = Some(told);
            }
            // Taken before.
            ExecutionFact::Ordered { .. } | ExecutionFact::Released { .. } => {}
        }
        Ok(())
    }

    /// What no agent had begun when the instruction's end came ends by that and by nothing later (DESIGN §6).
    fn given_up_unbegun(
        &mut self,
        id: ExecutionId,
        expired: bool,
        at: i64,
        again: &mut Again<'_>,
    ) -> Result<(), Wrong> {
        let stopped = again.authority.stopped_at(&self.controller, &self.instruction);
        let stopped = stopped.map(|time| time.as_second());
        let exp = again.asked(id, &mut self.asked)?.exp;
        ordered(!expired || at >= exp, "its instruction's end had not come yet")?;
        let before_the_end = at < exp || stopped.is_some_and(|stopped| stopped < exp);
        ordered(expired || before_the_end, "its instruction's end had come before, which is what ended it")?;
        // Since it was put off last no agent has held it.
        self.over_before =
            stopped.is_some_and(|stopped| stopped >= exp && self.put_off.is_none_or(|then| then < stopped));
        Ok(())
    }

    /// Still good at the first lease (DESIGN §6). Within one second of the two logs either may have been first.
    fn may_begin(&mut self, id: ExecutionId, at: i64, again: &mut Again<'_>) -> Result<(), Wrong> {
        let authority = again.authority;
        let asked = again.asked(id, &mut self.asked)?;
        ordered(at < asked.exp, "it was first leased after the instruction's end")?;
        ordered(at >= asked.not_before, "it was first leased while the key set's policy held it back")?;
        let stopped = authority.stopped_at(&self.controller, &self.instruction);
        ordered(
            stopped.is_none_or(|stopped| stopped.as_second() >= at),
            "it was first leased after it was revoked or contested",
        )?;
        let recovered = authority.restarted_between(&self.controller, asked.authority_size, at);
        ordered(!recovered, "it was first leased after its controller began anew, its root lost")?;
        if let Some(newest) = authority.newest_between(&self.controller, asked.authority_size, at) {
            let still = |set| check_still_signed(asked.act, asked.kids.iter().copied(), set).is_ok();
            // It may have been leased right after he came back.
            let back = || authority.published_within(&self.controller, at).any(still);
            ordered(still(newest) || back(), "it was first leased after a signer had left the key set")?;
        }
        Ok(())
    }

    fn release(&mut self, index: u64, digest: &str, size: u64, again: &mut Again<'_>) -> Result<(), Wrong> {
        let rule = |holds, what| Rule::ExportReleased.holds(holds, what);
        let unreported = "no report before it names this package";
        let told = self.reported.as_mut().ok_or_else(|| Rule::ExportReleased.broken(unreported))?;
        if again.is_new(index) {
            let named = again.told(told)?.export;
            let named = named.is_some_and(|e| e.digest.to_string() == digest && e.size == size);
            rule(named, unreported)?;
        }
        rule(!std::mem::replace(&mut self.released, true), "the execution's export is released again")?;
        Ok(())
    }
}
