//! Mail comes in and is brought to the one right controller (DESIGN §9).
//!
//! What the machine reads is a suggestion, each with its words; only exact registered facts
//! route. Everything else waits in triage, where support decides. The mail itself, what was
//! read from it and the salt of its commitment are sealed under one key that dies with it.

use crate::domain::event::{MessageAssigned, MessageDismissed, MessageRead, MessageReceived};
use crate::domain::routing::{self, Facts, House, Registered, Route};
use crate::domain::{
    AppId, Category, ControllerId, MessageId, Reason, Refusal, RequestId, RequestStage, Right, clock::uuid_v7,
};
use crate::intake::Candidate;
use crate::store::calls::{self, CallId, CallRow};
use crate::store::messages::{self, MessageRow, MessageState};
use crate::store::requests::{self, RequestRow};
use crate::store::{Command, Issued, StoreError, Topic, Tx, registry};
use crate::vault::{DataKey, KeyId, Place, RetentionClass, VaultError, commit};

use super::idempotency::{Once, once, personal_payload, plain_payload, same_personal_payload};
use super::requests::{RequestContent, Subject, append_received, check_subjects, open_rights, seal_content};
use super::{App, AppResult, RequestUuid};

/// Apps read for one routing decision. A registry beyond this must be paged.
const ALL_APPS: u32 = 100_000;
/// Attested times may lie this far ahead of ours, seconds.
const AHEAD: i64 = 60;

/// A message, with what was read from it.
pub struct MessageView {
    pub row: MessageRow,
    /// `None` in lists and once shredded.
    pub candidate: Option<Candidate>,
}

/// The answer to whatever moved a message.
pub struct TakenIn {
    pub message: MessageView,
    pub receipt: Issued,
}

/// What support decides of a message in triage.
pub struct Assignment {
    pub app: AppId,
    /// Replace what was read, where not empty.
    pub rights: Vec<Right>,
    pub subjects: Vec<Subject>,
    /// A version support redacted and releases, in place of the extract.
    pub redacted_extract: Option<String>,
}

fn place<'a>(row: &'a str, column: &'a str) -> Place<'a> {
    Place { table: "messages", row, column }
}

impl App {
    /// Takes one mail in. `received_at` is what support attests; the mail's own arrival otherwise.
    pub async fn submit_mail(
        &self,
        by: &str,
        mail: &[u8],
        received_at: Option<i64>,
        request_id: RequestUuid,
    ) -> AppResult<TakenIn> {
        let call = request_id.call(by, "SubmitMail");
        let earlier = calls::find(&mut self.store.reader().await?, &call).await?;
        if let Some(row) = earlier {
            return self.same_mail(by, row, mail).await;
        }
        let facts = self.facts().await?;
        let candidate = crate::intake::read(mail, &facts, &self.settings.intake)?;
        let now = self.clock.now_seconds();
        let received_at = received_at.or_else(|| candidate.received_at.map(|t| t.as_second())).unwrap_or(now);
        if received_at > now + AHEAD {
            return Err(Refusal::at(Reason::FieldInvalid, "received_time").note("lies in the future").into());
        }
        let id = MessageId::from_uuid(uuid_v7(&*self.clock, &*self.entropy));
        let key = self.vault.keyring().take(RetentionClass::Intake).await?;
        let (commitment, salt) = commit(&*self.entropy, "mandate/message/v1", mail);
        let (state, reason) = match &candidate.route {
            Route::Triage { reason, .. } => (MessageState::Triage, reason.words()),
            _ => (MessageState::Routed, ""),
        };
        let text = id.to_string();
        let sealed_candidate = zeroize::Zeroizing::new(to_bytes(&candidate)?);
        let mut message = MessageRow {
            id,
            state,
            triage_reason: reason.into(),
            request: None,
            controller: candidate.route.controller().cloned(),
            app: candidate.route.app().cloned(),
            received_at,
            flags: candidate.flags.iter().map(crate::intake::Flag::word).collect(),
            key_id: Some(key.id().to_string()),
            sealed_mail: Some(self.vault.seal(&key, place(&text, "sealed_mail"), mail)),
            sealed_candidate: Some(self.vault.seal(
                &key,
                place(&text, "sealed_candidate"),
                &sealed_candidate,
            )),
            sealed_salt: Some(self.vault.seal(&key, place(&text, "sealed_salt"), salt.as_bytes())),
        };
        let case = match (&message.controller, &message.app) {
            (Some(controller), Some(app)) => {
                let from = CaseFrom {
                    controller,
                    app,
                    message: &message,
                    candidate: &candidate,
                    route: &candidate.route,
                    facts: &facts,
                };
                Some(self.case_of(from, None).await?)
            }
            _ => None,
        };
        message.request = case.as_ref().map(|case| case.id);
        let command = TakeIn {
            by: by.to_owned(),
            payload: personal_payload(&key, mail),
            call: call.clone(),
            route: route_word(&candidate.route),
            triage: triage_word(&candidate.route),
            commitment: commitment.to_string(),
            message: message.clone(),
            case,
        };
        match self.store.transact(command).await {
            Ok(committed) => Ok(TakenIn {
                message: MessageView { row: message, candidate: Some(candidate) },
                receipt: committed.receipt.ok_or(StoreError::Corrupt("receipt"))?,
            }),
            // Two calls with one id raced: the other one won.
            Err(StoreError::Refused(refusal)) if refusal.reason == Reason::RequestIdReused => {
                let row = calls::find(&mut self.store.reader().await?, &call)
                    .await?
                    .ok_or(StoreError::Corrupt("calls"))?;
                self.same_mail(by, row, mail).await
            }
            Err(error) => Err(error),
        }
    }

