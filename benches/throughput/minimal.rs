//! The second baseline: a server written by hand that does all the cryptography of an admission and
//! commits in groups, and knows nothing of controllers, agreements, requests or orders.
//!
//! Per call: the token's check, one Ed25519 signature over the payload, the disclosures' digests, one
//! AES-256-GCM sealing, a leaf hash. Per batch: multi-row inserts, one commit with a full sync, Merkle
//! appends, one Ed25519 signature, an inclusion proof for each caller.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use futures::FutureExt as _;
use mandate::sql::{Conn, Insert, PostgresUrl, query};
use mandate::token::base64url;
use mandate::trail::{Appender, Checkpoint, Prover, Receipt, SigningKey, leaf_hash};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::echo::Work;

const ORIGIN: &str = "minimal.example/trail";
const BATCH: usize = 256;
const LULL: Duration = Duration::from_millis(1);

struct Waiting {
    leaf: Vec<u8>,
    sealed: Vec<u8>,
    reply: oneshot::Sender<Vec<u8>>,
}

#[derive(Clone)]
pub struct Minimal {
    /// Of the one signer.
    key: Vec<u8>,
    queue: mpsc::Sender<Waiting>,
}

impl Minimal {
    pub async fn on_sqlite(path: &Path, signer_jwk: &serde_json::Value) -> Minimal {
        let conn = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .connect()
            .await
            .expect("a database");
        let tables = [
            "CREATE TABLE leaves (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL) STRICT",
            "CREATE TABLE sealed (idx INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
            "CREATE TABLE head (one INTEGER PRIMARY KEY, checkpoint TEXT NOT NULL) STRICT",
        ];
        Self::open(conn.into(), tables, signer_jwk).await
    }

    pub async fn on_postgres(url: &str, signer_jwk: &serde_json::Value) -> Minimal {
        let options = PostgresUrl::new(url).options().expect("a URL");
        let conn = options.connect().await.expect("a database");
        let tables = [
            "CREATE TABLE leaves (idx BIGINT PRIMARY KEY, leaf BYTEA NOT NULL)",
            "CREATE TABLE sealed (idx BIGINT PRIMARY KEY, value BYTEA NOT NULL)",
            "CREATE TABLE head (one BIGINT PRIMARY KEY, checkpoint TEXT NOT NULL)",
        ];
        Self::open(conn.into(), tables, signer_jwk).await
    }

    async fn open(mut conn: Conn, tables: [&'static str; 3], signer_jwk: &serde_json::Value) -> Minimal {
        for table in tables {
            query(table).execute(&mut conn).await.expect("a table");
        }
        let (queue, incoming) = mpsc::channel(4096);
        tokio::spawn(commit_all(conn, incoming));
        let x = signer_jwk["x"].as_str().expect("an Ed25519 key");
        let key = base64url::decode(x.as_bytes()).expect("base64url");
        Minimal { key, queue }
    }
}

impl Work for Minimal {
    async fn work(&self, wire: Vec<u8>) -> Result<Vec<u8>, Status> {
        let bad = |what| Status::invalid_argument(what);
        let text = std::str::from_utf8(&wire).map_err(|_| bad("text"))?;
        let (signed, disclosures) = text.split_once('~').ok_or_else(|| bad("no disclosures"))?;
        let (input, signature) = signed.rsplit_once('.').ok_or_else(|| bad("no signature"))?;
        let signature = base64url::decode(signature.as_bytes()).map_err(|_| bad("signature"))?;
        UnparsedPublicKey::new(&ED25519, &self.key)
            .verify(input.as_bytes(), &signature)
            .map_err(|_| bad("not signed"))?;
        let payload = input.split_once('.').map_or("", |(_, payload)| payload);
        let payload = base64url::decode(payload.as_bytes()).map_err(|_| bad("payload"))?;
        for disclosure in disclosures.split('~').filter(|d| !d.is_empty()) {
            let hash = base64url::encode(digest(&SHA256, disclosure.as_bytes()));
            if !payload.windows(hash.len()).any(|window| window == hash.as_bytes()) {
                return Err(bad("an alien disclosure"));
            }
        }
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("a key"));
        let mut sealed = wire.clone();
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).map_err(|_| bad("seal"))?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { leaf: signed.as_bytes().to_vec(), sealed, reply };
        self.queue.send(waiting).await.map_err(|_| Status::unavailable("closed"))?;
        answer.await.map_err(|_| Status::unavailable("closed"))
    }
}

async fn commit_all(mut conn: Conn, mut queue: mpsc::Receiver<Waiting>) {
    let key = SigningKey::from_seed(ORIGIN, &[3; 32]).expect("a key");
    let mut tree = Appender::new();
    let begin = if conn.is_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" };
    while let Some(first) = queue.recv().await {
        let mut batch = vec![first];
        let _ = queue.recv_many(&mut batch, BATCH - 1).now_or_never();
        while batch.len() > 1 && batch.len() < BATCH {
            match tokio::time::timeout(LULL, queue.recv()).await {
                Ok(Some(next)) => batch.push(next),
                _ => break,
            }
        }
        let start = tree.size();
        let mut leaves = Insert::into("leaves", &["idx", "leaf"]);
        let mut values = Insert::into("sealed", &["idx", "value"]);
        for (waiting, index) in batch.iter().zip(start..) {
            leaves.row([i64::try_from(index).expect("small").into(), waiting.leaf.as_slice().into()]);
            values.row([i64::try_from(index).expect("small").into(), waiting.sealed.as_slice().into()]);
            tree.append(leaf_hash(&waiting.leaf));
        }
        let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).expect("a checkpoint").sign(&key);
        query(begin).execute(&mut conn).await.expect("begins");
        leaves.execute(&mut conn).await.expect("inserts");
        values.execute(&mut conn).await.expect("inserts");
        query(
            "INSERT INTO head VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET checkpoint = excluded.checkpoint",
        )
        .bind(checkpoint.to_string())
        .execute(&mut conn)
        .await
        .expect("the head");
        query("COMMIT").execute(&mut conn).await.expect("commits");
        let mut prover = Prover::new(tree.size(), &tree);
        let proofs: Vec<_> =
            (start..tree.size()).map(|index| prover.inclusion(index).expect("a proof")).collect();
        for ((waiting, proof), index) in batch.into_iter().zip(proofs).zip(start..) {
            let receipt = Receipt::new(index, proof, checkpoint.clone());
            let _ = waiting.reply.send(receipt.to_string().into_bytes());
        }
        tree.settle();
    }
}
