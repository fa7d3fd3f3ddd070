//! How an instruction stands at this second. Its end comes by itself: who asks, stops or signs between it and the
//! gateway's next sweep is answered as after it, by leaf time.

use crate::authority::taken_back::refusal_of;
use crate::domain::execution::{Stand, state_at};
use crate::domain::{ControllerId, ExecutionState, InstructionId, InstructionState, Reason, Stop};
use crate::store::executions::{self, ExecutionRow};
use crate::store::instructions::{self, InstructionRow};
use crate::store::{Conn, StoreError};

/// How one execution stands for its instruction.
pub(super) fn stand(row: &ExecutionRow) -> Stand {
    Stand::of(row.state, row.begun, row.reason.as_deref(), row.report.is_some())
}

/// The row, with the state that it has at `now` in seconds.
pub(super) fn at(row: InstructionRow, orders: &[ExecutionRow], now: i64) -> InstructionRow {
    let stands: Vec<Stand> = orders.iter().map(stand).collect();
    InstructionRow { state: state_at(row.state, &stands, row.expires_at, now), ..row }
}

/// The controller's own instruction of that id as it stands at `now`, or `None`.
pub(super) async fn find_at(
    conn: &mut Conn,
    controller: &ControllerId,
    id: &InstructionId,
    now: i64,
) -> Result<Option<InstructionRow>, StoreError> {
    let Some(row) = instructions::find(conn, controller, id).await? else { return Ok(None) };
    if now < row.expires_at {
        return Ok(Some(row));
    }
    let orders = executions::of_instruction(conn, controller, id).await?;
    Ok(Some(at(row, &orders, now)))
}

/// An execution as it stands at `now`: one that is unbegun at its instruction's end is given up.
pub(super) async fn execution_at(
    conn: &mut Conn,
    row: ExecutionRow,
    now: i64,
) -> Result<ExecutionRow, StoreError> {
    if !stand(&row).is_unbegun() {
        return Ok(row);
    }
    let instruction = instructions::find(conn, &row.controller, &row.instruction).await?;
    if instruction.is_none_or(|instruction| now < instruction.expires_at) {
        return Ok(row);
    }
    let reason = Some(Reason::InstructionExpired.code().into());
    Ok(ExecutionRow { state: ExecutionState::Failed, reason, ..row })
}

/// Whether the instruction's end has come by `now`.
pub(super) fn has_expired(instruction: &InstructionRow, now: i64) -> bool {
    instruction.expires_at <= now
}

/// Why what no agent has begun ends now, if it does: nothing of it may be begun any more.
pub(super) fn over_unbegun(instruction: &InstructionRow, now: i64) -> Option<Reason> {
    match instruction.state {
        _ if has_expired(instruction, now) => Some(Reason::InstructionExpired),
        InstructionState::Revoked => Some(refusal_of(Stop::Revoked)),
        InstructionState::Contested => Some(refusal_of(Stop::Contested)),
        _ => None,
    }
}
