//! What PPIO does with a controller's data, and with whose help: the record that a processor keeps for each
//! controller (GDPR 30(2); PIPL 55, 56; R25). Made from the registry when it is asked for.

use std::collections::BTreeSet;

use crate::domain::{AgentId, AppId, ControllerId, Reason, Refusal, Region, StoreId, SubProcessorId};
use crate::store::registry::{self, Agreement, Controller};
use crate::store::sub_processors::{self, SubProcessor};

use super::{App, AppResult};

/// A store that an agreement lets be touched.
pub struct RecordedStore {
    pub id: StoreId,
    /// None while no agent stands beside it.
    pub agent: Option<(AgentId, Region)>,
    /// Whose it is, where it is not PPIO's own.
    pub operated_by: Option<SubProcessorId>,
}

pub struct ProcessingRecord {
    /// The processor: the gateway's name.
    pub processor: String,
    pub controller: Controller,
    /// With the names that people know.
    pub apps: Vec<(AppId, String)>,
    pub agreements: Vec<Agreement>,
    pub stores: Vec<RecordedStore>,
    /// Those that an agreement names.
    pub sub_processors: Vec<SubProcessor>,
    /// Who keeps export packages, where it is not PPIO itself.
    pub exports_operated_by: Option<SubProcessorId>,
}

impl App {
    pub async fn processing_record(&self, controller: &ControllerId) -> AppResult<ProcessingRecord> {
        let mut conn = self.store.reader().await?;
        let controller = registry::controller(&mut conn, controller)
            .await?
            .ok_or_else(|| Refusal::at(Reason::NotFound, "controller"))?;
        let agreements = registry::agreements_of(&mut conn, &[&controller.id].into()).await?;
        let stores: BTreeSet<&StoreId> = agreements.iter().flat_map(|one| &one.terms.stores).collect();
        let mut recorded = Vec::with_capacity(stores.len());
        for store in stores {
            let agent = match registry::agent_of(&mut conn, store).await? {
                Some(agent) => registry::agent(&mut conn, &agent).await?,
                None => None,
            };
            recorded.push(RecordedStore {
                id: store.clone(),
                operated_by: agent.as_ref().and_then(|agent| agent.operated_by.get(store).cloned()),
                agent: agent.map(|agent| (agent.id, agent.region)),
            });
        }
        let mut sub_processors = sub_processors::sub_processors(&mut conn).await?;
        sub_processors.retain(|one| agreements.iter().any(|a| a.terms.sub_processors.contains(&one.id)));
        Ok(ProcessingRecord {
            processor: self.store.origins.gateway.clone(),
            apps: registry::app_names(&mut conn, &controller.id).await?,
            controller,
            agreements,
            stores: recorded,
            sub_processors,
            exports_operated_by: self.settings.exports_operated_by.clone(),
        })
    }
}
