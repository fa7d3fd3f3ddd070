//! A contract ends (PIPL 21, GDPR 28(3)(g)): all that is held of one enterprise's app is returned to it, then erased,
//! not before the day it signed for, and nothing of anybody else's is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use mandate::cli::demo::Enterprise;
use mandate::cli::sample_store::{Place, count_rows, survey};
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use mandate::token::{Categories, InstructionDraft, Policy, PrivateKey, SetRole};
use rstest::rstest;
use sqlx::Connection;

use crate::agent_files::left;
use crate::harness::{Process, World, configure, within};
use crate::key_sets::{key_of, named, next, refusal, rotate};
use crate::load::On;

/// Points that the agent passes with this act alone.
pub const POINTS: [&str; 2] = ["agent.returned", "agent.handed_over"];

const USER: &str = "u_8839201";
const TENANT: &str = "sdk-1001-xingyu";
/// The one table whose rows the law keeps for a while.
const KEPT: &str = "call_logs";

/// The ids of the tenant's rows in each table.
const IDS: &[(&str, &str)] = &[
    ("users", "SELECT id FROM users WHERE sdk_app_id = ?"),
    ("devices", "SELECT id FROM devices WHERE sdk_app_id = ?"),
    ("network_events", "SELECT id FROM network_events WHERE sdk_app_id = ?"),
    ("channels", "SELECT id FROM channels WHERE sdk_app_id = ?"),
    ("channel_members", "SELECT id FROM channel_members WHERE sdk_app_id = ?"),
    (
        "usage_records",
        "SELECT r.id FROM usage_records r JOIN users u ON u.id = r.user_ref WHERE u.sdk_app_id = ?",
    ),
    ("call_logs", "SELECT id FROM call_logs WHERE sdk_app_id = ?"),
    (
        "media_segments",
        "SELECT m.id FROM media_segments m JOIN channels c ON c.id = m.channel_ref WHERE c.sdk_app_id = ?",
    ),
];

type Ids = BTreeMap<&'static str, BTreeSet<i64>>;

async fn ids(store: &Path) -> Ids {
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", store.display())).await.expect("it opens");
    let mut out = Ids::new();
    for (table, sql) in IDS {
        let found: Vec<i64> =
            sqlx::query_scalar(*sql).bind(TENANT).fetch_all(&mut connection).await.expect("it is read");
        out.insert(table, found.into_iter().collect());
    }
    connection.close().await.expect("it closes");
    out
}

/// The ids of the rows that a fetched package holds, table by table.
fn returned(package: &Path) -> Ids {
    let mut out = Ids::new();
    let mut tar = tar::Archive::new(std::fs::File::open(package).expect("it was fetched"));
    for entry in tar.entries().expect("a tar") {
        let entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let table = path.trim_start_matches("data/").trim_end_matches(".jsonl");
        let Some((table, _)) = IDS.iter().find(|(of, _)| *of == table && path.ends_with(".jsonl")) else {
            continue;
        };
        let rows = serde_json::Deserializer::from_reader(entry).into_iter::<serde_json::Value>();
        out.insert(table, rows.map(|row| row.expect("JSON")["id"].as_i64().expect("a number")).collect());
    }
    out
}

fn ending(of: &Enterprise) -> InstructionDraft {
    let order = of.order(Act::ReturnAndErase, Vec::new(), None).expect("an order");
    InstructionDraft { categories: Categories::All, ..order }
}

async fn submit(of: &Enterprise, draft: &InstructionDraft) -> v1::Instruction {
    let wire = of.sign(draft).expect("signs").to_wire();
    of.submit(&wire).await.expect("taken").instruction.expect("shown")
}

async fn shown(of: &Enterprise, name: &str) -> v1::Instruction {
    let call = v1::GetInstructionRequest { name: name.to_owned() };
    let answer = of.client.instructions().get_instruction(call).await.expect("it is the caller's");
    answer.into_inner().instruction.expect("shown")
}

async fn rows_of(store: &Path) -> u64 {
    let counted = count_rows(store).await.expect("counted");
    counted.into_iter().filter(|((_, tenant), _)| tenant == TENANT).map(|(_, rows)| rows).sum()
}

/// Leases run out soon, so that a dead agent's order is free again.
fn short_leases(dir: &Path) {
    configure(dir, |gateway| {
        let limits = gateway["limits"].as_table_mut().expect("a table");
        limits.insert("lease_seconds".into(), 8.into());
        // Shorter than the act: its package may not be gone before it may be fetched.
        limits.insert("export_seconds".into(), 10.into());
        gateway.insert("housekeeping_seconds".into(), 1.into());
    });
}

fn agent_dying_at(world: &World, point: &str) -> Process {
    Process::with("agent", world.path(), "agent", vec![("MANDATE_FAULT", point.to_owned())])
}

async fn others(store: &Path) -> Vec<(Place, (u64, [u8; 32]))> {
    let all = survey(store).await.expect("counted");
    all.into_iter().filter(|((_, tenant), _)| tenant != TENANT).collect()
}

