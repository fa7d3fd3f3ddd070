//! The store: one writer, many readers, and the two logs.
//!
//! All writes go through [`Store::transact`]; the sequencer groups them. Reads have a
//! pool of their own and never wait for the writer. SQL lives here, one file per
//! aggregate, and nowhere else.

mod batch;
pub mod calls;
#[cfg(test)]
mod conformance;
pub mod cosignatures;
mod database;
pub mod executions;
pub mod exports;
pub mod instructions;
pub mod key_sets;
mod listener;
mod log_keys;
pub mod logs;
#[cfg(test)]
mod lost_commits;
pub mod messages;
mod pass;
#[cfg(test)]
mod pass_tests;
mod patience;
pub mod projection;
#[cfg(test)]
mod pushback_tests;
pub mod refusals;
pub mod registry;
pub mod report_keys;
pub mod requests;
pub mod restore;
mod sequencer;
#[cfg(test)]
mod silence_tests;
mod standing;
pub mod sub_processors;
pub mod survey;
pub mod tls_keys;
mod turn;
mod tx;
mod wakes;
mod writer;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::domain::{Clock, Entropy, Reason};
use crate::trail::{Note, Receipt};

pub use crate::sql::{Conn, Pool, PostgresUrl};
pub use database::Database;
pub use log_keys::{LogKey, LogKeys, LogVerifiers};
pub use pass::Pass;
pub use sequencer::{Committed, Issued};
pub use standing::{Serves, Standing};
pub use turn::Turn;
pub use tx::{Command, Log, RanTogether, StoreError, Tx};
pub use wakes::{Topic, Wakes};

/// The newest signed head of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub size: u64,
    /// A signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads {
    pub trail: Head,
    pub authority: Head,
}

impl Heads {
    pub fn of(&self, log: Log) -> &Head {
        match log {
            Log::Trail => &self.trail,
            Log::Authority => &self.authority,
        }
    }
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the database cannot be opened or read")]
    Database(#[source] sqlx::Error),
    #[error("the database's schema cannot be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("the database's schema is not this program's: run `mandate migrate`")]
    Unmigrated,
    #[error("the {0} log: {1}")]
    Log(&'static str, &'static str),
    #[error(
        "the database holds {size} leaves of the trail, and its keyring saw {marked}: it is an older database. A \
         gateway on it would sign a second history and destroy data keys that the newer one needs. Put the newer \
         one back, or bring this one on with `mandate restore`"
    )]
    Older { size: u64, marked: u64 },
    #[error("this machine's clock is over 5 s off the database's")]
    ClockOff,
    #[error("the first leaf was not written")]
    First(#[source] StoreError),
}

/// Names of the two logs: `<gateway>/trail`, or what the trail is called since leaves of it were lost, and
/// `<gateway>/authority`.
#[derive(Debug, Clone)]
pub struct Origins {
    /// The gateway's name, the `source` of every leaf.
    pub gateway: String,
    /// The last part of the trail's origin.
    pub trail_name: String,
}

impl Origins {
    /// What the trail is called at first.
    pub const TRAIL: &'static str = "trail";

    pub fn new(gateway: impl Into<String>) -> Self {
        Self { gateway: gateway.into(), trail_name: Self::TRAIL.to_owned() }
    }

    pub fn trail(&self) -> String {
        format!("{}/{}", self.gateway, self.trail_name)
    }

    pub fn authority(&self) -> String {
        format!("{}/authority", self.gateway)
    }
}

/// How long the writer may take over what waits when the store closes, where it writes to a server.
const CLOSING: Duration = Duration::from_secs(15);

pub struct Store {
    read: Pool,
    /// `None` once closed.
    queue: std::sync::RwLock<Option<mpsc::Sender<Box<dyn sequencer::Queued>>>>,
    writer: std::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// Hears what other gateways committed, where there may be others.
    listener: Option<tokio::task::JoinHandle<()>>,
    heads: watch::Receiver<Heads>,
    fatal: watch::Receiver<bool>,
    standing: watch::Receiver<Standing>,
    wakes: Arc<Wakes>,
    /// Every origin of the trail, the present one first.
    trail_origins: Vec<String>,
    pub origins: Origins,
    pub keys: Arc<LogKeys>,
}

