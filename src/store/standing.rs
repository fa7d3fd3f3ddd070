//! What the store is good for now, as far as working with it has shown. Nothing is asked of a store that is well.
//!
//! The writer learns it from its transactions, the session that listens (`listener.rs`) from its line. One failure
//! says little: a connection was cut, or nothing would take that batch. What fails right after it is told; and
//! from the first one on the writer looks, until a transaction that writes goes through.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// In order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Serves {
    /// The database is away.
    Nothing,
    /// Writes do not go through: a full disk, a server that only reads, a clock that is off.
    Reads,
    Everything,
}

/// What each side found last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    writer: Serves,
    /// Whether the session that listens stands, where there may be other gateways.
    listens: bool,
}

impl Standing {
    pub(super) fn begin() -> watch::Sender<Standing> {
        watch::channel(Standing { writer: Serves::Everything, listens: true }).0
    }

    pub fn serves(self) -> Serves {
        if self.listens { self.writer } else { Serves::Nothing }
    }
}

/// Says whether the session that listens stands.
pub(super) fn listens(told: &watch::Sender<Standing>, listens: bool) {
    told.send_if_modified(|standing| std::mem::replace(&mut standing.listens, listens) != listens);
}

/// What the writer makes of its failures.
pub(super) struct Doubt {
    told: watch::Sender<Standing>,
    /// When to look; `None` while all is well.
    look: Option<Instant>,
}

impl Doubt {
    pub(super) fn new(told: watch::Sender<Standing>) -> Self {
        Self { told, look: None }
    }

    pub(super) fn look(&self) -> Option<Instant> {
        self.look
    }

    /// A transaction that wrote something was committed.
    pub(super) fn wrote(&mut self) {
        self.look = None;
        self.tell(Serves::Everything);
    }

    /// A transaction did not begin; `left` is what may still go through.
    pub(super) fn did_not_begin(&mut self, left: Serves, now: Instant) {
        if self.look.is_some() {
            self.tell(left);
        }
        // Whoever comes tries, too: a look is only for when nobody does.
        self.look = Some(now + LOOK);
    }

    /// A batch was not written: its own fault, or the store's. A look tells.
    pub(super) fn did_not_write(&mut self, now: Instant) {
        self.look.get_or_insert(now);
    }

    /// Neither was what a look writes, and no store would refuse that.
    pub(super) fn looked_in_vain(&mut self, now: Instant) {
        self.tell(Serves::Reads);
        self.look = Some(now + LOOK);
    }

    fn tell(&self, writer: Serves) {
        self.told.send_if_modified(|standing| std::mem::replace(&mut standing.writer, writer) != writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubt() -> (Doubt, watch::Receiver<Standing>, impl Fn(u64) -> Instant) {
        let told = Standing::begin();
        let (seen, start) = (told.subscribe(), Instant::now());
        (Doubt::new(told), seen, move |seconds| start + Duration::from_secs(seconds))
    }

    #[test]
    fn one_failure_is_looked_into_and_not_told() {
        let (mut doubt, seen, at) = doubt();
        doubt.did_not_write(at(1));
        doubt.did_not_write(at(2));
        assert_eq!(doubt.look(), Some(at(1)), "at once");
        doubt.wrote();
        doubt.did_not_begin(Serves::Nothing, at(3));
        assert_eq!(doubt.look(), Some(at(3) + LOOK));
        doubt.wrote();
        assert_eq!(doubt.look(), None);
        assert!(!seen.has_changed().unwrap());
    }

    #[test]
    fn what_fails_again_is_told_until_something_is_written() {
        let (mut doubt, mut seen, at) = doubt();
        let mut told = |what| {
            assert!(seen.has_changed().unwrap());
            assert_eq!(seen.borrow_and_update().serves(), what);
        };
        doubt.did_not_write(at(1));
        doubt.looked_in_vain(at(1));
        told(Serves::Reads);
        doubt.did_not_begin(Serves::Nothing, at(2));
        told(Serves::Nothing);
        doubt.looked_in_vain(at(3));
        told(Serves::Reads);
        assert_eq!(doubt.look(), Some(at(3) + LOOK));
        doubt.wrote();
        told(Serves::Everything);
    }

    #[test]
    fn nobody_is_served_while_nothing_is_heard_of_the_other_gateways() {
        let told = Standing::begin();
        let mut doubt = Doubt::new(told.clone());
        let seen = told.subscribe();
        listens(&told, false);
        doubt.wrote();
        assert_eq!(seen.borrow().serves(), Serves::Nothing);
        listens(&told, true);
        assert_eq!(seen.borrow().serves(), Serves::Everything);
    }
}
