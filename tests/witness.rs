//! Witnesses: real processes that cosign, forget nothing, and refuse a second history.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use mandate::authority::{Pins, head};
use mandate::cli::demo::Enterprise;
use mandate::cli::witness_init;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use mandate::https::{Line, LineError};
use mandate::identity::{ClientTls, ClientTlsConfig};
use mandate::trail::{Checkpoint, Note, Receipt, VerifierKey};

use crate::harness::{Process, World, free_port, within};

/// A world with witnesses of which some must cosign.
pub struct Watched {
    pub world: World,
    pub witnesses: Vec<Option<Process>>,
}

pub fn folder(dir: &Path, n: usize) -> PathBuf {
    dir.join(format!("w{n}"))
}

pub fn edit(file: &Path, change: impl FnOnce(&mut toml::Table)) {
    let text = std::fs::read_to_string(file).expect("read");
    let mut table: toml::Table = toml::from_str(&text).expect("TOML");
    change(&mut table);
    std::fs::write(file, toml::to_string(&table).expect("TOML")).expect("written");
}

/// Makes the n-th witness: its vkey, and what the gateway is told of it.
fn make(dir: &Path, n: usize) -> (String, toml::Value) {
    let init = witness_init::Init {
        dir: folder(dir, n),
        id: format!("w{n}"),
        key_name: None,
        listen: format!("127.0.0.1:{}", free_port()),
        host: "127.0.0.1".into(),
        trust_domain: "ppio.example".into(),
        pins: dir.join("pins.toml"),
        gateway_ca: dir.join("ca/ppio.pem"),
        gateway_crl: dir.join("ca/ppio.crl"),
    };
    let made = witness_init::make(&init, SystemClock.now(), &SystemEntropy).expect("the witness is made");
    let ca = folder(dir, n).join("ca.pem").display().to_string();
    let entry = toml::Table::from_iter([
        ("name".to_owned(), made.name.into()),
        ("url".to_owned(), made.url.into()),
        ("vkey".to_owned(), made.vkey.clone().into()),
        ("ca".to_owned(), ca.into()),
    ]);
    (made.vkey, entry.into())
}

/// Makes the witnesses, tells the gateway and the pins of them, and starts them.
pub fn set_up(dir: &Path, count: usize, required: i64) -> Vec<Option<Process>> {
    let (mut entries, mut vkeys) = (Vec::new(), Vec::new());
    for n in 1..=count {
        let (vkey, entry) = make(dir, n);
        vkeys.push(toml::Value::from(vkey));
        entries.push(entry);
    }
    edit(&dir.join("gateway.toml"), |gateway| {
        gateway.insert("witness".into(), entries.into());
        gateway.insert(
            "witnesses".into(),
            toml::Table::from_iter([
                ("required".to_owned(), required.into()),
                ("refresh_seconds".to_owned(), 2.into()),
                ("certificate".to_owned(), "keys/gateway/calling.pem".into()),
                ("key".to_owned(), "keys/gateway/calling.key".into()),
            ])
            .into(),
        );
    });
    edit(&dir.join("pins.toml"), |pins| {
        let witnesses = toml::Table::from_iter([
            ("required".to_owned(), required.into()),
            ("vkeys".into(), vkeys.into()),
        ]);
        pins.insert("witnesses".into(), witnesses.into());
    });
    (1..=count).map(|n| Some(Process::witness(&folder(dir, n)))).collect()
}

/// The newest head that is shown, which enough witnesses cosigned where any are required.
pub async fn shown(world: &World) -> Checkpoint {
    let call = v1::GetCheckpointRequest { log: v1::Log::Trail.into() };
    let auditor = world.client("auditor").await;
    let note = auditor.audit().get_checkpoint(call).await.expect("a head").into_inner().checkpoint;
    let pins = std::fs::read_to_string(world.path().join("pins.toml")).expect("the pins");
    let pins = Pins::parse(&pins).expect("the pins");
    head::open(&note, &pins.trail, &pins).expect("a head as the pins ask").checkpoint
}

/// Where all witnesses must cosign: the head that the n-th remembers is not behind what is shown as cosigned.
pub async fn check_memory(world: &World, n: usize) {
    let shown = shown(world).await;
    let memory = std::fs::read(folder(world.path(), n).join("memory.json")).expect("the memory");
    let memory: serde_json::Value = serde_json::from_slice(&memory).expect("JSON");
    let logs = memory["logs"].as_object().expect("its logs");
    let (_, trail) = logs.iter().find(|(origin, _)| origin.ends_with("/trail")).expect("the trail");
    let note = Note::parse(trail.as_str().expect("a note")).expect("a note");
    let kept = Checkpoint::parse_body(note.text()).expect("a head");
    assert!(kept.size() >= shown.size(), "it forgot what it cosigned");
}

