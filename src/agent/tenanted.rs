//! A collection together with its tenant predicate: the only thing a
//! connector acts on.
//!
//! Two enterprises' user ids may be equal. So no statement is made of a
//! collection's name; it is made of a [`Tenanted`], whose fields are private
//! and whose one constructor resolves the predicate to the end.

use super::data_map::{Collection, DataMap, Tenancy};
use super::name::Name;
use crate::domain::{Reason, Refusal};

/// One collection, one tenant.
pub struct Tenanted<'a> {
    collection: &'a Collection,
    /// The joins to walk, then the column at their end.
    path: Vec<Step<'a>>,
    column: &'a Name,
    tenant: &'a str,
}

/// One join of the way: pairs of local and remote column, and where it leads.
pub struct Step<'a> {
    pub on: &'a [(Name, Name)],
    pub to: &'a Name,
}

impl<'a> Tenanted<'a> {
    /// An empty tenant value is refused: it would match rows that belong to nobody.
    pub fn new(map: &'a DataMap, collection: &'a Collection, tenant: &'a str) -> Result<Self, Refusal> {
        if tenant.is_empty() {
            return Err(Reason::TenantUnbound.into());
        }
        let mut path = Vec::new();
        let mut at = collection;
        loop {
            match &at.tenancy {
                Tenancy::Own(column) => return Ok(Self { collection, path, column, tenant }),
                Tenancy::Join { collection: to, on } => {
                    path.push(Step { on, to });
                    // The map checked at load that every path ends; this guards against a map built otherwise.
                    at = map
                        .collection(to)
                        .filter(|_| path.len() <= map.collections().count())
                        .ok_or(Reason::MapInvalid)?;
                }
            }
        }
    }

    pub fn collection(&self) -> &'a Collection {
        self.collection
    }
    pub fn path(&self) -> &[Step<'a>] {
        &self.path
    }
    pub fn column(&self) -> &'a Name {
        self.column
    }
    pub fn tenant(&self) -> &'a str {
        self.tenant
    }
}
