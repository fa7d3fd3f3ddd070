//! What holds in a keyring that is a file only: its bytes, its slots, its lock.

use std::fs;
use std::path::Path;

use super::fixtures::*;
use super::*;
use crate::domain::clock::{FixedClock, SystemEntropy};
use crate::vault::keyring_rows::FileTable;

/// Every byte of the keyring's files: database, WAL, WAL index and anything else beside them.
fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            bytes.extend(fs::read(entry.path()).unwrap());
        }
    }
    bytes
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn after_shredding_nothing_opens_and_the_key_is_in_no_file() {
    let house = House::new(Kind::File).await;
    let keyring = house.open().await;
    let vault = vault(&keyring);
    let key = keyring.take(CLASS).await.unwrap();
    let kept = keyring.take(CLASS).await.unwrap();
    let sealed = vault.seal(&key, HERE, b"text");
    let sealed_kept = vault.seal(&kept, HERE, b"kept");
    let wrapped = wrapped_bytes(&keyring, key.id()).await;
    let before = all_bytes(house.path());
    assert!(holds(&before, &wrapped) && holds(&before, key.id().as_bytes()), "the scan sees nothing");

    let record = keyring.shred(&[key.id()]).await.unwrap();
    assert_eq!((record.destroyed, record.at.as_second()), (1, 1_800_000_000));

    let after = all_bytes(house.path());
    assert!(!holds(&after, &wrapped), "the wrapped key is still in a file");
    assert!(!holds(&after, &wrapped[12..44]), "a part of the wrapped key is still in a file");
    assert!(!holds(&after, key.id().as_bytes()), "the key's id is still in a file");
    assert_eq!(fs::metadata(house.path().join("keyring.sqlite-wal")).map_or(0, |m| m.len()), 0);
    assert!(keyring.is_shredded(key.id()).await.unwrap());
    let got = vault.open(key.id(), CLASS, HERE, &sealed).await;
    assert!(matches!(got, Err(VaultError::Shredded)));
    assert!(matches!(keyring.key(key.id(), CLASS).await, Err(VaultError::Shredded)));
    assert_eq!(vault.open(kept.id(), CLASS, HERE, &sealed_kept).await.unwrap().as_slice(), b"kept");

    assert_eq!(keyring.shred(&[key.id()]).await.unwrap().destroyed, 0, "shredding again is no error");
}

#[tokio::test]
async fn of_thousands_of_keys_shredded_in_any_order_not_one_leaves_a_copy() {
    let house = House::new(Kind::File).await;
    let keyring = house.open().await;
    let (mut live, mut dead) = (Vec::new(), Vec::new());
    // Uneven rounds, so that slots are used again in part and the table grows meanwhile.
    for round in 0..12usize {
        for _ in 0..200 {
            let id = keyring.take(CLASS).await.unwrap().id();
            live.push((id, wrapped_bytes(&keyring, id).await));
        }
        let mut gone = Vec::new();
        for step in 0..90 + 10 * round {
            gone.push(live.swap_remove((step * 7919 + round) % live.len()));
        }
        let ids: Vec<KeyId> = gone.iter().map(|(id, _)| *id).collect();
        assert_eq!(keyring.shred(&ids).await.unwrap().destroyed, ids.len() as u64);
        dead.append(&mut gone);
    }
    // Every 16-byte string of the files, looked up at once.
    let bytes = all_bytes(house.path());
    let present: HashSet<&[u8]> = bytes.windows(16).collect();
    for (id, wrapped) in &live {
        assert!(present.contains(id.as_bytes().as_slice()) && present.contains(&wrapped[..16]));
    }
    for (id, wrapped) in &dead {
        assert!(!present.contains(id.as_bytes().as_slice()), "a destroyed key's id was left behind");
        assert!(wrapped.chunks(16).all(|part| part.len() < 16 || !present.contains(part)));
    }
    assert!(dead.len() > 1500);
}

#[tokio::test]
async fn what_is_swept_or_wrapped_anew_leaves_the_file() {
    let house = House::new(Kind::File).await;
    let first = house.open().await;
    let used = first.take(CLASS).await.unwrap().id();
    let orphan = first.take(CLASS).await.unwrap().id();
    let killed = house.killed(first).await;
    let second = killed.open().await;
    let old_wrap = wrapped_bytes(&second, used).await;
    let before = all_bytes(killed.path());
    assert!(holds(&before, &old_wrap) && holds(&before, orphan.as_bytes()), "the scan sees nothing");

    second.sweep(&HashSet::from([used])).await.unwrap();
    assert!(!holds(&all_bytes(killed.path()), orphan.as_bytes()), "an orphan's id is still in a file");
    second.begin_epoch().await.unwrap();
    second.rewrap(1).await.unwrap();
    assert!(!holds(&all_bytes(killed.path()), &old_wrap), "the old wrapping is still in a file");
}

