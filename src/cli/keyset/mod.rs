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
        /// The version before: tells whose signatures are still missing
        #[arg(long)]
        previous: Option<PathBuf>,
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Show a set for people, with thumbprints to read aloud
    Show {
        file: PathBuf,
        /// The version before: tells whose signatures are still missing
        #[arg(long)]
        previous: Option<PathBuf>,
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
                write(out.as_deref(), &set.checked()?)
            }
            Command::Add { file, changes, out } => {
                let mut set = KeySetFile::read(&file)?;
                if set.is_signed() {
                    return Err(CliError::plain(
                        "this set is signed, and every change would break that: rotate it instead",
                    ));
                }
                changes.apply(&mut set, now)?;
                write(out.as_deref(), &set.checked()?)
            }
            Command::Rotate { file, changes, out } => {
                let mut set = KeySetFile::read(&file)?.next(now)?;
                changes.apply(&mut set, now)?;
                write(out.as_deref(), &set.checked()?)
            }
            Command::Sign { file, signing, previous, out } => {
                sign(&file, &signing, previous.as_deref(), out.as_deref())
            }
            Command::Show { file, previous } => {
                let previous = previous.as_deref().map(KeySetFile::read).transpose()?;
                let shown = show::show(&KeySetFile::read(&file)?, previous.as_ref(), now)?;
                say::out(format_args!("{shown}"));
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

fn sign(file: &Path, signing: &Signing, previous: Option<&Path>, out: Option<&Path>) -> Result<(), CliError> {
    let mut set = KeySetFile::read(file)?;
    match signing.run(&|key| set.to_sign(key))? {
        Outcome::Waits(_) => {
            say!("sign these bytes elsewhere, then: mandate keyset sign … --public-key … --signature …");
            Ok(())
        }
        Outcome::Signed(signatures) => {
            for signature in &signatures {
                set.add_signature(signature)?;
            }
            let previous = previous.map(KeySetFile::read).transpose()?;
            for line in show::missing(&set, previous.as_ref())? {
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
