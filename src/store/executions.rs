//! Orders and their leases: the schedule lives here, in the database.

use crate::domain::{AgentId, ControllerId, ExecutionId, ExecutionState, InstructionId, Reason, StoreId};

use super::registry::id;
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, Insert, Row, query};

#[derive(Debug, Clone)]
pub struct ExecutionRow {
    pub id: ExecutionId,
    pub controller: ControllerId,
    pub instruction: InstructionId,
    pub store: StoreId,
    pub state: ExecutionState,
    pub attempt: u32,
    /// An agent that put it off said that rows may have been touched.
    pub begun: bool,
    pub next_attempt_at: i64,
    pub agent: Option<AgentId>,
    /// SHA-256 of the lease token, base64url.
    pub lease_token: Option<String>,
    pub lease_expires_at: Option<i64>,
    pub reason: Option<String>,
    pub report: Option<String>,
    pub report_leaf: Option<i64>,
    pub sealed_details: Option<Vec<u8>>,
    pub updated_at: i64,
    pub version: i64,
}

fn row(row: &Row) -> Result<ExecutionRow, StoreError> {
    Ok(ExecutionRow {
        id: id(row, "id")?,
        controller: id(row, "controller_id")?,
        instruction: id(row, "instruction_id")?,
        store: id(row, "store_id")?,
        state: id(row, "state")?,
        attempt: row.try_get("attempt").map_err(|_| StoreError::Corrupt("executions.attempt"))?,
        begun: row.get("begun"),
        next_attempt_at: row.get("next_attempt_at"),
        agent: match row.get::<Option<String>>("agent_id") {
            Some(text) => Some(text.parse().map_err(|_| StoreError::Corrupt("executions.agent_id"))?),
            None => None,
        },
        lease_token: row.get("lease_token"),
        lease_expires_at: row.get("lease_expires_at"),
        reason: row.get("reason"),
        report: row.get("report"),
        report_leaf: row.get("report_leaf"),
        sealed_details: row.get("sealed_details"),
        updated_at: row.get("updated_at"),
        version: row.get("version"),
    })
}

/// A new order.
#[derive(Debug, Clone)]
pub struct NewExecution {
    pub id: ExecutionId,
    pub controller: ControllerId,
    pub instruction: InstructionId,
    pub store: StoreId,
    /// Seconds: not to be leased earlier.
    pub not_before: i64,
}

/// New orders.
pub async fn insert<'a>(
    tx: &mut Tx<'_>,
    executions: impl IntoIterator<Item = &'a NewExecution>,
) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    let mut rows = Insert::into(
        "executions",
        &[
            "id",
            "controller_id",
            "instruction_id",
            "store_id",
            "state",
            "attempt",
            "next_attempt_at",
            "updated_at",
            "version",
            "written_by",
        ],
    );
    for execution in executions {
        rows.row([
            execution.id.to_string().into(),
            execution.controller.as_str().into(),
            execution.instruction.to_string().into(),
            execution.store.as_str().into(),
            ExecutionState::Pending.as_str().into(),
            0i64.into(),
            execution.not_before.into(),
            now.into(),
            1i64.into(),
            name.into(),
        ]);
    }
    rows.execute(tx.conn()).await?;
    Ok(())
}

/// The execution of that id, whosever it is: for agents, who are checked by store.
pub async fn find(conn: &mut Conn, execution: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
    let found = query("SELECT * FROM executions WHERE id = ?")
        .bind(execution.to_string())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(row).transpose()
}

/// The controller's own execution of that id, or `None`.
pub async fn find_of(
    conn: &mut Conn,
    controller: &ControllerId,
    execution: &ExecutionId,
) -> Result<Option<ExecutionRow>, StoreError> {
    let found = query("SELECT * FROM executions WHERE id = ? AND controller_id = ?")
        .bind(execution.to_string())
        .bind(controller.as_str())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(row).transpose()
}

pub async fn of_instruction(
    conn: &mut Conn,
    controller: &ControllerId,
    instruction: &InstructionId,
) -> Result<Vec<ExecutionRow>, StoreError> {
    let rows =
        query("SELECT * FROM executions WHERE controller_id = ? AND instruction_id = ? ORDER BY store_id")
            .bind(controller.as_str())
            .bind(instruction.to_string())
            .fetch_all(conn)
            .await?;
    rows.iter().map(row).collect()
}

