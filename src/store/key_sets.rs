//! Controllers' key sets, in the order of the authority log.

use std::collections::{HashMap, HashSet};

use crate::domain::{ControllerId, Reason};

use super::logs::{to_i64, to_u64};
use super::registry::id;
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, query};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetRow {
    pub controller: ControllerId,
    pub version: u64,
    pub digest: String,
    /// JWS General JSON as received.
    pub jws: String,
    pub authority_index: u64,
}

/// Puts a key set in force that was checked against the one of the digest `after`; none for the first. Refused
/// where another came in between.
pub async fn insert_key_set(
    tx: &mut Tx<'_>,
    row: &KeySetRow,
    after: Option<&str>,
    leaf: u64,
) -> Result<(), StoreError> {
    let name = tx.name();
    let heads = key_set_heads(tx.conn(), &[&row.controller].into()).await?;
    if heads.get(&row.controller).map(|(_, digest)| digest.as_str()) != after {
        return Err(Reason::KeySetVersion.into());
    }
    let moved = query("UPDATE controllers SET key_set_version = ?, written_by = ? WHERE id = ?")
        .bind(to_i64(row.version))
        .bind(name)
        .bind(row.controller.as_str())
        .execute(tx.conn())
        .await?;
    if moved != 1 {
        return Err(Reason::KeySetVersion.into());
    }
    query(
        "INSERT INTO key_sets (controller_id, version, digest, jws, authority_index, leaf, written_by) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(row.controller.as_str())
    .bind(to_i64(row.version))
    .bind(&row.digest)
    .bind(&row.jws)
    .bind(to_i64(row.authority_index))
    .bind(to_i64(leaf))
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A controller's key sets, oldest first.
pub async fn key_sets(conn: &mut Conn, controller: &ControllerId) -> Result<Vec<KeySetRow>, StoreError> {
    let rows = query(
        "SELECT controller_id, version, digest, jws, authority_index FROM key_sets WHERE controller_id = ? ORDER BY authority_index",
    )
    .bind(controller.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(KeySetRow {
                controller: id(row, "controller_id")?,
                version: to_u64(row.get("version")),
                digest: row.get("digest"),
                jws: row.get("jws"),
                authority_index: to_u64(row.get("authority_index")),
            })
        })
        .collect()
}

/// Version and digest of each controller's newest key set, for the check under the writer.
pub async fn key_set_heads(
    conn: &mut Conn,
    controllers: &HashSet<&ControllerId>,
) -> Result<HashMap<ControllerId, (u64, String)>, StoreError> {
    let rows = query(
        "SELECT k.controller_id, k.version, k.digest FROM key_sets k WHERE k.authority_index = \
         (SELECT MAX(n.authority_index) FROM key_sets n WHERE n.controller_id = k.controller_id) \
         AND k.controller_id IN ",
    )
    .bind_list(controllers.iter().map(|c| c.as_str()))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((id(row, "controller_id")?, (to_u64(row.get("version")), row.get("digest")))))
        .collect()
}

/// Where in the authority log the controller's newest key set stands.
pub async fn key_set_index(conn: &mut Conn, controller: &ControllerId) -> Result<Option<u64>, StoreError> {
    let row = query("SELECT MAX(authority_index) AS newest FROM key_sets WHERE controller_id = ?")
        .bind(controller.as_str())
        .fetch_one(conn)
        .await?;
    Ok(row.get::<Option<i64>>("newest").map(to_u64))
}

/// Where in the authority log the set stands that was the controller's newest when this leaf of the trail was written.
pub async fn key_set_index_at(
    conn: &mut Conn,
    controller: &ControllerId,
    leaf: u64,
) -> Result<Option<u64>, StoreError> {
    let row =
        query("SELECT MAX(authority_index) AS newest FROM key_sets WHERE controller_id = ? AND leaf < ?")
            .bind(controller.as_str())
            .bind(to_i64(leaf))
            .fetch_one(conn)
            .await?;
    Ok(row.get::<Option<i64>>("newest").map(to_u64))
}

/// Index of the trail leaf that registered a key set.
pub async fn key_set_leaf(
    conn: &mut Conn,
    controller: &ControllerId,
    digest: &str,
) -> Result<u64, StoreError> {
    let row = query("SELECT leaf FROM key_sets WHERE controller_id = ? AND digest = ?")
        .bind(controller.as_str())
        .bind(digest)
        .fetch_one(conn)
        .await?;
    Ok(to_u64(row.get("leaf")))
}
