//! Putting together what is returned: every row of the tenant, a page at a time,
//! into the package, and those that are to go into the ledger, sealed.
//!
//! Rows that lawfully stay are returned, too. A collection not all of whose
//! categories are instructed and agreed is neither returned nor erased. Rows whose way to
//! their tenant is broken belong to nobody that is known, and are no one's to return.

use std::path::Path;

use age::x25519::Recipient;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

use super::data_map::Collection;
use super::delete_order::delete_order;
use super::export::{left_out, unwritten};
use super::faults::Point;
use super::ledger::Run;
use super::ledger_returns::{Noted, Returned};
use super::name::Name;
use super::outcome::{CollectionOutcome, Exclusion, Kept, keep};
use super::package::{Cover, Sheet, Sheets, assemble};
use super::package_index::Index;
use super::plan::retained;
use super::schema::Fit;
use super::shredding::package_name;
use super::task::{ExportTo, Reach, Task};
use super::tenanted::Tenanted;
use super::value::{Key, Row, Value};
use super::workplace::Workplace;
use crate::domain::{ExecutionId, Ground, Reason, Refusal};
use crate::token::report::ExportReport;
use crate::token::{Digest, base64url};

/// Rows read, noted and deleted at once.
pub(super) const PAGE: usize = 200;

/// On which ground all of a collection stays: not all that it holds is instructed, or agreed.
pub(super) fn left_alone(collection: &Collection, task: &Task) -> Option<Ground> {
    match task.reach(&collection.categories) {
        Reach::Within => None,
        Reach::NotInstructed => Some(Ground::CategoryNotInstructed),
        Reach::OutsideAgreement => Some(Ground::OutsideAgreement),
    }
}

/// What is said of a collection before anything is counted.
pub(super) fn blank(collection: &str) -> CollectionOutcome {
    CollectionOutcome {
        collection: collection.to_owned(),
        categories: Vec::new(),
        rows: 0,
        kept: Vec::new(),
        outside_window: 0,
        unfounded: 0,
        excluded: None,
    }
}

/// A row's values as they were returned: 128 bits of SHA-256 over their JSON, base64url. One that is another by
/// then is another row than was returned.
pub(super) fn seen(values: &[Value]) -> Result<String, Refusal> {
    let bytes = serde_json::to_vec(values).map_err(|_| Reason::Internal)?;
    Ok(base64url::encode(&digest(&SHA256, &bytes).as_ref()[..16]))
}

/// Makes the package, if there is to be one, notes every row that is to go, and records both.
pub(super) async fn put_together(
    work: &Workplace<'_>,
    task: &Task,
    run: &Run,
    fit: &Fit,
    folder: &Path,
) -> Result<Returned, Refusal> {
    work.faults.at(Point::Begun)?;
    work.ledger.begin_return_anew(run).await?;
    let as_of = work.clock.now_seconds();
    let mut through = Through { work, task, run, as_of, number: 0, packing: None };
    if task.export().is_some() {
        let index = Index::new(&run.execution().resource_name(), &work.clock.now().to_string());
        let execution = run.execution();
        through.packing = Some(Packing { folder, execution, index, whole: Vec::new(), open: None });
    }
    let mut told = Vec::new();
    for name in delete_order(work.map, &fit.foreign_keys) {
        let Some(collection) = work.map.collection(&name) else { continue };
        told.push(through.collection(collection).await?);
    }
    told.sort_by(|a, b| a.collection.cmp(&b.collection));
    told.extend(
        fit.unmapped_collections
            .iter()
            .map(|name| CollectionOutcome { excluded: Some(Exclusion::Unmapped), ..blank(name.as_str()) }),
    );
    work.faults.at(Point::Planned)?;
    let export = match (through.packing, task.export()) {
        (Some(packing), Some(to)) => Some(packing.close(work, task, fit, to, &told).await?),
        _ => None,
    };
    work.ledger.record_return(run, as_of, export.as_ref()).await?;
    Ok(Returned { as_of, export, handed_over: false })
}

/// The way through all rows of a tenant.
struct Through<'a> {
    work: &'a Workplace<'a>,
    task: &'a Task,
    run: &'a Run,
    /// Retentions are judged at this second.
    as_of: i64,
    /// Of the next batch.
    number: i64,
    packing: Option<Packing<'a>>,
}

