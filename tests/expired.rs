//! An instruction's end comes by itself, to the second of leaf time. Whether or not the gateway's sweep has written it
//! down by then, everybody is answered alike: it is shown as expired, and is neither signed nor stopped any more.

use std::time::Duration;

use mandate::cli::demo::{Enterprise, reason_of};
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock};
use mandate::grpc::v1;
use mandate::token::{Detached, Envelope, InstructionDraft, PrivateKey, Says, SetRole};
use rstest::rstest;

use crate::harness::{World, configure, within};
use crate::key_sets::{key_of, named, next, refusal, rotate};
use crate::stopping::{contest, erasure, revocation};

const EXPIRED: &str = "INSTRUCTION_EXPIRED";

/// `xingyu` under a key set in which an erasure takes two people, of whom the first may revoke; their keys.
async fn two_people(world: &World) -> (Enterprise, PrivateKey, PrivateKey) {
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one, two] =
        ["root", "instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
    let mut set = next(&xingyu, &root, &[(&one, "privacy-office-1"), (&two, "privacy-office-2")]);
    for (role, _, threshold) in &mut set.roles {
        if *role == SetRole::Act(Act::Erase) {
            *threshold = 2;
        }
    }
    set.roles.push((SetRole::Act(Act::Revoke), vec![one.id()], 1));
    let set = set.sign(&[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);
    (xingyu, one, two)
}

async fn submit(
    of: &Enterprise,
    draft: &InstructionDraft,
    keys: &[&PrivateKey],
) -> (Envelope, v1::Instruction) {
    let signed = draft.sign(keys, &SystemEntropy).expect("signs");
    let shown = of.submit(&signed.to_wire()).await.expect("taken").instruction.expect("shown");
    (signed.envelope().clone(), shown)
}

async fn state(of: &Enterprise, name: &str) -> v1::InstructionState {
    let call = v1::GetInstructionRequest { name: name.to_owned() };
    let answer = of.client.instructions().get_instruction(call).await.expect("it is the caller's");
    answer.into_inner().instruction.expect("shown").state()
}

/// The reason why a signature is not taken.
async fn refused(of: &Enterprise, says: Says, envelope: &Envelope, name: &str, key: &PrivateKey) -> String {
    let by = Detached::sign(says, envelope, key).expect("signs");
    let (name, protected, signature) =
        (name.to_owned(), by.protected().to_owned(), by.signature().to_owned());
    let mut client = of.client.instructions();
    let status = match says {
        Says::Withdrawn => {
            let call = v1::WithdrawApprovalRequest { name, protected, signature };
            client.withdraw_approval(call).await.expect_err("it was taken back")
        }
        _ => {
            let disclosures = envelope.disclosures().to_vec();
            let call = v1::ApproveInstructionRequest { name, protected, signature, disclosures };
            client.approve_instruction(call).await.expect_err("it was approved")
        }
    };
    reason_of(&status).expect("a reason")
}

#[rstest]
#[case::before_it_is_swept(3600)]
#[case::swept(1)]
#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_by_itself_is_neither_signed_nor_stopped(#[case] housekeeping: i64) {
    let world = World::without_agent(|dir| {
        configure(dir, |gateway| drop(gateway.insert("housekeeping_seconds".into(), housekeeping.into())));
    })
    .await;
    let (xingyu, one, two) = two_people(&world).await;
    let exp = SystemClock.now_seconds() + 6;
    let ending = |user| InstructionDraft { exp, ..erasure(&xingyu, user) };
    let (waits, orders) = (ending("u_8839201"), ending("u_8800001"));
    let (waiting, first) = submit(&xingyu, &waits, &[&one]).await;
    assert_eq!(first.state(), v1::InstructionState::Waiting);
    let (ordering, second) = submit(&xingyu, &orders, &[&one, &two]).await;
    assert_eq!(second.state(), v1::InstructionState::Admitted);
    let names = [first.name.clone(), second.name.clone()];
    // Whoever watches the order hears of its end.
    let ended =
        within(30, "the end of an order", xingyu.follow(&second.executions[0])).await.expect("followed");
    assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Failed, EXPIRED));
    within(20, "the end of what waits", async {
        while state(&xingyu, &names[0]).await == v1::InstructionState::Waiting {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    for name in &names {
        assert_eq!(state(&xingyu, name).await, v1::InstructionState::Expired);
        assert_eq!(contest(&world, name, "unlawful").await, Err(EXPIRED.into()));
    }
    assert_eq!(refused(&xingyu, Says::Approved, &waiting, &names[0], &two).await, EXPIRED);
    assert_eq!(refused(&xingyu, Says::Withdrawn, &waiting, &names[0], &one).await, EXPIRED);
    assert_eq!(refused(&xingyu, Says::Withdrawn, &ordering, &names[1], &one).await, EXPIRED);
    for target in [waits.jti, orders.jti] {
        let late = revocation(&xingyu, target).sign(&[&one], &SystemEntropy).expect("signs");
        assert_eq!(refusal(&xingyu, &late.to_wire()).await.as_deref(), Some(EXPIRED));
    }
    // The very same again is shown as it stands; nothing of all this was more than an answer.
    let again =
        xingyu.submit(&ordering.to_wire()).await.expect("the first answer").instruction.expect("shown");
    assert_eq!((again.state(), again.trail_index), (v1::InstructionState::Expired, second.trail_index));
    let listed = xingyu.client.instructions().list_instructions(v1::ListInstructionsRequest::default()).await;
    let listed = listed.expect("listed").into_inner().instructions;
    let shown: Vec<_> =
        listed.iter().filter(|one| names.contains(&one.name)).map(|one| one.state()).collect();
    assert_eq!(shown, [v1::InstructionState::Expired; 2]);
    world.export_and_verify().await;
}
