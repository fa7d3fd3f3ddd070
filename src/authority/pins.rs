//! What a verifier holds to be true before it reads anything: `pins.toml`.
//!
//! Origins and keys of the two logs, witnesses, the digest of each controller's
//! first key set, agents' report keys. Each value came over a second channel: from
//! the contract, by telephone, from the party itself. Nothing that a gateway
//! publishes can add to it.
//!
//! ```toml
//! [trail]
//! origin = "mandate.ppio.example/trail"
//! vkey = "mandate.ppio.example/trail+…+…"
//! [authority]
//! origin = "mandate.ppio.example/authority"
//! vkey = "…"
//! freshness = "…"                        # optional: the cosigner that dates the head
//! [witnesses]
//! required = 0                           # k of the vkeys must have cosigned
//! vkeys = []
//! [controllers.xingyu]
//! key_set_digest = "…"                   # of version 1, base64url
//! recovered = ["…"]                      # after a lost root: of each version 1 it began anew with, in order
//! [agents.rtc-agent]
//! report_key = '{"kty":"OKP",…}'         # public JWK
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::leaf_form;
use crate::domain::event::{Event, LogKeyRetired, LogKeyVouched, LogReopened};
use crate::domain::{AgentId, ControllerId};
use crate::token::{Digest, PublicJwk};
use crate::trail::{KeyKind, Succession, VerifierKey};

/// Why a text is no pin file. Names the place, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinsError {
    #[error("the pin file is not of the form: {0}")]
    Form(String),
    #[error("the pin file's {0}")]
    Value(String),
}

/// A log: its name and the key that signs its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPin {
    pub origin: String,
    /// As it was pinned by hand.
    pub vkey: VerifierKey,
    /// Keys that it vouched for in the authority log, one through the other.
    pub vouched: Vec<VerifierKey>,
    /// Those of all these that the authority log says sign no more.
    pub retired: Vec<VerifierKey>,
}

impl LogPin {
    pub fn new(origin: impl Into<String>, vkey: VerifierKey) -> Self {
        Self { origin: origin.into(), vkey, vouched: Vec::new(), retired: Vec::new() }
    }

    /// The keys that are believed: any of them may sign a head.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> + Clone {
        std::iter::once(&self.vkey).chain(&self.vouched).filter(|key| !self.retired.contains(key))
    }

    fn knows(&self, key: &VerifierKey) -> bool {
        self.vkey == *key || self.vouched.contains(key)
    }
}

/// Who must have seen a head, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WitnessPins {
    /// *k*: distinct witnesses whose cosignatures a head needs. 0 asks for none.
    pub required: usize,
    pub vkeys: Vec<VerifierKey>,
}

