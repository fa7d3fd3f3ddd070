//! `mandate authority`: what an enterprise's people and the operator type, against a running gateway.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mandate::domain::clock::SystemEntropy;
use mandate::domain::{Act, Identifier};
use mandate::token::{SetRole, base64url};
use serde_json::Value;

use crate::harness::World;
use crate::key_sets::{key_of, named, next};

/// Runs the command with nothing but these arguments.
fn bare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mandate")).args(arguments).output().expect("mandate runs")
}

fn output(world: &World, profile: &str, arguments: &[&str]) -> Output {
    let profile = world.path().join(format!("profiles/{profile}.toml"));
    bare(&[arguments, &["--json", "--profile", text(&profile)]].concat())
}

/// Runs the command; whether it went through, and all that it printed.
fn run(world: &World, profile: &str, arguments: &[&str]) -> (bool, String) {
    told(&output(world, profile, arguments))
}

fn told(output: &Output) -> (bool, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// What it printed on stdout, which holds nothing else.
fn done(world: &World, profile: &str, arguments: &[&str]) -> Value {
    let output = output(world, profile, arguments);
    let (good, all) = told(&output);
    assert!(good, "{arguments:?}: {all}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}): {all}"))
}

/// The same instruction beside it, its disclosure naming somebody else.
fn swapped(file: &Path) -> PathBuf {
    let signed = std::fs::read_to_string(file).expect("it is there");
    let disclosure = signed.split('~').nth(1).expect("a disclosure");
    let named = String::from_utf8(base64url::decode(disclosure).expect("base64url")).expect("UTF-8");
    let other = base64url::encode(named.replace("u-0", "u_harmless"));
    let path = file.with_extension("swapped");
    std::fs::write(&path, signed.replace(disclosure, &other)).expect("written");
    path
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

    // A second signer is shown whom it is about, and is not shown anybody else.
    let other = swapped(first);
    let out = world.path().join("both.json");
    let onto = |file: &Path| bare(&["sign", "--onto", text(file), "--key", text(&two), "--out", text(&out)]);
    for output in [
        output(&world, "xingyu", &["authority", "approve", text(&other), "--key", text(&two)]),
        onto(&other),
        bare(&["sign", "--show", text(&other)]),
    ] {
        let (good, said) = told(&output);
        assert!(!good && said.contains("DISCLOSURE_ALIEN") && !said.contains("u_harmless"), "{said}");
    }
    assert!(!out.exists(), "it was signed");
    let (good, said) = told(&onto(first));
    assert!(good && said.contains("orders      erase\n") && said.contains("user        \"u-0\"\n"), "{said}");
    let shown = bare(&["sign", "--show", text(&out)]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("user        \"u-0\"\n"), "{shown:?}");

    // His key is elsewhere: the first step needs neither profile nor gateway.
    let [public, bytes, signature] =
        ["two.pub.jwk", "to-sign", "signature"].map(|name| world.path().join(name));
    let key = key_of(world.path(), "xingyu", "instruction-2");
    std::fs::write(&public, key.public().canonical()).expect("written");
    let step = ["authority", "approve", text(first), "--public-key", text(&public)];
    let (good, said) = told(&bare(&[&step[..], &["--signing-input-out", text(&bytes)]].concat()));
    assert!(good && said.contains("user        \"u-0\"\n"), "{said}");
    let signed = key.sign(&std::fs::read(&bytes).expect("the bytes")).expect("signs");
    std::fs::write(&signature, signed).expect("written");
    let approve = output(&world, "xingyu", &[&step[..], &["--signature", text(&signature)]].concat());
    assert!(String::from_utf8_lossy(&approve.stderr).contains("user        \"u-0\"\n"), "{approve:?}");
    let admitted: Value = serde_json::from_slice(&approve.stdout).expect("JSON alone");
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
