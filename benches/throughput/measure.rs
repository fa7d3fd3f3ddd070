//! Calls in flight, counted and timed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(4);

pub struct Figure {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Runs `call(n)` for n = 0, 1, … with `in_flight` at once until the window ends or `limit` calls were made.
pub async fn measure<F, Fut>(in_flight: usize, limit: usize, call: F) -> Figure
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let call = Arc::new(call);
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
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
    Figure {
        per_second: times.len() as f64 / seconds,
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    }
}

/// One line; `baseline` is what the ratio is to.
pub fn show(name: &str, figure: &Figure, baseline: &Figure, of: &str) {
    println!(
        "{name:<46} {:>8.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms  {:.2} of {of}",
        figure.per_second,
        figure.p50.as_secs_f64() * 1000.0,
        figure.p99.as_secs_f64() * 1000.0,
        figure.per_second / baseline.per_second
    );
}
