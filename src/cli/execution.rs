//! `mandate execution`: what became of an order.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::client::Client;
use super::print::{given, print, timestamp, word};
use super::request::token_ended;
use super::{As, CliError};
use crate::grpc::v1;

#[derive(Debug, Args)]
pub struct Execution {
    #[command(flatten)]
    who: As,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show an execution, with the agent's signed report
    Show {
        name: String,
        /// Wait until it has ended
        #[arg(long)]
        wait: bool,
    },
    /// List the executions of an instruction
    List { instruction: String },
}

impl Execution {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        match self.command {
            Command::Show { name, wait: true } => {
                print(self.who.json, &shown(&follow(&client, &name).await?))
            }
            Command::Show { name, wait: false } => {
                let got = client.executions().get_execution(v1::GetExecutionRequest { name }).await?;
                print(self.who.json, &shown(&given(got.into_inner().execution, "execution")?));
            }
            Command::List { instruction } => {
                let mut page_token = String::new();
                loop {
                    let instruction = instruction.clone();
                    let call = v1::ListExecutionsRequest { instruction, page_size: 100, page_token };
                    let page = client.executions().list_executions(call).await?.into_inner();
                    for each in &page.executions {
                        print(self.who.json, &shown(each));
                    }
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

fn has_ended(execution: &v1::Execution) -> bool {
    match execution.state() {
        v1::ExecutionState::Completed
        | v1::ExecutionState::Partial
        | v1::ExecutionState::Failed
        | v1::ExecutionState::Refused => true,
        v1::ExecutionState::Unspecified | v1::ExecutionState::Pending | v1::ExecutionState::Leased => false,
    }
}

/// Waits until the execution has ended and answers with its last state.
pub async fn follow(client: &Client, name: &str) -> Result<v1::Execution, CliError> {
    loop {
        let call = v1::WatchExecutionRequest { name: name.to_owned() };
        let mut stream = client.executions().watch_execution(call).await?.into_inner();
        loop {
            match stream.next().await {
                Some(Ok(item)) => {
                    let execution = given(item.execution, "execution")?;
                    if has_ended(&execution) {
                        return Ok(execution);
                    }
                }
                Some(Err(status)) if token_ended(&status) => break,
                Some(Err(status)) => return Err(status.into()),
                None => {
                    return Err(CliError::plain("the gateway ended the watch before the execution ended"));
                }
            }
        }
    }
}

fn collection(collection: &v1::CollectionOutcome) -> Value {
    let until = (collection.until != 0).then_some(collection.until);
    let kept = |kept: &v1::KeptRows| {
        let until = (kept.until != 0).then_some(kept.until);
        json!({"rows": kept.rows, "ground": kept.ground, "until": until})
    };
    json!({"collection": collection.collection, "outcome": collection.outcome, "rows": collection.rows,
        "ground": collection.ground, "until": until,
        "kept": collection.kept.iter().map(kept).collect::<Vec<_>>()})
}

pub fn shown(execution: &v1::Execution) -> Value {
    let preview = execution.preview.as_ref().map(|seen| {
        json!({"digest": seen.digest, "as_of": seen.as_of, "salt": seen.salt,
            "counts": seen.counts.iter().map(collection).collect::<Vec<_>>()})
    });
    json!({
        "name": execution.name,
        "instruction": execution.instruction,
        "store": execution.store,
        "state": word(execution.state().as_str_name(), "EXECUTION_STATE_"),
        "attempt": execution.attempt,
        "next_attempt_time": timestamp(execution.next_attempt_time),
        "reason": execution.reason,
        "report": execution.report,
        "collections": execution.collections.iter().map(collection).collect::<Vec<_>>(),
        "export": execution.export,
        "preview": preview,
        "update_time": timestamp(execution.update_time),
    })
}
