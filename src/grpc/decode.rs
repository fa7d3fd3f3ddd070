//! From the wire to domain types. Every refusal names the field it is about, and nothing
//! of the field's value.

use std::str::FromStr;

use crate::app::Subject;
use crate::domain::ids::IdError;
use crate::domain::{Reason, Refusal};
use crate::grpc::v1;
use crate::token::base64url;

/// The page size where none is asked for, and the largest.
const PAGE: u32 = 20;
const PAGE_MAX: u32 = 100;
/// 0001-01-01 to 9999-12-31, as `google.protobuf.Timestamp` has it.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A required word or bare id.
pub fn word<T: FromStr>(text: &str, field: &'static str) -> Result<T, Refusal> {
    if text.is_empty() {
        return Err(Refusal::at(Reason::FieldRequired, field));
    }
    text.parse().map_err(|_| Refusal::at(Reason::FieldInvalid, field))
}

/// A word that may be left out.
pub fn optional_word<T: FromStr>(text: &str, field: &'static str) -> Result<Option<T>, Refusal> {
    if text.is_empty() { Ok(None) } else { word(text, field).map(Some) }
}

/// A list of words.
pub fn words<T: FromStr>(texts: &[String], field: &'static str) -> Result<Vec<T>, Refusal> {
    texts.iter().map(|text| word(text, field)).collect()
}

/// A required resource name, `<collection>/<id>`. `read` is the id type's own reader.
pub fn name<T>(text: &str, field: &'static str, read: fn(&str) -> Result<T, IdError>) -> Result<T, Refusal> {
    if text.is_empty() {
        return Err(Refusal::at(Reason::FieldRequired, field));
    }
    read(text).map_err(|error| Refusal::at(Reason::FieldInvalid, field).note(error.rule))
}

/// A resource name that may be left out.
pub fn optional_name<T>(
    text: &str,
    field: &'static str,
    read: fn(&str) -> Result<T, IdError>,
) -> Result<Option<T>, Refusal> {
    if text.is_empty() { Ok(None) } else { name(text, field, read).map(Some) }
}

/// A list of resource names.
pub fn names<T>(
    texts: &[String],
    field: &'static str,
    read: fn(&str) -> Result<T, IdError>,
) -> Result<Vec<T>, Refusal> {
    texts.iter().map(|text| name(text, field, read)).collect()
}

/// A message field that must be there.
pub fn present<T>(value: Option<T>, field: &'static str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::at(Reason::FieldRequired, field))
}

/// A text that must not be empty.
pub fn filled(text: String, field: &'static str) -> Result<String, Refusal> {
    if text.is_empty() { Err(Refusal::at(Reason::FieldRequired, field)) } else { Ok(text) }
}

/// The name inside a resource that is being created: empty, or the one its id gives.
pub fn same_name(text: &str, expected: &str, field: &'static str) -> Result<(), Refusal> {
    if text.is_empty() || text == expected {
        Ok(())
    } else {
        Err(Refusal::at(Reason::FieldInvalid, field).note("leave it out, or give the name that the id makes"))
    }
}

/// Whole Unix seconds; a fraction is dropped.
pub fn seconds(time: Option<prost_types::Timestamp>, field: &'static str) -> Result<Option<i64>, Refusal> {
    match time {
        None => Ok(None),
        Some(prost_types::Timestamp { seconds, nanos })
            if SECONDS.contains(&seconds) && (0..1_000_000_000).contains(&nanos) =>
        {
            Ok(Some(seconds))
        }
        Some(_) => Err(Refusal::at(Reason::FieldInvalid, field).note("no google.protobuf.Timestamp")),
    }
}

/// 20 where 0; at most 100, and more is cut to that (AIP-158).
pub fn page_size(size: i32) -> Result<u32, Refusal> {
    match u32::try_from(size) {
        Ok(0) => Ok(PAGE),
        Ok(size) => Ok(size.min(PAGE_MAX)),
        Err(_) => Err(Refusal::at(Reason::FieldInvalid, "page_size").note("negative")),
    }
}