/// When the trail says that an execution was leased, seconds.
async fn leased_at(world: &World, execution: &str) -> Vec<i64> {
    let leaves = world.trail_leaves().await;
    let leaves = leaves.iter().map(|leaf| serde_json::from_str::<serde_json::Value>(leaf).expect("JSON"));
    leaves
        .filter(|leaf| leaf["type"] == "mandate.execution.leased" && leaf["subject"] == execution)
        .map(|leaf| {
            let time: mandate::domain::Timestamp =
                leaf["time"].as_str().expect("text").parse().expect("a time");
            time.as_second()
        })
        .collect()
}

/// As soon as it knows that its report was taken; stopped before, it clears up when it runs again. Its files are its
/// own while it runs.
async fn nothing_is_left_at_the_agent(world: &mut World) {
    let mut found = (0, 0, 0);
    for _ in 0..10 {
        world.agent.take().expect("it runs").stop();
        found = left(world.path()).await;
        if found == (0, 0, 0) {
            return;
        }
        world.agent = Some(Process::agent(world.path()));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("the agent keeps {found:?}");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn at_the_contracts_end_all_is_returned_then_erased_whoever_dies_meanwhile(#[case] on: On) {
    let mut world = on.world(short_leases).await;
    let xingyu = world.enterprise("xingyu").await;
    let store = world.path().join("store/rtc.sqlite");
    let (before, theirs, all) = (ids(&store).await, others(&store).await, rows_of(&store).await);
    assert!(all > 10_000, "the sample is small: {all}");

    // Signed ahead; an agent is there from the first moment on, and gets nothing before the day.
    let now = mandate::domain::clock::SystemClock.now_seconds();
    let draft = InstructionDraft { nbf: Some(now + 6), exp: now + 3600, ..ending(&xingyu) };
    let dying = agent_dying_at(&world, "agent.returned");
    let held = submit(&xingyu, &draft).await;
    assert_eq!(held.state(), v1::InstructionState::Held);
    assert_eq!(held.hold_until_time.expect("it is held").seconds, now + 6);
    let [execution] = held.executions.as_slice() else { panic!("one store, one execution") };
    world.examine();

    // It dies when all is packed, and when the gateway has the package: no row has gone.
    for (mut dying, point) in [(Some(dying), POINTS[0]), (None, POINTS[1])] {
        let mut dying = dying.take().unwrap_or_else(|| agent_dying_at(&world, point));
        dying.ended(90, point).await;
        assert!(dying.logged().contains(&format!("ends at {point}")), "{}", dying.logged());
        assert_eq!(rows_of(&store).await, all, "a row went before {point}");
    }
    // `kill -9` in the midst.
    let agent = Process::agent(world.path());
    within(90, "the first rows to go", async {
        while rows_of(&store).await == all {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    agent.kill();
    let midway = rows_of(&store).await;
    assert!(midway < all && midway > 2_000, "it was not in the midst: {midway} of {all}");
    assert_ne!(shown(&xingyu, &held.name).await.state(), v1::InstructionState::Done);

    world.agent = Some(Process::agent(world.path()));
    let done = within(120, "the end", xingyu.follow(execution)).await.expect("followed");
    assert_eq!((done.state(), &*done.reason), (v1::ExecutionState::Completed, ""));
    // The package holds every row that was there.
    let out = world.path().join("returned.tar");
    mandate::cli::export::fetch(&xingyu.client, &done.export, &out).await.expect("it is fetched and opens");
    assert!(returned(&out) == before, "the package lacks rows, or has others");
    assert_eq!(shown(&xingyu, &held.name).await.state(), v1::InstructionState::Done);
    let leases = leased_at(&world, execution).await;
    assert!(leases.len() >= 4 && leases.iter().all(|at| *at >= now + 6), "leased before the day");

    // What went, what stays, and what the signed report says of both.
    let after = ids(&store).await;
    assert!(theirs == others(&store).await, "a row of another enterprise changed");
    assert!(theirs.iter().any(|((table, _), _)| table == "users"));
    let mut went = 0;
    for (table, ids) in &before {
        let stays = &after[table];
        assert!(stays.is_subset(ids));
        assert!(stays.is_empty() || *table == KEPT, "{table} has rows");
        went += ids.len() - stays.len();
        let told = done.collections.iter().find(|of| of.collection == *table).expect("each is reported");
        assert_eq!(
            (told.outcome.as_str(), told.rows as usize),
            ("erased", ids.len() - stays.len()),
            "{table}"
        );
    }
    let kept = after[KEPT].len();
    assert!(kept > 0 && went > 10_000, "{kept} stay, {went} went");
    let logs = done.collections.iter().find(|of| of.collection == KEPT).expect("reported");
    assert_eq!(logs.ground, "legal-obligation");

    nothing_is_left_at_the_agent(&mut world).await;

    // And an auditor sees the same.
    let call = v1::GetEvidenceRequest { name: held.name.clone(), include_disclosures: true };
    let bundle = xingyu.client.instructions().get_evidence(call).await.expect("given").into_inner().bundle;
    let file = world.path().join("evidence.json");
    std::fs::write(&file, &bundle).expect("written");
    let (code, text) = world.verify(&["evidence", file.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("return_and_erase"), "{text}");
    world.export_and_verify().await;
}

/// The agreement of xingyu ended an hour ago, as the operator and the agent know it.
fn ended_agreement(dir: &Path) {
    short_leases(dir);
    let now = mandate::domain::clock::SystemClock.now();
    let ago = |seconds: i64| now - jiff::SignedDuration::from_secs(seconds);
    let change = |file: &str, list: &str, set: &dyn Fn(&mut toml::Table)| {
        let path = dir.join(file);
        let mut table: toml::Table = std::fs::read_to_string(&path).expect("the file").parse().expect("TOML");
        for agreement in table[list].as_array_mut().expect("a list") {
            let agreement = agreement.as_table_mut().expect("a table");
            if agreement["controller"].as_str() == Some("xingyu") {
                set(agreement);
            }
        }
        std::fs::write(&path, toml::to_string(&table).expect("TOML")).expect("written");
    };
    change("registry.toml", "agreement", &|agreement| {
        agreement.insert("start".into(), ago(7200).to_string().into());
        agreement.insert("end".into(), ago(3600).to_string().into());
    });
    change("agent.toml", "agreement", &|agreement| {
        agreement.insert("valid_from".into(), ago(7200).as_second().into());
        agreement.insert("valid_until".into(), ago(3600).as_second().into());
    });
}

/// `xingyu`, whose signers may revoke, too.
async fn who_may_revoke(world: &World) -> Enterprise {
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one]: [PrivateKey; 2] =
        ["root", "instruction"].map(|name| key_of(world.path(), "xingyu", name));
    let mut set = next(&xingyu, &root, &[(&one, "privacy-office-1")]);
    set.roles.push((SetRole::Act(Act::Revoke), vec![one.id()], 1));
    let set = set.sign_with(&Policy::default(), &[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);
    xingyu
}

async fn revoke(of: &Enterprise, order: &InstructionDraft) {
    let draft = of.order(Act::Revoke, Vec::new(), None).expect("an order");
    let revocation = submit(of, &InstructionDraft { target: Some(order.jti), ..draft }).await;
    assert_eq!(revocation.state(), v1::InstructionState::Done);
}

async fn end_of(of: &Enterprise, execution: &str) -> v1::Execution {
    within(120, "the end", of.follow(execution)).await.expect("followed")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_the_agreement_and_what_was_returned_before_it_was_revoked_is_given_out() {
    let mut world = World::without_agent(ended_agreement).await;
    let xingyu = who_may_revoke(&world).await;
    let store = world.path().join("store/rtc.sqlite");
    let (before, theirs, all) = (ids(&store).await, others(&store).await, rows_of(&store).await);
    let failed = |execution: &v1::Execution| {
        assert_eq!(
            (execution.state(), &*execution.reason),
            (v1::ExecutionState::Failed, "INSTRUCTION_REVOKED")
        );
    };

    // The agreement is over: no other order is taken, and this one is.
    let erasure =
        xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, USER)], None).expect("an order");
    let erasure = xingyu.sign(&erasure).expect("signs").to_wire();
    assert_eq!(refusal(&xingyu, &erasure).await.as_deref(), Some("AGREEMENT_MISSING"));
    let now = mandate::domain::clock::SystemClock.now_seconds();
    let ahead = InstructionDraft { nbf: Some(now + 3600), exp: now + 7200, ..ending(&xingyu) };
    let held = submit(&xingyu, &ahead).await;
    assert_eq!(held.state(), v1::InstructionState::Held);
    revoke(&xingyu, &ahead).await;
    let revoked = end_of(&xingyu, &held.executions[0]).await;
    failed(&revoked);
    assert_eq!(revoked.export, "");

    // Revoked in the midst: rows are gone. What was returned of them is given out.
    let order = ending(&xingyu);
    let mut dying = agent_dying_at(&world, "agent.deleted:20");
    let begun = submit(&xingyu, &order).await;
    dying.ended(90, "the agent's death").await;
    let midway = rows_of(&store).await;
    assert!(midway < all && midway > 2_000, "{midway} of {all}");
    revoke(&xingyu, &order).await;
    world.agent = Some(Process::agent(world.path()));
    let stopped = end_of(&xingyu, &begun.executions[0]).await;
    failed(&stopped);
    assert_eq!(rows_of(&store).await, midway, "it went on");
    let out = world.path().join("returned.tar");
    mandate::cli::export::fetch(&xingyu.client, &stopped.export, &out).await.expect("it is fetched");
    assert!(returned(&out) == before);

    // The rest goes by a new order, which returns nothing more.
    let rest = InstructionDraft { export: None, ..ending(&xingyu) };
    let rest = submit(&xingyu, &rest).await;
    let done = end_of(&xingyu, &rest.executions[0]).await;
    assert_eq!((done.state(), &*done.reason, &*done.export), (v1::ExecutionState::Completed, "", ""));
    let after = ids(&store).await;
    assert!(after.iter().all(|(table, ids)| ids.is_empty() || *table == KEPT));
    assert!(theirs == others(&store).await, "a row of another enterprise changed");
    nothing_is_left_at_the_agent(&mut world).await;
    world.export_and_verify().await;
}
