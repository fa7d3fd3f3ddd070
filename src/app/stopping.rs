//! An instruction is stopped: its controller revoked it, or the processor contests it as unlawful
//! (GDPR 28(3), last sentence; PIPL 21).
//!
//! What was not begun ends at once. What an agent holds is not prolonged: the agent stops before its lease ends,
//! learns from the authority log why, and reports what it had done until then. Only a new instruction resumes.

use crate::authority::precedent::check_stoppable;
use crate::domain::event::{InstructionContested, InstructionStopped};
use crate::domain::{ContestGround, ControllerId, InstructionId, InstructionState, Reason, Refusal, Stop};
use crate::store::instructions::InstructionRow;
use crate::store::{Command, Issued, StoreError, Topic, Tx, executions, instructions, logs};

use super::orders::give_up;
use super::reports::settle_instruction;
use super::standing::{find_at, has_expired, stand};
use super::{App, AppResult};

/// What its orders that were not begun end with.
fn reason_of(why: Stop) -> Reason {
    crate::authority::taken_back::refusal_of(why)
}

/// Says it in the authority log, where agents hear of it, and ends what was not begun. The index of the leaf there.
pub(super) async fn stop(tx: &mut Tx<'_>, target: &InstructionRow, why: Stop) -> Result<u64, StoreError> {
    let (controller, id) = (&target.controller, &target.id);
    let event = InstructionStopped { controller: controller.clone(), why };
    let authority_index = tx.append_authority(&id.resource_name(), event)?;
    let state = match why {
        Stop::Revoked => InstructionState::Revoked,
        Stop::Contested => InstructionState::Contested,
    };
    instructions::set_state(tx, controller, id, state, false).await?;
    Ok(authority_index)
}

/// Ends the orders of a stopped instruction that no agent has begun, and with the last of them the instruction.
pub(super) async fn end_unbegun(
    tx: &mut Tx<'_>,
    target: &InstructionRow,
    why: Stop,
) -> Result<(), StoreError> {
    let orders = executions::of_instruction(tx.conn(), &target.controller, &target.id).await?;
    if orders.is_empty() {
        return settle_instruction(tx, &target.controller, &target.id).await;
    }
    // Of two stores one may be in work when the instruction's end comes: the other's order was over before it was stopped.
    let expired = has_expired(target, tx.now_seconds());
    for mut row in orders {
        tx.wake(Topic::Execution(row.id));
        if stand(&row).is_unbegun() {
            let reason = if expired { Reason::InstructionExpired } else { reason_of(why) };
            give_up(tx, row, reason).await?;
        } else if !row.state.has_ended() {
            // Whoever watches hears of it now, and how it ended when the agent has said so.
            row.reason = Some(reason_of(why).code().into());
            executions::update(tx, &row).await?;
        }
    }
    Ok(())
}

impl App {
    /// The processor believes the instruction unlawful: it goes no further. The same again gets the first answer.
    pub async fn contest_instruction(
        &self,
        by: String,
        controller: &ControllerId,
        id: InstructionId,
        ground: ContestGround,
    ) -> AppResult<Issued> {
        let command = Contest { by, controller: controller.clone(), id, ground };
        let leaf = self.store.transact(command).await?.value;
        self.store.receipt(leaf).await
    }
}

struct Contest {
    by: String,
    controller: ControllerId,
    id: InstructionId,
    ground: ContestGround,
}

impl Contest {
    /// The leaf of an earlier contest.
    async fn before(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        let types = ["mandate.instruction.contested"];
        let leaves = logs::leaves_about(tx.conn(), &self.id.resource_name(), &types, 1_000).await?;
        Ok(leaves
            .into_iter()
            .find(|(_, leaf)| super::evidence::names_controller(leaf, &self.controller))
            .map(|(index, _)| index))
    }
}

#[async_trait::async_trait]
impl Command for Contest {
    const NAME: &'static str = "contest_instruction";
    /// The leaf that says so.
    type Output = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let now = tx.now_seconds();
        let found = find_at(tx.conn(), &self.controller, &self.id, now).await?;
        let target = found.ok_or(Reason::NotFound)?;
        if let Some(leaf) = self.before(tx).await? {
            let same = target.ground == Some(self.ground);
            let other = Refusal::at(Reason::StageConflict, "ground")
                .note("it was contested on another ground before");
            return if same { Ok(leaf) } else { Err(other.into()) };
        }
        check_stoppable(target.state, "name")?;
        let authority_index = stop(tx, &target, Stop::Contested).await?;
        instructions::set_ground(tx, &self.controller, &self.id, self.ground).await?;
        let leaf = tx.append(
            &self.id.resource_name(),
            InstructionContested {
                controller: self.controller.clone(),
                by: self.by.clone(),
                ground: self.ground,
                authority_index,
            },
        )?;
        end_unbegun(tx, &target, Stop::Contested).await?;
        Ok(leaf)
    }
}
