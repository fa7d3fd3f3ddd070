//! A small store for tests: two tenants whose people have the very same ids,
//! composite keys, joins of two steps, odd names, shared, retained and unmapped tables.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::hmac;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::connectors::sqlite::SqliteStore;
use super::data_map::DataMap;
use super::faults::{Faults, NoFaults, Point};
use super::ledger::Ledger;
use super::ledger_chain::Anchor;
use super::sealer::{Place, Sealer};
use super::task::{ExportTo, Task, TaskParts};
use super::workplace::Workplace;
use crate::domain::clock::{FixedClock, SystemEntropy};
use crate::domain::{Act, Category, ExecutionId, Identifier, Reason, Refusal, Region};

pub const NOW: i64 = 1_795_420_800;
pub const DAY: i64 = 86_400;

const DATASET: &str = r#"
dataset:
  - fides_key: shop
    collections:
      - name: people
        fields:
          - {name: id, data_categories: [user.unique_id], fides_meta: {primary_key: true}}
          - {name: user_id, data_categories: [user.unique_id], fides_meta: {identity: user_id}}
          - {name: email, data_categories: [user.unique_id], fides_meta: {identity: email}}
      - name: devices
        fields:
          - {name: id, data_categories: [user.device], fides_meta: {primary_key: true}}
          - {name: owner, fides_meta: {references: [{dataset: shop, field: people.user_id, direction: from}]}}
          - {name: device_id, data_categories: [user.device], fides_meta: {identity: device_id}}
      - name: pings
        fields:
          - {name: id, data_categories: [user.device], fides_meta: {primary_key: true}}
          - {name: device_id, fides_meta: {references: [{dataset: shop, field: devices.device_id}]}}
          - {name: at, data_categories: [user.device]}
      - name: 'odd "name'
        fields:
          - {name: a, data_categories: [user.unique_id], fides_meta: {primary_key: true}}
          - {name: b, data_categories: [user.unique_id], fides_meta: {primary_key: true}}
          - {name: person, fides_meta: {references: [{dataset: shop, field: people.id}]}}
          - {name: note, data_categories: [user.unique_id]}
          - {name: photo, data_categories: [user.unique_id]}
          - {name: score, data_categories: [user.unique_id]}
      - name: parts
        fields:
          - {name: id, data_categories: [user.unique_id], fides_meta: {primary_key: true}}
          - {name: odd_a, fides_meta: {references: [{dataset: shop, field: 'odd "name.a'}]}}
          - {name: odd_b}
      - name: rooms
        fields:
          - {name: id, data_categories: [user.unique_id], fides_meta: {primary_key: true}}
          - {name: room, fides_meta: {references: [{dataset: shop, field: members.room}]}}
      - name: members
        fields:
          - {name: id, data_categories: [user.unique_id], fides_meta: {primary_key: true}}
          - {name: room, fides_meta: {references: [{dataset: shop, field: rooms.room}]}}
          - {name: user_id, fides_meta: {references: [{dataset: shop, field: people.user_id}]}}
      - name: logs
        fields:
          - {name: id, data_categories: [user.unique_id], fides_meta: {primary_key: true}}
          - {name: user_id, fides_meta: {identity: user_id}}
          - {name: at, data_categories: [user.unique_id]}
      - name: clips
        fields:
          - {name: id, data_categories: [user.content], fides_meta: {primary_key: true}}
          - {name: user_id, fides_meta: {identity: user_id}}
"#;

const OVERLAY: &str = r#"
store = "shop"
dataset = "shop"
region = "cn"
connection = { sqlite = "shop.sqlite" }
[categories]
"user.unique_id" = "sdk_interaction"
"user.device" = "device"
"user.content" = "media"
[identities]
user_id = "iss_sub"
email = "email"
device_id = "opaque"
[ignored]
version = "the schema's version"
[collections.people]
tenant = "app"
[collections.devices]
tenant = "app"
[collections.pings]
tenant = "app"
time = "at"
[collections.'odd "name']
join = { collection = "people", on = [["person", "id"]] }
[collections.parts]
join = { collection = 'odd "name', on = [["odd_a", "a"], ["odd_b", "b"]] }
[collections.rooms]
tenant = "app"
shared = true
[collections.members]
tenant = "app"
[collections.logs]
tenant = "app"
time = "at"
retain = { ground = "legal-obligation", for_days = 100 }
[collections.clips]
tenant = "app"
"#;

