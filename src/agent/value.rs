//! Values as they lie in a store, and the keys made of them.
//!
//! Both are personal data or lead to it: `Debug` shows the type alone.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// One value with the storage class the store gave it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob { base64: Base64 },
}

/// Bytes that stand as base64 (RFC 4648 §4) in JSON.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        STANDARD.decode(text).map(Base64).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into())
    }

    pub fn blob(bytes: Vec<u8>) -> Self {
        Value::Blob { base64: Base64(bytes) }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The instant it stands for, in seconds since the epoch: an integer or real number of seconds
    /// (or milliseconds, recognised by being past the year 5000), or RFC 3339 text.
    pub fn epoch_seconds(&self) -> Option<i64> {
        const YEAR_5000: i64 = 95_617_584_000;
        let scale = |n: i64| if n.abs() >= YEAR_5000 { n.div_euclid(1000) } else { n };
        match self {
            Value::Integer(n) => Some(scale(*n)),
            // A cast of a float saturates; nonsense stays out of every window.
            Value::Real(x) if x.is_finite() => Some(scale(*x as i64)),
            Value::Text(text) => text.parse::<jiff::Timestamp>().ok().map(|t| t.as_second()),
            Value::Null | Value::Real(_) | Value::Blob { .. } => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Integer(_) => 1,
            Value::Real(_) => 2,
            Value::Text(_) => 3,
            Value::Blob { .. } => 4,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
            (Value::Real(a), Value::Real(b)) => a.total_cmp(b),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Blob { base64: a }, Value::Blob { base64: b }) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::Null => "Null",
            Value::Integer(_) => "Integer(…)",
            Value::Real(_) => "Real(…)",
            Value::Text(_) => "Text(…)",
            Value::Blob { .. } => "Blob(…)",
        })
    }
}

/// A primary key: one value for each of its columns, in the map's order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Key(pub Vec<Value>);

/// One row to export: values in the order of the columns asked for.
pub struct Row(pub Vec<Value>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_with_its_storage_class() {
        let values = vec![
            Value::Null,
            Value::Integer(i64::MAX),
            Value::Real(1.5),
            Value::text("1"),
            Value::blob(vec![0, 255]),
        ];
        let json = serde_json::to_vec(&values).unwrap();
        let back: Vec<Value> = serde_json::from_slice(&json).unwrap();
        assert!(back == values);
    }

    #[test]
    fn an_instant_is_read_from_seconds_milliseconds_and_text() {
        assert_eq!(Value::Integer(1_795_420_800).epoch_seconds(), Some(1_795_420_800));
        assert_eq!(Value::Integer(1_795_420_800_000).epoch_seconds(), Some(1_795_420_800));
        assert_eq!(Value::text("2026-11-23T08:00:00Z").epoch_seconds(), Some(1_795_420_800));
        assert_eq!(Value::text("yesterday").epoch_seconds(), None);
    }

    #[test]
    fn debug_shows_no_content() {
        assert!(
            !format!("{:?}", Key(vec![Value::text("u_8839201"), Value::Integer(7)])).contains(['8', '7'])
        );
    }
}
