//! A copy of the database, and a copy that is brought on to a longer, published history.
//!
//! *Rolling forward* takes leaves byte for byte from published logs, whose signed root they must make
//! together with what the copy holds: so they are exactly what this gateway signed after the copy was
//! made. Their rows come from [`projection`]. All of it is one transaction: a crash leaves the copy as it
//! was. The copy is a file of its own, or what a server's own tools brought back: no gateway may run on it.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::logs;
use super::projection::{self, At, NO_LEAF, ProjectError};
use super::sequencer::LogState;
use super::tx::{Log, LogEnd, PendingLeaf, StoreError};
use super::{Database, LogKeys, LogVerifiers, OpenError, Origins};
use crate::domain::event::{ControllerRegistered, Event, KeySetRegistered, LogReopened};
use crate::domain::{Clock, Entropy, Timestamp};
use crate::sql::{Conn, query};
use crate::trail::{Checkpoint, Leaf, LeafDraft, Note, leaf_hash};

/// Stands in `written_by` of leaves that came from outside.
const NAME: &str = "roll_forward";
/// Of the leaf that opens another origin.
const REOPENED: &str = "reopen";

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

/// How the trail goes on where leaves of it are lost.
pub struct Opening<'a> {
    pub by: &'a str,
    /// The new names.
    pub origins: &'a Origins,
    /// Keys under the new names.
    pub keys: &'a LogKeys,
    /// The newest head that is known of the former trail.
    pub known: &'a Checkpoint,
    pub clock: &'a dyn Clock,
    pub entropy: &'a dyn Entropy,
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

/// A copy that no gateway has open, while it is brought on. Nothing of it stands before [`RollForward::finish`]:
/// after an error it is dropped.
pub struct RollForward {
    conn: Conn,
    /// Origins that the trail has and had.
    origins: Vec<String>,
    trail: LogState,
    authority: LogState,
    lacks: Vec<Lack>,
}

impl RollForward {
    /// Opens the copy and checks both heads against the keys.
    pub async fn open(copy: &Database, origins: &Origins, keys: &LogVerifiers) -> Result<Self, RollError> {
        let mut conn = begin(copy).await?;
        let (gateway, origin) = (&origins.gateway, origins.trail());
        let origins_so_far = logs::trail_origins(&mut conn, &origin).await?;
        let trail = logs::load(&mut conn, Log::Trail, &origin, gateway, &keys.trail).await?;
        let authority =
            logs::load(&mut conn, Log::Authority, &origins.authority(), gateway, &keys.authority).await?;
        Ok(Self { conn, origins: origins_so_far, trail, authority, lacks: Vec::new() })
    }

    pub fn sizes(&self) -> Sizes {
        Sizes { trail: self.trail.tree.size(), authority: self.authority.tree.size() }
    }

    /// Takes a log on to its published head; the authority log first, since the trail refers to it. Returns what
    /// no leaf holds.
    pub async fn take(
        &mut self,
        log: Log,
        keys: &LogVerifiers,
        published: &mut dyn PublishedLog,
    ) -> Result<Vec<Lack>, RollError> {
        self.take_log(log, keys, published).await?;
        Ok(std::mem::take(&mut self.lacks))
    }

