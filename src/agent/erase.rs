//! Erasing a person's rows.
//!
//! The dangerous lines, and what survives a crash there:
//!
//! 0. Where its signers saw a preview and the plan finds more, the act ends here, and its answer is kept.
//! 1. The plan (every row's key and the value it was found by) is sealed in the
//!    ledger and durable. Before it nothing was touched; a repeat plans anew.
//! 2. A batch is marked *intended*, durably. Between here and 4 its rows may or
//!    may not be gone; a repeat counts those that are absent as deleted by us.
//! 3. The store deletes the batch in one transaction.
//! 4. The batch is marked *done* with its count.
//! 5. When no batch is left, the person is looked for again, from the
//!    identifiers and from every value the first walk went through. What came in
//!    meanwhile goes in a further round; if rows remain after the last, the act
//!    does not end: `READ_BACK_FAILED`.
//! 6. The outcome is stored and the sealed keys are overwritten. From here a
//!    repeat gets this outcome.

use super::connectors::BATCH;
use super::faults::Point;
use super::ledger::{Begun, Run};
use super::ledger_batches::{Batch, BatchState, NewBatch};
use super::outcome::{CollectionOutcome, Outcome};
use super::plan::{Plan, plan};
use super::statement::Held;
use super::task::Task;
use super::tenanted::Tenanted;
use super::walk::Traces;
use super::workplace::Workplace;
use crate::domain::{Act, Reason, Refusal};

/// Rounds in one attempt: rows may come in while others are deleted.
const ROUNDS: usize = 3;

/// Erases, or goes on erasing, or answers with what the first attempt came to.
pub async fn erase(work: &Workplace<'_>, task: &Task) -> Result<Outcome, Refusal> {
    work.check(task)?;
    if task.act() != Act::Erase {
        return Err(Reason::ActNotSupported.into());
    }
    let run = match work.ledger.begin(task, work.clock.now_seconds()).await? {
        Begun::Ended(outcome) => return Ok(*outcome),
        Begun::Open(run) => run,
    };
    let (mut outline, traces) = match work.ledger.outline(&run).await? {
        Some(recorded) => recorded,
        None => match first_plan(work, task, &run).await {
            Ok(First::Recorded(outline, traces)) => (outline, traces),
            Ok(First::Stopped(outcome)) => return Ok(*outcome),
            Err(refusal) => {
                // Nothing was recorded, so nothing was touched: the subject is free again.
                work.ledger.withdraw(&run).await?;
                return Err(refusal);
            }
        },
    };

    let mut round = 0;
    loop {
        for batch in work.ledger.batches(&run).await? {
            if batch.state != BatchState::Done {
                carry_out(work, task, &run, &batch).await?;
            }
        }
        work.connector.settle().await?;
        work.faults.at(Point::Settled)?;
        let left = plan(work, task, &traces).await?;
        if left.rows() == 0 {
            break;
        }
        round += 1;
        if round == ROUNDS {
            return Err(Reason::ReadBackFailed.into());
        }
        let before = work.ledger.batches(&run).await?.last().map_or(0, |batch| batch.round);
        work.ledger.record_more(&run, before + 1, &batches(&left)).await?;
    }
    work.faults.at(Point::ReadBack)?;

    for collection in &mut outline {
        collection.rows = 0;
    }
    for batch in work.ledger.batches(&run).await? {
        if let Some(of) = outline.iter_mut().find(|of| of.collection == batch.collection.as_str()) {
            of.rows += batch.deleted;
        }
    }
    let outcome = work
        .ledger
        .end(&run, work.clock.now_seconds(), |ledger| Outcome {
            execution: run.execution(),
            store: task.store().clone(),
            act: task.act(),
            map_version: hex::encode(work.map.version()),
            collections: outline,
            package: None,
            preview: None,
            stopped: None,
            ledger,
        })
        .await?;
    work.faults.at(Point::Ended)?;
    Ok(outcome)
}

/// What the first plan led to.
enum First {
    Recorded(Vec<CollectionOutcome>, Traces),
    /// There is more than its signers saw.
    Stopped(Box<Outcome>),
}

