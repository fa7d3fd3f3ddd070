//! Admitted instructions and the ids that were used up.

use std::collections::{BTreeSet, HashSet};

use crate::domain::{Act, AppId, ContestGround, ControllerId, InstructionId, InstructionState, RequestId};

use super::logs::{to_i64, to_u64};
use super::registry::id;
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, Insert, Row, query};
use crate::token::KeyId;

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
    /// Of its admission; while it waits, the leaf that says so.
    pub leaf: u64,
    /// Distinct signers it waits for.
    pub missing: u32,
    /// Keys whose signers took their signatures back.
    pub withdrawn: BTreeSet<KeyId>,
    /// Until then the key set's policy holds it back.
    pub held_until: Option<i64>,
    /// Why the processor contests it.
    pub ground: Option<ContestGround>,
    pub key_id: Option<String>,
    /// As received, disclosures and all, with the approvals that completed it.
    pub sealed_envelope: Option<Vec<u8>>,
}

/// How a `jti` was used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JtiRow {
    pub digest: String,
    /// `admitted`, `waiting`, or the reason code it was refused with.
    pub outcome: String,
    pub leaf: u64,
}

fn row(row: &Row) -> Result<InstructionRow, StoreError> {
    Ok(InstructionRow {
        controller: id(row, "controller_id")?,
        id: id(row, "id")?,
        app: id(row, "app_id")?,
        act: id(row, "act")?,
        request: match row.get::<Option<String>>("request_id") {
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
        missing: row.try_get("missing").map_err(|_| StoreError::Corrupt("instructions.missing"))?,
        withdrawn: serde_json::from_str(&row.get::<String>("withdrawn"))
            .map_err(|_| StoreError::Corrupt("instructions.withdrawn"))?,
        held_until: row.get("held_until"),
        ground: match row.get::<Option<String>>("ground") {
            Some(word) => Some(word.parse().map_err(|_| StoreError::Corrupt("instructions.ground"))?),
            None => None,
        },
        key_id: row.get("key_id"),
        sealed_envelope: row.get("sealed_envelope"),
    })
}

/// As it stands in the column.
pub(super) fn kids(kids: &BTreeSet<KeyId>) -> String {
    // Strings in a list.
    serde_json::to_string(kids).expect("thumbprints are written as JSON")
}

/// Writes one that waits anew: with more or fewer signatures, or admitted. One that waits no longer is a lost race.
pub async fn update_waiting(tx: &mut Tx<'_>, row: &InstructionRow) -> Result<(), StoreError> {
    let name = tx.name();
    let changed = query(
        "UPDATE instructions SET signed_part = ?, authority_size = ?, state = ?, admitted_at = ?, leaf = ?, missing = ?, withdrawn = ?, \
         held_until = ?, key_id = ?, sealed_envelope = ?, written_by = ? WHERE controller_id = ? AND id = ? AND state = ?",
    )
    .bind(&row.signed_part)
    .bind(to_i64(row.authority_size))
    .bind(row.state.as_str())
    .bind(row.admitted_at)
    .bind(to_i64(row.leaf))
    .bind(row.missing)
    .bind(kids(&row.withdrawn))
    .bind(row.held_until)
    .bind(&row.key_id)
    .bind(&row.sealed_envelope)
    .bind(name)
    .bind(row.controller.as_str())
    .bind(row.id.to_string())
    .bind(InstructionState::Waiting.as_str())
    .execute(tx.conn())
    .await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Corrupt("instructions.state")) }
}

/// Writes down why the processor contests it.
pub async fn set_ground(
    tx: &mut Tx<'_>,
    controller: &ControllerId,
    instruction: &InstructionId,
    ground: ContestGround,
) -> Result<(), StoreError> {
    let name = tx.name();
    let changed =
        query("UPDATE instructions SET ground = ?, written_by = ? WHERE controller_id = ? AND id = ?")
            .bind(ground.as_str())
            .bind(name)
            .bind(controller.as_str())
            .bind(instruction.to_string())
            .execute(tx.conn())
            .await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Corrupt("instructions")) }
}

/// Those that wait past their end.
pub async fn waited_out(conn: &mut Conn, now: i64, limit: u32) -> Result<Vec<InstructionRow>, StoreError> {
    let rows = query("SELECT * FROM instructions WHERE state = ? AND expires_at <= ? LIMIT ?")
        .bind(InstructionState::Waiting.as_str())
        .bind(now)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(row).collect()
}

