//! What the keyring promises wherever it lies, tried on real files and on a real server.

use std::fs;

use rstest::rstest;

use super::fixtures::*;
use super::*;

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn after_shredding_nothing_opens_not_even_after_a_restart(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let keyring = house.open().await;
    let vault = vault(&keyring);
    let key = keyring.take(CLASS).await.unwrap();
    let kept = keyring.take(CLASS).await.unwrap();
    let sealed = vault.seal(&key, HERE, b"text");
    let sealed_kept = vault.seal(&kept, HERE, b"kept");

    let record = keyring.shred(&[key.id()]).await.unwrap();
    assert_eq!((record.destroyed, record.through_epoch, record.at.as_second()), (1, 1, 1_800_000_000));
    assert!(keyring.is_shredded(key.id()).await.unwrap());
    let got = vault.open(key.id(), CLASS, HERE, &sealed).await;
    assert!(matches!(got, Err(VaultError::Shredded)));
    assert!(matches!(keyring.key(key.id(), CLASS).await, Err(VaultError::Shredded)));
    assert_eq!(keyring.shred(&[key.id()]).await.unwrap().destroyed, 0, "shredding again is no error");

    let restarted = house.copy().open().await;
    let vault = self::vault(&restarted);
    let got = vault.open(key.id(), CLASS, HERE, &sealed).await;
    assert!(matches!(got, Err(VaultError::Shredded)), "an older copy of the sealed data helps");
    assert_eq!(vault.open(kept.id(), CLASS, HERE, &sealed_kept).await.unwrap().as_slice(), b"kept");
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_key_is_durable_before_it_is_handed_out(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let keyring = house.open().await;
    // More than one batch, so that keys from a refill under way are among them.
    for n in 0..600 {
        let key = keyring.take(CLASS).await.unwrap();
        if n % 100 == 0 {
            let sealed = vault(&keyring).seal(&key, HERE, b"text");
            let restarted = house.copy().open().await;
            let opened = vault(&restarted).open(key.id(), CLASS, HERE, &sealed).await.unwrap();
            assert_eq!(opened.as_slice(), b"text", "key {n} was handed out before it was durable");
        }
    }
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn the_sweep_destroys_orphans_of_earlier_runs_and_nothing_else(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let first = house.open().await;
    let used = first.take(CLASS).await.unwrap();
    let orphan = first.take(CLASS).await.unwrap();
    let spare = first.spares().keys.back().unwrap().0;
    let killed = house.killed(first).await;

    let second = killed.open().await;
    let of_this_run = second.take(CLASS).await.unwrap();
    let referenced = HashSet::from([used.id()]);
    // Every key of the first run but the one in use: BATCH were made.
    assert_eq!(second.sweep(&referenced).await.unwrap(), u64::from(BATCH) - 1);
    assert!(!second.is_shredded(used.id()).await.unwrap(), "a referenced key was destroyed");
    assert!(second.is_shredded(orphan.id()).await.unwrap(), "an orphan was left");
    assert!(second.is_shredded(spare).await.unwrap(), "a spare of the earlier run was left");
    assert!(!second.is_shredded(of_this_run.id()).await.unwrap(), "a key in flight was destroyed");
    assert_eq!(second.sweep(&referenced).await.unwrap(), 0);
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn an_epoch_is_destroyed_only_when_no_key_needs_it(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let keyring = house.open().await;
    let vault = vault(&keyring);
    let gone = keyring.take(CLASS).await.unwrap();
    let kept = keyring.take(CLASS).await.unwrap();
    let sealed = vault.seal(&kept, HERE, b"kept");
    let old_wrap = wrapped_bytes(&keyring, kept.id()).await;
    let record = keyring.shred(&[gone.id()]).await.unwrap();

    assert!(matches!(keyring.destroy_epoch(1).await, Err(VaultError::EpochInUse(1))), "it is current");
    assert_eq!(keyring.begin_epoch().await.unwrap(), 2);
    assert!(matches!(keyring.destroy_epoch(1).await, Err(VaultError::EpochInUse(1))), "keys need it");
    assert!(matches!(keyring.rewrap(2).await, Err(VaultError::EpochInUse(2))));
    assert_eq!(keyring.shred_state(&record).as_str(), "shredded_live");

    assert_eq!(keyring.rewrap(1).await.unwrap(), u64::from(BATCH) - 1);
    assert_ne!(wrapped_bytes(&keyring, kept.id()).await, old_wrap);
    keyring.destroy_epoch(1).await.unwrap();
    assert_eq!(keyring.shred_state(&record).as_str(), "shredded_everywhere");
    assert!(!house.epoch_file(1).exists());
    assert!(matches!(keyring.destroy_epoch(1).await, Err(VaultError::EpochMissing(1))));
    let record = keyring.shred(&[keyring.take(CLASS).await.unwrap().id()]).await.unwrap();
    assert_eq!(record.through_epoch, 2);

    // The live keyring goes on, over a restart.
    keyring.close().await.unwrap();
    let keyring = house.open().await;
    let opened = self::vault(&keyring).open(kept.id(), CLASS, HERE, &sealed).await.unwrap();
    assert_eq!(opened.as_slice(), b"kept");
    keyring.close().await.unwrap();

    // Without the epoch its keys are wrapped under it does not start; data loss would look the same.
    let other = house.copy();
    fs::rename(other.epoch_file(2), other.epoch_file(3)).unwrap();
    assert!(matches!(other.try_open().await, Err(VaultError::EpochMissing(2))));
    fs::rename(other.epoch_file(3), other.epoch_file(2)).unwrap();
    other.open().await;
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn an_epoch_key_of_another_keyring_is_refused_at_the_start(#[case] kind: Kind) {
    let house = House::new(kind).await;
    house.open().await.close().await.unwrap();
    let other = house.copy();
    fs::copy(House::at(None).epoch_file(1), other.epoch_file(1)).unwrap();
    assert!(matches!(other.try_open().await, Err(VaultError::EpochOther(1))));
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_takers_at_once_never_get_the_same_key(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let keyring = house.open().await;
    let takers: Vec<_> = (0..64)
        .map(|_| {
            let keyring = keyring.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for _ in 0..25 {
                    ids.push(keyring.take(CLASS).await.unwrap().id());
                }
                ids
            })
        })
        .collect();
    let mut all = HashSet::new();
    for taker in takers {
        for id in taker.await.unwrap() {
            assert!(all.insert(id), "one key was handed out twice");
        }
    }
    assert_eq!(all.len(), 64 * 25);
    for id in all {
        assert!(!keyring.is_shredded(id).await.unwrap());
    }
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_row_edited_by_hand_is_damage_and_not_another_key(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let keyring = house.open().await;
    let one = keyring.take(CLASS).await.unwrap().id();
    let two = keyring.take(CLASS).await.unwrap().id();
    let foreign = wrapped_bytes(&keyring, two).await;
    let edit = |_, id, wrapped: &[u8]| {
        let wrapped = if id == one { foreign.clone() } else { wrapped.to_vec() };
        Ok(NewRow { id, epoch: 1, wrapped })
    };
    keyring.0.table.rewrap(1, None, &edit).await.unwrap();
    keyring.0.cache.clear();
    assert!(matches!(keyring.key(one, CLASS).await, Err(VaultError::KeyringDamaged)));
    assert!(keyring.key(two, CLASS).await.is_ok());
    // One damaged row does not keep the others' owners out.
    keyring.close().await.unwrap();
    house.open().await;
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_closed_keyring_does_nothing_more(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let keyring = house.open().await;
    let id = keyring.take(CLASS).await.unwrap().id();
    keyring.close().await.unwrap();
    assert!(matches!(keyring.take(CLASS).await, Err(VaultError::KeyringClosed)));
    assert!(matches!(keyring.key(id, CLASS).await, Err(VaultError::KeyringClosed)));
    assert!(matches!(keyring.shred(&[id]).await, Err(VaultError::KeyringClosed)));
    assert!(keyring.close().await.is_ok());
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_keyring_of_another_release_is_refused(#[case] kind: Kind) {
    use sqlx::Connection as _;
    let house = House::new(kind).await;
    house.open().await.close().await.unwrap();
    match kind {
        Kind::File => {
            let file = house.path().join("keyring.sqlite");
            let url = format!("sqlite://{}", file.display());
            let mut connection = sqlx::sqlite::SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql("PRAGMA user_version = 3").execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        Kind::Postgres => {
            house.sql("UPDATE _sqlx_migrations SET checksum = '\\x00'");
        }
    }
    assert!(matches!(house.try_open().await, Err(VaultError::KeyringVersion)));
}

fn mark(origin: &str, size: u64) -> Mark {
    Mark { origin: origin.into(), size, checkpoint: format!("{origin}: {size}") }
}

#[rstest]
#[case::file(Kind::File)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_mark_only_grows_is_its_origins_alone_and_lasts(#[case] kind: Kind) {
    let house = House::new(kind).await;
    let keyring = house.open().await;
    assert_eq!(keyring.mark("one").await.unwrap(), None);
    for size in [7, 9, 8] {
        keyring.raise_mark(&mark("one", size)).await.unwrap();
    }
    keyring.raise_mark(&mark("two", 3)).await.unwrap();
    assert_eq!(keyring.mark("one").await.unwrap(), Some(mark("one", 9)));

    // Durable with the call, and seen from outside, where no run and no key is made for it.
    let killed = house.killed(keyring).await;
    for (origin, size) in [("one", 9), ("two", 3)] {
        assert_eq!(killed.place().mark(origin).await.unwrap(), Some(mark(origin, size)));
    }
    assert_eq!(killed.place().mark("three").await.unwrap(), None);
    assert_eq!(killed.open().await.mark("one").await.unwrap(), Some(mark("one", 9)));
}
