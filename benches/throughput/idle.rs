//! What a connection costs: mutual TLS handshakes a second, memory of an idle stream.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use mandate::cli::client::{Client, Profile};
use mandate::grpc::v1;

use crate::echo::channel;
use crate::gateway::Gateway;
use crate::measure::measure;

const STREAMS: usize = 2_000;

pub async fn handshakes(profile: &Profile, gateway: &Gateway) {
    let (profile, address) = (Arc::new(profile.clone()), gateway.address);
    let figure = measure(16, usize::MAX, move |_| {
        let profile = Arc::clone(&profile);
        async move {
            channel(&profile, address).await;
        }
    })
    .await;
    println!("mutual TLS handshakes, 16 at once {:>27.0}/s", figure.per_second);
}

/// In a process of its own, so that the client's memory does not count.
pub async fn streams(dir: &Path) {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    mandate::cli::init::make(dir, port, 1).await.expect("a set-up");
    let mut server = Command::new(env!("CARGO_BIN_EXE_mandate"))
        .args(["serve", "--config"])
        .arg(dir.join("gateway.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the gateway starts");
    let mut line = String::new();
    let mut output = BufReader::new(server.stdout.take().expect("piped"));
    output.read_line(&mut line).expect("it is ready");
    let profile = |name: &str| Profile::load(&dir.join(format!("profiles/{name}.toml"))).expect("a profile");
    let operator = Client::open(profile("operator")).await.expect("the operator");
    mandate::cli::registry::apply(&operator, &dir.join("registry.toml")).await.expect("the registry");

    let before = resident(server.id());
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let client = Client::open(profile("xingyu")).await.expect("it connects");
        let stream = client.requests().watch_requests(v1::WatchRequestsRequest::default()).await;
        open.push((client, stream.expect("a stream").into_inner()));
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let after = resident(server.id());
    let each = after.saturating_sub(before) as f64 / STREAMS as f64;
    println!("memory of an idle WatchRequests stream, {STREAMS} open {each:>13.1} KiB");
    drop(open);
    let _ = server.kill();
    let _ = server.wait();
}

/// KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
