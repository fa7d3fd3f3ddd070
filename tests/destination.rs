//! Where data may go: to a third party of the person's choice or out of the mainland only on record (R11, R22),
//! and nothing of the gateway's or a store's lies abroad by itself.

use std::path::Path;

use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, Basis, Identifier, Region, RequestId};
use mandate::grpc::v1;
use mandate::token::{Digest, InstructionDraft, Private};

use crate::harness::{Process, World, configure, within};
use crate::key_sets::refusal;
use crate::taken_over_gateway::refused;

const USER: &str = "u_8839201";

fn export(of: &Enterprise, request: Option<RequestId>) -> InstructionDraft {
    of.order(Act::Export, vec![Identifier::user(&of.app, USER)], request).expect("an order")
}

/// To a third party, on consent that is on record.
fn transfer(of: &Enterprise, request: Option<RequestId>) -> InstructionDraft {
    let mut draft = export(of, request);
    draft.private = Private::Export { account: "acc-1".into() };
    draft.basis = Basis::Pipl13Consent;
    on_record(&mut draft);
    draft
}

fn on_record(draft: &mut InstructionDraft) {
    draft.export.as_mut().expect("an export").evidence = Some(Digest::of("the record of a consent"));
}

fn abroad(of: &Enterprise) -> InstructionDraft {
    let mut draft = export(of, None);
    draft.export.as_mut().expect("an export").region = Region::Sg;
    draft
}

async fn case(of: &Enterprise, right: &str) -> v1::Request {
    let call = v1::CreateRequestRequest {
        app: of.app.resource_name(),
        rights: vec![right.into()],
        request_id: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
        ..Default::default()
    };
    of.client.requests().create_request(call).await.expect("opened").into_inner().request.expect("shown")
}

async fn why(of: &Enterprise, draft: &InstructionDraft) -> Option<String> {
    refusal(of, &of.sign(draft).expect("signs").to_wire()).await
}

