//! A controller reads its own cases, and opens those that reached it by its own way.

use serde::{Deserialize, Serialize};

use crate::domain::event::{RequestForwarded, RequestRead, RequestReceived};
use crate::domain::{
    AppId, Category, ControllerId, Reason, Refusal, RequestId, RequestStage, Right, RightStage,
    clock::uuid_v7,
};
use crate::store::calls::{self, CallId, CallRow};
use crate::store::requests::{self, RequestRow, RightRow};
use crate::store::{Command, Committed, Issued, StoreError, Topic, Tx, registry};
use crate::vault::{KeyId, Place, RetentionClass, Vault};

use super::idempotency::{personal_payload, same_personal_payload};
use super::{App, AppResult, RequestUuid};

/// The most one request may name.
const MAX_SUBJECTS: usize = 32;
const MAX_VALUE: usize = 256;

/// Whom a case is about, as said by the person or the controller. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `app_user_id`, `channel_id`, `email`, …
    pub kind: String,
    pub value: String,
    /// `self`, `minor` or `guardian`.
    pub of: String,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subject({})", self.kind)
    }
}

/// The personal part of a case: sealed under the case's data key.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct RequestContent {
    pub subjects: Vec<Subject>,
    /// What concerns this app.
    pub extract: String,
    /// The whole message, where it may be forwarded.
    #[serde(default)]
    pub original: String,
    /// The words each right was read from.
    #[serde(default)]
    pub quotes: Vec<(Right, String)>,
}

/// A case with its content opened.
pub struct RequestView {
    pub row: RequestRow,
    /// `None` once the content was shredded.
    pub content: Option<RequestContent>,
}

/// A case the controller opens itself.
pub struct NewRequest {
    pub app: AppId,
    pub rights: Vec<Right>,
    pub subjects: Vec<Subject>,
    pub received_at: Option<i64>,
    pub guardian: bool,
    pub language: String,
}

/// Where a case's content is sealed.
pub(super) fn content_place(id: &str) -> Place<'_> {
    Place { table: "requests", row: id, column: "sealed_content" }
}

/// Checks what a caller says of a case's subjects.
pub(super) fn check_subjects(subjects: &[Subject]) -> Result<(), Refusal> {
    const KINDS: [&str; 9] = [
        "app_user_id",
        "channel_id",
        "email",
        "phone",
        "phone_masked",
        "ppio_account",
        "device_id",
        "nickname",
        "name",
    ];
    if subjects.len() > MAX_SUBJECTS {
        return Err(Refusal::at(Reason::FieldInvalid, "identifiers").note("at most 32"));
    }
    for subject in subjects {
        if !KINDS.contains(&subject.kind.as_str()) {
            return Err(Refusal::at(Reason::FieldInvalid, "identifiers.type"));
        }
        if subject.value.is_empty() || subject.value.len() > MAX_VALUE {
            return Err(Refusal::at(Reason::FieldInvalid, "identifiers.value").note("1 to 256 bytes"));
        }
        if !matches!(subject.of.as_str(), "" | "self" | "minor" | "guardian") {
            return Err(Refusal::at(Reason::FieldInvalid, "identifiers.of"));
        }
    }
    Ok(())
}

impl App {
    /// Opens a case's content; a shredded one is `None`.
    pub(super) async fn open_request(&self, row: RequestRow) -> AppResult<RequestView> {
        // By the controller's own word the person is not its user: it has nothing more to see.
        if row.stage == RequestStage::Misrouted {
            return Ok(RequestView { row, content: None });
        }
        let content = match (&row.key_id, &row.sealed_content) {
            (Some(key), Some(sealed)) => {
                let key: KeyId = key.parse().map_err(|_| StoreError::Corrupt("requests.key_id"))?;
                let id = row.id.to_string();
                match self.vault.open(key, RetentionClass::Request, content_place(&id), sealed).await {
                    Ok(bytes) => Some(
                        serde_json::from_slice(&bytes)
                            .map_err(|_| StoreError::Corrupt("requests.sealed_content"))?,
                    ),
                    Err(crate::vault::VaultError::Shredded) => None,
                    Err(error) => return Err(error.into()),
                }
            }
            _ => None,
        };
        Ok(RequestView { row, content })
    }

    /// One of the controller's own cases. The look is a leaf.
    pub async fn get_request(&self, controller: &ControllerId, id: RequestId) -> AppResult<RequestView> {
        let row = requests::find(&mut self.store.reader().await?, controller, &id)
            .await?
            .ok_or(Reason::NotFound)?;
        let view = self.open_request(row).await?;
        self.record_read(id.resource_name(), controller, 1).await?;
        Ok(view)
    }

