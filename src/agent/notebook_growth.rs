//! Which notebook it is, and how many changes it has seen. Each change that must not be forgotten counts itself, in
//! its own transaction, so a copy from before it is known by a smaller number ([`super::marks`]).

use sqlx::{Row, SqliteConnection, SqlitePool};

use super::ledger::{damaged, to_count};
use super::notebook::{Notebook, failed};
use crate::domain::{Entropy, Refusal};

pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS growth (
    one INTEGER PRIMARY KEY CHECK (one = 1), notebook TEXT NOT NULL, changes INTEGER NOT NULL) STRICT";

/// How far a notebook has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// 16 random bytes in hex, drawn when it was made.
    pub notebook: String,
    /// One at least: that it was made.
    pub changes: u64,
}

/// Names a notebook that has no name yet.
pub(super) async fn name(pool: &SqlitePool, entropy: &dyn Entropy) -> Result<(), Refusal> {
    sqlx::query("INSERT INTO growth (one, notebook, changes) VALUES (1, ?, 1) ON CONFLICT DO NOTHING")
        .bind(hex::encode(entropy.array::<16>()))
        .execute(pool)
        .await
        .map(drop)
        .map_err(failed)
}

/// Counts a change, in its transaction.
pub(super) async fn count(connection: &mut SqliteConnection) -> Result<(), Refusal> {
    sqlx::query("UPDATE growth SET changes = changes + 1").execute(connection).await.map(drop).map_err(failed)
}

impl Notebook {
    pub async fn growth(&self) -> Result<Growth, Refusal> {
        let row = sqlx::query("SELECT notebook, changes FROM growth")
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        Ok(Growth {
            notebook: row.try_get(0).map_err(damaged)?,
            changes: to_count(row.try_get(1).map_err(damaged)?),
        })
    }
}
