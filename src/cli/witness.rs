//! `mandate witness`: runs a witness; `mandate witness init` makes one.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::witness_init::Init;
use super::{CliError, serve};
use crate::domain::clock::SystemClock;
use crate::say;
use crate::witness;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Witness {
    #[command(subcommand)]
    command: Option<Command>,
    /// witness.toml
    #[arg(long, required = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a witness: key, memory, certificate, configuration
    Init(Init),
}

impl Witness {
    pub async fn run(self) -> Result<(), CliError> {
        match (self.command, self.config) {
            (Some(Command::Init(init)), _) => init.run(),
            (None, Some(config)) => watch(&config).await,
            // clap asks for one of them.
            (None, None) => Err(CliError::plain("--config FILE is needed")),
        }
    }
}

async fn watch(path: &std::path::Path) -> Result<(), CliError> {
    crate::telemetry::start();
    let stop = serve::stop_signal()?;
    let ready = |address| say!("listening on {address}");
    let hangup = serve::hangup_signal()?;
    witness::run(path, Arc::new(SystemClock), ready, hangup, stop).await.map_err(CliError::plain)
}
