//! The sample stores of the demo: what the policy's SDK table names, for one
//! enterprise of each app the sample mails name, and PPIO's own accounts.
//!
//! Over 100,000 rows, invented, the same for a seed. User ids, channel ids and a
//! device id collide between the enterprises. The data maps that fit lie in
//! `examples/store`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};

use super::sample_rows::{Rows, account_rows, rtc_rows};

/// The data maps of the sample stores: file name and content.
pub const DATA_MAPS: &[(&str, &str)] = &[
    ("rtc.yml", include_str!("../../examples/store/rtc.yml")),
    ("rtc.mandate.toml", include_str!("../../examples/store/rtc.mandate.toml")),
    ("accounts.yml", include_str!("../../examples/store/accounts.yml")),
    ("accounts.mandate.toml", include_str!("../../examples/store/accounts.mandate.toml")),
];

const RTC_SCHEMA: &[&str] = &[
    "CREATE TABLE users (id INTEGER PRIMARY KEY, sdk_app_id TEXT NOT NULL, user_id TEXT NOT NULL, created_at INTEGER NOT NULL, last_seen_at INTEGER NOT NULL)",
    "CREATE TABLE devices (id INTEGER PRIMARY KEY, sdk_app_id TEXT NOT NULL, user_id TEXT NOT NULL, device_id TEXT NOT NULL, device_type TEXT, os TEXT, first_seen_at INTEGER NOT NULL)",
    "CREATE TABLE network_events (id INTEGER PRIMARY KEY, sdk_app_id TEXT NOT NULL, device_id TEXT NOT NULL, ip TEXT, network_type TEXT, at INTEGER NOT NULL)",
    "CREATE TABLE channels (id INTEGER PRIMARY KEY, sdk_app_id TEXT NOT NULL, channel_id TEXT NOT NULL, created_at INTEGER NOT NULL)",
    "CREATE TABLE channel_members (id INTEGER PRIMARY KEY, sdk_app_id TEXT NOT NULL, channel_id TEXT NOT NULL, user_id TEXT NOT NULL, role TEXT, joined_at INTEGER NOT NULL)",
    "CREATE TABLE usage_records (id INTEGER PRIMARY KEY, user_ref INTEGER NOT NULL, seconds INTEGER, traffic_kib INTEGER, at INTEGER NOT NULL)",
    "CREATE TABLE call_logs (id INTEGER PRIMARY KEY, sdk_app_id TEXT NOT NULL, user_id TEXT NOT NULL, event TEXT, at INTEGER NOT NULL)",
    "CREATE TABLE media_segments (id INTEGER PRIMARY KEY, channel_ref INTEGER NOT NULL, user_id TEXT NOT NULL, kind TEXT, started_at INTEGER NOT NULL, content BLOB)",
    "CREATE TABLE store_version (version INTEGER PRIMARY KEY)",
];

const RTC_INDEXES: &[&str] = &[
    "INSERT INTO store_version VALUES (1)",
    "CREATE UNIQUE INDEX users_by_user ON users (sdk_app_id, user_id)",
    "CREATE INDEX devices_by_user ON devices (sdk_app_id, user_id)",
    "CREATE INDEX devices_by_device ON devices (sdk_app_id, device_id)",
    "CREATE INDEX network_events_by_device ON network_events (sdk_app_id, device_id)",
    "CREATE INDEX channels_by_channel ON channels (sdk_app_id, channel_id)",
    "CREATE INDEX channel_members_by_user ON channel_members (sdk_app_id, user_id)",
    "CREATE INDEX usage_records_by_user ON usage_records (user_ref)",
    "CREATE INDEX call_logs_by_user ON call_logs (sdk_app_id, user_id)",
    "CREATE INDEX media_segments_by_user ON media_segments (user_id)",
];

const ACCOUNT_SCHEMA: &[&str] = &[
    "CREATE TABLE accounts (id INTEGER PRIMARY KEY, app TEXT NOT NULL, login TEXT NOT NULL, email TEXT NOT NULL, name TEXT, company TEXT, job_title TEXT, phone TEXT, created_at INTEGER NOT NULL)",
    "CREATE TABLE inquiries (id INTEGER PRIMARY KEY, account_ref INTEGER NOT NULL, body TEXT, at INTEGER NOT NULL)",
    "CREATE TABLE marketing_contacts (id INTEGER PRIMARY KEY, app TEXT NOT NULL, email TEXT NOT NULL, subscribed INTEGER NOT NULL, at INTEGER NOT NULL)",
];

