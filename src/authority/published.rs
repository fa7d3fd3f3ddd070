//! Both logs as they were published (C2SP `tlog-tiles`), checked from the bytes up:
//! checkpoints, every tile, every entry, then the audit rules.
//!
//! No I/O here: [`LogFiles`] gives the files, from a directory or from memory, and
//! [`Options::scratch`] the temporary ones. Bundles of 256 entries are read one by one, on all cores;
//! what the rules must remember of them is kept up to [`Options::memory`] and then on disk.
//!
//! Each log is read twice: once for its tree, so that a changed byte is named as such and
//! not as the rule it happens to break, and once for the rules. The second reading
//! recomputes the root, so that both were of the same bytes. The verdict, which is the first fault,
//! does not depend on threads and memory.

use std::fmt;
use std::num::NonZeroUsize;

use serde::Serialize;

use super::audit::{Judge, Summary};
use super::chain::Restart;
use super::external_sort::Scratch;
use super::head;
use super::leaf_form::Registrations;
use super::pins::Pins;
use super::published_audit::{TrailAudit, registrations, replay_authority};
use super::published_log::{self, Log};
use super::rules::{LogName, Rule, Violation};
use crate::domain::Timestamp;
use crate::domain::event::LogReopened;
use crate::trail::{Checkpoint, Note};

pub use super::external_sort::TemporaryFile;

/// The files of one published log. Read from several threads.
pub trait LogFiles {
    /// Reading failed for a reason that says nothing about the log: its text is shown.
    type Error: fmt::Display;
    /// The file at a path below the log's root; `None` if there is none, or a folder or device in its place.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Self::Error>;
    /// Shows the path of each file below the log's root, in any order.
    fn list(&self, show: &mut dyn FnMut(&str)) -> Result<(), Self::Error>;
}

/// How to verify: none of it changes the verdict.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub threads: NonZeroUsize,
    /// Bytes that the rules may remember in memory. What is more goes to temporary files.
    pub memory: usize,
    pub scratch: Scratch<'a>,
    /// How far it is: the stage, leaves done, leaves of all.
    pub progress: &'a dyn Fn(Stage, u64, u64),
}

impl Options<'_> {
    pub(super) fn tell(&self, stage: Stage, done: u64, all: u64) {
        (self.progress)(stage, done, all);
    }
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The trail's tree.
    Tree,
    /// Each of its leaves for itself: form, registrations, signatures.
    Rules,
    /// The history of each case, instruction, execution and export.
    Histories,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Tree => "tree",
            Stage::Rules => "rules",
            Stage::Histories => "histories",
        })
    }
}

/// Checkpoints that were verified earlier, each by a full audit of the leaves it covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Since {
    pub trail: Option<Checkpoint>,
    pub authority: Option<Checkpoint>,
}

/// The pins that [`Since::take`] holds a kept checkpoint against: it was good when it was kept, so any key
/// counts that the log ever had, as the published authority log tells. That the logs continue the checkpoint
/// is checked all the same.
pub fn pins_of_any_time<F: LogFiles + Sync>(authority: &F, pins: &Pins) -> Pins {
    published_log::of_any_time(authority, pins)
}

impl Since {
    /// Takes a checkpoint of either log, signed as the pins ask. The error is one sentence.
    pub fn take(&mut self, note: &str, pins: &Pins) -> Result<(), String> {
        let claimed = Note::parse(note).map_err(|error| error.to_string())?;
        let origin = claimed.text().lines().next().unwrap_or_default();
        let (place, pin) = match origin {
            _ if origin == pins.trail.origin => (&mut self.trail, &pins.trail),
            _ if origin == pins.authority.origin => (&mut self.authority, &pins.authority),
            _ => return Err("its origin is neither of the pinned ones".to_owned()),
        };
        let head = head::open(note, pin, pins)?;
        match place.replace(head.checkpoint) {
            None => Ok(()),
            Some(_) => Err("there is another one of the same log".to_owned()),
        }
    }
}

/// A published log is not good, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `which`: a path, or a log's leaf.
    NotGood { which: String, rule: Option<Rule>, what: String },
    /// The file is there and cannot be read: nothing is known about the log.
    Unreadable { which: String, what: String },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotGood { which, rule: Some(rule), what } => write!(f, "{which} breaks {rule}: {what}"),
            Fault::NotGood { which, rule: None, what } | Fault::Unreadable { which, what } => {
                write!(f, "{which}: {what}")
            }
        }
    }
}

impl std::error::Error for Fault {}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        let Violation { log, index, rule, what } = violation;
        Fault::NotGood { which: format!("{log} leaf {index}"), rule: Some(rule), what }
    }
}

