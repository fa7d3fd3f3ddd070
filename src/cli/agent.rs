//! `mandate agent`: runs the process beside the stores.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, serve};
use crate::say;

#[derive(Debug, Args)]
pub struct Agent {
    /// agent.toml
    #[arg(long)]
    config: PathBuf,
}

impl Agent {
    pub async fn run(self) -> Result<(), CliError> {
        crate::telemetry::start();
        // It looks at its certificate by itself; told to all the same, it must not end.
        let _hangup = serve::hangup_signal()?;
        work(&self.config, serve::stop_signal()?).await
    }
}

async fn work(config: &std::path::Path, stop: impl Future<Output = ()> + Send) -> Result<(), CliError> {
    let config = crate::agent::AgentConfig::load(config).map_err(CliError::plain)?;
    say!("{} works for {}", config.agent, config.gateway.address);
    crate::agent::run(config, stop).await.map_err(CliError::plain)
}