/// The pins, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    pub trail: LogPin,
    pub authority: LogPin,
    /// Cosigns the authority head with the time at which it was the newest.
    pub freshness: Option<VerifierKey>,
    pub witnesses: WitnessPins,
    /// Digest of each controller's key set version 1.
    pub controllers: BTreeMap<ControllerId, Digest>,
    /// Digests of the version 1 with which a controller began anew after it lost its root, in order.
    pub recovered: BTreeMap<ControllerId, Vec<Digest>>,
    /// Report keys. None at all: agents are trusted as the trail registers them. Where any is named, reports
    /// of the others are not believed.
    pub agents: BTreeMap<AgentId, PublicJwk>,
    /// New origins of the trail, as the authority log tells. Which one is believed is pinned by hand.
    pub reopened: Vec<LogReopened>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    trail: FileLog,
    authority: FileAuthority,
    #[serde(default)]
    witnesses: FileWitnesses,
    #[serde(default)]
    controllers: BTreeMap<ControllerId, FileController>,
    #[serde(default)]
    agents: BTreeMap<AgentId, FileAgent>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLog {
    origin: String,
    vkey: VerifierKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAuthority {
    origin: String,
    vkey: VerifierKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    freshness: Option<VerifierKey>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileWitnesses {
    required: usize,
    vkeys: Vec<VerifierKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileController {
    key_set_digest: Digest,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recovered: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAgent {
    report_key: String,
}

impl Pins {
    pub fn parse(text: &str) -> Result<Self, PinsError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| {
                text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
            });
            PinsError::Form(format!("line {line}: {}", error.message()))
        })?;
        let mut agents = BTreeMap::new();
        for (agent, FileAgent { report_key }) in file.agents {
            let key = PublicJwk::from_json(report_key.as_bytes())
                .map_err(|_| PinsError::Value(format!("agents.{agent}.report_key is no public JWK")))?;
            agents.insert(agent, key);
        }
        let pins = Self {
            trail: LogPin::new(file.trail.origin, file.trail.vkey),
            authority: LogPin::new(file.authority.origin, file.authority.vkey),
            freshness: file.authority.freshness,
            witnesses: WitnessPins { required: file.witnesses.required, vkeys: file.witnesses.vkeys },
            controllers: file.controllers.iter().map(|(id, pin)| (id.clone(), pin.key_set_digest)).collect(),
            recovered: file
                .controllers
                .into_iter()
                .filter(|(_, pin)| !pin.recovered.is_empty())
                .map(|(id, pin)| (id, pin.recovered))
                .collect(),
            agents,
            reopened: Vec::new(),
        };
        pins.check()?;
        Ok(pins)
    }

    fn check(&self) -> Result<(), PinsError> {
        let bad = |what: &str| Err(PinsError::Value(what.to_owned()));
        if self.trail.vkey.kind() != KeyKind::Log || self.authority.vkey.kind() != KeyKind::Log {
            return bad("trail.vkey and authority.vkey must be keys of logs (type 0x01)");
        }
        if self.trail.origin == self.authority.origin || self.trail.vkey == self.authority.vkey {
            return bad("trail and authority must be two logs");
        }
        if self.source().is_empty() || !self.authority.origin.starts_with(&format!("{}/", self.source())) {
            return bad("origins must be <gateway>/trail and <gateway>/authority of one gateway");
        }
        let mut cosigners: Vec<&VerifierKey> = self.witnesses.vkeys.iter().chain(&self.freshness).collect();
        if cosigners.iter().any(|key| key.kind() != KeyKind::Cosigner) {
            return bad("freshness and witnesses must be keys of cosigners (type 0x04)");
        }
        let named = cosigners.len();
        cosigners.sort_unstable_by_key(|key| *key.public_key());
        cosigners.dedup_by_key(|key| *key.public_key());
        if cosigners.len() != named {
            return bad("freshness and witnesses must be different keys");
        }
        for (id, first) in &self.controllers {
            let all: Vec<&Digest> = std::iter::once(first).chain(self.recovered_of(id)).collect();
            let distinct: std::collections::BTreeSet<&[u8; 32]> =
                all.iter().map(|one| one.as_bytes()).collect();
            if distinct.len() != all.len() {
                return bad("controllers: a key set digest stands twice");
            }
        }
        if self.witnesses.required > self.witnesses.vkeys.len() {
            return bad("witnesses.required is more than there are witnesses");
        }
        Ok(())
    }

    /// With what the controller began anew after lost roots, in order.
    pub fn recovered_of(&self, controller: &ControllerId) -> &[Digest] {
        self.recovered.get(controller).map(Vec::as_slice).unwrap_or_default()
    }

    /// Follows what a leaf of the authority log says of the logs' keys: a key that a believed one vouched
    /// for is believed, one that is retired is not. Other leaves, and keys of strangers, change nothing.
    ///
    /// The leaf need not be proven yet: nobody but the holder of a believed key can vouch, and a head that
    /// no believed key signed is refused all the same.
    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::LogKeyVouched(LogKeyVouched { succession, .. }) => {
                let Ok(Succession { origin, former, next }) = Succession::read(succession) else { return };
                for pin in [&mut self.trail, &mut self.authority] {
                    let believed = pin.origin == origin && pin.keys().any(|key| *key == former);
                    if believed && !pin.knows(&next) {
                        pin.vouched.push(next.clone());
                    }
                }
            }
            Event::LogKeyRetired(LogKeyRetired { vkey, .. }) => {
                let Ok(key) = VerifierKey::parse(vkey) else { return };
                for pin in [&mut self.trail, &mut self.authority] {
                    if pin.knows(&key) && !pin.retired.contains(&key) {
                        pin.retired.push(key.clone());
                    }
                }
            }
            Event::LogReopened(reopened) if !self.reopened.contains(reopened) => {
                self.reopened.push(reopened.clone());
            }
            _ => {}
        }
    }

    /// For heads that were kept: as [`Pins::followed`], and whichever key a log ever had is believed, be it
    /// retired since or one that the pinned key followed on. Not for a log's newest head.
    pub(super) fn of_any_time<'a>(&self, leaves: impl IntoIterator<Item = &'a [u8]> + Clone) -> Self {
        let mut pins = self.followed(leaves.clone());
        let successions = leaf_form::successions(leaves);
        for pin in [&mut pins.trail, &mut pins.authority] {
            pin.retired.clear();
            // The newest first: each may name the former of the one after it. Both keys signed it.
            for one in successions.iter().rev().filter(|one| one.origin == pin.origin) {
                if pin.knows(&one.next) && !pin.knows(&one.former) {
                    pin.vouched.push(one.former.clone());
                }
            }
        }
        pins
    }

    /// The openings that led to the pinned origin, the last first.
    pub fn openings(&self) -> impl Iterator<Item = &LogReopened> {
        let mut origin = self.trail.origin.as_str();
        self.reopened.iter().rev().filter(move |one| {
            let led = one.origin == origin;
            if led {
                origin = &one.former;
            }
            led
        })
    }

    /// The pinned origin of the trail and those it had before.
    pub fn trail_origins(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.trail.origin.as_str()).chain(self.openings().map(|one| one.former.as_str()))
    }

    /// The trail's origin when its leaf of that index was written.
    pub fn trail_origin_at(&self, index: u64) -> &str {
        let later = self.openings().filter(|one| index < one.size).last();
        later.map_or(&self.trail.origin, |one| &one.former)
    }

    /// The pins as the leaves of an authority log move them. What is no leaf is for others to judge.
    pub fn followed<'a>(&self, leaves: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut pins = self.clone();
        for leaf in leaves {
            if let Some(event) = leaf_form::log_event(leaf) {
                pins.follow(&event);
            }
        }
        pins
    }

    /// The gateway's name, which stands as `source` in every leaf: the trail's origin without its last part.
    pub fn source(&self) -> &str {
        self.trail.origin.rsplit_once('/').map_or("", |(gateway, _)| gateway)
    }

    /// The file, as [`Pins::parse`] reads it.
    pub fn to_toml(&self) -> String {
        let file = File {
            trail: FileLog { origin: self.trail.origin.clone(), vkey: self.trail.vkey.clone() },
            authority: FileAuthority {
                origin: self.authority.origin.clone(),
                vkey: self.authority.vkey.clone(),
                freshness: self.freshness.clone(),
            },
            witnesses: FileWitnesses {
                required: self.witnesses.required,
                vkeys: self.witnesses.vkeys.clone(),
            },
            controllers: self
                .controllers
                .iter()
                .map(|(id, digest)| {
                    let recovered = self.recovered_of(id).to_vec();
                    (id.clone(), FileController { key_set_digest: *digest, recovered })
                })
                .collect(),
            agents: self
                .agents
                .iter()
                .map(|(id, key)| (id.clone(), FileAgent { report_key: key.canonical() }))
                .collect(),
        };
        // Strings, one small number and tables with string keys: TOML can hold them all.
        toml::to_string(&file).expect("pins are strings and a small number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::log_fixtures;

    #[test]
    fn what_is_written_reads_back() {
        let pins = log_fixtures::pins();
        assert_eq!(Pins::parse(&pins.to_toml()).unwrap(), pins);
        assert_eq!(pins.source(), "mandate.ppio.example");
    }

    #[test]
    fn what_a_controller_began_anew_with_is_pinned_in_order_and_once() {
        let mut pins = log_fixtures::pins();
        let xingyu: ControllerId = "xingyu".parse().unwrap();
        let anew = [Digest::of("second"), Digest::of("third")];
        pins.recovered.insert(xingyu.clone(), anew.to_vec());
        let text = pins.to_toml();
        assert_eq!(Pins::parse(&text).unwrap(), pins);
        assert_eq!(Pins::parse(&text).unwrap().recovered_of(&xingyu), anew);
        let twice = text.replace(&anew[1].to_string(), &anew[0].to_string());
        assert!(Pins::parse(&twice).is_err(), "a digest stands twice");
        let first = text.replace(&anew[0].to_string(), &pins.controllers[&xingyu].to_string());
        assert!(Pins::parse(&first).is_err(), "it begins anew with what it began with");
    }

    #[test]
    fn a_pin_file_that_says_more_or_something_impossible_is_refused() {
        let good = log_fixtures::pins().to_toml();
        let trail = log_fixtures::pins().trail.vkey.to_string();
        let fresh = log_fixtures::pins().freshness.unwrap().to_string();
        for bad in [
            format!("{good}\n[more]\nx = 1\n"),
            good.replace("[trail]", "[trail]\nurl = \"x\""),
            good.replace("key_set_digest = \"", "key_set_digest = \"x"),
            good.replace("required = 0", "required = 1"),
            good.replace("required = 0", "required = -1"),
            good.replace(&trail, &fresh),
            good.replace(&fresh, &trail),
            good.replace("origin = \"mandate.ppio.example/trail\"", "origin = \"other.example/trail\""),
            good.replace("origin = \"mandate.ppio.example/trail\"", "origin = \"trail\""),
            good.replace("vkeys = []", &format!("vkeys = [\"{fresh}\"]")),
            good.replace("\"kty\":\"OKP\"", "\"kty\":\"oct\""),
            String::new(),
        ] {
            assert!(Pins::parse(&bad).is_err(), "a bad pin file was taken:\n{bad}");
        }
    }
}