/// What both published logs prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub summary: Summary,
    /// Root of the trail at its checkpoint, base64.
    pub trail_root: String,
    pub authority_root: String,
    /// When the authority head was the newest, as the required witnesses or the freshness cosigner said.
    pub authority_fresh_at: Option<Timestamp>,
    /// Pinned witnesses that cosigned the trail's checkpoint.
    pub witnesses: usize,
    /// Names of pinned cosigners under which another key signed one of the checkpoints: not counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_keys: Vec<String>,
    /// Where the trail broke off and went on under another origin, the last first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<Break>,
    /// Where a controller's key sets broke off, its root lost, and began anew by pin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<Restart>,
    /// What an earlier audit was believed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<SinceReport>,
    /// Sorted runs that were kept in temporary files.
    #[serde(skip)]
    pub spilled: u64,
}

/// Leaves of the trail were lost for good, and it went on under another origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Index of the first leaf under the new origin.
    pub at: u64,
    pub origin: String,
    pub former: String,
    /// Size and root, base64, of the newest head known of the former.
    pub known_size: u64,
    pub known_root: String,
    /// Leaves known to be lost.
    pub lost: u64,
}

impl Break {
    pub(super) fn of(opening: &LogReopened) -> Self {
        let LogReopened { by: _, origin, former, size, known_size, known_root } = opening.clone();
        Self { at: size, origin, former, known_size, known_root, lost: known_size.saturating_sub(size) }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, origin, former, known_size, lost, .. } = self;
        write!(f, "{lost} of {known_size} leaves of {former} are lost; from leaf {at} on it is {origin}")
    }
}

/// What was and was not checked again after an earlier audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinceReport {
    /// Trail leaves below this index were hashed again, and their events replayed; their signatures were
    /// not checked again.
    pub trail: u64,
    /// The authority log continues the one of this size. It was checked whole, signatures too.
    pub authority: Option<u64>,
    /// Older leaves that newer ones refer to: read again and judged whole.
    pub reread: u64,
}

/// Checks the authority log, then the trail: each its tree first, then its rules.
pub fn verify<F: LogFiles + Sync>(
    trail: &F,
    authority: &F,
    pins: &Pins,
    since: &Since,
    options: &Options<'_>,
) -> Result<Report, Fault> {
    let pins = &published_log::followed(authority, pins);
    let authority_log = Log { name: LogName::Authority, files: authority, pin: &pins.authority };
    let log = Log { name: LogName::Trail, files: trail, pin: &pins.trail };
    let authority_head = authority_log.head(pins, since.authority.as_ref())?;
    let head = log.head(pins, since.trail.as_ref())?;
    let threads = options.threads;
    authority_log.check(&authority_head, since.authority.as_ref(), threads, |_| false, |_, _| ())?;
    let authority = replay_authority(&authority_log, &authority_head, pins)?;

    let mut registrations = registrations(pins);
    let registers = Registrations::of(pins.source());
    let size = head.checkpoint.size();
    log.check(
        &head,
        since.trail.as_ref(),
        threads,
        |entry| registers.contain(entry),
        |done, kept| {
            for (index, entry) in kept {
                registrations.take(index, &entry, pins.source(), &authority);
            }
            options.tell(Stage::Tree, done, size);
        },
    )?;
    registrations.finish();
    let earlier = since.trail.as_ref().map(Checkpoint::size);
    let judge = Judge {
        source: pins.source(),
        authority: &authority,
        registrations: &registrations,
        since: earlier.unwrap_or(0),
        witnessed_at: head.witnessed_at,
    };
    let audited = TrailAudit { log: &log, head: &head, judge, options }.run()?;
    let mut other_keys = [head.other_keys, authority_head.other_keys.clone()].concat();
    other_keys.sort_unstable();
    other_keys.dedup();
    let since = (since.trail.is_some() || since.authority.is_some()).then(|| SinceReport {
        trail: earlier.unwrap_or(0),
        authority: since.authority.as_ref().map(Checkpoint::size),
        reread: audited.reread,
    });
    Ok(Report {
        summary: audited.summary,
        trail_root: head.checkpoint.root().to_base64(),
        authority_root: authority_head.checkpoint.root().to_base64(),
        authority_fresh_at: authority_head.dated(),
        witnesses: head.witnesses,
        other_keys,
        breaks: pins.openings().map(Break::of).collect(),
        restarts: authority.all_restarts(),
        since,
        spilled: audited.spilled,
    })
}

/// The structure of one log alone: its checkpoint, tree and files, without the rules.
pub fn verify_structure<F: LogFiles + Sync>(
    name: LogName,
    files: &F,
    pins: &Pins,
    options: &Options<'_>,
) -> Result<u64, Fault> {
    let followed = published_log::followed(files, pins);
    let (pin, pins) = match name {
        // Who followed on its key stands in the other log.
        LogName::Trail => (&pins.trail, pins),
        LogName::Authority => (&followed.authority, &followed),
    };
    let log = Log { name, files, pin };
    let head = log.head(pins, None)?;
    let size = head.checkpoint.size();
    log.check(&head, None, options.threads, |_| false, |done, _| options.tell(Stage::Tree, done, size))?;
    Ok(size)
}
