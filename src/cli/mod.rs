//! The `mandate` command: one file per subcommand.
//!
//! Exit codes: 0 done, 1 it failed or was refused, 2 it was called wrongly (clap). `doctor` has its own.

pub mod agent;
pub mod authority;
pub mod backup;
pub mod certificate;
pub mod client;
pub mod conformance;
pub mod demo;
pub mod dev_ca;
pub mod doctor;
pub mod error;
pub mod evidence;
pub mod execution;
pub mod export;
pub mod files;
pub mod init;
pub mod init_config;
pub mod init_keys;
pub mod instruct;
pub mod intake;
pub mod key;
mod key_checkpoint;
mod key_report;
pub mod keyset;
pub mod migrate;
mod order;
mod order_text;
mod own_keys;
pub mod print;
mod processing_record;
pub mod public_key;
pub mod registry;
pub mod request;
pub mod restore;
pub mod sample_registry;
pub mod sample_rows;
pub mod sample_store;
pub mod serve;
pub mod serve_reload;
pub mod serve_witnesses;
pub mod sign;
pub mod signing;
pub mod trail;
pub mod witness;
pub mod witness_init;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::{aside, say};
pub use error::CliError;

/// The entrusted-processor gateway.
#[derive(Debug, Parser)]
#[command(name = "mandate", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Who calls, and how results are shown.
#[derive(Debug, Clone, Args)]
pub struct As {
    /// Profile of the caller (profiles/<name>.toml)
    // Before or after the subcommand's word; clap allows no required option to be global.
    #[arg(long, global = true)]
    pub profile: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the main job, on real input, with real processes
    Demo(demo::Demo),
    /// Make a development set-up: keys, certificates, configuration, sample stores
    Init(init::Init),
    /// Issue and revoke certificates of a development set-up
    Certificate(certificate::Certificate),
    /// Run the gateway
    Serve(serve::Serve),
    /// Bring the databases' schemas up to date
    Migrate(migrate::Migrate),
    /// Hold the database against the trail; changes nothing
    Doctor(doctor::Doctor),
    /// Copy the database of a gateway, also of one that runs
    Backup(backup::Backup),
    /// Put a backup in place and bring it on to what was published
    Restore(restore::Restore),
    /// Put new keys in the place of old ones
    Key(key::Key),
    /// Run an agent beside the stores
    Agent(agent::Agent),
    /// Run a witness, or make one
    Witness(witness::Witness),
    /// Register controllers, agreements, apps, agents, keys
    Registry(registry::Registry),
    /// Take mail in and route it
    Intake(intake::Intake),
    /// Read and answer the requests of one's own users
    Request(request::Request),
    /// Make, rotate, sign, show and compare key sets, offline
    Keyset(keyset::Keyset),
    /// Sign an instruction, offline
    Sign(Box<sign::Sign>),
    /// Submit a signed instruction
    Instruct(instruct::Instruct),
    /// Rotate the key set, approve, withdraw, contest
    Authority(authority::Authority),
    /// Look at executions
    Execution(execution::Execution),
    /// List and fetch export packages
    Export(export::Export),
    /// Fetch the evidence of an instruction
    Evidence(evidence::Evidence),
    /// Read the trail
    Trail(trail::Trail),
    /// Hold a client against the published vectors
    Conformance(conformance::Conformance),
}

/// Runs the command; tells on stderr what went wrong.
pub async fn run(cli: Cli) -> ExitCode {
    let no_answer =
        if matches!(cli.command, Command::Doctor(_)) { ExitCode::from(2) } else { ExitCode::FAILURE };
    let code = execute(cli).await;
    match say::lost() {
        None => code,
        Some(error) => {
            aside!("what was printed is not whole: {error}");
            no_answer
        }
    }
}

async fn execute(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Demo(demo) => demo.run().await,
        Command::Init(init) => init.run().await,
        Command::Certificate(certificate) => certificate.run(),
        Command::Serve(serve) => serve.run().await,
        Command::Migrate(migrate) => migrate.run().await,
        Command::Doctor(doctor) => return doctor.run().await,
        Command::Backup(backup) => backup.run().await,
        Command::Restore(restore) => restore.run().await,
        Command::Key(key) => key.run().await,
        Command::Agent(agent) => agent.run().await,
        Command::Witness(witness) => witness.run().await,
        Command::Registry(registry) => registry.run().await,
        Command::Intake(intake) => intake.run().await,
        Command::Request(request) => request.run().await,
        Command::Keyset(keyset) => keyset.run(),
        Command::Sign(sign) => sign.run(),
        Command::Instruct(instruct) => instruct.run().await,
        Command::Authority(authority) => authority.run().await,
        Command::Execution(execution) => execution.run().await,
        Command::Export(export) => export.run().await,
        Command::Evidence(evidence) => evidence.run().await,
        Command::Trail(trail) => trail.run().await,
        Command::Conformance(conformance) => conformance.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            aside!("{error}");
            ExitCode::FAILURE
        }
    }
}
