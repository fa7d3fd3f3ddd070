//! A controller reads its own instructions, executions and key set.

use serde::{Deserialize, Serialize};

use crate::domain::{ControllerId, ExecutionId, InstructionId, Reason};
use crate::store::executions::{self, ExecutionRow};
use crate::store::instructions::{self, InstructionRow};
use crate::store::{Issued, StoreError, exports};
use crate::token::{CollectionReport, Envelope};
use crate::vault::{KeyId, RetentionClass, VaultError};

use super::reports::details_place;
use super::{App, AppResult, standing};

pub struct InstructionView {
    pub row: InstructionRow,
    pub executions: Vec<ExecutionId>,
}

/// Which instructions are asked for.
#[derive(Debug, Default)]
pub struct Wanted {
    /// With a signature of this key.
    pub signed_with: Option<crate::token::KeyId>,
    /// Admitted from this second on, or waiting.
    pub since: Option<i64>,
}

/// Pages looked through for one answer, so that it comes soon.
const PAGES: usize = 20;

impl Wanted {
    fn fits(&self, row: &InstructionRow) -> Result<bool, StoreError> {
        if self.since.is_some_and(|since| row.admitted_at > 0 && row.admitted_at < since) {
            return Ok(false);
        }
        let Some(kid) = self.signed_with else { return Ok(true) };
        let envelope = Envelope::read_signed_part(&row.signed_part)
            .map_err(|_| StoreError::Corrupt("instructions.signed_part"))?;
        Ok(envelope.kids().any(|signed| signed == kid))
    }
}

/// An execution, with what its signed report says.
pub struct ExecutionView {
    pub row: ExecutionRow,
    pub collections: Vec<CollectionReport>,
    pub export: Option<crate::domain::ExportId>,
    pub preview: Option<PreviewView>,
}

pub struct PreviewView {
    /// SHA-256 over the salted plan, base64url.
    pub digest: String,
    pub as_of: i64,
    /// `None` once shredded.
    pub details: Option<PreviewDetails>,
}

/// A preview's counts and the salt of its digest, as the agent sends them beside the report.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewDetails {
    pub salt: String,
    pub counts: Vec<CollectionReport>,
}

/// A controller's newest key set.
pub struct KeySetView {
    pub jws: Vec<u8>,
    pub version: u64,
    pub digest: String,
}

impl App {
    pub async fn get_instruction(
        &self,
        controller: &ControllerId,
        id: InstructionId,
    ) -> AppResult<InstructionView> {
        let mut conn = self.store.reader().await?;
        let row = instructions::find(&mut conn, controller, &id).await?.ok_or(Reason::NotFound)?;
        let executions = executions::of_instruction(&mut conn, controller, &id).await?;
        let row = standing::at(row, &executions, self.clock.now_seconds());
        Ok(InstructionView { row, executions: executions.into_iter().map(|e| e.id).collect() })
    }

    /// A page, newest admission first, and the trail index from which the next goes on. `before` is that of the
    /// page before.
    pub async fn list_instructions(
        &self,
        controller: &ControllerId,
        wanted: &Wanted,
        mut before: Option<u64>,
        limit: u32,
    ) -> AppResult<(Vec<InstructionView>, Option<u64>)> {
        let mut conn = self.store.reader().await?;
        let (now, mut views) = (self.clock.now_seconds(), Vec::new());
        for _ in 0..PAGES {
            let rows = instructions::page(&mut conn, controller, before, limit).await?;
            let is_last = (rows.len() as u64) < u64::from(limit);
            for row in rows {
                before = Some(row.leaf);
                if !wanted.fits(&row)? {
                    continue;
                }
                let executions = executions::of_instruction(&mut conn, controller, &row.id).await?;
                views.push(InstructionView {
                    row: standing::at(row, &executions, now),
                    executions: executions.into_iter().map(|e| e.id).collect(),
                });
                if views.len() as u64 >= u64::from(limit) {
                    return Ok((views, before));
                }
            }
            if is_last {
                return Ok((views, None));
            }
        }
        Ok((views, before))
    }

    /// The receipt of an instruction's admission, to the newest checkpoint that enough witnesses
    /// cosigned, if that covers it.
    pub async fn instruction_receipt(
        &self,
        controller: &ControllerId,
        id: InstructionId,
    ) -> AppResult<Issued> {
        let row = instructions::find(&mut self.store.reader().await?, controller, &id)
            .await?
            .ok_or(Reason::NotFound)?;
        self.receipt(row.leaf).await
    }

    pub async fn key_set(&self, controller: &ControllerId) -> AppResult<KeySetView> {
        self.key_set_moved(controller).await?;
        let set = self.newest_key_set(controller).await?.ok_or(Reason::NotFound)?;
        Ok(KeySetView { jws: set.bytes().to_vec(), version: set.version(), digest: set.digest().to_string() })
    }

    pub async fn get_execution(
        &self,
        controller: &ControllerId,
        id: ExecutionId,
    ) -> AppResult<ExecutionView> {
        let row = executions::find_of(&mut self.store.reader().await?, controller, &id)
            .await?
            .ok_or(Reason::NotFound)?;
        self.view_execution(row).await
    }

    pub async fn list_executions(
        &self,
        controller: &ControllerId,
        instruction: Option<InstructionId>,
        before: Option<ExecutionId>,
        limit: u32,
    ) -> AppResult<Vec<ExecutionView>> {
        let rows = executions::page(
            &mut self.store.reader().await?,
            controller,
            instruction.as_ref(),
            before.as_ref(),
            limit,
        )
        .await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(self.view_execution(row).await?);
        }
        Ok(views)
    }

    async fn view_execution(&self, row: ExecutionRow) -> AppResult<ExecutionView> {
        let mut conn = self.store.reader().await?;
        let row = standing::execution_at(&mut conn, row, self.clock.now_seconds()).await?;
        let report = match (&row.report, &row.agent) {
            (Some(text), Some(agent)) => Some(self.taken_report(&mut conn, agent, text).await?),
            _ => None,
        };
        let export = exports::of_execution(&mut conn, &row.id).await?.filter(|e| e.released).map(|e| e.id);
        let preview = match report.as_ref().and_then(|r| r.preview) {
            Some(preview) => Some(PreviewView {
                digest: preview.digest.to_string(),
                as_of: preview.as_of,
                details: self.open_details(&mut conn, &row).await?,
            }),
            None => None,
        };
        Ok(ExecutionView {
            collections: report.map(|r| r.collections).unwrap_or_default(),
            export,
            preview,
            row,
        })
    }

    pub(super) async fn open_details(
        &self,
        conn: &mut crate::store::Conn,
        row: &ExecutionRow,
    ) -> AppResult<Option<PreviewDetails>> {
        let instruction = instructions::find(conn, &row.controller, &row.instruction).await?;
        let (Some(sealed), Some(key_id)) = (&row.sealed_details, instruction.and_then(|i| i.key_id)) else {
            return Ok(None);
        };
        let key: KeyId = key_id.parse().map_err(|_| StoreError::Corrupt("instructions.key_id"))?;
        let id = row.id.to_string();
        match self.vault.open(key, RetentionClass::Instruction, details_place(&id), sealed).await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| StoreError::Corrupt("executions.sealed_details")),
            Err(VaultError::Shredded) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
