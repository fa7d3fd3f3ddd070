//! `mandate migrate`: brings the databases' schemas up to date.
//!
//! A gateway on files does it by itself at its start. On servers that others share it is an operator's
//! deed, with a role that may change tables; the gateways' own role need not.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::serve::{database, keyring, make_folders};
use crate::config::GatewayConfig;
use crate::say;

#[derive(Debug, Args)]
pub struct Migrate {
    /// gateway.toml
    #[arg(long)]
    config: PathBuf,
}

impl Migrate {
    pub async fn run(self) -> Result<(), CliError> {
        let config = GatewayConfig::load(&self.config)?;
        make_folders(&config)?;
        database(&config.database)?.migrate().await.map_err(CliError::plain)?;
        keyring(&config.keyring)?.migrate().await.map_err(CliError::plain)?;
        say!("the schemas are up to date");
        Ok(())
    }
}
