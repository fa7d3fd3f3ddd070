//! The export folder: every package that may be fetched lies there whole, and nothing else does.

use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{CannotExamine, Finding, Patient, Sink};
use crate::domain::ExportId;
use crate::store::survey::export_files;
use crate::store::{Conn, exports};

const PAGE: u32 = 500;

/// Returns how many packages were looked for.
pub(super) async fn examine(
    patient: &Patient,
    exports_folder: &Path,
    conn: &mut Conn,
    sink: Sink<'_>,
) -> Result<u64, CannotExamine> {
    let now = patient.clock.now_seconds();
    let (mut count, mut last) = (0, String::new());
    loop {
        let page = export_files(conn, now, &last, PAGE).await?;
        let Some((id, _)) = page.last() else { break };
        last = id.to_string();
        count += page.len() as u64;
        for (id, size) in page {
            let path = exports_folder.join(format!("{id}.age"));
            let why = match tokio::fs::metadata(&path).await {
                Ok(file) if file.len() == size => continue,
                Ok(_) => "its file has another size",
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => "its file is not in the folder",
                Err(error) => return Err(error.into()),
            };
            sink(finding("EXPORT_FILE", &id, why));
        }
    }
    strays(patient, exports_folder, conn, now, sink).await?;
    Ok(count)
}

/// Files that no row names. A young one may be an upload under way, or newer than the snapshot, or be the
/// gateway's own sweeper's to remove at its next round.
async fn strays(
    patient: &Patient,
    exports_folder: &Path,
    conn: &mut Conn,
    now: i64,
    sink: Sink<'_>,
) -> Result<(), CannotExamine> {
    let mut folder = tokio::fs::read_dir(exports_folder).await?;
    while let Some(entry) = folder.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_suffix(".age").and_then(|id| id.parse::<ExportId>().ok());
        let Ok(file) = entry.metadata().await else { continue };
        let written = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.saturating_sub(written.as_secs().cast_signed()) < patient.stray_after {
            continue;
        }
        match id {
            Some(id) if exports::is_known(conn, &id).await? => {}
            Some(id) => sink(finding("EXPORT_STRAY", &id, "its file is there, and no row names it")),
            None => sink(Finding {
                code: "EXPORT_STRAY",
                table: "exports",
                resource: "exports".into(),
                sentence: "the folder holds a file that is no package".into(),
            }),
        }
    }
    Ok(())
}

fn finding(code: &'static str, id: &ExportId, why: &str) -> Finding {
    Finding { code, table: "exports", resource: id.resource_name(), sentence: why.into() }
}
