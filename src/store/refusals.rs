//! Refused instructions: the reason and the sealed salt of the digest that the leaf holds.

use crate::domain::Reason;

use super::logs::{to_i64, to_u64};
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, query};

pub struct RefusalRow {
    pub leaf: u64,
    /// The caller's resource name.
    pub principal: String,
    pub reason: Reason,
    pub key_id: Option<String>,
    pub sealed_salt: Option<Vec<u8>>,
}

pub async fn insert(tx: &mut Tx<'_>, refusal: &RefusalRow) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query(
        "INSERT INTO refusals (leaf, principal, reason, refused_at, key_id, sealed_salt, written_by) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(to_i64(refusal.leaf))
    .bind(&refusal.principal)
    .bind(refusal.reason.code())
    .bind(now)
    .bind(&refusal.key_id)
    .bind(&refusal.sealed_salt)
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Refusals whose salts are still there and whose time is up.
pub async fn due_for_shredding(
    conn: &mut Conn,
    refused_before: i64,
    limit: u32,
) -> Result<Vec<(u64, Option<String>)>, StoreError> {
    let rows =
        query("SELECT leaf, key_id FROM refusals WHERE shredded_at IS NULL AND refused_at < ? LIMIT ?")
            .bind(refused_before)
            .bind(limit)
            .fetch_all(conn)
            .await?;
    Ok(rows.iter().map(|row| (to_u64(row.get("leaf")), row.get("key_id"))).collect())
}

pub async fn mark_shredded(tx: &mut Tx<'_>, leaf: u64) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query("UPDATE refusals SET key_id = NULL, sealed_salt = NULL, shredded_at = ?, written_by = ? WHERE leaf = ?")
        .bind(now)
        .bind(name)
        .bind(to_i64(leaf))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Every data key that a row of the database still names: what the keyring's sweep must keep.
pub async fn referenced_keys(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let rows = query(
        "SELECT key_id FROM messages WHERE key_id IS NOT NULL \
         UNION SELECT key_id FROM requests WHERE key_id IS NOT NULL \
         UNION SELECT key_id FROM instructions WHERE key_id IS NOT NULL \
         UNION SELECT key_id FROM refusals WHERE key_id IS NOT NULL",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.iter().map(|row| row.get("key_id")).collect())
}
