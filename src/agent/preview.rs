//! What an erasure *would* touch, for the people who are to sign it.
//!
//! The counts are upper bounds for rows dated before the cut-off (a row without
//! a time counts). They tell whether data exists, so they and the salt are for
//! the controller alone, sealed. The digest may stand in the clear: it is over
//! the salt, the store, the map's version, the cut-off, the predicates as
//! they are rendered, tenant and identifiers included, and the counts. Whoever has the salt,
//! the counts and the disclosures can compute it again; so nobody can tell the agent of other counts
//! than were signed.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};

use super::data_map::DataMap;
use super::ledger::{Begun, Run};
use super::outcome::{Outcome, PreviewSeal};
use super::plan::plan;
use super::statement::{Match, Statement};
use super::task::Task;
use super::tenanted::Tenanted;
use super::value::Value;
use super::walk::Traces;
use super::workplace::Workplace;
use crate::domain::{Act, Category, Reason, Refusal};
use crate::grpc::v1;
use crate::token::PreviewRef;

/// Counts, and seals what was counted. A repeat gets the first preview.
pub async fn preview(work: &Workplace<'_>, task: &Task) -> Result<Outcome, Refusal> {
    work.check(task)?;
    if task.act() != Act::Preview {
        return Err(Reason::ActNotSupported.into());
    }
    let run = match work.ledger.begin(task, work.clock.now_seconds()).await? {
        Begun::Ended(outcome) => return Ok(*outcome),
        Begun::Open(run) => run,
    };
    match count(work, task, &run).await {
        Ok(outcome) => Ok(outcome),
        Err(refusal) => {
            work.ledger.withdraw(&run).await?;
            Err(refusal)
        }
    }
}

async fn count(work: &Workplace<'_>, task: &Task, run: &Run) -> Result<Outcome, Refusal> {
    let as_of = work.clock.now_seconds();
    let plan = plan(work, task, &Traces::new()).await?;
    let salt: [u8; 32] = work.entropy.array();
    let collections = plan.outcomes();
    let counts = collections.iter().map(|of| (of.collection.clone(), of.found())).collect();
    let digest = preview_digest(work.map, task, task.categories(), &salt, &Bound { as_of, counts })?;
    work.ledger
        .end(run, as_of, |ledger| Outcome {
            execution: run.execution(),
            store: task.store().clone(),
            act: task.act(),
            map_version: hex::encode(work.map.version()),
            collections,
            package: None,
            preview: Some(PreviewSeal { salt: hex::encode(salt), digest: hex::encode(digest), as_of }),
            stopped: None,
            ledger,
        })
        .await
}

/// What the gateway kept of a preview. It is believed only as far as the digest that was signed follows from it.
pub struct Seen {
    salt: [u8; 32],
    map_version: String,
    counts: BTreeMap<String, u64>,
}

/// What the signers saw of each collection: so many rows of the subject, those that would go and those that would stay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Rows dated from here on were not seen, and are not counted. Seconds.
    pub as_of: i64,
    pub counts: BTreeMap<String, u64>,
}

impl Bound {
    /// Whether so many rows of a collection, dated before the cut-off or not at all, are more than were seen.
    pub fn is_exceeded(&self, collection: &str, rows: u64) -> bool {
        rows > self.counts.get(collection).copied().unwrap_or_default()
    }
}

impl Seen {
    /// None where it is not of the form.
    pub fn read(message: &v1::PreviewSeen) -> Option<Self> {
        let mut salt = [0; 32];
        hex::decode_to_slice(&message.salt, &mut salt).ok()?;
        let counts = message.counts.iter().map(|of| (of.collection.clone(), of.rows)).collect();
        Some(Self { salt, map_version: message.map_version.clone(), counts })
    }
}

/// The order still reaches what its signers saw: the same store, map, subject, categories and window. What they saw
/// of it bounds the order. Otherwise it says what moved.
pub fn check_seen(
    map: &DataMap,
    task: &Task,
    signed: &PreviewRef,
    seen: Option<&Seen>,
) -> Result<Bound, Refusal> {
    let seen = seen.ok_or(Reason::PreviewUnknown)?;
    let bound = Bound { as_of: signed.as_of, counts: seen.counts.clone() };
    let is_of = |categories: &[Category]| -> Result<bool, Refusal> {
        Ok(preview_digest(map, task, categories, &seen.salt, &bound)? == *signed.digest.as_bytes())
    };
    if is_of(task.categories())? {
        return Ok(bound);
    }
    if seen.map_version != hex::encode(map.version()) {
        return Err(Reason::PreviewMapMoved.into());
    }
    // `["*"]` is spelt out by the agent's agreement: with other categories it would be what was seen.
    if task.instructs_everything() {
        for categories in subsets(Category::ALL) {
            if is_of(&categories)? {
                return Err(Reason::PreviewAgreementMoved.into());
            }
        }
    }
    Err(Reason::PreviewScopeMoved.into())
}

