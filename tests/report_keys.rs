//! `mandate key rotate report`: an agent goes on across a new report key, whatever moment the command dies at.

use std::path::{Path, PathBuf};
use std::process::Command;

use mandate::agent::private_key;
use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier, Reason};
use mandate::grpc::v1;
use mandate::token::base64url;
use rstest::rstest;

use crate::agent_calls::{lease, line, report_by};
use crate::agent_files::config;
use crate::harness::{Process, World, configure, within};
use crate::load::On;
use crate::witness::{edit, preview};

/// Where the command is made to die here.
pub const POINTS: [&str; 5] =
    ["report_key.vouched", "report_key.copied", "report_key.moved", "report_key.retired", "secret.drafted"];

/// Whether it went through, and what it printed. It ends at the point, if one is named.
fn rotate(dir: &Path, finish: bool, point: Option<&str>) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mandate"));
    command.args(["key", "rotate", "report", "--agent"]).arg(dir.join("agent.toml"));
    command.args(finish.then_some("--finish"));
    command.envs(point.map(|point| ("MANDATE_FAULT", point)));
    let output = command.output().expect("mandate runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn dies(dir: &Path, finish: bool, point: &str) {
    let (done, text) = rotate(dir, finish, Some(point));
    assert!(!done && text.contains(&format!("ends at {point}")), "{text}");
}

fn key_file(dir: &Path, rest: &str) -> PathBuf {
    mandate::agent::report_key::beside(&config(dir).report_key, rest)
}

async fn ended(of: &Enterprise, execution: &str) {
    let end = within(90, "it", of.follow(execution)).await.expect("it ends");
    assert_eq!(end.state(), v1::ExecutionState::Completed, "{}", end.reason);
}

/// One that is carried out now.
async fn done(of: &Enterprise, user: &str) -> v1::Instruction {
    let instruction = preview(of, user).await;
    ended(of, &instruction.executions[0]).await;
    instruction
}

/// The `kid` of the report in the trail.
async fn signed_by(world: &World, execution: &str) -> String {
    let is = |leaf: &&String| leaf.contains("mandate.execution.reported") && leaf.contains(execution);
    let leaves = world.trail_leaves().await;
    let leaf: serde_json::Value =
        serde_json::from_str(leaves.iter().find(is).expect("it is reported")).expect("JSON");
    let report = leaf["data"]["report"].as_str().expect("a report");
    let header = base64url::decode(report.split('.').next().expect("a header").as_bytes());
    let header: serde_json::Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

/// The pins, with that key for the agent.
fn pinned(world: &World, name: &str, key: &Path) -> PathBuf {
    let to = world.path().join(name);
    std::fs::copy(world.path().join("pins.toml"), &to).expect("copied");
    let public = private_key(key).expect("a key").public().canonical();
    edit(&to, |pins| {
        let agents = pins["agents"].as_table_mut().expect("agents");
        agents.iter_mut().for_each(|(_, agent)| agent["report_key"] = public.clone().into());
    });
    to
}

fn verifies(arguments: &[&str], pins: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_mandate-verify"))
        .args(arguments)
        .arg("--pin")
        .arg(pins)
        .output()
        .expect("mandate-verify runs");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}: {}", pins.display(), String::from_utf8_lossy(&text));
}

async fn evidence(world: &World, of: &Enterprise, name: &str, file: &str) -> String {
    let request = v1::GetEvidenceRequest { name: name.to_owned(), include_disclosures: false };
    let answer = of.client.instructions().get_evidence(request).await.expect("evidence");
    let path = world.path().join(file);
    std::fs::write(&path, answer.into_inner().bundle).expect("written");
    path.display().to_string()
}

