//! The report that the agent signs: what an act came to, or why it was refused.
//!
//! One line for each collection: how many rows went, and how many stay, each
//! with its ground and last date. Where no ground and end can be shown, the report
//! is partial. A preview's counts are left out here;
//! they go to the controller, sealed, as details.

use serde_json::json;

use super::ledger_chain::Anchor;
use super::notebook::to_digest;
use super::orders::Leased;
use super::outcome::{CollectionOutcome as Came, Exclusion, Kept, Outcome};
use crate::authority::Warrant;
use crate::domain::{Act, AgentId, Ground, InstructionId, Reason, Refusal};
use crate::token::report::{AuthorityHead, ExportReport, KeptReport, LedgerHead, PreviewReport};
use crate::token::{CollectionOutcome, CollectionReport, Digest, Report, ReportOutcome};
use crate::trail::Hash;

/// What stands in every report of this agent at this moment.
pub struct Frame<'a> {
    pub agent: &'a AgentId,
    /// The trail's origin.
    pub origin: &'a str,
    /// UUIDv7.
    pub id: uuid::Uuid,
    /// Seconds.
    pub now: i64,
    /// The authority log as replicated.
    pub authority_size: u64,
    pub authority_root: &'a Hash,
}

fn digest_of_hex(text: &str) -> Result<Digest, Refusal> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| Refusal::at(Reason::Internal, "outcome"))?;
    Ok(Digest::from_bytes(bytes))
}

fn ledger_head(anchor: Anchor) -> LedgerHead {
    LedgerHead { sequence: anchor.sequence, head: Digest::from_bytes(anchor.head) }
}

/// One collection: what went, what stays and why, or that it was left out.
fn collection(act: Act, came: &Came) -> CollectionReport {
    let acted = match act {
        Act::Preview => CollectionOutcome::Counted,
        Act::Export => CollectionOutcome::Exported,
        _ => CollectionOutcome::Erased,
    };
    let shown = came.kept.iter().all(Kept::is_shown);
    let outcome = match came.excluded {
        _ if came.rows > 0 => acted,
        None if came.kept.is_empty() => acted,
        None if shown => CollectionOutcome::Retained,
        _ => CollectionOutcome::Excluded,
    };
    let rows = match outcome {
        CollectionOutcome::Excluded => None,
        CollectionOutcome::Retained => came.kept.iter().filter_map(|kept| kept.rows).reduce(|a, b| a + b),
        _ => Some(came.rows),
    };
    let says_it_all = outcome == CollectionOutcome::Retained && came.kept.len() == 1;
    CollectionReport {
        collection: came.collection.clone(),
        outcome,
        rows,
        ground: came.kept.first().map(|kept| kept.ground),
        until: came.kept.iter().filter_map(|kept| kept.until).max().filter(|_| shown),
        kept: if says_it_all { Vec::new() } else { stays(came) },
    }
}

/// Every stay with its ground, and last how many rows stay without one.
fn stays(came: &Came) -> Vec<KeptReport> {
    let kept = came.kept.iter();
    let kept = kept.map(|kept| KeptReport { rows: kept.rows, ground: Some(kept.ground), until: kept.until });
    let unfounded = KeptReport { rows: Some(came.unfounded), ground: None, until: None };
    kept.chain((came.unfounded > 0).then_some(unfounded)).collect()
}

/// Every collection, counts and all.
fn collections(outcome: &Outcome) -> Vec<CollectionReport> {
    outcome.collections.iter().map(|came| collection(outcome.act, came)).collect()
}

/// What the public report shows of a preview: which collections were looked into, nothing of what was found.
fn without_findings(report: CollectionReport) -> CollectionReport {
    let outcome = match report.outcome {
        CollectionOutcome::Excluded => CollectionOutcome::Excluded,
        _ => CollectionOutcome::Counted,
    };
    CollectionReport { outcome, rows: None, ground: None, until: None, kept: Vec::new(), ..report }
}

/// A preview's details (JSON: `salt`, `counts`), for the controller alone; empty for other acts.
pub fn preview_details(outcome: &Outcome) -> Result<Vec<u8>, Refusal> {
    let Some(seal) = &outcome.preview else { return Ok(Vec::new()) };
    let details = json!({"salt": seal.salt, "counts": collections(outcome)});
    serde_json::to_vec(&details).map_err(|_| Refusal::at(Reason::Internal, "preview_details"))
}

