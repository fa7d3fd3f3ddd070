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
mod value;

use std::str::FromStr as _;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, PgPool, Postgres, Sqlite, SqlitePool};

pub use passing::{is_rolled_back, passes};
pub use query::{Insert, Query, query};
pub use value::{Column, Row, Value};

/// A connection to either database.
pub struct Conn(Held);

enum Held {
    Sqlite(SqliteConnection),
    SqliteOfPool(PoolConnection<Sqlite>),
    Postgres(PgConnection),
    PostgresOfPool(PoolConnection<Postgres>),
}

enum Db<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl From<SqliteConnection> for Conn {
    fn from(conn: SqliteConnection) -> Self {
        Conn(Held::Sqlite(conn))
    }
}

impl From<PgConnection> for Conn {
    fn from(conn: PgConnection) -> Self {
        Conn(Held::Postgres(conn))
    }
}

impl Conn {
    fn db(&mut self) -> Db<'_> {
        match &mut self.0 {
            Held::Sqlite(conn) => Db::Sqlite(conn),
            Held::SqliteOfPool(conn) => Db::Sqlite(conn),
            Held::Postgres(conn) => Db::Postgres(conn),
            Held::PostgresOfPool(conn) => Db::Postgres(conn),
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.0, Held::Postgres(_) | Held::PostgresOfPool(_))
    }

    /// Ends the connection in good order.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        match self.0 {
            Held::Sqlite(conn) => conn.close().await,
            Held::Postgres(conn) => conn.close().await,
            Held::SqliteOfPool(conn) => conn.close().await,
            Held::PostgresOfPool(conn) => conn.close().await,
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
        Ok(Conn(match self {
            Pool::Sqlite(pool) => Held::SqliteOfPool(pool.acquire().await?),
            Pool::Postgres(pool) => Held::PostgresOfPool(pool.acquire().await?),
        }))
    }

    pub async fn close(&self) {
        match self {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
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
    /// A session that commits durably and does not hold others up for ever.
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
            ])
            .statement_cache_capacity(256)
            .disable_statement_logging())
    }
}
