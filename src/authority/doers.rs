//! Who may have done what a leaf tells: `BY_WHOM`.
//!
//! It says of the trail what the access table says of the RPCs (`docs/access.txt`; a test holds the two
//! together). What the operator does on the machine itself is logged as an operator's, too.

use super::rules::{Broken, Rule};
use crate::domain::Kind;
use crate::domain::ids::ControllerId;
use crate::trail::Leaf;

/// The kinds of principal that may stand as `by` in a leaf of this type.
pub(crate) fn may(type_name: &str) -> &'static [Kind] {
    match type_name {
        "mandate.message.received"
        | "mandate.message.read"
        | "mandate.message.assigned"
        | "mandate.message.dismissed" => &[Kind::Support],
        "mandate.request.read" | "mandate.export.downloaded" => &[Kind::Controller],
        "mandate.evidence.exported" => &[Kind::Auditor, Kind::Controller],
        "mandate.key_set.registered" => &[Kind::Operator, Kind::Controller],
        "mandate.report_key.vouched" | "mandate.report_key.retired" => &[Kind::Agent],
        // Whoever calls; or an operator names it.
        "mandate.tls_key.registered" => Kind::ALL,
        // Registrations, contests, the logs' and the keyring's keys.
        _ => &[Kind::Operator],
    }
}

/// Holds a leaf's `by` against its type. A key set by its controller and report keys are their owners' alone, and
/// TLS keys are, but for those that an operator names.
pub(super) fn check(leaf: &Leaf) -> Result<(), Broken> {
    let Some(by) = leaf.data().get("by").and_then(|by| by.as_str()) else { return Ok(()) };
    let is = |kind: &Kind| {
        let id = by.strip_prefix(kind.collection()).and_then(|rest| rest.strip_prefix('/'));
        id.is_some_and(|id| id.parse::<ControllerId>().is_ok())
    };
    let kind = may(leaf.type_()).iter().find(|kind| is(kind));
    let kind = kind.ok_or_else(|| Rule::ByWhom.broken("whoever did it is of no kind that may"))?;
    let own = match leaf.type_() {
        "mandate.key_set.registered" => *kind == Kind::Controller,
        "mandate.report_key.vouched" | "mandate.report_key.retired" => true,
        "mandate.tls_key.registered" => *kind != Kind::Operator,
        _ => false,
    };
    Rule::ByWhom.holds(!own || by == leaf.subject(), "the keys are another's than whoever registers them")
}
