//! A good bundle, and then everything that can be wrong with one.

use super::evidence::{Bundle, BundleBuilder, BundleError, LeafBytes};
use super::log_fixtures::*;
use super::verdict::{Fault, Verdict, Which, verify};
use crate::domain::Act;
use crate::domain::event::*;
use crate::token::{Digest, InstructionDraft, KeySetDraft, SignedKeySet, fixtures as token};
use crate::trail::leaf_hash;

fn logs() -> (Log, Log) {
    (Log::trail(&trail_story()), Log::authority(&authority_story()))
}

fn good() -> Bundle {
    let (trail, authority) = logs();
    let disclosures = sign(&instruction(), &["ann"]).envelope().disclosures().to_vec();
    bundle(&trail, &authority, Some(disclosures))
}

fn fault(bundle: &Bundle) -> Fault {
    verify(bundle, &pins()).expect_err("a false bundle was taken")
}

/// A bundle over a changed story.
fn told(change: impl FnOnce(&mut Story)) -> Result<Verdict, Fault> {
    let mut story = trail_story();
    change(&mut story);
    verify(&bundle(&Log::trail(&story), &Log::authority(&authority_story()), None), &pins())
}

#[test]
fn a_good_bundle_says_who_ordered_what_when_and_what_became_of_it() {
    let bundle = good();
    let verdict = verify(&bundle, &pins()).unwrap();
    assert_eq!(
        (verdict.controller.as_str(), verdict.app.as_str()),
        ("controllers/xingyu", "apps/xingyu-live")
    );
    assert_eq!(verdict.admitted_at.as_second(), token::NOW + 10 * at::ADMITTED as i64);
    assert_eq!((verdict.signers, verdict.key_set_version), (vec!["ann".to_owned()], 1));
    assert_eq!(verdict.executions[0].outcome.as_deref(), Some("completed"));
    assert_eq!(verdict.executions[0].agent.as_deref(), Some("agents/rtc-agent"));
    assert!(verdict.disclosures_match);
    let text = verify(&bundle, &pins()).unwrap().to_string();
    assert!(text.contains("not superseded, as of authority head 2"), "{text}");
    assert!(!text.contains("u_8839201"), "the verdict shows a person");
    let read = Bundle::read(bundle.to_json().as_bytes()).unwrap();
    assert_eq!(read, bundle);
}

#[test]
fn several_signers_and_an_open_order_are_told_as_they_are() {
    let draft = InstructionDraft { act: Act::Erase, export: None, ..instruction() };
    let signed = sign(&draft, &["ann", "bob"]);
    let mut story = trail_story();
    story[at::ADMITTED].1 = admission(&draft, &signed).into();
    story.truncate(at::REPORTED);
    let trail = Log::trail(&story);
    let disclosures = signed.envelope().disclosures().to_vec();
    let with = |disclosures| bundle(&trail, &Log::authority(&authority_story()), Some(disclosures));
    let verdict = verify(&with(disclosures.clone()), &pins()).unwrap();
    assert_eq!(verdict.signers, ["ann", "bob"]);
    assert_eq!(verdict.executions[0].outcome, None);
    assert!(verdict.to_string().contains("no end of it"));
    let withheld = verify(&with(disclosures[1..].to_vec()), &pins()).unwrap_err();
    assert_eq!(withheld.which, Which::Disclosures);
    assert!(withheld.what.contains("DISCLOSURE_MISSING"));
}

#[test]
fn without_disclosures_it_holds_no_person_and_still_verifies() {
    let (trail, authority) = logs();
    let bundle = bundle(&trail, &authority, None);
    assert!(!verify(&bundle, &pins()).unwrap().disclosures_match);
    assert!(!bundle.to_json().contains("disclosures"));
}

