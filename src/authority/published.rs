//! Both logs as they were published (C2SP `tlog-tiles`), checked from the bytes up:
//! checkpoints, every tile, every entry, then the audit rules.
//!
//! No I/O here: [`LogFiles`] gives the files, from a directory or from memory. Entries are
//! streamed; a bundle of 256 is the most that is held at a time.
//!
//! Each log is read twice: once for its tree, so that a changed byte is named as such and
//! not as the rule it happens to break, and once for the rules. The second reading
//! recomputes the root, so that both were of the same bytes.

use std::fmt;

use serde::Serialize;

use super::audit::{Audit, Summary};
use super::head::{self, Head};
use super::pins::{LogPin, Pins};
use super::rules::{LogName, Rule, Violation};
use crate::domain::Timestamp;
use crate::trail::layout::{CHECKPOINT_PATH, VKEY_PATH, entries_for, paths_for};
use crate::trail::note::MAX_NOTE;
use crate::trail::tile::FULL_WIDTH;
use crate::trail::{
    Appender, Hash, Resource, TileId, TileSource, TreeFault, decode_bundle, leaf_hash, verify_tree,
};

/// The files of one published log.
pub trait LogFiles {
    /// Reading failed for a reason that says nothing about the log: its text is shown.
    type Error: fmt::Display;
    /// The file at a path below the log's root; `None` if there is none.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Self::Error>;
    /// The paths of all files below the log's root, in any order.
    fn list(&self) -> Result<Vec<String>, Self::Error>;
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
    /// When the freshness cosigner said that the authority head was the newest.
    pub authority_fresh_at: Option<Timestamp>,
    /// Pinned witnesses that cosigned the trail's checkpoint.
    pub witnesses: usize,
}

/// Checks the authority log, then the trail, then the rules of both.
pub fn verify<F: LogFiles>(trail: &F, authority: &F, pins: &Pins) -> Result<Report, Fault> {
    let authority = Log { name: LogName::Authority, files: authority, pin: &pins.authority };
    let trail = Log { name: LogName::Trail, files: trail, pin: &pins.trail };
    let authority_head = authority.check(pins)?;
    let trail_head = trail.check(pins)?;
    let mut audit = Audit::new(pins);
    authority.audit(&authority_head, &mut audit)?;
    trail.audit(&trail_head, &mut audit)?;
    Ok(Report {
        summary: audit.finish()?,
        trail_root: trail_head.checkpoint.root().to_base64(),
        authority_root: authority_head.checkpoint.root().to_base64(),
        authority_fresh_at: authority_head.fresh_at,
        witnesses: trail_head.witnesses,
    })
}

struct Log<'a, F> {
    name: LogName,
    files: &'a F,
    pin: &'a LogPin,
}

/// Why a file of the log gives no tile or entries.
#[derive(Debug)]
enum FileFault {
    Wrong { path: String, what: &'static str },
    Unreadable { path: String, what: String },
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileFault::Wrong { path, what } => write!(f, "{path}: {what}"),
            FileFault::Unreadable { path, what } => write!(f, "{path}: {what}"),
        }
    }
}

