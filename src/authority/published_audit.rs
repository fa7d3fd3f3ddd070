//! The rules over a published log whose tree was checked: the authority log first, then the trail on all
//! cores. The bytes are read a second time, and hashed again, so that both readings were of the same.

use std::collections::BTreeMap;

use super::audit::{Judge, Older, Placed, Registrations, Summary};
use super::audit_facts::Facts;
use super::audit_replay::{Again, Replay, Unread};
use super::authority_log::AuthorityLog;
use super::external_sort::Sorter;
use super::head::Head;
use super::leaf_form;
use super::pins::Pins;
use super::published::{Fault, LogFiles, Options, Stage};
use super::published_log::{FileFault, Log};
use super::rules::{Broken, LogName, Rule, Violation};
use crate::domain::Timestamp;
use crate::trail::tile::FULL_WIDTH;
use crate::trail::{EntrySource, HashedTile, TileId, TiledTree, in_order, leaf_hash};

impl From<Unread> for Fault {
    fn from(unread: Unread) -> Self {
        let Unread { which, what } = unread;
        Fault::Unreadable { which, what }
    }
}

fn violation(log: LogName, index: u64, broken: Broken) -> Fault {
    Violation { log, index, rule: broken.rule, what: broken.what.into_owned() }.into()
}

fn unopened(log: LogName) -> Fault {
    violation(log, 0, Rule::OpenedFirst.broken("the log has no leaf"))
}

fn tiles(size: u64) -> u64 {
    size.div_ceil(u64::from(FULL_WIDTH))
}

/// Replays the authority log, leaf by leaf: each key set is proven by the one before it.
pub(super) fn replay_authority<F: LogFiles + Sync>(
    log: &Log<'_, F>,
    head: &Head,
    pins: &Pins,
) -> Result<AuthorityLog, Fault> {
    let size = head.checkpoint.size();
    let mut authority = AuthorityLog::new(pins);
    for tile in (0..tiles(size)).filter_map(|index| TileId::in_tree(0, index, size)) {
        let fed = log.entries(tile, |entries| {
            entries.iter().try_for_each(|entry| {
                let index = authority.size();
                let fed = authority.feed(entry).and_then(|_| match authority.last_time() {
                    Some(time) => leaf_form::seen_by(head.witnessed_at, time),
                    None => Ok(()),
                });
                fed.map_err(|broken| violation(log.name, index, broken))
            })
        });
        fed.map_err(|fault| log.file_fault(fault))??;
    }
    if authority.root_at(size) != Some(head.checkpoint.root()) {
        return Err(log.not_good("tile/entries", "it changed while it was read"));
    }
    if size == 0 { Err(unopened(log.name)) } else { Ok(authority) }
}

/// One bundle, judged by a worker.
#[derive(Default)]
struct Judged {
    tile: Option<HashedTile>,
    /// Leaf times of its first and last leaf.
    times: Option<(Timestamp, Timestamp)>,
    leaves: BTreeMap<&'static str, u64>,
    facts: Facts,
    broken: Option<(u64, Broken)>,
}

/// The trail: what was found and how it was found.
pub(super) struct Audited {
    pub summary: Summary,
    /// Older leaves that were read and judged again.
    pub reread: u64,
    /// Sorted runs that did not fit in memory.
    pub spilled: u64,
}

pub(super) struct TrailAudit<'a, 'f, F> {
    pub log: &'a Log<'f, F>,
    pub head: &'a Head,
    pub judge: Judge<'a>,
    pub options: &'a Options<'a>,
}

impl<F: LogFiles + Sync> TrailAudit<'_, '_, F> {
    pub(super) fn run(&self) -> Result<Audited, Fault> {
        let size = self.head.checkpoint.size();
        // Executions tell instructions and exports: both sorters are full at the same time.
        let bound = self.options.memory / 2;
        let mut first = Sorter::new(bound, self.options.scratch);
        let mut then = Sorter::new(bound, self.options.scratch);
        let mut pass = Pass::default();
        let (log, judge) = (self.log, &self.judge);
        let judged = in_order(
            self.options.threads,
            tiles(size),
            |index| judge_bundle(log, judge, index, size),
            |index, judged| self.take(&mut pass, &mut first, &mut then, index, judged),
        );
        match judged {
            // The first leaf that is bad by itself. What comes before it still has its history.
            Err(Stop::Broken) | Ok(()) => {}
            Err(Stop::Fault(fault)) => return Err(fault),
        }
        let root = (pass.tree.size(), pass.tree.root());
        if pass.broken.is_none() && root != (size, *self.head.checkpoint.root()) {
            return Err(self.log.not_good("tile/entries", "it changed while it was read"));
        }
        self.options.tell(Stage::Histories, 0, size);
        let entry = |index: u64| self.entry(index, size);
        let older = Older { judge: &self.judge, entry: &entry };
        let again = Again {
            registered: &self.judge.registrations.registered,
            authority: self.judge.authority,
            since: self.judge.since,
            reread: &older,
            count: 0,
        };
        let replayed = Replay::new(again).run(first, then)?;
        self.options.tell(Stage::Histories, size, size);
        match (pass.broken, replayed.worst) {
            (Some((index, _)), Some(worst)) if worst.index < index => {
                Err(violation(self.log.name, worst.index, worst.broken))
            }
            (Some((index, broken)), _) => Err(violation(self.log.name, index, broken)),
            (None, Some(worst)) => Err(violation(self.log.name, worst.index, worst.broken)),
            (None, None) => {
                let until = pass.last.ok_or_else(|| unopened(self.log.name))?;
                let (controllers, apps, agents) = self.judge.registrations.registered.counts();
                let totals = replayed.totals;
                let summary = Summary {
                    trail_size: size,
                    authority_size: self.judge.authority.size(),
                    leaves: pass.leaves,
                    controllers,
                    apps,
                    agents,
                    requests: totals.requests,
                    instructions: totals.instructions,
                    executions: totals.executions,
                    ended: totals.ended,
                    until,
                };
                Ok(Audited { summary, reread: replayed.reread, spilled: replayed.spilled })
            }
        }
    }

