//! What the witness signed last, on its disk.
//!
//! One JSON file: each log's origin with its last cosigned checkpoint, as the log signed it. A new
//! state is written beside it, synced, renamed over it, and the folder synced: after a crash the
//! file is the old or the new one, whole. [`Memory::set`] returns only then, and only then a
//! cosignature may leave. A lock file keeps a second process out.
//!
//! The file must be there at start. A witness that forgot would take whatever it is shown first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::Logs;
use crate::fault;
use crate::trail::note::MAX_NOTE;
use crate::trail::{Checkpoint, VerifierKey};

const VERSION: u32 = 1;
/// Contradicting checkpoints that are kept.
const CONFLICTS: usize = 16;

/// Why the memory does not serve.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{}: another witness uses it", .0.display())]
    Locked(PathBuf),
    #[error("{}: it is not there; a witness without its memory could sign a second history", .0.display())]
    Missing(PathBuf),
    #[error("{}: {what}", path.display())]
    Damaged { path: PathBuf, what: &'static str },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    /// Origin and signed note.
    logs: BTreeMap<String, String>,
}

/// A log's last cosigned state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    pub head: Checkpoint,
    /// As the log signed it.
    pub note: String,
}

/// The open memory.
pub struct Memory {
    path: PathBuf,
    logs: BTreeMap<String, Cosigned>,
    /// Held for as long as the process lives.
    lock: File,
}

impl Memory {
    /// A new, empty memory. One that is there already is left alone.
    pub fn create(path: &Path) -> Result<(), MemoryError> {
        if path.exists() {
            return Err(MemoryError::Damaged { path: path.to_owned(), what: "it is there already" });
        }
        write(path, &Form { version: VERSION, logs: BTreeMap::new() })
    }

    /// Reads what was cosigned last; every checkpoint in it must be signed by its log's key.
    pub fn open(path: &Path, logs: &Logs) -> Result<Self, MemoryError> {
        let file_error = |source| MemoryError::File { path: path.to_owned(), source };
        let lock = File::create(path.with_extension("lock")).map_err(file_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(MemoryError::Locked(path.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(file_error(source)),
        }
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(MemoryError::Missing(path.to_owned()));
            }
            Err(error) => return Err(file_error(error)),
        };
        let damaged = |what| MemoryError::Damaged { path: path.to_owned(), what };
        let form: Form = serde_json::from_slice(&text).map_err(|_| damaged("it is not of the form"))?;
        if form.version != VERSION {
            return Err(damaged("it is of another version"));
        }
        let mut known = BTreeMap::new();
        for (origin, note) in form.logs {
            // Of a log that is no longer watched: kept, for it may be watched again.
            let head = match logs.get(&origin) {
                Some(keys) => Checkpoint::open_by(&note, &origin, keys)
                    .map_err(|_| damaged("a checkpoint in it is not signed by its log's key"))?,
                None => unverified(&note).ok_or(damaged("it holds a checkpoint that is none"))?,
            };
            known.insert(origin, Cosigned { head, note });
        }
        Ok(Self { path: path.to_owned(), logs: known, lock })
    }

    /// Whether these keys still prove what was cosigned last of each log that they watch.
    pub fn fits(&self, logs: &Logs) -> bool {
        self.logs.iter().all(|(origin, last)| {
            logs.get(origin).is_none_or(|keys| Checkpoint::open_by(&last.note, origin, keys).is_ok())
        })
    }

    pub fn last(&self, origin: &str) -> Option<&Cosigned> {
        self.logs.get(origin)
    }

    /// Makes a new state durable. Blocks. On failure the old one stays, in memory too.
    pub fn set(&mut self, head: Checkpoint, note: String) -> Result<(), MemoryError> {
        let origin = head.origin().to_owned();
        let before = self.logs.insert(origin.clone(), Cosigned { head, note });
        let logs = self.logs.iter().map(|(origin, last)| (origin.clone(), last.note.clone())).collect();
        write(&self.path, &Form { version: VERSION, logs }).inspect_err(|_| {
            match before {
                Some(before) => self.logs.insert(origin, before),
                None => self.logs.remove(&origin),
            };
        })
    }

