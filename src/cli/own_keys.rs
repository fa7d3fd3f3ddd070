//! The keys that a gateway has or answers for: nobody registers one of them (DESIGN §5: one key, one use, one
//! principal).
//!
//! They are read from the configuration's files when the gateway starts, and those of certificates again with each
//! set that is loaded anew. No leaf claims them: what a verifier needs of them it has as pins.

use std::collections::BTreeSet;
use std::path::Path;

use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CliError, files};
use crate::config::GatewayConfig;
use crate::identity::tls_key::canonical_jwk;
use crate::store::LogKeys;
use crate::token::KeyId;
use crate::trail::VerifierKey;

/// Thumbprints of what signs and dates the logs, of the witnesses, of the gateway's own certificates and of the
/// authorities of everybody's.
pub(super) fn own_keys(
    config: &GatewayConfig,
    logs: &LogKeys,
    freshness: &VerifierKey,
) -> Result<BTreeSet<KeyId>, CliError> {
    let of = |vkey: &VerifierKey| KeyId::of_ed25519(vkey.public_key());
    let mut keys = BTreeSet::from([of(freshness)]);
    for log in [&logs.trail, &logs.authority] {
        keys.extend(
            [Some(&log.now), log.next.as_ref()].into_iter().flatten().map(|key| of(key.verifier_key())),
        );
    }
    keys.extend(config.witness.iter().map(|witness| of(&witness.vkey)));
    keys.extend(of_certificates(config)?);
    Ok(keys)
}

/// Thumbprints of the gateway's own certificates and of the authorities of everybody's, as the files are now.
pub(super) fn of_certificates(config: &GatewayConfig) -> Result<BTreeSet<KeyId>, CliError> {
    let mut keys = BTreeSet::new();
    for file in certificates(config) {
        keys.extend(in_certificates(file)?);
    }
    Ok(keys)
}

fn certificates(config: &GatewayConfig) -> impl Iterator<Item = &Path> {
    let anchors = config.anchors.iter().map(|anchor| &anchor.certificate);
    let calls = config.witnesses.iter().map(|section| &section.certificate);
    let of_witnesses = config.witness.iter().map(|witness| &witness.ca);
    let all = [&config.tls.certificate].into_iter().chain(anchors).chain(calls).chain(of_witnesses);
    all.map(std::path::PathBuf::as_path)
}

/// Keys of each certificate in a PEM file. Types that nobody can register are left out.
pub(super) fn in_certificates(path: &Path) -> Result<Vec<KeyId>, CliError> {
    let bytes = files::read(path)?;
    let wrong = || CliError::Plain(format!("{}: not a PEM CERTIFICATE", path.display()));
    let mut keys = Vec::new();
    for pem in Pem::iter_from_buffer(&bytes) {
        let pem = pem.map_err(|_| wrong())?;
        if pem.label == "CERTIFICATE" {
            let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| wrong())?;
            keys.extend(canonical_jwk(certificate.public_key()).map(|jwk| KeyId::of_canonical_jwk(&jwk)));
        }
    }
    Ok(keys)
}