    /// Runs on this thread, in order.
    fn take(
        &self,
        pass: &mut Pass,
        first: &mut Sorter<'_>,
        then: &mut Sorter<'_>,
        index: u64,
        judged: Result<Judged, FileFault>,
    ) -> Result<(), Stop> {
        let Judged { tile, times, leaves, facts, broken } =
            judged.map_err(|fault| Stop::Fault(self.log.file_fault(fault)))?;
        if let Some(tile) = tile {
            pass.tree.push(&tile);
        }
        if let (Some(last), Some((next, _))) = (pass.last, times)
            && next < last
        {
            let earlier = Rule::LeafForm.broken("it is earlier than the leaf before it");
            pass.broken = Some((index * u64::from(FULL_WIDTH), earlier));
            return Err(Stop::Broken);
        }
        pass.last = times.map(|(_, last)| last).or(pass.last);
        for (type_name, count) in leaves {
            *pass.leaves.entry(type_name).or_default() += count;
        }
        let unread = |error| Stop::Fault(Unread::from(error).into());
        first.extend(&facts.first).map_err(unread)?;
        then.extend(&facts.then).map_err(unread)?;
        if broken.is_some() {
            pass.broken = broken;
            return Err(Stop::Broken);
        }
        self.options.tell(Stage::Rules, pass.tree.size(), self.head.checkpoint.size());
        Ok(())
    }

    fn entry(&self, index: u64, size: u64) -> Result<Vec<u8>, Unread> {
        let width = u64::from(FULL_WIDTH);
        let which = || format!("{} leaf {index}", self.log.name);
        let missing = || Unread { which: which(), what: "there is no such leaf".to_owned() };
        let tile = TileId::in_tree(0, index / width, size).ok_or_else(missing)?;
        // Below 256: fits usize.
        let at = (index % width) as usize;
        self.log
            .entries(tile, |entries| entries.get(at).map(|entry| entry.to_vec()))
            .map_err(|fault| Unread { which: which(), what: fault.to_string() })?
            .ok_or_else(missing)
    }
}

/// Runs on any thread.
fn judge_bundle<F: LogFiles + Sync>(
    log: &Log<'_, F>,
    judge: &Judge<'_>,
    index: u64,
    size: u64,
) -> Result<Judged, FileFault> {
    // `index` counts the tiles of this size.
    let tile = TileId::in_tree(0, index, size).expect("the tile lies in the tree");
    log.entries(tile, |entries| {
        let hashed = HashedTile::new(entries.iter().map(|entry| leaf_hash(entry)).collect());
        let mut judged = Judged { tile: Some(hashed), ..Judged::default() };
        for (index, bytes) in (index * u64::from(FULL_WIDTH)..).zip(entries) {
            let previous = judged.times.map(|(_, last)| last);
            match judge.judge(Placed { index, bytes }, previous, &mut judged.facts) {
                Ok((time, type_name)) => {
                    *judged.leaves.entry(type_name).or_default() += 1;
                    judged.times = Some((judged.times.map_or(time, |(first, _)| first), time));
                }
                Err(broken) => {
                    judged.broken = Some((index, broken));
                    break;
                }
            }
        }
        judged
    })
}

/// What the first step has found so far.
#[derive(Default)]
struct Pass {
    tree: TiledTree,
    last: Option<Timestamp>,
    leaves: BTreeMap<&'static str, u64>,
    broken: Option<(u64, Broken)>,
}

/// Why the first step ended early.
enum Stop {
    /// It stands in [`Pass`].
    Broken,
    Fault(Fault),
}

/// An empty registry, to be filled while the tree is checked.
pub(super) fn registrations(pins: &Pins) -> Registrations {
    Registrations { registered: super::registered::Registered::new(pins), broken: None }
}
