//! The keyring in a PostgreSQL database of its own, shared by several processes: every statement on it.
//!
//! A key is a row found by its id; destroying it deletes the row. No slots here: PostgreSQL overwrites
//! nothing in place anyway, so they would buy nothing, and ids of 74 random bits never meet however many
//! processes make them. What a deleted row leaves behind below SQL: decision 0012.
//!
//! *A lost connection.* Every call may be repeated, whether its commit was lost or not: removing and
//! rewrapping twice is removing and rewrapping once (only the count may then be too small), and keys
//! whose commit is not known are never handed out; they are orphans of this run.
//!
//! *Epochs.* Making keys and rewrapping hold the row of `ring` in share mode until they commit; retiring
//! an epoch holds it alone. So no process wraps under an epoch that another is retiring.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{Row as _, Transaction};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::data_key::KeyId;
use super::error::VaultError;
use super::key_cache::KeyCache;
use super::keyring_mark::Mark;
use super::keyring_presence::{CHANNEL, GRACE, LOCK_CLASS, Presence};
use super::keyring_table::{Added, Bounds, Make, Moved, NewRow, OverRuns, PAGE, Removed, Room, Table, Wrap};
use crate::sql::{PostgresUrl, passes, silence};

/// Connections at most, beside the one of [`Presence`].
const CONNECTIONS: u32 = 4;
/// How long a call is tried again after it lost its connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// A call that takes longer hangs on a line that is dead.
const LONGEST_CALL: Duration = silence::ANSWER;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Ids in one notification: PostgreSQL carries less than 8000 bytes.
const IDS_TOLD_AT_ONCE: usize = 200;
/// From a removal to the round of VACUUM that clears it away.
const TIDY_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct PostgresTable {
    pool: PgPool,
    presence: Presence,
    /// A round of VACUUM is to come.
    untidy: Arc<AtomicBool>,
}

impl PostgresTable {
    /// Begins a run of this process. The schema is there.
    pub(super) async fn open(url: &PostgresUrl, cache: Arc<KeyCache>) -> Result<Self, VaultError> {
        let options = url.options()?;
        let pool = silence::pool(CONNECTIONS).connect_with(options.clone()).await?;
        let presence = Presence::begin(options, cache).await?;
        Ok(Self { pool, presence, untidy: Arc::default() })
    }

    async fn try_add(&self, count: u32, make: Make<'_>) -> Result<Added, VaultError> {
        let run = self.presence.run().await?;
        let mut tx = self.pool.begin().await?;
        let bounds = bounds_held(&mut tx).await?;
        let keys = make(&Room { bounds, slots: vec![None; count as usize] })?;
        let rows: Vec<NewRow> = keys.iter().map(|key| key.row.clone()).collect();
        insert(&mut tx, run, &rows).await?;
        raise_newest(&mut tx, bounds, &rows).await?;
        tx.commit().await?;
        let keys = keys.into_iter().map(|key| (key.row.id, key.material)).collect();
        Ok(Added { run: i64::from(run), keys })
    }

