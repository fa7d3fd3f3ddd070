//! Whoever reads what a command prints may go away (`| head -1`) or have no room for it: no command panics or
//! stops half-way, and none passes a part of its answer off as the whole.

use std::path::Path;
use std::process::{Command, Stdio};

use mandate::domain::{Act, Identifier};

use crate::epochs::{epoch_folder, epochs};
use crate::harness::World;

/// `DIR` is a set-up whose gateway runs, `LOGS` its published logs, `NEW` a path where nothing is.
const COMMANDS: &[&str] = &[
    "mandate init NEW",
    "mandate migrate --config DIR/gateway.toml",
    "mandate doctor --config DIR/gateway.toml",
    "mandate doctor --json --config DIR/gateway.toml",
    "mandate backup --config DIR/gateway.toml NEW",
    "mandate certificate issue --dir DIR spiffe://ppio.example/controller/xingyu/other --out NEW",
    "mandate certificate renew-lists --dir DIR",
    "mandate witness init NEW --id w1 --trust-domain ppio.example --pins DIR/pins.toml --gateway-ca DIR/ca/ppio.pem --gateway-crl DIR/ca/ppio.crl",
    "mandate keyset show DIR/keys/xingyu/keyset.json",
    "mandate sign --profile DIR/profiles/xingyu.toml --act preview --app apps/xingyu-live --basis pipl-47 --user u_1",
    "mandate conformance inputs",
    "mandate conformance vectors tests/vectors",
    "mandate registry list --profile DIR/profiles/operator.toml",
    "mandate registry list --json --profile DIR/profiles/operator.toml",
    "mandate trail checkpoint --profile DIR/profiles/auditor.toml",
    "mandate trail checkpoint --profile DIR/profiles/nobody.toml",
    "mandate-verify trail LOGS --progress --pin DIR/pins.toml",
    "mandate-verify trail LOGS --json --pin DIR/pins.toml",
    "mandate-verify receipt DIR/pins.toml --leaf DIR/pins.toml --pin DIR/pins.toml",
    "mandate-verify trail NEW --pin DIR/pins.toml",
];

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A place that takes nothing.
fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full").into()
}

/// What came of a run: its exit code, stdout and stderr as far as they were read.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(line: &str, stdout: Stdio, stderr: Stdio) -> Ran {
    let mut words = line.split(' ');
    let program = match words.next() {
        Some("mandate") => env!("CARGO_BIN_EXE_mandate"),
        _ => env!("CARGO_BIN_EXE_mandate-verify"),
    };
    let child = Command::new(program).args(words).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
    let ended = child.expect("it starts").wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_does_its_work_whoever_reads_what_it_prints() {
    let world = World::without_agent(|_| {}).await;
    let logs = world.export_and_verify_logs().await;
    let mut new = 0;
    let mut fill = |line: &str| {
        new += 1;
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        line.replace("DIR", &path(world.path()))
            .replace("LOGS", &path(&logs))
            .replace("NEW", &path(&world.path().join(format!("new-{new}"))))
    };
    tokio::task::block_in_place(|| {
        for line in COMMANDS {
            let whole = run(&fill(line), Stdio::piped(), Stdio::piped());
            assert!(whole.out.len() + whole.err.len() > 0, "{line} prints nothing");

            let unread = run(&fill(line), closed(), Stdio::piped());
            assert_eq!(unread.code, whole.code, "{line}, unread: {}", unread.err);
            assert!(!unread.err.contains("panicked"), "{line}, unread: {}", unread.err);
            let deaf = run(&fill(line), closed(), closed());
            assert_eq!(deaf.code, whole.code, "{line}, with nobody there at all");

            // The exit code that says "no answer".
            let no_answer = if line.contains("doctor") || line.contains("verify") { 2 } else { 1 };
            let lost = run(&fill(line), full(), Stdio::piped());
            let (code, says_so) =
                if whole.out.is_empty() { (whole.code, false) } else { (Some(no_answer), true) };
            assert_eq!(lost.code, code, "{line}, on a full disk: {}", lost.err);
            assert_eq!(lost.err.contains("is not whole"), says_so, "{line}, on a full disk: {}", lost.err);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_to_the_end_though_nobody_reads_how_far_it_is() {
    let mut world = World::without_agent(|_| {}).await;
    world.gateway.take().expect("it runs").stop();
    let config = world.path().join("gateway.toml").display().to_string();
    let key = |name: &str| std::fs::read(world.path().join("keys/gateway").join(name));
    let old = key("trail.key").expect("the log's key");
    for step in ["epoch", "checkpoint --log trail", "checkpoint --log trail --finish"] {
        let line = format!("mandate key rotate {step} --config {config}");
        let done = tokio::task::block_in_place(|| run(&line, closed(), Stdio::piped()));
        assert_eq!(done.code, Some(0), "{step}: {}", done.err);
    }
    assert!(key("trail.key.next").is_err(), "the last step stopped half-way");
    assert_ne!(key("trail.key").expect("the log's key"), old);
    let left = epochs(&epoch_folder(config.as_ref()));
    assert_eq!(left.len(), 1, "the former epoch is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_log_takes_nothing_goes_on() {
    let log = |dir: &Path| std::os::unix::fs::symlink("/dev/full", dir.join("gateway.log")).expect("a link");
    let mut world = World::without_agent(log).await;
    let xingyu = world.enterprise("xingyu").await;
    let user = vec![Identifier::user(&xingyu.app, "u_8839201")];
    let order = xingyu.order(Act::Preview, user, None).expect("an order");
    xingyu.submit(&xingyu.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    assert!(xingyu.refused("nothing").await.is_ok());
    world.export_and_verify_logs().await;
    world.gateway.take().expect("it runs").stop();
}