    async fn same_mail(&self, by: &str, row: CallRow, mail: &[u8]) -> AppResult<TakenIn> {
        if !same_personal_payload(&self.vault, RetentionClass::Intake, &row, mail).await? {
            return Err(Reason::RequestIdReused.into());
        }
        let id = MessageId::from_resource_name(&row.resource)
            .map_err(|_| StoreError::Corrupt("calls.resource"))?;
        // The answer shows the content again: a look like any other.
        self.store.transact(RecordLook { by: by.to_owned(), id }).await?;
        Ok(TakenIn { message: self.open_message(id).await?, receipt: self.store.receipt(row.leaf).await? })
    }

    /// Messages without their content, newest first.
    pub async fn list_messages(
        &self,
        state: Option<MessageState>,
        before: Option<MessageId>,
        limit: u32,
    ) -> AppResult<Vec<MessageRow>> {
        messages::page(&mut self.store.reader().await?, state, before.as_ref(), limit).await
    }

    /// Shows one message. The look is a leaf, durable before anything is shown.
    pub async fn get_message(&self, by: &str, id: MessageId) -> AppResult<MessageView> {
        let view = self.open_message(id).await?;
        self.store.transact(RecordLook { by: by.to_owned(), id }).await?;
        Ok(view)
    }

    async fn open_message(&self, id: MessageId) -> AppResult<MessageView> {
        let row = messages::find(&mut self.store.reader().await?, &id).await?.ok_or(Reason::NotFound)?;
        let candidate = match (&row.key_id, &row.sealed_candidate) {
            (Some(key), Some(sealed)) => {
                let key: KeyId = key.parse().map_err(|_| StoreError::Corrupt("messages.key_id"))?;
                let text = id.to_string();
                let opened = self
                    .vault
                    .open(key, RetentionClass::Intake, place(&text, "sealed_candidate"), sealed)
                    .await;
                match opened {
                    Ok(bytes) => Some(
                        serde_json::from_slice(&bytes)
                            .map_err(|_| StoreError::Corrupt("messages.sealed_candidate"))?,
                    ),
                    Err(VaultError::Shredded) => None,
                    Err(error) => return Err(error.into()),
                }
            }
            _ => None,
        };
        Ok(MessageView { row, candidate })
    }