/// The report of an act that ended.
pub fn ended(
    frame: &Frame<'_>,
    leased: &Leased,
    warrant: &Warrant,
    outcome: &Outcome,
) -> Result<Report, Refusal> {
    let statement = warrant.instruction().statement();
    let complete = outcome.is_complete();
    let mut collections = collections(outcome);
    if outcome.act == Act::Preview {
        collections = collections.into_iter().map(without_findings).collect();
    }
    if let Some(reason) = outcome.stopped {
        return Ok(Report {
            act: outcome.act,
            outcome: ReportOutcome::Refused,
            reason: Some(reason),
            collections: outcome.collections.iter().map(|came| collection(Act::Preview, came)).collect(),
            ledger: ledger_head(outcome.ledger),
            ..bare(frame, leased, statement.jti, outcome.map_version.clone())
        });
    }
    let preview = match &outcome.preview {
        None => None,
        Some(seal) => Some(PreviewReport { digest: digest_of_hex(&seal.digest)?, as_of: seal.as_of }),
    };
    let export = match (&outcome.package, &statement.export) {
        (Some(package), Some(order)) => Some(ExportReport {
            digest: digest_of_hex(&package.sha256)?,
            size: package.size,
            recipient_digest: Digest::of(order.recipient.as_str()),
        }),
        _ => None,
    };
    Ok(Report {
        sub_digests: warrant.sub_digests().to_vec(),
        act: outcome.act,
        outcome: if complete { ReportOutcome::Completed } else { ReportOutcome::Partial },
        reason: (!complete).then(|| why_partial(outcome)),
        collections,
        preview,
        export,
        ledger: ledger_head(outcome.ledger),
        ..bare(frame, leased, statement.jti, outcome.map_version.clone())
    })
}

/// Rows are still there; or the agreement does not have them; or no end of their stay can be shown; or the map does
/// not lead to them.
fn why_partial(outcome: &Outcome) -> Reason {
    let excluded = |why| outcome.collections.iter().any(|came: &Came| came.excluded == Some(why));
    let kept = || outcome.collections.iter().flat_map(|came| &came.kept);
    let shown = kept().all(Kept::is_shown);
    if excluded(Exclusion::StillThere) {
        Reason::ReadBackFailed
    } else if kept().any(|kept| kept.ground == Ground::OutsideAgreement) {
        Reason::OutsideAgreement
    } else if excluded(Exclusion::Undated) || !shown {
        Reason::RowsUndated
    } else {
        Reason::MapInvalid
    }
}

/// The report of an order that was not carried out: refused, or given up. `export` names what was returned before:
/// rows that went since lie in nothing else.
#[expect(clippy::too_many_arguments, reason = "each is one member of the report")]
pub fn not_done(
    frame: &Frame<'_>,
    leased: &Leased,
    instruction: InstructionId,
    act: Act,
    outcome: ReportOutcome,
    reason: Reason,
    map_version: String,
    ledger: Anchor,
    export: Option<ExportReport>,
) -> Report {
    Report {
        export,
        // What may have been touched is named; what was refused bound nobody.
        sub_digests: match outcome {
            ReportOutcome::Refused => Vec::new(),
            _ => leased.claimed_subject(),
        },
        act,
        outcome,
        reason: Some(reason),
        ledger: ledger_head(ledger),
        ..bare(frame, leased, instruction, map_version)
    }
}

