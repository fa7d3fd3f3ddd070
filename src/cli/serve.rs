//! `mandate serve`: runs the gateway until SIGTERM or SIGINT.
//!
//! Exits with 1 when the writer stops for good: what the store says can no longer be
//! trusted to grow, and a supervisor must start the process anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::own_keys::own_keys;
use super::{CliError, files, serve_reload, serve_witnesses};
use crate::app::{App, AppResult, Registering, Retention, Settings};
use crate::config::{BootstrapKey, GatewayConfig, Place, RetentionSeconds, Server, folder_of};
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::{Clock, Entropy};
use crate::identity::reload::Before;
use crate::identity::{Acceptor, Configured, LogRefusals, Materials, Reloader};
use crate::publish::LogFiles;
use crate::say;
use crate::sql::PostgresUrl;
use crate::store::{Database, LogKey, LogKeys, Origins, Store, registry};
use crate::token::{KeyId, PublicJwk, base64url};
use crate::trail::{CosigningKey, SigningKey};
use crate::vault::{EpochKeys, Keyring, KeyringPlace, Vault};

/// Who registered the access keys of the configuration, in their leaves.
const BOOTSTRAP: &str = "operators/bootstrap";

#[derive(Debug, Args)]
pub struct Serve {
    /// gateway.toml
    #[arg(long)]
    config: PathBuf,
}

