//! `mandate key rotate checkpoint`: agents, verifiers and witnesses go on across a new log key. One that
//! nobody vouched for is nothing to them.

use std::path::{Path, PathBuf};
use std::process::Command;

use mandate::authority::Pins;
use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::base64url;
use mandate::trail::{Checkpoint, Note, Receipt, SigningKey};

use crate::harness::{Process, World, replica_name, within};
use crate::taken_over_gateway::{refused, stores};
use crate::witness::{Watched, edit, folder, logged, preview, witnessed};

const LOGS: [&str; 2] = ["trail", "authority"];

/// Whether it went through, and what it printed.
fn rotate(dir: &Path, log: &str, more: &[&str]) -> (bool, String) {
    rotate_until(dir, log, more, None)
}

/// It ends at the point, if one is named.
fn rotate_until(dir: &Path, log: &str, more: &[&str], point: Option<&str>) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mandate"))
        .args(["key", "rotate", "checkpoint", "--log", log, "--config"])
        .arg(dir.join("gateway.toml"))
        .args(more)
        .envs(point.map(|point| ("MANDATE_FAULT", point)))
        .output()
        .expect("mandate runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn key_file(dir: &Path, log: &str) -> PathBuf {
    dir.join(format!("keys/gateway/{log}.key"))
}

fn next_file(dir: &Path, log: &str) -> PathBuf {
    dir.join(format!("keys/gateway/{log}.key.next"))
}

/// The vkey of a key file, as a log's.
fn vkey(dir: &Path, log: &str, file: &Path) -> String {
    signing_key(dir, log, file).verifier_key().to_string()
}

fn signing_key(dir: &Path, log: &str, file: &Path) -> SigningKey {
    let text = std::fs::read_to_string(file).expect("a key");
    let seed = base64url::decode(text.trim_end().as_bytes()).expect("base64url");
    let origin = &pin_of(&pins(dir), log).0;
    SigningKey::from_seed(origin, &seed.try_into().expect("32 bytes")).expect("a key")
}

fn pins(dir: &Path) -> Pins {
    Pins::parse(&std::fs::read_to_string(dir.join("pins.toml")).expect("read")).expect("pins")
}

/// Origin and vkey.
fn pin_of(pins: &Pins, log: &str) -> (String, String) {
    let pin = if log == "trail" { &pins.trail } else { &pins.authority };
    (pin.origin.clone(), pin.vkey.to_string())
}

/// The pins with the keys of these files.
fn pinned_anew(dir: &Path, name: &str, file: impl Fn(&Path, &str) -> PathBuf) -> PathBuf {
    let to = dir.join(name);
    std::fs::copy(dir.join("pins.toml"), &to).expect("copied");
    edit(&to, |pins| {
        for log in LOGS {
            pins[log]["vkey"] = vkey(dir, log, &file(dir, log)).into();
        }
    });
    to
}

