//! What can happen, as the trail tells it: one leaf per event (DESIGN §7, I2).
//!
//! An event carries references, codes, counts, digests and signed tokens. It has
//! no field that could hold a name, an address, a user id or a person's words (I4).
//! The same types are written by the gateway and read by the offline verifier.

use std::collections::BTreeMap;

use serde::de::value::MapDeserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::execution::{ContestGround, Stop};
use super::ids::{
    AgentId, AppId, ControllerId, ExecutionId, InstructionId, RequestId, StoreId, SubProcessorId,
};
use super::refusal::Reason;
use super::vocabulary::{Act, Category, Purpose, Region, Right};

macro_rules! events {
    ($( $(#[$doc:meta])* $name:ident = $type_name:literal { $( $(#[$fmeta:meta])* $field:ident : $ty:ty ),* $(,)? } )+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $name { $( $(#[$fmeta])* pub $field: $ty ),* }

            impl From<$name> for Event {
                fn from(event: $name) -> Event { Event::$name(event) }
            }
        )+

        /// One event; the leaf's `subject` stands beside it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Event { $( $name($name) ),+ }

        impl Event {
            /// Every leaf type there is.
            pub const TYPES: &'static [&'static str] = &[$($type_name),+];

            /// The leaf's `type`, `mandate.<noun>.<verb>`.
            pub fn type_name(&self) -> &'static str {
                match self { $( Event::$name(_) => $type_name ),+ }
            }

            /// The leaf's `data`, without its salt.
            pub fn to_data(&self) -> Map<String, Value> {
                let value = match self { $( Event::$name(event) => serde_json::to_value(event) ),+ };
                match value {
                    Ok(Value::Object(map)) => map,
                    // Every event is a struct of plain fields: serde_json gives an object.
                    other => unreachable!("an event serialises to an object, not {other:?}"),
                }
            }

            /// Reads a leaf's `type` and `data` (without its salt) back.
            pub fn parse(type_name: &str, data: Map<String, Value>) -> Result<Event, EventError> {
                match type_name {
                    $( $type_name => serde_json::from_value(Value::Object(data))
                        .map(Event::$name)
                        .map_err(|_| EventError::Data($type_name)), )+
                    _ => Err(EventError::Type),
                }
            }

            /// The same from members that somebody else keeps, without a copy of them.
            pub fn parse_members<'a>(
                type_name: &str,
                members: impl Iterator<Item = (&'a str, &'a Value)>,
            ) -> Result<Event, EventError> {
                let members = MapDeserializer::<_, serde_json::Error>::new(members);
                match type_name {
                    $( $type_name => $name::deserialize(members)
                        .map(Event::$name)
                        .map_err(|_| EventError::Data($type_name)), )+
                    _ => Err(EventError::Type),
                }
            }
        }
    };
}

/// A leaf that is no event of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("the leaf's type is not known")]
    Type,
    #[error("the leaf's data does not fit its type {0}")]
    Data(&'static str),
}

/// Of a leaf that does not say.
fn left_open() -> bool {
    true
}

fn is_left_open(begun: &bool) -> bool {
    *begun
}

