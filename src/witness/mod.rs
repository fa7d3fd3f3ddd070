//! The process `mandate witness`: cosigns a log's checkpoints, as C2SP `tlog-witness` says.
//!
//! Small on purpose, and run by somebody who is not the log's operator: an auditor, a controller. It
//! promises one thing: it never signs two histories of one log. What it signed last is on its disk
//! before a cosignature leaves, so the promise outlives `kill -9` ([`memory`]). What breaks the
//! promise of the *log*, a fork or a rollback, is refused, logged as an error with its stable
//! reason, and kept as evidence; the witness itself runs on.

pub mod config;
pub mod cosign;
pub mod memory;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::Clock;
use crate::identity::reload::Before;
use crate::identity::{Acceptor, Configured, LogRefusals, Materials, Reloader, SetupError};
use crate::trail::{CosigningKey, NoteError};

pub use config::{LogEntry, WitnessConfig, WitnessTls};
pub use cosign::Witness;
pub use memory::{Memory, MemoryError};

/// Why a witness does not run.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("the witness's key or name: {0}")]
    Key(#[from] NoteError),
    #[error("{}: not 32 bytes in base64url", .0.display())]
    Seed(PathBuf),
    #[error("cannot listen on {0}")]
    Listen(String),
    #[error("the configuration: {0}")]
    Rule(&'static str),
    /// Names line and member; such a file holds no personal data.
    #[error("{}: {}", .0.display(), .1)]
    Form(PathBuf, String),
}

/// Opens the memory, listens, calls `ready` with the address, and serves until `stop`. Certificates
/// and lists are read again when they change and at each `hangup`.
pub async fn run(
    path: &Path,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(std::net::SocketAddr),
    hangup: Signal,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), WitnessError> {
    let before = Before::reading::<WitnessConfig>(path);
    let config = WitnessConfig::read(path)?;
    let key = CosigningKey::from_seed(&config.name, &*config.seed()?)?;
    let logs = config.logs()?;
    let memory = Memory::open(&config.memory, &logs)?;
    let materials = Materials::load(&config.material())?;
    let every = Duration::from_secs(config.reload_seconds);
    let mut reloader = Reloader::<WitnessConfig>::new(before, path, materials.clone(), every, hangup);
    let acceptor = Acceptor::new(materials, Arc::clone(&clock), Arc::new(LogRefusals))?;
    let failed = |_| WitnessError::Listen(config.listen.clone());
    let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
    ready(listener.local_addr().map_err(failed)?);
    tracing::info!(witness = %key.verifier_key(), logs = logs.len(), "the witness answers");
    let witness = Arc::new(Witness::new(key, logs, memory, clock));
    let watching = Arc::clone(&witness);
    let _reloading = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let config = reloader.next().await;
            watch_anew(&watching, &config).await;
        }
    }));
    crate::https::serve(listener, acceptor, witness, stop).await;
    tracing::info!("the witness stops");
    Ok(())
}

async fn watch_anew(witness: &Witness, config: &WitnessConfig) {
    // It was checked before it was taken.
    let Ok(logs) = config.logs() else { return };
    let keys: Vec<String> = logs.values().flatten().map(ToString::to_string).collect();
    match witness.watch(logs).await {
        Ok(()) => tracing::info!(?keys, "the logs that are watched, and their keys"),
        Err(reason) => tracing::error!(
            reason = reason.code(),
            "the logs as before: a key may go when the log's next one has signed what was cosigned last"
        ),
    }
}