    /// Routes a message in triage by hand, with support's corrections.
    pub async fn assign_message(
        &self,
        by: &str,
        id: MessageId,
        assignment: Assignment,
        request_id: Option<RequestUuid>,
    ) -> AppResult<TakenIn> {
        check_subjects(&assignment.subjects)?;
        let view = self.open_message(id).await?;
        let candidate =
            view.candidate.ok_or_else(|| Refusal::new(Reason::NotFound).note("it was shredded"))?;
        let call = request_id.map(|r| r.call(by, "AssignMessage"));
        let payload = self.assignment_payload(&view.row, &assignment).await?;
        // A look before the work; what counts is the one under the writer.
        let earlier = once(&mut self.store.reader().await?, call.as_ref(), &payload).await?;
        if let Once::Again(row) = earlier {
            return self.taken_in(id, row.leaf).await;
        }
        let owner = registry::app_owner(&mut self.store.reader().await?, &assignment.app).await?;
        let controller = owner.ok_or_else(|| Refusal::at(Reason::NotFound, "app"))?;
        if assignment.rights.is_empty() && candidate.rights.is_empty() {
            return Err(Refusal::at(Reason::FieldRequired, "rights").note("none was read: say which").into());
        }
        // Which of them is whose only a person can tell, and a wrong guess tells one enterprise of another's user.
        let went_elsewhere = candidate.route.app().is_some_and(|app| *app != assignment.app);
        if (names_several(&candidate.route) || went_elsewhere) && assignment.subjects.is_empty() {
            return Err(Refusal::at(Reason::FieldRequired, "identifiers")
                .note("the mail names another app or company: say which identifiers go there")
                .into());
        }
        let corrected = !assignment.rights.is_empty() || !assignment.subjects.is_empty();
        let redacted = assignment.redacted_extract.is_some();
        let facts = self.facts().await?;
        let app = assignment.app.clone();
        // Support's decision stands in place of the machine's: the extract is cut for that app.
        let route = Route::App { app: app.clone(), controller: controller.clone(), matched: Vec::new() };
        let from = CaseFrom {
            controller: &controller,
            app: &app,
            message: &view.row,
            candidate: &candidate,
            route: &route,
            facts: &facts,
        };
        let case = self.case_of(from, Some(assignment)).await?;
        let command = Assign { by: by.to_owned(), call, payload, message: id, case, corrected, redacted };
        let leaf = self.store.transact(command).await?.value;
        self.taken_in(id, leaf).await
    }

    /// The message as it stands, with the receipt of the leaf that moved it.
    async fn taken_in(&self, id: MessageId, leaf: u64) -> AppResult<TakenIn> {
        Ok(TakenIn { message: self.open_message(id).await?, receipt: self.store.receipt(leaf).await? })
    }

    /// Digest of a whole assignment, under the message's own data key: it dies with it.
    async fn assignment_payload(&self, row: &MessageRow, assignment: &Assignment) -> AppResult<String> {
        let key =
            row.key_id.as_deref().ok_or_else(|| Refusal::new(Reason::NotFound).note("it was shredded"))?;
        let key: KeyId = key.parse().map_err(|_| StoreError::Corrupt("messages.key_id"))?;
        let key = self.vault.keyring().key(key, RetentionClass::Intake).await?;
        let Assignment { app, rights, subjects, redacted_extract } = assignment;
        let whole = serde_json::to_vec(&(row.id.to_string(), app, rights, subjects, redacted_extract))
            .map_err(|_| StoreError::Corrupt("payload"))?;
        Ok(personal_payload(&key, &whole))
    }

    /// Ends a message that asks for nothing.
    pub async fn dismiss_message(
        &self,
        by: &str,
        id: MessageId,
        request_id: Option<RequestUuid>,
    ) -> AppResult<TakenIn> {
        let call = request_id.map(|r| r.call(by, "DismissMessage"));
        let leaf = self.store.transact(Dismiss { by: by.to_owned(), call, id }).await?.value;
        self.taken_in(id, leaf).await
    }

    /// All registered facts: a snapshot for one decision.
    pub(crate) async fn facts(&self) -> AppResult<Facts> {
        let mut conn = self.store.reader().await?;
        let apps = registry::apps(&mut conn, "", ALL_APPS).await?;
        let house = registry::house(&mut conn).await?;
        let mut companies = std::collections::BTreeMap::new();
        for controller in registry::controllers(&mut conn, "", ALL_APPS).await? {
            companies.insert(controller.id, controller.display_name);
        }
        let house_app =
            house.as_ref().and_then(|house| apps.iter().find(|app| app.controller == house.id)).ok_or_else(
                || Refusal::new(Reason::Unavailable).note("no house controller with an app is registered"),
            )?;
        let house = House {
            app: house_app.id.clone(),
            controller: house_app.controller.clone(),
            brands: self.settings.house_brands.clone(),
            domains: self.settings.intake.house_domains.clone(),
        };
        let registered = apps
            .iter()
            .filter(|app| app.controller != house.controller)
            .map(|app| Registered {
                app: app.id.clone(),
                controller: app.controller.clone(),
                facts: facts_of(app, companies.get(&app.controller).map(String::as_str)),
            })
            .collect();
        Ok(Facts { house, apps: registered })
    }

