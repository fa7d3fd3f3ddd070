//! From domain types and rows to the wire.

use crate::app::{
    ExecutionView, ExportView, InstructionView, LeasedOrder, ProcessingRecord, RecordedStore, RequestView,
};
use crate::domain::{AppId, ExecutionState, InstructionState, RequestStage, RightStage, SubProcessorId};
use crate::grpc::v1;
use crate::store::Issued;
use crate::store::registry::{Agreement, App, Controller, FactKind};
use crate::store::sub_processors::SubProcessor;
use crate::token::{CollectionOutcome, CollectionReport, KeptReport, base64url};
use crate::trail::Hash;

pub fn time(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// The token of the page after the item with this key.
pub fn page_token(key: &impl ToString) -> String {
    base64url::encode(key.to_string())
}

/// The next page's token: empty where this page was not full, for then nothing follows.
pub fn next_page<T, K: ToString>(items: &[T], limit: u32, key: impl Fn(&T) -> K) -> String {
    match items.last() {
        Some(last) if items.len() as u64 >= u64::from(limit) => page_token(&key(last)),
        _ => String::new(),
    }
}

pub fn receipt(issued: &Issued) -> v1::Receipt {
    let grade = if issued.witnessed { v1::ReceiptGrade::Witnessed } else { v1::ReceiptGrade::Signed };
    v1::Receipt {
        leaf: issued.leaf.clone().into(),
        index: issued.index,
        proof: issued.receipt.encode(),
        grade: grade.into(),
    }
}

pub fn hashes(hashes: &[Hash]) -> Vec<prost::bytes::Bytes> {
    hashes.iter().map(|hash| prost::bytes::Bytes::copy_from_slice(hash.as_bytes())).collect()
}

fn request_stage(stage: RequestStage) -> v1::RequestStage {
    match stage {
        RequestStage::Routed => v1::RequestStage::Routed,
        RequestStage::Forwarded => v1::RequestStage::Forwarded,
        RequestStage::Acknowledged => v1::RequestStage::Acknowledged,
        RequestStage::Instructed => v1::RequestStage::Instructed,
        RequestStage::Executing => v1::RequestStage::Executing,
        RequestStage::Executed => v1::RequestStage::Executed,
        RequestStage::Refused => v1::RequestStage::Refused,
        RequestStage::Answered => v1::RequestStage::Answered,
        RequestStage::Closed => v1::RequestStage::Closed,
        RequestStage::Misrouted => v1::RequestStage::Misrouted,
    }
}

fn right_stage(stage: RightStage) -> v1::RightStage {
    match stage {
        RightStage::Open => v1::RightStage::Open,
        RightStage::Instructed => v1::RightStage::Instructed,
        RightStage::Executed => v1::RightStage::Executed,
        RightStage::Partial => v1::RightStage::Partial,
        RightStage::Answered => v1::RightStage::Answered,
        RightStage::Refused => v1::RightStage::Refused,
    }
}

/// A case; without its personal part where that was shredded.
pub fn request(view: RequestView) -> v1::Request {
    let RequestView { row, content } = view;
    let content = content.unwrap_or_default();
    let rights = row
        .rights
        .iter()
        .map(|right| v1::RequestedRight {
            right: right.right.to_string(),
            stage: right_stage(right.stage).into(),
            instruction: right
                .instruction
                .as_ref()
                .map(|jti| format!("instructions/{jti}"))
                .unwrap_or_default(),
            quote: content
                .quotes
                .iter()
                .find(|(of, _)| *of == right.right)
                .map(|(_, quote)| quote.clone())
                .unwrap_or_default(),
        })
        .collect();
    let identifiers = content
        .subjects
        .into_iter()
        .map(|subject| v1::SubjectIdentifier { r#type: subject.kind, value: subject.value, of: subject.of })
        .collect();
    let origin =
        if row.origin == "controller" { v1::RequestOrigin::Controller } else { v1::RequestOrigin::Mail };
    v1::Request {
        name: row.id.resource_name(),
        app: row.app.resource_name(),
        stage: request_stage(row.stage).into(),
        rights,
        identifiers,
        extract: content.extract,
        language: row.language,
        guardian: row.guardian,
        flags: row.flags,
        categories: texts(&row.categories),
        received_time: Some(time(row.received_at)),
        forwarded_time: row.forwarded_at.map(time),
        acknowledged_time: row.acknowledged_at.map(time),
        matched_by: row.matched_by,
        original: content.original,
        origin: origin.into(),
        update_time: Some(time(row.updated_at)),
    }
}

pub fn instruction(view: &InstructionView) -> v1::Instruction {
    let row = &view.row;
    let state = match row.state {
        InstructionState::Admitted => v1::InstructionState::Admitted,
        InstructionState::Executing => v1::InstructionState::Executing,
        InstructionState::Done => v1::InstructionState::Done,
        InstructionState::Failed => v1::InstructionState::Failed,
        InstructionState::Waiting => v1::InstructionState::Waiting,
        InstructionState::Held => v1::InstructionState::Held,
        InstructionState::Revoked => v1::InstructionState::Revoked,
        InstructionState::Contested => v1::InstructionState::Contested,
        InstructionState::Expired => v1::InstructionState::Expired,
    };
    let waits = row.state == InstructionState::Waiting;
    let missing = v1::MissingRole { role: row.act.to_string(), signers: row.missing };
    v1::Instruction {
        name: row.id.resource_name(),
        app: row.app.resource_name(),
        request: row.request.map(|request| request.resource_name()).unwrap_or_default(),
        act: row.act.to_string(),
        state: state.into(),
        digest: row.digest.clone(),
        admit_time: (row.admitted_at > 0).then(|| time(row.admitted_at)),
        trail_index: row.leaf,
        authority_size: row.authority_size,
        executions: view.executions.iter().map(|id| id.resource_name()).collect(),
        missing: if waits { vec![missing] } else { Vec::new() },
        hold_until_time: row.held_until.map(time),
        expire_time: Some(time(row.expires_at)),
        contest_ground: row.ground.map(|ground| ground.to_string()).unwrap_or_default(),
    }
}

fn collection(report: &CollectionReport) -> v1::CollectionOutcome {
    let outcome = match report.outcome {
        CollectionOutcome::Erased => "erased",
        CollectionOutcome::Exported => "exported",
        CollectionOutcome::Counted => "counted",
        CollectionOutcome::Retained => "retained",
        CollectionOutcome::Excluded => "excluded",
    };
    v1::CollectionOutcome {
        collection: report.collection.clone(),
        outcome: outcome.into(),
        rows: report.rows.unwrap_or_default(),
        ground: report.ground.map(|ground| ground.to_string()).unwrap_or_default(),
        until: report.until.unwrap_or_default(),
        kept: report.kept.iter().map(kept).collect(),
    }
}

fn kept(report: &KeptReport) -> v1::KeptRows {
    v1::KeptRows {
        rows: report.rows.unwrap_or_default(),
        ground: report.ground.map(|ground| ground.to_string()).unwrap_or_default(),
        until: report.until.unwrap_or_default(),
    }
}

pub fn execution(view: ExecutionView) -> v1::Execution {
    let ExecutionView { row, collections, export, preview } = view;
    let state = match row.state {
        ExecutionState::Pending => v1::ExecutionState::Pending,
        ExecutionState::Leased => v1::ExecutionState::Leased,
        ExecutionState::Completed => v1::ExecutionState::Completed,
        ExecutionState::Partial => v1::ExecutionState::Partial,
        ExecutionState::Failed => v1::ExecutionState::Failed,
        ExecutionState::Refused => v1::ExecutionState::Refused,
    };
    let waits = row.state == ExecutionState::Pending;
    let preview = preview.map(|preview| {
        let (counts, salt) = match preview.details {
            Some(details) => (details.counts.iter().map(collection).collect(), details.salt),
            None => (Vec::new(), String::new()),
        };
        v1::Preview { digest: preview.digest, as_of: preview.as_of, counts, salt }
    });
    v1::Execution {
        name: row.id.resource_name(),
        instruction: row.instruction.resource_name(),
        store: row.store.resource_name(),
        state: state.into(),
        attempt: i32::try_from(row.attempt).unwrap_or(i32::MAX),
        next_attempt_time: waits.then(|| time(row.next_attempt_at)),
        reason: row.reason.unwrap_or_default(),
        report: row.report.unwrap_or_default(),
        collections: collections.iter().map(collection).collect(),
        export: export.map(|id| id.resource_name()).unwrap_or_default(),
        preview,
        update_time: Some(time(row.updated_at)),
    }
}

pub fn export(view: &ExportView) -> v1::Export {
    v1::Export {
        name: view.id.resource_name(),
        execution: view.execution.resource_name(),
        size: view.size,
        digest: view.digest.clone(),
        expire_time: Some(time(view.expires_at)),
    }
}

pub fn order(order: &LeasedOrder) -> v1::Order {
    v1::Order {
        execution: order.execution.resource_name(),
        store: order.store.resource_name(),
        instruction: prost::bytes::Bytes::copy_from_slice(&order.instruction),
        admission: Some(receipt(&order.admission)),
        attempt: i32::try_from(order.attempt).unwrap_or(i32::MAX),
        lease_token: order.lease_token.clone(),
        lease_expire_time: Some(time(order.lease_expires_at)),
        preview: order.preview.as_ref().map(|preview| v1::PreviewSeen {
            salt: preview.salt.clone(),
            map_version: preview.map_version.clone(),
            counts: preview
                .counts
                .iter()
                .map(|(collection, rows)| v1::CountSeen { collection: collection.clone(), rows: *rows })
                .collect(),
        }),
    }
}

pub fn controller(row: Controller, key_set_digest: String) -> v1::Controller {
    v1::Controller {
        name: row.id.resource_name(),
        display_name: row.display_name,
        house: row.house,
        key_set_version: row.key_set_version,
        key_set_digest,
    }
}

pub fn agreement(row: &Agreement) -> v1::Agreement {
    v1::Agreement {
        name: row.id.resource_name(),
        controller: row.controller.resource_name(),
        categories: texts(&row.terms.categories),
        purposes: texts(&row.terms.purposes),
        stores: row.terms.stores.iter().map(|store| store.resource_name()).collect(),
        regions: texts(&row.terms.regions),
        start_time: Some(time(row.start)),
        end_time: Some(time(row.end)),
        sub_processors: row.terms.sub_processors.iter().map(|one| one.resource_name()).collect(),
    }
}

pub fn processing_record(record: ProcessingRecord) -> v1::ProcessingRecord {
    let ProcessingRecord {
        processor,
        controller: of,
        apps,
        agreements,
        stores,
        sub_processors,
        exports_operated_by,
    } = record;
    let name = |id: Option<SubProcessorId>| id.map(|id| id.resource_name()).unwrap_or_default();
    let app = |(id, display_name): (AppId, String)| v1::App {
        name: id.resource_name(),
        controller: of.id.resource_name(),
        display_name,
        ..v1::App::default()
    };
    let store = |RecordedStore { id, agent, operated_by }| {
        let (agent, region) =
            agent.map(|(id, region)| (id.resource_name(), region.to_string())).unwrap_or_default();
        v1::RecordedStore { name: id.resource_name(), agent, region, operated_by: name(operated_by) }
    };
    let company = |SubProcessor { id, display_name, region, purposes }| v1::SubProcessor {
        name: id.resource_name(),
        display_name,
        region: region.to_string(),
        purposes: texts(&purposes),
    };
    v1::ProcessingRecord {
        processor,
        agreements: agreements.iter().map(agreement).collect(),
        apps: apps.into_iter().map(app).collect(),
        stores: stores.into_iter().map(store).collect(),
        sub_processors: sub_processors.into_iter().map(company).collect(),
        exports_operated_by: name(exports_operated_by),
        controller: Some(controller(of, String::new())),
    }
}

/// An app, its facts sorted back into their fields.
pub fn app(row: App) -> v1::App {
    let mut app = v1::App {
        name: row.id.resource_name(),
        controller: row.controller.resource_name(),
        display_name: row.display_name,
        common_name: row.common_name,
        ..v1::App::default()
    };
    for fact in row.facts {
        match fact.kind {
            FactKind::Name if fact.alias => app.aliases.push(fact.shown),
            // The product's own name stands in `display_name` already.
            FactKind::Name => {}
            FactKind::BundleId => app.bundle_ids.push(fact.shown),
            FactKind::Domain => app.domains.push(fact.shown),
            FactKind::SdkAppId => app.sdk_app_ids.push(fact.shown),
        }
    }
    app
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_not_full_is_the_last() {
        assert_eq!(next_page(&[1, 2], 3, |n| *n), "");
        assert_eq!(next_page(&[1, 2, 3], 3, |n| *n), page_token(&3));
        assert_eq!(next_page(&[] as &[i32], 3, |n| *n), "");
    }
}
