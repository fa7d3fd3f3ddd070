//! The witnesses of the gateway's configuration: checked, and asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::CliError;
use super::serve::freshness_name;
use crate::app::{App, Witnessing};
use crate::config::GatewayConfig;
use crate::https::Line;
use crate::identity::{ClientTls, ClientTlsConfig};
use crate::publish::{WitnessLine, witnesses};
use crate::trail::KeyKind;

/// How long a witness may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than that no note can hold beside the gateway's own lines.
const MOST: usize = 32;

/// The witnesses that count, and how many must cosign.
pub fn witnessing(config: &GatewayConfig) -> Result<Witnessing, CliError> {
    let bad = |what: &str| Err(CliError::Plain(format!("the configuration's witnesses: {what}")));
    let required = match &config.witnesses {
        Some(section) => section.required,
        None if config.witness.is_empty() => 0,
        None => return bad("there are [[witness]] entries and no [witnesses] section"),
    };
    let keys: Vec<_> = config.witness.iter().map(|witness| witness.vkey.clone()).collect();
    let distinct = |texts: Vec<&str>| texts.iter().collect::<BTreeSet<_>>().len() == texts.len();
    if keys.iter().any(|key| key.kind() != KeyKind::Cosigner) {
        return bad("a vkey is no cosigner's (type 0x04)");
    }
    if !distinct(config.witness.iter().map(|witness| witness.name.as_str()).collect())
        || !distinct(keys.iter().map(|key| key.name()).collect())
        || keys.iter().map(|key| key.public_key()).collect::<BTreeSet<_>>().len() != keys.len()
    {
        return bad("two have the same name or key");
    }
    if keys.iter().any(|key| key.name() == freshness_name(&config.gateway)) {
        return bad("one has the name of the gateway's own freshness key");
    }
    if required > keys.len() {
        return bad("more are required than there are");
    }
    if keys.len() > MOST {
        return bad("there are more than 32");
    }
    Ok(Witnessing { required, keys })
}

/// Starts asking the witnesses, where there are any.
pub fn start(
    config: &GatewayConfig,
    app: &Arc<App>,
    closing: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, CliError> {
    let Some(section) = config.witnesses.as_ref().filter(|_| !config.witness.is_empty()) else {
        return Ok(None);
    };
    let mut lines = Vec::new();
    for witness in &config.witness {
        let files = ClientTlsConfig {
            ca: witness.ca.clone(),
            certificate: section.certificate.clone(),
            key: section.key.clone(),
            server_name: None,
        };
        let tls = ClientTls::load(&files, app.clock.clone())?;
        let line = Line::new(tls, &witness.url, PATIENCE)?.to_witness(&witness.name)?;
        lines.push(WitnessLine::new(witness.name.clone(), witness.vkey.clone(), line));
    }
    let refresh = Duration::from_secs(section.refresh_seconds.max(1));
    Ok(Some(tokio::spawn(witnesses::run(app.clone(), lines, refresh, closing.clone()))))
}
