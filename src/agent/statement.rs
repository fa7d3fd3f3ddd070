//! The SQL of the agent: the only place that renders any.
//!
//! Every statement is rendered from a [`Tenanted`], so the tenant predicate
//! is in each; every name is quoted and qualified (an unqualified `"name"`
//! that does not exist is a string to SQLite); every value is bound.

use std::collections::BTreeSet;

use super::name::Name;
use super::schema::Leaning;
use super::tenanted::Tenanted;
use super::value::{Key, Value};

/// Rows of a collection whose `column` holds one of `values`.
#[derive(Clone, Copy)]
pub struct Match<'a> {
    pub column: &'a Name,
    pub values: &'a [Value],
}

/// Rows by key, each with the value of `via` by which it was found to be the subject's.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    pub via: &'a Name,
    pub rows: &'a [(Key, Value)],
}

/// SQL and what is bound to its `?`, in order. Made only here.
pub struct Statement {
    sql: String,
    binds: Vec<Value>,
}

impl Statement {
    /// Keys, the value of the matched column, and `carry`, of rows after `after`, in key order.
    pub fn find(
        from: &Tenanted<'_>,
        matching: Match<'_>,
        carry: &[&Name],
        after: Option<&Key>,
        limit: usize,
    ) -> Self {
        let mut out = Self { sql: String::from("SELECT "), binds: Vec::new() };
        let key = &from.collection().key;
        let columns = key.iter().chain([matching.column]).chain(carry.iter().copied());
        out.list(columns);
        out.push_from_where(from);
        out.push_match(matching);
        out.push_page(from, after, limit);
        out
    }

    /// Keys and `carry` of every row of the tenant after `after`, in key order.
    pub fn all(from: &Tenanted<'_>, carry: &[&Name], after: Option<&Key>, limit: usize) -> Self {
        let mut out = Self::of_tenant(from, carry);
        out.push_page(from, after, limit);
        out
    }

    /// Keys and `carry` of those of the rows that are there.
    pub fn again(from: &Tenanted<'_>, carry: &[&Name], held: Held<'_>) -> Self {
        let mut out = Self::of_tenant(from, carry);
        out.push_held(from, held);
        out
    }

    /// Keys of every row of the tenant, its time where the map names one, and whether any row leans on it (0 or 1).
    pub fn rest(from: &Tenanted<'_>, leaning: &BTreeSet<Leaning>, after: Option<&Key>, limit: usize) -> Self {
        let mut out = Self { sql: String::from("SELECT "), binds: Vec::new() };
        out.list(from.collection().key.iter().chain(&from.collection().time));
        out.sql.push_str(", (");
        for (i, leaning) in leaning.iter().enumerate() {
            out.sql.push_str(if i == 0 { "" } else { " OR " });
            out.push_leaning(from, leaning);
        }
        out.sql.push_str(if leaning.is_empty() { "0)" } else { ")" });
        out.push_from_where(from);
        out.push_page(from, after, limit);
        out
    }

    /// Deletes rows by key and tenant predicate, but those that others lean on.
    pub fn delete_free(from: &Tenanted<'_>, held: Held<'_>, leaning: &BTreeSet<Leaning>) -> Self {
        let mut out = Self::delete(from, held);
        for leaning in leaning {
            out.sql.push_str(" AND NOT ");
            out.push_leaning(from, leaning);
        }
        out
    }

    fn of_tenant(from: &Tenanted<'_>, carry: &[&Name]) -> Self {
        let mut out = Self { sql: String::from("SELECT "), binds: Vec::new() };
        out.list(from.collection().key.iter().chain(carry.iter().copied()));
        out.push_from_where(from);
        out
    }

    /// Deletes rows by key, tenant predicate and the value they were found by.
    pub fn delete(from: &Tenanted<'_>, held: Held<'_>) -> Self {
        let mut out = Self { sql: String::from("DELETE"), binds: Vec::new() };
        out.push_from_where(from);
        out.push_held(from, held);
        out
    }

    /// Which of the rows are still there: their keys.
    pub fn present(from: &Tenanted<'_>, held: Held<'_>) -> Self {
        let mut out = Self { sql: String::from("SELECT "), binds: Vec::new() };
        out.list(from.collection().key.iter());
        out.push_from_where(from);
        out.push_held(from, held);
        out
    }