/// Previews of the store that the controller ordered and an agent made, newest first.
pub async fn previews(
    conn: &mut Conn,
    controller: &ControllerId,
    store: &StoreId,
    limit: u32,
) -> Result<Vec<ExecutionRow>, StoreError> {
    let rows = query(
        "SELECT e.* FROM executions e JOIN instructions i ON i.controller_id = e.controller_id AND i.id = e.instruction_id \
         WHERE e.controller_id = ? AND e.store_id = ? AND i.act = ? AND e.state IN ('completed', 'partial') ORDER BY e.id DESC LIMIT ?",
    )
    .bind(controller.as_str())
    .bind(store.as_str())
    .bind(crate::domain::Act::Preview.as_str())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// A page of the controller's executions, newest first.
pub async fn page(
    conn: &mut Conn,
    controller: &ControllerId,
    instruction: Option<&InstructionId>,
    before: Option<&ExecutionId>,
    limit: u32,
) -> Result<Vec<ExecutionRow>, StoreError> {
    let rows = query(
        "SELECT * FROM executions WHERE controller_id = ? AND (? IS NULL OR instruction_id = ?) AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
    )
    .bind(controller.as_str())
    .bind(instruction.map(ToString::to_string))
    .bind(instruction.map(ToString::to_string))
    .bind(before.map(ToString::to_string))
    .bind(before.map(ToString::to_string))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// Orders of these stores that may be leased now: never begun, due again, or with a lease that ran out.
/// With `covered`, only those whose admission is a leaf below it.
pub async fn due(
    conn: &mut Conn,
    stores: &[StoreId],
    now: i64,
    covered: Option<u64>,
    limit: u32,
) -> Result<Vec<ExecutionRow>, StoreError> {
    let sql =
        " AND ((state = 'pending' AND next_attempt_at <= ?) OR (state = 'leased' AND lease_expires_at <= ?))";
    let mut due = query("SELECT * FROM executions WHERE store_id IN ")
        .bind_list(stores.iter().map(StoreId::as_str))
        .push(sql)
        .bind(now)
        .bind(now);
    if let Some(covered) = covered {
        let seen = " AND EXISTS (SELECT 1 FROM instructions i WHERE i.controller_id = executions.controller_id \
                    AND i.id = executions.instruction_id AND i.leaf < ?)";
        due = due.push(seen).bind(super::logs::to_i64(covered));
    }
    let rows = due.push(" ORDER BY next_attempt_at, id LIMIT ?").bind(limit).fetch_all(conn).await?;
    rows.iter().map(row).collect()
}

/// Stores with an order that waits to be leased.
pub async fn stores_waiting(conn: &mut Conn) -> Result<Vec<StoreId>, StoreError> {
    let rows =
        query("SELECT DISTINCT store_id FROM executions WHERE state = 'pending'").fetch_all(conn).await?;
    rows.iter().map(|row| id(row, "store_id")).collect()
}

/// Orders that no agent has begun, of instructions past their end.
pub async fn never_begun(conn: &mut Conn, now: i64, limit: u32) -> Result<Vec<ExecutionRow>, StoreError> {
    let rows = query(
        "SELECT e.* FROM executions e JOIN instructions i ON i.controller_id = e.controller_id AND i.id = e.instruction_id \
         WHERE e.state = 'pending' AND e.begun = 0 AND i.expires_at <= ? LIMIT ?",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// Writes a changed execution back; one that changed meanwhile is a lost race.
pub async fn update(tx: &mut Tx<'_>, execution: &ExecutionRow) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    let changed = query(
        "UPDATE executions SET state = ?, attempt = ?, begun = ?, next_attempt_at = ?, agent_id = ?, lease_token = ?, lease_expires_at = ?, \
         reason = ?, report = ?, report_leaf = ?, sealed_details = ?, updated_at = ?, version = version + 1, written_by = ? WHERE id = ? AND version = ?",
    )
    .bind(execution.state.as_str())
    .bind(execution.attempt)
    .bind(execution.begun)
    .bind(execution.next_attempt_at)
    .bind(execution.agent.as_ref().map(AgentId::as_str))
    .bind(&execution.lease_token)
    .bind(execution.lease_expires_at)
    .bind(&execution.reason)
    .bind(&execution.report)
    .bind(execution.report_leaf)
    .bind(&execution.sealed_details)
    .bind(now)
    .bind(name)
    .bind(execution.id.to_string())
    .bind(execution.version)
    .execute(tx.conn())
    .await?;
    if changed == 1 { Ok(()) } else { Err(Reason::LeaseLost.into()) }
}
