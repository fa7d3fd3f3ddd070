//! The data keys that rows name: each is in the keyring, under an epoch whose key is at hand.

use super::{CannotExamine, Finding, Outside, Patient, Sink};
use crate::app::keys_due;
use crate::store::survey::{self, SealedRow, names_key, sealed_rows};
use crate::store::{Conn, Log};
use crate::vault::{EpochKeys, KeyId, KeyringPeek, VaultError};

/// Missing keys remembered, to be asked about again.
const MOST: usize = 1000;
/// Keys of each kind whose time is up: a gateway that keeps house has few.
const DUE: u32 = 10_000;

/// Returns how many rows were looked at; `None` where the keyring is another process's alone.
pub(super) async fn examine(
    patient: &Patient,
    outside: &Outside,
    conn: &mut Conn,
    sink: Sink<'_>,
) -> Result<Option<u64>, CannotExamine> {
    let mut peek = match KeyringPeek::open(&outside.keyring).await {
        Ok(peek) => peek,
        Err(VaultError::KeyringInUse) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    epochs(outside, &mut peek, sink).await?;
    reaches(patient, &mut peek, sink).await?;
    let (mut count, mut last, mut missing) = (0, None, Vec::new());
    while let Some(page) = sealed_rows(conn, last.as_ref()).await? {
        count += page.len() as u64;
        for row in &page {
            let there = match row.key_id.parse::<KeyId>() {
                Ok(id) => peek.holds(id).await?,
                Err(_) => false,
            };
            if !there && missing.len() < MOST {
                missing.push(row.clone());
            }
        }
        last = page.into_iter().last();
    }
    peek.close().await?;
    tell(patient, missing, sink).await?;
    Ok(Some(count))
}

/// The trail is at least as long as the keyring saw it.
async fn reaches(patient: &Patient, peek: &mut KeyringPeek, sink: Sink<'_>) -> Result<(), CannotExamine> {
    let origin = patient.origins.trail();
    let Some(mark) = peek.mark(&origin).await? else { return Ok(()) };
    // Looked at after the mark: a gateway may go on meanwhile.
    let mut now = patient.database.snapshot().await?;
    let size = survey::head(&mut now, Log::Trail).await?.map_or(0, |head| head.size);
    if size < mark.size {
        sink(Finding {
            code: "HEAD_BEHIND",
            table: "log_heads",
            resource: origin,
            sentence: format!("it holds {size} leaves and the keyring saw {}: an older database", mark.size),
        });
    }
    Ok(())
}

async fn epochs(outside: &Outside, peek: &mut KeyringPeek, sink: Sink<'_>) -> Result<(), CannotExamine> {
    let held = EpochKeys::load(&outside.epochs)?;
    for epoch in peek.epochs().await?.into_iter().filter(|epoch| !held.contains(*epoch)) {
        sink(Finding {
            code: "EPOCH_MISSING",
            table: "data_keys",
            resource: format!("epochs/{epoch}"),
            sentence: "keys are wrapped under an epoch whose key file is not there".into(),
        });
    }
    Ok(())
}

/// A key may have been destroyed since the snapshot, as it should be. Then its row does not name it any
/// more, or its time is up: the key goes first, and a crash in between leaves the row to the next round.
async fn tell(patient: &Patient, missing: Vec<SealedRow>, sink: Sink<'_>) -> Result<(), CannotExamine> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut now = patient.database.snapshot().await?;
    let due = keys_due(&mut now, patient.clock.now_seconds(), &patient.retention, DUE).await?;
    for row in missing {
        if !due.contains(&row.key_id) && names_key(&mut now, &row).await? {
            sink(Finding {
                code: "KEY_MISSING",
                table: row.table,
                resource: row.name().to_owned(),
                sentence: "its data key is not in the keyring: what is sealed there is lost".into(),
            });
        }
    }
    Ok(())
}