async fn first_plan(work: &Workplace<'_>, task: &Task, run: &Run) -> Result<First, Refusal> {
    work.faults.at(Point::Begun)?;
    let plan = plan(work, task, &Traces::new()).await?;
    work.faults.at(Point::Planned)?;
    let moved = plan.moved(task);
    if !moved.is_empty() {
        return Ok(First::Stopped(Box::new(work.stop(task, run, moved).await?)));
    }
    let outline = plan.outcomes();
    work.ledger.record_first(run, &outline, &plan.traces, &batches(&plan)).await?;
    Ok(First::Recorded(outline, plan.traces))
}

/// A plan's rows in batches of one collection and one column, dependents first.
fn batches(plan: &Plan) -> Vec<NewBatch> {
    let mut out = Vec::new();
    for part in &plan.parts {
        for (via, rows) in &part.rows {
            for chunk in rows.chunks(BATCH) {
                out.push(NewBatch {
                    collection: part.collection.clone(),
                    via: via.clone(),
                    rows: chunk.to_vec(),
                });
            }
        }
    }
    out
}

async fn carry_out(work: &Workplace<'_>, task: &Task, run: &Run, batch: &Batch) -> Result<(), Refusal> {
    let collection = work.map.collection(&batch.collection).ok_or_else(|| {
        Refusal::at(Reason::MapInvalid, batch.collection.as_str().to_owned())
            .note("the map no longer has a collection of an act under way")
    })?;
    let from = Tenanted::new(work.map, collection, task.tenant())?;
    let rows = work.ledger.rows(run, batch).await?;
    let held = Held { via: &batch.via, rows: &rows };
    let gone_before = match batch.state {
        BatchState::Intended => {
            let present = work.connector.present(&from, held).await?.len();
            rows.len().saturating_sub(present) as u64
        }
        BatchState::Recorded | BatchState::Done => {
            work.faults.at(Point::Recorded)?;
            work.ledger.intend(run, batch).await?;
            0
        }
    };
    work.faults.at(Point::Intended)?;
    let deleted = work.connector.delete(&from, held).await?;
    work.faults.at(Point::Deleted)?;
    if !work.connector.present(&from, held).await?.is_empty() {
        return Err(Reason::ReadBackFailed.into());
    }
    work.ledger.done(run, batch, gone_before + deleted).await?;
    work.faults.at(Point::Done)
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt;

    use super::*;
    use crate::agent::faults::{Faults, Point};
    use crate::agent::outcome::Exclusion;
    use crate::agent::test_store::{DAY, DieAt, NOW, Order, ROWS_OF_U1, TestStore, user};
    use crate::domain::{Category, Ground, Identifier};

    fn numbers(outcome: &Outcome) -> Vec<(&str, u64)> {
        let mut out: Vec<_> = outcome
            .collections
            .iter()
            .filter(|c| c.rows > 0)
            .map(|c| (c.collection.as_str(), c.rows))
            .collect();
        out.sort_unstable();
        out
    }

    #[tokio::test]
    async fn a_user_id_two_tenants_share_is_erased_in_one_and_untouched_in_the_other() {
        let shop = TestStore::new().await;
        let before = shop.everything_but("app-a").await;
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        assert_eq!(numbers(&outcome), ROWS_OF_U1);
        assert!(shop.everything_but("app-a").await == before, "rows of the other tenant changed");
        assert_eq!(
            shop.count("SELECT count(*) FROM people WHERE app = 'app-a'").await,
            1,
            "u_2 is still there"
        );
        assert_eq!(shop.count("SELECT count(*) FROM pings WHERE app = 'app-a'").await, 1);
        assert_eq!(shop.count("SELECT count(*) FROM parts WHERE odd_a < 1000000").await, 1);
        assert!(outcome.is_complete());
    }

    #[tokio::test]
    async fn what_stays_is_reported_with_its_ground() {
        let shop = TestStore::new().await;
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        let kept = |name: &str| outcome.collection(name).unwrap().kept[0].clone();
        assert_eq!(kept("clips").ground, Ground::CategoryNotInstructed);
        assert_eq!(kept("clips").rows, Some(1));
        assert_eq!(kept("rooms").ground, Ground::SharedWithOthers);
        assert_eq!(
            shop.count("SELECT count(*) FROM members WHERE user_id = 'u_2'").await,
            2,
            "walked through a room"
        );
        assert_eq!(kept("logs").ground, Ground::LegalObligation);
        assert_eq!((kept("logs").rows, kept("logs").until), (Some(1), Some(NOW - 10 * DAY + 100 * DAY)));
        assert_eq!(outcome.collection("logs").unwrap().rows, 2, "the retention of the old rows had ended");
    }

    #[tokio::test]
    async fn a_row_whose_time_cannot_be_read_stays_and_is_never_shown_as_lawfully_kept() {
        let shop = TestStore::new().await;
        shop.run("UPDATE logs SET at = 'unknown' WHERE app = 'app-a' AND id = 1").await;
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        let logs = outcome.collection("logs").unwrap();
        assert_eq!(logs.rows, 1, "the retention of one old row had ended");
        let kept: Vec<_> = logs.kept.iter().map(|kept| (kept.rows, kept.until.is_some())).collect();
        assert_eq!(
            kept,
            [(Some(1), false), (Some(1), true)],
            "what has an end is told apart from what has none"
        );
        assert!(!outcome.is_complete());
        assert_eq!(shop.count("SELECT count(*) FROM logs WHERE app = 'app-a' AND user_id = 'u_1'").await, 2);
    }

    #[tokio::test]
    async fn what_was_instructed_and_lies_outside_the_agreement_is_left_and_never_shown_as_done() {
        let shop = TestStore::new().await;
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 1).everything().task()).await.unwrap();
        let clips = &outcome.collection("clips").unwrap().kept;
        assert_eq!((clips[0].ground, clips[0].rows), (Ground::OutsideAgreement, Some(1)));
        assert!(!outcome.is_complete());
        // Of a person who has nothing there, nothing is left undone.
        shop.run("DELETE FROM clips WHERE user_id = 'u_2'").await;
        let other = Order::new(Act::Erase, 2).subject(vec![user("u_2")]).everything();
        let outcome = erase(&shop.work(), &other.task()).await.unwrap();
        assert!(outcome.is_complete(), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_table_the_map_does_not_know_is_excluded_and_reported() {
        let shop = TestStore::new().await;
        shop.run("CREATE TABLE strange (id INTEGER PRIMARY KEY, app TEXT, user_id TEXT)").await;
        shop.run("INSERT INTO strange VALUES (1, 'app-a', 'u_1')").await;
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        assert_eq!(outcome.collection("strange").unwrap().excluded, Some(Exclusion::Unmapped));
        assert!(!outcome.is_complete());
        assert_eq!(shop.count("SELECT count(*) FROM strange").await, 1);
    }

    #[tokio::test]
    async fn collections_the_identifiers_do_not_lead_to_are_never_shown_as_done() {
        let shop = TestStore::new().await;
        let order = Order::new(Act::Erase, 1).subject(vec![Identifier::Opaque { id: "same-device".into() }]);
        let outcome = erase(&shop.work(), &order.task()).await.unwrap();
        assert_eq!(numbers(&outcome), [("devices", 1), ("pings", 1_200)]);
        assert_eq!(outcome.collection("people").unwrap().excluded, Some(Exclusion::Unreachable));
        assert!(!outcome.is_complete());
    }

    #[tokio::test]
    async fn after_a_crash_at_any_point_the_same_is_reported_and_nothing_twice() {
        use Point::*;
        let once = [Begun, Planned, Settled, ReadBack, Ended].map(|point| (point, 1));
        let often =
            [Recorded, Intended, Deleted, Done].into_iter().flat_map(|point| [(point, 1), (point, 5)]);
        for (point, nth) in once.into_iter().chain(often) {
            let mut shop = TestStore::new().await;
            let before = shop.everything_but("app-a").await;
            let task = Order::new(Act::Erase, 1).task();
            let fault = DieAt::new(point, nth);
            let died = AssertUnwindSafe(erase(&shop.work_with(&fault), &task)).catch_unwind().await.is_err();
            assert!(died, "never came to {point:?} the {nth}th time");
            shop.restart().await;
            let second = Order::new(Act::Erase, 1).execution(2).task();
            let outcome = erase(&shop.work(), &second).await.unwrap();
            assert_eq!(numbers(&outcome), ROWS_OF_U1, "died at {point:?} the {nth}th time");
            assert_eq!(outcome.execution, task.execution(), "it is the first execution that did it");
            assert!(shop.everything_but("app-a").await == before, "died at {point:?} the {nth}th time");
        }
    }

    #[tokio::test]
    async fn a_repeat_reports_what_the_first_attempt_deleted() {
        let mut shop = TestStore::new().await;
        let first = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        shop.restart().await;
        let again = erase(&shop.work(), &Order::new(Act::Erase, 1).execution(2).task()).await.unwrap();
        assert_eq!(first, again);
        let new = erase(&shop.work(), &Order::new(Act::Erase, 3).task()).await.unwrap();
        assert_eq!(numbers(&new), [], "another instruction finds nothing left");
    }

    /// Rows that come in while others go.
    struct Arrive<'a>(&'a TestStore, Point, std::sync::Mutex<Vec<&'static str>>);

    impl Faults for Arrive<'_> {
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
    async fn rows_that_come_in_meanwhile_go_too_even_when_their_way_is_gone() {
        let shop = TestStore::new().await;
        // The device this ping hangs on is deleted by then.
        let ping = "INSERT INTO pings VALUES (777777, 'app-a', 'same-device', 1)";
        let arrive = Arrive(&shop, Point::Settled, vec![ping].into());
        let outcome = erase(&shop.work_with(&arrive), &Order::new(Act::Erase, 1).task()).await.unwrap();
        assert_eq!(outcome.collection("pings").unwrap().rows, 1_201);
        assert_eq!(shop.count("SELECT count(*) FROM pings WHERE id = 777777").await, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_that_keep_coming_are_a_failed_read_back_not_a_success() {
        let shop = TestStore::new().await;
        let log = "INSERT INTO logs (app, user_id, at) VALUES ('app-a', 'u_1', 1)";
        let arrive = Arrive(&shop, Point::Settled, vec![log; 9].into());
        let task = Order::new(Act::Erase, 1).task();
        let refusal = erase(&shop.work_with(&arrive), &task).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::ReadBackFailed);
        // When the stream has dried up the same order ends, with all rows of all attempts.
        let outcome = erase(&shop.work(), &task).await.unwrap();
        assert_eq!(outcome.collection("logs").unwrap().rows, 2 + 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_row_that_changed_hands_under_its_key_stays() {
        let shop = TestStore::new().await;
        let handed_over = "UPDATE logs SET user_id = 'u_2' WHERE app = 'app-a' AND id = 1";
        let arrive = Arrive(&shop, Point::Recorded, vec![handed_over].into());
        let outcome = erase(&shop.work_with(&arrive), &Order::new(Act::Erase, 1).task()).await.unwrap();
        assert_eq!(outcome.collection("logs").unwrap().rows, 1);
        assert_eq!(shop.count("SELECT count(*) FROM logs WHERE app = 'app-a' AND id = 1").await, 1);
    }

    #[tokio::test]
    async fn rows_that_kept_rows_lean_on_stay_with_them_and_say_for_whom() {
        let shop = TestStore::new().await;
        // Devices are not instructed, and only the person's own row leads to them.
        let order = Order::new(Act::Erase, 1).categories(&[Category::SdkInteraction]);
        let outcome = erase(&shop.work(), &order.task()).await.unwrap();
        let people = outcome.collection("people").unwrap();
        assert_eq!((people.rows, people.kept[0].rows), (0, Some(1)));
        assert_eq!(people.kept[0].needed_by.as_deref(), Some("devices"));
        assert_eq!(people.kept[0].ground, Ground::CategoryNotInstructed);
        // So a later instruction still finds them all.
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 2).task()).await.unwrap();
        assert_eq!(numbers(&outcome), [("devices", 2), ("people", 1), ("pings", 1_200)]);
        // A window leaves pings behind: their devices are the only way to them.
        let shop = TestStore::new().await;
        let order =
            Order::new(Act::Erase, 1).categories(&[Category::Device]).window(NOW - 10 * DAY - 600, NOW);
        let outcome = erase(&shop.work(), &order.task()).await.unwrap();
        assert_eq!(outcome.collection("pings").unwrap().rows, 600);
        assert_eq!(outcome.collection("pings").unwrap().outside_window, 600);
        let devices = outcome.collection("devices").unwrap();
        assert_eq!((devices.rows, devices.excluded), (0, Some(Exclusion::NoTime)));
    }

    #[tokio::test]
    async fn an_injection_in_an_identifier_is_only_a_value() {
        let shop = TestStore::new().await;
        let before = shop.everything_but("nobody").await;
        for (number, id) in
            ["u_1' OR '1'='1", "'; DROP TABLE people; --", "%", "u_1\0", "\"user_id\""].iter().enumerate()
        {
            let order = Order::new(Act::Erase, number as u8).subject(vec![user(id)]);
            let outcome = erase(&shop.work(), &order.task()).await.unwrap();
            assert_eq!(outcome.rows(), 0, "identifier {number} matched rows");
        }
        assert!(shop.everything_but("nobody").await == before);
    }

    #[tokio::test]
    async fn no_subject_and_no_tenant_match_nobody() {
        let shop = TestStore::new().await;
        let before = shop.everything_but("nobody").await;
        for order in [
            Order::new(Act::Erase, 1).subject(vec![]),
            Order::new(Act::Erase, 2).subject(vec![user("")]),
            Order::new(Act::Erase, 3).tenant(""),
        ] {
            assert!(erase(&shop.work(), &order.task()).await.is_err());
        }
        assert!(shop.everything_but("nobody").await == before);
        // A refused order does not keep the subject busy.
        erase(&shop.work(), &Order::new(Act::Erase, 4).task()).await.unwrap();
    }

    #[tokio::test]
    async fn erased_text_is_in_none_of_the_files() {
        let shop = TestStore::new().await;
        let seen = |needle: &[u8]| {
            std::fs::read_dir(shop.folder.path()).unwrap().any(|entry| {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                bytes.windows(needle.len()).any(|window| window == needle)
            })
        };
        assert!(seen(b"phone-app-a"));
        erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        assert!(!seen(b"phone-app-a"), "in the store, its log or the ledger");
    }

    #[tokio::test]
    async fn a_store_that_deletes_by_itself_is_refused() {
        let shop = TestStore::new().await;
        shop.run("DROP TABLE clips").await;
        shop.run("CREATE TABLE clips (id INTEGER PRIMARY KEY, app TEXT, user_id TEXT, p INTEGER REFERENCES people (id) ON DELETE CASCADE)").await;
        let refusal = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::MapInvalid);
        assert_eq!(shop.count("SELECT count(*) FROM people").await, 4);
    }

    #[tokio::test]
    async fn in_the_sample_store_every_other_enterprise_stays_byte_for_byte() {
        use std::sync::Arc;

        use crate::agent::connectors::sqlite::SqliteStore;
        use crate::agent::data_map::DataMap;
        use crate::agent::faults::NoFaults;
        use crate::agent::ledger::Ledger;
        use crate::agent::test_store::{TestSealer, sample_task};
        use crate::cli::sample_rows::APPS;
        use crate::cli::sample_store::{generate, survey};
        use crate::domain::clock::{FixedClock, SystemEntropy};

        let folder = tempfile::tempdir().unwrap();
        let sample = generate(folder.path(), 1, NOW).await.unwrap();
        let at = |name: &str| folder.path().join(name);
        DataMap::load(&at("accounts.yml"), &at("accounts.mandate.toml")).unwrap();
        let map = DataMap::load(&at("rtc.yml"), &at("rtc.mandate.toml")).unwrap();
        let store = SqliteStore::open(map.database(), map.statement_timeout()).await.unwrap();
        let ledger = Ledger::open(&at("ledger.sqlite"), Arc::new(TestSealer::new())).await.unwrap();
        let (clock, entropy) = (FixedClock::at(NOW), SystemEntropy);
        let work = Workplace {
            map: &map,
            connector: &store,
            ledger: &ledger,
            clock: &clock,
            entropy: &entropy,
            faults: &NoFaults,
        };
        let before = survey(&sample.rtc).await.unwrap();
        let app = &APPS[0];
        let task = sample_task(app.app, app.tenant, "u_8839201", "device-7f31c2");
        let outcome = erase(&work, &task).await.unwrap();
        assert!(outcome.is_complete(), "{outcome:?}");
        for table in ["users", "devices", "network_events", "channel_members", "usage_records"] {
            assert!(outcome.collection(table).unwrap().rows > 0, "nothing of {table} was erased");
        }
        let after = survey(&sample.rtc).await.unwrap();
        for (place, was) in &before {
            let is = after[place];
            if place.1 == app.tenant {
                let erased = outcome.collection(&place.0).unwrap().rows;
                assert_eq!(is.0 + erased, was.0, "{place:?}");
            } else {
                assert!(is == *was, "{place:?} changed");
            }
        }
    }

    #[tokio::test]
    async fn a_column_that_was_renamed_stops_the_act() {
        let shop = TestStore::new().await;
        shop.run("ALTER TABLE logs RENAME COLUMN app TO tenant").await;
        let refusal = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::MapInvalid);
        assert_eq!(refusal.field.as_deref(), Some("logs"));
    }
}
