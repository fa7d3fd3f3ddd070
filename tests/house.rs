//! PPIO's own user writes: the case is PPIO's privacy officer's alone, who orders with keys of its own under the
//! same rules as any enterprise (R1). Nobody else sees it, and who takes mail in cannot order anything.

use mandate::cli::client::Client;
use mandate::cli::demo::Enterprise;
use mandate::domain::clock::SystemEntropy;
use mandate::domain::{Act, Category, Identifier, RequestId};
use mandate::grpc::v1;
use mandate::token::{Categories, InstructionDraft};

use crate::harness::{World, reason};
use crate::key_sets::refusal;
use crate::refused_callers::access_key;
use crate::taken_over_gateway::stores;

const MAIL: &[u8] = include_bytes!("../examples/mail/04-ppio-own-customer.eml");
const CUSTOMER: &str = "zhao.lei@yunfan.example";
const ENTERPRISES: [&str; 4] = ["xingyu", "leting", "xiaolu", "yunting"];

fn order(of: &Enterprise, act: Act, request: Option<RequestId>) -> InstructionDraft {
    let subject = vec![Identifier::user(&of.app, CUSTOMER), Identifier::Email { email: CUSTOMER.into() }];
    InstructionDraft { categories: Categories::All, ..of.order(act, subject, request).expect("an order") }
}

