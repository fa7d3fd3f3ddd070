//! `IntakeService`: PPIO support takes mail in and brings it to the one right controller.

use tonic::{Request, Response, Status};

use super::surface::Surface;
use super::v1::intake_service_server::IntakeService;
use super::{decode, encode, v1};
use crate::app::{AppResult, Assignment, MessageView, RequestUuid, TakenIn};
use crate::domain::routing::{Evidence, FactKind, Route, Weight};
use crate::domain::{AppId, MessageId, Reason, Refusal};
use crate::intake::{Candidate, Of, forwardable};
use crate::store::messages::{MessageRow, MessageState};

pub struct Intake(pub Surface);

/// The state to list.
fn state(state: i32) -> Result<Option<MessageState>, Refusal> {
    match v1::MessageState::try_from(state) {
        Ok(v1::MessageState::Unspecified) => Ok(None),
        Ok(v1::MessageState::Triage) => Ok(Some(MessageState::Triage)),
        Ok(v1::MessageState::Routed) => Ok(Some(MessageState::Routed)),
        Ok(v1::MessageState::Dismissed) => Ok(Some(MessageState::Dismissed)),
        Err(_) => Err(Refusal::at(Reason::FieldInvalid, "state")),
    }
}

/// A message without what was read from it.
fn message(row: MessageRow) -> v1::Message {
    let state = match row.state {
        MessageState::Triage => v1::MessageState::Triage,
        MessageState::Routed => v1::MessageState::Routed,
        MessageState::Dismissed => v1::MessageState::Dismissed,
    };
    v1::Message {
        name: row.id.resource_name(),
        state: state.into(),
        triage_reason: row.triage_reason,
        request: row.request.map(|id| id.resource_name()).unwrap_or_default(),
        controller: row.controller.map(|id| id.resource_name()).unwrap_or_default(),
        app: row.app.map(|id| id.resource_name()).unwrap_or_default(),
        received_time: Some(encode::time(row.received_at)),
        flags: row.flags,
        candidate: None,
    }
}

fn evidence(found: &Evidence) -> v1::RouteEvidence {
    let fact = match found.kind {
        FactKind::Name => "name",
        FactKind::Alias => "alias",
        FactKind::BundleId => "bundle_id",
        FactKind::Domain => "domain",
        FactKind::SdkAppId => "sdk_app_id",
        FactKind::Company => "company",
        FactKind::House => "house",
    };
    v1::RouteEvidence {
        app: found.app.resource_name(),
        fact: fact.into(),
        quote: found.words.clone(),
        exact: found.weight == Weight::Exact,
    }
}

/// What was read from a mail. `extract` is what would be forwarded.
fn candidate(candidate: Candidate, extract: String) -> v1::Candidate {
    let (route, found) = match &candidate.route {
        Route::App { matched, .. } => ("app", matched),
        Route::House { matched, .. } => ("house", matched),
        Route::Triage { evidence, .. } => ("triage", evidence),
    };
    let rights = candidate
        .rights
        .iter()
        .map(|found| v1::RequestedRight {
            right: found.what.to_string(),
            stage: v1::RightStage::Open.into(),
            instruction: String::new(),
            quote: found.words.clone(),
        })
        .collect();
    let identifiers = candidate
        .identifiers
        .iter()
        .map(|given| v1::SubjectIdentifier {
            r#type: given.kind.as_str().into(),
            value: given.value.clone(),
            of: match given.of {
                Of::Requester => "self",
                Of::Minor => "minor",
                Of::Guardian => "guardian",
            }
            .into(),
        })
        .collect();
    let (inner_subject, inner_from) =
        candidate.inner.map(|inner| (inner.subject, inner.from.address)).unwrap_or_default();
    v1::Candidate {
        is_request: candidate.is_request,
        rights,
        identifiers,
        language: candidate.language.as_str().into(),
        guardian: candidate.guardian,
        minor_age: candidate.minor_age.map(i32::from).unwrap_or_default(),
        categories: candidate.categories.iter().map(|found| found.what.to_string()).collect(),
        subject: candidate.subject,
        from_name: candidate.from.name.unwrap_or_default(),
        from_address: candidate.from.address,
        body: candidate.body,
        route: route.into(),
        evidence: found.iter().map(evidence).collect(),
        extract,
        suggested_first_received_time: candidate.first_received_at.map(|time| encode::time(time.as_second())),
        inner_subject,
        inner_from,
    }
}

impl Intake {
    /// A message with what was read from it.
    async fn shown(&self, view: MessageView) -> AppResult<v1::Message> {
        let MessageView { row, candidate: read } = view;
        let mut shown = message(row);
        if let Some(read) = read {
            let extract = match read.route.app() {
                Some(_) => forwardable(&read, &read.route, &self.0.app.facts().await?).extract,
                // Nothing goes anywhere before support has chosen an app.
                None => String::new(),
            };
            shown.candidate = Some(candidate(read, extract));
        }
        Ok(shown)
    }

