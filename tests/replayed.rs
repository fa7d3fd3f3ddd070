//! A gateway that was taken over hands out again what was done, or what was meant for somebody else. What is genuine
//! about such an order does not help it.

use std::path::Path;
use std::sync::atomic::Ordering;

use mandate::cli::demo::Enterprise;
use mandate::domain::clock::SystemEntropy;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::token::InstructionDraft;
use sqlx::Connection;

use crate::forger::{Forger, Forgery};
use crate::harness::{Process, World};
use crate::liar::{Liar, made_up, receipt};
use crate::taken_over_gateway::stores;
use crate::witness::edit;

const USER: &str = "u_8839201";

fn erase(of: &Enterprise, user: &str) -> InstructionDraft {
    of.order(Act::Erase, vec![Identifier::user(&of.app, user)], None).expect("an order")
}

/// An admission as anybody may read it.
async fn admission(of: &Enterprise, draft: &InstructionDraft) -> v1::Receipt {
    let call = v1::GetReceiptRequest { name: draft.jti.resource_name() };
    let answer = of.client.instructions().get_receipt(call).await.expect("a receipt").into_inner();
    answer.receipt.expect("a receipt")
}

/// The person came back, and agreed anew.
async fn come_back(dir: &Path) {
    let path = dir.join("store/rtc.sqlite");
    let mut conn =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
    let row = "INSERT INTO users (sdk_app_id, user_id, created_at, last_seen_at) \
               VALUES ('sdk-1001-xingyu', 'u_8839201', 1, 1)";
    sqlx::query(row).execute(&mut conn).await.expect("inserted");
    conn.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_or_meant_for_another_is_not_done_again() {
    let mut world = World::new().await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    let done = erase(&xingyu, USER);
    let (_, first, wire) = xingyu.carry_out(&done).await.expect("followed");
    assert_eq!(first[0].state(), v1::ExecutionState::Completed, "{}", first[0].reason);
    world.agent.take().expect("it runs").stop();
    // Admitted, and never leased.
    let (open, theirs) = (erase(&xingyu, USER), erase(&leting, USER));
    let open_wire = xingyu.sign(&open).expect("signs").to_wire();
    let theirs_wire = leting.sign(&theirs).expect("signs").to_wire();
    let open_order = xingyu.submit(&open_wire).await.expect("admitted").instruction.expect("shown");
    let their_order = leting.submit(&theirs_wire).await.expect("admitted").instruction.expect("shown");
    let of_done = admission(&xingyu, &done).await;
    let (of_open, of_theirs) = (admission(&xingyu, &open).await, admission(&leting, &theirs).await);
    world.gateway.take().expect("it runs").stop();
    come_back(world.path()).await;
    let before = stores(world.path()).await;

    // Another agent's store, in the agreement and as the leaf has it; the agent stands beside none of that name.
    edit(&world.path().join("agent.toml"), |agent| {
        let agreements = agent["agreement"].as_array_mut().expect("a list");
        let own = |terms: &&mut toml::Value| terms["controller"].as_str() == Some("xingyu");
        let terms = agreements.iter_mut().find(own).expect("xingyu's");
        terms["stores"].as_array_mut().expect("a list").push("logs".into());
    });
    let liar = Liar::open(&world).await;
    liar.silent.store(true, Ordering::SeqCst);
    let elsewhere = erase(&xingyu, USER);
    let elsewhere_wire = elsewhere.sign(&[&xingyu.key], &SystemEntropy).expect("signs").to_wire();
    let forgery =
        Forgery { store: "logs".parse().expect("a slug"), ..Forgery::of(&elsewhere, elsewhere_wire.clone()) };
    let execution = Forger { app: liar.app.clone() }.admit(forgery).await;
    let leaf = liar.app.get_instruction(&xingyu.id, elsewhere.jti).await.expect("there").row.leaf;
    let of_elsewhere = receipt(&liar.app.receipt(leaf).await.expect("a receipt"));
    world.agent = Some(Process::agent(world.path()));

    // The same order again, once and twice: the report is the first one's, to the byte.
    for again in ["once more", "and again"] {
        let token = liar.lay_out(made_up(&first[0].name, "stores/rtc", &wire, of_done.clone()));
        let (said, report) = liar.answer(&token).await;
        assert_eq!((said.as_str(), report.as_ref()), ("completed", Some(&first[0].report)), "{again}");
        assert!(before == stores(world.path()).await, "{again}: a store was touched");
    }

    let (ours, others) = (&open_order.executions[0], &their_order.executions[0]);
    let rows: [(&str, v1::Order, &str); 6] = [
        (
            "done, under an execution of another order",
            made_up(ours, "stores/rtc", &wire, of_done),
            "refused TRAIL_FORKED",
        ),
        (
            "for another store of the same agent",
            made_up(ours, "stores/accounts", &open_wire, of_open.clone()),
            "refused TRAIL_FORKED",
        ),
        (
            "for another agent's store",
            made_up(&execution, "stores/logs", &elsewhere_wire, of_elsewhere),
            "refused STORE_UNKNOWN",
        ),
        (
            "another's order under our admission",
            made_up(ours, "stores/rtc", &theirs_wire, of_open.clone()),
            "refused TRAIL_FORKED",
        ),
        (
            "our order under another's admission",
            made_up(others, "stores/rtc", &open_wire, of_theirs),
            "refused TRAIL_FORKED",
        ),
        (
            "under a receipt of another leaf",
            made_up(ours, "stores/rtc", &open_wire, v1::Receipt { proof: moved(&of_open), ..of_open }),
            "refused TRAIL_FORKED",
        ),
    ];
    for (who, order, says) in rows {
        assert_eq!(liar.hand_out(order).await, says, "{who}");
        assert!(before == stores(world.path()).await, "{who}: a store was touched");
    }
    world.agent.take().expect("it runs").stop();
    liar.close().await;
}

/// The proof with another index, as if the leaf stood elsewhere.
fn moved(receipt: &v1::Receipt) -> String {
    let at = format!("index {}", receipt.index);
    assert!(receipt.proof.contains(&at));
    receipt.proof.replacen(&at, &format!("index {}", receipt.index + 1), 1)
}
