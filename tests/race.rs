//! What a command was judged by changes while it is on its way: on a file, and on PostgreSQL through two
//! gateways. Each answer is true by the order of the trail, and the whole trail still verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mandate::cli::CliError;
use mandate::cli::client::{Client, Profile};
use mandate::cli::demo::{Enterprise, reason_of};
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, Identifier, RequestId};
use mandate::grpc::v1;
use mandate::token::{KeyKind, PrivateKey};
use rstest::rstest;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{Process, World, reason, replica_name, within};
use crate::replicas::take_in;

#[derive(Clone, Copy)]
pub enum On {
    Sqlite,
    /// Two gateways on one database.
    Postgres,
}

/// A world and two ways into it: by two gateways where the database allows it.
pub struct Arena {
    pub world: World,
    second: Option<Process>,
    pub sides: [Arc<Enterprise>; 2],
    /// The profile of each side.
    profiles: [std::path::PathBuf; 2],
}

impl Arena {
    pub async fn new(on: On) -> Self {
        let (world, second) = match on {
            On::Sqlite => (World::without_agent(|_| {}).await, None),
            On::Postgres => {
                let world = World::on_postgres(2).await;
                let second = Process::replica(world.path(), &replica_name(1));
                (world, Some(second))
            }
        };
        let profiles =
            [world.profile_at("xingyu", 0), world.profile_at("xingyu", usize::from(second.is_some()))];
        let [one, two] = &profiles;
        let open = async |profile: &Path| Arc::new(Enterprise::open(profile).await.expect("it connects"));
        let sides = [open(one).await, open(two).await];
        Self { world, second, sides, profiles }
    }

    /// The number of the second gateway, or of the only one.
    pub fn other(&self) -> usize {
        usize::from(self.second.is_some())
    }

    pub fn side(&self, n: usize) -> Arc<Enterprise> {
        Arc::clone(&self.sides[n % 2])
    }

    fn an_erasure(&self, user: String, request: Option<RequestId>) -> String {
        let side = &self.sides[0];
        let order =
            side.order(Act::Erase, vec![Identifier::user(&side.app, user)], request).expect("an order");
        side.sign(&order).expect("signs").to_wire()
    }

    /// The whole trail, each leaf as JSON, once it verifies.
    pub async fn verified_trail(&self) -> Vec<Value> {
        self.world.export_and_verify().await;
        let leaves = self.world.trail_leaves().await;
        leaves.iter().map(|leaf| serde_json::from_str(leaf).expect("JSON")).collect()
    }
}

/// What a submission came to: the leaf of an admission, or the reason.
pub async fn outcome(side: &Enterprise, wire: &str) -> Result<u64, String> {
    match side.submit(wire).await {
        Ok(answer) => {
            let index = answer.instruction.expect("shown").trail_index;
            assert_eq!(answer.receipt.expect("a receipt").index, index);
            Ok(index)
        }
        Err(CliError::Status(status)) => Err(reason_of(&status).expect("a reason")),
        Err(error) => panic!("no answer: {error}"),
    }
}

pub fn is(leaf: &Value, kind: &str) -> bool {
    leaf["type"] == kind
}

fn case_of(name: &str) -> RequestId {
    RequestId::from_resource_name(name).expect("a case's name")
}

