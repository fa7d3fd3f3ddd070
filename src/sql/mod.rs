//! One SQL text, two databases: SQLite for one gateway, PostgreSQL for several.
//!
//! Statements are written once, with `?` for parameters, in the SQL that both share. Columns are text,
//! 64-bit integers (also for booleans: 0 or 1) or bytes, so a parameter is one of three types and a row
//! reads the same from both. What the statements say is the business of `store` and `vault` alone.

#[cfg(test)]
#[path = "../../tests/cluster.rs"]
#[allow(
    clippy::disallowed_methods,
    reason = "it waits for a server that is not ours, by the machine's clock"
)]
pub(crate) mod cluster;
mod passing;
mod query;
pub mod silence;
mod value;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, PgPool, Postgres, Sqlite, SqlitePool};

pub use passing::{is_rolled_back, passes};
pub use query::{Insert, Query, query};
use silence::Wait;
pub use value::{Column, Row, Value};

/// A connection to either database.
pub struct Conn {
    /// `None` once closed.
    held: Option<Held>,
    /// How long a server may take over a statement.
    patience: Duration,
    /// An answer was not waited for: what comes next on this line is not known.
    given_up: bool,
}

enum Held {
    Sqlite(SqliteConnection),
    SqliteOfPool(PoolConnection<Sqlite>),
    Postgres(PgConnection),
    PostgresOfPool(PoolConnection<Postgres>),
}

enum Db<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection, Wait<'a>),
}

impl From<Held> for Conn {
    fn from(held: Held) -> Self {
        Conn { held: Some(held), patience: silence::ANSWER, given_up: false }
    }
}

impl From<SqliteConnection> for Conn {
    fn from(conn: SqliteConnection) -> Self {
        Held::Sqlite(conn).into()
    }
}

impl From<PgConnection> for Conn {
    fn from(conn: PgConnection) -> Self {
        Held::Postgres(conn).into()
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.given_up
            && let Some(Held::PostgresOfPool(conn)) = &mut self.held
        {
            // Not lent again; its place in the pool is free.
            conn.close_on_drop();
        }
    }
}

impl Conn {
    /// Where the server may take longer over a statement than it mostly may.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The connection, for one statement; an error once an answer was not waited for.
    fn db(&mut self, limit: Option<Duration>) -> Result<Db<'_>, sqlx::Error> {
        if self.given_up {
            return Err(silence::no_answer());
        }
        let wait = Wait { limit: limit.unwrap_or(self.patience), given_up: &mut self.given_up };
        Ok(match self.held.as_mut().ok_or(sqlx::Error::WorkerCrashed)? {
            Held::Sqlite(conn) => Db::Sqlite(conn),
            Held::SqliteOfPool(conn) => Db::Sqlite(conn),
            Held::Postgres(conn) => Db::Postgres(conn, wait),
            Held::PostgresOfPool(conn) => Db::Postgres(conn, wait),
        })
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.held, Some(Held::Postgres(_) | Held::PostgresOfPool(_)))
    }

    /// Ends the connection in good order.
    pub async fn close(mut self) -> Result<(), sqlx::Error> {
        match self.held.take() {
            None => Ok(()),
            Some(Held::Sqlite(conn)) => conn.close().await,
            Some(Held::SqliteOfPool(conn)) => conn.close().await,
            // Nothing is waited for: the server is told, and the socket closed.
            Some(Held::Postgres(conn)) => conn.close().await,
            Some(Held::PostgresOfPool(conn)) => conn.close().await,
        }
    }
}

/// Connections that read.
#[derive(Clone)]
pub enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    pub async fn acquire(&self) -> Result<Conn, sqlx::Error> {
        let held = match self {
            Pool::Sqlite(pool) => Held::SqliteOfPool(pool.acquire().await?),
            Pool::Postgres(pool) => Held::PostgresOfPool(pool.acquire().await?),
        };
        Ok(held.into())
    }

    /// Waits for what is lent out; on a server not for ever.
    pub async fn close(&self) {
        match self {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => silence::close(pool).await,
        }
    }
}

/// A connection URL that shows itself to nobody.
#[derive(Clone)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    pub fn new(url: impl Into<String>) -> Self {
        PostgresUrl(url.into())
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresUrl(…)")
    }
}

impl PostgresUrl {
    /// A session that commits durably and does not hold others up for ever, not even once we are gone without a
    /// word: the server, too, then finds out within half a minute (where the line is TCP).
    pub fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let options = PgConnectOptions::from_str(&self.0)?;
        Ok(options
            .application_name("mandate")
            .options([
                ("synchronous_commit", "on"),
                ("default_transaction_isolation", "read committed"),
                ("lock_timeout", "15s"),
                ("statement_timeout", "30s"),
                ("idle_in_transaction_session_timeout", "30s"),
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
                ("tcp_user_timeout", "30s"),
            ])
            .statement_cache_capacity(256)
            .disable_statement_logging())
    }
}
