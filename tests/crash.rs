//! `kill -9` of gateway and agent under load: nothing answered OK is missing, nothing ran twice.

use std::sync::Arc;

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

use crate::harness::{Process, World, within};

const ROUNDS: usize = 3;
const CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_and_nothing_runs_twice() {
    let mut world = World::new().await;
    let mut answered: Vec<(v1::Instruction, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let xingyu = Arc::new(world.enterprise("xingyu").await);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let xingyu = Arc::clone(&xingyu);
            clients.spawn(async move {
                let mut done = Vec::new();
                for n in 0.. {
                    let user = format!("crash-{round}-{client}-{n}");
                    let subject = vec![Identifier::user(&xingyu.app, user)];
                    let order = xingyu.order(Act::Erase, subject, None).expect("an order");
                    let wire = xingyu.sign(&order).expect("signs").to_wire();
                    match xingyu.submit(&wire).await {
                        Ok(answer) => done.push((
                            answer.instruction.expect("shown"),
                            answer.receipt.expect("a receipt").index,
                        )),
                        // The gateway was killed under this call: its outcome is not known.
                        Err(_) => break,
                    }
                }
                done
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        world.agent.take().expect("it runs").kill();
        world.gateway.take().expect("it runs").kill();
        while let Some(done) = clients.join_next().await {
            answered.extend(done.expect("the client did not panic"));
        }
        world.gateway = Some(Process::serve(world.path()));
        world.agent = Some(Process::agent(world.path()));
    }
    assert!(answered.len() >= ROUNDS, "too few were answered to say anything: {}", answered.len());

    // Every answered instruction is there with the leaf its receipt named, and comes to its end.
    let xingyu = world.enterprise("xingyu").await;
    let mut leaves = std::collections::BTreeSet::new();
    for (instruction, index) in &answered {
        let request = v1::GetInstructionRequest { name: instruction.name.clone() };
        let found =
            xingyu.client.instructions().get_instruction(request).await.expect("it is there").into_inner();
        assert_eq!(found.instruction.expect("shown").trail_index, *index);
        assert!(leaves.insert(*index), "two answers share leaf {index}");
    }
    within(90, "carrying out what was admitted", async {
        for (instruction, _) in answered.iter().rev().take(20) {
            for execution in &instruction.executions {
                let ended = xingyu.follow(execution).await.expect("it ends");
                assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
            }
        }
    })
    .await;
    // The audit rule RAN_ONCE is among what is verified.
    world.export_and_verify().await;
}
