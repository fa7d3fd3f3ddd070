//! What a process tells its operator: JSON lines on stderr.
//!
//! `RUST_LOG` filters (`tracing-subscriber`'s directives). Nothing here ever receives
//! personal data: callers log classes, reasons and ids.

use tracing_subscriber::EnvFilter;

/// Starts logging. A second call does nothing.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let lines = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr);
    // Whoever reads the log may go away. The subscriber would tell stderr that stderr takes nothing, and panic.
    let lines = lines.log_internal_errors(false);
    // Fails only where a subscriber is there already, as in tests.
    let _ = lines.try_init();
}
