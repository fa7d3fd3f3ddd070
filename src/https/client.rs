//! The client: one peer, one connection that is kept, one request at a time.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;

use crate::domain::Kind;
use crate::identity::{ClientTls, PrincipalId, SetupError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error("it does not answer ({0:?})")]
    Unreachable(io::ErrorKind),
    #[error("it took longer than {0:?}")]
    TooSlow(Duration),
    #[error("its certificate names another principal")]
    OtherPeer,
    #[error("it does not speak HTTP/1.1, or broke off")]
    Http,
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The body's first line, if it is short plain text.
    pub fn first_line(&self) -> Option<&str> {
        let line = std::str::from_utf8(&self.body).ok()?.lines().next()?;
        (line.len() <= 300 && !line.chars().any(char::is_control)).then_some(line)
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// A line to one server.
pub struct Line {
    /// Looked at before each connection: the certificate may have been renewed.
    tls: std::sync::Mutex<ClientTls>,
    /// `https://host[:port]`, and the path prefix without a closing slash.
    base: Uri,
    prefix: String,
    /// Who the server's certificate must name, beside its DNS name.
    expected: Option<PrincipalId>,
    patience: Duration,
    /// Empty while a request is under way: one that is given up leaves no half-read line behind.
    kept: Mutex<Option<Sender>>,
}

impl Line {
    /// `url` begins with `https://`; each request may take `patience`.
    pub fn new(tls: ClientTls, url: &str, patience: Duration) -> Result<Self, SetupError> {
        let bad = || SetupError::Field { field: "url", rule: "https://host[:port][/path], without a query" };
        let base: Uri = url.parse().map_err(|_| bad())?;
        let plain = base.scheme_str() == Some("https") && base.host().is_some() && base.query().is_none();
        if !plain {
            return Err(bad());
        }
        let prefix = base.path().trim_end_matches('/').to_owned();
        let tls = std::sync::Mutex::new(tls.speaking(super::PROTOCOL));
        Ok(Self { tls, base, prefix, expected: None, patience, kept: Mutex::new(None) })
    }

    /// Believes only a server whose certificate names this witness.
    pub fn to_witness(mut self, id: &str) -> Result<Self, SetupError> {
        let id = PrincipalId::new(Kind::Witness, id)
            .map_err(|_| SetupError::Field { field: "witness.name", rule: "the id of a witness" })?;
        self.expected = Some(id);
        Ok(self)
    }

    /// Asks for the path below the prefix; the answer's body is at most `limit` bytes.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
        limit: usize,
    ) -> Result<Reply, LineError> {
        let body = body.into();
        let asked = tokio::time::timeout(self.patience, self.ask(method, path, body, limit));
        asked.await.unwrap_or(Err(LineError::TooSlow(self.patience)))
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes, limit: usize) -> Result<Reply, LineError> {
        let mut kept = self.kept.lock().await;
        if let Some(mut sender) = kept.take()
            && sender.ready().await.is_ok()
        {
            // A server may close a kept line at any moment: that is no fault, a new one is dialled.
            match self.exchange(&mut sender, &method, path, &body, limit).await {
                Ok(reply) => {
                    *kept = Some(sender);
                    return Ok(reply);
                }
                Err(LineError::Http) => {}
                Err(error) => return Err(error),
            }
        }
        let mut sender = self.dial().await?;
        let reply = self.exchange(&mut sender, &method, path, &body, limit).await?;
        *kept = Some(sender);
        Ok(reply)
    }

    async fn dial(&self) -> Result<Sender, LineError> {
        let tls = {
            let mut tls = self.tls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tls.renew();
            tls.clone()
        };
        let stream = tls.dial(&self.base).await.map_err(|error| LineError::Unreachable(error.kind()))?;
        if let Some(expected) = &self.expected
            && ClientTls::server_of(&stream).is_none_or(|server| server.principal().id() != expected)
        {
            return Err(LineError::OtherPeer);
        }
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| LineError::Http)?;
        // Ends when the sender is dropped or the server closes.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(
        &self,
        sender: &mut Sender,
        method: &Method,
        path: &str,
        body: &Bytes,
        limit: usize,
    ) -> Result<Reply, LineError> {
        let host = self.base.authority().map_or("", |authority| authority.as_str());
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.prefix))
            .header(HOST, host)
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(body.clone()))
            .map_err(|_| LineError::Http)?;
        let response = sender.send_request(request).await.map_err(|_| LineError::Http)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|_| LineError::TooLarge(limit))?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}
