//! A gateway with the sample registry, in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mandate::app::App;
use mandate::cli::client::{Client, Profile};
use mandate::cli::demo::Enterprise;
use mandate::config::{GatewayConfig, Place, Server};
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::event::MessageRead;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use mandate::store::{Command, StoreError, Tx};

use crate::cluster::Cluster;
use crate::measure::{Figure, measure};
use crate::{CONNECTIONS, acceptor};

pub struct Gateway {
    dir: PathBuf,
    pub config: GatewayConfig,
    pub app: Arc<App>,
    pub address: std::net::SocketAddr,
    enterprises: Vec<Arc<Enterprise>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Gateway {
    /// On files, or on a server.
    pub async fn open(dir: &Path, cluster: Option<&Cluster>) -> Gateway {
        mandate::cli::init::make(dir, 0, 1).await.expect("a set-up");
        let mut config = GatewayConfig::load(&dir.join("gateway.toml")).expect("the configuration");
        if let Some(cluster) = cluster {
            for (place, name) in
                [(&mut config.database, "database.url"), (&mut config.keyring, "keyring.url")]
            {
                let file = dir.join(name);
                std::fs::write(&file, cluster.database()).expect("the URL is written");
                *place = Place::Server(Server { postgres_url_file: file });
            }
            let database = mandate::cli::serve::database(&config.database).expect("a database");
            database.migrate().await.expect("migrated");
            let keyring = mandate::cli::serve::keyring(&config.keyring).expect("a keyring");
            keyring.migrate().await.expect("migrated");
        }
        let app = mandate::cli::serve::open(&config, Arc::new(SystemClock), Arc::new(SystemEntropy))
            .await
            .expect("opens");
        mandate::cli::serve::register_first_keys(&app, &config).await.expect("the operator's key");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = mandate::grpc::server::serve(
            app.clone(),
            listener,
            acceptor(&config),
            config.gateway.clone(),
            async {
                let _ = stopped.await;
            },
        );
        tokio::spawn(server);
        let mut gateway =
            Gateway { dir: dir.to_owned(), config, app, address, enterprises: Vec::new(), _stop: stop };
        let operator = Client::open(gateway.profile("operator")).await.expect("the operator");
        mandate::cli::registry::apply(&operator, &dir.join("registry.toml")).await.expect("the registry");
        for _ in 0..CONNECTIONS {
            let enterprise = Enterprise::with_profile(gateway.profile("xingyu")).await;
            gateway.enterprises.push(Arc::new(enterprise.expect("the enterprise")));
        }
        gateway
    }

    pub fn profile(&self, name: &str) -> Profile {
        let file = self.dir.join(format!("profiles/{name}.toml"));
        let mut profile = Profile::load(&file).expect("a profile");
        profile.gateway = self.address.to_string();
        profile
    }

    pub fn token(&self) -> String {
        self.enterprises[0].client.token().expect("a token")
    }

    /// The instruction key of the enterprise that submits.
    pub fn signer(&self) -> serde_json::Value {
        let file = self.dir.join("keys/xingyu/instruction.jwk");
        serde_json::from_slice(&std::fs::read(file).expect("the key")).expect("a JWK")
    }

    /// New ones, signed.
    pub fn instructions(&self, count: usize) -> Arc<Vec<Vec<u8>>> {
        let xingyu = &self.enterprises[0];
        let one = |n| {
            let subject = vec![Identifier::user(&xingyu.app, format!("bench-{n}"))];
            let order = xingyu.order(Act::Erase, subject, None).expect("an order");
            xingyu.sign(&order).expect("signed").to_wire().into_bytes()
        };
        Arc::new((0..count).map(one).collect())
    }

    pub async fn submit(&self, in_flight: usize, count: usize) -> Figure {
        let wires = self.instructions(count);
        let enterprises = self.enterprises.clone();
        measure(in_flight, count, move |n| {
            let (enterprise, wires) = (enterprises[n % CONNECTIONS].clone(), wires.clone());
            async move {
                let request = v1::SubmitInstructionRequest { instruction: wires[n].clone().into() };
                enterprise.client.instructions().submit_instruction(request).await.expect("admitted");
            }
        })
        .await
    }

    /// Appends leaves until the trail has that many; returns how many it has.
    pub async fn grow_to(&self, leaves: u64) -> u64 {
        loop {
            let size = self.app.store.heads().await.expect("the heads").trail.size;
            if size >= leaves {
                return size;
            }
            self.app.store.transact(Grow(2_000.min(leaves - size))).await.expect("it grows");
        }
    }
}

struct Grow(u64);

#[async_trait::async_trait]
impl Command for Grow {
    const NAME: &'static str = "grow";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for _ in 0..self.0 {
            let id = tx.new_uuid();
            tx.append(&format!("messages/{id}"), MessageRead { by: "support/bench".to_owned() })?;
        }
        Ok(())
    }
}
