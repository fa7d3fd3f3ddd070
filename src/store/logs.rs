//! The two logs in the database: leaves, tiles, heads.
//!
//! Written by the sequencer alone, in the batch's transaction. Rebuilt and checked at
//! start: a head that does not follow from its tiles, or that this gateway's key did
//! not sign, stops the start.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection, SqlitePool};

use crate::trail::{
    Appender, Checkpoint, Hash, Note, ProofError, SigningKey, TileId, TileSource, consistency_proof,
    inclusion_proof, right_edge_tiles,
};

use super::OpenError;
use super::sequencer::LogState;
use super::tx::{Log, LogEnd};

/// Values in one INSERT: SQLite takes 32,766 parameters, a batch of 256 commands needs far fewer.
const ROWS_PER_INSERT: usize = 500;

/// Writes what the batch added: leaves, changed tiles, the head. No leaf, no write.
pub(super) async fn write(
    conn: &mut SqliteConnection,
    log: &mut LogState,
    end: &LogEnd,
) -> Result<(), sqlx::Error> {
    if end.pending.is_empty() {
        return Ok(());
    }
    let mut index = end.size;
    for chunk in end.pending.chunks(ROWS_PER_INSERT) {
        let mut insert = sqlx::QueryBuilder::<sqlx::Sqlite>::new(match log.log {
            Log::Trail => "INSERT INTO trail_leaves (idx, subject, type, leaf, written_by) ",
            Log::Authority => "INSERT INTO authority_leaves (idx, subject, type, leaf, written_by) ",
        });
        insert.push_values(chunk, |mut row, leaf| {
            row.push_bind(to_i64(index))
                .push_bind(leaf.subject.as_str())
                .push_bind(leaf.type_name)
                .push_bind(leaf.bytes.as_slice())
                .push_bind(leaf.written_by);
            index += 1;
        });
        insert.build().execute(&mut *conn).await?;
    }
    for (id, hashes) in log.tree.take_dirty_tiles() {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        sqlx::query("INSERT INTO tiles (log, level, idx, hashes) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET hashes = excluded.hashes")
            .bind(log.log.name())
            .bind(i64::from(id.level))
            .bind(to_i64(id.index))
            .bind(bytes)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(
        "INSERT INTO log_heads (log, origin, size, root, checkpoint, last_time) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT DO UPDATE SET size = excluded.size, root = excluded.root, checkpoint = excluded.checkpoint, last_time = excluded.last_time",
    )
    .bind(log.log.name())
    .bind(&log.origin)
    .bind(to_i64(log.tree.size()))
    .bind(log.tree.root().as_bytes().as_slice())
    .bind(log.head().checkpoint)
    .bind(log.last_time)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Rebuilds a log's end from the database and checks it against its signed head. An
/// empty log has no head yet: the store then writes leaf 0.
pub(super) async fn load(
    conn: &mut SqliteConnection,
    log: Log,
    origin: &str,
    source: &str,
    key: &SigningKey,
) -> Result<LogState, OpenError> {
    let head = sqlx::query("SELECT origin, size, root, checkpoint, last_time FROM log_heads WHERE log = ?")
        .bind(log.name())
        .fetch_optional(&mut *conn)
        .await
        .map_err(OpenError::Database)?;
    let mut state = LogState {
        log,
        origin: origin.to_owned(),
        source: source.to_owned(),
        tree: Appender::new(),
        last_time: 0,
        checkpoint: None,
    };
    let Some(head) = head else { return Ok(state) };
    let fault = |what| OpenError::Log(log.name(), what);
    if head.get::<String, _>("origin") != origin {
        return Err(fault("the database belongs to another origin"));
    }
    let size = to_u64(head.get("size"));
    let mut tiles = HashMap::new();
    for id in right_edge_tiles(size) {
        let hashes = tile(&mut *conn, log, id).await.map_err(OpenError::Database)?;
        tiles.insert(id, hashes.ok_or(fault("a tile of the right edge is missing"))?);
    }
    state.tree = Appender::load(size, &Fetched { tiles })
        .map_err(|_| fault("the right edge does not fit the size"))?;
    state.last_time = head.get("last_time");
    let root = state.tree.root();
    if head.get::<Vec<u8>, _>("root") != root.as_bytes() {
        return Err(fault("the stored root does not follow from the tiles"));
    }
    let note: String = head.get("checkpoint");
    let signed = Checkpoint::open(&note, origin, key.verifier_key())
        .map_err(|_| fault("the stored checkpoint is not signed by this gateway's key"))?;
    if signed.size() != size || *signed.root() != root {
        return Err(fault("the signed checkpoint is of another tree"));
    }
    state.checkpoint =
        Some(Note::parse(&note).map_err(|_| fault("the stored checkpoint is no signed note"))?);
    Ok(state)
}

/// One tile, cut to the width asked for.
async fn tile(conn: &mut SqliteConnection, log: Log, id: TileId) -> Result<Option<Vec<Hash>>, sqlx::Error> {
    let bytes: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT hashes FROM tiles WHERE log = ? AND level = ? AND idx = ?")
            .bind(log.name())
            .bind(i64::from(id.level))
            .bind(to_i64(id.index))
            .fetch_optional(conn)
            .await?;
    Ok(bytes.and_then(|bytes| {
        let (hashes, rest) = bytes.as_chunks::<32>();
        let width = usize::from(id.width);
        (rest.is_empty() && hashes.len() >= width)
            .then(|| hashes[..width].iter().map(|h| Hash::from_bytes(*h)).collect())
    }))
}

/// Tiles at hand; the one that is missing is named, fetched, and the proof tried again.
#[derive(Default)]
struct Fetched {
    tiles: HashMap<TileId, Vec<Hash>>,
}

struct Missing(TileId);

impl TileSource for Fetched {
    type Error = Missing;

    fn tile(&self, id: TileId) -> Result<Vec<Hash>, Missing> {
        self.tiles.get(&id).cloned().ok_or(Missing(id))
    }
}

/// Why a proof was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error("the index or size lies outside the log")]
    OutOfRange,
    #[error("a tile is missing")]
    TileMissing,
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl From<ProveError> for super::StoreError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::OutOfRange => crate::domain::Reason::FieldInvalid.into(),
            ProveError::TileMissing => super::StoreError::Corrupt("tiles"),
            ProveError::Database(error) => super::StoreError::Database(error),
        }
    }
}

