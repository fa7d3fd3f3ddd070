//! One controller's key sets, from the pinned first to the newest, in the order
//! of the authority log.
//!
//! An agent and a verifier build it from every entry of the log, since only all
//! of the log shows that nothing newer exists.
//!
//! Where the root was lost no next version can be signed. Then the controller begins anew at a version 1 whose
//! digest was pinned by hand, and nothing that was only admitted under the sets before is begun any more.

use serde::Serialize;

use crate::domain::{ControllerId, Reason, Refusal};
use crate::token::{Digest, KeySet, SignedKeySet};

#[derive(Debug, Clone)]
struct Link {
    /// Index of its leaf in the authority log.
    index: u64,
    set: KeySet,
}

/// Where a chain broke off and began anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// Resource name.
    pub controller: String,
    /// Leaf of the authority log.
    pub index: u64,
    /// Of the version 1 it begins with.
    pub digest: String,
    /// The last version before, and its digest.
    pub former_version: u64,
    pub former_digest: String,
}

impl std::fmt::Display for Restart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { controller, index, digest, former_version, .. } = self;
        write!(
            f,
            "key-set chain of {controller} broken after version {former_version}, restarts at version 1, digest \
             {digest}, by pin (authority leaf {index})"
        )
    }
}

/// Never empty, without gaps, without forks; restarts only where a pin says so.
#[derive(Debug, Clone)]
pub struct KeySetChain {
    first: Link,
    later: Vec<Link>,
}

