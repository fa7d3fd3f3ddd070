//! The two logs in the database: leaves, tiles, heads.
//!
//! Written by the sequencer alone, in the batch's transaction. Rebuilt and checked at
//! start: a head that does not follow from its tiles, or that this gateway's key did
//! not sign, stops the start.

use std::collections::HashMap;

use crate::trail::{
    Appender, Checkpoint, Hash, Leaf, Note, ProofError, TileId, TileSource, VerifierKey, consistency_proof,
    inclusion_proof, right_edge_tiles,
};

use super::sequencer::LogState;
use super::tx::{Log, LogEnd};
use super::{Head, Heads, OpenError};
use crate::authority::log_event;
use crate::domain::event::Event;
use crate::sql::{Conn, Insert, Pool, query};

/// Writes what the batch added: leaves, changed tiles, the head. No leaf, no write.
pub(super) async fn write(conn: &mut Conn, log: &mut LogState, end: &LogEnd) -> Result<(), sqlx::Error> {
    if end.pending.is_empty() {
        return Ok(());
    }
    let mut leaves = Insert::into(log.log.leaf_table(), &["idx", "subject", "type", "leaf", "written_by"]);
    for (leaf, index) in end.pending.iter().zip(end.size..) {
        leaves.row([
            to_i64(index).into(),
            leaf.subject.as_str().into(),
            leaf.type_name.into(),
            leaf.bytes.as_slice().into(),
            leaf.written_by.into(),
        ]);
    }
    leaves.execute(conn).await?;

    let mut tiles = Insert::into("tiles", &["log", "level", "idx", "hashes"])
        .on_conflict(" ON CONFLICT (log, level, idx) DO UPDATE SET hashes = excluded.hashes");
    for (id, hashes) in log.tree.take_dirty_tiles() {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        tiles.row([log.log.name().into(), i64::from(id.level).into(), to_i64(id.index).into(), bytes.into()]);
    }
    tiles.execute(conn).await?;

    query(
        "INSERT INTO log_heads (log, origin, size, root, checkpoint, last_time) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (log) DO UPDATE SET origin = excluded.origin, size = excluded.size, root = excluded.root, checkpoint = excluded.checkpoint, last_time = excluded.last_time",
    )
    .bind(log.log.name())
    .bind(&log.origin)
    .bind(to_i64(log.tree.size()))
    .bind(log.tree.root().as_bytes().as_slice())
    .bind(log.head().checkpoint)
    .bind(log.last_time)
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest signed heads.
pub async fn heads(conn: &mut Conn) -> Result<Heads, sqlx::Error> {
    let mut heads = Heads::default();
    for row in query("SELECT log, size, checkpoint FROM log_heads").fetch_all(conn).await? {
        let head = Head { size: to_u64(row.get("size")), checkpoint: row.get("checkpoint") };
        match row.get::<String>("log").as_str() {
            "trail" => heads.trail = head,
            _ => heads.authority = head,
        }
    }
    Ok(heads)
}

/// Rebuilds a log's end from the database and checks it against its signed head. An
/// empty log has no head yet: the store then writes leaf 0.
pub(super) async fn load(
    conn: &mut Conn,
    log: Log,
    origin: &str,
    source: &str,
    keys: &[VerifierKey],
) -> Result<LogState, OpenError> {
    let head = query("SELECT origin, size, root, checkpoint FROM log_heads WHERE log = ?")
        .bind(log.name())
        .fetch_optional(conn)
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
    if head.get::<String>("origin") != origin {
        return Err(fault("the database belongs to another origin"));
    }
    let size = to_u64(head.get("size"));
    let mut tiles = HashMap::new();
    for id in right_edge_tiles(size) {
        let hashes = tile(conn, log, id).await.map_err(OpenError::Database)?;
        tiles.insert(id, hashes.ok_or(fault("a tile of the right edge is missing"))?);
    }
    state.tree = Appender::load(size, &Fetched { tiles })
        .map_err(|_| fault("the right edge does not fit the size"))?;
    // Not by the head's column, which nobody signed: the next leaf's time follows on it.
    state.last_time = match size.checked_sub(1) {
        None => 0,
        Some(last) => {
            let leaf = leaf_at(conn, log, last).await.map_err(OpenError::Database)?;
            let leaf = leaf.and_then(|bytes| Leaf::parse(&bytes).ok());
            leaf.ok_or(fault("the last leaf is missing or cannot be read"))?.time().as_millisecond()
        }
    };
    let root = state.tree.root();
    if head.get::<Vec<u8>>("root") != root.as_bytes() {
        return Err(fault("the stored root does not follow from the tiles"));
    }
    let note: String = head.get("checkpoint");
    let signed = Checkpoint::open_by(&note, origin, keys)
        .map_err(|_| fault("the stored checkpoint is not signed by this gateway's key"))?;
    if signed.size() != size || *signed.root() != root {
        return Err(fault("the signed checkpoint is of another tree"));
    }
    state.checkpoint =
        Some(Note::parse(&note).map_err(|_| fault("the stored checkpoint is no signed note"))?);
    Ok(state)
}

/// One tile, cut to the width asked for; `None` where the database has not so much of it.
pub async fn tile(conn: &mut Conn, log: Log, id: TileId) -> Result<Option<Vec<Hash>>, sqlx::Error> {
    let found = query("SELECT hashes FROM tiles WHERE log = ? AND level = ? AND idx = ?")
        .bind(log.name())
        .bind(i64::from(id.level))
        .bind(to_i64(id.index))
        .fetch_optional(conn)
        .await?;
    Ok(found.and_then(|row| {
        let bytes = row.get::<Vec<u8>>("hashes");
        let (hashes, rest) = bytes.as_chunks::<32>();
        let width = usize::from(id.width);
        (rest.is_empty() && hashes.len() >= width)
            .then(|| hashes[..width].iter().map(|h| Hash::from_bytes(*h)).collect())
    }))
}

/// One tile as wide as asked for; `None` where the database has not so much of it.
pub async fn tile_of(pool: &Pool, log: Log, id: TileId) -> Result<Option<Vec<Hash>>, sqlx::Error> {
    tile(&mut pool.acquire().await?, log, id).await
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
pub async fn prove_inclusion(pool: &Pool, log: Log, index: u64, size: u64) -> Result<Vec<Hash>, ProveError> {
    prove(pool, log, |tiles| inclusion_proof(index, size, tiles)).await
}

/// The consistency proof between two sizes (RFC 9162 §2.1.4).
pub async fn prove_consistency(pool: &Pool, log: Log, old: u64, new: u64) -> Result<Vec<Hash>, ProveError> {
    prove(pool, log, |tiles| consistency_proof(old, new, tiles)).await
}

async fn prove<T>(
    pool: &Pool,
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
pub async fn leaves(pool: &Pool, log: Log, start: u64, count: u32) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let sql = match log {
        Log::Trail => "SELECT leaf FROM trail_leaves WHERE idx >= ? ORDER BY idx LIMIT ?",
        Log::Authority => "SELECT leaf FROM authority_leaves WHERE idx >= ? ORDER BY idx LIMIT ?",
    };
    let mut conn = pool.acquire().await?;
    let rows = query(sql).bind(to_i64(start)).bind(count).fetch_all(&mut conn).await?;
    Ok(rows.iter().map(|row| row.get("leaf")).collect())
}

/// The leaf at `index`, as hashed.
pub(super) async fn leaf_at(conn: &mut Conn, log: Log, index: u64) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let sql = match log {
        Log::Trail => "SELECT leaf FROM trail_leaves WHERE idx = ?",
        Log::Authority => "SELECT leaf FROM authority_leaves WHERE idx = ?",
    };
    let row = query(sql).bind(to_i64(index)).fetch_optional(conn).await?;
    Ok(row.map(|row| row.get("leaf")))
}

/// Every leaf of one type, in order: of types that are few.
pub async fn leaves_of_type(conn: &mut Conn, log: Log, type_name: &str) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let sql = match log {
        Log::Trail => "SELECT leaf FROM trail_leaves WHERE type = ? ORDER BY idx",
        Log::Authority => "SELECT leaf FROM authority_leaves WHERE type = ? ORDER BY idx",
    };
    let rows = query(sql).bind(type_name).fetch_all(conn).await?;
    Ok(rows.iter().map(|row| row.get("leaf")).collect())
}

/// Every origin that a trail has and had, as the authority log tells, the present one first.
pub async fn trail_origins(conn: &mut Conn, present: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut origins = vec![present.to_owned()];
    let leaves = leaves_of_type(conn, Log::Authority, "mandate.log.reopened").await?;
    for leaf in leaves.iter().rev() {
        if let Some(Event::LogReopened(one)) = log_event(leaf)
            && origins.last() == Some(&one.origin)
        {
            origins.push(one.former);
        }
    }
    Ok(origins)
}

/// Trail leaves about a subject whose type is one of `types`, in order, at most `limit`.
pub async fn leaves_about(
    conn: &mut Conn,
    subject: &str,
    types: &[&str],
    limit: u32,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    let rows = query("SELECT idx, leaf FROM trail_leaves WHERE subject = ? AND type IN ")
        .bind(subject)
        .bind_list(types.iter().copied())
        .push(" ORDER BY idx LIMIT ?")
        .bind(limit)
        .fetch_all(conn)
        .await?;
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