const SCHEMA: &[&str] = &[
    "CREATE TABLE people (id INTEGER PRIMARY KEY, app TEXT, user_id TEXT, email TEXT)",
    "CREATE TABLE devices (id INTEGER PRIMARY KEY, app TEXT, owner TEXT, device_id TEXT)",
    "CREATE TABLE pings (id INTEGER PRIMARY KEY, app TEXT, device_id TEXT, at INTEGER)",
    "CREATE TABLE \"odd \"\"name\" (a INTEGER, b TEXT, person INTEGER REFERENCES people (id), note TEXT, photo BLOB, score REAL, PRIMARY KEY (a, b))",
    "CREATE TABLE parts (id TEXT PRIMARY KEY, odd_a INTEGER, odd_b TEXT)",
    "CREATE TABLE rooms (id INTEGER PRIMARY KEY, app TEXT, room TEXT)",
    "CREATE TABLE members (id INTEGER PRIMARY KEY, app TEXT, room TEXT, user_id TEXT)",
    "CREATE TABLE logs (id INTEGER PRIMARY KEY, app TEXT, user_id TEXT, at INTEGER)",
    "CREATE TABLE clips (id INTEGER PRIMARY KEY, app TEXT, user_id TEXT)",
    "CREATE TABLE version (n INTEGER PRIMARY KEY)",
];

/// What each of the two tenants' `u_1` has, when everything but media is instructed.
pub const ROWS_OF_U1: &[(&str, u64)] = &[
    ("devices", 2),
    ("logs", 2),
    ("members", 1),
    ("odd \"name", 3),
    ("parts", 3),
    ("people", 1),
    ("pings", 1_200),
];

pub struct TestStore {
    pub folder: tempfile::TempDir,
    pub map: DataMap,
    pub store: SqliteStore,
    pub ledger: Ledger,
    pub clock: FixedClock,
    pub entropy: SystemEntropy,
}

impl TestStore {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fill(&folder.path().join("shop.sqlite")).await;
        Self::at(folder, DATASET, OVERLAY).await
    }

    /// Another store `shop`, in `shop.sqlite`, made by these statements.
    pub async fn of(dataset: &str, overlay: &str, statements: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("shop.sqlite"));
        let mut connection = options.create_if_missing(true).connect().await.unwrap();
        for statement in statements {
            sqlx::query(AssertSqlSafe(*statement)).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
        Self::at(folder, dataset, overlay).await
    }

    async fn at(folder: tempfile::TempDir, dataset: &str, overlay: &str) -> Self {
        let map = DataMap::parse(dataset.as_bytes(), overlay.as_bytes(), folder.path()).unwrap();
        let store = SqliteStore::open(map.database(), map.statement_timeout()).await.unwrap();
        let ledger =
            Ledger::open(&folder.path().join("ledger.sqlite"), Arc::new(TestSealer::new())).await.unwrap();
        Self { folder, map, store, ledger, clock: FixedClock::at(NOW), entropy: SystemEntropy }
    }

    /// The process died: all that was in memory is gone, the files are as they are.
    pub async fn restart(&mut self) {
        self.ledger.close().await;
        self.store.close().await;
        self.store = SqliteStore::open(self.map.database(), self.map.statement_timeout()).await.unwrap();
        let path = self.folder.path().join("ledger.sqlite");
        self.ledger = Ledger::open(&path, Arc::new(TestSealer::new())).await.unwrap();
    }

    pub fn work(&self) -> Workplace<'_> {
        self.work_with(&NoFaults)
    }

    pub fn work_with<'a>(&'a self, faults: &'a dyn Faults) -> Workplace<'a> {
        Workplace {
            map: &self.map,
            connector: &self.store,
            ledger: &self.ledger,
            clock: &self.clock,
            entropy: &self.entropy,
            faults,
        }
    }

    pub async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.map.database()).connect().await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut self.connection().await).await.unwrap();
    }

    pub async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection().await).await.unwrap()
    }

    /// Every row of a tenant, and every row that leads to none, as SQLite literals.
    pub async fn everything_but(&self, tenant: &str) -> Vec<String> {
        let mut connection = self.connection().await;
        let mut out = Vec::new();
        for sql in [
            "SELECT concat_ws(',', 'people', id, app, quote(user_id), quote(email)) FROM people WHERE app <> ?",
            "SELECT concat_ws(',', 'devices', id, app, quote(owner), quote(device_id)) FROM devices WHERE app <> ?",
            "SELECT concat_ws(',', 'pings', id, app, quote(device_id), at) FROM pings WHERE app <> ?",
            "SELECT concat_ws(',', 'odd', a, quote(b), person, quote(note), quote(photo), score) FROM \"odd \"\"name\" WHERE person NOT IN (SELECT id FROM people WHERE app = ?)",
            "SELECT concat_ws(',', 'parts', id, odd_a, quote(odd_b)) FROM parts WHERE odd_a NOT IN (SELECT a FROM \"odd \"\"name\" JOIN people ON person = people.id WHERE app = ?)",
            "SELECT concat_ws(',', 'rooms', id, app, room) FROM rooms WHERE app <> ?",
            "SELECT concat_ws(',', 'members', id, app, room, user_id) FROM members WHERE app <> ?",
            "SELECT concat_ws(',', 'logs', id, app, user_id, at) FROM logs WHERE app <> ?",
            "SELECT concat_ws(',', 'clips', id, app, user_id) FROM clips WHERE app <> ?",
        ] {
            let rows = sqlx::query(sql).bind(tenant).fetch_all(&mut connection).await.unwrap();
            out.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        out.sort();
        out
    }
}

