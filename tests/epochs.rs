//! `mandate key rotate epoch`: everything still opens, copies from before do not, and a leaf says so.

use std::path::Path;
use std::process::Command;

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

use crate::agent_files::{copy_agent, keyring_opens};
use crate::harness::{Process, World};

const MAIL: &[u8] = include_bytes!("../examples/mail/01-delete-enterprise-app.eml");

/// Whether it went through, and what it printed.
fn rotate(arguments: &[&str], config: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mandate"))
        .args(["key", "rotate", "epoch"])
        .args(arguments)
        .arg(config)
        .output()
        .expect("mandate runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

pub fn epochs(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

pub fn epoch_folder(config: &Path) -> std::path::PathBuf {
    let text = std::fs::read_to_string(config).expect("the configuration");
    let table: toml::Table = text.parse().expect("TOML");
    config.parent().expect("a folder").join(table["epochs"].as_str().expect("a path"))
}

async fn submit_mail(world: &World) -> String {
    let support = world.client("support").await;
    let submit = v1::SubmitMailRequest {
        mail: MAIL.to_vec().into(),
        received_time: None,
        request_id: "0b2f7a58-3a3c-4a86-9c5c-2f1f5a0e9d21".into(),
    };
    support.intake().submit_mail(submit).await.expect("taken in").into_inner().message.expect("shown").name
}

async fn opens(world: &World, message: &str) -> bool {
    let read = v1::GetMessageRequest { name: message.to_owned() };
    let support = world.client("support").await;
    let shown = support.intake().get_message(read).await.expect("shown").into_inner().message.expect("one");
    shown.candidate.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_turned_over_and_only_copies_from_before_are_worthless() {
    let mut world = World::new().await;
    let message = submit_mail(&world).await;
    let (gateway, agent) = (world.path().join("gateway.toml"), world.path().join("agent.toml"));
    let before = epochs(&epoch_folder(&gateway));

    // While they run, nothing is touched.
    for (whose, config) in [("--config", &gateway), ("--agent", &agent)] {
        let (done, text) = rotate(&[whose], config);
        assert!(!done && text.contains("in use"), "{text}");
    }
    assert_eq!(epochs(&epoch_folder(&gateway)), before);

    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").stop();
    let stolen = copy_agent(world.path(), "agent-before");
    assert!(keyring_opens(world.path(), &stolen).await);
    for (whose, config) in [("--config", &gateway), ("--agent", &agent)] {
        let (done, text) = rotate(&[whose], config);
        assert!(done && text.contains("destroyed: epoch"), "{text}");
    }
    assert!(!keyring_opens(world.path(), &stolen).await, "an older keyring still opens");
    let after = epochs(&epoch_folder(&gateway));
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");

    // As after a crash between the deed and its leaf: said again, and nothing is done twice.
    let (done, text) = rotate(&["--step", "finish", "--config"], &gateway);
    assert!(done && text.contains("no epoch before"), "{text}");
    assert_eq!(epochs(&epoch_folder(&gateway)), after);

    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    assert!(opens(&world, &message).await, "what was sealed before no longer opens");
    let xingyu = world.enterprise("xingyu").await;
    let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, "u_8839201")], None);
    let (_, ended, _) = xingyu.carry_out(&order.expect("an order")).await.expect("carried out");
    assert!(ended.iter().all(|e| e.state() == v1::ExecutionState::Completed), "{ended:?}");
    let leaves = world.trail_leaves().await;
    let said = leaves.iter().filter(|leaf| leaf.contains("mandate.epoch.rotated")).count();
    assert_eq!(said, 2, "once for the deed, once again");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_shared_keyring_an_epoch_is_turned_over_in_two_steps_while_the_gateway_runs() {
    let world = World::on_postgres(1).await;
    let message = submit_mail(&world).await;
    let config = world.path().join("gateway.toml");
    let (done, text) = rotate(&["--config"], &config);
    assert!(!done && text.contains("--step begin"), "{text}");
    let (done, text) = rotate(&["--step", "begin", "--config"], &config);
    assert!(done && epochs(&epoch_folder(&config)).len() == 2, "{text}");
    let (done, text) = rotate(&["--step", "finish", "--config"], &config);
    assert!(done && epochs(&epoch_folder(&config)).len() == 1, "{text}");
    assert!(opens(&world, &message).await, "the running gateway no longer opens it");
    let leaves = world.trail_leaves().await;
    assert!(leaves.iter().any(|leaf| leaf.contains("mandate.epoch.rotated")), "no leaf says so");
    world.export_and_verify().await;
}
