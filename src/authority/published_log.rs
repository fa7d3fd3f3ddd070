//! One published log: its checkpoint, tiles and entries, from the files that somebody gave us.

use std::fmt;
use std::num::NonZeroUsize;

use super::head::{self, Head};
use super::leaf_form;
use super::pins::{LogPin, Pins};
use super::published::{Fault, LogFiles};
use super::rules::LogName;
use crate::trail::layout::{CHECKPOINT_PATH, VKEY_PATH};
use crate::trail::note::MAX_NOTE;
use crate::trail::tile::FULL_WIDTH;
use crate::trail::{
    Checkpoint, EntrySource, Hash, Note, Resource, TileId, TileSource, TreeCheck, TreeFault, decode_bundle,
    verify_tree,
};

pub(super) struct Log<'a, F> {
    pub name: LogName,
    pub files: &'a F,
    pub pin: &'a LogPin,
}

/// Why a file of the log gives no tile or entries.
#[derive(Debug)]
pub(super) enum FileFault {
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

/// The pins as the published authority log moves them. What cannot be read moves nothing, and is
/// found when the log is checked.
pub(super) fn followed<F: LogFiles + Sync>(authority: &F, pins: &Pins) -> Pins {
    let mut followed = pins.clone();
    each_bundle(authority, pins, |entries| followed = followed.followed(entries.iter().copied()));
    followed
}

/// The pins for heads that were kept ([`Pins::of_any_time`]).
pub(super) fn of_any_time<F: LogFiles + Sync>(authority: &F, pins: &Pins) -> Pins {
    let mut about_logs: Vec<Vec<u8>> = Vec::new();
    each_bundle(authority, pins, |entries| {
        let told = entries.iter().filter(|entry| leaf_form::log_event(entry).is_some());
        about_logs.extend(told.map(|entry| entry.to_vec()));
    });
    pins.of_any_time(about_logs.iter().map(Vec::as_slice))
}

/// Shows the bundles of the authority log, in order, as far as they can be read. Nothing is proven.
fn each_bundle<F: LogFiles + Sync>(authority: &F, pins: &Pins, mut show: impl FnMut(&[&[u8]])) {
    let log = Log { name: LogName::Authority, files: authority, pin: &pins.authority };
    let note = log.read(CHECKPOINT_PATH).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let claimed = note.and_then(|note| Note::parse(&note).ok());
    let size =
        claimed.and_then(|note| Checkpoint::parse_body(note.text()).ok()).map_or(0, |head| head.size());
    // The size is nobody's word yet: the first bundle that is not there ends it.
    for tile in (0..).map_while(|index| TileId::in_tree(0, index, size)) {
        if log.entries(tile, &mut show).is_err() {
            break;
        }
    }
}

impl<F: LogFiles + Sync> Log<'_, F> {
    pub(super) fn not_good(&self, path: impl fmt::Display, what: impl Into<String>) -> Fault {
        Fault::NotGood { which: format!("{}/{path}", self.name), rule: None, what: what.into() }
    }

