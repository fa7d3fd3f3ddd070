//! The keys that sign the two logs' checkpoints.

use super::tx::Log;
use crate::trail::{Checkpoint, Note, SigningKey, VerifierKey};

/// One log's key; while it is being replaced, the next one beside it: both sign.
#[derive(Debug)]
pub struct LogKey {
    pub now: SigningKey,
    pub next: Option<SigningKey>,
}

impl From<SigningKey> for LogKey {
    fn from(now: SigningKey) -> Self {
        Self { now, next: None }
    }
}

impl LogKey {
    /// The public half of the key in force.
    pub fn verifier_key(&self) -> &VerifierKey {
        self.now.verifier_key()
    }

    /// The public halves of both.
    pub fn verifier_keys(&self) -> Vec<VerifierKey> {
        std::iter::once(&self.now).chain(&self.next).map(|key| key.verifier_key().clone()).collect()
    }

    pub(super) fn sign(&self, head: &Checkpoint) -> Note {
        head.sign_by(&self.now, self.next.as_ref())
    }
}

pub struct LogKeys {
    pub trail: LogKey,
    pub authority: LogKey,
}

impl LogKeys {
    pub fn of(&self, log: Log) -> &LogKey {
        match log {
            Log::Trail => &self.trail,
            Log::Authority => &self.authority,
        }
    }

    /// Whose signature a kept head must bear.
    pub fn verifiers(&self) -> LogVerifiers {
        LogVerifiers { trail: self.trail.verifier_keys(), authority: self.authority.verifier_keys() }
    }
}

/// Public keys of both logs: any of a log's may have signed its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVerifiers {
    pub trail: Vec<VerifierKey>,
    pub authority: Vec<VerifierKey>,
}

impl LogVerifiers {
    pub fn of(&self, log: Log) -> &[VerifierKey] {
        match log {
            Log::Trail => &self.trail,
            Log::Authority => &self.authority,
        }
    }

    /// Adds the keys that ours followed on: what they signed before is this gateway's, too. `leaves` are
    /// of an authority log and need not be proven: a succession bears our own key's signature.
    pub fn with_former<'a>(mut self, leaves: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut successions = crate::authority::successions(leaves);
        // The newest first: each may name the former of the one after it.
        successions.reverse();
        for one in successions {
            for keys in [&mut self.trail, &mut self.authority] {
                if keys.contains(&one.next) && !keys.contains(&one.former) {
                    keys.push(one.former.clone());
                }
            }
        }
        self
    }
}
