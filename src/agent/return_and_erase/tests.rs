use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Mutex;

use age::x25519::Identity;
use futures::FutureExt;

use super::*;
use crate::agent::export::tests::opened;
use crate::agent::faults::Faults;
use crate::agent::test_store::{DAY, DieAt, NOW, Order, TestStore};
use crate::domain::{Category, Ground};

/// Rows of tenant `app-a`; three of its logs are past their retention.
const ROWS: &[(&str, u64)] = &[
    ("clips", 2),
    ("devices", 3),
    ("logs", 3),
    ("members", 2),
    ("odd \"name", 4),
    ("parts", 4),
    ("people", 2),
    ("pings", 1_201),
    ("rooms", 2),
];

/// Where packages are handed in.
struct Desk {
    folder: PathBuf,
    taken: Mutex<Vec<Vec<u8>>>,
    is_open: bool,
}

impl Desk {
    fn of(shop: &TestStore) -> Self {
        Self { folder: shop.folder.path().to_owned(), taken: Mutex::default(), is_open: true }
    }

    fn taken(&self) -> Vec<Vec<u8>> {
        self.taken.lock().unwrap().clone()
    }
}

#[async_trait]
impl Courier for Desk {
    async fn hand_over(&self, package: &Package) -> Result<(), Refusal> {
        if !self.is_open {
            return Err(Reason::Unavailable.into());
        }
        let bytes = std::fs::read(self.folder.join(&package.file)).unwrap();
        self.taken.lock().unwrap().push(bytes);
        Ok(())
    }
}

fn order(key: Option<&Identity>) -> Order {
    let order = Order::new(Act::ReturnAndErase, 1).subject(Vec::new()).categories(Category::ALL);
    match key {
        Some(key) => order.to(key.to_public().to_string()),
        None => order,
    }
}

fn numbers(outcome: &Outcome) -> Vec<(&str, u64)> {
    let rows = outcome.collections.iter().filter(|of| of.rows > 0);
    let mut out: Vec<_> = rows.map(|of| (of.collection.as_str(), of.rows)).collect();
    out.sort_unstable();
    out
}

async fn carried_out(shop: &TestStore, key: Option<&Identity>, desk: &Desk) -> Result<Outcome, Refusal> {
    return_and_erase(&shop.work(), &order(key).task(), shop.folder.path(), desk).await
}

fn lines(package: &[u8], key: &Identity, file: &str) -> usize {
    let parts = opened(package, key);
    parts.get(file).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

#[tokio::test]
async fn all_of_one_tenant_is_returned_and_goes_and_the_others_keep_every_byte() {
    let shop = TestStore::new().await;
    let (key, desk) = (Identity::generate(), Desk::of(&shop));
    let others = shop.everything_but("app-a").await;
    let outcome = carried_out(&shop, Some(&key), &desk).await.unwrap();
    assert_eq!(numbers(&outcome), ROWS);
    assert!(outcome.is_complete());
    assert!(shop.everything_but("app-a").await == others, "another tenant's rows changed");
    // What is left is what the law keeps, and it says until when.
    let everything = shop.everything_but("nobody").await;
    assert_eq!(everything.len(), others.len() + 1);
    let kept = &outcome.collection("logs").unwrap().kept;
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].ground, kept[0].rows), (Ground::LegalObligation, Some(1)));
    assert_eq!(kept[0].until, Some(NOW - 10 * DAY + 100 * DAY));
    // The package has each row that went, and those that stay.
    let package = desk.taken().pop().unwrap();
    let parts = opened(&package, &key);
    let manifest: serde_json::Value = serde_json::from_slice(&parts["manifest.json"]).unwrap();
    for (collection, rows) in ROWS {
        let told = manifest["about"]["collections"].as_array().unwrap();
        let told = told.iter().find(|told| told["collection"] == *collection).unwrap();
        let stays = u64::from(*collection == "logs");
        assert_eq!(told["rows"], rows + stays, "{collection}");
        let file = parts.keys().find(|path| {
            path.ends_with(".jsonl") && path.trim_start_matches("data/").starts_with(&collection[..3])
        });
        assert_eq!(lines(&package, &key, file.unwrap()) as u64, rows + stays, "{collection}");
    }
    let people = String::from_utf8(parts["data/people.jsonl"].clone()).unwrap();
    assert_eq!(people.matches("@mail.example").count(), 2);
    // A repeat finds its first outcome.
    let again = carried_out(&shop, Some(&key), &desk).await.unwrap();
    assert_eq!(again, outcome);
    assert_eq!(desk.taken().len(), 1);
}

