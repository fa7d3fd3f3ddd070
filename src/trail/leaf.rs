//! Leaves: CloudEvents 1.0 in JSON, at most 16 KiB, stored and hashed as the exact bytes.
//!
//! A leaf has one spelling: the members in the order of [`Leaf`], those of `data` sorted (see
//! [`super::canonical_json`]). It holds references, codes, counts, digests and signed tokens, never
//! personal data; `data.salt` keeps its hash from being guessed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::canonical_json::{self, JsonFault};
use super::hash::{Hash, leaf_hash};
use crate::domain::{Clock, Entropy, Timestamp};

/// Largest leaf, in bytes.
pub const MAX_LEAF: usize = 16 * 1024;
/// Longest source and subject, in bytes.
pub const MAX_NAME: usize = 255;

const SALT: &str = "salt";

/// Why bytes are no leaf, or a draft cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("the leaf is larger than {MAX_LEAF} bytes")]
    TooLarge,
    #[error("the leaf is not of the JSON that is taken: {0}")]
    Json(#[from] JsonFault),
    #[error("the leaf has a member that it may not have")]
    UnknownMember,
    #[error("the leaf's member {0} is missing or has a value it cannot have")]
    Member(&'static str),
    #[error("the leaf is spelt in another way than it is written")]
    NotCanonical,
}

/// One event of the trail. Every value of this type is valid, and its bytes are those it was
/// read from or written to.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    id: Uuid,
    source: String,
    type_: String,
    subject: String,
    time: Timestamp,
    data: Map<String, Value>,
    bytes: Vec<u8>,
}

/// An event before it has its place: what a use case says, without source, time, id and salt.
#[derive(Clone, PartialEq)]
pub struct LeafDraft {
    /// `mandate.<noun>.<verb>`.
    pub type_: String,
    /// The resource name it is about.
    pub subject: String,
    /// Without `salt`.
    pub data: Map<String, Value>,
}

impl LeafDraft {
    pub fn new(type_: impl Into<String>, subject: impl Into<String>, data: Map<String, Value>) -> Self {
        Self { type_: type_.into(), subject: subject.into(), data }
    }

    /// Makes the leaf: `source` is the gateway, `time` the leaf's time (see [`leaf_time`]), of which
    /// milliseconds are kept. Id (UUIDv7 of that time) and salt are drawn from `entropy`.
    pub fn seal(self, source: &str, time: Timestamp, entropy: &dyn Entropy) -> Result<Leaf, LeafError> {
        let Self { type_, subject, mut data } = self;
        if data.contains_key(SALT) {
            return Err(LeafError::Member("data.salt"));
        }
        let salt: [u8; 16] = entropy.array();
        data.insert(SALT.to_owned(), Value::String(URL_SAFE_NO_PAD.encode(salt)));
        let time = whole_milliseconds(time);
        let millis = u64::try_from(time.as_millisecond()).map_err(|_| LeafError::Member("time"))?;
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &entropy.array()).into_uuid();
        let mut leaf = Leaf { id, source: source.to_owned(), type_, subject, time, data, bytes: Vec::new() };
        leaf.check()?;
        leaf.bytes = leaf.encode()?;
        Ok(leaf)
    }
}

/// The time of the next leaf: never before the previous one's, and otherwise the clock's, in whole
/// milliseconds.
pub fn leaf_time(previous: Option<Timestamp>, clock: &dyn Clock) -> Timestamp {
    let now = whole_milliseconds(clock.now());
    previous.map_or(now, |previous| now.max(previous))
}

