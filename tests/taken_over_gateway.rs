//! A gateway that was taken over, with all it has, gets nothing from the agent: not with a database that was
//! edited by hand, not with an app that its registry gives to another, not with forged admissions under its own log
//! keys (`forger`). The agent's signed refusal reaches the trail. What it gets by lying about the authority log, by
//! withholding it and by handing out again is in `false_authority`, `withheld_authority` and `replayed`.

use std::path::Path;

use mandate::authority::Pins;
use mandate::cli::demo::Enterprise;
use mandate::cli::sample_store::{Place, survey};
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use mandate::token::{
    Digest, InstructionDraft, KeyEntryDraft, KeyKind, KeySetDraft, KeySetRef, KeyUse, PrivateKey, Report,
    ReportOutcome, SetRole, SignedKeySet, VerifyingKey,
};
use sqlx::Connection;

use crate::forger::{Forger, Forgery};
use crate::harness::{Process, World};

/// A user of xingyu's, of leting's and of xiaolu's: the id is the same in three tenants.
const USER: &str = "u_8839201";

/// Every table of both stores, tenant by tenant: rows, and SHA-256 over their bytes.
pub async fn stores(dir: &Path) -> Vec<(Place, (u64, [u8; 32]))> {
    let mut all = Vec::new();
    for store in ["rtc", "accounts"] {
        all.extend(survey(&dir.join(format!("store/{store}.sqlite"))).await.expect("counted"));
    }
    all
}

/// The agent's report of an execution, verified with the pinned key.
fn report_of(world: &World, execution: &v1::Execution) -> Report {
    let pins = std::fs::read_to_string(world.path().join("pins.toml")).expect("the pins");
    let pins = Pins::parse(&pins).expect("pins");
    let (agent, key) = pins.agents.first_key_value().expect("an agent is pinned");
    let key = VerifyingKey::new(key.clone()).expect("a key");
    Report::verify(&execution.report, &key, agent, &pins.trail.origin).expect("the agent signed it")
}

/// How an execution ended; where it does not end, what the agent said of it.
async fn ended(world: &World, of: &Enterprise, execution: &str) -> v1::Execution {
    of.follow(execution).await.unwrap_or_else(|error| {
        let log = std::fs::read_to_string(world.path().join("agent.log")).unwrap_or_default();
        panic!("{error}; the agent said: {log}")
    })
}

/// It ended with the agent's own signed word that it was refused, and why.
pub fn refused(world: &World, who: &str, ended: &v1::Execution, reason: &str) {
    assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Refused, reason), "{who}");
    let report = report_of(world, ended);
    assert_eq!(report.outcome, ReportOutcome::Refused, "{who}");
    assert_eq!(report.reason.map(|reason| reason.code()), Some(reason), "{who}");
    assert_eq!(report.execution.resource_name(), ended.name, "{who}");
    assert!(report.collections.is_empty() && report.sub_digests.is_empty(), "{who}: it binds nobody");
}

