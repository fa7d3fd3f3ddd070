//! Encrypted export packages: what is known of them. The bytes lie in the export folder.

use crate::domain::{ControllerId, ExecutionId, ExportId};

use super::logs::{to_i64, to_u64};
use super::registry::id;
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, Row, query};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    pub id: ExportId,
    pub execution: ExecutionId,
    pub controller: ControllerId,
    /// Bytes.
    pub size: u64,
    /// SHA-256, base64url.
    pub digest: String,
    pub expires_at: i64,
    /// The signed report named this digest.
    pub released: bool,
    pub removed: bool,
}

fn row(row: &Row) -> Result<ExportRow, StoreError> {
    Ok(ExportRow {
        id: id(row, "id")?,
        execution: id(row, "execution_id")?,
        controller: id(row, "controller_id")?,
        size: to_u64(row.get("size")),
        digest: row.get("digest"),
        expires_at: row.get("expires_at"),
        released: row.get("released"),
        removed: row.get::<Option<i64>>("removed_at").is_some(),
    })
}

/// A package that is wholly uploaded. A second upload for the same execution replaces what was not yet released.
pub async fn put(tx: &mut Tx<'_>, export: &ExportRow) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query("DELETE FROM exports WHERE execution_id = ? AND released = 0")
        .bind(export.execution.to_string())
        .execute(tx.conn())
        .await?;
    query(
        "INSERT INTO exports (id, execution_id, controller_id, size, digest, uploaded_at, expires_at, released, written_by) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
    )
    .bind(export.id.to_string())
    .bind(export.execution.to_string())
    .bind(export.controller.as_str())
    .bind(to_i64(export.size))
    .bind(&export.digest)
    .bind(now)
    .bind(export.expires_at)
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub async fn of_execution(conn: &mut Conn, execution: &ExecutionId) -> Result<Option<ExportRow>, StoreError> {
    let found = query("SELECT * FROM exports WHERE execution_id = ?")
        .bind(execution.to_string())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(row).transpose()
}

/// The controller's own released export of that id, or `None`.
pub async fn find(
    conn: &mut Conn,
    controller: &ControllerId,
    export: &ExportId,
) -> Result<Option<ExportRow>, StoreError> {
    let found = query("SELECT * FROM exports WHERE id = ? AND controller_id = ? AND released = 1")
        .bind(export.to_string())
        .bind(controller.as_str())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(row).transpose()
}

pub async fn page(
    conn: &mut Conn,
    controller: &ControllerId,
    before: Option<&ExportId>,
    limit: u32,
) -> Result<Vec<ExportRow>, StoreError> {
    let rows = query(
        "SELECT * FROM exports WHERE controller_id = ? AND released = 1 AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
    )
    .bind(controller.as_str())
    .bind(before.map(ToString::to_string))
    .bind(before.map(ToString::to_string))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// Whether a row names this package's file.
pub async fn is_known(conn: &mut Conn, export: &ExportId) -> Result<bool, StoreError> {
    let found = query("SELECT 1 FROM exports WHERE id = ? AND removed_at IS NULL")
        .bind(export.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

/// The signed report names it: it may be fetched, until `expires_at`.
pub async fn release(tx: &mut Tx<'_>, export: &ExportId, expires_at: i64) -> Result<(), StoreError> {
    let name = tx.name();
    query("UPDATE exports SET released = 1, expires_at = ?, written_by = ? WHERE id = ?")
        .bind(expires_at)
        .bind(name)
        .bind(export.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Packages past their end that still lie in the folder. One that is not released is not past its end while its
/// execution goes on: when a contract ends, rows go that lie in nothing but their package.
pub async fn expired(conn: &mut Conn, now: i64, limit: u32) -> Result<Vec<ExportRow>, StoreError> {
    let sql = "SELECT * FROM exports WHERE removed_at IS NULL AND expires_at <= ? AND (released = 1 OR NOT EXISTS \
        (SELECT 1 FROM executions e WHERE e.id = exports.execution_id AND e.state IN ('pending', 'leased'))) LIMIT ?";
    let rows = query(sql).bind(now).bind(limit).fetch_all(conn).await?;
    rows.iter().map(row).collect()
}

/// One that was never released.
pub async fn forget(tx: &mut Tx<'_>, export: &ExportId) -> Result<(), StoreError> {
    query("DELETE FROM exports WHERE id = ? AND released = 0")
        .bind(export.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub async fn mark_removed(tx: &mut Tx<'_>, export: &ExportId) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query("UPDATE exports SET removed_at = ?, written_by = ? WHERE id = ?")
        .bind(now)
        .bind(name)
        .bind(export.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}
