//! The published vectors, answered by a gateway over its database: the signed forms by its use cases, access tokens by the
//! layer before its services. What `tests/vectors` promises an integrator is what a gateway does, with what came before it.
//!
//! Each vector that says what came before or answers a case gets a gateway of its own; the others of one key set and
//! agreement share one.

use std::collections::BTreeMap;

use mandate::app::AppError;
use mandate::token::{Envelope, SignedKeySet, base64url};
use serde_json::Value;

use crate::vector_gateway::{Gateway, NONE, set_up, text, vectors};

/// Judged as text alone: on the wire header and signature have a field each, and no payload can stand between them.
const NOT_ON_THE_WIRE: &str = "attached";
/// An answered case is not as it was for the next.
fn answers_a_case(vector: &Value) -> bool {
    let envelope = Envelope::read(text(&vector["input"]).as_bytes());
    let payload = envelope.ok().and_then(|envelope| base64url::decode(envelope.payload_segment()).ok());
    payload
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        .is_some_and(|one| one["req"].is_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_key_sets_as_it_was_published() {
    let empty = set_up().await;
    let (mut judged, mut wrong) = (0, Vec::new());
    for (path, vector) in vectors(&["key-set"]) {
        // Whose a first set is, the operator's registration reads from it; an agent's pin and a verifier's say it.
        if text(&vector["name"]) == "other-issuer" {
            continue;
        }
        let after = vector["after"].as_str().unwrap_or(NONE);
        let gateway = Gateway::open(empty.path(), after, "current").await;
        let set = text(&vector["input"]).as_bytes();
        let done = if after == NONE {
            let own = SignedKeySet::read(set).map(|set| set.digest().to_string()).unwrap_or_default();
            let pin = vector["pin"].as_str().unwrap_or(&own);
            gateway.app.register_key_set("operators/o-1".into(), set, pin, None).await
        } else {
            gateway.app.rotate_key_set(&gateway.controller, set).await
        };
        let answer = match done {
            Ok(_) => "OK",
            Err(AppError::Refused(refusal)) => refusal.reason.code(),
            Err(error) => panic!("the gateway failed: {error:?}"),
        };
        judged += 1;
        if answer != text(&vector["expect"]) {
            wrong.push(format!("{path}: {answer}, published as {}", vector["expect"]));
        }
        gateway.close().await;
    }
    assert!(wrong.is_empty(), "{} of {judged} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged >= 95, "vectors are missing: {judged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_every_vector_as_it_was_published() {
    let empty = set_up().await;
    let mut shared: BTreeMap<(String, String), Gateway> = BTreeMap::new();
    let (mut judged, mut wrong) = (0, Vec::new());
    for (path, vector) in vectors(&["instruction", "approval", "withdrawal"]) {
        if vector["name"] == NOT_ON_THE_WIRE {
            continue;
        }
        let of = |member: &str| vector[member].as_str().unwrap_or("current").to_owned();
        let scene = (of("key_set"), of("agreement"));
        let alone = vector["before"].is_array() || vector["form"] != "instruction" || answers_a_case(&vector);
        let answer = if alone {
            let own = Gateway::open(empty.path(), &scene.0, &scene.1).await;
            let answer = own.judge(&vector).await;
            own.close().await;
            answer
        } else {
            if !shared.contains_key(&scene) {
                let opened = Gateway::open(empty.path(), &scene.0, &scene.1).await;
                shared.insert(scene.clone(), opened);
            }
            shared[&scene].judge(&vector).await
        };
        // What comes after its admission is the agent's to judge.
        let expected = if vector["then"].is_array() { "OK" } else { text(&vector["expect"]) };
        judged += 1;
        if answer != expected {
            wrong.push(format!("{path}: {answer}, published as {expected}"));
        }
    }
    for gateway in shared.into_values() {
        gateway.close().await;
    }
    assert!(wrong.is_empty(), "{} of {judged} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged >= 385, "vectors are missing: {judged}");
}
