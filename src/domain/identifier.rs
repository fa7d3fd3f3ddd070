//! Who an instruction is about: the identifiers of RFC 9493 that Mandate takes.

use serde::{Deserialize, Serialize};

use super::ids::AppId;

/// One subject identifier (RFC 9493 §3.2). Personal data: lives only in a
/// disclosure, in sealed columns and in the memory of who acts on it.
///
/// `Debug` shows the format alone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
pub enum Identifier {
    /// A user id inside an app; `iss` is the app's resource name, `apps/<id>`.
    IssSub {
        iss: String,
        sub: String,
    },
    Email {
        email: String,
    },
    PhoneNumber {
        phone_number: String,
    },
    /// A device id.
    Opaque {
        id: String,
    },
}

impl Identifier {
    pub fn user(app: &AppId, sub: impl Into<String>) -> Self {
        Identifier::IssSub { iss: app.resource_name(), sub: sub.into() }
    }

    pub fn format(&self) -> &'static str {
        match self {
            Identifier::IssSub { .. } => "iss_sub",
            Identifier::Email { .. } => "email",
            Identifier::PhoneNumber { .. } => "phone_number",
            Identifier::Opaque { .. } => "opaque",
        }
    }

    /// The bare value, to bind into a statement. Never to print.
    pub fn value(&self) -> &str {
        match self {
            Identifier::IssSub { sub, .. } => sub,
            Identifier::Email { email } => email,
            Identifier::PhoneNumber { phone_number } => phone_number,
            Identifier::Opaque { id } => id,
        }
    }
}

impl std::fmt::Debug for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identifier({})", self.format())
    }
}
