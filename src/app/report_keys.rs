//! An agent's report key is replaced: the one in force vouches for the next, from then on both may sign, and
//! then only the next one may. The agent hands both in itself; nobody else has its key.

use crate::domain::event::{Event, ReportKeyRetired, ReportKeyVouched};
use crate::domain::{AgentId, Reason, Refusal};
use crate::store::report_keys::{self, ReportKeys};
use crate::store::{Command, Conn, Issued, StoreError, Tx, logs, registry};
use crate::token::{PublicJwk, Report, ReportKeySuccession, VerifyingKey};
use crate::trail::Leaf;

use super::own_keys::OwnKeys;
use super::{App, AppResult};

const VOUCHED: &str = "mandate.report_key.vouched";
const RETIRED: &str = "mandate.report_key.retired";
/// Leaves of one agent's keys that are looked through.
const MOST: u32 = 10_000;

impl App {
    /// Takes a succession in. The same key again gets the first answer.
    pub async fn vouch_report_key(&self, agent: &AgentId, succession: &str) -> AppResult<Issued> {
        let origins = self.store.trail_origins().to_vec();
        let command = Vouch {
            agent: agent.clone(),
            succession: succession.to_owned(),
            origins,
            own: self.settings.own_keys.clone(),
        };
        self.register(command).await
    }

    /// From here on only the report key of this thumbprint counts. Said again, it gets the first answer.
    pub async fn retire_report_key(&self, agent: &AgentId, in_force: &str) -> AppResult<Issued> {
        self.register(Retire { agent: agent.clone(), in_force: in_force.to_owned() }).await
    }

    /// A report that was taken in, however long ago: by any key that was the agent's.
    pub(super) async fn taken_report(
        &self,
        conn: &mut Conn,
        agent: &AgentId,
        text: &str,
    ) -> AppResult<Report> {
        let refused = match self.read_report(conn, agent, text).await {
            Err(StoreError::Refused(refusal)) => refusal,
            read => return read.map(|(report, _)| report),
        };
        let origins = self.store.trail_origins();
        let origins = || origins.iter().map(String::as_str);
        let keys = keys_ever(conn, agent, origins).await?;
        let keys: Vec<&VerifyingKey> = keys.iter().collect();
        let read = Report::verify_by(text, &keys, agent, origins());
        Ok(read.map(|(report, _)| report).map_err(|_| refused)?)
    }
}

/// Every report key that the agent had, by its leaves.
async fn keys_ever<'a, O: Iterator<Item = &'a str>>(
    conn: &mut Conn,
    agent: &AgentId,
    origins: impl Fn() -> O,
) -> Result<Vec<VerifyingKey>, StoreError> {
    let types = ["mandate.agent.registered", VOUCHED];
    let leaves = logs::leaves_about(conn, &agent.resource_name(), &types, MOST).await?;
    let mut keys: Vec<VerifyingKey> = Vec::new();
    for (_, leaf) in leaves {
        let known: Vec<&VerifyingKey> = keys.iter().collect();
        let key = Leaf::parse(&leaf).ok().and_then(|leaf| {
            let data = leaf.data();
            match data.get("succession").and_then(|text| text.as_str()) {
                Some(text) => {
                    ReportKeySuccession::verify(text, &known, agent, origins()).ok().map(|read| read.next)
                }
                None => PublicJwk::from_json(data.get("report_key")?.to_string().as_bytes())
                    .and_then(VerifyingKey::new)
                    .ok(),
            }
        });
        keys.push(key.ok_or(StoreError::Corrupt("trail_leaves"))?);
    }
    Ok(keys)
}

async fn keys_of(tx: &mut Tx<'_>, agent: &AgentId) -> Result<ReportKeys, StoreError> {
    Ok(report_keys::of(tx.conn(), agent).await?.ok_or(Reason::NotFound)?)
}

/// The leaf that said so before of this thumbprint.
async fn said(
    tx: &mut Tx<'_>,
    agent: &AgentId,
    type_name: &str,
    member: &str,
    thumbprint: &str,
) -> Result<Option<u64>, StoreError> {
    let leaves = logs::leaves_about(tx.conn(), &agent.resource_name(), &[type_name], MOST).await?;
    let says = |leaf: &[u8]| {
        Leaf::parse(leaf)
            .is_ok_and(|leaf| leaf.data().get(member).and_then(|said| said.as_str()) == Some(thumbprint))
    };
    Ok(leaves.iter().find(|(_, leaf)| says(leaf)).map(|(index, _)| *index))
}

struct Vouch {
    agent: AgentId,
    succession: String,
    origins: Vec<String>,
    /// Keys of the gateway.
    own: OwnKeys,
}

#[async_trait::async_trait]
impl Command for Vouch {
    const NAME: &'static str = "vouch_report_key";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        let keys = keys_of(tx, &self.agent).await?;
        let origins = self.origins.iter().map(String::as_str);
        // One that is vouched for vouches for nobody before it is the one in force.
        let read = ReportKeySuccession::verify(&self.succession, &[&keys.in_force], &self.agent, origins)?;
        self.own.check_not_among(&read.next.id())?;
        let report_key = read.next.id().to_string();
        if let Some(leaf) = said(tx, &self.agent, VOUCHED, "report_key", &report_key).await? {
            return Ok(Some(leaf));
        }
        let name = self.agent.resource_name();
        registry::claim_thumbprint(tx, &report_key, "report", &name).await?;
        report_keys::set_next(tx, &self.agent, &read.next.jwk().canonical()).await?;
        let (by, succession) = (name.clone(), self.succession.clone());
        Ok(Some(tx.append(&name, ReportKeyVouched { by, report_key, succession })?))
    }
}

struct Retire {
    agent: AgentId,
    in_force: String,
}

#[async_trait::async_trait]
impl Command for Retire {
    const NAME: &'static str = "retire_report_key";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        let keys = keys_of(tx, &self.agent).await?;
        if keys.in_force.id().to_string() == self.in_force
            && let Some(leaf) = said(tx, &self.agent, RETIRED, "in_force", &self.in_force).await?
        {
            return Ok(Some(leaf));
        }
        let next = keys.next.filter(|next| next.id().to_string() == self.in_force).ok_or_else(|| {
            Refusal::at(Reason::StageConflict, "in_force").note("no key in force vouched for this one")
        })?;
        report_keys::put_in_force(tx, &self.agent, &next.jwk().canonical()).await?;
        let name = self.agent.resource_name();
        let (in_force, from) = (self.in_force.clone(), tx.trail_size());
        let event = Event::from(ReportKeyRetired { by: name.clone(), in_force, from });
        // In both logs: who reads a part of the trail would not miss it (decision 0017).
        tx.append_authority(&name, event.clone())?;
        Ok(Some(tx.append(&name, event)?))
    }
}