const ACCOUNT_INDEXES: &[&str] = &[
    "CREATE UNIQUE INDEX accounts_by_login ON accounts (app, login)",
    "CREATE INDEX accounts_by_email ON accounts (app, email)",
    "CREATE INDEX inquiries_by_account ON inquiries (account_ref)",
    "CREATE INDEX marketing_contacts_by_email ON marketing_contacts (app, email)",
];

/// Each table with the statement that reads its rows, tenant first.
const READ: &[(&str, &str)] = &[
    ("users", "SELECT sdk_app_id, id, user_id, created_at, last_seen_at FROM users ORDER BY id"),
    (
        "devices",
        "SELECT sdk_app_id, id, user_id, device_id, device_type, os, first_seen_at FROM devices ORDER BY id",
    ),
    (
        "network_events",
        "SELECT sdk_app_id, id, device_id, ip, network_type, at FROM network_events ORDER BY id",
    ),
    ("channels", "SELECT sdk_app_id, id, channel_id, created_at FROM channels ORDER BY id"),
    (
        "channel_members",
        "SELECT sdk_app_id, id, channel_id, user_id, role, joined_at FROM channel_members ORDER BY id",
    ),
    (
        "usage_records",
        "SELECT u.sdk_app_id, r.id, r.user_ref, r.seconds, r.traffic_kib, r.at FROM usage_records AS r LEFT JOIN users AS u ON u.id = r.user_ref ORDER BY r.id",
    ),
    ("call_logs", "SELECT sdk_app_id, id, user_id, event, at FROM call_logs ORDER BY id"),
    (
        "media_segments",
        "SELECT c.sdk_app_id, m.id, m.channel_ref, m.user_id, m.kind, m.started_at, m.content FROM media_segments AS m LEFT JOIN channels AS c ON c.id = m.channel_ref ORDER BY m.id",
    ),
    (
        "accounts",
        "SELECT app, id, login, email, name, company, job_title, phone, created_at FROM accounts ORDER BY id",
    ),
    (
        "inquiries",
        "SELECT a.app, i.id, i.account_ref, i.body, i.at FROM inquiries AS i LEFT JOIN accounts AS a ON a.id = i.account_ref ORDER BY i.id",
    ),
    ("marketing_contacts", "SELECT app, id, email, subscribed, at FROM marketing_contacts ORDER BY id"),
];

/// Files of the sample.
pub struct SampleStore {
    pub rtc: PathBuf,
    pub accounts: PathBuf,
    /// In both together.
    pub rows: u64,
}

/// `(table, tenant)`; the tenant is empty for a row whose way to one is broken.
pub type Place = (String, String);

/// Makes `rtc.sqlite`, `accounts.sqlite` and the data maps in a folder that has none of them.
/// No row is newer than `as_of`, in seconds since the epoch.
pub async fn generate(folder: &Path, seed: u64, as_of: i64) -> Result<SampleStore, sqlx::Error> {
    let rtc = folder.join("rtc.sqlite");
    let accounts = folder.join("accounts.sqlite");
    let mut rows = fill(&rtc, RTC_SCHEMA, rtc_rows(seed, as_of).tables, RTC_INDEXES).await?;
    rows += fill(&accounts, ACCOUNT_SCHEMA, account_rows(seed, as_of), ACCOUNT_INDEXES).await?;
    for (name, content) in DATA_MAPS {
        std::fs::write(folder.join(name), content)?;
    }
    Ok(SampleStore { rtc, accounts, rows })
}

