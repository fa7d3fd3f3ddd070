//! `mandate keyset`: a controller's key set, made and kept by the controller itself. Files in, files out; no
//! connection, and no root key but where one is asked to sign.
//!
//! ```text
//! new ─► add … ─► sign … ─► (read its thumbprint aloud, pin it, register it)
//! rotate CURRENT ─► add … ─► sign with the roots of both ─► diff, show ─► send it
//! ```
//!
//! A set that nobody has signed yet lies in its file as JWS General JSON without signatures. Nothing is
//! overwritten: each step writes a new file, or stdout.

mod changes;
mod diff;
mod file;
mod show;
mod verdict;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::changes::Changes;
use self::file::KeySetFile;
use super::signing::{Outcome, Signing};
use super::{CliError, files};
use crate::domain::Clock;
use crate::domain::clock::SystemClock;
use crate::{aside, say};

#[derive(Debug, Args)]
pub struct Keyset {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin version 1, unsigned
    New {
        /// controllers/<id>
        #[arg(long)]
        iss: String,
        /// The trail's origin, as in pins.toml
        #[arg(long)]
        aud: String,
        #[command(flatten)]
        changes: Changes,
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Change an unsigned set: add or remove keys, set roles
    Add {
        file: PathBuf,
        #[command(flatten)]
        changes: Changes,
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Begin the version after this one, unsigned
    Rotate {
        /// The signed set in force
        file: PathBuf,
        #[command(flatten)]
        changes: Changes,
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Add a root key's signature
    Sign {
        file: PathBuf,
        #[command(flatten)]
        signing: Signing,
        /// The version before: tells whose signatures are still missing. Repeat for each from version 1 on, so that all
        /// is judged as a gateway would
        #[arg(long, value_name = "FILE")]
        previous: Vec<PathBuf>,
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Show a set for people, with thumbprints to read aloud
    Show {
        file: PathBuf,
        /// The version before: tells whose signatures are still missing. Repeat for each from version 1 on, so that all
        /// is judged as a gateway would
        #[arg(long, value_name = "FILE")]
        previous: Vec<PathBuf>,
    },
    /// Show what changes from one set to another
    Diff { from: PathBuf, to: PathBuf },
}

impl Keyset {
    pub fn run(self) -> Result<(), CliError> {
        let now = SystemClock.now_seconds();
        match self.command {
            Command::New { iss, aud, changes, out } => {
                let mut set = KeySetFile::first(&iss, &aud, now);
                changes.apply(&mut set, now)?;
                let set = set.checked()?;
                say::err(format_args!("{}", diff::idle(&set)?));
                write(out.as_deref(), &set)
            }
            Command::Add { file, changes, out } => {
                let before = KeySetFile::read(&file)?;
                if before.is_signed() {
                    return Err(CliError::plain(
                        "this set is signed, and every change would break that: rotate it instead",
                    ));
                }
                let mut set = before.clone();
                changes.apply(&mut set, now)?;
                let set = set.checked()?;
                say::err(format_args!("{}", diff::changes(&before, &set)?));
                write(out.as_deref(), &set)
            }
            Command::Rotate { file, changes, out } => {
                let before = KeySetFile::read(&file)?;
                let mut set = before.next(now)?;
                changes.apply(&mut set, now)?;
                let set = set.checked()?;
                set.check_follows(&before)?;
                say::err(format_args!("{}", diff::diff(&before, &set)?));
                write(out.as_deref(), &set)
            }
            Command::Sign { file, signing, previous, out } => {
                sign(&file, &signing, &read_all(&previous)?, now, out.as_deref())
            }
            Command::Show { file, previous } => {
                let (set, before) = (KeySetFile::read(&file)?, read_all(&previous)?);
                say::out(format_args!("{}", show::show(&set, before.last(), now)?));
                // What a gateway would refuse is shown all the same, and is a failure.
                for line in verdict::verdict(&set, &before, now)? {
                    say!("  {line}");
                }
                Ok(())
            }
            Command::Diff { from, to } => {
                let changes = diff::diff(&KeySetFile::read(&from)?, &KeySetFile::read(&to)?)?;
                say::out(format_args!("{changes}"));
                Ok(())
            }
        }
    }
}

fn read_all(files: &[PathBuf]) -> Result<Vec<KeySetFile>, CliError> {
    Ok(verdict::in_order(files.iter().map(|file| KeySetFile::read(file)).collect::<Result<_, _>>()?))
}

fn sign(
    file: &Path,
    signing: &Signing,
    before: &[KeySetFile],
    now: i64,
    out: Option<&Path>,
) -> Result<(), CliError> {
    let mut set = KeySetFile::read(file)?;
    verdict::before_signing(&set, before, now)?;
    match signing.run(&|key| set.to_sign(key))? {
        Outcome::Waits(_) => {
            say!("sign these bytes elsewhere, then: mandate keyset sign … --public-key … --signature …");
            Ok(())
        }
        Outcome::Signed(signatures) => {
            for signature in &signatures {
                set.add_signature(signature)?;
            }
            for line in verdict::verdict(&set, before, now)? {
                aside!("{line}");
            }
            write(out, &set)
        }
    }
}

fn write(out: Option<&Path>, set: &KeySetFile) -> Result<(), CliError> {
    match out {
        Some(path) => {
            files::write_public(path, set.text())?;
            say!("version {}, thumbprint {}", set.version()?, set.digest());
            Ok(())
        }
        None => {
            say!("{}", set.text());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
