//! What the gateway does a second, beside two baselines in the same run on the same machine: a bare
//! tonic echo over mutual TLS, and a server written by hand that does the same cryptography and commits
//! in groups to the same kind of database (`minimal.rs`). Only the ratios mean something elsewhere.
//!
//! Client and servers share the machine's cores. The trail is filled to a million leaves to show whether it
//! gets slower; `cargo bench --bench throughput -- scale` goes on to ten million, and `-- streams` measures the
//! memory of idle streams alone.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../../tests/cluster.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod cluster;
mod echo;
mod gateway;
mod idle;
mod measure;
mod minimal;

use std::path::Path;
use std::sync::Arc;

use mandate::config::GatewayConfig;
use mandate::domain::clock::SystemClock;
use mandate::grpc::RegistryKeys;
use mandate::identity::{Acceptor, AccessTokens, Configured, LogRefusals, Materials};

use crate::echo::{Nothing, REQUEST, Unary};
use crate::gateway::Gateway;
use crate::measure::{Figure, show};
use crate::minimal::Minimal;

pub const CONNECTIONS: usize = 4;
/// In flight.
const LOADS: [usize; 3] = [1, 64, 256];
/// Of the first baseline.
const ECHO_LOAD: usize = 64;
/// Instructions made ready for each figure.
const INSTRUCTIONS: usize = 60_000;

pub fn acceptor(config: &GatewayConfig) -> Acceptor {
    let materials = Materials::load(&config.material()).expect("the server's material");
    Acceptor::new(materials, Arc::new(SystemClock), Arc::new(LogRefusals)).expect("the server's TLS")
}

async fn run(dir: &Path, scale: bool) {
    let sqlite = Gateway::open(&dir.join("sqlite"), None).await;
    let (profile, token) = (sqlite.profile("xingyu"), sqlite.token());
    let plain = |_| vec![1; REQUEST];
    println!("client and server on the same cores; {CONNECTIONS} connections\n");
    let unary = Unary { tokens: None, work: Nothing };
    let bare = echo::run(&profile, &sqlite.config, unary, &token, ECHO_LOAD, usize::MAX, plain).await;
    show("bare tonic echo, mTLS, 600 B → 300 B, 64", &bare, &bare, "the echo");
    let keys = Arc::new(RegistryKeys::new(sqlite.app.store.clone()));
    let tokens = Arc::new(AccessTokens::new(&sqlite.config.gateway, keys, Arc::new(SystemClock)));
    let unary = Unary { tokens: Some(tokens.clone()), work: Nothing };
    let checked = echo::run(&profile, &sqlite.config, unary, &token, ECHO_LOAD, usize::MAX, plain).await;
    show("the same, access token checked, 64", &checked, &bare, "the echo");

    let cluster = cluster::shared();
    let postgres = Gateway::open(&dir.join("postgres"), Some(cluster)).await;
    let on_sqlite = Minimal::on_sqlite(&dir.join("minimal.sqlite"), &sqlite.signer()).await;
    let on_postgres = Minimal::on_postgres(&cluster.database(), &sqlite.signer()).await;
    // The minimal server on SQLite with 64 in flight.
    let mut first = None;
    for (name, gateway, minimal) in [("SQLite", &sqlite, on_sqlite), ("PostgreSQL", &postgres, on_postgres)] {
        let mut baselines: Vec<Figure> = Vec::new();
        for load in LOADS {
            let wires = sqlite.instructions(INSTRUCTIONS);
            let unary = Unary { tokens: Some(tokens.clone()), work: minimal.clone() };
            let data = move |n: usize| wires[n].clone();
            let figure = echo::run(&profile, &sqlite.config, unary, &token, load, INSTRUCTIONS, data).await;
            show(&format!("minimal server, {name}, {load}"), &figure, &bare, "the echo");
            baselines.push(figure);
        }
        for (load, baseline) in LOADS.iter().zip(&baselines) {
            let figure = gateway.submit(*load, INSTRUCTIONS).await;
            show(&format!("SubmitInstruction, {name}, {load}"), &figure, baseline, "the minimal server");
            println!("{:<46} {:.2} of the echo", "", figure.per_second / bare.per_second);
        }
        first.get_or_insert(baselines.swap_remove(1));
    }
    let minimal = first.expect("the minimal server was measured");
    // On a trail of its own, which begins with nothing.
    let growing = Gateway::open(&dir.join("growing"), None).await;
    for leaves in [10_000, 1_000_000, 10_000_000].into_iter().take(if scale { 3 } else { 2 }) {
        let size = growing.grow_to(leaves).await;
        let figure = growing.submit(64, INSTRUCTIONS).await;
        show(
            &format!("SubmitInstruction, SQLite, 64, {size} leaves"),
            &figure,
            &minimal,
            "the minimal server",
        );
    }
    idle::handshakes(&profile, &sqlite).await;
    idle::streams(&dir.join("idle")).await;
}

fn main() {
    let asked = |what: &str| std::env::args().any(|argument| argument == what);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if asked("streams") {
        runtime.block_on(idle::streams(&dir.path().join("idle")));
    } else {
        runtime.block_on(run(dir.path(), asked("scale")));
    }
}
