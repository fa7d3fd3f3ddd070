//! What an act will do to each collection, decided before any of it is done.
//!
//! A collection is acted on only if *all* its categories are instructed, and the
//! agent's agreement has them. Rows
//! with a retention stay until it ends. Shared rows stay. And whatever stays
//! must still be found by a later instruction: rows that kept rows lean on
//! (for their tenant, for the way to them, by a foreign key) stay with them,
//! and the report says for whom.

use std::collections::{BTreeMap, BTreeSet};

use super::data_map::{Collection, DataMap, Retention, Tenancy, Until};
use super::delete_order::delete_order;
use super::name::Name;
use super::outcome::{CollectionOutcome, Exclusion, Kept, keep, longest};
use super::returning::blank;
use super::schema::Fit;
use super::task::{Reach, Task};
use super::value::{Key, Value};
use super::walk::{Traces, Walked, walk};
use super::workplace::Workplace;
use crate::domain::{Act, Ground, Refusal};

/// Rows to act on, with the column and value each was found by.
pub type Rows = BTreeMap<Name, Vec<(Key, Value)>>;

/// One collection's part of a plan.
pub struct Part {
    pub collection: Name,
    /// By the column they were found by.
    pub rows: Rows,
    /// The report of it; `rows` counts those above.
    pub outcome: CollectionOutcome,
    /// Rows of the subject that were found and are not to be acted on.
    left: u64,
    /// Rows the order reaches, to act on or retained, that are dated before the cut-off of the preview its signers saw,
    /// or not at all.
    seen: u64,
}

pub struct Plan {
    /// Dependents first.
    pub parts: Vec<Part>,
    /// Tables the map does not know.
    pub unmapped: Vec<CollectionOutcome>,
    pub unmapped_columns: Vec<(Name, Name)>,
    pub traces: Traces,
}

impl Plan {
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.outcome.rows).sum()
    }

    /// The collections that hold more than the order's signers saw, with how many rows that would have counted.
    /// Nothing may be touched then.
    pub fn moved(&self, task: &Task) -> Vec<CollectionOutcome> {
        let Some(bound) = task.bound() else { return Vec::new() };
        let exceeded = |part: &&Part| bound.is_exceeded(part.collection.as_str(), part.seen);
        let told = |part: &Part| CollectionOutcome {
            categories: part.outcome.categories.clone(),
            rows: part.seen,
            ..blank(part.collection.as_str())
        };
        let mut moved: Vec<_> = self.parts.iter().filter(exceeded).map(told).collect();
        moved.sort_by(|a, b| a.collection.cmp(&b.collection));
        moved
    }

    /// The report so far: each collection, in the map's order, then what is not mapped.
    pub fn outcomes(&self) -> Vec<CollectionOutcome> {
        let mut out: Vec<_> = self.parts.iter().map(|part| part.outcome.clone()).collect();
        out.sort_by(|a, b| a.collection.cmp(&b.collection));
        out.extend(self.unmapped.iter().cloned());
        out
    }
}

/// Checks the map against the live store, walks, decides.
pub async fn plan(work: &Workplace<'_>, task: &Task, seeds: &Traces) -> Result<Plan, Refusal> {
    let fit = work.connector.schema().await?.fit(work.map)?;
    let walked = walk(work.map, work.connector, task.tenant(), task.subject(), seeds).await?;
    let now = work.clock.now_seconds();
    let mut parts: Vec<Part> = delete_order(work.map, &fit.foreign_keys)
        .iter()
        .filter_map(|name| work.map.collection(name))
        .map(|collection| decide(collection, task, &walked, now))
        .collect();
    // Reading out takes nothing away that kept rows could need.
    if task.act() != Act::Export {
        hold_what_kept_rows_need(work.map, &fit, &walked, &mut parts);
    }
    let unmapped = fit
        .unmapped_collections
        .iter()
        .map(|name| CollectionOutcome {
            collection: name.to_string(),
            categories: Vec::new(),
            rows: 0,
            kept: Vec::new(),
            outside_window: 0,
            unfounded: 0,
            excluded: Some(Exclusion::Unmapped),
        })
        .collect();
    Ok(Plan { parts, unmapped, unmapped_columns: fit.unmapped_columns, traces: walked.traces })
}

