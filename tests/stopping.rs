//! An order is stopped (DESIGN §6): its controller revokes it, while the key set's policy holds it back or later, or the
//! processor contests it. Nothing more of it is carried out, whoever asks is told, and only a new one resumes.

use std::path::Path;

use mandate::cli::demo::{Enterprise, reason_of};
use mandate::cli::sample_store::survey;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, Identifier, InstructionId, RequestId};
use mandate::grpc::v1;
use mandate::token::{InstructionDraft, Policy, PrivateKey, SetRole, Tier};

use crate::harness::{Process, World, configure, within};
use crate::key_sets::{key_of, named, next, refusal, rotate};
use crate::witness::Watched;

const USER: &str = "u_8839201";

/// `xingyu` under a key set with this policy, whose signers may revoke, too.
pub async fn xingyu(world: &World, policy: &Policy) -> (Enterprise, PrivateKey) {
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one] = ["root", "instruction"].map(|name| key_of(world.path(), "xingyu", name));
    let mut set = next(&xingyu, &root, &[(&one, "privacy-office-1")]);
    set.roles.push((SetRole::Act(Act::Revoke), vec![one.id()], 1));
    let set = set.sign_with(policy, &[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);
    (xingyu, one)
}

pub fn erasure(of: &Enterprise, user: &str) -> InstructionDraft {
    of.order(Act::Erase, vec![Identifier::user(&of.app, user)], None).expect("an order")
}

/// Takes back another order.
pub fn revocation(of: &Enterprise, target: InstructionId) -> InstructionDraft {
    let order = of.order(Act::Revoke, Vec::new(), None).expect("an order");
    InstructionDraft { target: Some(target), ..order }
}

fn signed(draft: &InstructionDraft, key: &PrivateKey) -> String {
    draft.sign(&[key], &SystemEntropy).expect("signs").to_wire()
}

async fn submit(of: &Enterprise, draft: &InstructionDraft, key: &PrivateKey) -> v1::Instruction {
    of.submit(&signed(draft, key)).await.expect("taken").instruction.expect("shown")
}

async fn shown(of: &Enterprise, name: &str) -> v1::Instruction {
    let call = v1::GetInstructionRequest { name: name.to_owned() };
    let answer = of.client.instructions().get_instruction(call).await.expect("it is the caller's");
    answer.into_inner().instruction.expect("shown")
}

async fn ended(of: &Enterprise, execution: &str) -> (v1::ExecutionState, String) {
    let ended = within(60, "the end of an order", of.follow(execution)).await.expect("it is followed");
    (ended.state(), ended.reason)
}

pub async fn contest(world: &World, name: &str, ground: &str) -> Result<u64, String> {
    let call = v1::ContestInstructionRequest {
        controller: "controllers/xingyu".into(),
        name: name.to_owned(),
        ground: ground.to_owned(),
    };
    match world.client("operator").await.instructions().contest_instruction(call).await {
        Ok(answer) => Ok(answer.into_inner().receipt.expect("a receipt").index),
        Err(status) => Err(reason_of(&status).expect("a reason")),
    }
}

async fn rows(dir: &Path) -> Vec<(mandate::cli::sample_store::Place, (u64, [u8; 32]))> {
    survey(&dir.join("store/rtc.sqlite")).await.expect("counted").into_iter().collect()
}

