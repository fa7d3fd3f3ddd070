//! Leaves, tiles, heads and what hangs on them, in pages.

use crate::domain::{AppId, ExportId};
use crate::sql::{Conn, query};
use crate::store::logs::{to_i64, to_u64};
use crate::store::registry::{Fact, FactKind};
use crate::store::{Log, StoreError};

/// A leaf as its row has it.
pub struct KeptLeaf {
    /// As the row says.
    pub index: u64,
    pub subject: String,
    pub type_name: String,
    pub bytes: Vec<u8>,
}

/// The leaves whose index is `start` or more, at most `count`, in order.
pub async fn leaves_after(
    conn: &mut Conn,
    log: Log,
    start: u64,
    count: u32,
) -> Result<Vec<KeptLeaf>, StoreError> {
    let table = log.leaf_table();
    let rows =
        query(format!("SELECT idx, subject, type, leaf FROM {table} WHERE idx >= ? ORDER BY idx LIMIT ?"))
            .bind(to_i64(start))
            .bind(count)
            .fetch_all(conn)
            .await?;
    let leaf = |row: &crate::sql::Row| {
        Ok(KeptLeaf {
            index: to_u64(row.try_get("idx")?),
            subject: row.try_get("subject")?,
            type_name: row.try_get("type")?,
            bytes: row.try_get("leaf")?,
        })
    };
    rows.iter().map(leaf).collect()
}

/// Leaves that stand outside a log of that size.
pub async fn stray_leaves(conn: &mut Conn, log: Log, size: u64) -> Result<u64, StoreError> {
    let table = log.leaf_table();
    let row = query(format!("SELECT COUNT(*) AS n FROM {table} WHERE idx < 0 OR idx >= ?"))
        .bind(to_i64(size))
        .fetch_one(conn)
        .await?;
    Ok(to_u64(row.try_get("n")?))
}

/// The head's row: origin, size, root, checkpoint, milliseconds of the last leaf.
pub struct KeptHead {
    pub origin: String,
    pub size: u64,
    pub root: Vec<u8>,
    pub checkpoint: String,
    pub last_time: i64,
}

pub async fn head(conn: &mut Conn, log: Log) -> Result<Option<KeptHead>, StoreError> {
    let row = query("SELECT origin, size, root, checkpoint, last_time FROM log_heads WHERE log = ?")
        .bind(log.name())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(KeptHead {
        origin: row.try_get("origin")?,
        size: to_u64(row.try_get("size")?),
        root: row.try_get("root")?,
        checkpoint: row.try_get("checkpoint")?,
        last_time: row.try_get("last_time")?,
    }))
}

/// How many tiles are kept of a log.
pub async fn tile_count(conn: &mut Conn, log: Log) -> Result<u64, StoreError> {
    let row = query("SELECT COUNT(*) AS n FROM tiles WHERE log = ?").bind(log.name()).fetch_one(conn).await?;
    Ok(to_u64(row.try_get("n")?))
}

/// Sizes and checkpoints that wait for witnesses or were cosigned. Few: older ones are forgotten.
pub async fn cosigned(conn: &mut Conn, log: Log) -> Result<Vec<(u64, String)>, StoreError> {
    let rows = query("SELECT size, checkpoint FROM cosigned_heads WHERE log = ? ORDER BY size")
        .bind(log.name())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((to_u64(row.try_get("size")?), row.try_get("checkpoint")?))).collect()
}

/// Thumbprints and keys of the access keys, after `last`, at most `count`.
pub async fn access_keys(
    conn: &mut Conn,
    last: &str,
    count: u32,
) -> Result<Vec<(String, String)>, StoreError> {
    let rows =
        query("SELECT thumbprint, jwk FROM access_keys WHERE thumbprint > ? ORDER BY thumbprint LIMIT ?")
            .bind(last)
            .bind(count)
            .fetch_all(conn)
            .await?;
    rows.iter().map(|row| Ok((row.try_get("thumbprint")?, row.try_get("jwk")?))).collect()
}

/// What a witness said of a head, as the rows have it.
pub struct KeptCosignature {
    pub cosigner: String,
    pub line: String,
    /// The head as the log signed it; `None` where its row is gone.
    pub checkpoint: Option<String>,
}

/// Cosignatures of a log. Few: older ones are forgotten.
pub async fn cosignatures(conn: &mut Conn, log: Log) -> Result<Vec<KeptCosignature>, StoreError> {
    let rows = query(
        "SELECT c.cosigner, c.line, h.checkpoint FROM cosignatures c \
         LEFT JOIN cosigned_heads h ON h.log = c.log AND h.size = c.size \
         WHERE c.log = ? ORDER BY c.size, c.cosigner",
    )
    .bind(log.name())
    .fetch_all(conn)
    .await?;
    let cosignature = |row: &crate::sql::Row| {
        Ok(KeptCosignature {
            cosigner: row.try_get("cosigner")?,
            line: row.try_get("line")?,
            checkpoint: row.try_get("checkpoint")?,
        })
    };
    rows.iter().map(cosignature).collect()
}

/// The facts of one app, in the order their digest is made in.
pub async fn facts_of(conn: &mut Conn, app: &AppId) -> Result<Vec<Fact>, StoreError> {
    let rows = query("SELECT kind, value, shown, alias FROM app_facts WHERE app_id = ?")
        .bind(app.as_str())
        .fetch_all(conn)
        .await?;
    let mut facts = Vec::new();
    for row in &rows {
        let kind: String = row.try_get("kind")?;
        facts.push(Fact {
            kind: FactKind::parse(&kind).ok_or(StoreError::Corrupt("app_facts.kind"))?,
            shown: row.try_get("shown")?,
            folded: row.try_get("value")?,
            alias: row.try_get("alias")?,
        });
    }
    facts.sort_by(|a, b| (a.kind, &a.folded).cmp(&(b.kind, &b.folded)));
    Ok(facts)
}

/// Packages whose files must lie in the folder: id and size, after `last`, at most `count`. Those that
/// are past their end may be removed at any moment.
pub async fn export_files(
    conn: &mut Conn,
    now: i64,
    last: &str,
    count: u32,
) -> Result<Vec<(ExportId, u64)>, StoreError> {
    let rows = query(
        "SELECT id, size FROM exports WHERE removed_at IS NULL AND released = 1 AND expires_at > ? AND id > ? ORDER BY id LIMIT ?",
    )
    .bind(now)
    .bind(last)
    .bind(count)
    .fetch_all(conn)
    .await?;
    let unreadable = |_| StoreError::Corrupt("exports.id");
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id")?;
            Ok((id.parse().map_err(unreadable)?, to_u64(row.try_get("size")?)))
        })
        .collect()
}
