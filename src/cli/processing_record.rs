//! `mandate registry record`: what PPIO does with one controller's data (GDPR 30(2); PIPL 55, 56).

use serde_json::{Value, json};

use super::client::Client;
use super::print::print;
use super::{As, CliError, registry};
use crate::grpc::v1;

/// Asks for the record and prints it.
pub async fn show(who: &As, controller: &str) -> Result<(), CliError> {
    let client = Client::connect(who).await?;
    let call = v1::GetProcessingRecordRequest { controller: format!("controllers/{controller}") };
    let answer = client.registry().get_processing_record(call).await?.into_inner();
    let record = answer.record.ok_or_else(|| CliError::plain("no record in the answer"))?;
    print(who.json, &shown(record));
    Ok(())
}

fn shown(record: v1::ProcessingRecord) -> Value {
    let v1::ProcessingRecord {
        processor,
        controller,
        agreements,
        apps,
        stores,
        sub_processors,
        exports_operated_by,
    } = record;
    let controller = controller.unwrap_or_default();
    let abroad: Vec<&str> = agreements
        .iter()
        .flat_map(|one| one.regions.iter())
        .chain(stores.iter().map(|store| &store.region))
        .chain(sub_processors.iter().map(|one| &one.region))
        .map(String::as_str)
        .filter(|region| !region.is_empty() && *region != "cn")
        .collect();
    let abroad: std::collections::BTreeSet<&str> = abroad.into_iter().collect();
    let own = |text: &str| if text.is_empty() { processor.clone() } else { text.to_owned() };
    json!({
        "processor": processor,
        "controller": {"name": controller.name, "display_name": controller.display_name, "house": controller.house},
        "apps": apps.iter().map(|app| json!({"name": app.name, "display_name": app.display_name})).collect::<Vec<_>>(),
        "stores": stores
            .iter()
            .map(|store| json!({"name": store.name, "agent": store.agent, "region": store.region,
                "operated_by": own(&store.operated_by)}))
            .collect::<Vec<_>>(),
        "export_packages": {"operated_by": own(&exports_operated_by)},
        "sub_processors": sub_processors
            .iter()
            .map(|one| json!({"name": one.name, "display_name": one.display_name, "region": one.region,
                "purposes": one.purposes}))
            .collect::<Vec<_>>(),
        "outside_the_mainland": abroad,
        "agreements": agreements.into_iter().map(registry::agreement).collect::<Vec<_>>(),
    })
}
