//! The published access tokens, sent through the very layer that stands before a gateway's services, with the keys that
//! are registered in its database. The certificate is the world's: what a handshake would have found.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Ready, ready};
use mandate::domain::{Clock, Timestamp};
use mandate::grpc::authenticate::AuthenticateLayer;
use mandate::grpc::{RegistryKeys, RegistryTlsKeys, Surface};
use mandate::identity::{AccessTokens, Caller, ConnectedPeer, Peer};
use mandate::token::{Digest, KeyId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use crate::harness::reason;
use crate::vector_gateway::{Gateway, set_up, text, vectors};

/// Its scope is among those of the tokens that do not say what they are sent with.
const A_CALL: &str = "InstructionService/SubmitInstruction";

/// Stands where the services do: whoever comes here was let in, under a name.
#[derive(Clone)]
struct Inside;

impl Service<Request<Body>> for Inside {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Arc<Caller>>().expect("let in as nobody");
        assert_eq!(caller.principal().resource_name(), "controllers/xingyu");
        ready(Ok(Response::new(Body::empty())))
    }
}

/// Who a handshake with the world's certificate would have found.
fn peer(gateway: &Gateway) -> ConnectedPeer {
    let certificate = &gateway.world["access"]["certificate"];
    let digest: Digest = text(&certificate["x5t#S256"]).parse().expect("a digest");
    let now = gateway.clock.now_seconds();
    let found = Peer {
        spiffe: text(&certificate["spiffe"]).parse().expect("a SPIFFE id"),
        certificate_sha256: *digest.as_bytes(),
        // Of no key that is registered: its first call claims it.
        key: KeyId::from_bytes(*digest.as_bytes()),
        not_after: Timestamp::from_second(now + 86_400).expect("a time"),
        serial: "01".into(),
    };
    ConnectedPeer::from(Ok(found))
}

async fn answer(
    door: &mut impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    peer: &ConnectedPeer,
    vector: &Value,
) -> String {
    let call = vector["call"].as_str().unwrap_or(A_CALL);
    let mut request = Request::builder().uri(format!("https://gateway/mandate.v1.{call}"));
    // Empty: there is no such header.
    if let Some(value) = vector["input"].as_str().filter(|value| !value.is_empty()) {
        request = request.header("authorization", value);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(peer.clone());
    let response = door.call(request).await.unwrap_or_else(|never| match never {});
    Status::from_header_map(response.headers()).map_or_else(|| "OK".into(), |status| reason(&status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_access_tokens_as_it_was_published() {
    let empty = set_up().await;
    let gateway = Gateway::open(empty.path(), "current", "current").await;
    let audience = text(&gateway.world["access"]["audience"]);
    let keys = Arc::new(RegistryKeys::new(gateway.app.store.clone()));
    let tokens = AccessTokens::new(audience, keys, gateway.app.clock.clone());
    let surface = Surface::new(gateway.app.clone(), CancellationToken::new());
    let tls_keys = RegistryTlsKeys(gateway.app.clone());
    let mut door = AuthenticateLayer::new(surface, tokens, tls_keys).layer(Inside);
    let peer = peer(&gateway);
    let (mut judged, mut wrong) = (0, Vec::new());
    for (path, vector) in vectors(&["access-token"]) {
        let answer = answer(&mut door, &peer, &vector).await;
        judged += 1;
        if answer != text(&vector["expect"]) {
            wrong.push(format!("{path}: {answer}, published as {}", vector["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {judged} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged >= 70, "vectors are missing: {judged}");
    drop(door);
    gateway.close().await;
}
