//! One byte changed in any file of an exported set-up: `mandate-verify` says not good, and which.

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

use crate::harness::World;

/// Every file below a folder.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_in_any_file_is_found() {
    let world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let subject = vec![Identifier::user(&xingyu.app, "u_8839201")];
    let order = xingyu.order(Act::Preview, subject, None).expect("an order");
    let (answer, _, _) = xingyu.carry_out(&order).await.expect("carried out");
    let exported = world.export_and_verify().await;
    let folder = exported.to_str().expect("UTF-8");

    // A spread of bytes of each file; the library's own test flips every one of a small set.
    let mut tried = 0;
    for file in files(&exported) {
        if file.ends_with("vkey") {
            // Public copies of what is pinned: the verifier trusts the pins, not these.
            continue;
        }
        let good = std::fs::read(&file).expect("read");
        for at in [0, good.len() / 3, good.len() / 2, good.len() - 2] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&file, &bad).expect("written");
            let (code, text) = world.verify(&["trail", folder]);
            assert_eq!(code, 1, "byte {at} of {} was changed and not found: {text}", file.display());
            assert!(text.contains("NOT GOOD"), "{text}");
            tried += 1;
        }
        std::fs::write(&file, &good).expect("written");
    }
    assert!(tried > 20, "too few files were exported");

    let request =
        v1::GetEvidenceRequest { name: answer.instruction.expect("shown").name, include_disclosures: false };
    let bundle =
        xingyu.client.instructions().get_evidence(request).await.expect("evidence").into_inner().bundle;
    let file = world.path().join("evidence.json");
    for at in (0..bundle.len()).step_by(bundle.len() / 40) {
        let mut bad = bundle.to_vec();
        bad[at] ^= 1;
        std::fs::write(&file, &bad).expect("written");
        let (code, text) = world.verify(&["evidence", file.to_str().expect("UTF-8")]);
        assert_eq!(code, 1, "byte {at} of the evidence was changed and not found: {text}");
    }
}
