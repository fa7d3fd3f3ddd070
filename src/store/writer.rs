//! The writer's connection: takes the head lock, commits, and finds out what became of a commit.
//!
//! On PostgreSQL several gateways write. Whoever holds the head rows' lock writes the next batch, on
//! top of what the others committed; so leaves never fork and what a command reads cannot change
//! before it commits. A connection that drops before `COMMIT` loses nothing but the attempt. One that
//! drops during it is looked into under the same lock: either our leaves stand there, or they never will.

use std::time::Duration;

use super::database::Database;
use super::logs;
use super::sequencer::{Logs, error_class};
use super::tx::{Log, LogEnd};
use super::{LogKeys, OpenError};
use crate::domain::Clock;
use crate::sql::{Conn, is_rolled_back, passes, query};

/// A replica whose clock is further from the database's does not start, and signs nothing. Milliseconds.
const CLOCK_TOLERANCE: i64 = 5_000;
/// Any number, the same in every gateway: who opens new logs.
const OPENING_LOCK: i64 = 0x006d_616e_6461_7465;
/// Attempts to find out what became of a commit.
const LOOKS: u32 = 8;

/// Why a batch was not committed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing was committed; the same batch may go through at once.
    Again(sqlx::Error),
    /// Nothing was committed, and trying again would not help.
    Batch,
    /// Whether it was committed is not known, and another attempt might do it twice.
    Unknown,
    /// As above, and the state on disk cannot be trusted to be what memory holds.
    Fatal,
}

pub(super) struct Writer {
    database: Database,
    conn: Option<Conn>,
}

impl Writer {
    pub(super) async fn connect(database: Database) -> Result<Writer, OpenError> {
        let conn = Some(database.connect().await?);
        Ok(Writer { database, conn })
    }

    pub(super) fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    /// The connection of the open transaction.
    pub(super) fn conn(&mut self) -> Result<&mut Conn, sqlx::Error> {
        self.conn.as_mut().ok_or(sqlx::Error::WorkerCrashed)
    }

    /// Refuses a machine whose clock is too far off the database's that several share.
    pub(super) async fn check_clock(&mut self, clock: &dyn Clock) -> Result<(), OpenError> {
        if !self.is_shared() {
            return Ok(());
        }
        let conn = self.conn().map_err(OpenError::Database)?;
        let asked = clock.now().as_millisecond();
        let time = database_time(conn).await.map_err(OpenError::Database)?;
        if is_near(time, asked, clock) { Ok(()) } else { Err(OpenError::ClockOff) }
    }

    /// Begins a transaction that holds the head lock, and catches up with what other gateways wrote.
    pub(super) async fn begin(
        &mut self,
        logs: &mut Logs,
        keys: &LogKeys,
        clock: &dyn Clock,
    ) -> Result<(), Fault> {
        if self.conn.is_none() {
            let conn = self.database.connect().await;
            self.conn = Some(conn.map_err(|_| Fault::Again(sqlx::Error::PoolTimedOut))?);
        }
        let shared = self.is_shared();
        let opening = logs.trail.tree.size() == 0;
        let conn = self.conn.as_mut().ok_or(Fault::Batch)?;
        let asked = clock.now().as_millisecond();
        let begun = lock_heads(conn, shared, opening).await;
        let heads = match begun {
            Ok(heads) => heads,
            Err(error) => {
                self.rollback().await;
                return Err(self.fault_of(error));
            }
        };
        if shared && !is_near(heads.database_time, asked, clock) {
            tracing::error!(reason = "clock_off", "this machine's clock is over 5 s off the database's");
            self.rollback().await;
            return Err(Fault::Batch);
        }
        for state in [&mut logs.trail, &mut logs.authority] {
            let size = heads.size_of(state.log);
            if size == state.tree.size() {
                continue;
            }
            let conn = self.conn.as_mut().ok_or(Fault::Batch)?;
            let verifiers = keys.of(state.log).verifier_keys();
            match logs::load(conn, state.log, &state.origin, &state.source, &verifiers).await {
                // Memory ahead of the database: it was put back to an earlier state under us.
                Ok(loaded) if loaded.tree.size() < state.tree.size() => {
                    tracing::error!(
                        reason = "log_rolled_back",
                        log = state.log.name(),
                        "a log is shorter than it was"
                    );
                    self.rollback().await;
                    return Err(Fault::Fatal);
                }
                Ok(loaded) => *state = loaded,
                Err(OpenError::Database(error)) => {
                    self.rollback().await;
                    return Err(self.fault_of(error));
                }
                Err(error) => {
                    tracing::error!(reason = "log_damaged", %error, "a log cannot be read");
                    self.rollback().await;
                    return Err(Fault::Fatal);
                }
            }
        }
        Ok(())
    }

    /// Writes something that is gone again with the commit, which must find room for it all the same. (A row
    /// that stays as it was SQLite does not write.)
    pub(super) async fn write_nothing(&mut self) -> Result<(), sqlx::Error> {
        let conn = self.conn()?;
        query(
            "INSERT INTO cosigned_heads (log, size, checkpoint, written_by) VALUES ('trail', -1, '', 'look')",
        )
        .execute(conn)
        .await?;
        query("DELETE FROM cosigned_heads WHERE log = 'trail' AND size = -1").execute(self.conn()?).await?;
        Ok(())
    }