/// Admitted instructions, and such as wait.
pub async fn insert<'a>(
    tx: &mut Tx<'_>,
    instructions: impl IntoIterator<Item = &'a InstructionRow>,
) -> Result<(), StoreError> {
    let name = tx.name();
    let mut rows = Insert::into(
        "instructions",
        &[
            "controller_id",
            "id",
            "app_id",
            "act",
            "request_id",
            "digest",
            "signed_part",
            "key_set_version",
            "authority_size",
            "state",
            "admitted_at",
            "expires_at",
            "leaf",
            "missing",
            "withdrawn",
            "held_until",
            "ground",
            "key_id",
            "sealed_envelope",
            "written_by",
        ],
    );
    for instruction in instructions {
        rows.row([
            instruction.controller.as_str().into(),
            instruction.id.to_string().into(),
            instruction.app.as_str().into(),
            instruction.act.as_str().into(),
            instruction.request.map(|r| r.to_string()).into(),
            (&instruction.digest).into(),
            (&instruction.signed_part).into(),
            to_i64(instruction.key_set_version).into(),
            to_i64(instruction.authority_size).into(),
            instruction.state.as_str().into(),
            instruction.admitted_at.into(),
            instruction.expires_at.into(),
            to_i64(instruction.leaf).into(),
            i64::from(instruction.missing).into(),
            kids(&instruction.withdrawn).into(),
            instruction.held_until.into(),
            instruction.ground.map(|ground| ground.as_str()).into(),
            (&instruction.key_id).into(),
            (&instruction.sealed_envelope).into(),
            name.into(),
        ]);
    }
    rows.execute(tx.conn()).await?;
    Ok(())
}

/// The controller's own instruction of that id, or `None`.
pub async fn find(
    conn: &mut Conn,
    controller: &ControllerId,
    instruction: &InstructionId,
) -> Result<Option<InstructionRow>, StoreError> {
    let found = query("SELECT * FROM instructions WHERE controller_id = ? AND id = ?")
        .bind(controller.as_str())
        .bind(instruction.to_string())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(row).transpose()
}

/// For auditors, who see the whole trail: any controller's instruction of that id. An id may be
/// used by two controllers.
pub async fn find_any(
    conn: &mut Conn,
    instruction: &InstructionId,
) -> Result<Vec<InstructionRow>, StoreError> {
    let found = query("SELECT * FROM instructions WHERE id = ? ORDER BY controller_id")
        .bind(instruction.to_string())
        .fetch_all(conn)
        .await?;
    found.iter().map(row).collect()
}

/// A page of the controller's instructions, newest admission first. `before` is the last leaf index seen.
pub async fn page(
    conn: &mut Conn,
    controller: &ControllerId,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<InstructionRow>, StoreError> {
    let rows =
        query("SELECT * FROM instructions WHERE controller_id = ? AND leaf < ? ORDER BY leaf DESC LIMIT ?")
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
    let changed = query(
        "UPDATE instructions SET state = ?, ended_at = CASE WHEN ? = 1 THEN ? ELSE ended_at END, written_by = ? WHERE controller_id = ? AND id = ?",
    )
    .bind(state.as_str())
    .bind(ended)
    .bind(now)
    .bind(name)
    .bind(controller.as_str())
    .bind(instruction.to_string())
    .execute(tx.conn())
    .await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Corrupt("instructions")) }
}

/// How the controller's `jti` was used up before, if it was.
pub async fn jti(
    conn: &mut Conn,
    controller: &ControllerId,
    jti: &InstructionId,
) -> Result<Option<JtiRow>, StoreError> {
    let found = query("SELECT digest, outcome, leaf FROM jtis WHERE controller_id = ? AND jti = ?")
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

/// Which of these were used up before.
pub async fn used(
    conn: &mut Conn,
    ids: &[(&ControllerId, InstructionId)],
) -> Result<HashSet<(ControllerId, InstructionId)>, StoreError> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    // A join, not `IN`: SQLite would walk the whole table for a list of pairs.
    let rows = query("WITH asked (controller, id) AS (")
        .bind_pairs(ids.iter().map(|(controller, jti)| (controller.as_str(), jti.to_string())))
        .push(") SELECT controller_id, jti FROM asked JOIN jtis ON controller_id = controller AND jti = id")
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((id(row, "controller_id")?, id(row, "jti")?))).collect()
}

/// Uses `jti`s up, for ever.
pub async fn use_jtis<'a>(
    tx: &mut Tx<'_>,
    jtis: impl IntoIterator<Item = (&'a ControllerId, InstructionId, JtiRow)>,
) -> Result<(), StoreError> {
    let mut rows = Insert::into("jtis", &["controller_id", "jti", "digest", "outcome", "leaf"]);
    for (controller, jti, row) in jtis {
        rows.row([
            controller.as_str().into(),
            jti.to_string().into(),
            row.digest.into(),
            row.outcome.into(),
            to_i64(row.leaf).into(),
        ]);
    }
    rows.execute(tx.conn()).await?;
    Ok(())
}

/// Ended instructions whose data keys are still there and whose time is up.
pub async fn due_for_shredding(
    conn: &mut Conn,
    ended_before: i64,
    limit: u32,
) -> Result<Vec<(ControllerId, InstructionId, Option<String>)>, StoreError> {
    let rows = query(
        "SELECT controller_id, id, key_id FROM instructions WHERE shredded_at IS NULL AND ended_at < ? LIMIT ?",
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
    query(
        "UPDATE instructions SET key_id = NULL, sealed_envelope = NULL, shredded_at = ?, written_by = ? WHERE controller_id = ? AND id = ?",
    )
    .bind(now)
    .bind(name)
    .bind(controller.as_str())
    .bind(instruction.to_string())
    .execute(tx.conn())
    .await?;
    query("UPDATE executions SET sealed_details = NULL WHERE controller_id = ? AND instruction_id = ?")
        .bind(controller.as_str())
        .bind(instruction.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}