/// `mandate-verify` with those pins; its exit code and what it printed.
fn verify(arguments: &[&str], pins: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mandate-verify"))
        .args(arguments)
        .arg("--pin")
        .arg(pins)
        .output()
        .expect("mandate-verify runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// Exports, and asserts that both the old pin and the new one verify trail and evidence.
async fn verify_with(world: &World, pins: &[&Path]) -> PathBuf {
    let out = world.export_and_verify().await;
    for pin in pins {
        let (code, text) = verify(&["trail", out.to_str().expect("UTF-8")], pin);
        assert_eq!(code, 0, "{}: {text}", pin.display());
    }
    out
}

async fn evidence(world: &World, instruction: &v1::Instruction) -> PathBuf {
    let request = v1::GetEvidenceRequest { name: instruction.name.clone(), include_disclosures: false };
    let xingyu = world.enterprise("xingyu").await;
    let answer = xingyu.client.instructions().get_evidence(request).await.expect("evidence");
    let file = world.path().join("evidence.json");
    std::fs::write(&file, answer.into_inner().bundle).expect("written");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_goes_on_across_a_rotation_of_both_logs_keys() {
    let mut watched = Watched::new(1, 1).await;
    watched.world.agent = Some(Process::agent(watched.path()));
    let dir = watched.path().to_owned();
    let xingyu = watched.world.enterprise("xingyu").await;
    let before = preview(&xingyu, "before").await;
    within(60, "it", xingyu.follow(&before.executions[0])).await.expect("it ends");

    // Not beside a gateway that runs, and not half of it.
    let (done, text) = rotate(&dir, "trail", &[]);
    assert!(!done && text.contains("in use"), "{text}");
    let kept = watched.world.export_and_verify().await;
    watched.world.gateway.take().expect("it runs").stop();
    let (done, text) = rotate(&dir, "trail", &["--finish"]);
    assert!(!done && text.contains("nothing is under way"), "{text}");
    // Cut off while the next key is written: the gateway starts, and the command begins anew.
    let (done, text) = rotate_until(&dir, "trail", &[], Some("secret.drafted"));
    assert!(!done && text.contains("ends at secret.drafted"), "{text}");
    assert!(!next_file(&dir, "trail").exists(), "half a key may stand under the name");
    watched.restart_gateway();
    watched.world.gateway.take().expect("it runs").stop();
    for log in LOGS {
        let (done, text) = rotate(&dir, log, &[]);
        assert!(done && text.contains(&vkey(&dir, log, &next_file(&dir, log))), "{text}");
        // Again, as after a crash: said once.
        let (done, text) = rotate(&dir, log, &[]);
        assert!(done && text.contains("before"), "{text}");
    }
    let old_pins = dir.join("pins.toml");
    let new_pins = pinned_anew(&dir, "new-pins.toml", next_file);
    watched.restart_gateway();

    // Both sign. The witness and the agent, which run on, hold the old keys.
    let xingyu = watched.world.enterprise("xingyu").await;
    let overlap = preview(&xingyu, "overlap").await;
    let ended = within(60, "it", xingyu.follow(&overlap.executions[0])).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    let proof = witnessed(&xingyu, &overlap).await;
    let note = Receipt::parse(&proof.proof).expect("a receipt").checkpoint;
    let (origin, _) = pin_of(&pins(&dir), "trail");
    assert_eq!(note.signatures().iter().filter(|line| line.name() == origin).count(), 2);
    verify_with(&watched.world, &[&old_pins, &new_pins]).await;

    // The witness learns the new keys by hand, and goes on.
    edit(&folder(&dir, 1).join("witness.toml"), |witness| {
        for log in LOGS {
            let (origin, _) = pin_of(&pins(&dir), log);
            let vkey = vkey(&dir, log, &next_file(&dir, log));
            let entry = toml::Table::from_iter([
                ("origin".to_owned(), origin.into()),
                ("vkey".to_owned(), vkey.into()),
            ]);
            witness["log"].as_array_mut().expect("logs").push(entry.into());
        }
    });
    watched.witnesses[0].as_ref().expect("it runs").hang_up();
    logged("the logs that are watched", || watched.witness_log(1)).await;

    watched.world.gateway.take().expect("it runs").stop();
    for log in LOGS {
        let old = pin_of(&pins(&dir), log).1;
        let (done, text) = rotate(&dir, log, &["--finish"]);
        assert!(done && text.contains(&old), "{text}");
        assert!(!next_file(&dir, log).exists() && vkey(&dir, log, &key_file(&dir, log)) != old);
    }
    watched.restart_gateway();

    // Only the new ones sign; agent and witness are the processes from before.
    let xingyu = watched.world.enterprise("xingyu").await;
    let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, "u_8839201")], None);
    let (_, ended, _) = xingyu.carry_out(&order.expect("an order")).await.expect("carried out");
    assert!(ended.iter().all(|e| e.state() == v1::ExecutionState::Completed), "{ended:?}");
    let after = preview(&xingyu, "after").await;
    let proof = witnessed(&xingyu, &after).await;
    let note = Receipt::parse(&proof.proof).expect("a receipt").checkpoint;
    assert_eq!(note.signatures().iter().filter(|line| line.name() == origin).count(), 1);
    let out = verify_with(&watched.world, &[&old_pins, &new_pins]).await;
    // Since a checkpoint that the old key signed alone, and since one that only the new key did.
    for pins in [&old_pins, &new_pins] {
        for earlier in [&kept, &out] {
            let mut words = vec!["trail".to_owned(), out.display().to_string()];
            for log in LOGS {
                words.extend([
                    "--since".to_owned(),
                    earlier.join(log).join("checkpoint").display().to_string(),
                ]);
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let (code, text) = verify(&words, pins);
            assert_eq!(code, 0, "{words:?} {}: {text}", pins.display());
        }
    }
    let file = evidence(&watched.world, &before).await;
    for pins in [&old_pins, &new_pins] {
        let (code, text) = verify(&["evidence", file.to_str().expect("UTF-8")], pins);
        assert_eq!(code, 0, "{}: {text}", pins.display());
    }
    assert!(!watched.witness_log(1).contains("NOT COSIGNED"), "{}", watched.witness_log(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_key_that_was_lost_is_believed_by_nobody_once_the_rotation_is_over() {
    let mut world = World::without_agent(|_| {}).await;
    let dir = world.path().to_owned();
    preview(&world.enterprise("xingyu").await, "before").await;
    world.gateway.take().expect("it runs").stop();
    let (done, text) = rotate(&dir, "trail", &[]);
    assert!(done, "{text}");
    let lost = dir.join("lost.key");
    std::fs::rename(next_file(&dir, "trail"), &lost).expect("moved");
    let (done, text) = rotate(&dir, "trail", &[]);
    assert!(done && text.contains("vouched for:"), "{text}");
    world.gateway = Some(Process::serve(&dir));
    let earlier = world.export_and_verify().await;
    world.gateway.take().expect("it runs").stop();

    let (done, text) = rotate(&dir, "trail", &["--finish"]);
    for key in [pin_of(&pins(&dir), "trail").1, vkey(&dir, "trail", &lost)] {
        assert!(done && text.contains(&format!("signs no more: {key}")), "{text}");
    }
    // It comes back no more, not even by the hand of the one in force.
    std::fs::copy(&lost, next_file(&dir, "trail")).expect("copied");
    let (done, text) = rotate(&dir, "trail", &[]);
    assert!(!done && text.contains("signs no more"), "{text}");
    std::fs::remove_file(next_file(&dir, "trail")).expect("removed");
    world.gateway = Some(Process::serve(&dir));
    preview(&world.enterprise("xingyu").await, "after").await;
    let out = world.export_and_verify().await;

    // A trail that is cut short, as whoever found the key would sign it.
    let cut = std::fs::read_to_string(earlier.join("trail/checkpoint")).expect("a head");
    let head = Checkpoint::parse_body(Note::parse(&cut).expect("a note").text()).expect("a head");
    std::fs::remove_dir_all(out.join("trail")).expect("removed");
    std::fs::rename(earlier.join("trail"), out.join("trail")).expect("moved");
    let signed_by = |file: &Path| {
        let key = signing_key(&dir, "trail", file);
        std::fs::write(out.join("trail/checkpoint"), head.sign(&key).to_string()).expect("written");
        verify(&["trail", out.to_str().expect("UTF-8")], &dir.join("pins.toml"))
    };
    let (code, text) = signed_by(&lost);
    assert!(code == 1 && text.contains("trail/checkpoint"), "{text}");
    let (code, text) = signed_by(&key_file(&dir, "trail"));
    assert_eq!(code, 0, "by the key in force the same is good, since nobody watches: {text}");
}

/// The second gateway keeps its keys on a machine of its own.
fn own_keys(dir: &Path) -> PathBuf {
    let own = dir.join("keys/gateway-1");
    std::fs::create_dir_all(&own).expect("a folder");
    for log in LOGS {
        std::fs::copy(key_file(dir, log), own.join(format!("{log}.key"))).expect("copied");
    }
    edit(&dir.join("gateway-1.toml"), |gateway| {
        for log in LOGS {
            gateway["log_keys"][log] = format!("keys/gateway-1/{log}.key").into();
        }
    });
    own
}

/// How many lines of the trail's own a receipt's head bears.
async fn lines(of: &Enterprise, instruction: &v1::Instruction, origin: &str) -> usize {
    let call = v1::GetReceiptRequest { name: instruction.name.clone() };
    let answer = of.client.instructions().get_receipt(call).await.expect("a receipt").into_inner();
    let note = Receipt::parse(&answer.receipt.expect("a receipt").proof).expect("a receipt").checkpoint;
    note.signatures().iter().filter(|line| line.name() == origin).count()
}

async fn carried_out(of: &Enterprise, user: &str) -> v1::Instruction {
    let instruction = preview(of, user).await;
    let ended = within(60, "it", of.follow(&instruction.executions[0])).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    instruction
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_on_one_database_take_up_a_new_key_one_after_the_other() {
    let mut world = World::on_postgres(2).await;
    let dir = world.path().to_owned();
    let own = own_keys(&dir);
    let mut second = Process::replica(&dir, &replica_name(1));
    world.agent = Some(Process::agent(&dir));
    let first = world.enterprise("xingyu").await;
    let other = Enterprise::open(&world.profile_at("xingyu", 1)).await.expect("it connects");
    let before = carried_out(&first, "before").await;
    let (origin, _) = pin_of(&pins(&dir), "trail");
    let old_pins = pinned_anew(&dir, "old-pins.toml", key_file);

    // Beside both, which run on and sign with the old key alone.
    for log in LOGS {
        let (done, text) = rotate(&dir, log, &[]);
        assert!(done && text.contains("every other gateway"), "{text}");
    }
    let new_pins = pinned_anew(&dir, "new-pins.toml", next_file);
    let both_pins = [old_pins.as_path(), new_pins.as_path()];
    carried_out(&other, "told").await;
    verify_with(&world, &both_pins[..1]).await;

    // One has the next key, the other not yet: what it signs last keeps the old key in force.
    world.gateway.take().expect("it runs").stop();
    world.gateway = Some(Process::serve(&dir));
    let first = world.enterprise("xingyu").await;
    let half = carried_out(&first, "half").await;
    assert_eq!(lines(&first, &half, &origin).await, 2);
    world.agent.take().expect("it runs").stop();
    let last = preview(&other, "last").await;
    let (done, text) = rotate(&dir, "trail", &["--finish"]);
    assert!(!done, "the last head lacks the new key's signature: {text}");
    assert!(next_file(&dir, "trail").exists());
    world.agent = Some(Process::agent(&dir));
    within(60, "it", first.follow(&last.executions[0])).await.expect("it ends");

    for log in LOGS {
        std::fs::copy(next_file(&dir, log), own.join(format!("{log}.key.next"))).expect("copied");
    }
    second.stop();
    second = Process::replica(&dir, &replica_name(1));
    let other = Enterprise::open(&world.profile_at("xingyu", 1)).await.expect("it connects");
    let overlap = carried_out(&other, "overlap").await;
    assert_eq!(lines(&other, &overlap, &origin).await, 2);
    verify_with(&world, &both_pins).await;

    // At one of them; both run on until they are restarted, one after the other.
    for log in LOGS {
        let old = vkey(&dir, log, &key_file(&dir, log));
        let (done, text) = rotate(&dir, log, &["--finish"]);
        assert!(done && text.contains(&old), "{text}");
    }
    carried_out(&other, "still both").await;
    world.gateway.take().expect("it runs").stop();
    world.gateway = Some(Process::serve(&dir));
    let first = world.enterprise("xingyu").await;
    carried_out(&first, "the new one").await;
    carried_out(&other, "both again").await;
    verify_with(&world, &both_pins).await;
    second.stop();
    for log in LOGS {
        let key = own.join(format!("{log}.key"));
        std::fs::rename(own.join(format!("{log}.key.next")), key).expect("moved");
    }
    let second = Process::replica(&dir, &replica_name(1));
    let other = Enterprise::open(&world.profile_at("xingyu", 1)).await.expect("it connects");
    for of in [&other, &first] {
        let after = carried_out(of, "after").await;
        assert_eq!(lines(of, &after, &origin).await, 1);
    }
    verify_with(&world, &both_pins).await;
    let file = evidence(&world, &before).await;
    for pins in both_pins {
        let (code, text) = verify(&["evidence", file.to_str().expect("UTF-8")], pins);
        assert_eq!(code, 0, "{}: {text}", pins.display());
    }
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_over_gateway_that_swaps_its_keys_gets_nothing() {
    // Keys of the taker's own sign beside the gateway's from the first leaf on, so that its database takes
    // them for its own. No leaf vouches for them.
    let mut world = World::without_agent(|dir| {
        for (n, log) in (1u8..).zip(LOGS) {
            std::fs::write(next_file(dir, log), base64url::encode([n; 32])).expect("written");
        }
    })
    .await;
    world.agent = Some(Process::agent(world.path()));
    let xingyu = world.enterprise("xingyu").await;
    let instruction = preview(&xingyu, "u_8839201").await;
    let ended = within(60, "it", xingyu.follow(&instruction.executions[0])).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    world.export_and_verify_logs().await;
    let before = stores(world.path()).await;
    world.gateway.take().expect("it runs").stop();
    for log in LOGS {
        std::fs::rename(next_file(world.path(), log), key_file(world.path(), log)).expect("swapped");
    }
    world.gateway = Some(Process::serve(world.path()));

    // The order is genuine; that it was admitted is proven by nobody whom the agent knows.
    let xingyu = world.enterprise("xingyu").await;
    let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, "u_8839201")], None);
    let (_, ended, _) = xingyu.carry_out(&order.expect("an order")).await.expect("it ends");
    for execution in &ended {
        refused(&world, "the swapped key", execution, "TRAIL_FORKED");
    }
    assert!(!ended.is_empty() && before == stores(world.path()).await, "a store was touched");
    let out = world.path().join("swapped");
    let auditor = world.client("auditor").await;
    let exported = mandate::cli::trail::export_to(&auditor, &out).await;
    assert!(exported.is_err() && !out.exists(), "what nobody vouched for was kept");
}
