//! The name of a table or a column, from the data map.

use std::fmt;

use crate::domain::{Reason, Refusal};

/// A table's or column's name. Whatever stands in it, it is rendered as one
/// quoted identifier (SQL-92 §5.2 delimited identifier) and as nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    const MAX_BYTES: usize = 128;

    /// Refuses the empty, the over-long and control characters: a NUL would end the statement early.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(Refusal::at(Reason::MapInvalid, "name")
                .note("a table or column name is 1 to 128 bytes without control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `"name"`, with each `"` inside doubled.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_does_not_end_it() {
        let name = Name::new("a\" OR 1=1 --").unwrap();
        assert_eq!(name.quoted(), "\"a\"\" OR 1=1 --\"");
        assert!(Name::new("a\0b").is_err());
    }
}
