//! What the gateway says to an agent that is not well, or not who it should be: through the wire.

use std::sync::Arc;

use mandate::agent::gateway::{Gateway, LeaseHold};
use mandate::agent::orders::Leased;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, AgentId, Clock, ExecutionId, Identifier, Reason};
use mandate::grpc::v1;
use mandate::grpc::v1::agent_service_client::AgentServiceClient;
use mandate::identity::{ClientTls, ClientTlsConfig};
use mandate::token::access::Confirmation;
use mandate::token::report::{AuthorityHead, LedgerHead, PreviewReport};
use mandate::token::{
    AccessClaims, CollectionOutcome, CollectionReport, Digest, PrivateKey, Report, ReportOutcome,
};
use sqlx::Connection;

use crate::agent_files::config;
use crate::harness::{World, reason, within};

fn private_key(path: &std::path::Path) -> PrivateKey {
    PrivateKey::from_jwk(std::fs::read_to_string(path).expect("the key").trim().as_bytes()).expect("a key")
}

/// The agent's line, without the agent.
pub fn line(world: &World) -> Gateway {
    line_to(world, 0)
}

/// The same to the n-th gateway.
pub fn line_to(world: &World, n: usize) -> Gateway {
    let mut config = config(world.path());
    config.gateway.address = world.address_of(n);
    let key = private_key(&config.gateway.access_key);
    Gateway::load(&config.gateway, &config.agent, key, Arc::new(SystemClock), Arc::new(SystemEntropy))
        .expect("the line's material loads")
}

/// The one order that waits.
pub async fn lease(gateway: &Gateway) -> (LeaseHold, Leased) {
    let order = gateway.lease(10).await.expect("answered").expect("an order");
    let leased = Leased::read(order).expect("an order");
    (LeaseHold { execution: leased.execution, token: leased.lease_token.clone() }, leased)
}

fn report(world: &World, agent: &AgentId, leased: &Leased) -> String {
    report_by(world, agent, leased, &private_key(&config(world.path()).report_key))
}

/// A report of a preview that looked into one collection, signed by that key.
pub fn report_by(world: &World, agent: &AgentId, leased: &Leased, key: &PrivateKey) -> String {
    let config = config(world.path());
    let pins = std::fs::read_to_string(&config.pins).expect("the pins");
    let pins = mandate::authority::Pins::parse(&pins).expect("pins");
    let report = Report {
        agent: agent.clone(),
        aud: pins.trail.origin.clone(),
        jti: uuid_v7(&SystemClock, &SystemEntropy),
        iat: SystemClock.now_seconds(),
        execution: leased.execution,
        instruction: leased.claimed_instruction().expect("named"),
        instruction_digest: leased.digest,
        sub_digests: leased.claimed_subject(),
        act: Act::Preview,
        store: leased.store.clone(),
        attempt: leased.attempt,
        outcome: ReportOutcome::Completed,
        reason: None,
        map_version: "1".into(),
        authority: AuthorityHead { size: 1, root: Digest::of("root") },
        collections: vec![CollectionReport {
            collection: "users".into(),
            outcome: CollectionOutcome::Counted,
            rows: None,
            ground: None,
            until: None,
            kept: Vec::new(),
        }],
        preview: Some(PreviewReport { digest: Digest::of("plan"), as_of: SystemClock.now_seconds() }),
        export: None,
        ledger: LedgerHead { sequence: 1, head: Digest::of("ledger") },
    };
    report.sign(key).expect("signs")
}

