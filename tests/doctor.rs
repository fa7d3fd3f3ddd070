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

/// One edit by hand: the statement, and code, table and beginning of the name of what must be found.
type Edit = (&'static str, &'static str, &'static str, &'static str);

const EDITS: &[Edit] = &[
    ("UPDATE controllers SET house = 0 WHERE house = 1", "ROW_DIFFERS", "controllers", "controllers/"),
    (
        "UPDATE controllers SET key_set_version = 2 WHERE id = 'xingyu'",
        "ROW_DIFFERS",
        "controllers",
        "controllers/xingyu",
    ),
    (
        "UPDATE agreements SET end_at = end_at + 1 WHERE controller_id = 'xingyu'",
        "ROW_DIFFERS",
        "agreements",
        "agreements/",
    ),
    (
        "UPDATE agreements SET terms = REPLACE(terms, 'media', 'account') WHERE controller_id = 'xingyu'",
        "ROW_DIFFERS",
        "agreements",
        "agreements/",
    ),
    (
        "UPDATE apps SET controller_id = 'leting' WHERE id = 'xingyu-live'",
        "ROW_DIFFERS",
        "apps",
        "apps/xingyu-live",
    ),
    (
        "UPDATE app_facts SET app_id = 'leting-fm' WHERE app_id = 'xingyu-live'",
        "FACTS_DIFFER",
        "app_facts",
        "apps/xingyu-live",
    ),
    ("UPDATE agents SET anchor_sequence = anchor_sequence - 1", "ROW_DIFFERS", "agents", "agents/"),
    ("UPDATE agents SET next_report_key = report_key", "ROW_DIFFERS", "agents", "agents/"),
    ("UPDATE agent_stores SET agent_id = 'a-2'", "ROW_DIFFERS", "agent_stores", "stores/"),
    ("DELETE FROM thumbprints WHERE use = 'report'", "ROW_MISSING", "thumbprints", "keys/"),
    (
        "UPDATE access_keys SET principal = 'operators/o-9' WHERE principal = 'controllers/xingyu'",
        "ROW_DIFFERS",
        "access_keys",
        "keys/",
    ),
    (
        "UPDATE access_keys SET revoked_at = 1 WHERE principal = 'controllers/xingyu'",
        "ROW_DIFFERS",
        "access_keys",
        "keys/",
    ),
    ("DELETE FROM tls_keys WHERE principal = 'controllers/xingyu'", "ROW_MISSING", "tls_keys", "keys/"),
    (
        "UPDATE tls_keys SET claimed_at = claimed_at - 7200 WHERE principal = 'controllers/xingyu'",
        "ROW_DIFFERS",
        "tls_keys",
        "keys/",
    ),
    (
        "UPDATE tls_keys SET principal = 'support/s-1' WHERE principal = 'controllers/xingyu'",
        "ORPHAN",
        "tls_keys",
        "keys/",
    ),
    (
        "UPDATE key_sets SET jws = jws || ' ' WHERE controller_id = 'xingyu'",
        "ROW_DIFFERS",
        "key_sets",
        "controllers/xingyu/keySets/1",
    ),
    (
        "UPDATE key_sets SET version = 2 WHERE controller_id = 'xingyu'",
        "ROW_DIFFERS",
        "key_sets",
        "controllers/xingyu/keySets/1",
    ),
    (
        "UPDATE key_sets SET authority_index = authority_index + 100 WHERE controller_id = 'xingyu'",
        "ROW_UNFOUNDED",
        "key_sets",
        "controllers/xingyu/keySets/101",
    ),
    (
        "UPDATE agent_stores SET operated_by = 'nobody' WHERE store_id = 'rtc'",
        "ROW_DIFFERS",
        "agent_stores",
        "stores/rtc",
    ),
    (
        "INSERT INTO sub_processors VALUES ('nobody', 'Nobody', 'cn', '[]', 'by-hand')",
        "ROW_UNFOUNDED",
        "sub_processors",
        "subProcessors/nobody",
    ),
    (
        "UPDATE messages SET state = 'triage' WHERE state = 'dismissed'",
        "ROW_DIFFERS",
        "messages",
        "messages/",
    ),
    ("UPDATE messages SET request_id = NULL WHERE state = 'routed'", "ROW_DIFFERS", "messages", "messages/"),
    ("UPDATE messages SET sealed_salt = NULL", "KEY_WITHOUT_SEALED", "messages", "messages/"),
    ("UPDATE requests SET stage = 'executed' WHERE stage = 'closed'", "ROW_DIFFERS", "requests", "requests/"),
    ("UPDATE requests SET closed_at = NULL WHERE stage = 'closed'", "ROW_DIFFERS", "requests", "requests/"),
    ("UPDATE requests SET key_id = NULL", "SEALED_WITHOUT_KEY", "requests", "requests/"),
    ("UPDATE requests SET key_id = NULL, sealed_content = NULL", "SHREDDED_HALF", "requests", "requests/"),
    (
        "UPDATE requests SET key_id = '01938a5e-0000-7000-8000-000000000001'",
        "KEY_MISSING",
        "requests",
        "requests/",
    ),
    (
        "UPDATE requests SET key_id = (SELECT key_id FROM messages LIMIT 1) WHERE id = (SELECT MAX(id) FROM requests)",
        "KEY_SHARED",
        "requests",
        "messages/",
    ),
    (
        "UPDATE request_rights SET stage = 'refused' WHERE stage = 'answered'",
        "ROW_DIFFERS",
        "request_rights",
        "requests/",
    ),
    ("DELETE FROM request_rights", "ROW_MISSING", "request_rights", "requests/"),
    (
        "UPDATE deliveries SET acknowledged_at = NULL",
        "ROW_DIFFERS",
        "deliveries",
        "controllers/xingyu/deliveries/",
    ),
    (
        "UPDATE instructions SET state = 'done', ended_at = 1 WHERE act = 'erase'; UPDATE instructions SET state = 'executing' WHERE act = 'export'",
        "NOTHING_OPEN",
        "instructions",
        "controllers/xingyu/instructions/",
    ),
    (
        "UPDATE instructions SET digest = 'x' WHERE act = 'erase'",
        "ROW_DIFFERS",
        "instructions",
        "controllers/xingyu/instructions/",
    ),
    (
        "UPDATE instructions SET expires_at = expires_at + 9",
        "ROW_DIFFERS",
        "instructions",
        "controllers/xingyu/instructions/",
    ),
    ("DELETE FROM instructions WHERE act = 'erase'", "ORPHAN", "executions", "executions/"),
    (
        "UPDATE jtis SET outcome = 'admitted' WHERE outcome <> 'admitted'",
        "ROW_DIFFERS",
        "jtis",
        "controllers/xingyu/jtis/",
    ),
    ("DELETE FROM jtis WHERE outcome <> 'admitted'", "ROW_MISSING", "jtis", "controllers/xingyu/jtis/"),
    (
        "INSERT INTO jtis VALUES ('xingyu', '01938a5e-0000-7000-8000-000000000001', 'x', 'admitted', 1)",
        "ROW_UNFOUNDED",
        "jtis",
        "controllers/xingyu/jtis/01938a5e",
    ),
    (
        "UPDATE executions SET state = 'partial' WHERE state = 'completed'",
        "ROW_DIFFERS",
        "executions",
        "executions/",
    ),
    ("UPDATE executions SET report = NULL", "REPORT_MISSING", "executions", "executions/"),
    ("UPDATE executions SET state = 'leased'", "LEASE_WITHOUT_TOKEN", "executions", "executions/"),
    ("UPDATE executions SET lease_token = 'x'", "TOKEN_WITHOUT_LEASE", "executions", "executions/"),
    (
        "INSERT INTO executions (id, controller_id, instruction_id, store_id, state, attempt, next_attempt_at, updated_at, version, written_by) \
      SELECT '01938a5e-0000-7000-8000-000000000001', controller_id, instruction_id, store_id, 'pending', 0, 0, 0, 1, 'x' FROM executions LIMIT 1",
        "ORDERED_TWICE",
        "executions",
        "executions/",
    ),
    ("UPDATE exports SET digest = 'x'", "ROW_DIFFERS", "exports", "exports/"),
    ("UPDATE exports SET size = size + 1", "EXPORT_FILE", "exports", "exports/"),
    ("DELETE FROM exports", "ROW_MISSING", "exports", "exports/"),
    ("DELETE FROM refusals", "ROW_MISSING", "refusals", "leaves/"),
    ("UPDATE calls SET leaf = 100000", "ORPHAN", "calls", "messages/"),
    (
        "UPDATE trail_leaves SET subject = 'controllers/leting' WHERE idx = 3",
        "LEAF_COLUMNS",
        "trail_leaves",
        "leaves/3",
    ),
    (
        "UPDATE trail_leaves SET leaf = (SELECT leaf FROM trail_leaves WHERE idx = 4) WHERE idx = 3",
        "LEAF_ALTERED",
        "trail_leaves",
        "leaves/3",
    ),
    ("DELETE FROM trail_leaves WHERE idx = 3", "LEAF_MISSING", "trail_leaves", "leaves/3"),
    (
        "INSERT INTO trail_leaves SELECT 100000, subject, type, leaf, written_by FROM trail_leaves WHERE idx = 1",
        "LEAF_STRAY",
        "trail_leaves",
        "trail",
    ),
    (
        "UPDATE authority_leaves SET leaf = (SELECT leaf FROM authority_leaves WHERE idx = 1) WHERE idx = 2",
        "LEAF_ALTERED",
        "authority_leaves",
        "authority/leaves/2",
    ),
    ("DELETE FROM tiles WHERE log = 'authority'", "TILE_MISSING", "tiles", "authority/tiles/0/0"),
    (
        "INSERT INTO tiles SELECT log, 1, 0, hashes FROM tiles WHERE log = 'trail'",
        "TILE_STRAY",
        "tiles",
        "trail",
    ),
    (
        "UPDATE log_heads SET root = (SELECT root FROM log_heads WHERE log = 'authority') WHERE log = 'trail'",
        "HEAD_WRONG",
        "log_heads",
        "trail",
    ),
    (
        "UPDATE log_heads SET last_time = last_time + 315360000000 WHERE log = 'trail'",
        "HEAD_WRONG",
        "log_heads",
        "trail",
    ),
    (
        "UPDATE access_keys SET jwk = (SELECT jwk FROM access_keys WHERE principal = 'controllers/leting') WHERE principal = 'controllers/xingyu'",
        "KEY_DIFFERS",
        "access_keys",
        "keys/",
    ),
    (
        "UPDATE instructions SET ended_at = 5 WHERE ended_at IS NOT NULL",
        "ROW_DIFFERS",
        "instructions",
        "controllers/xingyu/instructions/",
    ),
    ("UPDATE requests SET closed_at = 5 WHERE closed_at IS NOT NULL", "ROW_DIFFERS", "requests", "requests/"),
    ("UPDATE messages SET ended_at = 5 WHERE ended_at IS NOT NULL", "ROW_DIFFERS", "messages", "messages/"),
    (
        "INSERT INTO cosignatures SELECT log, MAX(size), 'w9', 'garbage', 'x' FROM cosigned_heads WHERE log = 'trail' GROUP BY log",
        "COSIGNATURE_WRONG",
        "cosignatures",
        "trail/w9",
    ),
    // One character of the signature; the first of the key's id; the witness's word of another head.
    (
        "UPDATE cosignatures SET line = SUBSTR(line, 1, LENGTH(line) - 10) || CASE SUBSTR(line, LENGTH(line) - 9, 1) WHEN 'A' THEN 'B' ELSE 'A' END || SUBSTR(line, LENGTH(line) - 8) WHERE log = 'trail'",
        "COSIGNATURE_WRONG",
        "cosignatures",
        "trail/witness.ppio.example/w1",
    ),
    (
        "UPDATE cosignatures SET line = SUBSTR(line, 1, LENGTH(line) - 104) || CASE SUBSTR(line, LENGTH(line) - 103, 1) WHEN 'A' THEN 'B' ELSE 'A' END || SUBSTR(line, LENGTH(line) - 102) WHERE log = 'authority'",
        "COSIGNATURE_WRONG",
        "cosignatures",
        "authority/witness.ppio.example/w1",
    ),
    (
        "UPDATE cosignatures SET line = (SELECT MAX(line) FROM cosignatures WHERE log = 'authority') WHERE log = 'trail'",
        "COSIGNATURE_WRONG",
        "cosignatures",
        "trail/witness.ppio.example/w1",
    ),
    (
        "UPDATE cosigned_heads SET checkpoint = (SELECT checkpoint FROM log_heads WHERE log = 'authority') WHERE log = 'trail'",
        "COSIGNED_HEAD",
        "cosigned_heads",
        "trail",
    ),
    (
        "INSERT INTO cosignatures VALUES ('trail', 999999, 'w9', 'garbage', 'x')",
        "ORPHAN",
        "cosignatures",
        "trail/w9",
    ),
    ("UPDATE calls SET leaf = 1 WHERE resource LIKE 'messages/%'", "ORPHAN", "calls", "messages/"),
    (
        "UPDATE app_facts SET value = value || 'x' WHERE kind = 'name' AND app_id = 'xingyu-live'",
        "FACTS_DIFFER",
        "app_facts",
        "apps/xingyu-live",
    ),
    ("UPDATE log_heads SET size = size - 1 WHERE log = 'trail'", "LEAF_STRAY", "trail_leaves", "trail"),
    (
        "UPDATE log_heads SET checkpoint = (SELECT checkpoint FROM log_heads WHERE log = 'authority') WHERE log = 'trail'",
        "HEAD_WRONG",
        "log_heads",
        "trail",
    ),
];

