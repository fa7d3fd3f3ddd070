//! A backend that lost the reply to its first call asks again after its keys were rotated, at whichever gateway: the
//! same payload gets the first answer, for ever (DESIGN §6, decision 0025), and by a key that has left nothing new is taken.

use mandate::cli::demo::{Enterprise, reason_of};
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock};
use mandate::grpc::v1::{self, InstructionState, instruction_outcome::Outcome};
use mandate::token::{
    Detached, Envelope, InstructionDraft, OpenInstruction, PrivateKey, Says, SetRole, SignedInstruction,
};
use rstest::rstest;

use crate::harness::{Process, World, replica_name};
use crate::key_sets::{key_of, named, new_key, next, refusal, rotate};
use crate::load::On;
use crate::stopping::{erasure, revocation};

fn sign(draft: &InstructionDraft, keys: &[&PrivateKey]) -> SignedInstruction {
    draft.sign(keys, &SystemEntropy).expect("signs")
}

/// One payload, signed by each of these alone.
fn signed_apart(draft: &InstructionDraft, keys: [&PrivateKey; 2]) -> [String; 2] {
    let open = OpenInstruction::of_draft(draft, &SystemEntropy).expect("sealed");
    keys.map(|key| {
        let mut open = open.clone();
        let to_sign = open.to_sign(key.public().clone()).expect("bytes to sign");
        let signature = key.sign(to_sign.bytes()).expect("signs");
        open.add(to_sign.signed(&signature).expect("a signature")).expect("added");
        open.finish().expect("signed").to_wire()
    })
}

/// Name, state, place in the trail, orders, and where the receipt leads.
type Answer = (String, InstructionState, u64, Vec<String>, u64);

fn told(instruction: Option<v1::Instruction>, receipt: Option<v1::Receipt>) -> Answer {
    let shown = instruction.expect("shown");
    let receipt = receipt.expect("a receipt").index;
    (shown.name.clone(), shown.state(), shown.trail_index, shown.executions, receipt)
}

async fn submit(of: &Enterprise, wire: &str) -> Answer {
    let done = of.submit(wire).await.expect("taken");
    told(done.instruction, done.receipt)
}

async fn approve(
    of: &Enterprise,
    name: &str,
    given: &Detached,
    disclosures: &[String],
) -> Result<Answer, String> {
    let call = v1::ApproveInstructionRequest {
        name: name.to_owned(),
        protected: given.protected().to_owned(),
        signature: given.signature().to_owned(),
        disclosures: disclosures.to_vec(),
    };
    match of.client.instructions().approve_instruction(call).await {
        Ok(answer) => {
            let v1::ApproveInstructionResponse { instruction, receipt } = answer.into_inner();
            Ok(told(instruction, receipt))
        }
        Err(status) => Err(reason_of(&status).expect("a reason")),
    }
}

async fn withdraw(of: &Enterprise, name: &str, given: &Detached) -> Result<v1::Instruction, String> {
    let call = v1::WithdrawApprovalRequest {
        name: name.to_owned(),
        protected: given.protected().to_owned(),
        signature: given.signature().to_owned(),
    };
    match of.client.instructions().withdraw_approval(call).await {
        Ok(answer) => Ok(answer.into_inner().instruction.expect("shown")),
        Err(status) => Err(reason_of(&status).expect("a reason")),
    }
}

async fn batch(of: &Enterprise, wires: &[&str]) -> Vec<Result<Answer, String>> {
    let requests = wires
        .iter()
        .map(|wire| v1::SubmitInstructionRequest { instruction: wire.as_bytes().to_vec().into() });
    let call = v1::BatchSubmitInstructionsRequest { requests: requests.collect() };
    let answer = of.client.instructions().batch_submit_instructions(call).await.expect("answered");
    let outcomes = answer.into_inner().outcomes.into_iter();
    outcomes
        .map(|outcome| match outcome.outcome.expect("an outcome") {
            Outcome::Admitted(done) => Ok(told(done.instruction, done.receipt)),
            Outcome::Refused(refusal) => Err(refusal.reason),
        })
        .collect()
}

