//! Requests a second and p99, in one run on one machine: a bare tonic echo over mutual TLS, the
//! same with the access token checked, and a durable `SubmitInstruction`. Only the ratios mean
//! something elsewhere.
//!
//! Client and servers share the machine's cores. Each figure is of 64 calls in flight over four
//! connections.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mandate::cli::client::{Client, Profile};
use mandate::cli::demo::Enterprise;
use mandate::config::GatewayConfig;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Identifier};
use mandate::grpc::authenticate::RegistryKeys;
use mandate::grpc::v1;
use mandate::identity::{
    Acceptor, AccessTokens, Anchors, ClientTls, ClientTlsConfig, LogRefusals, PeerIdentity,
};
use tonic::codegen::http;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 4;
const WINDOW: Duration = Duration::from_secs(5);
const INSTRUCTIONS: usize = 40_000;
const REQUEST: usize = 600;
const REPLY: usize = 300;

#[derive(Clone, PartialEq, prost::Message)]
struct Blob {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

/// A unary method written by hand; checks the token where it is told to.
#[derive(Clone)]
struct Echo {
    tokens: Option<Arc<AccessTokens>>,
}

impl tonic::server::UnaryService<Blob> for Echo {
    type Response = Blob;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Blob>, Status>> + Send>>;

    fn call(&mut self, request: Request<Blob>) -> Self::Future {
        let tokens = self.tokens.clone();
        Box::pin(async move {
            if let Some(tokens) = tokens {
                let peer = request.extensions().get::<Arc<PeerIdentity>>().cloned();
                let peer = peer.ok_or_else(|| Status::unauthenticated("no peer"))?;
                let peer = peer.as_ref().as_ref().map_err(|_| Status::unauthenticated("peer"))?;
                let header = request.metadata().get("authorization").and_then(|v| v.to_str().ok());
                let token = header.and_then(|h| h.strip_prefix("Bearer ")).unwrap_or_default();
                tokens.verify(token, peer).await.map_err(|r| Status::unauthenticated(r.to_string()))?;
            }
            Ok(Response::new(Blob { data: vec![7; REPLY] }))
        })
    }
}

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl tower::Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Blob, Blob>::default());
            Ok(grpc.unary(echo, request).await)
        })
    }
}

async fn channel(profile: &Profile, address: std::net::SocketAddr) -> Channel {
    let files = ClientTlsConfig {
        ca: profile.ca.clone(),
        certificate: profile.certificate.clone(),
        key: profile.key.clone(),
        server_name: Some(profile.server_name.clone()),
    };
    let tls = ClientTls::load(&files, Arc::new(SystemClock)).expect("the client's material");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    tls.connect(&endpoint).await.expect("a connection")
}

struct Figure {
    per_second: f64,
    p99: Duration,
}