const FAILED: v1::ExecutionState = v1::ExecutionState::Failed;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_held_back_is_revoked_before_any_row_is_touched() {
    let mut world = World::new().await;
    let (xingyu, one) = xingyu(&world, &Policy { hold: 3600, ..Policy::default() }).await;
    let before = rows(world.path()).await;
    let order = erasure(&xingyu, USER);
    let held = submit(&xingyu, &order, &one).await;
    assert_eq!(held.state(), v1::InstructionState::Held);
    let until = held.hold_until_time.expect("it is held").seconds;
    assert!((until - held.admit_time.expect("admitted").seconds - 3600).abs() <= 1);

    // What cannot be revoked: another's, one of another app, what never was, without the role.
    let nobodys = revocation(&xingyu, erasure(&xingyu, USER).jti);
    assert_eq!(refusal(&xingyu, &signed(&nobodys, &one)).await.as_deref(), Some("TARGET_UNKNOWN"));
    let mut leting = world.enterprise("leting").await;
    let theirs = revocation(&leting, order.jti);
    assert_eq!(refusal(&leting, &signed(&theirs, &leting.key)).await.as_deref(), Some("TARGET_UNKNOWN"));
    let root = key_of(world.path(), "leting", "root");
    let set = next(&leting, &root, &[(&leting.key, "privacy-office-1")]).sign(&[&root]).expect("signs");
    rotate(&leting, &set).await.expect("it is in force");
    leting.key_set = named(&set);
    let theirs = revocation(&leting, order.jti);
    assert_eq!(refusal(&leting, &signed(&theirs, &leting.key)).await.as_deref(), Some("SIGNER_ROLE"));

    let revocation_of = revocation(&xingyu, order.jti);
    let revoking = submit(&xingyu, &revocation_of, &one).await;
    assert_eq!(revoking.state(), v1::InstructionState::Done);
    assert!(revoking.executions.is_empty());
    assert_eq!(shown(&xingyu, &held.name).await.state(), v1::InstructionState::Revoked);
    assert_eq!(ended(&xingyu, &held.executions[0]).await, (FAILED, "INSTRUCTION_REVOKED".into()));
    let twice = revocation(&xingyu, order.jti);
    assert_eq!(refusal(&xingyu, &signed(&twice, &one)).await.as_deref(), Some("STAGE_CONFLICT"));
    // The very same revocation again gets the first answer.
    assert_eq!(submit(&xingyu, &revocation_of, &one).await.trail_index, revoking.trail_index);
    world.export_and_verify().await;
    world.agent.take().expect("it runs").stop();
    assert!(before == rows(world.path()).await, "a row was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_over_lets_the_order_go() {
    let world = World::new().await;
    let (xingyu, one) = xingyu(&world, &Policy { hold: 3, ..Policy::default() }).await;
    let held = submit(&xingyu, &erasure(&xingyu, USER), &one).await;
    assert_eq!(held.state(), v1::InstructionState::Held);
    assert_eq!(ended(&xingyu, &held.executions[0]).await, (v1::ExecutionState::Completed, String::new()));
    assert_eq!(shown(&xingyu, &held.name).await.state(), v1::InstructionState::Done);
    // One that would end while it is held is not taken.
    let mut short = erasure(&xingyu, USER);
    short.exp = short.iat + 3;
    assert_eq!(refusal(&xingyu, &signed(&short, &one)).await.as_deref(), Some("INSTRUCTION_LIFETIME"));
    // `mandate-verify` asks that no lease came before the hold was over.
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_asks_for_the_preview_that_its_signers_saw() {
    let world = World::without_agent(|_| {}).await;
    let preview = Policy { preview: [Act::Erase].into(), ..Policy::default() };
    let (of, one) = xingyu(&world, &preview).await;
    assert_eq!(refusal(&of, &signed(&erasure(&of, USER), &one)).await.as_deref(), Some("PREVIEW_REQUIRED"));
    let look = of.order(Act::Preview, vec![Identifier::user(&of.app, USER)], None).expect("an order");
    assert_eq!(submit(&of, &look, &one).await.state(), v1::InstructionState::Admitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_asks_for_two_witnesses_is_met_by_two_and_by_no_fewer() {
    let policy = Policy { witnesses: 2, ..Policy::default() };
    let one_only = Watched::new(1, 1).await;
    let (of, one) = xingyu(&one_only.world, &policy).await;
    assert_eq!(refusal(&of, &signed(&erasure(&of, USER), &one)).await.as_deref(), Some("WITNESSES_MISSING"));
    drop(one_only);

    let mut watched = Watched::new(2, 2).await;
    watched.world.agent = Some(Process::agent(watched.path()));
    let (of, one) = xingyu(&watched.world, &policy).await;
    let order = submit(&of, &erasure(&of, USER), &one).await;
    assert_eq!(ended(&of, &order.executions[0]).await, (v1::ExecutionState::Completed, String::new()));
    watched.world.export_and_verify().await;
}

/// A case of the enterprise's own, in which somebody wants data deleted.
async fn case(of: &Enterprise, guardian: bool) -> RequestId {
    let call = v1::CreateRequestRequest {
        app: of.app.resource_name(),
        rights: vec!["delete".into()],
        guardian,
        request_id: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
        ..Default::default()
    };
    let opened = of.client.requests().create_request(call).await.expect("it is opened").into_inner();
    RequestId::from_resource_name(&opened.request.expect("shown").name).expect("a case's name")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_case_out_needs_as_many_signers_as_for_a_minor() {
    let mut world = World::without_agent(|_| {}).await;
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one, two] =
        ["root", "instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
    let set = next(&xingyu, &root, &[(&one, "privacy-office-1"), (&two, "privacy-office-2")]);
    let tiers = [(Tier::Minor, [(Act::Erase, 2)].into())].into();
    let set = set.sign_with(&Policy { tiers, ..Policy::default() }, &[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);

    use v1::InstructionState::{Admitted, Waiting};
    let answering = |req, user| InstructionDraft { req, ..erasure(&xingyu, user) };
    let (of_an_adult, of_a_minor) = (case(&xingyu, false).await, case(&xingyu, true).await);
    for (req, state) in [(Some(of_an_adult), Admitted), (Some(of_a_minor), Waiting), (None, Waiting)] {
        let shown = submit(&xingyu, &answering(req, "u_8800001"), &one).await;
        assert_eq!(shown.state(), state, "case: {req:?}");
    }
    // Signed by two it is carried out: the agent counts, too.
    world.agent = Some(Process::agent(world.path()));
    let order = answering(None, USER).sign(&[&one, &two], &SystemEntropy).expect("signs");
    let order = xingyu.submit(&order.to_wire()).await.expect("taken").instruction.expect("shown");
    assert_eq!(ended(&xingyu, &order.executions[0]).await, (v1::ExecutionState::Completed, String::new()));
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contested_order_goes_no_further_and_a_new_one_resumes() {
    let mut world = World::without_agent(|_| {}).await;
    let (xingyu, one) = xingyu(&world, &Policy::default()).await;
    let order = submit(&xingyu, &erasure(&xingyu, USER), &one).await;
    assert_eq!(contest(&world, &order.name, "because").await, Err("FIELD_INVALID".into()));
    let unknown = erasure(&xingyu, USER).jti.resource_name();
    assert_eq!(contest(&world, &unknown, "unlawful").await, Err("NOT_FOUND".into()));
    // A controller does not contest.
    let call = v1::ContestInstructionRequest {
        controller: "controllers/xingyu".into(),
        name: order.name.clone(),
        ground: "unlawful".into(),
    };
    let denied =
        xingyu.client.instructions().contest_instruction(call).await.expect_err("not a controller's");
    assert_eq!(reason_of(&denied).expect("a reason"), "KIND_NOT_ALLOWED");

    let leaf = contest(&world, &order.name, "unlawful").await.expect("contested");
    assert_eq!(contest(&world, &order.name, "unlawful").await, Ok(leaf), "the same gets the first answer");
    let other = contest(&world, &order.name, "key_compromised").await;
    assert_eq!(other, Err("STAGE_CONFLICT".into()), "one ground is on record, and stays it");
    let told = shown(&xingyu, &order.name).await;
    assert_eq!((told.state(), &*told.contest_ground), (v1::InstructionState::Contested, "unlawful"));
    assert_eq!(ended(&xingyu, &order.executions[0]).await, (FAILED, "INSTRUCTION_CONTESTED".into()));
    world.agent = Some(Process::agent(world.path()));
    let anew = submit(&xingyu, &erasure(&xingyu, USER), &one).await;
    assert_eq!(ended(&xingyu, &anew.executions[0]).await, (v1::ExecutionState::Completed, String::new()));
    assert_eq!(contest(&world, &anew.name, "unlawful").await, Err("STAGE_CONFLICT".into()), "it is done");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_when_it_was_contested_stops_there_and_is_told() {
    let mut world = World::without_agent(|dir| {
        configure(dir, |gateway| {
            let limits = gateway["limits"].as_table_mut().expect("a table");
            limits.insert("lease_seconds".into(), 8.into());
        });
    })
    .await;
    let (xingyu, one) = xingyu(&world, &Policy::default()).await;
    let order = submit(&xingyu, &erasure(&xingyu, USER), &one).await;
    // The agent dies in the middle: rows are gone, and more are to go.
    let fault = vec![("MANDATE_FAULT", "agent.deleted".to_owned())];
    let mut dying = Process::with("agent", world.path(), "agent", fault);
    dying.ended(60, "the agent's end").await;
    contest(&world, &order.name, "unlawful").await.expect("contested");
    let told = shown(&xingyu, &order.name).await;
    assert_eq!(told.state(), v1::InstructionState::Contested);
    let left = rows(world.path()).await;
    world.agent = Some(Process::agent(world.path()));
    assert_eq!(ended(&xingyu, &order.executions[0]).await, (FAILED, "INSTRUCTION_CONTESTED".into()));
    assert!(left == rows(world.path()).await, "it went on");
    assert_eq!(shown(&xingyu, &order.name).await.state(), v1::InstructionState::Contested);
    world.export_and_verify().await;
}
