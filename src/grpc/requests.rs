//! `RequestService`: a controller's own cases.

use tonic::{Request, Response, Status};

use super::surface::{Items, Surface, TICK};
use super::v1::request_service_server::RequestService;
use super::{decode, encode, v1};
use crate::app::{AppResult, NewRequest, OutcomeGiven, RequestUuid};
use crate::domain::{AppId, ControllerId, Reason, Refusal, RequestId, RequestStage};
use crate::store::Topic;
use crate::token::base64url;

/// Deliveries read at once.
const BATCH: u32 = 32;

pub struct Requests(pub Surface);

/// `base64url("<controller>:<sequence>")`: good for this controller alone.
fn resume_token(controller: &ControllerId, sequence: u64) -> String {
    base64url::encode(format!("{controller}:{sequence}"))
}

/// The sequence to go on after; 0 without a token.
fn resume_after(controller: &ControllerId, token: &str) -> Result<u64, Refusal> {
    if token.is_empty() {
        return Ok(0);
    }
    base64url::decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.split_once(':').and_then(|(_, sequence)| sequence.parse().ok()))
        // Whoever's it is and however it is spelt: it must be the one we would make.
        .filter(|sequence| resume_token(controller, *sequence) == token)
        .ok_or_else(|| Refusal::at(Reason::PageTokenInvalid, "resume_token"))
}

/// The stage to list; the two before routing are never a controller's.
fn stage(stage: i32) -> Result<Option<RequestStage>, Refusal> {
    let invalid = || Refusal::at(Reason::FieldInvalid, "stage");
    Ok(Some(match v1::RequestStage::try_from(stage).map_err(|_| invalid())? {
        v1::RequestStage::Unspecified => return Ok(None),
        v1::RequestStage::Received | v1::RequestStage::Triage => {
            return Err(invalid().note("no case of a controller is at this stage"));
        }
        v1::RequestStage::Routed => RequestStage::Routed,
        v1::RequestStage::Forwarded => RequestStage::Forwarded,
        v1::RequestStage::Acknowledged => RequestStage::Acknowledged,
        v1::RequestStage::Instructed => RequestStage::Instructed,
        v1::RequestStage::Executing => RequestStage::Executing,
        v1::RequestStage::Executed => RequestStage::Executed,
        v1::RequestStage::Refused => RequestStage::Refused,
        v1::RequestStage::Answered => RequestStage::Answered,
        v1::RequestStage::Closed => RequestStage::Closed,
        v1::RequestStage::Misrouted => RequestStage::Misrouted,
    }))
}

fn outcome(outcome: v1::RightOutcome) -> Result<OutcomeGiven, Refusal> {
    let v1::RightOutcome { right, kind, ground, recipients_named } = outcome;
    let refused = match v1::OutcomeKind::try_from(kind) {
        Ok(v1::OutcomeKind::Unspecified) => return Err(Refusal::at(Reason::FieldRequired, "outcomes.kind")),
        Ok(v1::OutcomeKind::Answered) => false,
        Ok(v1::OutcomeKind::Refused) => true,
        Err(_) => return Err(Refusal::at(Reason::FieldInvalid, "outcomes.kind")),
    };
    Ok(OutcomeGiven {
        right: decode::word(&right, "outcomes.right")?,
        refused,
        ground: decode::optional_word(&ground, "outcomes.ground")?,
        recipients_named,
    })
}

impl Surface {
    /// Brings what waits, then waits for more. Ends when the reader is gone.
    async fn watch_requests(
        self,
        controller: ControllerId,
        mut after: u64,
        outlet: super::surface::Outlet<v1::WatchRequestsResponse>,
    ) -> AppResult<()> {
        let bell = self.app.store.wakes().subscribe(Topic::Deliveries(controller.clone()));
        loop {
            // Armed before the read: a change in between is heard.
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            // Boxed, so that a stream that waits does not hold the room that reading takes.
            let batch = Box::pin(self.app.deliver(&controller, after, BATCH)).await?;
            let idle = batch.is_empty();
            for (sequence, view) in batch {
                after = sequence;
                let item = v1::WatchRequestsResponse {
                    request: Some(encode::request(view)),
                    resume_token: resume_token(&controller, sequence),
                };
                if !outlet.send(item).await {
                    return Ok(());
                }
            }
            if idle {
                tokio::select! {
                    () = rung => {}
                    () = tokio::time::sleep(TICK) => {}
                }
            }
        }
    }
}

