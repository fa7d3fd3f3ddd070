//! How many connections each principal has open at a door: no one takes the room of the others.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::certificate::PeerIdentity;
use super::principal::PrincipalId;

/// Who a place is for. Peers whose name is bad share theirs.
type Who = Option<PrincipalId>;

/// The places of one door.
pub(super) struct Places {
    each: u32,
    taken: Mutex<HashMap<Who, u32>>,
}

/// A place that is taken, until it is dropped.
pub(super) struct Place {
    of: Arc<Places>,
    who: Who,
}

impl Places {
    pub(super) fn new(each: NonZeroU32) -> Arc<Self> {
        Arc::new(Self { each: each.get(), taken: Mutex::default() })
    }

    /// None: this peer has as many connections as it may.
    pub(super) fn take(self: &Arc<Self>, peer: &PeerIdentity) -> Option<Place> {
        let who = peer.as_ref().ok().map(|peer| peer.spiffe.principal().id().clone());
        let mut taken = self.taken();
        let count = taken.entry(who.clone()).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { of: self.clone(), who })
    }

    /// Numbers that are whole at every line: a thread that panicked left nothing half done.
    fn taken(&self) -> MutexGuard<'_, HashMap<Who, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        if let Some(count) = taken.get_mut(&self.who) {
            *count -= 1;
            // Who is not here takes no memory.
            if *count == 0 {
                taken.remove(&self.who);
            }
        }
    }
}
