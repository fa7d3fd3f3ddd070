//! Several gateways on one PostgreSQL database: any may take any call. (Any may die: `postgres_faults.rs`.)

use std::time::Duration;

use mandate::cli::client::{Client, Profile};
use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::grpc::v1;
use tokio::time::Instant;
use tonic::Streaming;

use crate::harness::{Process, World, replica_name, within};

const MAIL: &str = include_str!("../examples/mail/01-delete-enterprise-app.eml");

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

/// Cases come in elsewhere, and the stream brings each: one of them sooner than the look that a gateway takes every
/// five seconds anyway. A machine that has much to do may be late once, and again.
pub async fn wakes_at_once(
    stream: &mut Streaming<v1::WatchRequestsResponse>,
    mut come_in: impl AsyncFnMut() -> String,
    acknowledge: impl AsyncFn(String),
) {
    for attempt in 0..5 {
        let name = come_in().await;
        let came = Instant::now();
        let next = within(30, "the wake", stream.message()).await.expect("an item").expect("an item");
        assert_eq!(next.request.expect("shown").name, name);
        let took = came.elapsed();
        acknowledge(name).await;
        // The first may be found by such a look. Right behind it none is due.
        if attempt > 0 && took < Duration::from_secs(3) {
            return;
        }
    }
    panic!("no case woke who waits at another gateway");
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
    let mut mails = 9..;
    let come_in = async || take_in(&support[0], mails.next().expect("another")).await;
    wakes_at_once(&mut stream, come_in, async |_| ()).await;
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
    within(20, "the word to the other gateway", async {
        while look().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
