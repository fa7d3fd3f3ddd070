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
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::domain::Clock;
use crate::identity::{Acceptor, Anchors, LogRefusals, SetupError};
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
}

/// Opens the memory, listens, calls `ready` with the address, and serves until `stop`.
pub async fn run(
    config: WitnessConfig,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(std::net::SocketAddr),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), WitnessError> {
    let key = CosigningKey::from_seed(&config.name, &*config.seed()?)?;
    let logs = config.logs()?;
    let memory = Memory::open(&config.memory, &logs)?;
    let anchors = Arc::new(Anchors::load(&config.trust_domain, &config.anchors)?);
    let acceptor = Acceptor::new(
        &config.tls.certificate,
        &config.tls.key,
        anchors,
        Arc::clone(&clock),
        Arc::new(LogRefusals),
    )?;
    let failed = |_| WitnessError::Listen(config.listen.clone());
    let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
    ready(listener.local_addr().map_err(failed)?);
    tracing::info!(witness = %key.verifier_key(), logs = logs.len(), "the witness answers");
    let witness = Arc::new(Witness::new(key, logs, memory, clock));
    crate::https::serve(listener, acceptor, witness, stop).await;
    tracing::info!("the witness stops");
    Ok(())
}
