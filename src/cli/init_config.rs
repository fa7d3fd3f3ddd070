//! The configuration files that `mandate init` writes: gateway, agent, pins, profiles, registry.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::CliError;
use super::client::{ControllerFiles, Profile};
use super::files::write_public;
use super::init_keys::MadeKeys;
use super::sample_registry::{
    AGENT, GATEWAY, Made, PRINCIPALS, STORES, SamplePrincipal, TRUST_DOMAIN, apps_of, registry, tenants,
    terms_of,
};
use crate::config::{
    BootstrapKey, GatewayConfig, IntakeSection, Limits, LogKeyFiles, Place, PublishSection, Residency,
    RetentionSeconds, TlsFiles,
};
use crate::domain::{Kind, Region, Timestamp};
use crate::identity::AnchorConfig;

/// Days the sample agreements last.
const DAYS: i64 = 365;

/// Writes every configuration file of the set-up.
pub fn write(
    dir: &Path,
    port: u16,
    publish: Option<u16>,
    now: Timestamp,
    keys: &MadeKeys,
) -> Result<(), CliError> {
    let put = |name: &str, value: &dyn Fn() -> Result<String, toml::ser::Error>| {
        write_public(&dir.join(name), value().map_err(CliError::plain)?)
    };
    put("gateway.toml", &|| toml::to_string(&gateway(port, publish)))?;
    let (start, end) = (now.as_second() - 86_400, now.as_second() + DAYS * 86_400);
    put("agent.toml", &|| toml::to_string(&agent(port, start, end)))?;
    put("pins.toml", &|| toml::to_string(&pins(keys)))?;
    for principal in PRINCIPALS.iter().filter(|p| p.kind != Kind::Agent) {
        let name = format!("profiles/{}.toml", principal.name);
        put(&name, &|| toml::to_string(&profile(principal, port)))?;
    }
    let instant = |second| Timestamp::from_second(second).map(|at| at.to_string()).map_err(CliError::plain);
    let made = Made {
        report_key: keys.report_key.clone(),
        key_sets: keys.key_sets.clone(),
        tls_keys: keys.tls_keys.clone(),
        start: instant(start)?,
        end: instant(end)?,
    };
    put("registry.toml", &|| toml::to_string(&registry(&made)))
}

fn gateway(port: u16, publish: Option<u16>) -> GatewayConfig {
    let key = |name: &str| PathBuf::from(format!("keys/gateway/{name}"));
    let mut anchors: Vec<AnchorConfig> = Vec::new();
    for principal in PRINCIPALS {
        let certificate = PathBuf::from(format!("ca/{}.pem", principal.anchor()));
        let id = principal.id.to_owned();
        match anchors.iter_mut().find(|anchor| anchor.certificate == certificate) {
            Some(anchor) => {
                if !anchor.kinds.contains(&principal.kind) {
                    anchor.kinds.push(principal.kind);
                }
                anchor.ids.push(id);
            }
            None => anchors.push(AnchorConfig {
                certificate,
                crl: PathBuf::from(format!("ca/{}.crl", principal.anchor())),
                kinds: vec![principal.kind],
                ids: vec![id],
            }),
        }
    }
    let bootstrap = PRINCIPALS.iter().filter(|p| p.kind == Kind::Operator).map(|p| BootstrapKey {
        principal: p.resource_name(),
        jwk_file: PathBuf::from(format!("keys/{}/access.pub.jwk", p.name)),
    });
    GatewayConfig {
        gateway: GATEWAY.to_owned(),
        trust_domain: TRUST_DOMAIN.to_owned(),
        trail_name: None,
        listen: format!("127.0.0.1:{port}"),
        database: Place::File("data/gateway.sqlite".into()),
        keyring: Place::File("data/keyring.sqlite".into()),
        epochs: key("epoch"),
        exports: "data/exports".into(),
        residency: Residency {
            database: Region::Cn,
            keyring: Region::Cn,
            exports: Region::Cn,
            exports_operated_by: None,
        },
        housekeeping_seconds: 60,
        reload_seconds: 10,
        tls: TlsFiles { certificate: key("tls.pem"), key: key("tls.key") },
        log_keys: LogKeyFiles {
            trail: key("trail.key"),
            authority: key("authority.key"),
            freshness: key("freshness.key"),
        },
        limits: Limits::default(),
        retention: RetentionSeconds::default(),
        intake: IntakeSection {
            authserv_id: "mx.ppio.example".into(),
            mail_hosts: vec!["mx.ppio.example".into()],
            house_domains: vec!["ppio.example".into(), "www.ppio.example".into()],
            house_brands: ["PPIO", "派欧云", "指派欧云计算"].map(String::from).into(),
        },
        witnesses: None,
        witness: Vec::new(),
        publish: publish.map(|port| PublishSection { listen: format!("127.0.0.1:{port}") }),
        anchors,
        bootstrap: bootstrap.collect(),
    }
}

