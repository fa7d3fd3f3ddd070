//! The authority log, replayed from leaf 0: which key set was the newest at any size.
//!
//! It is small and always read whole, since only all of it shows that nothing newer
//! exists. Every key set is proven from the pinned first one on.

use std::collections::BTreeMap;

use super::chain::{KeySetChain, Restart};
use super::leaf_form;
use super::log_keys::LogKeys;
use super::pins::Pins;
use super::report_keys::ReportKeyEnds;
use super::rules::{Broken, LogName, Rule};
use super::taken_back::{TakenBack, TakenBackBy};
use crate::domain::event::{Event, InstructionStopped, KeySetPublished, LogReopened, SignatureWithdrawn};
use crate::domain::{ControllerId, InstructionId, Stop, Timestamp};
use crate::token::{Detached, Digest, KeySet, Says, SignedKeySet};
use crate::trail::{Appender, Hash, empty_root, leaf_hash};

/// The key sets and heads of the log's first leaves.
#[derive(Debug)]
pub struct AuthorityLog {
    source: String,
    origin: String,
    /// The pinned origin of the trail and what the log says of those before; key sets and log keys of any.
    trail: Pins,
    /// The trail's origin by now.
    current: String,
    reopened: Vec<Event>,
    pins: BTreeMap<ControllerId, Digest>,
    tree: Appender,
    /// The root at each size, from 0.
    roots: Vec<Hash>,
    /// None for a leaf that is withheld.
    times: Vec<Option<Timestamp>>,
    /// Set where the reader asks about one controller only.
    about: Option<ControllerId>,
    chains: BTreeMap<ControllerId, KeySetChain>,
    published: BTreeMap<u64, (ControllerId, u64, Digest)>,
    log_keys: LogKeys,
    report_keys: ReportKeyEnds,
    taken_back: TakenBackBy,
    /// By the leaf that stopped it.
    stopped: BTreeMap<u64, (ControllerId, InstructionId, Stop)>,
    /// By the leaf that withdrew a signature: the instruction's digest.
    withdrawn: BTreeMap<u64, (ControllerId, Digest)>,
}

impl AuthorityLog {
    pub fn new(pins: &Pins) -> Self {
        Self {
            source: pins.source().to_owned(),
            origin: pins.authority.origin.clone(),
            trail: pins.clone(),
            current: pins.trail_origin_at(0).to_owned(),
            reopened: Vec::new(),
            pins: pins.controllers.clone(),
            tree: Appender::new(),
            roots: vec![empty_root()],
            times: Vec::new(),
            about: None,
            chains: BTreeMap::new(),
            published: BTreeMap::new(),
            log_keys: LogKeys::default(),
            report_keys: ReportKeyEnds::default(),
            taken_back: TakenBackBy::new(),
            stopped: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
        }
    }

    /// For a reader who asks about one controller and has not pinned the others: their key sets count for the
    /// root and prove nothing.
    pub fn about(pins: &Pins, controller: ControllerId) -> Self {
        Self { about: Some(controller), ..Self::new(pins) }
    }