#[test]
fn every_flipped_byte_of_a_leaf_is_named() {
    let good = good();
    let trail_leaves = |bundle: &Bundle| bundle.registrations.len() + bundle.reports.len() + 1;
    for which in 0..trail_leaves(&good) {
        let mut bad = good.clone();
        let flip = |bundle: &mut Bundle, at: usize, mask: u8| {
            let leaves = bundle.registrations.iter_mut().chain(&mut bundle.reports);
            let leaf = leaves.chain([&mut bundle.instruction]).nth(which).unwrap();
            leaf.leaf.0[at] ^= mask;
            (leaf.index, leaf.leaf.0.len())
        };
        let (index, length) = flip(&mut bad, 0, 0);
        // The instruction in full; of the others every eighth byte, since the published log's test flips them all.
        let step = if index == at::ADMITTED as u64 { 1 } else { 8 };
        for at in (0..length).step_by(step) {
            flip(&mut bad, at, 1);
            assert_eq!(fault(&bad).which, Which::TrailProof(index), "byte {at} of leaf {index}");
            flip(&mut bad, at, 1);
        }
    }
    for index in 0..good.authority.len() {
        for at in 0..good.authority[index].leaf.0.len() {
            let mut bad = good.clone();
            bad.authority[index].leaf.0[at] ^= 1;
            let which = fault(&bad).which;
            let named = which == Which::AuthorityLeaf(index as u64)
                || which == Which::AuthorityLog
                // A later leaf is held against the time of this one.
                || which == Which::AuthorityLeaf(index as u64 + 1);
            assert!(named, "byte {at} of authority leaf {index}: {which}");
        }
    }
}

#[test]
fn every_flipped_byte_of_a_checkpoint_a_proof_or_a_disclosure_is_named() {
    let good = good();
    let flip = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8(bytes).ok()
    };
    for at in 0..good.trail.checkpoint.len() {
        let Some(text) = flip(&good.trail.checkpoint, at) else { continue };
        let mut bad = good.clone();
        bad.trail.checkpoint = text;
        assert_eq!(fault(&bad).which, Which::TrailCheckpoint, "byte {at}");
    }
    for at in 0..good.authority_log.checkpoint.len() {
        let Some(text) = flip(&good.authority_log.checkpoint, at) else { continue };
        let mut bad = good.clone();
        bad.authority_log.checkpoint = text;
        assert_eq!(fault(&bad).which, Which::AuthorityCheckpoint, "byte {at}");
    }
    for (index, proof) in &good.trail.proofs {
        for (at, hash) in proof.iter().enumerate() {
            for byte in 0..32 {
                let mut bad = good.clone();
                let mut bytes = *hash.as_bytes();
                bytes[byte] ^= 1;
                bad.trail.proofs.get_mut(index).unwrap()[at] = crate::trail::Hash::from_bytes(bytes);
                assert_eq!(fault(&bad).which, Which::TrailProof(*index));
            }
        }
    }
    for (index, disclosure) in good.disclosures.as_ref().unwrap().iter().enumerate() {
        for at in 0..disclosure.len() {
            let mut bad = good.clone();
            bad.disclosures.as_mut().unwrap()[index] = flip(disclosure, at).unwrap();
            assert_eq!(fault(&bad).which, Which::Disclosures, "byte {at} of disclosure {index}");
        }
    }
}

#[test]
fn flipped_bits_all_over_the_file_are_noticed() {
    let json = serde_json::to_vec(&good()).unwrap();
    let pins = pins();
    // Coprime to 8, so that every bit position has its turn; the parts' own tests flip every byte.
    for at in (0..json.len()).step_by(7) {
        let mut bad = json.clone();
        bad[at] ^= 1 << (at % 8);
        let verdict = Bundle::read(&bad).map(|bundle| verify(&bundle, &pins));
        assert!(!matches!(verdict, Ok(Ok(_))), "byte {at} went unnoticed");
    }
}

#[test]
fn a_forged_leaf_with_a_true_proof_is_judged_by_what_it_says() {
    // A gateway that holds its log key can log what it likes; it cannot sign for the controller.
    let signature = told(|story| {
        let Event::InstructionAdmitted(event) = &mut story[at::ADMITTED].1 else { panic!() };
        let payload = event.signed_part.find('.').unwrap() + 40;
        let other = if event.signed_part.as_bytes()[payload] == b'A' { "B" } else { "A" };
        event.signed_part.replace_range(payload..payload + 1, other);
    });
    let signature = signature.unwrap_err();
    assert_eq!(signature.which, Which::TrailLeaf(at::ADMITTED as u64));
    assert!(signature.what.contains("ADMITTED_SIGNED: SIGNATURE_INVALID"), "{signature}");

    let store = told(|story| {
        let Event::InstructionAdmitted(event) = &mut story[at::ADMITTED].1 else { panic!() };
        event.executions[0].store = "logs".parse().unwrap();
    });
    assert!(store.unwrap_err().what.starts_with("IN_AGREEMENT"));
    let moved = told(|story| {
        let Event::AppRegistered(event) = &mut story[at::APP].1 else { panic!() };
        event.controller = "leting".parse().unwrap();
    });
    assert_eq!(moved.unwrap_err().which, Which::TrailLeaf(at::APP as u64));
    let twice = told(|story| {
        story[at::RELEASED] = story[at::REPORTED].clone();
    });
    assert_eq!(twice.unwrap_err().which, Which::TrailLeaf(at::RELEASED as u64));
    let package = told(|story| {
        let Event::ExportReleased(event) = &mut story[at::RELEASED].1 else { panic!() };
        event.digest = Digest::of("another").to_string();
    });
    assert_eq!(package.unwrap_err().which, Which::TrailLeaf(at::RELEASED as u64));
    let foreign = told(|story| story[at::ENDED].0 = INSTRUCTION.replace("9e88", "9e89"));
    assert_eq!(foreign.unwrap_err().which, Which::TrailLeaf(at::ENDED as u64));
}

