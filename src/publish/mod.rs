//! What the gateway shows the world, and whom it asks to vouch for it.
//!
//! [`log_files`] serves both logs in the C2SP `tlog-tiles` layout over mutual TLS. [`witnesses`] brings
//! each new head to the witnesses; cosignatures are state, kept through [`crate::app`].

pub mod log_files;
mod overdue;
pub mod witness_line;
pub mod witnesses;

pub use log_files::LogFiles;
pub use witness_line::WitnessLine;
