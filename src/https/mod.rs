//! HTTP/1.1 over the mutual TLS of [`crate::identity`], for what C2SP asks to be plain HTTP: published
//! logs and witnesses. A small bounded [`server`], and a [`client`] that keeps one connection.
//!
//! No access tokens here: what is served is signed by itself, and who may read or ask is a matter
//! of the certificate alone.

pub mod client;
pub mod server;

pub use client::{Line, LineError};
pub use server::{Answer, Call, Handler, serve};

/// The protocol in the handshake (RFC 7301).
pub const PROTOCOL: &[u8] = b"http/1.1";
