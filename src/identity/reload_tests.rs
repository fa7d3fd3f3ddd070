//! Connections that outlive what let them in, and material that is exchanged under them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;

use super::reload::Before;
use super::staging::{DAY, Heard, NOW, World, at, days};
use super::{
    AnchorConfig, ClientTls, ClientTlsConfig, Configured, Material, MaterialFiles, Materials, Reloader, serve,
};
use crate::cli::dev_ca::{Issued, Validity, issue_client, issue_crl, issue_server};
use crate::domain::clock::SystemEntropy;
use crate::domain::{Kind, Reason};

const XINGYU: &str = "spiffe://ppio.example/controller/xingyu/backend";
const LOOK: Duration = Duration::from_millis(20);

/// A door behind which every byte is sent back.
struct Echo {
    port: u16,
    materials: Materials,
    heard: Arc<Heard>,
}

impl Echo {
    async fn open(world: &World) -> Self {
        let heard = Arc::new(Heard::default());
        let acceptor = world.acceptor(heard.clone()).looking_every(LOOK);
        let materials = acceptor.materials().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut incoming = serve(listener, acceptor);
        tokio::spawn(async move {
            while let Some(Ok(connection)) = incoming.next().await {
                let (mut from, mut to) = tokio::io::split(connection);
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        Self { port, materials, heard }
    }

    async fn enter(&self, world: &World, shown: &Issued) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(world.client(Some(shown))));
        let mut inside = connector.connect(name, socket).await.unwrap();
        assert!(answers(&mut inside).await, "it is let in");
        inside
    }

    /// Puts in force what the files hold now.
    fn reload(&self, world: &World) {
        self.materials.replace(Material::load(&world.files()).unwrap());
    }
}

async fn answers(line: &mut TlsStream<TcpStream>) -> bool {
    let exchange = async {
        line.write_all(b"x").await?;
        line.flush().await?;
        line.read_u8().await
    };
    tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("an answer or an end").is_ok()
}

/// Waits, without a word from the client, until the server has ended the connection.
async fn ends(mut line: TlsStream<TcpStream>) {
    let read = tokio::time::timeout(Duration::from_secs(10), line.read_u8());
    assert!(read.await.expect("the connection ends").is_err());
}

/// Whether it lives on: long enough for many looks, and it still answers.
async fn lives(line: &mut TlsStream<TcpStream>) {
    assert!(tokio::time::timeout(LOOK * 10, line.read_u8()).await.is_err(), "the connection ended");
    assert!(answers(line).await);
}

fn lin(world: &World) -> Issued {
    let uri = "spiffe://ppio.example/operator/lin/desk";
    issue_client(&world.staff, &[uri], days(30), &SystemEntropy).unwrap()
}

#[tokio::test]
async fn a_certificate_revoked_meanwhile_ends_its_own_connection_alone() {
    let world = World::new();
    let door = Echo::open(&world).await;
    let stolen = world.xingyu_backend();
    let taken = door.enter(&world, &stolen).await;
    let mut neighbour = door.enter(&world, &world.xingyu_backend()).await;
    let mut operator = door.enter(&world, &lin(&world)).await;
    door.reload(&world);
    lives(&mut neighbour).await;
    assert!(door.heard.closings().is_empty(), "the same set put in force again ends nothing");

    world.revoke(&world.xingyu, "xingyu.crl", &[&stolen.serial]);
    door.reload(&world);
    ends(taken).await;
    lives(&mut neighbour).await;
    lives(&mut operator).await;
    assert_eq!(door.heard.closings(), [Reason::CertificateRevoked]);
    assert!(door.heard.reasons().is_empty(), "no handshake was refused");
}

#[tokio::test]
async fn who_is_no_longer_vouched_for_is_cut_off() {
    let world = World::new();
    let door = Echo::open(&world).await;
    let mut operator = door.enter(&world, &lin(&world)).await;
    let replace = |anchors: Vec<AnchorConfig>| {
        door.materials.replace(Material::load(&MaterialFiles { anchors, ..world.files() }).unwrap());
    };
    let staff = world.anchor("staff", &[Kind::Operator], &[]);

    let enterprise = door.enter(&world, &world.xingyu_backend()).await;
    replace(vec![staff.clone()]);
    ends(enterprise).await;
    door.reload(&world);
    let enterprise = door.enter(&world, &world.xingyu_backend()).await;
    replace(vec![staff, world.anchor("xingyu", &[Kind::Controller], &["another"])]);
    ends(enterprise).await;
    assert_eq!(door.heard.closings(), [Reason::CertificateUntrusted, Reason::AnchorNotEntitled]);

    // It bears a name that its authority may not give, and is told so at each call. Once it may, it is
    // cut off, and comes back under its name.
    let misnamed = door.enter(&world, &world.xingyu_backend()).await;
    assert_eq!(door.heard.reasons(), [Reason::AnchorNotEntitled]);
    door.reload(&world);
    ends(misnamed).await;
    lives(&mut operator).await;
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let world = World::new();
    let door = Echo::open(&world).await;
    let hour = Validity { not_before: at(NOW - 60), not_after: at(NOW + 3600) };
    let short = issue_client(&world.xingyu, &[XINGYU], hour, &SystemEntropy).unwrap();
    let mut short = door.enter(&world, &short).await;
    let mut long = door.enter(&world, &world.xingyu_backend()).await;
    world.clock.set(NOW + 3600);
    lives(&mut short).await;
    world.clock.advance(1);
    ends(short).await;
    lives(&mut long).await;
    assert_eq!(door.heard.closings(), [Reason::CertificateExpired]);
}

#[tokio::test]
async fn a_connection_ends_when_its_issuers_list_goes_stale() {
    let world = World::new();
    let list = issue_crl(&world.xingyu, &[], 2, at(NOW - 60), at(NOW + 3600)).unwrap();
    world.write("xingyu.crl", &list);
    let door = Echo::open(&world).await;
    let mut enterprise = door.enter(&world, &world.xingyu_backend()).await;
    let mut operator = door.enter(&world, &lin(&world)).await;
    world.clock.set(NOW + 3599);
    lives(&mut enterprise).await;
    // The next list is there in time, and holds for an hour more.
    let list = issue_crl(&world.xingyu, &[], 3, at(NOW - 60), at(NOW + 7200)).unwrap();
    world.write("xingyu.crl", &list);
    door.reload(&world);
    world.clock.set(NOW + 7199);
    lives(&mut enterprise).await;
    world.clock.set(NOW + 7200);
    ends(enterprise).await;
    lives(&mut operator).await;
    assert_eq!(door.heard.closings(), [Reason::RevocationListStale]);
}

#[tokio::test]
async fn a_connection_outlives_the_door_but_not_its_certificate() {
    let world = World::new();
    let acceptor = world.acceptor(Arc::default()).looking_every(LOOK);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut incoming = serve(listener, acceptor);
    let (shown, client) = (world.xingyu_backend(), async |shown: &Issued| {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(world.client(Some(shown)))).connect(name, socket).await.unwrap()
    });
    let (inside, accepted) = tokio::join!(client(&shown), incoming.next());
    let mut accepted = accepted.unwrap().unwrap();
    drop(incoming);
    let waiting = tokio::spawn(async move { accepted.read_u8().await.map_err(|error| error.kind()) });
    tokio::time::sleep(LOOK * 5).await;
    assert!(!waiting.is_finished());
    world.clock.advance(31 * DAY);
    let end = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it ends").unwrap();
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionAborted));
    drop(inside);
}