impl<F: LogFiles> Log<'_, F> {
    fn not_good(&self, path: impl fmt::Display, what: impl Into<String>) -> Fault {
        Fault::NotGood { which: format!("{}/{path}", self.name), rule: None, what: what.into() }
    }

    fn file_fault(&self, fault: FileFault) -> Fault {
        match fault {
            FileFault::Wrong { path, what } => self.not_good(path, what),
            FileFault::Unreadable { path, what } => {
                Fault::Unreadable { which: format!("{}/{path}", self.name), what }
            }
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileFault> {
        match self.files.read(path) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(FileFault::Wrong { path: path.to_owned(), what: "the file is missing" }),
            Err(error) => Err(FileFault::Unreadable { path: path.to_owned(), what: error.to_string() }),
        }
    }

    /// Checkpoint, whole tree, every published file.
    fn check(&self, pins: &Pins) -> Result<Head, Fault> {
        let note = self.read(CHECKPOINT_PATH).map_err(|fault| self.file_fault(fault))?;
        if note.len() > MAX_NOTE {
            return Err(self.not_good(CHECKPOINT_PATH, "it is larger than a checkpoint can be"));
        }
        let note = String::from_utf8(note).map_err(|_| self.not_good(CHECKPOINT_PATH, "it is no UTF-8"))?;
        let head = head::open(&note, self.pin, pins).map_err(|what| self.not_good(CHECKPOINT_PATH, what))?;
        self.check_vkey()?;
        let (size, root) = (head.checkpoint.size(), *head.checkpoint.root());
        verify_tree(size, &root, self.entries(size), self).map_err(|fault| self.tree_fault(size, fault))?;
        self.check_list(size)?;
        Ok(head)
    }

    /// The key beside the log is a convenience that proves nothing; a false one would mislead.
    fn check_vkey(&self) -> Result<(), Fault> {
        let vkey = self.files.read(VKEY_PATH).map_err(|error| {
            self.file_fault(FileFault::Unreadable { path: VKEY_PATH.to_owned(), what: error.to_string() })
        })?;
        let pinned = self.pin.vkey.to_string();
        match vkey {
            Some(bytes) if bytes.strip_suffix(b"\n").unwrap_or(&bytes) != pinned.as_bytes() => {
                Err(self.not_good(VKEY_PATH, "it is not the pinned key"))
            }
            _ => Ok(()),
        }
    }

    /// Every other file is an earlier, narrower state of a tile or bundle, byte for byte.
    fn check_list(&self, size: u64) -> Result<(), Fault> {
        let paths = self.files.list().map_err(|error| {
            self.file_fault(FileFault::Unreadable { path: "tile".to_owned(), what: error.to_string() })
        })?;
        let mut expected = paths_for(size).map(|resource| resource.path()).collect::<Vec<_>>();
        expected.extend([CHECKPOINT_PATH.to_owned(), VKEY_PATH.to_owned()]);
        expected.sort_unstable();
        for path in paths {
            if expected.binary_search(&path).is_ok() {
                continue;
            }
            let foreign = || self.not_good(&path, "the file is not of this log at its size");
            let narrow = Resource::parse(&path).map_err(|_| foreign())?;
            let (level, index) = match narrow {
                Resource::Tile(tile) => (tile.level, tile.index),
                Resource::Entries { index, .. } => (0, index),
            };
            let whole = TileId::in_tree(level, index, size).ok_or_else(foreign)?;
            if narrow.width() >= whole.width {
                return Err(foreign());
            }
            let wide = match narrow {
                Resource::Tile(_) => Resource::Tile(whole),
                Resource::Entries { index, .. } => Resource::Entries { index, width: whole.width },
            };
            let (narrow_bytes, wide_bytes) = self
                .read(&path)
                .and_then(|narrow| Ok((narrow, self.read(&wide.path())?)))
                .map_err(|fault| self.file_fault(fault))?;
            let complete = match narrow {
                Resource::Tile(tile) => narrow_bytes.len() == usize::from(tile.width) * Hash::LEN,
                Resource::Entries { width, .. } => decode_bundle(&narrow_bytes, width).is_ok(),
            };
            if !complete || !wide_bytes.starts_with(&narrow_bytes) {
                return Err(self.not_good(&path, "it is no earlier state of the published one"));
            }
        }
        Ok(())
    }

    /// The first `size` entries, bundle by bundle.
    fn entries(&self, size: u64) -> impl Iterator<Item = Result<Vec<u8>, FileFault>> + '_ {
        entries_for(size).flat_map(move |bundle| {
            let (path, width) = (bundle.path(), bundle.width());
            let entries = self.read(&path).and_then(|bytes| match decode_bundle(&bytes, width) {
                Ok(entries) => Ok(entries.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()),
                Err(_) => Err(FileFault::Wrong {
                    path,
                    what: "it is no bundle of as many entries as its name says",
                }),
            });
            match entries {
                Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(fault) => vec![Err(fault)],
            }
        })
    }

    fn tree_fault(&self, size: u64, fault: TreeFault<FileFault, FileFault>) -> Fault {
        let text = fault.to_string();
        match fault {
            TreeFault::EntrySource { error, .. } | TreeFault::TileSource { error, .. } => {
                self.file_fault(error)
            }
            TreeFault::Entry { index } => Fault::NotGood {
                which: format!("{} leaf {index}, in {}/{}", self.name, self.name, bundle_of(index, size)),
                rule: None,
                what: "it is not the entry that was logged".to_owned(),
            },
            TreeFault::Tile { tile, at } => {
                self.not_good(Resource::Tile(tile), format!("it differs from the entries at hash {at}"))
            }
            TreeFault::TileWidth { tile, got } => {
                self.not_good(Resource::Tile(tile), format!("it holds {got} hashes"))
            }
            TreeFault::Root { .. } => self.not_good(CHECKPOINT_PATH, "its root is not that of the entries"),
            TreeFault::EntriesMissing { .. } | TreeFault::EntriesExtra { .. } => {
                self.not_good("tile/entries", text)
            }
        }
    }

    /// Every leaf against the rules; the bytes are again those of the checkpoint.
    fn audit(&self, head: &Head, audit: &mut Audit) -> Result<(), Fault> {
        let size = head.checkpoint.size();
        let mut tree = Appender::new();
        for (index, entry) in (0..size).zip(self.entries(size)) {
            let entry = entry.map_err(|fault| self.file_fault(fault))?;
            tree.append(leaf_hash(&entry));
            if index % 256 == 255 {
                tree.take_dirty_tiles();
                tree.settle();
            }
            audit.feed(self.name, index, &entry)?;
        }
        if tree.size() != size || tree.root() != *head.checkpoint.root() {
            return Err(self.not_good("tile/entries", "it changed while it was read"));
        }
        Ok(())
    }
}

/// Where the entry lies in a log of this size.
fn bundle_of(index: u64, size: u64) -> Resource {
    let bundle = index / u64::from(FULL_WIDTH);
    let width = TileId::in_tree(0, bundle, size).map_or(FULL_WIDTH, |tile| tile.width);
    Resource::Entries { index: bundle, width }
}

impl<F: LogFiles> TileSource for Log<'_, F> {
    type Error = FileFault;

    fn tile(&self, tile: TileId) -> Result<Vec<Hash>, FileFault> {
        let path = Resource::Tile(tile).path();
        let bytes = self.read(&path)?;
        if bytes.len() != usize::from(tile.width) * Hash::LEN {
            return Err(FileFault::Wrong { path, what: "it has not as many hashes as its name says" });
        }
        Ok(bytes.chunks_exact(Hash::LEN).filter_map(Hash::from_slice).collect())
    }
}
