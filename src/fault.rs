//! Named places where a test ends the process, at once and without a word, as a power cut would.
//!
//! `MANDATE_FAULT=<name>` ends it the first time it gets there, `<name>:<n>` the n-th time. Only builds
//! with debug assertions look at it: in a release build [`point`] is nothing.

/// Every point, and what has happened there.
pub const POINTS: &[(&str, &str)] = &[
    ("commit.before", "gateway: a batch is written, COMMIT is not sent"),
    ("commit.after", "gateway: COMMIT has returned, neither memory nor a caller knows"),
    ("commit.published", "gateway: memory and watchers know the new heads, no caller is answered"),
    ("cosignature.before", "gateway: a witness has signed, nothing of it is kept"),
    ("cosignature.after", "gateway: the cosignature is kept, nobody has heard"),
    ("upload.synced", "gateway: a package is on the disk, no row names it"),
    ("upload.named", "gateway: a row names the package, the agent is not answered"),
    ("keyring.made", "new data keys are made, not committed"),
    ("keyring.durable", "new data keys are on the disk, not in memory"),
    ("keyring.overwritten", "keys are overwritten, their old bytes may stand in the write-ahead log"),
    ("shred.destroyed", "gateway: data keys whose time is up are destroyed, their rows still name them"),
    ("witness.before", "witness: a head is judged good, nothing is on the disk"),
    ("witness.beside", "witness: the new memory is on the disk beside the old one"),
    ("witness.after", "witness: the new memory is in place, no cosignature has left"),
    ("agent.begun", "agent: the execution is in the ledger, nothing is planned"),
    ("agent.planned", "agent: the plan stands in memory alone"),
    ("agent.recorded", "agent: the plan's rows are sealed in the ledger"),
    ("agent.intended", "agent: a batch is marked as begun, its rows are still there"),
    ("agent.deleted", "agent: its rows are gone from the store, the ledger does not know"),
    ("agent.done", "agent: the ledger knows that they are gone"),
    ("agent.settled", "agent: all batches are done, nothing is read back"),
    ("agent.read_back", "agent: nothing of the subject is left, the outcome is not stored"),
    ("agent.ended", "agent: the outcome is stored, no report is signed"),
    ("agent.returned", "agent: what a contract's end returns is packed and recorded, nothing has left"),
    (
        "agent.handed_over",
        "agent: the gateway has what is returned, the ledger does not know, no row has gone",
    ),
    ("agent.signed", "agent: the report is in the ledger, the gateway has not got it"),
    ("secret.drafted", "a command: a secret is on the disk, not under its name"),
    ("report_key.vouched", "key rotate report: the trail vouches for the next key, the old one still signs"),
    ("report_key.copied", "key rotate report: the old key lies beside itself, it still signs"),
    ("report_key.moved", "key rotate report: the next key signs"),
    ("report_key.retired", "key rotate report: the old key counts no more, it still lies there"),
    ("agent.reported", "agent: the gateway has taken the report, the agent has not noted it"),
];

/// Ends the process here, if a test asked for it.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &'static str) {}

/// Ends the process here, if a test asked for it.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    armed::reach(name);
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: &'static str,
        /// Times still to be let through.
        left: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub(super) fn reach(name: &'static str) {
        let Some(armed) = ARMED.get_or_init(from_environment) else { return };
        if armed.name == name && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            crate::aside!("MANDATE_FAULT: the process ends at {name}");
            // No destructor and no handler runs.
            std::process::abort();
        }
    }

    fn from_environment() -> Option<Armed> {
        let wanted = std::env::var("MANDATE_FAULT").ok()?;
        let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        let known = super::POINTS.iter().find(|(known, _)| *known == name);
        match (known, times.parse()) {
            (Some((name, _)), Ok(times @ 1..)) => Some(Armed { name, left: AtomicU64::new(times) }),
            // A test that waits for a point that is none would wait for ever.
            _ => panic!("MANDATE_FAULT names no point of src/fault.rs"),
        }
    }
}
