//! Disclosures of our flat profile of RFC 9901 (§4.2).
//!
//! A disclosure is the text as received: its digest is over that ASCII text, so
//! it is never decoded and encoded again (§4.2.4). White space inside its JSON is
//! fine. What the profile adds: salts of at least 128 bits, all distinct; no
//! digest inside a disclosure (§4.2.6 would allow it); no disclosure twice.

use std::collections::HashSet;

use serde_json::Value;

use super::base64url;
use super::digest::Digest;
use super::draft::DraftError;
use super::json::{self, JsonError};
use crate::domain::{Entropy, Reason, Refusal};

const MIN_SALT_BYTES: usize = 16;

/// One opened disclosure. Its value is personal data.
pub struct Disclosure {
    pub digest: Digest,
    /// The member's name, or none for an array element.
    pub name: Option<String>,
    pub value: Value,
}

/// Opens every disclosure and checks what can be checked without the payload.
/// The order of the result is the order received.
pub fn open_all(disclosures: &[String]) -> Result<Vec<Disclosure>, Refusal> {
    let mut texts = HashSet::with_capacity(disclosures.len());
    let mut salts: HashSet<Vec<u8>> = HashSet::with_capacity(disclosures.len());
    let mut opened = Vec::with_capacity(disclosures.len());
    let mut weak = None;
    for (index, text) in disclosures.iter().enumerate() {
        let at = |reason| Refusal::at(reason, format!("disclosures[{index}]"));
        if !texts.insert(text.as_str()) {
            return Err(at(Reason::DisclosureRepeated));
        }
        let bytes = base64url::decode(text).map_err(|_| at(Reason::EncodingNotCanonical))?;
        let items = json::read_array(&bytes).map_err(|error| match error {
            JsonError::Duplicate => at(Reason::MemberDuplicate),
            JsonError::Malformed | JsonError::WrongType => at(Reason::DisclosureMalformed),
            JsonError::TooDeep => at(Reason::DisclosureMalformed).note("nested too deep"),
            JsonError::NotInteger => at(Reason::DisclosureMalformed).note("numbers must be integers"),
        })?;
        let (salt, name, value) = match <[Value; 3]>::try_from(items) {
            Ok([Value::String(salt), Value::String(name), value]) => (salt, Some(name), value),
            Ok(_) => return Err(at(Reason::DisclosureMalformed)),
            Err(items) => match <[Value; 2]>::try_from(items) {
                Ok([Value::String(salt), value]) => (salt, None, value),
                _ => return Err(at(Reason::DisclosureMalformed)),
            },
        };
        if name.as_deref().is_some_and(|name| name == "_sd" || name == "...") {
            return Err(at(Reason::DisclosureMalformed));
        }
        if holds_digests(&value) {
            return Err(at(Reason::DisclosureNested));
        }
        // Reported after the loop: a nested or malformed disclosure is the graver fault.
        match base64url::decode(&salt) {
            Ok(bytes) if bytes.len() >= MIN_SALT_BYTES => {
                if !salts.insert(bytes) {
                    weak.get_or_insert_with(|| at(Reason::SaltWeak).note("equal to another salt"));
                }
            }
            _ => {
                weak.get_or_insert_with(|| at(Reason::SaltWeak).note("not base64url of 16 bytes or more"));
            }
        }
        opened.push(Disclosure { digest: Digest::of(text), name, value });
    }
    match weak {
        Some(refusal) => Err(refusal),
        None => Ok(opened),
    }
}

fn holds_digests(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            map.contains_key("_sd") || map.contains_key("...") || map.values().any(holds_digests)
        }
        Value::Array(items) => items.iter().any(holds_digests),
        _ => false,
    }
}

/// Makes a disclosure with a fresh 128-bit salt: an array element without a name, an object member with one.
pub fn seal(name: Option<&str>, value: &Value, entropy: &dyn Entropy) -> Result<String, DraftError> {
    let salt = base64url::encode(entropy.array::<MIN_SALT_BYTES>());
    let array = match name {
        None => serde_json::to_string(&(salt, value)),
        Some(name) => serde_json::to_string(&(salt, name, value)),
    };
    Ok(base64url::encode(array.map_err(|_| DraftError("a value cannot be written as JSON"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(arrays: &[&str]) -> Reason {
        let texts: Vec<String> = arrays.iter().map(base64url::encode).collect();
        match open_all(&texts) {
            Err(refusal) => refusal.reason,
            Ok(_) => panic!("was taken"),
        }
    }

    #[test]
    fn the_example_of_rfc_9901_section_4_2_3_has_its_digest() {
        let text = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0";
        let opened = open_all(&[text.to_owned()]).unwrap();
        assert_eq!(opened[0].digest.to_string(), "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0");
        assert_eq!(opened[0].name.as_deref(), Some("family_name"));
        assert_eq!(opened[0].value, "M\u{f6}bius");
    }

    #[test]
    fn each_fault_has_its_reason() {
        let salt = "AAAAAAAAAAAAAAAAAAAAAA";
        let other = "AAAAAAAAAAAAAAAAAAAAAQ";
        assert_eq!(reason(&[r#"["AAAA","v"]"#]), Reason::SaltWeak);
        assert_eq!(reason(&[r#"["not base64url!!!!!!!!!!!!!","v"]"#]), Reason::SaltWeak);
        assert_eq!(reason(&[&format!(r#"["{salt}","v"]"#), &format!(r#"["{salt}","w"]"#)]), Reason::SaltWeak);
        let v = format!(r#"["{salt}","v"]"#);
        assert_eq!(reason(&[&v, &v]), Reason::DisclosureRepeated);
        assert_eq!(reason(&[&format!(r#"["{salt}",{{"_sd":[]}}]"#)]), Reason::DisclosureNested);
        assert_eq!(
            reason(&[&format!(r#"["{salt}","n",{{"a":[{{"...":"x"}}]}}]"#)]),
            Reason::DisclosureNested
        );
        assert_eq!(reason(&[&format!(r#"["{salt}",{{"a":1,"a":1}}]"#)]), Reason::MemberDuplicate);
        for malformed in [
            "[]".to_owned(),
            format!(r#"["{salt}"]"#),
            format!(r#"["{salt}","a","b","c"]"#),
            format!(r#"[7,"{salt}"]"#),
            format!(r#"["{salt}","_sd",1]"#),
            format!(r#"{{"{salt}":1}}"#),
            format!(r#"["{salt}",1.5]"#),
            "no json".to_owned(),
        ] {
            assert_eq!(reason(&[&malformed]), Reason::DisclosureMalformed, "{malformed}");
        }
        assert!(open_all(&[base64url::encode(v), base64url::encode(format!(r#"["{other}","v"]"#))]).is_ok());
        assert!(open_all(&["W10=".to_owned()]).is_err_and(|r| r.reason == Reason::EncodingNotCanonical));
    }
}
