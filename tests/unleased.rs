//! An order that no agent ever leased ends when its instruction does, and says so in the trail:
//! silence never leaves personal data waiting for ever.

use mandate::domain::clock::SystemClock;
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;

use crate::harness::{World, configure, within};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_nobody_leases_ends_with_its_instruction() {
    let world = World::without_agent(|dir| {
        configure(dir, |gateway| drop(gateway.insert("housekeeping_seconds".into(), 1.into())));
    })
    .await;
    let xingyu = world.enterprise("xingyu").await;
    let mut order =
        xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, "u_8839201")], None).expect("an order");
    order.exp = SystemClock.now_seconds() + 4;
    let (_, executions, _) =
        within(30, "ending the order", xingyu.carry_out(&order)).await.expect("it is followed to its end");
    assert_eq!(executions[0].state(), v1::ExecutionState::Failed);
    assert_eq!(executions[0].reason, "INSTRUCTION_EXPIRED");
    world.export_and_verify().await;
}
