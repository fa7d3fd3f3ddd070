//! The name in a certificate: `spiffe://<trust-domain>/<kind>/<id>/<workload>`.
//!
//! One principal has one spelling. The general SPIFFE syntax allows more (upper
//! case in paths, dots, any depth); this profile refuses all of it, so that two
//! texts which differ never mean the same and no text needs normalising.

use std::fmt;
use std::str::FromStr;

use super::principal::{Principal, PrincipalId};
use crate::domain::ids::slug_ok;
use crate::domain::{Kind, Reason, Refusal};

/// SPIFFE-ID §2.3: an implementation must take up to 2048 bytes. Ours never gets near.
const MAX_URI: usize = 512;
const SCHEME: &str = "spiffe://";

/// A name of the profile, as checked by its one parser.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    trust_domain: String,
    principal: Principal,
}

impl SpiffeId {
    /// Builds a name from its parts, by the same rules as reading one.
    pub fn new(trust_domain: &str, kind: Kind, id: &str, workload: &str) -> Result<Self, Refusal> {
        if !is_trust_domain(trust_domain) {
            return Err(malformed("the trust domain is 1 to 255 of a-z, 0-9, '.', '-' and '_'"));
        }
        let id = PrincipalId::new(kind, id)
            .map_err(|_| malformed("the id is 1 to 63 of a-z, 0-9 and '-', beginning with a letter"))?;
        if !slug_ok(workload) {
            return Err(malformed("the workload is 1 to 63 of a-z, 0-9 and '-', beginning with a letter"));
        }
        Ok(Self { trust_domain: trust_domain.to_owned(), principal: Principal::new(id, workload.to_owned()) })
    }

    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    pub fn kind(&self) -> Kind {
        self.principal.kind()
    }

    /// The bare id.
    pub fn id(&self) -> &str {
        self.principal.id().as_str()
    }

    pub fn workload(&self) -> &str {
        self.principal.workload()
    }

    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// SPIFFE-ID §2.1: lower case, digits, dot, dash, underscore; no port, no user.
pub(super) fn is_trust_domain(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
}

/// The note says the rule and never the text, which may be anybody's.
fn malformed(rule: &'static str) -> Refusal {
    Refusal::new(Reason::SpiffeIdMalformed).note(rule)
}

impl FromStr for SpiffeId {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.len() > MAX_URI {
            return Err(malformed("the URI is at most 512 bytes long"));
        }
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| malformed("the URI begins with spiffe:// in lower case"))?;
        let mut parts = rest.split('/');
        let (Some(trust_domain), Some(kind), Some(id), Some(workload), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("the path has exactly the parts kind, id and workload"));
        };
        let kind: Kind = kind.parse().map_err(|_| malformed("the kind is none of the registered ones"))?;
        Self::new(trust_domain, kind, id, workload)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}/{}", self.trust_domain, self.kind(), self.id(), self.workload())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_read_and_written_alike() {
        let text = "spiffe://ppio.example/controller/xingyu/backend";
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!(id.trust_domain(), "ppio.example");
        assert_eq!(id.kind(), Kind::Controller);
        assert_eq!(id.id(), "xingyu");
        assert_eq!(id.workload(), "backend");
        assert_eq!(id.principal().resource_name(), "controllers/xingyu");
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn a_name_with_a_second_spelling_is_refused() {
        for hostile in [
            "",
            "spiffe://",
            "SPIFFE://ppio.example/controller/xingyu/backend",
            "spiffe:/ppio.example/controller/xingyu/backend",
            "https://ppio.example/controller/xingyu/backend",
            "spiffe://PPIO.example/controller/xingyu/backend",
            "spiffe://ppio.example:443/controller/xingyu/backend",
            "spiffe://user@ppio.example/controller/xingyu/backend",
            "spiffe:///controller/xingyu/backend",
            "spiffe://ppio.example/Controller/xingyu/backend",
            "spiffe://ppio.example/controllers/xingyu/backend",
            "spiffe://ppio.example/root/xingyu/backend",
            "spiffe://ppio.example/controller/Xingyu/backend",
            "spiffe://ppio.example/controller/xing%79u/backend",
            "spiffe://ppio.example/controller/xingyu",
            "spiffe://ppio.example/controller/xingyu/",
            "spiffe://ppio.example/controller/xingyu/backend/",
            "spiffe://ppio.example/controller/xingyu/backend/more",
            "spiffe://ppio.example/controller//backend",
            "spiffe://ppio.example/controller/../backend",
            "spiffe://ppio.example/controller/xingyu/backend?x=1",
            "spiffe://ppio.example/controller/xingyu/backend#x",
            "spiffe://ppio.example/controller/xingyu/back end",
            "spiffe://ppio.example/controller/xingyu/backend\n",
            "spiffe://ppio.example/controller/xingyu/b\u{0430}ckend",
        ] {
            let refusal = hostile.parse::<SpiffeId>().expect_err(hostile);
            assert_eq!(refusal.reason, Reason::SpiffeIdMalformed);
        }
        let long = format!("spiffe://{}/controller/xingyu/backend", "a".repeat(600));
        assert!(long.parse::<SpiffeId>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_exactly_that_spelling(text in "spiffe://[a-zA-Z.]{1,5}/(controller|agent|X)/[a-zA-Z0-9/?-]{1,6}/[a-z0-9%-]{1,6}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