    /// The mapped columns of the rows, in the map's order.
    pub fn read(from: &Tenanted<'_>, held: Held<'_>) -> Self {
        let mut out = Self { sql: String::from("SELECT "), binds: Vec::new() };
        out.list(from.collection().columns.iter().map(|column| &column.name));
        out.push_from_where(from);
        out.push_held(from, held);
        out.sql.push_str(" ORDER BY ");
        out.list(from.collection().key.iter());
        out
    }

    pub fn sql(&self) -> &str {
        &self.sql
    }

    pub fn binds(&self) -> &[Value] {
        &self.binds
    }

    pub(super) fn into_parts(self) -> (String, Vec<Value>) {
        (self.sql, self.binds)
    }

    fn list<'n>(&mut self, names: impl Iterator<Item = &'n Name>) {
        for (i, name) in names.enumerate() {
            self.sql.push_str(if i == 0 { "t0." } else { ", t0." });
            self.sql.push_str(&name.quoted());
        }
    }

    fn tuple<'v>(&mut self, values: impl Iterator<Item = &'v Value>) {
        self.sql.push('(');
        for (i, value) in values.enumerate() {
            self.sql.push_str(if i == 0 { "?" } else { ",?" });
            self.binds.push(value.clone());
        }
        self.sql.push(')');
    }

    /// ` FROM … AS t0 WHERE <tenant predicate>`: no statement begins its WHERE otherwise.
    fn push_from_where(&mut self, from: &Tenanted<'_>) {
        self.sql.push_str(" FROM ");
        self.sql.push_str(&from.collection().name.quoted());
        self.sql.push_str(" AS t0 WHERE ");
        for (i, step) in from.path().iter().enumerate() {
            self.sql.push_str(&format!("EXISTS (SELECT 1 FROM {} AS t{} WHERE ", step.to.quoted(), i + 1));
            for (local, remote) in step.on {
                let (local, remote) = (local.quoted(), remote.quoted());
                self.sql.push_str(&format!("t{}.{remote} = t{i}.{local} AND ", i + 1));
            }
        }
        let depth = from.path().len();
        self.sql.push_str(&format!("t{depth}.{} = ?", from.column().quoted()));
        self.binds.push(Value::text(from.tenant()));
        self.sql.push_str(&")".repeat(depth));
    }

    fn push_page(&mut self, from: &Tenanted<'_>, after: Option<&Key>, limit: usize) {
        let key = &from.collection().key;
        if let Some(after) = after {
            self.sql.push_str(" AND (");
            self.list(key.iter());
            self.sql.push_str(") > ");
            self.tuple(after.0.iter());
        }
        self.sql.push_str(" ORDER BY ");
        self.list(key.iter());
        self.sql.push_str(" LIMIT ?");
        self.binds.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    }

    /// `EXISTS (…)`: a row of the leaning table leans on this one; another than itself.
    fn push_leaning(&mut self, from: &Tenanted<'_>, leaning: &Leaning) {
        self.sql.push_str(&format!("EXISTS (SELECT 1 FROM {} AS l0 WHERE ", leaning.child.quoted()));
        for (i, (local, remote)) in leaning.on.iter().enumerate() {
            let and = if i == 0 { "" } else { " AND " };
            self.sql.push_str(&format!("{and}l0.{} = t0.{}", local.quoted(), remote.quoted()));
        }
        if leaning.child == from.collection().name {
            let key = |alias: &str| {
                let columns = from.collection().key.iter();
                columns.map(|name| format!("{alias}.{}", name.quoted())).collect::<Vec<_>>().join(", ")
            };
            self.sql.push_str(&format!(" AND ({}) <> ({})", key("l0"), key("t0")));
        }
        self.sql.push(')');
    }

    fn push_match(&mut self, matching: Match<'_>) {
        self.sql.push_str(&format!(" AND t0.{} IN ", matching.column.quoted()));
        self.tuple(matching.values.iter());
    }

    fn push_held(&mut self, from: &Tenanted<'_>, held: Held<'_>) {
        let key = &from.collection().key;
        if let [only] = key.as_slice() {
            // Says no more than the row values below, but lets the store use the key's index.
            self.sql.push_str(&format!(" AND t0.{} IN ", only.quoted()));
            self.tuple(held.rows.iter().flat_map(|(key, _)| key.0.iter()));
        }
        self.sql.push_str(" AND (");
        self.list(key.iter().chain([held.via]));
        self.sql.push_str(") IN (VALUES ");
        for (i, (key, via)) in held.rows.iter().enumerate() {
            if i > 0 {
                self.sql.push(',');
            }
            self.tuple(key.0.iter().chain([via]));
        }
        self.sql.push(')');
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::agent::data_map::DataMap;

    fn map() -> DataMap {
        let dataset = "\
dataset:
  - fides_key: s
    collections:
      - name: people
        fields: [{name: id, data_categories: [user], fides_meta: {primary_key: true}}]
      - name: things
        fields: [{name: id, data_categories: [user], fides_meta: {primary_key: true}}, {name: 'o\"wner'}]
      - name: parts
        fields:
          - {name: a, data_categories: [user], fides_meta: {primary_key: true}}
          - {name: b, fides_meta: {primary_key: true}}
";
        let overlay = "\
store = 's'
dataset = 's'
region = 'cn'
connection = { sqlite = 's.sqlite' }
categories = { user = 'account' }
identities = {}
[collections.people]
tenant = 'app'
[collections.things]
join = { collection = 'people', on = [['o\"wner', 'id']] }
[collections.parts]
join = { collection = 'things', on = [['a', 'id']] }
";
        DataMap::parse(dataset.as_bytes(), overlay.as_bytes(), Path::new(".")).unwrap()
    }

    fn with<T>(collection: &str, then: impl FnOnce(&Tenanted<'_>) -> T) -> T {
        let map = map();
        let collection = map.collection(&Name::new(collection).unwrap()).unwrap();
        then(&Tenanted::new(&map, collection, "app-a").unwrap())
    }

    #[test]
    fn every_statement_holds_the_tenant_predicate_to_the_end_of_the_join() {
        let via = Name::new("b").unwrap();
        let rows = [(Key(vec![Value::Integer(1), Value::Integer(2)]), Value::Integer(2))];
        let values = [Value::Integer(2)];
        let predicate = "WHERE EXISTS (SELECT 1 FROM \"things\" AS t1 WHERE t1.\"id\" = t0.\"a\" AND \
                         EXISTS (SELECT 1 FROM \"people\" AS t2 WHERE t2.\"id\" = t1.\"o\"\"wner\" AND t2.\"app\" = ?))";
        with("parts", |parts| {
            let held = Held { via: &via, rows: &rows };
            let matching = Match { column: &via, values: &values };
            let leaning =
                [Leaning { child: parts.collection().name.clone(), on: vec![(via.clone(), via.clone())] }];
            let leaning = leaning.into();
            for statement in [
                Statement::find(parts, matching, &[], None, 10),
                Statement::all(parts, &[&via], Some(&rows[0].0), 10),
                Statement::again(parts, &[&via], held),
                Statement::rest(parts, &leaning, Some(&rows[0].0), 10),
                Statement::delete_free(parts, held, &leaning),
                Statement::delete(parts, held),
                Statement::present(parts, held),
                Statement::read(parts, held),
            ] {
                assert!(statement.sql().contains(predicate), "{}", statement.sql());
                assert!(statement.binds()[0] == Value::text("app-a"));
                assert_eq!(statement.sql().matches('?').count(), statement.binds().len());
            }
        });
    }

    #[test]
    fn values_are_bound_and_never_rendered() {
        let values = [Value::text("x' OR '1'='1")];
        let column = Name::new("id").unwrap();
        with("people", |people| {
            let statement =
                Statement::find(people, Match { column: &column, values: &values }, &[], None, 10);
            assert!(!statement.sql().contains("x'"));
            assert!(statement.binds().contains(&values[0]));
        });
    }

    #[test]
    fn an_empty_tenant_makes_no_statement() {
        let map = map();
        let people = map.collection(&Name::new("people").unwrap()).unwrap();
        assert!(Tenanted::new(&map, people, "").is_err());
    }
}
