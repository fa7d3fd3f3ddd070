//! One table of the gateway beside the same table as rebuilt: a merge of two walks in the key's order.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::tables::{Rule, Table};
use crate::sql::{Conn, Row, Value, query};
use crate::store::StoreError;
use crate::store::projection::SHARED;

/// Rows in memory at once, of each side.
const PAGE: u32 = 500;

/// How a row is not what the leaves say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The leaves imply it and it is not there.
    Missing,
    /// It is there and no leaf implies it.
    Unfounded,
    /// This column is another.
    Differs(&'static str),
}

/// One row that is not what the leaves say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub table: &'static str,
    /// Resource name of the row.
    pub resource: String,
    pub what: What,
}

struct Line {
    key: Vec<Value>,
    cells: Vec<Value>,
    is_shared: bool,
}

/// A walk over one side.
struct Side {
    lines: VecDeque<Line>,
    /// The last key read; `None` before the first page.
    last: Option<Vec<Value>>,
    is_over: bool,
    /// The rebuilt side says in `written_by` what it does not know.
    rebuilt: bool,
}

impl Side {
    fn new(rebuilt: bool) -> Side {
        Side { lines: VecDeque::new(), last: None, is_over: false, rebuilt }
    }

    async fn fill(&mut self, conn: &mut Conn, table: &Table) -> Result<(), StoreError> {
        if !self.lines.is_empty() || self.is_over {
            return Ok(());
        }
        let names: Vec<&str> = table.key.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let mut sql = format!("SELECT * FROM {}", table.name);
        if self.last.is_some() {
            let marks = vec!["?"; table.key.len()].join(", ");
            sql.push_str(&format!(" WHERE ({names}) > ({marks})"));
        }
        sql.push_str(&format!(" ORDER BY {names} LIMIT ?"));
        let mut page = query(sql);
        for value in self.last.iter().flatten() {
            page = page.bind(value.clone());
        }
        let rows = page.bind(PAGE).fetch_all(conn).await?;
        self.is_over = rows.len() < PAGE as usize;
        for row in &rows {
            let line = Line {
                key: read(row, table.key)?,
                cells: read(row, table.columns)?,
                is_shared: self.rebuilt
                    && table.name == "instructions"
                    && row.get::<String>("written_by") == SHARED,
            };
            self.lines.push_back(line);
        }
        if let Some(line) = self.lines.back() {
            self.last = Some(line.key.clone());
        }
        Ok(())
    }
}

fn read(row: &Row, columns: &[(&'static str, Rule)]) -> Result<Vec<Value>, StoreError> {
    let cell = |(name, rule): &(&'static str, Rule)| {
        Ok(match rule {
            Rule::Text | Rule::TextIfKnown => Value::Text(row.try_get(name)?),
            Rule::Int | Rule::Present | Rule::PresentUnlessShared => Value::Int(row.try_get(name)?),
            Rule::Bytes => Value::Bytes(row.try_get(name)?),
        })
    };
    columns.iter().map(cell).collect()
}

/// A comparison under way.
pub struct Comparison {
    table: &'static Table,
    kept: Side,
    implied: Side,
}

impl Comparison {
    pub fn of(table: &'static Table) -> Comparison {
        Comparison { table, kept: Side::new(false), implied: Side::new(true) }
    }

    /// The differences up to the end of a page; `None` when both walks are over.
    pub async fn next(
        &mut self,
        kept: &mut Conn,
        implied: &mut Conn,
    ) -> Result<Option<Vec<Difference>>, StoreError> {
        let mut found = Vec::new();
        let mut seen = 0;
        while seen < PAGE {
            self.kept.fill(kept, self.table).await?;
            self.implied.fill(implied, self.table).await?;
            let order = match (self.kept.lines.front(), self.implied.lines.front()) {
                (None, None) => return Ok((seen > 0).then_some(found)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(kept), Some(implied)) => kept.key.cmp(&implied.key),
            };
            seen += 1;
            let kept = if order.is_le() { self.kept.lines.pop_front() } else { None };
            let implied = if order.is_ge() { self.implied.lines.pop_front() } else { None };
            self.compare(kept, implied, &mut found);
        }
        Ok(Some(found))
    }

    fn compare(&self, kept: Option<Line>, implied: Option<Line>, found: &mut Vec<Difference>) {
        let mut tell = |key: &[Value], what| {
            let resource = (self.table.resource)(key);
            found.push(Difference { table: self.table.name, resource, what });
        };
        match (kept, implied) {
            (Some(kept), Some(implied)) => {
                let cells = self.table.columns.iter().zip(kept.cells.iter().zip(&implied.cells));
                for ((name, rule), (kept_cell, implied_cell)) in cells {
                    if !fits(*rule, kept_cell, implied_cell, implied.is_shared) {
                        tell(&kept.key, What::Differs(name));
                    }
                }
            }
            (Some(kept), None) if !self.needs_no_leaf(&kept) => tell(&kept.key, What::Unfounded),
            (None, Some(implied)) => tell(&implied.key, What::Missing),
            _ => {}
        }
    }

    fn needs_no_leaf(&self, line: &Line) -> bool {
        let cells = self.table.columns.iter().zip(&line.cells);
        self.table.but_for.is_some_and(|(column, value)| {
            cells.clone().any(|((name, _), cell)| *name == column && *cell == Value::Int(Some(value)))
        })
    }
}

fn fits(rule: Rule, kept: &Value, implied: &Value, is_shared: bool) -> bool {
    let is_there = |value: &Value| *value != Value::Int(None);
    match rule {
        Rule::Text | Rule::Int | Rule::Bytes => kept == implied,
        Rule::TextIfKnown => *implied == Value::Text(Some(String::new())) || kept == implied,
        Rule::Present => is_there(kept) == is_there(implied),
        Rule::PresentUnlessShared => is_shared || is_there(kept) == is_there(implied),
    }
}
