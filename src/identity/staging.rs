//! What the tests of this module stand on: a small world of authorities, and a
//! gateway's door on the loopback.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{AlertDescription, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;

use super::{Acceptor, AnchorConfig, MaterialFiles, Materials, PeerIdentity, RefusalSink, serve};
use crate::cli::dev_ca::{Ca, Issued, Revoked, Validity, issue_ca, issue_client, issue_crl, issue_server};
use crate::domain::clock::{FixedClock, SystemEntropy};
use crate::domain::{Clock, Kind, Reason, Refusal, Timestamp};

/// Where the tests' clock stands at first.
pub(super) const NOW: i64 = 1_795_000_000;
pub(super) const DAY: i64 = 86_400;
pub(super) const TRUST_DOMAIN: &str = "ppio.example";

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(super) fn days(days: i64) -> Validity {
    Validity::days(at(NOW), days)
}

/// Remembers every reason it hears.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<Reason>>, Mutex<Vec<Reason>>);

impl Heard {
    pub(super) fn reasons(&self) -> Vec<Reason> {
        self.0.lock().unwrap().clone()
    }

    /// Why open connections were closed.
    pub(super) fn closings(&self) -> Vec<Reason> {
        self.1.lock().unwrap().clone()
    }
}

impl RefusalSink for Heard {
    fn refused(&self, refusal: &Refusal) {
        self.0.lock().unwrap().push(refusal.reason);
    }

    fn closed(&self, refusal: &Refusal) {
        self.1.lock().unwrap().push(refusal.reason);
    }
}

/// Three authorities: the gateway's own, PPIO's for its staff and agents, and
/// that of the enterprise `xingyu`.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) clock: FixedClock,
    pub(super) gateway: Ca,
    pub(super) staff: Ca,
    pub(super) xingyu: Ca,
}

impl World {
    pub(super) fn new() -> Self {
        let ca = |name| issue_ca(name, days(3650), &SystemEntropy).unwrap();
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            clock: FixedClock::at(NOW),
            gateway: ca("gateway ca"),
            staff: ca("staff ca"),
            xingyu: ca("xingyu ca"),
        };
        let server =
            issue_server(&world.gateway, &["localhost", "127.0.0.1"], days(90), &SystemEntropy).unwrap();
        world.write("gateway-ca.pem", &world.gateway.certificate_pem);
        world.write("server.pem", &server.certificate_pem);
        world.write("server.key", &server.key_pem);
        world.write("staff-ca.pem", &world.staff.certificate_pem);
        world.write("xingyu-ca.pem", &world.xingyu.certificate_pem);
        world.revoke(&world.staff, "staff.crl", &[]);
        world.revoke(&world.xingyu, "xingyu.crl", &[]);
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Writes the list of an authority: good from now for a week.
    pub(super) fn revoke(&self, ca: &Ca, file: &str, serials: &[&[u8]]) {
        let revoked: Vec<_> =
            serials.iter().map(|serial| Revoked { serial: serial.to_vec(), at: at(NOW - 60) }).collect();
        let list = issue_crl(ca, &revoked, 1, at(NOW - 60), at(NOW + 7 * DAY)).unwrap();
        self.write(file, &list);
    }

    pub(super) fn anchor(&self, name: &str, kinds: &[Kind], ids: &[&str]) -> AnchorConfig {
        AnchorConfig {
            certificate: self.path(&format!("{name}-ca.pem")),
            crl: self.path(&format!("{name}.crl")),
            kinds: kinds.to_vec(),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    pub(super) fn anchor_configs(&self) -> Vec<AnchorConfig> {
        let staff = [Kind::Support, Kind::Auditor, Kind::Operator, Kind::Agent, Kind::Witness];
        vec![self.anchor("staff", &staff, &[]), self.anchor("xingyu", &[Kind::Controller], &["xingyu"])]
    }

    pub(super) fn files(&self) -> MaterialFiles {
        MaterialFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            trust_domain: TRUST_DOMAIN.into(),
            anchors: self.anchor_configs(),
        }
    }

    pub(super) fn acceptor(&self, heard: Arc<Heard>) -> Acceptor {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        Acceptor::new(Materials::load(&self.files()).unwrap(), clock, heard).unwrap()
    }

    pub(super) fn xingyu_backend(&self) -> Issued {
        let uri = "spiffe://ppio.example/controller/xingyu/backend";
        issue_client(&self.xingyu, &[uri], days(30), &SystemEntropy).unwrap()
    }

    /// A bare TLS client that shows whatever certificate it is given.
    pub(super) fn client(&self, shown: Option<&Issued>) -> ClientConfig {
        self.client_of_versions(shown, &[&rustls::version::TLS13])
    }

    pub(super) fn client_of_versions(
        &self,
        shown: Option<&Issued>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.gateway.certificate_pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_details(
            Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            Arc::new(super::tls::ClockTime(Arc::new(FixedClock::at(NOW)))),
        )
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(issued) => builder
                .with_client_auth_cert(
                    CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes())
                        .collect::<Result<_, _>>()
                        .unwrap(),
                    PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

/// An open door. Every connection that gets in is told one byte and kept.
pub(super) struct Door {
    pub(super) port: u16,
    pub(super) heard: Arc<Heard>,
    peers: tokio::sync::mpsc::UnboundedReceiver<PeerIdentity>,
    pub(super) server: tokio::task::JoinHandle<()>,
}

/// How a try to get in ended, as the client saw it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    In,
    Alert(AlertDescription),
    Broken(String),
}

impl Door {
    pub(super) async fn open(world: &World) -> Self {
        let heard = Arc::new(Heard::default());
        Self::open_with(world.acceptor(heard.clone()), heard).await
    }

    pub(super) async fn open_with(acceptor: Acceptor, heard: Arc<Heard>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, peers) = tokio::sync::mpsc::unbounded_channel();
        let mut incoming = serve(listener, acceptor);
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(connection) = incoming.next().await {
                let mut connection = connection.unwrap();
                tell.send(connection.peer().clone()).unwrap();
                connection.write_all(b"k").await.unwrap();
                connection.flush().await.unwrap();
                kept.push(connection);
            }
        });
        Self { port, heard, peers, server }
    }

    pub(super) async fn knock(&self, config: ClientConfig) -> Outcome {
        self.knock_with(&Arc::new(config)).await
    }

    pub(super) async fn knock_with(&self, config: &Arc<ClientConfig>) -> Outcome {
        let attempt = async {
            let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = TlsConnector::from(config.clone()).connect(name, socket).await?;
            // With TLS 1.3 the client is done before the server has judged: the first read tells.
            tls.read_u8().await
        };
        match tokio::time::timeout(Duration::from_secs(20), attempt).await.expect("the door answers") {
            Ok(_) => Outcome::In,
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::AlertReceived(alert)) => Outcome::Alert(*alert),
                _ => Outcome::Broken(error.to_string()),
            },
        }
    }

    /// Comes in and stays as long as the stream that is answered.
    pub(super) async fn hold(
        &self,
        config: ClientConfig,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
        tls.read_u8().await?;
        Ok(tls)
    }

    /// Knocks with a certificate that passes the handshake; who the gateway says it is.
    pub(super) async fn identity(&mut self, config: ClientConfig) -> PeerIdentity {
        assert_eq!(self.knock(config).await, Outcome::In);
        self.peers.recv().await.unwrap()
    }
}
