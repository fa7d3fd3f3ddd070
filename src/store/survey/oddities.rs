//! What no row may be, whatever the leaves say: one statement each.

use super::shown;
use crate::sql::{Conn, query};
use crate::store::StoreError;

/// Rows shown of one kind.
const MOST: u32 = 100;

/// One row that may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// Stable.
    pub code: &'static str,
    pub table: &'static str,
    pub resource: String,
    pub sentence: &'static str,
}

struct Question {
    code: &'static str,
    table: &'static str,
    sentence: &'static str,
    /// Selects `name`, the resource name of each row that may not be.
    sql: &'static str,
}

macro_rules! orphan {
    ($table:literal, $name:literal, $condition:literal, $sentence:literal) => {
        Question {
            code: "ORPHAN",
            table: $table,
            sentence: $sentence,
            sql: concat!("SELECT ", $name, " AS name FROM ", $table, " t WHERE ", $condition),
        }
    };
}

/// A sealed column, its key's name and the time of shredding stand and fall together.
macro_rules! sealed {
    ($table:literal, $name:literal, $column:literal) => {
        [
            Question {
                code: "SEALED_WITHOUT_KEY",
                table: $table,
                sentence: concat!(
                    $column,
                    " is there, and no data key is named: nobody can open or shred it"
                ),
                sql: concat!(
                    "SELECT ",
                    $name,
                    " AS name FROM ",
                    $table,
                    " t WHERE ",
                    $column,
                    " IS NOT NULL AND key_id IS NULL"
                ),
            },
            Question {
                code: "KEY_WITHOUT_SEALED",
                table: $table,
                sentence: concat!("a data key is named, and ", $column, " is gone"),
                sql: concat!(
                    "SELECT ",
                    $name,
                    " AS name FROM ",
                    $table,
                    " t WHERE ",
                    $column,
                    " IS NULL AND key_id IS NOT NULL"
                ),
            },
            Question {
                code: "SHREDDED_HALF",
                table: $table,
                sentence: "it has its data key and counts as shredded, or lacks it and does not",
                sql: concat!(
                    "SELECT ",
                    $name,
                    " AS name FROM ",
                    $table,
                    " t WHERE (key_id IS NULL) <> (shredded_at IS NOT NULL)"
                ),
            },
        ]
    };
}

const SEALED: [[Question; 3]; 6] = [
    sealed!("messages", "'messages/' || id", "sealed_mail"),
    sealed!("messages", "'messages/' || id", "sealed_candidate"),
    sealed!("messages", "'messages/' || id", "sealed_salt"),
    sealed!("requests", "'requests/' || id", "sealed_content"),
    sealed!("instructions", "'controllers/' || controller_id || '/instructions/' || id", "sealed_envelope"),
    sealed!("refusals", "'leaves/' || CAST(leaf AS TEXT)", "sealed_salt"),
];

