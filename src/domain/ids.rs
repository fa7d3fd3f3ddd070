//! Typed ids and resource names: a controller's id where a request's belongs
//! does not compile.
//!
//! A *slug* id is chosen by people (`xingyu-live`); a *uuid* id is a UUIDv7
//! (RFC 9562). The resource name is `<collection>/<id>`, as in AIP-122.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The text is no id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: {rule}")]
pub struct IdError {
    pub kind: &'static str,
    pub rule: &'static str,
}

const SLUG_RULE: &str = "1 to 63 of a-z, 0-9 and '-', beginning with a letter, not ending with '-'";

/// Whether the text follows the one rule for names that people choose.
pub(crate) fn slug_ok(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

macro_rules! name_methods {
    ($name:ident, $collection:literal) => {
        impl $name {
            pub const COLLECTION: &'static str = $collection;

            /// `<collection>/<id>`.
            pub fn resource_name(&self) -> String {
                format!(concat!($collection, "/{}"), self)
            }

            /// Reads `<collection>/<id>`.
            pub fn from_resource_name(name: &str) -> Result<Self, IdError> {
                match name.strip_prefix(concat!($collection, "/")) {
                    Some(id) => id.parse(),
                    None => Err(IdError {
                        kind: stringify!($name),
                        rule: concat!("a resource name is ", $collection, "/<id>"),
                    }),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.resource_name())
            }
        }
    };
}

macro_rules! slug_id {
    ($(#[$doc:meta])* $name:ident, $collection:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if slug_ok(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { kind: stringify!($name), rule: SLUG_RULE })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        name_methods!($name, $collection);
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $collection:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            pub fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }
            pub fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            /// Lower-case hyphenated UUIDv7 only, so that one id has one spelling.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let bad = IdError { kind: stringify!($name), rule: "a lower-case hyphenated UUIDv7 (RFC 9562)" };
                let id = Uuid::try_parse(text).map_err(|_| bad.clone())?;
                if id.get_version_num() != 7 || id.hyphenated().to_string() != text {
                    return Err(bad);
                }
                Ok(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.hyphenated())
            }
        }

        name_methods!($name, $collection);
    };
}

slug_id!(/// An enterprise that decides over the data (个人信息处理者), or PPIO's own privacy officer, the house controller.
    ControllerId, "controllers");
slug_id!(/// A product of one controller. Its id is what `iss_sub.iss` names (RFC 9493 §3.2.4).
    AppId, "apps");
slug_id!(/// The contract under which PPIO processes for a controller (PIPL 21).
    AgreementId, "agreements");
slug_id!(/// A data store that an agent stands beside.
    StoreId, "stores");
slug_id!(/// A company that processes in PPIO's stead (转委托; GDPR 28(2)).
    SubProcessorId, "subProcessors");
slug_id!(/// The process beside a data store.
    AgentId, "agents");
slug_id!(/// A person of PPIO support, opaque; the name lives in the vault.
    SupportId, "support");
slug_id!(/// An auditor.
    AuditorId, "auditors");
slug_id!(/// An operator.
    OperatorId, "operators");
slug_id!(/// A witness of checkpoints.
    WitnessId, "witnesses");
slug_id!(/// A gateway, where it calls its witnesses.
    GatewayId, "gateways");

uuid_id!(/// One requester's message to one controller, with one stage per right.
    RequestId, "requests");
uuid_id!(/// An instruction; the id is the `jti` its controller chose.
    InstructionId, "instructions");
uuid_id!(/// One instruction carried out on one store.
    ExecutionId, "executions");
uuid_id!(/// One encrypted export package.
    ExportId, "exports");
uuid_id!(/// One mail as it was taken in.
    MessageId, "messages");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_has_one_spelling() {
        assert!("xingyu-live".parse::<AppId>().is_ok());
        for bad in ["", "-a", "a-", "A", "1a", "a_b", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<AppId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_uuid_id_is_version_seven_and_lower_case() {
        let good = "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88";
        assert_eq!(good.parse::<RequestId>().unwrap().to_string(), good);
        for bad in [
            "01938A5E-7c1d-7b2e-9f7a-3d2c1b0a9e88",
            "01938a5e7c1d7b2e9f7a3d2c1b0a9e88",
            "01938a5e-7c1d-4b2e-9f7a-3d2c1b0a9e88",
        ] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_resource_name_names_its_collection() {
        let id = ControllerId::from_resource_name("controllers/xingyu").unwrap();
        assert_eq!(id.resource_name(), "controllers/xingyu");
        assert!(ControllerId::from_resource_name("apps/xingyu").is_err());
    }
}
