//! One trail: a head is believed only where it is proven to be of the history seen so far.
//!
//! The gateway signs every head; it could sign two histories, or go back to an earlier state and on from
//! there another way. So the agent keeps the newest heads it believed, and before it believes another it
//! asks for the consistency proof (RFC 9162 §2.1.4) between the two. All heads kept are of one history, so
//! the one nearest in size speaks for the others.

use super::notebook::{Mark, Seen};
use super::worker::{Worker, passes};
use crate::domain::{Reason, Refusal};
use crate::trail::{Checkpoint, Hash, verify_consistency};

fn forked(note: &'static str) -> Refusal {
    Refusal::new(Reason::TrailForked).note(note)
}

impl Worker {
    /// Believes the head, and remembers it, if it continues what was seen: `TRAIL_FORKED` where it is
    /// smaller than one of its kind, or not proven to be of one history with every other.
    pub(super) async fn see_trail(&self, mark: Mark, head: &Checkpoint) -> Result<(), Refusal> {
        let seen = self.notebook.trail_seen().await?;
        if let Some(kept) = nearest(&seen, mark, head)? {
            self.demand_one_history(kept, head).await?;
        }
        self.notebook.keep_trail(mark, head).await
    }

    async fn demand_one_history(&self, kept: &Seen, head: &Checkpoint) -> Result<(), Refusal> {
        let (old, new) = (kept.size.min(head.size()), kept.size.max(head.size()));
        let proof = if old == new {
            Vec::new()
        } else {
            // A gateway that answers and has no proof has another history.
            self.gateway.trail_consistency(old, new).await.map_err(|refusal| match refusal.reason {
                reason if passes(reason) => refusal,
                _ => forked("the gateway does not prove that the trail goes on from where it was"),
            })?
        };
        check(kept, head, &proof)
    }
}

/// The head to prove against: the smallest that is no smaller, else the largest. One of the same kind
/// that is larger shows a trail that went back.
fn nearest<'a>(seen: &'a [(Mark, Seen)], mark: Mark, head: &Checkpoint) -> Result<Option<&'a Seen>, Refusal> {
    if seen.iter().any(|(kind, kept)| *kind == mark && kept.size > head.size()) {
        return Err(forked("its head is behind one seen before"));
    }
    let all = || seen.iter().map(|(_, kept)| kept);
    let ahead = all().filter(|kept| kept.size >= head.size()).min_by_key(|kept| kept.size);
    Ok(ahead.or_else(|| all().max_by_key(|kept| kept.size)))
}

fn check(kept: &Seen, head: &Checkpoint, proof: &[Hash]) -> Result<(), Refusal> {
    let held = if kept.size <= head.size() {
        verify_consistency(kept.size, &kept.root, head.size(), head.root(), proof)
    } else {
        verify_consistency(head.size(), head.root(), kept.size, &kept.root, proof)
    };
    held.map_err(|_| forked("its head is of another history than one seen before"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::{Appender, consistency_proof, leaf_hash};

    fn tree(leaves: impl IntoIterator<Item = u64>) -> Appender {
        let mut tree = Appender::new();
        for leaf in leaves {
            tree.append(leaf_hash(&leaf.to_be_bytes()));
        }
        tree
    }

    fn seen(tree: &Appender) -> Seen {
        Seen { size: tree.size(), root: tree.root() }
    }

    fn head(tree: &Appender) -> Checkpoint {
        Checkpoint::new("mandate.ppio.example/trail", tree.size(), tree.root()).unwrap()
    }

    #[test]
    fn only_what_is_proven_to_be_one_history_is_believed() {
        let (small, large) = (tree(0..5), tree(0..9));
        let proof = consistency_proof(5, 9, &large).unwrap();
        check(&seen(&small), &head(&large), &proof).unwrap();
        check(&seen(&large), &head(&small), &proof).unwrap();
        check(&seen(&large), &head(&large), &[]).unwrap();
        let other = tree((0..4).chain(100..105));
        for (kept, head, proof) in [
            // It grew past what was seen, another way: no proof there is fits.
            (&small, &other, consistency_proof(5, 9, &other).unwrap()),
            (&small, &other, proof.clone()),
            (&small, &other, Vec::new()),
            (&small, &large, proof[1..].to_vec()),
            (&large, &other, Vec::new()),
        ] {
            let refused = check(&seen(kept), &self::head(head), &proof).unwrap_err();
            assert_eq!(refused.reason, Reason::TrailForked);
        }
    }

    #[test]
    fn the_nearest_head_speaks_for_all_and_a_kind_never_goes_back() {
        let of = |size| seen(&tree(0..size));
        let kept = [(Mark::Signed, of(9)), (Mark::Witnessed, of(5))];
        let nearest = |mark, size| nearest(&kept, mark, &head(&tree(0..size)));
        assert_eq!(nearest(Mark::Witnessed, 7).unwrap(), Some(&of(9)));
        assert_eq!(nearest(Mark::Witnessed, 5).unwrap(), Some(&of(5)));
        assert_eq!(nearest(Mark::Signed, 12).unwrap(), Some(&of(9)));
        assert_eq!(nearest(Mark::Signed, 8).unwrap_err().reason, Reason::TrailForked);
        assert_eq!(nearest(Mark::Witnessed, 4).unwrap_err().reason, Reason::TrailForked);
        assert_eq!(super::nearest(&[], Mark::Signed, &head(&tree(0..3))).unwrap(), None);
    }
}