impl Watched {
    pub async fn new(count: usize, required: i64) -> Self {
        let mut witnesses = Vec::new();
        let world = World::without_agent(|dir| witnesses = set_up(dir, count, required)).await;
        Self { world, witnesses }
    }

    pub fn path(&self) -> &Path {
        self.world.path()
    }

    pub fn kill(&mut self, n: usize) {
        self.witnesses[n - 1].take().expect("it runs").kill();
    }

    pub fn restart(&mut self, n: usize) {
        self.witnesses[n - 1] = Some(Process::witness(&folder(self.path(), n)));
    }

    pub fn witness_log(&self, n: usize) -> String {
        std::fs::read_to_string(folder(self.path(), n).join("witness.log")).unwrap_or_default()
    }

    pub fn gateway_log(&self) -> String {
        self.world.gateway.as_ref().expect("it runs").logged()
    }

    pub fn restart_gateway(&mut self) {
        self.world.gateway = Some(Process::serve(self.path()));
    }
}

pub async fn preview(enterprise: &Enterprise, user: &str) -> v1::Instruction {
    let subject = vec![Identifier::user(&enterprise.app, user)];
    let order = enterprise.order(Act::Preview, subject, None).expect("an order");
    let wire = enterprise.sign(&order).expect("signs").to_wire();
    let answer = enterprise.submit(&wire).await.expect("admitted");
    let receipt = answer.receipt.expect("a receipt");
    assert_eq!(receipt.grade(), v1::ReceiptGrade::Signed, "a reply does not wait for witnesses");
    answer.instruction.expect("shown")
}

pub async fn receipt(enterprise: &Enterprise, instruction: &v1::Instruction) -> v1::Receipt {
    let call = v1::GetReceiptRequest { name: instruction.name.clone() };
    let answer = enterprise.client.instructions().get_receipt(call).await.expect("a receipt");
    answer.into_inner().receipt.expect("a receipt")
}

