//! What the keyring promises, tried on real files.

use std::fs;

use super::*;
use crate::domain::clock::{FixedClock, SystemEntropy};
use crate::vault::{Place, Vault};

const HERE: Place<'_> = Place { table: "requests", row: "7", column: "extract" };
const CLASS: RetentionClass = RetentionClass::Request;

fn new_house() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    EpochKeys::create(&dir.path().join("epochs"), 1, &SystemEntropy).unwrap();
    dir
}

async fn try_open(dir: &Path) -> Result<Keyring, VaultError> {
    Keyring::open(
        &dir.join("keyring.sqlite"),
        EpochKeys::load(&dir.join("epochs"))?,
        Arc::new(FixedClock::at(1_800_000_000)),
        Arc::new(SystemEntropy),
    )
    .await
}

async fn open(dir: &Path) -> Keyring {
    try_open(dir).await.unwrap()
}

fn vault(keyring: &Keyring) -> Vault {
    Vault::new(keyring.clone(), Arc::new(SystemEntropy))
}

/// What a kill or a thief leaves: the files as they are now, without a clean close.
fn copy_as_it_is(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    fs::create_dir(to.path().join("epochs")).unwrap();
    for sub in ["", "epochs"] {
        for entry in fs::read_dir(from.join(sub)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), to.path().join(sub).join(entry.file_name())).unwrap();
            }
        }
    }
    to
}

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

async fn wrapped_bytes(keyring: &Keyring, id: KeyId) -> Vec<u8> {
    let mut guard = keyring.0.connection.lock().await;
    rows::read(guard.as_mut().unwrap(), id).await.unwrap().unwrap().1
}

#[tokio::test]
async fn after_shredding_nothing_opens_and_the_key_is_in_no_file() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
    let vault = vault(&keyring);
    let key = keyring.take(CLASS).await.unwrap();
    let kept = keyring.take(CLASS).await.unwrap();
    let sealed = vault.seal(&key, HERE, b"text");
    let sealed_kept = vault.seal(&kept, HERE, b"kept");
    let wrapped = wrapped_bytes(&keyring, key.id()).await;
    let before = all_bytes(dir.path());
    assert!(holds(&before, &wrapped) && holds(&before, key.id().as_bytes()), "the scan sees nothing");

    let record = keyring.shred(&[key.id()]).await.unwrap();
    assert_eq!((record.destroyed, record.at.as_second()), (1, 1_800_000_000));

    let after = all_bytes(dir.path());
    assert!(!holds(&after, &wrapped), "the wrapped key is still in a file");
    assert!(!holds(&after, &wrapped[12..44]), "a part of the wrapped key is still in a file");
    assert!(!holds(&after, key.id().as_bytes()), "the key's id is still in a file");
    assert_eq!(fs::metadata(dir.path().join("keyring.sqlite-wal")).map_or(0, |m| m.len()), 0);
    assert!(keyring.is_shredded(key.id()).await.unwrap());
    let got = vault.open(key.id(), CLASS, HERE, &sealed).await;
    assert!(matches!(got, Err(VaultError::Shredded)));
    assert!(matches!(keyring.key(key.id(), CLASS).await, Err(VaultError::Shredded)));
    assert_eq!(vault.open(kept.id(), CLASS, HERE, &sealed_kept).await.unwrap().as_slice(), b"kept");

    assert_eq!(keyring.shred(&[key.id()]).await.unwrap().destroyed, 0, "shredding again is no error");
}

#[tokio::test]
async fn of_thousands_of_keys_shredded_in_any_order_not_one_leaves_a_copy() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
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
    let bytes = all_bytes(dir.path());
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
async fn an_older_copy_of_the_sealed_data_does_not_help() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
    let key = keyring.take(CLASS).await.unwrap();
    let old_copy = vault(&keyring).seal(&key, HERE, b"text");
    keyring.shred(&[key.id()]).await.unwrap();

    let thief = copy_as_it_is(dir.path());
    let stolen = open(thief.path()).await;
    let got = vault(&stolen).open(key.id(), CLASS, HERE, &old_copy).await;
    assert!(matches!(got, Err(VaultError::Shredded)));
}

