//! A leaf read back as an event: its form, and that it holds no personal data.

use serde_json::Value;

use super::rules::{Broken, LogName, Rule};
use crate::domain::Timestamp;
use crate::domain::event::{Event, EventError};
use crate::domain::ids::{
    AgentId, AgreementId, AppId, ControllerId, ExecutionId, ExportId, IdError, InstructionId, MessageId,
    RequestId,
};
use crate::trail::Leaf;

/// Longest word of a leaf that is no signed token.
const MAX_WORD: usize = 255;
/// Members that carry a signed token or a public key: checked by their signatures and own readers.
const SIGNED: [&str; 4] = ["signed_part", "report", "key_set", "report_key"];

/// The event of a leaf, its salt left aside.
pub(super) fn event_of(leaf: &Leaf) -> Result<Event, EventError> {
    let mut data = leaf.data().clone();
    data.remove("salt");
    Event::parse(leaf.type_(), data)
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
    let clean =
        event.to_data().iter().all(|(name, value)| SIGNED.contains(&name.as_str()) || is_words(value));
    Rule::PersonalData.holds(clean, "a member holds something that is no id, word, number or digest")?;
    Ok((leaf, event))
}

fn belongs(log: LogName, event: &Event) -> bool {
    match event {
        Event::LogOpened(_) => true,
        Event::KeySetPublished(_) => log == LogName::Authority,
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
        Event::ControllerRegistered(_) | Event::KeySetRegistered(_) | Event::KeySetPublished(_) => {
            is(ControllerId::from_resource_name(subject))
        }
        Event::AgreementRegistered(_) => is(AgreementId::from_resource_name(subject)),
        Event::AppRegistered(_) => is(AppId::from_resource_name(subject)),
        Event::AgentRegistered(_) => is(AgentId::from_resource_name(subject)),
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
        Event::InstructionAdmitted(_) | Event::InstructionEnded(_) | Event::EvidenceExported(_) => {
            is(InstructionId::from_resource_name(subject))
        }
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
        | Event::InstructionRefused(_)
        | Event::DataShredded(_) => {
            subject.split_once('/').is_some_and(|(collection, id)| !collection.is_empty() && !id.is_empty())
                && is_words(&Value::from(subject))
        }
    }
}
