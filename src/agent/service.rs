//! The process `mandate agent`.
//!
//! It opens what it needs, holds its ledger against the trail's memory of it, and ledger and notebook against the
//! keyring's ([`super::marks`]), and then asks for one order after the other until it is told to stop; in
//! between it destroys what ended executions left ([`super::shredding`]). An
//! order under way is finished first; one that is cut off goes on from the ledger.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::authority::Replica;
use super::config::{AgentConfig, ConfigError};
use super::connectors::sqlite::SqliteStore;
use super::data_map::DataMap;
use super::gateway::Gateway;
use super::ledger::Ledger;
use super::marks::Told;
use super::notebook::Notebook;
use super::orders::Own;
use super::report_key::beside;
use super::sealer::Sealer as _;
use super::shredding::Rounds;
use super::vault_sealer::VaultSealer;
use super::worker::{Site, Worker, passes};
use crate::authority::{Pins, PinsError};
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::{Clock, Entropy, Reason, Refusal};
use crate::grpc::v1;
use crate::identity::SetupError;
use crate::token::PrivateKey;
use crate::vault::{EpochKeys, Keyring, KeyringPlace, Vault, VaultError};

/// Between two questions, where the gateway did not make us wait.
const BREATH: Duration = Duration::from_millis(250);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Pins(#[from] PinsError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("a file of the agent cannot be read: {0}")]
    File(PathBuf),
    #[error("no private JWK: {0}")]
    Key(PathBuf),
    /// A damaged or outdated ledger, a data map that does not fit, a store that is not there.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Runs until `shutdown` is ready.
pub async fn run(config: AgentConfig, shutdown: impl Future<Output = ()> + Send) -> Result<(), AgentError> {
    run_with(config, Arc::new(SystemClock), Arc::new(SystemEntropy), shutdown).await
}

/// The same with a clock and a source of randomness of the caller's.
pub async fn run_with(
    config: AgentConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut worker = open(&config, clock, entropy).await?;
    let done = tokio::select! {
        held = hold_ledger_against_trail(&worker) => held,
        () = &mut shutdown => return close(worker, Ok(())).await,
    };
    if let Err(refusal) = done {
        return close(worker, Err(refusal.into())).await;
    }
    tracing::info!(agent = %worker.agent, stores = worker.sites.len(), "the agent asks for orders");
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = worker.make_round() => {}
        }
        if let Err(refusal) = worker.sealer.note_notebook().await {
            tracing::warn!(%refusal, "the keyring was not told how far the notebook has come");
        }
        let asked = tokio::select! {
            biased;
            () = &mut shutdown => break,
            asked = ask(&mut worker, config.poll_seconds) => asked,
        };
        let pause = match asked {
            Ok(Some(order)) => {
                worker.handle(order).await;
                Duration::ZERO
            }
            Ok(None) => BREATH,
            Err(refusal) => {
                tracing::warn!(%refusal, "the gateway gave no order");
                Duration::from_secs(2)
            }
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    tracing::info!("the agent stops");
    close(worker, Ok(())).await
}

/// One question for an order. Where witnesses are required, not asked while too few of them vouch for
/// the authority log: they may be away for long, and an order would only be put off, at the cost of an
/// attempt. What does not pass by itself is found with the order, so that its refusal is reported.
async fn ask(worker: &mut Worker, wait_seconds: u32) -> Result<Option<v1::Order>, Refusal> {
    if worker.replica.pins().witnesses.required > 0
        && !worker.replica.is_fresh(worker.clock.now_seconds())
        && let Err(refusal) = worker.refresh().await
        && passes(refusal.reason)
    {
        return Err(refusal);
    }
    worker.gateway.lease(wait_seconds).await
}

pub(super) async fn open(
    config: &AgentConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Worker, AgentError> {
    let pins = Arc::new(Pins::parse(&text(&config.pins)?)?);
    let report_key = private_key(&config.report_key)?;
    let former = beside(&config.report_key, ".former");
    let former_report_key = match former.exists() {
        true => Some(private_key(&former)?.public().clone()),
        false => None,
    };
    let access_key = private_key(&config.gateway.access_key)?;
    let gateway = Gateway::load(&config.gateway, &config.agent, access_key, clock.clone(), entropy.clone())?;
    let mut sites = BTreeMap::new();
    for store in &config.stores {
        let map = DataMap::load(&store.map, &store.overlay)?;
        if *map.store() != store.id {
            return Err(Refusal::at(Reason::MapInvalid, "store.id")
                .note("the overlay is another store's")
                .into());
        }
        config.check_region(&store.id, map.region(), clock.now_seconds())?;
        let connector = SqliteStore::open(map.database(), map.statement_timeout()).await?;
        sites.insert(store.id.clone(), Site { map, connector });
    }
    std::fs::create_dir_all(&config.spool).map_err(|_| AgentError::File(config.spool.clone()))?;
    let keyring = KeyringPlace::File(config.keyring.clone());
    // Before anything is made, destroyed or done.
    let told = Told::read(&keyring).await?;
    told.demand_files(&config.notebook(), &config.ledger)?;
    let notebook = Notebook::open(&config.notebook(), &*entropy).await?;
    told.demand_notebook(&notebook.growth().await?)?;
    notebook.watch_trail(&pins.trail.origin, &format!("{}/trail", pins.source())).await?;
    let epochs = EpochKeys::load(&config.epochs)?;
    let keyring = Keyring::open(&keyring, epochs, clock.clone(), entropy.clone()).await?;
    let sealer = VaultSealer::new(Vault::new(keyring, entropy.clone()), notebook.clone());
    let ledger = Ledger::open(&config.ledger, sealer.clone()).await?;
    told.demand_ledger(&ledger).await?;
    if told.may_sweep() {
        sealer.sweep().await?;
    }
    sealer.note_notebook().await?;
    sealer.note_ledger(ledger.anchor().await?).await?;
    let replica = Replica::load(pins, config.freshness_seconds, &notebook.authority_leaves().await?)?;
    Ok(Worker {
        agent: config.agent.clone(),
        gateway,
        replica,
        notebook,
        ledger,
        sealer,
        own: Own {
            stores: sites.keys().cloned().collect(),
            agreements: config.terms(),
            bindings: config.bindings(),
        },
        sites,
        spool: config.spool.clone(),
        report_key,
        former_report_key,
        clock,
        entropy,
        rounds: Rounds::default(),
    })
}

/// A ledger that lacks what it reported must not run: it would erase again, and count as its own what it did not do.
async fn hold_ledger_against_trail(worker: &Worker) -> Result<(), Refusal> {
    let anchor = loop {
        match worker.gateway.anchor().await {
            Ok(anchor) => break anchor,
            Err(refusal) if refusal.reason == Reason::LedgerBehind => return Err(refusal),
            Err(refusal) => {
                tracing::warn!(%refusal, "the gateway does not say where the ledger stood");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    };
    if worker.ledger.contains(anchor).await? { Ok(()) } else { Err(Reason::LedgerBehind.into()) }
}

/// Closes what [`open`] opened.
pub(super) async fn close(worker: Worker, result: Result<(), AgentError>) -> Result<(), AgentError> {
    worker.ledger.close().await;
    for site in worker.sites.values() {
        site.connector.close().await;
    }
    worker.sealer.close().await;
    result
}

fn text(path: &Path) -> Result<String, AgentError> {
    std::fs::read_to_string(path).map_err(|_| AgentError::File(path.to_owned()))
}

/// A private JWK.
pub fn private_key(path: &Path) -> Result<PrivateKey, AgentError> {
    let text = zeroize::Zeroizing::new(text(path)?);
    PrivateKey::from_jwk(text.trim().as_bytes()).map_err(|_| AgentError::Key(path.to_owned()))
}