#[tokio::test]
async fn no_row_goes_before_the_gateway_has_the_package() {
    let shop = TestStore::new().await;
    let (key, mut desk) = (Identity::generate(), Desk::of(&shop));
    let before = shop.everything_but("nobody").await;
    desk.is_open = false;
    for _ in 0..2 {
        let refusal = carried_out(&shop, Some(&key), &desk).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::Unavailable);
        assert!(shop.everything_but("nobody").await == before);
    }
    // The package that was made is the one that is handed over, and it is made again where it was lost.
    let file = shop.folder.path().join(package_name(order(None).task().execution()));
    let made = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(carried_out(&shop, Some(&key), &desk).await.is_err());
    let anew = std::fs::read(&file).unwrap();
    assert!(made != anew && shop.everything_but("nobody").await == before);
    desk.is_open = true;
    let outcome = carried_out(&shop, Some(&key), &desk).await.unwrap();
    assert_eq!(desk.taken(), [anew]);
    assert_eq!(numbers(&outcome), ROWS);
}

#[tokio::test]
async fn after_a_death_at_any_point_the_same_goes_and_is_told_once() {
    use Point::*;
    let once = [Begun, Planned, Returned, HandedOver, Settled, ReadBack, Ended].map(|point| (point, 1));
    let often = [Recorded, Intended, Deleted, Done].into_iter().flat_map(|point| [(point, 1), (point, 6)]);
    for (point, nth) in once.into_iter().chain(often) {
        let mut shop = TestStore::new().await;
        let (key, desk) = (Identity::generate(), Desk::of(&shop));
        let others = shop.everything_but("app-a").await;
        let fault = DieAt::new(point, nth);
        let task = order(Some(&key)).task();
        let dying =
            AssertUnwindSafe(return_and_erase(&shop.work_with(&fault), &task, shop.folder.path(), &desk))
                .catch_unwind()
                .await;
        assert!(dying.is_err(), "never came to {point:?} the {nth}th time");
        shop.restart().await;
        let outcome = carried_out(&shop, Some(&key), &desk).await.unwrap();
        assert_eq!(numbers(&outcome), ROWS, "died at {point:?} the {nth}th time");
        assert!(outcome.is_complete());
        assert!(shop.everything_but("app-a").await == others, "died at {point:?} the {nth}th time");
        let taken = desk.taken();
        assert!(taken.windows(2).all(|pair| pair[0] == pair[1]), "two packages were handed over");
        let digest = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &taken[0]));
        assert_eq!(outcome.package.unwrap().sha256, digest);
        assert_eq!(lines(&taken[0], &key, "data/pings.jsonl"), 1_201);
    }
}

/// Runs SQL at a point, some times.
struct At<'a>(&'a TestStore, Point, Mutex<Vec<&'static str>>);