impl Store {
    /// Opens the database (or makes it, where it is a file) and starts the sequencer. Checks both logs' heads.
    pub async fn open(
        database: &Database,
        origins: Origins,
        keys: LogKeys,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Store, OpenError> {
        database.prepare().await?;
        let keys = Arc::new(keys);
        let mut conn = database.connect().await?;
        let (source, verifiers) = (&origins.gateway, keys.verifiers());
        let trail = logs::load(&mut conn, Log::Trail, &origins.trail(), source, &verifiers.trail).await?;
        let authority =
            logs::load(&mut conn, Log::Authority, &origins.authority(), source, &verifiers.authority).await?;
        let trail_origins =
            logs::trail_origins(&mut conn, &origins.trail()).await.map_err(OpenError::Database)?;
        conn.close().await.map_err(OpenError::Database)?;
        let is_new = trail.tree.size() == 0;
        if is_new != (authority.tree.size() == 0) {
            return Err(OpenError::Log("authority", "one log is empty and the other is not"));
        }

        let mut writer = writer::Writer::connect(database.clone()).await?;
        writer.check_clock(&*clock).await?;
        let read = database.readers().await?;
        let (queue, incoming) = mpsc::channel(sequencer::QUEUE);
        let (heads_out, heads) = watch::channel(Heads { trail: trail.head(), authority: authority.head() });
        let (fatal_out, fatal) = watch::channel(false);
        let wakes = Arc::new(Wakes::default());
        let told = Standing::begin();
        let standing = told.subscribe();
        let sequencer = sequencer::Sequencer {
            writer,
            queue: incoming,
            logs: sequencer::Logs { trail, authority },
            keys: Arc::clone(&keys),
            clock,
            entropy,
            heads: heads_out,
            wakes: Arc::clone(&wakes),
            patience: patience::Patience::default(),
            doubt: standing::Doubt::new(told.clone()),
            fatal: fatal_out,
        };
        let writer = tokio::spawn(sequencer.run());
        let writer = std::sync::Mutex::new(Some(writer));
        let listener = database.listen(Arc::clone(&wakes), told).await?;
        let store = Store {
            read,
            queue: std::sync::RwLock::new(Some(queue)),
            writer,
            listener,
            heads,
            fatal,
            standing,
            wakes,
            trail_origins,
            origins,
            keys,
        };
        if is_new {
            let first = OpenLogs { trail: store.origins.trail(), authority: store.origins.authority() };
            store.transact(first).await.map_err(OpenError::First)?;
        }
        Ok(store)
    }

    /// Takes no more commands, lets those in the queue commit, and leaves the file whole. A server that does not
    /// answer is not waited for longer than [`CLOSING`]: what it has not committed by then it rolls back.
    pub async fn close(&self) {
        self.queue.write().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut writer) = writer {
            let ended =
                if self.is_shared() { timeout(CLOSING, &mut writer).await } else { Ok((&mut writer).await) };
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(_)) => tracing::error!("the writer ended with a panic"),
                Err(_) => {
                    tracing::error!("the database does not answer: what waited to be written was given up");
                    writer.abort();
                }
            }
        }
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        self.read.close().await;
    }

    /// Every origin that the trail has and had, the present one first. Instructions are for that one alone.
    pub fn trail_origins(&self) -> &[String] {
        &self.trail_origins
    }

    /// Runs a command in the next batch, if the [`Pass`] it is sent under still holds then; returns once it
    /// is durable.
    pub async fn transact<C: Command>(&self, command: C) -> Result<Committed<C::Output>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let pass = Pass::of_now();
        let waiting = Box::new(sequencer::Waiting { command, pass, result: None, reply });
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner).clone();
        match queue.ok_or(Reason::Unavailable)?.try_send(waiting) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(Reason::Overloaded.into()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Reason::Unavailable.into()),
        }
        // A sequencer that died without an answer leaves the outcome unknown: never OK.
        answer.await.unwrap_or_else(|_| Err(Reason::Unavailable.into()))
    }

    /// A connection that reads what has committed.
    pub async fn reader(&self) -> Result<Conn, StoreError> {
        Ok(self.read.acquire().await?)
    }

    /// Proofs and leaves of the two logs.
    pub fn log_reader(&self) -> &Pool {
        &self.read
    }

    /// The receipt of a trail leaf, to the newest checkpoint.
    pub async fn receipt(&self, index: u64) -> Result<Issued, StoreError> {
        let head = self.heads().await?.trail;
        let leaf = logs::leaves(&self.read, Log::Trail, index, 1).await?.pop().ok_or(Reason::NotFound)?;
        let proof = logs::prove_inclusion(&self.read, Log::Trail, index, head.size).await?;
        let note = Note::parse(&head.checkpoint).map_err(|_| StoreError::Corrupt("log_heads.checkpoint"))?;
        Ok(Issued { index, leaf, receipt: Receipt::new(index, proof, note), witnessed: false })
    }

    /// The newest heads, as last committed; where several gateways write, by any of them.
    pub async fn heads(&self) -> Result<Heads, StoreError> {
        match &self.read {
            Pool::Sqlite(_) => Ok(self.heads.borrow().clone()),
            Pool::Postgres(_) => Ok(logs::heads(&mut self.reader().await?).await?),
        }
    }

    /// Tells of every commit; what has changed is for the watcher to see.
    pub fn head_changes(&self) -> watch::Receiver<Heads> {
        self.heads.clone()
    }

    /// Whether other gateways may write, too: what is remembered here may be behind.
    pub fn is_shared(&self) -> bool {
        matches!(self.read, Pool::Postgres(_))
    }

    /// The right to ask the witnesses; none while another gateway has it.
    pub async fn turn(&self) -> Result<Option<Turn>, StoreError> {
        Turn::take(self).await
    }

    pub fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// What the store is good for now: changes as it is found out. Nothing is asked for it.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Turns true when the writer has stopped for good.
    pub fn fatal(&self) -> watch::Receiver<bool> {
        self.fatal.clone()
    }
}

/// Leaf 0 of both logs.
struct OpenLogs {
    trail: String,
    authority: String,
}

#[async_trait::async_trait]
impl Command for OpenLogs {
    const NAME: &'static str = "open_logs";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if tx.trail_size() > 0 {
            // Another gateway was first.
            return Ok(());
        }
        tx.append(&self.trail, crate::domain::event::LogOpened { origin: self.trail.clone() })?;
        tx.append_authority(
            &self.authority,
            crate::domain::event::LogOpened { origin: self.authority.clone() },
        )?;
        Ok(())
    }
}
