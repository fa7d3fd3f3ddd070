//! `mandate authority`: what an enterprise's people and the operator type, against a running gateway.

use std::path::Path;
use std::process::Command;

use mandate::domain::clock::SystemEntropy;
use mandate::domain::{Act, Identifier};
use mandate::token::SetRole;
use serde_json::Value;

use crate::harness::World;
use crate::key_sets::{key_of, named, next};

/// Runs the command; whether it went through, and what it printed.
fn run(world: &World, profile: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mandate"))
        .args(arguments)
        .arg("--json")
        .arg("--profile")
        .arg(world.path().join(format!("profiles/{profile}.toml")))
        .output()
        .expect("mandate runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn done(world: &World, profile: &str, arguments: &[&str]) -> Value {
    let (good, text) = run(world, profile, arguments);
    assert!(good, "{arguments:?}: {text}");
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}): {text}"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_orders_approved_withdrawn_and_contested_from_the_command_line() {
    let world = World::without_agent(|_| {}).await;
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one, two] =
        ["root", "instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
    let mut set = next(&xingyu, &root, &[(&one, "privacy-office-1"), (&two, "privacy-office-2")]);
    for (role, _, threshold) in &mut set.roles {
        if *role == SetRole::Act(Act::Erase) {
            *threshold = 2;
        }
    }
    let set = set.sign(&[&root]).expect("signs");
    let file = world.path().join("keyset-2.json");
    std::fs::write(&file, &set).expect("written");
    assert_eq!(done(&world, "xingyu", &["authority", "rotate", text(&file)])["version"], 2);
    xingyu.key_set = named(&set);

    let [one, two] =
        ["instruction", "instruction-2"].map(|name| world.path().join(format!("keys/xingyu/{name}.jwk")));
    let mut submitted = Vec::new();
    for n in 0..2 {
        let subject = vec![Identifier::user(&xingyu.app, format!("u-{n}"))];
        let order = xingyu.order(Act::Erase, subject, None).expect("an order");
        let signed = order.sign(&[&xingyu.key], &SystemEntropy).expect("signs").to_wire();
        let file = world.path().join(format!("order-{n}.sd-jwt"));
        std::fs::write(&file, signed).expect("written");
        let waits = done(&world, "xingyu", &["instruct", text(&file)]);
        assert_eq!((&waits["state"], &waits["missing"][0]["role"]), (&"waiting".into(), &"erase".into()));
        submitted.push(file);
    }
    let [first, second] = submitted.as_slice() else { unreachable!("two were submitted") };
    let by = |word, file, key| done(&world, "xingyu", &["authority", word, text(file), "--key", text(key)]);
    let admitted = by("approve", first, &two);
    assert_eq!(admitted["state"], "admitted");
    assert_eq!(by("withdraw", second, &one)["state"], "revoked");

    let (_, listed) = run(
        &world,
        "xingyu",
        &["authority", "signed-with", &key_of(world.path(), "xingyu", "instruction-2").id().to_string()],
    );
    let name = admitted["name"].as_str().expect("a name");
    assert!(
        listed.contains(name) && listed.lines().filter(|line| line.contains("\"name\"")).count() == 1,
        "{listed}"
    );

    let contest = ["authority", "contest", "controllers/xingyu", name, "--ground", "unlawful"];
    assert_eq!(done(&world, "operator", &contest)["contested"], name);
    let (good, refused) = run(&world, "xingyu", &contest);
    assert!(!good && refused.contains("KIND_NOT_ALLOWED"), "{refused}");
    world.export_and_verify().await;
}
