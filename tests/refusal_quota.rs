//! Whoever sends rubbish cannot fill the trail that all share: refusals of one controller become leaves
//! within a quota, and beyond it are answered without one. Good instructions and other controllers go on.

use mandate::cli::CliError;
use mandate::domain::clock::SystemClock;
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use tonic_types::StatusExt;

use crate::harness::{World, reason};

/// 300 at once, and 300 again each minute.
const QUOTA: usize = 300;
const AT_ONCE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_beyond_the_quota_leave_no_leaf_and_stop_nobody_else() {
    let world = World::without_agent(|_| {}).await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    let began = SystemClock.now_seconds();
    let mut recorded = 0;
    let mut limited = None;
    while limited.is_none() {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let mut client = xingyu.client.instructions();
            let rubbish = v1::SubmitInstructionRequest { instruction: b"rubbish".to_vec().into() };
            calls.spawn(async move { client.submit_instruction(rubbish).await.expect_err("rubbish") });
        }
        while let Some(status) = calls.join_next().await {
            let status = status.expect("the call did not panic");
            match &*reason(&status) {
                "INSTRUCTION_MALFORMED" => recorded += 1,
                "RATE_LIMITED" => limited = Some(status),
                other => panic!("{other}"),
            }
        }
        assert!(recorded < 10 * QUOTA, "no quota holds");
    }
    let status = limited.expect("a moment ago");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()), "no RetryInfo");
    let took = usize::try_from(SystemClock.now_seconds() - began + 1).expect("forwards");
    let refilled = took * QUOTA / 60;
    assert!((QUOTA..=QUOTA + refilled + AT_ONCE).contains(&recorded), "{recorded} were recorded");
    let is_refusal = |leaf: &&String| leaf.contains("mandate.instruction.refused");
    let leaves = world.trail_leaves().await;
    assert_eq!(leaves.iter().filter(is_refusal).count(), recorded, "each that was not limited is a leaf");

    // Another controller's refusal, and the same controller's good order.
    assert_eq!(leting.refused("rubbish").await.expect("refused"), "INSTRUCTION_MALFORMED");
    let subject = vec![Identifier::user(&xingyu.app, "u_8839201")];
    let order = xingyu.order(Act::Preview, subject, None).expect("an order");
    let wire = xingyu.sign(&order).expect("signs").to_wire();
    let answer: Result<_, CliError> = xingyu.submit(&wire).await;
    assert!(answer.expect("admitted").receipt.is_some());
    world.export_and_verify().await;
}
