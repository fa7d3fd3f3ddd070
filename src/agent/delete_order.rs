//! In which order collections are emptied.

use std::collections::{BTreeMap, BTreeSet};

use super::data_map::{DataMap, Tenancy};
use super::name::Name;

/// Every collection of the map, dependents first: what was found through a
/// row, leans on it for its tenant, or points to it with a foreign key, goes
/// before it. So whatever has not gone yet can still be found after a crash.
/// A circle is opened at its alphabetically first member.
pub fn delete_order(map: &DataMap, foreign_keys: &[(Name, Name)]) -> Vec<Name> {
    let mut dependents: BTreeMap<&Name, BTreeSet<&Name>> =
        map.collections().map(|c| (&c.name, BTreeSet::new())).collect();
    let joins = map.collections().filter_map(|c| match &c.tenancy {
        Tenancy::Join { collection, .. } => Some((&c.name, collection)),
        Tenancy::Own(_) => None,
    });
    let walks = map.edges().iter().map(|edge| (&edge.to.0, &edge.from.0));
    let keys = foreign_keys.iter().map(|(child, parent)| (child, parent));
    for (child, parent) in joins.chain(walks).chain(keys) {
        if child != parent
            && let Some(of) = dependents.get_mut(parent)
        {
            of.insert(child);
        }
    }
    let mut order = Vec::with_capacity(dependents.len());
    loop {
        let free = dependents.iter().find(|(_, of)| of.is_empty()).or(dependents.iter().next());
        let Some(next) = free.map(|(name, _)| *name) else { return order };
        dependents.remove(next);
        for of in dependents.values_mut() {
            of.remove(next);
        }
        order.push(next.clone());
    }
}
