//! What a gateway that holds its log keys might slip in: agents, doers and times of its own.

use super::audit_tests::{broken, put, run};
use super::log_fixtures::*;
use super::published::{Fault, Report};
use super::rules::Rule;
use super::verdict::{Which, verify as judge};
use super::{Pins, proven};
use crate::domain::Timestamp;
use crate::domain::event::*;
use crate::token::{Digest, fixtures as token};
use crate::trail::{CosigningKey, Note};

fn report_key(name: &str) -> serde_json::Value {
    serde_json::from_str(&token::key(name).public().canonical()).unwrap()
}

#[test]
fn a_second_agent_beside_a_store_is_refused_before_the_first_lease() {
    let evil = |store: &str| AgentRegistered {
        by: "operators/o-1".into(),
        stores: vec![store.parse().unwrap()],
        region: crate::domain::Region::Cn,
        report_key: report_key("dora"),
        operated_by: Default::default(),
    };
    let at = at::ADMITTED;
    assert_eq!(broken(|s| put(s, at, "agents/evil", evil("rtc"))), (Rule::Registered, at));
    assert_eq!(broken(|s| put(s, at::AGENT, "agents/evil", evil("rtc"))), (Rule::Registered, at::AGENT + 1));
    // Beside another store it may stand.
    let mut story = trail_story();
    put(&mut story, at, "agents/evil", evil("elsewhere"));
    assert!(run(&sealed(&authority_story(), AUTHORITY_START), &sealed(&story, token::NOW), &pins()).is_ok());
}

#[test]
fn where_agents_are_pinned_no_other_reports() {
    let audit = |pins: &Pins| {
        run(&sealed(&authority_story(), AUTHORITY_START), &sealed(&trail_story(), token::NOW), pins)
            .map_err(|violation| (violation.rule, violation.index as usize))
    };
    let (trail, authority) = (Log::trail(&trail_story()), Log::authority(&authority_story()));
    let evidence = bundle(&trail, &authority, None);
    let mut none = pins();
    none.agents.clear();
    assert!(audit(&none).is_ok());
    assert!(judge(&evidence, &none).is_ok());
    let mut another = none.clone();
    another.agents.insert("logs-agent".parse().unwrap(), token::key("bob").public().clone());
    assert_eq!(audit(&another).unwrap_err(), (Rule::ReportSigned, at::REPORTED));
    assert_eq!(judge(&evidence, &another).unwrap_err().which, Which::TrailLeaf(at::REPORTED as u64));
    another.agents.insert("rtc-agent".parse().unwrap(), token::key("report").public().clone());
    assert!(audit(&another).is_ok());
    assert!(judge(&evidence, &another).is_ok());
}

#[test]
fn by_whom_a_leaf_names_a_principal_that_may_not() {
    const MESSAGE: &str = "messages/01938a5e-7c3f-7b2e-9f7a-00000000000a";
    let received = |by: &str| MessageReceived {
        by: by.into(),
        commitment: Digest::of("mail").to_string(),
        route: "triage".into(),
        reason: None,
        request: None,
        received: token::NOW,
    };
    let at = at::ADMITTED;
    for by in ["controllers/xingyu", "operators/o-1", "support", "support/", "nobody", "supporters/s-1"] {
        assert_eq!(broken(|s| put(s, at, MESSAGE, received(by))), (Rule::ByWhom, at), "{by}");
        let read = || MessageRead { by: by.to_owned() };
        let looked = |s: &mut Story| {
            put(s, at, MESSAGE, received("support/s-1"));
            put(s, at + 1, MESSAGE, read());
        };
        assert_eq!(broken(looked), (Rule::ByWhom, at + 1), "{by}");
    }
    let house = ControllerRegistered { by: "agents/rtc-agent".into(), house: false };
    assert_eq!(broken(|s| put(s, at, "controllers/leting", house)), (Rule::ByWhom, at));
    let evidence = EvidenceExported { by: "support/s-1".into(), disclosures: false };
    assert_eq!(broken(|s| put(s, at::ENDED, INSTRUCTION, evidence)), (Rule::ByWhom, at::ENDED));
    let rotated = EpochRotated { by: "controllers/xingyu".into(), rewrapped: 1 };
    assert_eq!(broken(|s| put(s, at, "epochs/2", rotated)), (Rule::ByWhom, at));
    let tls_key =
        |by: &str| TlsKeyRegistered { by: by.into(), thumbprint: token::key("tls").id().to_string() };
    for by in ["controllers/leting", "agents/rtc-agent", "support/s-1"] {
        assert_eq!(broken(|s| put(s, at, "controllers/xingyu", tls_key(by))), (Rule::ByWhom, at), "{by}");
    }
    let Event::KeySetRegistered(named) = trail_story()[at::KEY_SET].1.clone() else { panic!() };
    let another = KeySetRegistered { by: "controllers/leting".into(), ..named };
    let place = at::KEY_SET;
    assert_eq!(broken(|s| s[place].1 = another.into()), (Rule::ByWhom, place));
}

/// Both logs, and pins of a witness that saw their heads at these times.
fn seen(trail_at: i64, authority_at: i64) -> (Log, Log, Pins) {
    let witness = CosigningKey::from_seed("w.example", &[7; 32]).unwrap();
    let cosign = |log: &mut Log, at: i64| {
        let mut note = Note::parse(&log.checkpoint).unwrap();
        note.add(witness.cosign(note.text(), Timestamp::from_second(at).unwrap()).unwrap()).unwrap();
        log.checkpoint = note.to_string();
    };
    let (mut trail, mut authority) = (Log::trail(&trail_story()), Log::authority(&authority_story()));
    cosign(&mut trail, trail_at);
    cosign(&mut authority, authority_at);
    let mut pins = pins();
    pins.witnesses.vkeys = vec![witness.verifier_key().clone()];
    pins.witnesses.required = 1;
    (trail, authority, pins)
}

#[test]
fn leaf_time_no_leaf_is_later_than_its_witnesses_saw_it() {
    // The last leaf but one has this time; 300 s are granted.
    let last = token::NOW + 10 * (trail_story().len() as i64 - 1);
    let authority_last = AUTHORITY_START + 10 * (authority_story().len() as i64 - 1);
    let judged = |trail_at: i64, authority_at: i64| -> Result<Report, Fault> {
        let (trail, authority, pins) = seen(trail_at, authority_at);
        verify(&trail.files(), &authority.files(), &pins)
    };
    assert!(judged(last - 300, authority_last - 300).is_ok());
    let fault = judged(last - 301, authority_last).unwrap_err().to_string();
    assert!(
        fault.starts_with(&format!("trail leaf {} breaks LEAF_TIME", trail_story().len() - 1)),
        "{fault}"
    );
    let fault = judged(last, authority_last - 301).unwrap_err().to_string();
    let place = authority_story().len() - 1;
    assert!(fault.starts_with(&format!("authority leaf {place} breaks LEAF_TIME")), "{fault}");

    let early = token::NOW - 10_000;
    let (trail, authority, pins) = seen(early, authority_last);
    let receipt = proven::verify(&trail.receipt(3), &trail.leaves[3], &pins).unwrap_err();
    assert!(receipt.contains("trail leaf 3 breaks LEAF_TIME"), "{receipt}");
    let fault = judge(&bundle(&trail, &authority, None), &pins).unwrap_err();
    assert!(fault.what.contains("LEAF_TIME"), "{}", fault.what);
    // Where no witness is required, nobody says when it was.
    let mut unwitnessed = pins;
    unwitnessed.witnesses.required = 0;
    assert!(verify(&trail.files(), &authority.files(), &unwitnessed).is_ok());
}