/// For each tenant: `u_1` with everything, `u_2` with a device, a room and a log.
async fn fill(path: &Path) {
    let mut connection =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    for statement in SCHEMA {
        sqlx::query(*statement).execute(&mut connection).await.unwrap();
    }
    let recent = NOW - 10 * DAY;
    let old = NOW - 200 * DAY;
    for (tenant, base) in [("app-a", 0), ("app-b", 1_000_000)] {
        for sql in [
            format!(
                "INSERT INTO people VALUES ({base}+1, '{tenant}', 'u_1', 'one@mail.example'), ({base}+2, '{tenant}', 'u_2', 'two@mail.example')"
            ),
            format!(
                "INSERT INTO devices VALUES ({base}+1, '{tenant}', 'u_1', 'phone-{tenant}'), ({base}+2, '{tenant}', 'u_1', 'same-device'), ({base}+3, '{tenant}', 'u_2', 'other')"
            ),
            // More than two batches.
            format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) INSERT INTO pings SELECT {base}+i, '{tenant}', 'same-device', {recent} - i FROM n"
            ),
            format!("INSERT INTO pings VALUES ({base}+5000, '{tenant}', 'other', {recent})"),
            format!(
                "INSERT INTO \"odd \"\"name\" VALUES ({base}+1, 'x', {base}+1, '=cmd|<b>', x'00ff', 1.5), ({base}+2, 'y''; DROP TABLE people; --', {base}+1, NULL, NULL, NULL), ({base}+3, 'z', {base}+1, '-5', NULL, -5), ({base}+4, 'z', {base}+2, 'u_1', NULL, 0)"
            ),
            format!(
                "INSERT INTO parts SELECT 'part-' || a, a, b FROM \"odd \"\"name\" WHERE a > {base} AND a < {base}+5"
            ),
            format!(
                "INSERT INTO rooms VALUES ({base}+1, '{tenant}', 'room-1'), ({base}+2, '{tenant}', 'room-2')"
            ),
            format!(
                "INSERT INTO members VALUES ({base}+1, '{tenant}', 'room-1', 'u_1'), ({base}+2, '{tenant}', 'room-1', 'u_2')"
            ),
            format!(
                "INSERT INTO logs VALUES ({base}+1, '{tenant}', 'u_1', {old}), ({base}+2, '{tenant}', 'u_1', {old}), ({base}+3, '{tenant}', 'u_1', {recent}), ({base}+4, '{tenant}', 'u_2', {old})"
            ),
            format!("INSERT INTO clips VALUES ({base}+1, '{tenant}', 'u_1'), ({base}+2, '{tenant}', 'u_2')"),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
    }
    connection.close().await.unwrap();
}

/// An order of tenant `app-a` on `u_1`, everything but media.
pub struct Order(TaskParts);

impl Order {
    pub fn new(act: Act, number: u8) -> Self {
        Self(TaskParts {
            execution: format!("01938a5e-0000-7000-8000-0000000000{number:02x}").parse().unwrap(),
            instruction_digest: [number; 32],
            act,
            subject: vec![user("u_1")],
            tenant: "app-a".to_owned(),
            store: "shop".parse().unwrap(),
            categories: vec![Category::Device, Category::SdkInteraction],
            everything: false,
            window: None,
            export: None,
        })
    }
    /// `["*"]` was signed, and the agent's agreement has the categories alone.
    pub fn everything(mut self) -> Self {
        self.0.everything = true;
        self
    }
    pub fn execution(mut self, number: u8) -> Self {
        self.0.execution = format!("01938a5e-0000-7000-8000-0000000000{number:02x}").parse().unwrap();
        self
    }
    pub fn subject(mut self, subject: Vec<Identifier>) -> Self {
        self.0.subject = subject;
        self
    }
    pub fn categories(mut self, categories: &[Category]) -> Self {
        self.0.categories = categories.to_vec();
        self
    }
    pub fn window(mut self, from: i64, until: i64) -> Self {
        self.0.window = Some((from, until));
        self
    }
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.0.tenant = tenant.to_owned();
        self
    }
    pub fn to(mut self, recipient: String) -> Self {
        self.0.export = Some(ExportTo { recipient, region: Region::Cn });
        self
    }
    pub fn task(self) -> Task {
        Task::from_parts(self.0)
    }
}

