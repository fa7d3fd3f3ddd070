//! A copy of the database, and a copy that is brought on to a longer, published history.
//!
//! *Rolling forward* takes leaves byte for byte from published logs, whose signed root they must make
//! together with what the copy holds: so they are exactly what this gateway signed after the copy was
//! made. Their rows come from [`projection`]. All of it is one transaction: a crash leaves the copy as it
//! was. Files only; nobody else may have the copy open.

use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::logs;
use super::projection::{self, At, NO_LEAF, ProjectError};
use super::sequencer::LogState;
use super::tx::{Log, LogEnd, PendingLeaf, StoreError};
use super::{Database, LogVerifiers, OpenError, Origins};
use crate::domain::event::Event;
use crate::sql::{Conn, query};
use crate::trail::{Checkpoint, Leaf, Note, leaf_hash};

/// Stands in `written_by` of leaves that came from outside.
const NAME: &str = "roll_forward";

/// A log as somebody else kept it.
pub trait PublishedLog: Send {
    /// The signed note.
    fn checkpoint(&self) -> &str;
    /// Leaves from `start` on: one at least, at most 256. `start` is below the checkpoint's size.
    fn leaves(&mut self, start: u64) -> std::io::Result<Vec<Vec<u8>>>;
}

/// Why the copy was not brought on.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("a published file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("the published {0} log: {1}")]
    Published(&'static str, &'static str),
    #[error("leaf {1} of the published {0} log does not follow: {2}")]
    Leaf(&'static str, u64, &'static str),
}

impl From<sqlx::Error> for RollError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a leaf implies and does not hold: the resource name, and what is missing of it.
pub type Lack = (String, &'static str);

/// Sizes of both logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub trail: u64,
    pub authority: u64,
}

/// Writes a copy of the file as it stands at one moment; the gateway may run. `to` must not exist.
pub async fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
    let database = Database::Sqlite(from.to_owned());
    // Its schema is this program's.
    database.snapshot().await?.close().await.map_err(OpenError::Database)?;
    let options = SqliteConnectOptions::new().filename(from).read_only(true).disable_statement_logging();
    let mut conn = Conn::from(options.connect().await.map_err(OpenError::Database)?);
    let text = to.to_str().ok_or(OpenError::Log("backup", "the path is not UTF-8"))?;
    query("VACUUM INTO ?").bind(text).execute(&mut conn).await.map_err(OpenError::Database)?;
    conn.close().await.map_err(OpenError::Database)
}

/// A copy that nobody else has open, while it is brought on.
pub struct RollForward {
    conn: Conn,
    origin: String,
    trail: LogState,
    authority: LogState,
    lacks: Vec<Lack>,
}

