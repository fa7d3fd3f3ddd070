//! One process's part in a keyring that several share: its run, the lock that shows it lives, and its ear
//! for what others destroy.
//!
//! A session of its own holds a session-level advisory lock on the run's number, listens for the ids of
//! destroyed keys, and asks the server every few seconds whether it is still there. (So the session must
//! not go through a pooler that lends sessions out by the transaction.)
//!
//! What follows from how long ago the server last answered:
//!
//! | silence | |
//! |---|---|
//! | the session is seen to break, or [`DEAF`] | the cache is not used: every key is read from the server |
//! | [`HAND_OUT`] | no spare is handed out: the process may soon count as gone |
//! | [`GRACE`], and the lock is free | others may end the run and destroy what no row names (`sweep`) |
//!
//! The last is so long that what used a key handed out before the silence has committed or failed by then:
//! keys in flight at the moment of a crash, a cut line or a failover are never mistaken for orphans.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::data_key::KeyId;
use super::error::VaultError;
use super::key_cache::KeyCache;
use crate::sql::silence;

/// Where ids of destroyed keys are told.
pub(super) const CHANNEL: &str = "mandate_keyring";
/// First half of the advisory locks' numbers; the second is the run.
pub(super) const LOCK_CLASS: i32 = 0x4d4b_5259;
/// A run that was seen within this time is never ended. Seconds.
pub(super) const GRACE: i32 = 3600;

const HEARTBEAT: Duration = Duration::from_secs(3);
/// The server answers a heartbeat within this time, or the session counts as broken.
const PATIENCE: Duration = Duration::from_secs(5);
const DEAF: Duration = Duration::from_secs(10);
const HAND_OUT: Duration = Duration::from_secs(30);
/// How often the run's row is told that the process lives.
const NOTE: Duration = Duration::from_secs(60);
/// How long `run` waits for the server to come back.
const WAIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
struct State {
    run: i32,
    /// When the server last showed that the session lives.
    confirmed: Instant,
    connected: bool,
    /// Counts the sessions of this process.
    session: u32,
}