/// The gateway's registry lets xingyu's exports go to sg; the agent's own configuration does not.
fn wider_at_the_gateway(dir: &Path) {
    let path = dir.join("registry.toml");
    let mut table: toml::Table = std::fs::read_to_string(&path).expect("there").parse().expect("TOML");
    let agreements = table["agreement"].as_array_mut().expect("agreements");
    let of_xingyu = agreements.iter_mut().find(|one| one["controller"].as_str() == Some("xingyu"));
    of_xingyu.expect("xingyu's")["regions"] = vec!["cn", "sg"].into();
    std::fs::write(&path, toml::to_string(&table).expect("TOML")).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_needs_its_target_a_fitting_basis_and_a_recorded_consent() {
    let mut world = World::without_agent(|_| {}).await;
    let xingyu = world.enterprise("xingyu").await;
    let asked = case(&xingyu, "transfer").await;
    let request = RequestId::from_resource_name(&asked.name).expect("a name");

    let untold = export(&xingyu, Some(request));
    assert_eq!(why(&xingyu, &untold).await.as_deref(), Some("TRANSFER_TARGET_MISSING"));
    let mut access = transfer(&xingyu, Some(request));
    access.basis = Basis::Pipl45;
    assert_eq!(why(&xingyu, &access).await.as_deref(), Some("BASIS_NOT_FITTING"));
    let mut unrecorded = transfer(&xingyu, Some(request));
    unrecorded.export.as_mut().expect("an export").evidence = None;
    assert_eq!(why(&xingyu, &unrecorded).await.as_deref(), Some("EVIDENCE_MISSING"));
    // Who asked for a copy did not ask that somebody else gets it.
    let copy = RequestId::from_resource_name(&case(&xingyu, "copy").await.name).expect("a name");
    assert_eq!(why(&xingyu, &transfer(&xingyu, Some(copy))).await.as_deref(), Some("ACT_DOES_NOT_SERVE"));

    world.agent = Some(Process::agent(world.path()));
    let (answer, done, _) = xingyu.carry_out(&transfer(&xingyu, Some(request))).await.expect("followed");
    assert_eq!(done[0].state(), v1::ExecutionState::Completed, "{}", done[0].reason);
    let call = v1::GetRequestRequest { name: asked.name };
    let answered = xingyu.client.requests().get_request(call).await.expect("shown").into_inner();
    let rights = answered.request.expect("a case").rights;
    assert_eq!(rights[0].stage(), v1::RightStage::Executed, "{rights:?}");

    // The record's digest is in the trail for good; whom it goes to is not.
    let leaves = world.trail_leaves().await;
    let name = answer.instruction.expect("shown").name;
    let admitted = leaves.iter().find(|l| l.contains("mandate.instruction.admitted") && l.contains(&name));
    let admitted: serde_json::Value = serde_json::from_str(admitted.expect("a leaf")).expect("JSON");
    let payload =
        admitted["data"]["signed_part"].as_str().expect("compact").split('.').nth(1).expect("three");
    let payload = mandate::token::base64url::decode(payload).expect("base64url");
    let payload = String::from_utf8(payload).expect("UTF-8");
    assert!(payload.contains(&Digest::of("the record of a consent").to_string()), "{payload}");
    assert!(!leaves.iter().any(|leaf| leaf.contains("acc-1")));
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_abroad_needs_the_agreement_a_record_and_the_agents_own_word() {
    let mut world = World::without_agent(wider_at_the_gateway).await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    let mut elsewhere = abroad(&leting);
    on_record(&mut elsewhere);
    assert_eq!(why(&leting, &elsewhere).await.as_deref(), Some("REGION_NOT_ALLOWED"));
    assert_eq!(why(&xingyu, &abroad(&xingyu)).await.as_deref(), Some("EVIDENCE_MISSING"));

    // The gateway lets it pass, the agent goes by its own configuration.
    world.agent = Some(Process::agent(world.path()));
    let mut on_file = abroad(&xingyu);
    on_record(&mut on_file);
    let (_, done, _) = xingyu.carry_out(&on_file).await.expect("followed");
    refused(&world, "abroad", &done[0], "REGION_NOT_ALLOWED");

    world.agent.take().expect("it runs").stop();
    let path = world.path().join("agent.toml");
    let text = std::fs::read_to_string(&path).expect("there");
    std::fs::write(&path, text.replace("regions = [\"cn\"]", "regions = [\"cn\", \"sg\"]")).expect("written");
    world.agent = Some(Process::agent(world.path()));
    let mut again = abroad(&xingyu);
    on_record(&mut again);
    let (_, done, _) = xingyu.carry_out(&again).await.expect("followed");
    assert_eq!(done[0].state(), v1::ExecutionState::Completed, "{}", done[0].reason);
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_abroad_does_not_start() {
    let mut world = World::without_agent(|_| {}).await;
    // A store whose overlay says that it lies elsewhere: the agent does not serve it.
    let overlay = world.path().join("store/rtc.mandate.toml");
    let text = std::fs::read_to_string(&overlay).expect("there");
    let moved = text.replace("region = \"cn\"", "region = \"us\"");
    assert_ne!(moved, text);
    std::fs::write(&overlay, moved).expect("written");
    // An agent is ready before it looks at its stores: what counts is how it ends.
    let said = match Process::try_with("agent", world.path(), "agent", Vec::new()) {
        Err(log) => log,
        Ok(mut agent) => {
            assert!(!agent.ended(20, "the agent's end").await.success());
            agent.logged()
        }
    };
    assert!(said.contains("REGION_NOT_ALLOWED"), "{said}");
    // Nor does the operator register one over whose stores an agreement lets no data go there.
    let operator = world.client("operator").await;
    let agent = v1::Agent {
        stores: vec!["stores/rtc-2".into()],
        region: "us".into(),
        report_key: crate::key_sets::new_key().public().canonical(),
        ..Default::default()
    };
    let call = |agent: &v1::Agent, id: &str| v1::CreateAgentRequest {
        agent_id: id.into(),
        agent: Some(agent.clone()),
        request_id: String::new(),
        tls_keys: Vec::new(),
    };
    operator.registry().create_agent(call(&agent, "far")).await.expect("no agreement is over that store");
    let mut agreement = operator
        .registry()
        .list_agreements(v1::ListAgreementsRequest { page_size: 1, page_token: String::new() })
        .await
        .expect("listed")
        .into_inner()
        .agreements
        .remove(0);
    agreement.name.clear();
    agreement.stores.push("stores/rtc-2".into());
    let over = v1::CreateAgreementRequest {
        agreement_id: "far".into(),
        agreement: Some(agreement),
        request_id: String::new(),
    };
    let status = operator.registry().create_agreement(over).await.expect_err("it lies abroad");
    assert_eq!(crate::harness::reason(&status), "REGION_NOT_ALLOWED");

    world.gateway.take().expect("it runs").stop();
    configure(world.path(), |gateway| gateway["residency"]["database"] = "us".into());
    let said =
        Process::try_with("serve", world.path(), "gateway", Vec::new()).err().expect("it does not start");
    assert!(said.contains("residency.database is us"), "{said}");
    configure(world.path(), |gateway| gateway["residency"]["database"] = "cn".into());
    world.gateway = Some(Process::serve(world.path()));
    within(20, "the trail", world.export_and_verify()).await;
}
