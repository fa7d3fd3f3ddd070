//! Leaves of the trail are lost for good: `mandate restore --new-origin` lets it go on under another name, and
//! everybody sees where it broke off.

use std::path::{Path, PathBuf};

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::InstructionDraft;
use rstest::rstest;

use crate::backup::{Kept, carry_out, export, submit_mail};
use crate::harness::{Process, World, configure, within};
use crate::load::On;
use crate::taken_over_gateway::{refused, stores};
use crate::witness::{edit, preview};

const MAIL: &[u8] = include_bytes!("../examples/mail/02-vague-english.eml");
const NAME: &str = "trail-b";

fn preview_of(of: &Enterprise, user: &str) -> InstructionDraft {
    of.order(Act::Preview, vec![Identifier::user(&of.app, user)], None).expect("an order")
}

async fn submit(of: &Enterprise, draft: &InstructionDraft) -> Result<String, String> {
    send(of, &of.sign(draft).expect("signs").to_wire()).await
}

async fn send(of: &Enterprise, wire: &str) -> Result<String, String> {
    let call = v1::SubmitInstructionRequest { instruction: wire.as_bytes().to_vec().into() };
    match of.client.instructions().submit_instruction(call).await {
        Ok(answer) => Ok(answer.into_inner().instruction.expect("shown").executions[0].clone()),
        Err(status) => Err(crate::harness::reason(&status)),
    }
}

async fn evidence(world: &World, of: &Enterprise, name: &str, file: &str) -> PathBuf {
    let request = v1::GetEvidenceRequest { name: name.to_owned(), include_disclosures: true };
    let answer = of.client.instructions().get_evidence(request).await.expect("evidence");
    let path = world.path().join(file);
    std::fs::write(&path, answer.into_inner().bundle).expect("written");
    path
}