    pub(super) fn file_fault(&self, fault: FileFault) -> Fault {
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
            Ok(None) => Err(FileFault::Wrong {
                path: path.to_owned(),
                what: "the file is missing, or what stands there is no regular file",
            }),
            Err(error) => Err(FileFault::Unreadable { path: path.to_owned(), what: error.to_string() }),
        }
    }

    /// The checkpoint, held against the pins and against one that was verified before.
    pub(super) fn head(&self, pins: &Pins, since: Option<&Checkpoint>) -> Result<Head, Fault> {
        let note = self.read(CHECKPOINT_PATH).map_err(|fault| self.file_fault(fault))?;
        if note.len() > MAX_NOTE {
            return Err(self.not_good(CHECKPOINT_PATH, "it is larger than a checkpoint can be"));
        }
        let note = String::from_utf8(note).map_err(|_| self.not_good(CHECKPOINT_PATH, "it is no UTF-8"))?;
        let head = head::open(&note, self.pin, pins).map_err(|what| self.not_good(CHECKPOINT_PATH, what))?;
        let size = head.checkpoint.size();
        match since.map(Checkpoint::size) {
            Some(earlier) if size < earlier => Err(self.not_good(
                CHECKPOINT_PATH,
                format!("rollback: it has {size} leaves, the checkpoint verified before has {earlier}"),
            )),
            _ => Ok(head),
        }
    }

    /// The whole tree and every published file. `wants` and `passed` are those of [`verify_tree`].
    pub(super) fn check(
        &self,
        head: &Head,
        since: Option<&Checkpoint>,
        threads: NonZeroUsize,
        wants: impl Fn(&[u8]) -> bool + Sync,
        passed: impl FnMut(u64, Vec<(u64, Vec<u8>)>),
    ) -> Result<(), Fault> {
        self.check_vkey()?;
        let (size, root) = (head.checkpoint.size(), head.checkpoint.root());
        let check = TreeCheck { size, root, older: since.map(Checkpoint::size), threads };
        let older = verify_tree(&check, self, wants, passed).map_err(|fault| self.tree_fault(size, fault))?;
        if let Some(since) = since
            && older != Some(*since.root())
        {
            return Err(self.not_good(
                CHECKPOINT_PATH,
                format!(
                    "fork: its first {} leaves are not those of the checkpoint verified before",
                    since.size()
                ),
            ));
        }
        self.check_list(size)
    }

    /// The key beside the log is a convenience that proves nothing; a false one would mislead.
    fn check_vkey(&self) -> Result<(), Fault> {
        let vkey = self.files.read(VKEY_PATH).map_err(|error| {
            self.file_fault(FileFault::Unreadable { path: VKEY_PATH.to_owned(), what: error.to_string() })
        })?;
        let Some(bytes) = vkey else { return Ok(()) };
        // While a key is being replaced both stand there, each on a line.
        let is_believed = |line: &[u8]| self.pin.keys().any(|key| key.to_string().as_bytes() == line);
        let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        match lines.split(|byte| *byte == b'\n').any(is_believed) {
            true => Ok(()),
            false => Err(self.not_good(VKEY_PATH, "it is not the pinned key")),
        }
    }

    /// Every other file is an earlier, narrower state of a tile or bundle, byte for byte. Of several that
    /// are not, the first by path is named, in whatever order they are listed.
    fn check_list(&self, size: u64) -> Result<(), Fault> {
        let mut first: Option<(String, Fault)> = None;
        let listed = self.files.list(&mut |path| {
            if first.as_ref().is_none_or(|(named, _)| path < named.as_str())
                && let Err(fault) = self.check_listed(path, size)
            {
                first = Some((path.to_owned(), fault));
            }
        });
        listed.map_err(|error| {
            self.file_fault(FileFault::Unreadable { path: "tile".to_owned(), what: error.to_string() })
        })?;
        first.map_or(Ok(()), |(_, fault)| Err(fault))
    }

    fn check_listed(&self, path: &str, size: u64) -> Result<(), Fault> {
        if [CHECKPOINT_PATH, VKEY_PATH].contains(&path) {
            return Ok(());
        }
        let foreign = || self.not_good(path, "the file is not of this log at its size");
        let narrow = Resource::parse(path).map_err(|_| foreign())?;
        let (level, index) = match narrow {
            Resource::Tile(tile) => (tile.level, tile.index),
            Resource::Entries { index, .. } => (0, index),
        };
        let whole = TileId::in_tree(level, index, size).ok_or_else(foreign)?;
        if narrow.width() == whole.width {
            // One of those that were read with the tree.
            return Ok(());
        }
        if narrow.width() > whole.width {
            return Err(foreign());
        }
        let wide = match narrow {
            Resource::Tile(_) => Resource::Tile(whole),
            Resource::Entries { index, .. } => Resource::Entries { index, width: whole.width },
        };
        let (narrow_bytes, wide_bytes) = self
            .read(path)
            .and_then(|narrow| Ok((narrow, self.read(&wide.path())?)))
            .map_err(|fault| self.file_fault(fault))?;
        let complete = match narrow {
            Resource::Tile(tile) => narrow_bytes.len() == usize::from(tile.width) * Hash::LEN,
            Resource::Entries { width, .. } => decode_bundle(&narrow_bytes, width).is_ok(),
        };
        if !complete || !wide_bytes.starts_with(&narrow_bytes) {
            return Err(self.not_good(path, "it is no earlier state of the published one"));
        }
        Ok(())
    }

    fn tree_fault(&self, size: u64, fault: TreeFault<FileFault>) -> Fault {
        match fault {
            TreeFault::Source { error, .. } => self.file_fault(error),
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
        }
    }
}

/// Where the entry lies in a log of this size.
fn bundle_of(index: u64, size: u64) -> Resource {
    let bundle = index / u64::from(FULL_WIDTH);
    let width = TileId::in_tree(0, bundle, size).map_or(FULL_WIDTH, |tile| tile.width);
    Resource::Entries { index: bundle, width }
}

impl<F: LogFiles + Sync> TileSource for Log<'_, F> {
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

impl<F: LogFiles + Sync> EntrySource for Log<'_, F> {
    fn entries<R>(&self, tile: TileId, show: impl FnOnce(&[&[u8]]) -> R) -> Result<R, FileFault> {
        let path = Resource::Entries { index: tile.index, width: tile.width }.path();
        let bytes = self.read(&path)?;
        match decode_bundle(&bytes, tile.width) {
            Ok(entries) => Ok(show(&entries)),
            Err(_) => {
                Err(FileFault::Wrong { path, what: "it is no bundle of as many entries as its name says" })
            }
        }
    }
}
