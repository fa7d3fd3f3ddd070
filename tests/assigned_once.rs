//! Support assigns a mail: one call sent many times at once is one assignment, and every sender gets its answer.

use mandate::grpc::v1;

use crate::harness::{World, reason};

#[tokio::test(flavor = "multi_thread")]
async fn one_assignment_sent_many_times_at_once_is_made_once() {
    let world = World::without_agent(|_| {}).await;
    let support = world.client("support").await;
    let mail = include_bytes!("../examples/mail/02-vague-english.eml");
    let submit = v1::SubmitMailRequest {
        mail: mail.to_vec().into(),
        received_time: None,
        request_id: "0b2f7a58-3a3c-4a86-9c5c-2f1f5a0e9d12".into(),
    };
    let taken = support.intake().submit_mail(submit).await.expect("taken in").into_inner();
    let message = taken.message.expect("shown");
    assert_eq!(message.state(), v1::MessageState::Triage, "the sample is one that waits");

    let assign = v1::AssignMessageRequest {
        name: message.name.clone(),
        app: "apps/xingyu-live".into(),
        rights: vec!["delete".into()],
        identifiers: Vec::new(),
        redacted_extract: "asks that the account be deleted".into(),
        request_id: "0b2f7a58-3a3c-4a86-9c5c-2f1f5a0e9d13".into(),
    };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (mut client, assign) = (support.intake(), assign.clone());
        calls.spawn(async move { client.assign_message(assign).await });
    }
    let mut answers = std::collections::BTreeSet::new();
    while let Some(answer) = calls.join_next().await {
        let answer = answer.expect("the call did not panic");
        let answer =
            answer.unwrap_or_else(|status| panic!("one was refused: {}", reason(&status))).into_inner();
        answers.insert((answer.message.expect("shown").request, answer.receipt.expect("a receipt").index));
    }
    assert_eq!(answers.len(), 1, "the answers differ: {answers:?}");

    // The same id with another content is not the same call.
    let other = v1::AssignMessageRequest { app: "apps/leting-fm".into(), ..assign };
    let refused = support.intake().assign_message(other).await.expect_err("another payload");
    assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
    let leaves = world.trail_leaves().await;
    let count = |kind: &str| leaves.iter().filter(|leaf| leaf.contains(kind)).count();
    assert_eq!((count("mandate.message.assigned"), count("mandate.request.received")), (1, 1));
    world.export_and_verify().await;
}
