//! The command that admits a signed instruction: what needs state is decided here, at leaf time.
//!
//! Many come at once, so they run together: one load of what they all are judged by, a decision each,
//! one write. An instruction that is refused, repeated or submitted twice in one batch runs by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::authority::{AdmissionContext, AgreementTerms, admit};
use crate::domain::event::{InstructionAdmitted, Order};
use crate::domain::request::served_by;
use crate::domain::{
    AppId, ControllerId, ExecutionId, InstructionId, InstructionState, Reason, Refusal, RequestId,
    RequestStage, Right, RightStage, StoreId,
};
use crate::store::executions::NewExecution;
use crate::store::instructions::{self, InstructionRow, JtiRow};
use crate::store::{Command, Conn, RanTogether, StoreError, Topic, Tx, executions, registry, requests};
use crate::token::{Instruction, KeySet};
use crate::vault::{DataKey, Vault};

use super::submit_instruction::write_refusal;

/// What the writer decided.
pub(super) enum Decided {
    Admitted(InstructionRow, Vec<ExecutionId>),
    /// The same instruction was admitted before.
    Again(InstructionRow, Vec<ExecutionId>),
    Refused(Refusal),
    /// The key set it was verified under is no longer the newest: verify again.
    KeySetMoved,
}

pub(super) struct Admit {
    pub controller: ControllerId,
    pub instruction: Instruction,
    /// The set it was verified under.
    pub key_set: Arc<KeySet>,
    pub received: Vec<u8>,
    pub sealed: Vec<u8>,
    pub key: DataKey,
    pub vault: Vault,
    pub last_try: bool,
}

/// An agreement covers every app of its controller.
fn terms_of(agreement: &registry::Agreement, app: &AppId) -> AgreementTerms {
    let registry::Agreement { id: _, controller, terms, start, end } = agreement;
    AgreementTerms {
        controller: controller.clone(),
        apps: [app.clone()].into(),
        categories: terms.categories.iter().copied().collect(),
        purposes: terms.purposes.iter().copied().collect(),
        stores: terms.stores.iter().cloned().collect(),
        regions: terms.regions.iter().cloned().collect(),
        valid_from: *start,
        valid_until: Some(*end),
    }
}

/// What an instruction that may be admitted will bring about.
struct Orders {
    stores: Vec<StoreId>,
    served: Vec<Right>,
}

/// What instructions are judged by, read under the writer.
struct Facts {
    owners: HashMap<AppId, ControllerId>,
    agreements: Vec<registry::Agreement>,
    /// Version and digest of each controller's newest key set.
    key_sets: HashMap<ControllerId, (u64, String)>,
}

impl Facts {
    async fn load(conn: &mut Conn, commands: &[&Admit]) -> Result<Facts, StoreError> {
        let apps: HashSet<&AppId> = commands.iter().map(|c| &c.instruction.statement().app).collect();
        let controllers: HashSet<&ControllerId> = commands.iter().map(|c| &c.controller).collect();
        Ok(Facts {
            owners: registry::app_owners(conn, &apps).await?,
            agreements: registry::agreements_of(conn, &controllers).await?,
            key_sets: registry::key_set_heads(conn, &controllers).await?,
        })
    }

    /// Whether the set that the command was verified under is still the newest.
    fn is_newest(&self, command: &Admit) -> bool {
        let under = command.instruction.verified_under();
        self.key_sets
            .get(&command.controller)
            .is_some_and(|(version, digest)| *version == under.version && *digest == under.digest.to_string())
    }
}

/// An admission with its leaf in place, its rows still to be written.
struct Entered {
    row: InstructionRow,
    executions: Vec<NewExecution>,
}

impl Entered {
    fn decided(self) -> Decided {
        Decided::Admitted(self.row, self.executions.into_iter().map(|e| e.id).collect())
    }
}

/// Writes the rows of admissions whose leaves are in place.
async fn write(tx: &mut Tx<'_>, entered: &[Entered]) -> Result<(), StoreError> {
    instructions::insert(tx, entered.iter().map(|e| &e.row)).await?;
    instructions::use_jtis(
        tx,
        entered.iter().map(|Entered { row, .. }| {
            let used = JtiRow { digest: row.digest.clone(), outcome: "admitted".into(), leaf: row.leaf };
            (&row.controller, row.id, used)
        }),
    )
    .await?;
    executions::insert(tx, entered.iter().flat_map(|e| &e.executions)).await
}

