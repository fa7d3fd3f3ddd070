//! Cosignatures of witnesses over signed heads. No leaf: see `migrations/sqlite/0002_witnesses.sql`.

use super::executions;
use super::logs::{to_i64, to_u64};
use super::tx::{Command, Log, StoreError, Tx};
use super::wakes::Topic;
use crate::domain::StoreId;
use crate::sql::{Conn, query};

/// A head with the signature lines that witnesses gave for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignedHead {
    pub size: u64,
    /// As the log signed it.
    pub checkpoint: String,
    /// Without their newlines, each of another cosigner.
    pub lines: Vec<String>,
}

/// The heads of a log that are kept, by size.
pub async fn kept(conn: &mut Conn, log: Log) -> Result<Vec<CosignedHead>, StoreError> {
    let rows = query(
        "SELECT h.size, h.checkpoint, c.line FROM cosigned_heads h \
         JOIN cosignatures c ON c.log = h.log AND c.size = h.size WHERE h.log = ? ORDER BY h.size, c.cosigner",
    )
    .bind(log.name())
    .fetch_all(conn)
    .await?;
    let mut heads: Vec<CosignedHead> = Vec::new();
    for row in rows {
        let (size, line) = (to_u64(row.get("size")), row.get("line"));
        match heads.last_mut().filter(|head| head.size == size) {
            Some(head) => head.lines.push(line),
            None => heads.push(CosignedHead { size, checkpoint: row.get("checkpoint"), lines: vec![line] }),
        }
    }
    Ok(heads)
}

/// Keeps signature lines of a head; of one cosigner the newest stays.
pub struct KeepCosignatures {
    pub log: Log,
    pub size: u64,
    pub checkpoint: String,
    /// Name of the cosigner's key, and its line.
    pub lines: Vec<(String, String)>,
    /// The smaller head that stays: the newest that enough witnesses cosigned. Others are forgotten.
    pub beside: Option<u64>,
    /// Whether orders that waited for this head may be leased now.
    pub wake_orders: bool,
}

#[async_trait::async_trait]
impl Command for KeepCosignatures {
    const NAME: &'static str = "keep_cosignatures";
    /// Stores with orders that may be leased now.
    type Output = Vec<StoreId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoreId>, StoreError> {
        let name = tx.name();
        query(
            "INSERT INTO cosigned_heads (log, size, checkpoint, written_by) VALUES (?, ?, ?, ?) ON CONFLICT (log, size) DO NOTHING",
        )
        .bind(self.log.name())
        .bind(to_i64(self.size))
        .bind(&self.checkpoint)
        .bind(name)
        .execute(tx.conn())
        .await?;
        for (cosigner, line) in &self.lines {
            query(
                "INSERT INTO cosignatures (log, size, cosigner, line, written_by) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT (log, size, cosigner) DO UPDATE SET line = excluded.line, written_by = excluded.written_by",
            )
            .bind(self.log.name())
            .bind(to_i64(self.size))
            .bind(cosigner)
            .bind(line)
            .bind(name)
            .execute(tx.conn())
            .await?;
        }
        query("DELETE FROM cosigned_heads WHERE log = ? AND size < ? AND size <> ?")
            .bind(self.log.name())
            .bind(to_i64(self.size))
            // No head has this size.
            .bind(self.beside.map_or(-1, to_i64))
            .execute(tx.conn())
            .await?;
        if !self.wake_orders {
            return Ok(Vec::new());
        }
        let waiting = executions::stores_waiting(tx.conn()).await?;
        for store in &waiting {
            tx.wake(Topic::Orders(store.clone()));
        }
        Ok(waiting)
    }
}
