//! Orders at the gateway: the retry schedule. Leases and reports are use cases in `app`;
//! their rows live in `store`.

pub mod schedule;
