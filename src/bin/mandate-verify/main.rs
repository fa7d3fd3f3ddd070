//! `mandate-verify`: checks a published trail, an evidence bundle or a receipt, offline,
//! against pins that came over another channel. It needs neither the gateway nor its word.
//!
//! Exit 0: good. 1: not good; it says which leaf, tile, proof or signature, and what.
//! 2: wrong usage, or a file (the pins, above all) that cannot be read.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mandate::aside;
use mandate::authority::evidence::MAX_BUNDLE;
use mandate::authority::published::{Options, Since};
use mandate::authority::{Bundle, Pins, proven, published, verdict};
use mandate::domain::clock::SystemClock;
use mandate::domain::{Clock as _, Timestamp};
use mandate::trail::leaf::MAX_LEAF;
use mandate::trail::note::MAX_NOTE;
use mandate::trail::receipt::MAX_RECEIPT;

mod directory;
mod output;
mod progress;
mod temporary;
#[cfg(test)]
mod tests;

use directory::{Directory, read_at_most};
use output::{Outcome, Unanswered};

/// Largest pin file that is read, in bytes.
const MAX_PINS: u64 = 1 << 20;

/// Verify a Mandate trail, evidence or receipt offline.
#[derive(Parser)]
#[command(name = "mandate-verify", version, about, after_help = "Exit: 0 good, 1 not good, 2 usage or I/O.")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// The pin file: origins, log keys, witnesses, key-set digests, agent keys
    #[arg(long, global = true, value_name = "FILE")]
    pin: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Both logs, as `mandate trail export` writes them: every signature, tile and entry, and the audit rules
    Trail {
        /// The folder with `trail/` and `authority/`
        path: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// One instruction: who ordered what, and what became of it
    Evidence {
        /// The evidence bundle
        file: PathBuf,
    },
    /// That one leaf was logged
    Receipt {
        /// The receipt (C2SP tlog-proof)
        file: PathBuf,
        /// The leaf's exact bytes
        #[arg(long, value_name = "FILE")]
        leaf: PathBuf,
    },
}

/// How a trail is verified. Nothing here but `since` changes what is checked.
#[derive(clap::Args)]
struct How {
    /// A checkpoint that an earlier run found good: the logs must continue it, and signatures of leaves
    /// before it are not checked again. Once for each log
    #[arg(long, value_name = "FILE")]
    since: Vec<PathBuf>,
    /// Threads to work on; all cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// MiB that the rules may remember in memory; more goes to temporary files
    #[arg(long, value_name = "MIB", default_value_t = MEMORY, value_parser = clap::value_parser!(u32).range(1..))]
    memory: u32,
    /// Where temporary files are made; they have no name and are gone when the program ends
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
    /// Tell how far it is, on standard error; a terminal is told without asking
    #[arg(long)]
    progress: bool,
}

/// Default of `--memory`.
const MEMORY: u32 = 64;

fn main() -> ExitCode {
    // clap answers wrong usage with exit 2 itself.
    let arguments = Arguments::parse();
    let shown = run(&arguments).and_then(|outcome| outcome.show(arguments.json));
    shown.unwrap_or_else(|Unanswered(why)| {
        aside!("mandate-verify: {why}");
        ExitCode::from(2)
    })
}

fn run(arguments: &Arguments) -> Result<Outcome, Unanswered> {
    let pin =
        arguments.pin.as_deref().ok_or_else(|| Unanswered("name a pin file with --pin FILE".to_owned()))?;
    let text = String::from_utf8(read(pin, MAX_PINS)?)
        .map_err(|_| Unanswered(format!("{}: not UTF-8", pin.display())))?;
    let pins = Pins::parse(&text).map_err(|error| Unanswered(format!("{}: {error}", pin.display())))?;
    match &arguments.what {
        What::Trail { path, how } => verify_logs(path, &pins, how, SystemClock.now()),
        What::Evidence { file } => verify_evidence(file, &pins),
        What::Receipt { file, leaf } => verify_receipt(file, leaf, &pins),
    }
}