/// All ways to choose some of them. The vocabulary is a handful.
fn subsets(all: &[Category]) -> impl Iterator<Item = Vec<Category>> {
    (0..1u32 << all.len()).map(move |chosen| {
        let is_in = |(place, category): (usize, &Category)| ((chosen >> place) & 1 == 1).then_some(*category);
        all.iter().enumerate().filter_map(is_in).collect()
    })
}

/// SHA-256 over length-prefixed parts, in this order: a label, salt, store, map version, cut-off,
/// categories, window; for each collection its name, its identity predicates with their values;
/// then the edges the walk may take; then the counts by name, each a name and a number.
fn preview_digest(
    map: &DataMap,
    task: &Task,
    categories: &[Category],
    salt: &[u8; 32],
    bound: &Bound,
) -> Result<[u8; 32], Refusal> {
    let mut hash = Hash(Context::new(&SHA256));
    hash.part(b"mandate preview v2");
    hash.part(salt);
    hash.part(map.store().as_str().as_bytes());
    hash.part(map.version());
    hash.part(&bound.as_of.to_be_bytes());
    let mut categories: Vec<&str> = categories.iter().map(|category| category.as_str()).collect();
    categories.sort_unstable();
    hash.part(categories.join(",").as_bytes());
    if let Some((from, until)) = task.window() {
        hash.part(&from.to_be_bytes());
        hash.part(&until.to_be_bytes());
    }
    for collection in map.collections() {
        hash.part(collection.name.as_str().as_bytes());
        let tenanted = Tenanted::new(map, collection, task.tenant())?;
        for column in &collection.columns {
            let Some(format) = column.identity else { continue };
            let mut values: Vec<Value> = task
                .subject()
                .iter()
                .filter(|identifier| identifier.format() == format.as_str())
                .map(|identifier| Value::text(identifier.value()))
                .collect();
            values.sort();
            values.dedup();
            if values.is_empty() {
                continue;
            }
            let matching = Match { column: &column.name, values: &values };
            let statement = Statement::find(&tenanted, matching, &[], None, 0);
            hash.part(statement.sql().as_bytes());
            for value in statement.binds() {
                let json = serde_json::to_vec(value).map_err(|_| Refusal::from(Reason::Internal))?;
                hash.part(&json);
            }
        }
    }
    for edge in map.edges() {
        for (collection, column) in [&edge.from, &edge.to] {
            hash.part(collection.as_str().as_bytes());
            hash.part(column.as_str().as_bytes());
        }
    }
    for (collection, rows) in &bound.counts {
        hash.part(collection.as_bytes());
        hash.part(&rows.to_be_bytes());
    }
    Ok(hash.finish())
}

struct Hash(Context);

impl Hash {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::erase::erase;
    use crate::agent::test_store::{DAY, NOW, Order, ROWS_OF_U1, TestStore, user};
    use crate::token::Digest;

    #[tokio::test]
    async fn a_preview_counts_what_an_erase_then_erases_and_touches_nothing() {
        let shop = TestStore::new().await;
        let before = shop.everything_but("nobody").await;
        let seen = preview(&shop.work(), &Order::new(Act::Preview, 1).task()).await.unwrap();
        assert!(shop.everything_but("nobody").await == before);
        for (collection, rows) in ROWS_OF_U1 {
            assert_eq!(seen.collection(collection).unwrap().rows, *rows, "{collection}");
        }
        let again = preview(&shop.work(), &Order::new(Act::Preview, 1).execution(9).task()).await.unwrap();
        assert_eq!(seen, again, "a repeat gets the first preview, salt and all");
    }

    #[tokio::test]
    async fn whoever_has_the_salt_can_compute_the_digest_again_and_any_change_changes_it() {
        let shop = TestStore::new().await;
        let task = Order::new(Act::Preview, 1).task();
        let outcome = preview(&shop.work(), &task).await.unwrap();
        let counts: BTreeMap<_, _> =
            outcome.collections.iter().map(|of| (of.collection.clone(), of.found())).collect();
        let seal = outcome.preview.unwrap();
        let salt: [u8; 32] = hex::decode(&seal.salt).unwrap().try_into().unwrap();
        let digest_of = |task: &Task, salt: &[u8; 32], bound: &Bound| {
            hex::encode(preview_digest(&shop.map, task, task.categories(), salt, bound).unwrap())
        };
        let digest = |task: &Task, salt: &[u8; 32], as_of| {
            digest_of(task, salt, &Bound { as_of, counts: counts.clone() })
        };
        let more = Bound {
            as_of: seal.as_of,
            counts: counts.iter().map(|(name, rows)| (name.clone(), rows + 1)).collect(),
        };
        assert_ne!(digest_of(&task, &salt, &more), seal.digest, "other counts than were seen");
        assert_eq!(digest(&task, &salt, seal.as_of), seal.digest);
        let others = [
            digest(&task, &[0; 32], seal.as_of),
            digest(&task, &salt, seal.as_of + 1),
            digest(&Order::new(Act::Preview, 1).subject(vec![user("u_2")]).task(), &salt, seal.as_of),
            digest(&Order::new(Act::Preview, 1).tenant("app-b").task(), &salt, seal.as_of),
            digest(&Order::new(Act::Preview, 1).window(0, 1).task(), &salt, seal.as_of),
        ];
        assert!(others.iter().all(|other| *other != seal.digest));
    }

