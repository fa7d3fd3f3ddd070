//! Who stands behind a connection, and whether the peer still is who it was at the handshake.
//!
//! [`super::guard`] cuts a connection whose certificate is no longer good, a moment after; a call that was
//! let in before may still wait for its turn then. Whoever decides it late asks here, and gets the answer
//! of that very instant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::CertificateDer;

use super::certificate::PeerIdentity;
use super::material::{InForce, Materials};
use crate::domain::{Clock, Reason, Refusal};

/// The peer of a connection, as every call on it finds it in its extensions.
#[derive(Clone)]
pub struct ConnectedPeer {
    identity: Arc<PeerIdentity>,
    /// None where no certificate was shown: then there is nothing to judge anew.
    standing: Option<Arc<Standing>>,
    /// Whether the certificate's key is known to be the peer's alone. That is so for ever.
    owns_key: Arc<AtomicBool>,
}

impl ConnectedPeer {
    pub(super) fn new(identity: Arc<PeerIdentity>, standing: Option<Arc<Standing>>) -> Self {
        Self { identity, standing, owns_key: Arc::default() }
    }

    /// The verdict of the handshake.
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    pub fn standing(&self) -> Option<Arc<Standing>> {
        self.standing.clone()
    }

    /// Whether [`ConnectedPeer::note_own_key`] was called on this connection.
    pub fn owns_key(&self) -> bool {
        self.owns_key.load(Ordering::Relaxed)
    }

    /// The certificate's key is on record as the peer's own: nobody asks again on this connection.
    pub fn note_own_key(&self) {
        self.owns_key.store(true, Ordering::Relaxed);
    }
}

/// One that no connection stands behind.
impl From<PeerIdentity> for ConnectedPeer {
    fn from(identity: PeerIdentity) -> Self {
        Self::new(Arc::new(identity), None)
    }
}

/// What a peer showed, and what it is judged by.
pub struct Standing {
    /// Leaf first, as the peer sent it.
    chain: Arc<[CertificateDer<'static>]>,
    /// The verdict of the handshake.
    peer: Arc<PeerIdentity>,
    materials: Materials,
    clock: Arc<dyn Clock>,
    good: Mutex<Good>,
}

/// How long the last verdict holds.
#[derive(Clone, Copy)]
struct Good {
    /// Of the set it was given under.
    generation: u64,
    /// When time alone may change it; seconds.
    until: Option<i64>,
}

impl Standing {
    /// `under` and `until` are those of the verdict.
    pub(super) fn new(
        chain: Arc<[CertificateDer<'static>]>,
        peer: Arc<PeerIdentity>,
        materials: Materials,
        clock: Arc<dyn Clock>,
        under: &InForce,
        until: Option<i64>,
    ) -> Self {
        let good = Mutex::new(Good { generation: under.generation, until });
        Self { chain, peer, materials, clock, good }
    }

    /// Why the peer would not be let in now, if it would not.
    pub fn check(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        let in_force = self.materials.in_force();
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let holds =
            good.generation == in_force.generation && good.until.is_none_or(|until| now.as_second() < until);
        if holds {
            return self.peer.as_ref().as_ref().map(drop).map_err(Clone::clone);
        }
        let [leaf, others @ ..] = &*self.chain else { return Err(Reason::CertificateRequired.into()) };
        let (verdict, until) = in_force.material.anchors.judge(leaf, others, now);
        let verdict = verdict?;
        if self.peer.as_ref().as_ref().is_ok_and(|before| *before == verdict) {
            *good = Good { generation: in_force.generation, until };
            return Ok(());
        }
        // Another than before: it comes back and is heard as that.
        Err(Reason::Unavailable.into())
    }
}
