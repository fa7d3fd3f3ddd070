//! `InstructionService`: what a controller orders, signed.

use tonic::{Request, Response, Status};

use super::surface::Surface;
use super::v1::instruction_service_server::InstructionService;
use super::{decode, encode, v1};
use crate::app::{InstructionView, Submitted};
use crate::domain::InstructionId;

pub struct Instructions(pub Surface);

#[tonic::async_trait]
impl InstructionService for Instructions {
    async fn submit_instruction(
        &self,
        request: Request<v1::SubmitInstructionRequest>,
    ) -> Result<Response<v1::SubmitInstructionResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::SubmitInstructionRequest { instruction } = request.into_inner();
        self.0
            .reply(async {
                let Submitted { row, executions, receipt } =
                    self.0.app.submit_instruction(&controller, &instruction).await?;
                let view = InstructionView { row, executions };
                Ok(v1::SubmitInstructionResponse {
                    instruction: Some(encode::instruction(&view)),
                    receipt: Some(encode::receipt(&receipt)),
                })
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
        let v1::ListInstructionsRequest { page_size, page_token } = request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                // Newest admission first: the key is the trail index, and not the `jti`, which callers choose.
                let before = decode::page_token::<u64>(&page_token)?;
                let views = self.0.app.list_instructions(&controller, before, limit).await?;
                Ok(v1::ListInstructionsResponse {
                    next_page_token: encode::next_page(&views, limit, |view| view.row.leaf),
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
}
