//! `mandate instruct`: submits a signed instruction and, if asked, follows it to its end.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::print::{given, print, receipt, timestamp, word};
use super::{As, CliError, execution, files};
use crate::grpc::v1;

#[derive(Debug, Args)]
pub struct Instruct {
    #[command(flatten)]
    who: As,
    /// What `mandate sign` made
    file: PathBuf,
    /// Follow each execution until it has ended
    #[arg(long)]
    wait: bool,
}

impl Instruct {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        let bytes = files::read(&self.file)?;
        let call = v1::SubmitInstructionRequest { instruction: bytes.trim_ascii().to_vec().into() };
        let done = client.instructions().submit_instruction(call).await?.into_inner();
        let admitted = given(done.instruction, "instruction")?;
        let mut shown = instruction(&admitted);
        if self.who.json {
            shown["receipt"] = receipt(done.receipt.as_ref());
        }
        print(self.who.json, &shown);
        if !self.wait {
            return Ok(());
        }
        let mut all_done = true;
        for name in &admitted.executions {
            let ended = execution::follow(&client, name).await?;
            all_done &= ended.state() == v1::ExecutionState::Completed;
            print(self.who.json, &execution::shown(&ended));
        }
        if all_done { Ok(()) } else { Err(CliError::plain("not everything was carried out")) }
    }
}

pub fn instruction(instruction: &v1::Instruction) -> Value {
    json!({
        "name": instruction.name,
        "app": instruction.app,
        "request": instruction.request,
        "act": instruction.act,
        "state": word(instruction.state().as_str_name(), "INSTRUCTION_STATE_"),
        "digest": instruction.digest,
        "admit_time": timestamp(instruction.admit_time),
        "trail_index": instruction.trail_index,
        "authority_size": instruction.authority_size,
        "executions": instruction.executions,
    })
}