impl Through<'_> {
    /// Returns the collection's rows and notes those that are to go.
    async fn collection(&mut self, collection: &Collection) -> Result<CollectionOutcome, Refusal> {
        let mut told = blank(collection.name.as_str());
        told.categories = collection.categories.iter().copied().collect();
        if let Some(ground) = left_alone(collection, self.task) {
            told.kept.push(Kept { rows: None, ground, until: None, needed_by: None });
            return Ok(told);
        }
        let from = Tenanted::new(self.work.map, collection, self.task.tenant())?;
        let columns: Vec<&Name> = match self.packing {
            Some(_) => collection.columns.iter().map(|column| &column.name).collect(),
            None => Vec::new(),
        };
        let carry: Vec<&Name> = columns.iter().copied().chain(&collection.time).collect();
        let mut after = None;
        loop {
            let page = self.work.connector.all(&from, &carry, after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            check_keys(collection, page.iter().map(|(key, _)| key))?;
            after = page.last().map(|(key, _)| key.clone());
            self.page(collection, columns.len(), page, &mut told).await?;
            if !full {
                break;
            }
        }
        if let Some(packing) = &mut self.packing {
            packing.end()?;
        }
        Ok(told)
    }

    async fn page(
        &mut self,
        collection: &Collection,
        width: usize,
        page: Vec<(Key, Vec<Value>)>,
        told: &mut CollectionOutcome,
    ) -> Result<(), Refusal> {
        let mut noted = Vec::with_capacity(page.len());
        for (key, mut values) in page {
            let at = values.get(width).and_then(Value::epoch_seconds);
            values.truncate(width);
            let mut digest = None;
            if let Some(packing) = &mut self.packing {
                digest = Some(seen(&values)?);
                packing.row(collection, &Row(values))?;
            }
            told.rows += 1;
            match collection.retain.and_then(|retention| retained(retention, at, self.as_of)) {
                Some((ground, until)) => keep(&mut told.kept, ground, until),
                None => noted.push(Noted { key, seen: digest }),
            }
        }
        if noted.is_empty() {
            return Ok(());
        }
        let place = (self.number, 0);
        self.number += 1;
        self.work.ledger.note_rows(self.run, place, &collection.name, &collection.key[0], &noted).await
    }
}

/// SQLite lets a key hold nothing. Such a row would be read, but never found again by its key.
pub(super) fn check_keys<'a>(
    collection: &Collection,
    mut keys: impl Iterator<Item = &'a Key>,
) -> Result<(), Refusal> {
    if keys.any(|key| key.0.iter().any(Value::is_null)) {
        return Err(Refusal::at(Reason::MapInvalid, collection.name.as_str().to_owned())
            .note("a row's key has a column without a value"));
    }
    Ok(())
}

/// The package while it grows.
struct Packing<'a> {
    folder: &'a Path,
    execution: ExecutionId,
    index: Index,
    whole: Vec<Sheets>,
    /// The collection whose rows are being read, once there was one.
    open: Option<(Name, Sheet)>,
}

impl Packing<'_> {
    fn row(&mut self, collection: &Collection, row: &Row) -> Result<(), Refusal> {
        if let Some((_, sheet)) = &mut self.open {
            self.index.row(&row.0);
            return sheet.row(row).map_err(unwritten);
        }
        let columns: Vec<Name> = collection.columns.iter().map(|column| column.name.clone()).collect();
        self.index.begin(collection.name.as_str(), columns.iter().map(Name::as_str));
        self.index.row(&row.0);
        let stem = self.folder.join(format!("{}-{}", self.execution, self.whole.len()));
        let mut sheet = Sheet::create(&stem, columns).map_err(unwritten)?;
        sheet.row(row).map_err(unwritten)?;
        self.open = Some((collection.name.clone(), sheet));
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        if let Some((name, sheet)) = self.open.take() {
            let sheets = sheet.finish(name).map_err(unwritten)?;
            self.index.end(sheets.rows);
            self.whole.push(sheets);
        }
        Ok(())
    }

    /// Encrypts all of it to the recipient and makes it durable.
    async fn close(
        mut self,
        work: &Workplace<'_>,
        task: &Task,
        fit: &Fit,
        to: &ExportTo,
        told: &[CollectionOutcome],
    ) -> Result<ExportReport, Refusal> {
        for (collection, why) in left_out(told) {
            self.index.left_out(&collection, &why);
        }
        let recipient: Recipient = to
            .recipient
            .parse()
            .map_err(|_| Refusal::at(Reason::RecipientInvalid, "payload.export.recipient"))?;
        let now = work.clock.now();
        let unmapped = fit.unmapped_columns.iter();
        let about = json!({
            "execution": self.execution.resource_name(),
            "instruction_digest": hex::encode(task.instruction_digest()),
            "store": task.store(),
            "made_at": now.to_string(),
            "categories": task.categories(),
            "collections": told,
            "columns_not_included": unmapped.map(|(of, column)| format!("{of}.{column}")).collect::<Vec<_>>(),
        });
        let made_at = u64::try_from(now.as_second()).unwrap_or(0);
        let cover = Cover { about, index: self.index.finish(), made_at };
        let target = self.folder.join(package_name(self.execution));
        let sheets = self.whole;
        let assembled = tokio::task::spawn_blocking(move || assemble(&target, &recipient, &cover, &sheets));
        let (sha256, size) =
            assembled.await.map_err(|_| Refusal::from(Reason::Internal))?.map_err(unwritten)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(&sha256, &mut digest).map_err(|_| Reason::Internal)?;
        let recipient_digest = Digest::of(to.recipient.as_str());
        Ok(ExportReport { digest: Digest::from_bytes(digest), size, recipient_digest })
    }
}
