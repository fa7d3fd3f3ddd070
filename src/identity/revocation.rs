//! Revocation lists (RFC 5280 §5): which certificates an anchor has taken back.
//!
//! A list is required. One that is missing, stale, or not signed by the issuer
//! proves nothing, and then nobody of that issuer gets in: an attacker who can
//! hold a list back must not gain by it. The lists are checked for the whole
//! chain, so an intermediate needs the list of its own issuer in the same file.

use std::path::Path;

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::setup::{SetupError, read};

/// The lists of one anchor: its own and those of its intermediates.
pub struct RevocationLists {
    lists: Vec<CertRevocationList<'static>>,
    /// When each is to be replaced, in seconds.
    next_updates: Vec<i64>,
}

impl RevocationLists {
    /// Reads one or more `X509 CRL` blocks. A list past its next update loads:
    /// it is refused when it is used, so that one stale list stops one anchor
    /// and not the gateway.
    pub fn load(path: &Path) -> Result<Self, SetupError> {
        let pem = read(path)?;
        let mut next_updates = Vec::new();
        let lists = CertificateRevocationListDer::pem_slice_iter(&pem)
            .map(|der| {
                let der = der.map_err(|_| SetupError::file(path, "not a PEM file"))?;
                let list = OwnedCertRevocationList::from_der(&der).map_err(|_| {
                    SetupError::file(path, "holds a list that is no full v2 revocation list (RFC 5280)")
                })?;
                let parsed = CertificateRevocationList::from_der(&der).ok();
                next_updates.extend(parsed.and_then(|(_, list)| Some(list.next_update()?.timestamp())));
                Ok(CertRevocationList::Owned(list))
            })
            .collect::<Result<Vec<_>, SetupError>>()?;
        if lists.is_empty() {
            return Err(SetupError::file(path, "holds no X509 CRL block"));
        }
        Ok(Self { lists, next_updates })
    }

    /// From these seconds on a list is stale.
    pub(super) fn next_updates(&self) -> impl Iterator<Item = i64> {
        self.next_updates.iter().copied()
    }

    /// Runs a check with these lists, in the one strict policy.
    pub(super) fn with_options<T>(&self, check: impl FnOnce(RevocationOptions<'_>) -> T) -> T {
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let options = RevocationOptionsBuilder::new(&lists)
            .expect("load() never makes an empty set")
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        check(options)
    }
}
