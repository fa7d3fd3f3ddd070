//! Reading a person's rows out, for whom the controller signed.
//!
//! Rows are read a page at a time; see [`package`](super::package) for what
//! becomes of them. A crash leaves no package under its final name, and a
//! repeat begins anew; once it has ended a repeat answers with the same package.
//! Retention does not hinder reading; shared rows are left out, as they tell of others.

use std::io;
use std::path::Path;

use age::x25519::Recipient;
use serde_json::json;

use super::ledger::{Begun, Run};
use super::outcome::{CollectionOutcome, Outcome, Package};
use super::package::{Cover, Sheet, Sheets, assemble};
use super::package_index::Index;
use super::plan::{Part, Plan, plan};
use super::shredding::package_name;
use super::statement::Held;
use super::task::Task;
use super::tenanted::Tenanted;
use super::walk::Traces;
use super::workplace::Workplace;
use crate::domain::{Act, Reason, Refusal};

/// Rows read at once.
const PAGE: usize = 200;

pub(super) fn unwritten(_: io::Error) -> Refusal {
    Refusal::at(Reason::StoreFailed, "export").note("the export folder could not be written")
}

/// Exports into `folder`, or answers with the package the first attempt left there.
pub async fn export(work: &Workplace<'_>, task: &Task, folder: &Path) -> Result<Outcome, Refusal> {
    work.check(task)?;
    let (Act::Export, Some(to)) = (task.act(), task.export()) else {
        return Err(Reason::ActNotSupported.into());
    };
    let recipient: Recipient = to
        .recipient
        .parse()
        .map_err(|_| Refusal::at(Reason::RecipientInvalid, "payload.export.recipient"))?;
    let run = match work.ledger.begin(task, work.clock.now_seconds()).await? {
        Begun::Ended(outcome) => return Ok(*outcome),
        Begun::Open(run) => run,
    };
    match write(work, task, &run, recipient, folder).await {
        Ok(outcome) => Ok(outcome),
        Err(refusal) => {
            work.ledger.withdraw(&run).await?;
            Err(refusal)
        }
    }
}

async fn write(
    work: &Workplace<'_>,
    task: &Task,
    run: &Run,
    recipient: Recipient,
    folder: &Path,
) -> Result<Outcome, Refusal> {
    let now = work.clock.now();
    let mut plan = plan(work, task, &Traces::new()).await?;
    let moved = plan.moved(task);
    if !moved.is_empty() {
        return work.stop(task, run, moved).await;
    }
    let file = package_name(run.execution());
    let mut index = Index::new(&run.execution().resource_name(), &now.to_string());
    let mut sheets = Vec::new();
    for (number, part) in plan.parts.iter_mut().enumerate() {
        let stem = folder.join(format!("{}-{number}", run.execution()));
        if let Some(sheet) = read_part(work, task, part, &stem, &mut index).await? {
            part.outcome.rows = sheet.rows;
            sheets.push(sheet);
        }
    }
    let collections = plan.outcomes();
    for (collection, why) in left_out(&collections) {
        index.left_out(&collection, &why);
    }
    let cover = Cover {
        about: about(task, run, &plan, &collections, now),
        index: index.finish(),
        made_at: u64::try_from(now.as_second()).unwrap_or(0),
    };
    let target = folder.join(&file);
    let (sha256, size) = tokio::task::spawn_blocking(move || assemble(&target, &recipient, &cover, &sheets))
        .await
        .map_err(|_| Refusal::from(Reason::Internal))?
        .map_err(unwritten)?;
    work.ledger
        .end(run, work.clock.now_seconds(), |ledger| Outcome {
            execution: run.execution(),
            store: task.store().clone(),
            act: task.act(),
            map_version: hex::encode(work.map.version()),
            collections,
            package: Some(Package { file, sha256, size }),
            preview: None,
            stopped: None,
            ledger,
        })
        .await
}