#[tokio::test]
async fn a_key_is_on_the_disk_before_it_is_handed_out() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
    // More than one batch, so that keys from a refill under way are among them.
    for n in 0..600 {
        let key = keyring.take(CLASS).await.unwrap();
        if n % 100 == 0 {
            let killed = copy_as_it_is(dir.path());
            let sealed = vault(&keyring).seal(&key, HERE, b"text");
            let restarted = open(killed.path()).await;
            let opened = vault(&restarted).open(key.id(), CLASS, HERE, &sealed).await.unwrap();
            assert_eq!(opened.as_slice(), b"text", "key {n} was handed out before it was durable");
        }
    }
}

#[tokio::test]
async fn the_sweep_destroys_orphans_of_earlier_runs_and_nothing_else() {
    let dir = new_house();
    let first = open(dir.path()).await;
    let used = first.take(CLASS).await.unwrap();
    let orphan = first.take(CLASS).await.unwrap();
    let spare = first.spares().back().unwrap().0;
    let killed = copy_as_it_is(dir.path());

    let second = open(killed.path()).await;
    let of_this_run = second.take(CLASS).await.unwrap();
    let referenced = HashSet::from([used.id()]);
    // Every key of the first run but the one in use: BATCH were made.
    assert_eq!(second.sweep(&referenced).await.unwrap(), u64::from(BATCH) - 1);
    assert!(!second.is_shredded(used.id()).await.unwrap(), "a referenced key was destroyed");
    assert!(second.is_shredded(orphan.id()).await.unwrap(), "an orphan was left");
    assert!(second.is_shredded(spare).await.unwrap(), "a spare of the earlier run was left");
    assert!(!second.is_shredded(of_this_run.id()).await.unwrap(), "a key in flight was destroyed");
    assert!(!holds(&all_bytes(killed.path()), orphan.id().as_bytes()));
    assert_eq!(second.sweep(&referenced).await.unwrap(), 0);
}

#[tokio::test]
async fn freed_slots_are_used_again_and_an_old_id_does_not_reach_the_new_key() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
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
async fn an_epoch_is_destroyed_only_when_no_key_needs_it_and_then_old_copies_are_worthless() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
    let vault = vault(&keyring);
    let gone = keyring.take(CLASS).await.unwrap();
    let kept = keyring.take(CLASS).await.unwrap();
    let sealed = vault.seal(&kept, HERE, b"kept");
    let old_wrap = wrapped_bytes(&keyring, kept.id()).await;
    let record = keyring.shred(&[gone.id()]).await.unwrap();
    let backup = copy_as_it_is(dir.path());

    assert!(matches!(keyring.destroy_epoch(1).await, Err(VaultError::EpochInUse(1))), "it is current");
    assert_eq!(keyring.begin_epoch().await.unwrap(), 2);
    assert!(matches!(keyring.destroy_epoch(1).await, Err(VaultError::EpochInUse(1))), "keys need it");
    assert!(matches!(keyring.rewrap(2).await, Err(VaultError::EpochInUse(2))));
    assert_eq!(keyring.shred_state(&record).as_str(), "shredded_live");

    assert_eq!(keyring.rewrap(1).await.unwrap(), u64::from(BATCH) - 1);
    assert!(!holds(&all_bytes(dir.path()), &old_wrap), "the old wrapping is still in a file");
    keyring.destroy_epoch(1).await.unwrap();
    assert_eq!(keyring.shred_state(&record).as_str(), "shredded_everywhere");
    assert!(!dir.path().join("epochs/epoch-1.key").exists());
    assert!(matches!(keyring.destroy_epoch(1).await, Err(VaultError::EpochMissing(1))));

    // The live keyring goes on, over a restart.
    keyring.close().await.unwrap();
    let keyring = open(dir.path()).await;
    let opened = self::vault(&keyring).open(kept.id(), CLASS, HERE, &sealed).await.unwrap();
    assert_eq!(opened.as_slice(), b"kept");

    // A backup of the keyring with the epoch keys that still exist is of no use.
    fs::remove_file(backup.path().join("epochs/epoch-1.key")).unwrap();
    fs::copy(dir.path().join("epochs/epoch-2.key"), backup.path().join("epochs/epoch-2.key")).unwrap();
    assert!(matches!(try_open(backup.path()).await, Err(VaultError::EpochMissing(1))));
}