/// Trail and evidence of these are good, whichever of the agent's keys is pinned; the doctor finds nothing.
async fn all_good(world: &World, of: &Enterprise, instructions: &[&v1::Instruction], pins: &[PathBuf]) {
    let out = world.export_and_verify().await.display().to_string();
    for pins in pins {
        verifies(&["trail", &out], pins);
        for (n, instruction) in instructions.iter().enumerate() {
            let bundle = evidence(world, of, &instruction.name, &format!("evidence-{n}.json")).await;
            verifies(&["evidence", &bundle], pins);
        }
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_on_across_a_new_report_key_whenever_the_command_dies(#[case] on: On) {
    let mut world = on
        .world(|dir| {
            configure(dir, |gateway| {
                let limits = gateway["limits"].as_table_mut().expect("a table");
                // What a dead agent held is free again soon.
                limits.insert("lease_seconds".into(), 8.into());
            });
        })
        .await;
    let dir = world.path().to_owned();
    world.agent = Some(Process::agent(&dir));
    let xingyu = world.enterprise("xingyu").await;
    let old = private_key(&config(&dir).report_key).expect("a key");
    let old_pins = pinned(&world, "old-pins.toml", &key_file(&dir, ""));
    let before = done(&xingyu, "before").await;

    // Not beside an agent that runs, and not half of it.
    let (made, text) = rotate(&dir, false, None);
    assert!(!made && text.contains("in use"), "{text}");
    world.agent.take().expect("it runs").stop();
    let (made, text) = rotate(&dir, true, None);
    assert!(!made && text.contains("nothing is to be finished"), "{text}");

    // It signs, and dies before it hands in: its report is the old key's for ever.
    let armed = vec![("MANDATE_FAULT", "agent.signed".to_owned())];
    let mut armed = Process::with("agent", &dir, "agent", armed);
    let late = preview(&xingyu, "late").await;
    armed.ended(60, "the agent to die").await;

    // Wherever the first step dies: the old key signs on, and the same command goes on.
    std::fs::remove_file(key_file(&dir, ".next")).expect("nobody has vouched for it");
    dies(&dir, false, POINTS[4]);
    assert!(!key_file(&dir, ".next").exists(), "half a key may stand under the name");
    dies(&dir, false, POINTS[0]);
    let next = private_key(&key_file(&dir, ".next")).expect("a key");
    dies(&dir, false, POINTS[1]);
    assert_eq!(private_key(&key_file(&dir, "")).expect("a key").id(), old.id());
    dies(&dir, false, POINTS[2]);
    assert_eq!(private_key(&key_file(&dir, "")).expect("a key").id(), next.id());
    let (made, text) = rotate(&dir, false, None);
    assert!(!made && text.contains("under way"), "{text}");
    let leaves = world.trail_leaves().await;
    assert_eq!(leaves.iter().filter(|leaf| leaf.contains("report_key.vouched")).count(), 1);

    // The old key's report is on its way: not yet.
    let (made, text) = rotate(&dir, true, None);
    assert!(!made && text.contains(&late.executions[0]), "{text}");
    world.agent = Some(Process::agent(&dir));
    ended(&xingyu, &late.executions[0]).await;
    let overlap = done(&xingyu, "overlap").await;
    assert_eq!(signed_by(&world, &late.executions[0]).await, old.id().to_string());
    assert_eq!(signed_by(&world, &overlap.executions[0]).await, next.id().to_string());
    let new_pins = pinned(&world, "new-pins.toml", &key_file(&dir, ""));
    let pins = [old_pins, new_pins];
    all_good(&world, &xingyu, &[&before, &late, &overlap], &pins).await;

    world.agent.take().expect("it runs").stop();
    dies(&dir, true, POINTS[3]);
    let (made, text) = rotate(&dir, true, None);
    assert!(made && text.contains(&next.id().to_string()), "{text}");
    assert!(!key_file(&dir, ".former").exists() && !key_file(&dir, ".next").exists());
    let leaves = world.trail_leaves().await;
    assert_eq!(leaves.iter().filter(|leaf| leaf.contains("report_key.retired")).count(), 1);

    // Whoever has a copy of the old key gets no report in, and nobody a key.
    let gateway = line(&world);
    let waiting = preview(&xingyu, "u_8839201").await;
    let (hold, leased) = lease(&gateway).await;
    let forged = report_by(&world, &config(&dir).agent, &leased, &old);
    let refused = gateway.report(&hold, forged, Vec::new()).await.expect_err("it is retired");
    assert_eq!(refused.reason, Reason::ReportInvalid);
    let third = mandate::token::PrivateKey::generate(
        mandate::token::private_key::KeyKind::Ed25519,
        &mandate::domain::clock::SystemEntropy,
    )
    .expect("a key");
    let origin = text_of_origin(&dir);
    let agent = config(&dir).agent;
    for former in [&old, &third] {
        let fourth = if former.id() == third.id() { &old } else { &third };
        let text = mandate::token::ReportKeySuccession::sign(&agent, &origin, 0, former, fourth);
        let refused = gateway.vouch_report_key(text.expect("signs")).await.expect_err("it is nobody's");
        assert_eq!(refused.reason, Reason::KeyUnsuitable);
    }
    // A thumbprint is used once, for ever: the old one does not come back by the new one's word either.
    let back = mandate::token::ReportKeySuccession::sign(&agent, &origin, 0, &next, &old).expect("signs");
    assert_eq!(gateway.vouch_report_key(back).await.expect_err("used").reason, Reason::KeyAlreadyUsed);
    let refused = gateway.retire_report_key(old.id().to_string()).await.expect_err("it is no key any more");
    assert_eq!(refused.reason, Reason::StageConflict);

    world.agent = Some(Process::agent(&dir));
    ended(&xingyu, &waiting.executions[0]).await;
    let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, "u_8839201")], None);
    let (_, ends, _) = xingyu.carry_out(&order.expect("an order")).await.expect("carried out");
    assert!(ends.iter().all(|end| end.state() == v1::ExecutionState::Completed), "{ends:?}");
    // What the old key signed can still be read.
    ended(&xingyu, &before.executions[0]).await;
    all_good(&world, &xingyu, &[&before, &late, &overlap, &waiting], &pins).await;
}

fn text_of_origin(dir: &Path) -> String {
    let pins = std::fs::read_to_string(dir.join("pins.toml")).expect("the pins");
    mandate::authority::Pins::parse(&pins).expect("pins").trail.origin
}