async fn read_part(
    work: &Workplace<'_>,
    task: &Task,
    part: &Part,
    stem: &Path,
    index: &mut Index,
) -> Result<Option<Sheets>, Refusal> {
    let (Some(collection), true) = (work.map.collection(&part.collection), part.outcome.rows > 0) else {
        return Ok(None);
    };
    let from = Tenanted::new(work.map, collection, task.tenant())?;
    let columns: Vec<_> = collection.columns.iter().map(|column| column.name.clone()).collect();
    index.begin(collection.name.as_str(), columns.iter().map(|name| name.as_str()));
    let mut sheet = Sheet::create(stem, columns).map_err(unwritten)?;
    for (via, rows) in &part.rows {
        for page in rows.chunks(PAGE) {
            for row in work.connector.read(&from, Held { via, rows: page }).await? {
                index.row(&row.0);
                sheet.row(&row).map_err(unwritten)?;
            }
        }
    }
    let sheets = sheet.finish(collection.name.clone()).map_err(unwritten)?;
    index.end(sheets.rows);
    Ok(Some(sheets))
}

/// Collections of which something is not in the package, with the word that says why.
pub(super) fn left_out(collections: &[CollectionOutcome]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for collection in collections {
        for kept in &collection.kept {
            out.push((collection.collection.clone(), kept.ground.to_string()));
        }
        if let Some(excluded) = collection.excluded {
            // The vocabulary's own word, as it stands in the report.
            let word = serde_json::to_value(excluded).ok().and_then(|word| word.as_str().map(str::to_owned));
            out.push((collection.collection.clone(), word.unwrap_or_default()));
        }
    }
    out
}