    /// A page of the controller's cases, newest first, and whether more follow. The look is a leaf.
    pub async fn list_requests(
        &self,
        controller: &ControllerId,
        stage: Option<RequestStage>,
        before: Option<RequestId>,
        limit: u32,
    ) -> AppResult<Vec<RequestView>> {
        let rows = requests::page(&mut self.store.reader().await?, controller, stage, before.as_ref(), limit)
            .await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(self.open_request(row).await?);
        }
        if !views.is_empty() {
            self.record_read(controller.resource_name(), controller, views.len() as u32).await?;
        }
        Ok(views)
    }

    pub(super) async fn record_read(
        &self,
        subject: String,
        controller: &ControllerId,
        count: u32,
    ) -> AppResult<()> {
        self.store.transact(RecordRead { subject, by: controller.resource_name(), count }).await?;
        Ok(())
    }

    /// What waits for the controller after `sequence`, in order. A first delivery is a leaf.
    pub async fn deliver(
        &self,
        controller: &ControllerId,
        after: u64,
        limit: u32,
    ) -> AppResult<Vec<(u64, RequestView)>> {
        let waiting = requests::waiting(&mut self.store.reader().await?, controller, after, limit).await?;
        let mut out = Vec::with_capacity(waiting.len());
        for (sequence, id) in waiting {
            let forwarded =
                self.store.transact(Forward { controller: controller.clone(), id, sequence }).await?.value;
            if let Some(row) = forwarded {
                out.push((sequence, self.open_request(row).await?));
            }
        }
        Ok(out)
    }

    /// Opens a case that reached the controller by its own way.
    pub async fn create_request(
        &self,
        controller: &ControllerId,
        request_id: RequestUuid,
        new: NewRequest,
    ) -> AppResult<(RequestView, Issued)> {
        check_subjects(&new.subjects)?;
        if new.rights.is_empty() {
            return Err(Refusal::at(Reason::FieldRequired, "rights").into());
        }
        let mut rights = new.rights.clone();
        rights.sort_unstable();
        rights.dedup();
        let now = self.clock.now_seconds();
        let received_at = new.received_at.unwrap_or(now);
        if received_at > now + 60 {
            return Err(Refusal::at(Reason::FieldInvalid, "received_time").note("lies in the future").into());
        }
        let call = request_id.call(&controller.resource_name(), "CreateRequest");
        let payload = serde_json::to_vec(&(
            new.app.as_str(),
            &rights,
            &new.subjects,
            new.received_at,
            new.guardian,
            &new.language,
        ))
        .map_err(|_| StoreError::Corrupt("payload"))?;
        let earlier = calls::find(&mut self.store.reader().await?, &call).await?;
        if let Some(row) = earlier {
            return self.same_request(controller, row, &payload).await;
        }
        let key = self.vault.keyring().take(RetentionClass::Request).await?;
        let id = RequestId::from_uuid(uuid_v7(&*self.clock, &*self.entropy));
        let content = RequestContent { subjects: new.subjects, ..RequestContent::default() };
        let row = RequestRow {
            id,
            controller: controller.clone(),
            app: new.app,
            origin: "controller".into(),
            // The controller opened it: nothing is left to forward or to acknowledge.
            stage: RequestStage::Acknowledged,
            guardian: new.guardian,
            language: new.language,
            flags: Vec::new(),
            categories: Vec::<Category>::new(),
            matched_by: Vec::new(),
            message: None,
            received_at,
            forwarded_at: None,
            acknowledged_at: Some(now),
            closed_at: None,
            updated_at: now,
            version: 1,
            key_id: Some(key.id().to_string()),
            sealed_content: Some(seal_content(&self.vault, &key, &id, &content)?),
            rights: open_rights(&rights),
        };
        let payload_digest = personal_payload(&key, &payload);
        let committed = self
            .store
            .transact(Create { row: row.clone(), call: call.clone(), payload: payload_digest })
            .await;
        match committed {
            Ok(Committed { value, receipt }) => {
                let issued = receipt.ok_or(StoreError::Corrupt("receipt"))?;
                Ok((RequestView { row: value, content: Some(content) }, issued))
            }
            // Two calls with one id raced: the other one won.
            Err(StoreError::Refused(refusal)) if refusal.reason == Reason::RequestIdReused => {
                let row = calls::find(&mut self.store.reader().await?, &call)
                    .await?
                    .ok_or(StoreError::Corrupt("calls"))?;
                self.same_request(controller, row, &payload).await
            }
            Err(error) => Err(error),
        }
    }

    async fn same_request(
        &self,
        controller: &ControllerId,
        row: CallRow,
        payload: &[u8],
    ) -> AppResult<(RequestView, Issued)> {
        if !same_personal_payload(&self.vault, RetentionClass::Request, &row, payload).await? {
            return Err(Reason::RequestIdReused.into());
        }
        let id = RequestId::from_resource_name(&row.resource)
            .map_err(|_| StoreError::Corrupt("calls.resource"))?;
        let found = requests::find(&mut self.store.reader().await?, controller, &id)
            .await?
            .ok_or(Reason::NotFound)?;
        // The answer shows the content again: a look like any other.
        self.record_read(id.resource_name(), controller, 1).await?;
        Ok((self.open_request(found).await?, self.store.receipt(row.leaf).await?))
    }
}

