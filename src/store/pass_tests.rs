//! Whoever is no longer let in when the writer gets to a command is not heard, whatever was so before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rstest::rstest;

use super::conformance::{Kind, Together, Write, place};
use super::*;
use crate::domain::event::LogOpened;
use crate::sql::query;

/// Holds the writer, so that what is sent meanwhile comes in one batch.
struct Hold;

#[async_trait::async_trait]
impl Command for Hold {
    const NAME: &'static str = "hold";
    type Output = ();

    async fn run(&self, _: &mut Tx<'_>) -> Result<(), StoreError> {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok(())
    }
}

/// Registers a key, or revokes it, with a leaf.
struct Key(&'static str, bool);

#[async_trait::async_trait]
impl Command for Key {
    const NAME: &'static str = "key";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let Key(thumbprint, registers) = *self;
        tx.append("test", LogOpened { origin: thumbprint.into() })?;
        tx.wake(Topic::AccessKeys);
        if !registers {
            return registry::revoke_access_key(tx, thumbprint).await.map(drop);
        }
        query("INSERT INTO thumbprints (thumbprint, use, principal) VALUES (?, 'access', 'controllers/x')")
            .bind(thumbprint)
            .execute(tx.conn())
            .await?;
        registry::insert_access_key(tx, thumbprint, "controllers/x", "{}").await
    }
}

fn pass(key: &str) -> Pass {
    Pass::new(key, || Ok(()))
}

fn reason<T>(answer: Result<Committed<T>, StoreError>) -> Option<Reason> {
    match answer {
        Ok(_) => None,
        Err(StoreError::Refused(refusal)) => Some(refusal.reason),
        Err(error) => panic!("{error}"),
    }
}

/// Sends a command now; its answer comes later.
fn send<C: Command>(
    store: &Arc<Store>,
    pass: Option<Pass>,
    command: C,
) -> tokio::task::JoinHandle<Result<Committed<C::Output>, StoreError>> {
    let store = Arc::clone(store);
    let work = async move { store.transact(command).await };
    match pass {
        Some(pass) => tokio::spawn(pass.during(work)),
        None => tokio::spawn(work),
    }
}

#[rstest]
#[case(Kind::Sqlite)]
#[case(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn behind_the_leaf_of_a_revocation_nothing_stands_that_the_key_let_in(#[case] kind: Kind) {
    let place = place(kind).await;
    let store = Arc::new(place.open().await.unwrap());
    for key in ["one", "two"] {
        store.transact(Key(key, true)).await.unwrap();
    }
    let hold = send(&store, None, Hold);
    // Each is in the queue before the next is sent, and all before the writer is free.
    let mut sent = Vec::new();
    for (n, key) in ["one", "two", "one"].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        sent.push((key, send(&store, Some(pass(key)), Write(format!("before-{n}")))));
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let revoked = send(&store, None, Key("one", false));
    for (n, key) in ["one", "two", "one"].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        sent.push((key, send(&store, Some(pass(key)), Write(format!("after-{n}")))));
    }
    let end = revoked.await.unwrap().unwrap().receipt.unwrap().index;
    hold.await.unwrap().unwrap();
    let mut refused = 0;
    for (key, answer) in sent {
        match answer.await.unwrap() {
            Ok(done) => {
                assert!(key == "two" || done.receipt.unwrap().index < end, "{key} was heard after its end")
            }
            answer => {
                assert_eq!((key, reason(answer)), ("one", Some(Reason::TokenKeyUnknown)));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 2);
    assert_eq!(place.words().await, ["after-1", "before-0", "before-1", "before-2"]);
    // A batch later, of those that run together, too; and a command of the gateway's own needs no pass.
    let hold = send(&store, None, Hold);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut sent = Vec::new();
    for (n, key) in ["one", "two", "never registered", "two"].into_iter().enumerate() {
        sent.push((key, send(&store, Some(pass(key)), Together(format!("together-{n}")))));
    }
    sent.push(("two", send(&store, None, Together("own".into()))));
    hold.await.unwrap().unwrap();
    for (key, answer) in sent {
        let wanted = (key != "two").then_some(Reason::TokenKeyUnknown);
        assert_eq!(reason(answer.await.unwrap()), wanted, "{key}");
    }
    store.close().await;
    let leaves = place.check_logs().await;
    assert_eq!(leaves, 1 + 3 + 4 + 3, "a refused command left a leaf");
}

#[rstest]
#[case(Kind::Sqlite)]
#[case(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_while_a_command_waits_ends_the_command(#[case] kind: Kind) {
    let place = place(kind).await;
    let store = Arc::new(place.open().await.unwrap());
    store.transact(Key("one", true)).await.unwrap();
    let good = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&good);
    let pass = Pass::new("one", move || match seen.load(Ordering::SeqCst) {
        true => Ok(()),
        false => Err(Reason::CertificateRevoked.into()),
    });
    assert_eq!(reason(pass.clone().during(store.transact(Write::word(1))).await), None);
    let hold = send(&store, None, Hold);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waiting = send(&store, Some(pass), Write::word(2));
    tokio::time::sleep(Duration::from_millis(20)).await;
    good.store(false, Ordering::SeqCst);
    assert_eq!(reason(waiting.await.unwrap()), Some(Reason::CertificateRevoked));
    hold.await.unwrap().unwrap();
    store.close().await;
    assert_eq!(place.words().await, ["word-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_another_task_does_is_done_under_the_pass_it_was_begun_under() {
    let carried = async { tokio::spawn(Pass::carry(async { Pass::of_now().is_some() })).await };
    assert!(pass("one").during(carried).await.unwrap());
    assert!(!tokio::spawn(Pass::carry(async { Pass::of_now().is_some() })).await.unwrap());
}
