//! A gateway that was taken over keeps the newest entries of the authority log from the agent: a revocation, a contest,
//! a rotation. Where witnesses are pinned it gains the time until *t* after they cosigned the head it still shows, and
//! nothing after that, whatever it makes of that head. What the log shows to be taken back it cannot bring back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::{Method, StatusCode};
use mandate::authority::head;
use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock, InstructionId};
use mandate::grpc::v1;
use mandate::token::{Detached, Policy, PrivateKey, Says, SetRole};
use mandate::trail::{CosigningKey, Note, NoteSignature, Receipt};

use crate::agent_calls::line;
use crate::forger::{Forger, Forgery};
use crate::harness::{Process, World, within};
use crate::key_sets::{key_of, named, new_key, next, rotate};
use crate::liar::{Liar, Told, made_up, pins};
use crate::stopping::{contest, erasure, revocation, xingyu};
use crate::taken_over_gateway::stores;
use crate::witness::{Watched, edit, line_to, receipt, witnessed};

/// An order as it was submitted and admitted.
struct Sent {
    id: InstructionId,
    wire: String,
    shown: v1::Instruction,
}

async fn send(of: &Enterprise, key: &PrivateKey, user: &str) -> Sent {
    let draft = erasure(of, user);
    let wire = draft.sign(&[key], &SystemEntropy).expect("signs").to_wire();
    let shown = of.submit(&wire).await.expect("admitted").instruction.expect("shown");
    Sent { id: draft.jti, wire, shown }
}

impl Sent {
    /// As a gateway would hand it out.
    fn order(&self, admission: &v1::Receipt) -> v1::Order {
        made_up(&self.shown.executions[0], "stores/rtc", &self.wire, admission.clone())
    }
}

/// The authority log as the gateway shows it to agents.
async fn shown(watched: &Watched) -> Told {
    let (leaves, checkpoint, more) = line(&watched.world).authority(0).await.expect("it answers");
    assert!(!more);
    (leaves, checkpoint)
}

/// The head with these lines beside the log's own.
fn with_lines(note: &Note, lines: impl IntoIterator<Item = NoteSignature>) -> String {
    let origin = note.text().lines().next().expect("an origin");
    let own = note.signatures().iter().find(|line| line.name() == origin).expect("the log signed it");
    let mut anew = Note::new(note.text(), own.clone()).expect("a note");
    for line in lines {
        anew.add(line).expect("there is room");
    }
    anew.to_string()
}

/// The lines of the head that are of the witnesses w1, w2, …
fn cosigned(note: &Note, watched: &Watched) -> Vec<NoteSignature> {
    let keys = pins(watched.path()).witnesses.vkeys;
    note.signatures().iter().filter(|line| keys.iter().any(|key| key.claims(line))).cloned().collect()
}

