//! The gRPC surface: who may call what, and the services' words in and out.
//!
//! A call passes, in this order: the proof of who calls ([`authenticate`]), the rule of
//! the method ([`access`]), decoding into domain types ([`decode`]), one use case of
//! [`crate::app`], and encoding ([`encode`]) or the mapping of its refusal ([`status`]).
//! Nothing here decides anything of the domain.

pub mod access;
mod agents;
mod audit;
pub mod authenticate;
mod caller_keys;
mod codec;
mod decode;
mod encode;
mod executions;
mod exports;
mod health;
mod instructions;
mod intake_service;
mod registry;
mod requests;
pub mod server;
pub mod status;
mod surface;

pub use caller_keys::{RegistryKeys, RegistryTlsKeys};
pub use server::{ServeError, serve};
pub use surface::Surface;

/// The generated messages, clients and servers of `proto/mandate/v1`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("mandate.v1");
}