impl Serve {
    pub async fn run(self) -> Result<(), CliError> {
        crate::telemetry::start();
        let (stop, hangup) = (stop_signal()?, hangup_signal()?);
        let before = Before::reading::<GatewayConfig>(&self.config);
        let config = GatewayConfig::load(&self.config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let app = open(&config, clock.clone(), Arc::new(SystemEntropy)).await?;
        register_first_keys(&app, &config).await?;
        let swept = app.sweep_orphan_keys().await.map_err(CliError::plain)?;
        tracing::info!(swept, "orphan keys destroyed");

        let materials = Materials::load(&config.material())?;
        let acceptor = Acceptor::new(materials.clone(), clock, Arc::new(LogRefusals))?
            .at_most_each(config.limits.connections);
        let listener = TcpListener::bind(&config.listen)
            .await
            .map_err(|error| CliError::Plain(format!("cannot listen on {}: {error}", config.listen)))?;
        let address = listener.local_addr().map_err(CliError::plain)?;

        let (ended, how) = tokio::sync::oneshot::channel();
        let keeper = tokio::spawn(keep_house(app.clone(), config.housekeeping_seconds));
        let marking = tokio::spawn({
            let app = app.clone();
            async move { app.keep_marking().await }
        });
        let closing = CancellationToken::new();
        let publisher = publish(&config, &app, &materials, &closing).await?;
        let asking = serve_witnesses::start(&config, &app, &closing)?;
        let every = Duration::from_secs(config.reload_seconds);
        let reloader = Reloader::new(before, &self.config, materials, every, hangup);
        let reloading = tokio::spawn(serve_reload::keep_current(app.clone(), config.clone(), reloader));
        say!("listening on {address}");
        let mut broken = app.store.fatal();
        let until = async move {
            tokio::select! {
                () = stop => tracing::info!("stopping"),
                // Also where the writer is gone without a word: a panic.
                _ = broken.wait_for(|fatal| *fatal) => {
                    tracing::error!("the writer has stopped for good");
                    let _ = ended.send(());
                }
            }
        };
        let served = accept(app.clone(), listener, acceptor, config.gateway, until).await;
        keeper.abort();
        reloading.abort();
        closing.cancel();
        if let Some(publisher) = publisher {
            // Ends within its own grace; a panic there is in the log already.
            let _ = publisher.await;
        }
        if let Some(asking) = asking {
            let _ = asking.await;
        }
        marking.abort();
        app.close().await.map_err(CliError::plain)?;
        if { how }.try_recv().is_ok() {
            return Err(CliError::plain("the writer has stopped for good; see the log"));
        }
        served
    }
}

/// The seam to the gRPC surface.
async fn accept(
    app: Arc<App>,
    listener: TcpListener,
    acceptor: Acceptor,
    audience: String,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), CliError> {
    crate::grpc::server::serve(app, listener, acceptor, audience, stop).await.map_err(CliError::plain)
}

/// Starts publishing the logs, where the configuration says so.
async fn publish(
    config: &GatewayConfig,
    app: &Arc<App>,
    materials: &Materials,
    closing: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, CliError> {
    let Some(section) = &config.publish else { return Ok(None) };
    let acceptor = Acceptor::new(materials.clone(), app.clock.clone(), Arc::new(LogRefusals))?;
    let failed = |error| CliError::Plain(format!("cannot listen on {}: {error}", section.listen));
    let listener = TcpListener::bind(&section.listen).await.map_err(failed)?;
    say!("publishing on {}", listener.local_addr().map_err(failed)?);
    let (files, stop) = (Arc::new(LogFiles(app.clone())), closing.clone().cancelled_owned());
    Ok(Some(tokio::spawn(crate::https::serve(listener, acceptor, files, stop))))
}

/// Opens store, vault and keys as the configuration says.
pub async fn open(
    config: &GatewayConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<App>, CliError> {
    let origins = origins(config);
    let keys = log_keys(config, &origins)?;
    open_with(config, origins, keys, clock, entropy).await
}

/// The same with other log keys than the configuration's.
pub async fn open_with(
    config: &GatewayConfig,
    origins: Origins,
    keys: LogKeys,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<App>, CliError> {
    let freshness =
        CosigningKey::from_seed(&freshness_name(&config.gateway), &*seed(&config.log_keys.freshness)?)
            .map_err(CliError::plain)?;
    let own = own_keys(config, &keys, freshness.verifier_key())?;
    make_folders(config)?;
    let database = database(&config.database)?;
    let keyring = keyring(&config.keyring)?;
    files::make_folder(&config.exports)?;
    // Before anything is signed, made or destroyed.
    if let Some(mark) = keyring.mark(&origins.trail()).await.map_err(CliError::plain)? {
        database.demand_reaches(mark.size).await.map_err(CliError::plain)?;
    }
    let store = Store::open(&database, origins, keys, clock.clone(), entropy.clone())
        .await
        .map_err(CliError::plain)?;
    let epochs = EpochKeys::load(&config.epochs).map_err(CliError::plain)?;
    let keyring =
        Keyring::open(&keyring, epochs, clock.clone(), entropy.clone()).await.map_err(CliError::plain)?;
    let vault = Vault::new(keyring, entropy.clone());
    let settings = settings(config, own)?;
    let app = Arc::new(App::new(Arc::new(store), vault, clock, entropy, settings, freshness));
    app.load_cosignatures().await.map_err(CliError::plain)?;
    app.mark_trail().await.map_err(CliError::plain)?;
    Ok(app)
}

/// Names of the two logs.
pub fn origins(config: &GatewayConfig) -> Origins {
    let origins = Origins::new(&config.gateway);
    match &config.trail_name {
        Some(name) => Origins { trail_name: name.clone(), ..origins },
        None => origins,
    }
}

/// The keys that sign both logs; beside a key's file the next one's, while it is being replaced.
pub fn log_keys(config: &GatewayConfig, origins: &Origins) -> Result<LogKeys, CliError> {
    Ok(LogKeys {
        trail: log_key(&origins.trail(), &config.log_keys.trail)?,
        authority: log_key(&origins.authority(), &config.log_keys.authority)?,
    })
}

fn log_key(origin: &str, file: &Path) -> Result<LogKey, CliError> {
    let next = next_file(file);
    let next = next.exists().then(|| signing_key(origin, &next)).transpose()?;
    Ok(LogKey { now: signing_key(origin, file)?, next })
}

/// The log's key in that file.
pub fn signing_key(origin: &str, file: &Path) -> Result<SigningKey, CliError> {
    SigningKey::from_seed(origin, &*seed(file)?).map_err(CliError::plain)
}

/// Where the key lies that takes the place of the one in `file`.
pub fn next_file(file: &Path) -> PathBuf {
    let mut next = file.as_os_str().to_owned();
    next.push(".next");
    next.into()
}

/// Where the configuration says the state lies. Nothing is made.
pub fn database(place: &Place) -> Result<Database, CliError> {
    Ok(match place {
        Place::File(path) => Database::Sqlite(path.clone()),
        Place::Server(server) => Database::Postgres(url(server)?),
    })
}

/// Where the configuration says the data keys lie. Nothing is made.
pub fn keyring(place: &Place) -> Result<KeyringPlace, CliError> {
    Ok(match place {
        Place::File(path) => KeyringPlace::File(path.clone()),
        Place::Server(server) => KeyringPlace::Postgres(url(server)?),
    })
}

/// Makes the folders that the database and the keyring of the configuration lie in.
pub fn make_folders(config: &GatewayConfig) -> Result<(), CliError> {
    for place in [&config.database, &config.keyring] {
        if let Place::File(path) = place {
            files::make_folder(&folder_of(path))?;
        }
    }
    Ok(())
}

/// The connection URL in the file that the configuration names.
pub fn url(Server { postgres_url_file }: &Server) -> Result<PostgresUrl, CliError> {
    Ok(PostgresUrl::new(files::read_text(postgres_url_file)?.trim()))
}

/// Name of the cosigner that dates the authority head.
pub fn freshness_name(gateway: &str) -> String {
    format!("{gateway}/freshness")
}

/// How long what is sealed stays.
pub fn retention(config: &GatewayConfig) -> Retention {
    let RetentionSeconds { request, message, instruction, refusal } = config.retention;
    Retention { request, message, instruction, refusal }
}

fn settings(config: &GatewayConfig, own_keys: BTreeSet<KeyId>) -> Result<Settings, CliError> {
    Ok(Settings {
        exports: config.exports.clone(),
        exports_operated_by: config.residency.exports_operated_by.clone(),
        export_limit: config.limits.export_bytes,
        export_life: config.limits.export_seconds,
        lease: config.limits.lease_seconds,
        attempts: config.limits.attempts,
        retention: retention(config),
        intake: crate::intake::IntakeConfig {
            authserv_id: config.intake.authserv_id.clone(),
            mail_hosts: config.intake.mail_hosts.clone(),
            house_domains: config.intake.house_domains.clone(),
        },
        house_brands: config.intake.house_brands.clone(),
        witnessing: serve_witnesses::witnessing(config)?,
        tls_keys_per_hour: config.limits.tls_keys_per_hour,
        own_keys: Arc::new(own_keys),
    })
}

/// 32 bytes, base64url, one line.
pub fn seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, CliError> {
    let text = Zeroizing::new(files::read_text(path)?);
    let bytes = base64url::decode(text.trim_end().as_bytes()).map(Zeroizing::new).ok();
    let seed = bytes.and_then(|bytes| bytes.as_slice().try_into().ok()).map(Zeroizing::new);
    seed.ok_or_else(|| CliError::Plain(format!("{}: not 32 bytes in base64url", path.display())))
}

/// Registers the access keys of the configuration that no row has: the first operator's way in.
pub async fn register_first_keys(app: &App, config: &GatewayConfig) -> Result<(), CliError> {
    for key in &config.bootstrap {
        register_first_key(app, key).await?;
    }
    Ok(())
}

/// Registers the key if no row has its thumbprint, revoked or not.
async fn register_first_key(app: &App, first: &BootstrapKey) -> Result<(), CliError> {
    let jwk = files::read(&first.jwk_file)?;
    let key = PublicJwk::from_json(&jwk)?;
    let thumbprint = key.thumbprint().to_string();
    let mut conn = app.store.reader().await.map_err(CliError::plain)?;
    let known = registry::access_key(&mut conn, &thumbprint).await.map_err(CliError::plain)?;
    drop(conn);
    if known.is_none() {
        let who = Registering { by: BOOTSTRAP.to_owned(), request_id: None };
        app.register_access_key(who, &first.principal, &key.canonical()).await.map_err(CliError::plain)?;
        tracing::info!(principal = first.principal, "access key of the configuration registered");
    }
    Ok(())
}

/// Shreds what is due and removes what has ended, every `seconds`. A failure is logged and tried again.
async fn keep_house(app: Arc<App>, seconds: u64) {
    let mut tick = tokio::time::interval(Duration::from_secs(seconds.max(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        note("shred", shred_all(&app).await);
        note("remove exports", app.remove_expired_exports().await);
        note("remove orphan exports", app.remove_orphan_exports().await);
        note("end unleased orders", app.end_unleased_orders().await);
        // Also of other gateways that died: their own next start may never come.
        note(
            "destroy orphan keys",
            app.sweep_orphan_keys().await.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        );
    }
}

async fn shred_all(app: &App) -> AppResult<usize> {
    let mut shredded = 0;
    loop {
        match app.shred_due().await? {
            0 => return Ok(shredded),
            more => shredded += more,
        }
    }
}

fn note(task: &'static str, done: AppResult<usize>) {
    match done {
        Ok(0) => {}
        Ok(count) => tracing::info!(task, count, "housekeeping"),
        Err(error) => tracing::error!(task, %error, "housekeeping failed"),
    }
}

/// Ends at the first SIGTERM or SIGINT. From here on the process handles them.
pub fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::plain)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::plain)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// SIGHUPs. From here on one no longer ends the process.
pub fn hangup_signal() -> Result<Signal, CliError> {
    signal(SignalKind::hangup()).map_err(CliError::plain)
}