#[tokio::test]
async fn freed_slots_are_used_again_and_an_old_id_does_not_reach_the_new_key() {
    let house = House::new(Kind::File).await;
    let keyring = house.open().await;
    let mut old = Vec::new();
    for _ in 0..BATCH {
        old.push(keyring.take(CLASS).await.unwrap().id());
    }
    keyring.shred(&old).await.unwrap();
    let mut reused = 0;
    for _ in 0..3 * BATCH {
        let new = keyring.take(CLASS).await.unwrap().id();
        if let Some(before) = old.iter().find(|id| id.slot() == new.slot()) {
            reused += 1;
            assert!(keyring.is_shredded(*before).await.unwrap());
            assert!(!keyring.is_shredded(new).await.unwrap());
        }
    }
    assert_eq!(reused, BATCH, "the freed slots were not used again: the file grows for ever");
}

#[tokio::test]
async fn two_keyrings_on_one_file_are_refused() {
    let house = House::new(Kind::File).await;
    let first = house.open().await;
    assert!(matches!(house.try_open().await, Err(VaultError::KeyringInUse)));
    first.close().await.unwrap();
    house.open().await;
    assert!(matches!(first.take(CLASS).await, Err(VaultError::KeyringClosed)));
}

#[tokio::test]
async fn another_process_is_refused_too() {
    const DIR: &str = "MANDATE_TEST_KEYRING_DIR";
    // The second process is this test once more, told where to look.
    if let Some(dir) = std::env::var_os(DIR) {
        let dir = Path::new(&dir);
        let second = Keyring::open(
            &KeyringPlace::File(dir.join("keyring.sqlite")),
            EpochKeys::load(&dir.join("epochs")).unwrap(),
            Arc::new(FixedClock::at(1_800_000_000)),
            Arc::new(SystemEntropy),
        )
        .await;
        assert!(matches!(second, Err(VaultError::KeyringInUse)));
        return;
    }
    let house = House::new(Kind::File).await;
    let keyring = house.open().await;
    let refused_elsewhere = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "vault::keyring::file_tests::another_process_is_refused_too"])
            .env(DIR, house.path())
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(refused_elsewhere(), "a second process opened the keyring");
    // A refused attempt in this process must not loosen the lock.
    assert!(house.try_open().await.is_err());
    assert!(refused_elsewhere(), "a refused attempt dropped the lock");
    keyring.close().await.unwrap();
    assert!(!refused_elsewhere(), "the keyring stays locked after it was closed");
}

#[tokio::test]
async fn the_file_is_for_its_owner_only_and_secure_delete_is_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new(Kind::File).await;
    let table = FileTable::open(&house.path().join("keyring.sqlite")).await.unwrap();
    for name in ["keyring.sqlite", "keyring.sqlite-wal"] {
        let mode = fs::metadata(house.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} may be read by others");
    }
    assert!(!house.path().join("keyring.sqlite-shm").exists());
    let mut guard = table.connection.lock().await;
    let connection = guard.as_mut().unwrap();
    for (pragma, value) in [("PRAGMA secure_delete", 1), ("PRAGMA synchronous", 2)] {
        let got: i64 = sqlx::query_scalar(pragma).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(got, value, "{pragma}");
    }
}

#[tokio::test]
async fn a_keyring_of_the_release_before_marks_has_none_and_keeps_its_keys() {
    use sqlx::Connection as _;
    let house = House::new(Kind::File).await;
    assert_eq!(house.place().mark("one").await.unwrap(), None, "there is no file");
    let keyring = house.open().await;
    let id = keyring.take(CLASS).await.unwrap().id();
    keyring.close().await.unwrap();
    let url = format!("sqlite://{}", house.path().join("keyring.sqlite").display());
    let mut connection = sqlx::sqlite::SqliteConnection::connect(&url).await.unwrap();
    let before = "DROP TABLE marks; PRAGMA user_version = 1";
    sqlx::raw_sql(before).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    assert_eq!(house.place().mark("one").await.unwrap(), None);
    let keyring = house.open().await;
    assert!(!keyring.is_shredded(id).await.unwrap());
    let mark = Mark { origin: "one".into(), size: 1, checkpoint: "note".into() };
    keyring.raise_mark(&mark).await.unwrap();
    assert_eq!(keyring.mark("one").await.unwrap(), Some(mark));
}