#[test]
fn what_is_missing_or_misplaced_is_named() {
    let good = good();
    let mut bad = good.clone();
    bad.authority.pop();
    assert_eq!(fault(&bad).which, Which::AuthorityLog);
    let mut bad = good.clone();
    bad.authority.remove(0);
    assert_eq!(fault(&bad).which, Which::AuthorityLog);
    let mut bad = good.clone();
    bad.trail.proofs.remove(&(at::ADMITTED as u64));
    assert_eq!(fault(&bad).which, Which::TrailProof(at::ADMITTED as u64));
    let mut bad = good.clone();
    bad.reports.remove(0);
    assert_eq!(fault(&bad).which, Which::TrailProof(at::LEASED as u64));
    let mut bad = good.clone();
    bad.reports.push(bad.reports[0].clone());
    assert_eq!(fault(&bad).which, Which::Bundle);
    let mut bad = good.clone();
    std::mem::swap(&mut bad.reports[0], &mut bad.instruction);
    assert_eq!(fault(&bad).which, Which::TrailLeaf(at::ADMITTED as u64));
    let mut bad = good.clone();
    bad.registrations.retain(|leaf| leaf.index != at::AGREEMENT as u64);
    bad.trail.proofs.remove(&(at::AGREEMENT as u64));
    let fault = fault(&bad);
    assert_eq!(fault.which, Which::TrailLeaf(at::ADMITTED as u64));
    assert!(fault.what.starts_with("IN_AGREEMENT"));
    let mut bad = good.clone();
    bad.version = 2;
    assert_eq!(verify(&bad, &pins()).unwrap_err().which, Which::Bundle);
    let mut bad = good;
    bad.instruction.leaf = LeafBytes(Vec::new());
    assert_eq!(verify(&bad, &pins()).unwrap_err().which, Which::TrailProof(at::ADMITTED as u64));
}

/// The authority log with another controller's first key set before xingyu's, and one after the admission.
fn shared_authority() -> Log {
    let entropy = token::CountedEntropy::new();
    let foreign = |controller: &str, second: i64| {
        let draft = KeySetDraft { iss: controller.parse().unwrap(), ..token::set_draft() };
        let signed = draft.sign(&[&token::key("root")]).unwrap();
        let digest = SignedKeySet::read(&signed).unwrap().digest().to_string();
        let event = KeySetPublished { version: 1, digest, key_set: String::from_utf8(signed).unwrap() };
        seal_at(&format!("controllers/{controller}"), &event.into(), second, &entropy)
    };
    let mut leaves = sealed(&authority_story(), AUTHORITY_START);
    leaves.push(foreign("leting", AUTHORITY_START + 10));
    leaves.push(foreign("xiaolu", token::NOW + 10_000));
    Log::of(AUTHORITY, leaves, &authority_key())
}

/// The story as it stands when the authority log had three leaves at the admission.
fn shared_story() -> Story {
    let mut story = trail_story();
    let Event::InstructionAdmitted(event) = &mut story[at::ADMITTED].1 else { panic!() };
    event.authority_size = 3;
    story.truncate(at::REPORTED);
    story
}

#[test]
fn others_key_sets_need_no_pin_of_who_asks_about_one_controller() {
    let (trail, authority) = (Log::trail(&shared_story()), shared_authority());
    let verdict = verify(&bundle(&trail, &authority, None), &pins()).unwrap();
    assert_eq!((verdict.authority_size, verdict.authority_withheld), (4, 0));
    // The audit of everything is another question.
    let audited = super::log_fixtures::verify(&trail.files(), &authority.files(), &pins()).unwrap_err();
    assert!(audited.to_string().contains("controllers/leting is not pinned"), "{audited}");
}