impl Faults for At<'_> {
    fn at(&self, point: Point) -> Result<(), Refusal> {
        if point == self.1
            && let Some(sql) = self.2.lock().unwrap().pop()
        {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.0.run(sql)));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_or_changes_after_the_return_stays_and_the_act_is_partial() {
    let shop = TestStore::new().await;
    let (key, desk) = (Identity::generate(), Desk::of(&shop));
    // A part whose way to its tenant leads over rows that were returned; a person who moves; a key that comes anew.
    let late = vec![
        "INSERT INTO parts VALUES ('late', 1, 'x')",
        "UPDATE people SET email = 'new@mail.example' WHERE app = 'app-a' AND id = 2",
    ];
    let faults = At(&shop, Point::Returned, late.into());
    let task = order(Some(&key)).task();
    let work = shop.work_with(&faults);
    // One statement for each time it comes to the point: the first hand-over fails.
    let closed = Desk { is_open: false, ..Desk::of(&shop) };
    assert!(return_and_erase(&work, &task, shop.folder.path(), &closed).await.is_err());
    let outcome = return_and_erase(&work, &task, shop.folder.path(), &desk).await.unwrap();
    assert!(!outcome.is_complete());
    let excluded = |name: &str| outcome.collection(name).unwrap().excluded;
    assert_eq!(excluded("parts"), Some(Exclusion::StillThere));
    assert_eq!(excluded("people"), Some(Exclusion::StillThere), "she moved after the return");
    assert_eq!(excluded("odd \"name"), Some(Exclusion::StillThere), "the late part leans on it");
    assert_eq!(excluded("pings"), None);
    assert_eq!(shop.count("SELECT count(*) FROM parts WHERE id = 'late'").await, 1);
    assert_eq!(shop.count("SELECT count(*) FROM people WHERE email = 'new@mail.example'").await, 1);
    assert_eq!(outcome.collection("parts").unwrap().rows, 4, "what was returned went");
    let left = "SELECT count(*) FROM people WHERE app = 'app-a'";
    assert_eq!(shop.count(left).await, 2, "she, and the one whom the late part hangs on");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_to_be_returned_what_comes_in_meanwhile_goes_too() {
    let shop = TestStore::new().await;
    let desk = Desk::of(&shop);
    let late = vec!["INSERT INTO parts VALUES ('late', 1, 'x')"];
    let faults = At(&shop, Point::Returned, late.into());
    let outcome = return_and_erase(&shop.work_with(&faults), &order(None).task(), shop.folder.path(), &desk)
        .await
        .unwrap();
    assert!(outcome.is_complete());
    assert_eq!(outcome.collection("parts").unwrap().rows, 5);
    assert!(outcome.package.is_none() && desk.taken().is_empty());
    assert_eq!(shop.count("SELECT count(*) FROM people WHERE app = 'app-a'").await, 0);

    let shop = TestStore::new().await;
    let log = "INSERT INTO logs (app, user_id, at) VALUES ('app-a', 'u_1', 1)";
    let faults = At(&shop, Point::Settled, vec![log; 9].into());
    let task = order(None).task();
    let refusal = return_and_erase(&shop.work_with(&faults), &task, shop.folder.path(), &desk).await;
    assert_eq!(refusal.unwrap_err().reason, Reason::ReadBackFailed);
    let outcome = return_and_erase(&shop.work(), &task, shop.folder.path(), &desk).await.unwrap();
    assert_eq!(outcome.collection("logs").unwrap().rows, 3 + 5, "when the stream has dried up it ends");
}

const TREE: &str = "\
dataset:
  - fides_key: shop
    collections:
      - name: people
        fields:
          - {name: id, data_categories: [user], fides_meta: {primary_key: true}}
          - {name: boss}
      - name: bills
        fields:
          - {name: id, data_categories: [user], fides_meta: {primary_key: true}}
          - {name: person}
          - {name: at}
      - name: clips
        fields: [{name: id, data_categories: [user.content], fides_meta: {primary_key: true}}]
";

const TREE_OVERLAY: &str = "\
store = 'shop'
dataset = 'shop'
region = 'cn'
connection = { sqlite = 'shop.sqlite' }
categories = { user = 'device', 'user.content' = 'media' }
identities = {}
[collections.people]
tenant = 'app'
[collections.bills]
join = { collection = 'people', on = [['person', 'id']] }
time = 'at'
retain = { ground = 'legal-obligation', for_days = 100 }
[collections.clips]
tenant = 'app'
";

#[tokio::test]
async fn what_the_law_keeps_keeps_the_very_rows_it_leans_on_and_no_other() {
    let (old, recent) = (NOW - 200 * DAY, NOW - DAY);
    let shop = TestStore::of(TREE, TREE_OVERLAY, &[
        "CREATE TABLE people (id INTEGER PRIMARY KEY, app TEXT, boss INTEGER REFERENCES people (id))",
        "CREATE TABLE bills (id INTEGER PRIMARY KEY, person INTEGER, at INTEGER)",
        "CREATE TABLE clips (id INTEGER PRIMARY KEY, app TEXT)",
        // Each is the next one's boss, across several batches; 1 is his own.
        "INSERT INTO people VALUES (1, 'app-a', 1)",
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 20) INSERT INTO people SELECT i, 'app-a', i - 1 FROM n",
        "INSERT INTO people VALUES (900, 'app-a', NULL), (901, 'app-a', 900), (950, 'app-b', NULL)",
        &format!("INSERT INTO bills VALUES (1, 20, {old}), (2, 901, {recent}), (3, 950, {old})"),
        "INSERT INTO clips VALUES (1, 'app-a')",
    ])
    .await;
    let task = Order::new(Act::ReturnAndErase, 1).subject(Vec::new()).categories(&[Category::Device]).task();
    let outcome = return_and_erase(&shop.work(), &task, shop.folder.path(), &Desk::of(&shop)).await.unwrap();
    assert!(outcome.is_complete(), "{outcome:?}");
    let people = outcome.collection("people").unwrap();
    assert_eq!(people.rows, 20, "the chain went link by link");
    assert_eq!((people.kept[0].rows, people.kept[0].ground), (Some(2), Ground::LegalObligation));
    assert_eq!(people.kept[0].needed_by.as_deref(), Some("bills"));
    assert_eq!(shop.count("SELECT count(*) FROM people").await, 3);
    assert_eq!(shop.count("SELECT sum(id) FROM bills").await, 2 + 3);
    let clips = &outcome.collection("clips").unwrap().kept[0];
    assert_eq!((clips.rows, clips.ground), (Some(1), Ground::CategoryNotInstructed));
}

