//! Who is calling.
//!
//! Three proofs, in this order, and all must name the same principal:
//!
//! 1. *The connection* ([`tls`], [`certificate`]): TLS 1.3, a client certificate
//!    that chains to a registered anchor ([`anchors`]) and is on no revocation
//!    list ([`revocation`]). Faults of the chain end the handshake.
//! 2. *The name* ([`spiffe`]): exactly one SPIFFE URI, of a kind and id that this
//!    very anchor may vouch for. Faults of the name let the handshake finish and
//!    are answered to every call, with their reason.
//! 3. *The access token* ([`access_token`]): short-lived, bound to the certificate,
//!    signed with a second key of the same principal ([`access_key`]).
//!
//! All of it may be exchanged while the process runs ([`material`], [`reload`]), and an open
//! connection lives only as long as its certificate is good (`guard`).
//!
//! The result is a [`Caller`]. What a caller may do is decided elsewhere.
//! Clients prove themselves with [`client_tls`] and [`mint`].

pub mod access_key;
pub mod access_token;
pub mod anchors;
pub mod certificate;
pub mod client_tls;
pub mod connection;
mod guard;
pub mod material;
pub mod mint;
mod picture;
mod places;
pub mod principal;
pub mod reload;
pub mod revocation;
pub mod setup;
pub mod spiffe;
mod standing;
pub mod tls;
pub mod tls_key;

#[cfg(test)]
mod access_token_tests;
#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
mod reload_tests;
#[cfg(test)]
mod staging;

pub use access_key::{AccessKey, AccessKeys};
pub use access_token::{AccessTokens, bearer};
pub use anchors::{AnchorConfig, Anchors};
pub use certificate::{LogRefusals, Peer, PeerIdentity, RefusalSink};
pub use client_tls::{ClientTls, ClientTlsConfig};
pub use connection::Connection;
pub use material::{Material, MaterialFiles, Materials};
pub use mint::{MintError, TokenOrder, TokenSigner};
pub use principal::{Caller, Principal, PrincipalId};
pub use reload::{Configured, Reloader};
pub use setup::SetupError;
pub use spiffe::SpiffeId;
pub use standing::{ConnectedPeer, Standing};
pub use tls::{Acceptor, serve, server_config};