async fn ended(of: &Enterprise, execution: &str) -> v1::Execution {
    within(60, "it", of.follow(execution)).await.expect("it ends")
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_trail_that_lost_leaves_goes_on_under_another_origin_and_shows_the_break(#[case] on: On) {
    let mut world = match on {
        On::Sqlite => World::without_agent(|_| {}).await,
        On::Postgres => World::on_postgres(1).await,
    };
    world.agent = Some(Process::agent(world.path()));
    let pins = world.path().join("pins.toml");
    submit_mail(&world, MAIL, 1).await;
    let xingyu = world.enterprise("xingyu").await;
    let done = preview(&xingyu, "u_8839201").await;
    assert_eq!(ended(&xingyu, &done.executions[0]).await.state(), v1::ExecutionState::Completed);
    let bundle = evidence(&world, &xingyu, &done.name, "old-evidence.json").await;
    world.agent.take().expect("it runs").stop();
    // Admitted, and not yet carried out when the backup is made.
    let waiting = preview_of(&xingyu, "u_8800001");
    let wire = xingyu.sign(&waiting).expect("signs").to_wire();
    let open = send(&xingyu, &wire).await.expect("admitted");
    // The auditor has called before: the leaf of its TLS key is none of those that are lost.
    world.trail_leaves().await;
    let backup = Kept::of(&mut world, on);
    let xingyu = world.enterprise("xingyu").await;
    let kept = world.trail_leaves().await;

    // What comes after is lost: nobody kept more of it than the newest heads.
    let lost = preview_of(&xingyu, "u_8800002");
    submit(&xingyu, &lost).await.expect("admitted");
    submit_mail(&world, MAIL, 2).await;
    let before = export(&world, "before").await;
    let missing = world.trail_leaves().await.len() - kept.len();
    let (trail, authority) = (before.join("trail/checkpoint"), before.join("authority/checkpoint"));
    world.gateway.take().expect("it runs").kill();
    backup.lose(&world);

    let newest = Path::new("--newest");
    let (done_so, text) = backup.restore(&world, &[newest, &trail]);
    assert!(!done_so && text.contains(&format!("{missing} are missing")), "{text}");
    let opened = [Path::new("--new-origin"), Path::new(NAME)];
    let (done_so, text) = backup.restore(&world, &[&[newest, &trail], &opened[..]].concat());
    assert!(!done_so && text.contains("of the authority log"), "{text}");
    let both = [newest, trail.as_path(), newest, authority.as_path()];
    let (done_so, text) = backup.restore(&world, &[&both[..], &[opened[0], Path::new("trail")]].concat());
    assert!(!done_so && text.contains("--new-origin"), "{text}");
    let (done_so, text) = backup.restore(&world, &[&both[..], &opened].concat());
    assert!(done_so && text.contains(&format!("{missing} leaves of")), "{text}");
    let vkey = text.lines().find_map(|line| line.strip_prefix("pin it by hand")?.rsplit_once(": "));
    let vkey = vkey.expect("the new pin").1.to_owned();

    // Not under the old name, by mistake.
    assert!(Process::try_with("serve", world.path(), "gateway", Vec::new()).is_err());
    configure(world.path(), |table| drop(table.insert("trail_name".into(), NAME.into())));
    let old_pins = world.path().join("old-pins.toml");
    std::fs::copy(&pins, &old_pins).expect("copied");
    let origin = vkey.split('+').next().expect("a name").to_owned();
    assert!(origin.ends_with(&format!("/{NAME}")), "{vkey}");
    edit(&pins, |pins| {
        pins["trail"]["origin"] = origin.clone().into();
        pins["trail"]["vkey"] = vkey.clone().into();
    });
    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));

    // What was signed for the old origin dies: at the door, and what waited, at the agent.
    let xingyu = world.enterprise("xingyu").await;
    assert_eq!(submit(&xingyu, &lost).await, Err("AUDIENCE_MISMATCH".into()));
    refused(&world, "for the former origin", &ended(&xingyu, &open).await, "AUDIENCE_MISMATCH");
    // Whoever lost the answer to what was taken then gets it still.
    assert_eq!(send(&xingyu, &wire).await, Ok(open));
    // Ids that were used up stay so, and calls that were made were made.
    let again = InstructionDraft { jti: waiting.jti, ..preview_of(&xingyu, "u_8800001") };
    assert_eq!(submit(&xingyu, &again).await, Err("JTI_REUSED".into()));
    submit_mail(&world, MAIL, 1).await;
    let leaves = world.trail_leaves().await;
    let received =
        |leaves: &[String]| leaves.iter().filter(|l| l.contains("mandate.message.received")).count();
    assert_eq!(received(&leaves), received(&kept), "a mail was taken in twice");

    // It goes on; whoever reads it sees the break, once.
    carry_out(&world, Act::Erase, "u_8839201").await;
    assert_eq!(leaves[..kept.len()], kept[..]);
    assert!(leaves[kept.len()].contains("mandate.log.reopened"), "{}", leaves[kept.len()]);
    let out = world.export_and_verify().await;
    let (code, text) = world.verify(&["trail", out.to_str().expect("UTF-8")]);
    assert!(code == 0 && text.contains(&format!("{missing} of ")) && text.contains("BREAK"), "{text}");
    let bundle_now = evidence(&world, &xingyu, &done.name, "new-evidence.json").await;
    let (code, text) = world.verify(&["evidence", bundle_now.to_str().expect("UTF-8")]);
    assert!(code == 0 && text.contains("BREAK"), "{text}");

    // What was proven of the old trail still is, with the old pin; the new trail is nothing to it.
    let by_old = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_mandate-verify"))
            .args(arguments)
            .arg("--pin")
            .arg(&old_pins)
            .output()
            .expect("mandate-verify runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = by_old(&["evidence", bundle.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(by_old(&["trail", before.to_str().expect("UTF-8")]).0, Some(0));
    assert_eq!(by_old(&["trail", out.to_str().expect("UTF-8")]).0, Some(1));

    // Nor does an agent follow that nobody gave the new pin.
    world.agent.take().expect("it runs").stop();
    let new_pins = std::fs::read(&pins).expect("read");
    std::fs::copy(&old_pins, &pins).expect("copied");
    let untouched = stores(world.path()).await;
    world.agent = Some(Process::agent(world.path()));
    let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, "u_8800002")], None);
    let execution = submit(&xingyu, &order.expect("an order")).await.expect("admitted");
    let end = ended(&xingyu, &execution).await;
    assert_ne!(end.state(), v1::ExecutionState::Completed);
    assert!(untouched == stores(world.path()).await, "a store was touched");
    std::fs::write(&pins, new_pins).expect("written");
}