    async fn taken_in(&self, taken: TakenIn) -> AppResult<(v1::Message, v1::Receipt)> {
        let TakenIn { message, receipt } = taken;
        Ok((self.shown(message).await?, encode::receipt(&receipt)))
    }
}

#[tonic::async_trait]
impl IntakeService for Intake {
    async fn submit_mail(
        &self,
        request: Request<v1::SubmitMailRequest>,
    ) -> Result<Response<v1::SubmitMailResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::SubmitMailRequest { mail, received_time, request_id } = request.into_inner();
        self.0
            .reply(async {
                if mail.is_empty() {
                    return Err(Refusal::at(Reason::FieldRequired, "mail").into());
                }
                let request_id = RequestUuid::required(&request_id)?;
                let received_at = decode::seconds(received_time, "received_time")?;
                let taken = self.0.app.submit_mail(&by, &mail, received_at, request_id).await?;
                let (message, receipt) = self.taken_in(taken).await?;
                Ok(v1::SubmitMailResponse { message: Some(message), receipt: Some(receipt) })
            })
            .await
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let v1::ListMessagesRequest { page_size, page_token, state: wanted } = request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                let before = decode::page_token::<MessageId>(&page_token)?;
                let rows = self.0.app.list_messages(state(wanted)?, before, limit).await?;
                let next_page_token = encode::next_page(&rows, limit, |row| row.id);
                let messages = rows.into_iter().map(message).collect();
                Ok(v1::ListMessagesResponse { messages, next_page_token })
            })
            .await
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::GetMessageResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::GetMessageRequest { name } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", MessageId::from_resource_name)?;
                let view = self.0.app.get_message(&by, id).await?;
                Ok(v1::GetMessageResponse { message: Some(self.shown(view).await?) })
            })
            .await
    }

    async fn assign_message(
        &self,
        request: Request<v1::AssignMessageRequest>,
    ) -> Result<Response<v1::AssignMessageResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::AssignMessageRequest { name, app, rights, identifiers, redacted_extract, request_id } =
            request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", MessageId::from_resource_name)?;
                let assignment = Assignment {
                    app: decode::name(&app, "app", AppId::from_resource_name)?,
                    rights: decode::words(&rights, "rights")?,
                    subjects: decode::subjects(identifiers),
                    redacted_extract: (!redacted_extract.is_empty()).then_some(redacted_extract),
                };
                let request_id = RequestUuid::parse(&request_id)?;
                let taken = self.0.app.assign_message(&by, id, assignment, request_id).await?;
                // What was read is shown where it is asked for and recorded, not here.
                Ok(v1::AssignMessageResponse {
                    message: Some(message(taken.message.row)),
                    receipt: Some(encode::receipt(&taken.receipt)),
                })
            })
            .await
    }

    async fn dismiss_message(
        &self,
        request: Request<v1::DismissMessageRequest>,
    ) -> Result<Response<v1::DismissMessageResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::DismissMessageRequest { name, request_id } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", MessageId::from_resource_name)?;
                let request_id = RequestUuid::parse(&request_id)?;
                let taken = self.0.app.dismiss_message(&by, id, request_id).await?;
                Ok(v1::DismissMessageResponse {
                    message: Some(message(taken.message.row)),
                    receipt: Some(encode::receipt(&taken.receipt)),
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_state_can_be_listed() {
        assert_eq!(state(0).unwrap(), None);
        assert_eq!(state(v1::MessageState::Triage.into()).unwrap(), Some(MessageState::Triage));
        assert_eq!(state(9).unwrap_err().reason, Reason::FieldInvalid);
    }

    #[test]
    fn what_was_read_reaches_the_wire_with_its_words() {
        let facts = crate::domain::routing::Facts {
            house: crate::domain::routing::House {
                app: "ppio".parse().unwrap(),
                controller: "ppio".parse().unwrap(),
                brands: vec!["PPIO".into()],
                domains: vec!["ppio.example".into()],
            },
            apps: vec![crate::domain::routing::Registered {
                app: "xingyu-live".parse().unwrap(),
                controller: "xingyu".parse().unwrap(),
                facts: vec![crate::domain::routing::Fact::new(FactKind::Name, "星语直播")],
            }],
        };
        let config = crate::intake::IntakeConfig {
            authserv_id: "mx.ppio.example".into(),
            mail_hosts: Vec::new(),
            house_domains: vec!["ppio.example".into()],
        };
        let mail = "From: a@example.com\r\nTo: privacy@ppio.example\r\nSubject: =?utf-8?B?5Yig6Zmk?=\r\n\
                    Content-Type: text/plain; charset=utf-8\r\n\r\n请删除我在星语直播的个人信息。\r\n";
        let read = crate::intake::read(mail.as_bytes(), &facts, &config).unwrap();
        let shown = candidate(read, "extract".into());
        assert_eq!(shown.route, "app");
        assert_eq!(shown.from_address, "a@example.com");
        assert!(shown.rights.iter().any(|r| r.right == "delete" && !r.quote.is_empty()));
        assert!(shown.evidence.iter().any(|e| e.app == "apps/xingyu-live" && e.fact == "name" && e.exact));
    }
}