async fn edit(world: &World, sql: &[&str]) {
    let path = world.path().join("data/gateway.sqlite");
    let mut conn =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut conn).await.expect("set");
    for statement in sql {
        let done = sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned()))
            .execute(&mut conn)
            .await
            .expect("edited");
        assert!(done.rows_affected() > 0, "nothing was edited: {statement}");
    }
    conn.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_database_moves_no_row_of_the_store() {
    let mut world = World::without_agent(|_| {}).await;
    let leting = world.enterprise("leting").await;
    let store = world.path().join("store/rtc.sqlite");
    let before = survey(&store).await.expect("counted");

    // One order, properly admitted, for a user of leting's own.
    let subject = vec![Identifier::user(&leting.app, USER)];
    let order = leting.order(Act::Preview, subject, None).expect("an order");
    let answer = leting.submit(&leting.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    let instruction = answer.instruction.expect("shown");
    let execution = instruction.executions[0].clone();
    world.gateway.take().expect("it runs").stop();

    // The app is moved to another controller, the act and the store are changed.
    edit(
        &world,
        &[
            "UPDATE apps SET controller_id = 'xingyu' WHERE id = 'leting-fm'",
            "UPDATE instructions SET act = 'erase'",
            "UPDATE executions SET store_id = 'accounts'",
        ],
    )
    .await;
    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    let leting = world.enterprise("leting").await;
    let ended = leting.follow(&execution).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Refused, "{}", ended.reason);
    assert!(!ended.reason.is_empty());
    assert_eq!(before, survey(&store).await.expect("counted"), "the store was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_that_was_edited_at_the_gateway_ends_in_the_trail() {
    let mut world = World::without_agent(|_| {}).await;
    let leting = world.enterprise("leting").await;
    let store = world.path().join("store/rtc.sqlite");
    let before = survey(&store).await.expect("counted");
    let edits = [
        // The sealed instruction: a changed byte, another order's, none that opens.
        "sealed_envelope = CAST(substr(sealed_envelope, 1, length(sealed_envelope) - 1) || X'00' AS BLOB)",
        "sealed_envelope = (SELECT sealed_envelope FROM instructions ORDER BY leaf DESC LIMIT 1)",
        "sealed_envelope = X''",
        // What it is held against.
        "digest = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
        "signed_part = X'2E2E'",
    ];
    let mut executions = Vec::new();
    let mut statements = Vec::new();
    for (n, edit) in edits.iter().enumerate() {
        let order = erase(&leting, &format!("altered-{n}"));
        let answer = leting.submit(&signed(&order, &leting.key)).await.expect("admitted");
        let instruction = answer.instruction.expect("shown");
        statements.push(format!("UPDATE instructions SET {edit} WHERE leaf = {}", instruction.trail_index));
        executions.extend(instruction.executions);
    }
    let untouched = erase(&leting, "altered-not");
    let answer = leting.submit(&signed(&untouched, &leting.key)).await.expect("admitted");
    world.gateway.take().expect("it runs").stop();
    edit(&world, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    let leting = world.enterprise("leting").await;
    for execution in &executions {
        let ended = ended(&world, &leting, execution).await;
        assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Failed, "ORDER_ALTERED"));
    }
    for execution in answer.instruction.expect("shown").executions {
        assert_eq!(ended(&world, &leting, &execution).await.state(), v1::ExecutionState::Completed);
    }
    assert_eq!(before, survey(&store).await.expect("counted"), "the store was touched");
    // Each end is a leaf, and the trail is a good one.
    world.export_and_verify_logs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_the_registry_gives_to_another_controller_stays_its_own_at_the_agent() {
    let mut world = World::without_agent(|_| {}).await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    let before = stores(world.path()).await;
    world.gateway.take().expect("it runs").stop();
    edit(&world, &["UPDATE apps SET controller_id = 'leting' WHERE id = 'xingyu-live'"]).await;
    world.gateway = Some(Process::serve(world.path()));
    let theirs = || InstructionDraft {
        app: xingyu.app.clone(),
        subject: vec![Identifier::user(&xingyu.app, USER)],
        ..erase(&leting, USER)
    };
    // To the gateway it is good: the accomplice orders what is done to its own app.
    let order = async |world: &World| {
        let leting = world.enterprise("leting").await;
        let answer = leting.submit(&signed(&theirs(), &leting.key)).await.expect("the gateway admits it");
        let execution = answer.instruction.expect("shown").executions.remove(0);
        ended(world, &leting, &execution).await
    };
    world.agent = Some(Process::agent(world.path()));
    refused(&world, "by the agent's agreements", &order(&world).await, "AGREEMENT_MISSING");

    // And where the agent's agreements were edited as well, its binding of the app to a tenant stands alone.
    world.agent.take().expect("it runs").stop();
    crate::witness::edit(&world.path().join("agent.toml"), |agent| {
        let app = toml::Value::from("xingyu-live");
        for terms in agent["agreement"].as_array_mut().expect("a list") {
            let is_theirs = terms["controller"].as_str() == Some("leting");
            let apps = terms["apps"].as_array_mut().expect("a list");
            apps.retain(|one| *one != app);
            if is_theirs {
                apps.push(app.clone());
            }
        }
    });
    world.agent = Some(Process::agent(world.path()));
    refused(&world, "by the agent's bindings", &order(&world).await, "TENANT_UNBOUND");
    assert!(before == stores(world.path()).await, "a store was touched");
}

fn erase(of: &Enterprise, subject: &str) -> InstructionDraft {
    of.order(Act::Erase, vec![Identifier::user(&of.app, subject)], None).expect("an order")
}

fn signed(draft: &InstructionDraft, key: &PrivateKey) -> String {
    draft.sign(&[key], &SystemEntropy).expect("signs").to_wire()
}

fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).expect("a key")
}

/// `protected.payload.signature~disclosure~…`, taken apart.
fn parts(wire: &str) -> (Vec<String>, Vec<String>) {
    let (jwt, disclosures) = wire.split_once('~').expect("an SD-JWT");
    let owned = |part: &str| part.to_owned();
    let disclosures = disclosures.split_terminator('~').map(owned).collect();
    (jwt.split('.').map(owned).collect(), disclosures)
}

fn joined(jwt: &[String], disclosures: &[String]) -> String {
    format!("{}~{}", jwt.join("."), disclosures.iter().map(|d| format!("{d}~")).collect::<String>())
}

