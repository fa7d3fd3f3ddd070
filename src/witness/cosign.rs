//! `POST /add-checkpoint`: verify, judge, remember, sign. In this order.
//!
//! | answer | when |
//! |---|---|
//! | 200, cosignature lines | the checkpoint continues what was cosigned last |
//! | 400 | the body is no request, or contradicts itself |
//! | 403 | the caller is no gateway, or the log's key did not sign |
//! | 404 | the origin is not watched |
//! | 409, the size cosigned last (`text/x.tlog.size`) | the proof begins elsewhere; or another tree of that size, or a shorter one |
//! | 422 | the proof does not lead from what was cosigned last |
//!
//! A fork and a rollback are logged as errors with their reasons, however often they come.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use hyper::{Method, StatusCode};
use tokio::sync::Mutex;

use super::config::Logs;
use super::memory::Memory;
use crate::domain::{Clock, Kind, Reason, Refusal};
use crate::fault;
use crate::https::{Answer, Call, Handler};
use crate::trail::{
    AddCheckpoint, Checkpoint, CosigningKey, Note, NoteSignature, Unwitnessed, VerifierKey, witnessing,
};

/// The media type of a 409's body (C2SP `tlog-witness`).
pub const SIZE_TYPE: &str = "text/x.tlog.size";
const PATH: &str = "/add-checkpoint";

/// Why there is no cosignature.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// As a stable reason.
    With(Refusal),
    /// With the size cosigned last.
    Size(u64, Reason),
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Refused::With(reason.into())
    }
}

/// The witness: its key, what it watches, what it remembers.
pub struct Witness {
    key: CosigningKey,
    logs: RwLock<Arc<Logs>>,
    /// Judging and remembering are one step: two requests never pass each other.
    memory: Mutex<Memory>,
    clock: Arc<dyn Clock>,
}

impl Witness {
    pub fn new(key: CosigningKey, logs: Logs, memory: Memory, clock: Arc<dyn Clock>) -> Self {
        Self { key, logs: RwLock::new(Arc::new(logs)), memory: Mutex::new(memory), clock }
    }

    /// Watches these logs from here on. Not if they would leave the witness without the proof of what it
    /// cosigned last: a log's former key goes once the next one signed a head.
    pub async fn watch(&self, logs: Logs) -> Result<(), Reason> {
        let memory = self.memory.lock().await;
        if !memory.fits(&logs) {
            return Err(Reason::MaterialInvalid);
        }
        *self.logs.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(logs);
        Ok(())
    }

    /// The cosignature of a checkpoint that continues what was cosigned last.
    pub async fn add_checkpoint(&self, body: &[u8]) -> Result<NoteSignature, Refused> {
        let bad = |note| Refused::With(Refusal::new(Reason::CheckpointMalformed).note(note));
        let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))?;
        let request = AddCheckpoint::parse(text).map_err(|error| bad_request(&error))?;
        let note = Note::parse(&request.checkpoint).map_err(|_| bad("the checkpoint is no signed note"))?;
        let claimed =
            Checkpoint::parse_body(note.text()).map_err(|_| bad("the signed note is no checkpoint"))?;
        let logs = Arc::clone(&self.logs.read().unwrap_or_else(PoisonError::into_inner));
        let keys = logs.get(claimed.origin()).ok_or(Reason::LogUnknown)?;
        let head = Checkpoint::open_by(&request.checkpoint, claimed.origin(), keys)
            .map_err(|_| Reason::CheckpointUnsigned)?;

        let mut memory = self.memory.lock().await;
        let last = memory.last(head.origin()).map(|last| last.head.clone());
        if let Err(why) = witnessing::judge(&request, &head, last.as_ref()) {
            return Err(refuse(&memory, keys, &head, &request.checkpoint, why));
        }
        let kept = only_the_logs_own(&note, keys);
        // A re-signing of the same head changes nothing that must be on the disk.
        if last.as_ref() != Some(&head) {
            fault::point("witness.before");
            tokio::task::block_in_place(|| memory.set(head, kept)).map_err(|error| {
                tracing::error!(%error, "the memory could not be written; nothing is cosigned");
                Refused::from(Reason::Unavailable)
            })?;
            fault::point("witness.after");
        }
        self.key.cosign(note.text(), self.clock.now()).map_err(|_| Reason::Internal.into())
    }
}

fn bad_request(error: &impl ToString) -> Refused {
    Refused::With(Refusal::new(Reason::CheckpointMalformed).note(error.to_string()))
}

/// The note with the log's signatures alone: what others signed is not ours to keep.
fn only_the_logs_own(note: &Note, keys: &[VerifierKey]) -> String {
    let mut own = note.signatures().iter().filter(|line| keys.iter().any(|key| key.claims(line)));
    let Some(mut kept) = own.next().and_then(|line| Note::new(note.text(), line.clone()).ok()) else {
        // One verified a moment ago.
        return note.to_string();
    };
    for line in own {
        // No more lines than the note had.
        let _ = kept.add(line.clone());
    }
    kept.to_string()
}

