//! After shredding: with all files, an older copy of the database and the keys that then still
//! exist, nothing of the person can be found; the trail and old evidence still verify.

use std::path::Path;

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

use crate::agent_files::{Loot, copy_agent, keyring_opens, left, loot, turn_epoch};
use crate::agent_shredding::{BusyStore, await_deferral};
use crate::harness::{Process, World, within};

const USER: &str = "u_8839201";
const TENANT: &str = "sdk-1001-xingyu";

/// Every file below a folder that contains the bytes.
fn holding(folder: &std::path::Path, needle: &[u8], skip: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if skip.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            out.extend(holding(&path, needle, skip));
        } else if std::fs::read(&path).expect("read").windows(needle.len()).any(|w| w == needle) {
            out.push(path.display().to_string());
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shredded_is_gone_and_every_proof_still_holds() {
    let mut world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let support = world.client("support").await;
    let mail = include_bytes!("../examples/mail/01-delete-enterprise-app.eml");
    let submit = v1::SubmitMailRequest {
        mail: mail.to_vec().into(),
        received_time: None,
        request_id: "0b2f7a58-3a3c-4a86-9c5c-2f1f5a0e9d11".into(),
    };
    support.intake().submit_mail(submit).await.expect("taken in");
    let request = xingyu.take_requests().await.expect("delivered").pop().expect("one request");
    let req = mandate::domain::RequestId::from_resource_name(&request.name).expect("a name");
    let who = Identifier::user(&xingyu.app, USER);
    let order = xingyu.order(Act::Erase, vec![who.clone()], Some(req)).expect("an order");
    let store = BusyStore::hold(&world).await;
    let wire = xingyu.sign(&order).expect("signs").to_wire();
    let instruction = xingyu.submit(&wire).await.expect("admitted").instruction.expect("shown");
    let (name, execution) = (instruction.name, &instruction.executions[0]);

    // The agent's files are copied while the act is open: begun, and held up by its store.
    await_deferral(&xingyu, execution).await;
    let open_act = copy_agent(world.path(), "agent-while-open");
    let home = world.path().to_owned();
    let loot = async |ledger: &Path, keys: &Path| loot(&home, ledger, keys, "rtc", TENANT, &who).await;
    let got = loot(&open_act, &open_act).await;
    assert!(got.opened > 1 && got.matched == 1, "with the keys of that time all is there: {got:?}");
    store.release().await;
    let ended = xingyu.follow(execution).await.expect("carried out");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    let evidence_request = v1::GetEvidenceRequest { name: name.clone(), include_disclosures: false };
    let old_evidence = xingyu
        .client
        .instructions()
        .get_evidence(evidence_request)
        .await
        .expect("evidence")
        .into_inner()
        .bundle;
    let outcome = v1::RecordOutcomeRequest {
        name: request.name.clone(),
        outcomes: vec![v1::RightOutcome {
            right: "delete".into(),
            kind: v1::OutcomeKind::Answered.into(),
            ..Default::default()
        }],
        request_id: String::new(),
    };
    xingyu.client.requests().record_outcome(outcome).await.expect("recorded");

    // An older copy of the database, taken before the shredding.
    let copy = world.path().join("older-copy");
    std::fs::create_dir(&copy).expect("a folder");
    for file in ["gateway.sqlite", "gateway.sqlite-wal"] {
        let from = world.path().join("data").join(file);
        if from.exists() {
            std::fs::copy(from, copy.join(file)).expect("copied");
        }
    }

    // Nor can the agent's: the act's keys ended with it, and copies of the keyring end with their epoch.
    world.agent.take().expect("it runs").stop();
    assert_eq!(left(world.path()).await, (0, 0, 0));
    let live = world.path().join("agent");
    for ledger in [&open_act, &live] {
        assert_eq!(loot(ledger, &live).await, Loot::default(), "with the keys that are left");
    }
    assert!(keyring_opens(world.path(), &open_act).await, "before its epoch ended");
    turn_epoch(world.path()).await;
    assert!(!keyring_opens(world.path(), &open_act).await, "an older keyring still opens");
    world.agent = Some(Process::agent(world.path()));

    // No retention from here on: the gateway shreds at its next round.
    world.gateway.take().expect("it runs").stop();
    let config = world.path().join("gateway.toml");
    let mut text = std::fs::read_to_string(&config).expect("the configuration");
    let mut document: toml::Table = text.parse().expect("TOML");
    document.insert("housekeeping_seconds".into(), 1.into());
    let retention: toml::Table = ["request", "message", "instruction", "refusal"]
        .into_iter()
        .map(|name| (name.to_owned(), toml::Value::Integer(-5)))
        .collect();
    document.insert("retention".into(), toml::Value::Table(retention));
    text = toml::to_string(&document).expect("TOML");
    std::fs::write(&config, text).expect("written");
    world.gateway = Some(Process::serve(world.path()));
    within(30, "shredding", async {
        loop {
            let xingyu = world.enterprise("xingyu").await;
            let ask = v1::GetRequestRequest { name: request.name.clone() };
            let shown = xingyu.client.requests().get_request(ask).await.expect("the case stays").into_inner();
            let evidence = v1::GetEvidenceRequest { name: name.clone(), include_disclosures: true };
            let disclosed = xingyu.client.instructions().get_evidence(evidence).await;
            if shown.request.expect("shown").identifiers.is_empty() && disclosed.is_err() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    })
    .await;

    // The copy opens with no key that still exists: put it in the live database's place.
    world.gateway.take().expect("it runs").stop();
    let live = world.path().join("live-copy");
    std::fs::create_dir(&live).expect("a folder");
    const FILES: [&str; 3] = ["gateway.sqlite", "gateway.sqlite-wal", "gateway.sqlite-shm"];
    for file in FILES {
        let _ = std::fs::rename(world.path().join("data").join(file), live.join(file));
    }
    for file in ["gateway.sqlite", "gateway.sqlite-wal"] {
        if copy.join(file).exists() {
            std::fs::copy(copy.join(file), world.path().join("data").join(file)).expect("copied");
        }
    }
    let older = crate::older_database::serve_older(&world).await;
    let again = world.enterprise("xingyu").await;
    let ask = v1::GetRequestRequest { name: request.name.clone() };
    let shown = again.client.requests().get_request(ask).await.expect("the row is in the copy").into_inner();
    assert!(shown.request.expect("shown").identifiers.is_empty(), "the older copy still opened");
    older.stop();
    for file in ["gateway.sqlite", "gateway.sqlite-wal", "gateway.sqlite-shm"] {
        let _ = std::fs::remove_file(world.path().join("data").join(file));
    }
    std::fs::rename(live.join("gateway.sqlite"), world.path().join("data/gateway.sqlite"))
        .expect("moved back");

    // Nowhere in any file: identifier, address, a disclosure, or words of the mail. The stores and keys of
    // the enterprises themselves are not the gateway's.
    let disclosure = wire.split('~').nth(1).expect("a disclosure").to_owned();
    let words = "现要求删除你们通过该App获得的我的全部个人信息";
    for needle in [USER, "wang.xiaoyu@mailbox.example", disclosure.as_str(), words] {
        let found = holding(world.path(), needle.as_bytes(), &["store", "keys", "profiles", "registry.toml"]);
        assert!(found.is_empty(), "found in {found:?}");
    }

    world.gateway = Some(Process::serve(world.path()));
    world.export_and_verify().await;
    let file = world.path().join("old-evidence.json");
    std::fs::write(&file, &old_evidence).expect("written");
    let (code, text) = world.verify(&["evidence", file.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "old evidence no longer verifies: {text}");
}