#[tokio::test]
async fn the_next_handshake_gets_the_next_server_certificate() {
    let world = World::new();
    let door = Echo::open(&world).await;
    let served = |line: &TlsStream<TcpStream>| line.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut first = door.enter(&world, &world.xingyu_backend()).await;
    let next = issue_server(&world.gateway, &["localhost"], days(90), &SystemEntropy).unwrap();
    world.write("server.pem", &next.certificate_pem);
    assert!(Material::load(&world.files()).is_err(), "another certificate's key was taken");
    world.write("server.key", &next.key_pem);
    door.reload(&world);
    let second = door.enter(&world, &world.xingyu_backend()).await;
    assert_ne!(served(&first), served(&second));
    let next = rustls_pki_types::CertificateDer::from_pem_slice(next.certificate_pem.as_bytes()).unwrap();
    assert_eq!(served(&second), next.to_vec());
    lives(&mut first).await;
}

/// A configuration file with nothing but the material.
#[derive(serde::Deserialize)]
struct Plain {
    certificate: PathBuf,
    key: PathBuf,
    anchors: Vec<AnchorConfig>,
}

impl Configured for Plain {
    type Error = std::io::Error;

    fn read(path: &Path) -> Result<Self, std::io::Error> {
        toml::from_str(&std::fs::read_to_string(path)?).map_err(std::io::Error::other)
    }