/// Refuses, and makes noise where the log did what no log may do.
fn refuse(memory: &Memory, keys: &[VerifierKey], head: &Checkpoint, note: &str, why: Unwitnessed) -> Refused {
    let (reason, refused) = match why {
        Unwitnessed::Backwards => return Refused::With(Reason::CheckpointMalformed.into()),
        Unwitnessed::Conflict { known } => return Refused::Size(known, Reason::CheckpointConflict),
        Unwitnessed::RolledBack { known } => {
            (Reason::CheckpointRolledBack, Refused::Size(known, Reason::CheckpointRolledBack))
        }
        Unwitnessed::SameSize { known } => {
            (Reason::CheckpointForked, Refused::Size(known, Reason::CheckpointForked))
        }
        Unwitnessed::Forked { .. } => {
            (Reason::CheckpointForked, Refused::With(Reason::CheckpointForked.into()))
        }
    };
    // A bad proof alone proves nothing; another tree of a size that was cosigned proves a fork. Both
    // are kept, since the signed checkpoint is what an auditor compares.
    let kept = keys.first().map_or(Ok(false), |key| memory.keep_conflict(key, head, note));
    let kept = kept.unwrap_or_else(|error| {
        tracing::error!(%error, "the contradicting checkpoint could not be kept");
        false
    });
    tracing::error!(
        reason = reason.code(),
        origin = head.origin(),
        size = head.size(),
        root = %head.root(),
        evidence_kept = kept,
        "NOT COSIGNED: {why}"
    );
    refused
}

#[async_trait]
impl Handler for Witness {
    const METHODS: &'static str = "POST";
    /// A note with all the signatures it may have, and a proof.
    const BODY: usize = 64 * 1024;

    fn serves(&self, kind: Kind) -> bool {
        kind == Kind::Gateway
    }

