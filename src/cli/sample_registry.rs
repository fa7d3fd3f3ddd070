//! Who takes part in the sample set-up, and what the operator registers of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::registry::{
    AccessKeyEntry, AgentEntry, AgreementEntry, AppEntry, ControllerEntry, KeySetEntry, RegistryFile,
};
use super::sample_rows::{APPS, HOUSE_TENANT};
use crate::domain::{Category, Kind, Purpose, Region};

pub const GATEWAY: &str = "mandate.ppio.example";
pub const TRUST_DOMAIN: &str = "ppio.example";
/// PPIO as controller of its own customers' data.
pub const HOUSE: &str = "ppio-house";
pub const AGENT: &str = "rtc-agent";
pub const STORES: [&str; 2] = ["rtc", "accounts"];

/// A principal with a certificate and an access key.
pub struct SamplePrincipal {
    /// Of its folder below `keys/` and of its profile.
    pub name: &'static str,
    pub kind: Kind,
    pub id: &'static str,
    pub workload: &'static str,
    /// Empty for the agent, whose scopes stand in its configuration.
    pub scopes: &'static [&'static str],
}

impl SamplePrincipal {
    pub fn resource_name(&self) -> String {
        format!("{}/{}", self.kind.collection(), self.id)
    }

    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{TRUST_DOMAIN}/{}/{}/{}", self.kind, self.id, self.workload)
    }

    /// Whose certificate authority vouches for it: PPIO's, or an enterprise's own.
    pub fn anchor(&self) -> &'static str {
        if self.kind == Kind::Controller && self.id != HOUSE { self.id } else { "ppio" }
    }
}

/// The gateway's own name, where it calls its witnesses.
pub fn gateway_spiffe_id() -> String {
    format!("spiffe://{TRUST_DOMAIN}/{}/mandate/witnessing", Kind::Gateway)
}

const CONTROLLER_SCOPES: &[&str] = &[
    "requests.read",
    "requests.answer",
    "requests.create",
    "instructions.submit",
    "instructions.read",
    "key_sets.rotate",
    "executions.read",
    "exports.read",
    "exports.download",
    "evidence.read",
    "trail.prove",
    "reflection.read",
];

const fn controller(id: &'static str) -> SamplePrincipal {
    SamplePrincipal { name: id, kind: Kind::Controller, id, workload: "backend", scopes: CONTROLLER_SCOPES }
}

pub const PRINCIPALS: &[SamplePrincipal] = &[
    SamplePrincipal {
        name: "operator",
        kind: Kind::Operator,
        id: "o-1",
        workload: "cli",
        scopes: &["registry.read", "registry.write", "instructions.contest"],
    },
    SamplePrincipal {
        name: "support",
        kind: Kind::Support,
        id: "s-1",
        workload: "cli",
        scopes: &["intake.submit", "intake.read", "intake.assign", "registry.read"],
    },
    SamplePrincipal {
        name: "auditor",
        kind: Kind::Auditor,
        id: "a-1",
        workload: "cli",
        scopes: &["trail.read", "trail.prove", "evidence.read"],
    },
    controller("xingyu"),
    controller("xiaolu"),
    controller("leting"),
    controller("yunting"),
    controller(HOUSE),
    SamplePrincipal { name: AGENT, kind: Kind::Agent, id: AGENT, workload: "agent", scopes: &[] },
];

/// Each controller with the company's name and how it is registered.
struct Company {
    id: &'static str,
    name: &'static str,
    aliases: &'static [&'static str],
    bundle_id: &'static str,
    domain: &'static str,
}

const COMPANIES: &[Company] = &[
    Company {
        id: "xingyu",
        name: "星河互动科技有限公司",
        aliases: &["Xingyu Live"],
        bundle_id: "com.xingyu.live",
        domain: "xingyu.example",
    },
    Company {
        id: "xiaolu",
        name: "小鹿教育科技有限公司",
        aliases: &["Xiaolu Class"],
        bundle_id: "com.xiaolu.classroom",
        domain: "xiaolu.example",
    },
    Company {
        id: "leting",
        name: "乐听文化传媒有限公司",
        aliases: &["LetingFM"],
        bundle_id: "com.leting.fm",
        domain: "leting.example",
    },
    Company {
        id: "yunting",
        name: "云听在线教育有限公司",
        aliases: &["Yunting Class"],
        bundle_id: "com.yunting.classroom",
        domain: "yunting.example",
    },
];

/// The apps of a controller, as resource names.
pub fn apps_of(controller: &str) -> Vec<String> {
    let mut apps: Vec<String> = APPS
        .iter()
        .filter(|app| app.controller == controller)
        .map(|app| format!("apps/{}", app.app))
        .collect();
    if controller == HOUSE {
        apps.push(format!("apps/{HOUSE_TENANT}"));
    }
    apps
}

