//! How long a file may let no transaction begin.
//!
//! SQLite's locks are the process's. One that the system did not let it give back (a failed `fcntl`) stays
//! taken: every later transaction of this process waits for it in vain, and only a new process is rid of it.

use std::time::Duration;

use tokio::time::Instant;

/// From the first failure on, with no success in between.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Patience {
    failing_since: Option<Instant>,
}

impl Patience {
    /// A transaction began.
    pub(super) fn restore(&mut self) {
        self.failing_since = None;
    }

    /// One did not begin: whether that is enough.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        now - *self.failing_since.get_or_insert(now) >= LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_half_a_minute_after_the_first_of_failures_that_nothing_came_between() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        assert!(!patience.is_over(start));
        assert!(!patience.is_over(after(29)));
        patience.restore();
        assert!(!patience.is_over(after(60)), "it counts from before the success");
        assert!(patience.is_over(after(90)));
    }
}