    async fn answer(&self, call: Call) -> Answer {
        if !self.serves(call.kind()) {
            return Answer::refused(&Reason::KindNotAllowed.into());
        }
        if call.method != Method::POST || call.path != PATH {
            return Answer::refused(&Reason::NotFound.into());
        }
        match self.add_checkpoint(&call.body).await {
            Ok(line) => Answer::text(StatusCode::OK, format!("{line}\n")),
            Err(Refused::Size(known, _)) => {
                Answer { content_type: SIZE_TYPE, ..Answer::text(StatusCode::CONFLICT, format!("{known}\n")) }
            }
            Err(Refused::With(refusal)) => Answer::refused(&refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::authority::log_fixtures::{TRAIL, authority_key, trail_key};
    use crate::domain::clock::FixedClock;
    use crate::trail::{Appender, consistency_proof, cosigned_at, leaf_hash};

    const NOW: i64 = 1_795_000_000;

    fn tree(size: u64, salt: &str) -> Appender {
        let mut tree = Appender::new();
        for index in 0..size {
            tree.append(leaf_hash(format!("{salt} {index}").as_bytes()));
        }
        tree
    }

    fn grow(tree: &Appender, more: u64) -> Appender {
        let mut tree = tree.clone();
        for index in 0..more {
            tree.append(leaf_hash(format!("more {index}").as_bytes()));
        }
        tree
    }

    fn note(tree: &Appender) -> String {
        Checkpoint::new(TRAIL, tree.size(), tree.root()).unwrap().sign(&trail_key()).to_string()
    }

    fn ask(old: u64, tree: &Appender) -> Vec<u8> {
        let proof = consistency_proof(old, tree.size(), tree).unwrap();
        AddCheckpoint { old, proof, checkpoint: note(tree) }.to_string().into_bytes()
    }

    fn witness(memory: &Path, clock: &FixedClock) -> Witness {
        let key = CosigningKey::from_seed("witness.example/w1", &[5; 32]).unwrap();
        let logs: Logs = [(TRAIL.to_owned(), vec![trail_key().verifier_key().clone()])].into();
        let memory = Memory::open(memory, &logs).unwrap();
        Witness::new(key, logs, memory, Arc::new(clock.clone()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_logs_next_key_is_watched_beside_the_former_which_goes_when_the_next_has_signed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        let witness = witness(&path, &FixedClock::at(NOW));
        let next = crate::trail::SigningKey::from_seed(TRAIL, &[78; 32]).unwrap();
        let keys = [trail_key().verifier_key().clone(), next.verifier_key().clone()];
        let logs = |keys: &[VerifierKey]| Logs::from([(TRAIL.to_owned(), keys.to_vec())]);
        let signed = |old: u64, tree: &Appender, by: &[&crate::trail::SigningKey]| {
            let head = Checkpoint::new(TRAIL, tree.size(), tree.root()).unwrap();
            let checkpoint = head.sign_by(by[0], by.get(1).copied()).to_string();
            let proof = consistency_proof(old, tree.size(), tree).unwrap();
            AddCheckpoint { old, proof, checkpoint }.to_string().into_bytes()
        };
        let (small, large) = (tree(300, "a"), grow(&tree(300, "a"), 77));
        witness.add_checkpoint(&signed(0, &small, &[&trail_key()])).await.unwrap();
        let unknown = witness.add_checkpoint(&signed(300, &large, &[&next])).await;
        assert_eq!(unknown, Err(Reason::CheckpointUnsigned.into()));
        witness.watch(logs(&keys)).await.unwrap();
        assert_eq!(witness.watch(logs(&keys[1..])).await, Err(Reason::MaterialInvalid));
        witness.add_checkpoint(&signed(300, &large, &[&trail_key(), &next])).await.unwrap();
        witness.watch(logs(&keys[1..])).await.unwrap();
        let former = witness.add_checkpoint(&signed(377, &large, &[&trail_key()])).await;
        assert_eq!(former, Err(Reason::CheckpointUnsigned.into()));
        drop(witness);
        assert!(Memory::open(&path, &logs(&keys[1..])).is_ok(), "both signatures were kept");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_cosigns_what_continues_and_says_when() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        let clock = FixedClock::at(NOW);
        let witness = witness(&path, &clock);
        let (small, large) = (tree(300, "a"), grow(&tree(300, "a"), 77));
        for (old, tree, at) in [(0, &small, 0), (300, &large, 10), (377, &large, 20)] {
            clock.set(NOW + at);
            let line = witness.add_checkpoint(&ask(old, tree)).await.unwrap();
            let mut note = Note::parse(&note(tree)).unwrap();
            note.add(line).unwrap();
            let seen = cosigned_at(&note, witness.key.verifier_key()).unwrap().unwrap();
            assert_eq!(seen.as_second(), NOW + at);
        }
        assert_eq!(
            witness.add_checkpoint(&ask(0, &large)).await,
            Err(Refused::Size(377, Reason::CheckpointConflict))
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_fork_and_a_rollback_are_refused_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        let clock = FixedClock::at(NOW);
        let base = tree(300, "a");
        witness(&path, &clock).add_checkpoint(&ask(0, &base)).await.unwrap();
        for _ in 0..2 {
            let witness = witness(&path, &clock);
            let other = tree(300, "b");
            assert_eq!(
                witness.add_checkpoint(&ask(300, &other)).await,
                Err(Refused::Size(300, Reason::CheckpointForked))
            );
            assert_eq!(
                witness.add_checkpoint(&ask(300, &grow(&other, 5))).await,
                Err(Refused::With(Reason::CheckpointForked.into()))
            );
            let short = tree(299, "a");
            assert_eq!(
                witness.add_checkpoint(&ask(299, &short)).await,
                Err(Refused::Size(300, Reason::CheckpointRolledBack))
            );
        }
        let kept = path.with_extension(format!("conflict-{:08x}-300", trail_key().verifier_key().id()));
        let kept = std::fs::read_to_string(kept).unwrap();
        assert_eq!(kept, note(&tree(300, "b")), "the evidence of the fork is kept");
        witness(&path, &clock).add_checkpoint(&ask(300, &grow(&base, 1))).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn strangers_and_nonsense_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        let witness = witness(&path, &FixedClock::at(NOW));
        let tree = tree(3, "a");
        let head = |origin: &str| Checkpoint::new(origin, 3, tree.root()).unwrap();
        let body = |checkpoint: String| AddCheckpoint { old: 0, proof: vec![], checkpoint }.to_string();
        let reason = |refused: Result<NoteSignature, Refused>| match refused {
            Err(Refused::With(refusal)) => refusal.reason,
            other => panic!("{other:?}"),
        };
        let other = body(head("other.example/trail").sign(&trail_key()).to_string());
        assert_eq!(reason(witness.add_checkpoint(other.as_bytes()).await), Reason::LogUnknown);
        let forged = body(head(TRAIL).sign(&authority_key()).to_string());
        assert_eq!(reason(witness.add_checkpoint(forged.as_bytes()).await), Reason::CheckpointUnsigned);
        for bad in [&b""[..], b"\xff", b"old 0\n\n", b"old 0\n\nno note"] {
            assert_eq!(reason(witness.add_checkpoint(bad).await), Reason::CheckpointMalformed);
        }
    }

    /// Written with a signing library that is not ours.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_checkpoint_of_another_implementation_is_cosigned() {
        use signed_note::{Note as TheirNote, Signer, StandardSigner};
        let signer = StandardSigner::new(
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
        )
        .unwrap();
        let vkey =
            VerifierKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.json");
        Memory::create(&path).unwrap();
        let logs: Logs = [("PeterNeumann".to_owned(), vec![vkey])].into();
        let key = CosigningKey::from_seed("witness.example/w1", &[5; 32]).unwrap();
        let memory = Memory::open(&path, &logs).unwrap();
        let witness = Witness::new(key, logs, memory, Arc::new(FixedClock::at(NOW)));
        let text = Checkpoint::new("PeterNeumann", 1, leaf_hash(b"x")).unwrap().body();
        let mut theirs = TheirNote::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&signer as &dyn Signer]).unwrap();
        let checkpoint = String::from_utf8(theirs.to_bytes()).unwrap();
        let body = AddCheckpoint { old: 0, proof: vec![], checkpoint }.to_string();
        assert!(witness.add_checkpoint(body.as_bytes()).await.is_ok());
    }
}
