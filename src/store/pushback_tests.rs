//! Whoever comes while the queue is full is told so at once; nothing of what was taken is lost.

use std::sync::Arc;
use std::task::Poll;

use rstest::rstest;
use tokio::sync::Notify;

use super::conformance::{Kind, Write, place};
use super::sequencer::{BATCH, QUEUE};
use super::*;

/// Keeps the writer busy until it may go on.
struct Busy {
    begun: Arc<Notify>,
    may_end: Arc<Notify>,
}

#[async_trait::async_trait]
impl Command for Busy {
    const NAME: &'static str = "busy";
    type Output = ();

    async fn run(&self, _: &mut Tx<'_>) -> Result<(), StoreError> {
        self.begun.notify_one();
        self.may_end.notified().await;
        Ok(())
    }
}

#[rstest]
#[case(Kind::Sqlite)]
#[case(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_what_it_took_is_done(#[case] kind: Kind) {
    const TOO_MANY: usize = 100;
    let place = place(kind).await;
    let store = Arc::new(place.open().await.unwrap());
    let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let busy = tokio::spawn({
        let (store, command) = (store.clone(), Busy { begun: begun.clone(), may_end: may_end.clone() });
        async move { store.transact(command).await }
    });
    begun.notified().await;

    // The queue, and what the writer may have taken out of it for its next batch.
    let mut waiting = Vec::new();
    let mut refused = 0;
    for n in 0..QUEUE + BATCH + TOO_MANY {
        let mut one = Box::pin(store.transact(Write::word(n)));
        match futures::poll!(&mut one) {
            Poll::Pending => waiting.push(one),
            Poll::Ready(Err(StoreError::Refused(refusal))) => {
                assert_eq!(refusal.reason, Reason::Overloaded);
                refused += 1;
            }
            Poll::Ready(other) => panic!("answered by a busy writer: {:?}", other.map(drop)),
        }
    }
    assert!(refused >= TOO_MANY, "{refused}");
    assert!(waiting.len() >= QUEUE, "refused while there was room: {}", waiting.len());

    may_end.notify_one();
    busy.await.unwrap().unwrap();
    let taken = waiting.len();
    for one in waiting {
        one.await.expect("it was taken");
    }
    store.transact(Write::word("after")).await.expect("there is room again");
    assert_eq!(place.words().await.len(), taken + 1);
    store.close().await;
    assert!(place.check_logs().await > taken as u64);
}
