//! A controller loses its root (DESIGN §6): it begins anew at a version 1 that nobody obeys by the gateway's word. Each
//! agent and verifier is given the new pin by hand; evidence shows the break, and what was ordered before dies.

use std::path::{Path, PathBuf};

use mandate::cli::demo::Enterprise;
use mandate::domain::clock::SystemEntropy;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::{InstructionDraft, KeySetDraft, PrivateKey, SignedKeySet};

use crate::backup::mandate;
use crate::harness::{Process, World, within};
use crate::key_sets::{key_of, named, new_key, next, rotate};
use crate::taken_over_gateway::{refused, stores};
use crate::witness::edit;

/// The set with which xingyu begins anew, its digest, and its new root. The signer's key was not lost.
struct Anew {
    file: PathBuf,
    digest: String,
    root: PrivateKey,
}

fn anew(world: &World, of: &Enterprise) -> Anew {
    let (root, one) = (new_key(), key_of(world.path(), "xingyu", "instruction"));
    let draft = next(of, &root, &[(&one, "privacy-office-1")]);
    let set = KeySetDraft { version: 1, prev: None, ..draft }.sign(&[&root]).expect("signs");
    let digest = SignedKeySet::read(&set).expect("a key set").digest().to_string();
    let file = world.path().join("anew.json");
    std::fs::write(&file, set).expect("written");
    Anew { file, digest, root }
}

/// `mandate registry recover`, by the operator.
fn recover(world: &World, anew: &Anew, lost: &str) -> (bool, String) {
    let profile = world.path().join("profiles/operator.toml");
    let fixed = ["registry", "recover", "--confirmed-digest", &anew.digest, "--lost", lost, "--profile"];
    mandate(&fixed, &[&profile, &anew.file])
}

/// By hand, at the agent and the verifier, which share the file here.
fn install_pin(pins: &Path, digest: &str) {
    edit(pins, |pins| {
        let xingyu = pins["controllers"]["xingyu"].as_table_mut().expect("a table");
        xingyu.insert("recovered".into(), vec![digest].into());
    });
}

fn order(of: &Enterprise, act: Act, user: &str) -> InstructionDraft {
    of.order(act, vec![Identifier::user(&of.app, user)], None).expect("an order")
}

async fn submit(of: &Enterprise, draft: &InstructionDraft) -> v1::Instruction {
    let wire = draft.sign(&[&of.key], &SystemEntropy).expect("signs").to_wire();
    of.submit(&wire).await.expect("admitted").instruction.expect("shown")
}