/// A version 2 that lets `key` order everything, under a root of the forger's own.
fn own_key_set(of: &Enterprise, key: &PrivateKey) -> Vec<u8> {
    let root = new_key();
    let entry = |key: &PrivateKey, signer: &str, usage| KeyEntryDraft {
        jwk: key.public().clone(),
        signer: signer.into(),
        usage,
    };
    let now = SystemClock.now_seconds();
    let acts = [Act::Preview, Act::Erase, Act::Export];
    let mut roles = vec![(SetRole::Root, vec![root.id()], 1)];
    roles.extend(acts.map(|act| (SetRole::Act(act), vec![key.id()], 1)));
    let draft = KeySetDraft {
        iss: of.id.clone(),
        aud: format!("{}/trail", of.client.profile.audience),
        version: 2,
        prev: Some(of.key_set.digest),
        iat: now,
        exp: now + 86_400,
        keys: vec![entry(&root, "board", KeyUse::Root), entry(key, "privacy-office-1", KeyUse::Instruction)],
        roles,
    };
    draft.sign(&[&root]).expect("signs")
}

#[tokio::test(flavor = "multi_thread")]
async fn admissions_forged_with_the_gateways_own_log_keys_move_no_row() {
    let mut world = World::without_agent(|_| {}).await;
    let xingyu = world.enterprise("xingyu").await;
    let leting = world.enterprise("leting").await;
    let xiaolu = world.enterprise("xiaolu").await;
    let before = stores(world.path()).await;
    world.gateway.take().expect("it runs").stop();

    let forger = Forger::open(world.path()).await;
    let mut forged: Vec<(&str, &Enterprise, String, &str)> = Vec::new();
    macro_rules! forge {
        ($who:literal, $of:expr, $forgery:expr, $reason:literal) => {
            forged.push(($who, $of, forger.admit($forgery).await, $reason))
        };
    }

    // What the controller never signed.
    let draft = erase(&xingyu, USER);
    forge!("a key of the gateway's", &xingyu, Forgery::of(&draft, signed(&draft, &new_key())), "KEY_UNKNOWN");
    let draft = erase(&xingyu, USER);
    forge!(
        "another controller's key",
        &xingyu,
        Forgery::of(&draft, signed(&draft, &leting.key)),
        "KEY_UNKNOWN"
    );
    let preview = InstructionDraft { act: Act::Preview, ..erase(&xingyu, USER) };
    let (genuine, disclosures) = parts(&signed(&preview, &xingyu.key));
    let draft = erase(&xingyu, USER);
    let (other, other_disclosures) = parts(&signed(&draft, &new_key()));
    let borrowed = joined(&[genuine[0].clone(), other[1].clone(), genuine[2].clone()], &other_disclosures);
    forge!("a signature from another order", &xingyu, Forgery::of(&draft, borrowed), "SIGNATURE_INVALID");

    // A genuine signature, and the gateway's own word beside it.
    let raised = Forgery { act: Act::Erase, ..Forgery::of(&preview, joined(&genuine, &disclosures)) };
    forge!("a preview admitted as an erasure", &xingyu, raised, "TRAIL_FORKED");
    let (admitted, handed) = (erase(&xingyu, USER), erase(&xingyu, "u_8800001"));
    let swapped = Forgery {
        delivered: signed(&handed, &xingyu.key),
        ..Forgery::of(&admitted, signed(&admitted, &xingyu.key))
    };
    forge!("another order than was admitted", &xingyu, swapped, "TRAIL_FORKED");
    let draft = erase(&xingyu, USER);
    let elsewhere = Forgery {
        store: "accounts".parse().expect("a slug"),
        ..Forgery::of(&draft, signed(&draft, &xingyu.key))
    };
    forge!("a store it does not reach", &xingyu, elsewhere, "OUTSIDE_AGREEMENT");
    let now = SystemClock.now_seconds();
    let old = InstructionDraft { iat: now - 7200, exp: now - 3600, ..erase(&xingyu, USER) };
    forge!(
        "an old order never used",
        &xingyu,
        Forgery::of(&old, signed(&old, &xingyu.key)),
        "INSTRUCTION_EXPIRED"
    );

    // Another enterprise's app, by its accomplice's own genuine signature.
    let theirs = InstructionDraft {
        app: xingyu.app.clone(),
        subject: vec![Identifier::user(&xingyu.app, USER)],
        ..erase(&leting, USER)
    };
    let wire = signed(&theirs, &leting.key);
    forge!("another's app", &leting, Forgery::of(&theirs, wire), "AGREEMENT_MISSING");
    let theirs = InstructionDraft { jti: erase(&leting, USER).jti, ..theirs };
    let renamed = Forgery {
        controller: xingyu.id.clone(),
        key_set: xingyu.key_set,
        ..Forgery::of(&theirs, signed(&theirs, &leting.key))
    };
    forge!("another's signature under the owner's name", &xingyu, renamed, "KEY_UNKNOWN");

    // Disclosures.
    let two = vec![Identifier::user(&xingyu.app, USER), Identifier::Opaque { id: "device-7f31c2".into() }];
    let draft = xingyu.order(Act::Erase, two.clone(), None).expect("an order");
    let (jwt, disclosures) = parts(&signed(&draft, &xingyu.key));
    forge!(
        "a disclosure withheld",
        &xingyu,
        Forgery::of(&draft, joined(&jwt, &disclosures[..1])),
        "DISCLOSURE_MISSING"
    );
    let draft = xingyu.order(Act::Erase, two, None).expect("an order");
    let (jwt, mut disclosures) = parts(&signed(&draft, &xingyu.key));
    let (_, another) = parts(&signed(&erase(&xingyu, "u_8800001"), &xingyu.key));
    disclosures[0] = another[0].clone();
    forge!(
        "another person's disclosure",
        &xingyu,
        Forgery::of(&draft, joined(&jwt, &disclosures)),
        "DISCLOSURE_ALIEN"
    );

    // A key set that never was, and one of the forger's own in the authority log.
    let draft = erase(&xingyu, USER);
    let later = Forgery {
        key_set: KeySetRef { version: 2, digest: Digest::of("none") },
        ..Forgery::of(&draft, signed(&draft, &xingyu.key))
    };
    forge!("a key set that never was", &xingyu, later, "KEY_SET_NOT_CURRENT");
    let key = new_key();
    let set = own_key_set(&xiaolu, &key);
    let digest = SignedKeySet::read(&set).expect("a key set").digest();
    forger.publish(xiaolu.id.clone(), set).await;
    let draft = InstructionDraft { key_set: KeySetRef { version: 2, digest }, ..erase(&xiaolu, USER) };
    forge!("a key set of its own", &xiaolu, Forgery::of(&draft, signed(&draft, &key)), "AUTHORITY_FORKED");
    forger.close().await;

    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    for (name, of) in [("xingyu", &xingyu.id), ("leting", &leting.id), ("xiaolu", &xiaolu.id)] {
        let enterprise = world.enterprise(name).await;
        for (who, _, execution, reason) in forged.iter().filter(|(_, owner, ..)| owner.id == *of) {
            let ended = ended(&world, &enterprise, execution).await;
            refused(&world, who, &ended, reason);
        }
    }
    assert!(before == stores(world.path()).await, "a store was touched");

    // The agent still does what is genuine; a controller whose key sets were forged stays stopped.
    let (leting, xiaolu) = (world.enterprise("leting").await, world.enterprise("xiaolu").await);
    let (_, done, _) = leting.carry_out(&erase(&leting, USER)).await.expect("followed");
    assert_eq!(done[0].state(), v1::ExecutionState::Completed, "{}", done[0].reason);
    assert!(before != stores(world.path()).await, "the genuine order did nothing");
    let (_, done, _) = xiaolu.carry_out(&erase(&xiaolu, USER)).await.expect("followed");
    refused(&world, "stopped for good", &done[0], "AUTHORITY_FORKED");

    // And whoever reads the trail sees it.
    let out = world.path().join("exported");
    std::fs::create_dir_all(&out).expect("a folder");
    mandate::cli::trail::export_to(&world.client("auditor").await, &out).await.expect("exported");
    let (code, text) = world.verify(&["trail", out.to_str().expect("UTF-8")]);
    assert_eq!(code, 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_order_replayed_under_a_new_execution_touches_no_row_again() {
    let mut world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let draft = erase(&xingyu, USER);
    let (_, first, wire) = xingyu.carry_out(&draft).await.expect("followed");
    assert_eq!(first[0].state(), v1::ExecutionState::Completed, "{}", first[0].reason);
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").stop();

    // The person came back meanwhile, and agreed anew.
    let path = world.path().join("store/rtc.sqlite");
    let mut conn =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
    sqlx::query(
        "INSERT INTO users (sdk_app_id, user_id, created_at, last_seen_at) \
         VALUES ('sdk-1001-xingyu', 'u_8839201', 1, 1)",
    )
    .execute(&mut conn)
    .await
    .expect("inserted");
    conn.close().await.expect("closes");
    let before = stores(world.path()).await;

    let forger = Forger::open(world.path()).await;
    let (leaf, replayed) = forger.admit_again(Forgery::of(&draft, wire)).await;
    forger.close().await;
    edit(&world, &[&format!("UPDATE instructions SET leaf = {leaf}, state = 'admitted'")]).await;
    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    let xingyu = world.enterprise("xingyu").await;
    let ended = ended(&world, &xingyu, &replayed).await;
    assert!(before == stores(world.path()).await, "the replay touched a store");
    refused(&world, "the replay", &ended, "ORDER_REPEATED");
}
