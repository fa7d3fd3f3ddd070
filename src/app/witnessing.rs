//! Which heads enough witnesses have vouched for, and what is shown of them (DESIGN §7).
//!
//! The newest signed head is what a reply's receipt leads to: grade `signed`. The newest head that
//! *k* witnesses cosigned may be a moment older; it is what is published, what evidence and orders
//! lead to, and what makes a receipt `witnessed`. Where *k* are not to be had, that head grows old,
//! and nothing takes its place: no rule is ever relaxed here.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::store::cosignatures::{self, KeepCosignatures};
use crate::store::{Head, Issued, Log, StoreError, Topic, logs};
use crate::trail::{Note, NoteSignature, Receipt, VerifierKey};

use super::{App, AppResult};

/// The witnesses that the operator named.
#[derive(Debug, Clone, Default)]
pub struct Witnessing {
    /// *k*. 0: nobody's cosignature is waited for.
    pub required: usize,
    pub keys: Vec<VerifierKey>,
}

impl Witnessing {
    fn witness_of(&self, line: &NoteSignature) -> Option<&VerifierKey> {
        self.keys.iter().find(|key| key.claims(line))
    }
}

/// A signed head with the cosignatures it has.
#[derive(Debug, Clone)]
pub struct Vouched {
    pub size: u64,
    /// As the log signed it.
    signed: Note,
    /// By name of the witness's key.
    lines: BTreeMap<String, NoteSignature>,
}

impl Vouched {
    /// The head with every cosignature.
    pub fn note(&self) -> Note {
        let mut note = self.signed.clone();
        for line in self.lines.values() {
            // The configuration allows fewer witnesses than a note may have lines.
            let _ = note.add(line.clone());
        }
        note
    }

    /// Distinct witnesses that cosigned.
    pub fn witnesses(&self) -> usize {
        self.lines.len()
    }
}

/// Cosigned heads by size, of both logs: the newest that is vouched for and what came after it.
#[derive(Default)]
pub(super) struct Cosigned {
    trail: RwLock<BTreeMap<u64, Vouched>>,
    authority: RwLock<BTreeMap<u64, Vouched>>,
}

impl Cosigned {
    fn of(&self, log: Log) -> &RwLock<BTreeMap<u64, Vouched>> {
        match log {
            Log::Trail => &self.trail,
            Log::Authority => &self.authority,
        }
    }
}

impl App {
    /// Reads what was kept of both logs, at start.
    pub async fn load_cosignatures(&self) -> AppResult<()> {
        self.load_of(Log::Trail).await?;
        self.load_of(Log::Authority).await
    }

    /// Lines of keys that are no longer configured do not count.
    async fn load_of(&self, log: Log) -> AppResult<()> {
        let kept = cosignatures::kept(&mut self.store.reader().await?, log).await?;
        let mut heads = BTreeMap::new();
        for head in kept {
            // What is no signed head or no signature vouches for nothing; the doctor names it.
            let Ok(signed) = Note::parse(&head.checkpoint) else { continue };
            let lines = head.lines.iter().filter_map(|line| NoteSignature::parse(line).ok()).collect();
            let lines = self.counted(&head.checkpoint, lines);
            heads.insert(head.size, Vouched { size: head.size, signed, lines });
        }
        *self.cosigned.of(log).write().unwrap_or_else(PoisonError::into_inner) = heads;
        Ok(())
    }

    /// The lines that are of a configured witness and verify, by the witness's name.
    fn counted(&self, checkpoint: &str, lines: Vec<NoteSignature>) -> BTreeMap<String, NoteSignature> {
        let text = Note::parse(checkpoint).map(|note| note.text().to_owned()).unwrap_or_default();
        let verified = lines.into_iter().filter_map(|line| {
            let key = self.settings.witnessing.witness_of(&line)?;
            key.verify(&text, line.bytes()).ok()?;
            Some((key.name().to_owned(), line))
        });
        verified.collect()
    }

    /// Adds the lines to the head; forgets smaller ones but `beside`. Answers its witnesses.
    fn merge(
        &self,
        log: Log,
        size: u64,
        signed: Note,
        lines: BTreeMap<String, NoteSignature>,
        beside: Option<u64>,
    ) -> usize {
        let mut heads = self.cosigned.of(log).write().unwrap_or_else(PoisonError::into_inner);
        let head = heads.entry(size).or_insert_with(|| Vouched { size, signed, lines: BTreeMap::new() });
        head.lines.extend(lines);
        let witnesses = head.witnesses();
        heads.retain(|kept, _| *kept >= size || Some(*kept) == beside);
        witnesses
    }

