//! Which columns of which tables follow from the leaves.

use super::shown;
use crate::sql::Value;

/// How a column is held against what the leaves say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Equal.
    Text,
    Int,
    Bytes,
    /// Equal, where the leaves say it; they hold it only for some rows.
    TextIfKnown,
    /// Both are there, or neither: the second itself is no leaf's.
    Present,
    /// As `Present`, unless another controller uses the same instruction id.
    PresentUnlessShared,
}

/// A table and what of it follows from the leaves.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// Primary key, in its order. Text, but for `refusals.leaf` and versions.
    pub(super) key: &'static [(&'static str, Rule)],
    pub(super) columns: &'static [(&'static str, Rule)],
    /// Rows that no leaf tells of: this column has this value.
    pub(super) but_for: Option<(&'static str, i64)>,
    /// Resource name of a row, by its key.
    pub(super) resource: fn(&[Value]) -> String,
}

fn word(key: &[Value], n: usize) -> String {
    match key.get(n) {
        Some(Value::Text(Some(text))) => shown(text).to_owned(),
        Some(Value::Int(Some(number))) => number.to_string(),
        _ => "(no id)".to_owned(),
    }
}

macro_rules! name {
    ($collection:literal) => {
        |key| format!(concat!($collection, "/{}"), word(key, 0))
    };
}

use Rule::{Bytes, Int, Present, PresentUnlessShared, Text, TextIfKnown};

const ID: &[(&str, Rule)] = &[("id", Text)];

/// Every table that follows from the leaves, whole or in part.
pub const TABLES: &[Table] = &[
    Table {
        name: "controllers",
        key: ID,
        columns: &[("house", Int), ("key_set_version", Int), ("created_at", Int)],
        but_for: None,
        resource: name!("controllers"),
    },
    Table {
        name: "agreements",
        key: ID,
        columns: &[("controller_id", Text), ("terms", Text), ("start_at", Int), ("end_at", Int)],
        but_for: None,
        resource: name!("agreements"),
    },
    Table {
        name: "apps",
        key: ID,
        columns: &[("controller_id", Text)],
        but_for: None,
        resource: name!("apps"),
    },
    Table {
        name: "agents",
        key: ID,
        columns: &[
            ("region", Text),
            ("report_key", Text),
            ("next_report_key", Text),
            ("anchor_sequence", Int),
            ("anchor_head", Text),
        ],
        but_for: None,
        resource: name!("agents"),
    },
    Table {
        name: "agent_stores",
        key: &[("store_id", Text)],
        columns: &[("agent_id", Text), ("operated_by", Text)],
        but_for: None,
        resource: name!("stores"),
    },
    Table {
        name: "sub_processors",
        key: ID,
        columns: &[("region", Text), ("purposes", Text)],
        but_for: None,
        resource: name!("subProcessors"),
    },
    Table {
        name: "thumbprints",
        key: &[("thumbprint", Text)],
        columns: &[("use", Text), ("principal", Text)],
        but_for: None,
        resource: name!("keys"),
    },
    Table {
        name: "access_keys",
        key: &[("thumbprint", Text)],
        columns: &[("principal", Text), ("revoked_at", Present)],
        but_for: None,
        resource: name!("keys"),
    },
    Table {
        name: "tls_keys",
        key: &[("thumbprint", Text)],
        columns: &[("principal", Text), ("claimed_at", Int)],
        but_for: None,
        resource: name!("keys"),
    },
    Table {
        name: "key_sets",
        key: &[("controller_id", Text), ("authority_index", Int)],
        columns: &[("version", Int), ("digest", Text), ("jws", Text), ("leaf", Int)],
        but_for: None,
        resource: |key| format!("controllers/{}/keySets/{}", word(key, 0), word(key, 1)),
    },
    Table {
        name: "messages",
        key: ID,
        columns: &[
            ("state", Text),
            ("triage_reason", Text),
            ("request_id", Text),
            ("controller_id", Text),
            ("app_id", Text),
            ("received_at", Int),
            ("ended_at", Int),
            ("shredded_at", Present),
        ],
        but_for: None,
        resource: name!("messages"),
    },
    Table {
        name: "requests",
        key: ID,
        columns: &[
            ("controller_id", Text),
            ("app_id", Text),
            ("origin", Text),
            ("stage", Text),
            ("guardian", Int),
            ("message_id", Text),
            ("received_at", Int),
            ("forwarded_at", Present),
            ("acknowledged_at", Present),
            ("closed_at", Int),
            ("shredded_at", Present),
        ],
        but_for: None,
        resource: name!("requests"),
    },
    Table {
        name: "request_rights",
        key: &[("request_id", Text), ("right_word", Text)],
        columns: &[("stage", Text), ("instruction_id", Text), ("ground", Text)],
        but_for: None,
        resource: |key| format!("requests/{}/rights/{}", word(key, 0), word(key, 1)),
    },
    Table {
        name: "deliveries",
        key: &[("controller_id", Text), ("sequence", Int)],
        columns: &[("request_id", Text), ("acknowledged_at", Present)],
        but_for: None,
        resource: |key| format!("controllers/{}/deliveries/{}", word(key, 0), word(key, 1)),
    },
    Table {
        name: "instructions",
        key: &[("controller_id", Text), ("id", Text)],
        columns: &[
            ("app_id", Text),
            ("act", Text),
            ("request_id", Text),
            ("digest", Text),
            ("signed_part", Bytes),
            ("key_set_version", Int),
            ("authority_size", Int),
            ("state", Text),
            ("admitted_at", Int),
            ("expires_at", Int),
            ("leaf", Int),
            ("missing", Int),
            ("withdrawn", Text),
            ("held_until", Int),
            ("ground", Text),
            ("ended_at", Int),
            ("shredded_at", PresentUnlessShared),
        ],
        but_for: None,
        resource: |key| format!("controllers/{}/instructions/{}", word(key, 0), word(key, 1)),
    },
    Table {
        name: "jtis",
        key: &[("controller_id", Text), ("jti", Text)],
        columns: &[("digest", TextIfKnown), ("outcome", Text), ("leaf", Int)],
        but_for: None,
        resource: |key| format!("controllers/{}/jtis/{}", word(key, 0), word(key, 1)),
    },
    Table {
        name: "executions",
        key: ID,
        columns: &[
            ("controller_id", Text),
            ("instruction_id", Text),
            ("store_id", Text),
            ("state", Text),
            ("attempt", Int),
            ("begun", Int),
            ("next_attempt_at", Int),
            ("agent_id", Text),
            ("reason", Text),
            ("report", Text),
            ("report_leaf", Int),
        ],
        but_for: None,
        resource: name!("executions"),
    },
    Table {
        name: "exports",
        key: ID,
        columns: &[
            ("execution_id", Text),
            ("controller_id", Text),
            ("size", Int),
            ("digest", Text),
            ("expires_at", Int),
            ("released", Int),
            ("removed_at", Present),
        ],
        // An upload that no report has named yet.
        but_for: Some(("released", 0)),
        resource: name!("exports"),
    },
    Table {
        name: "refusals",
        key: &[("leaf", Int)],
        columns: &[("principal", Text), ("reason", Text), ("refused_at", Int), ("shredded_at", Present)],
        but_for: None,
        resource: name!("leaves"),
    },
];
