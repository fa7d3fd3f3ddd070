//! One integration binary: real processes, real TLS, a real client, on loopback.

mod cluster;
mod harness;

mod batch;
mod blindness;
mod crash;
mod erasure;
mod fuzz;
mod layers;
mod offline;
mod refused_callers;
mod refused_instructions;
mod replicas;
mod shredding;
mod taken_over_gateway;
mod unleased;