impl Admit {
    fn jti(&self) -> InstructionId {
        self.instruction.statement().jti
    }

    /// The rules that need state. Nothing is written here.
    async fn decide(&self, tx: &mut Tx<'_>, facts: &Facts) -> Result<Result<Orders, Refusal>, StoreError> {
        let statement = self.instruction.statement();
        let stores = match self.judge(facts, tx.now_seconds()) {
            Ok(stores) => stores,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(request) = statement.req else { return Ok(Ok(Orders { stores, served: Vec::new() })) };
        let Some(case) = requests::find(tx.conn(), &self.controller, &request).await? else {
            return Ok(Err(Refusal::at(Reason::RequestUnknown, "payload.req")));
        };
        if case.app != statement.app || !case.stage.may_be_instructed() {
            return Ok(Err(
                Refusal::at(Reason::RequestUnknown, "payload.req").note("the case is of another app or over")
            ));
        }
        let rights: Vec<_> = case.rights.iter().map(|r| (r.right, r.stage)).collect();
        Ok(served_by(statement.act, &rights).map(|served| Orders { stores, served }))
    }

    /// The pure rule, under each agreement in turn: the first that covers it is enough. The stores ordered.
    fn judge(&self, facts: &Facts, now: i64) -> Result<Vec<StoreId>, Refusal> {
        let newest = &*self.key_set;
        let app = &self.instruction.statement().app;
        let owner = facts.owners.get(app);
        let mut answer = None;
        for agreement in facts.agreements.iter().filter(|a| a.controller == self.controller) {
            let terms = terms_of(agreement, app);
            let context = AdmissionContext { newest, app_owner: owner, agreement: Some(&terms), now };
            match admit(&self.instruction, &context) {
                Ok(admission) => return Ok(admission.scope().stores.iter().cloned().collect()),
                // "Outside" says more than "none in force".
                Err(refusal) if refusal.reason == Reason::AgreementMissing && answer.is_some() => {}
                Err(refusal) => answer = Some(refusal),
            }
        }
        match answer {
            Some(refusal) => Err(refusal),
            None => {
                let context = AdmissionContext { newest, app_owner: owner, agreement: None, now };
                admit(&self.instruction, &context).and(Err(Reason::AgreementMissing.into()))
            }
        }
    }

    /// Appends the leaf, marks the case, and says what rows are to be written.
    async fn enter(&self, tx: &mut Tx<'_>, orders: Orders) -> Result<Entered, StoreError> {
        let statement = self.instruction.statement();
        let id = statement.jti;
        let executions: Vec<Order> = orders
            .stores
            .iter()
            .map(|store| Order { execution: ExecutionId::from_uuid(tx.new_uuid()), store: store.clone() })
            .collect();
        let signed_part = self.instruction.signed_part();
        let authority_size = tx.authority_size();
        let leaf = tx.append(
            &id.resource_name(),
            InstructionAdmitted {
                controller: self.controller.clone(),
                app: statement.app.clone(),
                act: statement.act,
                digest: self.instruction.digest().to_string(),
                signed_part: signed_part.clone(),
                key_set_version: statement.key_set.version,
                key_set_digest: statement.key_set.digest.to_string(),
                authority_size,
                request: statement.req,
                executions: executions.clone(),
            },
        )?;
        let row = InstructionRow {
            controller: self.controller.clone(),
            id,
            app: statement.app.clone(),
            act: statement.act,
            request: statement.req,
            digest: self.instruction.digest().to_string(),
            signed_part: signed_part.into_bytes(),
            key_set_version: statement.key_set.version,
            authority_size,
            state: InstructionState::Admitted,
            admitted_at: tx.now_seconds(),
            expires_at: statement.exp,
            leaf,
            key_id: Some(self.key.id().to_string()),
            sealed_envelope: Some(self.sealed.clone()),
        };
        for order in &executions {
            tx.wake(Topic::Orders(order.store.clone()));
        }
        if let Some(request) = statement.req {
            self.mark_request(tx, &request, &orders.served).await?;
        }
        let executions = executions
            .into_iter()
            .map(|Order { execution, store }| NewExecution {
                id: execution,
                controller: self.controller.clone(),
                instruction: id,
                store,
            })
            .collect();
        Ok(Entered { row, executions })
    }

    async fn mark_request(
        &self,
        tx: &mut Tx<'_>,
        request: &RequestId,
        served: &[Right],
    ) -> Result<(), StoreError> {
        let Some(mut case) = requests::find(tx.conn(), &self.controller, request).await? else {
            return Err(StoreError::Corrupt("requests"));
        };
        for right in case.rights.iter_mut().filter(|r| served.contains(&r.right)) {
            right.stage = RightStage::Instructed;
            right.instruction = Some(self.jti().to_string());
            requests::set_right(tx, request, &right.clone()).await?;
        }
        if !served.is_empty() {
            case.stage = RequestStage::Instructed;
        }
        case.acknowledged_at.get_or_insert(tx.now_seconds());
        requests::update(tx, &case).await?;
        requests::acknowledge_delivery(tx, &self.controller, request).await
    }

    /// A refused instruction stays refused: it cannot be kept to be tried again when the state suits it.
    async fn refuse(&self, tx: &mut Tx<'_>, refusal: Refusal) -> Result<Decided, StoreError> {
        let leaf =
            write_refusal(tx, &self.vault, &self.controller, &self.received, &refusal, Some(self.jti()))
                .await?;
        let used = JtiRow {
            digest: self.instruction.digest().to_string(),
            outcome: refusal.reason.code().into(),
            leaf,
        };
        instructions::use_jtis(tx, [(&self.controller, self.jti(), used)]).await?;
        Ok(Decided::Refused(refusal))
    }

    /// The answer a used-up `jti` gets.
    async fn answer_again(&self, tx: &mut Tx<'_>, used: JtiRow) -> Result<Decided, StoreError> {
        if used.digest != self.instruction.digest().to_string() {
            let refusal = Refusal::at(Reason::JtiReused, "payload.jti");
            write_refusal(tx, &self.vault, &self.controller, &self.received, &refusal, Some(self.jti()))
                .await?;
            return Ok(Decided::Refused(refusal));
        }
        if let Some(reason) = Reason::from_code(&used.outcome) {
            return Ok(Decided::Refused(reason.into()));
        }
        let row = instructions::find(tx.conn(), &self.controller, &self.jti())
            .await?
            .ok_or(StoreError::Corrupt("jtis.outcome"))?;
        let executions = executions::of_instruction(tx.conn(), &self.controller, &self.jti()).await?;
        Ok(Decided::Again(row, executions.into_iter().map(|e| e.id).collect()))
    }
}

#[async_trait::async_trait]
impl Command for Admit {
    const NAME: &'static str = "admit_instruction";
    type Output = Decided;