/// The key of the last item of the page before; `None` for the first page.
pub fn page_token<T: FromStr + ToString>(token: &str) -> Result<Option<T>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let alien = || Refusal::at(Reason::PageTokenInvalid, "page_token");
    let bytes = base64url::decode(token).map_err(|_| alien())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| alien())?;
    let key: T = text.parse().map_err(|_| alien())?;
    // One key has one spelling, so one page has one token.
    if key.to_string() == text { Ok(Some(key)) } else { Err(alien()) }
}

/// Whom a case is about; the use case checks the words and lengths.
pub fn subjects(identifiers: Vec<v1::SubjectIdentifier>) -> Vec<Subject> {
    identifiers
        .into_iter()
        .map(|v1::SubjectIdentifier { r#type, value, of }| Subject { kind: r#type, value, of })
        .collect()
}

/// Which log is meant.
pub fn log(log: i32) -> Result<crate::store::Log, Refusal> {
    match v1::Log::try_from(log) {
        Ok(v1::Log::Unspecified) => Err(Refusal::at(Reason::FieldRequired, "log")),
        Ok(v1::Log::Trail) => Ok(crate::store::Log::Trail),
        Ok(v1::Log::Authority) => Ok(crate::store::Log::Authority),
        Err(_) => Err(Refusal::at(Reason::FieldInvalid, "log")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AppId, RequestId};
    use crate::grpc::encode;

    const ID: &str = "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88";

    #[test]
    fn a_page_token_brings_back_its_key() {
        let id: RequestId = ID.parse().unwrap();
        assert_eq!(page_token::<RequestId>(&encode::page_token(&id)).unwrap(), Some(id));
        assert_eq!(page_token::<u64>(&encode::page_token(&77)).unwrap(), Some(77));
        assert_eq!(page_token::<u64>("").unwrap(), None);
    }

    #[test]
    fn a_page_token_of_another_call_or_spelling_is_refused() {
        let number = encode::page_token(&77);
        let plus = base64url::encode("+77");
        let upper = base64url::encode(ID.to_uppercase());
        for refused in [
            page_token::<RequestId>(&number).map(|_| ()),
            page_token::<RequestId>(&upper).map(|_| ()),
            page_token::<u64>(&plus).map(|_| ()),
            page_token::<u64>("77=").map(|_| ()),
        ] {
            assert_eq!(refused.unwrap_err().reason, Reason::PageTokenInvalid);
        }
    }

    #[test]
    fn a_page_is_twenty_unless_asked_and_never_over_a_hundred() {
        assert_eq!(page_size(0).unwrap(), 20);
        assert_eq!(page_size(7).unwrap(), 7);
        assert_eq!(page_size(5_000).unwrap(), 100);
        assert_eq!(page_size(-1).unwrap_err().reason, Reason::FieldInvalid);
    }

    #[test]
    fn an_empty_field_is_required_and_an_odd_one_invalid_and_both_are_named() {
        let missing = name("", "app", AppId::from_resource_name).unwrap_err();
        assert_eq!((missing.reason, missing.field.as_deref()), (Reason::FieldRequired, Some("app")));
        let odd = name("controllers/zhang-san", "app", AppId::from_resource_name).unwrap_err();
        assert_eq!((odd.reason, odd.field.as_deref()), (Reason::FieldInvalid, Some("app")));
        assert!(!odd.to_string().contains("zhang"));
    }

    #[test]
    fn a_time_outside_the_calendar_is_refused() {
        let time =
            |seconds, nanos| super::seconds(Some(prost_types::Timestamp { seconds, nanos }), "received_time");
        assert_eq!(time(1_790_000_000, 5).unwrap(), Some(1_790_000_000));
        assert!(time(i64::MAX, 0).is_err());
        assert!(time(0, -1).is_err());
    }
}