fn bare(frame: &Frame<'_>, leased: &Leased, instruction: InstructionId, map_version: String) -> Report {
    Report {
        agent: frame.agent.clone(),
        aud: frame.origin.to_owned(),
        jti: frame.id,
        iat: frame.now,
        execution: leased.execution,
        instruction,
        instruction_digest: leased.digest,
        sub_digests: Vec::new(),
        act: Act::Erase,
        store: leased.store.clone(),
        attempt: leased.attempt,
        outcome: ReportOutcome::Failed,
        reason: None,
        map_version,
        authority: AuthorityHead { size: frame.authority_size, root: to_digest(frame.authority_root) },
        collections: Vec::new(),
        preview: None,
        export: None,
        ledger: ledger_head(Anchor::GENESIS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(rows: u64, kept: &[Option<i64>], excluded: Option<Exclusion>) -> Came {
        let kept = kept
            .iter()
            .map(|until| Kept {
                rows: Some(1),
                ground: Ground::LegalObligation,
                until: *until,
                needed_by: None,
            })
            .collect();
        Came {
            collection: "t".into(),
            categories: Vec::new(),
            rows,
            kept,
            outside_window: 0,
            unfounded: 0,
            excluded,
        }
    }

    #[test]
    fn what_went_what_stays_and_what_was_left_out_are_told_apart() {
        let erased = collection(Act::Erase, &came(3, &[Some(9)], None));
        assert_eq!(
            (erased.outcome, erased.rows, erased.until),
            (CollectionOutcome::Erased, Some(3), Some(9))
        );
        let stays = collection(Act::Erase, &came(0, &[Some(5), Some(9)], None));
        assert_eq!((stays.outcome, stays.rows, stays.until), (CollectionOutcome::Retained, Some(2), Some(9)));
        let kept =
            |rows, until| KeptReport { rows: Some(rows), ground: Some(Ground::LegalObligation), until };
        assert_eq!(erased.kept, [kept(1, Some(9))], "how many stay beside those that went");
        let endless = collection(Act::Erase, &came(0, &[None], None));
        assert_eq!((endless.outcome, endless.rows), (CollectionOutcome::Excluded, None));
        assert_eq!((endless.until, endless.kept), (None, vec![kept(1, None)]));
        let both = collection(Act::Erase, &came(3, &[Some(9), None], None));
        assert_eq!((both.rows, both.until, both.kept.len()), (Some(3), None, 2));
        let late = Came { unfounded: 2, ..came(3, &[], Some(Exclusion::StillThere)) };
        let late = collection(Act::ReturnAndErase, &late);
        assert_eq!(late.kept, [KeptReport { rows: Some(2), ground: None, until: None }]);
        let out = collection(Act::Export, &came(0, &[], Some(Exclusion::Unmapped)));
        assert_eq!((out.outcome, out.rows), (CollectionOutcome::Excluded, None));
    }

    #[test]
    fn a_partial_report_says_whether_rows_are_still_there_or_the_map_leads_to_none() {
        let outcome = |excluded| Outcome {
            execution: "01938a5e-0000-7000-8000-000000000001".parse().unwrap(),
            store: "rtc".parse().unwrap(),
            act: Act::ReturnAndErase,
            map_version: String::new(),
            collections: vec![came(3, &[], Some(Exclusion::Unmapped)), came(3, &[], excluded)],
            package: None,
            preview: None,
            stopped: None,
            ledger: Anchor::GENESIS,
        };
        assert_eq!(why_partial(&outcome(Some(Exclusion::StillThere))), Reason::ReadBackFailed);
        assert_eq!(why_partial(&outcome(None)), Reason::MapInvalid);
        let mut endless = outcome(None);
        endless.collections = vec![came(3, &[None], None)];
        assert!(!endless.is_complete());
        assert_eq!(why_partial(&endless), Reason::RowsUndated);
    }

    #[test]
    fn what_a_line_says_was_found_is_what_was_found() {
        let shared = |came: Came| (collection(Act::Preview, &came).found(), came.found());
        let cases = [
            came(3, &[], None),
            came(3, &[Some(9), None], None),
            came(0, &[Some(9)], None),
            came(0, &[Some(9), Some(8)], None),
            came(0, &[None], None),
            Came { unfounded: 2, ..came(0, &[], Some(Exclusion::NoTime)) },
            Came { unfounded: 2, ..came(1, &[Some(9)], Some(Exclusion::Undated)) },
            came(0, &[], Some(Exclusion::Unmapped)),
        ];
        for came in cases {
            let (told, found) = shared(came.clone());
            assert_eq!(told, found, "{came:?}");
        }
    }

    #[test]
    fn a_previews_public_part_tells_nothing_of_what_was_found() {
        let shown = |came: &Came| without_findings(collection(Act::Preview, came));
        assert_eq!(shown(&came(3, &[Some(9)], None)), shown(&came(0, &[], None)));
        assert_eq!(shown(&came(0, &[Some(9)], None)), shown(&came(0, &[], None)));
    }
}
