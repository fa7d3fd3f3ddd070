//! JSON with one spelling: members sorted by their UTF-8 bytes, no white space, whole numbers only, no
//! member twice. So a leaf's bytes follow from its meaning, and nothing hides in a second spelling.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 16;

/// Why a text or value is not of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    #[error("not JSON")]
    Syntax,
    #[error("a member stands twice")]
    DuplicateMember,
    #[error("a number is not whole, or is out of range")]
    Number,
    #[error("nested deeper than {MAX_DEPTH}")]
    Depth,
}

/// Writes a value in its one spelling.
pub fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), JsonFault> {
    write_at(value, out, 0)
}

fn write_at(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonFault> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(n), _) => out.extend_from_slice(n.to_string().as_bytes()),
            (None, Some(n)) => out.extend_from_slice(n.to_string().as_bytes()),
            (None, None) => return Err(JsonFault::Number),
        },
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_at(item, out, depth)?;
            }
            out.push(b']');
        }
        Value::Object(members) => write_object_at(members, out, depth)?,
    }
    Ok(())
}

pub(super) fn write_object_at(
    members: &Map<String, Value>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), JsonFault> {
    let depth = deeper(depth)?;
    // A map may keep the order of insertion, depending on how serde_json was built: sorted here.
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    out.push(b'{');
    for (i, (name, value)) in sorted.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write_at(value, out, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// A JSON string: what must be escaped is, nothing else.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    // What needs no escape is copied in runs: a signed token is one run of a thousand bytes and more.
    while let Some(at) = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn deeper(depth: usize) -> Result<usize, JsonFault> {
    if depth >= MAX_DEPTH { Err(JsonFault::Depth) } else { Ok(depth + 1) }
}

/// Reads one value. Another spelling is taken, duplicates, fractions and deep nesting are not: who
/// wants the one spelling writes the value again and compares.
pub fn read(bytes: &[u8]) -> Result<Value, JsonFault> {
    let fault = Cell::new(JsonFault::Syntax);
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { fault: &fault, depth: 0 }.deserialize(&mut input).map_err(|_| fault.get())?;
    input.end().map_err(|_| JsonFault::Syntax)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    fault: &'a Cell<JsonFault>,
    depth: usize,
}

impl Strict<'_> {
    fn fail<E: serde::de::Error>(&self, fault: JsonFault) -> E {
        self.fault.set(fault);
        E::custom(fault)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicates and fractions")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(Number::from(v)))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::from(v)))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.fail(JsonFault::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = deeper(self.depth).map_err(|fault| self.fail(fault))?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Strict { depth, ..self })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = deeper(self.depth).map_err(|fault| self.fail(fault))?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(self.fail(JsonFault::DuplicateMember));
            }
            members.insert(name, map.next_value_seed(Strict { depth, ..self })?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> Result<String, JsonFault> {
        let mut out = Vec::new();
        write(&read(text.as_bytes())?, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn members_are_sorted_at_every_depth_and_space_goes() {
        let text = r#" { "b" : [ {"z":1, "a":null} , true ], "a\u0062" : "é\/\u001f\n", "": -5 } "#;
        assert_eq!(again(text).unwrap(), r#"{"":-5,"ab":"é/\u001f\n","b":[{"a":null,"z":1},true]}"#);
        let max = format!("[{},{}]", u64::MAX, i64::MIN);
        assert_eq!(again(&max).unwrap(), max);
    }

    #[test]
    fn every_character_is_escaped_exactly_as_serde_json_does_it() {
        let text: String =
            ('\0'..='\u{2ff}').chain(['"', '\\', '/', '\u{2028}', '語', '\u{10ffff}']).collect();
        for text in [text.as_str(), "", "plain", "\"", "a\"b\\c\nd"] {
            let mut out = Vec::new();
            write_string(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(again(r#"{"a":1,"a":1}"#), Err(JsonFault::DuplicateMember));
        assert_eq!(again(r#"[{"x":{"a":1,"\u0061":2}}]"#), Err(JsonFault::DuplicateMember));
        for number in ["1.0", "1e2", "-0.0", "18446744073709551616", "-9223372036854775809"] {
            assert_eq!(again(number), Err(JsonFault::Number), "{number} was taken");
        }
        assert_eq!(again(&format!("{}1{}", "[".repeat(17), "]".repeat(17))), Err(JsonFault::Depth));
        assert!(again(&format!("{}1{}", "[".repeat(16), "]".repeat(16))).is_ok());
        for broken in ["", "{", "[1,]", "{} {}", "nul", "01", "\"\\ud800\"", "\"\n\"", "'a'", "NaN"] {
            assert_eq!(again(broken), Err(JsonFault::Syntax), "{broken:?} was taken");
        }
    }
}
