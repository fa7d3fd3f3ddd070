//! Health says what callers will find: not serving while the database is away or takes no writes, and serving again
//! by itself. Who watches sees each change. A full disk: `io_faults.rs`.

use std::time::Duration;

use mandate::cli::client::Profile;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, ServiceUnknown, Serving};
use tonic_health::pb::health_client::HealthClient;

use crate::cluster::Cluster;
use crate::harness::{World, reason, within};
use crate::refused_callers::channel;

/// The one service that writes nothing.
pub const READS: &str = "mandate.v1.ExecutionService";

/// A stream of what health says of one service.
pub struct Watched(tonic::Streaming<HealthCheckResponse>);

impl Watched {
    pub async fn new(profile: &Profile, service: &str) -> Self {
        let mut client = HealthClient::new(channel(profile).await.0);
        let call = HealthCheckRequest { service: service.into() };
        Self(client.watch(call).await.expect("a stream").into_inner())
    }

    /// What it says next.
    pub async fn next(&mut self) -> ServingStatus {
        let next = within(20, "what health says", self.0.message()).await;
        next.expect("no error").expect("the stream goes on").status()
    }

    /// That it has nothing more to say.
    pub async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(2), self.0.message()).await.is_err()
    }
}

/// What a look of a load balancer says.
async fn check(profile: &Profile, service: &str) -> ServingStatus {
    let mut client = HealthClient::new(channel(profile).await.0);
    let call = HealthCheckRequest { service: service.into() };
    client.check(call).await.expect("health is always answered").into_inner().status()
}

struct Scene {
    world: World,
    cluster: Cluster,
    profile: Profile,
    whole: Watched,
    reads: Watched,
}

impl Scene {
    async fn new() -> Self {
        let cluster = tokio::task::block_in_place(|| {
            let cluster = Cluster::create();
            cluster.start();
            cluster
        });
        let world = World::on_cluster(&cluster, 1, |_| {}).await;
        let profile = world.profile("auditor");
        let mut whole = Watched::new(&profile, "").await;
        let mut reads = Watched::new(&profile, READS).await;
        assert_eq!((whole.next().await, reads.next().await), (Serving, Serving));
        Self { world, cluster, profile, whole, reads }
    }

    /// The reason that an instruction is refused with; `OK` where it is taken.
    async fn submits(&self) -> String {
        let xingyu = self.world.enterprise("xingyu").await;
        let order = xingyu.order(Act::Preview, vec![Identifier::user(&xingyu.app, "u_8839201")], None);
        let wire = xingyu.sign(&order.expect("an order")).expect("signs").to_wire();
        match xingyu.submit(&wire).await {
            Ok(_) => "OK".into(),
            Err(mandate::cli::CliError::Status(status)) => reason(&status),
            Err(other) => panic!("{other}"),
        }
    }

    fn sql(&self, statements: &str) {
        tokio::task::block_in_place(|| self.cluster.sql("postgres", statements));
    }

    fn name_of(&self, database: &str) -> String {
        let url = std::fs::read_to_string(self.world.path().join(format!("{database}.url")));
        Cluster::name(&url.expect("the URL")).to_owned()
    }

    fn cut(&self, name: &str) {
        self.sql(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_database_is_away_says_so_though_nobody_calls() {
    let mut scene = Scene::new().await;
    for mode in ["fast", "immediate"] {
        tokio::task::block_in_place(|| scene.cluster.stop(mode));
        assert_eq!((scene.whole.next().await, scene.reads.next().await), (NotServing, NotServing));
        assert_eq!(check(&scene.profile, "").await, NotServing);
        tokio::task::block_in_place(|| scene.cluster.start());
        assert_eq!((scene.whole.next().await, scene.reads.next().await), (Serving, Serving));
        assert_eq!(scene.submits().await, "OK");
    }
    // A connection that was cut and is made again at once is nobody's business.
    scene.cut(&scene.name_of("database"));
    assert_eq!(scene.submits().await, "OK");
    assert!(scene.whole.is_silent().await);
    assert_eq!(Watched::new(&scene.profile, "mandate.v1.NoService").await.next().await, ServiceUnknown);

    // Who watches hears that it closes.
    let gateway = scene.world.gateway.take().expect("it runs");
    let stopped = tokio::task::spawn_blocking(|| gateway.stop());
    assert_eq!((scene.whole.next().await, scene.reads.next().await), (NotServing, NotServing));
    within(5, "the stop: nobody who watches holds it up", stopped).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_can_only_read_serves_what_only_reads() {
    let mut scene = Scene::new().await;
    let (state, keyring) = (scene.name_of("database"), scene.name_of("keyring"));
    assert_eq!(scene.submits().await, "OK");

    // A server that takes no writes: found by the first that is tried.
    scene.sql(&format!("ALTER DATABASE {state} SET default_transaction_read_only = on"));
    scene.cut(&state);
    assert_eq!(scene.submits().await, "UNAVAILABLE");
    assert_eq!(scene.whole.next().await, NotServing);
    let xingyu = scene.world.client("xingyu").await;
    xingyu.executions().list_executions(v1::ListExecutionsRequest::default()).await.expect("reads go on");
    scene.sql(&format!("ALTER DATABASE {state} RESET default_transaction_read_only"));
    assert_eq!(scene.whole.next().await, Serving);
    assert_eq!(scene.submits().await, "OK");

    // The keyring alone: what is sealed is closed.
    scene.sql(&format!("ALTER DATABASE {keyring} ALLOW_CONNECTIONS false"));
    scene.cut(&keyring);
    assert_eq!(scene.whole.next().await, NotServing);
    scene.sql(&format!("ALTER DATABASE {keyring} ALLOW_CONNECTIONS true"));
    assert_eq!(scene.whole.next().await, Serving);
    assert!(scene.reads.is_silent().await, "what only reads went on all the time");
    scene.world.examine();
}
