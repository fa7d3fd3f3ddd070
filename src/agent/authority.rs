//! The agent's own copy of the authority log, and the key sets it proves.
//!
//! All of the log is held, since only all of it shows that nothing newer
//! exists. A head is believed only if the pinned log key signed it, it was dated within
//! *t* of the agent's own clock, and the root over **all** leaves, those held and those
//! that came, is the head's. It is dated by the cosignatures of *k* pinned witnesses;
//! where the pins ask for none, by the pinned freshness cosigner.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::authority::head::{self, Head, HeadFault};
use crate::authority::pins::LogPin;
use crate::authority::taken_back::{TakenBack, TakenBackBy};
use crate::authority::{KeySetChain, Pins};
use crate::domain::event::Event;
use crate::domain::{ControllerId, InstructionId, Reason, Refusal};
use crate::token::{Detached, Says, SignedKeySet};
use crate::trail::{Appender, Hash, Leaf, leaf_hash};

/// How far a cosigner's clock may run ahead of ours. Seconds.
const LEEWAY: i64 = 30;

fn forked(note: &'static str) -> Refusal {
    Refusal::at(Reason::AuthorityForked, "authority").note(note)
}

/// A head that came from the gateway, or why it is not believed: forked, or not witnessed yet.
fn open(note: &str, log: &LogPin, pins: &Pins) -> Result<Head, Reason> {
    head::open(note, log, pins).map_err(|fault| match fault {
        HeadFault::Witnesses { .. } => Reason::WitnessesMissing,
        HeadFault::NotGood(_) => Reason::AuthorityForked,
    })
}

/// The log as far as it was replicated.
#[derive(Clone)]
pub struct Replica {
    pins: Arc<Pins>,
    /// *t*, seconds.
    freshness: i64,
    tree: Appender,
    chains: BTreeMap<ControllerId, KeySetChain>,
    /// What the log takes back.
    taken_back: TakenBackBy,
    /// Controllers whose key sets do not follow from their pins, and why: nothing of theirs is carried out.
    broken: BTreeMap<ControllerId, Refusal>,
    /// When the newest believed head was dated; none before the first.
    fresh_at: Option<i64>,
}

impl Replica {
    /// The leaves as they were kept. Believed only after the next head: see [`Replica::extend`].
    pub fn load(pins: Arc<Pins>, freshness: i64, leaves: &[Vec<u8>]) -> Result<Self, Refusal> {
        let mut replica = Self {
            pins: Arc::new(pins.followed(leaves.iter().map(Vec::as_slice))),
            freshness,
            tree: Appender::new(),
            chains: BTreeMap::new(),
            taken_back: TakenBackBy::new(),
            broken: BTreeMap::new(),
            fresh_at: None,
        };
        for leaf in leaves {
            replica.feed(leaf)?;
        }
        Ok(replica)
    }

    /// The log with these further leaves, if the checkpoint proves all of it. `now` in seconds.
    pub fn extend(&self, leaves: &[Vec<u8>], checkpoint: &str, now: i64) -> Result<Self, Refusal> {
        // Keys that these leaves vouch for may have signed the head; origins that they name had key sets.
        let pins = self.pins.followed(leaves.iter().map(Vec::as_slice));
        let head = open(checkpoint, &pins.authority, &pins).map_err(|reason| {
            Refusal::at(reason, "authority").note("its head is not signed as the pins ask")
        })?;
        let fresh_at = head
            .dated()
            .ok_or_else(|| Refusal::new(Reason::AuthorityStale).note("its head is not dated"))?
            .as_second();
        if now.saturating_sub(fresh_at) > self.freshness || fresh_at > now.saturating_add(LEEWAY) {
            return Err(Refusal::new(Reason::AuthorityStale).note("its head is dated too far from now"));
        }
        if head.checkpoint.size() < self.size() {
            return Err(forked("it is shorter than before"));
        }
        if head.checkpoint.size() != self.size() + leaves.len() as u64 {
            return Err(Refusal::new(Reason::AuthorityStale).note("not all of its leaves came"));
        }
        let mut tree = self.tree.clone();
        for leaf in leaves {
            tree.append(leaf_hash(leaf));
        }
        if tree.root() != *head.checkpoint.root() {
            return Err(forked("its leaves are not those of its head"));
        }
        let mut next = self.clone();
        next.pins = Arc::new(pins);
        for leaf in leaves {
            next.feed(leaf)?;
        }
        next.fresh_at = Some(fresh_at);
        Ok(next)
    }

