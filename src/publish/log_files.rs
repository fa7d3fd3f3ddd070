//! `GET /trail/<file>` and `GET /authority/<file>`: `checkpoint`, `vkey`, `tile/<L>/<N>[.p/<W>]`,
//! `tile/entries/<N>[.p/<W>]`.
//!
//! Auditors, witnesses and operators read both logs; agents the authority log, which they replicate.
//! A controller gets its proofs by RPC: the other leaves are not its business (I5).

use std::sync::Arc;

use async_trait::async_trait;
use hyper::StatusCode;

use crate::app::{App, AppError, Lasting, Published};
use crate::domain::{Kind, Reason};
use crate::https::server::TEXT;
use crate::https::{Answer, Call, Handler};
use crate::store::Log;

const BYTES: &str = "application/octet-stream";

/// The handler of the publishing listener.
pub struct LogFiles(pub Arc<App>);

/// The log and the file that a path names.
fn place(path: &str) -> Option<(Log, &str)> {
    let (log, file) = path.strip_prefix('/')?.split_once('/')?;
    match log {
        "trail" => Some((Log::Trail, file)),
        "authority" => Some((Log::Authority, file)),
        _ => None,
    }
}

fn may_read(kind: Kind, log: Log) -> bool {
    match kind {
        Kind::Auditor | Kind::Witness | Kind::Operator => true,
        Kind::Agent => log == Log::Authority,
        Kind::Controller | Kind::Support | Kind::Gateway => false,
    }
}

fn answer(file: Published) -> Answer {
    let (content_type, cache) = match file.lasting {
        Lasting::Head => (TEXT, "private, max-age=1"),
        Lasting::Key => (TEXT, "private, max-age=60"),
        Lasting::Partial => (BYTES, "private, max-age=60"),
        Lasting::Full => (BYTES, "private, max-age=31536000, immutable"),
    };
    Answer { status: StatusCode::OK, content_type, cache, body: file.bytes.into() }
}

impl LogFiles {
    /// A key that has another use or principal opens nothing. None is claimed here: no token says that the principal
    /// is one of ours, and whoever may mint names could fill the trail. Looked up once a connection, where it is on
    /// record as the peer's own.
    async fn refused_key(&self, call: &Call) -> Option<Answer> {
        if call.connected.owns_key() {
            return None;
        }
        let principal = call.peer.spiffe.principal().resource_name();
        match self.0.knows_tls_key(&call.peer.key, &principal).await {
            Ok(true) => {
                call.connected.note_own_key();
                None
            }
            Ok(false) => None,
            Err(AppError::Refused(refusal)) => Some(Answer::refused(&refusal)),
            Err(error) => {
                tracing::error!(%error, "a TLS key could not be looked up");
                Some(Answer::refused(&Reason::Unavailable.into()))
            }
        }
    }
}

#[async_trait]
impl Handler for LogFiles {
    const METHODS: &'static str = "GET, HEAD";
    const BODY: usize = 0;

    fn serves(&self, kind: Kind) -> bool {
        [Log::Trail, Log::Authority].into_iter().any(|log| may_read(kind, log))
    }

    async fn answer(&self, call: Call) -> Answer {
        if let Some(refused) = self.refused_key(&call).await {
            return refused;
        }
        let kind = call.kind();
        // Who may read nothing here learns nothing of what there is.
        if !self.serves(kind) {
            return Answer::refused(&Reason::KindNotAllowed.into());
        }
        let Some((log, file)) = place(&call.path) else { return Answer::refused(&Reason::NotFound.into()) };
        if !may_read(kind, log) {
            return Answer::refused(&Reason::KindNotAllowed.into());
        }
        match self.0.published(log, file).await {
            Ok(Some(file)) => answer(file),
            Ok(None) => Answer::refused(&Reason::NotFound.into()),
            Err(error) => {
                tracing::error!(%error, log = log.name(), "a file of the log could not be made");
                Answer::refused(&Reason::Internal.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_log_and_a_file() {
        assert!(matches!(place("/trail/checkpoint"), Some((Log::Trail, "checkpoint"))));
        assert!(matches!(place("/authority/tile/0/000.p/3"), Some((Log::Authority, "tile/0/000.p/3"))));
        for bad in ["", "/", "/trail", "trail/checkpoint", "/Trail/checkpoint", "//trail/checkpoint"] {
            assert!(place(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn who_may_read_what() {
        for kind in Kind::ALL {
            let both = matches!(kind, Kind::Auditor | Kind::Witness | Kind::Operator);
            assert_eq!(may_read(*kind, Log::Trail), both, "{kind}");
            assert_eq!(may_read(*kind, Log::Authority), both || *kind == Kind::Agent, "{kind}");
        }
    }
}
