//! The preview that an order's signers saw, found again for the agent that made it (DESIGN §10).

use crate::domain::{ControllerId, StoreId};
use crate::store::executions;
use crate::token::{Envelope, base64url};

use super::{App, AppResult};

/// Previews of one store that are looked through, newest first.
const MOST: u32 = 200;

/// What the digest of a preview follows from, beside the order itself.
pub struct PreviewSeen {
    /// Lower-case hex.
    pub salt: String,
    pub map_version: String,
    /// Rows of the subject in each collection.
    pub counts: Vec<(String, u64)>,
}

/// The digest of the preview that the instruction names.
pub(super) fn named(envelope: &Envelope) -> Option<String> {
    payload(envelope)?.pointer("/preview/digest")?.as_str().map(str::to_owned)
}

/// The payload of an instruction that was judged before, from the row.
pub(super) fn payload(envelope: &Envelope) -> Option<serde_json::Value> {
    serde_json::from_slice(&base64url::decode(envelope.payload_segment()).ok()?).ok()
}

impl App {
    /// None where there is no such preview of the store, or its details were shredded.
    pub(super) async fn preview_of(
        &self,
        controller: &ControllerId,
        store: &StoreId,
        digest: &str,
    ) -> AppResult<Option<PreviewSeen>> {
        let mut conn = self.store.reader().await?;
        for row in executions::previews(&mut conn, controller, store, MOST).await? {
            let (Some(agent), Some(text)) = (&row.agent, &row.report) else { continue };
            let report = self.taken_report(&mut conn, agent, text).await?;
            if report.preview.is_some_and(|preview| preview.digest.to_string() == digest) {
                let details = self.open_details(&mut conn, &row).await?;
                return Ok(details.map(|details| PreviewSeen {
                    counts: details.counts.iter().map(|of| (of.collection.clone(), of.found())).collect(),
                    salt: details.salt,
                    map_version: report.map_version,
                }));
            }
        }
        Ok(None)
    }
}
