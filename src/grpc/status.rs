//! From a use case's error to what the caller sees: a gRPC code and `google.rpc` details.
//!
//! `ErrorInfo` carries the stable reason, what is wrong and what to do; `BadRequest` names
//! the field; `RetryInfo` says when to come back. Our own faults show an id and nothing
//! else, and are logged under that id by their class.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::app::AppError;
use crate::domain::clock::uuid_v7;
use crate::domain::{Class, Clock, Entropy, Reason, Refusal};

/// When to come back after `RESOURCE_EXHAUSTED`.
const RETRY_EXHAUSTED: Duration = Duration::from_secs(1);
/// When to come back after `UNAVAILABLE`.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(3);

/// The one gRPC code of a class.
pub fn code_of(class: Class) -> Code {
    match class {
        Class::Unauthenticated => Code::Unauthenticated,
        Class::Denied => Code::PermissionDenied,
        Class::Invalid => Code::InvalidArgument,
        Class::Precondition => Code::FailedPrecondition,
        Class::Missing => Code::NotFound,
        Class::Exists => Code::AlreadyExists,
        Class::Conflict => Code::Aborted,
        Class::Exhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::Internal => Code::Internal,
    }
}

/// The code's name in the gRPC specification.
fn code_name(class: Class) -> &'static str {
    match class {
        Class::Unauthenticated => "UNAUTHENTICATED",
        Class::Denied => "PERMISSION_DENIED",
        Class::Invalid => "INVALID_ARGUMENT",
        Class::Precondition => "FAILED_PRECONDITION",
        Class::Missing => "NOT_FOUND",
        Class::Exists => "ALREADY_EXISTS",
        Class::Conflict => "ABORTED",
        Class::Exhausted => "RESOURCE_EXHAUSTED",
        Class::Unavailable => "UNAVAILABLE",
        Class::Internal => "INTERNAL",
    }
}

/// The status of a refusal. `domain` is the gateway's name (`ErrorInfo.domain`).
pub fn refused(domain: &str, refusal: &Refusal) -> Status {
    with_metadata(domain, refusal, HashMap::new())
}

fn with_metadata(domain: &str, refusal: &Refusal, mut metadata: HashMap<String, String>) -> Status {
    let (reason, class) = (refusal.reason, refusal.reason.class());
    metadata.insert("what".into(), reason.what().into());
    metadata.insert("remedy".into(), reason.remedy().into());
    if let Some(note) = &refusal.note {
        metadata.insert("note".into(), note.clone().into_owned());
    }
    let mut details = ErrorDetails::with_error_info(reason.code(), domain, metadata);
    if let Some(field) = &refusal.field {
        let description = refusal.note.as_deref().unwrap_or(reason.what());
        details.add_bad_request_violation(field.clone().into_owned(), description);
    }
    match class {
        Class::Exhausted => {
            details.set_retry_info(Some(RETRY_EXHAUSTED));
        }
        Class::Unavailable => {
            details.set_retry_info(Some(RETRY_UNAVAILABLE));
        }
        Class::Unauthenticated
        | Class::Denied
        | Class::Invalid
        | Class::Precondition
        | Class::Missing
        | Class::Exists
        | Class::Conflict
        | Class::Internal => {}
    }
    Status::with_error_details(code_of(class), refusal.to_string(), details)
}

/// The status of whatever a use case answers.
pub fn status_of(domain: &str, error: &AppError, clock: &dyn Clock, entropy: &dyn Entropy) -> Status {
    let fault = match error {
        AppError::Refused(refusal) if refusal.reason.class() != Class::Internal => {
            return refused(domain, refusal);
        }
        // The database is away for a while, or no reader came free in time: not our fault, and no answer.
        error if error.passes() => {
            // Its Display names no values.
            tracing::warn!(%error, "a call cannot be answered now");
            return refused(domain, &Reason::Unavailable.into());
        }
        AppError::Refused(_) => "refused",
        AppError::Database(_) => "database",
        AppError::Corrupt(_) => "corrupt",
        AppError::File(_) => "file",
        AppError::Vault(_) => "vault",
    };
    // `Corrupt` names a column of ours; the other texts may name values and stay out.
    let place = if let AppError::Corrupt(column) = error { column } else { "" };
    let id = uuid_v7(clock, entropy).to_string();
    tracing::error!(error_id = %id, fault, place, "a call failed");
    let metadata = HashMap::from([("error_id".to_owned(), id)]);
    with_metadata(domain, &Reason::Internal.into(), metadata)
}

