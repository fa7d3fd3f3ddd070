//! What a signature or a name must bear out: access keys their thumbprints, witnesses' lines their heads.

use super::{CannotExamine, Finding, Patient, Sink};
use crate::store::survey::{self, KeptCosignature, shown};
use crate::store::{Conn, Log};
use crate::token::PublicJwk;
use crate::trail::{Note, NoteSignature, VerifierKey};

const PAGE: u32 = 500;

pub(super) async fn examine(patient: &Patient, conn: &mut Conn, sink: Sink<'_>) -> Result<(), CannotExamine> {
    access_keys(conn, sink).await?;
    cosignatures(patient, conn, sink).await
}

async fn access_keys(conn: &mut Conn, sink: Sink<'_>) -> Result<(), CannotExamine> {
    let mut last = String::new();
    loop {
        let page = survey::access_keys(conn, &last, PAGE).await?;
        let Some((thumbprint, _)) = page.last() else { return Ok(()) };
        last.clone_from(thumbprint);
        for (thumbprint, jwk) in &page {
            let key = PublicJwk::from_json(jwk.as_bytes());
            if !key.is_ok_and(|key| key.thumbprint().to_string() == *thumbprint) {
                sink(Finding {
                    code: "KEY_DIFFERS",
                    table: "access_keys",
                    resource: format!("keys/{}", shown(thumbprint)),
                    sentence: "the key does not have the thumbprint that was registered".into(),
                });
            }
        }
    }
}

async fn cosignatures(patient: &Patient, conn: &mut Conn, sink: Sink<'_>) -> Result<(), CannotExamine> {
    for log in [Log::Trail, Log::Authority] {
        for kept in survey::cosignatures(conn, log).await? {
            if let Some(sentence) = fault_of(&kept, &patient.witnesses) {
                sink(Finding {
                    code: "COSIGNATURE_WRONG",
                    table: "cosignatures",
                    resource: format!("{}/{}", log.name(), shown(&kept.cosigner)),
                    sentence: sentence.into(),
                });
            }
        }
    }
    Ok(())
}

/// What is wrong with a witness's line. One of a witness that is not configured any more cannot be verified, and
/// the gateway does not count it.
fn fault_of(kept: &KeptCosignature, witnesses: &[VerifierKey]) -> Option<&'static str> {
    let line = NoteSignature::parse(&kept.line).ok().filter(|line| line.name() == kept.cosigner);
    let Some(line) = line else { return Some("it is no signature line of that witness") };
    let key = witnesses.iter().find(|key| key.name() == kept.cosigner)?;
    // A head that is gone or is none has a finding of its own.
    let head = Note::parse(kept.checkpoint.as_deref()?).ok()?;
    if !key.claims(&line) {
        return Some("it is of another key than that witness has in the configuration");
    }
    key.verify(head.text(), line.bytes()).is_err().then_some("the witness did not sign this head")
}