pub(super) struct Presence {
    state: watch::Receiver<State>,
    reached: watch::Receiver<bool>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Presence {
    /// Begins a run.
    pub(super) async fn begin(options: PgConnectOptions, cache: Arc<KeyCache>) -> Result<Self, VaultError> {
        let session = timeout(WAIT, Session::begin(&options, None)).await;
        let session = session.unwrap_or_else(|_| Err(silence::no_answer()))?;
        let (told, state) = watch::channel(session.state());
        let (reaches, reached) = watch::channel(true);
        let stop = CancellationToken::new();
        let keeper = Keeper { options, cache, told, reaches, stop: stop.clone() };
        let task = Mutex::new(Some(tokio::spawn(keeper.keep(session))));
        Ok(Self { state, reached, stop, task })
    }

    pub(super) fn hears(&self) -> bool {
        let state = *self.state.borrow();
        state.connected && state.confirmed.elapsed() < DEAF
    }

    /// Whether the server is there: false from when a session that broke could not be made again at once.
    pub(super) fn reached(&self) -> watch::Receiver<bool> {
        self.reached.clone()
    }

    /// How many sessions were made so far.
    #[cfg(test)]
    pub(super) fn sessions(&self) -> u32 {
        self.state.borrow().session
    }

    /// The run whose keys may be handed out now.
    pub(super) async fn run(&self) -> Result<i32, VaultError> {
        let alive = |state: &State| state.confirmed.elapsed() < HAND_OUT;
        let now = *self.state.borrow();
        if alive(&now) {
            return Ok(now.run);
        }
        let mut state = self.state.clone();
        match timeout(WAIT, state.wait_for(alive)).await {
            Ok(Ok(state)) => Ok(state.run),
            Ok(Err(_)) => Err(VaultError::KeyringClosed),
            Err(_) => Err(VaultError::KeyringAway),
        }
    }

    /// Ends the session in good order; the lock is free when this returns.
    pub(super) async fn end(&self) {
        let task = self.task.lock().await.take();
        self.stop.cancel();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task that keeps the session up.
struct Keeper {
    options: PgConnectOptions,
    cache: Arc<KeyCache>,
    told: watch::Sender<State>,
    reaches: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Keeper {
    async fn keep(self, mut session: Session) {
        loop {
            let error = tokio::select! {
                () = self.stop.cancelled() => return session.end().await,
                error = session.attend(&self) => error,
            };
            tracing::warn!(%error, "the keyring's session broke; it is made again");
            // Until the next session listens, nobody tells us what is destroyed.
            self.told.send_modify(|state| state.connected = false);
            self.cache.clear();
            let former = session.run;
            drop(session);
            session = tokio::select! {
                () = self.stop.cancelled() => return,
                session = self.again(former) => session,
            };
            // What was destroyed in between was not heard of.
            self.cache.clear();
            self.told.send_modify(|state| {
                *state = State { session: state.session + 1, ..session.state() };
            });
        }
    }

    async fn again(&self, former: i32) -> Session {
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout(WAIT, Session::begin(&self.options, Some(former))).await {
                Ok(Ok(session)) => {
                    self.reaches.send_replace(true);
                    return session;
                }
                Ok(Err(error)) => tracing::debug!(%error, "the keyring's session cannot be made yet"),
                Err(_) => tracing::debug!("the keyring's server is silent"),
            }
            self.reaches.send_replace(false);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn heard(&self, payload: &str) {
        let ids: Result<Vec<KeyId>, _> = payload.split_ascii_whitespace().map(str::parse).collect();
        match ids {
            Ok(ids) => self.cache.evict(&ids),
            Err(_) => self.cache.clear(),
        }
    }
}

struct Session {
    /// Of one connection, which the listener holds.
    pool: PgPool,
    listener: PgListener,
    run: i32,
    confirmed: Instant,
    noted: Instant,
}

impl Session {
    /// Connects, takes the lock of the former run or begins a new one, and listens.
    async fn begin(options: &PgConnectOptions, former: Option<i32>) -> Result<Self, sqlx::Error> {
        let confirmed = Instant::now();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        // A session that comes back by itself would come back without its lock.
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        let kept = match former {
            Some(run) if take_up(&mut listener, run).await? => Some(run),
            _ => None,
        };
        let run = match kept {
            Some(run) => run,
            None => new_run(&mut listener).await?,
        };
        listener.listen(CHANNEL).await?;
        Ok(Self { pool, listener, run, confirmed, noted: confirmed })
    }

    fn state(&self) -> State {
        State { run: self.run, confirmed: self.confirmed, connected: true, session: 1 }
    }

    /// Passes on what is heard, until the session breaks.
    async fn attend(&mut self, keeper: &Keeper) -> sqlx::Error {
        loop {
            match timeout_at(self.confirmed + HEARTBEAT, self.listener.try_recv()).await {
                Ok(Ok(Some(told))) => keeper.heard(told.payload()),
                Ok(Ok(None)) => return sqlx::Error::WorkerCrashed,
                Ok(Err(error)) => return error,
                Err(_) => {}
            }
            if self.confirmed.elapsed() < HEARTBEAT {
                continue;
            }
            let asked = Instant::now();
            match timeout(PATIENCE, self.heartbeat()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_) => return silence::no_answer(),
            }
            // What came before the answer counts as heard only after it was passed on.
            while let Some(told) = self.listener.next_buffered() {
                keeper.heard(told.payload());
            }
            self.confirmed = asked;
            keeper.told.send_modify(|state| state.confirmed = asked);
        }
    }

    async fn heartbeat(&mut self) -> Result<(), sqlx::Error> {
        if self.noted.elapsed() < NOTE {
            sqlx::query("SELECT 1").execute(&mut self.listener).await?;
            return Ok(());
        }
        self.noted = Instant::now();
        if see(&mut self.listener, self.run).await? { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
    }

    async fn end(self) {
        let Self { pool, listener, .. } = self;
        drop(listener);
        let _ = timeout(PATIENCE, pool.close()).await;
    }
}

async fn new_run(session: &mut PgListener) -> Result<i32, sqlx::Error> {
    let run: i32 =
        sqlx::query_scalar("INSERT INTO runs DEFAULT VALUES RETURNING run").fetch_one(&mut *session).await?;
    // Nobody else knows this number, so the lock is free.
    sqlx::query("SELECT pg_advisory_lock($1, $2)").bind(LOCK_CLASS).bind(run).execute(session).await?;
    Ok(run)
}

/// Takes the lock of a run of ours again. Not if an earlier session of ours still lingers at the server, or
/// if the run was ended meanwhile: then a new one begins.
async fn take_up(session: &mut PgListener, run: i32) -> Result<bool, sqlx::Error> {
    let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
        .bind(LOCK_CLASS)
        .bind(run)
        .fetch_one(&mut *session)
        .await?;
    Ok(locked && see(session, run).await?)
}

/// Notes that the run's process lives. Whether the run still goes on.
async fn see(session: &mut PgListener, run: i32) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("UPDATE runs SET seen_at = now() WHERE run = $1 AND NOT ended")
        .bind(run)
        .execute(session)
        .await?;
    Ok(done.rows_affected() == 1)
}
