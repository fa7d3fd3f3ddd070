//! `grpc.health.v1`: whether calls go through now.
//!
//! Nothing is asked for it: store and keyring say what they found by working. The whole server ("") and each service
//! with a method that writes serve while writes go through; a service that only reads also while reads do. All
//! stop serving when the server begins to close.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures::Stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthRpc, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::access;
use crate::app::App;
use crate::store::Serves;

/// What each service needs, by name.
type Needs = BTreeMap<&'static str, Serves>;

pub struct Health {
    serves: watch::Receiver<Serves>,
    needs: Needs,
    closing: CancellationToken,
}

/// The service, kept up to date until the server closes.
pub fn service(app: &App, closing: &CancellationToken) -> HealthServer<Health> {
    let (told, serves) = watch::channel(Serves::Everything);
    let (store, keyring) = (app.store.standing(), app.vault.keyring().reached());
    let sides = Sides { store, keyring };
    told.send_replace(sides.serves());
    tokio::spawn(closing.clone().run_until_cancelled_owned(follow(sides, told)));
    HealthServer::new(Health { serves, needs: needs(), closing: closing.clone() })
}

fn needs() -> Needs {
    let mut needs = Needs::from([("", Serves::Everything)]);
    for (service, writes) in access::services() {
        let need = needs.entry(service).or_insert(Serves::Reads);
        if writes {
            *need = Serves::Everything;
        }
    }
    needs
}

/// What a call may need.
struct Sides {
    store: watch::Receiver<crate::store::Standing>,
    keyring: Option<watch::Receiver<bool>>,
}

impl Sides {
    fn serves(&self) -> Serves {
        let store = self.store.borrow().serves();
        let keyring = self.keyring.as_ref().is_none_or(|reached| *reached.borrow());
        // What is sealed can be neither read nor written without it.
        if keyring { store } else { store.min(Serves::Reads) }
    }

    /// Never, once the store is closed.
    async fn change(&mut self) {
        tokio::select! {
            Ok(()) = self.store.changed() => {}
            Some(Ok(())) = async { Some(self.keyring.as_mut()?.changed().await) } => {}
            else => std::future::pending().await,
        }
    }
}

/// Passes on what the sides say, and tells the operator.
async fn follow(mut sides: Sides, told: watch::Sender<Serves>) {
    loop {
        let now = sides.serves();
        let before = told.send_replace(now);
        match now {
            _ if now == before => {}
            Serves::Everything => tracing::info!("health: serving again"),
            Serves::Reads => tracing::warn!("health: not serving, writes do not go through"),
            Serves::Nothing => tracing::warn!("health: not serving, the database is away"),
        }
        sides.change().await;
    }
}

impl Health {
    fn status(&self, service: &str, serves: Serves) -> ServingStatus {
        status(self.needs.get(service).copied(), serves, &self.closing)
    }
}

fn status(need: Option<Serves>, serves: Serves, closing: &CancellationToken) -> ServingStatus {
    match need {
        None => ServingStatus::ServiceUnknown,
        Some(need) if serves >= need && !closing.is_cancelled() => ServingStatus::Serving,
        Some(_) => ServingStatus::NotServing,
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl HealthRpc for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service, *self.serves.borrow()) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no such service")),
            known => Ok(Response::new(answer(known))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The state now, and each other one, until the server has said that it closes.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let need = self.needs.get(request.get_ref().service.as_str()).copied();
        let watched =
            Watched { need, serves: self.serves.clone(), closing: self.closing.clone(), last: None };
        let stream = futures::stream::unfold(watched, |mut watched| async move {
            let next = watched.next().await?;
            Some((Ok(answer(next)), watched))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// One who watches.
struct Watched {
    need: Option<Serves>,
    serves: watch::Receiver<Serves>,
    closing: CancellationToken,
    last: Option<ServingStatus>,
}

impl Watched {
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            let ends = self.closing.is_cancelled();
            let now = status(self.need, *self.serves.borrow_and_update(), &self.closing);
            if self.last.replace(now) != Some(now) {
                return Some(now);
            }
            if ends {
                return None;
            }
            tokio::select! {
                () = self.closing.cancelled() => {}
                Ok(()) = self.serves.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_with_a_method_that_writes_needs_writes() {
        let needs = needs();
        assert_eq!(needs.len(), 9, "the server and its services: {needs:?}");
        let reads: Vec<_> = needs.iter().filter(|(_, need)| **need == Serves::Reads).collect();
        assert_eq!(reads, [(&"mandate.v1.ExecutionService", &Serves::Reads)]);
    }

    #[tokio::test]
    async fn who_watches_hears_each_change_once_and_that_the_server_closes() {
        let (told, serves) = watch::channel(Serves::Everything);
        let closing = CancellationToken::new();
        let watch = |need| Watched { need, serves: serves.clone(), closing: closing.clone(), last: None };
        let (mut all, mut reads) = (watch(Some(Serves::Everything)), watch(Some(Serves::Reads)));
        let mut unknown = watch(None);
        assert_eq!(all.next().await, Some(ServingStatus::Serving));
        assert_eq!(reads.next().await, Some(ServingStatus::Serving));
        assert_eq!(unknown.next().await, Some(ServingStatus::ServiceUnknown));
        told.send_replace(Serves::Reads);
        assert_eq!(all.next().await, Some(ServingStatus::NotServing));
        told.send_replace(Serves::Nothing);
        assert_eq!(reads.next().await, Some(ServingStatus::NotServing));
        told.send_replace(Serves::Everything);
        assert_eq!(all.next().await, Some(ServingStatus::Serving));
        closing.cancel();
        assert_eq!((all.next().await, all.next().await), (Some(ServingStatus::NotServing), None));
        assert_eq!(reads.next().await, None, "it heard that before");
        assert_eq!(unknown.next().await, None);
    }
}