/// Where in the trail each case was instructed; never twice.
fn instructed(trail: &[Value]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (index, leaf) in trail.iter().enumerate().filter(|(_, leaf)| is(leaf, "mandate.instruction.admitted"))
    {
        if let Some(request) = leaf["data"]["request"].as_str() {
            assert_eq!(found.insert(request.to_owned(), index), None, "one right was instructed twice");
        }
    }
    found
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn of_many_instructions_for_one_right_at_once_one_is_admitted(#[case] on: On) {
    const CASES: usize = 16;
    const RIVALS: usize = 4;
    let arena = Arena::new(on).await;
    let mut rivals = JoinSet::new();
    for n in 0..CASES {
        let call = v1::CreateRequestRequest {
            app: arena.sides[0].app.resource_name(),
            rights: vec!["delete".into()],
            request_id: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
            ..Default::default()
        };
        let created =
            arena.sides[0].client.requests().create_request(call).await.expect("opened").into_inner();
        let case = case_of(&created.request.expect("shown").name);
        for rival in 0..RIVALS {
            let (side, wire) = (arena.side(rival), arena.an_erasure(format!("race-{n}"), Some(case)));
            rivals.spawn(async move { (n, outcome(&side, &wire).await) });
        }
    }
    let mut winners = BTreeSet::new();
    let mut leaves = BTreeSet::new();
    while let Some(ended) = rivals.join_next().await {
        match ended.expect("the call did not panic") {
            (case, Ok(leaf)) => {
                assert!(winners.insert(case), "two were admitted for one right");
                assert!(leaves.insert(leaf), "two answers share a leaf");
            }
            (_, Err(reason)) => assert_eq!(reason, "ACT_DOES_NOT_SERVE"),
        }
    }
    assert_eq!(winners.len(), CASES, "nobody was admitted for some right");
    let trail = arena.verified_trail().await;
    assert_eq!(instructed(&trail).len(), CASES);
    // Who lost has a leaf, too.
    let refused = trail.iter().filter(|leaf| is(leaf, "mandate.instruction.refused")).count();
    assert_eq!(refused, CASES * (RIVALS - 1));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_either_instructed_or_rejected_never_both(#[case] on: On) {
    const CASES: usize = 20;
    let arena = Arena::new(on).await;
    let support = arena.world.client("support").await;
    let mut cases = Vec::new();
    for n in 0..CASES {
        cases.push(take_in(&support, n).await);
    }
    let reject = async |side: &Enterprise, name: &str| {
        let call = v1::RejectRequestRequest { name: name.to_owned(), request_id: String::new() };
        match side.client.requests().reject_request(call).await {
            Ok(_) => Ok(()),
            Err(status) => Err(reason(&status)),
        }
    };
    let mut calls = JoinSet::new();
    for (n, name) in cases.iter().cloned().enumerate() {
        let wire = arena.an_erasure(format!("race-{n}"), Some(case_of(&name)));
        let (first, second) = (arena.side(n), arena.side(n + 1));
        calls.spawn(async move {
            let (instructed, rejected) = match n {
                // One of each kind for certain; the others as it comes.
                0 => {
                    let instructed = outcome(&first, &wire).await;
                    (instructed, reject(&second, &name).await)
                }
                1 => {
                    let rejected = reject(&second, &name).await;
                    (outcome(&first, &wire).await, rejected)
                }
                _ => {
                    let later = Duration::from_millis(n as u64 % 8);
                    let rejecting = async {
                        tokio::time::sleep(later).await;
                        reject(&second, &name).await
                    };
                    tokio::join!(outcome(&first, &wire), rejecting)
                }
            };
            match (&instructed, &rejected) {
                (Ok(_), Err(reason)) => assert_eq!(reason, "STAGE_CONFLICT"),
                (Err(reason), Ok(())) => assert_eq!(reason, "REQUEST_UNKNOWN"),
                other => panic!("neither or both: {other:?}"),
            }
            (name, rejected.is_ok())
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(ended) = calls.join_next().await {
        let (name, rejected) = ended.expect("the calls did not panic");
        answers.insert(name, rejected);
    }
    assert!(answers.values().any(|rejected| *rejected) && answers.values().any(|rejected| !rejected));

    let trail = arena.verified_trail().await;
    let instructed = instructed(&trail);
    for (name, was_rejected) in answers {
        let rejected = |leaf: &&Value| is(leaf, "mandate.request.misrouted") && leaf["subject"] == *name;
        assert_eq!(trail.iter().filter(rejected).count(), usize::from(was_rejected));
        let case = case_of(&name).to_string();
        assert_eq!(
            instructed.contains_key(&case),
            !was_rejected,
            "the trail says otherwise than the answers"
        );
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn one_jti_with_two_payloads_at_once_is_admitted_once(#[case] on: On) {
    const ROUNDS: usize = 24;
    let arena = Arena::new(on).await;
    let side = arena.side(0);
    let mut pairs = JoinSet::new();
    for n in 0..ROUNDS {
        let subject = |which| vec![Identifier::user(&side.app, format!("race-{n}-{which}"))];
        let one = side.order(Act::Erase, subject("a"), None).expect("an order");
        let mut other = side.order(Act::Erase, subject("b"), None).expect("an order");
        other.jti = one.jti;
        let [one, other] = [one, other].map(|order| side.sign(&order).expect("signs").to_wire());
        let (here, there) = (arena.side(n), arena.side(n + 1));
        pairs.spawn(async move {
            let (one, other) = tokio::join!(outcome(&here, &one), outcome(&there, &other));
            match (one, other) {
                (Ok(leaf), Err(reason)) | (Err(reason), Ok(leaf)) => {
                    assert_eq!(reason, "JTI_REUSED");
                    leaf
                }
                other => panic!("neither or both: {other:?}"),
            }
        });
    }
    let mut leaves = BTreeSet::new();
    while let Some(leaf) = pairs.join_next().await {
        assert!(leaves.insert(leaf.expect("exactly one was admitted")), "two answers share a leaf");
    }
    let trail = arena.verified_trail().await;
    let mut admitted = BTreeSet::new();
    for leaf in trail.iter().filter(|leaf| is(leaf, "mandate.instruction.admitted")) {
        assert!(admitted.insert(leaf["subject"].to_string()), "one jti has two admissions");
    }
    assert_eq!(admitted.len(), ROUNDS);
    let reused =
        |leaf: &&Value| is(leaf, "mandate.instruction.refused") && leaf["data"]["reason"] == "JTI_REUSED";
    assert_eq!(trail.iter().filter(reused).count(), ROUNDS);
}

/// A new access key of xingyu's, registered; its thumbprint, and a way in with it at each side.
async fn new_key(arena: &Arena, operator: &Client, n: usize) -> (String, [Arc<Enterprise>; 2]) {
    let key = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).expect("a key");
    let file = arena.world.path().join(format!("access-{n}.jwk"));
    std::fs::write(&file, key.to_jwk()).expect("written");
    let call = v1::CreateAccessKeyRequest {
        principal: "controllers/xingyu".into(),
        key: key.public().canonical(),
        request_id: String::new(),
        tls_keys: Vec::new(),
    };
    let thumbprint =
        operator.registry().create_access_key(call).await.expect("registered").into_inner().thumbprint;
    let open = async |profile: &Path| {
        let profile = Profile { access_key: file.clone(), ..Profile::load(profile).expect("it loads") };
        Arc::new(Enterprise::with_profile(profile).await.expect("it connects"))
    };
    let [here, there] = &arena.profiles;
    (thumbprint, [open(here).await, open(there).await])
}

/// Submits one instruction after the other until one is refused: what was admitted, and why not more.
async fn until_refused(side: &Enterprise, wires: Vec<String>) -> (BTreeSet<u64>, Option<String>) {
    let mut admitted = BTreeSet::new();
    for wire in wires {
        match outcome(side, &wire).await {
            Ok(leaf) => assert!(admitted.insert(leaf)),
            Err(reason) => return (admitted, Some(reason)),
        }
    }
    (admitted, None)
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_revoked_under_load_opens_nothing_more(#[case] on: On) {
    const ROUNDS: usize = 4;
    const EACH: usize = 24;
    let arena = Arena::new(on).await;
    let operator = arena.world.client("operator").await;
    let mut answered = BTreeSet::new();
    // What each key let in, and the leaf of its end.
    let mut ends = Vec::new();
    for round in 0..ROUNDS {
        let (thumbprint, sides) = new_key(&arena, &operator, round).await;
        let mut loads = JoinSet::new();
        for (n, side) in sides.iter().cycle().take(6).cloned().enumerate() {
            let wires = (0..EACH).map(|i| arena.an_erasure(format!("race-{round}-{n}-{i}"), None)).collect();
            loads.spawn(async move { until_refused(&side, wires).await });
        }
        tokio::time::sleep(Duration::from_millis(20 + 15 * round as u64)).await;
        let call = v1::RevokeAccessKeyRequest { thumbprint: thumbprint.clone(), request_id: String::new() };
        let revoked = operator.registry().revoke_access_key(call).await.expect("revoked").into_inner();
        let end = revoked.receipt.expect("a receipt").index;
        // The gateway that was told knows it from the answer on; the other one in moments.
        let late = arena.an_erasure(format!("race-{round}-late"), None);
        let refused = outcome(&sides[0], &late).await;
        assert_eq!(refused, Err("TOKEN_KEY_UNKNOWN".into()), "a revoked key opened the gateway");
        within(20, "the word to the other gateway", async {
            let look = v1::ListInstructionsRequest::default();
            while sides[1].client.instructions().list_instructions(look.clone()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        while let Some(load) = loads.join_next().await {
            let (admitted, reason) = load.expect("the load did not panic");
            ends.extend(admitted.iter().map(|leaf| (*leaf, end)));
            answered.extend(admitted);
            assert!(reason.is_none_or(|reason| reason == "TOKEN_KEY_UNKNOWN"));
        }
    }
    // What waited for the writer when its key was revoked was not let in after all, at neither gateway.
    for (leaf, end) in ends {
        assert!(leaf < end, "a key let leaf {leaf} in after its end at {end}");
    }
    // What was answered OK is in the trail, and nothing else is: who was refused left no admission.
    let trail = arena.verified_trail().await;
    let admitted: BTreeSet<u64> = (0u64..)
        .zip(&trail)
        .filter(|(_, leaf)| is(leaf, "mandate.instruction.admitted"))
        .map(|(index, _)| index)
        .collect();
    assert_eq!(admitted, answered);
    assert!(!answered.is_empty(), "the keys were never good");
}
