//! The one who acts: an id of a kind, and the workload that acts for it.

use std::collections::BTreeSet;

use crate::domain::ids::IdError;
use crate::domain::{
    AgentId, AuditorId, ControllerId, GatewayId, Kind, OperatorId, Reason, Refusal, SupportId, Timestamp,
    WitnessId,
};

/// An id that knows its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalId {
    Controller(ControllerId),
    Support(SupportId),
    Auditor(AuditorId),
    Operator(OperatorId),
    Agent(AgentId),
    Witness(WitnessId),
    Gateway(GatewayId),
}

impl PrincipalId {
    /// Reads the bare id (`xingyu`) as one of the given kind.
    pub fn new(kind: Kind, id: &str) -> Result<Self, IdError> {
        Ok(match kind {
            Kind::Controller => Self::Controller(id.parse()?),
            Kind::Support => Self::Support(id.parse()?),
            Kind::Auditor => Self::Auditor(id.parse()?),
            Kind::Operator => Self::Operator(id.parse()?),
            Kind::Agent => Self::Agent(id.parse()?),
            Kind::Witness => Self::Witness(id.parse()?),
            Kind::Gateway => Self::Gateway(id.parse()?),
        })
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Controller(_) => Kind::Controller,
            Self::Support(_) => Kind::Support,
            Self::Auditor(_) => Kind::Auditor,
            Self::Operator(_) => Kind::Operator,
            Self::Agent(_) => Kind::Agent,
            Self::Witness(_) => Kind::Witness,
            Self::Gateway(_) => Kind::Gateway,
        }
    }

    /// The bare id, without its collection.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Controller(id) => id.as_str(),
            Self::Support(id) => id.as_str(),
            Self::Auditor(id) => id.as_str(),
            Self::Operator(id) => id.as_str(),
            Self::Agent(id) => id.as_str(),
            Self::Witness(id) => id.as_str(),
            Self::Gateway(id) => id.as_str(),
        }
    }

    /// `<collection>/<id>`, as in `controllers/xingyu`.
    pub fn resource_name(&self) -> String {
        format!("{}/{}", self.kind().collection(), self.as_str())
    }
}

/// A principal and the workload (a process, a desk) that acts for it.
///
/// Rights belong to the id; the workload only tells two processes apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    id: PrincipalId,
    workload: String,
}

impl Principal {
    /// `workload` must have passed [`SpiffeId`](super::SpiffeId)'s rule.
    pub(super) fn new(id: PrincipalId, workload: String) -> Self {
        Self { id, workload }
    }

    pub fn id(&self) -> &PrincipalId {
        &self.id
    }

    pub fn kind(&self) -> Kind {
        self.id.kind()
    }

    pub fn workload(&self) -> &str {
        &self.workload
    }

    /// `<collection>/<id>`: the `iss` of its tokens and its name in every leaf.
    pub fn resource_name(&self) -> String {
        self.id.resource_name()
    }

    pub fn controller(&self) -> Option<&ControllerId> {
        match &self.id {
            PrincipalId::Controller(id) => Some(id),
            _ => None,
        }
    }

    pub fn support(&self) -> Option<&SupportId> {
        match &self.id {
            PrincipalId::Support(id) => Some(id),
            _ => None,
        }
    }

    pub fn auditor(&self) -> Option<&AuditorId> {
        match &self.id {
            PrincipalId::Auditor(id) => Some(id),
            _ => None,
        }
    }

    pub fn operator(&self) -> Option<&OperatorId> {
        match &self.id {
            PrincipalId::Operator(id) => Some(id),
            _ => None,
        }
    }

    pub fn agent(&self) -> Option<&AgentId> {
        match &self.id {
            PrincipalId::Agent(id) => Some(id),
            _ => None,
        }
    }

    pub fn witness(&self) -> Option<&WitnessId> {
        match &self.id {
            PrincipalId::Witness(id) => Some(id),
            _ => None,
        }
    }
}

/// A proven caller: certificate and access token agree. Made only by
/// [`AccessTokens::verify`](super::AccessTokens::verify).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub(super) principal: Principal,
    pub(super) scopes: BTreeSet<String>,
    pub(super) token_expires_at: Timestamp,
    pub(super) access_key: String,
    pub(super) certificate_sha256: [u8; 32],
}

impl Caller {
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    pub fn scopes(&self) -> &BTreeSet<String> {
        &self.scopes
    }

    /// The token's `exp`. A stream opened with the token ends then.
    pub fn token_expires_at(&self) -> Timestamp {
        self.token_expires_at
    }

    /// RFC 7638 thumbprint of the registered key that signed the token.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// SHA-256 of the DER certificate of the caller's connection.
    pub fn certificate_sha256(&self) -> &[u8; 32] {
        &self.certificate_sha256
    }

    /// `SCOPE_MISSING` unless the token carries the scope (`resource.verb`).
    pub fn require_scope(&self, scope: &'static str) -> Result<(), Refusal> {
        if self.scopes.contains(scope) {
            Ok(())
        } else {
            Err(Refusal::at(Reason::ScopeMissing, "scope").note(scope))
        }
    }

    /// `KIND_NOT_ALLOWED` unless the caller is of one of the kinds.
    pub fn require_kind(&self, kinds: &[Kind]) -> Result<(), Refusal> {
        if kinds.contains(&self.principal.kind()) { Ok(()) } else { Err(Reason::KindNotAllowed.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_typed_id_and_collection() {
        for kind in Kind::ALL {
            let id = PrincipalId::new(*kind, "x1").unwrap();
            assert_eq!(id.kind(), *kind);
            assert_eq!(id.as_str(), "x1");
            assert_eq!(id.resource_name(), format!("{}/x1", kind.collection()));
            assert!(PrincipalId::new(*kind, "X1").is_err());
        }
    }

    #[test]
    fn only_a_controller_yields_a_controller_id() {
        let controller =
            Principal::new(PrincipalId::new(Kind::Controller, "xingyu").unwrap(), "backend".into());
        assert_eq!(controller.controller().unwrap().as_str(), "xingyu");
        assert!(controller.operator().is_none());
        let operator = Principal::new(PrincipalId::new(Kind::Operator, "xingyu").unwrap(), "desk".into());
        assert!(operator.controller().is_none());
    }
}
