//! `mandate key rotate`; of it `epoch`: the next epoch of a keyring, and the end of those before it.
//!
//! A keyring in a file is for one process: the gateway (or agent) is stopped meanwhile. One on a server is
//! shared: first every gateway needs the new epoch's file, so there it goes in two steps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use super::key_checkpoint::Checkpoint;
use super::key_report::ReportKey;
use super::{CliError, serve};
use crate::agent::AgentConfig;
use crate::config::{GatewayConfig, Place};
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::say;
use crate::vault::{EndedEpochs, EpochKeys, Keyring, KeyringPeek, KeyringPlace};

/// Who does it, in the leaf: whoever may read the gateway's keys on its machine.
pub(super) const BY: &str = "operators/local";

#[derive(Debug, Args)]
pub struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a new key, move over to it, destroy the old one
    #[command(subcommand)]
    Rotate(Rotate),
}

#[derive(Debug, Subcommand)]
enum Rotate {
    /// The key that wraps a keyring's data keys
    Epoch(Epoch),
    /// The key that signs a log's checkpoints
    Checkpoint(Checkpoint),
    /// The key that signs an agent's reports
    Report(ReportKey),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "whose")]
struct Whose {
    /// gateway.toml
    #[arg(long)]
    config: Option<PathBuf>,
    /// agent.toml: the agent's own keyring
    #[arg(long)]
    agent: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Epoch {
    #[command(flatten)]
    whose: Whose,
    /// Only this step: needed where several gateways share the keyring
    #[arg(long)]
    step: Option<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Make the next epoch's key file
    Begin,
    /// Wrap every key under the newest epoch and destroy the files of those before
    Finish,
}

impl Key {
    pub async fn run(self) -> Result<(), CliError> {
        let Epoch { whose, step } = match self.command {
            Command::Rotate(Rotate::Epoch(epoch)) => epoch,
            Command::Rotate(Rotate::Checkpoint(checkpoint)) => return checkpoint.run().await,
            Command::Rotate(Rotate::Report(report)) => return report.run().await,
        };
        match (whose.config, whose.agent) {
            (Some(config), _) => of_gateway(&config, step).await,
            (None, Some(agent)) => of_agent(&agent, step).await,
            // clap asks for one of them.
            (None, None) => Err(CliError::plain("--config FILE or --agent FILE is needed")),
        }
    }
}

async fn of_gateway(config: &Path, step: Option<Step>) -> Result<(), CliError> {
    let config = GatewayConfig::load(config)?;
    if step.is_none() && matches!(config.keyring, Place::Server(_)) {
        return Err(CliError::plain(
            "other gateways share this keyring: --step begin, copy the new epoch's file to each of them, then --step finish",
        ));
    }
    // Before the database is opened: who has the keyring has the gateway's place.
    let peek = KeyringPeek::open(&serve::keyring(&config.keyring)?).await.map_err(CliError::plain)?;
    peek.close().await.map_err(CliError::plain)?;
    let app = serve::open(&config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    let done = async {
        if step != Some(Step::Finish) {
            begun(app.vault.keyring()).await?;
        }
        if step != Some(Step::Begin) {
            tell(&app.end_former_epochs(BY).await.map_err(CliError::plain)?);
        }
        Ok(())
    }
    .await;
    app.close().await.map_err(CliError::plain)?;
    done
}

/// No leaf: the trail is the gateway's. The agent's ledger does not depend on epochs.
async fn of_agent(config: &Path, step: Option<Step>) -> Result<(), CliError> {
    let config = AgentConfig::load(config).map_err(CliError::plain)?;
    let epochs = EpochKeys::load(&config.epochs).map_err(CliError::plain)?;
    let place = KeyringPlace::File(config.keyring.clone());
    let keyring = Keyring::open(&place, epochs, Arc::new(SystemClock), Arc::new(SystemEntropy))
        .await
        .map_err(CliError::plain)?;
    let done = async {
        if step != Some(Step::Finish) {
            begun(&keyring).await?;
        }
        if step != Some(Step::Begin) {
            tell(&keyring.end_former_epochs().await.map_err(CliError::plain)?);
        }
        Ok(())
    }
    .await;
    keyring.close().await.map_err(CliError::plain)?;
    done
}

async fn begun(keyring: &Keyring) -> Result<(), CliError> {
    let epoch = keyring.begin_epoch().await.map_err(CliError::plain)?;
    say!("epoch {epoch} begun; keep a copy of its file offline, apart from keyring and database");
    Ok(())
}

fn tell(EndedEpochs { current, rewrapped, destroyed }: &EndedEpochs) {
    say!("{rewrapped} data keys wrapped under epoch {current}");
    match destroyed.as_slice() {
        [] => say!("no epoch before it was at hand"),
        gone => {
            let gone: Vec<String> = gone.iter().map(u32::to_string).collect();
            say!("destroyed: epoch {}; destroy every other copy of its file, too", gone.join(", "));
        }
    }
}