#[tokio::test]
async fn two_keyrings_on_one_file_are_refused() {
    let dir = new_house();
    let first = open(dir.path()).await;
    assert!(matches!(try_open(dir.path()).await, Err(VaultError::KeyringInUse)));
    first.close().await.unwrap();
    open(dir.path()).await;
    assert!(matches!(first.take(CLASS).await, Err(VaultError::KeyringClosed)));
}

#[tokio::test]
async fn another_process_is_refused_too() {
    const DIR: &str = "MANDATE_TEST_KEYRING_DIR";
    // The second process is this test once more, told where to look.
    if let Some(dir) = std::env::var_os(DIR) {
        assert!(matches!(try_open(Path::new(&dir)).await, Err(VaultError::KeyringInUse)));
        return;
    }
    let dir = new_house();
    let keyring = open(dir.path()).await;
    let refused_elsewhere = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "vault::keyring::tests::another_process_is_refused_too"])
            .env(DIR, dir.path())
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(refused_elsewhere(), "a second process opened the keyring");
    // A refused attempt in this process must not loosen the lock.
    assert!(try_open(dir.path()).await.is_err());
    assert!(refused_elsewhere(), "a refused attempt dropped the lock");
    keyring.close().await.unwrap();
    assert!(!refused_elsewhere(), "the keyring stays locked after it was closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_takers_at_once_never_get_the_same_key() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
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

#[tokio::test]
async fn a_row_edited_by_hand_is_damage_and_not_another_key() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
    let one = keyring.take(CLASS).await.unwrap().id();
    let two = keyring.take(CLASS).await.unwrap().id();
    let foreign = wrapped_bytes(&keyring, two).await;
    keyring.0.cache.clear();
    {
        let mut guard = keyring.0.connection.lock().await;
        let row = NewRow { id: one, epoch: 1, wrapped: foreign };
        rows::rewrap(guard.as_mut().unwrap(), &row).await.unwrap();
    }
    assert!(matches!(keyring.key(one, CLASS).await, Err(VaultError::KeyringDamaged)));
}

#[tokio::test]
async fn a_keyring_of_another_release_is_refused() {
    let dir = new_house();
    let keyring = open(dir.path()).await;
    {
        let mut guard = keyring.0.connection.lock().await;
        sqlx::raw_sql("PRAGMA user_version = 2").execute(guard.as_mut().unwrap()).await.unwrap();
    }
    keyring.close().await.unwrap();
    assert!(matches!(try_open(dir.path()).await, Err(VaultError::KeyringVersion)));
}

#[tokio::test]
async fn the_file_is_for_its_owner_only_and_secure_delete_is_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = new_house();
    let keyring = open(dir.path()).await;
    for name in ["keyring.sqlite", "keyring.sqlite-wal"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} may be read by others");
    }
    assert!(!dir.path().join("keyring.sqlite-shm").exists());
    let mut guard = keyring.0.connection.lock().await;
    let connection = guard.as_mut().unwrap();
    for (pragma, value) in [("PRAGMA secure_delete", 1), ("PRAGMA synchronous", 2)] {
        let got: i64 = sqlx::query_scalar(pragma).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(got, value, "{pragma}");
    }
}
