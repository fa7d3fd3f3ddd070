//! `mandate doctor`: holds what the gateway keeps against its trail. On the gateway's machine, with its
//! configuration; the gateway may run. Changes nothing.
//!
//! Exit codes: 0 nothing found, 1 something was, 2 it could not be examined.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::CliError;
use super::print::print;
use super::serve::{database, keyring, log_keys, origins, retention};
use crate::config::GatewayConfig;
use crate::doctor::{Examined, Finding, Outside, Patient, examine};
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::{aside, say};

#[derive(Debug, Args)]
pub struct Doctor {
    /// gateway.toml
    #[arg(long)]
    config: PathBuf,
    /// Print JSON: one line for each finding, one for what was looked at
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub async fn run(self) -> ExitCode {
        match self.examine().await {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(1),
            Err(error) => {
                aside!("{error}");
                ExitCode::from(2)
            }
        }
    }

    /// Returns how many findings there were.
    async fn examine(&self) -> Result<u64, CliError> {
        let patient = patient(&GatewayConfig::load(&self.config)?)?;
        let (mut count, json) = (0, self.json);
        let mut sink = |finding: Finding| {
            count += 1;
            show(&finding, json);
        };
        let examined = examine(&patient, &mut sink).await.map_err(CliError::plain)?;
        conclude(&examined, count, json);
        Ok(count)
    }
}

/// Nothing is made that is not there: not even a folder.
pub fn patient(config: &GatewayConfig) -> Result<Patient, CliError> {
    let origins = origins(config);
    Ok(Patient {
        keys: log_keys(config, &origins)?.verifiers(),
        witnesses: config.witness.iter().map(|witness| witness.vkey.clone()).collect(),
        origins,
        database: database(&config.database)?,
        outside: Some(Outside {
            keyring: keyring(&config.keyring)?,
            epochs: config.epochs.clone(),
            exports: config.exports.clone(),
        }),
        retention: retention(config),
        // The sweeper spares a file for two leases, and then comes by at its next round.
        stray_after: 3 * config.limits.lease_seconds
            + i64::try_from(config.housekeeping_seconds).unwrap_or(i64::MAX / 2),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    })
}

pub fn show(finding: &Finding, json: bool) {
    let Finding { code, table, resource, sentence } = finding;
    if json {
        // Plain text members: serialising them cannot fail.
        say!("{}", serde_json::to_string(finding).expect("plain data serialises"));
    } else {
        say!("{code} {table} {resource}\n  {sentence}");
    }
}

fn conclude(examined: &Examined, findings: u64, json: bool) {
    if json {
        print(true, &serde_json::json!({ "examined": examined, "findings": findings }));
        return;
    }
    let Examined { trail_leaves, authority_leaves, sealed_rows, export_files } = examined;
    say!(
        "{trail_leaves} leaves of the trail, {authority_leaves} of the authority log, {export_files} export files"
    );
    match sealed_rows {
        Some(rows) => say!("{rows} rows with data keys"),
        None => say!("the keyring was not looked at: a running gateway has it open"),
    }
    say!("{findings} findings");
}
