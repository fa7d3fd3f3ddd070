//! The baselines on the wire: a bare tonic echo over mutual TLS, and a unary service to hang work on.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mandate::cli::client::Profile;
use mandate::config::GatewayConfig;
use mandate::domain::clock::SystemClock;
use mandate::identity::{AccessTokens, ClientTls, ClientTlsConfig, ConnectedPeer};
use tonic::codegen::http;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::measure::{Figure, measure};
use crate::{CONNECTIONS, acceptor};

pub const REQUEST: usize = 600;
const REPLY: usize = 300;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Blob {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// What a server does with a request.
pub trait Work: Clone + Send + Sync + 'static {
    fn work(&self, data: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, Status>> + Send;
}

/// Nothing at all.
#[derive(Clone)]
pub struct Nothing;

impl Work for Nothing {
    async fn work(&self, _: Vec<u8>) -> Result<Vec<u8>, Status> {
        Ok(vec![7; REPLY])
    }
}

/// A unary method written by hand; checks the token where it is told to.
#[derive(Clone)]
pub struct Unary<W> {
    pub tokens: Option<Arc<AccessTokens>>,
    pub work: W,
}

impl<W: Work> tonic::server::UnaryService<Blob> for Unary<W> {
    type Response = Blob;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Blob>, Status>> + Send>>;

    fn call(&mut self, request: Request<Blob>) -> Self::Future {
        let Self { tokens, work } = self.clone();
        Box::pin(async move {
            if let Some(tokens) = tokens {
                let peer = request.extensions().get::<ConnectedPeer>().cloned();
                let peer = peer.ok_or_else(|| Status::unauthenticated("no peer"))?;
                let peer = peer.identity().as_ref().map_err(|_| Status::unauthenticated("peer"))?;
                let header = request.metadata().get("authorization").and_then(|v| v.to_str().ok());
                let token = header.and_then(|h| h.strip_prefix("Bearer ")).unwrap_or_default();
                tokens.verify(token, peer).await.map_err(|r| Status::unauthenticated(r.to_string()))?;
            }
            Ok(Response::new(Blob { data: work.work(request.into_inner().data).await? }))
        })
    }
}

impl<W> tonic::server::NamedService for Unary<W> {
    const NAME: &'static str = "bench.Unary";
}

impl<W: Work> tower::Service<http::Request<tonic::body::Body>> for Unary<W> {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Blob, Blob>::default());
            Ok(grpc.unary(service, request).await)
        })
    }
}

pub async fn channel(profile: &Profile, address: std::net::SocketAddr) -> Channel {
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

/// Serves `unary` over mutual TLS on a port of its own and calls it, the n-th time with `data(n)`.
pub async fn run<W: Work>(
    profile: &Profile,
    config: &GatewayConfig,
    unary: Unary<W>,
    bearer: &str,
    in_flight: usize,
    limit: usize,
    data: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
) -> Figure {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = mandate::identity::serve(listener, acceptor(config));
    let server =
        tokio::spawn(tonic::transport::Server::builder().add_service(unary).serve_with_incoming(incoming));
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(channel(profile, address).await);
    }
    let bearer: tonic::metadata::AsciiMetadataValue = format!("Bearer {bearer}").parse().expect("a header");
    let figure = measure(in_flight, limit, move |n| {
        let (channel, bearer, data) = (channels[n % CONNECTIONS].clone(), bearer.clone(), data(n));
        async move {
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.expect("ready");
            let mut request = Request::new(Blob { data });
            request.metadata_mut().insert("authorization", bearer);
            let path = http::uri::PathAndQuery::from_static("/bench.Unary/Call");
            let codec = ProstCodec::<Blob, Blob>::default();
            grpc.unary(request, path, codec).await.expect("an answer");
        }
    })
    .await;
    server.abort();
    figure
}
