//! The rows that the leaves imply: the tables as the trail alone would have them.
//!
//! [`apply`] writes what one leaf brings about into a database of the gateway's schema, by the same rules
//! of `domain` that the use cases decide by. From leaf 0 on it rebuilds every column that is no personal
//! data and no text for people. What no leaf holds stays empty: display names, facts, flags, languages,
//! public keys of callers, calls, lease tokens, and everything sealed.
//!
//! It writes without the sequencer, so never into the database of a gateway that runs.

mod cases;
mod orders;
mod registered;
mod scratch;
mod waiting;

pub(super) use orders::SHARED;
pub(super) use registered::NO_LEAF;
pub use scratch::Scratch;

use super::tx::{Log, StoreError};
use crate::domain::event::Event;
use crate::sql::{Conn, Query};

/// What stands in `written_by` of a row that was rebuilt.
const NAME: &str = "projection";

/// Where a leaf stands.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Of which log it is.
    pub log: Log,
    /// Its index in that log.
    pub index: u64,
    pub subject: &'a str,
    /// Its time, Unix seconds.
    pub seconds: i64,
    /// Origins that the trail has and had: what reports and key sets are addressed to.
    pub origins: &'a [String],
}

/// Why a leaf brings about nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The leaves before it do not allow for it. A sentence, without any value.
    #[error("{0}")]
    Contradiction(&'static str),
    #[error("the rebuilt rows cannot be written")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ProjectError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(e) if e.is_unique_violation() => Self::Contradiction("it was made before"),
            _ => Self::Store(error.into()),
        }
    }
}

type Projected = Result<(), ProjectError>;

/// Writes what the leaf brings about.
pub async fn apply(conn: &mut Conn, at: At<'_>, event: &Event) -> Projected {
    match event {
        Event::LogOpened(_)
        | Event::LogReopened(_)
        | Event::LogKeyVouched(_)
        | Event::LogKeyRetired(_)
        | Event::MessageRead(_)
        | Event::RequestRead(_)
        | Event::ExportDownloaded(_)
        | Event::EvidenceExported(_)
        | Event::InstructionStopped(_)
        | Event::SignatureWithdrawn(_)
        | Event::EpochRotated(_) => Ok(()),

        Event::ControllerRegistered(e) => registered::controller(conn, at, e).await,
        Event::AgreementRegistered(e) => registered::agreement(conn, at, e).await,
        Event::AppRegistered(e) => registered::app(conn, at, e).await,
        Event::AgentRegistered(e) => registered::agent(conn, at, e).await,
        Event::SubProcessorRegistered(e) => registered::sub_processor(conn, at, e).await,
        Event::ReportKeyVouched(e) => registered::report_key_vouched(conn, at, e).await,
        Event::ReportKeyRetired(e) => registered::report_key_retired(conn, at, e).await,
        Event::AccessKeyRegistered(e) => registered::access_key(conn, at, e).await,
        Event::AccessKeyRevoked(e) => registered::access_key_revoked(conn, at, e).await,
        Event::TlsKeyRegistered(e) => registered::tls_key(conn, at, e).await,
        Event::KeySetPublished(e) => registered::key_set_published(conn, at, e).await,
        Event::KeySetRegistered(e) => registered::key_set(conn, at, e).await,

        Event::MessageReceived(e) => cases::message(conn, at, e).await,
        Event::MessageAssigned(e) => cases::assigned(conn, at, e).await,
        Event::MessageDismissed(_) => cases::dismissed(conn, at).await,
        Event::RequestReceived(e) => cases::request(conn, at, e).await,
        Event::RequestForwarded(e) => cases::forwarded(conn, at, e).await,
        Event::RequestAcknowledged(e) => cases::acknowledged(conn, at, e).await,
        Event::RequestMisrouted(e) => cases::misrouted(conn, at, e).await,
        Event::RequestAnswered(e) => cases::answered(conn, at, e).await,

        Event::InstructionReceived(e) => waiting::received(conn, at, e).await,
        Event::ApprovalGiven(e) => waiting::approved(conn, at, e).await,
        Event::ApprovalWithdrawn(e) => waiting::withdrawn(conn, at, e).await,
        Event::InstructionContested(e) => orders::contested(conn, at, e).await,
        Event::InstructionAdmitted(e) => orders::admitted(conn, at, e).await,
        Event::InstructionRefused(e) => orders::refused(conn, at, e).await,
        Event::ExecutionLeased(e) => orders::leased(conn, at, e).await,
        Event::ExecutionDeferred(e) => orders::deferred(conn, at, e).await,
        Event::ExecutionFailed(e) => orders::failed(conn, at, e).await,
        Event::ExecutionReported(e) => orders::reported(conn, at, e).await,
        Event::InstructionEnded(e) => orders::ended(conn, at, e).await,
        Event::ExportReleased(e) => orders::released(conn, at, e).await,
        Event::ExportRemoved(_) => orders::removed(conn, at).await,
        Event::DataShredded(e) => orders::shredded(conn, at, e).await,
    }
}

/// What no leaf holds of the rows that this one brings about; `None` where nothing is missing that counts.
pub fn lacking(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::ControllerRegistered(_) | Event::SubProcessorRegistered(_) => "its display name",
        Event::AppRegistered(_) => "its display name and the facts that route to it",
        Event::AccessKeyRegistered(_) => "the access key itself: register another one for that principal",
        Event::MessageReceived(_) => "the mail: take it in again",
        Event::RequestReceived(_) => "the case's content",
        Event::InstructionReceived(_) => "its disclosures: who approves it shows them again",
        Event::InstructionAdmitted(_) => {
            "its disclosures: unless it was carried out, the controller must sign a new one"
        }
        Event::InstructionRefused(_) => "the salt of its digest",
        _ => return None,
    })
}

/// The id in a resource name of that collection.
fn id_in<'a>(at: At<'a>, collection: &str) -> Result<&'a str, ProjectError> {
    at.subject
        .strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or(ProjectError::Contradiction("its subject is of another collection"))
}

/// Runs a statement that must change exactly one row.
async fn one(conn: &mut Conn, statement: Query, otherwise: &'static str) -> Projected {
    match statement.execute(conn).await? {
        1 => Ok(()),
        _ => Err(ProjectError::Contradiction(otherwise)),
    }
}
