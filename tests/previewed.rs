//! What was signed is what was seen (DESIGN §10): an order that names a preview is carried out only while it still
//! reaches what the preview showed; otherwise nothing is touched and the answer says what moved.

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::{InstructionDraft, Policy, PreviewRef};

use crate::harness::{Process, World};
use crate::key_sets::{key_of, named, next, refusal, rotate};

fn order(of: &Enterprise, act: Act, user: &str) -> InstructionDraft {
    of.order(act, vec![Identifier::user(&of.app, user)], None).expect("an order")
}

/// What a preview of the user's data showed.
async fn seen(of: &Enterprise, user: &str) -> PreviewRef {
    let (_, done, _) = of.carry_out(&order(of, Act::Preview, user)).await.expect("followed");
    let preview = done[0].preview.as_ref().expect("a preview");
    PreviewRef { digest: preview.digest.parse().expect("a digest"), as_of: preview.as_of }
}

async fn erased(of: &Enterprise, user: &str, preview: PreviewRef) -> (v1::ExecutionState, String) {
    let draft = InstructionDraft { preview: Some(preview), ..order(of, Act::Erase, user) };
    let (_, done, _) = of.carry_out(&draft).await.expect("followed");
    (done[0].state(), done[0].reason.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_stops_where_it_no_longer_reaches_what_its_signers_saw() {
    let mut world = World::new().await;
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one] = ["root", "instruction"].map(|name| key_of(world.path(), "xingyu", name));
    let policy = Policy { preview: [Act::Erase].into(), ..Policy::default() };
    let set =
        next(&xingyu, &root, &[(&one, "privacy-office-1")]).sign_with(&policy, &[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);
    let refused = |reason: &str| (v1::ExecutionState::Refused, reason.to_owned());

    let blind = xingyu.sign(&order(&xingyu, Act::Erase, "u_8839201")).expect("signs").to_wire();
    assert_eq!(refusal(&xingyu, &blind).await.as_deref(), Some("PREVIEW_REQUIRED"));

    let first = seen(&xingyu, "u_8839201").await;
    let other = PreviewRef { digest: mandate::token::Digest::of("never"), ..first };
    assert_eq!(erased(&xingyu, "u_8839201", other).await, refused("PREVIEW_UNKNOWN"));
    assert_eq!(erased(&xingyu, "u_8800001", first).await, refused("PREVIEW_SCOPE_MOVED"), "another person");
    assert_eq!(erased(&xingyu, "u_8839201", first).await, (v1::ExecutionState::Completed, String::new()));

    let second = seen(&xingyu, "u_8800001").await;
    world.agent.take().expect("it runs").stop();
    let map = world.path().join("store/rtc.mandate.toml");
    let text = std::fs::read_to_string(&map).expect("the overlay");
    std::fs::write(&map, format!("# Another version.\n{text}")).expect("written");
    world.agent = Some(Process::agent(world.path()));
    assert_eq!(erased(&xingyu, "u_8800001", second).await, refused("PREVIEW_MAP_MOVED"));
    let third = seen(&xingyu, "u_8800001").await;
    assert_eq!(erased(&xingyu, "u_8800001", third).await, (v1::ExecutionState::Completed, String::new()));
    world.export_and_verify().await;
}