    /// Keeps a checkpoint that contradicts what was cosigned: together they prove what the log did.
    /// Beside the memory, one file for each size, [`CONFLICTS`] at most; answers whether it was kept.
    pub fn keep_conflict(
        &self,
        vkey: &VerifierKey,
        head: &Checkpoint,
        note: &str,
    ) -> Result<bool, MemoryError> {
        let file_error = |source| MemoryError::File { path: self.path.clone(), source };
        let path = self.path.with_extension(format!("conflict-{:08x}-{}", vkey.id(), head.size()));
        let mut others = 0;
        for entry in std::fs::read_dir(folder_of(&self.path)).map_err(file_error)? {
            let name = entry.map_err(file_error)?.file_name();
            others += usize::from(name.to_string_lossy().contains(".conflict-"));
        }
        if path.exists() || others >= CONFLICTS || note.len() > MAX_NOTE {
            return Ok(false);
        }
        durably(&path, note.as_bytes())?;
        Ok(true)
    }
}

/// Closing the file would let go only with its last duplicate, and a child that is just being started holds one.
impl Drop for Memory {
    fn drop(&mut self) {
        // What cannot be let go here goes with the process.
        let _ = self.lock.unlock();
    }
}

fn unverified(note: &str) -> Option<Checkpoint> {
    Checkpoint::parse_body(crate::trail::Note::parse(note).ok()?.text()).ok()
}

fn write(path: &Path, form: &Form) -> Result<(), MemoryError> {
    // Strings and a number: JSON holds them all.
    let mut text = serde_json::to_vec_pretty(form).expect("the memory is strings and a number");
    text.push(b'\n');
    durably(path, &text)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Old or new after a crash, never a part.
fn durably(path: &Path, bytes: &[u8]) -> Result<(), MemoryError> {
    let put = || {
        let next = path.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fault::point("witness.beside");
        std::fs::rename(&next, path)?;
        File::open(folder_of(path))?.sync_all()
    };
    put().map_err(|source| MemoryError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::log_fixtures::{TRAIL, authority_key, trail_key};
    use crate::trail::leaf_hash;

    fn logs() -> Logs {
        [(TRAIL.to_owned(), vec![trail_key().verifier_key().clone()])].into()
    }

    fn signed(size: u64) -> (Checkpoint, String) {
        let head = Checkpoint::new(TRAIL, size, leaf_hash(&size.to_be_bytes())).unwrap();
        let note = head.sign(&trail_key()).to_string();
        (head, note)
    }

    #[test]
    fn what_was_set_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        assert!(Memory::create(&path).is_err(), "a memory is never made anew over another");
        for size in [5, 9] {
            let mut memory = Memory::open(&path, &logs()).unwrap();
            let (head, note) = signed(size);
            memory.set(head, note).unwrap();
        }
        let memory = Memory::open(&path, &logs()).unwrap();
        assert_eq!(memory.last(TRAIL).unwrap().head.size(), 9);
        assert!(memory.last("other.example/trail").is_none());
        // Left by a crash between writing and renaming: nothing of it counts.
        std::fs::write(path.with_extension("next"), "half").unwrap();
        drop(memory);
        assert_eq!(Memory::open(&path, &logs()).unwrap().last(TRAIL).unwrap().head.size(), 9);
    }

    #[test]
    fn a_missing_foreign_or_shared_memory_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        assert!(matches!(Memory::open(&path, &logs()), Err(MemoryError::Missing(_))));
        Memory::create(&path).unwrap();
        let mut memory = Memory::open(&path, &logs()).unwrap();
        assert!(matches!(Memory::open(&path, &logs()), Err(MemoryError::Locked(_))));
        let (head, _) = signed(5);
        let forged = head.sign(&authority_key()).to_string();
        memory.set(head, forged).unwrap();
        drop(memory);
        assert!(matches!(Memory::open(&path, &logs()), Err(MemoryError::Damaged { .. })));
        std::fs::write(&path, "{\"version\":1,").unwrap();
        assert!(matches!(Memory::open(&path, &logs()), Err(MemoryError::Damaged { .. })));
    }

    #[test]
    fn a_state_that_cannot_be_written_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        let mut memory = Memory::open(&path, &logs()).unwrap();
        let (head, note) = signed(5);
        memory.set(head.clone(), note).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        let (next, note) = signed(6);
        assert!(memory.set(next, note).is_err());
        assert_eq!(memory.last(TRAIL).unwrap().head, head);
    }

    #[test]
    fn contradictions_are_kept_once_for_each_size_and_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        let memory = Memory::open(&path, &logs()).unwrap();
        let key = trail_key();
        let keep = |size, note| memory.keep_conflict(key.verifier_key(), &signed(size).0, note).unwrap();
        assert!(keep(1, "one"));
        assert!(!keep(1, "two"));
        let kept = path.with_extension(format!("conflict-{:08x}-1", key.verifier_key().id()));
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "one");
        assert!((2..=CONFLICTS as u64).all(|size| keep(size, "x")));
        assert!(!keep(99, "x"));
    }
}
