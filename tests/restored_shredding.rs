//! What was shredded after a backup is shredded after its restore, too; and what a restore could not bring back is
//! over when its time is up, as everything is.

use mandate::domain::Act;
use mandate::grpc::v1;
use rstest::rstest;

use crate::backup::{Kept, carry_out, export, mandate, submit_mail};
use crate::harness::{Process, World, configure};
use crate::load::On;

const MAIL: &[u8] = include_bytes!("../examples/mail/01-delete-enterprise-app.eml");

const SHREDDED: &str = "mandate.data.shredded";

/// Takes a mail in; the name of the case that it becomes.
async fn case(world: &World, n: u8) -> String {
    submit_mail(world, MAIL, n).await;
    let taken = world.enterprise("xingyu").await.take_requests().await.expect("delivered");
    let [case] = &taken[..] else { panic!("not one case: {}", taken.len()) };
    case.name.clone()
}

/// Ends a case.
async fn answer(world: &World, case: &str) {
    let answered = v1::RightOutcome {
        right: "delete".into(),
        kind: v1::OutcomeKind::Answered.into(),
        ..Default::default()
    };
    let outcome =
        v1::RecordOutcomeRequest { name: case.into(), outcomes: vec![answered], request_id: String::new() };
    world.client("xingyu").await.requests().record_outcome(outcome).await.expect("recorded");
}

/// The gateway begins again, and shreds at once whatever has ended; or in years.
fn keep_for(world: &mut World, seconds: i64) {
    world.gateway.take().expect("it runs").stop();
    configure(world.path(), |gateway| {
        let classes = ["request", "message", "instruction", "refusal"];
        let retention = classes.map(|name| (name.to_owned(), toml::Value::Integer(seconds)));
        gateway.insert("housekeeping_seconds".into(), 1.into());
        gateway.insert("retention".into(), toml::Value::Table(retention.into_iter().collect()));
    });
    world.gateway = Some(Process::serve(world.path()));
}

/// Waits for leaves of shredding: that many with each word.
async fn shredded(world: &World, expected: &[(String, usize)]) {
    for _ in 0..200 {
        let leaves = world.trail_leaves().await;
        let all = || leaves.iter().filter(|leaf| leaf.contains(SHREDDED));
        if expected
            .iter()
            .all(|(word, count)| all().filter(|leaf| leaf.contains(word.as_str())).count() >= *count)
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    panic!("not shredded within a minute: {expected:?}");
}

/// What the doctor finds.
fn found(world: &World) -> Vec<String> {
    let (_, text) = mandate(&["doctor", "--config"], &[&world.path().join("gateway.toml")]);
    let finding = |line: &&str| line.contains('_') && line.starts_with(char::is_uppercase);
    text.lines().filter(finding).map(str::to_owned).collect()
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_nothing_is_half_shredded_for_ever(#[case] on: On) {
    let mut world = match on {
        On::Sqlite => World::new().await,
        On::Postgres => World::on_postgres(1).await,
    };
    world.agent.get_or_insert_with(|| Process::agent(world.dir.path()));
    let old = case(&world, 1).await;
    carry_out(&world, Act::Erase, "u_8839201").await;
    assert!(world.enterprise("xingyu").await.refused("nothing").await.is_ok());
    let kept = Kept::of(&mut world, on);

    // All of that is shredded, and so is an instruction that no backup holds. Another case stays open.
    answer(&world, &old).await;
    carry_out(&world, Act::Preview, "u_8839201").await;
    let open = case(&world, 2).await;
    world.agent.take().expect("it runs").stop();
    keep_for(&mut world, -5);
    let classes = [("request", 1), ("intake", 1), ("instruction", 2), ("refusal", 1)];
    shredded(&world, &classes.map(|(class, count)| (format!("\"class\":\"{class}\""), count))).await;
    let published = export(&world, "published").await;
    keep_for(&mut world, 1_000_000);
    world.gateway.take().expect("it runs").kill();
    kept.lose(&world);

    let newest = published.join("trail/checkpoint");
    let with = ["--published".as_ref(), published.as_path(), "--newest".as_ref(), newest.as_path()];
    let (done, text) = kept.restore(&world, &with);
    assert!(done, "{text}");
    // The open case and its mail came back without what was sealed, and no leaf says that it was shredded.
    let half = found(&world);
    let is_half = |line: &String| line.contains("SHREDDED_HALF");
    assert!(half.len() == 2 && half.iter().all(is_half) && half.concat().contains(&open), "{half:#?}");

    world.gateway = Some(Process::serve(world.path()));
    answer(&world, &open).await;
    keep_for(&mut world, -5);
    let no_key = "\"keys\":0";
    shredded(&world, &[(no_key.to_owned(), 2)]).await;
    let leaves = world.trail_leaves().await;
    let told: Vec<_> =
        leaves.iter().filter(|leaf| leaf.contains(SHREDDED) && leaf.contains(no_key)).collect();
    assert!(told.len() == 2 && told.iter().any(|leaf| leaf.contains(&open)), "{told:#?}");
    world.export_and_verify_logs().await;
    world.gateway.take().expect("it runs").stop();
    let examined = world.examine();
    assert!(examined.contains("0 findings"), "{examined}");
}