fn profile(principal: &SamplePrincipal, port: u16) -> Profile {
    let key = |file: &str| PathBuf::from(format!("../keys/{}/{file}", principal.name));
    let controller = (principal.kind == Kind::Controller).then(|| ControllerFiles {
        apps: apps_of(principal.id),
        instruction_key: key("instruction.jwk"),
        key_set: key("keyset.json"),
        export_identity: key("export.age"),
    });
    Profile {
        gateway: format!("127.0.0.1:{port}"),
        server_name: GATEWAY.to_owned(),
        audience: GATEWAY.to_owned(),
        principal: principal.resource_name(),
        spiffe_id: principal.spiffe_id(),
        ca: "../ca/server.pem".into(),
        certificate: key("tls.pem"),
        key: key("tls.key"),
        access_key: key("access.jwk"),
        scopes: principal.scopes.iter().map(|&scope| scope.to_owned()).collect(),
        pins: "../pins.toml".into(),
        controller,
    }
}

fn pins(keys: &MadeKeys) -> serde_json::Value {
    let controllers: serde_json::Map<_, _> = keys
        .key_sets
        .iter()
        .map(|(id, digest)| ((*id).to_owned(), json!({"key_set_digest": digest})))
        .collect();
    json!({
        "trail": {"origin": format!("{GATEWAY}/trail"), "vkey": keys.trail},
        "authority": {
            "origin": format!("{GATEWAY}/authority"),
            "vkey": keys.authority,
            "freshness": keys.freshness,
        },
        "witnesses": {"required": 0, "vkeys": []},
        "controllers": controllers,
        "agents": {AGENT: {"report_key": keys.report_key}},
    })
}

/// The agent's own scope: what it obeys, whatever a gateway says.
fn agent(port: u16, start: i64, end: i64) -> serde_json::Value {
    let key = |file: &str| format!("keys/{AGENT}/{file}");
    let spiffe = PRINCIPALS.iter().find(|p| p.kind == Kind::Agent).map(SamplePrincipal::spiffe_id);
    let agreements: Vec<_> = PRINCIPALS
        .iter()
        .filter(|p| p.kind == Kind::Controller)
        .map(|p| {
            let terms = terms_of(p.id);
            let apps: Vec<&str> =
                tenants().iter().filter(|(_, c, _)| *c == p.id).map(|(app, ..)| *app).collect();
            json!({
                "controller": p.id,
                "apps": apps,
                "categories": terms.categories,
                "purposes": terms.purposes,
                "stores": [terms.store],
                "regions": ["cn"],
                "valid_from": start,
                "valid_until": end,
            })
        })
        .collect();
    let stores = STORES.map(|id| {
        json!({"id": id, "map": format!("store/{id}.yml"), "overlay": format!("store/{id}.mandate.toml")})
    });
    let apps: Vec<_> = tenants()
        .iter()
        .map(|(id, controller, tenant)| json!({"id": id, "controller": controller, "tenant": tenant}))
        .collect();
    json!({
        "agent": AGENT,
        "pins": "pins.toml",
        "freshness_seconds": 300,
        "report_key": key("report.jwk"),
        "ledger": "agent/ledger.sqlite",
        "keyring": "agent/keyring.sqlite",
        "epochs": key("epoch"),
        "spool": "agent/spool",
        "poll_seconds": 10,
        "gateway": {
            "address": format!("127.0.0.1:{port}"),
            "server_name": GATEWAY,
            "audience": GATEWAY,
            "spiffe_id": spiffe.unwrap_or_default(),
            "ca": "ca/server.pem",
            "certificate": key("tls.pem"),
            "key": key("tls.key"),
            "access_key": key("access.jwk"),
        },
        "store": stores,
        "app": apps,
        "agreement": agreements,
    })
}
