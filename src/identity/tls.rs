//! The gateway's door: TLS 1.3 with client certificates, and the accept loop.
//!
//! The loop promises: one bad or slow handshake never stops or delays another;
//! the number under way is bounded, and so is the time of each; every connection
//! it yields carries who the peer is. Dropping the stream closes the door and
//! ends the handshakes that are under way.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use super::certificate::{ClientVerifier, RefusalSink};
use super::connection::Connection;
use super::guard::{Guard, LOOK, Watched};
use super::material::Materials;
use super::places::Places;
use super::setup::{SetupError, read};
use super::standing::{ConnectedPeer, Standing};
use crate::domain::{Clock, Reason, Refusal};

/// How long a handshake may take, from the TCP accept on.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many handshakes may be under way at once; more wait in the kernel's queue.
pub const MAX_HANDSHAKES: usize = 512;
/// How long to wait for a refused client to read its alert.
const LINGER: Duration = Duration::from_secs(1);
/// How long to pause when the process cannot accept (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections ready and not yet taken by the server.
const READY: usize = 64;

/// rustls reads the same clock as everything else.
pub(super) struct ClockTime(pub(super) Arc<dyn Clock>);

impl std::fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now_seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Reads a certificate chain and its PKCS#8, SEC1 or PKCS#1 key from PEM.
pub(super) fn certificate_and_key(
    certificate: &std::path::Path,
    key: &std::path::Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SetupError> {
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| SetupError::file(certificate, "not a PEM file"))?;
    if chain.is_empty() {
        return Err(SetupError::file(certificate, "holds no certificate"));
    }
    let key_bytes = zeroize::Zeroizing::new(read(key)?);
    let private = PrivateKeyDer::from_pem_slice(&key_bytes)
        .map_err(|_| SetupError::file(key, "holds no unencrypted private key"))?;
    Ok((chain, private))
}

/// Everything the accept loop needs; also the way to make the server's TLS.
pub struct Acceptor {
    config: Arc<ServerConfig>,
    materials: Materials,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn RefusalSink>,
    handshake_timeout: Duration,
    max_handshakes: usize,
    look: Duration,
    /// None: as many connections as come.
    places: Option<Arc<Places>>,
}

/// TLS 1.3 only, `h2` only, client certificate mandatory. No session tickets:
/// a resumed session would skip the revocation list. Each handshake takes certificate and anchors
/// from what is in force.
pub fn server_config(
    materials: Materials,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn RefusalSink>,
) -> Result<ServerConfig, SetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ClientVerifier::new(materials.clone(), clock.clone(), sink, provider.clone());
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(materials));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

impl Acceptor {
    pub fn new(
        materials: Materials,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn RefusalSink>,
    ) -> Result<Self, SetupError> {
        let config = server_config(materials.clone(), clock.clone(), sink.clone())?;
        Ok(Self {
            config: Arc::new(config),
            materials,
            clock,
            sink,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            max_handshakes: MAX_HANDSHAKES,
            look: LOOK,
            places: None,
        })
    }

    /// What is in force at this door.
    pub fn materials(&self) -> &Materials {
        &self.materials
    }

