//! Every refusal of an instruction, through the wire, with its reason code; each leaves a leaf.

use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, Category, Clock, Identifier, InstructionId};
use mandate::token::{Categories, InstructionDraft, KeyKind, KeySetRef, PrivateKey, base64url};
use serde_json::{Map, Value, json};

use crate::harness::World;

const USER: &str = "u_8839201";

/// A payload and its disclosures, to spoil before signing.
struct Parts {
    payload: Map<String, Value>,
    disclosures: Vec<String>,
}

impl Parts {
    fn of(draft: &InstructionDraft) -> Self {
        let (payload, disclosures) = draft.seal(&SystemEntropy).expect("the draft can be written");
        let payload = serde_json::from_slice(&payload).expect("the payload is JSON");
        Self { payload, disclosures }
    }

    fn set(mut self, name: &str, value: Value) -> Self {
        self.payload.insert(name.into(), value);
        self
    }

    fn sign(&self, key: &PrivateKey) -> String {
        sign_raw(
            &serde_json::to_vec(&self.payload).expect("JSON"),
            &self.disclosures,
            key,
            "instruction+sd-jwt",
        )
    }
}

fn sign_raw(payload: &[u8], disclosures: &[String], key: &PrivateKey, typ: &str) -> String {
    let header = json!({"typ": typ, "alg": key.algorithm().header_name(), "kid": key.id()});
    let input = format!("{}.{}", base64url::encode(header.to_string()), base64url::encode(payload));
    let signature = key.sign(input.as_bytes()).expect("the key signs");
    let mut wire = format!("{input}.{}~", base64url::encode(signature));
    for disclosure in disclosures {
        wire.push_str(disclosure);
        wire.push('~');
    }
    wire
}

fn order(enterprise: &Enterprise) -> InstructionDraft {
    let subject =
        vec![Identifier::user(&enterprise.app, USER), Identifier::Opaque { id: "device-7f31c2".into() }];
    enterprise.order(Act::Erase, subject, None).expect("an order")
}

fn digest_of(disclosure: &str) -> Value {
    json!({"...": mandate::token::Digest::of(disclosure)})
}

