//! Four eyes (DESIGN §6): an instruction below its threshold waits, the missing roles are named and never the
//! signers, later approvals over the same payload complete it, and a signer may take his signature back before.

use mandate::cli::CliError;
use mandate::cli::demo::{Enterprise, reason_of};
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use mandate::token::{Detached, Envelope, InstructionDraft, PrivateKey, Says, SetRole};

use crate::harness::{Process, World, configure, within};
use crate::key_sets::{key_of, named, new_key, next, refusal, rotate};

/// A gateway, `xingyu` under a key set in which an erasure takes two of three people, and their keys. The first
/// of them has two.
struct House {
    world: World,
    xingyu: Enterprise,
    root: PrivateKey,
    one: PrivateKey,
    one_again: PrivateKey,
    two: PrivateKey,
    three: PrivateKey,
    /// May look, and not erase.
    reader: PrivateKey,
}

impl House {
    async fn new() -> Self {
        let world = World::without_agent(|dir| {
            configure(dir, |gateway| drop(gateway.insert("housekeeping_seconds".into(), 1.into())));
        })
        .await;
        let mut xingyu = world.enterprise("xingyu").await;
        let [root, one, two] =
            ["root", "instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
        let [one_again, three, reader] = [new_key(), new_key(), new_key()];
        let mut set = next(
            &xingyu,
            &root,
            &[
                (&one, "privacy-office-1"),
                (&one_again, "privacy-office-1"),
                (&two, "privacy-office-2"),
                (&three, "privacy-office-3"),
                (&reader, "analyst"),
            ],
        );
        for (role, kids, threshold) in &mut set.roles {
            if *role == SetRole::Act(Act::Erase) {
                kids.retain(|kid| *kid != reader.id());
                *threshold = 2;
            }
        }
        let set = set.sign(&[&root]).expect("signs");
        rotate(&xingyu, &set).await.expect("it is in force");
        xingyu.key_set = named(&set);
        Self { world, xingyu, root, one, one_again, two, three, reader }
    }

    fn erasure(&self, user: &str) -> InstructionDraft {
        self.xingyu.order(Act::Erase, vec![Identifier::user(&self.xingyu.app, user)], None).expect("an order")
    }

    /// Submitted by one, it waits: as sent, and as shown.
    async fn waiting(&self, draft: &InstructionDraft) -> (Envelope, v1::Instruction) {
        let signed = draft.sign(&[&self.one], &SystemEntropy).expect("signs");
        let shown = self.xingyu.submit(&signed.to_wire()).await.expect("taken").instruction.expect("shown");
        assert_eq!(shown.state(), v1::InstructionState::Waiting);
        (signed.envelope().clone(), shown)
    }

    async fn approve(
        &self,
        envelope: &Envelope,
        name: &str,
        key: &PrivateKey,
    ) -> Result<v1::Instruction, String> {
        let approval = Detached::sign(Says::Approved, envelope, key).expect("signs");
        self.send_approval(name, &approval, envelope.disclosures().to_vec()).await
    }

    async fn send_approval(
        &self,
        name: &str,
        approval: &Detached,
        disclosures: Vec<String>,
    ) -> Result<v1::Instruction, String> {
        let call = v1::ApproveInstructionRequest {
            name: name.to_owned(),
            protected: approval.protected().to_owned(),
            signature: approval.signature().to_owned(),
            disclosures,
        };
        match self.xingyu.client.instructions().approve_instruction(call).await {
            Ok(answer) => Ok(answer.into_inner().instruction.expect("shown")),
            Err(status) => Err(reason_of(&status).expect("a reason")),
        }
    }

    async fn withdraw(
        &self,
        envelope: &Envelope,
        name: &str,
        key: &PrivateKey,
    ) -> Result<v1::Instruction, String> {
        let withdrawal = Detached::sign(Says::Withdrawn, envelope, key).expect("signs");
        let call = v1::WithdrawApprovalRequest {
            name: name.to_owned(),
            protected: withdrawal.protected().to_owned(),
            signature: withdrawal.signature().to_owned(),
        };
        match self.xingyu.client.instructions().withdraw_approval(call).await {
            Ok(answer) => Ok(answer.into_inner().instruction.expect("shown")),
            Err(status) => Err(reason_of(&status).expect("a reason")),
        }
    }

    async fn shown(&self, name: &str) -> v1::Instruction {
        let call = v1::GetInstructionRequest { name: name.to_owned() };
        let answer =
            self.xingyu.client.instructions().get_instruction(call).await.expect("it is the caller's");
        answer.into_inner().instruction.expect("shown")
    }
}

fn missing(instruction: &v1::Instruction) -> Vec<(&str, u32)> {
    instruction.missing.iter().map(|missing| (missing.role.as_str(), missing.signers)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_below_its_threshold_waits_and_the_second_signer_completes_it() {
    let mut house = House::new().await;
    house.world.agent = Some(Process::agent(house.world.path()));
    let draft = house.erasure("u_8839201");
    let (envelope, waits) = house.waiting(&draft).await;
    assert_eq!(missing(&waits), [("erase", 1)]);
    assert!(waits.executions.is_empty() && waits.admit_time.is_none());
    assert!(!format!("{waits:?}").contains("privacy-office"), "a signer is named");
    assert_eq!(house.shown(&waits.name).await, waits);
    // The same again gets the first answer.
    let again = house.xingyu.submit(&envelope.to_wire()).await.expect("taken");
    assert_eq!(again.instruction.as_ref(), Some(&waits));
    assert_eq!(again.receipt.expect("a receipt").index, waits.trail_index);

    // What does not complete it: his own other key, a key without the role, a stranger's, the wrong form.
    let own = house.approve(&envelope, &waits.name, &house.one_again).await.expect("taken");
    assert_eq!((own.state(), missing(&own)), (v1::InstructionState::Waiting, vec![("erase", 1)]));
    let refused = |done: Result<v1::Instruction, String>| done.expect_err("it was taken");
    assert_eq!(refused(house.approve(&envelope, &waits.name, &house.reader).await), "SIGNER_ROLE");
    assert_eq!(refused(house.approve(&envelope, &waits.name, &new_key()).await), "KEY_UNKNOWN");
    assert_eq!(refused(house.approve(&envelope, &waits.name, &house.root).await), "KEY_UNKNOWN");
    let other = house.erasure("u_8839201").sign(&[&house.one], &SystemEntropy).expect("signs");
    assert_eq!(
        refused(house.approve(other.envelope(), &waits.name, &house.two).await),
        "SIGNATURE_INVALID",
        "it approves another payload"
    );
    let wrong = Detached::sign(Says::Withdrawn, &envelope, &house.two).expect("signs");
    let disclosures = || envelope.disclosures().to_vec();
    assert_eq!(refused(house.send_approval(&waits.name, &wrong, disclosures()).await), "HEADER_INVALID");
    let good = Detached::sign(Says::Approved, &envelope, &house.two).expect("signs");
    assert_eq!(refused(house.send_approval(&waits.name, &good, Vec::new()).await), "DISCLOSURE_MISSING");
    let elsewhere = "instructions/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88";
    assert_eq!(refused(house.send_approval(elsewhere, &good, disclosures()).await), "NOT_FOUND");
    assert_eq!(missing(&house.shown(&waits.name).await), [("erase", 1)]);

    // The second person.
    let done = house.send_approval(&waits.name, &good, disclosures()).await.expect("it completes");
    assert_eq!(done.state(), v1::InstructionState::Admitted);
    assert!(done.missing.is_empty() && done.trail_index > waits.trail_index);
    let ended = within(60, "the erasure", house.xingyu.follow(&done.executions[0])).await.expect("followed");
    assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Completed, ""));
    // The same again changes nothing, and a third comes too late.
    let again = house.send_approval(&waits.name, &good, disclosures()).await.expect("the same again");
    assert_eq!(again.executions, done.executions);
    assert_eq!(refused(house.approve(&envelope, &waits.name, &house.three).await), "STAGE_CONFLICT");
    assert_eq!(refused(house.withdraw(&envelope, &waits.name, &house.two).await), "STAGE_CONFLICT");

    let out = house.world.export_and_verify().await;
    let call = v1::GetEvidenceRequest { name: waits.name.clone(), include_disclosures: true };
    let bundle =
        house.xingyu.client.instructions().get_evidence(call).await.expect("given").into_inner().bundle;
    let file = out.join("evidence.json");
    std::fs::write(&file, &bundle).expect("written");
    let (code, text) = house.world.verify(&["evidence", file.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("privacy-office-1, privacy-office-2"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_keys_sign_at_once_counts_by_people_who_have_the_role() {
    let mut house = House::new().await;
    let House { one, one_again, two, reader, .. } = &house;
    let keys: [(&str, &[&PrivateKey]); 4] = [
        ("one signer", &[one]),
        ("one signer with two keys", &[one, one_again]),
        ("the same signature twice", &[one, one]),
        ("the same, and his other key twice", &[one, one, one_again, one_again]),
    ];
    for (who, keys) in keys {
        let wire = house.erasure("u_8839201").sign(keys, &SystemEntropy).expect("signs").to_wire();
        let shown = house.xingyu.submit(&wire).await.expect("taken").instruction.expect("shown");
        assert_eq!(
            (shown.state(), missing(&shown)),
            (v1::InstructionState::Waiting, vec![("erase", 1)]),
            "{who}"
        );
        assert!(shown.executions.is_empty(), "{who}");
    }
    // A wrong role adds nothing to one who may, and takes nothing from two: it is refused beside them.
    let keys: [(&str, &[&PrivateKey]); 3] = [
        ("who may only look", &[reader]),
        ("one who may, and one who may only look", &[one, reader]),
        ("two who may, and one who may only look", &[one, two, reader]),
    ];
    for (who, keys) in keys {
        let wire = house.erasure("u_8839201").sign(keys, &SystemEntropy).expect("signs").to_wire();
        assert_eq!(refusal(&house.xingyu, &wire).await.as_deref(), Some("SIGNER_ROLE"), "{who}");
    }
    let wire =
        house.erasure("u_8839201").sign(&[one, one_again, two], &SystemEntropy).expect("signs").to_wire();
    let done = house.xingyu.submit(&wire).await.expect("admitted").instruction.expect("shown");
    assert_eq!(done.state(), v1::InstructionState::Admitted);
    // The agent counts again.
    house.world.agent = Some(Process::agent(house.world.path()));
    let ended = within(60, "the erasure", house.xingyu.follow(&done.executions[0])).await.expect("followed");
    assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Completed, ""));
    house.world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_withdraws_does_not_count_and_cannot_be_brought_back() {
    let mut house = House::new().await;
    // Whoever submitted it takes it back: it ends.
    let (envelope, waits) = house.waiting(&house.erasure("u_8839201")).await;
    let ended =
        house.withdraw(&envelope, &waits.name, &house.one_again).await.expect("his own, by his other key");
    assert_eq!(ended.state(), v1::InstructionState::Revoked);
    let refused = |done: Result<v1::Instruction, String>| done.expect_err("it was taken");
    assert_eq!(refused(house.approve(&envelope, &waits.name, &house.two).await), "STAGE_CONFLICT");
    assert_eq!(refused(house.approve(&envelope, &waits.name, &house.one).await), "STAGE_CONFLICT", "his own");
    let (envelope, waits) = house.waiting(&house.erasure("u_8800001")).await;
    assert_eq!(refused(house.withdraw(&envelope, &waits.name, &house.two).await), "STAGE_CONFLICT");

    // Three are needed now: one of those who approved changes his mind.
    let mut set = next(
        &house.xingyu,
        &house.root,
        &[
            (&house.one, "privacy-office-1"),
            (&house.two, "privacy-office-2"),
            (&house.three, "privacy-office-3"),
            (&house.reader, "analyst"),
        ],
    );
    for (role, _, threshold) in &mut set.roles {
        if *role == SetRole::Act(Act::Erase) {
            *threshold = 3;
        }
    }
    let set = set.sign(&[&house.root]).expect("signs");
    rotate(&house.xingyu, &set).await.expect("it is in force");
    // What waited under the set before can no longer be completed.
    assert_eq!(refused(house.approve(&envelope, &waits.name, &house.two).await), "KEY_SET_NOT_CURRENT");
    house.xingyu.key_set = named(&set);
    let (envelope, waits) = house.waiting(&house.erasure("u_8800001")).await;
    assert_eq!(missing(&waits), [("erase", 2)]);
    let two = house.approve(&envelope, &waits.name, &house.two).await.expect("taken");
    assert_eq!(missing(&two), [("erase", 1)]);
    let back = house.withdraw(&envelope, &waits.name, &house.two).await.expect("taken back");
    assert_eq!(missing(&back), [("erase", 2)]);
    assert_eq!(house.withdraw(&envelope, &waits.name, &house.two).await.expect("the same again"), back);
    assert_eq!(refused(house.approve(&envelope, &waits.name, &house.two).await), "SIGNATURE_WITHDRAWN");
    let three = house.approve(&envelope, &waits.name, &house.three).await.expect("taken");
    assert_eq!(missing(&three), [("erase", 1)]);
    let done = house.approve(&envelope, &waits.name, &house.reader).await.expect("it completes");
    assert_eq!(done.state(), v1::InstructionState::Admitted);
    house.world.agent = Some(Process::agent(house.world.path()));
    let ended = within(60, "the erasure", house.xingyu.follow(&done.executions[0])).await.expect("followed");
    assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Completed, ""));
    house.world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_completes_expires_and_says_so() {
    let house = House::new().await;
    let draft = InstructionDraft { exp: SystemClock.now_seconds() + 3, ..house.erasure("u_8839201") };
    let (envelope, waits) = house.waiting(&draft).await;
    within(20, "the end of what waits", async {
        while house.shown(&waits.name).await.state() == v1::InstructionState::Waiting {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(house.shown(&waits.name).await.state(), v1::InstructionState::Expired);
    assert_eq!(house.approve(&envelope, &waits.name, &house.two).await, Err("INSTRUCTION_EXPIRED".into()));
    // Its id is used up.
    let other = InstructionDraft { jti: draft.jti, ..house.erasure("u_8839201") };
    let wire = other.sign(&[&house.one, &house.two], &SystemEntropy).expect("signs").to_wire();
    match house.xingyu.submit(&wire).await {
        Err(CliError::Status(status)) => assert_eq!(reason_of(&status).expect("a reason"), "JTI_REUSED"),
        other => panic!("{other:?}"),
    }
    // With both signatures at once nothing waits.
    let both = house.erasure("u_8839201").sign(&[&house.one, &house.two], &SystemEntropy).expect("signs");
    let done = house.xingyu.submit(&both.to_wire()).await.expect("admitted").instruction.expect("shown");
    assert_eq!(done.state(), v1::InstructionState::Admitted);
    house.world.export_and_verify().await;
}