events! {
    /// Leaf 0 of each log. Subject: the origin.
    LogOpened = "mandate.log.opened" { origin: String }

    /// In both logs. Subject: the trail's new origin, under which it goes on because leaves of the `former` are
    /// lost for good. Its first `size` leaves are those of the former; of that one `known_size` leaves with
    /// `known_root` were signed.
    LogReopened = "mandate.log.reopened" {
        by: String, origin: String, former: String, size: u64, known_size: u64, known_root: String,
    }
    /// In both logs. Subject: the origin of one of them, whose key named the next one; from here on both sign.
    /// `succession` is the signed note of both, as `trail::succession` has it.
    LogKeyVouched = "mandate.log_key.vouched" { by: String, succession: String }
    /// In both logs. Subject: the origin. This key was followed by another, and signs nothing from here on.
    LogKeyRetired = "mandate.log_key.retired" { by: String, vkey: String }

    /// Subject `controllers/<id>`.
    ControllerRegistered = "mandate.controller.registered" { by: String, house: bool }
    /// Subject `agreements/<id>` (R4).
    AgreementRegistered = "mandate.agreement.registered" {
        by: String, controller: ControllerId, categories: Vec<Category>, purposes: Vec<Purpose>,
        stores: Vec<StoreId>, regions: Vec<Region>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")] sub_processors: Vec<SubProcessorId>,
        start: i64, end: i64,
    }
    /// Subject `apps/<id>`. The facts are public, but long: their digest.
    AppRegistered = "mandate.app.registered" { by: String, controller: ControllerId, facts: u32, facts_digest: String }
    /// Subject `agents/<id>`. The first report key stands here so that reports verify from the trail alone.
    /// `operated_by` says of a store whose it is, where it is not PPIO's own.
    AgentRegistered = "mandate.agent.registered" {
        by: String, stores: Vec<StoreId>, region: Region, report_key: Value,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")] operated_by: BTreeMap<StoreId, SubProcessorId>,
    }
    /// Subject `subProcessors/<id>` (R25).
    SubProcessorRegistered = "mandate.sub_processor.registered" { by: String, region: Region, purposes: Vec<Purpose> }
    /// Subject `agents/<id>`: its report key named the next one, the key of this thumbprint; both may sign its
    /// reports. `succession` is signed by both, as `token::report_key` has it.
    ReportKeyVouched = "mandate.report_key.vouched" { by: String, report_key: String, succession: String }
    /// In both logs. Subject `agents/<id>`: of its report keys so far only the one of this thumbprint signs
    /// reports that count. `from` is the index of this leaf in the trail.
    ReportKeyRetired = "mandate.report_key.retired" { by: String, in_force: String, from: u64 }
    /// Subject: the principal.
    AccessKeyRegistered = "mandate.access_key.registered" { by: String, thumbprint: String }
    /// Subject: the principal.
    AccessKeyRevoked = "mandate.access_key.revoked" { by: String, thumbprint: String }
    /// Subject: the principal, whose first call this was over a certificate with this key.
    TlsKeyRegistered = "mandate.tls_key.registered" { by: String, thumbprint: String }
    /// Subject `controllers/<id>`. The set itself is in the authority log.
    /// `recovers` is the digest of the newest set of a chain whose root was lost: this one begins another.
    KeySetRegistered = "mandate.key_set.registered" {
        by: String, version: u64, digest: String, authority_index: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")] recovers: Option<String>,
    }
    /// In the authority log. Subject `controllers/<id>`. `key_set` is the JWS General JSON as received.
    KeySetPublished = "mandate.key_set.published" { version: u64, digest: String, key_set: String }

    /// Subject `messages/<id>`. The commitment is an HMAC-SHA256 under a salt that dies with the message.
    MessageReceived = "mandate.message.received" {
        by: String, commitment: String, route: String,
        #[serde(skip_serializing_if = "Option::is_none")] reason: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")] request: Option<RequestId>,
        received: i64,
    }
    MessageRead = "mandate.message.read" { by: String }
    MessageAssigned = "mandate.message.assigned" { by: String, app: AppId, request: RequestId, corrected: bool, redacted: bool }
    MessageDismissed = "mandate.message.dismissed" { by: String }

    /// Subject `requests/<id>`.
    RequestReceived = "mandate.request.received" {
        controller: ControllerId, app: AppId, origin: String, rights: Vec<Right>, guardian: bool, received: i64,
    }
    /// First time it left for its controller.
    RequestForwarded = "mandate.request.forwarded" { controller: ControllerId, sequence: u64 }
    RequestAcknowledged = "mandate.request.acknowledged" { controller: ControllerId }
    RequestMisrouted = "mandate.request.misrouted" { controller: ControllerId }
    RequestAnswered = "mandate.request.answered" { controller: ControllerId, outcomes: Vec<RightAnswered> }
    /// A controller looked at requests of its own. Subject: the request, or the controller for a page of them.
    RequestRead = "mandate.request.read" { by: String, count: u32 }

    /// Subject `instructions/<jti>`: every signature is good and `missing` distinct signers more are needed. It
    /// waits for them until its end.
    InstructionReceived = "mandate.instruction.received" {
        controller: ControllerId, app: AppId, act: Act, digest: String, signed_part: String,
        key_set_version: u64, key_set_digest: String, authority_size: u64,
        #[serde(skip_serializing_if = "Option::is_none")] request: Option<RequestId>,
        missing: u32,
    }
    /// Subject `instructions/<jti>`, which waits. `approval` is `<protected>..<signature>` over its payload.
    ApprovalGiven = "mandate.approval.given" { controller: ControllerId, digest: String, approval: String, missing: u32 }
    /// Subject `instructions/<jti>`, which waits: a signer took back what he signed. With the last one it ends.
    ApprovalWithdrawn = "mandate.approval.withdrawn" {
        controller: ControllerId, digest: String, withdrawal: String, missing: u32, is_last: bool, authority_index: u64,
    }
    /// In the authority log, so that nobody counts that signature any more. Subject `instructions/<jti>`.
    SignatureWithdrawn = "mandate.signature.withdrawn" { controller: ControllerId, digest: String, withdrawal: String }
    /// In the authority log, so that every agent stops. Subject `instructions/<jti>`.
    InstructionStopped = "mandate.instruction.stopped" { controller: ControllerId, why: Stop }
    /// Subject `instructions/<jti>`: the processor believes it unlawful. It goes no further.
    InstructionContested = "mandate.instruction.contested" {
        controller: ControllerId, by: String, ground: ContestGround, authority_index: u64,
    }

    /// Subject `instructions/<jti>`. `signed_part` is the instruction without its disclosures, for good. `target`
    /// is what a `revoke` takes back, in force from this leaf on. `sub_processors` are all that it reaches.
    InstructionAdmitted = "mandate.instruction.admitted" {
        controller: ControllerId, app: AppId, act: Act, digest: String, signed_part: String,
        key_set_version: u64, key_set_digest: String, authority_size: u64,
        #[serde(skip_serializing_if = "Option::is_none")] request: Option<RequestId>,
        #[serde(skip_serializing_if = "Option::is_none")] target: Option<InstructionId>,
        executions: Vec<Order>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")] sub_processors: Vec<SubProcessorId>,
    }
    /// Subject: the principal. The digest is an HMAC-SHA256 of the input under a sealed salt.
    InstructionRefused = "mandate.instruction.refused" {
        reason: Reason, digest: String,
        #[serde(skip_serializing_if = "Option::is_none")] jti: Option<InstructionId>,
    }

    /// Subject `executions/<id>`.
    ExecutionLeased = "mandate.execution.leased" { agent: AgentId, attempt: u32 }
    /// `begun`: rows may have been touched. It is written where the agent said that none were; a leaf without it
    /// leaves that open.
    ExecutionDeferred = "mandate.execution.deferred" {
        agent: AgentId, attempt: u32, reason: Reason, next: i64,
        #[serde(default = "left_open", skip_serializing_if = "is_left_open")]
        begun: bool,
    }
    /// Some attempts were not answered, or no more may be made: given up.
    ExecutionFailed = "mandate.execution.failed" { attempt: u32, reason: Reason }
    /// `report` is the agent's compact JWS.
    ExecutionReported = "mandate.execution.reported" { agent: AgentId, attempt: u32, outcome: String, report: String }
    /// Subject `instructions/<jti>`: its last execution ended.
    InstructionEnded = "mandate.instruction.ended" { controller: ControllerId, state: String }

    /// Subject `exports/<id>`.
    ExportReleased = "mandate.export.released" { execution: ExecutionId, digest: String, size: u64, expires: i64 }
    ExportDownloaded = "mandate.export.downloaded" { by: String, offset: u64 }
    ExportRemoved = "mandate.export.removed" { execution: ExecutionId }
    /// Subject `instructions/<jti>`.
    EvidenceExported = "mandate.evidence.exported" { by: String, disclosures: bool }

    /// The data keys of the subject's retention class were destroyed.
    DataShredded = "mandate.data.shredded" { class: String, keys: u32 }
    /// Subject `epochs/<n>`. Every data key is wrapped under that epoch, `rewrapped` of them anew; the keys of
    /// all epochs before it are destroyed where this was said, and copies of the keyring from then with them.
    EpochRotated = "mandate.epoch.rotated" { by: String, rewrapped: u64 }
}