impl RollForward {
    /// Opens the copy and checks both heads against the keys.
    pub async fn open(file: &Path, origins: &Origins, keys: &LogVerifiers) -> Result<Self, RollError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
            // Key sets come before the leaves of the trail that register them.
            .foreign_keys(false)
            .disable_statement_logging();
        let mut conn = Conn::from(options.connect().await?);
        let (gateway, origin) = (&origins.gateway, origins.trail());
        let trail = logs::load(&mut conn, Log::Trail, &origin, gateway, &keys.trail).await?;
        let authority =
            logs::load(&mut conn, Log::Authority, &origins.authority(), gateway, &keys.authority).await?;
        Ok(Self { conn, origin, trail, authority, lacks: Vec::new() })
    }

    pub fn sizes(&self) -> Sizes {
        Sizes { trail: self.trail.tree.size(), authority: self.authority.tree.size() }
    }

    /// Takes both logs on to their published heads, or changes nothing. Returns what no leaf holds.
    pub async fn run(
        &mut self,
        keys: &LogVerifiers,
        trail: &mut dyn PublishedLog,
        authority: &mut dyn PublishedLog,
    ) -> Result<Vec<Lack>, RollError> {
        query("BEGIN IMMEDIATE").execute(&mut self.conn).await?;
        match self.take(keys, trail, authority).await {
            Ok(()) => {
                query("COMMIT").execute(&mut self.conn).await?;
                Ok(std::mem::take(&mut self.lacks))
            }
            Err(error) => {
                query("ROLLBACK").execute(&mut self.conn).await?;
                Err(error)
            }
        }
    }

    async fn take(
        &mut self,
        keys: &LogVerifiers,
        trail: &mut dyn PublishedLog,
        authority: &mut dyn PublishedLog,
    ) -> Result<(), RollError> {
        // First, since the trail refers to it.
        self.take_log(Log::Authority, keys, authority).await?;
        self.take_log(Log::Trail, keys, trail).await?;
        let open = query("SELECT 1 FROM key_sets WHERE leaf = ? LIMIT 1").bind(NO_LEAF);
        if open.fetch_optional(&mut self.conn).await?.is_some() {
            return Err(RollError::Published("trail", "it is older than the authority log beside it"));
        }
        let broken = query("SELECT 1 FROM pragma_foreign_key_check LIMIT 1");
        match broken.fetch_optional(&mut self.conn).await? {
            Some(_) => Err(RollError::Published("trail", "its rows refer to rows that are not there")),
            None => Ok(()),
        }
    }

    async fn take_log(
        &mut self,
        log: Log,
        keys: &LogVerifiers,
        published: &mut dyn PublishedLog,
    ) -> Result<(), RollError> {
        let wrong = |what| RollError::Published(log.name(), what);
        let mut state = match log {
            Log::Trail => self.trail.clone(),
            Log::Authority => self.authority.clone(),
        };
        let signed = Checkpoint::open_by(published.checkpoint(), &state.origin, keys.of(log))
            .map_err(|_| wrong("its checkpoint is not signed by this gateway's key"))?;
        if signed.size() < state.tree.size() {
            return Err(wrong("it is shorter than the backup's"));
        }
        let mut end = state.end();
        while state.tree.size() < signed.size() {
            let start = state.tree.size();
            let left = usize::try_from(signed.size() - start).unwrap_or(usize::MAX);
            let leaves = published.leaves(start)?;
            if leaves.is_empty() {
                return Err(wrong("it ends before its checkpoint"));
            }
            for bytes in leaves.into_iter().take(left) {
                self.take_leaf(&mut state, &mut end, bytes).await?;
            }
            if state.tree.size() == signed.size() {
                state.checkpoint = Some(
                    Note::parse(published.checkpoint()).map_err(|_| wrong("its checkpoint is no note"))?,
                );
            }
            logs::write(&mut self.conn, &mut state, &end).await?;
            state.tree.settle();
            end = state.end();
        }
        if state.tree.root() != *signed.root() {
            return Err(wrong("its leaves do not continue the backup's, or do not make the signed root"));
        }
        match log {
            Log::Trail => self.trail = state,
            Log::Authority => self.authority = state,
        }
        Ok(())
    }

    /// One leaf, as it was signed, and its rows.
    async fn take_leaf(
        &mut self,
        state: &mut LogState,
        end: &mut LogEnd,
        bytes: Vec<u8>,
    ) -> Result<(), RollError> {
        let index = state.tree.size();
        let wrong = |what| RollError::Leaf(state.log.name(), index, what);
        let leaf = Leaf::parse(&bytes).map_err(|_| wrong("it is no leaf"))?;
        let members = leaf.data().iter().filter(|(name, _)| *name != "salt");
        let event = Event::parse_members(leaf.type_(), members.map(|(name, value)| (name.as_str(), value)))
            .map_err(|_| wrong("this program does not know its form"))?;
        let at =
            At { index, subject: leaf.subject(), seconds: leaf.time().as_second(), origin: &self.origin };
        match projection::apply(&mut self.conn, at, &event).await {
            Ok(()) => {}
            Err(ProjectError::Contradiction(why)) => return Err(wrong(why)),
            Err(ProjectError::Store(error)) => return Err(error.into()),
        }
        self.lacks.extend(projection::lacking(&event).map(|what| (leaf.subject().to_owned(), what)));
        end.pending.push(PendingLeaf {
            bytes: bytes.clone(),
            subject: leaf.subject().to_owned(),
            type_name: event.type_name(),
            written_by: NAME,
        });
        state.tree.append(leaf_hash(&bytes));
        state.last_time = state.last_time.max(leaf.time().as_millisecond());
        Ok(())
    }

    /// Leaves one whole file behind.
    pub async fn close(mut self) -> Result<(), RollError> {
        query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut self.conn).await?;
        Ok(self.conn.close().await?)
    }
}
