//! `AgentService`: orders out, reports and packages in.

use std::time::Duration;

use futures::future::select_all;
use tonic::{Request, Response, Status, Streaming};

use super::surface::{Surface, TICK};
use super::v1::agent_service_server::AgentService;
use super::{decode, encode, v1};
use crate::app::{AppError, AppResult, LeasedOrder, ReportIn, Upload};
use crate::domain::{AgentId, ExecutionId, Reason, Refusal};
use crate::store::Topic;

const ORDERS_MAX: u32 = 16;
const WAIT_MAX: u64 = 30;
/// Leaves of the authority log in one answer: a key set is some kilobytes, an answer at most 4 MiB.
const AUTHORITY_LEAVES: u32 = 64;

pub struct Agents(pub Surface);

fn execution(name: &str) -> Result<ExecutionId, Refusal> {
    decode::name(name, "execution", ExecutionId::from_resource_name)
}

/// How many orders and how long to wait for the first.
fn lease_bounds(max_orders: i32, wait_seconds: i32) -> Result<(u32, Duration), Refusal> {
    let max = match u32::try_from(max_orders) {
        Ok(0) => 1,
        Ok(max) if max <= ORDERS_MAX => max,
        _ => return Err(Refusal::at(Reason::FieldInvalid, "max_orders").note("0 to 16")),
    };
    match u64::try_from(wait_seconds) {
        Ok(wait) if wait <= WAIT_MAX => Ok((max, Duration::from_secs(wait))),
        _ => Err(Refusal::at(Reason::FieldInvalid, "wait_seconds").note("0 to 30")),
    }
}

impl Agents {
    /// Leases what is due, or waits for it on the bells of the agent's stores.
    async fn lease(&self, agent: &AgentId, max: u32, wait: Duration) -> AppResult<Vec<LeasedOrder>> {
        let app = &self.0.app;
        let wakes = app.store.wakes();
        let bells: Vec<_> = app
            .agent_stores(agent)
            .await?
            .into_iter()
            .map(|store| wakes.subscribe(Topic::Orders(store)))
            .collect();
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            // Armed before the read: an order in between is heard.
            let mut rung: Vec<_> = bells.iter().map(|bell| Box::pin(bell.notified())).collect();
            for bell in &mut rung {
                bell.as_mut().enable();
            }
            let orders = app.lease_orders(agent, max).await?;
            if !orders.is_empty() || wait.is_zero() || rung.is_empty() {
                return Ok(orders);
            }
            tokio::select! {
                _ = select_all(rung) => {}
                // Orders that were put off become due without a bell.
                () = tokio::time::sleep(TICK) => {}
                () = &mut deadline => return Ok(Vec::new()),
                () = self.0.closing.cancelled() => return Ok(Vec::new()),
            }
        }
    }

    /// Takes the messages of an upload, the first of which says what comes. What has not come when
    /// `end` has is not waited for.
    async fn receive(
        &self,
        agent: &AgentId,
        mut messages: Streaming<v1::UploadExportRequest>,
        end: impl Future<Output = Status>,
    ) -> Result<v1::UploadExportResponse, Status> {
        tokio::pin!(end);
        let status = |error: AppError| self.0.status(error);
        let first = tokio::select! {
            biased;
            over = &mut end => return Err(over),
            first = messages.message() => first?.ok_or_else(|| status(missing("execution")))?,
        };
        let v1::UploadExportRequest { execution: name, lease_token, digest, size, data } = first;
        let of = execution(&name).map_err(|refusal| self.0.refused(&refusal))?;
        let mut upload =
            self.0.app.begin_upload(agent, of, &lease_token, &digest, size).await.map_err(status)?;
        let taken = tokio::select! {
            biased;
            over = &mut end => Err(over),
            taken = self.take_all(&mut upload, data, messages) => taken,
        };
        match taken {
            Ok(()) => {
                let uploaded = self.0.app.finish_upload(upload).await.map_err(status)?;
                Ok(v1::UploadExportResponse { export: uploaded.id.resource_name() })
            }
            Err(refused) => {
                upload.abandon().await;
                Err(refused)
            }
        }
    }

    async fn take_all(
        &self,
        upload: &mut Upload,
        first: prost::bytes::Bytes,
        mut messages: Streaming<v1::UploadExportRequest>,
    ) -> Result<(), Status> {
        upload.write(&first).await.map_err(|error| self.0.status(error))?;
        while let Some(message) = messages.message().await? {
            let v1::UploadExportRequest { execution, lease_token, digest, size, data } = message;
            if !(execution.is_empty() && lease_token.is_empty() && digest.is_empty() && size == 0) {
                let again =
                    Refusal::at(Reason::FieldInvalid, "execution").note("said on the first message alone");
                return Err(self.0.refused(&again));
            }
            upload.write(&data).await.map_err(|error| self.0.status(error))?;
        }
        Ok(())
    }
}

fn missing(field: &'static str) -> AppError {
    Refusal::at(Reason::FieldRequired, field).into()
}