const OTHERS: &[Question] = &[
    orphan!(
        "agreements",
        "'agreements/' || id",
        "NOT EXISTS (SELECT 1 FROM controllers p WHERE p.id = t.controller_id)",
        "its controller is not there"
    ),
    orphan!(
        "apps",
        "'apps/' || id",
        "NOT EXISTS (SELECT 1 FROM controllers p WHERE p.id = t.controller_id)",
        "its controller is not there"
    ),
    orphan!(
        "app_facts",
        "'apps/' || app_id",
        "NOT EXISTS (SELECT 1 FROM apps p WHERE p.id = t.app_id)",
        "a fact routes to an app that is not there"
    ),
    orphan!(
        "agent_stores",
        "'stores/' || store_id",
        "NOT EXISTS (SELECT 1 FROM agents p WHERE p.id = t.agent_id)",
        "its agent is not there"
    ),
    orphan!(
        "access_keys",
        "'keys/' || thumbprint",
        "NOT EXISTS (SELECT 1 FROM thumbprints p WHERE p.thumbprint = t.thumbprint AND p.use = 'access')",
        "its thumbprint is claimed by nobody"
    ),
    orphan!(
        "tls_keys",
        "'keys/' || thumbprint",
        "NOT EXISTS (SELECT 1 FROM thumbprints p WHERE p.thumbprint = t.thumbprint AND p.use = 'tls' AND p.principal = t.principal)",
        "its thumbprint is not claimed as this principal's TLS key"
    ),
    orphan!(
        "requests",
        "'requests/' || id",
        "NOT EXISTS (SELECT 1 FROM apps p WHERE p.id = t.app_id AND p.controller_id = t.controller_id)",
        "its app is not its controller's"
    ),
    orphan!(
        "request_rights",
        "'requests/' || request_id",
        "NOT EXISTS (SELECT 1 FROM requests p WHERE p.id = t.request_id)",
        "a right of a case that is not there"
    ),
    orphan!(
        "deliveries",
        "'requests/' || request_id",
        "NOT EXISTS (SELECT 1 FROM requests p WHERE p.id = t.request_id AND p.controller_id = t.controller_id)",
        "its case is not that controller's"
    ),
    orphan!(
        "executions",
        "'executions/' || id",
        "NOT EXISTS (SELECT 1 FROM instructions p WHERE p.controller_id = t.controller_id AND p.id = t.instruction_id)",
        "its instruction is not there"
    ),
    orphan!(
        "exports",
        "'exports/' || id",
        "NOT EXISTS (SELECT 1 FROM executions p WHERE p.id = t.execution_id AND p.controller_id = t.controller_id)",
        "its execution is not that controller's"
    ),
    orphan!(
        "calls",
        "t.resource",
        "NOT EXISTS (SELECT 1 FROM trail_leaves p WHERE p.idx = t.leaf)",
        "a call's answer names a leaf that is not there"
    ),
    orphan!(
        "calls",
        "t.resource",
        "(t.resource LIKE 'messages/%' OR t.resource LIKE 'requests/%') \
         AND EXISTS (SELECT 1 FROM trail_leaves p WHERE p.idx = t.leaf AND p.subject <> t.resource)",
        "a call's answer names a leaf about something else"
    ),
    orphan!(
        "cosignatures",
        "t.log || '/' || t.cosigner",
        "NOT EXISTS (SELECT 1 FROM cosigned_heads p WHERE p.log = t.log AND p.size = t.size)",
        "its head is not there"
    ),
    Question {
        code: "NOTHING_OPEN",
        table: "instructions",
        sentence: "it is being executed, and none of its executions is open",
        sql: "SELECT 'controllers/' || i.controller_id || '/instructions/' || i.id AS name FROM instructions i \
              WHERE i.state IN ('admitted', 'held', 'executing') AND NOT EXISTS (SELECT 1 FROM executions e WHERE \
              e.controller_id = i.controller_id AND e.instruction_id = i.id AND e.state IN ('pending', 'leased'))",
    },
    Question {
        code: "STILL_OPEN",
        table: "instructions",
        sentence: "it ended or waits for approvals, and one of its executions is open",
        sql: "SELECT 'controllers/' || i.controller_id || '/instructions/' || i.id AS name FROM instructions i \
              WHERE i.state IN ('waiting', 'done', 'failed', 'expired') AND EXISTS (SELECT 1 FROM executions e WHERE \
              e.controller_id = i.controller_id AND e.instruction_id = i.id AND e.state IN ('pending', 'leased'))",
    },
    Question {
        code: "LEASE_WITHOUT_TOKEN",
        table: "executions",
        sentence: "it is leased, and token, end or agent of the lease is missing",
        sql: "SELECT 'executions/' || id AS name FROM executions WHERE state = 'leased' \
              AND (lease_token IS NULL OR lease_expires_at IS NULL OR agent_id IS NULL)",
    },
    Question {
        code: "TOKEN_WITHOUT_LEASE",
        table: "executions",
        sentence: "it is not leased, and has a lease's token or end",
        sql: "SELECT 'executions/' || id AS name FROM executions WHERE state <> 'leased' \
              AND (lease_token IS NOT NULL OR lease_expires_at IS NOT NULL)",
    },
    Question {
        code: "ORDERED_TWICE",
        table: "executions",
        sentence: "its instruction has another execution for the same store",
        sql: "SELECT 'executions/' || MAX(id) AS name FROM executions \
              GROUP BY controller_id, instruction_id, store_id HAVING COUNT(*) > 1",
    },
    Question {
        code: "REPORT_MISSING",
        table: "executions",
        sentence: "an agent ended it, and its report or the report's leaf is missing",
        sql: "SELECT 'executions/' || id AS name FROM executions WHERE state IN ('completed', 'partial', 'refused') \
              AND (report IS NULL OR report_leaf IS NULL)",
    },
    Question {
        code: "DETAILS_WITHOUT_KEY",
        table: "executions",
        sentence: "its sealed details outlived the data key of its instruction",
        sql: "SELECT 'executions/' || e.id AS name FROM executions e JOIN instructions i \
              ON i.controller_id = e.controller_id AND i.id = e.instruction_id \
              WHERE e.sealed_details IS NOT NULL AND i.key_id IS NULL",
    },
    Question {
        code: "KEY_SHARED",
        table: "requests",
        sentence: "another row names the same data key: shredding one would shred both",
        sql: "SELECT MIN(name) AS name FROM (SELECT 'messages/' || id AS name, key_id FROM messages WHERE key_id IS NOT NULL \
              UNION ALL SELECT 'requests/' || id, key_id FROM requests WHERE key_id IS NOT NULL \
              UNION ALL SELECT 'controllers/' || controller_id || '/instructions/' || id, key_id FROM instructions WHERE key_id IS NOT NULL \
              UNION ALL SELECT 'leaves/' || CAST(leaf AS TEXT), key_id FROM refusals WHERE key_id IS NOT NULL) k \
              GROUP BY key_id HAVING COUNT(*) > 1",
    },
];

/// Everything that may not be; at most a hundred of a kind.
pub async fn oddities(conn: &mut Conn) -> Result<Vec<Oddity>, StoreError> {
    let mut found = Vec::new();
    for question in SEALED.iter().flatten().chain(OTHERS) {
        let rows = query(format!("{} LIMIT ?", question.sql)).bind(MOST).fetch_all(conn).await?;
        for row in &rows {
            let Question { code, table, sentence, .. } = *question;
            let name: String = row.try_get("name")?;
            found.push(Oddity { code, table, resource: shown(&name).to_owned(), sentence });
        }
    }
    // A row with three sealed columns is asked three times whether it counts as shredded.
    let mut seen = std::collections::HashSet::new();
    found.retain(|odd| seen.insert((odd.code, odd.table, odd.resource.clone(), odd.sentence)));
    Ok(found)
}
