//! Several gateways on one PostgreSQL database: any may die, any may take any call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mandate::cli::client::{Client, Profile};
use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

use crate::cluster::{self, Cluster};
use crate::harness::{Process, World, replica_name, within};

const REPLICAS: usize = 3;
const MAIL: &str = include_str!("../examples/mail/01-delete-enterprise-app.eml");

/// Submits through whichever gateway answers, until one does: the same instruction again has no
/// second effect.
async fn submit(gateways: &[Enterprise], first: usize, wire: &str) -> v1::SubmitInstructionResponse {
    for attempt in first.. {
        let one = &gateways[attempt % gateways.len()];
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(5), one.submit(wire)).await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("it goes on until one answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_one_killed_again_and_again_lose_nothing_and_do_nothing_twice() {
    let mut world = World::on_postgres(REPLICAS).await;
    let mut processes: BTreeMap<usize, Process> = BTreeMap::new();
    processes.insert(0, world.gateway.take().expect("it runs"));
    for n in 1..REPLICAS {
        processes.insert(n, Process::replica(world.path(), &replica_name(n)));
    }
    world.agent = Some(Process::agent(world.path()));
    let mut gateways = Vec::new();
    for n in 0..REPLICAS {
        gateways.push(Enterprise::open(&world.profile_at("xingyu", n)).await.expect("it connects"));
    }
    let gateways: Arc<[Enterprise]> = gateways.into();

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..6 {
        let (gateways, stop) = (Arc::clone(&gateways), Arc::clone(&stop));
        clients.spawn(async move {
            let mut done = Vec::new();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let subject = vec![Identifier::user(&gateways[0].app, format!("replica-{client}-{n}"))];
                let order = gateways[0].order(Act::Erase, subject, None).expect("an order");
                let wire = gateways[0].sign(&order).expect("signs").to_wire();
                let answer = submit(&gateways, client + n, &wire).await;
                let index = answer.receipt.expect("a receipt").index;
                done.push((answer.instruction.expect("shown"), index));
                // The one agent carries all of them out before the test ends.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            done
        });
    }
    let url = std::fs::read_to_string(world.path().join("database.url")).expect("the URL");
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        Cluster::name(&url)
    );
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(800)).await;
        // Everybody's connections at once, and then one process.
        tokio::task::block_in_place(|| cluster::shared().sql("postgres", &cut));
        tokio::time::sleep(Duration::from_millis(400)).await;
        let victim = round % REPLICAS;
        processes.remove(&victim).expect("it runs").kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        processes.insert(victim, Process::replica(world.path(), &replica_name(victim)));
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = Vec::new();
    while let Some(done) = clients.join_next().await {
        answered.extend(done.expect("the client did not panic"));
    }
    assert!(answered.len() >= 12, "too few were answered to say anything: {}", answered.len());

    let mut leaves = BTreeSet::new();
    for (n, (instruction, index)) in answered.iter().enumerate() {
        // Whoever is asked knows it.
        let request = v1::GetInstructionRequest { name: instruction.name.clone() };
        let one = &gateways[n % REPLICAS].client;
        let found = one.instructions().get_instruction(request).await.expect("it is there").into_inner();
        assert_eq!(found.instruction.expect("shown").trail_index, *index);
        assert!(leaves.insert(*index), "two answers share leaf {index}");
    }
    within(120, "carrying out what was admitted", async {
        for (instruction, _) in answered.iter().rev().take(12) {
            for execution in &instruction.executions {
                let ended = gateways[1].follow(execution).await.expect("it ends");
                assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
            }
        }
    })
    .await;
    world.export_and_verify().await;
}

async fn client_at(world: &World, name: &str, n: usize) -> Client {
    let profile = Profile::load(&world.profile_at(name, n)).expect("the profile loads");
    Client::open(profile).await.expect("it connects")
}

/// A mail to xingyu's app; the name of its case.
pub async fn take_in(support: &Client, n: usize) -> String {
    let mail = MAIL
        .replace("u_8839201", &format!("u_77000{n}"))
        .replace("Message-ID: <", &format!("Message-ID: <{n}"));
    let call = v1::SubmitMailRequest {
        mail: mail.into_bytes().into(),
        received_time: None,
        request_id: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
    };
    let taken = support.intake().submit_mail(call).await.expect("taken in").into_inner();
    let message = taken.message.expect("shown");
    assert_eq!(message.controller, "controllers/xingyu");
    message.request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_at_another_gateway_and_misses_and_repeats_nothing() {
    let world = World::on_postgres(2).await;
    let _second = Process::replica(world.path(), &replica_name(1));
    let here = Enterprise::open(&world.profile_at("xingyu", 0)).await.expect("it connects");
    let there = Enterprise::open(&world.profile_at("xingyu", 1)).await.expect("it connects");
    // Mails come in through both, by turns.
    let support = [client_at(&world, "support", 0).await, client_at(&world, "support", 1).await];
    let mut names = Vec::new();
    for n in 0..6 {
        names.push(take_in(&support[n % 2], n).await);
    }
    // The first three are taken here, two of them acknowledged; the rest is brought there.
    let mut stream = here
        .client
        .requests()
        .watch_requests(v1::WatchRequestsRequest::default())
        .await
        .expect("a stream")
        .into_inner();
    let mut seen = Vec::new();
    let mut token = String::new();
    for n in 0..3 {
        let next = within(10, "a request", stream.message()).await.expect("an item").expect("an item");
        token = next.resume_token;
        let name = next.request.expect("shown").name;
        if n < 2 {
            let call = v1::AcknowledgeRequestRequest { name: name.clone(), request_id: String::new() };
            here.client.requests().acknowledge_request(call).await.expect("acknowledged");
        }
        seen.push(name);
    }
    drop(stream);
    let resume = v1::WatchRequestsRequest { resume_token: token };
    let mut stream = there.client.requests().watch_requests(resume).await.expect("it goes on").into_inner();
    for _ in 0..3 {
        let next = within(10, "a request", stream.message()).await.expect("an item").expect("an item");
        seen.push(next.request.expect("shown").name);
    }
    assert_eq!(seen, names);
    // What comes in at one gateway wakes the stream at the other.
    let name = take_in(&support[0], 9).await;
    let next = within(4, "the wake", stream.message()).await.expect("an item").expect("an item");
    assert_eq!(next.request.expect("shown").name, name);
    drop(stream);
    // From the beginning: only what nobody acknowledged.
    let mut stream = there
        .client
        .requests()
        .watch_requests(v1::WatchRequestsRequest::default())
        .await
        .expect("anew")
        .into_inner();
    let first = within(10, "a request", stream.message()).await.expect("an item").expect("an item");
    assert_eq!(first.request.expect("shown").name, names[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_revoked_at_one_gateway_is_refused_by_the_other() {
    let world = World::on_postgres(2).await;
    let _second = Process::replica(world.path(), &replica_name(1));
    let there = Enterprise::open(&world.profile_at("xingyu", 1)).await.expect("it connects");
    let look = async || {
        let call = v1::ListInstructionsRequest::default();
        there.client.instructions().list_instructions(call).await
    };
    look().await.expect("the key counts");
    let key = std::fs::read(world.path().join("keys/xingyu/access.pub.jwk")).expect("the public key");
    let thumbprint = mandate::token::PublicJwk::from_json(&key).expect("a JWK").thumbprint().to_string();
    let operator = world.client("operator").await;
    let call = v1::RevokeAccessKeyRequest { thumbprint, request_id: String::new() };
    operator.registry().revoke_access_key(call).await.expect("it is revoked");
    within(5, "the word to the other gateway", async {
        while look().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