fn whole_milliseconds(time: Timestamp) -> Timestamp {
    // The milliseconds of a timestamp are always within the range of timestamps.
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

impl Leaf {
    /// Reads a leaf, in its one spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        if bytes.len() > MAX_LEAF {
            return Err(LeafError::TooLarge);
        }
        let Value::Object(mut members) = canonical_json::read(bytes)? else {
            return Err(LeafError::Json(JsonFault::Syntax));
        };
        let mut text = |name: &'static str| match members.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(LeafError::Member(name)),
        };
        if text("specversion")? != "1.0" {
            return Err(LeafError::Member("specversion"));
        }
        if text("datacontenttype")? != "application/json" {
            return Err(LeafError::Member("datacontenttype"));
        }
        let id = Uuid::try_parse(&text("id")?).map_err(|_| LeafError::Member("id"))?;
        let time = text("time")?.parse::<Timestamp>().map_err(|_| LeafError::Member("time"))?;
        let (source, type_, subject) = (text("source")?, text("type")?, text("subject")?);
        let Some(Value::Object(data)) = members.remove("data") else {
            return Err(LeafError::Member("data"));
        };
        if !members.is_empty() {
            return Err(LeafError::UnknownMember);
        }
        let leaf = Self { id, source, type_, subject, time, data, bytes: bytes.to_vec() };
        leaf.check()?;
        if leaf.encode()? == bytes { Ok(leaf) } else { Err(LeafError::NotCanonical) }
    }

    /// UUIDv7.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The gateway that wrote it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// `mandate.<noun>.<verb>`.
    pub fn type_(&self) -> &str {
        &self.type_
    }

    /// The resource name it is about.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whole milliseconds.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// With its `salt`.
    pub fn data(&self) -> &Map<String, Value> {
        &self.data
    }

    /// What is stored, published and hashed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The RFC 6962 leaf hash over [`Leaf::bytes`].
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.bytes)
    }

    fn check(&self) -> Result<(), LeafError> {
        let name_ok =
            |name: &str| (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        let salt = self.data.get(SALT).and_then(Value::as_str).map(|text| URL_SAFE_NO_PAD.decode(text));
        if self.id.get_version_num() != 7 || self.id.get_variant() != uuid::Variant::RFC4122 {
            Err(LeafError::Member("id"))
        } else if !name_ok(&self.source) {
            Err(LeafError::Member("source"))
        } else if !type_ok(&self.type_) {
            Err(LeafError::Member("type"))
        } else if !name_ok(&self.subject) {
            Err(LeafError::Member("subject"))
        } else if self.time < Timestamp::UNIX_EPOCH {
            Err(LeafError::Member("time"))
        } else if !matches!(salt, Some(Ok(salt)) if salt.len() == 16) {
            Err(LeafError::Member("data.salt"))
        } else {
            Ok(())
        }
    }

    fn encode(&self) -> Result<Vec<u8>, LeafError> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(br#"{"specversion":"1.0""#);
        for (name, value) in [
            ("id", self.id.hyphenated().to_string().as_str()),
            ("source", &self.source),
            ("type", &self.type_),
            ("subject", &self.subject),
            ("time", &format!("{:.3}", self.time)),
            ("datacontenttype", "application/json"),
        ] {
            out.push(b',');
            canonical_json::write_string(name, &mut out);
            out.push(b':');
            canonical_json::write_string(value, &mut out);
        }
        out.extend_from_slice(br#","data":"#);
        canonical_json::write_object_at(&self.data, &mut out, 1)?;
        out.push(b'}');
        if out.len() > MAX_LEAF { Err(LeafError::TooLarge) } else { Ok(out) }
    }
}

fn type_ok(type_: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let mut words = type_.split('.');
    type_.len() <= 127
        && words.next() == Some("mandate")
        && words.next().is_some_and(word)
        && words.next().is_some_and(word)
        && words.next().is_none()
}

impl std::fmt::Debug for Leaf {
    /// Id and type; the rest is long.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leaf({} {})", self.type_, self.id)
    }
}

