//! What the gateway reads again while it runs: certificates, anchors, revocation lists, and the first
//! access keys of its configuration.

use std::sync::Arc;

use super::own_keys::of_certificates;
use super::serve::register_first_keys;
use crate::app::App;
use crate::config::GatewayConfig;
use crate::domain::Reason;
use crate::identity::Reloader;

/// Never ends. `started` is the configuration that the process runs by.
pub async fn keep_current(app: Arc<App>, started: GatewayConfig, mut reloader: Reloader<GatewayConfig>) {
    loop {
        let config = reloader.next().await;
        // Of the door's certificates they are known already; the lines to witnesses read theirs by themselves.
        match of_certificates(&config) {
            Ok(keys) => app.settings.own_keys.add(keys),
            Err(error) => {
                let reason = Reason::MaterialInvalid.code();
                tracing::error!(reason, %error, "keys of the gateway's own certificates are not known");
            }
        }
        if started.needs_restart(&config) {
            tracing::warn!("the configuration also changed in what is read at the start only: restart");
        }
        if let Err(error) = register_first_keys(&app, &config).await {
            // Such an error names files, codes and fields.
            let reason = Reason::MaterialInvalid.code();
            tracing::error!(reason, %error, "an access key of the configuration was not registered");
        }
    }
}
