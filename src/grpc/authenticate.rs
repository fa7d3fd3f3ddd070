//! The layer before every service: who calls, and may they.
//!
//! It stands around the whole router, so that no method can be reached beside it. A path
//! that no service knows is authenticated first and only then unknown.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::http::{Extensions, HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::access::{Access, rule_for};
use super::caller_keys::TlsKeys;
use super::surface::Surface;
use crate::domain::{Reason, Refusal};
use crate::identity::{AccessTokens, Caller, ConnectedPeer, Peer, bearer};
use crate::store::Pass;

/// Puts [`Authenticate`] around the router.
#[derive(Clone)]
pub struct AuthenticateLayer {
    surface: Surface,
    proof: Arc<Proof>,
}

impl AuthenticateLayer {
    pub fn new(surface: Surface, tokens: AccessTokens, tls_keys: impl TlsKeys + 'static) -> Self {
        Self { surface, proof: Arc::new(Proof { tokens, tls_keys: Box::new(tls_keys) }) }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { inner, surface: self.surface.clone(), proof: self.proof.clone() }
    }
}

/// Answers a call that is not proven or not allowed; hands on the rest with an
/// `Arc<Caller>` in its extensions (none where a certificate is enough), under the caller's [`Pass`].
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    surface: Surface,
    proof: Arc<Proof>,
}

impl<S> Service<Request<Body>> for Authenticate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone is not polled ready yet; the one that is goes with the call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let (surface, proof) = (self.surface.clone(), self.proof.clone());
        Box::pin(async move {
            let proven = proof.of(request.uri().path(), request.headers(), request.extensions()).await;
            let response = match proven {
                Ok(Some(caller)) => {
                    let pass = pass_of(&caller, request.extensions());
                    let claimed = pass.clone().during(proof.claim_key(request.extensions())).await;
                    if let Err(refusal) = claimed {
                        return Ok(surface.refused(&refusal).into_http());
                    }
                    request.extensions_mut().insert(caller);
                    pass.during(inner.call(request)).await?
                }
                Ok(None) => inner.call(request).await?,
                Err(refusal) => {
                    let status: Status = surface.refused(&refusal);
                    return Ok(status.into_http());
                }
            };
            if is_out_of_range(response.headers()) {
                return Ok(surface.refused(&Reason::MessageTooLarge.into()).into_http());
            }
            Ok(response)
        })
    }
}

/// What the writer looks at again before it runs anything for this call.
fn pass_of(caller: &Caller, extensions: &Extensions) -> Pass {
    let standing = extensions.get::<ConnectedPeer>().and_then(ConnectedPeer::standing);
    Pass::new(caller.access_key(), move || standing.as_ref().map_or(Ok(()), |standing| standing.check()))
}

/// What tonic answers to a message over its size limit. No service of ours answers with this
/// code, and tonic's answer lacks the reason.
fn is_out_of_range(headers: &HeaderMap) -> bool {
    Status::from_header_map(headers).is_some_and(|status| status.code() == Code::OutOfRange)
}

/// What a call is proven by.
struct Proof {
    tokens: AccessTokens,
    tls_keys: Box<dyn TlsKeys>,
}

fn peer_of(extensions: &Extensions) -> Result<(&ConnectedPeer, &Peer), Refusal> {
    let connected = extensions.get::<ConnectedPeer>().ok_or(Reason::CertificateRequired)?;
    Ok((connected, connected.identity().as_ref().map_err(Clone::clone)?))
}