fn about(
    task: &Task,
    run: &Run,
    plan: &Plan,
    collections: &[CollectionOutcome],
    now: jiff::Timestamp,
) -> serde_json::Value {
    let columns: Vec<String> =
        plan.unmapped_columns.iter().map(|(collection, column)| format!("{collection}.{column}")).collect();
    json!({
        "execution": run.execution().resource_name(),
        "instruction_digest": hex::encode(task.instruction_digest()),
        "store": task.store(),
        "made_at": now.to_string(),
        "categories": task.categories(),
        "collections": collections,
        "columns_not_included": columns,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use age::x25519::Identity;
    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;
    use crate::agent::preview::Bound;
    use crate::agent::test_store::{NOW, Order, TestStore, user};
    use crate::domain::Category;

    async fn exported(shop: &TestStore, key: &Identity, number: u8, subject: &str) -> Outcome {
        let order = Order::new(Act::Export, number)
            .subject(vec![user(subject)])
            .categories(Category::ALL)
            .to(key.to_public().to_string());
        export(&shop.work(), &order.task(), shop.folder.path()).await.unwrap()
    }

    pub fn opened(bytes: &[u8], key: &Identity) -> BTreeMap<String, Vec<u8>> {
        let plain =
            age::Decryptor::new(bytes).unwrap().decrypt(std::iter::once(key as &dyn age::Identity)).unwrap();
        let mut out = BTreeMap::new();
        for entry in tar::Archive::new(plain).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            out.insert(path, content);
        }
        out
    }

    #[tokio::test]
    async fn the_recipient_opens_the_package_and_finds_every_row_and_digest() {
        let shop = TestStore::new().await;
        let key = Identity::generate();
        let outcome = exported(&shop, &key, 1, "u_1").await;
        let package = outcome.package.as_ref().unwrap();
        let bytes = std::fs::read(shop.folder.path().join(&package.file)).unwrap();
        assert_eq!(package.size, bytes.len() as u64);
        assert_eq!(package.sha256, hex::encode(digest(&SHA256, &bytes)));

        let parts = opened(&bytes, &key);
        let manifest: serde_json::Value = serde_json::from_slice(&parts["manifest.json"]).unwrap();
        let listed = manifest["parts"].as_array().unwrap();
        assert_eq!(listed.len(), parts.len() - 1, "every part but the manifest is in it");
        for part in listed {
            let content = &parts[part["path"].as_str().unwrap()];
            assert_eq!(part["sha256"], hex::encode(digest(&SHA256, content)), "{}", part["path"]);
            assert_eq!(part["bytes"], content.len());
        }

        let lines = |path: &str| -> Vec<serde_json::Value> {
            let text = std::str::from_utf8(&parts[path]).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        assert_eq!(lines("data/pings.jsonl").len(), 1_200);
        assert_eq!(lines("data/logs.jsonl").len(), 3, "retention does not hinder reading");
        assert_eq!(
            lines("data/people.jsonl"),
            [serde_json::json!({
                "id": 1, "user_id": "u_1", "email": "one@mail.example",
            })]
        );
        let odd = parts.keys().find(|path| path.contains("odd_") && path.ends_with("jsonl")).unwrap();
        assert_eq!(
            lines(odd)[0],
            serde_json::json!({
                "a": 1, "b": "x", "person": 1, "note": "=cmd|<b>", "photo": {"base64": "AP8="}, "score": 1.5,
            })
        );
        let csv = String::from_utf8(parts[&odd.replace("jsonl", "csv")].clone()).unwrap();
        assert!(csv.contains("1,x,1,'=cmd|<b>,AP8=,1.5\r\n"), "{csv}");
        assert!(csv.contains("'-5") && csv.contains(",-5\r\n"), "a text is disarmed, a number is not");
        let html = String::from_utf8(parts["index.html"].clone()).unwrap();
        assert!(html.contains("=cmd|&lt;b&gt;") && !html.contains("|<b>"));
        assert!(html.contains("rooms (shared-with-others)"));
        assert!(!parts.keys().any(|path| path.contains("rooms")));
    }

    #[tokio::test]
    async fn nothing_of_the_other_tenant_and_no_plain_text_is_left_behind() {
        let shop = TestStore::new().await;
        let key = Identity::generate();
        let outcome = exported(&shop, &key, 1, "u_1").await;
        let package = std::fs::read(shop.folder.path().join(&outcome.package.unwrap().file)).unwrap();
        for (path, content) in opened(&package, &key) {
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains("app-b") && !text.contains("1000001"), "{path}");
        }
        let names: Vec<_> = std::fs::read_dir(shop.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(!names.iter().any(|name| name.ends_with("spool") || name.ends_with("part")), "{names:?}");
        assert!(
            age::Decryptor::new(&package[..])
                .unwrap()
                .decrypt(std::iter::once(&Identity::generate() as &dyn age::Identity))
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_repeat_answers_with_the_same_package() {
        let mut shop = TestStore::new().await;
        let key = Identity::generate();
        let first = exported(&shop, &key, 1, "u_1").await;
        shop.restart().await;
        assert_eq!(first, exported(&shop, &key, 1, "u_1").await);
    }

    #[tokio::test]
    async fn a_person_without_rows_gets_a_package_that_says_so() {
        let shop = TestStore::new().await;
        let key = Identity::generate();
        let outcome = exported(&shop, &key, 1, "nobody").await;
        let package = std::fs::read(shop.folder.path().join(&outcome.package.unwrap().file)).unwrap();
        let parts = opened(&package, &key);
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["index.html", "manifest.json"]);
    }

    #[tokio::test]
    async fn more_rows_than_the_signers_saw_make_no_package() {
        let shop = TestStore::new().await;
        let key = Identity::generate();
        let seen = |pings: u64| {
            let counts = [
                ("people", 1),
                ("devices", 2),
                ("pings", pings),
                ("logs", 3),
                ("members", 1),
                ("odd \"name", 3),
                ("parts", 3),
            ];
            let counts: BTreeMap<String, u64> =
                counts.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect();
            Bound { as_of: NOW, counts }
        };
        let order = |number| Order::new(Act::Export, number).to(key.to_public().to_string()).task();
        let task = order(1).within(seen(1_199));
        let stopped = export(&shop.work(), &task, shop.folder.path()).await.unwrap();
        assert_eq!((stopped.stopped, &stopped.package), (Some(Reason::PreviewCountMoved), &None));
        let told: Vec<_> = stopped.collections.iter().map(|of| (of.collection.as_str(), of.rows)).collect();
        assert_eq!(told, [("pings", 1_200)]);
        assert!(!shop.folder.path().join(package_name(task.execution())).exists());
        // As many as were seen are read, those that the law keeps from erasure, too.
        let task = order(2).within(seen(1_200));
        assert!(export(&shop.work(), &task, shop.folder.path()).await.unwrap().package.is_some());
    }

    #[tokio::test]
    async fn a_recipient_that_is_no_key_is_refused() {
        let shop = TestStore::new().await;
        let task = Order::new(Act::Export, 1).to("age1nonsense".to_owned()).task();
        let refusal = export(&shop.work(), &task, shop.folder.path()).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RecipientInvalid);
    }
}