    /// Takes the next leaf. What this release cannot read may be a withdrawal: it stops the agent.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let index = self.size();
        let leaf = Leaf::parse(bytes).map_err(|_| forked("a leaf is not of the form"))?;
        if leaf.source() != self.pins.source() {
            return Err(forked("a leaf is another gateway's"));
        }
        let mut data = leaf.data().clone();
        data.remove("salt");
        match Event::parse(leaf.type_(), data).map_err(|_| forked("a leaf cannot be read by this release"))? {
            Event::LogOpened(opened) if index == 0 && opened.origin == self.pins.authority.origin => {}
            // The pins followed them already. Another origin of the trail is believed when it is pinned.
            Event::LogKeyVouched(_) | Event::LogKeyRetired(_) | Event::LogReopened(_) if index > 0 => {}
            // Of the agents' keys the gateway and whoever reads reports take notice.
            Event::ReportKeyRetired(_) if index > 0 => {}
            Event::KeySetPublished(published) if index > 0 => {
                let controller = ControllerId::from_resource_name(leaf.subject())
                    .map_err(|_| forked("a key set is nobody's"))?;
                self.publish(index, controller, published.key_set.as_bytes());
            }
            Event::InstructionStopped(stopped) if index > 0 => {
                let id = InstructionId::from_resource_name(leaf.subject())
                    .map_err(|_| forked("what is stopped is no instruction"))?;
                self.of(&stopped.controller).stop(id, stopped.why, Some(leaf.time()));
            }
            Event::SignatureWithdrawn(withdrawn) if index > 0 => {
                let unread = |_| forked("a withdrawal cannot be read by this release");
                let withdrawal = Detached::parse(Says::Withdrawn, &withdrawn.withdrawal).map_err(unread)?;
                let digest =
                    withdrawn.digest.parse().map_err(|_| forked("a withdrawal is of no instruction"))?;
                self.of(&withdrawn.controller).withdraw(digest, withdrawal.kid(), index);
            }
            _ => return Err(forked("a leaf does not belong in this log")),
        }
        self.tree.append(leaf_hash(bytes));
        self.tree.settle();
        Ok(())
    }

    /// One controller's bad key set stops that controller, and for good, not the others.
    fn publish(&mut self, index: u64, controller: ControllerId, key_set: &[u8]) {
        // Not pinned: nothing of it can be carried out here.
        let Some(pin) = self.pins.controllers.get(&controller) else { return };
        let taken = SignedKeySet::read(key_set).and_then(|signed| match self.chains.get_mut(&controller) {
            Some(chain) => chain.follow(index, signed, self.pins.recovered_of(&controller)),
            None => {
                // For which trail it is, is looked at when it is asked for: that this one was another's before
                // may stand in a later leaf.
                let origin = signed.aud().to_owned();
                KeySetChain::begin(&controller, [origin.as_str()], pin, index, signed)
                    .map(|chain| drop(self.chains.insert(controller.clone(), chain)))
            }
        });
        if let Err(refusal) = taken {
            let note = refusal.note.unwrap_or("the controller's key sets do not follow from its pin".into());
            tracing::error!(%controller, %note, "nothing of this controller is carried out");
            let why = Refusal::at(Reason::AuthorityForked, "authority").note(note);
            self.broken.entry(controller).or_insert(why);
        }
    }

    /// Leaves held.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Whether the newest believed head is no older than *t*.
    pub fn is_fresh(&self, now: i64) -> bool {
        self.fresh_at.is_some_and(|at| now.saturating_sub(at) <= self.freshness)
    }

    /// The controller's key sets, while the replica is fresh.
    pub fn chain(&self, controller: &ControllerId, now: i64) -> Result<&KeySetChain, Refusal> {
        if !self.is_fresh(now) {
            return Err(Reason::AuthorityStale.into());
        }
        if let Some(why) = self.broken.get(controller) {
            return Err(why.clone());
        }
        let chain = self.chains.get(controller).ok_or_else(|| {
            Refusal::new(Reason::KeySetNotCurrent).note("the controller has no pinned key set")
        })?;
        // Who pinned that the root was lost obeys it no more, whatever a gateway withholds.
        if chain.restarts().count() < self.pins.recovered_of(controller).len() {
            return Err(Refusal::new(Reason::AuthorityStale)
                .note("the key sets that are pinned after the lost root are not in the log yet"));
        }
        // All of a chain are for one trail, but for those that begin anew: they are for the one of that time.
        match self.pins.trail_origins().any(|origin| origin == chain.newest().aud()) {
            true => Ok(chain),
            false => Err(forked("the controller's key sets are for another trail")),
        }
    }

    fn of(&mut self, controller: &ControllerId) -> &mut TakenBack {
        self.taken_back.entry(controller.clone()).or_default()
    }

    /// What of the controller's the log takes back.
    pub fn taken_back(&self, controller: &ControllerId) -> TakenBack {
        self.taken_back.get(controller).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::authority::log_fixtures::{AUTHORITY, GATEWAY, authority_key, freshness_key, pins, trail_key};
    use crate::domain::Stop;
    use crate::domain::Timestamp;
    use crate::domain::event::{
        InstructionStopped, KeySetPublished, LogKeyRetired, LogKeyVouched, LogOpened,
    };
    use crate::token::fixtures::{CountedEntropy, NOW, entry, key, key_set, set_draft};
    use crate::token::{KeySetDraft, KeyUse, SignedKeySet};
    use crate::trail::{Checkpoint, CosigningKey, LeafDraft, SigningKey, Succession};

    pub fn leaf(subject: &str, event: impl Into<Event>, entropy: &CountedEntropy) -> Vec<u8> {
        let event = event.into();
        LeafDraft::new(event.type_name(), subject, event.to_data())
            .seal(GATEWAY, Timestamp::from_second(NOW).unwrap(), entropy)
            .unwrap()
            .bytes()
            .to_vec()
    }

    fn published(draft: &KeySetDraft, entropy: &CountedEntropy) -> Vec<u8> {
        let bytes = draft.sign(&[&key("root")]).unwrap();
        let signed = SignedKeySet::read(&bytes).unwrap();
        let event = KeySetPublished {
            version: signed.version(),
            digest: signed.digest().to_string(),
            key_set: String::from_utf8(bytes).unwrap(),
        };
        leaf(&draft.iss.resource_name(), event, entropy)
    }

    /// The opening leaf and `controllers/xingyu`'s first key set.
    pub fn leaves() -> Vec<Vec<u8>> {
        let entropy = CountedEntropy::new();
        vec![
            leaf(AUTHORITY, LogOpened { origin: AUTHORITY.into() }, &entropy),
            published(&set_draft(), &entropy),
        ]
    }

    fn second() -> Vec<u8> {
        let draft = KeySetDraft { version: 2, prev: Some(key_set().digest()), ..set_draft() };
        published(&draft, &CountedEntropy::new())
    }

    fn signed_by(key: &SigningKey, leaves: &[Vec<u8>], at: i64) -> String {
        let mut tree = Appender::new();
        for leaf in leaves {
            tree.append(leaf_hash(leaf));
        }
        let mut note = Checkpoint::new(AUTHORITY, tree.size(), tree.root()).unwrap().sign(key);
        note.add(freshness_key().cosign(note.text(), Timestamp::from_second(at).unwrap()).unwrap()).unwrap();
        note.to_string()
    }

    pub fn checkpoint(leaves: &[Vec<u8>], at: i64) -> String {
        signed_by(&authority_key(), leaves, at)
    }

    fn empty() -> Replica {
        Replica::load(Arc::new(pins()), 300, &[]).unwrap()
    }

    pub fn replica() -> Replica {
        empty().extend(&leaves(), &checkpoint(&leaves(), NOW), NOW).unwrap()
    }

    fn reason(of: Result<Replica, Refusal>) -> Option<Reason> {
        of.err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_replica_grows_and_knows_the_newest_key_set() {
        let xingyu = "xingyu".parse().unwrap();
        let replica = replica();
        assert_eq!(replica.chain(&xingyu, NOW).unwrap().newest().version(), 1);
        let all = [leaves(), vec![second()]].concat();
        let grown = replica.extend(&all[2..], &checkpoint(&all, NOW + 5), NOW + 5).unwrap();
        assert_eq!((grown.size(), grown.chain(&xingyu, NOW).unwrap().newest().version()), (3, 2));
        let kept = Replica::load(Arc::new(pins()), 300, &all).unwrap();
        assert!(kept.chain(&xingyu, NOW).is_err(), "what was kept is not believed without a head");
        let again = kept.extend(&[], &checkpoint(&all, NOW), NOW).unwrap();
        assert_eq!(again.root(), grown.root());
    }

    #[test]
    fn an_old_or_future_or_undated_head_is_stale() {
        let at = |head: i64, now: i64| reason(empty().extend(&leaves(), &checkpoint(&leaves(), head), now));
        assert_eq!(at(NOW, NOW + 300), None);
        assert_eq!(at(NOW, NOW + 301), Some(Reason::AuthorityStale));
        assert_eq!(at(NOW + 31, NOW), Some(Reason::AuthorityStale));
        let undated: String = checkpoint(&leaves(), NOW)
            .split_inclusive('\n')
            .filter(|line| !line.contains("/freshness"))
            .collect();
        assert_eq!(reason(empty().extend(&leaves(), &undated, NOW)), Some(Reason::AuthorityStale));
        let replica = replica();
        let refusal = replica.chain(&"xingyu".parse().unwrap(), NOW + 301).err().unwrap();
        assert_eq!(refusal.reason, Reason::AuthorityStale);
    }

    #[test]
    fn a_log_that_shrinks_or_changes_its_past_is_forked() {
        let replica = replica();
        let shrunk = &leaves()[..1];
        assert_eq!(reason(replica.extend(&[], &checkpoint(shrunk, NOW), NOW)), Some(Reason::AuthorityForked));
        let mut other = leaves();
        other[1] = leaf(
            "controllers/xiaolu",
            KeySetPublished { version: 1, digest: "x".into(), key_set: "{}".into() },
            &CountedEntropy::new(),
        );
        other.push(second());
        assert_eq!(
            reason(replica.extend(&other[2..], &checkpoint(&other, NOW), NOW)),
            Some(Reason::AuthorityForked)
        );
        let all = [leaves(), vec![second()]].concat();
        assert_eq!(reason(replica.extend(&[], &checkpoint(&all, NOW), NOW)), Some(Reason::AuthorityStale));
    }

    /// The checkpoint with cosignatures of the witnesses at these times, and none of the gateway's own.
    fn witnessed(leaves: &[Vec<u8>], times: &[i64]) -> (Pins, String) {
        let mut pins = pins();
        let mut tree = Appender::new();
        for leaf in leaves {
            tree.append(leaf_hash(leaf));
        }
        let mut note = Checkpoint::new(AUTHORITY, tree.size(), tree.root()).unwrap().sign(&authority_key());
        for n in 0..3u8 {
            let witness = CosigningKey::from_seed(&format!("w{n}.example"), &[60 + n; 32]).unwrap();
            pins.witnesses.vkeys.push(witness.verifier_key().clone());
            if let Some(at) = times.get(usize::from(n)) {
                let at = Timestamp::from_second(*at).unwrap();
                note.add(witness.cosign(note.text(), at).unwrap()).unwrap();
            }
        }
        pins.witnesses.required = 2;
        (pins, note.to_string())
    }

    #[test]
    fn with_witnesses_pinned_their_times_date_the_head_and_the_gateways_own_does_not() {
        let judge = |times: &[i64], now: i64| {
            let (pins, note) = witnessed(&leaves(), times);
            reason(Replica::load(Arc::new(pins), 300, &[]).unwrap().extend(&leaves(), &note, now))
        };
        assert_eq!(judge(&[NOW, NOW], NOW + 300), None);
        assert_eq!(judge(&[NOW, NOW, NOW], NOW + 300), None);
        assert_eq!(judge(&[NOW], NOW), Some(Reason::WitnessesMissing));
        assert_eq!(judge(&[], NOW), Some(Reason::WitnessesMissing));
        // One that is new does not make up for the second, which is old.
        assert_eq!(judge(&[NOW + 200, NOW], NOW + 301), Some(Reason::AuthorityStale));
        assert_eq!(judge(&[NOW + 200, NOW, NOW + 200], NOW + 301), None);
        // Dated by the gateway's freshness key alone: not enough, however new.
        let (pins, _) = witnessed(&leaves(), &[]);
        let replica = Replica::load(Arc::new(pins), 300, &[]).unwrap();
        let dated = checkpoint(&leaves(), NOW);
        assert_eq!(reason(replica.extend(&leaves(), &dated, NOW)), Some(Reason::WitnessesMissing));
    }

    #[test]
    fn a_cosigner_that_is_not_pinned_is_no_reason_to_stop() {
        let (witnessing, note) = witnessed(&leaves(), &[NOW, NOW, NOW]);
        let mut fewer = witnessing.clone();
        fewer.witnesses.vkeys.pop();
        let replica = Replica::load(Arc::new(fewer), 300, &[]).unwrap();
        assert_eq!(reason(replica.extend(&leaves(), &note, NOW)), None);
    }

    #[test]
    fn a_witness_that_was_made_anew_under_its_name_is_no_reason_to_stop() {
        let (mut pinned, note) = witnessed(&leaves(), &[NOW, NOW, NOW]);
        pinned.witnesses.vkeys.pop();
        let before = CosigningKey::from_seed("w2.example", &[99; 32]).unwrap();
        pinned.witnesses.vkeys.push(before.verifier_key().clone());
        let replica = Replica::load(Arc::new(pinned), 300, &[]).unwrap();
        assert_eq!(reason(replica.extend(&leaves(), &note, NOW)), None);
    }

    fn about_keys(events: Vec<Event>) -> Vec<Vec<u8>> {
        let entropy = CountedEntropy::new();
        [leaves(), events.into_iter().map(|event| leaf(AUTHORITY, event, &entropy)).collect()].concat()
    }

    #[test]
    fn the_next_key_is_followed_once_the_pinned_one_vouched_for_it() {
        let next = SigningKey::from_seed(AUTHORITY, &[9; 32]).unwrap();
        let succession = Succession::sign(&authority_key(), &next).unwrap().to_string();
        let vouched =
            || Event::from(LogKeyVouched { by: "operators/local".into(), succession: succession.clone() });
        let vkey = authority_key().verifier_key().to_string();
        let retired = Event::from(LogKeyRetired { by: "operators/local".into(), vkey });

        let overlap = about_keys(vec![vouched()]);
        let grown = replica().extend(&overlap[2..], &signed_by(&next, &overlap, NOW), NOW).unwrap();
        // Either may sign, and what was kept is followed again after a restart.
        assert_eq!(reason(grown.extend(&[], &signed_by(&authority_key(), &overlap, NOW), NOW)), None);
        let kept = Replica::load(Arc::new(pins()), 300, &overlap).unwrap();
        assert_eq!(reason(kept.extend(&[], &signed_by(&next, &overlap, NOW), NOW)), None);

        let done = about_keys(vec![vouched(), retired]);
        let grown = grown.extend(&done[3..], &signed_by(&next, &done, NOW), NOW).unwrap();
        let by_former = signed_by(&authority_key(), &done, NOW);
        assert_eq!(reason(grown.extend(&[], &by_former, NOW)), Some(Reason::AuthorityForked));
        // From the beginning, at one go, with the old pin.
        assert_eq!(reason(empty().extend(&done, &signed_by(&next, &done, NOW), NOW)), None);
    }

    /// The log with the contest of the fixtures' erasure.
    pub fn contested() -> Replica {
        let id = crate::token::fixtures::draft(crate::domain::Act::Erase).jti;
        let stopped = InstructionStopped { controller: "xingyu".parse().unwrap(), why: Stop::Contested };
        let all = [leaves(), vec![leaf(&id.resource_name(), stopped, &CountedEntropy::new())]].concat();
        empty().extend(&all, &checkpoint(&all, NOW), NOW).unwrap()
    }

    #[test]
    fn what_the_log_takes_back_is_known_and_withholding_it_works_no_longer_than_the_window() {
        let id = crate::token::fixtures::draft(crate::domain::Act::Erase).jti;
        let xingyu: ControllerId = "xingyu".parse().unwrap();
        let after = contested();
        assert_eq!(after.taken_back(&xingyu).why(&id), Some(Stop::Contested));
        assert_eq!(
            after.taken_back(&"leting".parse().unwrap()).why(&id),
            None,
            "another may have used the id"
        );
        // A gateway that hides the leaf can show the head from before it, and only for so long.
        let before = replica();
        assert_eq!(before.taken_back(&xingyu).why(&id), None);
        assert!(before.chain(&xingyu, NOW + 300).is_ok());
        assert_eq!(before.chain(&xingyu, NOW + 301).unwrap_err().reason, Reason::AuthorityStale);
        let old = checkpoint(&leaves(), NOW);
        assert_eq!(reason(before.extend(&[], &old, NOW + 301)), Some(Reason::AuthorityStale));
        // What it showed once it cannot hide again.
        assert_eq!(
            reason(after.extend(&[], &checkpoint(&leaves(), NOW), NOW)),
            Some(Reason::AuthorityForked)
        );
    }

    #[test]
    fn a_head_of_another_key_is_refused() {
        for wrong in [trail_key(), SigningKey::from_seed(AUTHORITY, &[9; 32]).unwrap()] {
            let note = signed_by(&wrong, &leaves(), NOW);
            assert_eq!(reason(empty().extend(&leaves(), &note, NOW)), Some(Reason::AuthorityForked));
        }
    }

    #[test]
    fn key_sets_that_begin_anew_are_obeyed_by_pin_alone_and_those_before_no_more() {
        let mut draft = set_draft();
        draft.keys[0] = entry("root-2", "root-2", KeyUse::Root);
        draft.roles[0].1 = vec![key("root-2").id()];
        let bytes = draft.sign(&[&key("root-2")]).unwrap();
        let digest = SignedKeySet::read(&bytes).unwrap().digest();
        let key_set = String::from_utf8(bytes).unwrap();
        let anew = KeySetPublished { version: 1, digest: digest.to_string(), key_set };
        let anew = leaf("controllers/xingyu", anew, &CountedEntropy::new());
        let all = [leaves(), vec![anew]].concat();
        let xingyu: ControllerId = "xingyu".parse().unwrap();
        let chain = |replica: &Replica| {
            let chain = replica.chain(&xingyu, NOW).map(|chain| chain.newest().digest());
            chain.map_err(|refusal| (refusal.reason, refusal.note.unwrap_or_default().into_owned()))
        };
        // Without the pin nothing of that controller is carried out, and the agent says which is missing.
        let unpinned = empty().extend(&all, &checkpoint(&all, NOW), NOW).unwrap();
        let (reason, note) = chain(&unpinned).unwrap_err();
        assert!(reason == Reason::AuthorityForked && note.contains(&digest.to_string()), "{note}");
        // With it the old sets are not obeyed even before the log shows the new one.
        let mut pins = pins();
        pins.recovered.insert(xingyu.clone(), vec![digest]);
        let pinned = Replica::load(Arc::new(pins), 300, &[]).unwrap();
        let before = pinned.extend(&leaves(), &checkpoint(&leaves(), NOW), NOW).unwrap();
        assert_eq!(chain(&before).unwrap_err().0, Reason::AuthorityStale);
        let after = before.extend(&all[2..], &checkpoint(&all, NOW), NOW).unwrap();
        assert_eq!(chain(&after), Ok(digest));
    }

    #[test]
    fn a_bad_key_set_stops_its_controller_and_an_unknown_leaf_stops_all() {
        let entropy = CountedEntropy::new();
        let fork = published(&KeySetDraft { exp: NOW + 9, ..set_draft() }, &entropy);
        let all = [leaves(), vec![fork]].concat();
        let replica = empty().extend(&all, &checkpoint(&all, NOW), NOW).unwrap();
        let refusal = replica.chain(&"xingyu".parse().unwrap(), NOW).err().unwrap();
        assert_eq!(refusal.reason, Reason::AuthorityForked);
        let unknown = LeafDraft::new("mandate.instruction.revoked", "instructions/x", serde_json::Map::new())
            .seal(GATEWAY, Timestamp::from_second(NOW).unwrap(), &entropy)
            .unwrap();
        let all = [leaves(), vec![unknown.bytes().to_vec()]].concat();
        assert_eq!(reason(empty().extend(&all, &checkpoint(&all, NOW), NOW)), Some(Reason::AuthorityForked));
    }
}
