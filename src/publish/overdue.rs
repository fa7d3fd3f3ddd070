//! Heads that were not cosigned in time, as a gateway sees it that does not ask the witnesses itself: whoever has
//! the turn to ask may not be able to say so any more.

use std::time::Duration;

use tokio::time::Instant;

use super::witnesses::REMINDER;
use crate::app::{App, AppResult};
use crate::domain::Reason;
use crate::store::Log;

/// Longer than it takes to take the turn of a gateway that vanished, and to ask.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is waited for, in each log.
#[derive(Default)]
pub(super) struct Overdue {
    authority: Waiting,
    trail: Waiting,
}

#[derive(Default)]
struct Waiting {
    /// Size of the head that is waited for, and since when.
    head: Option<(u64, Instant)>,
    alarmed: Option<Instant>,
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    Missing,
    Back,
}

impl Overdue {
    /// Compares the newest heads with those that enough witnesses cosigned; says, loudly, where one is late.
    pub(super) async fn look(&mut self, app: &App) -> AppResult<()> {
        if app.settings.witnessing.required == 0 {
            return Ok(());
        }
        let heads = app.store.heads().await?;
        for (log, waiting) in [(Log::Authority, &mut self.authority), (Log::Trail, &mut self.trail)] {
            let vouched = app.vouched(log).await?.map_or(0, |head| head.size);
            let (size, log) = (heads.of(log).size, log.name());
            match waiting.see(size, vouched, Instant::now()) {
                Finding::Nothing => {}
                Finding::Missing => tracing::error!(
                    reason = Reason::WitnessesMissing.code(),
                    log,
                    size,
                    cosigned = vouched,
                    "no head since then is cosigned by enough witnesses, and it is not this gateway's turn to ask them"
                ),
                Finding::Back => tracing::info!(log, size, "enough witnesses have cosigned again"),
            }
        }
        Ok(())
    }
}

impl Waiting {
    fn see(&mut self, newest: u64, vouched: u64, now: Instant) -> Finding {
        match self.head {
            Some((size, since)) if vouched < size => {
                let due = match self.alarmed {
                    Some(last) => now.duration_since(last) >= REMINDER,
                    None => now.duration_since(since) >= PATIENCE,
                };
                if !due {
                    return Finding::Nothing;
                }
                self.alarmed = Some(now);
                Finding::Missing
            }
            // It came, or nothing was waited for; what is newer is waited for from now on.
            _ => {
                self.head = (vouched < newest).then_some((newest, now));
                if self.alarmed.take().is_some() { Finding::Back } else { Finding::Nothing }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_late_is_told_again_and_again_until_it_or_a_later_one_is_cosigned() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut waiting = Waiting::default();
        assert_eq!(waiting.see(5, 5, at(0)), Finding::Nothing);
        assert_eq!(waiting.see(6, 5, at(100)), Finding::Nothing, "it is new");
        // The log grows meanwhile.
        assert_eq!(waiting.see(8, 5, at(129)), Finding::Nothing);
        assert_eq!(waiting.see(9, 5, at(130)), Finding::Missing);
        assert_eq!(waiting.see(9, 5, at(140)), Finding::Nothing, "it was told");
        assert_eq!(waiting.see(9, 5, at(190)), Finding::Missing);
        assert_eq!(waiting.see(9, 6, at(191)), Finding::Back);
        assert_eq!(waiting.see(9, 6, at(220)), Finding::Nothing, "the next one has its own time");
        assert_eq!(waiting.see(9, 6, at(221)), Finding::Missing);
    }

    #[test]
    fn a_log_that_is_cosigned_as_it_grows_is_never_late() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        for n in 0..1000_u64 {
            let now = start + Duration::from_secs(3 * n);
            assert_eq!(waiting.see(n + 4, n, now), Finding::Nothing);
        }
    }
}
