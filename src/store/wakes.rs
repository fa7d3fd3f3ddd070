//! Waking those who wait for a change, without waking everybody.
//!
//! A wake is a hint: whoever is woken reads the database again, and also reads it
//! now and then unasked. Losing one costs time, never data.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::domain::{ControllerId, ExecutionId, StoreId};

use crate::sql::{Conn, query};

/// PostgreSQL's name for where wakes are heard.
pub(super) const CHANNEL: &str = "mandate";
/// PostgreSQL takes payloads below 8,000 bytes.
const PAYLOAD: usize = 7_900;

/// What may change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Something waits to be brought to this controller.
    Deliveries(ControllerId),
    /// An order for this store may be leased.
    Orders(StoreId),
    /// An execution changed.
    Execution(ExecutionId),
    /// An access key was registered or revoked.
    AccessKeys,
}

impl Topic {
    /// One word a line: ids hold neither spaces nor line ends.
    fn to_line(&self) -> String {
        match self {
            Topic::Deliveries(controller) => format!("deliveries {controller}"),
            Topic::Orders(store) => format!("orders {store}"),
            Topic::Execution(execution) => format!("execution {execution}"),
            Topic::AccessKeys => "access-keys all".to_owned(),
        }
    }

    fn from_line(line: &str) -> Option<Topic> {
        let (kind, id) = line.split_once(' ')?;
        Some(match kind {
            "deliveries" => Topic::Deliveries(id.parse().ok()?),
            "orders" => Topic::Orders(id.parse().ok()?),
            "execution" => Topic::Execution(id.parse().ok()?),
            "access-keys" => Topic::AccessKeys,
            _ => return None,
        })
    }
}

/// Tells the other gateways, with the commit.
pub(super) async fn notify(conn: &mut Conn, topics: &[Topic]) -> Result<(), sqlx::Error> {
    let distinct: std::collections::HashSet<&Topic> = topics.iter().collect();
    let mut payload = String::new();
    for topic in distinct {
        let line = topic.to_line();
        if payload.len() + line.len() >= PAYLOAD {
            query("SELECT pg_notify(?, ?)").bind(CHANNEL).bind(&payload).fetch_all(conn).await?;
            payload.clear();
        }
        payload.push_str(&line);
        payload.push('\n');
    }
    if !payload.is_empty() {
        query("SELECT pg_notify(?, ?)").bind(CHANNEL).bind(&payload).fetch_all(conn).await?;
    }
    Ok(())
}

/// Who waits for what: a topic stands here while somebody holds a bell of it.
#[derive(Default)]
struct Waiting(Mutex<HashMap<Topic, Arc<Notify>>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bell of a topic, for one who waits for it. With the last one the topic is forgotten.
pub struct Bell {
    topic: Topic,
    rings: Arc<Notify>,
    waiting: Arc<Waiting>,
}

impl Bell {
    /// Comes at the next ring after it was armed (`enable`).
    pub fn notified(&self) -> Notified<'_> {
        self.rings.notified()
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        // Bells are made under this lock alone: the map's and this one are the last two.
        if Arc::strong_count(&self.rings) == 2 {
            waiting.remove(&self.topic);
        }
    }
}

#[derive(Default)]
pub struct Wakes {
    waiting: Arc<Waiting>,
    /// Counts changes of the access keys, for those who remember what they verified.
    access_keys: AtomicU64,
}

impl Wakes {
    /// The bell of a topic. Arm it (`notified()` + `enable`) before reading, or a change in between is missed.
    pub fn subscribe(&self, topic: Topic) -> Bell {
        let rings = Arc::clone(self.waiting.lock().entry(topic.clone()).or_default());
        Bell { topic, rings, waiting: Arc::clone(&self.waiting) }
    }

    /// Grows whenever an access key may have been registered or revoked.
    pub fn access_keys_generation(&self) -> u64 {
        self.access_keys.load(Ordering::SeqCst)
    }

    /// Takes what another gateway told.
    pub(super) fn hear(&self, payload: &str) {
        let topics: Vec<Topic> = payload.lines().filter_map(Topic::from_line).collect();
        self.ring(&topics);
    }

    /// Wakes everybody: something may have been missed.
    pub(super) fn ring_all(&self) {
        let waiting = self.waiting.lock();
        self.access_keys.fetch_add(1, Ordering::SeqCst);
        for bell in waiting.values() {
            bell.notify_waiters();
        }
    }

    /// Wakes everybody who waits for one of these.
    pub fn ring(&self, topics: &[Topic]) {
        let waiting = self.waiting.lock();
        for topic in topics {
            if *topic == Topic::AccessKeys {
                self.access_keys.fetch_add(1, Ordering::SeqCst);
            }
            if let Some(bell) = waiting.get(topic) {
                bell.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_topic_is_remembered_as_long_as_somebody_waits_for_it() {
        let wakes = Wakes::default();
        let orders = || Topic::Orders("rtc".parse().expect("an id"));
        let (one, other) = (wakes.subscribe(orders()), wakes.subscribe(orders()));
        let others = wakes.subscribe(Topic::AccessKeys);
        drop(one);
        assert_eq!(wakes.waiting.lock().len(), 2);
        let rung = other.notified();
        wakes.ring(&[orders()]);
        rung.await;
        drop(other);
        assert_eq!(wakes.waiting.lock().len(), 1, "nobody waits for the store's orders");
        drop(others);
        assert!(wakes.waiting.lock().is_empty());
    }
}
