//! The `mandate` command.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    mandate::cli::run(mandate::cli::Cli::parse()).await
}
