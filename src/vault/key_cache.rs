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
        let mut entries = self.lock();
        entries.ticks += 1;
        let now = entries.ticks;
        entries.keys.insert(id, (now, material));
        if entries.keys.len() > CAPACITY {
            entries.drop_oldest_quarter();
        }
    }

    pub(super) fn evict(&self, id: KeyId) {
        self.lock().keys.remove(&id);
    }

    pub(super) fn clear(&self) {
        self.lock().keys.clear();
    }
}

impl Entries {
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
        KeyId::new(&FixedClock::at(1_800_000_000), &SystemEntropy, slot)
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
        cache.evict(id);
        assert!(watch.upgrade().is_none(), "the cache still holds the key after evict");
    }
}
