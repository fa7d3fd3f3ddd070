//! The batches of an execution in the ledger: which rows are to go, sealed,
//! and how far each batch has come.
//!
//! A batch goes `recorded` → `intended` → `done`; each step is durable when the
//! method returns, and a step from any other state is a lost race. One that is
//! done may be intended again, where rows of it had to wait for others.

use aws_lc_rs::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::ledger::{Ledger, Run, append, damaged, failed, one, to_count, to_number};
use super::ledger_chain::Anchor;
use super::name::Name;
use super::sealer::Place;
use super::value::{Key, Value};
use crate::domain::{ExecutionId, Refusal};

/// The state of one batch of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchState {
    /// Sealed and durable; nothing of it was touched.
    Recorded,
    /// Its deletion may have happened.
    Intended,
    Done,
}

/// A batch as the ledger holds it, its keys still sealed.
#[derive(Clone)]
pub struct Batch {
    pub number: i64,
    pub round: i64,
    pub collection: Name,
    pub via: Name,
    pub rows: u64,
    pub state: BatchState,
    /// Rows that went by our hand, once done.
    pub deleted: u64,
}

/// A batch to record.
pub struct NewBatch {
    pub collection: Name,
    pub via: Name,
    pub rows: Vec<(Key, Value)>,
}

impl Ledger {
    /// Seals and stores the batches of a later round.
    pub async fn record_more(&self, run: &Run, round: i64, batches: &[NewBatch]) -> Result<(), Refusal> {
        let first: i64 =
            sqlx::query_scalar("SELECT coalesce(max(number) + 1, 0) FROM batches WHERE execution = ?")
                .bind(run.execution.to_string())
                .fetch_one(&self.pool)
                .await
                .map_err(failed)?;
        let sealed = self.seal_batches(run, first, batches).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let at = insert_batches(&mut transaction, run, round, first, batches, sealed).await?;
        self.commit(transaction, at).await
    }

    pub(super) async fn seal_batches(
        &self,
        run: &Run,
        first: i64,
        batches: &[NewBatch],
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let mut out = Vec::with_capacity(batches.len());
        for (number, batch) in (first..).zip(batches) {
            let plain = serde_json::to_vec(&batch.rows).map_err(damaged)?;
            out.push(self.sealer.seal(batch_place(run.execution, &number.to_string()), &plain).await?);
        }
        Ok(out)
    }

    /// All batches, in the order they are to be worked through.
    pub async fn batches(&self, run: &Run) -> Result<Vec<Batch>, Refusal> {
        let rows = sqlx::query(
            "SELECT number, round, collection, via, rows, state, deleted FROM batches \
             WHERE execution = ? ORDER BY number",
        )
        .bind(run.execution.to_string())
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(Batch {
                    number: row.try_get(0).map_err(damaged)?,
                    round: row.try_get(1).map_err(damaged)?,
                    collection: Name::new(&row.try_get::<String, _>(2).map_err(damaged)?)?,
                    via: Name::new(&row.try_get::<String, _>(3).map_err(damaged)?)?,
                    rows: to_count(row.try_get(4).map_err(damaged)?),
                    state: match row.try_get::<String, _>(5).map_err(damaged)?.as_str() {
                        "recorded" => BatchState::Recorded,
                        "intended" => BatchState::Intended,
                        _ => BatchState::Done,
                    },
                    deleted: to_count(row.try_get::<Option<i64>, _>(6).map_err(damaged)?.unwrap_or(0)),
                })
            })
            .collect()
    }

    /// The rows of a batch.
    pub async fn rows(&self, run: &Run, batch: &Batch) -> Result<Vec<(Key, Value)>, Refusal> {
        self.unsealed(run, batch).await
    }

    pub(super) async fn unsealed<T: DeserializeOwned>(&self, run: &Run, batch: &Batch) -> Result<T, Refusal> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT sealed FROM batches WHERE execution = ? AND number = ?")
                .bind(run.execution.to_string())
                .bind(batch.number)
                .fetch_one(&self.pool)
                .await
                .map_err(failed)?;
        let place = batch.number.to_string();
        let sealed = sealed.unwrap_or_default();
        let plain = self.sealer.open(batch_place(run.execution, &place), &sealed).await?;
        serde_json::from_slice(&plain).map_err(damaged)
    }

    /// Marks, durably, that a batch's deletion may happen from now on.
    pub async fn intend(&self, run: &Run, batch: &Batch) -> Result<(), Refusal> {
        let done = sqlx::query(
            "UPDATE batches SET state = 'intended' \
             WHERE execution = ? AND number = ? AND state IN ('recorded', 'done')",
        )
        .bind(run.execution.to_string())
        .bind(batch.number)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        one(done.rows_affected())
    }

    /// Records that a batch is done and how many rows went by our hand.
    pub async fn done(&self, run: &Run, batch: &Batch, deleted: u64) -> Result<(), Refusal> {
        let done = sqlx::query(
            "UPDATE batches SET state = 'done', deleted = ? \
             WHERE execution = ? AND number = ? AND state = 'intended'",
        )
        .bind(i64::try_from(deleted).unwrap_or(i64::MAX))
        .bind(run.execution.to_string())
        .bind(batch.number)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        one(done.rows_affected())
    }
}

pub(super) fn batch_place(execution: ExecutionId, number: &str) -> Place<'_> {
    Place { execution, table: "batches", row: number, column: "sealed" }
}

/// Forgets the batches of an execution of which nothing was touched.
pub(super) async fn forget_batches(
    connection: &mut SqliteConnection,
    execution: ExecutionId,
) -> Result<(), Refusal> {
    sqlx::query("DELETE FROM batches WHERE execution = ?")
        .bind(execution.to_string())
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}

pub(super) async fn insert_batches(
    connection: &mut SqliteConnection,
    run: &Run,
    round: i64,
    first: i64,
    batches: &[NewBatch],
    sealed: Vec<Vec<u8>>,
) -> Result<Anchor, Refusal> {
    let mut rows = 0;
    let mut all = Vec::new();
    for ((number, batch), sealed) in (first..).zip(batches).zip(sealed) {
        rows += batch.rows.len();
        all.extend_from_slice(digest(&SHA256, &sealed).as_ref());
        sqlx::query(
            "INSERT INTO batches (execution, number, round, collection, via, rows, state, sealed) \
             VALUES (?, ?, ?, ?, ?, ?, 'recorded', ?)",
        )
        .bind(run.execution.to_string())
        .bind(number)
        .bind(round)
        .bind(batch.collection.as_str())
        .bind(batch.via.as_str())
        .bind(to_number(batch.rows.len()))
        .bind(sealed)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    let entry = json!({
        "entry": "recorded", "execution": run.execution, "round": round, "batches": batches.len(),
        "rows": rows, "sealed": hex::encode(digest(&SHA256, &all)),
    });
    append(connection, entry).await
}
