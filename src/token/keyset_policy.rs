//! What a controller's key set asks of its orders beyond thresholds: `policy` (DESIGN §6).
//!
//! ```json
//! {"hold": 3600, "preview": ["erase"], "witnesses": 2, "tiers": {"minor": {"erase": 2}, "media": {"export": 2}}}
//! ```
//!
//! Each member may be left out. What is not known is refused: a policy that is not enforced must not look as if it were.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::keyset::{RoleKeys, SetRole};
use super::members::Members;
use crate::domain::vocabulary::vocabulary;
use crate::domain::{Act, Refusal};

/// Seconds: as long as an instruction lives at most.
const MAX_HOLD: u64 = 30 * 24 * 3600;
const MAX_WITNESSES: u64 = 64;

vocabulary! {
    /// Data that may need more signers than the act alone.
    Tier, "tier" {
        /// The requester speaks for a minor under 14: the case that is answered says so. What answers none counts, too.
        Minor = "minor",
        /// Recordings: the category `media`.
        Media = "media",
    }
}

/// The policy of one key set. By default it asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Seconds that an admitted order waits before its first lease, so that it can be revoked.
    pub hold: i64,
    /// Acts that must name the preview which their signers saw.
    pub preview: BTreeSet<Act>,
    /// Witnesses that must have cosigned the admission before anything is carried out.
    pub witnesses: u32,
    /// Distinct signers that an act takes where the data is of the tier.
    pub tiers: BTreeMap<Tier, BTreeMap<Act, u32>>,
}

impl Policy {
    /// The distinct signers that the tier asks of an act, if any.
    pub fn signers(&self, tier: Tier, act: Act) -> Option<u32> {
        self.tiers.get(&tier)?.get(&act).copied()
    }

    /// Reads the member. `signers` says how many distinct signers a role has.
    pub(super) fn read(
        mut policy: Members,
        roles: &BTreeMap<SetRole, RoleKeys>,
        signers: impl Fn(&RoleKeys) -> usize,
    ) -> Result<Self, Refusal> {
        let hold = policy.opt_count("hold")?.unwrap_or(0);
        if hold > MAX_HOLD {
            return Err(policy.invalid("hold", "at most 30 days, in seconds"));
        }
        let preview: Vec<Act> = policy.opt_set("preview", "must be registered acts")?.unwrap_or_default();
        if !preview.iter().all(|act| act.may_follow_a_preview()) {
            return Err(policy.invalid("preview", "names an act that no preview precedes"));
        }
        let witnesses = policy.opt_count("witnesses")?.unwrap_or(0);
        if witnesses > MAX_WITNESSES {
            return Err(policy.invalid("witnesses", "at most 64"));
        }
        let tiers = match policy.opt_object("tiers")? {
            Some(tiers) => read_tiers(tiers, roles, signers)?,
            None => BTreeMap::new(),
        };
        policy.finish()?;
        Ok(Self {
            // Both were bounded above.
            hold: hold.cast_signed(),
            preview: preview.into_iter().collect(),
            witnesses: u32::try_from(witnesses).unwrap_or(u32::MAX),
            tiers,
        })
    }

    /// The member as it is written; none where it asks for nothing.
    pub fn to_json(&self) -> Option<Value> {
        if *self == Self::default() {
            return None;
        }
        let mut members = serde_json::Map::new();
        if self.hold > 0 {
            members.insert("hold".into(), self.hold.into());
        }
        if !self.preview.is_empty() {
            members.insert("preview".into(), serde_json::json!(self.preview));
        }
        if self.witnesses > 0 {
            members.insert("witnesses".into(), self.witnesses.into());
        }
        if !self.tiers.is_empty() {
            let tiers: serde_json::Map<String, Value> = self
                .tiers
                .iter()
                .map(|(tier, acts)| {
                    let acts = acts.iter().map(|(act, count)| (act.to_string(), (*count).into())).collect();
                    (tier.to_string(), Value::Object(acts))
                })
                .collect();
            members.insert("tiers".into(), Value::Object(tiers));
        }
        Some(Value::Object(members))
    }
}

fn read_tiers(
    mut tiers: Members,
    roles: &BTreeMap<SetRole, RoleKeys>,
    signers: impl Fn(&RoleKeys) -> usize,
) -> Result<BTreeMap<Tier, BTreeMap<Act, u32>>, Refusal> {
    let mut read = BTreeMap::new();
    for tier in Tier::ALL {
        let Some(mut acts) = tiers.opt_object(tier.as_str())? else { continue };
        let mut counts = BTreeMap::new();
        for act in Act::ALL {
            let Some(count) = acts.opt_count(act.as_str())? else { continue };
            let most = roles.get(&SetRole::Act(*act)).map_or(0, &signers);
            match u32::try_from(count) {
                Ok(count) if (1..=most).contains(&(count as usize)) => counts.insert(*act, count),
                _ => {
                    return Err(
                        acts.invalid(act.as_str(), "from 1 to the number of the act's distinct signers")
                    );
                }
            };
        }
        acts.finish()?;
        read.insert(*tier, counts);
    }
    tiers.finish()?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::fixtures::{key, set_draft};
    use crate::token::jws::Jws;
    use crate::token::{SignedKeySet, keyset};

    fn read(policy: serde_json::Value) -> Result<Policy, &'static str> {
        let bytes = set_draft().sign(&[&key("root")]).unwrap();
        let jws: Value = serde_json::from_slice(&bytes).unwrap();
        let inner = crate::token::base64url::decode(jws["payload"].as_str().unwrap()).unwrap();
        let mut payload: Value = serde_json::from_slice(&inner).unwrap();
        payload["policy"] = policy;
        let jws = Jws::sign(payload.to_string().into_bytes(), &keyset::PROFILE, &[&key("root")]).unwrap();
        let set = SignedKeySet::read(jws.to_general(&[]).as_bytes());
        set.map(|set| set.policy().clone()).map_err(|refusal| refusal.reason.code())
    }

    #[test]
    fn what_is_written_reads_back() {
        let policy = Policy {
            hold: 3600,
            preview: [Act::Erase, Act::Export].into(),
            witnesses: 2,
            tiers: [(Tier::Minor, [(Act::Erase, 2)].into()), (Tier::Media, [(Act::Export, 2)].into())].into(),
        };
        assert_eq!(read(policy.to_json().unwrap()), Ok(policy.clone()));
        let bytes = set_draft().sign_with(&policy, &[&key("root")]).unwrap();
        assert_eq!(*SignedKeySet::read(&bytes).unwrap().policy(), policy);
        assert_eq!(read(json!({})), Ok(Policy::default()));
        assert_eq!(Policy::default().to_json(), None);
    }

    #[test]
    fn what_nobody_could_meet_or_enforce_is_refused() {
        for bad in [
            json!({"hold": -1}),
            json!({"hold": 30 * 86_400 + 1}),
            json!({"hold": "an hour"}),
            json!({"preview": ["revoke"]}),
            json!({"preview": ["delete"]}),
            json!({"preview": []}),
            json!({"witnesses": 65}),
            json!({"tiers": {"minor": {"erase": 3}}}),
            json!({"tiers": {"minor": {"erase": 0}}}),
            json!({"tiers": {"minor": {"restrict": 1}}}),
            json!({"tiers": {"minor": {"delete": 1}}}),
            json!({"tiers": {"adult": {"erase": 1}}}),
            json!({"quorum": 2}),
            json!([]),
        ] {
            assert_eq!(read(bad.clone()), Err("KEY_SET_MALFORMED"), "{bad}");
        }
    }
}
