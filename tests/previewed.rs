//! What was signed is what was seen (DESIGN §10): an order that names a preview is carried out only while it still
//! reaches what the preview showed; otherwise nothing is touched and the answer says what moved.

use mandate::cli::demo::Enterprise;
use mandate::cli::sample_store::survey;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::{Categories, InstructionDraft, Policy, PreviewRef};
use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection};

use crate::harness::{Process, World};
use crate::key_sets::{key_of, named, next, refusal, rotate};

fn order(of: &Enterprise, act: Act, user: &str) -> InstructionDraft {
    of.order(act, vec![Identifier::user(&of.app, user)], None).expect("an order")
}

/// The one execution of an order, ended.
async fn carried_out(of: &Enterprise, draft: &InstructionDraft) -> v1::Execution {
    let (_, mut done, _) = of.carry_out(draft).await.expect("followed");
    done.remove(0)
}

/// What a preview showed.
fn shown(of: &v1::Execution) -> PreviewRef {
    let preview = of.preview.as_ref().expect("a preview");
    PreviewRef { digest: preview.digest.parse().expect("a digest"), as_of: preview.as_of }
}

/// What a preview of the user's data showed.
async fn seen(of: &Enterprise, user: &str) -> PreviewRef {
    shown(&carried_out(of, &order(of, Act::Preview, user)).await)
}

fn word(of: &v1::Execution) -> (v1::ExecutionState, String) {
    (of.state(), of.reason.clone())
}

async fn erased(of: &Enterprise, user: &str, preview: PreviewRef) -> (v1::ExecutionState, String) {
    word(&carried_out(of, &InstructionDraft { preview: Some(preview), ..order(of, Act::Erase, user) }).await)
}

fn refused(reason: &str) -> (v1::ExecutionState, String) {
    (v1::ExecutionState::Refused, reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_stops_where_it_no_longer_reaches_what_its_signers_saw() {
    let mut world = World::new().await;
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one] = ["root", "instruction"].map(|name| key_of(world.path(), "xingyu", name));
    let policy = Policy { preview: [Act::Erase].into(), ..Policy::default() };
    let set =
        next(&xingyu, &root, &[(&one, "privacy-office-1")]).sign_with(&policy, &[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);

    let blind = xingyu.sign(&order(&xingyu, Act::Erase, "u_8839201")).expect("signs").to_wire();
    assert_eq!(refusal(&xingyu, &blind).await.as_deref(), Some("PREVIEW_REQUIRED"));

    let first = seen(&xingyu, "u_8839201").await;
    let other = PreviewRef { digest: mandate::token::Digest::of("never"), ..first };
    assert_eq!(erased(&xingyu, "u_8839201", other).await, refused("PREVIEW_UNKNOWN"));
    assert_eq!(erased(&xingyu, "u_8800001", first).await, refused("PREVIEW_SCOPE_MOVED"), "another person");
    assert_eq!(erased(&xingyu, "u_8839201", first).await, (v1::ExecutionState::Completed, String::new()));

    let second = seen(&xingyu, "u_8800001").await;
    world.agent.take().expect("it runs").stop();
    let map = world.path().join("store/rtc.mandate.toml");
    let text = std::fs::read_to_string(&map).expect("the overlay");
    std::fs::write(&map, format!("# Another version.\n{text}")).expect("written");
    world.agent = Some(Process::agent(world.path()));
    assert_eq!(erased(&xingyu, "u_8800001", second).await, refused("PREVIEW_MAP_MOVED"));
    let third = seen(&xingyu, "u_8800001").await;
    assert_eq!(erased(&xingyu, "u_8800001", third).await, (v1::ExecutionState::Completed, String::new()));
    world.export_and_verify().await;
}

async fn run(world: &World, sql: &str) {
    let store = world.path().join("store/rtc.sqlite");
    let place = format!("sqlite://{}", store.display());
    let mut connection = sqlx::SqliteConnection::connect(&place).await.expect("it opens");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("it runs");
    connection.close().await.expect("it closes");
}

/// So many more devices of the user, first seen at that second.
fn more_devices(rows: u32, at: &str) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO devices (sdk_app_id, user_id, device_id, first_seen_at) \
         SELECT 'sdk-1001-xingyu', 'u_8839201', 'more-' || ({at}) || '-' || i, {at} FROM n"
    )
}

