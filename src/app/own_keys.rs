//! Keys that nobody gets registered and nobody calls with: those the gateway has or answers for (decision 0021).

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::{Reason, Refusal};
use crate::token::KeyId;

/// Thumbprints. More come while the process runs, with each certificate and authority that it reads anew; none goes,
/// since a key that had a use gets no other. Clones share them.
#[derive(Debug, Clone)]
pub struct OwnKeys(Arc<RwLock<BTreeSet<KeyId>>>);

impl OwnKeys {
    pub fn new(keys: BTreeSet<KeyId>) -> Self {
        Self(Arc::new(RwLock::new(keys)))
    }

    pub fn add(&self, keys: impl IntoIterator<Item = KeyId>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }

    pub(super) fn contains(&self, key: &KeyId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// `KEY_ALREADY_USED` where it is one of them.
    pub(super) fn check_not_among(&self, key: &KeyId) -> Result<(), Refusal> {
        match self.contains(key) {
            true => Err(Refusal::at(Reason::KeyAlreadyUsed, "key")),
            false => Ok(()),
        }
    }
}