    /// Takes the next leaf.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Event, Broken> {
        let index = self.size();
        let (leaf, event) = leaf_form::read(LogName::Authority, &self.source, self.last_time(), bytes)?;
        match (&event, index) {
            (Event::LogOpened(opened), 0) => {
                Rule::OpenedFirst.holds(opened.origin == self.origin, "it opens a log of another origin")?;
            }
            (Event::LogOpened(_), _) => return Err(Rule::OpenedFirst.broken("the log is opened again")),
            (_, 0) => return Err(Rule::OpenedFirst.broken("the first leaf does not open the log")),
            (Event::KeySetPublished(published), _) => self.publish(index, leaf.subject(), published)?,
            (Event::LogKeyVouched(_) | Event::LogKeyRetired(_), _) => {
                let trails = self.trail.trail_origins().chain([self.current.as_str()]);
                let origins: Vec<&str> = trails.chain([self.origin.as_str()]).collect();
                self.log_keys.take(leaf.subject(), &event, &origins)?;
            }
            (Event::ReportKeyRetired(retired), _) => self.report_keys.take(leaf.subject(), retired)?,
            (Event::InstructionStopped(stopped), _) => {
                let id = InstructionId::from_resource_name(leaf.subject())
                    .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
                let InstructionStopped { controller, why } = stopped;
                self.of(controller).stop(id, *why, Some(leaf.time()));
                self.stopped.insert(index, (controller.clone(), id, *why));
            }
            (Event::SignatureWithdrawn(withdrawn), _) => self.withdraw(index, withdrawn)?,
            (Event::LogReopened(reopened), _) => self.reopen(reopened)?,
            _ => return Err(Rule::LeafForm.broken("its type does not belong in this log")),
        }
        self.tree.append(leaf_hash(bytes));
        self.tree.settle();
        self.roots.push(self.tree.root());
        self.times.push(Some(leaf.time()));
        Ok(event)
    }

    /// Takes the place of a leaf whose bytes are withheld: it counts for the root and says nothing.
    pub(super) fn withhold(&mut self, hash: Hash) {
        self.tree.append(hash);
        self.tree.settle();
        self.roots.push(self.tree.root());
        self.times.push(None);
    }

    fn of(&mut self, controller: &ControllerId) -> &mut TakenBack {
        self.taken_back.entry(controller.clone()).or_default()
    }

    fn withdraw(&mut self, index: u64, withdrawn: &SignatureWithdrawn) -> Result<(), Broken> {
        let SignatureWithdrawn { controller, digest, withdrawal } = withdrawn;
        let broken = || Rule::LeafForm.broken("it withdraws no signature");
        let digest: Digest = digest.parse().map_err(|_| broken())?;
        let withdrawal = Detached::parse(Says::Withdrawn, withdrawal).map_err(|_| broken())?;
        self.of(controller).withdraw(digest, withdrawal.kid(), index);
        self.withdrawn.insert(index, (controller.clone(), digest));
        Ok(())
    }

    /// Leaf time of the last leaf that was not withheld.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        self.times.iter().rev().find_map(|time| *time)
    }

    fn publish(&mut self, index: u64, subject: &str, published: &KeySetPublished) -> Result<(), Broken> {
        let KeySetPublished { version, digest, key_set } = published;
        let broken = |what: String| Rule::KeySetChain.broken(what);
        let controller =
            ControllerId::from_resource_name(subject).map_err(|error| broken(error.to_string()))?;
        let signed =
            SignedKeySet::read(key_set.as_bytes()).map_err(|refusal| broken(refusal_text(&refusal)))?;
        let named = (signed.version(), signed.digest());
        Rule::KeySetChain.holds(
            named.0 == *version && named.1.to_string() == *digest,
            "the leaf names another version or digest than the key set has",
        )?;
        match (self.chains.get_mut(&controller), self.pins.get(&controller)) {
            (Some(chain), _) => {
                let known = self.trail.trail_origins().any(|origin| origin == signed.aud());
                Rule::KeySetChain.holds(known, "the key set is for another trail")?;
                chain.follow(index, signed, self.trail.recovered_of(&controller))
            }
            (None, Some(pin)) => {
                KeySetChain::begin(&controller, self.trail.trail_origins(), pin, index, signed)
                    .map(|chain| drop(self.chains.insert(controller.clone(), chain)))
            }
            (None, None) if self.about.as_ref().is_some_and(|about| *about != controller) => Ok(()),
            (None, None) => {
                return Err(broken(format!(
                    "controllers/{controller} is not pinned: ask it for the digest of its version 1"
                )));
            }
        }
        .map_err(|refusal| broken(refusal_text(&refusal)))?;
        self.published.insert(index, (controller, named.0, named.1));
        Ok(())
    }

    /// Leaves read so far.
    pub fn size(&self) -> u64 {
        self.times.len() as u64
    }

    /// The root of the first `size` leaves.
    pub fn root_at(&self, size: u64) -> Option<&Hash> {
        self.roots.get(usize::try_from(size).ok()?)
    }

    /// The controller's newest key set among the first `size` leaves.
    pub fn newest_at(&self, controller: &ControllerId, size: u64) -> Option<&KeySet> {
        self.chains.get(controller)?.newest_at(size)
    }

    /// The controller's newest key set.
    pub fn newest(&self, controller: &ControllerId) -> Option<&KeySet> {
        self.chains.get(controller).map(KeySetChain::newest)
    }

    /// The trail goes on under another origin.
    fn reopen(&mut self, reopened: &LogReopened) -> Result<(), Broken> {
        let new = reopened.origin != self.origin && !self.trail_had(&reopened.origin);
        let follows = reopened.former == self.current && new;
        Rule::OpenedFirst.holds(follows, "the new origin does not follow on the one before")?;
        let counts = reopened.size > 0 && reopened.known_size >= reopened.size;
        Rule::OpenedFirst.holds(counts, "more leaves are kept than are known")?;
        self.current.clone_from(&reopened.origin);
        self.reopened.push(reopened.clone().into());
        Ok(())
    }

    fn trail_had(&self, origin: &str) -> bool {
        let is = |event: &Event| matches!(event, Event::LogReopened(one) if one.former == origin);
        self.current == origin || self.reopened.iter().any(is)
    }

    /// Whether the log says the same of a log's key or origin.
    pub(super) fn tells(&self, event: &Event) -> bool {
        self.log_keys.tell(event) || self.reopened.contains(event)
    }

    /// Which report keys no longer counted, and from where on.
    pub(super) fn report_keys(&self) -> &ReportKeyEnds {
        &self.report_keys
    }

    /// The trail's origin when its leaf of that index was written.
    pub(super) fn trail_origin_at(&self, index: u64) -> &str {
        self.trail.trail_origin_at(index)
    }

    /// Every origin of the trail, the pinned one first.
    pub(super) fn trail_origins(&self) -> impl Iterator<Item = &str> {
        self.trail.trail_origins()
    }

    /// What the trail must tell at that index of its new origin.
    pub(super) fn opening_at(&self, index: u64) -> Option<&LogReopened> {
        self.trail.openings().find(|one| one.size == index)
    }

    /// What of the controller's it takes back.
    pub fn taken_back(&self, controller: &ControllerId) -> TakenBack {
        self.taken_back.get(controller).cloned().unwrap_or_default()
    }

    /// When it stopped the instruction, if it did.
    pub(super) fn stopped_at(&self, controller: &ControllerId, id: &InstructionId) -> Option<Timestamp> {
        self.taken_back.get(controller)?.stopped_at(id)
    }

    /// The instruction that leaf `index` stopped.
    pub(super) fn stopped_by(&self, index: u64) -> Option<&(ControllerId, InstructionId, Stop)> {
        self.stopped.get(&index)
    }

    /// The instruction of which leaf `index` withdrew a signature.
    pub(super) fn withdrawn_by(&self, index: u64) -> Option<&(ControllerId, Digest)> {
        self.withdrawn.get(&index)
    }

    /// The controller's newest key set of those published after the first `size` leaves, in seconds before this one.
    pub(super) fn newest_between(
        &self,
        controller: &ControllerId,
        size: u64,
        second: i64,
    ) -> Option<&KeySet> {
        self.chains.get(controller)?.newest_between(size, self.first_from(second))
    }

    /// The key sets that the controller published within that second.
    pub(super) fn published_within(
        &self,
        controller: &ControllerId,
        second: i64,
    ) -> impl Iterator<Item = &KeySet> {
        let (from, until) = (self.first_from(second), self.first_from(second.saturating_add(1)));
        self.chains.get(controller).into_iter().flat_map(move |chain| chain.published_between(from, until))
    }

    /// The first leaf that is not of an earlier second; the log's size where all are.
    fn first_from(&self, second: i64) -> u64 {
        let later = |time: &Option<Timestamp>| time.is_some_and(|time| time.as_second() >= second);
        self.times.iter().position(later).unwrap_or(self.times.len()) as u64
    }

    /// Where the controller's key sets broke off and began anew.
    pub fn restarts(&self, controller: &ControllerId) -> Vec<Restart> {
        self.chains.get(controller).map(|chain| chain.restarts().collect()).unwrap_or_default()
    }

    /// The same of every controller.
    pub fn all_restarts(&self) -> Vec<Restart> {
        self.chains.values().flat_map(KeySetChain::restarts).collect()
    }

    /// Whether the controller began anew after the first `size` leaves, in a second before this one.
    pub(super) fn restarted_between(&self, controller: &ControllerId, size: u64, second: i64) -> bool {
        let before = |index: u64| {
            let time = usize::try_from(index).ok().and_then(|at| self.times.get(at)).copied().flatten();
            time.is_some_and(|time| time.as_second() < second)
        };
        let chain = self.chains.get(controller);
        chain.is_some_and(|chain| chain.restarts().any(|one| one.index >= size && before(one.index)))
    }

    /// The key set that leaf `index` published.
    pub(super) fn published_at(&self, index: u64) -> Option<&(ControllerId, u64, Digest)> {
        self.published.get(&index)
    }

    /// Whether the log can have had `size` leaves at `time`: those before are not later, those after not earlier.
    pub(super) fn had_size_at(&self, size: u64, time: Timestamp) -> bool {
        let Ok(size) = usize::try_from(size) else { return false };
        if size > self.times.len() {
            return false;
        }
        let (before, after) = self.times.split_at(size);
        let last = before.iter().rev().find_map(|time| *time);
        let next = after.iter().find_map(|time| *time);
        last.is_none_or(|last| last <= time) && next.is_none_or(|next| next >= time)
    }
}

/// Code and note of a refusal: never any input.
pub(super) fn refusal_text(refusal: &crate::domain::Refusal) -> String {
    let mut text = refusal.reason.code().to_owned();
    if let Some(field) = &refusal.field {
        text.push_str(" at ");
        text.push_str(field);
    }
    if let Some(note) = &refusal.note {
        text.push_str(": ");
        text.push_str(note);
    }
    text
}
