//! The live schema of a store, and whether the data map fits it.
//!
//! Looked at before every act: a table that was added yesterday is in today's
//! report as unmapped, and a column that was renamed stops the agent rather
//! than making it find nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::data_map::{Collection, DataMap, Tenancy};
use super::name::Name;
use crate::domain::{Reason, Refusal};

/// What a foreign key does when the row it points to is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDelete {
    /// The deletion is refused.
    Refuses,
    /// The referencing row is deleted or changed by the store itself.
    Acts,
}

#[derive(Default)]
pub struct Table {
    pub columns: BTreeSet<Name>,
    pub primary_key: BTreeSet<Name>,
    pub foreign_keys: Vec<ForeignKey>,
}

/// Rows of one table that point to rows of another.
pub struct ForeignKey {
    /// The table pointed to.
    pub parent: Name,
    pub on_delete: OnDelete,
    /// Pairs of the column that points and the column pointed to.
    pub on: Vec<(Name, Name)>,
}

/// A table whose rows lean on rows of another: they point to them, or have their tenant through them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Leaning {
    pub child: Name,
    /// Pairs of the child's column and the other's.
    pub on: Vec<(Name, Name)>,
}

/// Every table of the store, system tables apart.
#[derive(Default)]
pub struct Schema {
    pub tables: BTreeMap<Name, Table>,
}

/// What the map leaves out, and the foreign keys it must respect.
#[derive(Default)]
pub struct Fit {
    /// Tables neither mapped nor declared free of personal data.
    pub unmapped_collections: Vec<Name>,
    /// Columns of mapped tables that the dataset does not name. They go with their row when it is
    /// deleted, and are not exported.
    pub unmapped_columns: Vec<(Name, Name)>,
    /// `(child, parent)`: mapped collections of which one points to the other.
    pub foreign_keys: Vec<(Name, Name)>,
    /// By mapped collection, the tables, mapped or not, whose rows lean on its rows.
    pub leaning: BTreeMap<Name, BTreeSet<Leaning>>,
}

/// SQLite compares table names without case.
fn collection_of<'a>(map: &'a DataMap, table: &Name) -> Option<&'a Name> {
    map.collections().map(|c| &c.name).find(|name| name.as_str().eq_ignore_ascii_case(table.as_str()))
}

impl Schema {
    /// `MAP_INVALID`, naming collection and column, where the map does not fit.
    pub fn fit(&self, map: &DataMap) -> Result<Fit, Refusal> {
        let mut fit = Fit::default();
        for collection in map.collections() {
            self.check_collection(map, collection, &mut fit)?;
        }
        for name in self.tables.keys() {
            if map.collection(name).is_none() && !map.is_ignored(name) {
                fit.unmapped_collections.push(name.clone());
            }
        }
        fit.leaning = self.leaning(map);
        Ok(fit)
    }

    fn leaning(&self, map: &DataMap) -> BTreeMap<Name, BTreeSet<Leaning>> {
        let mut out: BTreeMap<Name, BTreeSet<Leaning>> = BTreeMap::new();
        let mut add = |parent: &Name, child: &Name, on: &[(Name, Name)]| {
            let leaning = Leaning { child: child.clone(), on: on.to_vec() };
            out.entry(parent.clone()).or_default().insert(leaning);
        };
        for collection in map.collections() {
            if let Tenancy::Join { collection: parent, on } = &collection.tenancy {
                add(parent, &collection.name, on);
            }
        }
        for (child, table) in &self.tables {
            for key in &table.foreign_keys {
                if let Some(parent) = collection_of(map, &key.parent) {
                    add(parent, child, &key.on);
                }
            }
        }
        out
    }

    fn check_collection(&self, map: &DataMap, collection: &Collection, fit: &mut Fit) -> Result<(), Refusal> {
        let invalid = |note: &'static str| {
            Refusal::at(Reason::MapInvalid, collection.name.as_str().to_owned()).note(note)
        };
        let table =
            self.tables.get(&collection.name).ok_or_else(|| invalid("the store has no such table"))?;
        if collection.key.iter().cloned().collect::<BTreeSet<_>>() != table.primary_key {
            return Err(invalid("the store's primary key is another than the map's"));
        }
        let mapped: BTreeSet<&Name> = collection.columns.iter().map(|column| &column.name).collect();
        for name in mapped.iter().copied().chain(&collection.time) {
            if !table.columns.contains(name) {
                return Err(Refusal::at(Reason::MapInvalid, format!("{}.{name}", collection.name))
                    .note("the store has no such column"));
            }
        }
        match &collection.tenancy {
            Tenancy::Own(column) if !table.columns.contains(column) => {
                return Err(invalid("the store has no such tenant column"));
            }
            Tenancy::Own(_) => {}
            Tenancy::Join { collection: to, on } => {
                let remote = self.tables.get(to);
                let there = |column: &Name| remote.is_some_and(|table| table.columns.contains(column));
                if !on.iter().all(|(local, far)| table.columns.contains(local) && there(far)) {
                    return Err(invalid("a column of the join path is not in the store"));
                }
            }
        }
        for column in &table.columns {
            let is_tenant = matches!(&collection.tenancy, Tenancy::Own(name) if name == column);
            if !mapped.contains(column) && !is_tenant && collection.time.as_ref() != Some(column) {
                fit.unmapped_columns.push((collection.name.clone(), column.clone()));
            }
        }
        for ForeignKey { parent, on_delete, on: _ } in &table.foreign_keys {
            match (collection_of(map, parent), on_delete) {
                (Some(_), OnDelete::Acts) => {
                    return Err(invalid(
                        "a foreign key of the store deletes or changes rows by itself, outside any plan and report",
                    ));
                }
                (Some(parent), OnDelete::Refuses) => {
                    fit.foreign_keys.push((collection.name.clone(), parent.clone()));
                }
                (None, _) => {}
            }
        }
        Ok(())
    }
}
