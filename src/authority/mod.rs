//! When an instruction is good, and the permit to carry it out.
//!
//! ```text
//! authority log ─► KeySetChain ─┬─► admit()        once, at the leaf that completes the threshold
//!                               └─► Warrant::build  again before the first lease, and again beside the data
//! ```
//!
//! Pure: time, lookups and configuration come in as arguments; the gateway, the
//! agent and an auditor run the same rules.

pub mod admission;
pub mod agreement;
pub mod audit;
mod audit_cases;
mod audit_deeds;
mod audit_facts;
mod audit_orders;
mod audit_replay;
mod audit_shredded;
pub mod authority_log;
pub mod chain;
mod destination;
pub(crate) mod doers;
pub mod evidence;
mod external_sort;
pub mod head;
mod judged;
mod leaf_form;
mod log_keys;
pub mod pins;
pub mod precedent;
pub mod proven;
pub mod published;
mod published_audit;
mod published_log;
pub mod registered;
mod report_keys;
pub mod rules;
pub mod signers;
pub mod sub_processors;
pub mod taken_back;
pub mod verdict;
pub mod warrant;

pub use admission::{Admission, AdmissionContext, admit};
pub use agreement::{AgreementTerms, Scope};
pub use audit::Summary;
pub use chain::{KeySetChain, Restart};
pub use evidence::{Bundle, BundleBuilder, BundleError};
pub use leaf_form::{log_event, successions};
pub use pins::{Pins, PinsError};
pub use rules::{LogName, Rule, Violation};
pub use sub_processors::Sinks;
pub use taken_back::TakenBack;
pub use verdict::{Fault, Verdict, Which};
pub use warrant::{
    AdmissionFacts, CheckedOrder, Lease, Order, Standing, TenantBinding, Warrant, check_order,
};

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod ended_tests;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod forged_tests;
#[cfg(test)]
pub(crate) mod log_fixtures;
#[cfg(test)]
mod published_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod reopening_tests;
#[cfg(test)]
mod report_key_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod since_tests;
#[cfg(test)]
mod taken_back_tests;
#[cfg(test)]
mod verdict_tests;