/// Every app with its controller and the tenant its rows lie under.
pub fn tenants() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut all: Vec<_> = APPS.iter().map(|app| (app.app, app.controller, app.tenant)).collect();
    all.push((HOUSE_TENANT, HOUSE, HOUSE_TENANT));
    all
}

/// What a controller agreed to.
pub struct SampleTerms {
    pub categories: Vec<Category>,
    pub purposes: Vec<Purpose>,
    pub store: &'static str,
}

pub fn terms_of(controller: &str) -> SampleTerms {
    if controller == HOUSE {
        return SampleTerms {
            categories: vec![Category::Inquiry, Category::Partner, Category::Account, Category::Marketing],
            purposes: vec![Purpose::CustomerSupport, Purpose::Marketing],
            store: "accounts",
        };
    }
    SampleTerms {
        categories: vec![Category::Device, Category::Network, Category::SdkInteraction, Category::Media],
        purposes: vec![
            Purpose::ServiceDelivery,
            Purpose::Troubleshooting,
            Purpose::NetworkQuality,
            Purpose::Recording,
        ],
        store: "rtc",
    }
}

/// What only `init` knows: made keys and the period.
pub struct Made {
    /// Public JWK.
    pub report_key: String,
    /// Controller and digest of its key set.
    pub key_sets: Vec<(&'static str, String)>,
    /// Thumbprint of the key of each principal's certificate, by the principal's name here.
    pub tls_keys: BTreeMap<&'static str, String>,
    /// RFC 3339.
    pub start: String,
    pub end: String,
}

/// The file `mandate registry apply` takes.
pub fn registry(made: &Made) -> RegistryFile {
    let controllers = || PRINCIPALS.iter().filter(|p| p.kind == Kind::Controller);
    let tls_keys = |name: &str| made.tls_keys.get(name).cloned().into_iter().collect();
    let company = |id: &str| COMPANIES.iter().find(|company| company.id == id);
    let mut apps: Vec<AppEntry> = APPS
        .iter()
        .map(|app| {
            let known = company(app.controller);
            let one = |text: Option<&str>| text.map(str::to_owned).into_iter().collect();
            AppEntry {
                id: app.app.to_owned(),
                controller: app.controller.to_owned(),
                display_name: app.name.to_owned(),
                aliases: known.map(|c| c.aliases.iter().map(|&a| a.to_owned()).collect()).unwrap_or_default(),
                bundle_ids: one(known.map(|c| c.bundle_id)),
                domains: one(known.map(|c| c.domain)),
                sdk_app_ids: vec![app.tenant.to_owned()],
                common_name: false,
            }
        })
        .collect();
    apps.push(AppEntry {
        id: HOUSE_TENANT.to_owned(),
        controller: HOUSE.to_owned(),
        display_name: "PPIO 控制台".to_owned(),
        aliases: vec!["PPIO Console".to_owned()],
        bundle_ids: Vec::new(),
        domains: vec!["www.ppio.example".to_owned()],
        sdk_app_ids: Vec::new(),
        common_name: false,
    });
    RegistryFile {
        controllers: controllers()
            .map(|p| ControllerEntry {
                id: p.id.to_owned(),
                display_name: company(p.id).map_or("PPIO", |c| c.name).to_owned(),
                house: p.id == HOUSE,
                tls_keys: tls_keys(p.name),
            })
            .collect(),
        agreements: controllers()
            .map(|p| {
                let terms = terms_of(p.id);
                AgreementEntry {
                    id: format!("{}-2026", p.id),
                    controller: p.id.to_owned(),
                    categories: terms.categories,
                    purposes: terms.purposes,
                    stores: vec![terms.store.to_owned()],
                    regions: vec![Region::Cn],
                    sub_processors: Vec::new(),
                    start: made.start.clone(),
                    end: made.end.clone(),
                }
            })
            .collect(),
        apps,
        agents: vec![AgentEntry {
            id: AGENT.to_owned(),
            region: Region::Cn,
            stores: STORES.map(str::to_owned).to_vec(),
            report_key: made.report_key.clone(),
            operated_by: Default::default(),
            tls_keys: tls_keys(AGENT),
        }],
        sub_processors: Vec::new(),
        access_keys: PRINCIPALS
            .iter()
            .filter(|p| p.kind != Kind::Operator)
            .map(|p| AccessKeyEntry {
                principal: p.resource_name(),
                jwk_file: PathBuf::from(format!("keys/{}/access.pub.jwk", p.name)),
                tls_keys: match p.kind {
                    // Named where they themselves are registered.
                    Kind::Controller | Kind::Agent => Vec::new(),
                    _ => tls_keys(p.name),
                },
            })
            .collect(),
        key_sets: made
            .key_sets
            .iter()
            .map(|(controller, digest)| KeySetEntry {
                file: PathBuf::from(format!("keys/{controller}/keyset.json")),
                confirmed_digest: digest.clone(),
            })
            .collect(),
    }
}
