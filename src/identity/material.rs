//! What a door is opened with, and how it is exchanged while the door stands open.
//!
//! [`Material`] is one set: the server's certificate and key, and the anchors with their
//! revocation lists. It loads whole or not at all. [`Materials`] holds the set that is in force
//! and puts the next one in its place at once: a handshake sees the old set or the new one, and
//! every open connection hears of the change ([`super::guard`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::anchors::{AnchorConfig, Anchors};
use super::setup::SetupError;
use super::tls::certificate_and_key;
use super::tls_key::thumbprint_of;
use crate::token::KeyId;

/// The files of one set, as a configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaterialFiles {
    /// PEM: the server's certificate, then its intermediates if any.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// SPIFFE trust domain of all callers.
    pub trust_domain: String,
    pub anchors: Vec<AnchorConfig>,
}

impl MaterialFiles {
    /// Every file of the set.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let anchors = self.anchors.iter().flat_map(|anchor| [&anchor.certificate, &anchor.crl]);
        [&self.certificate, &self.key].into_iter().chain(anchors).map(PathBuf::as_path)
    }
}

/// One set, loaded.
#[derive(Debug)]
pub struct Material {
    pub(super) server: Arc<CertifiedKey>,
    pub(super) anchors: Anchors,
}

impl Material {
    /// Reads every file. A key that is not the certificate's is refused.
    pub fn load(files: &MaterialFiles) -> Result<Self, SetupError> {
        let (chain, key) = certificate_and_key(&files.certificate, &files.key)?;
        let server = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        let anchors = Anchors::load(&files.trust_domain, &files.anchors)?;
        Ok(Self { server: Arc::new(server), anchors })
    }

    /// Thumbprints of the keys in it: of the server's certificates and of every anchor. One of a type that nobody
    /// can register has none.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.server
            .cert
            .iter()
            .filter_map(|certificate| thumbprint_of(certificate))
            .chain(self.anchors.keys())
    }
}

/// A set and its number: each that is put in force has the next.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    pub(super) material: Arc<Material>,
    pub(super) generation: u64,
}

/// The set in force. Clones share it.
#[derive(Debug, Clone)]
pub struct Materials(Arc<watch::Sender<InForce>>);

impl Materials {
    pub fn new(material: Material) -> Self {
        Self(Arc::new(watch::Sender::new(InForce { material: Arc::new(material), generation: 0 })))
    }

    /// Loads the first set.
    pub fn load(files: &MaterialFiles) -> Result<Self, SetupError> {
        Material::load(files).map(Self::new)
    }

    /// Puts the next set in force, for every handshake and every open connection.
    pub fn replace(&self, material: Material) {
        self.0.send_modify(|now| {
            *now = InForce { material: Arc::new(material), generation: now.generation + 1 };
        });
    }

    /// Grows with every set that is put in force.
    pub fn generation(&self) -> u64 {
        self.0.borrow().generation
    }

    pub(super) fn current(&self) -> Arc<Material> {
        self.0.borrow().material.clone()
    }

    /// The set and its number, of one instant.
    pub(super) fn in_force(&self) -> InForce {
        self.0.borrow().clone()
    }

    /// Hears of every set put in force from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<InForce> {
        self.0.subscribe()
    }
}

impl ResolvesServerCert for Materials {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().server.clone())
    }
}
