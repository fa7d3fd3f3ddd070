//! `DeferOrder`: an order that touched nothing is given up after its attempts; one that has begun
//! is seen through, however often it is put off. What nobody has begun ends with its instruction.

use mandate::cli::client::Profile;
use mandate::cli::demo::Enterprise;
use mandate::domain::clock::SystemClock;
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use mandate::grpc::v1::agent_service_client::AgentServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::harness::{Process, World, configure, reason, within};
use crate::refused_callers::{access_key, channel, claims};

/// The agent's own keys, in a profile.
fn agent(world: &World) -> Profile {
    let of = |file: &str| world.path().join(format!("keys/rtc-agent/{file}"));
    Profile {
        principal: "agents/rtc-agent".into(),
        spiffe_id: "spiffe://ppio.example/agent/rtc-agent/agent".into(),
        certificate: of("tls.pem"),
        key: of("tls.key"),
        access_key: of("access.jwk"),
        scopes: ["orders.lease", "orders.report", "authority.read"].map(String::from).into(),
        controller: None,
        ..world.profile("xingyu")
    }
}

type Calls<F> = AgentServiceClient<InterceptedService<Channel, F>>;

/// The agents' service, each call with the agent's token.
async fn calls(world: &World) -> Calls<impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone> {
    let profile = agent(world);
    let (line, certificate) = channel(&profile).await;
    let token = claims(&profile, certificate).mint(&access_key(&profile)).expect("signs");
    let bearer = format!("Bearer {token}");
    AgentServiceClient::with_interceptor(line, move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", bearer.parse().expect("a header"));
        Ok(request)
    })
}

