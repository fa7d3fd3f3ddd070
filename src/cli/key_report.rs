//! `mandate key rotate report`: another key signs an agent's reports.
//!
//! ```text
//! begin    <report_key>.next is made; the trail says that the old key vouches for it;
//!          <report_key> becomes <report_key>.former, and <report_key>.next takes its place
//!          from here on reports by either count
//! finish   both logs say that only the new one does; <report_key>.former is removed
//! ```
//!
//! The agent is stopped meanwhile, the gateway runs. Either step may be run again after a crash.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, files};
use crate::agent::report_key::{Desk, beside};
use crate::agent::{AgentConfig, private_key};
use crate::domain::clock::SystemEntropy;
use crate::fault;
use crate::say;
use crate::token::PrivateKey;
use crate::token::private_key::KeyKind;

#[derive(Debug, Args)]
pub struct ReportKey {
    /// agent.toml
    #[arg(long)]
    agent: PathBuf,
    /// The new key alone from here on. Before: what the old one signed is handed in
    #[arg(long)]
    finish: bool,
}

/// Where the keys lie.
struct Files {
    key: PathBuf,
    next: PathBuf,
    former: PathBuf,
}

impl ReportKey {
    pub async fn run(self) -> Result<(), CliError> {
        let config = AgentConfig::load(&self.agent).map_err(CliError::plain)?;
        let key = config.report_key.clone();
        let files = Files { next: beside(&key, ".next"), former: beside(&key, ".former"), key };
        match self.finish {
            false => begin(&config, &files).await,
            true => finish(&config, &files).await,
        }
    }
}

async fn begin(config: &AgentConfig, files: &Files) -> Result<(), CliError> {
    if files.former.exists() && !files.next.exists() {
        return Err(CliError::Plain(format!(
            "{}: a rotation is under way; end it with --finish first",
            files.former.display()
        )));
    }
    let next = next_key(&files.next)?;
    let desk = Desk::open(config).await.map_err(CliError::plain)?;
    let vouched = desk.vouch(&next).await;
    desk.close().await.map_err(CliError::plain)?;
    vouched.map_err(CliError::plain)?;
    fault::point("report_key.vouched");
    say!("vouched for: {}", next.public().canonical());
    // A copy, so that at no moment there is no key.
    let old = zeroize::Zeroizing::new(files::read(&files.key)?);
    files::remove(&files.former)?;
    files::write_secret(&files.former, &*old)?;
    fault::point("report_key.copied");
    std::fs::rename(&files.next, &files.key).map_err(CliError::file(&files.key))?;
    files::sync(&files::folder(&files.key))?;
    fault::point("report_key.moved");
    say!("start the agent: the new key signs, what the old one signed still counts");
    say!(
        "tell who pinned the old one; when the agent has handed everything in, run this again with --finish"
    );
    Ok(())
}

/// Made once, and on the disk before anybody hears of it.
fn next_key(file: &Path) -> Result<PrivateKey, CliError> {
    if !file.exists() {
        let key = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy)?;
        files::write_secret(file, key.to_jwk())?;
    }
    private_key(file).map_err(CliError::plain)
}

async fn finish(config: &AgentConfig, files: &Files) -> Result<(), CliError> {
    if !files.former.exists() || files.next.exists() {
        return Err(CliError::Plain(format!(
            "{}: it is not there alone; nothing is to be finished",
            files.former.display()
        )));
    }
    let mut desk = Desk::open(config).await.map_err(CliError::plain)?;
    let done = retire(&mut desk).await;
    desk.close().await.map_err(CliError::plain)?;
    done?;
    fault::point("report_key.retired");
    files::remove(&files.former)?;
    files::sync(&files::folder(&files.key))?;
    say!("the old key counts no more; destroy every other copy of it");
    Ok(())
}

async fn retire(desk: &mut Desk) -> Result<(), CliError> {
    let waiting = desk.reports_under_way().await.map_err(CliError::plain)?;
    if let Some(first) = waiting.first() {
        return Err(CliError::Plain(format!(
            "{} reports by the old key are not handed in yet, such as that of executions/{first}: start the agent until they are",
            waiting.len()
        )));
    }
    desk.retire_former().await.map_err(CliError::plain)?;
    say!("in force alone: {}", desk.key());
    Ok(())
}
