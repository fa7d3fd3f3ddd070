//! Who processes in PPIO's stead touches only the data of who agreed to it (R25): the gateway denies the rest, and so
//! does the agent by its own configuration; evidence and the record say who was reached.

use std::path::Path;

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::InstructionDraft;
use serde_json::Value;

use crate::backup::mandate;
use crate::harness::{Process, World, configure, reason};
use crate::key_sets::refusal;
use crate::taken_over_gateway::{refused, stores};

/// Changes a TOML file of the set-up.
fn edit(dir: &Path, name: &str, change: impl FnOnce(&mut toml::Table)) {
    let path = dir.join(name);
    let mut table: toml::Table = std::fs::read_to_string(&path).expect("there").parse().expect("TOML");
    change(&mut table);
    std::fs::write(&path, toml::to_string(&table).expect("TOML")).expect("written");
}

/// Lets the agreements of these controllers name the sub-processor that operates the store.
fn agree(table: &mut toml::Table, controllers: &[&str]) {
    for agreement in table["agreement"].as_array_mut().expect("agreements") {
        if controllers.contains(&agreement["controller"].as_str().expect("an id")) {
            let agreement = agreement.as_table_mut().expect("a table");
            agreement.insert("sub_processors".into(), vec!["cloud-cn"].into());
        }
    }
}

/// The store is operated by `cloud-cn`. The gateway's registry has two agree to that, the agent's operator one.
fn operated(dir: &Path) {
    edit(dir, "registry.toml", |table| {
        let mut company = toml::Table::new();
        company.insert("id".into(), "cloud-cn".into());
        company.insert("display_name".into(), "云端示例有限公司".into());
        company.insert("region".into(), "cn".into());
        company.insert("purposes".into(), vec!["service-delivery", "recording"].into());
        table.insert("sub_processor".into(), toml::Value::Array(vec![company.into()]));
        agree(table, &["xingyu", "xiaolu"]);
        let mut operated = toml::Table::new();
        operated.insert("rtc".into(), "cloud-cn".into());
        table["agent"][0].as_table_mut().expect("a table").insert("operated_by".into(), operated.into());
    });
    edit(dir, "agent.toml", |table| {
        agree(table, &["xingyu"]);
        let stores = table["store"].as_array_mut().expect("stores");
        let rtc = stores.iter_mut().find(|store| store["id"].as_str() == Some("rtc")).expect("rtc");
        rtc.as_table_mut().expect("a table").insert("operated_by".into(), "cloud-cn".into());
    });
}

fn order(of: &Enterprise, act: Act) -> InstructionDraft {
    of.order(act, vec![Identifier::user(&of.app, "u_8839201")], None).expect("an order")
}

async fn why(of: &Enterprise, draft: &InstructionDraft) -> Option<String> {
    refusal(of, &of.sign(draft).expect("signs").to_wire()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_reaches_an_undeclared_sub_processor_is_denied_twice_over() {
    let mut world = World::without_agent(operated).await;
    let [xingyu, xiaolu, leting] = [
        world.enterprise("xingyu").await,
        world.enterprise("xiaolu").await,
        world.enterprise("leting").await,
    ];
    let before = stores(world.path()).await;
    assert_eq!(why(&leting, &order(&leting, Act::Erase)).await.as_deref(), Some("SUB_PROCESSOR_UNDECLARED"));

    // The operator registered what xiaolu never agreed to: the agent goes by its own configuration.
    world.agent = Some(Process::agent(world.path()));
    let (_, done, _) = xiaolu.carry_out(&order(&xiaolu, Act::Erase)).await.expect("followed");
    refused(&world, "undeclared", &done[0], "SUB_PROCESSOR_UNDECLARED");
    assert!(before == stores(world.path()).await, "a store was touched");

    let (answer, done, _) = xingyu.carry_out(&order(&xingyu, Act::Erase)).await.expect("followed");
    assert_eq!(done[0].state(), v1::ExecutionState::Completed, "{}", done[0].reason);
    let name = answer.instruction.expect("shown").name;
    let call = v1::GetEvidenceRequest { name, include_disclosures: false };
    let bundle = xingyu.client.instructions().get_evidence(call).await.expect("evidence").into_inner().bundle;
    let file = world.path().join("evidence.json");
    std::fs::write(&file, &bundle).expect("written");
    let (code, text) = world.verify(&["evidence", file.to_str().expect("UTF-8")]);
    assert!(code == 0 && text.contains("operated by  cloud-cn"), "{text}");

    // What is kept of it for each controller.
    let profile = world.path().join("profiles/operator.toml");
    let record = |controller: &str| {
        let (ok, text) = mandate(
            &["registry", "record", "--json", "--controller", controller, "--profile"],
            &[profile.as_path()],
        );
        assert!(ok, "{text}");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let of_xingyu = record("xingyu");
    assert_eq!(of_xingyu["sub_processors"][0]["display_name"], "云端示例有限公司");
    assert_eq!(of_xingyu["stores"][0]["operated_by"], "subProcessors/cloud-cn");
    assert_eq!(of_xingyu["outside_the_mainland"], serde_json::json!([]));
    assert_eq!(record("leting")["sub_processors"], serde_json::json!([]));
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_the_packages_counts_where_one_is_made_and_a_stranger_is_named_by_nobody() {
    let world = World::without_agent(|dir| {
        operated(dir);
        configure(dir, |gateway| {
            let residency = gateway["residency"].as_table_mut().expect("a table");
            residency.insert("exports_operated_by".into(), "disk-cn".into());
        });
    })
    .await;
    let xingyu = world.enterprise("xingyu").await;
    let denied = Some("SUB_PROCESSOR_UNDECLARED");
    assert_eq!(why(&xingyu, &order(&xingyu, Act::Export)).await.as_deref(), denied);
    assert_eq!(why(&xingyu, &order(&xingyu, Act::Erase)).await, None);

    let operator = world.client("operator").await;
    let listed = operator.registry().list_agreements(v1::ListAgreementsRequest::default()).await;
    let mut agreement = listed.expect("listed").into_inner().agreements.remove(0);
    agreement.name.clear();
    agreement.sub_processors = vec!["subProcessors/nobody".into()];
    let call = v1::CreateAgreementRequest {
        agreement_id: "with-a-stranger".into(),
        agreement: Some(agreement),
        request_id: String::new(),
    };
    let status = operator.registry().create_agreement(call).await.expect_err("it is not registered");
    assert_eq!(reason(&status), "NOT_FOUND");
    world.export_and_verify().await;
}