impl std::fmt::Debug for LeafDraft {
    /// The type alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeafDraft({})", self.type_)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::FixedClock;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = i as u8;
            }
        }
    }

    const EXPECTED: &str = concat!(
        r#"{"specversion":"1.0","id":"019a0a80-bb7b-7001-8203-040506070809","source":"gateway.example","#,
        r#""type":"mandate.request.opened","subject":"requests/7","time":"2025-10-22T06:00:00.123Z","#,
        r#""datacontenttype":"application/json","data":{"a":{"x":[],"y":-1},"salt":"AAECAwQFBgcICQoLDA0ODw","z":"é"}}"#
    );

    fn time() -> Timestamp {
        "2025-10-22T06:00:00.123987Z".parse().unwrap()
    }

    fn draft() -> LeafDraft {
        let data = serde_json::json!({"z": "é", "a": {"y": -1, "x": []}});
        LeafDraft::new("mandate.request.opened", "requests/7", data.as_object().unwrap().clone())
    }

    fn sealed() -> Leaf {
        draft().seal("gateway.example", time(), &Counting).unwrap()
    }

    #[test]
    fn the_bytes_are_fixed_for_ever() {
        let leaf = sealed();
        assert_eq!(std::str::from_utf8(leaf.bytes()).unwrap(), EXPECTED);
        assert_eq!(leaf.hash(), leaf_hash(leaf.bytes()));
    }

    #[test]
    fn a_leaf_reads_back_whole() {
        let leaf = sealed();
        let read = Leaf::parse(leaf.bytes()).unwrap();
        assert!(read == leaf);
        assert_eq!(read.time().as_millisecond(), time().as_millisecond());
        assert_eq!(read.data()["a"]["y"], -1);
        assert_eq!(format!("{read:?}"), format!("Leaf(mandate.request.opened {})", leaf.id()));
    }

    #[test]
    fn another_spelling_or_content_is_refused() {
        let good = String::from_utf8(sealed().bytes().to_vec()).unwrap();
        let with = |from: &str, to: &str| {
            assert!(good.contains(from), "the test looks for what is not there: {from}");
            Leaf::parse(good.replacen(from, to, 1).as_bytes())
        };
        assert_eq!(with(r#","type""#, r#", "type""#), Err(LeafError::NotCanonical));
        assert_eq!(with("é", r"\u00e9"), Err(LeafError::NotCanonical));
        assert_eq!(with(r#""x":[],"y":-1"#, r#""y":-1,"x":[]"#), Err(LeafError::NotCanonical));
        assert_eq!(with("00.123Z", "00.1230Z"), Err(LeafError::NotCanonical));
        assert_eq!(with("00.123Z", "00.123+00:00"), Err(LeafError::NotCanonical));
        assert_eq!(with("2025-10-22T", "2025-10-22t"), Err(LeafError::NotCanonical));
        assert_eq!(with(r#""z":"é""#, r#""z":1.5"#), Err(LeafError::Json(JsonFault::Number)));
        assert_eq!(with(r#""z":"é""#, r#""z":1,"z":2"#), Err(LeafError::Json(JsonFault::DuplicateMember)));
        assert_eq!(with(r#","time""#, r#","x":1,"time""#), Err(LeafError::UnknownMember));
        assert_eq!(
            with(r#","time""#, r#","subject":"b","time""#),
            Err(LeafError::Json(JsonFault::DuplicateMember))
        );
        assert_eq!(with("\"1.0\"", "\"1.1\""), Err(LeafError::Member("specversion")));
        assert_eq!(with("application/json", "text/plain"), Err(LeafError::Member("datacontenttype")));
        assert_eq!(with("mandate.request.opened", "mandate.request"), Err(LeafError::Member("type")));
        assert_eq!(with("mandate.request.opened", "other.request.opened"), Err(LeafError::Member("type")));
        assert_eq!(with("requests/7", ""), Err(LeafError::Member("subject")));
        assert_eq!(with("requests/7", "requests/七"), Err(LeafError::Member("subject")));
        assert_eq!(
            with("AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0O"),
            Err(LeafError::Member("data.salt"))
        );
        assert_eq!(
            with("AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0ODx"),
            Err(LeafError::Member("data.salt"))
        );
        assert_eq!(with(r#""salt""#, r#""sold""#), Err(LeafError::Member("data.salt")));
        assert_eq!(with("-7001-", "-4001-"), Err(LeafError::Member("id")));
        assert_eq!(with("2025-", "1925-"), Err(LeafError::Member("time")));
        assert_eq!(Leaf::parse(b"[]"), Err(LeafError::Json(JsonFault::Syntax)));
        assert_eq!(Leaf::parse(&[b' '; MAX_LEAF + 1]), Err(LeafError::TooLarge));
    }

    #[test]
    fn no_flipped_bit_gives_the_same_leaf() {
        let leaf = sealed();
        for at in 0..leaf.bytes().len() * 8 {
            let mut bad = leaf.bytes().to_vec();
            bad[at / 8] ^= 1 << (at % 8);
            if let Ok(read) = Leaf::parse(&bad) {
                assert!(read.bytes() == bad && read.hash() != leaf.hash() && read != leaf);
            }
        }
    }

    #[test]
    fn a_draft_that_would_make_no_leaf_is_refused() {
        let seal = |draft: LeafDraft| draft.seal("gateway.example", time(), &Counting).map(|_| ());
        let mut salted = draft();
        salted.data.insert("salt".into(), "mine".into());
        assert_eq!(seal(salted), Err(LeafError::Member("data.salt")));
        let mut large = draft();
        large.data.insert("b".into(), "x".repeat(MAX_LEAF).into());
        assert_eq!(seal(large), Err(LeafError::TooLarge));
        let mut fraction = draft();
        fraction.data.insert("b".into(), 0.5.into());
        assert_eq!(seal(fraction), Err(LeafError::Json(JsonFault::Number)));
        let mut deep = draft();
        let nested = (0..14).fold(Value::from(1), |inner, _| Value::Array(vec![inner]));
        deep.data.insert("b".into(), nested.clone());
        let leaf = deep.clone().seal("gateway.example", time(), &Counting).unwrap();
        assert!(Leaf::parse(leaf.bytes()).is_ok(), "what is sealed must be readable");
        deep.data.insert("b".into(), Value::Array(vec![nested]));
        assert_eq!(seal(deep), Err(LeafError::Json(JsonFault::Depth)));
        let early = draft().seal("gateway.example", Timestamp::from_second(-5).unwrap(), &Counting);
        assert_eq!(early.map(|_| ()), Err(LeafError::Member("time")));
    }

    #[test]
    fn leaf_time_never_runs_backwards() {
        let clock = FixedClock::at(1000);
        let first = leaf_time(None, &clock);
        clock.set(900);
        assert_eq!(leaf_time(Some(first), &clock), first);
        clock.set(1100);
        assert_eq!(leaf_time(Some(first), &clock).as_second(), 1100);
    }
}
