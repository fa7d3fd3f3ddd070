//! Two enterprises have a user of the same id: an erasure for one leaves the other's rows alone.

use mandate::cli::sample_store::survey;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

use crate::harness::World;

const USER: &str = "u_8839201";

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_touches_one_enterprise_and_nothing_else() {
    let world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let store = world.path().join("store/rtc.sqlite");
    let before = survey(&store).await.expect("the store is counted");

    let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, USER)], None).expect("an order");
    let (answer, executions, _) = xingyu.carry_out(&order).await.expect("carried out");
    assert!(!executions.is_empty());
    for execution in &executions {
        assert_eq!(execution.state(), v1::ExecutionState::Completed, "{}", execution.reason);
    }
    let after = survey(&store).await.expect("the store is counted");

    let mut erased = 0;
    for (place, (rows, digest)) in &before {
        let (rows_after, digest_after) = after.get(place).copied().unwrap_or((0, [0; 32]));
        if place.1 == "sdk-1001-xingyu" {
            erased += rows - rows_after;
        } else {
            assert_eq!(
                (*rows, *digest),
                (rows_after, digest_after),
                "{place:?} of another enterprise changed"
            );
        }
    }
    let reported: u64 = executions
        .iter()
        .flat_map(|e| &e.collections)
        .filter(|c| c.outcome == "erased")
        .map(|c| c.rows)
        .sum();
    assert!(erased > 0, "nothing was erased");
    assert_eq!(reported, erased, "the report does not say what was erased");

    // The receipt is of the admission leaf and verifies offline; so does the evidence.
    let receipt = answer.receipt.expect("a receipt");
    let (leaf, proof) = (world.path().join("leaf.json"), world.path().join("receipt.txt"));
    std::fs::write(&leaf, &receipt.leaf).expect("written");
    std::fs::write(&proof, &receipt.proof).expect("written");
    let (code, text) =
        world.verify(&["receipt", proof.to_str().expect("UTF-8"), "--leaf", leaf.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    let request =
        v1::GetEvidenceRequest { name: answer.instruction.expect("shown").name, include_disclosures: true };
    let bundle =
        xingyu.client.instructions().get_evidence(request).await.expect("evidence").into_inner().bundle;
    let file = world.path().join("evidence.json");
    std::fs::write(&file, &bundle).expect("written");
    let (code, text) = world.verify(&["evidence", file.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    world.export_and_verify().await;
}
