//! The logs as files over HTTPS: who may read, what is there, and that it verifies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use mandate::domain::clock::SystemClock;
use mandate::https::{Line, LineError};
use mandate::identity::{ClientTls, ClientTlsConfig};
use mandate::trail::{Checkpoint, Note, Resource, paths_for};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::harness::{World, within};

const LIMIT: usize = 32 * 1024 * 1024;

/// Turns publishing on, on a port that the system chooses.
pub fn publishing(dir: &Path) {
    let file = dir.join("gateway.toml");
    let mut config: toml::Table =
        toml::from_str(&std::fs::read_to_string(&file).expect("read")).expect("TOML");
    config.insert("publish".into(), toml::Table::from_iter([("listen".into(), "127.0.0.1:0".into())]).into());
    std::fs::write(&file, toml::to_string(&config).expect("TOML")).expect("written");
}

/// A line to the published logs with the certificate of `keys/<name>`.
pub fn reader(world: &World, name: &str) -> Line {
    let key = |file: &str| world.path().join(format!("keys/{name}/{file}"));
    reader_with(world, &key("tls.pem"), &key("tls.key"))
}

/// The same with any certificate.
pub fn reader_with(world: &World, certificate: &Path, key: &Path) -> Line {
    let (tls, url) = way_in(world, certificate, key);
    Line::new(tls, &url, Duration::from_secs(10)).expect("an address")
}

/// The TLS of that certificate, and where to.
fn way_in(world: &World, certificate: &Path, key: &Path) -> (ClientTls, String) {
    let files = ClientTlsConfig {
        ca: world.path().join("ca/server.pem"),
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        server_name: Some("mandate.ppio.example".into()),
    };
    let tls = ClientTls::load(&files, Arc::new(SystemClock)).expect("the material loads");
    let address = world.gateway.as_ref().and_then(|gateway| gateway.publishes.clone()).expect("it publishes");
    (tls, format!("https://{address}"))
}

/// A connection that says nothing, with the certificate of `keys/<name>`.
async fn silent(world: &World, name: &str) -> impl AsyncRead + Unpin + use<> {
    let key = |file: &str| world.path().join(format!("keys/{name}/{file}"));
    let (tls, url) = way_in(world, &key("tls.pem"), &key("tls.key"));
    tls.speaking(b"http/1.1").dial(&url.parse().expect("a URL")).await.expect("it connects")
}

/// Waits for the server to close it.
async fn closed(mut connection: impl AsyncRead + Unpin) {
    within(10, "the server to close it", async {
        let mut byte = [0; 1];
        // An end without a word, too.
        assert!(!matches!(connection.read(&mut byte).await, Ok(1..)), "it said something");
    })
    .await;
}

