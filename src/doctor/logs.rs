//! One log: every leaf hashed anew, every tile and head held against them.

use super::{CannotExamine, Finding, Known, Patient, Sink};
use crate::domain::event::Event;
use crate::store::logs::tile;
use crate::store::survey::{self, KeptHead, KeptLeaf};
use crate::store::{Conn, Log};
use crate::trail::{
    Appender, Checkpoint, Hash, Leaf, TileId, TileSource as _, VerifierKey, leaf_hash, right_edge_tiles,
    tiles_for,
};

/// Leaves in a page: one tile of level 0.
const PAGE: u32 = 256;

/// Milliseconds: a batch may go on for a while after its last leaf, and the head has the time of its end.
const SLACK: i64 = 60_000;

/// A leaf that could be read.
pub(super) struct Walked {
    pub index: u64,
    pub leaf: Leaf,
    pub event: Event,
}

/// A walk over a log, from leaf 0 on.
pub(super) struct Walk<'a> {
    log: Log,
    origin: String,
    /// What leaf 0 names.
    first_origin: String,
    gateway: &'a str,
    keys: &'a [VerifierKey],
    head: Option<KeptHead>,
    /// Sizes that witnesses were shown, least last.
    cosigned: Vec<(u64, String)>,
    tree: Appender,
    /// Milliseconds of the last leaf.
    time: i64,
    next: u64,
    /// A leaf is missing: nothing after it stands where it should.
    is_broken: bool,
}

impl<'a> Walk<'a> {
    pub async fn begin(
        patient: &'a Patient,
        known: &'a Known,
        log: Log,
        conn: &mut Conn,
    ) -> Result<Self, CannotExamine> {
        let origin = match log {
            Log::Trail => patient.origins.trail(),
            Log::Authority => patient.origins.authority(),
        };
        let mut cosigned = survey::cosigned(conn, log).await?;
        cosigned.reverse();
        Ok(Walk {
            log,
            origin,
            gateway: &patient.origins.gateway,
            first_origin: known.first_origin(patient, log),
            keys: known.keys.of(log),
            head: survey::head(conn, log).await?,
            cosigned,
            tree: Appender::new(),
            time: 0,
            next: 0,
            is_broken: false,
        })
    }

    pub fn finding(&self, code: &'static str, index: u64, sentence: impl Into<String>) -> Finding {
        let (table, resource) = match self.log {
            Log::Trail => ("trail_leaves", format!("leaves/{index}")),
            Log::Authority => ("authority_leaves", format!("authority/leaves/{index}")),
        };
        Finding { code, table, resource, sentence: sentence.into() }
    }

    fn of_log(&self, code: &'static str, table: &'static str, sentence: impl Into<String>) -> Finding {
        Finding { code, table, resource: self.log.name().into(), sentence: sentence.into() }
    }

    fn of_tile(&self, code: &'static str, id: TileId, sentence: &str) -> Finding {
        let resource = format!("{}/tiles/{}/{}", self.log.name(), id.level, id.index);
        Finding { code, table: "tiles", resource, sentence: sentence.into() }
    }

