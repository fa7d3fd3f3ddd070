//! The audit rules by name: what must hold of every leaf, for whoever re-reads the whole trail.
//!
//! A rule's name is stable; auditors cite it. What each asks is on its variant and in
//! `docs/auditors/rules.md`.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! rules {
    ($( $(#[$doc:meta])+ $name:ident = $code:literal; )+) => {
        /// One rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule { $( $(#[$doc])+ $name ),+ }

        impl Rule {
            pub const ALL: &'static [Rule] = &[$(Rule::$name),+];
            /// The stable name.
            pub fn code(self) -> &'static str { match self { $( Rule::$name => $code ),+ } }
        }
    };
}

rules! {
    /// The leaf is a CloudEvent in its one spelling, from this gateway, of a known type that belongs in
    /// this log, about a resource of the right kind, and not earlier than the leaf before it.
    LeafForm = "LEAF_FORM";
    /// The leaf holds nothing but ids, registered words, numbers, digests and signed tokens (I4).
    PersonalData = "PERSONAL_DATA";
    /// The leaf is not later than the pinned witnesses that are required saw it in the log, give or take five
    /// minutes. Nothing is asked where the pins ask for no witness.
    LeafTime = "LEAF_TIME";
    /// Whoever the leaf says did it (`by`) is of a kind of principal that may.
    ByWhom = "BY_WHOM";
    /// Leaf 0 of each log names its origin; no other leaf does. Where leaves of the trail were lost for good,
    /// a leaf of both logs names the new one.
    OpenedFirst = "OPENED_FIRST";
    /// A log's key is followed by one that it vouched for in the authority log; the trail tells the same.
    LogKeys = "LOG_KEYS";
    /// What a leaf refers to (controller, app, agent, agreement, key) was registered before, once. A key
    /// thumbprint has one use and one principal for ever, a store one agent. One controller is the house.
    Registered = "REGISTERED";
    /// A controller's key sets begin at the pinned version 1 and follow TUF's rule; the trail names each.
    KeySetChain = "KEY_SET_CHAIN";
    /// An admitted instruction's signatures verify under the key set then newest, meet the act's threshold,
    /// and say what the leaf says; the named size of the authority log is the one of that moment.
    AdmittedSigned = "ADMITTED_SIGNED";
    /// A `jti` is used up once for each controller, by an admission or by a refusal.
    JtiOnce = "JTI_ONCE";
    /// An agreement of the controller was in force and covers categories, stores and destination; there is
    /// one order for each store, no more and no less.
    InAgreement = "IN_AGREEMENT";
    /// Every execution belongs to an order of an earlier admission, and is leased, deferred and reported
    /// in turn, by an agent registered for its store.
    Ordered = "ORDERED";
    /// A report verifies under the agent's registered report key or one that followed on it and was not retired
    /// before; if one is pinned, it is one of these. Where the pins name any agent, they name this one.
    ReportSigned = "REPORT_SIGNED";
    /// A report repeats the digests of what was ordered, and tells of that order and no other.
    ReportScope = "REPORT_SCOPE";
    /// An execution is reported once and not touched afterwards; an instruction runs once on each store.
    RanOnce = "RAN_ONCE";
    /// An instruction ends after its last execution, once, as those ended (I9).
    EndedRightly = "ENDED_RIGHTLY";
    /// A case is received before anything else happens to it, is forwarded once, before its controller
    /// acknowledges it, and only that controller touches it. A message that was dismissed is assigned no more.
    RequestStages = "REQUEST_STAGES";
    /// An export is released after the signed report that names its digest; it is downloaded after that, by
    /// its controller, before it expires or is removed. Evidence is given for admitted instructions.
    ExportReleased = "EXPORT_RELEASED";
    /// Data is destroyed of what the trail tells of, under the class of its kind; epochs of the keyring only
    /// go forward.
    Shredded = "SHREDDED";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

/// A rule that does not hold, before it is known of which leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub rule: Rule,
    /// One sentence without personal data.
    pub what: Cow<'static, str>,
}

impl Rule {
    pub(super) fn broken(self, what: impl Into<Cow<'static, str>>) -> Broken {
        Broken { rule: self, what: what.into() }
    }

    /// `Err` unless it holds.
    pub(super) fn holds(self, holds: bool, what: &'static str) -> Result<(), Broken> {
        if holds { Ok(()) } else { Err(self.broken(what)) }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Which of the two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogName {
    Trail,
    Authority,
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogName::Trail => "trail",
            LogName::Authority => "authority",
        })
    }
}

/// A leaf that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{log} leaf {index} breaks {rule}: {what}")]
pub struct Violation {
    pub log: LogName,
    /// For a rule about the whole, the index after the last leaf.
    pub index: u64,
    pub rule: Rule,
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_documented_for_auditors_and_nothing_else_is() {
        let page = include_str!("../../docs/auditors/rules.md");
        let documented: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let known: Vec<&str> = Rule::ALL.iter().map(|rule| rule.code()).collect();
        assert_eq!(documented, known, "docs/auditors/rules.md lists the rules in the order of this file");
    }
}
