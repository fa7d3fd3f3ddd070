//! The process beside the data: the only holder of a store's credentials.
//!
//! This is its data side. A [`Task`] says what a warrant allows; the
//! [`DataMap`](data_map::DataMap) says where a person's rows may lie; the
//! [`plan`] finds them; [`erase`], [`preview`] and [`export`] act; when a
//! contract ends, [`return_and_erase`] acts on all of a tenant's rows; the
//! [`Ledger`](ledger::Ledger) remembers, sealed and durable, what was about to
//! be done before it is done.
//!
//! What it promises:
//! - No statement without the tenant predicate can be written: connectors take
//!   only [`Tenanted`](tenanted::Tenanted) collections, and those cannot be made without one.
//! - A row is deleted by its key **and** the tenant predicate **and** the very
//!   value by which it was found to be the subject's, so a key that was reused
//!   meanwhile, or a row that changed hands, stays. Where all of a tenant goes, there is no subject: a row
//!   goes by key, tenant predicate, and as it was returned.
//! - What is to be deleted is durable in the ledger, sealed, before the first
//!   row goes. After a crash at any point the same numbers are reported, once.
//! - What is not deleted is reported with its reason, never left out.

pub mod authority;
mod clearing;
pub mod config;
pub mod connectors;
pub mod continuity;
pub mod data_map;
pub mod delete_order;
pub mod erase;
pub mod export;
pub mod faults;
pub mod fides;
pub mod gateway;
pub mod ledger;
pub mod ledger_batches;
pub mod ledger_chain;
pub mod ledger_ends;
pub mod ledger_repeat;
pub mod ledger_returns;
pub mod ledger_subjects;
mod leftover;
mod marks;
pub mod name;
pub mod notebook;
pub mod notebook_growth;
pub mod orders;
pub mod outcome;
pub mod overlay;
pub mod package;
pub mod package_index;
pub mod plan;
pub mod preview;
pub mod report_key;
pub mod return_and_erase;
mod returning;
pub mod schema;
pub mod sealer;
pub mod service;
pub mod shredding;
pub mod signed_report;
pub mod spool;
pub mod statement;
pub mod task;
pub mod tenanted;
pub mod value;
pub mod vault_sealer;
pub mod walk;
pub mod worker;
pub mod workplace;

#[cfg(test)]
mod test_store;

pub use config::{AgentConfig, ConfigError};
pub use service::{AgentError, private_key, run, run_with};
pub use task::{ExportTo, Task};
pub use workplace::Workplace;
