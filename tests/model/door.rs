//! What a controller, an operator and an agent ask of a gateway.

use mandate::domain::{Clock, InstructionId, InstructionState, Reason, RequestId};
use mandate::grpc::v1;
use mandate::token::Detached;

use super::agent::Hold;
use super::office::Signed;

/// What a gateway shows of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub state: InstructionState,
    /// Role and number of those who are missing.
    pub missing: Vec<(String, usize)>,
    pub has_orders: bool,
}

/// Orders that an agent was handed, and whether an answer may have been lost that had more.
pub type HandedOut = (Vec<v1::Order>, bool);

pub trait Door {
    fn clock(&self) -> &dyn Clock;
    async fn submit(&mut self, wire: &str) -> Result<Shown, Reason>;
    async fn approve(
        &mut self,
        id: InstructionId,
        by: &Detached,
        disclosures: &[String],
    ) -> Result<Shown, Reason>;
    async fn withdraw(&mut self, id: InstructionId, by: &Detached) -> Result<Shown, Reason>;
    async fn contest(&mut self, id: InstructionId) -> Result<(), Reason>;
    async fn rotate(&mut self, set: &[u8]) -> Result<(), Reason>;
    /// A case of somebody's, or of a minor's, whose data is to be deleted.
    async fn case(&mut self, minor: bool) -> RequestId;
    async fn show(&mut self, id: InstructionId) -> Result<Shown, Reason>;
    /// The order, with the newest leaf that the gateway has of it; none where it has none.
    async fn order(&mut self, of: &Signed) -> Option<v1::Order>;
    async fn lease(&mut self) -> HandedOut;
    async fn report(&mut self, hold: &Hold, report: String) -> Result<(), Reason>;
    /// Leaves from there on, a checkpoint, and whether more follow.
    async fn authority(&mut self, start: u64) -> (Vec<Vec<u8>>, String, bool);
}

/// An order, as it is handed out.
pub fn an_order(execution: String, store: String, instruction: Vec<u8>, admission: v1::Receipt) -> v1::Order {
    v1::Order {
        execution,
        store,
        instruction: instruction.into(),
        admission: Some(admission),
        attempt: 1,
        lease_token: "t".into(),
        lease_expire_time: None,
        preview: None,
    }
}
