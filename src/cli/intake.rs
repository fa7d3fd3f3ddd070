//! `mandate intake`: support takes mail in, looks at what could not be routed, and routes it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, request_id};
use super::print::{given, print, receipt_short, timestamp, word};
use super::{As, CliError, files};
use crate::grpc::v1;

#[derive(Debug, Args)]
pub struct Intake {
    #[command(flatten)]
    who: As,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hand in mails (.eml); the same mail again is the same message
    Submit {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List messages, newest first
    List {
        /// triage, routed or dismissed
        #[arg(long)]
        state: Option<String>,
    },
    /// Show a message and what was read from it
    Show { name: String },
    /// Route a message to an app's controller
    Assign {
        name: String,
        /// apps/<id>
        #[arg(long)]
        app: String,
        /// Instead of what was read
        #[arg(long = "right")]
        rights: Vec<String>,
        /// The extract with what belongs to others taken out
        #[arg(long)]
        redacted_extract: Option<PathBuf>,
    },
    /// No request is in it
    Dismiss { name: String },
}

impl Intake {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        let as_json = self.who.json;
        match self.command {
            Command::Submit { files } => {
                for file in &files {
                    print(as_json, &submit(&client, file).await?);
                }
            }
            Command::List { state } => list(&client, state.as_deref(), as_json).await?,
            Command::Show { name } => {
                let got = client.intake().get_message(v1::GetMessageRequest { name }).await?.into_inner();
                print(as_json, &message(&given(got.message, "message")?));
            }
            Command::Assign { name, app, rights, redacted_extract } => {
                let redacted_extract = match redacted_extract {
                    Some(path) => files::read_text(&path)?,
                    None => String::new(),
                };
                let content = [name.as_str(), &app, &rights.join(" "), &redacted_extract].join("\0");
                let call = v1::AssignMessageRequest {
                    request_id: request_id("AssignMessage", content.as_bytes()),
                    name,
                    app,
                    rights,
                    identifiers: Vec::new(),
                    redacted_extract,
                };
                let done = client.intake().assign_message(call).await?.into_inner();
                print(as_json, &taken(done.message, done.receipt)?);
            }
            Command::Dismiss { name } => {
                let request_id = request_id("DismissMessage", name.as_bytes());
                let call = v1::DismissMessageRequest { name, request_id };
                let done = client.intake().dismiss_message(call).await?.into_inner();
                print(as_json, &taken(done.message, done.receipt)?);
            }
        }
        Ok(())
    }
}

async fn submit(client: &Client, file: &Path) -> Result<Value, CliError> {
    let mail = files::read(file)?;
    let request_id = request_id("SubmitMail", &mail);
    let call = v1::SubmitMailRequest { mail: mail.into(), received_time: None, request_id };
    let done = client.intake().submit_mail(call).await?.into_inner();
    taken(done.message, done.receipt)
}

async fn list(client: &Client, state: Option<&str>, as_json: bool) -> Result<(), CliError> {
    let state = match state {
        None => v1::MessageState::Unspecified,
        Some(word) => v1::MessageState::from_str_name(&format!("MESSAGE_STATE_{}", word.to_uppercase()))
            .ok_or_else(|| CliError::plain("--state is triage, routed or dismissed"))?,
    };
    let mut page_token = String::new();
    loop {
        let call = v1::ListMessagesRequest { page_size: 100, page_token, state: state.into() };
        let page = client.intake().list_messages(call).await?.into_inner();
        for each in &page.messages {
            print(as_json, &message(each));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn taken(taken: Option<v1::Message>, receipt: Option<v1::Receipt>) -> Result<Value, CliError> {
    let mut shown = message(&given(taken, "message")?);
    shown["trail_index"] = receipt_short(receipt.as_ref());
    Ok(shown)
}

fn message(message: &v1::Message) -> Value {
    json!({
        "name": message.name,
        "state": word(message.state().as_str_name(), "MESSAGE_STATE_"),
        "triage_reason": message.triage_reason,
        "request": message.request,
        "controller": message.controller,
        "app": message.app,
        "received_time": timestamp(message.received_time),
        "flags": message.flags,
        "candidate": message.candidate.as_ref().map_or(Value::Null, candidate),
    })
}

fn candidate(read: &v1::Candidate) -> Value {
    let rights: Vec<_> = read.rights.iter().map(|r| json!({"right": r.right, "quote": r.quote})).collect();
    let evidence: Vec<_> = read
        .evidence
        .iter()
        .map(|e| json!({"app": e.app, "fact": e.fact, "quote": e.quote, "exact": e.exact}))
        .collect();
    json!({
        "is_request": read.is_request,
        "rights": rights,
        "identifiers": read.identifiers.iter().map(super::request::identifier).collect::<Vec<_>>(),
        "language": read.language,
        "guardian": read.guardian,
        "minor_age": read.minor_age,
        "categories": read.categories,
        "subject": read.subject,
        "from_name": read.from_name,
        "from_address": read.from_address,
        "body": read.body,
        "route": read.route,
        "evidence": evidence,
        "extract": read.extract,
        "suggested_first_received_time": timestamp(read.suggested_first_received_time),
        "inner_subject": read.inner_subject,
        "inner_from": read.inner_from,
    })
}