pub async fn get(line: &Line, path: &str) -> (StatusCode, Vec<u8>, String) {
    let reply = line.call(Method::GET, path, "", LIMIT).await.expect("an answer");
    let cache = reply.headers.get("cache-control").and_then(|value| value.to_str().ok()).unwrap_or_default();
    (reply.status, reply.body.to_vec(), cache.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_the_log_and_verifies() {
    let world = World::without_agent(publishing).await;
    // Enough leaves for a full tile: each export of evidence that fails writes none, each refused answer none;
    // reading the registry writes none either. Cases do.
    let xingyu = world.enterprise("xingyu").await;
    for n in 0..260 {
        let subject = vec![mandate::domain::Identifier::user(&xingyu.app, format!("published-{n}"))];
        let order = xingyu.order(mandate::domain::Act::Preview, subject, None).expect("an order");
        xingyu.submit(&xingyu.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    }
    let auditor = reader(&world, "auditor");
    let out = world.path().join("fetched");
    for log in ["trail", "authority"] {
        let (status, note, cache) = get(&auditor, &format!("{log}/checkpoint")).await;
        assert_eq!((status, cache.as_str()), (StatusCode::OK, "private, max-age=1"));
        let note = String::from_utf8(note).expect("UTF-8");
        let size = Checkpoint::parse_body(Note::parse(&note).expect("a note").text()).expect("a head").size();
        assert!(log != "trail" || size > 256, "too few leaves to have a full tile");
        for resource in paths_for(size) {
            let path = resource.path();
            let (status, bytes, cache) = get(&auditor, &format!("{log}/{path}")).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            let full = resource.width() == 256;
            assert_eq!(cache.contains("immutable"), full, "{path}: {cache}");
            put(&out.join(log).join(path), &bytes);
            // An earlier, narrower state is a beginning of this one; a wider one is not there yet.
            let narrow = narrower(resource);
            let (status, narrow, _) = get(&auditor, &format!("{log}/{}", narrow.path())).await;
            assert_eq!(status, StatusCode::OK);
            assert!(bytes.starts_with(&narrow));
        }
        for missing in missing(size) {
            assert_eq!(
                get(&auditor, &format!("{log}/{missing}")).await.0,
                StatusCode::NOT_FOUND,
                "{missing}"
            );
        }
        put(&out.join(log).join("checkpoint"), note.as_bytes());
        let (_, vkey, _) = get(&auditor, &format!("{log}/vkey")).await;
        put(&out.join(log).join("vkey"), &vkey);
    }
    let (code, text) = world.verify(&["trail", out.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "what was published does not verify: {text}");
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

/// The same file one hash or entry narrower, or itself where it has only one.
fn narrower(resource: Resource) -> Resource {
    match resource {
        Resource::Tile(mut tile) => {
            tile.width = (tile.width - 1).max(1);
            Resource::Tile(tile)
        }
        Resource::Entries { index, width } => Resource::Entries { index, width: (width - 1).max(1) },
    }
}

/// What is no file of a log of this size: wider, further, higher, or no path at all.
fn missing(size: u64) -> Vec<String> {
    let (index, width) = (size / 256, size % 256);
    assert!(width < 255, "the test's log may grow by one");
    vec![
        format!("tile/0/{index:03}.p/{}", width + 1),
        format!("tile/entries/{index:03}.p/{}", width + 1),
        format!("tile/0/{index:03}"),
        format!("tile/entries/{:03}", index + 1),
        "tile/3/000.p/1".into(),
        "tile/0/000.p/256".into(),
        "tile/0/../checkpoint".into(),
        "checkpoint?x=1".into(),
        "checkpoints".into(),
        String::new(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_is_told_so_and_nothing_else() {
    let world = World::without_agent(publishing).await;
    for (name, trail, authority) in [
        ("auditor", StatusCode::OK, StatusCode::OK),
        ("operator", StatusCode::OK, StatusCode::OK),
        ("rtc-agent", StatusCode::FORBIDDEN, StatusCode::OK),
        ("xingyu", StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        ("support", StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
    ] {
        let line = reader(&world, name);
        assert_eq!(get(&line, "trail/checkpoint").await.0, trail, "{name}");
        assert_eq!(get(&line, "authority/checkpoint").await.0, authority, "{name}");
    }
    let controller = reader(&world, "xingyu");
    let (status, body, _) = get(&controller, "trail/no-such-file").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&body).starts_with("KIND_NOT_ALLOWED"));

    let auditor = reader(&world, "auditor");
    let reply = auditor.call(Method::POST, "trail/checkpoint", "x", LIMIT).await.expect("an answer");
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.headers["allow"], "GET, HEAD");
    let reply = auditor.call(Method::HEAD, "trail/checkpoint", "", LIMIT).await.expect("an answer");
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));

    // A certificate of an authority that the gateway does not know ends the handshake.
    let stranger = World::without_agent(|_| {}).await;
    let foreign = ClientTlsConfig {
        ca: world.path().join("ca/server.pem"),
        certificate: stranger.path().join("keys/auditor/tls.pem"),
        key: stranger.path().join("keys/auditor/tls.key"),
        server_name: Some("mandate.ppio.example".into()),
    };
    let tls = ClientTls::load(&foreign, Arc::new(SystemClock)).expect("it loads");
    let address = world.gateway.as_ref().and_then(|gateway| gateway.publishes.clone()).expect("it publishes");
    let line = Line::new(tls, &format!("https://{address}"), Duration::from_secs(10)).expect("an address");
    let refused = line.call(Method::GET, "trail/checkpoint", "", LIMIT).await;
    assert!(matches!(refused, Err(LineError::Http | LineError::Unreachable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_connections_takes_none_of_the_auditors() {
    let world = World::without_agent(publishing).await;
    // More than there are in all; of one that may read nothing.
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(silent(&world, "xingyu").await);
    }
    let auditor = reader(&world, "auditor");
    assert_eq!(get(&auditor, "trail/checkpoint").await.0, StatusCode::OK);
    for connection in held {
        closed(connection).await;
    }
    // They are gone: it is told why again.
    let (status, body, _) = get(&reader(&world, "xingyu"), "trail/checkpoint").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&body).starts_with("KIND_NOT_ALLOWED"));

    // One that may read has its own places, and no more.
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(silent(&world, "operator").await);
    }
    closed(silent(&world, "operator").await).await;
    assert_eq!(get(&reader(&world, "auditor"), "trail/checkpoint").await.0, StatusCode::OK);
    // A place is given back with its connection.
    held.pop();
    within(10, "a place", async {
        let line = reader(&world, "operator");
        while line.call(Method::GET, "trail/checkpoint", "", LIMIT).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