/// The text of `docs/errors.md`: every reason under its area.
pub fn errors_document() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         Every refusal carries `google.rpc.ErrorInfo` with one of these reasons, `what` and `remedy`; where a\n\
         field is at fault, `google.rpc.BadRequest` names it; `RESOURCE_EXHAUSTED` and `UNAVAILABLE` carry\n\
         `google.rpc.RetryInfo`. A reason never changes its meaning. This file is made from the table in\n\
         `src/domain/refusal.rs`.\n",
    );
    let mut area = "";
    for reason in Reason::ALL {
        // Writing into a String does not fail.
        if reason.area() != area {
            area = reason.area();
            let _ = write!(
                text,
                "\n## {area}\n\n| Reason | Status | What is wrong | What to do |\n|---|---|---|---|\n"
            );
        }
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} | {} |",
            reason.code(),
            code_name(reason.class()),
            reason.what().replace('|', "\\|"),
            reason.remedy().replace('|', "\\|"),
        );
    }
    text
}

/// Compares a generated document with the committed one; `MANDATE_BLESS=1` writes it anew.
#[cfg(test)]
pub(super) fn compare_or_bless(path: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MANDATE_BLESS").is_some() {
        std::fs::write(&file, text).expect("the document can be written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == text,
        "{path} is out of date: run `MANDATE_BLESS=1 cargo test --lib grpc::` and commit it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{FixedClock, SystemEntropy};
    use crate::vault::VaultError;

    const DOMAIN: &str = "mandate.example";

    #[test]
    fn every_reason_has_a_status_that_says_what_and_what_to_do() {
        for reason in Reason::ALL {
            let status = refused(DOMAIN, &Refusal::at(*reason, "some.field"));
            assert_eq!(status.code(), code_of(reason.class()), "{reason}");
            assert_ne!(status.code(), Code::Ok);
            assert_ne!(status.code(), Code::Unknown);
            let details = status.get_error_details();
            let info = details.error_info().expect("ErrorInfo");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.code(), DOMAIN));
            assert_eq!(info.metadata["what"], reason.what());
            assert_eq!(info.metadata["remedy"], reason.remedy());
            assert_eq!(details.bad_request().expect("BadRequest").field_violations[0].field, "some.field");
            let retry = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable);
            assert_eq!(details.retry_info().is_some(), retry, "{reason}");
        }
    }

    #[test]
    fn our_own_fault_shows_an_id_and_nothing_of_its_cause() {
        let clock = FixedClock::at(1_790_000_000);
        let error = AppError::File(std::io::Error::other("/exports/zhang@example.com"));
        let status = status_of(DOMAIN, &error, &clock, &SystemEntropy);
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("zhang"));
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo");
        assert!(uuid::Uuid::try_parse(&info.metadata["error_id"]).is_ok());
        assert!(info.metadata.values().all(|value| !value.contains("zhang")));
    }

    #[test]
    fn a_database_or_keyring_that_is_away_is_unavailable() {
        let clock = FixedClock::at(1_790_000_000);
        let gone = || sqlx::Error::Io(std::io::ErrorKind::NotFound.into());
        for error in [
            AppError::Database(sqlx::Error::PoolTimedOut),
            AppError::Database(gone()),
            AppError::Vault(VaultError::KeyringAway),
            AppError::Vault(VaultError::Keyring(gone())),
        ] {
            let status = status_of(DOMAIN, &error, &clock, &SystemEntropy);
            assert_eq!(status.code(), Code::Unavailable, "{error:?}");
            assert!(status.get_error_details().retry_info().is_some());
        }
        let status = status_of(DOMAIN, &AppError::Database(sqlx::Error::RowNotFound), &clock, &SystemEntropy);
        assert_eq!(status.code(), Code::Internal);
    }

    #[test]
    fn the_errors_in_docs_are_these() {
        compare_or_bless("docs/errors.md", &errors_document());
    }
}