    /// Speaks this protocol (ALPN, RFC 7301) and no other, instead of `h2`.
    pub fn speaking(mut self, protocol: &[u8]) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = vec![protocol.to_vec()];
        self
    }

    /// Other bounds than [`HANDSHAKE_TIMEOUT`] and [`MAX_HANDSHAKES`]. At least one handshake.
    pub fn with_bounds(mut self, handshake_timeout: Duration, max_handshakes: usize) -> Self {
        self.handshake_timeout = handshake_timeout;
        self.max_handshakes = max_handshakes.max(1);
        self
    }

    /// Compares the clock with the end of open connections at least so often, instead of each [`LOOK`].
    pub fn looking_every(mut self, look: Duration) -> Self {
        self.look = look;
        self
    }

    /// At most so many connections of one principal at once: one more is closed when its handshake is done.
    pub fn at_most_each(mut self, connections: NonZeroU32) -> Self {
        self.places = Some(Places::new(connections));
        self
    }

    /// One handshake. `None`: refused, and reported if a certificate was at fault.
    async fn accept(&self, socket: TcpStream) -> Option<Connection> {
        // tonic's own setting is ignored for streams that are handed in; without it p99 is 44 ms.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(kind = ?error.kind(), "socket gone before the handshake");
            return None;
        }
        let handshake = TlsAcceptor::from(self.config.clone()).accept(socket).into_fallible();
        match tokio::time::timeout(self.handshake_timeout, handshake).await {
            Ok(Ok(tls)) => self.placed(self.identified(tls)),
            Ok(Err((error, socket))) => {
                self.report(&error);
                linger(socket).await;
                None
            }
            Err(_) => {
                tracing::debug!("handshake took too long");
                None
            }
        }
    }

    /// The connection, if its peer may have one more.
    fn placed(&self, connection: Connection) -> Option<Connection> {
        let Some(places) = &self.places else { return Some(connection) };
        let place = places.take(connection.peer());
        if place.is_none() {
            let who = connection.peer().as_ref().map(|peer| peer.spiffe.principal().resource_name());
            tracing::warn!(principal = who.ok(), "closed: as many connections as one may have");
        }
        place.map(|place| connection.holding(place))
    }

    /// Looks at the certificate once more, on what the finished session says it
    /// is: whatever happens inside the handshake, no unchecked peer gets through.
    /// From here on the connection is watched.
    fn identified(&self, tls: TlsStream<TcpStream>) -> Connection {
        let chain: Arc<[CertificateDer<'static>]> = tls
            .get_ref()
            .1
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        // Subscribed before it is judged: what comes in between is judged anew.
        let mut materials = self.materials.subscribe();
        let in_force = materials.borrow_and_update().clone();
        let (peer, until) = match &*chain {
            [leaf, others @ ..] => in_force.material.anchors.judge(leaf, others, self.clock.now()),
            [] => (Err(Reason::CertificateRequired.into()), None),
        };
        if let Err(refusal) = &peer {
            self.sink.refused(refusal);
        }
        let peer = Arc::new(peer);
        if chain.is_empty() {
            return Connection::new(tls, ConnectedPeer::new(peer, None), None);
        }
        let (clock, sink, look) = (self.clock.clone(), self.sink.clone(), self.look);
        let standing = Standing::new(
            chain.clone(),
            peer.clone(),
            self.materials.clone(),
            clock.clone(),
            &in_force,
            until,
        );
        let watched = Watched { chain, peer: peer.clone(), materials, until, clock, sink, look };
        let connected = ConnectedPeer::new(peer, Some(Arc::new(standing)));
        Connection::new(tls, connected, Some(Guard::over(watched)))
    }

    /// The verifier reports chains itself; that none was shown is only known here.
    fn report(&self, error: &io::Error) {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if matches!(tls, Some(rustls::Error::NoCertificatesPresented)) {
            self.sink.refused(&Refusal::new(Reason::CertificateRequired));
        } else {
            tracing::debug!(kind = ?error.kind(), "handshake failed");
        }
    }
}

/// Closes so that the alert arrives: a close with unread bytes would send a
/// reset, which overtakes it. Bounded in time and in bytes.
async fn linger(mut socket: TcpStream) {
    let drain = async {
        socket.shutdown().await?;
        let mut sink = [0u8; 4096];
        for _ in 0..16 {
            if socket.read(&mut sink).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whether the peer stays for the farewell is its own affair.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// Accepts until the stream is dropped. For
/// `tonic::transport::Server::serve_with_incoming_shutdown`, which puts
/// [`ConnectedPeer`] into the extensions of every request.
///
/// The stream never yields an error: one peer's trouble is not the server's.
pub fn serve(listener: TcpListener, acceptor: Acceptor) -> ReceiverStream<io::Result<Connection>> {
    let (ready, stream) = mpsc::channel(READY);
    tokio::spawn(accept_loop(listener, Arc::new(acceptor), ready));
    ReceiverStream::new(stream)
}

async fn accept_loop(
    listener: TcpListener,
    acceptor: Arc<Acceptor>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    // Dropped with this task: the handshakes under way end with the door.
    let mut handshakes = JoinSet::new();
    loop {
        let room = handshakes.len() < acceptor.max_handshakes;
        tokio::select! {
            () = ready.closed() => return,
            Some(_) = handshakes.join_next() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok((socket, _)) => {
                    let (acceptor, ready) = (acceptor.clone(), ready.clone());
                    handshakes.spawn(async move {
                        if let Some(connection) = acceptor.accept(socket).await {
                            // Fails only when the server is shutting down.
                            let _ = ready.send(Ok(connection)).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(kind = ?error.kind(), "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