    const TOGETHER: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Decided, StoreError> {
        if let Some(used) = instructions::jti(tx.conn(), &self.controller, &self.jti()).await? {
            return self.answer_again(tx, used).await;
        }
        let facts = Facts::load(tx.conn(), &[self]).await?;
        let is_newest = facts.is_newest(self);
        if !is_newest && !self.last_try {
            return Ok(Decided::KeySetMoved);
        }
        let decision = if is_newest {
            self.decide(tx, &facts).await?
        } else {
            Err(Refusal::new(Reason::KeySetNotCurrent))
        };
        match decision {
            Ok(orders) => {
                let entered = [self.enter(tx, orders).await?];
                write(tx, &entered).await?;
                let [entered] = entered;
                Ok(entered.decided())
            }
            Err(refusal) => self.refuse(tx, refusal).await,
        }
    }

    async fn run_together(
        commands: &[&Self],
        tx: &mut Tx<'_>,
    ) -> Result<Vec<Option<RanTogether<Decided>>>, StoreError> {
        let ids: Vec<_> = commands.iter().map(|c| (&c.controller, c.jti())).collect();
        // A jti that was used up, or comes twice in this batch, is answered by itself.
        let mut taken = instructions::used(tx.conn(), &ids).await?;
        let facts = Facts::load(tx.conn(), commands).await?;
        let mut entered = Vec::new();
        let mut is_in = Vec::with_capacity(commands.len());
        for command in commands {
            let fresh = taken.insert((command.controller.clone(), command.jti()));
            let admissible = fresh && facts.is_newest(command);
            let orders = if admissible { command.decide(tx, &facts).await?.ok() } else { None };
            is_in.push(orders.is_some());
            if let Some(orders) = orders {
                entered.push(command.enter(tx, orders).await?);
            }
        }
        write(tx, &entered).await?;
        let mut entered = entered.into_iter();
        let next = |is_in: bool| if is_in { entered.next() } else { None };
        let ran = is_in.into_iter().map(next).map(|entered| {
            entered.map(|entered| RanTogether { leaf: Some(entered.row.leaf), output: entered.decided() })
        });
        Ok(ran.collect())
    }
}