fn verify_logs(path: &Path, pins: &Pins, how: &How, now: Timestamp) -> Result<Outcome, Unanswered> {
    let open = |name: &str| {
        let path = path.join(name);
        Directory::open(path.clone()).map_err(|error| Unanswered(format!("{}: {error}", path.display())))
    };
    let (trail, authority) = (open("trail")?, open("authority")?);
    let since = match earlier(&how.since, &authority, pins)? {
        Ok(since) => since,
        Err(outcome) => return Ok(outcome),
    };
    let folder = how.temporary.clone().unwrap_or_else(std::env::temp_dir);
    let terminal = std::io::stderr().is_terminal();
    let progress = progress::Progress::new(terminal, terminal || how.progress);
    let threads = how.threads.or(std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let options = Options {
        threads,
        memory: (how.memory as usize).saturating_mul(1 << 20),
        scratch: &|| temporary::file(&folder),
        progress: &|stage, done, all| progress.tell(stage, done, all),
    };
    let verdict = published::verify(&trail, &authority, pins, &since, &options);
    progress.end();
    Outcome::logs(verdict, pins, now)
}

/// The checkpoints of `--since`. One that is not signed as the pins ask proves nothing: not good.
fn earlier(
    files: &[PathBuf],
    authority: &Directory,
    pins: &Pins,
) -> Result<Result<Since, Outcome>, Unanswered> {
    let mut since = Since::default();
    if files.is_empty() {
        return Ok(Ok(since));
    }
    let pins = published::pins_of_any_time(authority, pins);
    for file in files {
        let name = file.display().to_string();
        let taken = match String::from_utf8(read_kept(file)?) {
            Ok(note) => since.take(&note, &pins),
            Err(_) => Err("it is no UTF-8".to_owned()),
        };
        if let Err(what) = taken {
            return Ok(Err(Outcome::not_good("trail", Some(&name), None, &what)));
        }
    }
    Ok(Ok(since))
}

fn verify_evidence(file: &Path, pins: &Pins) -> Result<Outcome, Unanswered> {
    let bytes = read(file, MAX_BUNDLE as u64)?;
    let bundle = match Bundle::read(&bytes) {
        Ok(bundle) => bundle,
        Err(error) => return Ok(Outcome::not_good("evidence", Some("the bundle"), None, &error.to_string())),
    };
    match verdict::verify(&bundle, pins) {
        Ok(verdict) => Outcome::evidence(&verdict),
        Err(fault) => Ok(Outcome::not_good("evidence", Some(&fault.which.to_string()), None, &fault.what)),
    }
}

fn verify_receipt(file: &Path, leaf: &Path, pins: &Pins) -> Result<Outcome, Unanswered> {
    let receipt = read(file, MAX_RECEIPT as u64)?;
    // One byte more than a leaf may have is enough to find it too large.
    let leaf = read(leaf, MAX_LEAF as u64 + 1)?;
    let verdict = match std::str::from_utf8(&receipt) {
        Ok(receipt) => proven::verify(receipt, &leaf, pins),
        Err(_) => Err("the receipt: it is no UTF-8".to_owned()),
    };
    Outcome::receipt(verdict)
}

/// A checkpoint that was kept, which is a file: nobody waits for one at a pipe.
fn read_kept(path: &Path) -> Result<Vec<u8>, Unanswered> {
    let unreadable = |error: std::io::Error| Unanswered(format!("{}: {error}", path.display()));
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Unanswered(format!("{}: it is no regular file", path.display())));
    }
    read(path, MAX_NOTE as u64)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Unanswered> {
    let unreadable = |error: std::io::Error| Unanswered(format!("{}: {error}", path.display()));
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Err(Unanswered(format!("{}: is a directory", path.display())));
    }
    read_at_most(path, limit).map_err(unreadable)
}
