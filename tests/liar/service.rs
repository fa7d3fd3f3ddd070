//! What the agent hears: the calls it makes, answered truly or as the test says.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mandate::app::ReportIn;
use mandate::domain::clock::SystemClock;
use mandate::domain::{Clock, Reason};
use mandate::grpc::v1;
use mandate::grpc::v1::agent_service_server::AgentService;
use mandate::grpc::v1::audit_service_server::AuditService;
use mandate::store::Log;
use tonic::{Request, Response, Status, Streaming};

use super::{Liar, MADE_UP, execution, failed, order, receipt, seconds};

#[tonic::async_trait]
impl AgentService for Liar {
    async fn lease_orders(
        &self,
        _: Request<v1::LeaseOrdersRequest>,
    ) -> Result<Response<v1::LeaseOrdersResponse>, Status> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(order) = self.orders().waiting.pop_front() {
            return Ok(Response::new(v1::LeaseOrdersResponse { orders: vec![order] }));
        }
        if self.silent.load(Ordering::SeqCst) {
            return Ok(Response::new(v1::LeaseOrdersResponse { orders: Vec::new() }));
        }
        let leased = self.app.lease_orders(&self.agent, 1).await.map_err(failed)?;
        Ok(Response::new(v1::LeaseOrdersResponse { orders: leased.iter().map(order).collect() }))
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let asked = request.into_inner();
        if asked.lease_token.starts_with(MADE_UP) {
            let lease_expire_time = seconds(SystemClock.now_seconds() + 120);
            return Ok(Response::new(v1::RenewLeaseResponse { lease_expire_time }));
        }
        let of = execution(&asked.execution);
        let renewed = self.app.renew_lease(&self.agent, of, &asked.lease_token).await.map_err(failed)?;
        Ok(Response::new(v1::RenewLeaseResponse { lease_expire_time: seconds(renewed.lease_expires_at) }))
    }

    async fn submit_report(
        &self,
        request: Request<v1::SubmitReportRequest>,
    ) -> Result<Response<v1::SubmitReportResponse>, Status> {
        let sent = request.into_inner();
        if sent.lease_token.starts_with(MADE_UP) {
            self.take_report(sent);
            return Err(Status::unavailable("nobody takes it"));
        }
        let input = ReportIn {
            execution: execution(&sent.execution),
            lease_token: sent.lease_token,
            report: sent.report,
            preview_details: sent.preview_details.to_vec(),
        };
        let issued = self.app.submit_report(&self.agent, input).await.map_err(failed)?;
        Ok(Response::new(v1::SubmitReportResponse { receipt: Some(receipt(&issued)) }))
    }

    async fn get_report_receipt(
        &self,
        request: Request<v1::GetReportReceiptRequest>,
    ) -> Result<Response<v1::GetReportReceiptResponse>, Status> {
        let of = execution(&request.into_inner().execution);
        let issued = self.app.report_receipt(&self.agent, of).await.map_err(failed)?;
        Ok(Response::new(v1::GetReportReceiptResponse { receipt: Some(receipt(&issued)) }))
    }

    async fn defer_order(
        &self,
        request: Request<v1::DeferOrderRequest>,
    ) -> Result<Response<v1::DeferOrderResponse>, Status> {
        let sent = request.into_inner();
        if sent.lease_token.starts_with(MADE_UP) {
            self.orders().said.entry(sent.lease_token).or_insert(format!("deferred {}", sent.reason));
            return Ok(Response::new(v1::DeferOrderResponse { next_attempt_time: None }));
        }
        let reason = Reason::from_code(&sent.reason).expect("a reason");
        let of = execution(&sent.execution);
        let next = self.app.defer_order(&self.agent, of, &sent.lease_token, reason, sent.begun).await;
        let next_attempt_time = next.map_err(failed)?.and_then(seconds);
        Ok(Response::new(v1::DeferOrderResponse { next_attempt_time }))
    }

    async fn upload_export(
        &self,
        _: Request<Streaming<v1::UploadExportRequest>>,
    ) -> Result<Response<v1::UploadExportResponse>, Status> {
        Err(Status::unimplemented("no export is ordered here"))
    }

    async fn vouch_report_key(
        &self,
        _: Request<v1::VouchReportKeyRequest>,
    ) -> Result<Response<v1::VouchReportKeyResponse>, Status> {
        Err(Status::unimplemented("no key is rotated here"))
    }

    async fn retire_report_key(
        &self,
        _: Request<v1::RetireReportKeyRequest>,
    ) -> Result<Response<v1::RetireReportKeyResponse>, Status> {
        Err(Status::unimplemented("no key is rotated here"))
    }

    async fn read_authority(
        &self,
        request: Request<v1::ReadAuthorityRequest>,
    ) -> Result<Response<v1::ReadAuthorityResponse>, Status> {
        let start = request.into_inner().start;
        let lie = self.lie.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (leaves, checkpoint) = match lie {
            Some((all, checkpoint)) => {
                let from = usize::try_from(start).unwrap_or(usize::MAX).min(all.len());
                (all[from..].to_vec(), checkpoint)
            }
            None => {
                let (leaves, checkpoint, _) = self.app.read_authority(start, 10_000).await.map_err(failed)?;
                (leaves, checkpoint)
            }
        };
        let leaves = leaves.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ReadAuthorityResponse { leaves, checkpoint, more: false }))
    }

    async fn get_anchor(
        &self,
        _: Request<v1::GetAnchorRequest>,
    ) -> Result<Response<v1::GetAnchorResponse>, Status> {
        let (sequence, head) = self.app.agent_anchor(&self.agent).await.map_err(failed)?;
        Ok(Response::new(v1::GetAnchorResponse { sequence, head }))
    }
}

#[tonic::async_trait]
impl AuditService for Liar {
    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let asked = request.into_inner();
        assert_eq!(asked.log(), v1::Log::Trail);
        let proof = self.app.consistency(Log::Trail, asked.old_size, asked.new_size).await.map_err(failed)?;
        let mut hashes: Vec<_> = proof.hashes.iter().map(|hash| hash.as_bytes().to_vec().into()).collect();
        if self.unproven.load(Ordering::SeqCst) {
            hashes.fill(vec![7; 32].into());
        }
        Ok(Response::new(v1::GetConsistencyProofResponse { hashes, new_size: proof.size }))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }

    async fn list_leaves(
        &self,
        _: Request<v1::ListLeavesRequest>,
    ) -> Result<Response<v1::ListLeavesResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }

    async fn get_inclusion_proof(
        &self,
        _: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }

    async fn export_evidence(
        &self,
        _: Request<v1::ExportEvidenceRequest>,
    ) -> Result<Response<v1::ExportEvidenceResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }
}
