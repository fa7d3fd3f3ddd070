//! What can be wrong with the material an operator hands to the process.
//!
//! These errors are for the operator at start-up, never for a caller, so they
//! may name files. They never hold the content of one.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The file was read and is not what it should be.
    #[error("{}: {rule}", path.display())]
    File { path: PathBuf, rule: &'static str },
    /// A value of the configuration itself.
    #[error("{field}: {rule}")]
    Field { field: &'static str, rule: &'static str },
    #[error("TLS refuses the certificate and key: {0}")]
    Tls(#[from] rustls::Error),
}

impl SetupError {
    pub(super) fn file(path: &Path, rule: &'static str) -> Self {
        Self::File { path: path.to_owned(), rule }
    }
}

/// Reads a whole file, once, at start-up.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::Read { path: path.to_owned(), source })
}
