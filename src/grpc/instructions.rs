//! `InstructionService`: what a controller orders, signed.

use futures::future::join_all;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use super::surface::Surface;
use super::v1::instruction_outcome::Outcome;
use super::v1::instruction_service_server::InstructionService;
use super::{decode, encode, v1};
use crate::app::{Countersignature, InstructionView, Submitted, Wanted};
use crate::domain::{ControllerId, InstructionId, Reason, Refusal};

/// Instructions in one call.
const BATCH: usize = 256;

pub struct Instructions(pub Surface);

fn submitted(Submitted { row, executions, receipt }: Submitted) -> v1::SubmitInstructionResponse {
    v1::SubmitInstructionResponse {
        instruction: Some(encode::instruction(&InstructionView { row, executions })),
        receipt: Some(encode::receipt(&receipt)),
    }
}

/// What a status says, as a part of an answer.
fn refusal_of(status: &Status) -> v1::InstructionRefusal {
    let details = status.get_error_details();
    let info = details.error_info();
    let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
    v1::InstructionRefusal {
        code: status.code().into(),
        reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
        message: status.message().to_owned(),
        metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
        field: violation.map(|violation| violation.field.clone()).unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl InstructionService for Instructions {
    async fn submit_instruction(
        &self,
        request: Request<v1::SubmitInstructionRequest>,
    ) -> Result<Response<v1::SubmitInstructionResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::SubmitInstructionRequest { instruction } = request.into_inner();
        self.0
            .reply(async { Ok(submitted(self.0.app.submit_instruction(&controller, &instruction).await?)) })
            .await
    }

    async fn batch_submit_instructions(
        &self,
        request: Request<v1::BatchSubmitInstructionsRequest>,
    ) -> Result<Response<v1::BatchSubmitInstructionsResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::BatchSubmitInstructionsRequest { requests } = request.into_inner();
        if requests.is_empty() || requests.len() > BATCH {
            let refusal = Refusal::at(Reason::FieldInvalid, "requests").note("between 1 and 256");
            return Err(self.0.refused(&refusal));
        }
        // All at once: those that are admitted share the commits.
        let outcomes = join_all(requests.iter().map(|v1::SubmitInstructionRequest { instruction }| {
            let controller = &controller;
            async move {
                let outcome = match self.0.app.submit_instruction(controller, instruction).await {
                    Ok(done) => Outcome::Admitted(submitted(done)),
                    Err(error) => Outcome::Refused(refusal_of(&self.0.status(error))),
                };
                v1::InstructionOutcome { outcome: Some(outcome) }
            }
        }));
        Ok(Response::new(v1::BatchSubmitInstructionsResponse { outcomes: outcomes.await }))
    }

    async fn approve_instruction(
        &self,
        request: Request<v1::ApproveInstructionRequest>,
    ) -> Result<Response<v1::ApproveInstructionResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::ApproveInstructionRequest { name, protected, signature, disclosures } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", InstructionId::from_resource_name)?;
                let given = Countersignature { controller, id, protected, signature };
                let done = submitted(self.0.app.approve_instruction(given, disclosures).await?);
                let v1::SubmitInstructionResponse { instruction, receipt } = done;
                Ok(v1::ApproveInstructionResponse { instruction, receipt })
            })
            .await
    }

    async fn withdraw_approval(
        &self,
        request: Request<v1::WithdrawApprovalRequest>,
    ) -> Result<Response<v1::WithdrawApprovalResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::WithdrawApprovalRequest { name, protected, signature } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", InstructionId::from_resource_name)?;
                let given = Countersignature { controller, id, protected, signature };
                let done = submitted(self.0.app.withdraw_approval(given).await?);
                Ok(v1::WithdrawApprovalResponse { instruction: done.instruction })
            })
            .await
    }

    async fn contest_instruction(
        &self,
        request: Request<v1::ContestInstructionRequest>,
    ) -> Result<Response<v1::ContestInstructionResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::ContestInstructionRequest { controller, name, ground } = request.into_inner();
        self.0
            .reply(async {
                let controller = decode::name(&controller, "controller", ControllerId::from_resource_name)?;
                let id = decode::name(&name, "name", InstructionId::from_resource_name)?;
                let ground = decode::word(&ground, "ground")?;
                let issued = self.0.app.contest_instruction(by, &controller, id, ground).await?;
                Ok(v1::ContestInstructionResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn get_instruction(
        &self,
        request: Request<v1::GetInstructionRequest>,
    ) -> Result<Response<v1::GetInstructionResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::GetInstructionRequest { name } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", InstructionId::from_resource_name)?;
                let view = self.0.app.get_instruction(&controller, id).await?;
                Ok(v1::GetInstructionResponse { instruction: Some(encode::instruction(&view)) })
            })
            .await
    }

    async fn list_instructions(
        &self,
        request: Request<v1::ListInstructionsRequest>,
    ) -> Result<Response<v1::ListInstructionsResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::ListInstructionsRequest { page_size, page_token, signed_with, since_time } =
            request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                // Newest admission first: the key is the trail index, and not the `jti`, which callers choose.
                let before = decode::page_token::<u64>(&page_token)?;
                let wanted = Wanted {
                    signed_with: match signed_with.as_str() {
                        "" => None,
                        kid => Some(decode::word(kid, "signed_with")?),
                    },
                    since: decode::seconds(since_time, "since_time")?,
                };
                let (views, next) = self.0.app.list_instructions(&controller, &wanted, before, limit).await?;
                Ok(v1::ListInstructionsResponse {
                    next_page_token: next.map(|leaf| encode::page_token(&leaf)).unwrap_or_default(),
                    instructions: views.iter().map(encode::instruction).collect(),
                })
            })
            .await
    }

    async fn get_receipt(
        &self,
        request: Request<v1::GetReceiptRequest>,
    ) -> Result<Response<v1::GetReceiptResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::GetReceiptRequest { name } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", InstructionId::from_resource_name)?;
                let issued = self.0.app.instruction_receipt(&controller, id).await?;
                Ok(v1::GetReceiptResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn get_evidence(
        &self,
        request: Request<v1::GetEvidenceRequest>,
    ) -> Result<Response<v1::GetEvidenceResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::GetEvidenceRequest { name, include_disclosures } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", InstructionId::from_resource_name)?;
                let bundle = self.0.app.evidence(&controller, id, include_disclosures).await?;
                Ok(v1::GetEvidenceResponse { bundle: bundle.into() })
            })
            .await
    }

    async fn get_key_set(
        &self,
        request: Request<v1::GetKeySetRequest>,
    ) -> Result<Response<v1::GetKeySetResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::GetKeySetRequest {} = request.into_inner();
        self.0
            .reply(async {
                let view = self.0.app.key_set(&controller).await?;
                let key_set =
                    String::from_utf8(view.jws).map_err(|_| crate::app::AppError::Corrupt("key_sets.jws"))?;
                Ok(v1::GetKeySetResponse { key_set, version: view.version, digest: view.digest })
            })
            .await
    }

    async fn rotate_key_set(
        &self,
        request: Request<v1::RotateKeySetRequest>,
    ) -> Result<Response<v1::RotateKeySetResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::RotateKeySetRequest { key_set } = request.into_inner();
        self.0
            .reply(async {
                let (version, digest, issued) = self.0.app.rotate_key_set(&controller, &key_set).await?;
                Ok(v1::RotateKeySetResponse { version, digest, receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }
}
