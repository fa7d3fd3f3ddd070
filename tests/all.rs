//! One integration binary: real processes, real TLS, a real client, on loopback.

mod forger;
mod harness;

mod blindness;
mod crash;
mod erasure;
mod false_authority;
mod layers;
mod offline;
mod refused_callers;
mod refused_certificates;
mod refused_instructions;
mod shredding;
mod taken_over_gateway;
mod unleased;
