//! What every service holds: the use cases, the caller of a request, the way answers and
//! streams leave.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::Map;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::status;
use crate::app::{App, AppError, AppResult};
use crate::domain::{AgentId, ControllerId, Reason, Refusal};
use crate::identity::Caller;
use crate::store::Pass;

/// Items of a stream made and not yet taken: what a slow reader may hold in memory.
const STREAM_BUFFER: usize = 8;
/// How long a stream waits to hand its last word to a reader that takes nothing.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How often a watcher reads unasked: a wake that got lost costs this much.
pub const TICK: Duration = Duration::from_secs(5);

/// An item on its way. Boxed, for a channel sets room aside for 32 of them, however few it may hold.
type Item<T> = Box<Result<T, Status>>;

/// The items of a stream, as tonic sends them.
pub type Items<T> = Map<ReceiverStream<Item<T>>, fn(Item<T>) -> Result<T, Status>>;

/// Where a stream's work puts its items.
pub struct Outlet<T>(mpsc::Sender<Item<T>>);

impl<T> Outlet<T> {
    /// Waits for room. `false`: the reader is gone.
    pub async fn send(&self, item: T) -> bool {
        self.0.send(Box::new(Ok(item))).await.is_ok()
    }
}

#[derive(Clone)]
pub struct Surface {
    pub app: Arc<App>,
    /// Cancelled when the server shuts down: streams and waits end.
    pub closing: CancellationToken,
}

impl Surface {
    pub fn new(app: Arc<App>, closing: CancellationToken) -> Self {
        Self { app, closing }
    }

    pub fn refused(&self, refusal: &Refusal) -> Status {
        status::refused(&self.app.store.origins.gateway, refusal)
    }

    pub fn status(&self, error: AppError) -> Status {
        status::status_of(&self.app.store.origins.gateway, &error, &*self.app.clock, &*self.app.entropy)
    }

    /// The proven caller that the layer put beside the request.
    pub fn caller<T>(&self, request: &Request<T>) -> Result<Arc<Caller>, Status> {
        // Without one the layer was not there: refuse rather than serve.
        request
            .extensions()
            .get::<Arc<Caller>>()
            .cloned()
            .ok_or_else(|| self.refused(&Reason::TokenMissing.into()))
    }

    /// The caller as a controller. The method's rule let only those through.
    pub fn controller<T>(&self, request: &Request<T>) -> Result<ControllerId, Status> {
        let caller = self.caller(request)?;
        caller.principal().controller().cloned().ok_or_else(|| self.refused(&Reason::KindNotAllowed.into()))
    }

    /// The caller as an agent.
    pub fn agent<T>(&self, request: &Request<T>) -> Result<AgentId, Status> {
        let caller = self.caller(request)?;
        caller.principal().agent().cloned().ok_or_else(|| self.refused(&Reason::KindNotAllowed.into()))
    }

    /// The caller's resource name, as it stands in leaves.
    pub fn by<T>(&self, request: &Request<T>) -> Result<String, Status> {
        Ok(self.caller(request)?.principal().resource_name())
    }

    /// Runs a use case and answers what it answers.
    pub async fn reply<T>(&self, work: impl Future<Output = AppResult<T>>) -> Result<Response<T>, Status> {
        work.await.map(Response::new).map_err(|error| self.status(error))
    }

    /// Comes when the caller's token ends, or the server: what a stream is then told.
    pub fn end_of(&self, caller: &Caller) -> impl Future<Output = Status> + use<> {
        let left = caller.token_expires_at().as_millisecond() - self.app.clock.now().as_millisecond();
        let life = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        let surface = self.clone();
        async move {
            tokio::select! {
                biased;
                () = surface.closing.cancelled() => surface.refused(&Reason::Unavailable.into()),
                () = tokio::time::sleep(life) => surface.refused(&Reason::TokenExpired.into()),
            }
        }
    }

    /// A stream that ends with its work, with the reader, with the server, or with the
    /// caller's token: then the last item is `TOKEN_EXPIRED`, and the client resumes.
    pub fn stream<T, F, W>(&self, caller: &Caller, work: F) -> Response<Items<T>>
    where
        T: Send + 'static,
        F: FnOnce(Outlet<T>) -> W,
        W: Future<Output = AppResult<()>> + Send + 'static,
    {
        let (sender, items) = mpsc::channel(STREAM_BUFFER);
        // Boxed, or the task would hold room for it twice.
        let work = Box::pin(work(Outlet(sender.clone())));
        let end = self.end_of(caller);
        let surface = self.clone();
        // What the stream writes, it writes for the caller of the call.
        tokio::spawn(Pass::carry(async move {
            let last = tokio::select! {
                biased;
                () = sender.closed() => return,
                over = end => over,
                done = work => match done {
                    Ok(()) => return,
                    Err(error) => surface.status(error),
                },
            };
            // A reader that takes nothing does not hold the task for ever.
            let _ = tokio::time::timeout(LAST_WORD, sender.send(Box::new(Err(last)))).await;
        }));
        Response::new(ReceiverStream::new(items).map(|item| *item))
    }
}
