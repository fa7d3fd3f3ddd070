//! `mandate instruct`: submits a signed instruction and, if asked, follows it to its end.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::print::{given, print, receipt, timestamp, word};
use super::{As, CliError, execution, files};
use crate::grpc::v1::{self, instruction_outcome::Outcome};

#[derive(Debug, Args)]
pub struct Instruct {
    #[command(flatten)]
    who: As,
    /// What `mandate sign` made; several are submitted in one call
    #[arg(required = true, num_args = 1..=256)]
    files: Vec<PathBuf>,
    /// Follow each execution until it has ended
    #[arg(long)]
    wait: bool,
}

impl Instruct {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        let admitted = if let [file] = self.files.as_slice() {
            let done = client.instructions().submit_instruction(message(file)?).await?.into_inner();
            vec![self.tell(done)?]
        } else {
            self.submit_all(&client).await?
        };
        let mut all_done = admitted.len() == self.files.len();
        if !self.wait {
            return if all_done { Ok(()) } else { Err(CliError::plain("not everything was admitted")) };
        }
        for name in admitted.iter().flat_map(|instruction| &instruction.executions) {
            let ended = execution::follow(&client, name).await?;
            all_done &= ended.state() == v1::ExecutionState::Completed;
            print(self.who.json, &execution::shown(&ended));
        }
        if all_done { Ok(()) } else { Err(CliError::plain("not everything was carried out")) }
    }

    /// One call for all; those that were refused are told with the file's name.
    async fn submit_all(&self, client: &Client) -> Result<Vec<v1::Instruction>, CliError> {
        let requests = self.files.iter().map(|file| message(file)).collect::<Result<_, _>>()?;
        let call = v1::BatchSubmitInstructionsRequest { requests };
        let outcomes = client.instructions().batch_submit_instructions(call).await?.into_inner().outcomes;
        let mut admitted = Vec::new();
        for (file, outcome) in self.files.iter().zip(outcomes) {
            match given(outcome.outcome, "outcome")? {
                Outcome::Admitted(done) => admitted.push(self.tell(done)?),
                Outcome::Refused(refused) => print(
                    self.who.json,
                    &json!({
                        "file": file.display().to_string(),
                        "refused": refused.reason,
                        "message": refused.message,
                        "field": refused.field,
                    }),
                ),
            }
        }
        Ok(admitted)
    }

    /// Prints an admission.
    fn tell(&self, done: v1::SubmitInstructionResponse) -> Result<v1::Instruction, CliError> {
        let admitted = given(done.instruction, "instruction")?;
        let mut shown = instruction(&admitted);
        if self.who.json {
            shown["receipt"] = receipt(done.receipt.as_ref());
        }
        print(self.who.json, &shown);
        Ok(admitted)
    }
}

fn message(file: &Path) -> Result<v1::SubmitInstructionRequest, CliError> {
    let bytes = files::read(file)?;
    Ok(v1::SubmitInstructionRequest { instruction: bytes.trim_ascii().to_vec().into() })
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
        "missing": instruction
            .missing
            .iter()
            .map(|missing| json!({"role": missing.role, "signers": missing.signers}))
            .collect::<Vec<_>>(),
        "hold_until_time": timestamp(instruction.hold_until_time),
        "expire_time": timestamp(instruction.expire_time),
        "contest_ground": instruction.contest_ground,
    })
}
