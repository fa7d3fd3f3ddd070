//! Holds everything the gateway keeps against its trail, and changes nothing.
//!
//! The trail is what happened (DESIGN §7, I2): whatever the tables say beyond it, or otherwise, was not
//! done by the gateway. The doctor rebuilds from the leaves every row that follows from them, in a scratch
//! database, and compares. Beside that it hashes both logs anew, looks at every tile and head, asks what
//! no row may be, and looks for the keys and files that rows name. It reads pages; memory does not grow
//! with the trail.
//!
//! The gateway may run meanwhile: the database is read as it stood at one moment. What lies outside of it
//! (keys, files) moves on, so what is missing there is asked about again at the end.
//!
//! What it cannot see: columns that no leaf holds (names shown to people, routing facts beyond their
//! digest, flags), and whether sealed bytes open.

mod exports;
mod keys;
mod logs;
mod signed;

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::Retention;
use crate::domain::event::Event;
use crate::domain::{AppId, Clock, Entropy};
use crate::store::projection::{self, At, ProjectError, Scratch};
use crate::store::survey::{self, Comparison, Difference, What};
use crate::store::{Conn, Database, Log, LogVerifiers, OpenError, Origins, StoreError, logs as kept};
use crate::trail::{Checkpoint, VerifierKey};
use crate::vault::{KeyringPlace, VaultError};

use logs::{Walk, Walked};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Stable; `docs/operators.md` lists them.
    pub code: &'static str,
    pub table: &'static str,
    /// Resource name of the row, leaf or file. Never personal data.
    pub resource: String,
    pub sentence: String,
}

/// Takes findings as they come.
pub type Sink<'a> = &'a mut (dyn FnMut(Finding) + Send);

impl Finding {
    /// Whether it says that logs and rows do not fit together, and not only that something is missing
    /// which no leaf holds.
    pub fn is_of_history(&self) -> bool {
        ["LEAF_", "TILE_", "HEAD_", "ROW_", "COSIGNED_"].iter().any(|kind| self.code.starts_with(kind))
    }
}