async fn ended(of: &Enterprise, instruction: &v1::Instruction) -> v1::Execution {
    within(60, "the end of an order", of.follow(&instruction.executions[0])).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_root_is_recovered_by_pin_alone_and_everybody_sees_the_break() {
    let mut world = World::new().await;
    let pins = world.path().join("pins.toml");
    let mut xingyu = world.enterprise("xingyu").await;
    let lost = xingyu.key_set.digest.to_string();
    let done = submit(&xingyu, &order(&xingyu, Act::Preview, "u_8839201")).await;
    assert_eq!(ended(&xingyu, &done).await.state(), v1::ExecutionState::Completed);
    world.agent.take().expect("it runs").stop();
    let waits = submit(&xingyu, &order(&xingyu, Act::Erase, "u_8800001")).await;

    // Not as a next version, not after another set than the newest, and not as a first one again.
    let anew = anew(&world, &xingyu);
    let set = std::fs::read(&anew.file).expect("there");
    assert_eq!(rotate(&xingyu, &set).await, Err("KEY_SET_VERSION".into()));
    let (taken, text) = recover(&world, &anew, &anew.digest);
    assert!(!taken && text.contains("KEY_SET_VERSION"), "{text}");
    let operator = world.client("operator").await;
    let first = v1::CreateKeySetRequest {
        key_set: set.clone().into(),
        confirmed_digest: anew.digest.clone(),
        recovers_digest: String::new(),
    };
    operator.registry().create_key_set(first).await.expect_err("it has a first one");
    let (taken, text) = recover(&world, &anew, &lost);
    assert!(taken && text.contains(&anew.digest), "{text}");
    let (taken, _) = recover(&world, &anew, &lost);
    assert!(taken, "the same again gets the first answer");
    // The lost root, should somebody have found it, signs nothing more.
    let found = key_of(world.path(), "xingyu", "root");
    let second = next(&xingyu, &found, &[(&xingyu.key, "privacy-office-1")]).sign(&[&found]).expect("signs");
    assert_ne!(rotate(&xingyu, &second).await.map(drop), Ok(()));

    // The agent has no pin for it: nothing is carried out, and what was admitted before is not handed out.
    xingyu.key_set = named(&set);
    let before = stores(world.path()).await;
    world.agent = Some(Process::agent(world.path()));
    let unheard = submit(&xingyu, &order(&xingyu, Act::Erase, "u_8839201")).await;
    refused(&world, "without a pin", &ended(&xingyu, &unheard).await, "AUTHORITY_FORKED");
    let dead = ended(&xingyu, &waits).await;
    assert_eq!((dead.state(), &*dead.reason), (v1::ExecutionState::Failed, "KEY_SET_RECOVERED"));
    assert!(before == stores(world.path()).await, "a store was touched");
    assert!(world.agent.as_ref().expect("it runs").logged().contains(&anew.digest));

    // Nor does a verifier believe it, and each says what is missing.
    let out = world.path().join("unpinned");
    std::fs::create_dir_all(&out).expect("a folder");
    mandate::cli::trail::export_to(&world.client("auditor").await, &out)
        .await
        .expect("the logs are exported");
    let (code, text) = world.verify(&["trail", out.to_str().expect("UTF-8")]);
    assert!(code == 1 && text.contains("NOT GOOD") && text.contains(&anew.digest), "{text}");
    let call = v1::GetEvidenceRequest { name: done.name.clone(), include_disclosures: true };
    let bundle = xingyu.client.instructions().get_evidence(call).await.expect("evidence").into_inner().bundle;
    let evidence = world.path().join("evidence.json");
    std::fs::write(&evidence, bundle).expect("written");
    let (code, text) = world.verify(&["evidence", evidence.to_str().expect("UTF-8")]);
    assert!(code == 1 && text.contains(&anew.digest), "{text}");

    // With the pin all goes on, under the new root, and the break is shown.
    world.agent.take().expect("it runs").stop();
    install_pin(&pins, &anew.digest);
    world.agent = Some(Process::agent(world.path()));
    let again = submit(&xingyu, &order(&xingyu, Act::Erase, "u_8839201")).await;
    let end = ended(&xingyu, &again).await;
    assert_eq!(end.state(), v1::ExecutionState::Completed, "{}", end.reason);
    let third = next(&xingyu, &anew.root, &[(&xingyu.key, "privacy-office-1")]).sign(&[&anew.root]);
    let third = third.expect("signs");
    rotate(&xingyu, &third).await.expect("the new root signs the next");
    xingyu.key_set = named(&third);
    let last = submit(&xingyu, &order(&xingyu, Act::Preview, "u_8800002")).await;
    assert_eq!(ended(&xingyu, &last).await.state(), v1::ExecutionState::Completed);
    for file in [["trail", out.to_str().expect("UTF-8")], ["evidence", evidence.to_str().expect("UTF-8")]] {
        let (code, text) = world.verify(&file);
        assert!(code == 0 && text.contains("BREAK") && text.contains("restarts at version 1"), "{text}");
    }
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pinned_the_recovery_first_obeys_the_lost_root_no_more() {
    let mut world = World::on_postgres(1).await;
    let mut xingyu = world.enterprise("xingyu").await;
    let lost = xingyu.key_set.digest.to_string();
    let anew = anew(&world, &xingyu);
    install_pin(&world.path().join("pins.toml"), &anew.digest);
    world.agent = Some(Process::agent(world.path()));
    let before = stores(world.path()).await;
    // A gateway that never publishes the new set gains nothing: the order is put off.
    let withheld = submit(&xingyu, &order(&xingyu, Act::Erase, "u_8839201")).await;
    let agent = world.agent.as_ref().expect("it runs");
    within(60, "the deferral", async {
        while !agent.logged().contains("an order is deferred") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(agent.logged().contains("AUTHORITY_STALE"), "{}", agent.logged());
    assert!(before == stores(world.path()).await, "a store was touched");

    let (taken, text) = recover(&world, &anew, &lost);
    assert!(taken, "{text}");
    // Nothing of it was begun, so it is given up; an agent that has it in hand just then says no itself.
    let end = ended(&xingyu, &withheld).await;
    assert_eq!(end.reason, "KEY_SET_RECOVERED");
    assert!(matches!(end.state(), v1::ExecutionState::Failed | v1::ExecutionState::Refused), "{}", end.state);
    xingyu.key_set = named(&std::fs::read(&anew.file).expect("there"));
    let again = submit(&xingyu, &order(&xingyu, Act::Erase, "u_8839201")).await;
    assert_eq!(ended(&xingyu, &again).await.state(), v1::ExecutionState::Completed);
    world.export_and_verify().await;
}
