//! Admitted instructions and the ids that were used up.

use sqlx::{Row, SqliteConnection};

use crate::domain::{Act, AppId, ControllerId, InstructionId, InstructionState, RequestId};

use super::logs::{to_i64, to_u64};
use super::registry::id;
use super::tx::{StoreError, Tx};

#[derive(Debug, Clone)]
pub struct InstructionRow {
    pub controller: ControllerId,
    pub id: InstructionId,
    pub app: AppId,
    pub act: Act,
    pub request: Option<RequestId>,
    pub digest: String,
    /// The instruction without its disclosures, for good.
    pub signed_part: Vec<u8>,
    pub key_set_version: u64,
    pub authority_size: u64,
    pub state: InstructionState,
    pub admitted_at: i64,
    pub expires_at: i64,
    pub leaf: u64,
    pub key_id: Option<String>,
    /// As received, disclosures and all.
    pub sealed_envelope: Option<Vec<u8>>,
}

/// How a `jti` was used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JtiRow {
    pub digest: String,
    /// `admitted`, or the reason code it was refused with.
    pub outcome: String,
    pub leaf: u64,
}

fn row(row: &sqlx::sqlite::SqliteRow) -> Result<InstructionRow, StoreError> {
    Ok(InstructionRow {
        controller: id(row, "controller_id")?,
        id: id(row, "id")?,
        app: id(row, "app_id")?,
        act: id(row, "act")?,
        request: match row.get::<Option<String>, _>("request_id") {
            Some(text) => Some(text.parse().map_err(|_| StoreError::Corrupt("instructions.request_id"))?),
            None => None,
        },
        digest: row.get("digest"),
        signed_part: row.get("signed_part"),
        key_set_version: to_u64(row.get("key_set_version")),
        authority_size: to_u64(row.get("authority_size")),
        state: id(row, "state")?,
        admitted_at: row.get("admitted_at"),
        expires_at: row.get("expires_at"),
        leaf: to_u64(row.get("leaf")),
        key_id: row.get("key_id"),
        sealed_envelope: row.get("sealed_envelope"),
    })
}

pub async fn insert(tx: &mut Tx<'_>, instruction: &InstructionRow) -> Result<(), StoreError> {
    let name = tx.name();
    sqlx::query(
        "INSERT INTO instructions (controller_id, id, app_id, act, request_id, digest, signed_part, key_set_version, authority_size, \
         state, admitted_at, expires_at, leaf, key_id, sealed_envelope, written_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(instruction.controller.as_str())
    .bind(instruction.id.to_string())
    .bind(instruction.app.as_str())
    .bind(instruction.act.as_str())
    .bind(instruction.request.map(|r| r.to_string()))
    .bind(&instruction.digest)
    .bind(&instruction.signed_part)
    .bind(to_i64(instruction.key_set_version))
    .bind(to_i64(instruction.authority_size))
    .bind(instruction.state.as_str())
    .bind(instruction.admitted_at)
    .bind(instruction.expires_at)
    .bind(to_i64(instruction.leaf))
    .bind(&instruction.key_id)
    .bind(&instruction.sealed_envelope)
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The controller's own instruction of that id, or `None`.
pub async fn find(
    conn: &mut SqliteConnection,
    controller: &ControllerId,
    instruction: &InstructionId,
) -> Result<Option<InstructionRow>, StoreError> {
    let found = sqlx::query("SELECT * FROM instructions WHERE controller_id = ? AND id = ?")
        .bind(controller.as_str())
        .bind(instruction.to_string())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(row).transpose()
}

/// For auditors, who see the whole trail: any controller's instruction of that id. An id may be
/// used by two controllers.
pub async fn find_any(
    conn: &mut SqliteConnection,
    instruction: &InstructionId,
) -> Result<Vec<InstructionRow>, StoreError> {
    let found = sqlx::query("SELECT * FROM instructions WHERE id = ? ORDER BY controller_id")
        .bind(instruction.to_string())
        .fetch_all(conn)
        .await?;
    found.iter().map(row).collect()
}

/// A page of the controller's instructions, newest admission first. `before` is the last leaf index seen.
pub async fn page(
    conn: &mut SqliteConnection,
    controller: &ControllerId,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<InstructionRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM instructions WHERE controller_id = ? AND leaf < ? ORDER BY leaf DESC LIMIT ?",
    )
    .bind(controller.as_str())
    .bind(before.map_or(i64::MAX, to_i64))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

pub async fn set_state(
    tx: &mut Tx<'_>,
    controller: &ControllerId,
    instruction: &InstructionId,
    state: InstructionState,
    ended: bool,
) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    let changed = sqlx::query(
        "UPDATE instructions SET state = ?, ended_at = CASE WHEN ? THEN ? ELSE ended_at END, written_by = ? WHERE controller_id = ? AND id = ?",
    )
    .bind(state.as_str())
    .bind(ended)
    .bind(now)
    .bind(name)
    .bind(controller.as_str())
    .bind(instruction.to_string())
    .execute(tx.conn())
    .await?
    .rows_affected();
    if changed == 1 { Ok(()) } else { Err(StoreError::Corrupt("instructions")) }
}

/// How the controller's `jti` was used up before, if it was.
pub async fn jti(
    conn: &mut SqliteConnection,
    controller: &ControllerId,
    jti: &InstructionId,
) -> Result<Option<JtiRow>, StoreError> {
    let found = sqlx::query("SELECT digest, outcome, leaf FROM jtis WHERE controller_id = ? AND jti = ?")
        .bind(controller.as_str())
        .bind(jti.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(found.map(|row| JtiRow {
        digest: row.get("digest"),
        outcome: row.get("outcome"),
        leaf: to_u64(row.get("leaf")),
    }))
}

/// Uses a `jti` up, for ever.
pub async fn use_jti(
    tx: &mut Tx<'_>,
    controller: &ControllerId,
    jti: &InstructionId,
    row: &JtiRow,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO jtis (controller_id, jti, digest, outcome, leaf) VALUES (?, ?, ?, ?, ?)")
        .bind(controller.as_str())
        .bind(jti.to_string())
        .bind(&row.digest)
        .bind(&row.outcome)
        .bind(to_i64(row.leaf))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Ended instructions whose data keys are still there and whose time is up.
pub async fn due_for_shredding(
    conn: &mut SqliteConnection,
    ended_before: i64,
    limit: u32,
) -> Result<Vec<(ControllerId, InstructionId, String)>, StoreError> {
    let rows = sqlx::query(
        "SELECT controller_id, id, key_id FROM instructions WHERE key_id IS NOT NULL AND ended_at < ? LIMIT ?",
    )
    .bind(ended_before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((id(row, "controller_id")?, id(row, "id")?, row.get("key_id")))).collect()
}

/// Forgets the disclosures of an instruction whose data key was destroyed. The signed part stays.
pub async fn mark_shredded(
    tx: &mut Tx<'_>,
    controller: &ControllerId,
    instruction: &InstructionId,
) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    sqlx::query(
        "UPDATE instructions SET key_id = NULL, sealed_envelope = NULL, shredded_at = ?, written_by = ? WHERE controller_id = ? AND id = ?",
    )
    .bind(now)
    .bind(name)
    .bind(controller.as_str())
    .bind(instruction.to_string())
    .execute(tx.conn())
    .await?;
    sqlx::query("UPDATE executions SET sealed_details = NULL WHERE controller_id = ? AND instruction_id = ?")
        .bind(controller.as_str())
        .bind(instruction.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}
