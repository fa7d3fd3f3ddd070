//! Personal data whose time is up: its data keys are destroyed, and that is recorded (R21, I4).
//!
//! The key goes first, the row's ciphertext after: a crash in between leaves ciphertext that
//! nobody can open, and the next sweep finishes. Running it twice changes nothing.
//!
//! What came back without its sealed part (`mandate restore`) has no key, and its time comes up all the same: then
//! the trail says that it is gone, with no key destroyed.

use std::collections::HashSet;
use std::time::UNIX_EPOCH;

use crate::domain::event::{DataShredded, ExportRemoved};
use crate::domain::{ControllerId, ExportId, InstructionId, MessageId, RequestId};
use crate::fault;
use crate::store::exports::ExportRow;
use crate::store::{
    Command, Conn, StoreError, Tx, executions, exports, instructions, messages, refusals, requests,
};
use crate::vault::{KeyId, RetentionClass};

use super::{App, AppResult, Retention};

/// Keys destroyed in one go: one commit and one checkpoint of the keyring.
const AT_ONCE: u32 = 200;

/// One thing whose key goes.
#[derive(Clone)]
enum Due {
    Request(RequestId),
    Message(MessageId),
    Instruction(ControllerId, InstructionId),
    Refusal(u64),
}

impl Due {
    fn class(&self) -> RetentionClass {
        match self {
            Due::Request(_) => RetentionClass::Request,
            Due::Message(_) => RetentionClass::Intake,
            Due::Instruction(..) => RetentionClass::Instruction,
            Due::Refusal(_) => RetentionClass::Refusal,
        }
    }
}

/// What is due, at most so many of each kind, with the names of its data keys; none where a restore brought back
/// none.
async fn due(
    conn: &mut Conn,
    now: i64,
    retention: &Retention,
    at_most: u32,
) -> Result<Vec<(Due, Option<String>)>, StoreError> {
    let mut due = Vec::new();
    for (id, key) in requests::due_for_shredding(conn, now - retention.request, at_most).await? {
        due.push((Due::Request(id), key));
    }
    for (id, key) in messages::due_for_shredding(conn, now - retention.message, at_most).await? {
        due.push((Due::Message(id), key));
    }
    for (controller, id, key) in
        instructions::due_for_shredding(conn, now - retention.instruction, at_most).await?
    {
        due.push((Due::Instruction(controller, id), key));
    }
    for (leaf, key) in refusals::due_for_shredding(conn, now - retention.refusal, at_most).await? {
        due.push((Due::Refusal(leaf), key));
    }
    Ok(due)
}

/// Names of data keys that may be gone though rows still name them: their time is up, and a round of
/// shredding is under way, or was cut off and its next is to finish it. At most so many of each kind.
pub async fn keys_due(
    conn: &mut Conn,
    now: i64,
    retention: &Retention,
    at_most: u32,
) -> Result<HashSet<String>, StoreError> {
    Ok(due(conn, now, retention, at_most).await?.into_iter().filter_map(|(_, key)| key).collect())
}

impl App {
    /// Shreds what is due now; returns how many things were. Call again while it is not 0.
    pub async fn shred_due(&self) -> AppResult<usize> {
        let mut conn = self.store.reader().await?;
        let due = due(&mut conn, self.clock.now_seconds(), &self.settings.retention, AT_ONCE).await?;
        drop(conn);
        if due.is_empty() {
            return Ok(0);
        }
        let keys: Vec<KeyId> = due
            .iter()
            .filter_map(|(_, key)| key.as_ref())
            .map(|key| key.parse().map_err(|_| StoreError::Corrupt("key_id")))
            .collect::<Result<_, _>>()?;
        self.vault.keyring().shred(&keys).await?;
        fault::point("shred.destroyed");
        let count = due.len();
        self.store
            .transact(RecordShredded {
                due: due.into_iter().map(|(due, key)| (due, key.is_some())).collect(),
            })
            .await?;
        Ok(count)
    }

