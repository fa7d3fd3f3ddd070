//! Walking a person's rows, from the identifiers through the references.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::connectors::{BATCH, Connector};
use super::data_map::{Collection, DataMap};
use super::name::Name;
use super::statement::Match;
use super::tenanted::Tenanted;
use super::value::{Key, Value};
use crate::domain::{Identifier, Reason, Refusal};

/// The most rows one act may touch. They are held in memory by key.
pub const MAX_ROWS: usize = 200_000;

/// Rows asked for at once.
const PAGE: usize = 1_000;

/// The values by which rows were, or are to be, found: `(collection, column)` → values.
/// Personal data; outside memory only sealed.
pub type Traces = BTreeMap<(Name, Name), BTreeSet<Value>>;

/// How one row was found.
pub struct Hit {
    /// The column it was found by, and the value there.
    pub via: Name,
    pub value: Value,
    /// Its own time, in seconds since the epoch, where the map names a column and it can be read.
    pub at: Option<i64>,
}

/// All that a walk found.
#[derive(Default)]
pub struct Walked {
    pub rows: BTreeMap<Name, BTreeMap<Key, Hit>>,
    /// From which collections' values rows of a collection were found.
    pub sources: BTreeMap<Name, BTreeSet<Name>>,
    /// Collections the map lets these identifiers reach at all. In any other, no row found means nothing.
    pub reachable: BTreeSet<Name>,
    /// Those of them with a column that holds such an identifier itself.
    pub direct: BTreeSet<Name>,
    pub traces: Traces,
}

struct Walk<'a> {
    map: &'a DataMap,
    queue: VecDeque<((Name, Name), Vec<Value>)>,
    out: Walked,
    count: usize,
}

/// Finds the tenant's rows of the subject. `seeds` are traces of an earlier walk, whose rows may be
/// gone by now while rows that hang on them are not.
pub async fn walk(
    map: &DataMap,
    connector: &dyn Connector,
    tenant: &str,
    subject: &[Identifier],
    seeds: &Traces,
) -> Result<Walked, Refusal> {
    // An empty value would match rows that belong to nobody in particular.
    if subject.is_empty() || subject.iter().any(|identifier| identifier.value().is_empty()) {
        return Err(Refusal::at(Reason::SubjectMismatch, "sub_id")
            .note("an act needs identifiers, none of them empty"));
    }
    let mut walk = Walk { map, queue: VecDeque::new(), out: Walked::default(), count: 0 };
    walk.out.direct = direct(map, subject);
    walk.out.reachable = reachable(map, walk.out.direct.clone());
    for collection in map.collections() {
        for column in &collection.columns {
            if let Some(format) = column.identity {
                let values = subject
                    .iter()
                    .filter(|identifier| identifier.format() == format.as_str())
                    .map(|identifier| Value::text(identifier.value()));
                walk.offer((collection.name.clone(), column.name.clone()), values);
            }
        }
    }
    for (place, values) in seeds {
        if map.collection(&place.0).is_some() {
            walk.offer(place.clone(), values.iter().cloned());
        }
    }
    while let Some((place, values)) = walk.queue.pop_front() {
        let Some(collection) = map.collection(&place.0) else { continue };
        let from = Tenanted::new(map, collection, tenant)?;
        for chunk in values.chunks(BATCH) {
            walk.follow(connector, &from, Match { column: &place.1, values: chunk }).await?;
        }
    }
    Ok(walk.out)
}

impl Walk<'_> {
    /// Queues the values not walked yet.
    fn offer(&mut self, place: (Name, Name), values: impl Iterator<Item = Value>) {
        let known = self.out.traces.entry(place.clone()).or_default();
        let fresh: Vec<Value> =
            values.filter(|value| !value.is_null() && known.insert(value.clone())).collect();
        if !fresh.is_empty() {
            self.queue.push_back((place, fresh));
        }
    }

    async fn follow(
        &mut self,
        connector: &dyn Connector,
        from: &Tenanted<'_>,
        matching: Match<'_>,
    ) -> Result<(), Refusal> {
        let collection = from.collection();
        let edges = outgoing(self.map, collection);
        let carry: Vec<&Name> =
            collection.time.iter().chain(edges.iter().map(|(column, _)| *column)).collect();
        let dated = usize::from(collection.time.is_some());
        let mut after = None;
        loop {
            let page = connector.find(from, matching, &carry, after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|row| row.key.clone());
            let mut onward: Vec<Vec<Value>> = vec![Vec::new(); edges.len()];
            for row in page {
                let rows = self.out.rows.entry(collection.name.clone()).or_default();
                if rows.contains_key(&row.key) {
                    continue;
                }
                let at = if dated == 1 { row.carried[0].epoch_seconds() } else { None };
                rows.insert(row.key, Hit { via: matching.column.clone(), value: row.via, at });
                for (values, value) in onward.iter_mut().zip(row.carried.into_iter().skip(dated)) {
                    values.push(value);
                }
                self.count += 1;
                if self.count > MAX_ROWS {
                    return Err(Reason::SubjectTooLarge.into());
                }
            }
            for ((_, to), values) in edges.iter().zip(onward) {
                if !values.is_empty() {
                    self.out.sources.entry(to.0.clone()).or_default().insert(collection.name.clone());
                    self.offer((*to).clone(), values.into_iter());
                }
            }
            if !full {
                return Ok(());
            }
        }
    }
}

/// The edges to walk from a collection. None leads out of a shared one: its other rows are other people's.
fn outgoing<'a>(map: &'a DataMap, collection: &Collection) -> Vec<(&'a Name, &'a (Name, Name))> {
    if collection.shared {
        return Vec::new();
    }
    map.edges()
        .iter()
        .filter(|edge| edge.from.0 == collection.name)
        .map(|edge| (&edge.from.1, &edge.to))
        .collect()
}

fn direct(map: &DataMap, subject: &[Identifier]) -> BTreeSet<Name> {
    let given: BTreeSet<&str> = subject.iter().map(Identifier::format).collect();
    map.collections()
        .filter(|c| {
            c.columns.iter().any(|column| column.identity.is_some_and(|f| given.contains(f.as_str())))
        })
        .map(|c| c.name.clone())
        .collect()
}

fn reachable(map: &DataMap, mut reached: BTreeSet<Name>) -> BTreeSet<Name> {
    loop {
        let more: Vec<Name> = map
            .edges()
            .iter()
            .filter(|edge| reached.contains(&edge.from.0) && !reached.contains(&edge.to.0))
            .filter(|edge| map.collection(&edge.from.0).is_some_and(|c| !c.shared))
            .map(|edge| edge.to.0.clone())
            .collect();
        if more.is_empty() {
            return reached;
        }
        reached.extend(more);
    }
}