    /// Ends the transaction and its session. The next batch has a new one: what could not be rolled back
    /// ends with this one, and so does what is wrong with it (a file that SQLite, when opening it failed
    /// once, opened to read alone).
    pub(super) async fn rollback(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if query("ROLLBACK").at_once().execute(&mut conn).await.is_err() {
            tracing::debug!("there was nothing to roll back");
        }
    }

    /// What a failed statement means for the batch. Ends the session.
    pub(super) fn fault_of(&mut self, error: sqlx::Error) -> Fault {
        tracing::error!(error = error_class(&error), "a batch failed");
        self.conn = None;
        if self.is_shared() && passes(&error) { Fault::Again(error) } else { Fault::Batch }
    }

    /// Commits. `Ok` only where the batch is known to be durable.
    pub(super) async fn commit(&mut self, trail: &LogEnd, authority: &LogEnd) -> Result<(), Fault> {
        let conn = self.conn.as_mut().ok_or(Fault::Batch)?;
        let Err(error) = query("COMMIT").execute(conn).await else { return Ok(()) };
        tracing::error!(error = error_class(&error), "commit failed");
        if !self.is_shared() {
            if !is_disk_full(&error) {
                tracing::error!(reason = "commit_unknown", "what stands in the database is not known");
                return Err(Fault::Fatal);
            }
            // The page that says "committed" is the last one, and it did not fit.
            self.rollback().await;
            return Err(Fault::Batch);
        }
        self.conn = None;
        if is_rolled_back(&error) {
            return Err(Fault::Again(error));
        }
        // A commit that is still under way holds the lock until it is decided.
        for look in 0..LOOKS {
            tokio::time::sleep(Duration::from_millis(100 << look.min(5))).await;
            match self.find(trail, authority).await {
                Ok(Some(true)) => return Ok(()),
                Ok(Some(false)) => return Err(Fault::Again(error)),
                Ok(None) => return Err(Fault::Unknown),
                Err(_) => self.conn = None,
            }
        }
        Err(Fault::Unknown)
    }

    /// Whether the batch stands in the database: its first leaf is salted, so no other is like it.
    /// `None` for a batch without leaves, which leaves no trace to look for.
    async fn find(&mut self, trail: &LogEnd, authority: &LogEnd) -> Result<Option<bool>, sqlx::Error> {
        let (log, end) =
            if trail.pending.is_empty() { (Log::Authority, authority) } else { (Log::Trail, trail) };
        let Some(first) = end.pending.first() else { return Ok(None) };
        let conn = self.database.connect().await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let conn = self.conn.insert(conn);
        lock_heads(conn, true, end.size == 0).await?;
        let stands = logs::leaf_at(conn, log, end.size).await?;
        query("ROLLBACK").at_once().execute(conn).await?;
        Ok(Some(stands.as_deref() == Some(first.bytes.as_slice())))
    }

    /// Leaves the database whole: a file without a log to replay.
    pub(super) async fn close(mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if !self.is_shared()
            && let Err(error) = query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await
        {
            tracing::warn!(error = error_class(&error), "the write-ahead log was not truncated");
        }
        let _ = conn.close().await;
    }
}

/// Sizes of both logs under the lock, and the database's own time (PostgreSQL only), in milliseconds.
struct Heads {
    trail: u64,
    authority: u64,
    database_time: i64,
}

impl Heads {
    fn size_of(&self, log: Log) -> u64 {
        match log {
            Log::Trail => self.trail,
            Log::Authority => self.authority,
        }
    }
}

/// Whether the database's time, read somewhere between `asked` and now, is near this machine's. Milliseconds.
fn is_near(database_time: i64, asked: i64, clock: &dyn Clock) -> bool {
    let answered = clock.now().as_millisecond();
    (asked - CLOCK_TOLERANCE..=answered + CLOCK_TOLERANCE).contains(&database_time)
}

/// PostgreSQL's own time, in milliseconds.
async fn database_time(conn: &mut Conn) -> Result<i64, sqlx::Error> {
    let now = query("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint AS now");
    Ok(now.fetch_one(conn).await?.get("now"))
}

async fn lock_heads(conn: &mut Conn, shared: bool, opening: bool) -> Result<Heads, sqlx::Error> {
    let rows = if shared {
        query("BEGIN").at_once().execute(conn).await?;
        if opening {
            // There are no rows to lock yet.
            query("SELECT pg_advisory_xact_lock(?)").bind(OPENING_LOCK).fetch_all(conn).await?;
        }
        query(
            "SELECT log, size, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint AS now \
             FROM log_heads ORDER BY log FOR UPDATE",
        )
        .fetch_all(conn)
        .await?
    } else {
        query("BEGIN IMMEDIATE").execute(conn).await?;
        query("SELECT log, size, 0 AS now FROM log_heads").fetch_all(conn).await?
    };
    let mut heads = Heads { trail: 0, authority: 0, database_time: 0 };
    if rows.is_empty() && shared {
        heads.database_time = database_time(conn).await?;
    }
    for row in rows {
        let size = logs::to_u64(row.get("size"));
        match row.get::<String>("log").as_str() {
            "trail" => heads.trail = size,
            _ => heads.authority = size,
        }
        heads.database_time = row.get("now");
    }
    Ok(heads)
}

/// SQLite's SQLITE_FULL: a write found no space. (A sync that finds none is another error.)
fn is_disk_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "13")
}