fn decide(collection: &Collection, task: &Task, walked: &Walked, now: i64) -> Part {
    let reached = walked.reachable.contains(&collection.name);
    let found = walked.rows.get(&collection.name);
    let count = found.map_or(0, |rows| rows.len() as u64);
    let mut part = Part {
        collection: collection.name.clone(),
        rows: BTreeMap::new(),
        outcome: CollectionOutcome {
            collection: collection.name.to_string(),
            categories: collection.categories.iter().copied().collect(),
            rows: 0,
            kept: Vec::new(),
            outside_window: 0,
            unfounded: 0,
            excluded: None,
        },
        left: count,
        seen: 0,
    };
    let whole = |ground| Kept { rows: reached.then_some(count), ground, until: None, needed_by: None };
    let reach = task.reach(&collection.categories);
    if reach == Reach::NotInstructed {
        part.outcome.kept.push(whole(Ground::CategoryNotInstructed));
        return part;
    }
    if collection.shared {
        part.outcome.kept.push(whole(Ground::SharedWithOthers));
        return part;
    }
    // Where there is nothing of the subject, nothing is left undone.
    if reach == Reach::OutsideAgreement && count > 0 {
        part.outcome.kept.push(whole(Ground::OutsideAgreement));
        return part;
    }
    if !reached {
        part.outcome.excluded = Some(Exclusion::Unreachable);
        return part;
    }
    if task.window().is_some() && collection.time.is_none() {
        part.outcome.excluded = Some(Exclusion::NoTime);
        part.outcome.unfounded = count;
        return part;
    }
    // A retention forbids to erase, not to read out.
    let retention = collection.retain.filter(|_| task.act() != Act::Export);
    for (key, hit) in found.into_iter().flatten() {
        match (task.window(), hit.at) {
            (Some(_), None) => {
                part.outcome.excluded = Some(Exclusion::Undated);
                part.outcome.unfounded += 1;
                continue;
            }
            (Some((from, until)), Some(at)) if !(from..until).contains(&at) => {
                part.outcome.outside_window += 1;
                continue;
            }
            _ => {}
        }
        if task.bound().is_some_and(|bound| hit.at.is_none_or(|at| at < bound.as_of)) {
            part.seen += 1;
        }
        if let Some((ground, until)) = retention.and_then(|r| retained(r, hit.at, now)) {
            keep(&mut part.outcome.kept, ground, until);
            continue;
        }
        part.rows.entry(hit.via.clone()).or_default().push((key.clone(), hit.value.clone()));
        part.outcome.rows += 1;
    }
    part.left = count - part.outcome.rows;
    part
}

/// Ground and end of a row's retention, if it still runs. A row whose time cannot be read stays.
pub(super) fn retained(retention: Retention, at: Option<i64>, now: i64) -> Option<(Ground, Option<i64>)> {
    let end = match retention.until {
        Until::Instant(end) => Some(end),
        Until::DaysFromRow(days) => at.map(|at| at.saturating_add(i64::from(days) * 86_400)),
    };
    match end {
        Some(end) if end <= now => None,
        end => Some((retention.ground, end)),
    }
}

/// Repeats until nothing more is held: what is held may itself lean on something.
fn hold_what_kept_rows_need(map: &DataMap, fit: &Fit, walked: &Walked, parts: &mut [Part]) {
    loop {
        let mut held: Vec<(Name, Kept)> = Vec::new();
        for part in parts.iter().filter(|part| part.left > 0) {
            let Some(collection) = map.collection(&part.collection) else { continue };
            // Rows outside the window, or undated, were not instructed; others stay on their own ground.
            let (ground, until) = match longest(part.outcome.kept.iter().cloned()) {
                Some(kept) => (kept.ground, kept.until),
                None => (Ground::CategoryNotInstructed, None),
            };
            for name in leans_on(map, fit, walked, collection) {
                held.push((
                    name,
                    Kept { rows: None, ground, until, needed_by: Some(collection.name.to_string()) },
                ));
            }
        }
        let mut changed = false;
        for (name, kept) in held {
            for part in parts.iter_mut().filter(|part| part.collection == name && part.outcome.rows > 0) {
                part.outcome.kept.push(Kept { rows: Some(part.outcome.rows), ..kept.clone() });
                part.left += part.outcome.rows;
                part.outcome.rows = 0;
                part.rows.clear();
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// Whose rows must stay for this collection's rows to be found again.
fn leans_on(map: &DataMap, fit: &Fit, walked: &Walked, collection: &Collection) -> BTreeSet<Name> {
    let mut out: BTreeSet<Name> = fit
        .foreign_keys
        .iter()
        .filter(|(child, _)| *child == collection.name)
        .map(|(_, parent)| parent.clone())
        .collect();
    // Shared rows are not the subject's: no later act has to find them through the subject.
    if collection.shared {
        return out;
    }
    let mut at = collection;
    while let Tenancy::Join { collection: to, .. } = &at.tenancy {
        if !out.insert(to.clone()) {
            break;
        }
        match map.collection(to) {
            Some(next) => at = next,
            None => break,
        }
    }
    if !walked.direct.contains(&collection.name) {
        out.extend(walked.sources.get(&collection.name).into_iter().flatten().cloned());
    }
    out.remove(&collection.name);
    out
}