/// The receipt once enough witnesses have cosigned.
pub async fn witnessed(enterprise: &Enterprise, instruction: &v1::Instruction) -> v1::Receipt {
    within(30, "cosigning", async {
        loop {
            let receipt = receipt(enterprise, instruction).await;
            if receipt.grade() == v1::ReceiptGrade::Witnessed {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
}

/// Waits until a text stands in a log.
pub async fn logged(what: &str, read: impl Fn() -> String) {
    within(30, what, async {
        while !read().contains(what) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

fn state_of(execution: &v1::Execution) -> v1::ExecutionState {
    execution.state()
}

async fn execution(enterprise: &Enterprise, name: &str) -> v1::Execution {
    let call = v1::GetExecutionRequest { name: name.to_owned() };
    let answer = enterprise.client.executions().get_execution(call).await.expect("it is there");
    answer.into_inner().execution.expect("shown")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_enough_witnesses_saw_is_carried_out_and_proven_offline() {
    let mut watched = Watched::new(3, 2).await;
    watched.world.agent = Some(Process::agent(watched.path()));
    let world = &watched.world;
    let xingyu = world.enterprise("xingyu").await;
    let instruction = preview(&xingyu, "u_8839201").await;
    let ended = within(40, "the preview", xingyu.follow(&instruction.executions[0])).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);

    let proof = witnessed(&xingyu, &instruction).await;
    let note = Receipt::parse(&proof.proof).expect("a receipt").checkpoint;
    assert!(note.signatures().len() >= 3, "the log's line and two cosignatures");
    let (file, leaf) = (world.path().join("r.tlog-proof"), world.path().join("r.leaf"));
    std::fs::write(&file, &proof.proof).expect("written");
    std::fs::write(&leaf, &proof.leaf).expect("written");
    let of_receipt = ["receipt", file.to_str().expect("UTF-8"), "--leaf", leaf.to_str().expect("UTF-8")];
    let (code, text) = world.verify(&of_receipt);
    assert_eq!(code, 0, "{text}");
    // The same receipt without its cosignatures is not what the pins ask for.
    let bare = Receipt::parse(&proof.proof).expect("a receipt");
    let log_line = bare.checkpoint.signatures()[0].clone();
    let bare = Receipt::new(bare.index, bare.proof, Note::new(note.text(), log_line).expect("a note"));
    std::fs::write(&file, bare.encode()).expect("written");
    let (code, text) = world.verify(&of_receipt);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("0 of the pinned witnesses cosigned it, 2 must have"), "{text}");

    world.export_and_verify().await;
    let request = v1::GetEvidenceRequest { name: instruction.name.clone(), include_disclosures: false };
    let bundle =
        xingyu.client.instructions().get_evidence(request).await.expect("evidence").into_inner().bundle;
    let evidence = world.path().join("evidence.json");
    std::fs::write(&evidence, &bundle).expect("written");
    let (code, text) = world.verify(&["evidence", evidence.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_is_made_anew_under_its_name_and_the_pinned_two_carry_on() {
    let mut watched = Watched::new(3, 2).await;
    watched.world.agent = Some(Process::agent(watched.path()));
    let xingyu = watched.world.enterprise("xingyu").await;
    watched.kill(3);
    std::fs::rename(folder(watched.path(), 3), watched.path().join("lost")).expect("its memory is gone");
    let (vkey, entry) = make(watched.path(), 3);
    edit(&watched.path().join("gateway.toml"), |gateway| {
        gateway["witness"].as_array_mut().expect("witnesses")[2] = entry;
    });
    watched.restart(3);
    watched.world.gateway.take().expect("it runs").kill();
    watched.restart_gateway();
    let key = VerifierKey::parse(&vkey).expect("its key");

    // Its line stands on the heads, and no pins know its key yet.
    let instruction = preview(&xingyu, "u_8839201").await;
    let ended = within(40, "the preview", xingyu.follow(&instruction.executions[0])).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    let pins = std::fs::read_to_string(watched.path().join("pins.toml")).expect("the pins");
    let pins = Pins::parse(&pins).expect("the pins");
    within(30, "the new witness's cosignature", async {
        let auditor = watched.world.client("auditor").await;
        loop {
            let call = v1::GetCheckpointRequest { log: v1::Log::Trail.into() };
            let answer = auditor.audit().get_checkpoint(call).await.expect("a head");
            let note = answer.into_inner().checkpoint;
            let signed = Note::parse(&note).expect("a note").verified_by(&key).expect("no false line");
            let head = head::open(&note, &pins.trail, &pins).expect("a head as the pins ask");
            if signed.is_some() {
                assert_eq!((head.witnesses, head.other_keys), (2, vec![key.name().to_owned()]));
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    let second = preview(&xingyu, "another").await;
    let ended = within(40, "the preview", xingyu.follow(&second.executions[0])).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    watched.world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_enough_witnesses_nothing_is_carried_out_and_nothing_is_lost() {
    let mut watched = Watched::new(3, 2).await;
    edit(&watched.path().join("agent.toml"), |agent| {
        agent.insert("freshness_seconds".into(), 8.into());
        agent.insert("poll_seconds".into(), 1.into());
    });
    watched.world.agent = Some(Process::agent(watched.path()));
    let xingyu = watched.world.enterprise("xingyu").await;
    let first = preview(&xingyu, "before").await;
    within(40, "the first", xingyu.follow(&first.executions[0])).await.expect("it ends");

    watched.kill(2);
    watched.kill(3);
    let second = preview(&xingyu, "meanwhile").await;
    logged("WITNESSES_MISSING", || watched.gateway_log()).await;
    let agent_log = || watched.world.agent.as_ref().expect("it runs").logged();
    logged("AUTHORITY_STALE", agent_log).await;
    assert_eq!(receipt(&xingyu, &second).await.grade(), v1::ReceiptGrade::Signed);
    let waiting = execution(&xingyu, &second.executions[0]).await;
    assert_eq!(state_of(&waiting), v1::ExecutionState::Pending);
    assert_eq!(waiting.attempt, 0, "waiting for witnesses costs no attempt");

    watched.restart(2);
    let ended = within(60, "what waited", xingyu.follow(&second.executions[0])).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    witnessed(&xingyu, &second).await;
    watched.world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_asks_no_witness_moves_no_agent_that_requires_one() {
    let mut world = World::without_agent(|dir| {
        // Pinned and required at the agent; the gateway's configuration knows of none.
        for process in set_up(dir, 1, 1).into_iter().flatten() {
            process.kill();
        }
        edit(&dir.join("gateway.toml"), |gateway| {
            gateway.remove("witness");
            gateway.remove("witnesses");
        });
    })
    .await;
    world.agent = Some(Process::agent(world.path()));
    let xingyu = world.enterprise("xingyu").await;
    let instruction = preview(&xingyu, "u_8839201").await;
    logged("WITNESSES_MISSING", || world.agent.as_ref().expect("it runs").logged()).await;
    let waiting = execution(&xingyu, &instruction.executions[0]).await;
    assert_eq!((state_of(&waiting), waiting.attempt), (v1::ExecutionState::Pending, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_killed_at_any_moment_goes_on_where_it_was() {
    let mut watched = Watched::new(1, 1).await;
    let xingyu = watched.world.enterprise("xingyu").await;
    let mut largest = 0;
    for round in 0..4 {
        let mut last = None;
        for n in 0..5 {
            last = Some(preview(&xingyu, &format!("killed-{round}-{n}")).await);
        }
        // Now and then in the middle of a round, which is the point.
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        watched.kill(1);
        watched.restart(1);
        let proof = witnessed(&xingyu, &last.expect("some")).await;
        let note = Receipt::parse(&proof.proof).expect("a receipt").checkpoint;
        let size = Checkpoint::parse_body(note.text()).expect("a head").size();
        assert!(size > largest);
        largest = size;
    }
    assert!(!watched.witness_log(1).contains("NOT COSIGNED"), "{}", watched.witness_log(1));
    watched.world.export_and_verify().await;
}

/// Copies the gateway's data, or puts the copy in its place.
fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// `mandate trail checkpoint`, held against an older one: exit code and output.
fn checkpoint(world: &World, continues: Option<&Path>) -> (bool, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mandate"));
    command.args(["trail", "checkpoint", "--profile"]).arg(world.path().join("profiles/auditor.toml"));
    if let Some(older) = continues {
        command.arg("--continues").arg(older);
    }
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_set_back_or_forked_is_refused_by_witness_and_client() {
    let mut watched = Watched::new(1, 1).await;
    let (data, old) = (watched.path().join("data"), watched.path().join("old"));
    let xingyu = watched.world.enterprise("xingyu").await;
    witnessed(&xingyu, &preview(&xingyu, "common").await).await;
    watched.world.gateway.take().expect("it runs").stop();
    copy(&data, &old);

    // The history that was witnessed.
    watched.restart_gateway();
    let xingyu = watched.world.enterprise("xingyu").await;
    for n in 0..3 {
        witnessed(&xingyu, &preview(&xingyu, &format!("true-{n}")).await).await;
    }
    let (good, note) = checkpoint(&watched.world, None);
    assert!(good, "{note}");
    let kept = watched.path().join("older.checkpoint");
    std::fs::write(&kept, &note).expect("written");
    assert!(checkpoint(&watched.world, Some(&kept)).0, "the true log continues itself");
    watched.world.gateway.take().expect("it runs").stop();

    // Set back: shorter than what the witness cosigned.
    copy(&old, &data);
    watched.restart_gateway();
    logged("CHECKPOINT_ROLLED_BACK", || watched.witness_log(1)).await;
    logged("CHECKPOINT_ROLLED_BACK", || watched.gateway_log()).await;
    let (good, text) = checkpoint(&watched.world, Some(&kept));
    assert!(!good && text.contains("TRAIL_FORKED"), "{text}");

    // It grows past it, another way: same keys, other leaves.
    let xingyu = watched.world.enterprise("xingyu").await;
    let mut forged = None;
    for n in 0..8 {
        forged = Some(preview(&xingyu, &format!("false-{n}")).await);
    }
    watched.world.gateway.take().expect("it runs").stop();
    // Started anew it asks at once; a refused witness is else asked seldom.
    watched.restart_gateway();
    logged("CHECKPOINT_FORKED", || watched.witness_log(1)).await;
    logged("CHECKPOINT_FORKED", || watched.gateway_log()).await;
    let xingyu = watched.world.enterprise("xingyu").await;
    assert_eq!(receipt(&xingyu, &forged.expect("some")).await.grade(), v1::ReceiptGrade::Signed);
    let evidence = std::fs::read_dir(folder(watched.path(), 1)).expect("a folder");
    let conflicts =
        evidence.filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().contains("conflict")));
    assert!(conflicts.count() > 0, "the witness kept what it was shown");
    watched.world.gateway.take().expect("it runs").stop();

    // The witness runs on and answers, and what it holds is the true history.
    let line = line(&watched, "keys/gateway/calling", "w1");
    let again = format!("old 0\n\n{note}");
    let reply = line.call(Method::POST, "add-checkpoint", again, 1024).await.expect("it answers");
    assert_eq!(reply.status, StatusCode::CONFLICT);
    let size: u64 = reply.first_line().expect("a size").parse().expect("a number");
    let kept = Checkpoint::parse_body(Note::parse(&note).expect("a note").text()).expect("a head");
    assert!(size >= kept.size(), "it forgot what it cosigned");
}

/// A line to witness 1 with a certificate of the set-up, expecting it to be of that id.
fn line(watched: &Watched, certificate: &str, id: &str) -> Line {
    line_to(watched, 1, certificate, id)
}

/// The same to the n-th witness.
pub fn line_to(watched: &Watched, n: usize, certificate: &str, id: &str) -> Line {
    let dir = watched.path();
    let gateway: toml::Table =
        toml::from_str(&std::fs::read_to_string(dir.join("gateway.toml")).expect("read")).expect("TOML");
    let url = gateway["witness"][n - 1]["url"].as_str().expect("a URL");
    let files = ClientTlsConfig {
        ca: folder(dir, n).join("ca.pem"),
        certificate: dir.join(format!("{certificate}.pem")),
        key: dir.join(format!("{certificate}.key")),
        server_name: None,
    };
    let tls = ClientTls::load(&files, Arc::new(SystemClock)).expect("it loads");
    Line::new(tls, url, Duration::from_secs(10)).expect("a URL").to_witness(id).expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_answers_gateways_alone_and_must_be_the_one_meant() {
    let watched = Watched::new(1, 1).await;
    let ask = async |line: &Line| line.call(Method::POST, "add-checkpoint", "x", 1024).await;
    let reply = ask(&line(&watched, "keys/gateway/calling", "w1")).await.expect("it answers");
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(reply.first_line().expect("a reason").starts_with("CHECKPOINT_MALFORMED"));
    // The same authority, another kind.
    let reply = ask(&line(&watched, "keys/operator/tls", "w1")).await.expect("it answers");
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let reply =
        line(&watched, "keys/gateway/calling", "w1").call(Method::GET, "add-checkpoint", "", 1024).await;
    assert_eq!(reply.expect("it answers").status, StatusCode::METHOD_NOT_ALLOWED);
    // An enterprise's authority is none of the witness's.
    let refused = ask(&line(&watched, "keys/xingyu/tls", "w1")).await;
    assert!(matches!(refused, Err(LineError::Http | LineError::Unreachable(_))), "{refused:?}");
    // Another witness than the one that was meant is not believed.
    let refused = ask(&line(&watched, "keys/gateway/calling", "w2")).await;
    assert!(matches!(refused, Err(LineError::OtherPeer)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_refuses_a_database_set_back() {
    let mut world = World::new().await;
    let (data, old) = (world.path().join("data"), world.path().join("old"));
    let xingyu = world.enterprise("xingyu").await;
    world.gateway.take().expect("it runs").stop();
    copy(&data, &old);
    world.gateway = Some(Process::serve(world.path()));
    drop(xingyu);
    let xingyu = world.enterprise("xingyu").await;
    for n in 0..3 {
        let instruction = preview(&xingyu, &format!("true-{n}")).await;
        let ended = within(60, "it", xingyu.follow(&instruction.executions[0])).await.expect("it ends");
        assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    }
    let seen = world.trail_leaves().await.len();
    world.gateway.take().expect("it runs").stop();
    copy(&old, &data);
    world.gateway = Some(Process::serve(world.path()));
    let xingyu = world.enterprise("xingyu").await;
    let instruction = preview(&xingyu, "false").await;
    let ended = within(60, "it", xingyu.follow(&instruction.executions[0])).await.expect("it ends");
    assert_ne!(ended.state(), v1::ExecutionState::Completed);
    assert_eq!(ended.reason, "TRAIL_FORKED");

    // It grows past what the agent saw, another way and under the same keys: longer, and no continuation.
    world.agent.take().expect("it runs").stop();
    let mut forged = None;
    while world.trail_leaves().await.len() <= seen {
        forged = Some(preview(&xingyu, "longer").await);
    }
    world.agent = Some(Process::agent(world.path()));
    let forged = forged.expect("some");
    let ended = within(60, "it", xingyu.follow(&forged.executions[0])).await.expect("it ends");
    assert_ne!(ended.state(), v1::ExecutionState::Completed);
    assert_eq!(ended.reason, "TRAIL_FORKED");
}
