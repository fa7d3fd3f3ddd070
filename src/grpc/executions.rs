//! `ExecutionService`: what became of an instruction, store by store.

use tonic::{Request, Response, Status};

use super::surface::{Items, Outlet, Surface, TICK};
use super::v1::execution_service_server::ExecutionService;
use super::{decode, encode, v1};
use crate::app::AppResult;
use crate::domain::{ControllerId, ExecutionId, InstructionId};
use crate::store::Topic;

pub struct Executions(pub Surface);

impl Surface {
    /// Sends the execution at once and at every change, until it has ended.
    async fn watch_execution(
        self,
        controller: ControllerId,
        id: ExecutionId,
        outlet: Outlet<v1::WatchExecutionResponse>,
    ) -> AppResult<()> {
        // Before anything is remembered of it: whoever may not see it leaves no trace.
        self.app.get_execution(&controller, id).await?;
        let bell = self.app.store.wakes().subscribe(Topic::Execution(id));
        let mut seen = None;
        loop {
            // Armed before the read: a change in between is heard.
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            // Boxed, so that a stream that waits does not hold the room that reading takes.
            let view = Box::pin(self.app.get_execution(&controller, id)).await?;
            let ended = view.row.state.has_ended();
            // Its end comes without a change to the row.
            let news = (view.row.version, view.row.state);
            if seen.replace(news) != Some(news) {
                let item = v1::WatchExecutionResponse { execution: Some(encode::execution(view)) };
                if !outlet.send(item).await {
                    return Ok(());
                }
            }
            if ended {
                return Ok(());
            }
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}

#[tonic::async_trait]
impl ExecutionService for Executions {
    async fn get_execution(
        &self,
        request: Request<v1::GetExecutionRequest>,
    ) -> Result<Response<v1::GetExecutionResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::GetExecutionRequest { name } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", ExecutionId::from_resource_name)?;
                let view = self.0.app.get_execution(&controller, id).await?;
                Ok(v1::GetExecutionResponse { execution: Some(encode::execution(view)) })
            })
            .await
    }

    async fn list_executions(
        &self,
        request: Request<v1::ListExecutionsRequest>,
    ) -> Result<Response<v1::ListExecutionsResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::ListExecutionsRequest { instruction, page_size, page_token } = request.into_inner();
        self.0
            .reply(async {
                let of =
                    decode::optional_name(&instruction, "instruction", InstructionId::from_resource_name)?;
                let limit = decode::page_size(page_size)?;
                let before = decode::page_token::<ExecutionId>(&page_token)?;
                let views = self.0.app.list_executions(&controller, of, before, limit).await?;
                let next_page_token = encode::next_page(&views, limit, |view| view.row.id);
                let executions = views.into_iter().map(encode::execution).collect();
                Ok(v1::ListExecutionsResponse { executions, next_page_token })
            })
            .await
    }

    type WatchExecutionStream = Items<v1::WatchExecutionResponse>;

    async fn watch_execution(
        &self,
        request: Request<v1::WatchExecutionRequest>,
    ) -> Result<Response<Self::WatchExecutionStream>, Status> {
        let controller = self.0.controller(&request)?;
        let caller = self.0.caller(&request)?;
        let v1::WatchExecutionRequest { name } = request.into_inner();
        let id = decode::name(&name, "name", ExecutionId::from_resource_name)
            .map_err(|refusal| self.0.refused(&refusal))?;
        let surface = self.0.clone();
        Ok(self.0.stream(&caller, |outlet| surface.watch_execution(controller, id, outlet)))
    }
}
