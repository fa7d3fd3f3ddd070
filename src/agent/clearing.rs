//! Deleting the rows that were returned, batch by batch.
//!
//! A row that others lean on waits until they have gone, and stays with those
//! that stay: it goes in a later pass, or not at all. Where rows were returned,
//! one that is another by now than was returned stays, too: it lies in no package.
//! Foreign keys within one table or in a circle need the further passes.

use std::collections::{BTreeMap, BTreeSet};

use super::data_map::Collection;
use super::faults::Point;
use super::ledger::Run;
use super::ledger_batches::{Batch, BatchState};
use super::ledger_returns::Noted;
use super::name::Name;
use super::returning::seen;
use super::schema::Fit;
use super::statement::Held;
use super::task::Task;
use super::tenanted::Tenanted;
use super::value::{Key, Value};
use super::workplace::Workplace;
use crate::domain::{Reason, Refusal};

/// A chain of rows of one table that lean on each other goes a link at a time. What is longer goes on at the next
/// attempt.
const PASSES: usize = 200;

/// Deletes all noted rows that nothing keeps.
pub(super) async fn clear(work: &Workplace<'_>, task: &Task, run: &Run, fit: &Fit) -> Result<(), Refusal> {
    // Batches with rows that had to wait; none known before the first pass.
    let mut waiting: Option<BTreeSet<i64>> = None;
    for _ in 0..PASSES {
        let (mut gone, mut waits) = (0, BTreeSet::new());
        for batch in work.ledger.batches(run).await? {
            let is_done = batch.state == BatchState::Done && batch.deleted == batch.rows;
            if is_done || waiting.as_ref().is_some_and(|waiting| !waiting.contains(&batch.number)) {
                continue;
            }
            let came = carry_out(work, task, run, fit, &batch).await?;
            gone += came.gone;
            if came.waits {
                waits.insert(batch.number);
            }
        }
        if gone == 0 || waits.is_empty() {
            return Ok(());
        }
        waiting = Some(waits);
    }
    Err(Refusal::new(Reason::ReadBackFailed).note("rows lean on each other in too long a chain"))
}

struct Came {
    /// Rows that this pass deleted.
    gone: u64,
    /// Rows of it wait for others.
    waits: bool,
}

async fn carry_out(
    work: &Workplace<'_>,
    task: &Task,
    run: &Run,
    fit: &Fit,
    batch: &Batch,
) -> Result<Came, Refusal> {
    let collection = work.map.collection(&batch.collection).ok_or_else(|| {
        Refusal::at(Reason::MapInvalid, batch.collection.as_str().to_owned())
            .note("the map no longer has a collection of an act under way")
    })?;
    let from = Tenanted::new(work.map, collection, task.tenant())?;
    let noted = work.ledger.noted(run, batch).await?;
    let rows = held(&noted);
    let before = match batch.state {
        BatchState::Intended => {
            let present = work.connector.present(&from, Held { via: &batch.via, rows: &rows }).await?;
            rows.len().saturating_sub(present.len()) as u64
        }
        BatchState::Recorded | BatchState::Done => {
            work.faults.at(Point::Recorded)?;
            work.ledger.intend(run, batch).await?;
            batch.deleted
        }
    };
    work.faults.at(Point::Intended)?;
    let rows = match task.export() {
        Some(_) => as_returned(work, &from, collection, &batch.via, noted, rows).await?,
        None => rows,
    };
    let none = BTreeSet::new();
    let leaning = fit.leaning.get(&collection.name).unwrap_or(&none);
    let these = Held { via: &batch.via, rows: &rows };
    let gone = work.connector.delete_free(&from, these, leaning).await?;
    work.faults.at(Point::Deleted)?;
    let waits = !work.connector.present(&from, these).await?.is_empty();
    work.ledger.done(run, batch, before + gone).await?;
    work.faults.at(Point::Done)?;
    Ok(Came { gone, waits })
}

/// A column of the key is what a row is held by beside its key: there is no value it was found by.
fn held(noted: &[Noted]) -> Vec<(Key, Value)> {
    noted.iter().map(|noted| (noted.key.clone(), noted.key.0[0].clone())).collect()
}

/// Those of the rows that are still what was returned of them.
async fn as_returned(
    work: &Workplace<'_>,
    from: &Tenanted<'_>,
    collection: &Collection,
    via: &Name,
    noted: Vec<Noted>,
    rows: Vec<(Key, Value)>,
) -> Result<Vec<(Key, Value)>, Refusal> {
    let columns: Vec<&Name> = collection.columns.iter().map(|column| &column.name).collect();
    let there = work.connector.again(from, &columns, Held { via, rows: &rows }).await?;
    let mut now = BTreeMap::new();
    for (key, values) in there {
        now.insert(key, seen(&values)?);
    }
    let same = |noted: &Noted| noted.seen.is_some() && now.get(&noted.key) == noted.seen.as_ref();
    Ok(held(&noted.into_iter().filter(same).collect::<Vec<_>>()))
}