#[tonic::async_trait]
impl AgentService for Agents {
    async fn lease_orders(
        &self,
        request: Request<v1::LeaseOrdersRequest>,
    ) -> Result<Response<v1::LeaseOrdersResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::LeaseOrdersRequest { max_orders, wait_seconds } = request.into_inner();
        self.0
            .reply(async {
                let (max, wait) = lease_bounds(max_orders, wait_seconds)?;
                let orders = self.lease(&agent, max, wait).await?;
                Ok(v1::LeaseOrdersResponse { orders: orders.iter().map(encode::order).collect() })
            })
            .await
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::RenewLeaseRequest { execution: name, lease_token } = request.into_inner();
        self.0
            .reply(async {
                let renewed = self.0.app.renew_lease(&agent, execution(&name)?, &lease_token).await?;
                Ok(v1::RenewLeaseResponse { lease_expire_time: Some(encode::time(renewed.lease_expires_at)) })
            })
            .await
    }

    async fn submit_report(
        &self,
        request: Request<v1::SubmitReportRequest>,
    ) -> Result<Response<v1::SubmitReportResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::SubmitReportRequest { execution: name, lease_token, report, preview_details } =
            request.into_inner();
        self.0
            .reply(async {
                let input = ReportIn {
                    execution: execution(&name)?,
                    lease_token,
                    report: decode::filled(report, "report")?,
                    preview_details: preview_details.to_vec(),
                };
                let issued = self.0.app.submit_report(&agent, input).await?;
                Ok(v1::SubmitReportResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn get_report_receipt(
        &self,
        request: Request<v1::GetReportReceiptRequest>,
    ) -> Result<Response<v1::GetReportReceiptResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::GetReportReceiptRequest { execution: name } = request.into_inner();
        self.0
            .reply(async {
                let issued = self.0.app.report_receipt(&agent, execution(&name)?).await?;
                Ok(v1::GetReportReceiptResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn defer_order(
        &self,
        request: Request<v1::DeferOrderRequest>,
    ) -> Result<Response<v1::DeferOrderResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::DeferOrderRequest { execution: name, lease_token, reason, begun } = request.into_inner();
        self.0
            .reply(async {
                let of = execution(&name)?;
                let reason = decode::filled(reason, "reason")?;
                let reason = Reason::from_code(&reason)
                    .ok_or_else(|| Refusal::at(Reason::FieldInvalid, "reason").note("no reason code"))?;
                let next = self.0.app.defer_order(&agent, of, &lease_token, reason, begun).await?;
                Ok(v1::DeferOrderResponse { next_attempt_time: next.map(encode::time) })
            })
            .await
    }

    async fn upload_export(
        &self,
        request: Request<Streaming<v1::UploadExportRequest>>,
    ) -> Result<Response<v1::UploadExportResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let caller = self.0.caller(&request)?;
        let end = self.0.end_of(&caller);
        self.receive(&agent, request.into_inner(), end).await.map(Response::new)
    }

    async fn vouch_report_key(
        &self,
        request: Request<v1::VouchReportKeyRequest>,
    ) -> Result<Response<v1::VouchReportKeyResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::VouchReportKeyRequest { succession } = request.into_inner();
        self.0
            .reply(async {
                let succession = decode::filled(succession, "succession")?;
                let issued = self.0.app.vouch_report_key(&agent, &succession).await?;
                Ok(v1::VouchReportKeyResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn retire_report_key(
        &self,
        request: Request<v1::RetireReportKeyRequest>,
    ) -> Result<Response<v1::RetireReportKeyResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::RetireReportKeyRequest { in_force } = request.into_inner();
        self.0
            .reply(async {
                let in_force = decode::filled(in_force, "in_force")?;
                let issued = self.0.app.retire_report_key(&agent, &in_force).await?;
                Ok(v1::RetireReportKeyResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn read_authority(
        &self,
        request: Request<v1::ReadAuthorityRequest>,
    ) -> Result<Response<v1::ReadAuthorityResponse>, Status> {
        let v1::ReadAuthorityRequest { start } = request.into_inner();
        self.0
            .reply(async {
                if start > i64::MAX.unsigned_abs() {
                    return Err(Refusal::at(Reason::FieldInvalid, "start")
                        .note("lies outside the log")
                        .into());
                }
                let (leaves, checkpoint, more) = self.0.app.read_authority(start, AUTHORITY_LEAVES).await?;
                Ok(v1::ReadAuthorityResponse {
                    leaves: leaves.into_iter().map(Into::into).collect(),
                    checkpoint,
                    more,
                })
            })
            .await
    }

    async fn get_anchor(
        &self,
        request: Request<v1::GetAnchorRequest>,
    ) -> Result<Response<v1::GetAnchorResponse>, Status> {
        let agent = self.0.agent(&request)?;
        let v1::GetAnchorRequest {} = request.into_inner();
        self.0
            .reply(async {
                let (sequence, head) = self.0.app.agent_anchor(&agent).await?;
                Ok(v1::GetAnchorResponse { sequence, head })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_bounded_in_number_and_in_time() {
        assert_eq!(lease_bounds(0, 0).unwrap(), (1, Duration::ZERO));
        assert_eq!(lease_bounds(16, 30).unwrap(), (16, Duration::from_secs(30)));
        for (max, wait) in [(17, 0), (-1, 0), (1, 31), (1, -1)] {
            assert_eq!(lease_bounds(max, wait).unwrap_err().reason, Reason::FieldInvalid);
        }
    }
}