/// `xingyu` under a set in which two sign an erasure and one revokes.
async fn xingyu_of_two(world: &World, one: &PrivateKey, two: &PrivateKey) -> Enterprise {
    let mut xingyu = world.enterprise("xingyu").await;
    let root = key_of(world.path(), "xingyu", "root");
    let mut set = next(&xingyu, &root, &[(one, "privacy-office-1"), (two, "privacy-office-2")]);
    set.roles.push((SetRole::Act(Act::Revoke), vec![one.id()], 1));
    set.roles.iter_mut().filter(|(role, _, _)| *role == SetRole::Act(Act::Erase)).for_each(|role| role.2 = 2);
    let set = set.sign(&[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);
    xingyu
}

/// All who signed have left.
async fn rotate_all(world: &World, xingyu: &mut Enterprise) {
    let root = key_of(world.path(), "xingyu", "root");
    let set = next(xingyu, &root, &[(&new_key(), "privacy-office-3")]).sign(&[&root]).expect("signs");
    rotate(xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_gets_the_first_answer_when_its_keys_have_left(#[case] on: On) {
    let (world, count) = match on {
        On::Sqlite => (World::without_agent(|_| {}).await, 1),
        On::Postgres => (World::on_postgres(2).await, 2),
    };
    let _second = (count == 2).then(|| Process::replica(world.path(), &replica_name(1)));
    let [one, two] = ["instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
    let mut xingyu = xingyu_of_two(&world, &one, &two).await;
    let user = |n: usize| erasure(&xingyu, &format!("u_77000{n}"));

    // Whole; refused; waiting and completed; waiting and taken back; revoked, and what revokes it.
    let whole = sign(&user(1), &[&one, &two]).to_wire();
    let first = submit(&xingyu, &whole).await;
    let now = SystemClock.now_seconds();
    let late = sign(&InstructionDraft { iat: now - 100, exp: now - 1, ..user(2) }, &[&one, &two]).to_wire();
    assert_eq!(refusal(&xingyu, &late).await.as_deref(), Some("INSTRUCTION_EXPIRED"));
    let waits = sign(&user(3), &[&one]);
    let waiting = submit(&xingyu, &waits.to_wire()).await;
    assert_eq!(waiting.1, InstructionState::Waiting);
    let approval = Detached::sign(Says::Approved, waits.envelope(), &two).expect("signs");
    let disclosures = waits.envelope().disclosures();
    let completed = approve(&xingyu, &waiting.0, &approval, disclosures).await.expect("it completes");
    let [regretted, others] = signed_apart(&user(4), [&one, &two]);
    let taken_back = submit(&xingyu, &regretted).await;
    let envelope = Envelope::read(regretted.as_bytes()).expect("an instruction");
    let withdrawal = Detached::sign(Says::Withdrawn, &envelope, &one).expect("signs");
    let back = withdraw(&xingyu, &taken_back.0, &withdrawal).await.expect("taken back");
    assert_eq!(back.state(), InstructionState::Revoked);
    let target = user(5);
    let revoked = sign(&target, &[&one, &two]).to_wire();
    submit(&xingyu, &revoked).await;
    let revoke = sign(&revocation(&xingyu, target.jti), &[&one]).to_wire();
    let revoking = submit(&xingyu, &revoke).await;
    assert_eq!(revoking.1, InstructionState::Done);
    // Its id and payload, by a key that no set of the controller ever had.
    let [mine, strangers] = signed_apart(&user(6), [&one, &new_key()]);
    submit(&xingyu, &mine).await;

    rotate_all(&world, &mut xingyu).await;
    let leaves = world.trail_leaves().await.len();
    for n in (0..count).chain(0..count) {
        let there = Enterprise::open(&world.profile_at("xingyu", n)).await.expect("it connects");
        assert_eq!(submit(&there, &whole).await, first, "at {n}");
        assert_eq!(refusal(&there, &late).await.as_deref(), Some("INSTRUCTION_EXPIRED"), "at {n}");
        assert_eq!(submit(&there, &waits.to_wire()).await, completed, "at {n}");
        let again = approve(&there, &waiting.0, &approval, disclosures).await;
        assert_eq!(again.as_ref(), Ok(&completed), "at {n}");
        assert_eq!(withdraw(&there, &taken_back.0, &withdrawal).await.as_ref(), Ok(&back), "at {n}");
        assert_eq!(submit(&there, &revoke).await, revoking, "at {n}");
        assert_eq!(submit(&there, &revoked).await.1, InstructionState::Revoked, "at {n}");
        // By another who might have signed it then, too: what was submitted is the payload.
        assert_eq!(submit(&there, &others).await.1, InstructionState::Revoked, "at {n}");
        let many = batch(&there, &[&whole, &late, &revoke, &waits.to_wire()]).await;
        let expired = Err("INSTRUCTION_EXPIRED".to_owned());
        assert_eq!(many, [Ok(first.clone()), expired, Ok(revoking.clone()), Ok(completed.clone())], "at {n}");
    }
    assert_eq!(world.trail_leaves().await.len(), leaves, "a repeat left something");

    // What is no repeat is refused as ever, and says nothing of what was taken.
    let unknown = Some("KEY_UNKNOWN");
    let other = InstructionDraft { jti: waits_jti(&waiting.0), ..erasure(&xingyu, "u_770009") };
    let new = sign(&erasure(&xingyu, "u_770008"), &[&one, &two]).to_wire();
    let bare = format!("{}~", mine.split('~').next().expect("a part"));
    for (what, wire) in [
        ("another payload under the id", sign(&other, &[&one, &two]).to_wire()),
        ("a new one by a key that has left", new),
        ("the same by a stranger", strangers),
        ("the same without its disclosures", bare),
        ("the same with a signature spoilt", spoilt(&mine)),
    ] {
        assert_eq!(refusal(&xingyu, &wire).await.as_deref(), unknown, "{what}");
    }
    let leting = world.enterprise("leting").await;
    for wire in [&whole, &late, &waits.to_wire()] {
        assert_eq!(refusal(&leting, wire).await.as_deref(), unknown, "another controller's");
    }
    assert_eq!(approve(&leting, &waiting.0, &approval, disclosures).await, Err("NOT_FOUND".into()));
    // An approval that never counted, one without what it approves, and a withdrawal that came too late.
    let not_current = "KEY_SET_NOT_CURRENT";
    assert_eq!(approve(&xingyu, &waiting.0, &approval, &[]).await, Err(not_current.into()));
    let never = Detached::sign(Says::Approved, &envelope, &two).expect("signs");
    assert_eq!(
        approve(&xingyu, &taken_back.0, &never, envelope.disclosures()).await,
        Err(not_current.into())
    );
    let late = Detached::sign(Says::Withdrawn, waits.envelope(), &one).expect("signs");
    assert_eq!(withdraw(&xingyu, &waiting.0, &late).await.err().as_deref(), Some(not_current));
    world.export_and_verify().await;
}

fn waits_jti(name: &str) -> mandate::domain::InstructionId {
    mandate::domain::InstructionId::from_resource_name(name).expect("a name")
}

/// With one character of its signature changed.
fn spoilt(wire: &str) -> String {
    let at = wire.rfind('.').expect("a signature") + 1;
    let other = if &wire[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &wire[..at], &wire[at + 1..])
}
