//! When a failed attempt is tried again. The one file that knows the `backoff` crate: the
//! schedule itself lives in the database.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(3600);

/// The delay after attempt `attempt` (from 1): 2 s, 4 s, 8 s, … at most an hour, ±25 %.
/// `jitter` is a random number of the caller's.
pub fn next_delay(attempt: u32, jitter: u64) -> Duration {
    let mut backoff = ExponentialBackoff {
        current_interval: FIRST,
        initial_interval: FIRST,
        // The crate's own jitter reads a global random source; ours is passed in.
        randomization_factor: 0.0,
        multiplier: 2.0,
        max_interval: LONGEST,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut delay = FIRST;
    for _ in 0..attempt.clamp(1, 32) {
        delay = backoff.next_backoff().unwrap_or(LONGEST);
    }
    let quarter = u64::try_from(delay.as_millis() / 4).unwrap_or(u64::MAX).max(1);
    let shift = Duration::from_millis(jitter % (2 * quarter));
    delay.saturating_sub(Duration::from_millis(quarter)) + shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_and_stops_at_an_hour() {
        let middle = |attempt| next_delay(attempt, next_delay_half(attempt));
        fn next_delay_half(attempt: u32) -> u64 {
            // A jitter of exactly a quarter shifts by nothing.
            let base = 2u64.saturating_pow(attempt.min(12)).min(3600);
            base * 1000 / 4
        }
        assert_eq!(middle(1), Duration::from_secs(2));
        assert_eq!(middle(2), Duration::from_secs(4));
        assert_eq!(middle(5), Duration::from_secs(32));
        for attempt in [20, 1000, u32::MAX] {
            assert!(next_delay(attempt, 0) >= Duration::from_secs(2700));
            assert!(next_delay(attempt, u64::MAX) <= Duration::from_secs(4500));
        }
    }
}
