//! How the demo shows rows and outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::CliError;
use super::super::sample_rows::APPS;
use super::super::sample_store::Place;
use crate::grpc::v1;
use crate::say;

/// Rows and a digest over them, for each table and tenant.
type Survey = BTreeMap<Place, (u64, [u8; 32])>;

pub fn total(counts: &BTreeMap<Place, u64>) -> u64 {
    counts.values().sum()
}

/// One line for each collection.
pub fn outcomes(collections: &[v1::CollectionOutcome]) {
    for outcome in collections {
        let ground = if outcome.ground.is_empty() { String::new() } else { format!("  {}", outcome.ground) };
        say!("             {:<20} {:>7}  {}{ground}", outcome.collection, outcome.rows, outcome.outcome);
        for kept in &outcome.kept {
            let ground = if kept.ground.is_empty() { "without a ground" } else { &kept.ground };
            say!("             {:<20} {:>7}  stay  {ground}", "", kept.rows);
        }
    }
}

/// A registered fact and the words it was found in, on one line.
pub fn evidence(evidence: &v1::RouteEvidence) -> String {
    let words: Vec<&str> = evidence.quote.split_whitespace().collect();
    format!("its {} stands in “{}”", evidence.fact, words.join(" "))
}

fn name_of(tenant: &str) -> &str {
    APPS.iter().find(|app| app.tenant == tenant).map_or(tenant, |app| app.controller)
}

/// A row for each table, a column for each enterprise.
pub fn before_and_after(before: &Survey, after: &Survey) {
    let tenants: BTreeSet<&str> = before.keys().map(|(_, tenant)| tenant.as_str()).collect();
    let tables: BTreeSet<&str> = before.keys().map(|(table, _)| table.as_str()).collect();
    let heads: String = tenants.iter().map(|tenant| format!(" {:>17}", name_of(tenant))).collect();
    say!("             {:<18}{heads}", "");
    for table in tables {
        let mut cells = String::new();
        for tenant in &tenants {
            let rows = |survey: &Survey| {
                survey.get(&(table.to_owned(), (*tenant).to_owned())).map_or(0, |(rows, _)| *rows)
            };
            let (then, now) = (rows(before), rows(after));
            let cell = if then == now { then.to_string() } else { format!("{then} → {now}") };
            cells.push_str(&format!(" {cell:>17}"));
        }
        say!("             {table:<18}{cells}");
    }
}

/// Tenants of which any row is different.
pub fn touched_tenants(before: &Survey, after: &Survey) -> BTreeSet<String> {
    let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    places
        .into_iter()
        .filter(|place| before.get(*place) != after.get(*place))
        .map(|(_, tenant)| tenant.clone())
        .collect()
}

/// The files of a tar.
pub fn archive(path: &Path) -> Result<(), CliError> {
    let file = std::fs::File::open(path).map_err(CliError::file(path))?;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries().map_err(CliError::plain)? {
        let entry = entry.map_err(CliError::plain)?;
        let name = entry.path().map_err(CliError::plain)?.display().to_string();
        say!("             {name:<34} {:>8} bytes", entry.size());
    }
    Ok(())
}