async fn fill(
    path: &Path,
    schema: &[&'static str],
    tables: Vec<Rows>,
    indexes: &[&'static str],
) -> Result<u64, sqlx::Error> {
    if path.exists() {
        return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists).into());
    }
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    // Nothing is lost if this is cut short: it is made again.
    let mut connection = options
        .clone()
        .journal_mode(SqliteJournalMode::Memory)
        .synchronous(SqliteSynchronous::Off)
        .connect()
        .await?;
    let mut transaction = connection.begin().await?;
    for statement in schema {
        sqlx::query(*statement).execute(&mut *transaction).await?;
    }
    let mut rows = 0;
    for table in tables {
        rows += table.count;
        sqlx::query(table.insert).bind(table.into_json()).execute(&mut *transaction).await?;
    }
    for statement in indexes {
        sqlx::query(*statement).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    std::fs::File::open(path)?.sync_all()?;
    // From here on as a store in use is: WAL stays with the file.
    let connection =
        options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full).connect().await?;
    connection.close().await?;
    Ok(rows)
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).create_if_missing(false).connect().await
}

async fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'").fetch_all(connection).await
}

/// Rows of each table for each tenant, of either sample store.
pub async fn count_rows(path: &Path) -> Result<BTreeMap<Place, u64>, sqlx::Error> {
    Ok(survey(path).await?.into_iter().map(|(place, (rows, _))| (place, rows)).collect())
}

/// The same with SHA-256 over all the rows' bytes: equal before and after means untouched.
pub async fn survey(path: &Path) -> Result<BTreeMap<Place, (u64, [u8; 32])>, sqlx::Error> {
    let mut connection = open(path).await?;
    let there = tables(&mut connection).await?;
    let mut out: BTreeMap<Place, (u64, Context)> = BTreeMap::new();
    for (table, read) in READ.iter().filter(|(table, _)| there.iter().any(|name| name == table)) {
        let mut rows = sqlx::query(*read).fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            let tenant: Option<String> = row.try_get(0)?;
            let place = ((*table).to_owned(), tenant.unwrap_or_default());
            let (count, hash) = out.entry(place).or_insert_with(|| (0, Context::new(&SHA256)));
            *count += 1;
            for index in 1..row.len() {
                // The bytes as they lie there, whatever the type.
                let bytes: Option<Vec<u8>> = row.try_get_unchecked(index)?;
                let bytes = bytes.unwrap_or_default();
                hash.update(&(bytes.len() as u64).to_be_bytes());
                hash.update(&bytes);
            }
        }
    }
    connection.close().await?;
    Ok(out
        .into_iter()
        .map(|(place, (count, hash))| {
            let mut digest = [0; 32];
            digest.copy_from_slice(hash.finish().as_ref());
            (place, (count, digest))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample_rows::{APPS, HOUSE_TENANT};

    const NOON: i64 = 1_795_420_800;

    async fn one(path: &Path, question: &'static str) -> i64 {
        let mut connection = open(path).await.unwrap();
        sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
    }

    #[tokio::test]
    async fn the_sample_has_everybody_the_mails_name_and_is_the_same_for_a_seed() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = generate(a.path(), 7, NOON).await.unwrap();
        assert!(store.rows >= 100_000, "{} rows", store.rows);
        let first = survey(&store.rtc).await.unwrap();
        let again = generate(b.path(), 7, NOON).await.unwrap();
        assert!(first == survey(&again.rtc).await.unwrap(), "two stores of one seed differ");
        assert!(first.keys().all(|(_, tenant)| !tenant.is_empty()), "a row leads to no tenant");
        for app in APPS {
            for user in app.users {
                let mut connection = open(&store.rtc).await.unwrap();
                let found: i64 =
                    sqlx::query_scalar("SELECT count(*) FROM users WHERE sdk_app_id = ? AND user_id = ?")
                        .bind(app.tenant)
                        .bind(user)
                        .fetch_one(&mut connection)
                        .await
                        .unwrap();
                assert_eq!(found, 1, "{} lacks a user of the mails", app.app);
            }
        }
        let colliding = "SELECT count(DISTINCT sdk_app_id) FROM users WHERE user_id = 'u_8839201'";
        assert_eq!(one(&store.rtc, colliding).await, 3);
        let counts = count_rows(&store.accounts).await.unwrap();
        assert_eq!(counts[&("accounts".to_owned(), HOUSE_TENANT.to_owned())], 400);
        let mail = "SELECT count(*) FROM accounts WHERE login = 'zhao.lei@yunfan.example'";
        assert_eq!(one(&store.accounts, mail).await, 1);
    }

    #[tokio::test]
    async fn a_store_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rtc.sqlite"), b"").unwrap();
        assert!(generate(folder.path(), 7, NOON).await.is_err());
    }
}
