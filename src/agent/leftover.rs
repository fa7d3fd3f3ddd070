//! What is left of a tenant when its rows were deleted, and whether it may be.
//!
//! A row may stay on a ground of its own (a retention, a category that was not
//! instructed), or because rows that may stay lean on it. Any other row that is
//! there came in or changed after the rest was returned: nothing is complete then.

use std::collections::{BTreeMap, BTreeSet};

use super::connectors::Rest;
use super::data_map::Collection;
use super::ledger::Run;
use super::ledger_returns::Noted;
use super::name::Name;
use super::outcome::{CollectionOutcome, Exclusion, Kept, keep, longest};
use super::plan::retained;
use super::returning::{PAGE, blank, check_keys, left_alone};
use super::schema::{Fit, Leaning};
use super::task::Task;
use super::tenanted::Tenanted;
use super::value::Key;
use super::workplace::Workplace;
use crate::domain::{Ground, Refusal};

/// Of one collection.
struct Left {
    outcome: CollectionOutcome,
    /// Rows without a ground of their own on which others lean.
    leaned_on: u64,
}

/// Counts what is there. The outcome of each mapped collection and each unmapped table, no row of them erased yet;
/// one with a row that should have gone is [`Exclusion::StillThere`].
pub(super) async fn look_through(
    work: &Workplace<'_>,
    task: &Task,
    fit: &Fit,
    as_of: i64,
) -> Result<Vec<CollectionOutcome>, Refusal> {
    let mut left: BTreeMap<Name, Left> = BTreeMap::new();
    for collection in work.map.collections() {
        left.insert(collection.name.clone(), count(work, task, fit, collection, as_of).await?);
    }
    ground_what_is_leaned_on(fit, &mut left);
    let mut outcomes = Vec::with_capacity(left.len());
    for Left { mut outcome, leaned_on } in left.into_values() {
        if leaned_on > 0 {
            outcome.excluded = Some(Exclusion::StillThere);
            outcome.unfounded += leaned_on;
        }
        outcomes.push(outcome);
    }
    outcomes.extend(
        fit.unmapped_collections
            .iter()
            .map(|name| CollectionOutcome { excluded: Some(Exclusion::Unmapped), ..blank(name.as_str()) }),
    );
    Ok(outcomes)
}

async fn count(
    work: &Workplace<'_>,
    task: &Task,
    fit: &Fit,
    collection: &Collection,
    as_of: i64,
) -> Result<Left, Refusal> {
    let mut left = Left { outcome: blank(collection.name.as_str()), leaned_on: 0 };
    left.outcome.categories = collection.categories.iter().copied().collect();
    let alone = left_alone(collection, task);
    if let Some(ground @ Ground::CategoryNotInstructed) = alone {
        left.outcome.kept.push(Kept { rows: Some(0), ground, until: None, needed_by: None });
    }
    let mut pages = Pages::new(work, task, fit, collection)?;
    while let Some(page) = pages.next(work).await? {
        for row in page {
            if let Some(ground) = alone {
                keep(&mut left.outcome.kept, ground, None);
            } else if let Some((ground, until)) = stays(collection, &row, as_of) {
                keep(&mut left.outcome.kept, ground, until);
            } else if row.leaned_on {
                left.leaned_on += 1;
            } else {
                left.outcome.excluded = Some(Exclusion::StillThere);
                left.outcome.unfounded += 1;
            }
        }
    }
    Ok(left)
}

fn stays(collection: &Collection, row: &Rest, as_of: i64) -> Option<(Ground, Option<i64>)> {
    collection.retain.and_then(|retention| retained(retention, row.at, as_of))
}

/// Rows on which rows that may stay lean may stay for their sake, and so on from these.
fn ground_what_is_leaned_on(fit: &Fit, left: &mut BTreeMap<Name, Left>) {
    loop {
        let mut grounded: Vec<(Name, Kept)> = Vec::new();
        for (name, of) in left.iter().filter(|(_, of)| of.leaned_on > 0) {
            let children = fit.leaning.get(name).into_iter().flatten().filter(|by| by.child != *name);
            let kept = children.flat_map(|by| {
                let kept = left.get(&by.child).into_iter().flat_map(|of| &of.outcome.kept);
                kept.filter(|kept| kept.rows > Some(0)).map(|kept| Kept {
                    needed_by: Some(by.child.to_string()),
                    rows: Some(of.leaned_on),
                    ..kept.clone()
                })
            });
            grounded.extend(longest(kept).map(|kept| (name.clone(), kept)));
        }
        if grounded.is_empty() {
            return;
        }
        for (name, kept) in grounded {
            if let Some(of) = left.get_mut(&name) {
                of.leaned_on = 0;
                of.outcome.kept.push(kept);
            }
        }
    }
}

/// Notes the rows that came in meanwhile as batches of a further round. Nothing is to be returned of them.
pub(super) async fn note_late(
    work: &Workplace<'_>,
    task: &Task,
    run: &Run,
    fit: &Fit,
    as_of: i64,
) -> Result<(), Refusal> {
    let last = work.ledger.batches(run).await?.pop();
    let (mut number, round) = last.map_or((0, 1), |last| (last.number + 1, last.round + 1));
    for collection in work.map.collections().filter(|collection| left_alone(collection, task).is_none()) {
        let mut pages = Pages::new(work, task, fit, collection)?;
        while let Some(page) = pages.next(work).await? {
            // What others lean on was noted before, or is seen in a later round.
            let late =
                page.into_iter().filter(|row| !row.leaned_on && stays(collection, row, as_of).is_none());
            let noted: Vec<Noted> = late.map(|row| Noted { key: row.key, seen: None }).collect();
            if !noted.is_empty() {
                let place = (number, round);
                number += 1;
                work.ledger.note_rows(run, place, &collection.name, &collection.key[0], &noted).await?;
            }
        }
    }
    work.ledger.record_round(run, round).await
}

/// The tenant's rows of a collection that are there, a page at a time.
struct Pages<'a> {
    from: Tenanted<'a>,
    leaning: BTreeSet<Leaning>,
    after: Option<Key>,
    more: bool,
}

impl<'a> Pages<'a> {
    fn new(
        work: &Workplace<'a>,
        task: &'a Task,
        fit: &Fit,
        collection: &'a Collection,
    ) -> Result<Self, Refusal> {
        let from = Tenanted::new(work.map, collection, task.tenant())?;
        let leaning = fit.leaning.get(&collection.name).cloned().unwrap_or_default();
        Ok(Self { from, leaning, after: None, more: true })
    }

    async fn next(&mut self, work: &Workplace<'_>) -> Result<Option<Vec<Rest>>, Refusal> {
        if !self.more {
            return Ok(None);
        }
        let page = work.connector.rest(&self.from, &self.leaning, self.after.as_ref(), PAGE).await?;
        check_keys(self.from.collection(), page.iter().map(|row| &row.key))?;
        self.more = page.len() == PAGE;
        self.after = page.last().map(|row| row.key.clone());
        Ok(Some(page))
    }
}
