//! A leaf read back as an event: its form, and that it holds no personal data.

use serde_json::Value;

use super::doers;
use super::rules::{Broken, LogName, Rule};
use crate::domain::Timestamp;
use crate::domain::event::{Event, EventError};
use crate::domain::ids::{
    AgentId, AgreementId, AppId, ControllerId, ExecutionId, ExportId, IdError, InstructionId, MessageId,
    RequestId, SubProcessorId,
};
use crate::trail::{Leaf, Succession, canonical_json};

/// Longest word of a leaf that is no signed token.
const MAX_WORD: usize = 255;
/// Members that carry a signed token or a public key: checked by their signatures and own readers.
const SIGNED: [&str; 7] =
    ["signed_part", "report", "key_set", "report_key", "succession", "approval", "withdrawal"];

/// The event of a leaf, its salt left aside.
pub(super) fn event_of(leaf: &Leaf) -> Result<Event, EventError> {
    let members = leaf.data().iter().filter(|(name, _)| *name != "salt");
    Event::parse_members(leaf.type_(), members.map(|(name, value)| (name.as_str(), value)))
}

/// The event of a leaf about the logs themselves, told by its bytes before any JSON is read. Proves nothing.
pub fn log_event(leaf: &[u8]) -> Option<Event> {
    const NOUN: &[u8] = br#""mandate.log"#;
    if !leaf.windows(NOUN.len()).any(|window| window == NOUN) {
        return None;
    }
    let event = event_of(&Leaf::parse(leaf).ok()?).ok()?;
    matches!(event, Event::LogReopened(_) | Event::LogKeyVouched(_) | Event::LogKeyRetired(_))
        .then_some(event)
}

/// The successions among leaves, in order. Each is signed by both of its keys; nothing else is proven.
pub fn successions<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Vec<Succession> {
    let vouched = leaves.into_iter().filter_map(|leaf| match log_event(leaf)? {
        Event::LogKeyVouched(vouched) => Succession::read(&vouched.succession).ok(),
        _ => None,
    });
    vouched.collect()
}

/// Reads one leaf of a log. `previous` is the time of the leaf before it.
pub(super) fn read(
    log: LogName,
    source: &str,
    previous: Option<Timestamp>,
    bytes: &[u8],
) -> Result<(Leaf, Event), Broken> {
    let leaf = Leaf::parse(bytes).map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
    let event = event_of(&leaf).map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
    Rule::LeafForm.holds(leaf.source() == source, "its source is another gateway")?;
    Rule::LeafForm
        .holds(previous.is_none_or(|time| leaf.time() >= time), "it is earlier than the leaf before it")?;
    Rule::LeafForm.holds(belongs(log, &event), "its type does not belong in this log")?;
    Rule::LeafForm
        .holds(subject_fits(leaf.subject(), &event), "its subject is no resource of the event's kind")?;
    let clean = leaf.data().iter().all(|(name, value)| SIGNED.contains(&name.as_str()) || is_words(value));
    Rule::PersonalData.holds(clean, "a member holds something that is no id, word, number or digest")?;
    doers::check(&leaf)?;
    Ok((leaf, event))
}

/// How far the gateway's clock may run ahead of the witnesses'. Seconds.
const CLOCKS_APART: i64 = 300;

/// That a leaf is no later than the witnesses saw a head that holds it: `LEAF_TIME`.
pub(super) fn seen_by(witnessed_at: Option<Timestamp>, time: Timestamp) -> Result<(), Broken> {
    let seen = witnessed_at.is_none_or(|at| time.as_second() <= at.as_second().saturating_add(CLOCKS_APART));
    Rule::LeafTime.holds(seen, "it says a time that was still to come when its witnesses had seen it")
}

/// Tells registrations by their first bytes, without reading the JSON.
///
/// Exact for every leaf in its one spelling, in which what stands before the type has a fixed length;
/// any other leaf breaks `LEAF_FORM` when it is read.
pub(super) struct Registrations {
    before_type: Vec<u8>,
}

impl Registrations {
    const NOUNS: [&str; 9] = [
        "controller",
        "agreement",
        "app",
        "agent",
        "report_key",
        "sub_processor",
        "access_key",
        "tls_key",
        "key_set",
    ];
    /// Bytes of what stands first and of a UUID.
    const UNTIL_ID: usize = br#"{"specversion":"1.0","id":""#.len() + 36;

