//! Of several gateways on one database, one asks the witnesses: heads of two would cross on the way,
//! and a witness would take the older one for a log that was set back.

use super::StoreError;
use crate::sql::{Conn, Pool, query};

/// PostgreSQL's name for the turn (an advisory lock of the session).
const LOCK: i64 = 0x6d61_6e64_6174_6501;

/// The right to ask, for as long as this lives and [`Turn::is_held`].
pub struct Turn(Option<Conn>);

impl Turn {
    pub(super) async fn take(pool: &Pool) -> Result<Option<Turn>, StoreError> {
        if let Pool::Sqlite(_) = pool {
            // One gateway has the file.
            return Ok(Some(Turn(None)));
        }
        let mut conn = pool.acquire().await?;
        let row = query("SELECT CAST(CASE WHEN pg_try_advisory_lock(?) THEN 1 ELSE 0 END AS BIGINT) AS got")
            .bind(LOCK)
            .fetch_one(&mut conn)
            .await?;
        Ok((row.get::<i64>("got") == 1).then(|| Turn(Some(conn))))
    }

    /// Whether it was not lost with its session.
    pub async fn is_held(&mut self) -> bool {
        match &mut self.0 {
            None => true,
            Some(conn) => query("SELECT CAST(1 AS BIGINT) AS alive").fetch_one(conn).await.is_ok(),
        }
    }

    /// Gives it back, and ends the session that it was kept by.
    pub async fn end(self) {
        let Some(mut conn) = self.0 else { return };
        // Not left to the end of the session, which the server comes to in its own time.
        let free = query("SELECT pg_advisory_unlock(?)").bind(LOCK).fetch_all(&mut conn).await;
        if free.is_err() || conn.close().await.is_err() {
            tracing::debug!("the session of the witnesses' turn was gone already");
        }
    }
}
