//! Cases, their rights, and their delivery to the one controller.
//!
//! Every read takes the controller: a case of another is not there (I5).

use crate::domain::{
    AppId, Category, ControllerId, MessageId, Reason, RequestId, RequestStage, Right, RightStage,
};

use super::logs::{to_i64, to_u64};
use super::registry::{id, json, to_json};
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, Row, query};

/// A case as it is stored. `sealed_content` opens only with its data key.
#[derive(Debug, Clone)]
pub struct RequestRow {
    pub id: RequestId,
    pub controller: ControllerId,
    pub app: AppId,
    /// `mail` or `controller`.
    pub origin: String,
    pub stage: RequestStage,
    pub guardian: bool,
    pub language: String,
    pub flags: Vec<String>,
    pub categories: Vec<Category>,
    pub matched_by: Vec<String>,
    pub message: Option<MessageId>,
    pub received_at: i64,
    pub forwarded_at: Option<i64>,
    pub acknowledged_at: Option<i64>,
    pub closed_at: Option<i64>,
    pub updated_at: i64,
    pub version: i64,
    pub key_id: Option<String>,
    pub sealed_content: Option<Vec<u8>>,
    pub rights: Vec<RightRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightRow {
    pub right: Right,
    pub stage: RightStage,
    pub instruction: Option<String>,
    pub ground: Option<String>,
}

const COLUMNS: &str = "id, controller_id, app_id, origin, stage, guardian, language, flags, categories, matched_by, \
    message_id, received_at, forwarded_at, acknowledged_at, closed_at, updated_at, version, key_id, sealed_content";

fn row(row: &Row) -> Result<RequestRow, StoreError> {
    Ok(RequestRow {
        id: id(row, "id")?,
        controller: id(row, "controller_id")?,
        app: id(row, "app_id")?,
        origin: row.get("origin"),
        stage: id(row, "stage")?,
        guardian: row.get("guardian"),
        language: row.get("language"),
        flags: json(&row.get::<String>("flags"), "requests.flags")?,
        categories: json(&row.get::<String>("categories"), "requests.categories")?,
        matched_by: json(&row.get::<String>("matched_by"), "requests.matched_by")?,
        message: match row.get::<Option<String>>("message_id") {
            Some(text) => Some(text.parse().map_err(|_| StoreError::Corrupt("requests.message_id"))?),
            None => None,
        },
        received_at: row.get("received_at"),
        forwarded_at: row.get("forwarded_at"),
        acknowledged_at: row.get("acknowledged_at"),
        closed_at: row.get("closed_at"),
        updated_at: row.get("updated_at"),
        version: row.get("version"),
        key_id: row.get("key_id"),
        sealed_content: row.get("sealed_content"),
        rights: Vec::new(),
    })
}

async fn with_rights(conn: &mut Conn, mut request: RequestRow) -> Result<RequestRow, StoreError> {
    let rows = query(
        "SELECT right_word, stage, instruction_id, ground FROM request_rights WHERE request_id = ? ORDER BY right_word",
    )
    .bind(request.id.to_string())
    .fetch_all(conn)
    .await?;
    for row in &rows {
        request.rights.push(RightRow {
            right: id(row, "right_word")?,
            stage: id(row, "stage")?,
            instruction: row.get("instruction_id"),
            ground: row.get("ground"),
        });
    }
    Ok(request)
}

pub async fn insert(tx: &mut Tx<'_>, request: &RequestRow) -> Result<(), StoreError> {
    let name = tx.name();
    query(format!(
        "INSERT INTO requests ({COLUMNS}, written_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ))
    .bind(request.id.to_string())
    .bind(request.controller.as_str())
    .bind(request.app.as_str())
    .bind(&request.origin)
    .bind(request.stage.as_str())
    .bind(request.guardian)
    .bind(&request.language)
    .bind(to_json(&request.flags))
    .bind(to_json(&request.categories))
    .bind(to_json(&request.matched_by))
    .bind(request.message.map(|m| m.to_string()))
    .bind(request.received_at)
    .bind(request.forwarded_at)
    .bind(request.acknowledged_at)
    .bind(request.closed_at)
    .bind(request.updated_at)
    .bind(request.version)
    .bind(&request.key_id)
    .bind(&request.sealed_content)
    .bind(name)
    .execute(tx.conn())
    .await?;
    for right in &request.rights {
        query("INSERT INTO request_rights (request_id, right_word, stage) VALUES (?, ?, ?)")
            .bind(request.id.to_string())
            .bind(right.right.as_str())
            .bind(right.stage.as_str())
            .execute(tx.conn())
            .await?;
    }
    Ok(())
}

/// The controller's own case of that id, or `None`.
pub async fn find(
    conn: &mut Conn,
    controller: &ControllerId,
    request: &RequestId,
) -> Result<Option<RequestRow>, StoreError> {
    let found = query(format!("SELECT {COLUMNS} FROM requests WHERE id = ? AND controller_id = ?"))
        .bind(request.to_string())
        .bind(controller.as_str())
        .fetch_optional(conn)
        .await?;
    match found {
        Some(found) => Ok(Some(with_rights(conn, row(&found)?).await?)),
        None => Ok(None),
    }
}

/// A page of the controller's cases, newest first (ids are UUIDv7). `before` is the last id seen.
pub async fn page(
    conn: &mut Conn,
    controller: &ControllerId,
    stage: Option<RequestStage>,
    before: Option<&RequestId>,
    limit: u32,
) -> Result<Vec<RequestRow>, StoreError> {
    let rows = query(format!(
        "SELECT {COLUMNS} FROM requests WHERE controller_id = ? AND (? IS NULL OR stage = ?) AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?"
    ))
    .bind(controller.as_str())
    .bind(stage.map(RequestStage::as_str))
    .bind(stage.map(RequestStage::as_str))
    .bind(before.map(ToString::to_string))
    .bind(before.map(ToString::to_string))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let mut requests = Vec::with_capacity(rows.len());
    for found in &rows {
        requests.push(with_rights(conn, row(found)?).await?);
    }
    Ok(requests)
}

/// Writes stage and times back; a case that changed meanwhile is a lost race.
pub async fn update(tx: &mut Tx<'_>, request: &RequestRow) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    let changed = query(
        "UPDATE requests SET stage = ?, forwarded_at = ?, acknowledged_at = ?, closed_at = ?, updated_at = ?, version = version + 1, written_by = ? \
         WHERE id = ? AND controller_id = ? AND version = ?",
    )
    .bind(request.stage.as_str())
    .bind(request.forwarded_at)
    .bind(request.acknowledged_at)
    .bind(request.closed_at)
    .bind(now)
    .bind(name)
    .bind(request.id.to_string())
    .bind(request.controller.as_str())
    .bind(request.version)
    .execute(tx.conn())
    .await?;
    if changed == 1 { Ok(()) } else { Err(Reason::StageConflict.into()) }
}

pub async fn set_right(tx: &mut Tx<'_>, request: &RequestId, right: &RightRow) -> Result<(), StoreError> {
    let changed = query(
        "UPDATE request_rights SET stage = ?, instruction_id = ?, ground = ? WHERE request_id = ? AND right_word = ?",
    )
    .bind(right.stage.as_str())
    .bind(&right.instruction)
    .bind(&right.ground)
    .bind(request.to_string())
    .bind(right.right.as_str())
    .execute(tx.conn())
    .await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Corrupt("request_rights")) }
}