    fn size(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.size)
    }

    /// The next leaves that can be read; `None` at the head.
    pub async fn page(
        &mut self,
        conn: &mut Conn,
        sink: Sink<'_>,
    ) -> Result<Option<Vec<Walked>>, CannotExamine> {
        let kept = survey::leaves_after(conn, self.log, self.next, PAGE).await?;
        let size = self.size();
        let kept: Vec<KeptLeaf> = kept.into_iter().filter(|leaf| leaf.index < size).collect();
        if kept.is_empty() {
            return Ok(None);
        }
        let first = self.next;
        let mut hashes = Vec::with_capacity(kept.len());
        let mut walked = Vec::with_capacity(kept.len());
        for leaf in kept {
            if leaf.index != self.next {
                self.is_broken = true;
                let missing = format!("{} leaves from here on are missing", leaf.index - self.next);
                sink(self.finding("LEAF_MISSING", self.next, missing));
            }
            self.next = leaf.index + 1;
            let hash = leaf_hash(&leaf.bytes);
            hashes.push(hash);
            self.tree.append(hash);
            self.check_cosigned(sink);
            walked.extend(self.read(leaf, sink));
        }
        if !self.is_broken {
            self.check_leaf_hashes(conn, first, &hashes, sink).await?;
            self.check_full_tiles(conn, sink).await?;
        }
        self.tree.settle();
        Ok(Some(walked))
    }

    /// A leaf's form, its place in time, and the columns beside it.
    fn read(&mut self, kept: KeptLeaf, sink: Sink<'_>) -> Option<Walked> {
        let index = kept.index;
        let unreadable = |walk: &Self, why: String| walk.finding("LEAF_UNREADABLE", index, why);
        let leaf = match Leaf::parse(&kept.bytes) {
            Ok(leaf) => leaf,
            Err(error) => {
                sink(unreadable(self, error.to_string()));
                return None;
            }
        };
        if leaf.subject() != kept.subject || leaf.type_() != kept.type_name {
            sink(self.finding("LEAF_COLUMNS", index, "subject or type beside the leaf are not the leaf's"));
        }
        if leaf.source() != self.gateway {
            sink(self.finding("LEAF_SOURCE", index, "the leaf is of another gateway"));
        }
        if leaf.time().as_millisecond() < self.time {
            sink(self.finding("LEAF_TIME", index, "the leaf is earlier than the one before it"));
        }
        self.time = self.time.max(leaf.time().as_millisecond());
        let members = leaf.data().iter().filter(|(name, _)| *name != "salt");
        let event =
            match Event::parse_members(leaf.type_(), members.map(|(name, value)| (name.as_str(), value))) {
                Ok(event) => event,
                Err(error) => {
                    sink(unreadable(self, error.to_string()));
                    return None;
                }
            };
        let is_first = matches!(&event, Event::LogOpened(opened) if opened.origin == self.first_origin);
        if is_first != (index == 0) {
            sink(self.finding("LEAF_FIRST", index, "leaf 0, and it alone, opens the log of this origin"));
        }
        Some(Walked { index, leaf, event })
    }

    /// Level 0 names the leaf that is not the one that was signed.
    async fn check_leaf_hashes(
        &self,
        conn: &mut Conn,
        first: u64,
        hashes: &[Hash],
        sink: Sink<'_>,
    ) -> Result<(), CannotExamine> {
        // Pages begin at a multiple of 256 and hold no more: the width fits, and is not 0.
        let Some(id) = TileId::new(0, first / u64::from(PAGE), hashes.len() as u16) else { return Ok(()) };
        let Some(kept) = tile_or_none(conn, self.log, id).await? else {
            sink(self.of_tile("TILE_MISSING", id, "the tile is missing or too short"));
            return Ok(());
        };
        for (index, (hash, kept)) in (first..).zip(hashes.iter().zip(&kept)) {
            if hash != kept {
                sink(self.finding("LEAF_ALTERED", index, "the leaf's hash is not the one in its tile"));
            }
        }
        Ok(())
    }

    async fn check_full_tiles(&mut self, conn: &mut Conn, sink: Sink<'_>) -> Result<(), CannotExamine> {
        for (id, hashes) in self.tree.take_dirty_tiles() {
            if id.level > 0 && id.is_full() {
                self.check_tile(conn, id, &hashes, sink).await?;
            }
        }
        Ok(())
    }

    async fn check_tile(
        &self,
        conn: &mut Conn,
        id: TileId,
        hashes: &[Hash],
        sink: Sink<'_>,
    ) -> Result<(), CannotExamine> {
        match tile_or_none(conn, self.log, id).await? {
            None => sink(self.of_tile("TILE_MISSING", id, "the tile is missing or too short")),
            Some(kept) if kept != hashes => {
                sink(self.of_tile("TILE_WRONG", id, "the tile does not follow from the leaves"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// A head that was shown to witnesses is one of this log.
    fn check_cosigned(&mut self, sink: Sink<'_>) {
        while self.cosigned.last().is_some_and(|(size, _)| *size <= self.tree.size()) {
            let Some((size, note)) = self.cosigned.pop() else { return };
            let open = Checkpoint::open_by(&note, &self.origin, self.keys);
            let same = size == self.tree.size()
                && open.is_ok_and(|signed| signed.size() == size && *signed.root() == self.tree.root());
            if !same && !self.is_broken {
                let why = format!("the head of size {size} that witnesses were shown is not of these leaves");
                sink(self.of_log("COSIGNED_HEAD", "cosigned_heads", why));
            }
        }
    }

    /// The head, the right edge, and what stands outside. Returns the log's size.
    pub async fn end(mut self, conn: &mut Conn, sink: Sink<'_>) -> Result<u64, CannotExamine> {
        let Some(head) = self.head.take() else {
            sink(self.of_log("HEAD_MISSING", "log_heads", "the log has no head"));
            return Ok(0);
        };
        let head_wrong = |why: &str| self.of_log("HEAD_WRONG", "log_heads", why);
        if self.next != head.size {
            sink(self.finding("LEAF_MISSING", self.next, "the log ends before its head"));
        } else if !self.is_broken {
            if head.root != self.tree.root().as_bytes() {
                sink(head_wrong("the kept root does not follow from the leaves"));
            }
            match Checkpoint::open_by(&head.checkpoint, &self.origin, self.keys) {
                Err(_) => sink(head_wrong("the checkpoint is not signed by this gateway's key")),
                Ok(signed) if signed.size() != head.size || *signed.root() != self.tree.root() => {
                    sink(head_wrong("the signed checkpoint does not follow from the leaves"));
                }
                Ok(_) => {}
            }
            for id in right_edge_tiles(head.size).into_iter().filter(|id| id.level > 0) {
                // The appender holds its whole right edge.
                if let Ok(hashes) = self.tree.tile(id) {
                    self.check_tile(conn, id, &hashes, sink).await?;
                }
            }
            let tiles = tiles_for(head.size).count() as u64;
            if survey::tile_count(conn, self.log).await? > tiles {
                sink(self.of_log("TILE_STRAY", "tiles", "there are more tiles than the log has"));
            }
        }
        if head.origin != self.origin {
            sink(head_wrong("the head is of another origin"));
        }
        if head.last_time < self.time {
            sink(head_wrong("the head is earlier than its last leaf"));
        }
        if head.last_time > self.time.saturating_add(SLACK) {
            sink(head_wrong("the head is later than its last leaf"));
        }
        if !self.cosigned.is_empty() {
            sink(self.of_log(
                "COSIGNED_HEAD",
                "cosigned_heads",
                "witnesses were shown a longer log than this",
            ));
        }
        let stray = survey::stray_leaves(conn, self.log, head.size).await?;
        if stray > 0 {
            let why = format!("{stray} leaves stand outside the log");
            sink(self.of_log("LEAF_STRAY", self.log.leaf_table(), why));
        }
        Ok(head.size)
    }
}

async fn tile_or_none(conn: &mut Conn, log: Log, id: TileId) -> Result<Option<Vec<Hash>>, CannotExamine> {
    Ok(tile(conn, log, id).await.map_err(crate::store::StoreError::from)?)
}

/// Whether the log's first leaves are those of a signed head.
pub(super) async fn contains(patient: &Patient, log: Log, head: &Checkpoint) -> Result<bool, CannotExamine> {
    let mut conn = patient.database.snapshot().await?;
    let mut tree = Appender::new();
    while tree.size() < head.size() {
        let page = survey::leaves_after(&mut conn, log, tree.size(), PAGE).await?;
        if page.is_empty() {
            return Ok(false);
        }
        for leaf in page {
            if tree.size() < head.size() {
                tree.append(leaf_hash(&leaf.bytes));
            }
        }
        tree.settle();
    }
    Ok(tree.root() == *head.root())
}