#[tokio::test]
async fn a_row_whose_time_cannot_be_read_is_returned_and_stays_and_the_end_is_partial() {
    let shop = TestStore::new().await;
    shop.run("UPDATE logs SET at = 'unknown' WHERE app = 'app-a' AND id = 1").await;
    let (key, desk) = (Identity::generate(), Desk::of(&shop));
    let outcome = carried_out(&shop, Some(&key), &desk).await.unwrap();
    let kept = &outcome.collection("logs").unwrap().kept;
    let told: Vec<_> = kept.iter().map(|kept| (kept.rows, kept.until.is_some())).collect();
    assert_eq!(told, [(Some(1), false), (Some(1), true)]);
    assert!(!outcome.is_complete());
    assert_eq!(lines(&desk.taken().pop().unwrap(), &key, "data/logs.jsonl"), 4);
}

#[tokio::test]
async fn what_lies_outside_the_agreement_is_neither_returned_nor_erased_and_the_end_is_partial() {
    let shop = TestStore::new().await;
    let within = [Category::Device, Category::SdkInteraction];
    let order = |number| Order::new(Act::ReturnAndErase, number).subject(Vec::new()).categories(&within);
    let desk = Desk::of(&shop);
    let outcome = return_and_erase(&shop.work(), &order(1).everything().task(), shop.folder.path(), &desk)
        .await
        .unwrap();
    let clips = &outcome.collection("clips").unwrap().kept;
    assert_eq!((clips[0].ground, clips[0].rows), (Ground::OutsideAgreement, Some(2)));
    assert!(!outcome.is_complete());
    // An empty table leaves nothing undone.
    shop.run("DELETE FROM clips WHERE app = 'app-a'").await;
    let outcome = return_and_erase(&shop.work(), &order(2).everything().task(), shop.folder.path(), &desk)
        .await
        .unwrap();
    assert!(outcome.is_complete(), "{outcome:?}");
}

#[tokio::test]
async fn a_row_that_its_key_does_not_find_stops_the_act_before_anything_goes() {
    let shop = TestStore::new().await;
    shop.run("INSERT INTO parts VALUES (NULL, 1, 'x')").await;
    let refusal = carried_out(&shop, None, &Desk::of(&shop)).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.field.as_deref()), (Reason::MapInvalid, Some("parts")));
    assert_eq!(shop.count("SELECT count(*) FROM people WHERE app = 'app-a'").await, 2);
    let known = shop.ledger.standing(order(None).task().execution()).await.unwrap();
    assert_eq!(known, None, "it is forgotten: nothing was touched");
}
