//! Where a person's rows may lie: a Fides dataset and its overlay, made one
//! and checked. What a [`DataMap`] holds is complete: every collection has a
//! key, a category and a tenant predicate, or the map does not load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::name::Name;
use super::overlay::{IdentityFormat, Overlay};
use super::{fides, overlay};
use crate::domain::{Category, Ground, Reason, Refusal, Region, StoreId};

/// How the rows of a collection are known to be one tenant's.
pub enum Tenancy {
    /// The column that holds the tenant value.
    Own(Name),
    /// The row it belongs to elsewhere: pairs of local and remote column.
    Join { collection: Name, on: Vec<(Name, Name)> },
}

/// How long rows must stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// An instant, in seconds since the epoch.
    Instant(i64),
    /// Days from the row's own time.
    DaysFromRow(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    pub ground: Ground,
    pub until: Until,
}

pub struct Column {
    pub name: Name,
    /// Which identifiers of the subject the column may hold.
    pub identity: Option<IdentityFormat>,
}

/// One mapped table.
pub struct Collection {
    pub name: Name,
    /// Primary key, never empty.
    pub key: Vec<Name>,
    pub columns: Vec<Column>,
    /// Never empty.
    pub categories: BTreeSet<Category>,
    pub tenancy: Tenancy,
    pub time: Option<Name>,
    pub shared: bool,
    pub retain: Option<Retention>,
}

/// A way to walk: the values of one column find rows by another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: (Name, Name),
    pub to: (Name, Name),
}

/// A checked data map of one store.
pub struct DataMap {
    store: StoreId,
    region: Region,
    database: PathBuf,
    statement_timeout: Duration,
    version: [u8; 32],
    collections: BTreeMap<Name, Collection>,
    edges: Vec<Edge>,
    ignored: BTreeSet<Name>,
}

fn invalid(field: impl Into<String>, note: impl Into<String>) -> Refusal {
    Refusal::at(Reason::MapInvalid, field.into()).note(note.into())
}