    pub(super) fn of(source: &str) -> Self {
        let mut before_type = br#"","source":"#.to_vec();
        canonical_json::write_string(source, &mut before_type);
        before_type.extend_from_slice(br#","type":"mandate."#);
        Self { before_type }
    }

    pub(super) fn contain(&self, leaf: &[u8]) -> bool {
        let type_ =
            leaf.get(Self::UNTIL_ID..).and_then(|rest| rest.strip_prefix(self.before_type.as_slice()));
        let noun = type_.and_then(|rest| rest.split(|byte| *byte == b'.').next());
        noun.is_some_and(|noun| Self::NOUNS.iter().any(|known| known.as_bytes() == noun))
    }
}

fn belongs(log: LogName, event: &Event) -> bool {
    match event {
        Event::LogOpened(_)
        | Event::LogReopened(_)
        | Event::LogKeyVouched(_)
        | Event::LogKeyRetired(_)
        | Event::ReportKeyRetired(_) => true,
        Event::KeySetPublished(_) | Event::InstructionStopped(_) | Event::SignatureWithdrawn(_) => {
            log == LogName::Authority
        }
        _ => log == LogName::Trail,
    }
}

/// Words and ids have neither spaces nor `@` nor letters beyond ASCII: no name, address or sentence passes.
fn is_words(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => {
            text.len() <= MAX_WORD
                && text.bytes().all(|b| {
                    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b':' | b'+' | b'=')
                })
        }
        Value::Array(items) => items.iter().all(is_words),
        Value::Object(members) => members.values().all(is_words),
    }
}

fn subject_fits(subject: &str, event: &Event) -> bool {
    fn is<T>(parsed: Result<T, IdError>) -> bool {
        parsed.is_ok()
    }
    match event {
        Event::LogOpened(opened) => subject == opened.origin,
        Event::LogReopened(reopened) => subject == reopened.origin,
        // Which log's key it is, is told by the key's name.
        Event::LogKeyVouched(_) | Event::LogKeyRetired(_) => is_words(&Value::from(subject)),
        Event::ControllerRegistered(_) | Event::KeySetRegistered(_) | Event::KeySetPublished(_) => {
            is(ControllerId::from_resource_name(subject))
        }
        Event::AgreementRegistered(_) => is(AgreementId::from_resource_name(subject)),
        Event::AppRegistered(_) => is(AppId::from_resource_name(subject)),
        Event::SubProcessorRegistered(_) => is(SubProcessorId::from_resource_name(subject)),
        Event::AgentRegistered(_) | Event::ReportKeyVouched(_) | Event::ReportKeyRetired(_) => {
            is(AgentId::from_resource_name(subject))
        }
        Event::MessageReceived(_)
        | Event::MessageRead(_)
        | Event::MessageAssigned(_)
        | Event::MessageDismissed(_) => is(MessageId::from_resource_name(subject)),
        Event::RequestReceived(_)
        | Event::RequestForwarded(_)
        | Event::RequestAcknowledged(_)
        | Event::RequestMisrouted(_)
        | Event::RequestAnswered(_) => is(RequestId::from_resource_name(subject)),
        Event::RequestRead(_) => {
            is(RequestId::from_resource_name(subject)) || is(ControllerId::from_resource_name(subject))
        }
        Event::InstructionReceived(_)
        | Event::ApprovalGiven(_)
        | Event::ApprovalWithdrawn(_)
        | Event::SignatureWithdrawn(_)
        | Event::InstructionStopped(_)
        | Event::InstructionContested(_)
        | Event::InstructionAdmitted(_)
        | Event::InstructionEnded(_)
        | Event::EvidenceExported(_) => is(InstructionId::from_resource_name(subject)),
        Event::ExecutionLeased(_)
        | Event::ExecutionDeferred(_)
        | Event::ExecutionFailed(_)
        | Event::ExecutionReported(_) => is(ExecutionId::from_resource_name(subject)),
        Event::ExportReleased(_) | Event::ExportDownloaded(_) | Event::ExportRemoved(_) => {
            is(ExportId::from_resource_name(subject))
        }
        // A principal, or any resource whose data was shredded: `<collection>/<id>`.
        Event::AccessKeyRegistered(_)
        | Event::AccessKeyRevoked(_)
        | Event::TlsKeyRegistered(_)
        | Event::InstructionRefused(_)
        | Event::DataShredded(_)
        | Event::EpochRotated(_) => {
            subject.split_once('/').is_some_and(|(collection, id)| !collection.is_empty() && !id.is_empty())
                && is_words(&Value::from(subject))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_fixtures::{GATEWAY, sealed, trail_story};
    use super::*;

    #[test]
    fn a_registration_is_told_by_its_first_bytes() {
        let registrations = Registrations::of(GATEWAY);
        let story = trail_story();
        for (leaf, (_, event)) in sealed(&story, 1_795_420_800).iter().zip(&story) {
            let registers = [
                "mandate.controller.registered",
                "mandate.agreement.registered",
                "mandate.app.registered",
                "mandate.agent.registered",
                "mandate.sub_processor.registered",
                "mandate.report_key.vouched",
                "mandate.report_key.retired",
                "mandate.access_key.registered",
                "mandate.tls_key.registered",
                "mandate.key_set.registered",
            ]
            .contains(&event.type_name());
            assert_eq!(registrations.contain(leaf), registers, "{}", event.type_name());
            assert!(!Registrations::of("other.example").contain(leaf));
        }
        assert!(!registrations.contain(b""));
    }
}
