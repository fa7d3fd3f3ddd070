//! Mandate: the entrusted-processor gateway. This page is the map of the code.
//!
//! An enterprise (the controller) signs an order about one of its end users. The gateway takes it
//! in, commits it to a log that anyone can verify, and leases it to an agent beside the data. The
//! agent checks the signatures again by itself, acts, and reports. Nothing else makes it act.
//!
//! # The way the data flows
//!
//! ```text
//!  mail ─► intake ──┐
//!                   ├─► app: load → decide (pure) → ONE transaction ─► orders ─► agent ─► store
//!  gRPC ─► identity ┘         │          state + leaf + jobs  │         (Warrant built again there)
//!  cli ──► gRPC               └── reply + receipt ◄───────────┘    its report re-enters through app
//!                                                   └─► trail ─► checkpoint ─► auditors, receipts
//! ```
//!
//! One direction. A surface turns bytes into domain types, calls one use case of [`app`] and turns
//! the result into bytes. A use case loads, asks the pure modules to decide, and hands one named
//! command to the store. What a command decides on, it reads again while it holds the writer; so is whether its
//! caller would still be let in ([`store::Pass`]).
//!
//! # The modules, and who may import whom
//!
//! | module | is | imports |
//! |---|---|---|
//! | [`domain`] | pure: ids, vocabularies, stages, routing, events, every refusal | nothing |
//! | [`token`] | pure: the signed forms: access token, instruction, key set, report | `domain` |
//! | [`trail`] | pure: leaf, Merkle tree, checkpoint, receipt, C2SP layout | `domain` |
//! | [`authority`] | pure: key-set chain, when an order is good, `Warrant`, evidence, audit | the three above |
//! | [`sql`] | one SQL text for SQLite and PostgreSQL: connections, parameters, rows | nothing |
//! | [`vault`] | sealed personal data: keyring, data keys, commitments, shredding | the pure ones, `sql` |
//! | [`identity`] | TLS, certificates, access tokens → caller | the pure ones |
//! | [`store`] | SQL: one writer, two logs, one file per aggregate | the pure ones, `sql` |
//! | [`app`] | the use cases, one file each | the pure ones, `store`, `vault` |
//! | [`doctor`] | compares tables, logs, keyring and export folder with each other; changes nothing | `app` and below |
//! | [`grpc`] | the wire: layers, decode, encode, status; one file per service | `app` and below |
//! | [`intake`] | mail → candidate request, each suggestion with its words | `app` and below |
//! | [`execution`] | the retry schedule of orders | nothing |
//! | [`https`] | HTTP/1.1 over the mutual TLS of `identity`: a bounded server, a client | the pure ones, `identity` |
//! | [`publish`] | both logs as files over HTTPS; asks the witnesses | `app` and below, `https` |
//! | [`witness`] | the process that cosigns what continues, with its own memory | the pure ones, `identity`, `https` |
//! | [`agent`] | the process beside the data, with its own ledger and its own `Warrant` | the pure ones, `vault`, the generated client |
//! | [`cli`] | the `mandate` command, one file per subcommand | everything |
//! | [`say`] | what commands tell on stdout and stderr, whoever still reads | nothing |
//! | [`fault`] | named points where a crash test ends the process; nothing in a release build | nothing |
//! | `testing` | made-up trails of any size and flaws in them; only with the feature `testing` | the pure ones |
//!
//! Pure means: no I/O, no clock, no randomness, no async, no SQL. Without the feature `gateway` only
//! the pure modules and `mandate-verify` are built: an auditor runs the very code the gateway runs,
//! and can read all that it depends on. Clock and randomness come in as [`domain::Clock`] and
//! [`domain::Entropy`] everywhere.
//!
//! # What always holds, and where it is kept
//!
//! | | invariant | kept by |
//! |---|---|---|
//! | I1 | no warrant, no act | [`authority::Warrant`]: private fields, one constructor; the agent's tasks come from it |
//! | I2 | not in the trail = did not happen | `store::Store::transact`: the only way to write |
//! | I3 | a reply is durable | the sequencer answers after `COMMIT`, with `synchronous=FULL` |
//! | I4 | the trail holds no personal data | `domain::event`: no field could hold any; `vault` commitments |
//! | I5 | controllers are blind to each other | every read for a controller takes its id; one answer for "not yours" and "not there" |
//! | I6 | nothing happens twice | request ids and `jti`s under the writer; leases; the agent's ledger |
//! | I7 | the gateway never decides for the controller | no use case refuses or executes a case by itself |
//! | I8 | no clock runs out unseen | not in this release: there are no deadlines yet |
//! | I9 | partial is never shown as done | `agent::outcome`, signed in the report; stages of `domain::request` |
//! | I10 | bad input gets a clear, stable error | `domain::refusal`: one table; `grpc` maps it in one place |
//!
//! # Two logs
//!
//! `<gateway>/trail` holds one leaf per event. `<gateway>/authority` holds key sets, what stops an order
//! (revocations, contests, withdrawn signatures), which key of the logs followed on which, and which report keys
//! count no more. It is small, and agents and verifiers replicate it whole, since no inclusion proof shows that nothing newer exists. Both are
//! written by the sequencer only.
//!
//! A reply's receipt leads to the newest signed head. What is shown to others leads to the newest head
//! that *k* witnesses cosigned, where the operator requires any: `app`'s `witnessing` tells the two apart.
//!
//! # Where a crash may fall
//!
//! | line | before it | after it |
//! |---|---|---|
//! | `COMMIT` of a batch (`store::sequencer`) | nothing of the batch | state, leaves, jobs and heads, all of them; unanswered callers ask again and get the first answer |
//! | a `COMMIT` whose result is unknown | – | fatal: the process stops and starts from what is on disk |
//! | a file lets no transaction begin for 30 s (`store::patience`) | callers get `UNAVAILABLE` | fatal, likewise |
//! | a data key is handed out (`vault::keyring`) | it is on disk already | a key that no row names is swept at a later start |
//! | the keyring's mark is raised (`app`'s `marks`) | it is behind the trail, by a second at most | a database with fewer leaves is older: nothing starts on it |
//! | a key's slot is overwritten, or its row deleted, and synced | the key lives; shredding runs again | the data is noise; its leaf is written by the same or the next round |
//! | the agent notes the rows it will delete (`agent::ledger`) | nothing was touched | on resume, noted rows that are gone count as deleted by us |
//! | a witness's memory is renamed (`witness::memory`) | nothing was signed; it is asked again | the head counts as cosigned, whether or not the answer arrived |
//! | the report is in the ledger | the act is resumed | the same report is sent again, for ever the same |
//! | the agent hears that its report was taken | its next round asks for the receipt | it destroys the keys and the package; cut off, its next round does (`agent::shredding`) |
//! | an export's report is accepted | the package is not released | it may be fetched until it expires |
//! | a contract's end: the gateway answers that it has the package | no row was touched | what was returned goes, batch by batch |

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod authority;
pub mod domain;
pub mod say;
pub mod token;
pub mod trail;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(feature = "gateway")]
pub mod agent;
#[cfg(feature = "gateway")]
pub mod app;
#[cfg(feature = "gateway")]
pub mod cli;
#[cfg(feature = "gateway")]
pub mod config;
#[cfg(feature = "gateway")]
pub mod doctor;
#[cfg(feature = "gateway")]
pub mod execution;
#[cfg(feature = "gateway")]
pub mod fault;
#[cfg(feature = "gateway")]
pub mod grpc;
#[cfg(feature = "gateway")]
pub mod https;
#[cfg(feature = "gateway")]
pub mod identity;
#[cfg(feature = "gateway")]
pub mod intake;
#[cfg(feature = "gateway")]
pub mod publish;
#[cfg(feature = "gateway")]
pub mod sql;
#[cfg(feature = "gateway")]
pub mod store;
#[cfg(feature = "gateway")]
pub mod telemetry;
#[cfg(feature = "gateway")]
pub mod vault;
#[cfg(feature = "gateway")]
pub mod witness;
