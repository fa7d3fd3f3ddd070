//! Many instructions in one call: each has its own outcome and receipt.

use std::collections::HashSet;

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1::{self, instruction_outcome::Outcome};

use crate::harness::World;

#[tokio::test(flavor = "multi_thread")]
async fn each_instruction_of_a_batch_has_its_own_outcome() {
    let world = World::without_agent(|_| {}).await;
    let xingyu = world.enterprise("xingyu").await;
    let sign = |n: usize| {
        let subject = vec![Identifier::user(&xingyu.app, format!("u_batch_{n}"))];
        let draft = xingyu.order(Act::Preview, subject, None).expect("an order");
        xingyu.sign(&draft).expect("it is signed").to_wire()
    };
    let mut wires: Vec<String> = (0..64).map(sign).collect();
    // The same again, in the same batch and after it; one that was tampered with; one that is none.
    wires.push(wires[0].clone());
    wires.push(wires[1].replacen('.', ".A", 1));
    wires.push("nothing".to_owned());
    let requests: Vec<_> = wires
        .iter()
        .map(|wire| v1::SubmitInstructionRequest { instruction: wire.clone().into_bytes().into() })
        .collect();
    let call = v1::BatchSubmitInstructionsRequest { requests: requests.clone() };
    let outcomes = xingyu
        .client
        .instructions()
        .batch_submit_instructions(call.clone())
        .await
        .expect("the batch is taken")
        .into_inner()
        .outcomes;
    assert_eq!(outcomes.len(), wires.len());

    let mut indexes = HashSet::new();
    for outcome in &outcomes[..64] {
        let Some(Outcome::Admitted(done)) = &outcome.outcome else { panic!("not admitted: {outcome:?}") };
        let instruction = done.instruction.as_ref().expect("an instruction");
        assert!(indexes.insert(instruction.trail_index), "one leaf for two instructions");
        assert!(done.receipt.is_some());
        assert!(!instruction.executions.is_empty());
    }
    assert_eq!(admitted(&outcomes[64]), admitted(&outcomes[0]), "the repeat is another instruction");
    assert_eq!(refused(&outcomes[65]), "SIGNATURE_INVALID");
    assert_eq!(refused(&outcomes[66]), "INSTRUCTION_MALFORMED");

    // The whole call again has no effect and gets the first answers.
    let again = xingyu.client.instructions().batch_submit_instructions(call).await.expect("again");
    for (first, second) in outcomes[..64].iter().zip(&again.into_inner().outcomes) {
        assert_eq!(admitted(first), admitted(second));
    }

    for count in [0, 257] {
        let requests = requests.iter().cycle().take(count).cloned().collect();
        let status = xingyu
            .client
            .instructions()
            .batch_submit_instructions(v1::BatchSubmitInstructionsRequest { requests })
            .await
            .expect_err("too few or too many");
        assert_eq!(crate::harness::reason(&status), "FIELD_INVALID");
    }
    world.export_and_verify().await;
}

fn admitted(outcome: &v1::InstructionOutcome) -> (String, u64, Vec<String>) {
    match &outcome.outcome {
        Some(Outcome::Admitted(done)) => {
            let instruction = done.instruction.clone().expect("an instruction");
            (instruction.name, instruction.trail_index, instruction.executions)
        }
        other => panic!("not admitted: {other:?}"),
    }
}

fn refused(outcome: &v1::InstructionOutcome) -> &str {
    match &outcome.outcome {
        Some(Outcome::Refused(refused)) => &refused.reason,
        other => panic!("not refused: {other:?}"),
    }
}
