//! A controller rotates its keys (DESIGN §6): the next version is in force from its leaf on, agents and auditors
//! follow it from the pin by themselves, and what was admitted before goes on unless its signer is gone.

use std::time::Duration;

use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use mandate::token::{InstructionDraft, KeySetDraft, KeyUse, PrivateKey};

use crate::harness::{Process, World, within};
use crate::key_sets::{key_of, named, new_key, next, refusal, rotate};

fn erasure(of: &Enterprise, user: &str) -> InstructionDraft {
    of.order(Act::Erase, vec![Identifier::user(&of.app, user)], None).expect("an order")
}

fn signed(draft: &InstructionDraft, key: &PrivateKey) -> String {
    draft.sign(&[key], &SystemEntropy).expect("signs").to_wire()
}

/// The only execution of an instruction that must be admitted.
async fn admitted(by: &Enterprise, draft: &InstructionDraft, key: &PrivateKey) -> String {
    let answer = by.submit(&signed(draft, key)).await.expect("admitted");
    let mut executions = answer.instruction.expect("shown").executions;
    assert_eq!(executions.len(), 1);
    executions.remove(0)
}

async fn ended(of: &Enterprise, execution: &str) -> (v1::ExecutionState, String) {
    let ended = within(60, "the end of an order", of.follow(execution)).await.expect("it is followed");
    (ended.state(), ended.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_stops_who_is_gone_and_nothing_else() {
    let mut world = World::without_agent(|_| {}).await;
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one, two] =
        ["root", "instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
    let stays = admitted(&xingyu, &erasure(&xingyu, "u_8839201"), &one).await;
    let gone = admitted(&xingyu, &erasure(&xingyu, "u_8800001"), &two).await;
    let under_one = erasure(&xingyu, "u_8800002");

    // Version 2, under a new root: the second signer leaves, a third comes.
    let (new_root, three) = (new_key(), new_key());
    let second = next(&xingyu, &new_root, &[(&one, "privacy-office-1"), (&three, "privacy-office-3")])
        .sign(&[&root, &new_root])
        .expect("signs");
    let leaf = rotate(&xingyu, &second).await.expect("it is in force");
    assert_eq!(rotate(&xingyu, &second).await, Ok(leaf), "the same again gets the first answer");
    let shown = xingyu.client.instructions().get_key_set(v1::GetKeySetRequest {}).await.expect("shown");
    assert_eq!((shown.get_ref().version, shown.get_ref().key_set.as_bytes()), (2, second.as_slice()));

    assert_eq!(refusal(&xingyu, &signed(&under_one, &one)).await.as_deref(), Some("KEY_SET_NOT_CURRENT"));
    xingyu.key_set = named(&second);
    let late = signed(&erasure(&xingyu, "u_8800002"), &two);
    assert_eq!(refusal(&xingyu, &late).await.as_deref(), Some("KEY_UNKNOWN"));
    let new = admitted(&xingyu, &erasure(&xingyu, "u_8800002"), &three).await;

    world.agent = Some(Process::agent(world.path()));
    assert_eq!(ended(&xingyu, &stays).await, (v1::ExecutionState::Completed, String::new()));
    assert_eq!(ended(&xingyu, &gone).await, (v1::ExecutionState::Failed, "SIGNER_REVOKED".into()));
    assert_eq!(ended(&xingyu, &new).await, (v1::ExecutionState::Completed, String::new()));
    world.export_and_verify().await;

    // What the key that left had ordered is listed, and nothing in the trail changed by that.
    let asked =
        v1::ListInstructionsRequest { signed_with: two.id().to_string(), page_size: 1, ..Default::default() };
    let mut names = Vec::new();
    let mut page =
        xingyu.client.instructions().list_instructions(asked.clone()).await.expect("listed").into_inner();
    loop {
        names.extend(page.instructions.iter().map(|found| found.executions.clone()));
        if page.next_page_token.is_empty() {
            break;
        }
        let next = v1::ListInstructionsRequest { page_token: page.next_page_token, ..asked.clone() };
        page = xingyu.client.instructions().list_instructions(next).await.expect("listed").into_inner();
    }
    assert_eq!(names, [vec![gone]]);
    let later = v1::ListInstructionsRequest {
        since_time: Some(prost_types::Timestamp { seconds: SystemClock.now_seconds() + 5, nanos: 0 }),
        ..asked
    };
    let none = xingyu.client.instructions().list_instructions(later).await.expect("listed").into_inner();
    assert!(none.instructions.is_empty());

    // The old root signs nothing more.
    let third = next(&xingyu, &new_root, &[(&one, "privacy-office-1")]);
    let by_the_old = third.sign(&[&root]).expect("signs");
    assert_eq!(rotate(&xingyu, &by_the_old).await, Err("KEY_SET_SIGNATURE".into()));
    let third = third.sign(&[&new_root]).expect("signs");
    rotate(&xingyu, &third).await.expect("it is in force");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_that_does_not_follow_is_refused_and_the_old_one_stays_in_force() {
    let world = World::without_agent(|_| {}).await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    let [root, one, two] =
        ["root", "instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
    let [access, report] = [("xingyu", "access"), ("rtc-agent", "report")]
        .map(|(whose, name)| key_of(world.path(), whose, name));
    let new_root = new_key();
    let good = || next(&xingyu, &root, &[(&one, "privacy-office-1"), (&two, "privacy-office-2")]);
    let new_rooted = || next(&xingyu, &new_root, &[(&one, "privacy-office-1")]);
    let with = |key: &PrivateKey| next(&xingyu, &root, &[(&one, "privacy-office-1"), (key, "other")]);
    let now = SystemClock.now_seconds();
    let foreign = next(&leting, &root, &[(&one, "privacy-office-1")]);
    let swapped = KeySetDraft {
        keys: good()
            .keys
            .into_iter()
            .map(|mut entry| {
                if entry.usage == KeyUse::Instruction {
                    entry.signer = "somebody-else".into();
                }
                entry
            })
            .collect(),
        ..good()
    };
    let cases: Vec<(&str, KeySetDraft, Vec<&PrivateKey>, &str)> = vec![
        ("a gap", KeySetDraft { version: 3, ..good() }, vec![&root], "KEY_SET_VERSION"),
        ("a second first", KeySetDraft { version: 1, prev: None, ..good() }, vec![&root], "KEY_SET_VERSION"),
        (
            "another predecessor",
            KeySetDraft { prev: Some(leting.key_set.digest), ..good() },
            vec![&root],
            "KEY_SET_VERSION",
        ),
        ("the old root alone", new_rooted(), vec![&root], "KEY_SET_SIGNATURE"),
        ("the new root alone", new_rooted(), vec![&new_root], "KEY_SET_SIGNATURE"),
        ("an instruction key", good(), vec![&one], "KEY_SET_SIGNATURE"),
        (
            "past its end",
            KeySetDraft { iat: now - 20, exp: now - 10, ..good() },
            vec![&root],
            "KEY_SET_EXPIRED",
        ),
        ("another's", foreign, vec![&root], "KEY_SET_ISSUER"),
        (
            "for another trail",
            KeySetDraft { aud: "other/trail".into(), ..good() },
            vec![&root],
            "KEY_SET_ISSUER",
        ),
        ("a key of another signer", swapped, vec![&root], "KEY_SET_MALFORMED"),
        ("a key that opens the gateway", with(&access), vec![&root], "KEY_ALREADY_USED"),
        ("an agent's report key", with(&report), vec![&root], "KEY_ALREADY_USED"),
        ("another controller's key", with(&leting.key), vec![&root], "KEY_ALREADY_USED"),
    ];
    for (what, draft, keys, reason) in cases {
        let set = draft.sign(&keys).expect("signs");
        assert_eq!(rotate(&xingyu, &set).await, Err(reason.to_owned()), "{what}");
    }
    // Whoever is not the controller cannot bring its next set either.
    let set = good().sign(&[&root]).expect("signs");
    assert_eq!(rotate(&leting, &set).await, Err("KEY_SET_ISSUER".into()));
    admitted(&xingyu, &erasure(&xingyu, "u_8839201"), &one).await;
    rotate(&xingyu, &set).await.expect("the good one is taken");
    // And a key of a set never becomes an access key.
    let operator = world.client("operator").await;
    let call = v1::CreateAccessKeyRequest {
        principal: "controllers/xingyu".into(),
        key: one.public().canonical(),
        request_id: String::new(),
        tls_keys: Vec::new(),
    };
    let refused = operator.registry().create_access_key(call).await.expect_err("it has a use");
    assert_eq!(crate::harness::reason(&refused), "KEY_ALREADY_USED");
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_set_orders_nothing_and_its_root_still_signs_the_next() {
    let world = World::without_agent(|_| {}).await;
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one] = ["root", "instruction"].map(|name| key_of(world.path(), "xingyu", name));
    let exp = SystemClock.now_seconds() + 4;
    let short = KeySetDraft { exp, ..next(&xingyu, &root, &[(&one, "privacy-office-1")]) };
    let short = short.sign(&[&root]).expect("signs");
    rotate(&xingyu, &short).await.expect("it is in force");
    xingyu.key_set = named(&short);
    admitted(&xingyu, &erasure(&xingyu, "u_8839201"), &one).await;
    tokio::time::sleep(Duration::from_secs(u64::try_from(exp - SystemClock.now_seconds()).unwrap_or(0) + 1))
        .await;
    let late = signed(&erasure(&xingyu, "u_8800001"), &one);
    assert_eq!(refusal(&xingyu, &late).await.as_deref(), Some("KEY_SET_EXPIRED"));

    let third = next(&xingyu, &root, &[(&one, "privacy-office-1")]).sign(&[&root]).expect("signs");
    rotate(&xingyu, &third).await.expect("an expired set's root signs the next");
    xingyu.key_set = named(&third);
    admitted(&xingyu, &erasure(&xingyu, "u_8800001"), &one).await;
    world.export_and_verify().await;
}
