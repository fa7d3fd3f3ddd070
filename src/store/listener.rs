//! Hearing what other gateways commit: one session that listens, made again whenever it is lost.
//!
//! Whoever remembers something until a wake says otherwise (that a caller's key is good) relies on this: so
//! everybody is woken once a *new* session listens, never before. What was told between the end of the old
//! one and the beginning of the new was not heard. A session that breaks without a word, as a line that is
//! cut in the middle does, is found by asking the server now and then.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::sequencer::error_class;
use super::standing::{Standing, listens};
use super::wakes::{CHANNEL, Wakes};
use crate::sql::silence::no_answer;

/// How long nothing may be heard before the server is asked whether it is still there.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long it may take to answer, or to make a session.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A session that listens, and nothing else.
pub(super) async fn listen(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool =
        PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_lazy_with(options.clone());
    let listening = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        // A session that comes back by itself does not say so before it listens.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    timeout(PATIENCE, listening).await.unwrap_or_else(|_| Err(no_answer()))
}

/// Passes on what is heard, until it is aborted.
pub(super) async fn hear(
    options: PgConnectOptions,
    mut listener: PgListener,
    wakes: Arc<Wakes>,
    told: watch::Sender<Standing>,
) {
    loop {
        let error = attend(&mut listener, &wakes).await;
        tracing::warn!(error = error_class(&error), "wakes of other gateways are not heard");
        drop(listener);
        listener = again(&options, &told).await;
        listens(&told, true);
        tracing::info!("wakes of other gateways are heard again");
        wakes.ring_all();
    }
}

/// Until the session is lost.
async fn attend(listener: &mut PgListener, wakes: &Wakes) -> sqlx::Error {
    loop {
        match timeout(HEARTBEAT, listener.try_recv()).await {
            Ok(Ok(Some(told))) => wakes.hear(told.payload()),
            Ok(Ok(None)) => return sqlx::Error::WorkerCrashed,
            Ok(Err(error)) => return error,
            Err(_) => match timeout(PATIENCE, sqlx::query("SELECT 1").execute(&mut *listener)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error,
                Err(_) => return no_answer(),
            },
        }
    }
}

/// A session that was cut is made again at once; where it cannot be, that is told.
async fn again(options: &PgConnectOptions, told: &watch::Sender<Standing>) -> PgListener {
    let mut pause = FIRST_PAUSE;
    loop {
        match listen(options).await {
            Ok(listener) => return listener,
            Err(error) => tracing::debug!(error = error_class(&error), "the server is not back yet"),
        }
        listens(told, false);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