/// The inclusion proof of `index` in the tree of `size` (RFC 9162 §2.1.3).
pub async fn prove_inclusion(
    pool: &SqlitePool,
    log: Log,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError> {
    prove(pool, log, |tiles| inclusion_proof(index, size, tiles)).await
}

/// The consistency proof between two sizes (RFC 9162 §2.1.4).
pub async fn prove_consistency(
    pool: &SqlitePool,
    log: Log,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError> {
    prove(pool, log, |tiles| consistency_proof(old, new, tiles)).await
}

async fn prove<T>(
    pool: &SqlitePool,
    log: Log,
    make: impl Fn(&Fetched) -> Result<T, ProofError<Missing>>,
) -> Result<T, ProveError> {
    let mut fetched = Fetched::default();
    let mut conn = pool.acquire().await.map_err(ProveError::Database)?;
    loop {
        match make(&fetched) {
            Ok(made) => return Ok(made),
            Err(ProofError::OutOfRange) => return Err(ProveError::OutOfRange),
            Err(ProofError::WrongWidth { .. }) => return Err(ProveError::TileMissing),
            Err(ProofError::Source(Missing(id))) => {
                let hashes = tile(&mut conn, log, id).await.map_err(ProveError::Database)?;
                fetched.tiles.insert(id, hashes.ok_or(ProveError::TileMissing)?);
            }
        }
    }
}

/// Leaves as hashed, from `start`, at most `count`.
pub async fn leaves(
    pool: &SqlitePool,
    log: Log,
    start: u64,
    count: u32,
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let sql = match log {
        Log::Trail => "SELECT leaf FROM trail_leaves WHERE idx >= ? ORDER BY idx LIMIT ?",
        Log::Authority => "SELECT leaf FROM authority_leaves WHERE idx >= ? ORDER BY idx LIMIT ?",
    };
    sqlx::query_scalar(sql).bind(to_i64(start)).bind(i64::from(count)).fetch_all(pool).await
}

/// Trail leaves about a subject whose type is one of `types`, in order, at most `limit`.
pub async fn leaves_about(
    conn: &mut SqliteConnection,
    subject: &str,
    types: &[&str],
    limit: u32,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    let mut query =
        sqlx::QueryBuilder::<sqlx::Sqlite>::new("SELECT idx, leaf FROM trail_leaves WHERE subject = ");
    query.push_bind(subject).push(" AND type IN (");
    let mut list = query.separated(", ");
    for type_name in types {
        list.push_bind(*type_name);
    }
    query.push(") ORDER BY idx LIMIT ").push_bind(limit);
    let rows = query.build().fetch_all(conn).await?;
    Ok(rows.iter().map(|row| (to_u64(row.get("idx")), row.get("leaf"))).collect())
}

/// SQLite's integers are signed; sizes and indexes stay far below 2^63.
pub(super) fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Back again; a negative one is a row edited by hand and reads as beyond everything.
pub(super) fn to_u64(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