impl Proof {
    /// Connection, token, kind, scope: in this order, for the caller gets the first reason. Writes nothing.
    async fn of(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<Arc<Caller>>, Refusal> {
        let (connected, peer) = peer_of(extensions)?;
        let key = self.look_at_key(connected, peer).await;
        let access = rule_for(path);
        if access == Some(Access::CertificateOnly) {
            // It tells nobody more than whether calls go through, and answers also while no database does.
            return match key {
                Err(refusal) if refusal.reason == Reason::TlsKeyUsedElsewhere => Err(refusal),
                _ => Ok(None),
            };
        }
        key?;
        let token = bearer(headers.get_all("authorization").iter().map(|value| value.as_bytes()))?;
        let caller = self.tokens.verify(token, peer).await?;
        if let Some(Access::Guarded(rule)) = access {
            caller.require_kind(rule.kinds)?;
            caller.require_scope(rule.scope)?;
        }
        Ok(Some(caller))
    }

    /// Once a connection, until its key is known.
    async fn look_at_key(&self, connected: &ConnectedPeer, peer: &Peer) -> Result<(), Refusal> {
        if !connected.owns_key() && self.tls_keys.is_known(peer).await? {
            connected.note_own_key();
        }
        Ok(())
    }

    /// The key of a proven caller's connection is its own from here on. To be called under its [`Pass`].
    async fn claim_key(&self, extensions: &Extensions) -> Result<(), Refusal> {
        let (connected, peer) = peer_of(extensions)?;
        if !connected.owns_key() {
            self.tls_keys.claim(peer).await?;
            connected.note_own_key();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::domain::clock::{Clock, FixedClock, SystemEntropy};
    use crate::domain::{Kind, Timestamp};
    use crate::identity::{AccessKey, AccessKeys, PeerIdentity, SpiffeId, TokenOrder, TokenSigner};
    use crate::token::KeyId;

    const AUDIENCE: &str = "mandate.example";

    /// One registered key.
    struct OneKey(AccessKey);

    #[async_trait::async_trait]
    impl AccessKeys for OneKey {
        async fn access_key(&self, kid: &str) -> Result<Option<AccessKey>, Refusal> {
            Ok((self.0.kid() == kid).then(|| self.0.clone()))
        }

        fn generation(&self) -> u64 {
            0
        }
    }

    /// What the registry says of every TLS key, and how often it was asked and told.
    struct OneTlsKey {
        known: Result<bool, Reason>,
        asked: AtomicUsize,
        claimed: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl TlsKeys for Arc<OneTlsKey> {
        async fn is_known(&self, _: &Peer) -> Result<bool, Refusal> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.known.map_err(Refusal::new)
        }

        async fn claim(&self, _: &Peer) -> Result<(), Refusal> {
            self.claimed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    struct Scene {
        proof: Proof,
        tls_key: Arc<OneTlsKey>,
        signer: TokenSigner,
        peer: Peer,
        clock: FixedClock,
    }

    impl Scene {
        /// A caller of this kind, connected and with a registered key.
        fn of(kind: Kind) -> Self {
            Self::whose_tls_key_is(Ok(true), kind)
        }

        fn whose_tls_key_is(known: Result<bool, Reason>, kind: Kind) -> Self {
            let clock = FixedClock::at(1_790_000_000);
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let signer = TokenSigner::from_pkcs8_pem(pair.serialize_pem().as_bytes()).unwrap();
            let owner = format!("{}/xingyu", kind.collection());
            let key = AccessKey::from_jwk(owner, &signer.public_jwk().to_string()).unwrap();
            let peer = Peer {
                spiffe: SpiffeId::new("ppio.example", kind, "xingyu", "backend").unwrap(),
                certificate_sha256: [7; 32],
                key: KeyId::from_bytes([7; 32]),
                not_after: Timestamp::from_second(1_790_009_000).unwrap(),
                serial: "01".into(),
            };
            let tokens = AccessTokens::new(AUDIENCE, Arc::new(OneKey(key)), Arc::new(clock.clone()));
            let tls_key = Arc::new(OneTlsKey { known, asked: 0.into(), claimed: 0.into() });
            let proof = Proof { tokens, tls_keys: Box::new(tls_key.clone()) };
            Self { proof, tls_key, signer, peer, clock }
        }

        fn headers(&self, scopes: &[&str]) -> HeaderMap {
            let order = TokenOrder {
                spiffe: &self.peer.spiffe,
                certificate_sha256: &self.peer.certificate_sha256,
                audience: AUDIENCE,
                scopes,
                lifetime: 300,
            };
            let token = self.signer.mint(&order, &self.clock as &dyn Clock, &SystemEntropy).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            headers
        }

        async fn call(&self, path: &str, headers: &HeaderMap) -> Result<Option<Arc<Caller>>, Reason> {
            self.call_as(Ok(self.peer.clone()), path, headers).await
        }

        async fn call_as(
            &self,
            peer: PeerIdentity,
            path: &str,
            headers: &HeaderMap,
        ) -> Result<Option<Arc<Caller>>, Reason> {
            let extensions = connected(peer);
            self.proof.of(path, headers, &extensions).await.map_err(|refusal| refusal.reason)
        }
    }

    fn connected(peer: PeerIdentity) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectedPeer::from(peer));
        extensions
    }

    const GET: &str = "/mandate.v1.RequestService/GetRequest";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";

    #[tokio::test]
    async fn a_controller_with_the_scope_gets_through() {
        let scene = Scene::of(Kind::Controller);
        let caller = scene.call(GET, &scene.headers(&["requests.read"])).await.unwrap().unwrap();
        assert_eq!(caller.principal().resource_name(), "controllers/xingyu");
    }

    #[tokio::test]
    async fn the_wrong_kind_is_refused_before_the_missing_scope() {
        let scene = Scene::of(Kind::Operator);
        let refused = scene.call(GET, &scene.headers(&["registry.write"])).await;
        assert_eq!(refused.unwrap_err(), Reason::KindNotAllowed);
    }

    #[tokio::test]
    async fn a_token_without_the_scope_is_refused() {
        let scene = Scene::of(Kind::Controller);
        let refused = scene.call(GET, &scene.headers(&["instructions.submit"])).await;
        assert_eq!(refused.unwrap_err(), Reason::ScopeMissing);
    }

    #[tokio::test]
    async fn an_unknown_path_is_authenticated_first() {
        let scene = Scene::of(Kind::Controller);
        let path = "/mandate.v1.RequestService/DropEverything";
        assert_eq!(scene.call(path, &HeaderMap::new()).await.unwrap_err(), Reason::TokenMissing);
        assert!(scene.call(path, &scene.headers(&["requests.read"])).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn health_needs_a_certificate_and_no_token() {
        let scene = Scene::of(Kind::Controller);
        assert!(scene.call(HEALTH, &HeaderMap::new()).await.unwrap().is_none());
        let refused = scene.call_as(Err(Reason::SpiffeIdMissing.into()), HEALTH, &HeaderMap::new()).await;
        assert_eq!(refused.unwrap_err(), Reason::SpiffeIdMissing);
        let bare = scene.proof.of(HEALTH, &HeaderMap::new(), &Extensions::new()).await;
        assert_eq!(bare.unwrap_err().reason, Reason::CertificateRequired);
    }

    #[test]
    fn only_a_message_over_the_limit_is_answered_anew() {
        let code = |status: Status| is_out_of_range(status.into_http::<Body>().headers());
        assert!(code(Status::out_of_range("decoded message length too large")));
        assert!(!code(Status::not_found("")));
        assert!(!is_out_of_range(Response::new(Body::default()).headers()));
    }

    #[tokio::test]
    async fn the_fault_of_the_certificate_answers_before_the_token_is_looked_at() {
        let scene = Scene::of(Kind::Controller);
        let headers = scene.headers(&["requests.read"]);
        let refused = scene.call_as(Err(Reason::AnchorNotEntitled.into()), GET, &headers).await;
        assert_eq!(refused.unwrap_err(), Reason::AnchorNotEntitled);
    }

    #[tokio::test]
    async fn a_tls_key_that_is_used_elsewhere_gets_no_call_through_not_even_health() {
        let scene = Scene::whose_tls_key_is(Err(Reason::TlsKeyUsedElsewhere), Kind::Controller);
        let headers = scene.headers(&["requests.read"]);
        for (path, headers) in [(GET, &headers), (GET, &HeaderMap::new()), (HEALTH, &HeaderMap::new())] {
            assert_eq!(scene.call(path, headers).await.unwrap_err(), Reason::TlsKeyUsedElsewhere);
        }
        let down = Scene::whose_tls_key_is(Err(Reason::Unavailable), Kind::Controller);
        assert_eq!(down.call(GET, &headers).await.unwrap_err(), Reason::Unavailable);
        assert!(down.call(HEALTH, &headers).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_registry_is_asked_until_the_key_is_known_and_then_no_more_on_the_connection() {
        let scene = Scene::whose_tls_key_is(Ok(false), Kind::Controller);
        let (extensions, headers) = (connected(Ok(scene.peer.clone())), scene.headers(&["requests.read"]));
        let count = |of: &AtomicUsize| of.load(Ordering::SeqCst);
        for asked in 1..=2 {
            assert!(scene.proof.of(GET, &headers, &extensions).await.is_ok());
            assert_eq!((count(&scene.tls_key.asked), count(&scene.tls_key.claimed)), (asked, 0));
        }
        for _ in 0..2 {
            scene.proof.claim_key(&extensions).await.unwrap();
            assert!(scene.proof.of(GET, &headers, &extensions).await.is_ok());
            assert_eq!((count(&scene.tls_key.asked), count(&scene.tls_key.claimed)), (2, 1));
        }
    }
}