    async fn try_read(&self, id: KeyId) -> Result<Option<(u32, Vec<u8>)>, VaultError> {
        let row = sqlx::query("SELECT epoch, wrapped FROM data_keys WHERE id = $1")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok((epoch_of(&row, "epoch")?, row.try_get("wrapped")?))).transpose()
    }

    async fn try_remove(&self, ids: &[KeyId]) -> Result<Removed, VaultError> {
        let mut tx = self.pool.begin().await?;
        // In one order everywhere, so that two processes never wait for each other in a ring.
        let done = sqlx::query(
            "DELETE FROM data_keys WHERE id IN
             (SELECT id FROM data_keys WHERE id = ANY($1) ORDER BY id FOR UPDATE)",
        )
        .bind(ids.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        // Also of keys that were gone: an earlier call may not know that it succeeded.
        for told in ids.chunks(IDS_TOLD_AT_ONCE) {
            let payload: Vec<String> = told.iter().map(|id| id.as_uuid().simple().to_string()).collect();
            sqlx::query("SELECT pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(payload.join(" "))
                .execute(&mut *tx)
                .await?;
        }
        let bounds = bounds(&sqlx::query(BOUNDS).fetch_one(&mut *tx).await?)?;
        tx.commit().await?;
        Ok(Removed { count: done.rows_affected(), bounds })
    }

    async fn try_over_runs(&self) -> Result<OverRuns, VaultError> {
        let silent: Vec<i32> = sqlx::query_scalar(
            "SELECT run FROM runs WHERE NOT ended AND seen_at < now() - make_interval(secs => $1)",
        )
        .bind(f64::from(GRACE))
        .fetch_all(&self.pool)
        .await?;
        for run in silent {
            self.end_if_dead(run).await?;
        }
        sqlx::query(
            "DELETE FROM runs WHERE ended AND NOT EXISTS (SELECT FROM data_keys WHERE data_keys.run = runs.run)",
        )
        .execute(&self.pool)
        .await?;
        Ok(sqlx::query_scalar("SELECT run FROM runs WHERE ended").fetch_all(&self.pool).await?)
    }

    /// Ends the run if its process is gone: the lock is free, and it was not seen for long.
    async fn end_if_dead(&self, run: i32) -> Result<(), VaultError> {
        let mut tx = self.pool.begin().await?;
        let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, $2)")
            .bind(LOCK_CLASS)
            .bind(run)
            .fetch_one(&mut *tx)
            .await?;
        if free {
            sqlx::query(
                "UPDATE runs SET ended = true
                 WHERE run = $1 AND seen_at < now() - make_interval(secs => $2)",
            )
            .bind(run)
            .bind(f64::from(GRACE))
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    async fn try_rewrap(
        &self,
        from: u32,
        after: Option<KeyId>,
        wrap: Wrap<'_>,
    ) -> Result<Option<Moved>, VaultError> {
        let mut tx = self.pool.begin().await?;
        let bounds = bounds_held(&mut tx).await?;
        let page = sqlx::query(
            "SELECT id, wrapped FROM data_keys WHERE epoch = $1 AND id > $2 ORDER BY id LIMIT $3 FOR UPDATE",
        )
        .bind(i64::from(from))
        .bind(after_bytes(after))
        .bind(i64::from(PAGE))
        .fetch_all(&mut *tx)
        .await?;
        let mut rows = Vec::with_capacity(page.len());
        for row in &page {
            rows.push(wrap(bounds, id_of(row)?, row.try_get("wrapped")?)?);
        }
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(None) };
        let (ids, epochs, wrapped) = columns(&rows);
        sqlx::query(
            "UPDATE data_keys SET epoch = new.epoch, wrapped = new.wrapped
             FROM UNNEST($1::bytea[], $2::bigint[], $3::bytea[]) AS new (id, epoch, wrapped)
             WHERE data_keys.id = new.id",
        )
        .bind(ids)
        .bind(epochs)
        .bind(wrapped)
        .execute(&mut *tx)
        .await?;
        raise_newest(&mut tx, bounds, &rows).await?;
        tx.commit().await?;
        Ok(Some(Moved { last, count: rows.len() as u64 }))
    }

    /// From when this returns, nobody wraps under epoch `n`.
    async fn try_retire(&self, n: u32) -> Result<(), VaultError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("SELECT one FROM ring FOR UPDATE").execute(&mut *tx).await?;
        let used: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM data_keys WHERE epoch = $1)")
            .bind(i64::from(n))
            .fetch_one(&mut *tx)
            .await?;
        if used {
            return Err(VaultError::EpochInUse(n));
        }
        sqlx::query("UPDATE ring SET oldest_epoch = GREATEST(oldest_epoch, $1)")
            .bind(i64::from(n) + 1)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

#[async_trait::async_trait]
impl Table for PostgresTable {
    async fn run(&self) -> Result<i64, VaultError> {
        Ok(i64::from(self.presence.run().await?))
    }

    fn hears(&self) -> bool {
        self.presence.hears()
    }

    fn reached(&self) -> Option<watch::Receiver<bool>> {
        Some(self.presence.reached())
    }

    #[cfg(test)]
    fn sessions(&self) -> u32 {
        self.presence.sessions()
    }

    async fn add(&self, count: u32, make: Make<'_>) -> Result<Added, VaultError> {
        again(|| self.try_add(count, make)).await
    }

    async fn read(&self, id: KeyId) -> Result<Option<(u32, Vec<u8>)>, VaultError> {
        again(|| self.try_read(id)).await
    }

    async fn remove(&self, ids: &[KeyId]) -> Result<Removed, VaultError> {
        again(|| self.try_remove(ids)).await
    }

    /// Deleted rows are cleared away soon, one round for all that is removed until then. If this role may
    /// not, autovacuum does it.
    async fn settle(&self) -> Result<(), VaultError> {
        if !self.untidy.swap(true, Ordering::AcqRel) {
            let (pool, untidy) = (self.pool.clone(), Arc::clone(&self.untidy));
            tokio::spawn(async move {
                sleep(TIDY_PAUSE).await;
                untidy.store(false, Ordering::Release);
                match timeout(LONGEST_CALL, sqlx::raw_sql(TIDY).execute(&pool)).await {
                    Ok(Ok(_) | Err(sqlx::Error::PoolClosed)) | Err(_) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "the keyring could not be vacuumed"),
                }
            });
        }
        Ok(())
    }

    async fn over_runs(&self) -> Result<OverRuns, VaultError> {
        again(|| self.try_over_runs()).await
    }

    async fn of_over_runs(&self, over: &OverRuns, after: Option<KeyId>) -> Result<Vec<KeyId>, VaultError> {
        let page = || async {
            let rows =
                sqlx::query("SELECT id FROM data_keys WHERE run = ANY($1) AND id > $2 ORDER BY id LIMIT $3")
                    .bind(over)
                    .bind(after_bytes(after))
                    .bind(i64::from(PAGE))
                    .fetch_all(&self.pool)
                    .await?;
            rows.iter().map(id_of).collect()
        };
        again(page).await
    }

    async fn epochs(&self) -> Result<Vec<u32>, VaultError> {
        let epochs = || async {
            let rows = sqlx::query("SELECT DISTINCT epoch FROM data_keys").fetch_all(&self.pool).await?;
            rows.iter().map(|row| epoch_of(row, "epoch")).collect()
        };
        again(epochs).await
    }

    async fn sample(&self, epoch: u32) -> Result<Vec<(KeyId, Vec<u8>)>, VaultError> {
        let sample = || async {
            let rows = sqlx::query("SELECT id, wrapped FROM data_keys WHERE epoch = $1 LIMIT 3")
                .bind(i64::from(epoch))
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(|row| Ok((id_of(row)?, row.try_get("wrapped")?))).collect()
        };
        again(sample).await
    }

    async fn rewrap(
        &self,
        from: u32,
        after: Option<KeyId>,
        wrap: Wrap<'_>,
    ) -> Result<Option<Moved>, VaultError> {
        again(|| self.try_rewrap(from, after, wrap)).await
    }

    /// A number that was claimed and never used is no harm.
    async fn claim_epoch(&self, current: u32) -> Result<u32, VaultError> {
        let claim = || async {
            let row = sqlx::query(
                "UPDATE ring SET newest_epoch = GREATEST(newest_epoch, $1) + 1 RETURNING newest_epoch",
            )
            .bind(i64::from(current))
            .fetch_one(&self.pool)
            .await?;
            epoch_of(&row, "newest_epoch")
        };
        again(claim).await
    }

    async fn retire_epoch(
        &self,
        n: u32,
        destroy: &(dyn Fn() -> Result<(), VaultError> + Send + Sync),
    ) -> Result<(), VaultError> {
        again(|| self.try_retire(n)).await?;
        destroy()
    }

    async fn mark(&self, origin: &str) -> Result<Option<Mark>, VaultError> {
        again(|| async { Mark::on_server(&mut *self.pool.acquire().await?, origin).await }).await
    }

    async fn raise_mark(&self, mark: &Mark) -> Result<(), VaultError> {
        again(|| async { mark.raise_on_server(&mut *self.pool.acquire().await?).await }).await
    }

    async fn close(&self) -> Result<(), VaultError> {
        self.presence.end().await;
        silence::close(&self.pool).await;
        Ok(())
    }
}