#[tokio::test(flavor = "multi_thread")]
async fn details_nobody_could_read_are_refused_and_a_report_taken_shows_its_receipt_to_its_agent_alone() {
    let world = World::without_agent(|_| {}).await;
    let xingyu = world.enterprise("xingyu").await;
    let subject = vec![Identifier::user(&xingyu.app, "u_8839201")];
    let order = xingyu.order(Act::Preview, subject, None).expect("an order");
    xingyu.submit(&xingyu.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    let gateway = line(&world);
    let (hold, leased) = lease(&gateway).await;
    assert!(gateway.report_receipt(hold.execution).await.expect("answered").is_none(), "nothing is reported");

    let text = report(&world, &config(world.path()).agent, &leased);
    let salt = "ab".repeat(32);
    let garbage = [
        "rubbish".to_owned(),
        "{}".to_owned(),
        format!(r#"{{"salt":"{salt}","counts":[],"more":1}}"#),
        format!(r#"{{"salt":"{salt}","counts":[{{"collection":1}}]}}"#),
        r#"{"salt":"short","counts":[]}"#.to_owned(),
        format!(r#"{{"salt":"{}","counts":[]}}"#, salt.to_uppercase()),
    ];
    for details in garbage {
        let refusal =
            gateway.report(&hold, text.clone(), details.clone().into_bytes()).await.expect_err("taken");
        assert_eq!(refusal.reason, Reason::ReportInvalid, "{details}");
    }
    let counts = r#"[{"collection":"users","outcome":"counted","rows":3}]"#;
    let details = format!(r#"{{"salt":"{salt}","counts":{counts}}}"#).into_bytes();
    let taken = gateway.report(&hold, text.clone(), details).await.expect("taken");
    let ask = v1::GetExecutionRequest { name: hold.execution.resource_name() };
    let shown = xingyu.client.executions().get_execution(ask).await.expect("it can be read").into_inner();
    let preview = shown.execution.and_then(|execution| execution.preview).expect("a preview");
    assert_eq!((preview.salt, preview.counts[0].rows), (salt, 3));

    let receipt = gateway.report_receipt(hold.execution).await.expect("answered").expect("a receipt");
    assert_eq!((receipt.index, &receipt.leaf), (taken.index, &taken.leaf));
    // No such execution, and another agent's, are one answer.
    let nobodys = ExecutionId::from_uuid(uuid_v7(&SystemClock, &SystemEntropy));
    assert!(gateway.report_receipt(nobodys).await.expect("answered").is_none());
    let path = world.path().join("data/gateway.sqlite");
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
    sqlx::query("UPDATE executions SET agent_id = 'another'").execute(&mut connection).await.expect("edited");
    connection.close().await.expect("closes");
    assert!(gateway.report_receipt(hold.execution).await.expect("answered").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_with_its_token_and_leaves_nothing() {
    let world = World::without_agent(|_| {}).await;
    let xingyu = world.enterprise("xingyu").await;
    let subject = vec![Identifier::user(&xingyu.app, "u_8839201")];
    let order = xingyu.order(Act::Export, subject, None).expect("an order");
    xingyu.submit(&xingyu.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    let (hold, _) = lease(&line(&world)).await;

    let config = config(world.path());
    let access = &config.gateway;
    let files = ClientTlsConfig {
        ca: access.ca.clone(),
        certificate: access.certificate.clone(),
        key: access.key.clone(),
        server_name: Some(access.server_name.clone()),
    };
    let tls = ClientTls::load(&files, Arc::new(SystemClock)).expect("the material loads");
    let endpoint =
        tonic::transport::Endpoint::from_shared(format!("https://{}", access.address)).expect("an address");
    let now = SystemClock.now_seconds();
    let claims = AccessClaims {
        iss: config.agent.resource_name(),
        sub: access.spiffe_id.clone(),
        aud: access.audience.clone(),
        iat: now,
        exp: now + 3,
        jti: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
        scope: "orders.report".into(),
        cnf: Confirmation { certificate: Digest::from_bytes(*tls.certificate_sha256()) },
    };
    let token = claims.mint(&private_key(&access.access_key)).expect("signs");
    let first = v1::UploadExportRequest {
        execution: hold.execution.resource_name(),
        lease_token: hold.token.clone(),
        digest: Digest::of("package").to_string(),
        size: 7,
        data: "pack".into(),
    };
    // The rest never comes.
    let messages = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    let mut request = tonic::Request::new(messages);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let mut client = AgentServiceClient::new(tls.connect(&endpoint).await.expect("the handshake"));
    let refused =
        within(20, "the end of the token", client.upload_export(request)).await.expect_err("it ends");
    assert_eq!(reason(&refused), "TOKEN_EXPIRED");
    let exports = world.path().join("data/exports");
    assert_eq!(std::fs::read_dir(exports).expect("the folder").count(), 0, "what had come was kept");
}
