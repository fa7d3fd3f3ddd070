//! The pure domain: ids, vocabularies, stages, routing, refusals, events. No I/O, clock, async or SQL.

pub mod clock;
pub mod event;
pub mod execution;
pub mod identifier;
pub mod ids;
pub mod phrase;
pub mod refusal;
pub mod request;
pub mod routing;
pub mod vocabulary;

pub use clock::{Clock, Entropy, Timestamp};
pub use execution::{ContestGround, ExecutionState, InstructionState, Stop};
pub use identifier::Identifier;
pub use ids::*;
pub use refusal::{Class, Reason, Refusal};
pub use request::{RequestStage, RightStage};
pub use vocabulary::{Act, Basis, Category, Ground, Kind, Purpose, RefusalGround, Region, Right, Role};
