//! A signed report says what is so (I9): what went, what stays, on which ground and until when; and what stays
//! without a ground that can be shown is never called completed.

use std::path::Path;

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection};

use crate::harness::World;

const USER: &str = "u_8839201";
const TENANT: &str = "sdk-1001-xingyu";

async fn connection(world: &World) -> sqlx::SqliteConnection {
    let store = world.path().join("store/rtc.sqlite");
    sqlx::SqliteConnection::connect(&format!("sqlite://{}", store.display())).await.expect("it opens")
}

async fn run(world: &World, sql: &str) -> u64 {
    let mut connection = connection(world).await;
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("it runs");
    connection.close().await.expect("it closes");
    done.rows_affected()
}

async fn count(world: &World, sql: &str) -> u64 {
    let mut connection = connection(world).await;
    let rows: i64 =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("it is read");
    connection.close().await.expect("it closes");
    rows.cast_unsigned()
}

/// The one execution of an order, ended, and its instruction.
async fn carried_out(of: &Enterprise, act: Act) -> (v1::Execution, v1::Instruction) {
    let subject = match act {
        Act::ReturnAndErase => Vec::new(),
        _ => vec![Identifier::user(&of.app, USER)],
    };
    let order = of.order(act, subject, None).expect("an order");
    let (answer, mut done, _) = of.carry_out(&order).await.expect("followed");
    let name = answer.instruction.expect("shown").name;
    let call = v1::GetInstructionRequest { name };
    let shown =
        of.client.instructions().get_instruction(call).await.expect("it is the caller's").into_inner();
    (done.remove(0), shown.instruction.expect("shown"))
}

fn collection<'a>(of: &'a v1::Execution, name: &str) -> &'a v1::CollectionOutcome {
    of.collections.iter().find(|of| of.collection == name).expect("it is reported")
}

/// The words of a bundle that verifies.
async fn evidence(world: &World, of: &Enterprise, instruction: &str) -> String {
    let call = v1::GetEvidenceRequest { name: instruction.to_owned(), include_disclosures: false };
    let bundle = of.client.instructions().get_evidence(call).await.expect("evidence").into_inner().bundle;
    let file = world.path().join("evidence.json");
    std::fs::write(&file, &bundle).expect("written");
    let (code, text) = world.verify(&["evidence", Path::to_str(&file).expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    text
}

#[rstest]
#[case::of_one_user(Act::Erase, format!("sdk_app_id = '{TENANT}' AND user_id = '{USER}'"))]
#[case::of_a_contract(Act::ReturnAndErase, format!("sdk_app_id = '{TENANT}'"))]
#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_time_cannot_be_read_are_told_and_the_store_is_partial(
    #[case] act: Act,
    #[case] theirs: String,
) {
    let world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let logs = format!("SELECT count(*) FROM call_logs WHERE {theirs}");
    let before = count(&world, &logs).await;
    // Their retention has a month to run; of the first two nothing says so any more.
    run(&world, &format!("UPDATE call_logs SET at = unixepoch() - 86400 WHERE {theirs}")).await;
    let unread = format!(
        "UPDATE call_logs SET at = 'unknown' WHERE id IN (SELECT id FROM call_logs WHERE {theirs} LIMIT 2)"
    );
    assert_eq!(run(&world, &unread).await, 2);

    let (done, instruction) = carried_out(&xingyu, act).await;
    assert_eq!((done.state(), done.reason.as_str()), (v1::ExecutionState::Partial, "ROWS_UNDATED"));
    assert_ne!(instruction.state(), v1::InstructionState::Done);
    assert_eq!(count(&world, &logs).await, before, "a row went whose retention may run");
    let told = collection(&done, "call_logs");
    assert_eq!((told.outcome.as_str(), told.until), ("excluded", 0));
    let mut kept: Vec<_> = told.kept.iter().map(|of| (of.rows, of.ground.as_str(), of.until > 0)).collect();
    kept.sort_unstable_by_key(|of| of.2);
    let ground = "legal-obligation";
    assert_eq!(kept, [(2, ground, false), (before - 2, ground, true)]);
    let text = evidence(&world, &xingyu, &instruction.name).await;
    assert!(text.contains("partial") && text.contains("stay 2 (legal-obligation)\n"), "{text}");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_went_and_rows_that_stay_are_both_counted() {
    let world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let theirs = format!("sdk_app_id = '{TENANT}' AND user_id = '{USER}'");
    let logs = format!("SELECT count(*) FROM call_logs WHERE {theirs}");
    run(&world, &format!("UPDATE call_logs SET at = unixepoch() - 86400 WHERE {theirs}")).await;
    let before = count(&world, &logs).await;
    run(
        &world,
        &format!("UPDATE call_logs SET at = 1 WHERE id = (SELECT max(id) FROM call_logs WHERE {theirs})"),
    )
    .await;

    let (done, instruction) = carried_out(&xingyu, Act::Erase).await;
    assert_eq!((done.state(), done.reason.as_str()), (v1::ExecutionState::Completed, ""));
    assert_eq!(instruction.state(), v1::InstructionState::Done);
    let told = collection(&done, "call_logs");
    assert_eq!((told.outcome.as_str(), told.rows), ("erased", 1));
    let kept: Vec<_> = told.kept.iter().map(|of| (of.rows, of.ground.as_str(), of.until > 0)).collect();
    assert_eq!(kept, [(before - 1, "legal-obligation", true)]);
    assert_eq!(count(&world, &logs).await, before - 1);
    let text = evidence(&world, &xingyu, &instruction.name).await;
    assert!(text.contains(&format!("stay {} (legal-obligation, until ", before - 1)), "{text}");
}
