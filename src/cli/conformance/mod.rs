//! `mandate conformance`: does a client sign what the gateway takes?
//!
//! Needs no gateway and no network. `vectors` runs the published good and bad inputs through this very release;
//! `inputs` prints what a client is to sign and what it is to refuse, and `client` judges what it made of them.

mod brought;
mod client;
#[cfg(test)]
mod coverage;
mod sequence;
mod vectors;
#[cfg(test)]
mod ways;
mod world;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::world::World;
use super::CliError;
use crate::{aside, say};

/// The published inputs are part of the command: a client is judged with nothing else at hand.
const WORLD: &str = include_str!("../../../tests/vectors/world.json");
const CLIENT: &str = include_str!("../../../tests/vectors/client.json");

#[derive(Debug, Args)]
pub struct Conformance {
    /// Print JSON, one line a case
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge every published vector and compare with the answer it names
    Vectors {
        /// The folder with world.json (tests/vectors)
        folder: PathBuf,
    },
    /// Print what a client is to sign or to refuse, and with which published keys
    Inputs,
    /// Judge what a client signed and refused
    Client {
        /// One file for each case of `inputs`, named as it says
        folder: PathBuf,
    },
}

impl Conformance {
    pub async fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Vectors { folder } => {
                let vectors::Count { good, refused, wrong } = vectors::run(&folder, self.json).await?;
                tell(
                    self.json,
                    &format!("{good} good, {refused} refused as they must be, {wrong} wrong"),
                    wrong,
                )
            }
            Command::Inputs => {
                say!("{{\"world\": {}, \"cases\": {}}}", WORLD.trim_end(), CLIENT.trim_end());
                Ok(())
            }
            Command::Client { folder } => {
                let world = World::read(WORLD.as_bytes())?;
                let cases = serde_json::from_str(CLIENT).map_err(CliError::plain)?;
                let client::Count { right, wrong } = client::run(&world, &cases, &folder, self.json).await?;
                tell(self.json, &format!("{right} right, {wrong} wrong"), wrong)
            }
        }
    }
}

/// The last line goes to stderr where stdout holds JSON lines.
fn tell(as_json: bool, summary: &str, wrong: usize) -> Result<(), CliError> {
    if wrong > 0 {
        return Err(CliError::plain(summary));
    }
    if as_json {
        aside!("{summary}");
    } else {
        say!("{summary}");
    }
    Ok(())
}
