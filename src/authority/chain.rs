//! One controller's key sets, from the pinned first to the newest, in the order
//! of the authority log.
//!
//! An agent and a verifier build it from every entry of the log, since only all
//! of the log shows that nothing newer exists.

use crate::domain::{ControllerId, Reason, Refusal};
use crate::token::{Digest, KeySet, SignedKeySet};

#[derive(Debug, Clone)]
struct Link {
    /// Index of its leaf in the authority log.
    index: u64,
    set: KeySet,
}

/// Never empty, without gaps, without forks.
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
        entries: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<Self, Refusal> {
        let mut entries = entries.into_iter();
        let (index, bytes) =
            entries.next().ok_or_else(|| Refusal::new(Reason::KeySetVersion).note("there is no key set"))?;
        let mut chain = Self::begin(controller, [origin], pin, index, SignedKeySet::read(bytes)?)?;
        for (index, bytes) in entries {
            chain.append(index, SignedKeySet::read(bytes)?)?;
        }
        Ok(chain)
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
        // One key has one use and one signer for ever, also after it had left the set for a while.
        for known in self.links().map(|link| &link.set) {
            for (kid, key) in set.keys() {
                if known.key(kid).is_some_and(|old| old.usage != key.usage || old.signer != key.signer) {
                    return Err(Refusal::at(Reason::KeySetMalformed, "key_set.keys")
                        .note("a key changed its use or its signer; make a new key instead"));
                }
            }
        }
        Ok(set)
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
    pub fn at_version(&self, version: u64) -> Option<&KeySet> {
        self.links().map(|link| &link.set).find(|set| set.version() == version)
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
        let again = KeySetChain::from_log(&"xingyu".parse().unwrap(), ORIGIN, &pin, entries).unwrap();
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
