//! One witness: what it cosigned last, and how it is asked (C2SP `tlog-witness`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};

use crate::app::{App, AppError};
use crate::domain::Reason;
use crate::https::{Line, LineError};
use crate::store::{Head, Log};
use crate::trail::{AddCheckpoint, Note, NoteSignature, VerifierKey};

const PATH: &str = "add-checkpoint";
/// A few signature lines, or a size.
const ANSWER: usize = 64 * 1024;
/// One answer says what was cosigned last, the next cosigns.
const TRIES: usize = 3;

/// A line to a witness and its key.
pub struct WitnessLine {
    name: String,
    key: VerifierKey,
    line: Line,
    /// The size that it cosigned last, of each log, as far as is known here.
    known: Mutex<HashMap<Log, u64>>,
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the witness: {0}")]
    Line(#[from] LineError),
    /// Our own proof could not be made.
    #[error("no consistency proof: {0}")]
    Proof(#[from] AppError),
    #[error("it cosigned size {0}, and this log is shorter: the database was set back")]
    RolledBack(u64),
    #[error("it cosigned another tree: this log does not continue it")]
    Forked,
    #[error("it refused with {0}")]
    Refused(StatusCode, String),
    #[error("its answer holds no cosignature of its key")]
    NoCosignature,
    /// It changed its mind on the size more than once.
    #[error("it does not say where to begin")]
    Conflict,
    #[error("the turn to ask it was over before it answered")]
    TurnOver,
}

impl Failure {
    fn reason(&self) -> Reason {
        match self {
            Failure::RolledBack(_) => Reason::CheckpointRolledBack,
            Failure::Forked => Reason::CheckpointForked,
            Failure::Line(_) | Failure::Conflict | Failure::TurnOver => Reason::Unavailable,
            Failure::Proof(_) => Reason::Internal,
            Failure::Refused(_, code) => Reason::from_code(code).unwrap_or(Reason::Unavailable),
            Failure::NoCosignature => Reason::SignatureInvalid,
        }
    }

    /// Waiting helps with a witness that is away; with one that refuses only a person does.
    fn passes(&self) -> bool {
        matches!(self, Failure::Line(_) | Failure::Conflict | Failure::Proof(_) | Failure::TurnOver)
    }

    /// How long not to ask again: 0.5 s, 1 s, 2 s, … at most 10 s, or 60 s for what does not pass; ±25 %.
    pub fn delay(&self, failures: u32, jitter: u64) -> Duration {
        let longest = if self.passes() { 10_000 } else { 60_000 };
        let delay = 500_u64.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1)).min(longest);
        Duration::from_millis(delay - delay / 4 + jitter % (delay / 2))
    }

    /// A witness that is away is a warning, and not a new one each time; what no log may do is an error, always.
    pub fn log(&self, witness: &str, log: Log, size: u64, failures: u32) {
        let (reason, log) = (self.reason().code(), log.name());
        if !self.passes() {
            tracing::error!(reason, witness, log, size, "NOT COSIGNED: {self}");
        } else if failures.is_power_of_two() {
            tracing::warn!(reason, witness, log, size, failures, "not cosigned: {self}");
        }
    }
}

impl WitnessLine {
    pub fn new(name: String, key: VerifierKey, line: Line) -> Self {
        Self { name, key, line, known: Mutex::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The witness's cosignature of the head, verified.
    pub async fn ask(&self, app: &App, log: Log, head: &Head) -> Result<NoteSignature, Failure> {
        for _ in 0..TRIES {
            let old = self.known(log).min(head.size);
            let proof = app.consistency(log, old, head.size).await?.hashes;
            let request = AddCheckpoint { old, proof, checkpoint: head.checkpoint.clone() };
            let reply = self.line.call(Method::POST, PATH, request.to_string(), ANSWER).await?;
            match reply.status {
                StatusCode::OK => {
                    let line = self.cosignature(&reply.body, &head.checkpoint)?;
                    self.set_known(log, head.size);
                    return Ok(line);
                }
                StatusCode::CONFLICT => {
                    let size = reply.first_line().and_then(|line| line.parse::<u64>().ok());
                    let size = size.ok_or(Failure::Conflict)?;
                    if size == old {
                        return Err(Failure::Forked);
                    }
                    // Longer than this head, but not than the log: another head was cosigned meanwhile.
                    if size > head.size {
                        let newest = app.newest(log).await?.size;
                        return Err(if size > newest {
                            Failure::RolledBack(size)
                        } else {
                            Failure::Conflict
                        });
                    }
                    self.set_known(log, size);
                }
                StatusCode::UNPROCESSABLE_ENTITY => return Err(Failure::Forked),
                status => {
                    let code = reply.first_line().and_then(|line| line.split(':').next()).unwrap_or_default();
                    return Err(Failure::Refused(status, code.to_owned()));
                }
            }
        }
        Err(Failure::Conflict)
    }

    /// The one line of the witness's key, if it is good. Lines of others are ignored.
    fn cosignature(&self, body: &[u8], checkpoint: &str) -> Result<NoteSignature, Failure> {
        let none = || Failure::NoCosignature;
        let (text, note) = (std::str::from_utf8(body), Note::parse(checkpoint));
        let (text, note) = (text.map_err(|_| none())?, note.map_err(|_| none())?);
        let lines = text.lines().filter_map(|line| NoteSignature::parse(line).ok());
        let own = lines.into_iter().find(|line| self.key.claims(line)).ok_or_else(none)?;
        self.key.verify(note.text(), own.bytes()).map_err(|_| none())?;
        Ok(own)
    }

    fn known(&self, log: Log) -> u64 {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&log).unwrap_or(&0)
    }

    fn set_known(&self, log: Log, size: u64) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(log, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_that_is_away_is_asked_again_soon_and_one_that_refuses_seldom() {
        let away = Failure::Line(LineError::Http);
        for (failures, low, high) in [(1, 375, 625), (2, 750, 1250), (5, 6000, 10000), (60, 7500, 12500)] {
            for jitter in [0, 1, 777, u64::MAX] {
                let delay = away.delay(failures, jitter).as_millis();
                assert!((low..=high).contains(&delay), "{failures}: {delay}");
            }
        }
        assert!(Failure::Forked.delay(60, 0) >= Duration::from_secs(45));
        assert_eq!(Failure::RolledBack(7).reason(), Reason::CheckpointRolledBack);
        let refused = Failure::Refused(StatusCode::NOT_FOUND, "LOG_UNKNOWN".into());
        assert_eq!(refused.reason(), Reason::LogUnknown);
    }
}