    /// The case a message becomes: fields, extract, and only what concerns its app.
    async fn case_of(&self, from: CaseFrom<'_>, correction: Option<Assignment>) -> AppResult<RequestRow> {
        let CaseFrom { controller, app, message, candidate, route, facts } = from;
        let is_by_hand = correction.is_some();
        let (rights, subjects, redacted) = match correction {
            Some(Assignment { app: _, rights, subjects, redacted_extract }) => {
                (rights, subjects, redacted_extract)
            }
            None => (Vec::new(), Vec::new(), None),
        };
        let mut rights =
            if rights.is_empty() { candidate.rights.iter().map(|f| f.what).collect() } else { rights };
        rights.sort_unstable();
        rights.dedup();
        let forward = crate::intake::forwardable(candidate, route, facts);
        // Only what concerns this app: another app's ids and words stay behind.
        let subjects = if subjects.is_empty() {
            forward.fields.identifiers.iter().map(subject_of).collect()
        } else {
            subjects
        };
        let (extract, original) = match redacted {
            Some(redacted) => (redacted, String::new()),
            None if forward.original_releasable => (forward.extract, candidate.body.clone()),
            None => (forward.extract, String::new()),
        };
        let content = RequestContent {
            subjects,
            extract,
            original,
            quotes: if is_by_hand {
                // The words may be about another app.
                Vec::new()
            } else {
                candidate.rights.iter().map(|f| (f.what, f.words.clone())).collect()
            },
        };
        let key: DataKey = self.vault.keyring().take(RetentionClass::Request).await?;
        let id = RequestId::from_uuid(uuid_v7(&*self.clock, &*self.entropy));
        Ok(RequestRow {
            id,
            controller: controller.clone(),
            app: app.clone(),
            origin: "mail".into(),
            stage: RequestStage::Routed,
            guardian: candidate.guardian,
            language: candidate.language.as_str().into(),
            flags: candidate.flags.iter().map(crate::intake::Flag::word).collect(),
            categories: candidate.categories.iter().map(|f| f.what).collect::<Vec<Category>>(),
            matched_by: matched_by(route),
            message: Some(message.id),
            received_at: message.received_at,
            forwarded_at: None,
            acknowledged_at: None,
            closed_at: None,
            updated_at: self.clock.now_seconds(),
            version: 1,
            key_id: Some(key.id().to_string()),
            sealed_content: Some(seal_content(&self.vault, &key, &id, &content)?),
            rights: open_rights(&rights),
        })
    }
}

/// What a case is made from.
struct CaseFrom<'a> {
    controller: &'a ControllerId,
    app: &'a AppId,
    message: &'a MessageRow,
    candidate: &'a Candidate,
    /// Where it goes: read from the mail, or as support decided.
    route: &'a Route,
    facts: &'a Facts,
}

fn facts_of(app: &registry::App, company: Option<&str>) -> Vec<routing::Fact> {
    let mut facts: Vec<routing::Fact> = app
        .facts
        .iter()
        .map(|fact| {
            let kind = match (fact.kind, fact.alias) {
                (registry::FactKind::Name, false) => routing::FactKind::Name,
                (registry::FactKind::Name, true) => routing::FactKind::Alias,
                (registry::FactKind::BundleId, _) => routing::FactKind::BundleId,
                (registry::FactKind::Domain, _) => routing::FactKind::Domain,
                (registry::FactKind::SdkAppId, _) => routing::FactKind::SdkAppId,
            };
            let common = app.common_name && kind == routing::FactKind::Name;
            routing::Fact { kind, text: fact.shown.clone(), common }
        })
        .collect();
    facts.extend(company.map(|name| routing::Fact::new(routing::FactKind::Company, name)));
    facts
}

fn subject_of(found: &crate::intake::Given) -> Subject {
    let of = match found.of {
        crate::intake::Of::Requester => "self",
        crate::intake::Of::Minor => "minor",
        crate::intake::Of::Guardian => "guardian",
    };
    Subject { kind: found.kind.as_str().into(), value: found.value.clone(), of: of.into() }
}

fn matched_by(route: &Route) -> Vec<String> {
    let (Route::App { matched, .. } | Route::House { matched, .. }) = route else { return Vec::new() };
    let mut kinds: Vec<String> = matched
        .iter()
        .filter_map(|e| serde_json::to_value(e.kind).ok()?.as_str().map(str::to_owned))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn route_word(route: &Route) -> &'static str {
    match route {
        Route::App { .. } => "app",
        Route::House { .. } => "house",
        Route::Triage { .. } => "triage",
    }
}

/// More than one app, or somebody else's company, is named in it.
fn names_several(route: &Route) -> bool {
    use routing::TriageReason::{AppAndHouse, NotTheSubject, OnlyInContext, OtherCompany, SeveralApps};
    matches!(
        route,
        Route::Triage {
            reason: SeveralApps | AppAndHouse | OtherCompany | OnlyInContext | NotTheSubject,
            ..
        }
    )
}

