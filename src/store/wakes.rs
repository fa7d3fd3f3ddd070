//! Waking those who wait for a change, without waking everybody.
//!
//! A wake is a hint: whoever is woken reads the database again, and also reads it
//! now and then unasked. Losing one costs time, never data.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::{ControllerId, ExecutionId, StoreId};

/// What may change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Something waits to be brought to this controller.
    Deliveries(ControllerId),
    /// An order for this store may be leased.
    Orders(StoreId),
    /// An execution changed.
    Execution(ExecutionId),
}

#[derive(Default)]
pub struct Wakes {
    waiting: Mutex<HashMap<Topic, Arc<Notify>>>,
}

impl Wakes {
    /// The bell of a topic. Arm it (`notified()` + `enable`) before reading, or a change in between is missed.
    pub fn subscribe(&self, topic: Topic) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(waiting.entry(topic).or_default())
    }

    pub(super) fn ring(&self, topics: &[Topic]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in topics {
            if let Some(bell) = waiting.get(topic) {
                bell.notify_waiters();
                if Arc::strong_count(bell) == 1 {
                    waiting.remove(topic);
                }
            }
        }
    }
}
