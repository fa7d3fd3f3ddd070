//! Calls that were made once: a repeat with the same request id and payload gets the
//! first answer; another payload under the same id is refused (DESIGN §11).

use crate::domain::Reason;

use super::logs::{to_i64, to_u64};
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, query};

/// Who called what, with which request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallId {
    /// The caller's resource name.
    pub principal: String,
    /// The RPC's name.
    pub method: &'static str,
    pub request_id: String,
}

/// What a call left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// The data key its payload digest is under, where it covers personal data.
    pub key_id: Option<String>,
    pub payload: String,
    pub resource: String,
    pub leaf: u64,
}

pub async fn find(conn: &mut Conn, call: &CallId) -> Result<Option<CallRow>, StoreError> {
    let row = query(
        "SELECT key_id, payload, resource, leaf FROM calls WHERE principal = ? AND method = ? AND request_id = ?",
    )
    .bind(&call.principal)
    .bind(call.method)
    .bind(&call.request_id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| CallRow {
        key_id: row.get("key_id"),
        payload: row.get("payload"),
        resource: row.get("resource"),
        leaf: to_u64(row.get("leaf")),
    }))
}

pub async fn insert(tx: &mut Tx<'_>, call: &CallId, row: &CallRow) -> Result<(), StoreError> {
    let inserted = query(
        "INSERT INTO calls (principal, method, request_id, key_id, payload, resource, leaf) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&call.principal)
    .bind(call.method)
    .bind(&call.request_id)
    .bind(&row.key_id)
    .bind(&row.payload)
    .bind(&row.resource)
    .bind(to_i64(row.leaf))
    .execute(tx.conn())
    .await?;
    if inserted == 1 { Ok(()) } else { Err(Reason::RequestIdReused.into()) }
}
