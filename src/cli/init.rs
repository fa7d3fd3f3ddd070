//! `mandate init`: a whole development set-up in one folder.
//!
//! Keys lie unencrypted, readable by their owner alone. For development and demo only.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, files, init_config, init_keys, sample_store};
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::{Clock, Entropy};
use crate::say;

/// The sample rows that everyone gets who asks for no others.
pub const SEED: u64 = 1;

#[derive(Debug, Args)]
pub struct Init {
    /// Folder to make; must be absent or empty
    dir: PathBuf,
    /// Port the gateway will listen on
    #[arg(long, default_value_t = 7443)]
    port: u16,
    /// Port on which the gateway will publish its logs; it does not where absent
    #[arg(long)]
    publish: Option<u16>,
    /// Which sample rows to invent; keys are random always
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

/// What a set-up came to.
pub struct SetUp {
    pub rows: u64,
    pub keys: init_keys::MadeKeys,
}

impl Init {
    pub async fn run(self) -> Result<(), CliError> {
        let made =
            set_up_with(&self.dir, self.port, self.publish, self.seed, &SystemClock, &SystemEntropy).await?;
        let dir = self.dir.display();
        say!("Made {dir}: for development only, its keys are not encrypted.");
        say!("  gateway.toml  agent.toml  pins.toml  registry.toml  profiles/  keys/  ca/");
        say!("  store/        {} invented rows in rtc.sqlite and accounts.sqlite", made.rows);
        say!("Key sets, to confirm over a second channel:");
        for (controller, digest) in &made.keys.key_sets {
            say!("  {controller:<11} {digest}");
        }
        say!("Next:");
        say!("  mandate serve --config {dir}/gateway.toml");
        say!("  mandate registry apply --profile {dir}/profiles/operator.toml {dir}/registry.toml");
        say!("  mandate agent --config {dir}/agent.toml");
        Ok(())
    }
}

/// Makes a set-up as of now.
pub async fn make(dir: &Path, port: u16, seed: u64) -> Result<SetUp, CliError> {
    set_up(dir, port, seed, &SystemClock, &SystemEntropy).await
}

/// Makes everything but a place to publish; refuses a folder that has something in it.
pub async fn set_up(
    dir: &Path,
    port: u16,
    seed: u64,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<SetUp, CliError> {
    set_up_with(dir, port, None, seed, clock, entropy).await
}

async fn set_up_with(
    dir: &Path,
    port: u16,
    publish: Option<u16>,
    seed: u64,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<SetUp, CliError> {
    if files::is_used(dir)? {
        return Err(CliError::Plain(format!("{} is not empty; nothing was changed", dir.display())));
    }
    for folder in ["data/exports", "agent/spool", "store"] {
        files::make_folder(&dir.join(folder))?;
    }
    let now = clock.now();
    let keys = init_keys::make(dir, now, entropy)?;
    init_config::write(dir, port, publish, now, &keys)?;
    let store = sample_store::generate(&dir.join("store"), seed, now.as_second())
        .await
        .map_err(|_| CliError::plain("the sample store could not be written"))?;
    Ok(SetUp { rows: store.rows, keys })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::GatewayConfig;
    use crate::domain::Timestamp;
    use crate::identity::Anchors;

    const NOW: i64 = 1_795_000_000;

    fn made(dir: &Path) -> init_keys::MadeKeys {
        let now = Timestamp::from_second(NOW).unwrap();
        let keys = init_keys::make(dir, now, &SystemEntropy).unwrap();
        init_config::write(dir, 7443, Some(7444), now, &keys).unwrap();
        keys
    }

    #[tokio::test]
    async fn a_gateway_opens_on_what_was_made_and_its_logs_have_the_pinned_keys() {
        let dir = tempfile::tempdir().unwrap();
        let keys = made(dir.path());
        let config = GatewayConfig::load(&dir.path().join("gateway.toml")).unwrap();
        Anchors::load(&config.trust_domain, &config.anchors).unwrap();
        let clock = Arc::new(crate::domain::clock::FixedClock::at(NOW));
        let app = crate::cli::serve::open(&config, clock, Arc::new(SystemEntropy)).await.unwrap();
        assert_eq!(app.store.keys.trail.verifier_key().to_string(), keys.trail);
        assert_eq!(app.freshness.verifier_key().to_string(), keys.freshness);
    }

    #[test]
    fn a_client_and_its_profile_load() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        let profile = crate::cli::client::Profile::load(&dir.path().join("profiles/xingyu.toml")).unwrap();
        assert!(profile.access_key.exists() && profile.certificate.exists() && profile.pins.exists());
        let controller = profile.controller.unwrap();
        assert_eq!(controller.apps, ["apps/xingyu-live"]);
        assert!(controller.key_set.exists() && controller.export_identity.exists());
    }

    #[test]
    fn the_agent_and_the_verifier_take_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let keys = made(dir.path());
        let agent = crate::agent::AgentConfig::load(&dir.path().join("agent.toml")).unwrap();
        assert_eq!((agent.stores.len(), agent.apps.len(), agent.agreements.len()), (2, 5, 5));
        let pins = files::read_text(&dir.path().join("pins.toml")).unwrap();
        let pins = crate::authority::Pins::parse(&pins).unwrap();
        assert_eq!(pins.controllers.len(), keys.key_sets.len());
        assert_eq!(pins.trail.vkey.to_string(), keys.trail);
        let registry: crate::cli::registry::RegistryFile =
            crate::config::read_toml(&dir.path().join("registry.toml")).unwrap();
        assert_eq!((registry.apps.len(), registry.access_keys.len()), (5, 8));
        for key in &registry.access_keys {
            let text = files::read(&dir.path().join(&key.jwk_file)).unwrap();
            assert!(crate::token::PublicJwk::from_json(&text).is_ok(), "{}", key.principal);
        }
    }

    #[tokio::test]
    async fn a_folder_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine"), "1").unwrap();
        assert!(set_up(dir.path(), 1, 1, &SystemClock, &SystemEntropy).await.is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