    /// That the rows fit together, now that nothing more comes.
    async fn check_whole(&mut self) -> Result<(), RollError> {
        let open = query("SELECT 1 FROM key_sets WHERE leaf = ? LIMIT 1").bind(NO_LEAF);
        if open.fetch_optional(&mut self.conn).await?.is_some() {
            return Err(RollError::Published("trail", "it is older than the authority log beside it"));
        }
        if self.conn.is_postgres() {
            query("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut self.conn).await?;
            return Ok(());
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
        let at = At {
            log: state.log,
            index,
            subject: leaf.subject(),
            seconds: leaf.time().as_second(),
            origins: &self.origins,
        };
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

    /// Opens the trail under another origin, since leaves of it are lost for good: the first leaf from here on
    /// says so in both logs. What witnesses cosigned of the former one is forgotten; all other rows stay, and
    /// with them every instruction's id and every call that was made.
    pub async fn reopen(&mut self, opening: &Opening<'_>) -> Result<(), RollError> {
        let origin = opening.origins.trail();
        let event = Event::from(LogReopened {
            by: opening.by.to_owned(),
            origin: origin.clone(),
            former: self.trail.origin.clone(),
            size: self.trail.tree.size(),
            known_size: opening.known.size(),
            known_root: opening.known.root().to_base64(),
        });
        let mut trail = self.trail.clone();
        trail.origin.clone_from(&origin);
        for (log, mut state) in [(Log::Authority, self.authority.clone()), (Log::Trail, trail)] {
            let wrong = |what| RollError::Published(log.name(), what);
            let time = opening.clock.now().as_millisecond().max(state.last_time);
            let time = Timestamp::from_millisecond(time).map_err(|_| wrong("its last time is none"))?;
            let mut events = vec![(origin.clone(), event.clone())];
            if log == Log::Trail {
                events.extend(self.told_again(opening, state.tree.size() + 1, time).await?);
            }
            let mut end = state.end();
            for (subject, event) in events {
                let leaf = LeafDraft::new(event.type_name(), &subject, event.to_data())
                    .seal(&state.source, time, opening.entropy)
                    .map_err(|_| wrong("the leaf of the new origin cannot be made"))?;
                let bytes = leaf.bytes().to_vec();
                state.tree.append(leaf_hash(&bytes));
                end.pending.push(PendingLeaf {
                    bytes,
                    subject,
                    type_name: event.type_name(),
                    written_by: REOPENED,
                });
            }
            state.last_time = time.as_millisecond();
            let head = Checkpoint::new(&state.origin, state.tree.size(), state.tree.root());
            let head = head.map_err(|_| wrong("its new origin is none"))?;
            state.checkpoint = Some(opening.keys.of(log).sign(&head));
            logs::write(&mut self.conn, &mut state, &end).await?;
            state.tree.settle();
            match log {
                Log::Trail => self.trail = state,
                Log::Authority => self.authority = state,
            }
        }
        query("DELETE FROM cosignatures WHERE log = ?")
            .bind(Log::Trail.name())
            .execute(&mut self.conn)
            .await?;
        query("DELETE FROM cosigned_heads WHERE log = ?")
            .bind(Log::Trail.name())
            .execute(&mut self.conn)
            .await?;
        self.origins.insert(0, origin);
        Ok(())
    }

    /// What the trail must tell again, of leaf `next` on: key sets that the authority log holds, where what the
    /// trail said of them is among the lost leaves.
    async fn told_again(
        &mut self,
        opening: &Opening<'_>,
        next: u64,
        time: Timestamp,
    ) -> Result<Vec<(String, Event)>, RollError> {
        let sets = query(
            "SELECT k.controller_id, k.version, k.digest, k.authority_index, c.id AS known FROM key_sets k \
             LEFT JOIN controllers c ON c.id = k.controller_id WHERE k.leaf = ? ORDER BY k.authority_index",
        );
        let mut told: Vec<(String, Event)> = Vec::new();
        let mut made = BTreeSet::new();
        for row in sets.bind(NO_LEAF).fetch_all(&mut self.conn).await? {
            let id: String = row.get("controller_id");
            let (by, subject) = (opening.by.to_owned(), format!("controllers/{id}"));
            let mut events = Vec::new();
            if row.get::<Option<String>>("known").is_none() && made.insert(id) {
                // Whether it was the house's own is lost, too.
                events.push(Event::from(ControllerRegistered { by: by.clone(), house: false }));
            }
            let version = logs::to_u64(row.get("version"));
            let authority_index = logs::to_u64(row.get("authority_index"));
            let recovers = match version {
                1 => self.key_set_before(&subject, authority_index).await?,
                _ => None,
            };
            let digest = row.get("digest");
            events.push(KeySetRegistered { by, version, digest, authority_index, recovers }.into());
            for event in events {
                let index = next + told.len() as u64;
                let (seconds, origins) = (time.as_second(), self.origins.as_slice());
                let at = At { log: Log::Trail, index, subject: &subject, seconds, origins };
                projection::apply(&mut self.conn, at, &event).await.map_err(|error| match error {
                    ProjectError::Contradiction(why) => RollError::Leaf("trail", index, why),
                    ProjectError::Store(error) => error.into(),
                })?;
                told.push((subject.clone(), event));
            }
        }
        Ok(told)
    }

    /// Digest of the set that a controller began anew after.
    async fn key_set_before(&mut self, subject: &str, index: u64) -> Result<Option<String>, RollError> {
        let before = query(
            "SELECT digest FROM key_sets WHERE 'controllers/' || controller_id = ? AND authority_index < ? \
             ORDER BY authority_index DESC LIMIT 1",
        );
        let before = before.bind(subject).bind(logs::to_i64(index)).fetch_optional(&mut self.conn).await?;
        Ok(before.map(|row| row.get("digest")))
    }

    /// Leaves the copy as it was.
    pub async fn abandon(mut self) -> Result<(), RollError> {
        query("ROLLBACK").execute(&mut self.conn).await?;
        Ok(self.conn.close().await?)
    }

    /// All of it stands from here on, if its rows fit together. Of a file, one whole file is left behind.
    pub async fn finish(mut self) -> Result<(), RollError> {
        self.check_whole().await?;
        query("COMMIT").execute(&mut self.conn).await?;
        if !self.conn.is_postgres() {
            query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut self.conn).await?;
        }
        Ok(self.conn.close().await?)
    }
}

/// The one transaction. Key sets come before the leaves of the trail that register their controllers.
async fn begin(copy: &Database) -> Result<Conn, RollError> {
    let Database::Sqlite(file) = copy else {
        copy.prepare().await?;
        let mut conn = copy.connect().await?;
        query("BEGIN").execute(&mut conn).await?;
        // A gateway that runs on it after all waits, and then finds heads that are not its own.
        query("SELECT log FROM log_heads ORDER BY log FOR UPDATE").fetch_all(&mut conn).await?;
        query("SET CONSTRAINTS ALL DEFERRED").execute(&mut conn).await?;
        return Ok(conn);
    };
    // It may be of the release before.
    copy.migrate().await?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .foreign_keys(false)
        .disable_statement_logging();
    let mut conn = Conn::from(options.connect().await?);
    query("BEGIN IMMEDIATE").execute(&mut conn).await?;
    Ok(conn)
}