/// The stable word of why it waits, such as `no_app`.
fn triage_word(route: &Route) -> String {
    let Route::Triage { reason, .. } = route else { return String::new() };
    serde_json::to_value(reason).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn to_bytes(candidate: &Candidate) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(candidate).map_err(|_| StoreError::Corrupt("messages.sealed_candidate"))
}

struct TakeIn {
    by: String,
    call: CallId,
    payload: String,
    route: &'static str,
    /// The word of the triage reason; empty where it was routed.
    triage: String,
    commitment: String,
    message: MessageRow,
    case: Option<RequestRow>,
}

#[async_trait::async_trait]
impl Command for TakeIn {
    const NAME: &'static str = "take_mail_in";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        messages::insert(tx, &self.message).await?;
        let name = self.message.id.resource_name();
        let reason = (self.route == "triage").then(|| self.triage.clone());
        let leaf = tx.append(
            &name,
            MessageReceived {
                by: self.by.clone(),
                commitment: self.commitment.clone(),
                route: self.route.into(),
                reason,
                request: self.message.request,
                received: self.message.received_at,
            },
        )?;
        let call = CallRow {
            key_id: self.message.key_id.clone(),
            payload: self.payload.clone(),
            resource: name,
            leaf,
        };
        calls::insert(tx, &self.call, &call).await?;
        match &self.case {
            Some(case) => open_case(tx, case).await,
            None => Ok(()),
        }
    }
}

/// Writes a case and puts it in its controller's line.
async fn open_case(tx: &mut Tx<'_>, case: &RequestRow) -> Result<(), StoreError> {
    // The route was decided on a snapshot: the app must still be that controller's.
    if registry::app_owner(tx.conn(), &case.app).await?.as_ref() != Some(&case.controller) {
        return Err(Reason::StageConflict.into());
    }
    requests::insert(tx, case).await?;
    append_received(tx, case)?;
    requests::enqueue_delivery(tx, &case.controller, &case.id).await?;
    tx.wake(Topic::Deliveries(case.controller.clone()));
    Ok(())
}

struct RecordLook {
    by: String,
    id: MessageId,
}

#[async_trait::async_trait]
impl Command for RecordLook {
    const NAME: &'static str = "record_message_read";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.append(&self.id.resource_name(), MessageRead { by: self.by.clone() })?;
        Ok(())
    }
}

struct Assign {
    by: String,
    call: Option<CallId>,
    payload: String,
    message: MessageId,
    case: RequestRow,
    corrected: bool,
    redacted: bool,
}

#[async_trait::async_trait]
impl Command for Assign {
    const NAME: &'static str = "assign_message";
    /// Its leaf, of this call or of the same one before.
    type Output = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        if let Once::Again(row) = once(tx.conn(), self.call.as_ref(), &self.payload).await? {
            return Ok(row.leaf);
        }
        let name = self.message.resource_name();
        messages::assign(tx, &self.message, &self.case.id, &self.case.controller, &self.case.app).await?;
        let leaf = tx.append(
            &name,
            MessageAssigned {
                by: self.by.clone(),
                app: self.case.app.clone(),
                request: self.case.id,
                corrected: self.corrected,
                redacted: self.redacted,
            },
        )?;
        if let Some(call) = &self.call {
            let row = CallRow { key_id: None, payload: self.payload.clone(), resource: name, leaf };
            calls::insert(tx, call, &row).await?;
        }
        open_case(tx, &self.case).await?;
        Ok(leaf)
    }
}

struct Dismiss {
    by: String,
    call: Option<CallId>,
    id: MessageId,
}

#[async_trait::async_trait]
impl Command for Dismiss {
    const NAME: &'static str = "dismiss_message";
    /// Its leaf, of this call or of the same one before.
    type Output = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let payload = plain_payload(&[&self.id.to_string()]);
        if let Once::Again(row) = once(tx.conn(), self.call.as_ref(), &payload).await? {
            return Ok(row.leaf);
        }
        if messages::find(tx.conn(), &self.id).await?.is_none() {
            return Err(Reason::NotFound.into());
        }
        messages::dismiss(tx, &self.id).await?;
        let name = self.id.resource_name();
        let leaf = tx.append(&name, MessageDismissed { by: self.by.clone() })?;
        if let Some(call) = &self.call {
            calls::insert(tx, call, &CallRow { key_id: None, payload, resource: name, leaf }).await?;
        }
        Ok(leaf)
    }
}