/// Runs `call(n)` for n = 0, 1, … with `IN_FLIGHT` at once until the window ends or `limit` calls were made.
async fn measure<F, Fut>(limit: usize, call: F) -> Figure
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let call = Arc::new(call);
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (call, next) = (Arc::clone(&call), Arc::clone(&next));
        workers.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < WINDOW {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= limit {
                    break;
                }
                let start = Instant::now();
                call(n).await;
                times.push(start.elapsed());
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(done) = workers.join_next().await {
        times.extend(done.expect("a worker"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Figure { per_second: times.len() as f64 / seconds, p99: times[times.len() * 99 / 100] }
}

async fn echo(
    profile: &Profile,
    config: &GatewayConfig,
    tokens: Option<Arc<AccessTokens>>,
    bearer: &str,
) -> Figure {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = mandate::identity::serve(listener, acceptor(config));
    let server = tokio::spawn(
        tonic::transport::Server::builder().add_service(Echo { tokens }).serve_with_incoming(incoming),
    );
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(channel(profile, address).await);
    }
    let bearer: tonic::metadata::AsciiMetadataValue = format!("Bearer {bearer}").parse().expect("a header");
    let figure = measure(usize::MAX, move |n| {
        let (channel, bearer) = (channels[n % CONNECTIONS].clone(), bearer.clone());
        async move {
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.expect("ready");
            let mut request = Request::new(Blob { data: vec![1; REQUEST] });
            request.metadata_mut().insert("authorization", bearer);
            let path = http::uri::PathAndQuery::from_static("/bench.Echo/Echo");
            let codec = ProstCodec::<Blob, Blob>::default();
            grpc.unary(request, path, codec).await.expect("an echo");
        }
    })
    .await;
    server.abort();
    figure
}

fn acceptor(config: &GatewayConfig) -> Acceptor {
    let anchors = Anchors::load(&config.trust_domain, &config.anchors).expect("the anchors");
    Acceptor::new(
        &config.tls.certificate,
        &config.tls.key,
        Arc::new(anchors),
        Arc::new(SystemClock),
        Arc::new(LogRefusals),
    )
    .expect("the server's material")
}

async fn run(dir: &Path) {
    mandate::cli::init::make(dir, 0, 1).await.expect("a set-up");
    let config = GatewayConfig::load(&dir.join("gateway.toml")).expect("the configuration");
    let app = mandate::cli::serve::open(&config, Arc::new(SystemClock), Arc::new(SystemEntropy))
        .await
        .expect("opens");
    mandate::cli::serve::register_first_keys(&app, &config).await.expect("the operator's key");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (_stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = mandate::grpc::server::serve(
        app.clone(),
        listener,
        acceptor(&config),
        config.gateway.clone(),
        async {
            let _ = stopped.await;
        },
    );
    tokio::spawn(server);

    let profile = |name: &str| {
        let mut profile = Profile::load(&dir.join(format!("profiles/{name}.toml"))).expect("a profile");
        profile.gateway = address.to_string();
        profile
    };
    let operator = Client::open(profile("operator")).await.expect("the operator");
    mandate::cli::registry::apply(&operator, &dir.join("registry.toml")).await.expect("the registry");
    let mut enterprises = Vec::new();
    for _ in 0..CONNECTIONS {
        enterprises
            .push(Arc::new(Enterprise::with_profile(profile("xingyu")).await.expect("the enterprise")));
    }
    let xingyu = enterprises[0].clone();
    let token = xingyu.client.token().expect("a token");

    println!("64 calls in flight, {} s each; client and server on the same cores", WINDOW.as_secs());
    let bare = echo(&xingyu.client.profile, &config, None, &token).await;
    show("bare tonic echo, mTLS, 600 B → 300 B", &bare, &bare);
    let keys = Arc::new(RegistryKeys::new(app.store.clone()));
    let tokens = Arc::new(AccessTokens::new(&config.gateway, keys, Arc::new(SystemClock)));
    let checked = echo(&xingyu.client.profile, &config, Some(tokens), &token).await;
    show("the same, access token checked", &checked, &bare);

    let wires: Arc<Vec<Vec<u8>>> = Arc::new(
        (0..INSTRUCTIONS)
            .map(|n| {
                let subject = vec![Identifier::user(&xingyu.app, format!("bench-{n}"))];
                let order = xingyu.order(Act::Erase, subject, None).expect("an order");
                xingyu.sign(&order).expect("signed").to_wire().into_bytes()
            })
            .collect(),
    );
    let submitted = measure(INSTRUCTIONS, move |n| {
        let (enterprise, wires) = (enterprises[n % CONNECTIONS].clone(), wires.clone());
        async move {
            let request = v1::SubmitInstructionRequest { instruction: wires[n].clone().into() };
            enterprise.client.instructions().submit_instruction(request).await.expect("admitted");
        }
    })
    .await;
    show("durable SubmitInstruction, SQLite", &submitted, &bare);
}

fn show(name: &str, figure: &Figure, bare: &Figure) {
    println!(
        "{name:<40} {:>8.0}/s   p99 {:>7.2} ms   {:.2} of the echo",
        figure.per_second,
        figure.p99.as_secs_f64() * 1000.0,
        figure.per_second / bare.per_second
    );
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(dir.path()));
}