/// Each right open, once.
pub(super) fn open_rights(rights: &[Right]) -> Vec<RightRow> {
    rights
        .iter()
        .map(|right| RightRow { right: *right, stage: RightStage::Open, instruction: None, ground: None })
        .collect()
}

pub(super) fn seal_content(
    vault: &Vault,
    key: &crate::vault::DataKey,
    id: &RequestId,
    content: &RequestContent,
) -> Result<Vec<u8>, StoreError> {
    let bytes = zeroize::Zeroizing::new(
        serde_json::to_vec(content).map_err(|_| StoreError::Corrupt("requests.sealed_content"))?,
    );
    Ok(vault.seal(key, content_place(&id.to_string()), &bytes))
}

struct RecordRead {
    subject: String,
    by: String,
    count: u32,
}

#[async_trait::async_trait]
impl Command for RecordRead {
    const NAME: &'static str = "record_request_read";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.append(&self.subject, RequestRead { by: self.by.clone(), count: self.count })?;
        Ok(())
    }
}

/// Marks a delivery's first departure. `None` where the case was acknowledged or taken away meanwhile.
struct Forward {
    controller: ControllerId,
    id: RequestId,
    sequence: u64,
}

#[async_trait::async_trait]
impl Command for Forward {
    const NAME: &'static str = "forward_request";
    type Output = Option<RequestRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<RequestRow>, StoreError> {
        let Some(mut row) = requests::find(tx.conn(), &self.controller, &self.id).await? else {
            return Ok(None);
        };
        if row.stage == RequestStage::Misrouted || row.acknowledged_at.is_some() {
            return Ok(None);
        }
        if row.stage == RequestStage::Routed {
            row.stage = row.stage.forward();
            row.forwarded_at = Some(tx.now_seconds());
            requests::update(tx, &row).await?;
            row.version += 1;
            let event = RequestForwarded { controller: self.controller.clone(), sequence: self.sequence };
            tx.append(&self.id.resource_name(), event)?;
        } else {
            let event = RequestRead { by: self.controller.resource_name(), count: 1 };
            tx.append(&self.id.resource_name(), event)?;
        }
        Ok(Some(row))
    }
}

struct Create {
    row: RequestRow,
    call: CallId,
    payload: String,
}

#[async_trait::async_trait]
impl Command for Create {
    const NAME: &'static str = "create_request";
    type Output = RequestRow;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<RequestRow, StoreError> {
        let owner = registry::app_owner(tx.conn(), &self.row.app).await?;
        if owner.as_ref() != Some(&self.row.controller) {
            return Err(Refusal::at(Reason::AppUnknown, "app").into());
        }
        requests::insert(tx, &self.row).await?;
        let leaf = append_received(tx, &self.row)?;
        let call = CallRow {
            key_id: self.row.key_id.clone(),
            payload: self.payload.clone(),
            resource: self.row.id.resource_name(),
            leaf,
        };
        calls::insert(tx, &self.call, &call).await?;
        tx.wake(Topic::Deliveries(self.row.controller.clone()));
        Ok(self.row.clone())
    }
}

pub(super) fn append_received(tx: &mut Tx<'_>, row: &RequestRow) -> Result<u64, StoreError> {
    tx.append(
        &row.id.resource_name(),
        RequestReceived {
            controller: row.controller.clone(),
            app: row.app.clone(),
            origin: row.origin.clone(),
            rights: row.rights.iter().map(|r| r.right).collect(),
            guardian: row.guardian,
            received: row.received_at,
        },
    )
}
