//! Trails made by a seed, for tests and benchmarks: as large as wanted, valid, or with one flaw of each
//! kind. Behind the feature `testing` (and in this crate's own tests): no product binary has it.
//!
//! [`Parties`] are who there is, with their keys; [`Story`] tells what happens, leaf by leaf, with real
//! signatures; [`publish`] writes a log of it in C2SP layout; [`FLAWS`] spoil a story.

#[cfg(test)]
mod bad_input;
mod flaws;
mod instructions;
mod parties;
mod publish;
mod seeded;
mod story;
#[cfg(test)]
mod tests;

pub use flaws::{FLAWS, Flaw};
pub use parties::{GATEWAY, Parties, START};
pub use publish::{publish, write};
pub use seeded::Seeded;
pub use story::{Story, Told};