impl KeySetChain {
    /// Begins with version 1, whose digest was pinned by hand. `index` is its leaf in the authority log;
    /// `origins` are those that the trail has and had: a set that was published under one stays.
    pub fn begin<'a>(
        controller: &ControllerId,
        origins: impl IntoIterator<Item = &'a str>,
        pin: &Digest,
        index: u64,
        signed: SignedKeySet,
    ) -> Result<Self, Refusal> {
        let known = origins.into_iter().find(|origin| *origin == signed.aud());
        let origin = known.ok_or_else(|| Refusal::at(Reason::KeySetIssuer, "key_set.aud"))?;
        let set = signed.genesis(controller, origin, pin)?;
        Ok(Self { first: Link { index, set }, later: Vec::new() })
    }

    /// Builds the chain from the controller's key sets as they stand in the log.
    pub fn from_log<'a>(
        controller: &ControllerId,
        origin: &str,
        pin: &Digest,
        recovered: &[Digest],
        entries: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<Self, Refusal> {
        let mut entries = entries.into_iter();
        let (index, bytes) =
            entries.next().ok_or_else(|| Refusal::new(Reason::KeySetVersion).note("there is no key set"))?;
        let mut chain = Self::begin(controller, [origin], pin, index, SignedKeySet::read(bytes)?)?;
        for (index, bytes) in entries {
            chain.follow(index, SignedKeySet::read(bytes)?, recovered)?;
        }
        Ok(chain)
    }

    /// Takes what comes next in the log: the next version, or a version 1 that is the next of `recovered`, the
    /// digests pinned by hand for chains that began anew.
    pub fn follow(&mut self, index: u64, signed: SignedKeySet, recovered: &[Digest]) -> Result<(), Refusal> {
        if signed.version() != 1 {
            return self.append(index, signed);
        }
        match recovered.get(self.restarts().count()) {
            Some(pin) if *pin == signed.digest() => self.restart(index, pin, signed),
            _ => Err(Refusal::new(Reason::AuthorityForked).note(format!(
                "the key sets of {} begin anew at version 1, digest {}, and no pin says so",
                self.controller().resource_name(),
                signed.digest()
            ))),
        }
    }

    /// Begins anew at version 1, or leaves the chain as it was.
    pub fn restart(&mut self, index: u64, pin: &Digest, signed: SignedKeySet) -> Result<(), Refusal> {
        if index <= self.newest_link().index {
            return Err(Refusal::new(Reason::AuthorityForked).note("a key set stands out of order"));
        }
        let origin = signed.aud().to_owned();
        let set = signed.genesis(self.controller(), &origin, pin)?;
        self.check_keys(&set)?;
        self.later.push(Link { index, set });
        Ok(())
    }

    /// Where it began anew, in order.
    pub fn restarts(&self) -> impl Iterator<Item = Restart> {
        let links: Vec<&Link> = self.links().collect();
        let pairs: Vec<_> = links.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pairs.into_iter().filter(|(_, link)| link.set.version() == 1).map(|(former, link)| Restart {
            controller: self.controller().resource_name(),
            index: link.index,
            digest: link.set.digest().to_string(),
            former_version: former.set.version(),
            former_digest: former.set.digest().to_string(),
        })
    }

    /// Whether it began anew after the log's first `size` leaves: what was admitted among them is begun no more.
    pub fn restarted_since(&self, size: u64) -> bool {
        self.later.iter().any(|link| link.set.version() == 1 && link.index >= size)
    }

    /// Takes the next version by TUF's rule, or leaves the chain as it was.
    pub fn append(&mut self, index: u64, signed: SignedKeySet) -> Result<(), Refusal> {
        if index <= self.newest_link().index {
            return Err(Refusal::new(Reason::AuthorityForked).note("a key set stands out of order"));
        }
        if self.at_version(signed.version()).is_some_and(|known| known.digest() != signed.digest()) {
            return Err(Refusal::new(Reason::AuthorityForked).note("two key sets of one version"));
        }
        let set = self.successor(signed)?;
        self.later.push(Link { index, set });
        Ok(())
    }

    /// What would be the next version, by TUF's rule.
    pub fn successor(&self, signed: SignedKeySet) -> Result<KeySet, Refusal> {
        let set = signed.succeed(self.newest())?;
        self.check_keys(&set)?;
        Ok(set)
    }

    fn check_keys(&self, set: &KeySet) -> Result<(), Refusal> {
        // One key has one use and one signer for ever, also after it had left the set for a while.
        for known in self.links().map(|link| &link.set) {
            for (kid, key) in set.keys() {
                if known.key(kid).is_some_and(|old| old.usage != key.usage || old.signer != key.signer) {
                    return Err(Refusal::at(Reason::KeySetMalformed, "key_set.keys")
                        .note("a key changed its use or its signer; make a new key instead"));
                }
            }
        }
        Ok(())
    }

    fn links(&self) -> impl DoubleEndedIterator<Item = &Link> {
        std::iter::once(&self.first).chain(&self.later)
    }

    fn newest_link(&self) -> &Link {
        self.later.last().unwrap_or(&self.first)
    }

    pub fn controller(&self) -> &ControllerId {
        self.first.set.iss()
    }
    pub fn newest(&self) -> &KeySet {
        &self.newest_link().set
    }
    /// Of those since it last began.
    pub fn at_version(&self, version: u64) -> Option<&KeySet> {
        for set in self.links().rev().map(|link| &link.set) {
            if set.version() == version {
                return Some(set);
            }
            // What stands before it is another chain's.
            if set.version() == 1 {
                return None;
            }
        }
        None
    }
    /// The newest that is a leaf from `from` on and before `until`.
    pub fn newest_between(&self, from: u64, until: u64) -> Option<&KeySet> {
        let newest = self.links().rev().find(|link| link.index < until)?;
        (newest.index >= from).then_some(&newest.set)
    }
    /// Those at leaves of the authority log from `from` on and before `until`.
    pub fn published_between(&self, from: u64, until: u64) -> impl Iterator<Item = &KeySet> {
        self.links().filter(move |link| (from..until).contains(&link.index)).map(|link| &link.set)
    }
    /// The newest among the first `size` leaves of the authority log.
    pub fn newest_at(&self, size: u64) -> Option<&KeySet> {
        self.links().rev().find(|link| link.index < size).map(|link| &link.set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::fixtures::{ORIGIN, entry, key, key_set, set_draft};
    use crate::token::{KeySetDraft, KeyUse};

    fn signed(draft: &KeySetDraft) -> SignedKeySet {
        SignedKeySet::read(&draft.sign(&[&key("root")]).unwrap()).unwrap()
    }

    fn begun() -> KeySetChain {
        let pin = key_set().digest();
        KeySetChain::begin(&"xingyu".parse().unwrap(), [ORIGIN], &pin, 4, signed(&set_draft())).unwrap()
    }

    fn next(chain: &KeySetChain) -> KeySetDraft {
        let newest = chain.newest();
        KeySetDraft { version: newest.version() + 1, prev: Some(newest.digest()), ..set_draft() }
    }

    #[test]
    fn the_newest_set_is_known_for_every_size_of_the_log() {
        let mut chain = begun();
        chain.append(9, signed(&next(&chain))).unwrap();
        assert_eq!(chain.newest().version(), 2);
        let at = |size| chain.newest_at(size).map(KeySet::version);
        assert_eq!([at(4), at(5), at(9), at(10)], [None, Some(1), Some(1), Some(2)]);
        assert!(chain.at_version(3).is_none());
        let entries = [(4, chain.first.set.bytes()), (9, chain.newest().bytes())];
        let pin = key_set().digest();
        let again = KeySetChain::from_log(&"xingyu".parse().unwrap(), ORIGIN, &pin, &[], entries).unwrap();
        assert_eq!(again.newest().digest(), chain.newest().digest());
    }

    #[test]
    fn gaps_forks_and_wrong_order_are_refused() {
        let mut chain = begun();
        let gap = KeySetDraft { version: 3, ..next(&chain) };
        assert_eq!(chain.append(9, signed(&gap)).unwrap_err().reason, Reason::KeySetVersion);
        let good = next(&chain);
        assert_eq!(chain.append(4, signed(&good)).unwrap_err().reason, Reason::AuthorityForked);
        chain.append(9, signed(&good)).unwrap();
        let fork = KeySetDraft { exp: good.exp + 1, ..good.clone() };
        assert_eq!(chain.append(10, signed(&fork)).unwrap_err().reason, Reason::AuthorityForked);
        assert_eq!(chain.append(10, signed(&good)).unwrap_err().reason, Reason::KeySetVersion);
        assert_eq!(chain.newest().version(), 2);
    }

    /// A version 1 under another root.
    fn anew() -> SignedKeySet {
        let mut draft = set_draft();
        draft.keys[0] = entry("root-2", "root-2", KeyUse::Root);
        draft.roles[0].1 = vec![key("root-2").id()];
        SignedKeySet::read(&draft.sign(&[&key("root-2")]).unwrap()).unwrap()
    }

    #[test]
    fn a_chain_whose_root_was_lost_begins_anew_by_pin_alone_and_once() {
        let mut chain = begun();
        chain.append(9, signed(&next(&chain))).unwrap();
        let pin = anew().digest();
        let refusal = chain.follow(12, anew(), &[]).unwrap_err();
        assert_eq!(refusal.reason, Reason::AuthorityForked);
        assert!(refusal.note.unwrap().contains(&pin.to_string()));
        assert!(chain.follow(12, anew(), &[key_set().digest()]).is_err(), "another pin");
        assert!(chain.follow(9, anew(), &[pin]).is_err(), "out of order");
        chain.follow(12, anew(), &[pin]).unwrap();
        assert!(chain.follow(13, anew(), &[pin]).is_err(), "a pin counts once");
        let at = |size| chain.newest_at(size).map(|set| (set.version(), set.digest() == pin));
        assert_eq!([at(9), at(12), at(13)], [Some((1, false)), Some((2, false)), Some((1, true))]);
        assert_eq!((chain.restarted_since(12), chain.restarted_since(13)), (true, false));
        let restart = chain.restarts().next().unwrap();
        assert_eq!((restart.index, restart.former_version), (12, 2));
        assert!(restart.to_string().contains("restarts at version 1"), "{restart}");
        // The lost root signs nothing more; the new one goes on.
        let lost = KeySetDraft { version: 2, prev: Some(pin), ..set_draft() };
        assert_eq!(chain.append(14, signed(&lost)).unwrap_err().reason, Reason::KeySetSignature);
        let mut on = KeySetDraft { version: 2, prev: Some(pin), ..set_draft() };
        on.keys[0] = entry("root-2", "root-2", KeyUse::Root);
        on.roles[0].1 = vec![key("root-2").id()];
        let on = SignedKeySet::read(&on.sign(&[&key("root-2")]).unwrap()).unwrap();
        chain.follow(14, on, &[pin]).unwrap();
        assert_eq!(chain.newest().version(), 2);
    }

    #[test]
    fn a_key_that_left_does_not_come_back_as_anothers() {
        let mut chain = begun();
        let mut without_bob = next(&chain);
        without_bob.keys.remove(3);
        without_bob.roles[5].1.pop();
        without_bob.roles[5].2 = 1;
        without_bob.roles[2].1.pop();
        chain.append(9, signed(&without_bob)).unwrap();
        let mut back = next(&chain);
        back.keys[3] = entry("bob", "carl", KeyUse::Instruction);
        assert_eq!(chain.append(10, signed(&back)).unwrap_err().reason, Reason::KeySetMalformed);
    }
}
