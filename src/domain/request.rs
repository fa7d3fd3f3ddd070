//! The life of a case (DESIGN §9): pure transitions, each naming the stages it may leave.
//!
//! A case holds one stage per right; the case's own stage follows from theirs and from
//! how far it was brought.

use super::refusal::{Reason, Refusal};
use super::vocabulary::{Act, Right, vocabulary};

vocabulary! {
    /// How far a case has come.
    RequestStage, "request stage" {
        /// Brought to one controller, not yet delivered.
        Routed = "routed",
        Forwarded = "forwarded",
        Acknowledged = "acknowledged",
        Instructed = "instructed",
        Executing = "executing",
        Executed = "executed",
        /// Every right was refused by the controller.
        Refused = "refused",
        /// Every right was answered or executed.
        Answered = "answered",
        Closed = "closed",
        /// The controller says it is not its own.
        Misrouted = "misrouted",
    }
}

vocabulary! {
    /// How far one right has come.
    RightStage, "right stage" {
        Open = "open",
        Instructed = "instructed",
        Executed = "executed",
        /// Something is left, and is named (I9).
        Partial = "partial",
        Answered = "answered",
        Refused = "refused",
    }
}

impl RightStage {
    /// Nothing more is owed for this right.
    pub fn is_settled(self) -> bool {
        matches!(self, RightStage::Executed | RightStage::Answered | RightStage::Refused)
    }
}

impl RequestStage {
    /// Delivered for the first time, or again.
    pub fn forward(self) -> RequestStage {
        match self {
            RequestStage::Routed => RequestStage::Forwarded,
            other => other,
        }
    }

    /// The controller has it. Acknowledging again changes nothing.
    pub fn acknowledge(self) -> Result<RequestStage, Refusal> {
        match self {
            RequestStage::Routed | RequestStage::Forwarded => Ok(RequestStage::Acknowledged),
            RequestStage::Misrouted => Err(stage_conflict("the case was rejected as misrouted")),
            other => Ok(other),
        }
    }

    /// The controller says it is not its own: only before it did anything with it.
    pub fn reject(self) -> Result<RequestStage, Refusal> {
        match self {
            RequestStage::Routed | RequestStage::Forwarded | RequestStage::Acknowledged => {
                Ok(RequestStage::Misrouted)
            }
            _ => Err(stage_conflict("only a case nobody has acted on can be rejected")),
        }
    }

    /// Whether an instruction may answer a case at this stage.
    pub fn may_be_instructed(self) -> bool {
        !matches!(self, RequestStage::Misrouted | RequestStage::Closed)
    }
}

/// The case's stage once its rights stand as given. `before` is kept where nothing was begun.
pub fn stage_of(before: RequestStage, rights: &[RightStage]) -> RequestStage {
    let all = |test: fn(&RightStage) -> bool| !rights.is_empty() && rights.iter().all(test);
    if all(|r| *r == RightStage::Refused) {
        RequestStage::Refused
    } else if all(|r| matches!(r, RightStage::Answered | RightStage::Refused)) {
        RequestStage::Answered
    } else if all(|r| r.is_settled()) {
        RequestStage::Executed
    } else if rights.contains(&RightStage::Instructed) {
        RequestStage::Instructed
    } else if rights.iter().any(|r| *r != RightStage::Open) {
        RequestStage::Executing
    } else {
        before
    }
}

/// The rights of a case that an act would serve now. `ACT_DOES_NOT_SERVE` where there is none.
/// A preview serves none and may always come. An export to a third party serves a transfer and nothing else,
/// one to the controller no transfer: where that was asked for, the third party is (R11).
pub fn served_by(
    act: Act,
    to_third_party: bool,
    rights: &[(Right, RightStage)],
) -> Result<Vec<Right>, Refusal> {
    if act == Act::Preview {
        return Ok(Vec::new());
    }
    let mut open: Vec<Right> = rights
        .iter()
        .filter(|(right, stage)| {
            act.serves(*right) && matches!(stage, RightStage::Open | RightStage::Partial)
        })
        .map(|(right, _)| *right)
        .collect();
    let transfer = open.contains(&Right::Transfer);
    open.retain(|right| (*right == Right::Transfer) == to_third_party);
    if !open.is_empty() {
        return Ok(open);
    }
    Err(match transfer {
        true => Refusal::at(Reason::TransferTargetMissing, "payload.private"),
        false => Reason::ActDoesNotServe.into(),
    })
}

/// What became of a right when its instruction ended.
pub fn right_after(completed: bool) -> RightStage {
    if completed { RightStage::Executed } else { RightStage::Partial }
}

fn stage_conflict(note: &'static str) -> Refusal {
    Refusal::new(Reason::StageConflict).note(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_executed_only_when_every_right_is_settled() {
        use RightStage::*;
        assert_eq!(stage_of(RequestStage::Acknowledged, &[Executed, Open]), RequestStage::Executing);
        assert_eq!(stage_of(RequestStage::Acknowledged, &[Executed, Partial]), RequestStage::Executing);
        assert_eq!(stage_of(RequestStage::Acknowledged, &[Executed, Answered]), RequestStage::Executed);
        assert_eq!(stage_of(RequestStage::Acknowledged, &[Refused, Refused]), RequestStage::Refused);
        assert_eq!(stage_of(RequestStage::Acknowledged, &[Open]), RequestStage::Acknowledged);
    }

    #[test]
    fn a_case_that_was_acted_on_cannot_be_rejected() {
        assert!(RequestStage::Executed.reject().is_err());
        assert_eq!(RequestStage::Forwarded.reject().unwrap(), RequestStage::Misrouted);
        assert!(RequestStage::Misrouted.acknowledge().is_err());
    }

    #[test]
    fn an_erasure_serves_a_deletion_and_no_explanation() {
        let rights = [(Right::Delete, RightStage::Open), (Right::ExplainUseAndSharing, RightStage::Open)];
        assert_eq!(served_by(Act::Erase, false, &rights).unwrap(), vec![Right::Delete]);
        assert!(served_by(Act::Rectify, false, &rights).is_err());
        assert!(served_by(Act::Preview, false, &rights).unwrap().is_empty());
    }

    #[test]
    fn a_transfer_is_served_by_an_export_to_the_third_party_alone() {
        let asked = [(Right::Copy, RightStage::Open), (Right::Transfer, RightStage::Open)];
        let served = |to_third_party, rights: &[_]| {
            served_by(Act::Export, to_third_party, rights).map_err(|refusal| refusal.reason)
        };
        assert_eq!(served(true, &asked), Ok(vec![Right::Transfer]));
        assert_eq!(served(false, &asked), Ok(vec![Right::Copy]));
        assert_eq!(served(false, &asked[1..]), Err(Reason::TransferTargetMissing));
        assert_eq!(served(true, &asked[..1]), Err(Reason::ActDoesNotServe));
    }
}