pub fn user(id: &str) -> Identifier {
    Identifier::IssSub { iss: "apps/shop".to_owned(), sub: id.to_owned() }
}

/// The order of a mail: one user and one device of the sample's real-time store.
pub fn sample_task(app: &str, tenant: &str, user: &str, device: &str) -> Task {
    let mut parts = Order::new(Act::Erase, 1).tenant(tenant).0;
    parts.store = "rtc".parse().unwrap();
    parts.categories = vec![Category::Device, Category::Network, Category::SdkInteraction];
    parts.subject = vec![
        Identifier::IssSub { iss: format!("apps/{app}"), sub: user.to_owned() },
        Identifier::Opaque { id: device.to_owned() },
    ];
    Task::from_parts(parts)
}

/// The process dies the `nth` time it comes to a point.
pub struct DieAt {
    point: Point,
    nth: usize,
    seen: AtomicUsize,
}

impl DieAt {
    pub fn new(point: Point, nth: usize) -> Self {
        Self { point, nth, seen: AtomicUsize::new(0) }
    }
}

impl Faults for DieAt {
    fn at(&self, point: Point) -> Result<(), Refusal> {
        if point == self.point && self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.nth {
            panic!("the process dies here, as the test wants it to");
        }
        Ok(())
    }
}

/// AES-256-GCM with a key of the test's; the place is the associated data.
pub struct TestSealer {
    key: RandomizedNonceKey,
    mac: hmac::Key,
    shredded: Mutex<BTreeSet<ExecutionId>>,
}

impl TestSealer {
    pub fn new() -> Self {
        Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, &[7; 32]).unwrap(),
            mac: hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]),
            shredded: Mutex::default(),
        }
    }

    /// Whatever is made for an execution after its shredding is made under a new key.
    fn renew(&self, execution: ExecutionId) {
        self.shredded.lock().unwrap().remove(&execution);
    }

    fn is_shredded(&self, execution: ExecutionId) -> bool {
        self.shredded.lock().unwrap().contains(&execution)
    }
}

fn place_bytes(place: Place<'_>) -> Vec<u8> {
    format!("{}/{}/{}/{}", place.execution, place.table, place.row, place.column).into_bytes()
}

#[async_trait]
impl Sealer for TestSealer {
    async fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.renew(place.execution);
        let mut bytes = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place_bytes(place)), &mut bytes)
            .map_err(|_| Refusal::from(Reason::Internal))?;
        Ok([nonce.as_ref().as_slice(), &bytes].concat())
    }

    async fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
        if self.is_shredded(place.execution) {
            return Err(Reason::NotFound.into());
        }
        let (nonce, bytes) = sealed.split_at_checked(12).ok_or(Reason::Internal)?;
        let nonce = aws_lc_rs::aead::Nonce::try_assume_unique_for_key(nonce)
            .map_err(|_| Refusal::from(Reason::Internal))?;
        let mut bytes = bytes.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(place_bytes(place)), &mut bytes)
            .map_err(|_| Refusal::from(Reason::Internal))?;
        Ok(plain.to_vec())
    }

    async fn mark(&self, execution: ExecutionId, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.renew(execution);
        let mut mark = execution.as_uuid().as_bytes().to_vec();
        let mac = hmac::sign(&self.mac, &[&mark, message].concat());
        mark.extend_from_slice(mac.as_ref());
        Ok(mark)
    }

    async fn mark_like(&self, mark: &[u8], message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let execution = ExecutionId::from_uuid(uuid::Uuid::from_slice(&mark[..16]).unwrap());
        if self.is_shredded(execution) {
            return Err(Reason::NotFound.into());
        }
        self.mark(execution, message).await
    }

    async fn shred(&self, execution: ExecutionId) -> Result<(), Refusal> {
        self.shredded.lock().unwrap().insert(execution);
        Ok(())
    }

    async fn note_ledger(&self, _: Anchor) -> Result<(), Refusal> {
        Ok(())
    }
}
