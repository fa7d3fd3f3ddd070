//! One integration binary: real processes, real TLS, a real client, on loopback.

mod cluster;
mod forger;
mod harness;

mod agent_calls;
mod agent_files;
mod agent_shredding;
mod assigned_once;
mod backup;
mod batch;
mod blindness;
mod crash;
mod crash_points;
mod deferral;
mod doctor;
mod epochs;
mod erasure;
mod export_files;
mod false_authority;
mod fuzz;
mod io_faults;
mod layers;
mod load;
mod offline;
mod published;
mod race;
mod refusal_quota;
mod refused_callers;
mod refused_certificates;
mod refused_instructions;
mod reload;
mod replicas;
mod shredding;
mod taken_over_gateway;
mod unleased;
mod witness;
