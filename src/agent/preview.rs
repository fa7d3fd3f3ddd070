//! What an erasure *would* touch, for the people who are to sign it.
//!
//! The counts are upper bounds for rows dated before the cut-off (a row without
//! a time counts). They tell whether data exists, so they and the salt are for
//! the controller alone, sealed. The digest may stand in the clear: it is over
//! the salt, the store, the map's version, the cut-off, and the predicates as
//! they are rendered, tenant and identifiers included. Whoever has the salt and
//! the disclosures can compute it again.

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
use crate::domain::{Act, Reason, Refusal};
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
    let digest = preview_digest(work.map, task, &salt, as_of)?;
    work.ledger
        .end(run, as_of, |ledger| Outcome {
            execution: run.execution(),
            store: task.store().clone(),
            act: task.act(),
            map_version: hex::encode(work.map.version()),
            collections: plan.outcomes(),
            package: None,
            preview: Some(PreviewSeal { salt: hex::encode(salt), digest: hex::encode(digest), as_of }),
            ledger,
        })
        .await
}

/// What the gateway kept of a preview. It is believed only as far as the digest that was signed follows from it.
pub struct Seen {
    salt: [u8; 32],
    map_version: String,
}

impl Seen {
    /// None where it is not of the form.
    pub fn read(message: &v1::PreviewSeen) -> Option<Self> {
        let mut salt = [0; 32];
        hex::decode_to_slice(&message.salt, &mut salt).ok()?;
        Some(Self { salt, map_version: message.map_version.clone() })
    }
}

/// The order still reaches what its signers saw: the same store, map, subject, categories and window. Otherwise it
/// says what moved.
pub fn check_seen(
    map: &DataMap,
    task: &Task,
    signed: &PreviewRef,
    seen: Option<&Seen>,
) -> Result<(), Refusal> {
    let seen = seen.ok_or(Reason::PreviewUnknown)?;
    let digest = preview_digest(map, task, &seen.salt, signed.as_of)?;
    if digest == *signed.digest.as_bytes() {
        return Ok(());
    }
    if seen.map_version == hex::encode(map.version()) {
        Err(Reason::PreviewScopeMoved.into())
    } else {
        Err(Reason::PreviewMapMoved.into())
    }
}

/// SHA-256 over length-prefixed parts, in this order: a label, salt, store, map version, cut-off,
/// categories, window; for each collection its name, its identity predicates with their values;
/// then the edges the walk may take.
pub fn preview_digest(map: &DataMap, task: &Task, salt: &[u8; 32], as_of: i64) -> Result<[u8; 32], Refusal> {
    let mut hash = Hash(Context::new(&SHA256));
    hash.part(b"mandate preview v1");
    hash.part(salt);
    hash.part(map.store().as_str().as_bytes());
    hash.part(map.version());
    hash.part(&as_of.to_be_bytes());
    let mut categories: Vec<&str> = task.categories().iter().map(|category| category.as_str()).collect();
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
    use crate::agent::test_store::{Order, ROWS_OF_U1, TestStore, user};

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
        let seal = preview(&shop.work(), &task).await.unwrap().preview.unwrap();
        let salt: [u8; 32] = hex::decode(&seal.salt).unwrap().try_into().unwrap();
        let digest = |task: &Task, salt: &[u8; 32], as_of| {
            hex::encode(preview_digest(&shop.map, task, salt, as_of).unwrap())
        };
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

    #[tokio::test]
    async fn a_person_without_rows_has_zero_of_each() {
        let shop = TestStore::new().await;
        let order = Order::new(Act::Preview, 1).subject(vec![user("nobody")]);
        let outcome = preview(&shop.work(), &order.task()).await.unwrap();
        assert_eq!(outcome.rows(), 0);
        assert!(outcome.is_complete());
    }
}
