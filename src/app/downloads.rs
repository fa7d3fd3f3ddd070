//! A controller fetches its export packages. Every download is a leaf.

use std::path::PathBuf;

use crate::domain::event::ExportDownloaded;
use crate::domain::{ControllerId, ExportId, Reason, Refusal};
use crate::store::exports::{self, ExportRow};
use crate::store::{Command, StoreError, Tx};

use super::{App, AppResult};

pub type ExportView = ExportRow;

/// A package to read from.
pub struct Package {
    pub path: PathBuf,
    pub size: u64,
}

impl App {
    pub async fn get_export(&self, controller: &ControllerId, id: ExportId) -> AppResult<ExportView> {
        let found = exports::find(&mut self.store.reader().await?, controller, &id).await?;
        Ok(found.ok_or(Reason::NotFound)?)
    }

    pub async fn list_exports(
        &self,
        controller: &ControllerId,
        before: Option<ExportId>,
        limit: u32,
    ) -> AppResult<Vec<ExportView>> {
        exports::page(&mut self.store.reader().await?, controller, before.as_ref(), limit).await
    }

    /// Opens a package for reading from `offset` on; the leaf is durable before the first byte leaves.
    pub async fn download_export(
        &self,
        controller: &ControllerId,
        id: ExportId,
        offset: u64,
    ) -> AppResult<Package> {
        let command = Download { controller: controller.clone(), id, offset };
        let size = self.store.transact(command).await?.value;
        Ok(Package { path: self.export_path(&id), size })
    }
}

struct Download {
    controller: ControllerId,
    id: ExportId,
    offset: u64,
}

#[async_trait::async_trait]
impl Command for Download {
    const NAME: &'static str = "download_export";
    type Output = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let export = exports::find(tx.conn(), &self.controller, &self.id).await?.ok_or(Reason::NotFound)?;
        if export.removed || export.expires_at <= tx.now_seconds() {
            return Err(Reason::ExportGone.into());
        }
        if self.offset > export.size {
            return Err(Refusal::at(Reason::FieldInvalid, "offset").note("lies beyond the package").into());
        }
        let event = ExportDownloaded { by: self.controller.resource_name(), offset: self.offset };
        tx.append(&self.id.resource_name(), event)?;
        Ok(export.size)
    }
}
