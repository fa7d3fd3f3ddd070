//! A strict reader of JSON objects.
//!
//! `serde_json` keeps the last of two equal members and any nesting up to 128;
//! a signed form must have one meaning for every reader. So: a member that
//! stands twice anywhere is refused, nesting is at most [`MAX_DEPTH`], every
//! number is an integer, and nothing follows the value.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The outermost value has depth 1.
pub const MAX_DEPTH: u8 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("not a JSON value (RFC 8259), or something follows it")]
    Malformed,
    #[error("the value is of another type than asked for")]
    WrongType,
    #[error("a member stands twice")]
    Duplicate,
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("a number is not an integer of 64 bits")]
    NotInteger,
}

/// Reads one object and nothing else.
pub fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match read_value(bytes)? {
        Value::Object(map) => Ok(map),
        _ => Err(JsonError::WrongType),
    }
}

/// Reads one array and nothing else.
pub fn read_array(bytes: &[u8]) -> Result<Vec<Value>, JsonError> {
    match read_value(bytes)? {
        Value::Array(items) => Ok(items),
        _ => Err(JsonError::WrongType),
    }
}

fn read_value(bytes: &[u8]) -> Result<Value, JsonError> {
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = Strict { depth: 0, fault: &fault }.deserialize(&mut deserializer);
    match read.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        // The visitor's own reason, when it had one; serde's text would quote the input.
        Err(_) => Err(fault.get().unwrap_or(JsonError::Malformed)),
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: u8,
    fault: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn fail<E: serde::de::Error>(&self, fault: JsonError) -> E {
        self.fault.set(Some(fault));
        E::custom(fault)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.fail(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.fail(JsonError::NotInteger))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(inner)?;
            if map.insert(name, value).is_some() {
                self.fault.set(Some(JsonError::Duplicate));
                return Err(A::Error::custom(JsonError::Duplicate));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_object_is_read() {
        let map = read_object(br#" {"a": [1, -2, true, null, "x"], "b": {"c": {}}} "#).unwrap();
        assert_eq!(map["a"][1], -2);
        assert!(map["b"]["c"].as_object().unwrap().is_empty());
    }

    #[test]
    fn each_looseness_has_its_own_refusal() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(9), "}".repeat(9));
        for (text, fault) in [
            (r#"{"a":1,"a":1}"#, JsonError::Duplicate),
            (r#"{"b":[{"a":1,"\u0061":2}]}"#, JsonError::Duplicate),
            (r#"{"a":1.0}"#, JsonError::NotInteger),
            (r#"{"a":1e3}"#, JsonError::NotInteger),
            (r#"{"a":-0}"#, JsonError::NotInteger),
            (r#"{"a":18446744073709551616}"#, JsonError::NotInteger),
            (&deep, JsonError::TooDeep),
            (r#"{"a":1}{"#, JsonError::Malformed),
            (r#"{"a":1,}"#, JsonError::Malformed),
            ("", JsonError::Malformed),
            ("[]", JsonError::WrongType),
        ] {
            assert_eq!(read_object(text.as_bytes()), Err(fault), "{text}");
        }
        assert_eq!(read_object(b"{\"a\":\"\xff\"}"), Err(JsonError::Malformed));
        let eight = format!("{}1{}", r#"{"a":"#.repeat(8), "}".repeat(8));
        assert!(read_object(eight.as_bytes()).is_ok());
    }
}
