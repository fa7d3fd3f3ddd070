//! The agent's files as a thief or a backup has them, and what can be got out of them with which keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mandate::agent::AgentConfig;
use mandate::domain::Identifier;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::vault::{EpochKeys, KeyId, Keyring, KeyringPlace, Place, RetentionClass, Vault, keyed_digest};
use sqlx::{Connection, Row, SqliteConnection};

const CLASS: RetentionClass = RetentionClass::Ledger;

pub fn config(world: &Path) -> AgentConfig {
    AgentConfig::load(&world.join("agent.toml")).expect("the agent's configuration")
}

/// Copies a folder and all below it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Ledger, notebook, keyring and spool.
pub fn copy_agent(world: &Path, name: &str) -> PathBuf {
    let to = world.join(name);
    copy(&world.join("agent"), &to);
    to
}

async fn open(file: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("the copy opens")
}

pub async fn count(file: &Path, sql: &'static str) -> i64 {
    let mut connection = open(file).await;
    let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("counted");
    connection.close().await.expect("closes");
    count
}

/// What the agent's own files still hold of anybody: keys by name, seals, marks, packages.
pub async fn left(world: &Path) -> (i64, i64, usize) {
    let config = config(world);
    let keys = count(&config.notebook(), "SELECT count(*) FROM sealing_keys").await;
    let held = "SELECT (SELECT count(*) FROM open_subjects) \
        + (SELECT count(*) FROM batches WHERE sealed IS NOT NULL) \
        + (SELECT count(*) FROM executions WHERE traces IS NOT NULL)";
    (keys, count(&config.ledger, held).await, spooled(world))
}

pub fn spooled(world: &Path) -> usize {
    std::fs::read_dir(config(world).spool).expect("the spool").count()
}

/// What was got out of a ledger.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loot {
    /// Sealed values that opened.
    pub opened: usize,
    /// Marks of open acts that are the person's.
    pub matched: usize,
}

/// Tries every key of a keyring on everything in a ledger. Works on copies of both; `stolen` and `keys`
/// are folders with the agent's file names in them.
pub async fn loot(
    world: &Path,
    stolen: &Path,
    keys: &Path,
    store: &str,
    tenant: &str,
    who: &Identifier,
) -> Loot {
    let scratch = tempfile::tempdir().expect("a folder");
    let (ledger, ring) = (scratch.path().join("ledger"), scratch.path().join("ring"));
    copy(stolen, &ledger);
    copy(keys, &ring);
    let epochs = EpochKeys::load(&config(world).epochs).expect("the epochs that are there");
    let held: Vec<Vec<u8>> = {
        let mut connection = open(&ring.join("keyring.sqlite")).await;
        let held = sqlx::query_scalar("SELECT id FROM data_keys WHERE state = 'held'")
            .fetch_all(&mut connection)
            .await
            .expect("read");
        connection.close().await.expect("closes");
        held
    };
    assert!(!held.is_empty(), "a keyring without keys proves nothing");
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let keyring =
        Keyring::open(&KeyringPlace::File(ring.join("keyring.sqlite")), epochs, clock, entropy.clone())
            .await
            .expect("opens");
    let vault = Vault::new(keyring, entropy);

    let mut message = b"mandate ledger open subject v1".to_vec();
    for part in [store, tenant, who.format(), who.value()] {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part.as_bytes());
    }
    let mut connection = open(&ledger.join("ledger.sqlite")).await;
    let marks: Vec<Vec<u8>> = sqlx::query_scalar("SELECT subject FROM open_subjects")
        .fetch_all(&mut connection)
        .await
        .expect("read");
    let mut loot = Loot::default();
    for id in &held {
        let id = KeyId::from_uuid(uuid::Uuid::from_slice(id).expect("an id"));
        let key = vault.keyring().key(id, CLASS).await.expect("a key that is held");
        let mark = keyed_digest(&key, "mandate agent look-up", &message);
        loot.matched += marks.iter().filter(|other| other.ends_with(&mark)).count();
    }
    let sealed = sqlx::query(
        "SELECT execution || '/', 'executions', 'traces', traces FROM executions WHERE traces IS NOT NULL \
         UNION ALL SELECT execution || '/', 'executions', 'outcome', outcome FROM executions \
         WHERE outcome IS NOT NULL \
         UNION ALL SELECT execution || '/' || number, 'batches', 'sealed', sealed FROM batches \
         WHERE sealed IS NOT NULL",
    )
    .fetch_all(&mut connection)
    .await
    .expect("read");
    for row in &sealed {
        let (place, table, column): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let bytes: Vec<u8> = row.get(3);
        let id = KeyId::from_uuid(uuid::Uuid::from_slice(&bytes[..16]).expect("an id"));
        let place = Place { table: &table, row: &place, column: &column };
        loot.opened += usize::from(vault.open(id, CLASS, place, &bytes[16..]).await.is_ok());
    }
    connection.close().await.expect("closes");
    vault.keyring().close().await.expect("closes");
    loot
}

/// Turns the agent's epoch over, as when copies of its keyring are no longer to be of use. The agent is stopped.
pub async fn turn_epoch(world: &Path) {
    let config = config(world);
    let epochs = EpochKeys::load(&config.epochs).expect("the epochs");
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let keyring =
        Keyring::open(&KeyringPlace::File(config.keyring), epochs, clock, entropy).await.expect("opens");
    let old = keyring.current_epoch();
    keyring.begin_epoch().await.expect("begun");
    keyring.rewrap(old).await.expect("rewrapped");
    keyring.destroy_epoch(old).await.expect("destroyed");
    keyring.close().await.expect("closes");
}

/// Whether a stolen keyring opens with the epochs that are there now.
pub async fn keyring_opens(world: &Path, stolen: &Path) -> bool {
    let scratch = tempfile::tempdir().expect("a folder");
    copy(stolen, scratch.path());
    let epochs = EpochKeys::load(&config(world).epochs).expect("the epochs");
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let place = KeyringPlace::File(scratch.path().join("keyring.sqlite"));
    Keyring::open(&place, epochs, clock, entropy).await.is_ok()
}