/// What both leaves say that hold an instruction: the one that admits it, and the one that lets it wait.
#[derive(Debug, Clone, Copy)]
pub struct InstructionSaid<'a> {
    pub controller: &'a ControllerId,
    pub app: &'a AppId,
    pub act: Act,
    pub digest: &'a str,
    pub signed_part: &'a str,
    pub key_set_version: u64,
    pub key_set_digest: &'a str,
    pub authority_size: u64,
    pub request: Option<RequestId>,
}

macro_rules! says {
    ($($event:ident),+) => {
        $(impl $event {
            pub fn said(&self) -> InstructionSaid<'_> {
                InstructionSaid {
                    controller: &self.controller,
                    app: &self.app,
                    act: self.act,
                    digest: &self.digest,
                    signed_part: &self.signed_part,
                    key_set_version: self.key_set_version,
                    key_set_digest: &self.key_set_digest,
                    authority_size: self.authority_size,
                    request: self.request,
                }
            }
        })+
    };
}

says!(InstructionAdmitted, InstructionReceived);

/// One order of an admitted instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub execution: ExecutionId,
    pub store: StoreId,
}

/// How one right of a request was answered by the controller itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightAnswered {
    pub right: Right,
    pub refused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ground: Option<super::vocabulary::RefusalGround>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let event: Event = MessageDismissed { by: "support/s-1".into() }.into();
        let back = Event::parse(event.type_name(), event.to_data()).unwrap();
        assert_eq!(back, event);
        let data = event.to_data();
        let members = data.iter().map(|(name, value)| (name.as_str(), value));
        assert_eq!(Event::parse_members(event.type_name(), members).unwrap(), event);
    }

    #[test]
    fn a_member_that_no_event_has_is_refused() {
        let mut data = Event::from(MessageRead { by: "support/s-1".into() }).to_data();
        data.insert("name".into(), "x".into());
        let members = data.iter().map(|(name, value)| (name.as_str(), value));
        let refused = Event::parse_members("mandate.message.read", members);
        assert_eq!(refused, Err(EventError::Data("mandate.message.read")));
        assert_eq!(Event::parse("mandate.message.read", data), Err(EventError::Data("mandate.message.read")));
    }

    #[test]
    fn every_type_is_mandate_noun_verb_and_stands_once() {
        let mut seen = std::collections::BTreeSet::new();
        for name in Event::TYPES {
            assert!(seen.insert(name), "{name} stands twice");
            let parts: Vec<_> = name.split('.').collect();
            assert!(parts.len() == 3 && parts[0] == "mandate", "{name}");
        }
    }
}
