//! Of several gateways on one database, one asks the witnesses: heads of two would cross on the way,
//! and a witness would take the older one for a log that was set back.
//!
//! The turn is a row with an end, by the database's clock. Who has it puts the end off again and again, and asks
//! nobody any more well before an end that it could not put off; so a gateway that vanishes, or whose line falls
//! silent, holds the others up for no longer than [`LENGTH`]. (A lock of a session would be held until the server
//! notices that nobody is there.)

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::tx::{Command, StoreError, Tx};
use super::{Pool, Store};
use crate::sql::{Conn, query};

/// From each time the end is put off.
const LENGTH: Duration = Duration::from_secs(8);
/// Between two times.
const RENEWAL: Duration = Duration::from_secs(2);
/// So long before the end nobody new is asked.
const MARGIN: Duration = Duration::from_secs(3);
/// How long giving it back may take.
const ENDING: Duration = Duration::from_secs(5);

/// Milliseconds since the epoch, as PostgreSQL sees it.
const NOW: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint";

/// The right to ask, for as long as [`Turn::keep`] says.
pub struct Turn(Option<Held>);

struct Held {
    holder: String,
    /// No later than its end by the database's clock.
    ends: Instant,
    /// When it is to be put off.
    renewal: Instant,
}

impl Turn {
    /// `None` while another gateway has it.
    pub(super) async fn take(store: &Store) -> Result<Option<Turn>, StoreError> {
        if let Pool::Sqlite(_) = store.read {
            // One gateway has the file.
            return Ok(Some(Turn(None)));
        }
        // Who only looks takes no lock that the writers need.
        if is_taken(&mut store.reader().await?).await? {
            return Ok(None);
        }
        let asked = Instant::now();
        let holder = store.transact(Hold { holder: None }).await?.value;
        let held = |holder| Turn(Some(Held { holder, ends: asked + LENGTH, renewal: asked + RENEWAL }));
        Ok(holder.map(held))
    }

    /// Puts the end off where it is time to. Whether somebody may still be asked.
    pub async fn keep(&mut self, store: &Store) -> bool {
        let Some(held) = &mut self.0 else { return true };
        if held.renewal <= Instant::now() {
            held.renew(store).await;
        }
        Instant::now() + MARGIN <= held.ends
    }

    /// When nobody may be waited for any more; `None` where that never comes.
    pub fn ends(&self) -> Option<Instant> {
        self.0.as_ref().map(|held| held.ends)
    }

    /// Gives it back.
    pub async fn end(self, store: &Store) {
        let Some(Held { holder, .. }) = self.0 else { return };
        if !matches!(timeout(ENDING, store.transact(GiveBack { holder })).await, Ok(Ok(_))) {
            tracing::debug!("the witnesses' turn ends by itself");
        }
    }
}

impl Held {
    async fn renew(&mut self, store: &Store) {
        let asked = Instant::now();
        self.renewal = asked + RENEWAL;
        let latest = self.ends.checked_sub(MARGIN).unwrap_or(asked);
        match tokio::time::timeout_at(latest, store.transact(Hold { holder: Some(self.holder.clone()) }))
            .await
        {
            Ok(Ok(done)) if done.value.is_some() => self.ends = asked + LENGTH,
            // Another has it.
            Ok(Ok(_)) => self.ends = asked,
            Ok(Err(error)) => tracing::debug!(%error, "the witnesses' turn was not renewed"),
            Err(_) => tracing::debug!("the witnesses' turn was not renewed in time"),
        }
    }
}

async fn is_taken(conn: &mut Conn) -> Result<bool, StoreError> {
    let taken = query("SELECT 1 AS one FROM turns WHERE name = 'witnesses' AND ends_at > ").push(NOW);
    Ok(!taken.fetch_all(conn).await?.is_empty())
}

/// Takes the turn, or puts its end off. Answers who has it now, if that is who asked.
struct Hold {
    /// `None`: a new one.
    holder: Option<String>,
}

#[async_trait::async_trait]
impl Command for Hold {
    const NAME: &'static str = "hold_turn";
    type Output = Option<String>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<String>, StoreError> {
        let holder = self.holder.clone().unwrap_or_else(|| tx.new_uuid().to_string());
        let name = tx.name();
        let length = i64::try_from(LENGTH.as_millis()).unwrap_or(i64::MAX);
        let done = query(format!(
            "INSERT INTO turns (name, holder, ends_at, written_by) VALUES ('witnesses', ?, {NOW} + ?, ?) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at, \
             written_by = excluded.written_by WHERE turns.holder = excluded.holder OR turns.ends_at <= {NOW}"
        ))
        .bind(&holder)
        .bind(length)
        .bind(name)
        .execute(tx.conn())
        .await?;
        Ok((done == 1).then_some(holder))
    }
}

/// Ends the turn, if it is still that holder's.
struct GiveBack {
    holder: String,
}

#[async_trait::async_trait]
impl Command for GiveBack {
    const NAME: &'static str = "give_turn_back";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let name = tx.name();
        query("UPDATE turns SET ends_at = 0, written_by = ? WHERE name = 'witnesses' AND holder = ?")
            .bind(name)
            .bind(&self.holder)
            .execute(tx.conn())
            .await?;
        Ok(())
    }
}
