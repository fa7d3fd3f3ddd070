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
use super::surface::Surface;
use crate::domain::{Reason, Refusal};
use crate::identity::{AccessKey, AccessKeys, AccessTokens, Caller, ConnectedPeer, bearer};
use crate::store::{Pass, Store, StoreError, registry};

/// The registered access keys, read from the store.
pub struct RegistryKeys {
    store: Arc<Store>,
}

impl RegistryKeys {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    async fn find(&self, kid: &str) -> Result<Option<AccessKey>, StoreError> {
        let row = registry::access_key(&mut self.store.reader().await?, kid).await?;
        match row {
            Some(row) if !row.revoked => AccessKey::from_jwk(row.principal, &row.jwk)
                .map(Some)
                .map_err(|_| StoreError::Corrupt("access_keys.jwk")),
            _ => Ok(None),
        }
    }
}

#[async_trait::async_trait]
impl AccessKeys for RegistryKeys {
    async fn access_key(&self, kid: &str) -> Result<Option<AccessKey>, Refusal> {
        self.find(kid).await.map_err(|error| match error {
            StoreError::Refused(refusal) => refusal,
            error => {
                // Its Display names no values.
                tracing::error!(%error, "an access key could not be looked up");
                Reason::Unavailable.into()
            }
        })
    }

    fn generation(&self) -> u64 {
        self.store.wakes().access_keys_generation()
    }
}

/// Puts [`Authenticate`] around the router.
#[derive(Clone)]
pub struct AuthenticateLayer {
    surface: Surface,
    tokens: Arc<AccessTokens>,
}

impl AuthenticateLayer {
    pub fn new(surface: Surface, tokens: AccessTokens) -> Self {
        Self { surface, tokens: Arc::new(tokens) }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { inner, surface: self.surface.clone(), tokens: self.tokens.clone() }
    }
}

/// Answers a call that is not proven or not allowed; hands on the rest with an
/// `Arc<Caller>` in its extensions (none where a certificate is enough), under the caller's [`Pass`].
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    surface: Surface,
    tokens: Arc<AccessTokens>,
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
        let (surface, tokens) = (self.surface.clone(), self.tokens.clone());
        Box::pin(async move {
            let response =
                match prove(&tokens, request.uri().path(), request.headers(), request.extensions()).await {
                    Ok(Some(caller)) => {
                        let pass = pass_of(&caller, request.extensions());
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

/// Connection, token, kind, scope: in this order, for the caller gets the first reason.
async fn prove(
    tokens: &AccessTokens,
    path: &str,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Option<Arc<Caller>>, Refusal> {
    let connected = extensions.get::<ConnectedPeer>().ok_or(Reason::CertificateRequired)?;
    let peer = connected.identity().as_ref().map_err(Clone::clone)?;
    let access = rule_for(path);
    if access == Some(Access::CertificateOnly) {
        return Ok(None);
    }
    let token = bearer(headers.get_all("authorization").iter().map(|value| value.as_bytes()))?;
    let caller = tokens.verify(token, peer).await?;
    if let Some(Access::Guarded(rule)) = access {
        caller.require_kind(rule.kinds)?;
        caller.require_scope(rule.scope)?;
    }
    Ok(Some(caller))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, FixedClock, SystemEntropy};
    use crate::domain::{Kind, Timestamp};
    use crate::identity::{Peer, PeerIdentity, SpiffeId, TokenOrder, TokenSigner};

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

    struct Scene {
        tokens: AccessTokens,
        signer: TokenSigner,
        peer: Peer,
        clock: FixedClock,
    }

    impl Scene {
        /// A caller of this kind, connected and with a registered key.
        fn of(kind: Kind) -> Self {
            let clock = FixedClock::at(1_790_000_000);
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let signer = TokenSigner::from_pkcs8_pem(pair.serialize_pem().as_bytes()).unwrap();
            let owner = format!("{}/xingyu", kind.collection());
            let key = AccessKey::from_jwk(owner, &signer.public_jwk().to_string()).unwrap();
            let peer = Peer {
                spiffe: SpiffeId::new("ppio.example", kind, "xingyu", "backend").unwrap(),
                certificate_sha256: [7; 32],
                not_after: Timestamp::from_second(1_790_009_000).unwrap(),
                serial: "01".into(),
            };
            let tokens = AccessTokens::new(AUDIENCE, Arc::new(OneKey(key)), Arc::new(clock.clone()));
            Self { tokens, signer, peer, clock }
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
            let mut extensions = Extensions::new();
            extensions.insert(ConnectedPeer::from(peer));
            prove(&self.tokens, path, headers, &extensions).await.map_err(|refusal| refusal.reason)
        }
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
        let bare = prove(&scene.tokens, HEALTH, &HeaderMap::new(), &Extensions::new()).await;
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
}
