//! A small, bounded cache of unwrapped data keys.
//!
//! Not a general cache crate: those drop an evicted value when it suits them, and an evicted key has
//! to leave memory at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::data_key::{KeyId, KeyMaterial};

/// More than one page of work touches.
pub(super) const CAPACITY: usize = 1024;

#[derive(Default)]
pub(super) struct KeyCache(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    keys: HashMap<KeyId, (u64, Arc<KeyMaterial>)>,
    ticks: u64,
    evictions: u64,
}

impl KeyCache {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // No code under the lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: KeyId) -> Option<Arc<KeyMaterial>> {
        let mut entries = self.lock();
        entries.ticks += 1;
        let now = entries.ticks;
        let (used, material) = entries.keys.get_mut(&id)?;
        *used = now;
        Some(Arc::clone(material))
    }

    pub(super) fn insert(&self, id: KeyId, material: Arc<KeyMaterial>) {
        self.lock().insert(id, material);
    }

    /// To be asked before a key is read, and handed to [`KeyCache::insert_since`].
    pub(super) fn evictions(&self) -> u64 {
        self.lock().evictions
    }

    /// Takes in what was read from the keyring, unless any key was evicted since: it might be this one,
    /// read before it was destroyed.
    pub(super) fn insert_since(&self, evictions: u64, id: KeyId, material: Arc<KeyMaterial>) {
        let mut entries = self.lock();
        if entries.evictions == evictions {
            entries.insert(id, material);
        }
    }

    pub(super) fn evict(&self, ids: &[KeyId]) {
        let mut entries = self.lock();
        entries.evictions += 1;
        for id in ids {
            entries.keys.remove(id);
        }
    }

    pub(super) fn clear(&self) {
        let mut entries = self.lock();
        entries.evictions += 1;
        entries.keys.clear();
    }
}

impl Entries {
    fn insert(&mut self, id: KeyId, material: Arc<KeyMaterial>) {
        self.ticks += 1;
        self.keys.insert(id, (self.ticks, material));
        if self.keys.len() > CAPACITY {
            self.drop_oldest_quarter();
        }
    }

    /// A quarter at once, so that a full cache does not look for its oldest key at every insert.
    fn drop_oldest_quarter(&mut self) {
        let mut used: Vec<u64> = self.keys.values().map(|(used, _)| *used).collect();
        let (_, limit, _) = used.select_nth_unstable(CAPACITY / 4);
        let limit = *limit;
        self.keys.retain(|_, (used, _)| *used > limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{FixedClock, SystemEntropy};

    fn id(slot: u32) -> KeyId {
        KeyId::new(&FixedClock::at(1_800_000_000), &SystemEntropy, Some(slot))
    }

    #[test]
    fn the_cache_stays_within_its_bound_and_keeps_what_was_used_last() {
        let cache = KeyCache::default();
        let favourite = id(0);
        cache.insert(favourite, Arc::new(KeyMaterial::derive(&[7; 32])));
        for slot in 1..=3 * CAPACITY as u32 {
            cache.insert(id(slot), Arc::new(KeyMaterial::derive(&[1; 32])));
            assert!(cache.get(favourite).is_some(), "the key in constant use was dropped at insert {slot}");
            assert!(cache.lock().keys.len() <= CAPACITY);
        }
    }

    #[test]
    fn an_evicted_key_leaves_memory_at_once() {
        let cache = KeyCache::default();
        let material = Arc::new(KeyMaterial::derive(&[7; 32]));
        let watch = Arc::downgrade(&material);
        let id = id(1);
        cache.insert(id, material);
        cache.evict(&[id]);
        assert!(watch.upgrade().is_none(), "the cache still holds the key after evict");
    }

    #[test]
    fn what_was_read_before_an_eviction_does_not_come_back_after_it() {
        let cache = KeyCache::default();
        let material = Arc::new(KeyMaterial::derive(&[7; 32]));
        let before = cache.evictions();
        cache.evict(&[id(1)]);
        cache.insert_since(before, id(1), Arc::clone(&material));
        assert!(cache.get(id(1)).is_none());
        let before = cache.evictions();
        cache.clear();
        cache.insert_since(before, id(1), Arc::clone(&material));
        assert!(cache.get(id(1)).is_none());
        let before = cache.evictions();
        let key = id(1);
        cache.insert_since(before, key, material);
        assert!(cache.get(key).is_some());
    }
}
