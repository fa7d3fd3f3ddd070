//! Mail as it was taken in: state in the clear, content sealed.

use crate::domain::{AppId, ControllerId, MessageId, Reason, RequestId};

use super::registry::{id, json, to_json};
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, Row, query};

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    Triage,
    Routed,
    Dismissed,
}

impl MessageState {
    pub fn as_str(self) -> &'static str {
        match self {
            MessageState::Triage => "triage",
            MessageState::Routed => "routed",
            MessageState::Dismissed => "dismissed",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        match word {
            "triage" => Ok(MessageState::Triage),
            "routed" => Ok(MessageState::Routed),
            "dismissed" => Ok(MessageState::Dismissed),
            _ => Err(StoreError::Corrupt("messages.state")),
        }
    }
}

#[derive(Debug, Clone)]
pub struct MessageRow {
    pub id: MessageId,
    pub state: MessageState,
    pub triage_reason: String,
    pub request: Option<RequestId>,
    pub controller: Option<ControllerId>,
    pub app: Option<AppId>,
    pub received_at: i64,
    pub flags: Vec<String>,
    pub key_id: Option<String>,
    pub sealed_mail: Option<Vec<u8>>,
    pub sealed_candidate: Option<Vec<u8>>,
    pub sealed_salt: Option<Vec<u8>>,
}

fn optional<T: std::str::FromStr>(row: &Row, column: &'static str) -> Result<Option<T>, StoreError> {
    match row.get::<Option<String>>(column) {
        Some(text) => text.parse().map(Some).map_err(|_| StoreError::Corrupt(column)),
        None => Ok(None),
    }
}

fn row(row: &Row) -> Result<MessageRow, StoreError> {
    Ok(MessageRow {
        id: id(row, "id")?,
        state: MessageState::parse(&row.get::<String>("state"))?,
        triage_reason: row.get("triage_reason"),
        request: optional(row, "request_id")?,
        controller: optional(row, "controller_id")?,
        app: optional(row, "app_id")?,
        received_at: row.get("received_at"),
        flags: json(&row.get::<String>("flags"), "messages.flags")?,
        key_id: row.get("key_id"),
        sealed_mail: row.get("sealed_mail"),
        sealed_candidate: row.get("sealed_candidate"),
        sealed_salt: row.get("sealed_salt"),
    })
}

pub async fn insert(tx: &mut Tx<'_>, message: &MessageRow) -> Result<(), StoreError> {
    let name = tx.name();
    query(
        "INSERT INTO messages (id, state, triage_reason, request_id, controller_id, app_id, received_at, flags, key_id, \
         sealed_mail, sealed_candidate, sealed_salt, written_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(message.id.to_string())
    .bind(message.state.as_str())
    .bind(&message.triage_reason)
    .bind(message.request.map(|r| r.to_string()))
    .bind(message.controller.as_ref().map(ControllerId::as_str))
    .bind(message.app.as_ref().map(AppId::as_str))
    .bind(message.received_at)
    .bind(to_json(&message.flags))
    .bind(&message.key_id)
    .bind(&message.sealed_mail)
    .bind(&message.sealed_candidate)
    .bind(&message.sealed_salt)
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub async fn find(conn: &mut Conn, message: &MessageId) -> Result<Option<MessageRow>, StoreError> {
    let found =
        query("SELECT * FROM messages WHERE id = ?").bind(message.to_string()).fetch_optional(conn).await?;
    found.as_ref().map(row).transpose()
}

/// A page of messages, newest first.
pub async fn page(
    conn: &mut Conn,
    state: Option<MessageState>,
    before: Option<&MessageId>,
    limit: u32,
) -> Result<Vec<MessageRow>, StoreError> {
    let rows = query(
        "SELECT id, state, triage_reason, request_id, controller_id, app_id, received_at, flags, key_id, \
         NULL AS sealed_mail, NULL AS sealed_candidate, NULL AS sealed_salt FROM messages \
         WHERE (? IS NULL OR state = ?) AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
    )
    .bind(state.map(MessageState::as_str))
    .bind(state.map(MessageState::as_str))
    .bind(before.map(ToString::to_string))
    .bind(before.map(ToString::to_string))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// Moves a message from triage to where support brought it; one that is not in triage is a conflict.
pub async fn assign(
    tx: &mut Tx<'_>,
    message: &MessageId,
    request: &RequestId,
    controller: &ControllerId,
    app: &AppId,
) -> Result<(), StoreError> {
    let name = tx.name();
    let changed = query(
        "UPDATE messages SET state = 'routed', triage_reason = '', request_id = ?, controller_id = ?, app_id = ?, written_by = ? \
         WHERE id = ? AND state = 'triage'",
    )
    .bind(request.to_string())
    .bind(controller.as_str())
    .bind(app.as_str())
    .bind(name)
    .bind(message.to_string())
    .execute(tx.conn())
    .await?;
    if changed == 1 { Ok(()) } else { Err(Reason::StageConflict.into()) }
}

/// Sends a message back to triage, for the controller said it is not its own.
pub async fn back_to_triage(tx: &mut Tx<'_>, message: &MessageId) -> Result<(), StoreError> {
    let name = tx.name();
    query(
        "UPDATE messages SET state = 'triage', triage_reason = 'misrouted', request_id = NULL, controller_id = NULL, app_id = NULL, written_by = ? WHERE id = ?",
    )
    .bind(name)
    .bind(message.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends a message that asks for nothing.
pub async fn dismiss(tx: &mut Tx<'_>, message: &MessageId) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    let changed = query(
        "UPDATE messages SET state = 'dismissed', ended_at = ?, written_by = ? WHERE id = ? AND state = 'triage'",
    )
    .bind(now)
    .bind(name)
    .bind(message.to_string())
    .execute(tx.conn())
    .await?;
    if changed == 1 { Ok(()) } else { Err(Reason::StageConflict.into()) }
}

/// The message of a case has done its work when the case is closed.
pub async fn end(tx: &mut Tx<'_>, message: &MessageId) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query("UPDATE messages SET ended_at = ?, written_by = ? WHERE id = ?")
        .bind(now)
        .bind(name)
        .bind(message.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Ended messages whose data keys are still there and whose time is up.
pub async fn due_for_shredding(
    conn: &mut Conn,
    ended_before: i64,
    limit: u32,
) -> Result<Vec<(MessageId, Option<String>)>, StoreError> {
    let rows = query("SELECT id, key_id FROM messages WHERE shredded_at IS NULL AND ended_at < ? LIMIT ?")
        .bind(ended_before)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((id(row, "id")?, row.get("key_id")))).collect()
}

/// Forgets the sealed content of a message whose data key was destroyed.
pub async fn mark_shredded(tx: &mut Tx<'_>, message: &MessageId) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query(
        "UPDATE messages SET key_id = NULL, sealed_mail = NULL, sealed_candidate = NULL, sealed_salt = NULL, shredded_at = ?, written_by = ? WHERE id = ?",
    )
    .bind(now)
    .bind(name)
    .bind(message.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}