async fn ordered(of: &Enterprise, user: &str) -> String {
    let order = of.order(Act::Erase, vec![Identifier::user(&of.app, user)], None).expect("an order");
    let answer = of.submit(&of.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    answer.instruction.expect("shown").executions.remove(0)
}

fn defer(order: &v1::Order, begun: bool) -> v1::DeferOrderRequest {
    v1::DeferOrderRequest {
        execution: order.execution.clone(),
        lease_token: order.lease_token.clone(),
        reason: "STORE_FAILED".into(),
        begun,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_is_never_given_up_and_what_has_not_is_after_its_attempts() {
    let world = World::without_agent(|dir| {
        configure(dir, |gateway| {
            let limits = gateway["limits"].as_table_mut().expect("a table");
            limits.insert("attempts".into(), 2.into());
        });
    })
    .await;
    let xingyu = world.enterprise("xingyu").await;
    let mut agent = calls(&world).await;
    let next = async |agent: &mut Calls<_>, name: &str, attempt: i32| {
        within(20, "a lease", async {
            loop {
                let wait = v1::LeaseOrdersRequest { max_orders: 1, wait_seconds: 10 };
                let leased = agent.lease_orders(wait).await.expect("leased").into_inner().orders;
                if let Some(order) = leased.into_iter().next() {
                    assert_eq!((&*order.execution, order.attempt), (name, attempt));
                    return order;
                }
            }
        })
        .await
    };
    let show = async |name: &str| {
        let call = v1::GetExecutionRequest { name: name.to_owned() };
        xingyu
            .client
            .executions()
            .get_execution(call)
            .await
            .expect("shown")
            .into_inner()
            .execution
            .expect("one")
    };

    // Nothing was touched: two attempts, and it is over.
    let untouched = ordered(&xingyu, "defer-1").await;
    let order = next(&mut agent, &untouched, 1).await;
    let put_off = agent.defer_order(defer(&order, false)).await.expect("deferred").into_inner();
    assert!(put_off.next_attempt_time.is_some());
    let again = agent.defer_order(defer(&order, false)).await.expect_err("the lease is gone");
    assert_eq!(reason(&again), "LEASE_LOST");
    let order = next(&mut agent, &untouched, 2).await;
    let given_up = agent.defer_order(defer(&order, false)).await.expect("deferred").into_inner();
    assert!(given_up.next_attempt_time.is_none());
    let ended = show(&untouched).await;
    assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Failed, "STORE_FAILED"));

    // Work has begun: it is leased once more after the last attempt, too.
    let begun = ordered(&xingyu, "defer-2").await;
    for attempt in 1..=3 {
        let order = next(&mut agent, &begun, attempt).await;
        let put_off = agent.defer_order(defer(&order, true)).await.expect("deferred").into_inner();
        assert!(put_off.next_attempt_time.is_some(), "attempt {attempt} was the last");
        let waits = show(&begun).await;
        assert_eq!((waits.state(), &*waits.reason), (v1::ExecutionState::Pending, "STORE_FAILED"));
    }
    world.export_and_verify().await;
}

/// A lease of this execution. Whatever else is due is looked at in the same call.
async fn leased<F>(agent: &mut Calls<F>, execution: &str) -> v1::Order
where
    F: FnMut(Request<()>) -> Result<Request<()>, Status> + Clone,
{
    within(30, "a lease", async {
        loop {
            let wait = v1::LeaseOrdersRequest { max_orders: 10, wait_seconds: 10 };
            let orders = agent.lease_orders(wait).await.expect("answered").into_inner().orders;
            if let Some(order) = orders.into_iter().find(|order| order.execution == execution) {
                return order;
            }
        }
    })
    .await
}

/// An erasure that ends in so many seconds: its name and that of its one execution.
async fn ending(of: &Enterprise, user: &str, seconds: i64) -> (String, String) {
    let mut order = of.order(Act::Erase, vec![Identifier::user(&of.app, user)], None).expect("an order");
    order.exp = SystemClock.now_seconds() + seconds;
    let answer = of.submit(&of.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    let mut shown = answer.instruction.expect("shown");
    (shown.name, shown.executions.remove(0))
}

async fn state(of: &Enterprise, instruction: &str) -> v1::InstructionState {
    let call = v1::GetInstructionRequest { name: instruction.to_owned() };
    let answer = of.client.instructions().get_instruction(call).await.expect("it is the caller's");
    answer.into_inner().instruction.expect("shown").state()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_agent_has_begun_ends_with_its_instruction_also_where_one_held_it() {
    use v1::InstructionState::{Admitted, Executing, Expired};
    let expired = (v1::ExecutionState::Failed, "INSTRUCTION_EXPIRED".to_owned());
    let mut world = World::without_agent(|dir| {
        configure(dir, |gateway| {
            let limits = gateway["limits"].as_table_mut().expect("a table");
            limits.insert("lease_seconds".into(), 8.into());
            gateway.insert("housekeeping_seconds".into(), 3600.into());
        });
    })
    .await;
    let xingyu = world.enterprise("xingyu").await;
    let mut agent = calls(&world).await;
    let ended = async |execution: &str| {
        let ended = within(60, "the end of an order", xingyu.follow(execution)).await.expect("followed");
        (ended.state(), ended.reason)
    };
    let put_off = async |agent: &mut Calls<_>, order: &v1::Order, begun| {
        agent.defer_order(defer(order, begun)).await.expect("deferred").into_inner().next_attempt_time
    };

    // Put off untouched: as before its lease, until its end.
    let (one, execution) = ending(&xingyu, "untouched-1", 8).await;
    let order = leased(&mut agent, &execution).await;
    assert_eq!(state(&xingyu, &one).await, Executing);
    assert!(put_off(&mut agent, &order, false).await.is_some());
    assert_eq!(state(&xingyu, &one).await, Admitted);
    assert_eq!(ended(&execution).await, expired);
    assert_eq!(state(&xingyu, &one).await, Expired);

    // Put off when its end has come: nobody tries again.
    let (two, execution) = ending(&xingyu, "untouched-2", 3).await;
    let order = leased(&mut agent, &execution).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(state(&xingyu, &two).await, Executing, "an agent may be at it");
    assert!(put_off(&mut agent, &order, false).await.is_none());
    assert_eq!((ended(&execution).await, state(&xingyu, &two).await), (expired, Expired));

    // Begun: it is seen through.
    let (three, execution) = ending(&xingyu, "begun", 3).await;
    let order = leased(&mut agent, &execution).await;
    assert!(put_off(&mut agent, &order, true).await.is_some());
    assert_eq!(leased(&mut agent, &execution).await.attempt, 2);
    assert_eq!(state(&xingyu, &three).await, Executing);

    // Held without a word until after its end: the agent that has it next touches nothing and says so.
    let (four, execution) = ending(&xingyu, "silent", 4).await;
    leased(&mut agent, &execution).await;
    drop(agent);
    world.agent = Some(Process::agent(world.path()));
    let refused = (v1::ExecutionState::Refused, "INSTRUCTION_EXPIRED".to_owned());
    assert_eq!((ended(&execution).await, state(&xingyu, &four).await), (refused, Expired));
    world.export_and_verify().await;
}