async fn signed_by_officer(officer: &Enterprise, draft: &InstructionDraft) -> Option<String> {
    refusal(officer, &officer.sign(draft).expect("signs").to_wire()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_officers_case_is_seen_by_nobody_else_and_ordered_with_the_officers_keys() {
    let world = World::new().await;
    let support = world.client("support").await;
    let call = v1::SubmitMailRequest {
        mail: MAIL.to_vec().into(),
        received_time: None,
        request_id: "2f9a3f0c-41a5-4c5e-8f6b-6f7a3d1b9c11".into(),
    };
    let taken = support.intake().submit_mail(call).await.expect("taken in").into_inner();
    let message = taken.message.expect("shown");
    assert_eq!(message.controller, "controllers/ppio-house");

    let get = || v1::GetRequestRequest { name: message.request.clone() };
    for name in ENTERPRISES {
        let other = world.client(name).await;
        let refused = other.requests().get_request(get()).await.expect_err("not theirs");
        assert_eq!(reason(&refused), "NOT_FOUND", "{name}");
        let listed = other.requests().list_requests(v1::ListRequestsRequest::default()).await;
        assert!(listed.expect("its own").into_inner().requests.is_empty(), "{name}");
    }
    let officer = world.enterprise("ppio-house").await;
    let seen = officer.client.requests().get_request(get()).await.expect("its own").into_inner();
    let seen = seen.request.expect("shown");
    assert_eq!(seen.app, officer.app.resource_name());

    // The person's access, with the officer's key, its own age identity, and the agent's own check.
    let case = RequestId::from_resource_name(&seen.name).expect("a name");
    let (answer, done, _) =
        officer.carry_out(&order(&officer, Act::Export, Some(case))).await.expect("followed");
    assert_eq!(done[0].state(), v1::ExecutionState::Completed, "{}", done[0].reason);
    let package = world.path().join("package.tar");
    mandate::cli::export::fetch(&officer.client, &done[0].export, &package).await.expect("for its own key");
    assert!(package.metadata().expect("there").len() > 0);

    // The officer's order is nobody else's to see.
    let name = answer.instruction.expect("shown").name;
    for other in ENTERPRISES {
        let call = v1::GetInstructionRequest { name: name.clone() };
        let refused = world.client(other).await.instructions().get_instruction(call).await;
        assert_eq!(reason(&refused.expect_err("not theirs")), "NOT_FOUND", "{other}");
    }
    let before = stores(world.path()).await;
    let (_, done, _) = officer.carry_out(&order(&officer, Act::Erase, None)).await.expect("followed");
    assert_eq!(done[0].state(), v1::ExecutionState::Completed, "{}", done[0].reason);
    let after = stores(world.path()).await;
    assert!(before != after, "nothing of PPIO's own customer was erased");
    let evidence = v1::GetEvidenceRequest { name, include_disclosures: true };
    let bundle = officer.client.instructions().get_evidence(evidence).await.expect("evidence").into_inner();
    let file = world.path().join("evidence.json");
    std::fs::write(&file, bundle.bundle).expect("written");
    let (code, text) = world.verify(&["evidence", file.to_str().expect("UTF-8")]);
    assert!(code == 0 && text.contains("controllers/ppio-house"), "{text}");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn support_signs_nothing_and_the_officer_nothing_of_an_enterprises() {
    let world = World::without_agent(|_| {}).await;
    let (officer, xingyu) = (world.enterprise("ppio-house").await, world.enterprise("xingyu").await);

    // Support with every scope it could ask for: the kind decides.
    let mut profile = world.profile("support");
    profile.scopes.extend(["instructions.submit", "requests.answer"].map(String::from));
    let support_key = access_key(&profile);
    let support = Client::open(profile).await.expect("it connects");
    let wire = officer.sign(&order(&officer, Act::Erase, None)).expect("signs").to_wire();
    let call = v1::SubmitInstructionRequest { instruction: wire.clone().into_bytes().into() };
    let refused = support.instructions().submit_instruction(call).await.expect_err("support orders nothing");
    assert_eq!(reason(&refused), "KIND_NOT_ALLOWED");
    let outcome = v1::RecordOutcomeRequest::default();
    let refused = support.requests().record_outcome(outcome).await.expect_err("nor answers");
    assert_eq!(reason(&refused), "KIND_NOT_ALLOWED");
    // What support signed, in the officer's name and by the officer's own line, is signed by nobody.
    let by_support = order(&officer, Act::Erase, None).sign(&[&support_key], &SystemEntropy).expect("signs");
    assert_eq!(refusal(&officer, &by_support.to_wire()).await.as_deref(), Some("KEY_UNKNOWN"));
    // Nor does an enterprise order with what the officer signed: those keys are none of its own.
    assert_eq!(refusal(&xingyu, &wire).await.as_deref(), Some("KEY_UNKNOWN"));

    // The same rules as for anybody: its own app, its own categories, its own store.
    let mut theirs = order(&officer, Act::Erase, None);
    theirs.app = xingyu.app.clone();
    theirs.subject = vec![Identifier::user(&xingyu.app, "u_8839201")];
    assert_eq!(signed_by_officer(&officer, &theirs).await.as_deref(), Some("APP_UNKNOWN"));
    let media = InstructionDraft {
        categories: Categories::Some(vec![Category::Media]),
        ..order(&officer, Act::Erase, None)
    };
    assert_eq!(signed_by_officer(&officer, &media).await.as_deref(), Some("OUTSIDE_AGREEMENT"));
    let rtc = InstructionDraft {
        stores: Some(vec!["rtc".parse().expect("an id")]),
        ..order(&officer, Act::Erase, None)
    };
    assert_eq!(signed_by_officer(&officer, &rtc).await.as_deref(), Some("OUTSIDE_AGREEMENT"));
    // No agreement gives it more: PPIO holds that data for others, and theirs for itself.
    let operator = world.client("operator").await;
    let listed = operator.registry().list_agreements(v1::ListAgreementsRequest::default()).await;
    let agreements = listed.expect("listed").into_inner().agreements;
    for agreement in agreements.iter().filter(|one| one.controller != "controllers/ppio-house").take(1) {
        let call = v1::CreateAgreementRequest {
            agreement_id: "too-wide".into(),
            agreement: Some(v1::Agreement {
                name: String::new(),
                controller: "controllers/ppio-house".into(),
                ..agreement.clone()
            }),
            request_id: String::new(),
        };
        let refused = operator.registry().create_agreement(call).await.expect_err("another role");
        assert_eq!(reason(&refused), "AGREEMENT_INVALID");
    }
    world.export_and_verify().await;
}
