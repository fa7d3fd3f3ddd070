//! An agent uploads an encrypted export package, before it reports it.
//!
//! Written to a new file, synced, and only then named in a row: a crash leaves at worst a
//! file that no row names, which the sweeper removes. The gateway cannot read a package.

use std::path::PathBuf;

use tokio::io::AsyncWriteExt;

use crate::domain::{Act, AgentId, ExecutionId, ExportId, Reason, Refusal, clock::uuid_v7};
use crate::fault;
use crate::store::exports::{self, ExportRow};
use crate::store::{Command, StoreError, Tx, instructions};
use crate::token::Digest;

use super::orders::{held, token_digest};
use super::{App, AppResult};

/// An upload under way.
pub struct Upload {
    agent: AgentId,
    execution: ExecutionId,
    token: String,
    digest: Digest,
    size: u64,
    id: ExportId,
    path: PathBuf,
    file: tokio::fs::File,
    written: u64,
    hash: aws_lc_rs::digest::Context,
}

/// A package that lies in the folder and has a row.
pub struct Uploaded {
    pub id: ExportId,
}

impl App {
    /// Where a package lies.
    pub(super) fn export_path(&self, id: &ExportId) -> PathBuf {
        self.settings.exports.join(format!("{id}.age"))
    }

    /// Begins an upload under a lease.
    pub async fn begin_upload(
        &self,
        agent: &AgentId,
        execution: ExecutionId,
        lease_token: &str,
        digest: &str,
        size: u64,
    ) -> AppResult<Upload> {
        let digest: Digest = digest
            .parse()
            .map_err(|_| Refusal::at(Reason::FieldInvalid, "digest").note("base64url, 32 bytes"))?;
        if size == 0 || size > self.settings.export_limit {
            return Err(Refusal::at(Reason::FieldInvalid, "size").into());
        }
        let token = token_digest(lease_token);
        self.store.transact(CheckLease { agent: agent.clone(), execution, token: token.clone() }).await?;
        let id = ExportId::from_uuid(uuid_v7(&*self.clock, &*self.entropy));
        let path = self.export_path(&id);
        let file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
        Ok(Upload {
            agent: agent.clone(),
            execution,
            token,
            digest,
            size,
            id,
            path,
            file,
            written: 0,
            hash: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256),
        })
    }

    /// Ends an upload: the bytes are those announced, on disk, and named in a row.
    pub async fn finish_upload(&self, mut upload: Upload) -> AppResult<Uploaded> {
        let digest = upload.hash.clone().finish();
        if upload.written != upload.size || digest.as_ref() != upload.digest.as_bytes() {
            upload.abandon().await;
            return Err(Reason::DigestMismatch.into());
        }
        upload.file.flush().await?;
        upload.file.sync_all().await?;
        // The name itself must survive, too.
        tokio::fs::File::open(&self.settings.exports).await?.sync_all().await?;
        fault::point("upload.synced");
        let command = PutExport {
            agent: upload.agent.clone(),
            execution: upload.execution,
            token: upload.token.clone(),
            id: upload.id,
            size: upload.size,
            digest: upload.digest,
            life: self.settings.export_life,
        };
        match self.store.transact(command).await {
            Ok(_) => {
                fault::point("upload.named");
                Ok(Uploaded { id: upload.id })
            }
            // It may have been committed after all: the file stays, and goes as an orphan if it was not.
            Err(StoreError::Refused(refusal)) if refusal.reason == Reason::Unavailable => Err(refusal.into()),
            Err(error) => {
                upload.abandon().await;
                Err(error)
            }
        }
    }
}

impl Upload {
    pub async fn write(&mut self, bytes: &[u8]) -> AppResult<()> {
        self.written += bytes.len() as u64;
        if self.written > self.size {
            return Err(Reason::DigestMismatch.into());
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).await?;
        Ok(())
    }

    /// Gives the upload up and removes what was written.
    pub async fn abandon(self) {
        drop(self.file);
        if let Err(error) = tokio::fs::remove_file(&self.path).await {
            tracing::warn!(kind = ?error.kind(), "an unfinished export file could not be removed");
        }
    }
}

struct CheckLease {
    agent: AgentId,
    execution: ExecutionId,
    token: String,
}

#[async_trait::async_trait]
impl Command for CheckLease {
    const NAME: &'static str = "check_lease";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        held(tx, &self.agent, &self.execution, &self.token).await?;
        Ok(())
    }
}

struct PutExport {
    agent: AgentId,
    execution: ExecutionId,
    token: String,
    id: ExportId,
    size: u64,
    digest: Digest,
    life: i64,
}

#[async_trait::async_trait]
impl Command for PutExport {
    const NAME: &'static str = "put_export";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let execution = held(tx, &self.agent, &self.execution, &self.token).await?;
        let instruction = instructions::find(tx.conn(), &execution.controller, &execution.instruction)
            .await?
            .ok_or(StoreError::Corrupt("executions.instruction_id"))?;
        if !matches!(instruction.act, Act::Export | Act::ReturnAndErase) {
            return Err(Refusal::new(Reason::StageConflict).note("the instruction orders no export").into());
        }
        let row = ExportRow {
            id: self.id,
            execution: self.execution,
            controller: execution.controller,
            size: self.size,
            digest: self.digest.to_string(),
            expires_at: tx.now_seconds() + self.life,
            released: false,
            removed: false,
        };
        exports::put(tx, &row).await
    }
}