fn disclosure(value: &Value) -> String {
    base64url::encode(value.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_get_an_instruction_wrong_has_its_reason() {
    let world = World::without_agent(|_| {}).await;
    let xingyu = world.enterprise("xingyu").await;
    let leting = world.enterprise("leting").await;
    let key = &xingyu.key;
    let now = SystemClock.now_seconds();
    let salt = || base64url::encode([7u8; 16]);
    let parts = || Parts::of(&order(&xingyu));
    let draft = || order(&xingyu);
    let signed = |draft: InstructionDraft| draft.sign(&[key], &SystemEntropy).expect("signs").to_wire();

    let mut cases: Vec<(&str, &str, String)> = Vec::new();
    let mut case = |name, reason, wire| cases.push((name, reason, wire));

    // Signature, key, header.
    let good = signed(draft());
    let mut tampered = good.clone().into_bytes();
    let at = good.find('.').expect("compact") + 12;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    case("tampered", "SIGNATURE_INVALID", String::from_utf8(tampered).expect("ASCII"));
    let stranger = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).expect("a key");
    case("wrong key", "KEY_UNKNOWN", draft().sign(&[&stranger], &SystemEntropy).expect("signs").to_wire());
    let payload = serde_json::to_vec(&parts().payload).expect("JSON");
    case("wrong typ", "HEADER_INVALID", sign_raw(&payload, &parts().disclosures, key, "JWT"));
    let header =
        base64url::encode(json!({"typ": "instruction+sd-jwt", "alg": "none", "kid": key.id()}).to_string());
    let none = format!("{header}.{}.~", base64url::encode(&payload));
    case("alg none", "ALGORITHM_NOT_ALLOWED", none);
    case("no token at all", "INSTRUCTION_MALFORMED", "not an instruction".into());
    case("padding", "ENCODING_NOT_CANONICAL", good.replacen('.', "=.", 1));

    // Whose, where, when.
    let mut foreign_app = draft();
    foreign_app.app = leting.app.clone();
    foreign_app.subject = vec![Identifier::user(&leting.app, USER)];
    case("foreign app", "APP_UNKNOWN", signed(foreign_app));
    let mut unknown_app = draft();
    unknown_app.app = "no-such-app".parse().expect("a slug");
    unknown_app.subject = vec![Identifier::user(&unknown_app.app, USER)];
    case("unknown app", "APP_UNKNOWN", signed(unknown_app));
    let mut elsewhere = draft();
    elsewhere.aud = "another.example/trail".into();
    case("another trail", "AUDIENCE_MISMATCH", signed(elsewhere));
    let mut other_issuer = draft();
    other_issuer.iss = leting.id.clone();
    case("another issuer", "ISSUER_MISMATCH", signed(other_issuer));
    let mut expired = draft();
    (expired.iat, expired.exp) = (now - 7200, now - 3600);
    case("expired", "INSTRUCTION_EXPIRED", signed(expired));
    let mut early = draft();
    early.nbf = Some(now + 3600);
    case("not yet valid", "INSTRUCTION_NOT_YET_VALID", signed(early));
    let mut long = draft();
    long.exp = now + 31 * 86_400;
    case("lives too long", "INSTRUCTION_LIFETIME", signed(long));
    let mut wrong_version = draft();
    wrong_version.key_set = KeySetRef { version: 2, digest: xingyu.key_set.digest };
    case("wrong key set version", "KEY_SET_NOT_CURRENT", signed(wrong_version));
    let mut outside = draft();
    outside.categories = Categories::Some(vec![Category::Account]);
    case("outside the agreement", "OUTSIDE_AGREEMENT", signed(outside));
    let mut other_store = draft();
    other_store.stores = Some(vec!["accounts".parse().expect("a slug")]);
    case("a store outside the agreement", "OUTSIDE_AGREEMENT", signed(other_store));
    let mut no_request = draft();
    no_request.req = Some(mandate::domain::RequestId::from_uuid(uuid_v7(&SystemClock, &SystemEntropy)));
    case("unknown request", "REQUEST_UNKNOWN", signed(no_request));
    let mut other_subject = draft();
    other_subject.subject = vec![Identifier::user(&leting.app, USER)];
    case("subject of another app", "SUBJECT_MISMATCH", signed(other_subject));

    // Members.
    case("unknown member", "MEMBER_UNKNOWN", parts().set("comment", "please".into()).sign(key));
    let twice = String::from_utf8(payload.clone()).expect("UTF-8").replacen('{', "{\"act\":\"erase\",", 1);
    case(
        "duplicate member",
        "MEMBER_DUPLICATE",
        sign_raw(twice.as_bytes(), &parts().disclosures, key, "instruction+sd-jwt"),
    );
    let mut missing = parts();
    missing.payload.remove("basis");
    case("missing member", "MEMBER_MISSING", missing.sign(key));
    case("unregistered basis", "MEMBER_INVALID", parts().set("basis", "because".into()).sign(key));
    let clear = json!({"format": "aliases", "identifiers": [{"format": "email", "email": "a@b.example"}]});
    case("subject in the clear", "PERSONAL_DATA_IN_CLEAR", parts().set("sub_id", clear).sign(key));
    case(
        "an address in the clear",
        "PERSONAL_DATA_IN_CLEAR",
        parts().set("email", "a@b.example".into()).sign(key),
    );

    // Disclosures.
    let mut withheld = parts();
    withheld.disclosures.pop();
    case("withheld disclosure", "DISCLOSURE_MISSING", withheld.sign(key));
    let mut repeated = parts();
    repeated.disclosures.push(repeated.disclosures[0].clone());
    case("repeated disclosure", "DISCLOSURE_REPEATED", repeated.sign(key));
    let mut alien = parts();
    alien.disclosures.push(disclosure(&json!([salt(), {"format": "opaque", "id": "x"}])));
    case("alien disclosure", "DISCLOSURE_ALIEN", alien.sign(key));
    let single = |value: &Value| {
        let made = disclosure(value);
        let mut one = parts().set("sub_id", json!({"format": "aliases", "identifiers": [digest_of(&made)]}));
        one.disclosures = vec![made];
        one.sign(key)
    };
    case(
        "nested disclosure",
        "DISCLOSURE_NESTED",
        single(&json!([salt(), {"format": "opaque", "id": {"_sd": []}}])),
    );
    case("weak salt", "SALT_WEAK", single(&json!(["c2hvcnQ", {"format": "opaque", "id": "x"}])));
    case("malformed disclosure", "DISCLOSURE_MALFORMED", single(&json!({"id": "x"})));
    let (a, b) = (
        disclosure(&json!([salt(), {"format": "opaque", "id": "x"}])),
        disclosure(&json!([salt(), {"format": "opaque", "id": "y"}])),
    );
    let mut equal_salts =
        parts().set("sub_id", json!({"format": "aliases", "identifiers": [digest_of(&a), digest_of(&b)]}));
    equal_salts.disclosures = vec![a, b];
    case("equal salts", "SALT_WEAK", equal_salts.sign(key));

    // Size.
    let large = parts().set("comment", "x".repeat(9000).into()).sign(key);
    case("payload too large", "INSTRUCTION_TOO_LARGE", large);
    case("message too large", "INSTRUCTION_TOO_LARGE", format!("{good}{}~", "A".repeat(70_000)));

    // A processor's act that is not carried out yet is verified, and then refused.
    let mut revoke = draft();
    revoke.act = Act::Restrict;
    case("act of a later release", "SIGNER_ROLE", signed(revoke));

    let count = cases.len();
    let mut wrong = Vec::new();
    for (name, expected, wire) in cases {
        match xingyu.refused(&wire).await {
            Ok(reason) if reason == expected => {}
            Ok(reason) => wrong.push(format!("{name}: {reason}, expected {expected}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));

    // Each refusal is a leaf, and the whole verifies.
    world.export_and_verify().await;
    let refusals = leaves_of_type(&world, "mandate.instruction.refused").await;
    assert_eq!(refusals, count, "a refusal left no leaf, or more than one");
}

async fn leaves_of_type(world: &World, wanted: &str) -> usize {
    let auditor = world.client("auditor").await;
    let (mut start, mut found) = (0, 0);
    loop {
        let request = mandate::grpc::v1::ListLeavesRequest { log: 1, start, count: 1024 };
        let page = auditor.audit().list_leaves(request).await.expect("the leaves").into_inner();
        if page.leaves.is_empty() {
            return found;
        }
        for leaf in &page.leaves {
            let leaf: Value = serde_json::from_slice(leaf).expect("a leaf is JSON");
            found += usize::from(leaf["type"] == wanted);
        }
        start = page.next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_instruction_again_gets_the_first_answer_and_its_id_is_used_up() {
    let world = World::without_agent(|_| {}).await;
    let xingyu = world.enterprise("xingyu").await;
    let draft = order(&xingyu);
    let wire = xingyu.sign(&draft).expect("signs").to_wire();
    let first = xingyu.submit(&wire).await.expect("admitted").instruction.expect("shown");
    let again = xingyu.submit(&wire).await.expect("the first answer").instruction.expect("shown");
    assert_eq!(first, again, "a replay had an effect");

    let mut other = order(&xingyu);
    other.jti = draft.jti;
    let reason = xingyu.refused(&xingyu.sign(&other).expect("signs").to_wire()).await.expect("refused");
    assert_eq!(reason, "JTI_REUSED");

    // Another controller may choose the same id: it is told nothing of ours.
    let leting = world.enterprise("leting").await;
    let mut theirs =
        leting.order(Act::Erase, vec![Identifier::user(&leting.app, USER)], None).expect("an order");
    theirs.jti = draft.jti;
    leting
        .submit(&leting.sign(&theirs).expect("signs").to_wire())
        .await
        .expect("ids are each controller's own");
    let unknown = InstructionId::from_uuid(uuid_v7(&SystemClock, &SystemEntropy)).resource_name();
    for name in [unknown, first.executions[0].clone()] {
        let request = mandate::grpc::v1::GetInstructionRequest { name };
        let status = leting.client.instructions().get_instruction(request).await.expect_err("not theirs");
        assert!(matches!(status.code(), tonic::Code::NotFound | tonic::Code::InvalidArgument));
    }
    let mine = mandate::grpc::v1::GetExecutionRequest { name: first.executions[0].clone() };
    let status = leting.client.executions().get_execution(mine).await.expect_err("not theirs");
    assert_eq!(crate::harness::reason(&status), "NOT_FOUND");
    world.export_and_verify().await;
}
