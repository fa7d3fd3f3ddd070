//! What a log asks of a witness, and when a witness may sign (C2SP `tlog-witness`).
//!
//! ```text
//! old 20852014            the size the witness cosigned last, as the log believes
//! <base64 hash> …         consistency proof from there, at most 63 lines
//!                         an empty line
//! <signed checkpoint>     C2SP tlog-checkpoint
//! ```
//!
//! [`judge`] is the whole rule: a witness signs only what continues what it signed before. Whoever
//! calls it makes the new state durable before the cosignature leaves.

use std::fmt;

use super::checkpoint::Checkpoint;
use super::hash::Hash;
use super::note::MAX_NOTE;
use super::path::decimal;
use super::proof::{ProofFault, verify_consistency};

/// Most lines of a consistency proof: no 64-bit tree needs more.
pub const MAX_CONSISTENCY: usize = 63;

/// The text is no `add-checkpoint` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no add-checkpoint request: {0}")]
pub struct RequestError(&'static str);

/// A request to cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size the proof begins at.
    pub old: u64,
    pub proof: Vec<Hash>,
    /// The signed note. Nothing of it is verified here.
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// Reads exactly what `Display` writes.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        if text.len() > 2 * MAX_NOTE {
            return Err(RequestError("it is too large"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(RequestError("it has no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(RequestError("its first line is not 'old' and a size"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_CONSISTENCY {
                return Err(RequestError("its proof is longer than any tree needs"));
            }
            proof.push(Hash::from_base64(line).map_err(|_| RequestError("a line of its proof is no hash"))?);
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwitnessed {
    /// The request contradicts itself.
    #[error("the old size is larger than the checkpoint's")]
    Backwards,
    /// The log did not know what was cosigned last. No sign of anything: it asks again from `known`.
    #[error("the witness cosigned size {known} last")]
    Conflict { known: u64 },
    /// The log signed fewer leaves than the witness cosigned.
    #[error("the log is shorter than what was cosigned: size {known}")]
    RolledBack { known: u64 },
    /// The log signed another tree of the same size.
    #[error("the log has another tree of size {known} than the one cosigned")]
    SameSize { known: u64 },
    /// The larger tree does not continue the one cosigned.
    #[error("the log does not continue the tree cosigned at size {known}: {fault}")]
    Forked { known: u64, fault: ProofFault },
}

/// Whether a checkpoint, whose signature is verified, continues the last one cosigned.
pub fn judge(
    request: &AddCheckpoint,
    checkpoint: &Checkpoint,
    last: Option<&Checkpoint>,
) -> Result<(), Unwitnessed> {
    let size = checkpoint.size();
    let known = last.map_or(0, Checkpoint::size);
    // Told apart first, whatever the log believed: these two are its misbehaviour, not its ignorance.
    if size < known {
        return Err(Unwitnessed::RolledBack { known });
    }
    if let Some(last) = last
        && size == known
        && checkpoint.root() != last.root()
    {
        return Err(Unwitnessed::SameSize { known });
    }
    if request.old > size {
        return Err(Unwitnessed::Backwards);
    }
    if request.old != known {
        return Err(Unwitnessed::Conflict { known });
    }
    let old_root = last.map_or_else(super::empty_root, |last| *last.root());
    verify_consistency(known, &old_root, size, checkpoint.root(), &request.proof)
        .map_err(|fault| Unwitnessed::Forked { known, fault })
}

#[cfg(test)]
mod tests {
    use super::super::merkle::{consistency_proof, root};
    use super::super::{Appender, empty_root, leaf_hash};
    use super::*;

    const ORIGIN: &str = "gateway.example/trail";

    fn tree(size: u64, last: &str) -> Appender {
        let mut tree = Appender::new();
        for index in 1..size {
            tree.append(leaf_hash(format!("entry {index}").as_bytes()));
        }
        tree.append(leaf_hash(last.as_bytes()));
        tree
    }

    fn head(size: u64, root: Hash) -> Checkpoint {
        Checkpoint::new(ORIGIN, size, root).unwrap()
    }

    fn request(old: u64, proof: Vec<Hash>) -> AddCheckpoint {
        AddCheckpoint { old, proof, checkpoint: "a\n1\nb\n\n\u{2014} k AAAAAAA=\n".into() }
    }

    #[test]
    fn the_request_of_the_specification_reads_back() {
        let text = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let request = AddCheckpoint::parse(text).unwrap();
        assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
        assert!(request.checkpoint.starts_with("example.com/behind-the-sofa\n20852163\n"));
        assert_eq!(request.to_string(), text);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        for bad in [
            String::new(),
            "old 1\n".into(),
            "old 01\n\nx".into(),
            "old -1\n\nx".into(),
            "old  1\n\nx".into(),
            "new 1\n\nx".into(),
            "old 1\r\n\r\nx".into(),
            "old 1\nnot a hash\n\nx".into(),
            format!("old 1\n{}\nx", hash.repeat(64)),
        ] {
            assert!(AddCheckpoint::parse(&bad).is_err(), "{bad:?} was taken");
        }
        assert!(AddCheckpoint::parse(&format!("old 1\n{}\nx", hash.repeat(63))).is_ok());
    }

    #[test]
    fn a_witness_signs_what_continues_and_nothing_else() {
        let all = tree(600, "entry 600");
        let at = |size| head(size, root(size, &all).unwrap());
        let proof = |old, new| consistency_proof(old, new, &all).unwrap();
        assert_eq!(judge(&request(0, vec![]), &at(300), None), Ok(()));
        assert_eq!(judge(&request(300, proof(300, 600)), &at(600), Some(&at(300))), Ok(()));
        // The same head again: a cosignature of a later time.
        assert_eq!(judge(&request(600, vec![]), &at(600), Some(&at(600))), Ok(()));

        let conflict = Err(Unwitnessed::Conflict { known: 300 });
        assert_eq!(judge(&request(0, vec![]), &at(600), Some(&at(300))), conflict);
        assert_eq!(judge(&request(299, proof(299, 600)), &at(600), Some(&at(300))), conflict);
        assert_eq!(judge(&request(9, vec![]), &at(5), None), Err(Unwitnessed::Backwards));
        assert_eq!(
            judge(&request(5, vec![]), &at(5), Some(&at(300))),
            Err(Unwitnessed::RolledBack { known: 300 })
        );
        for wrong in [vec![], proof(299, 600), proof(300, 599)] {
            assert!(matches!(
                judge(&request(300, wrong), &at(600), Some(&at(300))),
                Err(Unwitnessed::Forked { known: 300, .. })
            ));
        }
        assert!(judge(&request(0, proof(300, 600)), &at(600), None).is_err(), "nothing proves from nothing");
    }

    #[test]
    fn a_second_tree_is_found_at_the_same_size_and_at_a_larger_one() {
        let (one, other) = (tree(40, "entry 40"), tree(40, "another"));
        let first = head(40, one.root());
        let same = head(40, other.root());
        assert_eq!(
            judge(&request(40, vec![]), &same, Some(&first)),
            Err(Unwitnessed::SameSize { known: 40 })
        );
        let mut longer = other.clone();
        longer.append(leaf_hash(b"more"));
        let proof = consistency_proof(40, 41, &longer).unwrap();
        assert!(matches!(
            judge(&request(40, proof), &head(41, longer.root()), Some(&first)),
            Err(Unwitnessed::Forked { known: 40, .. })
        ));
        assert_eq!(judge(&request(0, vec![]), &head(0, empty_root()), None), Ok(()));
    }
}
