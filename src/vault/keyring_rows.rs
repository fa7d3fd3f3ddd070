//! The keyring in a SQLite file, for one process alone: its table and every statement on it.
//!
//! Why rows are slots that are overwritten and never deleted: `secure_delete` zeroes what a DELETE
//! frees, but when SQLite rebalances a page it leaves copies of the moved cells in the page's gap, and
//! no later DELETE finds those. (Measured with SQLite 3.40: of 2,000 keys deleted in a table with an
//! index on the id, 8 wrapped keys and 9 ids were still in the file.) Here no row ever moves: rows are
//! appended in the order of their slot, every column has a fixed width, destroying a key overwrites the
//! row in place with zeros, and the slot is used again. The one index holds slots only.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, QueryBuilder, Row as _, Sqlite};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::data_key::KeyId;
use super::epoch::WRAPPED_LEN;
use super::error::VaultError;
use super::keyring_mark::Mark;
use super::keyring_table::{Added, Bounds, Make, Moved, NewRow, OverRuns, PAGE, Removed, Room, Table, Wrap};

const SCHEMA_VERSION: i64 = 2;

/// `epoch` and `run` are big-endian numbers in blobs: SQLite stores an INTEGER in as many bytes as its
/// value needs, and a row that grows may move its neighbours.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS data_keys (
    slot    INTEGER PRIMARY KEY,
    id      BLOB NOT NULL CHECK (length(id) = 16),
    epoch   BLOB NOT NULL CHECK (length(epoch) = 4),
    run     BLOB NOT NULL CHECK (length(run) = 8),
    wrapped BLOB NOT NULL CHECK (length(wrapped) = 60),
    state   TEXT NOT NULL CHECK (state IN ('held', 'free'))
) STRICT;
CREATE INDEX IF NOT EXISTS free_slots ON data_keys (slot) WHERE state = 'free';
CREATE TABLE IF NOT EXISTS runs (one INTEGER PRIMARY KEY CHECK (one = 1), run INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO runs (one, run) VALUES (1, 0);
PRAGMA user_version = 1;
";

/// From version 1 on: apart from the keys, in pages of its own.
const MARKS: &str = "
CREATE TABLE marks (
    origin     TEXT PRIMARY KEY,
    size       INTEGER NOT NULL CHECK (size > 0),
    checkpoint TEXT NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 2;
";

/// The open file.
pub(super) struct FileTable {
    path: PathBuf,
    /// The one connection. Whoever holds it decides which keys exist.
    pub(super) connection: Mutex<Option<SqliteConnection>>,
    run: u64,
}

impl FileTable {
    /// Opens or makes the file, for this process alone ([`VaultError::KeyringInUse`]).
    pub(super) async fn open(path: &Path) -> Result<Self, VaultError> {
        let (connection, run) = open(path).await?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(Some(connection)), run })
    }

    async fn held(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, VaultError> {
        let guard = self.connection.lock().await;
        MutexGuard::try_map(guard, Option::as_mut).map_err(|_| VaultError::KeyringClosed)
    }
}

#[async_trait::async_trait]
impl Table for FileTable {
    async fn run(&self) -> Result<i64, VaultError> {
        Ok(self.run.cast_signed())
    }

    fn hears(&self) -> bool {
        // Nobody else destroys keys.
        true
    }

    async fn add(&self, count: u32, make: Make<'_>) -> Result<Added, VaultError> {
        let mut connection = self.held().await?;
        let mut tx = connection.begin().await?;
        let slots = free_slots(&mut tx, count).await?.into_iter().map(Some).collect();
        let keys = make(&Room { bounds: Bounds::default(), slots })?;
        fill(&mut tx, self.run, keys.iter().map(|key| &key.row)).await?;
        tx.commit().await?;
        let keys = keys.into_iter().map(|key| (key.row.id, key.material)).collect();
        Ok(Added { run: self.run.cast_signed(), keys })
    }

    async fn read(&self, id: KeyId) -> Result<Option<(u32, Vec<u8>)>, VaultError> {
        read(&mut *self.held().await?, id).await
    }

    async fn remove(&self, ids: &[KeyId]) -> Result<Removed, VaultError> {
        let mut connection = self.held().await?;
        let mut count = 0;
        let mut tx = connection.begin().await?;
        for id in ids {
            count += u64::from(blank(&mut tx, *id).await?);
        }
        tx.commit().await?;
        Ok(Removed { count, bounds: Bounds::default() })
    }

    async fn settle(&self) -> Result<(), VaultError> {
        flush(&mut *self.held().await?, &self.path).await
    }

    async fn over_runs(&self) -> Result<OverRuns, VaultError> {
        Ok(OverRuns::new())
    }

    async fn of_over_runs(&self, _: &OverRuns, after: Option<KeyId>) -> Result<Vec<KeyId>, VaultError> {
        of_earlier_runs(&mut *self.held().await?, self.run, after.map_or(0, KeyId::slot)).await
    }

    async fn epochs(&self) -> Result<Vec<u32>, VaultError> {
        epochs(&mut *self.held().await?).await
    }

    async fn sample(&self, epoch: u32) -> Result<Vec<(KeyId, Vec<u8>)>, VaultError> {
        of_epoch(&mut *self.held().await?, epoch, 0, 3).await
    }

    async fn rewrap(
        &self,
        from: u32,
        after: Option<KeyId>,
        wrap: Wrap<'_>,
    ) -> Result<Option<Moved>, VaultError> {
        let mut connection = self.held().await?;
        let page = of_epoch(&mut connection, from, after.map_or(0, KeyId::slot), PAGE).await?;
        let Some(last) = page.last().map(|(id, _)| *id) else { return Ok(None) };
        let mut tx = connection.begin().await?;
        for (id, wrapped) in &page {
            rewrap(&mut tx, &wrap(Bounds::default(), *id, wrapped)?).await?;
        }
        tx.commit().await?;
        Ok(Some(Moved { last, count: page.len() as u64 }))
    }

    async fn claim_epoch(&self, current: u32) -> Result<u32, VaultError> {
        current.checked_add(1).ok_or(VaultError::EpochInUse(current))
    }

    async fn retire_epoch(
        &self,
        n: u32,
        destroy: &(dyn Fn() -> Result<(), VaultError> + Send + Sync),
    ) -> Result<(), VaultError> {
        let mut connection = self.held().await?;
        if epochs(&mut connection).await?.contains(&n) {
            return Err(VaultError::EpochInUse(n));
        }
        // Still under the lock: no key is being made.
        destroy()
    }

    async fn mark(&self, origin: &str) -> Result<Option<Mark>, VaultError> {
        Mark::in_file(&mut *self.held().await?, origin).await
    }

    async fn raise_mark(&self, mark: &Mark) -> Result<(), VaultError> {
        mark.raise_in_file(&mut *self.held().await?).await
    }

    async fn close(&self) -> Result<(), VaultError> {
        match self.connection.lock().await.take() {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }
}

/// Opens the file for this process alone and begins a new run.
///
/// The exclusive lock is SQLite's own (`locking_mode=EXCLUSIVE`), held until the connection closes or
/// the process dies; it also keeps the WAL index in memory, so there is no `-shm` file.
async fn open(path: &Path) -> Result<(SqliteConnection, u64), VaultError> {
    // Made here so that it, and the WAL that inherits its mode, are for the owner only. An existing file
    // must not be opened and closed: that would drop the locks this process has on it (POSIX fcntl).
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(VaultError::KeyringFile(error));
        }
        _ => {}
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .locking_mode(SqliteLockingMode::Exclusive)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .busy_timeout(Duration::from_secs(2))
        .disable_statement_logging()
        .connect()
        .await?;

    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await?;
    match version {
        0 | 1 => {
            let mut tx = connection.begin().await?;
            if version == 0 {
                sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
            }
            sqlx::raw_sql(MARKS).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        SCHEMA_VERSION => {}
        _ => return Err(VaultError::KeyringVersion),
    }
    let run: i64 =
        sqlx::query_scalar("UPDATE runs SET run = run + 1 RETURNING run").fetch_one(&mut connection).await?;
    // A crash may have come between a shredding and its checkpoint.
    flush(&mut connection, path).await?;
    Ok((connection, run.cast_unsigned()))
}

/// Moves the WAL into the database file and cuts it to nothing, durably: what was overwritten before is
/// in neither file after.
async fn flush(connection: &mut SqliteConnection, path: &Path) -> Result<(), VaultError> {
    let busy: i64 = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await?.try_get(0)?;
    if busy != 0 {
        return Err(VaultError::NotGone);
    }
    // SQLite does not sync the cut itself. (Closing this handle drops no lock: SQLite's are on the
    // database file.)
    match tokio::fs::File::open(wal_path(path)).await {
        Ok(wal) => wal.sync_all().await.map_err(VaultError::KeyringFile),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(VaultError::KeyringFile(error)),
    }
}

fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// `count` slots without a key: used ones that are free again first, then new ones.
async fn free_slots(connection: &mut SqliteConnection, count: u32) -> Result<Vec<u32>, VaultError> {
    let free = sqlx::query("SELECT slot FROM data_keys WHERE state = 'free' ORDER BY slot LIMIT ?")
        .bind(count)
        .fetch_all(&mut *connection)
        .await?;
    let mut slots = free.iter().map(slot_of).collect::<Result<Vec<u32>, _>>()?;
    let mut last: u32 = sqlx::query_scalar("SELECT coalesce(max(slot), 0) FROM data_keys")
        .fetch_one(&mut *connection)
        .await?;
    while slots.len() < count as usize {
        last = last.checked_add(1).ok_or(VaultError::KeyringFull)?;
        slots.push(last);
    }
    Ok(slots)
}

/// Writes the keys into their slots. A slot that holds a key is never overwritten.
async fn fill(
    connection: &mut SqliteConnection,
    run: u64,
    rows: impl ExactSizeIterator<Item = &NewRow>,
) -> Result<(), VaultError> {
    let run = run.to_be_bytes();
    let count = rows.len() as u64;
    let mut insert =
        QueryBuilder::<Sqlite>::new("INSERT INTO data_keys (slot, id, epoch, run, wrapped, state) ");
    insert.push_values(rows, |mut tuple, row| {
        tuple
            .push_bind(row.id.slot())
            .push_bind(row.id.as_bytes().to_vec())
            .push_bind(row.epoch.to_be_bytes().to_vec())
            .push_bind(run.to_vec())
            .push_bind(row.wrapped.clone())
            .push("'held'");
    });
    insert.push(
        " ON CONFLICT (slot) DO UPDATE SET id = excluded.id, epoch = excluded.epoch, run = excluded.run,
          wrapped = excluded.wrapped, state = excluded.state WHERE data_keys.state = 'free'",
    );
    let written = insert.build().execute(connection).await?.rows_affected();
    if written == count { Ok(()) } else { Err(VaultError::KeyringDamaged) }
}

/// The epoch and the wrapped bytes of a key, if it is there.
async fn read(connection: &mut SqliteConnection, id: KeyId) -> Result<Option<(u32, Vec<u8>)>, VaultError> {
    let row =
        sqlx::query("SELECT epoch, wrapped FROM data_keys WHERE slot = ? AND id = ? AND state = 'held'")
            .bind(id.slot())
            .bind(id.as_bytes().as_slice())
            .fetch_optional(connection)
            .await?;
    match row {
        Some(row) => Ok(Some((epoch_of(&row)?, row.try_get("wrapped")?))),
        None => Ok(None),
    }
}

/// Overwrites the key's row with zeros and frees the slot. Whether there was such a key.
async fn blank(connection: &mut SqliteConnection, id: KeyId) -> Result<bool, VaultError> {
    let done = sqlx::query(
        "UPDATE data_keys SET id = ?, epoch = ?, run = ?, wrapped = ?, state = 'free'
         WHERE slot = ? AND id = ? AND state = 'held'",
    )
    .bind([0u8; 16].as_slice())
    .bind([0u8; 4].as_slice())
    .bind([0u8; 8].as_slice())
    .bind([0u8; WRAPPED_LEN].as_slice())
    .bind(id.slot())
    .bind(id.as_bytes().as_slice())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The next page of keys that were made in a run before `run`, by slot.
async fn of_earlier_runs(
    connection: &mut SqliteConnection,
    run: u64,
    after: u32,
) -> Result<Vec<KeyId>, VaultError> {
    let rows = sqlx::query(
        "SELECT slot, id FROM data_keys WHERE slot > ? AND state = 'held' AND run < ? ORDER BY slot LIMIT ?",
    )
    .bind(after)
    .bind(run.to_be_bytes().as_slice())
    .bind(PAGE)
    .fetch_all(connection)
    .await?;
    rows.iter().map(id_of).collect()
}

/// The next page of keys wrapped under `epoch`, by slot.
async fn of_epoch(
    connection: &mut SqliteConnection,
    epoch: u32,
    after: u32,
    limit: u32,
) -> Result<Vec<(KeyId, Vec<u8>)>, VaultError> {
    let rows = sqlx::query(
        "SELECT slot, id, wrapped FROM data_keys
         WHERE slot > ? AND state = 'held' AND epoch = ? ORDER BY slot LIMIT ?",
    )
    .bind(after)
    .bind(epoch.to_be_bytes().as_slice())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((id_of(row)?, row.try_get("wrapped")?))).collect()
}

/// Puts another wrapping of the same key in place.
async fn rewrap(connection: &mut SqliteConnection, row: &NewRow) -> Result<(), VaultError> {
    let done = sqlx::query(
        "UPDATE data_keys SET epoch = ?, wrapped = ? WHERE slot = ? AND id = ? AND state = 'held'",
    )
    .bind(row.epoch.to_be_bytes().as_slice())
    .bind(row.wrapped.as_slice())
    .bind(row.id.slot())
    .bind(row.id.as_bytes().as_slice())
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(VaultError::KeyringDamaged) }
}

/// Every epoch that some key is wrapped under.
async fn epochs(connection: &mut SqliteConnection) -> Result<Vec<u32>, VaultError> {
    let rows = sqlx::query("SELECT DISTINCT epoch FROM data_keys WHERE state = 'held'")
        .fetch_all(connection)
        .await?;
    rows.iter().map(epoch_of).collect()
}

fn slot_of(row: &SqliteRow) -> Result<u32, VaultError> {
    Ok(row.try_get("slot")?)
}

fn epoch_of(row: &SqliteRow) -> Result<u32, VaultError> {
    let bytes: &[u8] = row.try_get("epoch")?;
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| VaultError::KeyringDamaged)
}

/// An id that does not name its own slot was put there by hand.
fn id_of(row: &SqliteRow) -> Result<KeyId, VaultError> {
    let bytes: &[u8] = row.try_get("id")?;
    let id = uuid::Uuid::from_slice(bytes).map(KeyId::from_uuid).map_err(|_| VaultError::KeyringDamaged)?;
    if id.slot() == slot_of(row)? { Ok(id) } else { Err(VaultError::KeyringDamaged) }
}