/// Asks a witness as the gateway does, with the gateway's own certificate.
async fn ask_witness(watched: &Watched, n: usize, old: u64, note: &str) -> (StatusCode, String) {
    let body = format!("old {old}\n\n{note}");
    let line = line_to(watched, n, "keys/gateway/calling", &format!("w{n}"));
    let reply = line.call(Method::POST, "add-checkpoint", body, 4096).await.expect("it answers");
    (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
}

/// Waits until the agent says, in what it logs from there on, that it asks for no order, and why.
async fn asks_for_nothing(watched: &Watched, from: usize, reason: &str) {
    let agent = watched.world.agent.as_ref().expect("it runs");
    let said =
        |line: &str| line.contains("the gateway gave no order") && line.contains(&format!("\"{reason}:"));
    within(60, reason, async {
        while !agent.logged()[from..].lines().any(said) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

fn restart_agent(watched: &mut Watched, freshness: i64) {
    if let Some(agent) = watched.world.agent.take() {
        agent.stop();
    }
    edit(&watched.path().join("agent.toml"), |agent| {
        agent.insert("freshness_seconds".into(), freshness.into());
        agent.insert("poll_seconds".into(), 1.into());
    });
    watched.world.agent = Some(Process::agent(watched.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_works_until_t_after_the_last_cosigned_head_and_then_no_more() {
    let mut watched = Watched::new(3, 2).await;
    let (of, one) = xingyu(&watched.world, &Policy::default()).await;
    let mut sent = Vec::new();
    for user in ["u_8839201", "u_8800001", "u_8800002", "u_8800003"] {
        sent.push(send(&of, &one, user).await);
    }
    let [revoked, early, contested, left] = &sent[..] else { unreachable!("four") };
    witnessed(&of, &left.shown).await;
    let mut admissions = Vec::new();
    for sent in &sent {
        admissions.push(receipt(&of, &sent.shown).await);
    }
    assert!(admissions.iter().all(|receipt| receipt.grade() == v1::ReceiptGrade::Witnessed));
    let [of_revoked, of_early, of_contested, of_left] = &admissions[..] else { unreachable!("four") };

    // The last honest head that the agent will be shown; one witness hears of nothing after it.
    let before = within(30, "three witnesses", async {
        loop {
            let shown = shown(&watched).await;
            if cosigned(&Note::parse(&shown.1).expect("a note"), &watched).len() == 3 {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    watched.kill(3);
    let taking_back = revocation(&of, revoked.id).sign(&[&one], &SystemEntropy).expect("signs");
    of.submit(&taking_back.to_wire()).await.expect("revoked");
    contest(&watched.world, &contested.shown.name, "unlawful").await.expect("contested");
    let root = key_of(watched.path(), "xingyu", "root");
    let set = next(&of, &root, &[(&new_key(), "privacy-office-2")]).sign(&[&root]).expect("signs");
    rotate(&of, &set).await.expect("it is in force");
    within(30, "two witnesses", async {
        while shown(&watched).await.0.len() < before.0.len() + 3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    watched.world.gateway.take().expect("it runs").stop();
    watched.restart(3);

    let liar = Liar::open(&watched.world).await;
    liar.silent.store(true, Ordering::SeqCst);
    liar.tell(Some(before.clone()));
    let untouched = stores(watched.path()).await;
    restart_agent(&mut watched, 300);

    // An admission that too few witnesses have seen.
    let receipt_of = |lines: Vec<NoteSignature>| {
        let whole = Receipt::parse(&of_early.proof).expect("a receipt");
        let note = Note::parse(&with_lines(&whole.checkpoint, lines)).expect("a note");
        let proof = Receipt::new(whole.index, whole.proof, note).encode();
        early.order(&v1::Receipt { proof, ..of_early.clone() })
    };
    let trail = Receipt::parse(&of_early.proof).expect("a receipt").checkpoint;
    let seen_by = cosigned(&trail, &watched);
    assert!(seen_by.len() >= 2);
    let now = SystemClock.now();
    let stranger = |n: u8| CosigningKey::from_seed(&format!("s{n}.example"), &[n; 32]).expect("a key");
    let strangers =
        |note: &Note| [1, 2].map(|n| stranger(n).cosign(note.text(), now).expect("cosigned")).to_vec();
    for (who, lines) in [
        ("an admission that nobody cosigned", Vec::new()),
        ("one that one of two has cosigned", vec![seen_by[0].clone()]),
        ("one with witnesses of the gateway's own", strangers(&trail)),
    ] {
        assert_eq!(liar.hand_out(receipt_of(lines)).await, "deferred WITNESSES_MISSING", "{who}");
    }
    let twice = seen_by[0].to_string();
    let mut doubled = of_early.proof.clone();
    doubled.push_str(&format!("{twice}\n"));
    let doubled = early.order(&v1::Receipt { proof: doubled, ..of_early.clone() });
    assert_eq!(liar.hand_out(doubled).await, "refused TRAIL_FORKED", "one that a witness cosigned twice");
    assert!(untouched == stores(watched.path()).await, "a store was touched");

    // Until t after the cosignatures of the head that it shows, it gets what the witnesses saw then.
    assert_eq!(liar.hand_out(revoked.order(of_revoked)).await, "completed", "within t");
    let after = stores(watched.path()).await;

    // From here on that head is older than t.
    let head = head::open(&before.1, &pins(watched.path()).authority, &pins(watched.path())).expect("good");
    let (size, dated) = (head.checkpoint.size(), head.dated().expect("it is dated").as_second());
    let note = Note::parse(&before.1).expect("a note");
    within(30, "t", async {
        while SystemClock.now_seconds() <= dated + 3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    // The witnesses that saw more do not go back; the one that did not cosigns the old head again.
    for n in [1, 2] {
        let (status, _) = ask_witness(&watched, n, size, &with_lines(&note, [])).await;
        assert_eq!(status, StatusCode::CONFLICT, "w{n}");
    }
    let (status, again) = ask_witness(&watched, 3, size, &with_lines(&note, [])).await;
    assert_eq!(status, StatusCode::OK, "{again}");
    let anew = NoteSignature::parse(again.trim_end()).expect("a cosignature");
    let old: Vec<_> = cosigned(&note, &watched);
    let others: Vec<_> = old.iter().filter(|line| line.name() != anew.name()).cloned().collect();
    assert_eq!(others.len(), 2, "all three had cosigned it");
    let dated_now = liar.date(note.text());
    let mut forked = before.0.clone();
    forked.pop();
    let forked = liar.sealed(forked, 0);
    let lies: [(&str, Option<Told>, &str); 7] = [
        ("the head as it was", Some(before.clone()), "AUTHORITY_STALE"),
        (
            "the gateway's own date on it",
            Some((before.0.clone(), with_lines(&note, others.iter().cloned().chain([dated_now.clone()])))),
            "AUTHORITY_STALE",
        ),
        (
            "one of three cosigned it anew",
            Some((before.0.clone(), with_lines(&note, others.iter().cloned().chain([anew.clone()])))),
            "AUTHORITY_STALE",
        ),
        (
            "that one alone",
            Some((before.0.clone(), with_lines(&note, [anew.clone(), dated_now.clone()]))),
            "WITNESSES_MISSING",
        ),
        (
            "witnesses of the gateway's own",
            Some((before.0.clone(), with_lines(&note, strangers(&note)))),
            "WITNESSES_MISSING",
        ),
        (
            "nobody but the gateway",
            Some((before.0.clone(), with_lines(&note, [dated_now]))),
            "WITNESSES_MISSING",
        ),
        ("a shorter log that nobody cosigned", forked, "WITNESSES_MISSING"),
    ];
    watched.world.agent.take().expect("it runs").stop();
    for (who, lie, reason) in lies {
        liar.tell(lie);
        let from = std::fs::read_to_string(watched.path().join("agent.log")).unwrap_or_default().len();
        restart_agent(&mut watched, 3);
        let waiting = liar.lay_out(left.order(of_left));
        asks_for_nothing(&watched, from, reason).await;
        assert!(liar.lies_there(&waiting), "{who}: the agent asked for an order");
        assert!(after == stores(watched.path()).await, "{who}: a store was touched");
        liar.take_away();
    }

    // The whole log, no longer withheld: it says of each what stopped it.
    liar.tell(None);
    restart_agent(&mut watched, 300);
    for (sent, admission, says) in [
        (contested, of_contested, "refused INSTRUCTION_CONTESTED"),
        (left, of_left, "refused SIGNER_REVOKED"),
    ] {
        assert_eq!(liar.hand_out(sent.order(admission)).await, says);
    }
    // And what was shown once cannot be withheld again, fresh as it may be.
    let newest = liar.truth().await;
    assert!(newest.len() > before.0.len());
    liar.tell(Some(before));
    assert_eq!(liar.hand_out(early.order(of_early)).await, "refused AUTHORITY_FORKED");
    assert!(after == stores(watched.path()).await, "a store was touched");
    watched.world.agent.take().expect("it runs").stop();
    liar.close().await;

    // To the honest gateway nothing of this has happened, but for what it hears of the agent now.
    watched.restart_gateway();
    restart_agent(&mut watched, 300);
    let of = watched.world.enterprise("xingyu").await;
    let ended = within(60, "the end", of.follow(&early.shown.executions[0])).await.expect("followed");
    assert_eq!((ended.state(), &*ended.reason), (v1::ExecutionState::Failed, "SIGNER_REVOKED"));
    watched.world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_was_taken_back_counts_for_nothing_whatever_is_admitted() {
    let mut world = World::without_agent(|_| {}).await;
    let mut of = world.enterprise("xingyu").await;
    let [root, one, two] =
        ["root", "instruction", "instruction-2"].map(|name| key_of(world.path(), "xingyu", name));
    let mut set = next(&of, &root, &[(&one, "privacy-office-1"), (&two, "privacy-office-2")]);
    for (role, _, threshold) in &mut set.roles {
        if *role == SetRole::Act(Act::Erase) {
            *threshold = 2;
        }
    }
    let set = set.sign(&[&root]).expect("signs");
    rotate(&of, &set).await.expect("it is in force");
    of.key_set = named(&set);

    // The first signs and thinks better of it; the second is the gateway's accomplice.
    let draft = erasure(&of, "u_8839201");
    let waiting = draft.sign(&[&one], &SystemEntropy).expect("signs");
    of.submit(&waiting.to_wire()).await.expect("it waits");
    let back = Detached::sign(Says::Withdrawn, waiting.envelope(), &one).expect("signs");
    let call = v1::WithdrawApprovalRequest {
        name: draft.jti.resource_name(),
        protected: back.protected().to_owned(),
        signature: back.signature().to_owned(),
    };
    of.client.instructions().withdraw_approval(call).await.expect("taken back");
    let approval = Detached::sign(Says::Approved, waiting.envelope(), &two).expect("signs");
    let wire = waiting.envelope().approved(&approval).to_wire();
    // What both still stand by.
    let good = erasure(&of, "u_8839201");
    let good_wire = good.sign(&[&one, &two], &SystemEntropy).expect("signs").to_wire();
    let admitted = of.submit(&good_wire).await.expect("admitted");
    let (receipt_of_good, good) =
        (admitted.receipt.expect("a receipt"), admitted.instruction.expect("shown"));
    world.gateway.take().expect("it runs").stop();

    let liar = Liar::open(&world).await;
    liar.silent.store(true, Ordering::SeqCst);
    let (leaf, execution) =
        Forger { app: liar.app.clone() }.admit_again(Forgery::of(&draft, wire.clone())).await;
    let admission = crate::liar::receipt(&liar.app.receipt(leaf).await.expect("a receipt"));
    let before = stores(world.path()).await;
    world.agent = Some(Process::agent(world.path()));
    let order = made_up(&execution, "stores/rtc", &wire, admission);
    assert_eq!(liar.hand_out(order).await, "refused THRESHOLD_NOT_MET");
    assert!(before == stores(world.path()).await, "a store was touched");
    let order = made_up(&good.executions[0], "stores/rtc", &good_wire, receipt_of_good);
    // Its head is behind the one of the forged admission, which the agent has seen.
    assert_eq!(liar.hand_out(order.clone()).await, "refused TRAIL_FORKED");
    let newer = crate::liar::receipt(&liar.app.receipt(good.trail_index).await.expect("a receipt"));
    let order = v1::Order { admission: Some(newer), ..order };
    assert_eq!(liar.hand_out(order).await, "completed");
    assert!(before != stores(world.path()).await, "the genuine order did nothing");
    world.agent.take().expect("it runs").stop();
    liar.close().await;
}
