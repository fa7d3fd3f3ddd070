//! Results on stdout: JSON as it is, or the same in plain indented lines.

use serde_json::{Value, json};

use super::CliError;
use crate::domain::Timestamp;
use crate::grpc::v1;
use crate::say;

/// Prints one result.
pub fn print(as_json: bool, value: &Value) {
    let text = if as_json { format!("{value}\n") } else { plain(value) };
    say::out(format_args!("{text}"));
}

/// Plain lines: `name  value`; what is empty is left out.
pub fn plain(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                lines(&mut text, 0, name, member);
            }
        }
        other => lines(&mut text, 0, "", other),
    }
    text
}

fn lines(text: &mut String, depth: usize, name: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Null => {}
        Value::String(word) if word.is_empty() => {}
        Value::Bool(false) => {}
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            let words: Vec<String> = items.iter().map(bare).collect();
            text.push_str(&format!("{indent}{name}  {}\n", words.join(", ")));
        }
        Value::Array(items) => {
            text.push_str(&format!("{indent}{name}\n"));
            for item in items {
                let mut block = String::new();
                if let Value::Object(members) = item {
                    for (name, member) in members {
                        lines(&mut block, depth + 2, name, member);
                    }
                }
                // The first line of an item wears its dash.
                let dash = format!("{indent}  - ");
                let skip = (depth + 2) * 2;
                text.push_str(&dash);
                text.push_str(block.get(skip..).unwrap_or("\n"));
            }
        }
        Value::Object(members) => {
            text.push_str(&format!("{indent}{name}\n"));
            for (name, member) in members {
                lines(text, depth + 1, name, member);
            }
        }
        other => text.push_str(&format!("{indent}{name}  {}\n", bare(other))),
    }
}

/// A scalar; control characters are shown escaped, so that no mail can drive the terminal.
fn bare(value: &Value) -> String {
    match value {
        Value::String(word) => word
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect(),
        other => other.to_string(),
    }
}

/// RFC 3339, or null.
pub fn timestamp(at: Option<prost_types::Timestamp>) -> Value {
    at.and_then(|at| Timestamp::from_second(at.seconds).ok()).map_or(Value::Null, |at| json!(at.to_string()))
}

/// The word of an enum value, `REQUEST_STAGE_ROUTED` → `routed`.
pub fn word(name: &str, prefix: &str) -> Value {
    json!(name.strip_prefix(prefix).unwrap_or(name).to_lowercase())
}

pub fn receipt(receipt: Option<&v1::Receipt>) -> Value {
    let Some(receipt) = receipt else { return Value::Null };
    json!({
        "trail_index": receipt.index,
        "grade": word(receipt.grade().as_str_name(), "RECEIPT_GRADE_"),
        "leaf": String::from_utf8_lossy(&receipt.leaf),
        "proof": receipt.proof,
    })
}

/// A receipt in one line for people: where the leaf stands.
pub fn receipt_short(receipt: Option<&v1::Receipt>) -> Value {
    receipt.map_or(Value::Null, |receipt| json!(receipt.index))
}

/// What a call must have answered with.
pub fn given<T>(part: Option<T>, what: &str) -> Result<T, CliError> {
    part.ok_or_else(|| CliError::Plain(format!("the gateway's answer has no {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_short_and_leave_out_what_is_empty() {
        let value = json!({"name": "x", "empty": "", "none": null, "words": ["a", "b"],
            "items": [{"right": "delete", "stage": "open"}], "in": {"n": 1}});
        let text = plain(&value);
        for line in
            ["name  x\n", "words  a, b\n", "items\n  - right  delete\n    stage  open\n", "in\n  n  1\n"]
        {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("empty") && !text.contains("none"));
    }

    #[test]
    fn a_mail_cannot_drive_the_terminal() {
        assert_eq!(plain(&json!({"body": "a\u{1b}[2Jb"})), "body  a\\u{1b}[2Jb\n");
    }
}
