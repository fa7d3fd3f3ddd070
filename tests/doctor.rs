//! `mandate doctor`: clean after real work on both databases, and each of a list of edits by hand is
//! found, with its code, its table and the row's name.

use std::path::{Path, PathBuf};
use std::process::Command;

use mandate::domain::{Act, Identifier, RequestId};
use mandate::grpc::v1;
use serde_json::Value;
use sqlx::Connection;

use crate::backup::submit_mail;
use crate::cluster::{self, Cluster};
use crate::harness::{Process, World};
use crate::witness;

const USER: &str = "u_8839201";

/// Exit code, findings and the last line of `mandate doctor`.
fn doctor(config: &Path) -> (i32, Vec<Value>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_mandate"))
        .args(["doctor", "--json", "--config"])
        .arg(config)
        .output()
        .expect("mandate runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let code = output.status.code().unwrap_or(-1);
    let last = lines.pop().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (code, lines, last)
}

fn clean(config: &Path) -> Value {
    let (code, findings, examined) = doctor(config);
    assert!(code == 0 && findings.is_empty(), "exit {code}: {findings:#?}");
    examined
}

/// Something of every kind that makes leaves.
async fn load(world: &World) {
    let xingyu = world.enterprise("xingyu").await;
    let support = world.client("support").await;

    // A case by mail: erased, exported for another right, answered.
    submit_mail(world, include_bytes!("../examples/mail/01-delete-enterprise-app.eml"), 1).await;
    let case = xingyu.take_requests().await.expect("delivered").pop().expect("one case");
    let req = RequestId::from_resource_name(&case.name).expect("a name");
    let user = || vec![Identifier::user(&xingyu.app, USER)];
    for (act, request) in [(Act::Preview, Some(req)), (Act::Export, None), (Act::Erase, Some(req))] {
        let order = xingyu.order(act, user(), request).expect("an order");
        let (_, ended, _) = xingyu.carry_out(&order).await.expect("carried out");
        assert!(ended.iter().all(|e| e.state() == v1::ExecutionState::Completed), "{act}: {ended:?}");
    }
    let answered = v1::RightOutcome {
        right: "delete".into(),
        kind: v1::OutcomeKind::Answered.into(),
        ..Default::default()
    };
    let outcome =
        v1::RecordOutcomeRequest { name: case.name, outcomes: vec![answered], request_id: String::new() };
    xingyu.client.requests().record_outcome(outcome).await.expect("recorded");

    // Assigned by hand, sent back, assigned again; another one dismissed.
    let vague = submit_mail(world, include_bytes!("../examples/mail/02-vague-english.eml"), 2).await;
    let assign = |n: u8| v1::AssignMessageRequest {
        name: vague.name.clone(),
        app: "apps/xingyu-live".into(),
        rights: vec!["delete".into()],
        identifiers: Vec::new(),
        redacted_extract: "asks that the account be deleted".into(),
        request_id: format!("0b2f7a58-3a3c-4a86-9c5c-2f1f5a0e9d{n:02}"),
    };
    let brought = support.intake().assign_message(assign(3)).await.expect("assigned").into_inner();
    let reject =
        v1::RejectRequestRequest { name: brought.message.expect("shown").request, request_id: String::new() };
    xingyu.client.requests().reject_request(reject).await.expect("rejected");
    support.intake().assign_message(assign(4)).await.expect("assigned again");
    let spam = submit_mail(world, include_bytes!("../examples/mail/12-non-request-spam.eml"), 5).await;
    let dismiss = v1::DismissMessageRequest { name: spam.name, request_id: String::new() };
    support.intake().dismiss_message(dismiss).await.expect("dismissed");

    // Refused: one that is none, one whose id was used up, one of a case that is not there.
    assert!(xingyu.refused("nothing").await.is_ok());
    let mut order = xingyu.order(Act::Preview, user(), None).expect("an order");
    let wire = xingyu.sign(&order).expect("signs").to_wire();
    xingyu.submit(&wire).await.expect("admitted");
    order.exp -= 1;
    let other = xingyu.sign(&order).expect("signs").to_wire();
    assert_eq!(xingyu.refused(&other).await.expect("a reason"), "JTI_REUSED");
    let unknown = "01938a5e-0000-7000-8000-000000000007".parse().expect("an id");
    let order = xingyu.order(Act::Erase, user(), Some(unknown)).expect("an order");
    let wire = xingyu.sign(&order).expect("signs").to_wire();
    assert_eq!(xingyu.refused(&wire).await.expect("a reason"), "REQUEST_UNKNOWN");
}

/// What must be found after an edit by hand.
struct Edit {
    code: &'static str,
    table: &'static str,
    /// How its name begins.
    name: &'static str,
    statements: &'static str,
}

/// `doctor/edits.txt`.
fn edits() -> impl Iterator<Item = Edit> {
    let lines = include_str!("doctor/edits.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (code, rest) = line.split_once(' ').expect("a code");
        let (table, rest) = rest.trim_start().split_once(' ').expect("a table");
        let (name, statements) = rest.trim_start().split_once(' ').expect("a name");
        Edit { code, table, name, statements: statements.trim_start() }
    })
}

