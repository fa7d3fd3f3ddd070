//! Watches over an open connection: a good handshake is no licence for ever.
//!
//! The peer is judged anew when other material is put in force, and at each instant at which time
//! alone may change the verdict: the end of a certificate of the chain, the next update of a
//! revocation list. A connection whose verdict is no longer that of its handshake is cut: reads and
//! writes fail from then on, whoever waits in them is woken, and its streams and calls end with it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;

use super::certificate::{PeerIdentity, RefusalSink};
use super::material::InForce;
use crate::domain::Clock;

/// The longest wait before the clock is compared with the next instant again: timers run by another
/// clock than certificates do, and that one may be set.
pub const LOOK: Duration = Duration::from_secs(30);

/// Held by the connection; the watch ends with it.
pub(super) struct Guard {
    cut: CancellationToken,
    /// Registers the waker of whoever waits in the connection.
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    _watch: AbortOnDropHandle<()>,
}

impl Guard {
    pub(super) fn over(watched: Watched) -> Self {
        let cut = CancellationToken::new();
        let waiting = Box::pin(cut.clone().cancelled_owned());
        let watch = AbortOnDropHandle::new(tokio::spawn(watched.watch(cut.clone())));
        Self { cut, waiting, _watch: watch }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// An error once the connection is cut. Until then the caller is woken when it is.
    pub(super) fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_cut() || self.waiting.as_mut().poll(cx) == Poll::Ready(()) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the certificate is no longer good",
            ));
        }
        Ok(())
    }
}

/// A peer, what it showed, and what it is judged by.
pub(super) struct Watched {
    /// Leaf first, as the peer sent it.
    pub(super) chain: Arc<[CertificateDer<'static>]>,
    /// The verdict of the handshake.
    pub(super) peer: Arc<PeerIdentity>,
    /// Of the same instant as the verdict, or before.
    pub(super) materials: watch::Receiver<InForce>,
    /// When time alone may change the verdict; seconds.
    pub(super) until: Option<i64>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sink: Arc<dyn RefusalSink>,
    pub(super) look: Duration,
}

impl Watched {
    async fn watch(mut self, cut: CancellationToken) {
        loop {
            let due = due(self.until, self.clock.clone(), self.look);
            tokio::select! {
                // An error: the door is gone, and only time is left to change anything.
                Ok(()) = self.materials.changed() => {}
                () = due => {}
            }
            if !self.still_good() {
                break;
            }
        }
        cut.cancel();
    }

    /// Judges as of now. Says why a connection is to be cut.
    fn still_good(&mut self) -> bool {
        let [leaf, others @ ..] = &*self.chain else { return false };
        let material = self.materials.borrow_and_update().material.clone();
        let (verdict, until) = material.anchors.judge(leaf, others, self.clock.now());
        self.until = until;
        match (&*self.peer, &verdict) {
            (Ok(before), Ok(after)) => before == after,
            // A name that was bad and is bad: every call is answered so.
            (Err(before), Err(after)) if before.reason == after.reason => true,
            // A name that has become good: the peer comes back and is heard.
            (Err(_), Ok(_)) => false,
            (_, Err(refusal)) => {
                self.sink.closed(refusal);
                false
            }
        }
    }
}

/// Comes at that second of the clock, or within `look` of it where the clock was set. None: never.
async fn due(at: Option<i64>, clock: Arc<dyn Clock>, look: Duration) {
    let Some(at) = at else { return std::future::pending().await };
    loop {
        let left = at.saturating_sub(clock.now_seconds());
        match u64::try_from(left) {
            Ok(left) if left > 0 => tokio::time::sleep(look.min(Duration::from_secs(left))).await,
            _ => return,
        }
    }
}
