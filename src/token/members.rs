//! Taking the members of a strict object one by one, by name.
//!
//! Each form names what it knows, then calls [`Members::finish`]: whatever is
//! left is unknown and refused. A refusal names our own path (`payload.iat`),
//! never a name or value out of the input.

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::digest::Digest;
use crate::domain::ids::IdError;
use crate::domain::{Reason, Refusal};

/// Which reason codes a form gives for the four things that can be wrong with a member.
#[derive(Debug)]
pub struct Codes {
    pub missing: Reason,
    pub invalid: Reason,
    pub unknown: Reason,
}

/// Seconds since the epoch run from 0 to the end of the year 9999.
const MAX_SECONDS: i64 = 253_402_300_799;

pub struct Members {
    map: Map<String, Value>,
    place: Cow<'static, str>,
    codes: &'static Codes,
}

impl Members {
    pub fn new(map: Map<String, Value>, place: impl Into<Cow<'static, str>>, codes: &'static Codes) -> Self {
        Self { map, place: place.into(), codes }
    }

    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Looks without taking.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    pub fn missing(&self, name: &'static str) -> Refusal {
        Refusal::at(self.codes.missing, self.path(name))
    }

    pub fn invalid(&self, name: &'static str, rule: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::at(self.codes.invalid, self.path(name)).note(rule)
    }

    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }

    pub fn need(&mut self, name: &'static str) -> Result<Value, Refusal> {
        self.take(name).ok_or_else(|| self.missing(name))
    }

    pub fn opt_string(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "must be a string")),
        }
    }

    pub fn string(&mut self, name: &'static str) -> Result<String, Refusal> {
        self.opt_string(name)?.ok_or_else(|| self.missing(name))
    }

    /// A word of a vocabulary, a digest, a bare id.
    pub fn opt_parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        rule: &'static str,
    ) -> Result<Option<T>, Refusal> {
        match self.opt_string(name)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| self.invalid(name, rule)),
        }
    }

    pub fn parsed<T: FromStr>(&mut self, name: &'static str, rule: &'static str) -> Result<T, Refusal> {
        self.opt_parsed(name, rule)?.ok_or_else(|| self.missing(name))
    }

    pub fn opt_resource<T>(
        &mut self,
        name: &'static str,
        read: fn(&str) -> Result<T, IdError>,
    ) -> Result<Option<T>, Refusal> {
        match self.opt_string(name)? {
            None => Ok(None),
            Some(text) => read(&text).map(Some).map_err(|error| self.invalid(name, error.rule)),
        }
    }

    pub fn resource<T>(
        &mut self,
        name: &'static str,
        read: fn(&str) -> Result<T, IdError>,
    ) -> Result<T, Refusal> {
        self.opt_resource(name, read)?.ok_or_else(|| self.missing(name))
    }

    pub fn digest(&mut self, name: &'static str) -> Result<Digest, Refusal> {
        self.parsed(name, "must be 32 bytes in canonical base64url")
    }

    pub fn opt_seconds(&mut self, name: &'static str) -> Result<Option<i64>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(seconds) if (0..=MAX_SECONDS).contains(&seconds) => Ok(Some(seconds)),
                _ => Err(self.invalid(name, "must be whole seconds since the epoch")),
            },
        }
    }

    pub fn seconds(&mut self, name: &'static str) -> Result<i64, Refusal> {
        self.opt_seconds(name)?.ok_or_else(|| self.missing(name))
    }

    pub fn opt_count(&mut self, name: &'static str) -> Result<Option<u64>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            // Beyond 2^53 readers in other languages would see another number (RFC 7493 §2.2).
            Some(value) => match value.as_u64() {
                Some(count) if count < (1 << 53) => Ok(Some(count)),
                _ => Err(self.invalid(name, "must be a whole number from 0 to 2^53 - 1")),
            },
        }
    }

    pub fn count(&mut self, name: &'static str) -> Result<u64, Refusal> {
        self.opt_count(name)?.ok_or_else(|| self.missing(name))
    }

    pub fn opt_object(&mut self, name: &'static str) -> Result<Option<Members>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Members { map, place: self.path(name).into(), codes: self.codes }))
            }
            Some(_) => Err(self.invalid(name, "must be an object")),
        }
    }

    pub fn object(&mut self, name: &'static str) -> Result<Members, Refusal> {
        self.opt_object(name)?.ok_or_else(|| self.missing(name))
    }

    pub fn opt_list(&mut self, name: &'static str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.invalid(name, "must be an array")),
        }
    }

    pub fn list(&mut self, name: &'static str) -> Result<Vec<Value>, Refusal> {
        self.opt_list(name)?.ok_or_else(|| self.missing(name))
    }

    /// A non-empty list of strings that parse, none twice.
    pub fn opt_set<T: FromStr + PartialEq>(
        &mut self,
        name: &'static str,
        rule: &'static str,
    ) -> Result<Option<Vec<T>>, Refusal> {
        let Some(items) = self.opt_list(name)? else { return Ok(None) };
        let mut set: Vec<T> = Vec::with_capacity(items.len());
        for item in &items {
            let parsed = item.as_str().and_then(|text| text.parse().ok());
            let Some(value) = parsed else { return Err(self.invalid(name, rule)) };
            if set.contains(&value) {
                return Err(self.invalid(name, "names one twice"));
            }
            set.push(value);
        }
        if set.is_empty() {
            return Err(self.invalid(name, "must not be empty"));
        }
        Ok(Some(set))
    }

    pub fn set<T: FromStr + PartialEq>(
        &mut self,
        name: &'static str,
        rule: &'static str,
    ) -> Result<Vec<T>, Refusal> {
        self.opt_set(name, rule)?.ok_or_else(|| self.missing(name))
    }

    /// The names that are left, for the forms that take names of their own (`roles`).
    pub fn names(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    /// Everything known was taken; anything left is refused.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.map.is_empty() {
            return Ok(());
        }
        Err(Refusal::at(self.codes.unknown, self.place).note("a member the profile does not know"))
    }
}