#[test]
fn a_controllers_own_bundle_shows_others_leaves_as_hashes_and_says_so() {
    let (trail, authority) = (Log::trail(&shared_story()), shared_authority());
    let mut good = bundle(&trail, &authority, None);
    for leaf in good.authority.split_off(2) {
        good.withheld.insert(leaf.index, leaf_hash(&leaf.leaf.0));
    }
    let verdict = verify(&good, &pins()).unwrap();
    assert_eq!((verdict.authority_size, verdict.authority_withheld), (4, 2));
    assert!(verdict.to_string().contains("2 of its leaves stand as hashes"));
    assert!(!good.to_json().contains("leting"));

    let mut bad = good.clone();
    bad.withheld.insert(2, leaf_hash(b"another"));
    assert_eq!(fault(&bad).which, Which::AuthorityLog);
    let mut bad = good.clone();
    bad.withheld.remove(&3);
    assert_eq!(fault(&bad).which, Which::AuthorityLog);
    let mut bad = good.clone();
    bad.withheld.insert(7, leaf_hash(b"beyond"));
    assert_eq!(fault(&bad).which, Which::AuthorityLog);
    // The controller's own key set cannot be hidden.
    let mut bad = good;
    let own = bad.authority.pop().unwrap();
    bad.withheld.insert(1, leaf_hash(&own.leaf.0));
    assert_eq!(fault(&bad).which, Which::TrailLeaf(at::ADMITTED as u64));
}

#[test]
fn other_pins_give_no_verdict() {
    let bundle = good();
    let which = |change: &dyn Fn(&mut super::Pins)| {
        let mut pins = pins();
        change(&mut pins);
        verify(&bundle, &pins).unwrap_err().which
    };
    let other_log = crate::trail::SigningKey::from_seed(TRAIL, &[9; 32]).unwrap();
    assert_eq!(which(&|pins| pins.trail.vkey = other_log.verifier_key().clone()), Which::TrailCheckpoint);
    assert_eq!(
        which(&|pins| pins.authority.vkey = other_log.verifier_key().clone()),
        Which::AuthorityCheckpoint
    );
    // A cosigner that is not pinned is a stranger: its line is ignored, and so is its date.
    let undated = super::Pins { freshness: None, ..pins() };
    assert_eq!(verify(&bundle, &undated).unwrap().authority_fresh_at, None);
    let xingyu = || "xingyu".parse().unwrap();
    let other_digest = |pins: &mut super::Pins| {
        pins.controllers.insert(xingyu(), Digest::of("x"));
    };
    assert_eq!(which(&other_digest), Which::AuthorityLeaf(1));
    assert_eq!(which(&|pins| pins.controllers.clear()), Which::AuthorityLeaf(1));
    let other_key = token::key("ann").public().clone();
    let agent = || "rtc-agent".parse().unwrap();
    assert_eq!(
        which(&|pins| drop(pins.agents.insert(agent(), other_key.clone()))),
        Which::TrailLeaf(at::AGENT as u64)
    );
    let mut witnessed = pins();
    witnessed
        .witnesses
        .vkeys
        .push(crate::trail::CosigningKey::from_seed("w.example", &[7; 32]).unwrap().verifier_key().clone());
    witnessed.witnesses.required = 1;
    assert_eq!(verify(&bundle, &witnessed).unwrap_err().which, Which::TrailCheckpoint);
}

#[test]
fn a_builder_takes_leaves_that_belong_and_one_instruction() {
    let (trail, authority) = logs();
    let mut builder = BundleBuilder::new(&trail.checkpoint, &authority.checkpoint);
    let mut add =
        |index: usize| builder.trail_leaf(index as u64, &trail.leaves[index], trail.proof(index)).map(drop);
    assert_eq!(add(0), Err(BundleError::Type(0)));
    assert_eq!(add(at::ADMITTED), Ok(()));
    assert_eq!(add(at::ADMITTED), Ok(()));
    assert_eq!(
        builder.trail_leaf(99, &trail.leaves[at::ADMITTED], vec![]).err(),
        Some(BundleError::Instruction)
    );
    assert_eq!(builder.trail_leaf(98, b"x", vec![]).err(), Some(BundleError::Leaf(98)));
    let empty = BundleBuilder::new(&trail.checkpoint, &authority.checkpoint);
    assert_eq!(empty.build(), Err(BundleError::Instruction));
    assert!(matches!(Bundle::read(b"{}"), Err(BundleError::Form { line: 1, .. })));
}