/// What is wrong with what the doctor says after an edit.
fn missed(edit: &Edit, config: &Path) -> Option<String> {
    let (statement, code, table, name) = edit;
    let (exit, findings, _) = doctor(config);
    let is_named = |finding: &Value| {
        finding["code"] == *code
            && finding["table"] == *table
            && finding["resource"].as_str().is_some_and(|resource| resource.starts_with(name))
    };
    let shown = serde_json::to_string_pretty(&findings).expect("JSON");
    assert!(!shown.contains(USER), "a finding shows a person's id");
    (exit != 1 || !findings.iter().any(is_named)).then(|| format!("exit {exit} after {statement}: {shown}"))
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
    for edit in EDITS {
        let url = format!("sqlite://{}", file.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("opens");
        let statements = format!("PRAGMA foreign_keys = OFF; {}; PRAGMA wal_checkpoint(TRUNCATE)", edit.0);
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await.expect(edit.0);
        connection.close().await.expect("closes");
        wrong.extend(missed(edit, &config));
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
    for (n, edit) in EDITS.iter().enumerate() {
        let copy = format!("edited_{n}");
        let template = Cluster::name(&url);
        cluster.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {template}"));
        cluster.sql(&copy, &format!("SET session_replication_role = replica; {}", edit.0));
        std::fs::write(&file, cluster.url(&copy)).expect("written");
        wrong.extend(missed(edit, &config));
        cluster.sql("postgres", &format!("DROP DATABASE {copy}"));
    }
    std::fs::write(&file, &url).expect("as before");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    clean(&config);
}
