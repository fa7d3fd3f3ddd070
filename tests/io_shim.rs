//! The shim between a gateway and its data folder, made by `cc` from `tests/faults/io.c`.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::harness::Environment;

/// What a fault does; the numbers are those of `tests/faults/io.c`.
#[derive(Clone, Copy)]
pub enum Mode {
    Off = 0,
    Once = 1,
    Always = 2,
    Trace = 3,
}

pub const KINDS: [(&str, u64); 9] = [
    ("write", WRITE),
    ("sync", SYNC),
    ("truncate", 4),
    ("open", OPEN),
    ("read", 16),
    ("close", 32),
    ("unlink", 64),
    ("stat", 128),
    ("fcntl", 256),
];
pub const WRITE: u64 = 1;
pub const SYNC: u64 = 2;
pub const OPEN: u64 = 8;
/// Not among the others, since it takes half a minute each until the gateway ends.
pub const UNLOCK: u64 = 512;
/// Bytes of a file's name, the zero at its end included, and where the first stands.
const NAME: usize = 56;
const HEAD: usize = 48;
/// The calls that a trace holds.
const TRACED: usize = 16_384;

/// The shim between a gateway and its data folder.
pub struct Shim {
    folder: PathBuf,
    path: PathBuf,
    control: std::fs::File,
}

/// The shim's library, made once.
fn library() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("io.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/io.c");
        let made = std::process::Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&path)
            .arg(source)
            .arg("-ldl")
            .output()
            .expect("a C compiler is installed: apt-get install gcc");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (folder, path)
    });
    path
}

impl Shim {
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("io-control");
        std::fs::write(&path, vec![0; HEAD + NAME + TRACED * (8 + NAME)]).expect("written");
        let control = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        Self { folder: dir.join("data"), path, control }
    }

    pub fn environment(&self) -> Environment {
        vec![
            ("LD_PRELOAD", library().display().to_string()),
            ("MANDATE_IO_FOLDER", self.folder.display().to_string()),
            ("MANDATE_IO_CONTROL", self.path.display().to_string()),
        ]
    }

    fn put(&self, place: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), 8 * place).expect("written");
    }

    fn get(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * place).expect("read");
        u64::from_ne_bytes(bytes)
    }

    /// From now on calls of these kinds on this file (empty: on any) count, and fail as `mode` says.
    pub fn set(&self, mode: Mode, kinds: u64, file: &str, nth: u64, error: i32) {
        self.put(0, Mode::Off as u64);
        let mut name = [0; NAME];
        name[..file.len()].copy_from_slice(file.as_bytes());
        self.control.write_all_at(&name, HEAD as u64).expect("written");
        let error = u64::try_from(error).expect("an errno");
        for (place, value) in [kinds, nth, error, 0, 0].into_iter().enumerate() {
            self.put(1 + place as u64, value);
        }
        self.put(0, mode as u64);
    }

    pub fn off(&self) {
        self.set(Mode::Off, 0, "", 0, 0);
    }

    pub fn trace(&self) {
        self.set(Mode::Trace, KINDS.iter().map(|(_, kind)| kind).sum(), "", 0, 0);
    }

    /// How often which call was made on which file since the trace began.
    pub fn traced(&self) -> BTreeMap<Call, u64> {
        let seen = usize::try_from(self.seen()).expect("a count");
        assert!(seen <= TRACED, "more calls than a trace holds: {seen}");
        let mut calls = BTreeMap::new();
        for n in 0..seen {
            let mut entry = [0; 8 + NAME];
            let at = HEAD + NAME + n * entry.len();
            self.control.read_exact_at(&mut entry, at as u64).expect("read");
            let (kind, name) = entry.split_first_chunk().expect("long enough");
            let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
            let call =
                Call { kind: u64::from_ne_bytes(*kind), file: String::from_utf8(name).expect("UTF-8") };
            *calls.entry(call).or_insert(0) += 1;
        }
        calls
    }

    pub fn seen(&self) -> u64 {
        self.get(4)
    }

    pub fn failed(&self) -> u64 {
        self.get(5)
    }
}

/// A kind of call on one file of the data folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub kind: u64,
    pub file: String,
}

impl Call {
    pub fn kind_name(&self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self.kind).expect("a kind").0
    }
}
