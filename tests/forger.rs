//! What whoever took the gateway over can do with all that the gateway has: its database, its keyring,
//! and the keys of both logs. What is forged here is sealed into the logs for good, with valid
//! checkpoints and proofs: only the controllers' keys and what the agent knows by itself are not at hand.

use std::path::Path;
use std::sync::Arc;

use mandate::app::App;
use mandate::config::GatewayConfig;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::event::{InstructionAdmitted, KeySetPublished, Order};
use mandate::domain::{
    Act, AppId, Clock, ControllerId, ExecutionId, InstructionId, InstructionState, StoreId,
};
use mandate::store::executions::{self, NewExecution};
use mandate::store::instructions::{self, InstructionRow};
use mandate::store::{Command, StoreError, Tx};
use mandate::token::{Envelope, InstructionDraft, KeySetRef, SignedKeySet};
use mandate::vault::{Place, RetentionClass};

/// The gateway's own process is stopped while this is open.
pub struct Forger {
    pub app: Arc<App>,
}

/// An admission that nobody gave, as its leaf will tell it.
#[derive(Clone)]
pub struct Forgery {
    pub controller: ControllerId,
    pub app: AppId,
    pub act: Act,
    pub jti: InstructionId,
    pub key_set: KeySetRef,
    pub store: StoreId,
    /// What the leaf says was admitted: digest and signed part.
    pub admitted: String,
    /// What the agent will be handed.
    pub delivered: String,
}

impl Forgery {
    /// A leaf that says what the draft says, over this instruction.
    pub fn of(draft: &InstructionDraft, wire: String) -> Self {
        Self {
            controller: draft.iss.clone(),
            app: draft.app.clone(),
            act: draft.act,
            jti: draft.jti,
            key_set: draft.key_set,
            store: "rtc".parse().expect("a slug"),
            admitted: wire.clone(),
            delivered: wire,
        }
    }

    fn ordered(&self, id: ExecutionId) -> NewExecution {
        NewExecution {
            id,
            controller: self.controller.clone(),
            instruction: self.jti,
            store: self.store.clone(),
            not_before: 0,
        }
    }
}

impl Forger {
    pub async fn open(dir: &Path) -> Self {
        let config = GatewayConfig::load(&dir.join("gateway.toml")).expect("the configuration");
        let app = mandate::cli::serve::open(&config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await;
        Self { app: app.expect("what the gateway has opens") }
    }

    pub async fn close(self) {
        self.app.close().await.expect("the keyring closes");
    }

    /// Writes the admission and its order; the execution's resource name.
    pub async fn admit(&self, forgery: Forgery) -> String {
        let key = self.app.vault.keyring().take(RetentionClass::Instruction).await.expect("a data key");
        let row = format!("{}/{}", forgery.controller, forgery.jti);
        let place = Place { table: "instructions", row: &row, column: "sealed_envelope" };
        let sealed = self.app.vault.seal(&key, place, forgery.delivered.as_bytes());
        let command = Admit { forgery, sealed, key_id: key.id().to_string() };
        let done = self.app.store.transact(command).await.expect("it is written");
        done.value.resource_name()
    }

    /// A second order for what was admitted once: another leaf under the same name. Its index, and the execution's
    /// resource name. The instruction's row is left to be moved to it.
    pub async fn admit_again(&self, forgery: Forgery) -> (u64, String) {
        let done = self.app.store.transact(Again { forgery }).await.expect("it is written").value;
        (done.0, done.1.resource_name())
    }

    /// Puts a key set into the authority log that its controller's root never signed.
    pub async fn publish(&self, controller: ControllerId, key_set: Vec<u8>) {
        self.app.store.transact(Publish { controller, key_set }).await.expect("it is written");
    }
}

fn leaf(tx: &mut Tx<'_>, forgery: &Forgery) -> Result<(u64, ExecutionId), StoreError> {
    let envelope = Envelope::read(forgery.admitted.as_bytes())?;
    let execution = ExecutionId::from_uuid(tx.new_uuid());
    let event = InstructionAdmitted {
        controller: forgery.controller.clone(),
        app: forgery.app.clone(),
        act: forgery.act,
        digest: envelope.instruction_digest().to_string(),
        signed_part: envelope.signed_part(),
        key_set_version: forgery.key_set.version,
        key_set_digest: forgery.key_set.digest.to_string(),
        authority_size: tx.authority_size(),
        request: None,
        target: None,
        executions: vec![Order { execution, store: forgery.store.clone() }],
        sub_processors: Vec::new(),
    };
    Ok((tx.append(&forgery.jti.resource_name(), event)?, execution))
}

struct Admit {
    forgery: Forgery,
    sealed: Vec<u8>,
    key_id: String,
}

#[tonic::async_trait]
impl Command for Admit {
    const NAME: &'static str = "forge";
    type Output = ExecutionId;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<ExecutionId, StoreError> {
        let forgery = &self.forgery;
        let (leaf, execution) = leaf(tx, forgery)?;
        // The rows fit what is handed out: the gateway's own look at them finds nothing.
        let envelope = Envelope::read(forgery.delivered.as_bytes())?;
        let row = InstructionRow {
            controller: forgery.controller.clone(),
            id: forgery.jti,
            app: forgery.app.clone(),
            act: forgery.act,
            request: None,
            digest: envelope.instruction_digest().to_string(),
            signed_part: envelope.signed_part().into_bytes(),
            key_set_version: forgery.key_set.version,
            authority_size: tx.authority_size(),
            state: InstructionState::Admitted,
            admitted_at: tx.now_seconds(),
            // Whatever the instruction says.
            expires_at: SystemClock.now_seconds() + 86_400,
            leaf,
            missing: 0,
            withdrawn: std::collections::BTreeSet::new(),
            held_until: None,
            ground: None,
            key_id: Some(self.key_id.clone()),
            sealed_envelope: Some(self.sealed.clone()),
        };
        instructions::insert(tx, [&row]).await?;
        executions::insert(tx, [&forgery.ordered(execution)]).await?;
        Ok(execution)
    }
}

struct Again {
    forgery: Forgery,
}

#[tonic::async_trait]
impl Command for Again {
    const NAME: &'static str = "forge_again";
    type Output = (u64, ExecutionId);

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(u64, ExecutionId), StoreError> {
        let (leaf, execution) = leaf(tx, &self.forgery)?;
        executions::insert(tx, [&self.forgery.ordered(execution)]).await?;
        Ok((leaf, execution))
    }
}

struct Publish {
    controller: ControllerId,
    key_set: Vec<u8>,
}

#[tonic::async_trait]
impl Command for Publish {
    const NAME: &'static str = "forge_key_set";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let signed = SignedKeySet::read(&self.key_set)?;
        let event = KeySetPublished {
            version: signed.version(),
            digest: signed.digest().to_string(),
            key_set: String::from_utf8(self.key_set.clone()).expect("JSON"),
        };
        tx.append_authority(&self.controller.resource_name(), event)?;
        Ok(())
    }
}