    /// Keeps, durably, what witnesses said of a head. Lines of other keys are ignored. Answers how
    /// many witnesses have now cosigned it.
    pub async fn keep_cosignatures(
        &self,
        log: Log,
        head: &Head,
        lines: Vec<NoteSignature>,
    ) -> AppResult<usize> {
        let signed =
            Note::parse(&head.checkpoint).map_err(|_| StoreError::Corrupt("log_heads.checkpoint"))?;
        let lines = self.counted(&head.checkpoint, lines);
        let before = self.vouched(log).await?.map(|head| head.size);
        let mut after = self.cosigned_head(log, head).lines;
        after.extend(lines.clone());
        let required = self.settings.witnessing.required;
        let vouched = required > 0 && after.len() >= required;
        if before.is_some_and(|before| head.size < before) {
            // A newer head is vouched for: this one says nothing more.
            return Ok(after.len());
        }
        let beside = if vouched { None } else { before };
        let command = KeepCosignatures {
            log,
            size: head.size,
            checkpoint: head.checkpoint.clone(),
            lines: lines.iter().map(|(name, line)| (name.clone(), line.to_string())).collect(),
            beside,
            wake_orders: log == Log::Trail && vouched && before != Some(head.size),
        };
        let waiting = self.store.transact(command).await?.value;
        let witnesses = self.merge(log, head.size, signed, lines, beside);
        // Again, now that it is known here: who was woken by the commit may have looked too early.
        let topics: Vec<Topic> = waiting.into_iter().map(Topic::Orders).collect();
        self.store.wakes().ring(&topics);
        Ok(witnesses)
    }

    fn cosigned_head(&self, log: Log, head: &Head) -> Vouched {
        let heads = self.cosigned.of(log).read().unwrap_or_else(PoisonError::into_inner);
        match heads.get(&head.size) {
            Some(kept) => kept.clone(),
            // The store signs notes only; before leaf 0 there is no head and nobody asks.
            None => Vouched {
                size: head.size,
                signed: Note::parse(&head.checkpoint).expect("a signed head is a note"),
                lines: BTreeMap::new(),
            },
        }
    }

    /// The newest signed head, with the cosignatures it has by now.
    pub async fn newest(&self, log: Log) -> AppResult<Vouched> {
        if self.store.is_shared() && !self.settings.witnessing.keys.is_empty() {
            self.load_of(log).await?;
        }
        let heads = self.store.heads().await?;
        Ok(self.cosigned_head(log, heads.of(log)))
    }

    /// The newest head that *k* witnesses cosigned; none where none are required.
    pub async fn vouched(&self, log: Log) -> AppResult<Option<Vouched>> {
        let required = self.settings.witnessing.required;
        if required == 0 {
            return Ok(None);
        }
        // Of several gateways one asks the witnesses; the others read what it kept.
        if self.store.is_shared() {
            self.load_of(log).await?;
        }
        let heads = self.cosigned.of(log).read().unwrap_or_else(PoisonError::into_inner);
        Ok(heads.values().rev().find(|head| head.witnesses() >= required).cloned())
    }

    /// The head to show: the newest that is vouched for, or the newest there is.
    pub async fn shown(&self, log: Log) -> AppResult<Vouched> {
        match self.vouched(log).await? {
            Some(vouched) => Ok(vouched),
            None => self.newest(log).await,
        }
    }

    /// How many leaves of the trail are vouched for; `None` where no witness is required.
    pub(super) async fn covered(&self) -> AppResult<Option<u64>> {
        if self.settings.witnessing.required == 0 {
            return Ok(None);
        }
        Ok(Some(self.vouched(Log::Trail).await?.map_or(0, |head| head.size)))
    }

    /// The receipt of a trail leaf: to the newest head that is vouched for, if it covers the leaf, and
    /// else to the newest signed one.
    pub async fn receipt(&self, index: u64) -> AppResult<Issued> {
        let vouched = self.vouched(Log::Trail).await?.filter(|head| index < head.size);
        let witnessed = vouched.is_some();
        let head = match vouched {
            Some(head) => head,
            None => self.newest(Log::Trail).await?,
        };
        let reader = self.store.log_reader();
        let leaf = logs::leaves(reader, Log::Trail, index, 1).await?.pop();
        let leaf = leaf.ok_or(crate::domain::Reason::NotFound)?;
        let proof = logs::prove_inclusion(reader, Log::Trail, index, head.size).await?;
        Ok(Issued { index, leaf, receipt: Receipt::new(index, proof, head.note()), witnessed })
    }
}
