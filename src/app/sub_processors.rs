//! The operator registers who may process in PPIO's stead (R25).

use crate::authority::sub_processors::shares;
use crate::domain::event::SubProcessorRegistered;
use crate::domain::{Reason, Refusal, SubProcessorId};
use crate::store::calls::CallId;
use crate::store::registry::Terms;
use crate::store::sub_processors::{self as rows, SubProcessor};
use crate::store::{Command, Issued, StoreError, Tx};

use super::idempotency::plain_payload;
use super::registry::{Registering, again, remember, text};
use super::{App, AppResult};

impl App {
    /// Registers a company that may process in PPIO's stead, for whoever agrees to it (R25).
    pub async fn register_sub_processor(&self, who: Registering, new: SubProcessor) -> AppResult<Issued> {
        text(&new.display_name, "sub_processor.display_name")?;
        if new.purposes.is_empty() {
            return Err(Refusal::at(Reason::FieldRequired, "sub_processor.purposes").into());
        }
        let purposes = format!("{:?}", new.purposes);
        let payload = plain_payload(&[new.id.as_str(), &new.display_name, new.region.as_str(), &purposes]);
        let call = who.request_id.map(|r| r.call(&who.by, "CreateSubProcessor"));
        self.register(RegisterSubProcessor { by: who.by, call, payload, row: new }).await
    }
}

/// `NOT_FOUND` unless each of them is registered.
pub(super) async fn sub_processors_exist<'a>(
    tx: &mut Tx<'_>,
    named: impl IntoIterator<Item = &'a SubProcessorId> + Send,
) -> Result<(), StoreError> {
    let known = rows::sub_processors(tx.conn()).await?;
    for id in named {
        if !known.iter().any(|one| one.id == *id) {
            return Err(Refusal::at(Reason::NotFound, "sub_processor").into());
        }
    }
    Ok(())
}

/// Each that the agreement names does something that the agreement is about (decision 0029).
pub(super) async fn sub_processors_serve(tx: &mut Tx<'_>, terms: &Terms) -> Result<(), StoreError> {
    let known = rows::sub_processors(tx.conn()).await?;
    let idle = |one: &&SubProcessor| {
        terms.sub_processors.contains(&one.id) && !shares(&one.purposes, &terms.purposes)
    };
    match known.iter().find(idle) {
        None => Ok(()),
        Some(one) => Err(Refusal::at(Reason::AgreementInvalid, "agreement.sub_processors")
            .note(format!("{} serves none of its purposes", one.id.resource_name()))
            .into()),
    }
}

struct RegisterSubProcessor {
    by: String,
    call: Option<CallId>,
    payload: String,
    row: SubProcessor,
}

#[async_trait::async_trait]
impl Command for RegisterSubProcessor {
    const NAME: &'static str = "register_sub_processor";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        if let Some(leaf) = again(tx, self.call.as_ref(), &self.payload).await? {
            return Ok(Some(leaf));
        }
        rows::insert_sub_processor(tx, &self.row).await?;
        let name = self.row.id.resource_name();
        let event = SubProcessorRegistered {
            by: self.by.clone(),
            region: self.row.region,
            purposes: self.row.purposes.clone(),
        };
        let leaf = tx.append(&name, event)?;
        remember(tx, self.call.as_ref(), &self.payload, name, leaf).await
    }
}
