//! Which database holds the state, how it is connected to, and whether its schema is ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::listener;
use super::standing::Standing;
use super::wakes::Wakes;
use super::{OpenError, logs};
use crate::sql::{Conn, Pool, PostgresUrl, silence};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Connections that read, at most.
pub(super) const READERS: u32 = 8;

/// Where the state lies.
#[derive(Clone)]
pub enum Database {
    /// A file, for one gateway: the embedded default.
    Sqlite(PathBuf),
    /// A server that several gateways share. The URL may hold a password.
    Postgres(PostgresUrl),
}

impl Database {
    /// Brings the schema up to date. Never done by the way on a server that others share.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        match self {
            Database::Sqlite(_) => {
                let mut conn = self.sqlite_options().connect().await.map_err(OpenError::Database)?;
                SQLITE.run(&mut conn).await.map_err(OpenError::Migrate)?;
                conn.close().await.map_err(OpenError::Database)
            }
            Database::Postgres(url) => {
                let mut conn = connect(url).await?;
                POSTGRES.run(&mut conn).await.map_err(OpenError::Migrate)?;
                conn.close().await.map_err(OpenError::Database)
            }
        }
    }

    /// A file's schema is brought up to date; a server's must be: `mandate migrate` does it.
    pub(super) async fn prepare(&self) -> Result<(), OpenError> {
        let Database::Postgres(url) = self else { return self.migrate().await };
        demand_schema(&mut connect(url).await?, &POSTGRES).await
    }

    /// That the database holds at least `marked` leaves of the trail, as it did once; nothing of it is changed,
    /// and no file is made. [`OpenError::Older`] otherwise.
    pub async fn demand_reaches(&self, marked: u64) -> Result<(), OpenError> {
        let size = self.trail_size().await?;
        if size < marked { Err(OpenError::Older { size, marked }) } else { Ok(()) }
    }

    /// Leaves of the trail, whatever the release that wrote the file.
    async fn trail_size(&self) -> Result<u64, OpenError> {
        let mut conn: Conn = match self {
            Database::Sqlite(path) if !path.exists() => return Ok(0),
            Database::Sqlite(path) => {
                let mut read = looking_at(path).connect().await.map_err(OpenError::Database)?;
                let made: i64 =
                    sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'log_heads'")
                        .fetch_one(&mut read)
                        .await
                        .map_err(OpenError::Database)?;
                if made == 0 {
                    return Ok(0);
                }
                read.into()
            }
            Database::Postgres(_) => {
                self.prepare().await?;
                self.connect().await?
            }
        };
        let heads = logs::heads(&mut conn).await.map_err(OpenError::Database)?;
        conn.close().await.map_err(OpenError::Database)?;
        Ok(heads.trail.size)
    }

    /// A connection for the writer.
    pub(super) async fn connect(&self) -> Result<Conn, OpenError> {
        Ok(match self {
            Database::Sqlite(_) => self.sqlite_options().connect().await.map_err(OpenError::Database)?.into(),
            Database::Postgres(url) => connect(url).await?.into(),
        })
    }

    /// Connections that read what has committed.
    pub(super) async fn readers(&self) -> Result<Pool, OpenError> {
        Ok(match self {
            Database::Sqlite(_) => {
                let options = self.sqlite_options().read_only(true).create_if_missing(false);
                let pool = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await;
                Pool::Sqlite(pool.map_err(OpenError::Database)?)
            }
            Database::Postgres(url) => {
                let options = url
                    .options()
                    .map_err(OpenError::Database)?
                    .options([("default_transaction_read_only", "on")]);
                let pool = silence::pool(READERS).connect_with(options).await;
                Pool::Postgres(pool.map_err(OpenError::Database)?)
            }
        })
    }

    /// A connection that reads one state of the database, however long it reads and whatever is written
    /// meanwhile. Changes nothing, not even the schema, which must be this program's.
    pub async fn snapshot(&self) -> Result<Conn, OpenError> {
        let (mut conn, begin): (Conn, _) = match self {
            Database::Sqlite(path) => {
                let mut read = looking_at(path).connect().await.map_err(OpenError::Database)?;
                demand_schema(&mut read, &SQLITE).await?;
                (read.into(), "BEGIN")
            }
            Database::Postgres(url) => {
                let options = url.options().map_err(OpenError::Database)?;
                let options = options.options([
                    ("default_transaction_read_only", "on"),
                    ("statement_timeout", "10min"),
                    ("idle_in_transaction_session_timeout", "10min"),
                ]);
                let mut read = silence::connect(&options).await.map_err(OpenError::Database)?;
                demand_schema(&mut read, &POSTGRES).await?;
                let read = Conn::from(read).with_patience(Duration::from_secs(11 * 60));
                (read, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            }
        };
        crate::sql::query(begin).execute(&mut conn).await.map_err(OpenError::Database)?;
        Ok(conn)
    }

    /// Hears what other gateways commit, until it is aborted. A file has no other writers.
    pub(super) async fn listen(
        &self,
        wakes: Arc<Wakes>,
        told: watch::Sender<Standing>,
    ) -> Result<Option<JoinHandle<()>>, OpenError> {
        let Database::Postgres(url) = self else { return Ok(None) };
        let options = url.options().map_err(OpenError::Database)?;
        let listener = listener::listen(&options).await.map_err(OpenError::Database)?;
        Ok(Some(tokio::spawn(listener::hear(options, listener, wakes, told))))
    }

    fn sqlite_options(&self) -> SqliteConnectOptions {
        let path = match self {
            Database::Sqlite(path) => path.as_path(),
            Database::Postgres(_) => unreachable!("asked for a file only"),
        };
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256)
            .disable_statement_logging()
    }
}

/// A session on the server.
async fn connect(url: &PostgresUrl) -> Result<PgConnection, OpenError> {
    let options = url.options().map_err(OpenError::Database)?;
    silence::connect(&options).await.map_err(OpenError::Database)
}

/// For a look at a file as it lies there: not even its journal's mode is changed.
fn looking_at(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

/// The migrations that were applied are those of this program, no more and no fewer.
async fn demand_schema<C: sqlx::migrate::Migrate>(conn: &mut C, ours: &Migrator) -> Result<(), OpenError> {
    let applied = tokio::time::timeout(silence::ANSWER, conn.list_applied_migrations("_sqlx_migrations"))
        .await
        .map_err(|_| OpenError::Database(silence::no_answer()))?
        .map_err(|_| OpenError::Unmigrated)?;
    let wanted: Vec<_> = ours.iter().filter(|m| !m.migration_type.is_down_migration()).collect();
    let same = applied.len() == wanted.len()
        && applied.iter().zip(&wanted).all(|(a, w)| a.version == w.version && a.checksum == w.checksum);
    if same { Ok(()) } else { Err(OpenError::Unmigrated) }
}
