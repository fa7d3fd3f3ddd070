//! The server: connections, requests, bodies and times are all bounded.

use std::convert::Infallible;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{Class, Kind, Reason, Refusal};
use crate::identity::{Acceptor, ConnectedPeer, Connection, Peer};

/// Connections at once of those that are served; one more is closed.
const CONNECTIONS: usize = 256;
/// Of one principal.
const EACH: NonZeroU32 = NonZeroU32::new(16).expect("not zero");
/// Connections at once of those that may have nothing here: each is told so once. They take nobody's place.
const STRANGERS: usize = 32;
/// How long a connection may take to send a request's head, or stay idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// The same of one that may have nothing here.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a request may take from its head to the answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;
const HEADERS: usize = 64;
/// How long calls under way may go on after the stop.
const GRACE: Duration = Duration::from_secs(5);

/// A request with its body, from a peer whose certificate is good.
pub struct Call {
    pub method: Method,
    /// Of the URI, with a leading slash; a query, if there is one, included.
    pub path: String,
    pub peer: Peer,
    /// Its connection.
    pub connected: ConnectedPeer,
    pub body: Bytes,
}

impl Call {
    pub fn kind(&self) -> Kind {
        self.peer.spiffe.principal().kind()
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: &'static str,
    /// `Cache-Control`.
    pub cache: &'static str,
    pub body: Bytes,
}

pub const TEXT: &str = "text/plain; charset=utf-8";
const NO_STORE: &str = "no-store";

impl Answer {
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, content_type: TEXT, cache: NO_STORE, body: text.into() }
    }

    /// The refusal's code and sentences, as `CODE: what (note)`.
    pub fn refused(refusal: &Refusal) -> Self {
        Self::text(status_of(refusal.reason), format!("{refusal}\n"))
    }
}

fn status_of(reason: Reason) -> StatusCode {
    match reason.class() {
        Class::Unauthenticated | Class::Denied => StatusCode::FORBIDDEN,
        Class::Invalid => StatusCode::BAD_REQUEST,
        Class::Precondition => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Missing => StatusCode::NOT_FOUND,
        Class::Exists | Class::Conflict => StatusCode::CONFLICT,
        Class::Exhausted | Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Answers requests.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The methods it knows, as `Allow` lists them. `HEAD` goes with `GET`.
    const METHODS: &'static str;
    /// Largest body it takes, bytes.
    const BODY: usize;

    /// Whether it has anything for callers of this kind.
    fn serves(&self, kind: Kind) -> bool;

    async fn answer(&self, call: Call) -> Answer;
}

/// Serves until `stop` is done, and then at most [`GRACE`] longer.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    acceptor: Acceptor,
    handler: Arc<H>,
    stop: impl Future<Output = ()> + Send,
) {
    let acceptor = acceptor.speaking(super::PROTOCOL).at_most_each(EACH);
    let mut connections = crate::identity::serve(listener, acceptor);
    let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (room, porch) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(STRANGERS)));
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = tokio::select! {
            () = &mut stop => break,
            next = connections.next() => next,
        };
        let Some(Ok(connection)) = next else { break };
        let peer = connection.peer().as_ref().ok();
        let served = peer.is_some_and(|peer| handler.serves(peer.spiffe.principal().kind()));
        let places = if served { &room } else { &porch };
        let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
            tracing::warn!(served, "closed: no connection is free");
            continue;
        };
        let (handler, closing) = (Arc::clone(&handler), closing.clone());
        tasks.spawn(async move {
            let _permit = permit;
            talk(connection, handler, served, closing).await;
        });
    }
    drop(connections);
    closing.cancel();
    tasks.close();
    let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
}

/// One that is not `served` has its answer to one request, and is closed.
async fn talk<H: Handler>(connection: Connection, handler: Arc<H>, served: bool, closing: CancellationToken) {
    let connected = connection.connected();
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, connected) = (Arc::clone(&handler), connected.clone());
        async move {
            let answer = match connected.identity().clone() {
                Ok(peer) => answer(&*handler, peer, connected, request).await,
                Err(refusal) => Answer::refused(&refusal),
            };
            Ok::<_, Infallible>(response(answer, H::METHODS))
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let timeout = if served { HEAD_TIMEOUT } else { STRANGER_TIMEOUT };
    http.timer(TokioTimer::new()).header_read_timeout(timeout).max_buf_size(HEAD).max_headers(HEADERS);
    http.keep_alive(served);
    let mut talking = std::pin::pin!(http.serve_connection(TokioIo::new(connection), service));
    let ended = tokio::select! {
        ended = &mut talking => ended,
        () = closing.cancelled() => {
            talking.as_mut().graceful_shutdown();
            talking.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(timeout = error.is_timeout(), "a connection ended badly");
    }
}

async fn answer<H: Handler>(
    handler: &H,
    peer: Peer,
    connected: ConnectedPeer,
    request: Request<Incoming>,
) -> Answer {
    let known = |method: &Method| H::METHODS.split(", ").any(|known| known == method.as_str());
    if !known(request.method()) {
        return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    let (head, body) = request.into_parts();
    let read = async {
        let body = match Limited::new(body, H::BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Answer::refused(&Reason::MessageTooLarge.into()),
        };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        handler.answer(Call { method: head.method, path, peer, connected, body }).await
    };
    tokio::time::timeout(CALL_TIMEOUT, read)
        .await
        .unwrap_or_else(|_| Answer::refused(&Reason::Unavailable.into()))
}

fn response(answer: Answer, methods: &'static str) -> Response<Full<Bytes>> {
    let refused = answer.status == StatusCode::METHOD_NOT_ALLOWED;
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(answer.cache));
    if refused {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}
