//! What the ledger keeps of an act on all rows of a tenant: the rows that were
//! returned and are to go, sealed a page at a time, and the package they lie in.
//!
//! The rows of a whole tenant do not fit into memory, so they are noted while
//! the package grows; until [`Ledger::record_return`] none of it counts, and a
//! crash before it makes the next attempt begin anew. What is noted is a row's
//! key and, where it was returned, a digest of what was returned of it.

use aws_lc_rs::digest::{Context, SHA256};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::ledger::{Ledger, Run, append, damaged, failed, one, to_number};
use super::ledger_batches::{Batch, batch_place, forget_batches};
use super::name::Name;
use super::value::Key;
use crate::domain::{ExecutionId, Refusal};
use crate::token::report::ExportReport;

/// A row that is to go. Personal data.
#[derive(Serialize, Deserialize)]
pub struct Noted {
    pub key: Key,
    /// Of its values as they were returned (`returning::seen`); none where nothing is to be returned.
    pub seen: Option<String>,
}

/// A return that is recorded: from here on the act has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Retentions are judged at this second.
    pub as_of: i64,
    /// The package, as the report will name it.
    pub export: Option<ExportReport>,
    /// The gateway has the whole package, durably: rows may go.
    pub handed_over: bool,
}

impl Ledger {
    /// Forgets what an attempt noted that was cut off, and its package if it was recorded: nothing was touched yet.
    pub async fn begin_return_anew(&self, run: &Run) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        forget_batches(&mut transaction, run.execution).await?;
        forget_return(&mut transaction, run.execution).await?;
        sqlx::query("UPDATE executions SET outline = NULL WHERE execution = ? AND state = 'open'")
            .bind(run.execution.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Seals and notes rows of one collection as a batch. `via` is a column of the key.
    pub async fn note_rows(
        &self,
        run: &Run,
        (number, round): (i64, i64),
        collection: &Name,
        via: &Name,
        rows: &[Noted],
    ) -> Result<(), Refusal> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(rows).map_err(damaged)?);
        let sealed =
            self.sealer.seal(batch_place(run.execution, &number.to_string()), plain.as_slice()).await?;
        let done = sqlx::query(
            "INSERT INTO batches (execution, number, round, collection, via, rows, state, sealed) \
             VALUES (?, ?, ?, ?, ?, ?, 'recorded', ?)",
        )
        .bind(run.execution.to_string())
        .bind(number)
        .bind(round)
        .bind(collection.as_str())
        .bind(via.as_str())
        .bind(to_number(rows.len()))
        .bind(sealed)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        one(done.rows_affected())
    }

    /// Records, durably, that all rows are noted and the package is made.
    pub async fn record_return(
        &self,
        run: &Run,
        as_of: i64,
        export: Option<&ExportReport>,
    ) -> Result<(), Refusal> {
        let entry = self.noted_entry(run, 0, export).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        // What is reported of each collection is counted when all is done: no outline is kept.
        let done = sqlx::query(
            "UPDATE executions SET outline = '[]' WHERE execution = ? AND state = 'open' AND outline IS NULL",
        )
        .bind(run.execution.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        one(done.rows_affected())?;
        let export = export.map(serde_json::to_string).transpose().map_err(damaged)?;
        sqlx::query("INSERT INTO returns (execution, as_of, export, handed_over) VALUES (?, ?, ?, 0)")
            .bind(run.execution.to_string())
            .bind(as_of)
            .bind(export)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let at = append(&mut transaction, entry).await?;
        self.commit(transaction, at).await
    }

    /// Chains that more rows were noted, which came in later.
    pub async fn record_round(&self, run: &Run, round: i64) -> Result<(), Refusal> {
        let entry = self.noted_entry(run, round, None).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let at = append(&mut transaction, entry).await?;
        self.commit(transaction, at).await
    }

    /// As for an act on one person: how many batches and rows, and a digest over all seals.
    async fn noted_entry(
        &self,
        run: &Run,
        round: i64,
        export: Option<&ExportReport>,
    ) -> Result<serde_json::Value, Refusal> {
        let (mut batches, mut rows, mut all) = (0, 0, Context::new(&SHA256));
        let mut noted =
            sqlx::query("SELECT rows, sealed FROM batches WHERE execution = ? AND round = ? ORDER BY number")
                .bind(run.execution.to_string())
                .bind(round)
                .fetch(&self.pool);
        while let Some(batch) = noted.try_next().await.map_err(failed)? {
            batches += 1;
            rows += batch.try_get::<i64, _>(0).map_err(damaged)?;
            let sealed: Vec<u8> = batch.try_get(1).map_err(damaged)?;
            all.update(aws_lc_rs::digest::digest(&SHA256, &sealed).as_ref());
        }
        Ok(json!({
            "entry": "recorded", "execution": run.execution, "round": round, "batches": batches, "rows": rows,
            "sealed": hex::encode(all.finish()), "package": export.map(|export| export.digest),
        }))
    }

    /// What was recorded of the return; none before it is, and none once the act has ended.
    pub async fn returned(&self, execution: ExecutionId) -> Result<Option<Returned>, Refusal> {
        let found = sqlx::query("SELECT as_of, export, handed_over FROM returns WHERE execution = ?")
            .bind(execution.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        let Some(row) = found else { return Ok(None) };
        let export: Option<String> = row.try_get(1).map_err(damaged)?;
        Ok(Some(Returned {
            as_of: row.try_get(0).map_err(damaged)?,
            export: export.map(|text| serde_json::from_str(&text)).transpose().map_err(damaged)?,
            handed_over: row.try_get(2).map_err(damaged)?,
        }))
    }

    /// Notes, durably, that rows may go from now on.
    pub async fn handed_over(&self, run: &Run) -> Result<(), Refusal> {
        let done = sqlx::query("UPDATE returns SET handed_over = 1 WHERE execution = ?")
            .bind(run.execution.to_string())
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        one(done.rows_affected())
    }

    /// The noted rows of a batch.
    pub async fn noted(&self, run: &Run, batch: &Batch) -> Result<Vec<Noted>, Refusal> {
        self.unsealed(run, batch).await
    }
}

pub(super) async fn forget_return(
    connection: &mut SqliteConnection,
    execution: ExecutionId,
) -> Result<(), Refusal> {
    sqlx::query("DELETE FROM returns WHERE execution = ?")
        .bind(execution.to_string())
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}
