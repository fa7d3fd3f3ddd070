//! `AuditService`: the two logs, for those who check them.

use tonic::{Request, Response, Status};

use super::surface::Surface;
use super::v1::audit_service_server::AuditService;
use super::{decode, encode, v1};
use crate::domain::{InstructionId, Reason, Refusal};
use crate::store::Log;

/// Leaves at once where no number is given, and the most.
const LEAVES: u32 = 256;
const LEAVES_MAX: u32 = 1024;

pub struct Audit(pub Surface);

/// The log, if the caller may see anything of it. A controller sees of the whole the trail's size
/// alone: the size of the authority log would tell it how many others there are (I5).
fn open_to(sees_all: bool, log: i32) -> Result<Log, Refusal> {
    match decode::log(log)? {
        Log::Authority if !sees_all => Err(Refusal::at(Reason::KindNotAllowed, "log")),
        log => Ok(log),
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let sees_all = self.0.controller(&request).is_err();
        let v1::GetCheckpointRequest { log } = request.into_inner();
        self.0
            .reply(async {
                let checkpoint = self.0.app.checkpoint(open_to(sees_all, log)?).await?;
                Ok(v1::GetCheckpointResponse { checkpoint })
            })
            .await
    }

    async fn list_leaves(
        &self,
        request: Request<v1::ListLeavesRequest>,
    ) -> Result<Response<v1::ListLeavesResponse>, Status> {
        let v1::ListLeavesRequest { log, start, count } = request.into_inner();
        self.0
            .reply(async {
                let log = decode::log(log)?;
                if start > i64::MAX.unsigned_abs() {
                    return Err(Refusal::at(Reason::FieldInvalid, "start")
                        .note("lies outside the log")
                        .into());
                }
                let count = if count == 0 { LEAVES } else { count.min(LEAVES_MAX) };
                let leaves = self.0.app.leaves(log, start, count).await?;
                Ok(v1::ListLeavesResponse {
                    next: start + leaves.len() as u64,
                    leaves: leaves.into_iter().map(Into::into).collect(),
                })
            })
            .await
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        let sees_all = self.0.controller(&request).is_err();
        let v1::GetInclusionProofRequest { log, index, size } = request.into_inner();
        self.0
            .reply(async {
                let proof = self.0.app.inclusion(open_to(sees_all, log)?, index, size).await?;
                Ok(v1::GetInclusionProofResponse { hashes: encode::hashes(&proof.hashes), size: proof.size })
            })
            .await
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let sees_all = self.0.controller(&request).is_err();
        let v1::GetConsistencyProofRequest { log, old_size, new_size } = request.into_inner();
        self.0
            .reply(async {
                let proof = self.0.app.consistency(open_to(sees_all, log)?, old_size, new_size).await?;
                Ok(v1::GetConsistencyProofResponse {
                    hashes: encode::hashes(&proof.hashes),
                    new_size: proof.size,
                })
            })
            .await
    }

    async fn export_evidence(
        &self,
        request: Request<v1::ExportEvidenceRequest>,
    ) -> Result<Response<v1::ExportEvidenceResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::ExportEvidenceRequest { name } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", InstructionId::from_resource_name)?;
                let bundle = self.0.app.audit_evidence(&by, id).await?;
                Ok(v1::ExportEvidenceResponse { bundle: bundle.into() })
            })
            .await
    }
}
