//! Whatever reason an integrator can be given by what DESIGN §5 and §6 say has a vector, or stands here with why not. What
//! is counted here are reasons; the ways to come to one are counted in `ways`.

use std::collections::BTreeSet;
use std::path::Path;

use super::vectors::named;
use crate::domain::Reason;

/// The areas of `docs/errors.md` that are no integrator's: nothing that a controller's client sends is answered so.
const OTHERS: [(&str, &str); 3] = [
    ("Intake", "support's mail, and what a case is answered with by hand"),
    (
        "Execution",
        "between gateway and agent, or what a store did: no signed form of a controller's is answered so",
    ),
    ("Publishing and witnesses", "between a log and its witnesses"),
];

const HANDSHAKE: &str = "of the TLS handshake, before any text is read: tests/refused_certificates.rs";
const LOAD: &str = "of the gateway's load, not of what was sent: tests/load.rs";
const CALL: &str = "of a call's own fields, not of a signed form";
const OPERATOR: &str = "the operator's registration, not the controller's";
/// The execution fails with it; a vector would need the data map and the salt that the gateway kept.
const BESIDE: &str = "judged beside the data against the store's own data map: tests/previewed.rs";

/// Reasons without a vector, and why.
const NONE: &[(Reason, &str)] = &[
    (Reason::CertificateRequired, HANDSHAKE),
    (Reason::CertificateUntrusted, HANDSHAKE),
    (Reason::CertificateExpired, HANDSHAKE),
    (Reason::CertificateNotYetValid, HANDSHAKE),
    (Reason::CertificateRevoked, HANDSHAKE),
    (Reason::RevocationListStale, HANDSHAKE),
    (Reason::CertificateUnusable, HANDSHAKE),
    (Reason::SpiffeIdMissing, HANDSHAKE),
    (Reason::SpiffeIdAmbiguous, HANDSHAKE),
    (Reason::SpiffeIdMalformed, HANDSHAKE),
    (Reason::AnchorNotEntitled, HANDSHAKE),
    (Reason::TlsKeyUsedElsewhere, "of the certificate's key, whatever is sent: tests/tls_keys.rs"),
    (Reason::MaterialInvalid, "only in the operator's own log: tests/reload.rs"),
    (Reason::FieldRequired, CALL),
    (Reason::FieldInvalid, CALL),
    (Reason::PageTokenInvalid, CALL),
    (Reason::RequestIdReused, CALL),
    (Reason::NotFound, "a name in a call; that there is nothing, and that it is another's, are one answer"),
    (Reason::MessageTooLarge, "of a message, not of the instruction in it, which has INSTRUCTION_TOO_LARGE"),
    (Reason::RateLimited, LOAD),
    (Reason::Overloaded, LOAD),
    (Reason::Unavailable, LOAD),
    (Reason::Internal, "the gateway's own fault"),
    (Reason::NameTaken, OPERATOR),
    (Reason::AgreementInvalid, OPERATOR),
    (Reason::ThresholdNotMet, "what too few have signed is no error: it waits (the vectors with WAITS)"),
    (Reason::PreviewUnknown, BESIDE),
    (Reason::PreviewMapMoved, BESIDE),
    (Reason::PreviewScopeMoved, BESIDE),
    (Reason::PreviewAgreementMoved, BESIDE),
    (Reason::PreviewCountMoved, BESIDE),
    (
        Reason::SubjectBusy,
        "of what is open in the agent's ledger, not of what was sent: the agent puts the order off, until the other act has \
         ended or its attempts are used up: src/agent/ledger_subjects.rs, tests/deferral.rs",
    ),
];

/// The codes in `docs/errors.md`, by their area.
fn documented() -> Vec<(String, Reason)> {
    let (mut area, mut all) = (String::new(), Vec::new());
    for line in include_str!("../../../docs/errors.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            area = heading.to_owned();
        } else if let Some(code) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            all.push((area.clone(), Reason::from_code(code).expect("a reason is documented")));
        }
    }
    all
}

#[test]
fn every_reason_that_an_integrator_can_cause_has_a_vector_or_a_word_why_not() {
    let all = documented();
    assert_eq!(all.len(), Reason::ALL.len(), "docs/errors.md is the whole table");
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"));
    let shown: BTreeSet<String> = named(folder).unwrap().into_values().collect();
    for (area, reason) in &all {
        let code = reason.code();
        let excused = NONE.iter().any(|(none, _)| none == reason);
        let others = OTHERS.iter().any(|(other, _)| other == area);
        match shown.contains(code) {
            true => assert!(!excused, "{code} has a vector by now: take it out of the table"),
            false => assert!(
                excused || others,
                "{code} ({area}) has no vector: add one to tests/vectors/make, or say here why there is none"
            ),
        }
        assert!(!(excused && others), "{code} is excused twice");
    }
    for (area, _) in OTHERS {
        assert!(all.iter().any(|(has, _)| has == area), "docs/errors.md has no area {area}");
    }
}