/// What is wrong with what the doctor says after an edit.
fn missed(edit: &Edit, config: &Path) -> Option<String> {
    let Edit { code, table, name, statements } = edit;
    let (exit, findings, _) = doctor(config);
    let is_named = |finding: &Value| {
        finding["code"] == *code
            && finding["table"] == *table
            && finding["resource"].as_str().is_some_and(|resource| resource.starts_with(name))
    };
    let shown = serde_json::to_string_pretty(&findings).expect("JSON");
    assert!(!shown.contains(USER), "a finding shows a person's id");
    (exit != 1 || !findings.iter().any(is_named)).then(|| format!("exit {exit} after {statements}: {shown}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_after_real_work_and_every_edit_by_hand_on_sqlite() {
    let mut witnesses = Vec::new();
    let mut world = World::without_agent(|dir| witnesses = witness::set_up(dir, 1, 1)).await;
    world.agent = Some(Process::agent(world.path()));
    load(&world).await;
    let config = world.path().join("gateway.toml");
    let running = clean(&config);
    assert_eq!(running["examined"]["sealed_rows"], Value::Null, "the keyring is the gateway's");
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").stop();
    witnesses.into_iter().flatten().for_each(Process::stop);
    let examined = clean(&config);
    assert!(examined["examined"]["sealed_rows"].as_u64().is_some_and(|rows| rows > 5), "{examined}");

    let file = world.path().join("data/gateway.sqlite");
    let whole = std::fs::read(&file).expect("the database");
    let mut wrong = Vec::new();
    for edit in edits() {
        let url = format!("sqlite://{}", file.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("opens");
        let statements =
            format!("PRAGMA foreign_keys = OFF; {}; PRAGMA wal_checkpoint(TRUNCATE)", edit.statements);
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await.expect(edit.statements);
        connection.close().await.expect("closes");
        wrong.extend(missed(&edit, &config));
        for rest in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(PathBuf::from(format!("{}{rest}", file.display())));
        }
        std::fs::write(&file, &whole).expect("as before");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    clean(&config);
    assert_eq!(std::fs::read(&file).expect("the database"), whole, "the doctor changed the database");

    // Files, too; and what cannot be examined is neither clean nor a finding.
    let package = std::fs::read_dir(world.path().join("data/exports")).expect("the folder").next();
    std::fs::remove_file(package.expect("a package").expect("an entry").path()).expect("removed");
    assert_eq!(doctor(&config).1[0]["code"], "EXPORT_FILE");
    std::fs::remove_file(&file).expect("removed");
    let missing =
        Command::new(env!("CARGO_BIN_EXE_mandate")).args(["doctor", "--config"]).arg(&config).output();
    assert_eq!(missing.expect("mandate runs").status.code(), Some(2));
    assert!(!file.exists(), "the doctor made a database");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_after_real_work_and_every_edit_by_hand_on_postgresql() {
    let mut witnesses = Vec::new();
    let mut world = World::on_postgres_with(1, |dir| witnesses = witness::set_up(dir, 1, 1)).await;
    world.agent = Some(Process::agent(world.path()));
    load(&world).await;
    let config = world.path().join("gateway.toml");
    let running = clean(&config);
    assert!(running["examined"]["sealed_rows"].as_u64().is_some_and(|rows| rows > 5), "{running}");
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").stop();
    witnesses.into_iter().flatten().for_each(Process::stop);

    let file = world.path().join("database.url");
    let url = std::fs::read_to_string(&file).expect("the URL");
    let cluster = cluster::shared();
    let mut wrong = Vec::new();
    for (n, edit) in edits().enumerate() {
        let copy = format!("edited_{n}");
        let template = Cluster::name(&url);
        cluster.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {template}"));
        cluster.sql(&copy, &format!("SET session_replication_role = replica; {}", edit.statements));
        std::fs::write(&file, cluster.url(&copy)).expect("written");
        wrong.extend(missed(&edit, &config));
        cluster.sql("postgres", &format!("DROP DATABASE {copy}"));
    }
    std::fs::write(&file, &url).expect("as before");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    clean(&config);
}