    fn material(&self) -> MaterialFiles {
        MaterialFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            trust_domain: super::staging::TRUST_DOMAIN.into(),
            anchors: self.anchors.clone(),
        }
    }
}

fn configured(world: &World, anchors: &[AnchorConfig]) -> PathBuf {
    let files = world.files();
    let table = toml::Table::from_iter([
        ("certificate".to_owned(), files.certificate.display().to_string().into()),
        ("key".to_owned(), files.key.display().to_string().into()),
        ("anchors".to_owned(), toml::Value::try_from(anchors).unwrap()),
    ]);
    world.write("plain.toml", &toml::to_string(&table).unwrap())
}

#[tokio::test]
async fn what_changes_is_put_in_force_and_what_does_not_load_is_not() {
    let world = World::new();
    let path = configured(&world, &world.anchor_configs());
    let before = Before::reading::<Plain>(&path);
    let materials = Materials::load(&world.files()).unwrap();
    let hangup = signal(SignalKind::hangup()).unwrap();
    let second = Duration::from_secs(1);
    let mut reloader = Reloader::<Plain>::new(before, &path, materials.clone(), second, hangup);
    let nothing = async |reloader: &mut Reloader<Plain>, why: &str| {
        let waited = tokio::time::timeout(Duration::from_millis(3200), reloader.next()).await;
        assert!(waited.is_err(), "{why}");
    };
    let loaded = async |reloader: &mut Reloader<Plain>, what: &str| {
        tokio::time::timeout(Duration::from_secs(20), reloader.next()).await.expect(what)
    };
    nothing(&mut reloader, "nothing has changed").await;

    world.write("xingyu.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    nothing(&mut reloader, "a broken list was taken").await;
    std::fs::remove_file(world.path("xingyu.crl")).unwrap();
    nothing(&mut reloader, "a list that is gone was taken").await;
    assert_eq!(materials.generation(), 0);
    world.revoke(&world.xingyu, "xingyu.crl", &[b"\x01"]);
    loaded(&mut reloader, "the next list").await;
    assert_eq!(materials.generation(), 1);

    world.write("plain.toml", "certificate = ");
    nothing(&mut reloader, "a broken configuration was taken").await;
    configured(&world, &world.anchor_configs()[..1]);
    assert_eq!(loaded(&mut reloader, "the next configuration").await.anchors.len(), 1);
    assert_eq!(materials.generation(), 2);
    world.revoke(&world.xingyu, "xingyu.crl", &[b"\x02"]);
    nothing(&mut reloader, "a file that is no longer named was looked at").await;
}

#[tokio::test]
async fn a_client_takes_up_its_renewed_certificate() {
    let world = World::new();
    let put = |issued: &Issued| {
        world.write("client.key", &issued.key_pem);
        world.write("client.pem", &issued.certificate_pem)
    };
    let first = world.xingyu_backend();
    let files = ClientTlsConfig {
        ca: world.path("gateway-ca.pem"),
        certificate: put(&first),
        key: world.path("client.key"),
        server_name: None,
    };
    let tls = ClientTls::load(&files, Arc::new(world.clock.clone())).unwrap();
    let mut tls = tls.speaking(b"http/1.1");
    let old = *tls.certificate_sha256();
    let mut look = || {
        world.clock.advance(super::client_tls::LOOK);
        (tls.renew(), *tls.certificate_sha256() != old)
    };
    assert_eq!(look(), (false, false));
    let other = "spiffe://ppio.example/controller/xingyu/another";
    put(&issue_client(&world.xingyu, &[other], days(30), &SystemEntropy).unwrap());
    assert_eq!(look(), (false, false), "another's name was taken up");
    let next = world.xingyu_backend();
    world.write("client.pem", &next.certificate_pem);
    assert_eq!(look(), (false, false), "a certificate without its key was taken up");
    put(&next);
    assert_eq!(look(), (true, true));
    assert_eq!(look(), (false, true));
}
