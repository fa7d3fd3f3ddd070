//! `mandate key rotate checkpoint`: another key signs a log's checkpoints.
//!
//! ```text
//! begin    <key>.next is made; both logs say that the old key vouches for the new one
//!          from here on both sign: agents and verifiers follow by themselves, witnesses by hand
//! finish   both logs say that no other key signs any more, the old one and any <key>.next that was lost;
//!          <key>.next takes the place of <key>
//! ```
//!
//! Either step may be run again after a crash. The gateway on a database in a file is stopped
//! meanwhile; several on a server go on, and take up their files one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::key::BY;
use super::{CliError, files, serve};
use crate::app::App;
use crate::config::{GatewayConfig, Place};
use crate::domain::Entropy;
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::say;
use crate::store::Log;
use crate::token::base64url;
use crate::vault::KeyringPeek;

#[derive(Debug, Args)]
pub struct Checkpoint {
    /// gateway.toml
    #[arg(long)]
    config: PathBuf,
    /// Whose key
    #[arg(long)]
    log: Which,
    /// The new key alone from here on. Before: every witness has it pinned, every gateway has its file
    #[arg(long)]
    finish: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Trail,
    Authority,
}

impl Checkpoint {
    pub async fn run(self) -> Result<(), CliError> {
        let config = GatewayConfig::load(&self.config)?;
        let log = match self.log {
            Which::Trail => Log::Trail,
            Which::Authority => Log::Authority,
        };
        let file = match log {
            Log::Trail => config.log_keys.trail.clone(),
            Log::Authority => config.log_keys.authority.clone(),
        };
        // Before the database is opened: who has the keyring has the gateway's place.
        let peek = KeyringPeek::open(&serve::keyring(&config.keyring)?).await.map_err(CliError::plain)?;
        peek.close().await.map_err(CliError::plain)?;
        match self.finish {
            false => begin(&config, log, &file).await,
            true => finish(&config, log, &file).await,
        }
    }
}

async fn begin(config: &GatewayConfig, log: Log, file: &Path) -> Result<(), CliError> {
    let next = serve::next_file(file);
    if !next.exists() {
        let entropy: &dyn Entropy = &SystemEntropy;
        let seed = zeroize::Zeroizing::new(entropy.array::<32>());
        let text = zeroize::Zeroizing::new(format!("{}\n", base64url::encode(*seed)));
        files::write_secret(&next, &*text)?;
    }
    let app = serve::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    let told = tell_vouched(&app, log).await;
    close(&app).await?;
    told?;
    if matches!(config.database, Place::Server(_)) {
        say!("copy {} beside the key of every other gateway and restart them", next.display());
    }
    say!("then have the witnesses add the new key, and run this again with --finish");
    Ok(())
}

async fn tell_vouched(app: &App, log: Log) -> Result<(), CliError> {
    let is_new = app.vouch_log_key(BY, log).await.map_err(CliError::plain)?;
    let next = app.store.keys.of(log).next.as_ref().map(|key| key.verifier_key().to_string());
    let said = if is_new { "vouched for" } else { "was vouched for before" };
    say!("{said}: {}", next.unwrap_or_default());
    Ok(())
}

async fn finish(config: &GatewayConfig, log: Log, file: &Path) -> Result<(), CliError> {
    let next = serve::next_file(file);
    if !next.exists() {
        return Err(CliError::Plain(format!("{}: it is not there; nothing is under way", next.display())));
    }
    let origins = serve::origins(config);
    let mut keys = serve::log_keys(config, &origins)?;
    let key = match log {
        Log::Trail => &mut keys.trail,
        Log::Authority => &mut keys.authority,
    };
    // A head that the new key has not signed yet does not open: then nobody could follow.
    if let Some(next) = key.next.take() {
        key.now = next;
    }
    let app = serve::open_with(config, origins, keys, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    let retired = app.retire_log_keys(BY, log).await.map_err(CliError::plain);
    close(&app).await?;
    for key in retired? {
        say!("signs no more: {key}");
    }
    std::fs::rename(&next, file).map_err(CliError::file(file))?;
    files::sync(&files::folder(file))?;
    say!("{} is the new key; destroy every other copy of the old one", file.display());
    Ok(())
}

async fn close(app: &App) -> Result<(), CliError> {
    app.close().await.map_err(CliError::plain)
}
