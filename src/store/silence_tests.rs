//! A line that falls silent: nothing passes over it any more, and neither side is told. All limits here are far
//! beyond what the store keeps to.

use std::time::Duration;

use rstest::rstest;
use tokio::time::timeout;

use super::conformance::Write;
use super::database::READERS;
use super::lost_commits::{Cut, is_unavailable, place_behind_a_line};
use super::*;
use crate::sql::query;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(180), future).await.unwrap_or_else(|_| panic!("hangs: {what}"))
}

async fn one(reader: &mut Conn) -> Result<i64, sqlx::Error> {
    Ok(query("SELECT CAST(1 AS BIGINT) AS one").fetch_one(reader).await?.get("one"))
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_reads_go_on_and_no_place_among_the_readers_is_lost() {
    let (place, behind, line) = place_behind_a_line().await;
    let store = behind.open().await.unwrap();
    store.transact(Write::word(1)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..READERS {
        held.push(store.reader().await.unwrap());
    }
    // One is asked while the line falls silent, one is let go of while its answer is awaited, the rest are idle.
    let (mut asked, mut left) = (held.pop().unwrap(), held.pop().unwrap());
    drop(held);
    line.fall_silent(false);
    let waiting = tokio::spawn(async move {
        let first = one(&mut asked).await;
        (first, timeout(Duration::from_secs(1), one(&mut asked)).await)
    });
    assert!(timeout(Duration::from_millis(200), one(&mut left)).await.is_err(), "the line is not silent");
    drop(left);
    let standing = store.standing();
    let issued = soon("a write", store.transact(Write::word(2))).await.unwrap().receipt.unwrap();
    assert_eq!(issued.index, 2);
    assert_eq!(standing.borrow().serves(), Serves::Everything, "a line that was made again at once was told");
    let (first, again) = soon("a read under way", waiting).await.unwrap();
    assert!(passes(first), "it was answered over a silent line");
    assert!(passes(again.expect("it was waited for again")), "it was used again");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = soon("a place among the readers", store.reader()).await.unwrap();
        assert_eq!(one(&mut reader).await.unwrap(), 1);
        readers.push(reader);
    }
    drop(readers);
    soon("closing", store.close()).await;
    assert_eq!(place.words().await, ["word-1", "word-2"]);
    assert_eq!(place.check_logs().await, 3);
}

fn passes(answer: Result<i64, sqlx::Error>) -> bool {
    answer.is_err_and(|error| crate::sql::passes(&error))
}

#[rstest]
#[case::before_the_server_has_it(Cut::Before)]
#[case::with_its_answer(Cut::After)]
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_swallowed_is_found_or_made_again_and_answered_once(#[case] cut: Cut) {
    let (place, behind, line) = place_behind_a_line().await;
    let store = behind.open().await.unwrap();
    store.transact(Write::word(1)).await.unwrap();
    line.swallow(cut);
    let issued = soon("the write", store.transact(Write::word(2))).await.unwrap().receipt.unwrap();
    assert!(line.was_cut(), "the COMMIT went through");
    assert_eq!(store.receipt(issued.index).await.unwrap().leaf, issued.leaf);
    store.transact(Write::word(3)).await.unwrap();
    store.close().await;
    assert_eq!(place.words().await, ["word-1", "word-2", "word-3"]);
    assert_eq!(place.check_logs().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_cannot_be_reached_callers_are_told_and_the_store_closes() {
    let (place, behind, line) = place_behind_a_line().await;
    let store = Arc::new(behind.open().await.unwrap());
    store.transact(Write::word(1)).await.unwrap();
    line.fall_silent(true);
    assert!(is_unavailable(soon("a write", store.transact(Write::word(2))).await));
    assert_eq!(store.standing().borrow().serves(), Serves::Nothing);
    assert!(soon("a read", store.reader()).await.is_err());
    let waits = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.transact(Write::word(3)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    soon("closing", store.close()).await;
    assert!(is_unavailable(soon("who waited", waits).await.unwrap()));
    assert_eq!(place.words().await, ["word-1"]);
    assert_eq!(place.check_logs().await, 2);
}
