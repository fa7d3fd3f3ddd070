//! `ExportService`: encrypted packages, fetched by their controller.

use std::io::SeekFrom;

use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tonic::{Request, Response, Status};

use super::surface::{Items, Outlet, Surface};
use super::v1::export_service_server::ExportService;
use super::{decode, encode, v1};
use crate::app::{AppResult, Package};
use crate::domain::ExportId;

/// Bytes of a package in one message.
const CHUNK: usize = 64 * 1024;

pub struct Exports(pub Surface);

/// Sends a package from `offset` to its end.
async fn send(
    package: Package,
    mut offset: u64,
    outlet: Outlet<v1::DownloadExportResponse>,
) -> AppResult<()> {
    let mut file = tokio::fs::File::open(&package.path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    let mut rest = file.take(package.size.saturating_sub(offset));
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        (&mut rest).take(CHUNK as u64).read_to_end(&mut chunk).await?;
        if chunk.is_empty() {
            return Ok(());
        }
        let length = chunk.len() as u64;
        if !outlet.send(v1::DownloadExportResponse { offset, data: chunk.into() }).await {
            return Ok(());
        }
        offset += length;
    }
}

#[tonic::async_trait]
impl ExportService for Exports {
    async fn get_export(
        &self,
        request: Request<v1::GetExportRequest>,
    ) -> Result<Response<v1::GetExportResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::GetExportRequest { name } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&name, "name", ExportId::from_resource_name)?;
                let view = self.0.app.get_export(&controller, id).await?;
                Ok(v1::GetExportResponse { export: Some(encode::export(&view)) })
            })
            .await
    }

    async fn list_exports(
        &self,
        request: Request<v1::ListExportsRequest>,
    ) -> Result<Response<v1::ListExportsResponse>, Status> {
        let controller = self.0.controller(&request)?;
        let v1::ListExportsRequest { page_size, page_token } = request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                let before = decode::page_token::<ExportId>(&page_token)?;
                let views = self.0.app.list_exports(&controller, before, limit).await?;
                Ok(v1::ListExportsResponse {
                    next_page_token: encode::next_page(&views, limit, |view| view.id),
                    exports: views.iter().map(encode::export).collect(),
                })
            })
            .await
    }

    type DownloadExportStream = Items<v1::DownloadExportResponse>;

    async fn download_export(
        &self,
        request: Request<v1::DownloadExportRequest>,
    ) -> Result<Response<Self::DownloadExportStream>, Status> {
        let controller = self.0.controller(&request)?;
        let caller = self.0.caller(&request)?;
        let v1::DownloadExportRequest { name, offset } = request.into_inner();
        let id = decode::name(&name, "name", ExportId::from_resource_name)
            .map_err(|refusal| self.0.refused(&refusal))?;
        let package = self
            .0
            .app
            .download_export(&controller, id, offset)
            .await
            .map_err(|error| self.0.status(error))?;
        Ok(self.0.stream(&caller, |outlet| send(package, offset, outlet)))
    }
}