    /// An order that names the preview of another order, as it is at the agent.
    async fn bound(shop: &TestStore, previewed: Order, order: &Task) -> Result<Bound, Refusal> {
        let outcome = preview(&shop.work(), &previewed.task()).await.unwrap();
        let seal = outcome.preview.as_ref().unwrap();
        let counts = outcome.collections.iter();
        let message = v1::PreviewSeen {
            salt: seal.salt.clone(),
            map_version: outcome.map_version.clone(),
            counts: counts
                .map(|of| v1::CountSeen { collection: of.collection.clone(), rows: of.found() })
                .collect(),
        };
        let mut digest = [0; 32];
        hex::decode_to_slice(&seal.digest, &mut digest).unwrap();
        let signed = PreviewRef { digest: Digest::from_bytes(digest), as_of: seal.as_of };
        check_seen(&shop.map, order, &signed, Seen::read(&message).as_ref())
    }

    #[tokio::test]
    async fn more_rows_before_the_cut_off_than_were_seen_stop_an_erasure_before_anything_goes() {
        let shop = TestStore::new().await;
        let order = Order::new(Act::Erase, 2).task();
        let bound = bound(&shop, Order::new(Act::Preview, 1), &order).await.unwrap();
        let order = order.within(bound);
        // One comes in after it, with a time; four before it, one of them that the law keeps.
        shop.run(&format!("INSERT INTO pings VALUES (990001, 'app-a', 'same-device', {NOW})")).await;
        for sql in [
            "INSERT INTO pings VALUES (990002, 'app-a', 'same-device', 1), (990003, 'app-a', 'same-device', NULL)",
            "INSERT INTO devices VALUES (990001, 'app-a', 'u_1', 'new-one')",
        ] {
            shop.run(sql).await;
        }
        shop.run(&format!("INSERT INTO logs VALUES (990001, 'app-a', 'u_1', {})", NOW - DAY)).await;
        let before = shop.everything_but("nobody").await;
        let stopped = erase(&shop.work(), &order).await.unwrap();
        assert!(shop.everything_but("nobody").await == before);
        assert_eq!(stopped.stopped, Some(Reason::PreviewCountMoved));
        assert!(!stopped.is_complete());
        let told: Vec<_> = stopped.collections.iter().map(|of| (of.collection.as_str(), of.rows)).collect();
        assert_eq!(told, [("devices", 3), ("logs", 4), ("pings", 1_202)]);
        assert_eq!(erase(&shop.work(), &order).await.unwrap(), stopped, "a repeat gets the first answer");
    }

    #[tokio::test]
    async fn what_went_or_came_in_after_the_cut_off_stops_nothing() {
        let shop = TestStore::new().await;
        let order = Order::new(Act::Erase, 2).task();
        let bound = bound(&shop, Order::new(Act::Preview, 1), &order).await.unwrap();
        shop.run(&format!("INSERT INTO pings VALUES (990001, 'app-a', 'same-device', {NOW})")).await;
        shop.run("DELETE FROM logs WHERE app = 'app-a' AND id = 1").await;
        let outcome = erase(&shop.work(), &order.within(bound)).await.unwrap();
        assert!(outcome.is_complete());
        assert_eq!(outcome.collection("pings").unwrap().rows, 1_201);
    }

    #[tokio::test]
    async fn what_moved_since_the_preview_is_told_apart() {
        let shop = TestStore::new().await;
        let all = || Order::new(Act::Erase, 9).everything();
        let reason = |of: Result<Bound, Refusal>| of.err().map(|refusal| refusal.reason);
        let seen = |number| Order::new(Act::Preview, number).everything();
        assert_eq!(reason(bound(&shop, seen(1), &all().task()).await), None);
        let less = all().categories(&[Category::Device]).task();
        let moved = Some(Reason::PreviewAgreementMoved);
        assert_eq!(reason(bound(&shop, seen(2), &less).await), moved, "the agreement has fewer now");
        let other = all().subject(vec![user("u_2")]).task();
        let moved = Some(Reason::PreviewScopeMoved);
        assert_eq!(reason(bound(&shop, seen(3), &other).await), moved, "another person");
        let named = Order::new(Act::Erase, 9).categories(&[Category::Device]).task();
        assert_eq!(reason(bound(&shop, seen(4), &named).await), moved, "other categories were signed");
    }

    #[tokio::test]
    async fn a_person_without_rows_has_zero_of_each() {
        let shop = TestStore::new().await;
        let order = Order::new(Act::Preview, 1).subject(vec![user("nobody")]);
        let outcome = preview(&shop.work(), &order.task()).await.unwrap();
        assert_eq!(outcome.rows(), 0);
        assert!(outcome.is_complete());
    }
}
