//! Key sets are rotated while instructions come in: nothing is ever admitted under a set that was not in force at
//! its leaf, and who signs under the new one is never told that he is unknown.

use std::sync::Arc;
use std::time::Duration;

use mandate::cli::demo::Enterprise;
use mandate::domain::clock::SystemEntropy;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::{Detached, KeySetRef, PrivateKey, Says, SetRole};
use rstest::rstest;
use tokio::task::JoinSet;

use crate::harness::reason;
use crate::key_sets::{key_of, named, new_key, next, rotate};
use crate::race::{Arena, On, is, outcome};

const ROTATIONS: u64 = 6;
const MOST: u64 = 40;
const EACH: usize = 8;

fn an_erasure(side: &Enterprise, key_set: KeySetRef, key: &PrivateKey, user: String) -> String {
    let mut draft = side.order(Act::Erase, vec![Identifier::user(&side.app, user)], None).expect("an order");
    draft.key_set = key_set;
    draft.sign(&[key], &SystemEntropy).expect("signs").to_wire()
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn of_a_rotation_and_instructions_at_once_each_is_judged_by_the_set_in_force(#[case] on: On) {
    let arena = Arena::new(on).await;
    let root = key_of(arena.world.path(), "xingyu", "root");
    let mut enterprise = arena.world.enterprise("xingyu").await;
    let mut key = key_of(arena.world.path(), "xingyu", "instruction");
    let (mut admitted, mut behind) = (0, 0);
    let mut rounds: u64 = 0;
    // Until instructions have come in on either side of a rotation, and so often at least.
    while rounds < ROTATIONS || rounds < MOST && (admitted == 0 || behind == 0) {
        let round = rounds;
        rounds += 1;
        // Each version has a signing key of its own, which the other gateway has not heard of.
        let coming = new_key();
        let signer = format!("privacy-office-{}", round + 10);
        let set = next(&enterprise, &root, &[(&coming, &signer)]).sign(&[&root]).expect("signs");
        let mut calls = JoinSet::new();
        for n in 0..EACH {
            let side = arena.side(n);
            let wire = an_erasure(&side, enterprise.key_set, &key, format!("old-{round}-{n}"));
            // Now closer together and now further apart: the rotation falls among them.
            let after = Duration::from_millis((1 + round % 8) * 6 * u64::try_from(n).unwrap_or(0));
            calls.spawn(async move {
                tokio::time::sleep(after).await;
                outcome(&side, &wire).await
            });
        }
        let rotating: Arc<Enterprise> = arena.side(usize::try_from(round).unwrap_or(0));
        rotate(&rotating, &set).await.expect("it is in force");
        enterprise.key_set = named(&set);
        key = coming;
        for n in 0..EACH {
            let side = arena.side(n);
            let wire = an_erasure(&side, enterprise.key_set, &key, format!("new-{round}-{n}"));
            outcome(&side, &wire).await.expect("who signs under the set in force is admitted");
        }
        while let Some(ended) = calls.join_next().await {
            match ended.expect("the call did not panic") {
                Ok(_) => admitted += 1,
                // Its key left with the set that it names.
                Err(reason) => {
                    assert!(["KEY_SET_NOT_CURRENT", "KEY_UNKNOWN"].contains(&reason.as_str()), "{reason}");
                    behind += 1;
                }
            }
        }
    }
    let sent = usize::try_from(rounds).unwrap_or(0) * EACH;
    assert_eq!(admitted + behind, sent);
    assert!(admitted > 0 && behind > 0, "there was no race: {admitted} before, {behind} behind");

    let trail = arena.verified_trail().await;
    let mut in_force = 0;
    let mut seen = 0;
    for leaf in &trail {
        if is(leaf, "mandate.key_set.registered") && leaf["subject"] == "controllers/xingyu" {
            in_force += 1;
            assert_eq!(leaf["data"]["version"], in_force, "a version is missing or doubled");
        }
        if is(leaf, "mandate.instruction.admitted") {
            assert_eq!(leaf["data"]["key_set_version"], in_force, "admitted under a set not in force");
            seen += 1;
        }
    }
    assert_eq!(in_force, 1 + rounds);
    assert_eq!(seen, admitted + sent);
}

/// The other gateway still remembers the set before when a signature on what waits under it comes.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_heard_of_a_rotation_counts_and_takes_back_no_signature_under_the_set_before() {
    let arena = Arena::new(On::Postgres).await;
    let root = key_of(arena.world.path(), "xingyu", "root");
    let mut enterprise = arena.world.enterprise("xingyu").await;
    let [one, two] = [new_key(), new_key()];
    let mut both = next(&enterprise, &root, &[(&one, "office-1"), (&two, "office-2")]);
    for (role, _, threshold) in &mut both.roles {
        *threshold = if *role == SetRole::Act(Act::Erase) { 2 } else { *threshold };
    }
    let both = both.sign(&[&root]).expect("signs");
    let (here, there) = (arena.side(0), arena.side(1));
    rotate(&here, &both).await.expect("it is in force");
    enterprise.key_set = named(&both);

    let subject = vec![Identifier::user(&here.app, "waits")];
    let mut draft = here.order(Act::Erase, subject, None).expect("an order");
    draft.key_set = enterprise.key_set;
    let order = draft.sign(&[&one], &SystemEntropy).expect("signs");
    let shown = here.submit(&order.to_wire()).await.expect("taken").instruction.expect("shown");
    assert_eq!(shown.state(), v1::InstructionState::Waiting);
    // There the set is remembered from here on.
    there.submit(&order.to_wire()).await.expect("the same again");
    let alone = next(&enterprise, &root, &[(&two, "office-2")]).sign(&[&root]).expect("signs");
    rotate(&here, &alone).await.expect("it is in force");

    let envelope = order.envelope();
    let withdrawal = Detached::sign(Says::Withdrawn, envelope, &one).expect("signs");
    let call = v1::WithdrawApprovalRequest {
        name: shown.name.clone(),
        protected: withdrawal.protected().to_owned(),
        signature: withdrawal.signature().to_owned(),
    };
    let refused = there.client.instructions().withdraw_approval(call).await.expect_err("it was taken back");
    assert_eq!(reason(&refused), "KEY_SET_NOT_CURRENT");
    // What it was answered first, and no more: it waits as before.
    let again = there.submit(&order.to_wire()).await.expect("the same again").instruction.expect("shown");
    assert_eq!(again, shown);
    let approval = Detached::sign(Says::Approved, envelope, &two).expect("signs");
    let call = v1::ApproveInstructionRequest {
        name: shown.name.clone(),
        protected: approval.protected().to_owned(),
        signature: approval.signature().to_owned(),
        disclosures: envelope.disclosures().to_vec(),
    };
    let refused = there.client.instructions().approve_instruction(call).await.expect_err("it was counted");
    assert_eq!(reason(&refused), "KEY_SET_NOT_CURRENT");
    arena.verified_trail().await;
}
