//! `mandate request`: a controller reads and answers the requests of its own users.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::client::{Client, request_id};
use super::print::{given, print, receipt_short, timestamp, word};
use super::{As, CliError};
use crate::grpc::v1;

#[derive(Debug, Args)]
pub struct Request {
    #[command(flatten)]
    who: As,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List requests
    List {
        /// As `routed`, `forwarded`, `executed`
        #[arg(long)]
        stage: Option<String>,
    },
    /// Show one request
    Show { name: String },
    /// Follow requests as they come
    Watch {
        /// Continue after what this token came with
        #[arg(long, default_value = "")]
        resume: String,
        /// Stop after the first
        #[arg(long)]
        once: bool,
    },
    /// Acknowledge a request: it arrived and is of one's own user
    Ack { name: String },
    /// Reject a request: it is of nobody here
    Reject { name: String },
    /// Record how rights were answered outside Mandate
    Answer {
        name: String,
        /// Answered rights
        #[arg(long = "answered")]
        answered: Vec<String>,
        /// Refused rights, as `delete=legal-duty`
        #[arg(long = "refused")]
        refused: Vec<String>,
        /// The answer named to whom the data had been given
        #[arg(long)]
        recipients_named: bool,
    },
}

impl Request {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        let as_json = self.who.json;
        let mut requests = client.requests();
        match self.command {
            Command::List { stage } => list(&client, stage.as_deref(), as_json).await?,
            Command::Show { name } => {
                let got = requests.get_request(v1::GetRequestRequest { name }).await?.into_inner();
                print(as_json, &request(&given(got.request, "request")?));
            }
            Command::Watch { resume, once } => watch(&client, resume, once, as_json).await?,
            Command::Ack { name } => {
                let request_id = request_id("AcknowledgeRequest", name.as_bytes());
                let call = v1::AcknowledgeRequestRequest { name, request_id };
                let done = requests.acknowledge_request(call).await?.into_inner();
                print(as_json, &answered_with(done.request, done.receipt)?);
            }
            Command::Reject { name } => {
                let request_id = request_id("RejectRequest", name.as_bytes());
                let call = v1::RejectRequestRequest { name: name.clone(), request_id };
                let done = requests.reject_request(call).await?.into_inner();
                print(
                    as_json,
                    &json!({"name": name, "stage": "misrouted", "trail_index": receipt_short(done.receipt.as_ref())}),
                );
            }
            Command::Answer { name, answered, refused, recipients_named } => {
                let outcomes = outcomes(&answered, &refused, recipients_named)?;
                let said =
                    format!("{name}\0{}\0{}\0{recipients_named}", answered.join(" "), refused.join(" "));
                let request_id = request_id("RecordOutcome", said.as_bytes());
                let call = v1::RecordOutcomeRequest { name, outcomes, request_id };
                let done = requests.record_outcome(call).await?.into_inner();
                print(as_json, &answered_with(done.request, done.receipt)?);
            }
        }
        Ok(())
    }
}

fn outcomes(answered: &[String], refused: &[String], named: bool) -> Result<Vec<v1::RightOutcome>, CliError> {
    let mut outcomes = Vec::new();
    for right in answered {
        outcomes.push(v1::RightOutcome {
            right: right.clone(),
            kind: v1::OutcomeKind::Answered.into(),
            ground: String::new(),
            recipients_named: named,
        });
    }
    for text in refused {
        let (right, ground) =
            text.split_once('=').ok_or_else(|| CliError::plain("--refused is <right>=<ground>"))?;
        outcomes.push(v1::RightOutcome {
            right: right.to_owned(),
            kind: v1::OutcomeKind::Refused.into(),
            ground: ground.to_owned(),
            recipients_named: false,
        });
    }
    if outcomes.is_empty() {
        return Err(CliError::plain("name at least one right with --answered or --refused"));
    }
    Ok(outcomes)
}

async fn list(client: &Client, stage: Option<&str>, as_json: bool) -> Result<(), CliError> {
    let stage = match stage {
        None => v1::RequestStage::Unspecified,
        Some(word) => v1::RequestStage::from_str_name(&format!("REQUEST_STAGE_{}", word.to_uppercase()))
            .ok_or_else(|| CliError::plain("--stage is no stage of a request"))?,
    };
    let mut page_token = String::new();
    loop {
        let call = v1::ListRequestsRequest { page_size: 100, page_token, stage: stage.into() };
        let page = client.requests().list_requests(call).await?.into_inner();
        for each in &page.requests {
            print(as_json, &request(each));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// Follows deliveries. When the access token of the stream ends, it is taken up again where it was.
async fn watch(client: &Client, mut resume: String, once: bool, as_json: bool) -> Result<(), CliError> {
    loop {
        let call = v1::WatchRequestsRequest { resume_token: resume.clone() };
        let mut stream = client.requests().watch_requests(call).await?.into_inner();
        loop {
            match stream.next().await {
                Some(Ok(item)) => {
                    let mut shown = request(&given(item.request, "request")?);
                    shown["resume_token"] = json!(item.resume_token);
                    print(as_json, &shown);
                    if once {
                        return Ok(());
                    }
                    resume = item.resume_token;
                }
                Some(Err(status)) if token_ended(&status) => break,
                Some(Err(status)) => return Err(status.into()),
                None => return Ok(()),
            }
        }
    }
}

/// Whether a stream ended because its access token did.
pub fn token_ended(status: &tonic::Status) -> bool {
    use tonic_types::StatusExt;
    status.get_error_details().error_info().is_some_and(|info| info.reason == "TOKEN_EXPIRED")
}

fn answered_with(changed: Option<v1::Request>, receipt: Option<v1::Receipt>) -> Result<Value, CliError> {
    let mut shown = request(&given(changed, "request")?);
    shown["trail_index"] = receipt_short(receipt.as_ref());
    Ok(shown)
}

pub fn identifier(identifier: &v1::SubjectIdentifier) -> Value {
    json!({"type": identifier.r#type, "value": identifier.value, "of": identifier.of})
}

fn request(request: &v1::Request) -> Value {
    let rights: Vec<_> = request
        .rights
        .iter()
        .map(|r| {
            json!({"right": r.right, "stage": word(r.stage().as_str_name(), "RIGHT_STAGE_"),
                "instruction": r.instruction, "quote": r.quote})
        })
        .collect();
    json!({
        "name": request.name,
        "app": request.app,
        "stage": word(request.stage().as_str_name(), "REQUEST_STAGE_"),
        "rights": rights,
        "identifiers": request.identifiers.iter().map(identifier).collect::<Vec<_>>(),
        "extract": request.extract,
        "language": request.language,
        "guardian": request.guardian,
        "flags": request.flags,
        "categories": request.categories,
        "received_time": timestamp(request.received_time),
        "forwarded_time": timestamp(request.forwarded_time),
        "acknowledged_time": timestamp(request.acknowledged_time),
        "matched_by": request.matched_by,
        "original": request.original,
        "origin": word(request.origin().as_str_name(), "REQUEST_ORIGIN_"),
        "update_time": timestamp(request.update_time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_right_needs_its_ground() {
        assert!(outcomes(&[], &["delete".into()], false).is_err());
        assert!(outcomes(&[], &[], false).is_err());
        let both = outcomes(&["access".into()], &["delete=legal-duty".into()], true).unwrap();
        assert_eq!((both[0].right.as_str(), both[0].recipients_named), ("access", true));
        assert_eq!((both[1].right.as_str(), both[1].ground.as_str()), ("delete", "legal-duty"));
    }
}
