//! The client's side: a channel to the gateway with the workload's certificate.
//!
//! Used by the command, the agent and the tests. The gateway is trusted for one
//! CA and its name is verified; the system's own roots are not consulted.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::certificate::{read_names, sha256};
use super::picture::{Picture, picture};
use super::setup::{SetupError, read};
use super::spiffe::SpiffeId;
use super::tls::{ClockTime, certificate_and_key};
use crate::domain::{Clock, Reason};

/// The files of a client, as they stand in a profile or an agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTlsConfig {
    /// PEM: the CA (or CAs) of the gateway's own certificate.
    pub ca: PathBuf,
    /// PEM: the workload's certificate, then its intermediates if any.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// The name the gateway's certificate must bear, if not the host of the URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

fn seen(files: &ClientTlsConfig) -> Picture {
    picture([&files.ca, &files.certificate, &files.key].map(PathBuf::as_path))
}

fn unused(error: &dyn std::fmt::Display) -> bool {
    let reason = Reason::MaterialInvalid;
    tracing::error!(reason = reason.code(), %error, "{}: the old stay in use", reason.what());
    false
}

/// Seconds between two looks at whether the files have changed.
pub const LOOK: i64 = 5;

/// A client's loaded TLS material.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    spiffe: SpiffeId,
    certificate_sha256: [u8; 32],
    files: ClientTlsConfig,
    clock: Arc<dyn Clock>,
    /// What was loaded, or tried, last; and when it was looked at, in seconds.
    tried: Picture,
    looked: i64,
}

impl ClientTls {
    pub fn load(files: &ClientTlsConfig, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        // Before they are read: a change in between is found at the next look.
        let (tried, looked) = (seen(files), clock.now_seconds());
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&read(&files.ca)?) {
            let root = root.map_err(|_| SetupError::file(&files.ca, "not a PEM file"))?;
            roots
                .add(root)
                .map_err(|_| SetupError::file(&files.ca, "no certificate that can be an anchor"))?;
        }
        if roots.is_empty() {
            return Err(SetupError::file(&files.ca, "holds no certificate"));
        }
        let server_name = match &files.server_name {
            None => None,
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| SetupError::Field {
                field: "server_name",
                rule: "a DNS name or an IP address",
            })?),
        };
        let (chain, key) = certificate_and_key(&files.certificate, &files.key)?;
        let leaf = &chain[0]; // certificate_and_key() returns at least one.
        let spiffe = read_names(leaf)
            .map_err(|_| {
                SetupError::file(&files.certificate, "names not exactly one SPIFFE id (certs/README.md)")
            })?
            .spiffe;
        let certificate_sha256 = sha256(leaf);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(ClockTime(clock.clone())))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let files = files.clone();
        Ok(Self {
            config: Arc::new(config),
            server_name,
            spiffe,
            certificate_sha256,
            files,
            clock,
            tried,
            looked,
        })
    }

    /// Takes up what the files hold now, if that has changed: for the connections and tokens made from
    /// here on. Looks at most each [`LOOK`] seconds. What does not load, or bears another name, is an
    /// error in the log and changes nothing.
    pub fn renew(&mut self) -> bool {
        let now = self.clock.now_seconds();
        // A clock that was set back does not stop it.
        if now.abs_diff(self.looked) < LOOK.unsigned_abs() {
            return false;
        }
        self.looked = now;
        let seen = seen(&self.files);
        if seen == self.tried {
            return false;
        }
        self.tried = seen;
        let mut next = match Self::load(&self.files, self.clock.clone()) {
            Ok(next) if next.spiffe == self.spiffe => next,
            Ok(_) => return unused(&"the certificate bears another name"),
            Err(error) => return unused(&error),
        };
        Arc::make_mut(&mut next.config).alpn_protocols.clone_from(&self.config.alpn_protocols);
        *self = next;
        tracing::info!("the own certificate was loaded anew");
        true
    }

    /// Speaks this protocol (ALPN, RFC 7301) and no other, instead of `h2`.
    pub fn speaking(mut self, protocol: &[u8]) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = vec![protocol.to_vec()];
        self
    }

    /// The name in the client's own certificate: the `sub` of its access tokens.
    pub fn spiffe(&self) -> &SpiffeId {
        &self.spiffe
    }

    /// What the client's access tokens are bound to (`cnf.x5t#S256`).
    pub fn certificate_sha256(&self) -> &[u8; 32] {
        &self.certificate_sha256
    }

    /// Connects now; a certificate that the gateway refuses may show only at the first call (TLS 1.3).
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        let tls = self.clone();
        endpoint
            .connect_with_connector(tower::service_fn(move |uri| {
                let tls = tls.clone();
                async move { tls.dial(&uri).await.map(TokioIo::new) }
            }))
            .await
    }

    /// Connects at the first call, and again whenever the connection is lost.
    pub fn connect_lazy(&self, endpoint: &Endpoint) -> Channel {
        let tls = self.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |uri| {
            let tls = tls.clone();
            async move { tls.dial(&uri).await.map(TokioIo::new) }
        }))
    }

    /// Who the server of a finished handshake is, where its certificate says so. The chain and the
    /// DNS name were checked in the handshake.
    pub fn server_of(stream: &TlsStream<TcpStream>) -> Option<SpiffeId> {
        let [leaf, ..] = stream.get_ref().1.peer_certificates()? else { return None };
        read_names(leaf).ok().map(|peer| peer.spiffe)
    }

    /// One connection to `https://host:port`.
    pub async fn dial(&self, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
        let wrong = |rule| io::Error::new(io::ErrorKind::InvalidInput, rule);
        if uri.scheme_str() != Some("https") {
            return Err(wrong("the URI begins with https://"));
        }
        let host = uri.host().ok_or_else(|| wrong("the URI has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| wrong("the host is no DNS name or address"))?,
        };
        let socket = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        socket.set_nodelay(true)?;
        TlsConnector::from(self.config.clone()).connect(name, socket).await
    }
}
