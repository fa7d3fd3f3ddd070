//! A signed report says what is so (I9): what went, what stays, on which ground and until when; and what stays
//! without a ground that can be shown is never called completed.

use std::path::Path;

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::{Categories, InstructionDraft};
use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection};

use crate::harness::{Process, World};

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

/// The one execution of an order of these categories, ended, and its instruction.
async fn carried_out(
    of: &Enterprise,
    act: Act,
    categories: Option<Categories>,
) -> (v1::Execution, v1::Instruction) {
    let subject = match act {
        Act::ReturnAndErase => Vec::new(),
        _ => vec![Identifier::user(&of.app, USER)],
    };
    let order = of.order(act, subject, None).expect("an order");
    let categories = categories.unwrap_or_else(|| order.categories.clone());
    let order = InstructionDraft { categories, ..order };
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

    let (done, instruction) = carried_out(&xingyu, act, None).await;
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

    let (done, instruction) = carried_out(&xingyu, Act::Erase, None).await;
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

/// The agent beside a store under another agreement of xingyu's than the gateway's: without media; and maybe under
/// one more, for media alone, that is over.
async fn under_less(with_former: bool) -> World {
    let mut world = World::without_agent(|dir| {
        let path = dir.join("agent.toml");
        let mut agent: toml::Table =
            std::fs::read_to_string(&path).expect("it is there").parse().expect("TOML");
        let agreements = agent["agreement"].as_array_mut().expect("a list");
        let xingyu = agreements.iter_mut().find(|of| of["controller"].as_str() == Some("xingyu"));
        let xingyu = xingyu.expect("its agreement").as_table_mut().expect("a table");
        let mut former = xingyu.clone();
        let categories = xingyu["categories"].as_array_mut().expect("a list");
        categories.retain(|category| category.as_str() != Some("media"));
        former.insert("categories".into(), vec!["media"].into());
        former.insert("valid_until".into(), 1_600_000_000.into());
        former.insert("valid_from".into(), 1_500_000_000.into());
        if with_former {
            agreements.insert(0, former.into());
        }
        std::fs::write(&path, toml::to_string(&agent).expect("TOML")).expect("written");
    })
    .await;
    world.agent = Some(Process::agent(world.path()));
    world
}

const MEDIA: &str = "SELECT count(*) FROM media_segments m JOIN channels c ON c.id = m.channel_ref WHERE c.sdk_app_id = 'sdk-1001-xingyu'";

#[rstest]
#[case::of_one_user(Act::Erase, " AND m.user_id = 'u_8839201'", false)]
// What one agreement had does not let an order reach it under another; at the contract's end all count as one.
#[case::of_one_user_with_a_former(Act::Erase, " AND m.user_id = 'u_8839201'", true)]
#[case::of_a_contract(Act::ReturnAndErase, "", false)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_instructed_and_the_agents_agreement_does_not_have_is_told_and_the_store_is_partial(
    #[case] act: Act,
    #[case] whose: &str,
    #[case] with_former: bool,
) {
    let world = under_less(with_former).await;
    let xingyu = world.enterprise("xingyu").await;
    let media = format!("{MEDIA}{whose}");
    let before = count(&world, &media).await;
    assert!(before > 0);
    let (done, instruction) = carried_out(&xingyu, act, Some(Categories::All)).await;
    assert_eq!((done.state(), done.reason.as_str()), (v1::ExecutionState::Partial, "OUTSIDE_AGREEMENT"));
    assert_ne!(instruction.state(), v1::InstructionState::Done);
    let told = collection(&done, "media_segments");
    assert_eq!((told.outcome.as_str(), told.ground.as_str()), ("excluded", "outside-agreement"));
    assert_eq!(told.kept.iter().map(|of| of.rows).collect::<Vec<_>>(), [before]);
    assert_eq!(count(&world, &media).await, before);
    assert!(collection(&done, "users").rows > 0, "the rest is done");
    evidence(&world, &xingyu, &instruction.name).await;
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_ends_under_all_of_the_agents_agreements_as_one() {
    let world = under_less(true).await;
    let xingyu = world.enterprise("xingyu").await;
    assert!(count(&world, MEDIA).await > 0);
    let (done, instruction) = carried_out(&xingyu, Act::ReturnAndErase, Some(Categories::All)).await;
    assert_eq!((done.state(), done.reason.as_str()), (v1::ExecutionState::Completed, ""));
    assert_eq!(instruction.state(), v1::InstructionState::Done);
    assert_eq!(count(&world, MEDIA).await, 0);
    world.export_and_verify().await;
}
