//! Who may call what: the table that the build writes from the methods' own
//! `(mandate.v1.access)` options, and the two services that are not ours.
//!
//! `docs/access.txt` is this table in text; a test holds the two together.

use std::fmt::Write as _;

use crate::domain::Kind;

/// What one method asks of its caller, and what it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `/<package>.<service>/<method>`.
    pub path: &'static str,
    pub kinds: &'static [Kind],
    /// `<resource>.<verb>`.
    pub scope: &'static str,
    /// The type of leaf a successful call appends, or `none`.
    pub records: &'static str,
}

/// How a path is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Certificate and token, of these kinds and with this scope.
    Guarded(&'static Rule),
    /// A certificate is enough: health, asked by load balancers that sign nothing.
    CertificateOnly,
}

/// The rules of `mandate.v1`, sorted by path.
static RULES: &[Rule] = include!(concat!(env!("OUT_DIR"), "/access_rules.rs"));

/// Reflection tells every registered caller what the methods are.
static REFLECTION: [Rule; 2] = [
    reflection("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    reflection("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
];

const HEALTH: [&str; 3] =
    ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", "/grpc.health.v1.Health/Watch"];

const fn reflection(path: &'static str) -> Rule {
    Rule { path, kinds: Kind::ALL, scope: "reflection.read", records: "none" }
}

/// The rule of a path; `None` where there is no such method.
pub fn rule_for(path: &str) -> Option<Access> {
    if HEALTH.contains(&path) {
        return Some(Access::CertificateOnly);
    }
    if let Ok(at) = RULES.binary_search_by(|rule| rule.path.cmp(path)) {
        return Some(Access::Guarded(&RULES[at]));
    }
    REFLECTION.iter().find(|rule| rule.path == path).map(Access::Guarded)
}

/// Each method's service (`<package>.<service>`), and whether the method appends a leaf.
pub fn services() -> impl Iterator<Item = (&'static str, bool)> {
    RULES.iter().filter_map(|rule| {
        let (service, _) = rule.path.strip_prefix('/')?.split_once('/')?;
        Some((service, rule.records != "none"))
    })
}

/// The text of `docs/access.txt`: one line for each method.
pub fn access_document() -> String {
    let mut text = String::from(
        "# Method, kinds of caller, scope of the token, type of leaf it appends.\n\
         # Made from the (mandate.v1.access) options in proto/. MANDATE_BLESS=1 cargo test grpc::access writes it anew.\n",
    );
    for rule in RULES.iter().chain(&REFLECTION) {
        let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.as_str()).collect();
        // Writing into a String does not fail.
        let _ = writeln!(text, "{} {} {} {}", rule.path, kinds.join(","), rule.scope, rule.records);
    }
    for path in HEALTH {
        let _ = writeln!(text, "{path} any-certificate - none");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_found_by_its_path() {
        assert!(RULES.len() > 30, "the table holds {} rules", RULES.len());
        for rule in RULES {
            assert_eq!(rule_for(rule.path), Some(Access::Guarded(rule)));
        }
    }

    #[test]
    fn every_method_of_the_descriptor_set_has_a_rule() {
        let set =
            <prost_types::FileDescriptorSet as prost::Message>::decode(super::super::server::DESCRIPTORS)
                .expect("the build's own descriptor set");
        let mut methods = 0;
        for file in set.file.iter().filter(|file| file.package() == "mandate.v1") {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/mandate.v1.{}/{}", service.name(), method.name());
                    assert!(matches!(rule_for(&path), Some(Access::Guarded(_))), "{path} has no rule");
                    methods += 1;
                }
            }
        }
        assert_eq!(methods, RULES.len());
    }

    #[test]
    fn an_unknown_path_has_no_rule_and_health_needs_no_token() {
        assert_eq!(rule_for("/mandate.v1.RequestService/DropEverything"), None);
        assert_eq!(rule_for("/mandate.v1.RequestService/GetRequest/"), None);
        assert_eq!(rule_for("/grpc.health.v1.Health/Check"), Some(Access::CertificateOnly));
        assert!(matches!(rule_for(REFLECTION[0].path), Some(Access::Guarded(_))));
    }

    #[test]
    fn only_an_operator_writes_the_registry() {
        for rule in RULES.iter().filter(|rule| rule.path.starts_with("/mandate.v1.RegistryService/")) {
            if rule.records != "none" {
                assert_eq!(rule.kinds, [Kind::Operator], "{}", rule.path);
            }
        }
    }

    #[test]
    fn the_audit_lets_those_have_done_it_that_may_call() {
        for rule in RULES.iter().filter(|rule| rule.records != "none") {
            let may = crate::authority::doers::may(rule.records);
            let of = |kinds: &[Kind]| kinds.iter().all(|kind| may.contains(kind));
            // What a controller does to its own names it as `controller`, and nobody as `by`.
            let unnamed = ["request", "instruction", "approval"]
                .iter()
                .any(|noun| rule.records.starts_with(&format!("mandate.{noun}.")));
            let by = rule.records == "mandate.request.read" || rule.records.ends_with(".contested");
            // A lease, a deferral and a report name the agent as `agent`.
            let execution = rule.records.starts_with("mandate.execution.");
            assert!(of(rule.kinds) || (unnamed && !by) || execution, "{} by {:?}", rule.records, rule.kinds);
        }
    }

    #[test]
    fn the_access_table_in_docs_is_this_one() {
        super::super::status::compare_or_bless("docs/access.txt", &access_document());
    }
}
