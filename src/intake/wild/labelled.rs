//! The shared mails, held against their labels.

use serde_json::Value;

use super::*;
use crate::domain::routing::TriageReason;

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn the_shared_mails_land_as_their_labels_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mail");
    let labels: Value = serde_json::from_slice(&std::fs::read(folder.join("labels.json")).unwrap()).unwrap();
    let samples = labels["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 7);
    for label in samples {
        let file = label["file"].as_str().unwrap();
        let got = read_ok(&std::fs::read(folder.join(file)).unwrap());
        assert_eq!(Some(got.is_request), label["is_request"].as_bool(), "{file}");
        let route = &label["route"];
        match (route["kind"].as_str().unwrap(), &got.route) {
            ("enterprise", Route::App { app, .. }) => {
                let facts = facts();
                let registered = facts.apps.iter().find(|r| r.app == *app).unwrap();
                assert_eq!(Some(registered.facts[0].text.as_str()), route["app"].as_str(), "{file}");
            }
            ("ppio", Route::House { .. }) => {}
            ("triage", Route::Triage { reason, .. }) => {
                let expected = if got.is_request { TriageReason::NoApp } else { TriageReason::NotARequest };
                assert_eq!(*reason, expected, "{file}");
            }
            _ => panic!("{file} went {}", goes(&got)),
        }
        assert_eq!(
            sorted(rights(&got).iter().map(|r| (*r).to_owned()).collect()),
            sorted(strings(&label["rights"])),
            "{file}"
        );
        let expected: Vec<String> = label["identifiers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| {
                let of = i["of"].as_str().unwrap_or("self");
                format!("{}={} of {of}", i["type"].as_str().unwrap(), i["value"].as_str().unwrap())
            })
            .collect();
        let given = got
            .identifiers
            .iter()
            .map(|g| {
                let of = serde_json::to_value(g.of).unwrap();
                format!("{}={} of {}", g.kind.as_str(), g.value, of.as_str().unwrap())
            })
            .collect();
        assert_eq!(sorted(given), sorted(expected), "{file}");
        assert_eq!(Some(got.language.as_str()), label["language"].as_str(), "{file}");
        assert_eq!(Some(got.guardian), label["guardian"].as_bool(), "{file}");
        assert_eq!(got.minor_age.map(u64::from), label["minor_age"].as_u64(), "{file}");
        assert_eq!(sorted(flags(&got)), sorted(strings(&label["flags"])), "{file}");
        assert_eq!(Some(got.auth.as_str()), label["auth"].as_str(), "{file}");
        assert_eq!(Some(got.subject.as_str()), label["subject"].as_str(), "{file}");
        assert_eq!(got.from.name.as_deref(), label["from_name"].as_str(), "{file}");
        let at = |name: &str| label[name].as_str().map(|t| t.parse::<crate::domain::Timestamp>().unwrap());
        assert_eq!(got.received_at, at("received_at"), "{file}");
        assert_eq!(got.first_received_at, at("first_received_at"), "{file}");
        for part in strings(&label["body_contains"]) {
            assert!(got.body.contains(&part), "{file}");
        }
        if let Some(subject) = label["inner_subject"].as_str() {
            let inner = got.inner.as_ref().unwrap();
            assert_eq!(inner.subject, subject, "{file}");
            assert_eq!(Some(inner.from.address.as_str()), label["inner_from"].as_str(), "{file}");
            for part in strings(&label["inner_body_contains"]) {
                assert!(inner.body.contains(&part), "{file}");
            }
        }
        let categories: Vec<String> = got.categories.iter().map(|c| c.what.as_str().to_owned()).collect();
        if label["data_categories"].is_array() {
            assert_eq!(sorted(categories), sorted(strings(&label["data_categories"])), "{file}");
        }
    }
}

#[test]
fn a_candidate_survives_its_seal_and_shows_nothing_in_debug() {
    let got = Letter::plain("删除", "请删除我在“星语直播”的信息，用户ID：u_8839201").read();
    let json = serde_json::to_vec(&got).unwrap();
    let back: Candidate = serde_json::from_slice(&json).unwrap();
    assert!(back == got, "the sealed form loses something");
    let shown = format!("{got:?} {:?}", forwardable(&got, &got.route, &facts()));
    for secret in ["8839201", "jo@post", "Jo Doe", "请删除"] {
        assert!(!shown.contains(secret), "Debug shows {secret}");
    }
}