#[tonic::async_trait]
impl RequestService for Requests {
    async fn list_requests(
        &self,
        request: Request<v1::ListRequestsRequest>,
    ) -> Result<Response<v1::ListRequestsResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::ListRequestsRequest { page_size, page_token, stage: wanted } = request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                let before = decode::page_token::<RequestId>(&page_token)?;
                let views = self.0.app.list_requests(&controller, stage(wanted)?, before, limit).await?;
                let next_page_token = encode::next_page(&views, limit, |view| view.row.id);
                let requests = views.into_iter().map(encode::request).collect();
                Ok(v1::ListRequestsResponse { requests, next_page_token })
            })
            .await
    }

    async fn get_request(
        &self,
        request: Request<v1::GetRequestRequest>,
    ) -> Result<Response<v1::GetRequestResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::GetRequestRequest { name } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", RequestId::from_resource_name)?;
                let view = self.0.app.get_request(&controller, id).await?;
                Ok(v1::GetRequestResponse { request: Some(encode::request(view)) })
            })
            .await
    }

    type WatchRequestsStream = Items<v1::WatchRequestsResponse>;

    async fn watch_requests(
        &self,
        request: Request<v1::WatchRequestsRequest>,
    ) -> Result<Response<Self::WatchRequestsStream>, Status> {
        let controller = self.0.controller(&request)?;
        let caller = self.0.caller(&request)?;
        let v1::WatchRequestsRequest { resume_token } = request.into_inner();
        let after = resume_after(&controller, &resume_token).map_err(|refusal| self.0.refused(&refusal))?;
        let surface = self.0.clone();
        Ok(self.0.stream(&caller, |outlet| surface.watch_requests(controller, after, outlet)))
    }

    async fn acknowledge_request(
        &self,
        request: Request<v1::AcknowledgeRequestRequest>,
    ) -> Result<Response<v1::AcknowledgeRequestResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::AcknowledgeRequestRequest { name, request_id } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", RequestId::from_resource_name)?;
                let request_id = RequestUuid::parse(&request_id)?;
                let (view, issued) = self.0.app.acknowledge_request(&controller, id, request_id).await?;
                Ok(v1::AcknowledgeRequestResponse {
                    request: Some(encode::request(view)),
                    receipt: Some(encode::receipt(&issued)),
                })
            })
            .await
    }

    async fn reject_request(
        &self,
        request: Request<v1::RejectRequestRequest>,
    ) -> Result<Response<v1::RejectRequestResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::RejectRequestRequest { name, request_id } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", RequestId::from_resource_name)?;
                let request_id = RequestUuid::parse(&request_id)?;
                let (_, issued) = self.0.app.reject_request(&controller, id, request_id).await?;
                Ok(v1::RejectRequestResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn record_outcome(
        &self,
        request: Request<v1::RecordOutcomeRequest>,
    ) -> Result<Response<v1::RecordOutcomeResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::RecordOutcomeRequest { name, outcomes, request_id } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", RequestId::from_resource_name)?;
                let outcomes = outcomes.into_iter().map(outcome).collect::<Result<Vec<_>, _>>()?;
                let request_id = RequestUuid::parse(&request_id)?;
                let (view, issued) = self.0.app.record_outcome(&controller, id, outcomes, request_id).await?;
                Ok(v1::RecordOutcomeResponse {
                    request: Some(encode::request(view)),
                    receipt: Some(encode::receipt(&issued)),
                })
            })
            .await
    }

    async fn create_request(
        &self,
        request: Request<v1::CreateRequestRequest>,
    ) -> Result<Response<v1::CreateRequestResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::CreateRequestRequest {
            app,
            rights,
            identifiers,
            received_time,
            guardian,
            language,
            request_id,
        } = request.into_inner();
        self.0
            .reply(async {
                if !matches!(language.as_str(), "" | "zh" | "en" | "other") {
                    return Err(Refusal::at(Reason::FieldInvalid, "language").note("zh, en or other").into());
                }
                let new = NewRequest {
                    app: decode::name(&app, "app", AppId::from_resource_name)?,
                    rights: decode::words(&rights, "rights")?,
                    subjects: decode::subjects(identifiers),
                    received_at: decode::seconds(received_time, "received_time")?,
                    guardian,
                    language,
                };
                let request_id = RequestUuid::required(&request_id)?;
                let (view, issued) = self.0.app.create_request(&controller, request_id, new).await?;
                Ok(v1::CreateRequestResponse {
                    request: Some(encode::request(view)),
                    receipt: Some(encode::receipt(&issued)),
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_token_is_good_for_its_controller_alone() {
        let (mine, other): (ControllerId, ControllerId) =
            ("xingyu".parse().unwrap(), "haiwan".parse().unwrap());
        let token = resume_token(&mine, 41);
        assert_eq!(resume_after(&mine, &token).unwrap(), 41);
        assert_eq!(resume_after(&mine, "").unwrap(), 0);
        assert_eq!(resume_after(&other, &token).unwrap_err().reason, Reason::PageTokenInvalid);
        for bad in ["x", "%", &base64url::encode("xingyu:-1"), &base64url::encode("xingyu:+41")] {
            assert!(resume_after(&mine, bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_stage_no_controller_sees_cannot_be_listed() {
        assert_eq!(stage(0).unwrap(), None);
        assert_eq!(stage(v1::RequestStage::Closed.into()).unwrap(), Some(RequestStage::Closed));
        assert!(stage(v1::RequestStage::Triage.into()).is_err());
        assert!(stage(99).is_err());
    }

    #[test]
    fn an_outcome_without_a_kind_is_refused() {
        let given = v1::RightOutcome { right: "delete".into(), ..Default::default() };
        assert_eq!(outcome(given).unwrap_err().reason, Reason::FieldRequired);
    }
}