/// Only line pointers are left of deleted rows then. Two processes at once need not both do it.
const TIDY: &str = "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) data_keys";

const BOUNDS: &str = "SELECT oldest_epoch, newest_epoch FROM ring";

async fn bounds_held(tx: &mut Transaction<'_, sqlx::Postgres>) -> Result<Bounds, VaultError> {
    let row =
        sqlx::query("SELECT oldest_epoch, newest_epoch FROM ring FOR SHARE").fetch_one(&mut **tx).await?;
    bounds(&row)
}

fn bounds(row: &PgRow) -> Result<Bounds, VaultError> {
    Ok(Bounds { oldest: epoch_of(row, "oldest_epoch")?, newest: epoch_of(row, "newest_epoch")? })
}

/// Whoever asks for the newest epoch also learns of those that were never begun through `claim_epoch`.
async fn raise_newest(
    connection: &mut PgConnection,
    bounds: Bounds,
    rows: &[NewRow],
) -> Result<(), VaultError> {
    if let Some(used) = rows.iter().map(|row| row.epoch).max().filter(|used| *used > bounds.newest) {
        sqlx::query("UPDATE ring SET newest_epoch = GREATEST(newest_epoch, $1)")
            .bind(i64::from(used))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Nothing is added to a run that was ended.
async fn insert(connection: &mut PgConnection, run: i32, rows: &[NewRow]) -> Result<(), VaultError> {
    let (ids, epochs, wrapped) = columns(rows);
    let done = sqlx::query(
        "INSERT INTO data_keys (id, epoch, run, wrapped)
         SELECT new.id, new.epoch, runs.run, new.wrapped
         FROM UNNEST($1::bytea[], $2::bigint[], $3::bytea[]) AS new (id, epoch, wrapped)
         JOIN runs ON runs.run = $4 AND NOT runs.ended",
    )
    .bind(ids)
    .bind(epochs)
    .bind(wrapped)
    .bind(run)
    .execute(connection)
    .await?;
    if done.rows_affected() == rows.len() as u64 { Ok(()) } else { Err(VaultError::KeyringAway) }
}

type Columns = (Vec<Vec<u8>>, Vec<i64>, Vec<Vec<u8>>);

fn columns(rows: &[NewRow]) -> Columns {
    (
        rows.iter().map(|row| row.id.as_bytes().to_vec()).collect(),
        rows.iter().map(|row| i64::from(row.epoch)).collect(),
        rows.iter().map(|row| row.wrapped.clone()).collect(),
    )
}

fn after_bytes(after: Option<KeyId>) -> Vec<u8> {
    after.map_or_else(Vec::new, |id| id.as_bytes().to_vec())
}

fn epoch_of(row: &PgRow, column: &str) -> Result<u32, VaultError> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| VaultError::KeyringDamaged)
}

fn id_of(row: &PgRow) -> Result<KeyId, VaultError> {
    let bytes: &[u8] = row.try_get("id")?;
    uuid::Uuid::from_slice(bytes).map(KeyId::from_uuid).map_err(|_| VaultError::KeyringDamaged)
}

/// Tries again what a lost connection or a deadlock ended, for a while: a server that restarts or fails
/// over comes back.
async fn again<T, F, Done>(call: F) -> Result<T, VaultError>
where
    F: Fn() -> Done,
    Done: Future<Output = Result<T, VaultError>>,
{
    let end = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        let outcome = match timeout(LONGEST_CALL, call()).await {
            Ok(outcome) => outcome,
            Err(_) => return Err(VaultError::KeyringAway),
        };
        match outcome {
            Err(VaultError::Keyring(error)) if passes(&error) && Instant::now() < end => sleep(pause).await,
            done => return done,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
