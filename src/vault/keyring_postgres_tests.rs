//! What holds on a server: several processes on one keyring, lost connections, a restarted server.

use std::fs;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::fixtures::*;
use super::*;
use crate::sql::PostgresUrl;
use crate::sql::cluster::Cluster;

/// A cluster that can be stopped without harm to other tests; gone with the test.
struct Own(Cluster);

impl Own {
    fn started() -> Self {
        let own = Self(Cluster::create());
        own.0.start();
        own
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.remove();
    }
}

async fn house() -> House {
    House::new(Kind::Postgres).await
}

fn cached(keyring: &Keyring, id: KeyId) -> bool {
    keyring.0.cache.get(id).is_some()
}

/// How many of the keys a reader of the database finds.
async fn durable(house: &House, ids: &HashSet<KeyId>) -> usize {
    let ids: Vec<String> = ids.iter().map(|id| format!("'\\x{}'", id.as_uuid().simple())).collect();
    let mut found = 0;
    for some in ids.chunks(1000) {
        let count = house.sql(&format!("SELECT count(*) FROM data_keys WHERE id IN ({})", some.join(",")));
        found += count.parse::<usize>().unwrap();
    }
    found
}

/// Takes keys in tasks, half of them from each; what was handed out, and how many calls failed.
async fn take_at_once(keyrings: [&Keyring; 2], tasks: usize, each: usize) -> (Vec<KeyId>, usize) {
    let takers: Vec<_> = (0..tasks)
        .map(|n| {
            let keyring = keyrings[n % 2].clone();
            tokio::spawn(async move {
                let (mut ids, mut failed) = (Vec::new(), 0);
                for _ in 0..each {
                    match keyring.take(CLASS).await {
                        Ok(key) => ids.push(key.id()),
                        Err(_) => failed += 1,
                    }
                }
                (ids, failed)
            })
        })
        .collect();
    let (mut all, mut failures) = (Vec::new(), 0);
    for taker in takers {
        let (ids, failed) = taker.await.unwrap();
        all.extend(ids);
        failures += failed;
    }
    (all, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_never_hand_out_one_key_and_every_key_is_durable() {
    let house = house().await;
    let (one, two) = (house.open().await, house.copy().open().await);
    let (taken, failed) = take_at_once([&one, &two], 8, 500).await;
    let distinct: HashSet<KeyId> = taken.iter().copied().collect();
    assert_eq!((taken.len(), distinct.len(), failed), (4000, 4000, 0));
    assert_eq!(durable(&house, &distinct).await, 4000);
    // Each opens what the other made.
    for id in taken.iter().step_by(400) {
        assert!(one.key(*id, CLASS).await.is_ok() && two.key(*id, CLASS).await.is_ok());
    }
}

#[tokio::test]
async fn a_key_shredded_through_one_process_leaves_the_others_memory() {
    let house = house().await;
    let (one, two) = (house.open().await, house.open().await);
    // More than one notification carries.
    let mut ids = Vec::new();
    for _ in 0..450 {
        let id = one.take(CLASS).await.unwrap().id();
        two.key(id, CLASS).await.unwrap();
        ids.push(id);
    }
    let kept = one.take(CLASS).await.unwrap().id();
    two.key(kept, CLASS).await.unwrap();
    assert!(ids.iter().all(|id| cached(&two, *id)));

    one.shred(&ids).await.unwrap();
    // Sooner than a heartbeat: it was told.
    let told = eventually(async || !ids.iter().any(|id| cached(&two, *id)));
    tokio::time::timeout(Duration::from_secs(2), told).await.expect("nobody told the other process");
    for id in &ids {
        assert!(matches!(two.key(*id, CLASS).await, Err(VaultError::Shredded)));
    }
    assert!(cached(&two, kept), "more was dropped than was destroyed");
}

#[tokio::test]
async fn what_was_destroyed_while_nobody_could_be_told_is_not_opened_from_memory() {
    let house = house().await;
    let (one, two) = (house.open().await, house.open().await);
    let gone = one.take(CLASS).await.unwrap().id();
    let kept = one.take(CLASS).await.unwrap().id();
    two.key(gone, CLASS).await.unwrap();
    two.key(kept, CLASS).await.unwrap();
    // Destroyed without a notification, as if it was sent while the other was away.
    house.sql(&format!("DELETE FROM data_keys WHERE id = '\\x{}'", gone.as_uuid().simple()));
    assert!(two.key(gone, CLASS).await.is_ok(), "it is in memory, and nobody told");

    house.cut();
    eventually(async || two.0.table.sessions() > 1).await;
    assert!(matches!(two.key(gone, CLASS).await, Err(VaultError::Shredded)), "the cache was kept");
    assert!(two.key(kept, CLASS).await.is_ok());
}

#[tokio::test]
async fn the_sweep_leaves_every_live_run_alone_and_one_that_died_lately() {
    let house = house().await;
    let (one, two) = (house.open().await, house.open().await);
    let in_flight = one.take(CLASS).await.unwrap().id();
    // However long ago it was last seen: its lock shows that it lives.
    house.age_runs();
    assert_eq!(two.sweep(&HashSet::new()).await.unwrap(), 0);
    assert!(!two.is_shredded(in_flight).await.unwrap());

    // Gone just now: what it had in flight may still commit.
    house.sql("UPDATE runs SET seen_at = now()");
    let left = house.copy();
    one.close().await.unwrap();
    left.wait_for(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())",
        "1",
    )
    .await;
    assert_eq!(two.sweep(&HashSet::new()).await.unwrap(), 0);

    // Gone long ago.
    house.age_runs();
    assert_eq!(two.sweep(&HashSet::new()).await.unwrap(), u64::from(BATCH));
    assert!(two.is_shredded(in_flight).await.unwrap());
    assert_eq!(two.sweep(&HashSet::new()).await.unwrap(), 0);
    assert_eq!(house.sql("SELECT count(*) FROM runs"), "1", "a run of which nothing is left stays listed");
}

#[tokio::test]
async fn a_process_whose_run_was_ended_begins_another_and_hands_out_none_of_its_old_spares() {
    let house = house().await;
    let (one, two) = (house.open().await, house.open().await);
    let run = one.0.table.run().await.unwrap();
    let spares: HashSet<KeyId> = one.spares().keys.iter().map(|(id, _)| *id).collect();
    // As after an hour without a connection.
    house.sql(&format!("UPDATE runs SET ended = true WHERE run = {run}"));
    house.cut();
    eventually(async || one.0.table.run().await.unwrap() != run).await;
    assert_eq!(two.sweep(&HashSet::new()).await.unwrap(), u64::from(BATCH));

    let new = one.take(CLASS).await.unwrap().id();
    assert!(!spares.contains(&new), "a swept spare was handed out");
    assert!(!two.is_shredded(new).await.unwrap());
}

#[tokio::test]
async fn a_short_cut_leaves_run_and_spares_as_they_were() {
    let house = house().await;
    let keyring = house.open().await;
    let run = keyring.0.table.run().await.unwrap();
    house.cut();
    // From memory, meanwhile.
    let id = keyring.take(CLASS).await.unwrap().id();
    eventually(async || keyring.0.table.sessions() > 1).await;
    assert!(keyring.key(id, CLASS).await.is_ok());
    // The server may need a moment to see that the old session is gone; then it is a new run.
    let again = keyring.0.table.run().await.unwrap();
    assert!(again >= run);
    assert_eq!(house.sql(&format!("SELECT ended FROM runs WHERE run = {run}")), "f");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_cut_under_load_lose_no_key_and_double_none() {
    let house = Arc::new(house().await);
    let (one, two) = (house.open().await, house.open().await);
    let cuts = Arc::new(AtomicUsize::new(0));
    let cutter = {
        let (house, cuts) = (Arc::clone(&house), Arc::clone(&cuts));
        std::thread::spawn(move || {
            while cuts.fetch_add(1, Ordering::AcqRel) < 15 {
                house.cut();
                std::thread::sleep(Duration::from_millis(50));
            }
        })
    };
    let (mut all, mut shredded) = (HashSet::new(), HashSet::new());
    while cuts.load(Ordering::Acquire) < 15 {
        let (taken, failed) = take_at_once([&one, &two], 8, 150).await;
        assert_eq!(failed, 0, "a cut connection was a caller's business");
        for id in &taken {
            assert!(all.insert(*id), "one key was handed out twice");
        }
        let some = [taken[0], taken[1]];
        // The caller that does not see the call return shreds again.
        eventually(async || one.shred(&some).await.is_ok()).await;
        shredded.extend(some);
    }
    cutter.join().unwrap();
    assert!(all.len() > 1200, "there was no load");
    let kept: HashSet<KeyId> = all.difference(&shredded).copied().collect();
    assert_eq!(durable(&house, &kept).await, kept.len());
    assert_eq!(durable(&house, &shredded).await, 0);
    for id in &shredded {
        eventually(async || matches!(two.key(*id, CLASS).await, Err(VaultError::Shredded))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restarted_server_is_found_again_with_every_key_that_was_handed_out() {
    let own = Own::started();
    let cluster = &own.0;
    let house = House::at(Some(cluster.url("postgres")));
    house.place().migrate().await.unwrap();
    let keyring = house.open().await;
    let vault = vault(&keyring);
    let mut sealed = Vec::new();
    for crash in ["immediate", "fast"] {
        for _ in 0..300 {
            let key = keyring.take(CLASS).await.unwrap();
            sealed.push((key.id(), vault.seal(&key, HERE, b"text")));
        }
        let (gone, _) = sealed.pop().unwrap();
        keyring.shred(&[gone]).await.unwrap();
        cluster.stop(crash);
        eventually(async || !keyring.0.table.hears()).await;
        assert!(!cached(&keyring, sealed[0].0), "keys are kept in memory while nobody is listening");
        // Spares are on the disk of the server that is away: a request needs not wait.
        keyring.take(CLASS).await.unwrap();
        cluster.start();
        for (id, value) in &sealed {
            assert_eq!(vault.open(*id, CLASS, HERE, value).await.unwrap().as_slice(), b"text");
        }
        assert!(keyring.is_shredded(gone).await.unwrap());
        eventually(async || keyring.0.table.hears()).await;
    }
    assert_eq!(cluster.sql("postgres", "SELECT count(*) FROM runs"), "1", "the run was not taken up again");
}

#[tokio::test]
async fn a_call_while_the_server_is_away_waits_for_it_or_says_so() {
    let own = Own::started();
    let cluster = &own.0;
    let house = House::at(Some(cluster.url("postgres")));
    house.place().migrate().await.unwrap();
    let keyring = house.open().await;
    let id = keyring.take(CLASS).await.unwrap().id();
    cluster.stop("immediate");
    eventually(async || !keyring.0.table.hears()).await;
    let reading = {
        let keyring = keyring.clone();
        tokio::spawn(async move { keyring.key(id, CLASS).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!reading.is_finished());
    cluster.start();
    reading.await.unwrap().unwrap();
    assert!(house.try_open().await.is_ok());
    cluster.stop("fast");
    let Err(refused) = house.try_open().await else { panic!("it opened without a server") };
    assert_eq!(crate::domain::Reason::from(&refused), crate::domain::Reason::Unavailable);
}

#[tokio::test]
async fn an_epoch_begun_by_one_process_is_learned_by_the_others_from_their_folder() {
    let house = house().await;
    let elsewhere = house.copy();
    let (one, two) = (house.open().await, elsewhere.open().await);
    let id = one.take(CLASS).await.unwrap().id();
    assert_eq!(one.begin_epoch().await.unwrap(), 2);
    one.rewrap(1).await.unwrap();
    // Its file is not here yet: what is wrapped under it does not open, the rest goes on.
    assert!(matches!(two.key(id, CLASS).await, Err(VaultError::EpochMissing(2))));
    two.refill(usize::MAX).await.unwrap();
    assert!(matches!(one.destroy_epoch(1).await, Err(VaultError::EpochInUse(1))));
    // A shredding reaches as far as the newest epoch that any process may have wrapped the key under.
    assert_eq!(two.shred(&[two.take(CLASS).await.unwrap().id()]).await.unwrap().through_epoch, 2);

    one.rewrap(1).await.unwrap();
    one.destroy_epoch(1).await.unwrap();
    // From now on nobody may wrap under epoch 1, known to them or not.
    let refused = two.refill(usize::MAX).await;
    assert!(matches!(refused, Err(VaultError::EpochMissing(2))));
    fs::copy(house.epoch_file(2), elsewhere.epoch_file(2)).unwrap();
    assert!(two.key(id, CLASS).await.is_ok());
    two.refill(usize::MAX).await.unwrap();
    assert_eq!(two.current_epoch(), 2);
    two.destroy_epoch(1).await.unwrap();
    assert!(!elsewhere.epoch_file(1).exists());
}

#[tokio::test]
async fn two_processes_never_make_two_keys_of_one_epoch_number() {
    let house = house().await;
    let elsewhere = house.copy();
    let (one, two) = (house.open().await, elsewhere.open().await);
    assert_eq!(one.begin_epoch().await.unwrap(), 2);
    assert_eq!(two.begin_epoch().await.unwrap(), 3);
    assert!(!elsewhere.epoch_file(2).exists());
}

#[tokio::test]
async fn destroyed_rows_are_vacuumed_soon() {
    let house = house().await;
    let keyring = house.open().await;
    let id = keyring.take(CLASS).await.unwrap().id();
    keyring.shred(&[id]).await.unwrap();
    let vacuums = "SELECT vacuum_count > 0 FROM pg_stat_user_tables WHERE relname = 'data_keys'";
    house.wait_for(vacuums, "t").await;
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_and_nothing_is_made_there() {
    let url = crate::sql::cluster::shared().database();
    let house = House::at(Some(url.clone()));
    assert!(matches!(house.try_open().await, Err(VaultError::KeyringVersion)));
    assert_eq!(house.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    // Nor is another database's schema taken for it.
    crate::sql::cluster::shared().sql(
        Cluster::name(&url),
        "CREATE TABLE data_keys (id bytea PRIMARY KEY, epoch bigint, run integer, wrapped bytea)",
    );
    assert!(matches!(house.try_open().await, Err(VaultError::KeyringVersion)));
    assert!(house.place().migrate().await.is_err());
}

#[test]
fn a_place_shows_no_password() {
    let place = KeyringPlace::Postgres(PostgresUrl::new("postgres://keys:hunter2@db/keyring"));
    assert!(!format!("{place:?}").contains("hunter2"));
}