/// Puts a case into its controller's line; returns its number there.
pub async fn enqueue_delivery(
    tx: &mut Tx<'_>,
    controller: &ControllerId,
    request: &RequestId,
) -> Result<u64, StoreError> {
    let row = query(
        "INSERT INTO deliveries (controller_id, sequence, request_id) \
         SELECT ?, COALESCE(MAX(sequence), 0) + 1, ? FROM deliveries WHERE controller_id = ? RETURNING sequence",
    )
    .bind(controller.as_str())
    .bind(request.to_string())
    .bind(controller.as_str())
    .fetch_one(tx.conn())
    .await?;
    Ok(to_u64(row.get("sequence")))
}

/// What waits for the controller after `sequence`: not yet acknowledged, in order.
pub async fn waiting(
    conn: &mut Conn,
    controller: &ControllerId,
    after: u64,
    limit: u32,
) -> Result<Vec<(u64, RequestId)>, StoreError> {
    let rows = query(
        "SELECT sequence, request_id FROM deliveries WHERE controller_id = ? AND sequence > ? AND acknowledged_at IS NULL ORDER BY sequence LIMIT ?",
    )
    .bind(controller.as_str())
    .bind(to_i64(after))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((to_u64(row.get("sequence")), id(row, "request_id")?))).collect()
}

/// Ends a case's redelivery.
pub async fn acknowledge_delivery(
    tx: &mut Tx<'_>,
    controller: &ControllerId,
    request: &RequestId,
) -> Result<(), StoreError> {
    let now = tx.now_seconds();
    query(
        "UPDATE deliveries SET acknowledged_at = ? WHERE controller_id = ? AND request_id = ? AND acknowledged_at IS NULL",
    )
    .bind(now)
    .bind(controller.as_str())
    .bind(request.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ended cases whose data keys are still there and whose time is up.
pub async fn due_for_shredding(
    conn: &mut Conn,
    ended_before: i64,
    limit: u32,
) -> Result<Vec<(RequestId, Option<String>)>, StoreError> {
    let rows = query(
        "SELECT id, key_id FROM requests WHERE shredded_at IS NULL AND \
         (closed_at < ? OR (stage = 'misrouted' AND updated_at < ?)) LIMIT ?",
    )
    .bind(ended_before)
    .bind(ended_before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((id(row, "id")?, row.get("key_id")))).collect()
}

/// Forgets the sealed content of a case whose data key was destroyed.
pub async fn mark_shredded(tx: &mut Tx<'_>, request: &RequestId) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query("UPDATE requests SET key_id = NULL, sealed_content = NULL, shredded_at = ?, written_by = ? WHERE id = ?")
        .bind(now)
        .bind(name)
        .bind(request.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}