/// What is examined.
pub struct Patient {
    pub database: Database,
    pub origins: Origins,
    /// Of the gateway's own log keys.
    pub keys: LogVerifiers,
    /// Of the witnesses that the gateway is configured with.
    pub witnesses: Vec<VerifierKey>,
    /// What lies outside the database; `None` for a copy of it alone.
    pub outside: Option<Outside>,
    /// How long personal data stays: a key whose time is up may be gone before its row says so.
    pub retention: Retention,
    /// Seconds: a younger file that no row names may be an upload under way, or wait for the sweeper.
    pub stray_after: i64,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Where rows' keys and files lie.
pub struct Outside {
    pub keyring: KeyringPlace,
    /// Folder of the epoch keys.
    pub epochs: PathBuf,
    /// Folder of export packages.
    pub exports: PathBuf,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Examined {
    pub trail_leaves: u64,
    pub authority_leaves: u64,
    /// Rows whose data keys were looked for; `None` where the keyring is in use by a running gateway.
    pub sealed_rows: Option<u64>,
    pub export_files: u64,
}

/// Why the examination could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CannotExamine {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the keyring: {0}")]
    Vault(#[from] VaultError),
    #[error("a folder cannot be read: {0}")]
    File(#[from] std::io::Error),
}

/// Examines everything; tells each finding once.
pub async fn examine(patient: &Patient, sink: Sink<'_>) -> Result<Examined, CannotExamine> {
    let mut conn = patient.database.snapshot().await?;
    let mut scratch = Scratch::make(&*patient.entropy).await?;
    let known = Known::read(patient, &mut conn).await?;
    let authority = examine_log(patient, &known, Log::Authority, &mut conn, &mut scratch, sink).await?;
    let trail = examine_log(patient, &known, Log::Trail, &mut conn, &mut scratch, sink).await?;
    scratch.keep().await?;
    for table in survey::TABLES {
        let mut comparison = Comparison::of(table);
        while let Some(page) = comparison.next(&mut conn, &mut scratch.conn).await? {
            page.into_iter().for_each(|difference| sink(difference.into()));
        }
    }
    for odd in survey::oddities(&mut conn).await? {
        let survey::Oddity { code, table, resource, sentence } = odd;
        sink(Finding { code, table, resource, sentence: sentence.into() });
    }
    signed::examine(patient, &mut conn, sink).await?;
    let (mut sealed_rows, mut export_files) = (None, 0);
    if let Some(outside) = &patient.outside {
        sealed_rows = keys::examine(patient, outside, &mut conn, sink).await?;
        export_files = exports::examine(patient, &outside.exports, &mut conn, sink).await?;
    }
    Ok(Examined { trail_leaves: trail, authority_leaves: authority, sealed_rows, export_files })
}

/// Whether the log continues a signed head.
pub async fn contains(patient: &Patient, log: Log, head: &Checkpoint) -> Result<bool, CannotExamine> {
    logs::contains(patient, log, head).await
}

/// What the authority log says of both logs.
struct Known {
    /// The gateway's own keys and those they followed on: older heads bear their signatures.
    keys: LogVerifiers,
    /// Origins that the trail has and had, the present one first.
    trail_origins: Vec<String>,
}

impl Known {
    async fn read(patient: &Patient, conn: &mut Conn) -> Result<Self, CannotExamine> {
        let vouched = kept::leaves_of_type(conn, Log::Authority, "mandate.log_key.vouched").await;
        let vouched = vouched.map_err(StoreError::from)?;
        let trail_origins = kept::trail_origins(conn, &patient.origins.trail()).await;
        Ok(Self {
            keys: patient.keys.clone().with_former(vouched.iter().map(Vec::as_slice)),
            trail_origins: trail_origins.map_err(StoreError::from)?,
        })
    }

    /// What leaf 0 of the log names.
    fn first_origin(&self, patient: &Patient, log: Log) -> String {
        match (log, self.trail_origins.last()) {
            (Log::Trail, Some(first)) => first.clone(),
            (Log::Trail, None) => patient.origins.trail(),
            (Log::Authority, _) => patient.origins.authority(),
        }
    }
}

/// Walks one log and rebuilds what its leaves imply. Returns its size.
async fn examine_log(
    patient: &Patient,
    known: &Known,
    log: Log,
    conn: &mut Conn,
    scratch: &mut Scratch,
    sink: Sink<'_>,
) -> Result<u64, CannotExamine> {
    let mut walk = Walk::begin(patient, known, log, conn).await?;
    while let Some(page) = walk.page(conn, sink).await? {
        for Walked { index, leaf, event } in &page {
            let at = At {
                log,
                index: *index,
                subject: leaf.subject(),
                seconds: leaf.time().as_second(),
                origins: &known.trail_origins,
            };
            match projection::apply(&mut scratch.conn, at, event).await {
                Ok(()) => {}
                Err(ProjectError::Contradiction(why)) => sink(walk.finding(
                    "LEAF_CONTRADICTS",
                    *index,
                    format!("what stands in the leaf cannot follow on what stands before it: {why}"),
                )),
                Err(ProjectError::Store(error)) => return Err(error.into()),
            }
            if let Event::AppRegistered(registered) = event {
                examine_facts(conn, leaf.subject(), registered, sink).await?;
            }
        }
    }
    walk.end(conn, sink).await
}

/// An app's facts are those whose digest is in its leaf: they decide where a person's request goes.
async fn examine_facts(
    conn: &mut Conn,
    subject: &str,
    registered: &crate::domain::event::AppRegistered,
    sink: Sink<'_>,
) -> Result<(), CannotExamine> {
    let Ok(app) = AppId::from_resource_name(subject) else { return Ok(()) };
    let facts = survey::facts_of(conn, &app).await?;
    let same = facts.len() == registered.facts as usize
        && crate::app::facts_digest(&facts) == registered.facts_digest
        // The digest is of the spellings as registered; mail is routed by the folded ones.
        && facts.iter().all(|fact| crate::domain::phrase::fold(&fact.shown) == fact.folded);
    if !same {
        sink(Finding {
            code: "FACTS_DIFFER",
            table: "app_facts",
            resource: app.resource_name(),
            sentence: "its routing facts are not those of its leaf".into(),
        });
    }
    Ok(())
}

impl From<Difference> for Finding {
    fn from(Difference { table, resource, what }: Difference) -> Self {
        let (code, sentence) = match what {
            What::Missing => ("ROW_MISSING", "the leaves imply this row, and it is not there".to_owned()),
            What::Unfounded => ("ROW_UNFOUNDED", "no leaf implies this row".to_owned()),
            What::Differs(column) => ("ROW_DIFFERS", format!("the leaves imply another value of {column}")),
        };
        Finding { code, table, resource, sentence }
    }
}