#[rstest]
#[case::of_an_erasure(Act::Erase, "erased")]
#[case::of_an_export(Act::Export, "exported")]
#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_its_signers_saw_stop_an_order_before_anything_is_touched(
    #[case] act: Act,
    #[case] done: &str,
) {
    let world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let user = "u_8839201";
    let devices = |of: &[v1::CollectionOutcome]| {
        of.iter().find(|of| of.collection == "devices").map(|of| (of.outcome.clone(), of.rows))
    };
    let bound = |preview| InstructionDraft { preview: Some(preview), ..order(&xingyu, act, user) };
    let first = carried_out(&xingyu, &order(&xingyu, Act::Preview, user)).await;
    let counts = &first.preview.as_ref().expect("a preview").counts;
    let (_, before) = devices(counts).expect("they were counted");

    run(&world, &more_devices(300, "1")).await;
    // What comes in later was not seen, and is not counted.
    run(&world, &more_devices(7, "unixepoch() + 600")).await;
    let store = world.path().join("store/rtc.sqlite");
    let untouched = survey(&store).await.expect("counted");
    let stopped = carried_out(&xingyu, &bound(shown(&first))).await;
    assert_eq!(word(&stopped), refused("PREVIEW_COUNT_MOVED"));
    assert_eq!(stopped.collections.len(), 1, "what did not move is not told");
    assert_eq!(devices(&stopped.collections), Some(("counted".to_owned(), before + 300)));
    assert!(stopped.export.is_empty());
    assert!(survey(&store).await.expect("counted") == untouched, "rows were touched");

    let second = seen(&xingyu, user).await;
    let whole = carried_out(&xingyu, &bound(second)).await;
    assert_eq!(word(&whole), (v1::ExecutionState::Completed, String::new()));
    assert_eq!(devices(&whole.collections), Some((done.to_owned(), before + 307)));
    assert_eq!(whole.export.is_empty(), act != Act::Export);
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_names_the_preview_of_its_own_subject() {
    let world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let first = seen(&xingyu, "u_8839201").await;
    let export = |user| InstructionDraft { preview: Some(first), ..order(&xingyu, Act::Export, user) };
    let other = carried_out(&xingyu, &export("u_8800001")).await;
    assert_eq!((word(&other), other.export.as_str()), (refused("PREVIEW_SCOPE_MOVED"), ""));
    let whole = carried_out(&xingyu, &export("u_8839201")).await;
    assert_eq!(word(&whole), (v1::ExecutionState::Completed, String::new()));
    assert!(!whole.export.is_empty());
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agreement_at_the_agent_is_told_apart_from_another_order() {
    let mut world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let everything =
        |act| InstructionDraft { categories: Categories::All, ..order(&xingyu, act, "u_8839201") };
    let erase = |preview| InstructionDraft { preview: Some(preview), ..everything(Act::Erase) };
    let first = shown(&carried_out(&xingyu, &everything(Act::Preview)).await);
    world.agent.take().expect("it runs").stop();
    let file = world.path().join("agent.toml");
    let mut agent: toml::Table = std::fs::read_to_string(&file).expect("it is there").parse().expect("TOML");
    let agreements = agent["agreement"].as_array_mut().expect("a list");
    let own = agreements.iter_mut().find(|of| of["controller"].as_str() == Some("xingyu")).expect("its own");
    own["categories"].as_array_mut().expect("a list").retain(|of| of.as_str() != Some("media"));
    std::fs::write(&file, toml::to_string(&agent).expect("TOML")).expect("written");
    world.agent = Some(Process::agent(world.path()));
    assert_eq!(word(&carried_out(&xingyu, &erase(first)).await), refused("PREVIEW_AGREEMENT_MOVED"));
    // A new preview says what is left out, and binds.
    let second = carried_out(&xingyu, &everything(Act::Preview)).await;
    let partial = (v1::ExecutionState::Partial, "OUTSIDE_AGREEMENT".to_owned());
    assert_eq!(word(&second), partial);
    assert_eq!(word(&carried_out(&xingyu, &erase(shown(&second))).await), partial);
    world.export_and_verify().await;
}