    /// Ends orders that nobody leased before their instruction's end, and instructions that waited until then.
    pub async fn end_unleased_orders(&self) -> AppResult<usize> {
        let now = self.clock.now_seconds();
        let mut conn = self.store.reader().await?;
        let idle = executions::never_begun(&mut conn, now, 1).await?.is_empty()
            && instructions::waited_out(&mut conn, now, 1).await?.is_empty();
        drop(conn);
        if idle {
            return Ok(0);
        }
        Ok(self.store.transact(super::orders::EndUnleased).await?.value)
    }

    /// Removes files that no row names: uploads that were replaced, or cut off by a crash. A file younger
    /// than two leases may still be on its way.
    pub async fn remove_orphan_exports(&self) -> AppResult<usize> {
        let (mut removed, now) = (0, self.clock.now_seconds());
        let mut folder = tokio::fs::read_dir(&self.settings.exports).await?;
        while let Some(entry) = folder.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(".age").and_then(|id| id.parse::<ExportId>().ok()) else {
                continue;
            };
            let written = entry.metadata().await?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            if now.saturating_sub(written.as_secs().cast_signed()) < 2 * self.settings.lease {
                continue;
            }
            if !exports::is_known(&mut self.store.reader().await?, &id).await? {
                tokio::fs::remove_file(entry.path()).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes packages past their end.
    pub async fn remove_expired_exports(&self) -> AppResult<usize> {
        let now = self.clock.now_seconds();
        let expired = exports::expired(&mut self.store.reader().await?, now, AT_ONCE).await?;
        for export in &expired {
            match tokio::fs::remove_file(self.export_path(&export.id)).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            let ExportRow { id, execution, released, .. } = *export;
            self.store.transact(RecordRemoved { id, execution, released }).await?;
        }
        Ok(expired.len())
    }

    /// Destroys data keys of processes that are over and that no committed row names; none where the database
    /// may be an older one.
    pub async fn sweep_orphan_keys(&self) -> AppResult<u64> {
        let mut conn = self.store.reader().await?;
        if !self.may_sweep(&mut conn).await? {
            return Ok(0);
        }
        let referenced = refusals::referenced_keys(&mut conn).await?;
        drop(conn);
        let referenced = referenced
            .iter()
            .map(|key| key.parse::<KeyId>().map_err(|_| StoreError::Corrupt("key_id")))
            .collect::<Result<_, _>>()?;
        Ok(self.vault.keyring().sweep(&referenced).await?)
    }
}

struct RecordShredded {
    /// And whether it had a data key.
    due: Vec<(Due, bool)>,
}

#[async_trait::async_trait]
impl Command for RecordShredded {
    const NAME: &'static str = "record_shredded";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for (due, had_key) in &self.due {
            let subject = match due {
                Due::Request(id) => {
                    requests::mark_shredded(tx, id).await?;
                    id.resource_name()
                }
                Due::Message(id) => {
                    messages::mark_shredded(tx, id).await?;
                    id.resource_name()
                }
                Due::Instruction(controller, id) => {
                    instructions::mark_shredded(tx, controller, id).await?;
                    id.resource_name()
                }
                Due::Refusal(leaf) => {
                    refusals::mark_shredded(tx, *leaf).await?;
                    format!("leaves/{leaf}")
                }
            };
            let event = DataShredded { class: due.class().as_str().into(), keys: u32::from(*had_key) };
            tx.append(&subject, event)?;
        }
        Ok(())
    }
}

struct RecordRemoved {
    id: ExportId,
    execution: crate::domain::ExecutionId,
    released: bool,
}

#[async_trait::async_trait]
impl Command for RecordRemoved {
    const NAME: &'static str = "record_export_removed";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if !self.released {
            // No leaf ever told of it: an upload is none.
            return exports::forget(tx, &self.id).await;
        }
        exports::mark_removed(tx, &self.id).await?;
        tx.append(&self.id.resource_name(), ExportRemoved { execution: self.execution })?;
        Ok(())
    }
}
