//! Controllers are blind to each other (I5), and a case that went the wrong way takes nothing of
//! the person along.

use mandate::grpc::v1;

use crate::harness::{World, reason};

const MAIL: &[u8] = include_bytes!("../examples/mail/01-delete-enterprise-app.eml");

fn submit() -> v1::SubmitMailRequest {
    v1::SubmitMailRequest {
        mail: MAIL.to_vec().into(),
        received_time: None,
        request_id: "2f9a3f0c-41a5-4c5e-8f6b-6f7a3d1b9c10".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_its_own_controllers_alone_and_leaves_nothing_behind_when_it_was_not() {
    let world = World::without_agent(|_| {}).await;
    let support = world.client("support").await;
    let message =
        support.intake().submit_mail(submit()).await.expect("taken in").into_inner().message.expect("shown");
    assert_eq!(message.controller, "controllers/xingyu");
    let name = message.request.clone();

    // Another controller: not there, whatever it asks.
    let leting = world.client("leting").await;
    let get = || v1::GetRequestRequest { name: name.clone() };
    let refused = leting.requests().get_request(get()).await.expect_err("not theirs");
    assert_eq!(reason(&refused), "NOT_FOUND");
    let acknowledge = v1::AcknowledgeRequestRequest { name: name.clone(), request_id: String::new() };
    assert_eq!(
        reason(&leting.requests().acknowledge_request(acknowledge).await.expect_err("not theirs")),
        "NOT_FOUND"
    );
    let listed = leting.requests().list_requests(v1::ListRequestsRequest::default()).await.expect("its own");
    assert!(listed.into_inner().requests.is_empty());
    let head =
        leting.audit().get_checkpoint(v1::GetCheckpointRequest { log: v1::Log::Authority.into() }).await;
    assert_eq!(reason(&head.expect_err("its size tells of others")), "KIND_NOT_ALLOWED");

    // Its own controller says it is not its user's: it sees nothing more of it.
    let xingyu = world.client("xingyu").await;
    let seen =
        xingyu.requests().get_request(get()).await.expect("its own").into_inner().request.expect("shown");
    assert!(!seen.identifiers.is_empty() && !seen.extract.is_empty());
    let reject = v1::RejectRequestRequest { name: name.clone(), request_id: String::new() };
    xingyu.requests().reject_request(reject).await.expect("rejected");
    let seen = xingyu
        .requests()
        .get_request(get())
        .await
        .expect("the row stays")
        .into_inner()
        .request
        .expect("shown");
    assert_eq!(seen.stage(), v1::RequestStage::Misrouted);
    assert!(seen.identifiers.is_empty() && seen.extract.is_empty() && seen.original.is_empty());

    // It goes to another only with the identifiers that support names, and with those alone.
    let assign = |identifiers: Vec<v1::SubjectIdentifier>, request_id: &str| v1::AssignMessageRequest {
        name: message.name.clone(),
        app: "apps/xiaolu-class".into(),
        identifiers,
        request_id: request_id.into(),
        ..Default::default()
    };
    let refused = support.intake().assign_message(assign(Vec::new(), "")).await.expect_err("whose are they?");
    assert_eq!(reason(&refused), "FIELD_REQUIRED");
    let id = "7d6c0f5e-02b1-4f57-9a53-0a9f6f1f2b11";
    let named = |value: &str| {
        vec![v1::SubjectIdentifier { r#type: "app_user_id".into(), value: value.into(), of: "self".into() }]
    };
    support.intake().assign_message(assign(named("DX-1"), id)).await.expect("assigned");
    support.intake().assign_message(assign(named("DX-1"), id)).await.expect("the first answer");
    let other =
        support.intake().assign_message(assign(named("DX-2"), id)).await.expect_err("another payload");
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    let xiaolu = world.client("xiaolu").await;
    let theirs = xiaolu.requests().list_requests(v1::ListRequestsRequest::default()).await.expect("its own");
    let theirs = theirs.into_inner().requests;
    assert_eq!(theirs.len(), 1);
    let values: Vec<&str> = theirs[0].identifiers.iter().map(|i| i.value.as_str()).collect();
    assert_eq!(values, ["DX-1"]);
    assert!(!theirs[0].extract.contains("u_8839201"), "the other app's id went along");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_again_is_one_message_and_another_under_its_id_is_refused() {
    let world = World::without_agent(|_| {}).await;
    let support = world.client("support").await;
    let first = support.intake().submit_mail(submit()).await.expect("taken in").into_inner();
    let again = support.intake().submit_mail(submit()).await.expect("the first answer").into_inner();
    assert_eq!(first.message.expect("shown").name, again.message.expect("shown").name);
    let mut other = submit();
    other.mail = [MAIL, b"\r\nmore"].concat().into();
    assert_eq!(
        reason(&support.intake().submit_mail(other).await.expect_err("another mail")),
        "REQUEST_ID_REUSED"
    );
    world.export_and_verify().await;
}