impl DataMap {
    /// Reads and checks the two files. A relative path of the store is taken from the overlay's folder.
    pub fn load(dataset: &Path, overlay: &Path) -> Result<Self, Refusal> {
        let read = |path: &Path, field: &'static str| {
            std::fs::read(path).map_err(|_| invalid(field, "the file cannot be read"))
        };
        let base = overlay.parent().unwrap_or(Path::new("."));
        Self::parse(&read(dataset, "dataset")?, &read(overlay, "overlay")?, base)
    }

    /// The same from bytes; `base` is where a relative path of the store begins.
    pub fn parse(dataset: &[u8], overlay_toml: &[u8], base: &Path) -> Result<Self, Refusal> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| invalid("file", "not UTF-8"));
        let manifest = fides::parse(text(dataset)?)?;
        let overlay = overlay::parse(text(overlay_toml)?)?;
        let source = manifest.dataset.iter().find(|d| d.fides_key == overlay.dataset).ok_or_else(|| {
            invalid("overlay.dataset", "the dataset file holds no dataset of this fides_key")
        })?;

        let mut collections = BTreeMap::new();
        let mut edges = BTreeSet::new();
        for raw in &source.collections {
            let collection = collection(raw, &overlay)?;
            references(raw, &overlay.dataset, &mut edges)?;
            if collections.insert(collection.name.clone(), collection).is_some() {
                return Err(invalid(raw.name.clone(), "the collection stands twice"));
            }
        }
        if let Some(stray) =
            overlay.collections.keys().find(|name| !source.collections.iter().any(|c| c.name == **name))
        {
            return Err(invalid(stray.clone(), "the overlay names a collection the dataset does not have"));
        }
        for collection in collections.values() {
            edges.extend(implied(collection));
        }
        let map = DataMap {
            version: version(dataset, overlay_toml),
            database: base.join(&overlay.connection.sqlite),
            statement_timeout: Duration::from_secs(overlay.connection.statement_timeout_seconds.max(1)),
            ignored: overlay.ignored.keys().map(|name| Name::new(name)).collect::<Result<_, _>>()?,
            store: overlay.store,
            region: overlay.region,
            collections,
            edges: edges.into_iter().collect(),
        };
        map.check_ends()?;
        map.check_tenancy()?;
        Ok(map)
    }

    pub fn store(&self) -> &StoreId {
        &self.store
    }
    pub fn region(&self) -> Region {
        self.region
    }
    pub fn database(&self) -> &Path {
        &self.database
    }
    pub fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }
    /// SHA-256 over the bytes of both files.
    pub fn version(&self) -> &[u8; 32] {
        &self.version
    }
    pub fn collections(&self) -> impl Iterator<Item = &Collection> {
        self.collections.values()
    }
    pub fn collection(&self, name: &Name) -> Option<&Collection> {
        self.collections.get(name)
    }
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }
    pub fn is_ignored(&self, name: &Name) -> bool {
        self.ignored.contains(name)
    }

    fn has_column(&self, collection: &Name, column: &Name) -> bool {
        self.collection(collection).is_some_and(|c| c.columns.iter().any(|have| have.name == *column))
    }

    fn check_ends(&self) -> Result<(), Refusal> {
        for edge in &self.edges {
            for (collection, column) in [&edge.from, &edge.to] {
                if !self.has_column(collection, column) {
                    return Err(invalid(
                        format!("{collection}.{column}"),
                        "a reference names a field the map does not have",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every declared join must end at a collection with a tenant column of its own.
    fn check_tenancy(&self) -> Result<(), Refusal> {
        for start in self.collections() {
            let mut at = start;
            let mut steps = 0;
            while let Tenancy::Join { collection, .. } = &at.tenancy {
                steps += 1;
                at = self.collection(collection).filter(|_| steps <= self.collections.len()).ok_or_else(
                    || {
                        invalid(
                            start.name.as_str(),
                            "the join path does not end at a collection with a tenant column",
                        )
                    },
                )?;
            }
        }
        Ok(())
    }
}

/// Length-prefixed, so that no byte can move from one file to the other unseen.
fn version(dataset: &[u8], overlay: &[u8]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(dataset.len() + overlay.len() + 16);
    for part in [dataset, overlay] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    out
}

fn collection(raw: &fides::Collection, overlay: &Overlay) -> Result<Collection, Refusal> {
    let at = || raw.name.clone();
    let own = overlay.collections.get(&raw.name).ok_or_else(|| {
        invalid(at(), "the overlay says nothing of the collection: it needs tenant or join")
    })?;
    let tenancy = match (&own.tenant, &own.join) {
        (Some(column), None) => Tenancy::Own(Name::new(column)?),
        (None, Some(join)) if !join.on.is_empty() => Tenancy::Join {
            collection: Name::new(&join.collection)?,
            on: join
                .on
                .iter()
                .map(|[local, remote]| Ok((Name::new(local)?, Name::new(remote)?)))
                .collect::<Result<_, Refusal>>()?,
        },
        _ => return Err(invalid(at(), "exactly one of tenant and join, and join.on not empty")),
    };

    let mut columns = Vec::new();
    let mut key = Vec::new();
    let mut categories = BTreeSet::new();
    for field in &raw.fields {
        let name = Name::new(&field.name)?;
        for category in every_category(field) {
            categories.extend(translate(category, &raw.name, overlay)?);
        }
        if field.fields.iter().flatten().any(has_role) {
            return Err(invalid(
                at(),
                "a nested field cannot be key, identity or reference in a relational store",
            ));
        }
        let meta = field.fides_meta.as_ref();
        if meta.and_then(|m| m.primary_key) == Some(true) {
            key.push(name.clone());
        }
        let identity = match meta.and_then(|m| m.identity.as_ref()) {
            Some(word) => Some(*overlay.identities.get(word).ok_or_else(|| {
                invalid(
                    format!("{}.{}", raw.name, field.name),
                    "the overlay maps no format to the field's identity",
                )
            })?),
            None => None,
        };
        columns.push(Column { name, identity });
    }
    if key.is_empty() {
        return Err(invalid(at(), "the collection has no primary key"));
    }
    if categories.is_empty() {
        return Err(invalid(
            at(),
            "no field of the collection has a personal category; leave it out, or ignore it",
        ));
    }
    let retain = match &own.retain {
        None => None,
        Some(retain) if !retain.ground.is_for_maps() => {
            return Err(invalid(at(), "retain names a ground that is not for a data map to give"));
        }
        Some(retain) => Some(Retention {
            ground: retain.ground,
            until: match (retain.until, retain.for_days) {
                (Some(instant), None) => Until::Instant(instant.as_second()),
                (None, Some(days)) if own.time.is_some() => Until::DaysFromRow(days),
                _ => {
                    return Err(invalid(
                        at(),
                        "retain needs exactly one of until and for_days, and for_days needs time",
                    ));
                }
            },
        }),
    };
    Ok(Collection {
        name: Name::new(&raw.name)?,
        key,
        columns,
        categories,
        tenancy,
        time: own.time.as_deref().map(Name::new).transpose()?,
        shared: own.shared,
        retain,
    })
}

fn every_category(field: &fides::Field) -> Vec<&str> {
    let mut out: Vec<&str> = field.data_categories.iter().flatten().map(String::as_str).collect();
    for nested in field.fields.iter().flatten() {
        out.extend(every_category(nested));
    }
    out
}

fn has_role(field: &fides::Field) -> bool {
    let here = field
        .fides_meta
        .as_ref()
        .is_some_and(|m| m.primary_key == Some(true) || m.identity.is_some() || m.references.is_some());
    here || field.fields.iter().flatten().any(has_role)
}

/// The longest prefix in the collection's own table, else in the file's. `system.*` is by the
/// taxonomy's definition not of a person and needs no mapping.
fn translate(word: &str, collection: &str, overlay: &Overlay) -> Result<Option<Category>, Refusal> {
    let longest = |table: &BTreeMap<String, Category>| {
        table
            .iter()
            .filter(|(prefix, _)| {
                word.strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, category)| *category)
    };
    let own = overlay.collections.get(collection).and_then(|c| longest(&c.categories));
    match own.or_else(|| longest(&overlay.categories)) {
        Some(category) => Ok(Some(category)),
        None if word == "system" || word.starts_with("system.") => Ok(None),
        None => Err(invalid(collection, "a field has a category the overlay does not map")),
    }
}

/// The edges a collection's references declare. A reference without direction is walked only from
/// what is referenced to what references it: to delete more than a person's own rows cannot be
/// undone, to delete less is reported. References to another dataset are another agent's to walk.
fn references(raw: &fides::Collection, dataset: &str, edges: &mut BTreeSet<Edge>) -> Result<(), Refusal> {
    for field in &raw.fields {
        let meta = field.fides_meta.as_ref();
        for reference in meta.and_then(|m| m.references.as_ref()).into_iter().flatten() {
            if reference.dataset != dataset {
                continue;
            }
            let (collection, column) = reference.field.split_once('.').ok_or_else(|| {
                invalid(format!("{}.{}", raw.name, field.name), "a reference is collection.field")
            })?;
            let here = (Name::new(&raw.name)?, Name::new(&field.name)?);
            let there = (Name::new(collection)?, Name::new(column)?);
            edges.insert(match reference.direction {
                Some(fides::Direction::To) => Edge { from: here, to: there },
                Some(fides::Direction::From) | None => Edge { from: there, to: here },
            });
        }
    }
    Ok(())
}

/// A join on one column is an edge too: a row that belongs to a tenant through a row of the
/// person's is the person's.
fn implied(collection: &Collection) -> Option<Edge> {
    match &collection.tenancy {
        Tenancy::Join { collection: parent, on } => match on.as_slice() {
            [(local, remote)] => Some(Edge {
                from: (parent.clone(), remote.clone()),
                to: (collection.name.clone(), local.clone()),
            }),
            _ => None,
        },
        Tenancy::Own(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATASET: &str = "\
dataset:
  - fides_key: rtc
    collections:
      - name: users
        fields:
          - {name: id, data_categories: [system.operations], fides_meta: {primary_key: true}}
          - {name: user_id, data_categories: [user.unique_id], fides_meta: {identity: user_id}}
      - name: usage
        fields:
          - {name: id, fides_meta: {primary_key: true}}
          - name: user_ref
            data_categories: [user.behavior.browsing_history]
            fides_meta: {references: [{dataset: rtc, field: users.id}]}
";

    fn overlay(collections: &str) -> String {
        format!(
            "store = 'rtc'\ndataset = 'rtc'\nregion = 'cn'\nconnection = {{ sqlite = 'rtc.sqlite' }}\n\
             [categories]\n'user' = 'sdk_interaction'\n'user.unique_id' = 'account'\n\
             [identities]\nuser_id = 'iss_sub'\n{collections}"
        )
    }

    const JOINED: &str = "[collections.users]\ntenant = 'app'\n[collections.usage]\njoin = { collection = 'users', on = [['user_ref', 'id']] }\n";

    fn parse(collections: &str) -> Result<DataMap, Refusal> {
        DataMap::parse(DATASET.as_bytes(), overlay(collections).as_bytes(), Path::new("data"))
    }

    #[test]
    fn the_longest_prefix_of_a_category_wins() {
        let map = parse(JOINED).unwrap();
        let of = |name: &str| map.collection(&Name::new(name).unwrap()).unwrap().categories.clone();
        assert_eq!(of("users"), BTreeSet::from([Category::Account]));
        assert_eq!(of("usage"), BTreeSet::from([Category::SdkInteraction]));
        assert_eq!(map.database(), Path::new("data/rtc.sqlite"));
    }

    #[test]
    fn a_collection_without_a_way_to_the_tenant_does_not_load() {
        for bad in [
            "[collections.users]\ntenant = 'app'\n",
            "[collections.users]\ntenant = 'app'\n[collections.usage]\n",
            "[collections.users]\njoin = { collection = 'usage', on = [['id', 'user_ref']] }\n[collections.usage]\njoin = { collection = 'users', on = [['user_ref', 'id']] }\n",
            "[collections.users]\ntenant = 'app'\n[collections.usage]\njoin = { collection = 'nowhere', on = [['a', 'b']] }\n",
            "[collections.users]\ntenant = 'app'\n[collections.usage]\njoin = { collection = 'users', on = [] }\n",
        ] {
            let refusal = parse(bad).err().expect("the map loaded");
            assert_eq!(refusal.reason, Reason::MapInvalid, "{bad}");
        }
    }

    #[test]
    fn a_reference_without_direction_is_walked_towards_who_references() {
        let map = parse(JOINED).unwrap();
        let [edge] = map.edges() else { panic!("one edge") };
        assert_eq!(edge.from.0.as_str(), "users");
        assert_eq!(edge.to.0.as_str(), "usage");
    }

    #[test]
    fn a_byte_in_either_file_changes_the_version() {
        let one = parse(JOINED).unwrap();
        let two = parse(&format!("{JOINED}# \n")).unwrap();
        assert_ne!(one.version(), two.version());
    }

    #[test]
    fn a_personal_category_nobody_mapped_is_refused() {
        let dataset = DATASET.replace("user.behavior.browsing_history", "customer.thing");
        let refusal =
            DataMap::parse(dataset.as_bytes(), overlay(JOINED).as_bytes(), Path::new(".")).err().unwrap();
        assert_eq!(refusal.field.as_deref(), Some("usage"));
    }
}
