//! Where a test may make the agent fail: a unit test with [`Faults`] of its own, a test of the whole
//! process by name ([`crate::fault`]).

use crate::domain::Refusal;

/// The lines between which a crash must do no harm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// The execution is in the ledger, nothing is planned.
    Begun,
    /// The plan stands in memory alone.
    Planned,
    /// The plan's rows are sealed in the ledger.
    Recorded,
    /// One batch is marked as begun.
    Intended,
    /// Its rows are gone from the store, the ledger does not know.
    Deleted,
    /// The ledger knows.
    Done,
    /// All batches are done, nothing is read back.
    Settled,
    /// Nothing of the subject is left, the outcome is not stored.
    ReadBack,
    /// The outcome is stored, the caller has not got it.
    Ended,
    /// All that is to be returned is packed and recorded, nothing has left.
    Returned,
    /// The gateway has the package, the ledger does not know.
    HandedOver,
}

impl Point {
    /// Its name among [`crate::fault::POINTS`].
    fn name(self) -> &'static str {
        match self {
            Point::Begun => "agent.begun",
            Point::Planned => "agent.planned",
            Point::Recorded => "agent.recorded",
            Point::Intended => "agent.intended",
            Point::Deleted => "agent.deleted",
            Point::Done => "agent.done",
            Point::Settled => "agent.settled",
            Point::ReadBack => "agent.read_back",
            Point::Ended => "agent.ended",
            Point::Returned => "agent.returned",
            Point::HandedOver => "agent.handed_over",
        }
    }
}

/// Asked at each [`Point`]; an error stops the act there, as a crash would.
pub trait Faults: Send + Sync {
    fn at(&self, point: Point) -> Result<(), Refusal>;
}

/// Nothing fails but by itself.
pub struct NoFaults;

impl Faults for NoFaults {
    fn at(&self, point: Point) -> Result<(), Refusal> {
        crate::fault::point(point.name());
        Ok(())
    }
}
