//! What stands beside the name it goes by: access keys beside their thumbprints, witnesses' lines beside their names.

use super::{CannotExamine, Finding, Sink};
use crate::store::survey::{self, shown};
use crate::store::{Conn, Log};
use crate::token::PublicJwk;
use crate::trail::NoteSignature;

const PAGE: u32 = 500;

pub(super) async fn examine(conn: &mut Conn, sink: Sink<'_>) -> Result<(), CannotExamine> {
    let mut last = String::new();
    loop {
        let page = survey::access_keys(conn, &last, PAGE).await?;
        let Some((thumbprint, _)) = page.last() else { break };
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
    for log in [Log::Trail, Log::Authority] {
        for (cosigner, line) in survey::cosignatures(conn, log).await? {
            if !NoteSignature::parse(&line).is_ok_and(|line| line.name() == cosigner) {
                sink(Finding {
                    code: "COSIGNATURE_WRONG",
                    table: "cosignatures",
                    resource: format!("{}/{}", log.name(), shown(&cosigner)),
                    sentence: "it is no signature line of that witness".into(),
                });
            }
        }
    }
    Ok(())
}
