//! What went wrong, as it is shown to who typed the command.

use std::fmt;
use std::path::{Path, PathBuf};

use tonic_types::StatusExt;

use crate::config::ConfigError;
use crate::domain::Refusal;
use crate::identity::SetupError;

#[derive(Debug)]
pub enum CliError {
    /// The gateway refused or failed.
    Status(Box<tonic::Status>),
    /// This side refused.
    Refusal(Refusal),
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    Connect(tonic::transport::Error),
    /// Anything else: one sentence.
    Plain(String),
}

impl CliError {
    pub fn plain(text: impl fmt::Display) -> Self {
        CliError::Plain(text.to_string())
    }

    /// For `map_err` on file operations.
    pub fn file(path: &Path) -> impl FnOnce(std::io::Error) -> CliError + '_ {
        move |source| CliError::File { path: path.to_owned(), source }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Status(status) => show_status(status, f),
            CliError::Refusal(refusal) => {
                write!(f, "refused: {}\n  {}", refusal.reason.code(), refusal.reason.what())?;
                if let Some(field) = &refusal.field {
                    write!(f, "\n  at {field}")?;
                }
                if let Some(note) = &refusal.note {
                    write!(f, "\n  {note}")?;
                }
                write!(f, "\n  {}", refusal.reason.remedy())
            }
            CliError::File { path, source } => write!(f, "{}: {source}", path.display()),
            CliError::Connect(error) => {
                write!(f, "no connection to the gateway: {error}")?;
                let mut source = std::error::Error::source(error);
                while let Some(cause) = source {
                    write!(f, "\n  {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
            CliError::Plain(text) => f.write_str(text),
        }
    }
}

/// Reason, what, field and remedy out of the `google.rpc` details.
fn show_status(status: &tonic::Status, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let details = status.get_error_details();
    let Some(info) = details.error_info() else {
        return write!(f, "failed: {:?}\n  {}", status.code(), status.message());
    };
    write!(f, "refused: {}\n  {}", info.reason, status.message())?;
    for violation in details.bad_request().iter().flat_map(|bad| &bad.field_violations) {
        write!(f, "\n  at {}: {}", violation.field, violation.description)?;
    }
    if let Some(remedy) = info.metadata.get("remedy") {
        write!(f, "\n  {remedy}")?;
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        write!(f, "\n  try again in {} s", delay.as_secs().max(1))?;
    }
    Ok(())
}

impl From<tonic::Status> for CliError {
    fn from(status: tonic::Status) -> Self {
        CliError::Status(Box::new(status))
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        CliError::Refusal(refusal)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        CliError::plain(error)
    }
}

impl From<SetupError> for CliError {
    fn from(error: SetupError) -> Self {
        CliError::plain(error)
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_of_the_gateway_shows_reason_field_and_remedy() {
        let mut details = ErrorDetails::new();
        let remedy = [("remedy".to_owned(), "Sign anew.".to_owned())];
        details.set_error_info("INSTRUCTION_EXPIRED", "mandate", remedy);
        details.add_bad_request_violation("payload.exp", "in the past");
        let status = tonic::Status::with_error_details(tonic::Code::InvalidArgument, "It is over.", details);
        let shown = CliError::from(status).to_string();
        assert_eq!(
            shown,
            "refused: INSTRUCTION_EXPIRED\n  It is over.\n  at payload.exp: in the past\n  Sign anew."
        );
    }
}
