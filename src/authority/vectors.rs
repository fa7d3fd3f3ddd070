//! Instructions made by other people's libraries, good and bad, through the whole rule.

use super::admission::NOBODY;
use super::fixtures::agreement;
use super::{AdmissionContext, admit};
use crate::domain::{ControllerId, Refusal};
use crate::token::fixtures::ORIGIN;
use crate::token::{Digest, Envelope, Expected, SignedKeySet};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    sentence: String,
    now: i64,
    key_set: String,
    pin: Digest,
    instruction: String,
    expect: String,
}

fn judge(vector: &Vector) -> Result<(), Refusal> {
    let iss: ControllerId = "xingyu".parse().unwrap();
    let set = SignedKeySet::read(vector.key_set.as_bytes())?.genesis(&iss, ORIGIN, &vector.pin)?;
    let envelope = Envelope::read(vector.instruction.as_bytes())?;
    let instruction = envelope.verify(&set)?.parse(&Expected { iss: &iss, aud: ORIGIN })?;
    let terms = agreement();
    let owned = instruction.statement().app.as_str() == "xingyu-live";
    let context = AdmissionContext {
        newest: &set,
        app_owner: owned.then_some(&iss),
        agreement: Some(&terms),
        now: vector.now,
        minor: false,
        without: NOBODY,
        witnesses: 0,
    };
    admit(&instruction, &context).map(drop)
}

#[test]
fn every_vector_gets_the_answer_it_names() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/instruction");
    let mut good = 0;
    let mut bad = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let vector: Vector = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let answer = match judge(&vector) {
            Ok(()) => "OK",
            Err(refusal) => refusal.reason.code(),
        };
        assert_eq!(answer, vector.expect, "{}: {}", vector.name, vector.sentence);
        if answer == "OK" { good += 1 } else { bad += 1 }
    }
    assert!(good >= 6 && bad >= 30, "vectors are missing: {good} good, {bad} bad");
}
