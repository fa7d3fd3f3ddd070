//! How long a server may leave us without an answer.
//!
//! A line that is cut in the middle says nothing, to neither side: without a limit, whoever waits for an answer on
//! it waits for ever. Each limit lies beyond the server's own (`PostgresUrl::options`), so that what is given up is
//! the line, not work that the server still does. A connection whose answer was not waited for is never used again.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;

/// A statement. The server ends one after 30 s, a wait for a lock after 15 s, and a transaction of ours that it
/// hears nothing more of after 30 s: when a `COMMIT` is given up, what never reached the server has let go of its locks.
pub const ANSWER: Duration = Duration::from_secs(40);
/// What the server has nothing to wait for: a session, `BEGIN`, whether it is there.
pub const AT_ONCE: Duration = Duration::from_secs(5);
/// A connection of a pool, a new one where need be.
const ACQUIRE: Duration = Duration::from_secs(10);

/// The error that stands for no answer. It passes, as any lost line does.
pub fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(ErrorKind::TimedOut.into())
}

/// A new session.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    timeout(AT_ONCE, options.connect()).await.map_err(|_| no_answer())?
}

/// A pool of so many connections, none of which waits for ever, lent out or not: sqlx itself asks a connection that
/// comes back whether it is well, and waits for the answer.
pub fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(|conn, _| Box::pin(async move { Ok(answers(conn).await) }))
        .after_release(|conn, _| Box::pin(async move { Ok(answers(conn).await) }))
}

/// Closes the pool. Who still holds a connection by then is not waited for.
pub async fn close(pool: &PgPool) {
    if timeout(AT_ONCE, pool.close()).await.is_err() {
        tracing::debug!("connections were still lent out when their pool closed");
    }
}

async fn answers(conn: &mut PgConnection) -> bool {
    matches!(timeout(AT_ONCE, conn.ping()).await, Ok(Ok(())))
}

/// Waits for one statement of a connection.
pub(super) struct Wait<'a> {
    pub limit: Duration,
    pub given_up: &'a mut bool,
}

impl Wait<'_> {
    pub async fn on<T>(
        self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        timeout(self.limit, statement).await.unwrap_or_else(|_| {
            *self.given_up = true;
            Err(no_answer())
        })
    }
}
