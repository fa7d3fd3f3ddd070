//! `mandate authority`: who may order what. The next key set, approvals, withdrawals, contests.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Line};
use super::instruct::instruction;
use super::print::{given, print, receipt};
use super::signing::{Outcome, Signing};
use super::{As, CliError, files, order_text};
use crate::aside;
use crate::domain::InstructionId;
use crate::grpc::v1::{self, instruction_service_client::InstructionServiceClient};
use crate::token::{Envelope, Says, ToSign, base64url};

#[derive(Debug, Args)]
pub struct Authority {
    #[command(flatten)]
    who: As,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put the next version of the own key set in force
    Rotate { file: PathBuf },
    /// Sign an instruction that waits for more signers; what it orders is told first
    Approve(Countersign),
    /// Take back what was signed, before enough have signed
    Withdraw(Countersign),
    /// List what a key signed: what to look at when it was compromised
    SignedWith {
        /// RFC 7638 thumbprint; one in 64 begins with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Unix seconds
        #[arg(long)]
        since: Option<i64>,
    },
    /// Stop an instruction that is believed unlawful (operators)
    Contest {
        /// controllers/<id>, whose instruction it is
        controller: String,
        /// instructions/<jti>
        name: String,
        /// unlawful, beyond_agreement, key_compromised or official_order
        #[arg(long)]
        ground: String,
    },
}

#[derive(Debug, Args)]
struct Countersign {
    /// The instruction as it was submitted, disclosures and all
    file: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

impl Authority {
    pub async fn run(self) -> Result<(), CliError> {
        let who = &self.who;
        match self.command {
            Command::Rotate { file } => {
                let call = v1::RotateKeySetRequest { key_set: files::read(&file)?.into() };
                let done = connect(who).await?.rotate_key_set(call).await?.into_inner();
                let mut shown = json!({"version": done.version, "digest": done.digest});
                if who.json {
                    shown["receipt"] = receipt(done.receipt.as_ref());
                }
                print(who.json, &shown);
            }
            Command::Approve(sign) => {
                let Some(signed) = sign.approve()? else { return Ok(()) };
                let Signed { name, parts: (protected, signature), disclosures } = signed;
                let call = v1::ApproveInstructionRequest { name, protected, signature, disclosures };
                let done = connect(who).await?.approve_instruction(call).await?.into_inner();
                print(who.json, &instruction(&given(done.instruction, "instruction")?));
            }
            Command::Withdraw(sign) => {
                let Some(signed) = sign.withdraw()? else { return Ok(()) };
                let Signed { name, parts: (protected, signature), .. } = signed;
                let call = v1::WithdrawApprovalRequest { name, protected, signature };
                let done = connect(who).await?.withdraw_approval(call).await?.into_inner();
                print(who.json, &instruction(&given(done.instruction, "instruction")?));
            }
            Command::SignedWith { kid, since } => {
                let since_time = since.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
                let mut call = v1::ListInstructionsRequest {
                    page_size: 100,
                    signed_with: kid,
                    since_time,
                    ..Default::default()
                };
                let mut instructions = connect(who).await?;
                loop {
                    let page = instructions.list_instructions(call.clone()).await?.into_inner();
                    for found in &page.instructions {
                        print(who.json, &instruction(found));
                    }
                    call.page_token = page.next_page_token;
                    if call.page_token.is_empty() {
                        break;
                    }
                }
            }
            Command::Contest { controller, name, ground } => {
                let call = v1::ContestInstructionRequest { controller, name: name.clone(), ground };
                let done = connect(who).await?.contest_instruction(call).await?.into_inner();
                print(who.json, &json!({"contested": name, "receipt": receipt(done.receipt.as_ref())}));
            }
        }
        Ok(())
    }
}

/// Only where something is to be sent: what is signed elsewhere in two steps needs no gateway for the first.
async fn connect(who: &As) -> Result<InstructionServiceClient<Line>, CliError> {
    Ok(Client::connect(who).await?.instructions())
}

/// A signature over the payload of an instruction.
struct Signed {
    name: String,
    /// `protected` and `signature` as the call takes them.
    parts: (String, String),
    disclosures: Vec<String>,
}

impl Countersign {
    /// Orders it, too. What that is stands on stderr before anything is signed. None: the bytes lie in their file,
    /// to be signed elsewhere.
    fn approve(&self) -> Result<Option<Signed>, CliError> {
        let open = order_text::read_aloud(&self.file)?;
        let name = open.order().jti.resource_name();
        let parts = self.sign(Says::Approved, open.payload_segment())?;
        Ok(parts.map(|parts| Signed { name, parts, disclosures: open.disclosures().to_vec() }))
    }

    /// Orders nothing: what cannot be approved may still be taken back.
    fn withdraw(&self) -> Result<Option<Signed>, CliError> {
        let envelope = Envelope::read(files::read(&self.file)?.trim_ascii())?;
        let name = name_of(&envelope)?;
        let parts = self.sign(Says::Withdrawn, envelope.payload_segment())?;
        Ok(parts.map(|parts| Signed { name, parts, disclosures: Vec::new() }))
    }

    fn sign(&self, says: Says, payload_segment: &str) -> Result<Option<(String, String)>, CliError> {
        let outcome = self.signing.run(&|key| ToSign::new(says.typ(), payload_segment, key))?;
        let Outcome::Signed(signatures) = outcome else {
            aside!(
                "sign these bytes elsewhere, then: the same with --signature in the place of --signing-input-out"
            );
            return Ok(None);
        };
        let [signature] = signatures.as_slice() else {
            return Err(CliError::plain("one signer at a time: give one --key"));
        };
        Ok(Some((signature.protected_segment().to_owned(), signature.signature_segment().to_owned())))
    }
}

/// `instructions/<jti>` by the payload.
fn name_of(envelope: &Envelope) -> Result<String, CliError> {
    let no_id = || CliError::plain("the instruction has no jti");
    let payload = base64url::decode(envelope.payload_segment()).map_err(|_| no_id())?;
    let payload: Value = serde_json::from_slice(&payload).map_err(|_| no_id())?;
    let jti: InstructionId = payload["jti"].as_str().and_then(|jti| jti.parse().ok()).ok_or_else(no_id)?;
    Ok(jti.resource_name())
}
