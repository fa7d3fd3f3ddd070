//! What was read, put together: who asks, for what, about which app, with the words it came from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::flag::Flag;
use super::guardian::{self, Guardianship};
use super::identifiers::{self, Context, Given, IdentifierKind};
use super::kind::{self, MailKind};
use super::language::{self, Language};
use super::letter::{Letter, bare_subject};
use super::mime::{Attachment, Mail, Mailbox};
use super::rights::{self, Asked, Found};
use super::trace::{self, AuthSummary};
use super::{IntakeConfig, categories};
use crate::domain::phrase::{fold, says_any};
use crate::domain::routing::{self, Facts, Passage, Place, Route, TriageReason, Voice};
use crate::domain::{Category, Right, Role, Timestamp};

/// How many characters of a text are read for meaning. A longer mail goes to a person.
const MAX_READ: usize = 20_000;

/// A mail inside the mail.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InnerMail {
    pub subject: String,
    pub from: Mailbox,
    pub date: Option<Timestamp>,
    pub body: String,
}

/// A candidate request. Personal data throughout: it is sealed as JSON; `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub is_request: bool,
    pub kind: MailKind,
    pub subject: String,
    pub from: Mailbox,
    pub message_id: Option<String>,
    pub date: Option<Timestamp>,
    /// The text a person sees.
    pub body: String,
    /// The mail of the one who asks, where another forwarded it.
    pub inner: Option<InnerMail>,
    /// Who asks: the sender, or the sender of the forwarded mail.
    pub requester: Mailbox,
    /// Everything a reader sees, by whose words it is.
    pub passages: Vec<Passage>,
    /// Text in the mail that nobody sees.
    pub unseen: String,
    pub attachments: Vec<Attachment>,
    pub route: Route,
    pub rights: Vec<Found<Right>>,
    pub identifiers: Vec<Given>,
    pub categories: Vec<Found<Category>>,
    pub language: Language,
    pub guardian: bool,
    pub minor_age: Option<u8>,
    pub flags: Vec<Flag>,
    pub auth: AuthSummary,
    /// By our own server's clock.
    pub received_at: Option<Timestamp>,
    /// A suggestion: the date inside a mail that was forwarded late. Support attests it.
    pub first_received_at: Option<Timestamp>,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("is_request", &self.is_request)
            .field("route", &self.route)
            .field("rights", &self.rights)
            .field("identifiers", &self.identifiers)
            .field("flags", &self.flags)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// The letters from the outermost to the one who asks.
struct Chain {
    wrappers: Vec<Letter>,
    request: Letter,
}

fn chain(letter: Letter, auth: AuthSummary, config: &IntakeConfig) -> Chain {
    let mut wrappers = Vec::new();
    let mut letter = letter;
    while wrappers.len() < super::MAX_DEPTH {
        // The sender of the outermost mail alone was checked by our server.
        let checked = !wrappers.is_empty() || auth == AuthSummary::Pass;
        match wraps(&letter, checked, config).then(|| letter.inner.take()).flatten() {
            Some(inner) => {
                wrappers.push(letter);
                letter = *inner;
            }
            None => break,
        }
    }
    Chain { wrappers, request: letter }
}

/// Whether the letter only brings the one inside. PPIO's people forward; others
/// do where they say so and ask for nothing themselves.
fn wraps(letter: &Letter, checked: bool, config: &IntakeConfig) -> bool {
    let Some(inner) = &letter.inner else { return false };
    if inner.from.address.is_empty() {
        return false;
    }
    if is_house(&letter.from, config) && checked && (!is_house(&inner.from, config) || inner.inner.is_some())
    {
        return true;
    }
    let (_, forward, reply) = bare_subject(&letter.subject);
    let silent = letter.own.trim().is_empty();
    !reply
        && (forward || silent)
        && rights::read(&cut(&letter.own)).rights.is_empty()
        && !is_house(&inner.from, config)
}

fn is_house(mailbox: &Mailbox, config: &IntakeConfig) -> bool {
    let domain = mailbox.domain();
    config
        .house_domains
        .iter()
        .any(|h| domain == h || domain.strip_suffix(h.as_str()).is_some_and(|d| d.ends_with('.')))
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_READ).collect()
}

/// Puts a candidate together.
pub fn of(mail: &Mail, facts: &Facts, config: &IntakeConfig) -> Candidate {
    let outer_auth = trace::authentication(mail, config);
    let Chain { wrappers, request } = chain(Letter::of(mail), outer_auth, config);
    let forwarded = !wrappers.is_empty();
    let received_at = trace::received_at(mail, config);
    let mut flags = Vec::new();

    let passages = passages(&wrappers, &request);
    let truncated = passages.iter().any(|p| p.text.chars().count() > MAX_READ);
    let (subject, _, reply) = bare_subject(&request.subject);
    let own = cut(&request.own);
    // The subject of an answer is the earlier mail's.
    let words = if reply && !own.is_empty() { own.clone() } else { format!("{subject}\n{own}") };
    let asked = asked(&subject, &own, reply);
    let mail_kind = kind::of(mail, &words, &asked);
    let is_request = mail_kind == MailKind::Request;

    let mut route = route(&passages, facts, is_request, truncated);
    if is_request && asked.rights.is_empty() && !matches!(route, Route::Triage { .. }) {
        route = route.into_triage(TriageReason::NoRight);
    }
    let house = matches!(route, Route::House { .. });
    let today = received_at.or(request.date).map_or((2026, 1, 1), day_in_beijing);
    let guardianship = if is_request { guardian::read(&words, today) } else { Guardianship::default() };
    let context = Context {
        requester: &request.from,
        house,
        guardian: guardianship.guardian,
        house_domains: &config.house_domains,
        brands: &facts.house.brands,
        recipients: &request.to,
    };
    let identifiers =
        if is_request { identifiers::read(&format!("{subject}\n{own}"), &context) } else { Vec::new() };
    let other_differs = is_request && differs(&request, &identifiers, &asked, facts, &context);
    if other_differs && names_other_app(&request, &route, facts) {
        route = route.into_triage(TriageReason::SeveralApps);
    }
    let role = match route {
        Route::App { .. } => Some(Role::EntrustedProcessor),
        Route::House { .. } => Some(Role::Controller),
        Route::Triage { .. } => None,
    };
    let categories = if is_request { categories::read(&own, role) } else { Vec::new() };

    match mail_kind {
        MailKind::Request => {}
        MailKind::Bulk => flags.extend([Flag::NotARequest, Flag::Bulk]),
        MailKind::AutoReply | MailKind::Bounce => flags.extend([Flag::NotARequest, Flag::AutoReply]),
        MailKind::Other => flags.push(Flag::NotARequest),
    }
    let first_received_at = first_received(&wrappers, &request, config);
    if is_request {
        request_flags(&mut flags, &guardianship, &route, &identifiers, &asked, &own);
    }
    if forwarded {
        flags.push(Flag::RequesterIsInnerSender);
        flags.extend(first_received_at.map(|at| Flag::FirstReceivedByPpio(date_in_beijing(at))));
        flags.push(Flag::InnerNotAuthenticated);
    }
    mail_flags(&mut flags, mail, &request, forwarded, truncated, other_differs);
    if matches!(outer_auth, AuthSummary::Fail) {
        flags.push(Flag::SenderNotAuthenticated);
    }

    let auth = match outer_auth {
        AuthSummary::Pass if forwarded => AuthSummary::PassOuterOnly,
        other => other,
    };
    let inner = forwarded.then(|| InnerMail {
        subject: request.subject.clone(),
        from: request.from.clone(),
        date: request.date,
        body: request.body.clone(),
    });
    Candidate {
        is_request,
        kind: mail_kind,
        subject: mail.subject.clone(),
        from: mail.from.clone(),
        message_id: mail.message_id.clone(),
        date: mail.date,
        body: mail.body_seen.clone(),
        inner,
        requester: request.from.clone(),
        passages,
        unseen: unseen(mail),
        attachments: attachments(mail),
        route,
        rights: if is_request { asked.rights } else { Vec::new() },
        identifiers,
        categories,
        language: language::of(&format!("{subject}\n{own}")),
        guardian: guardianship.guardian,
        minor_age: guardianship.minor_age,
        flags,
        auth,
        received_at,
        first_received_at,
    }
}

/// Subject and letter together; what the letter declines, the subject does not ask for.
fn asked(subject: &str, own: &str, reply: bool) -> Asked {
    let mut body = rights::read(own);
    if reply && !own.is_empty() {
        return body;
    }
    for found in rights::read(subject).rights {
        let known = body.rights.iter().any(|r| r.what == found.what);
        if !known && !body.declined.contains(&found.what) {
            body.rights.push(found);
        }
    }
    body.rights.sort_by_key(|r| r.what);
    body
}

fn passages(wrappers: &[Letter], request: &Letter) -> Vec<Passage> {
    let mut out = Vec::new();
    let mut push = |voice, place, text: &str| {
        if !text.trim().is_empty() {
            out.push(Passage { voice, place, text: text.to_owned() });
        }
    };
    let (_, _, reply) = bare_subject(&request.subject);
    let subject_voice = if reply { Voice::Context } else { Voice::Own };
    push(subject_voice, Place::Subject, &request.subject);
    push(Voice::Own, Place::Body, &request.own);
    push(Voice::Context, Place::Body, &request.other);
    for earlier in &request.context {
        push(Voice::Context, Place::Body, earlier);
    }
    let mut nested = request.inner.as_deref();
    while let Some(letter) = nested {
        push(Voice::Context, Place::Subject, &letter.subject);
        push(Voice::Context, Place::Body, &letter.body);
        push(Voice::Context, Place::Body, &letter.other);
        nested = letter.inner.as_deref();
    }
    for wrapper in wrappers {
        push(Voice::Context, Place::Subject, &wrapper.subject);
        push(Voice::Context, Place::Body, &wrapper.own);
        push(Voice::Context, Place::Body, &wrapper.other);
    }
    out
}

fn route(passages: &[Passage], facts: &Facts, is_request: bool, truncated: bool) -> Route {
    let read: Vec<Passage> = passages.iter().map(|p| Passage { text: cut(&p.text), ..p.clone() }).collect();
    let route = routing::route(&read, facts);
    match (is_request, truncated) {
        (false, _) => route.into_triage(TriageReason::NotARequest),
        (true, true) => route.into_triage(TriageReason::TooLong),
        (true, false) => route,
    }
}

/// Whether the other alternative asks or names something that the one read does not.
fn differs(request: &Letter, given: &[Given], asked: &Asked, facts: &Facts, context: &Context<'_>) -> bool {
    if request.other.trim().is_empty() {
        return false;
    }
    let other = cut(&request.other);
    let more_rights =
        rights::read(&other).rights.iter().any(|r| !asked.rights.iter().any(|a| a.what == r.what));
    let more_ids =
        identifiers::read(&other, context).iter().any(|i| !given.iter().any(|g| g.value == i.value));
    let apps =
        |text: &str| -> Vec<usize> { routing::sightings(text, facts).into_iter().map(|s| s.app).collect() };
    let known = apps(&format!("{}\n{}", request.subject, cut(&request.own)));
    more_rights || more_ids || apps(&other).iter().any(|a| !known.contains(a))
}

fn names_other_app(request: &Letter, route: &Route, facts: &Facts) -> bool {
    routing::sightings(&cut(&request.other), facts)
        .iter()
        .any(|s| Some(&facts.apps[s.app].app) != route.app())
}

fn request_flags(
    flags: &mut Vec<Flag>,
    guardianship: &Guardianship,
    route: &Route,
    given: &[Given],
    asked: &Asked,
    own: &str,
) {
    let folded = fold(own);
    if asked.rights.is_empty() {
        flags.push(Flag::NoRightRecognised);
    }
    if guardianship.under_14 {
        flags.push(Flag::MinorUnder14);
    }
    if guardianship.guardian && !matches!(route, Route::House { .. }) {
        flags.push(Flag::GuardianProofGoesToController);
    }
    let sensitive = [
        "人脸|面部|声纹|指纹|虹膜|生物识别|病历|健康信息|行踪|银行卡|biometric*|face data|facial|voiceprint|fingerprint|health data|medical record*",
    ];
    if guardianship.under_14 || says_any(&folded, &sensitive) {
        flags.push(Flag::DataSensitive);
    }
    if let Route::Triage { reason: TriageReason::NoApp, .. } = route {
        let user_id = given.iter().any(|g| g.kind == IdentifierKind::AppUserId);
        if !user_id {
            flags.push(Flag::AskForAppNameAndUserId);
        }
        if given.iter().any(|g| g.kind == IdentifierKind::Email) {
            flags.push(Flag::DoNotSearchByEmailAcrossTenants);
        }
    }
    let keeps = [
        "系统通知|服务通知|业务通知|管理信息|账单|安全通知|故障通知|服务类|通知类|其他通知…保留|继续|可以|照常|需要|仍",
        "保留|继续|照常…系统通知|服务通知|业务通知|管理信息|账单|安全通知|服务邮件",
        "service|account|billing|security|transactional|system…messages|notices|notifications|emails|alerts…fine|ok|okay|keep|continue|still|may",
        "keep|continue|still send|still want|still need…service|account|billing|security|transactional|system…messages|notices|notifications|emails|alerts",
    ];
    if says_any(&folded, &keeps) && asked.rights.iter().any(|r| r.what == Right::MarketingOptOut) {
        flags.push(Flag::KeepServiceMessages);
    }
    if instructs(&folded, own) {
        flags.push(Flag::ClaimsToInstruct);
    }
}

/// A signed token in the text, or the voice of a controller.
fn instructs(folded: &str, own: &str) -> bool {
    let token = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.starts_with("eyJ") && word.split(['.', '~']).filter(|s| s.len() >= 8).count() >= 2
    };
    let orders = [
        "个人信息处理者|数据控制者|控制者|运营方|运营者|委托方|我司|我公司…指令|指示|命令|责令|授权你|要求你司|要求贵司|通知你司|请立即执行",
        "指令|指示…个人信息处理者|控制者|委托方",
        "执行…指令|指示",
        "as|we are|on behalf of|acting for|i represent…controller|operator|publisher|data controller|customer…instruct|order|direct|authorise|authorize|require|delete|erase|execute",
        "hereby instruct|we instruct|we order|you are instructed|you are hereby|this is an instruction|formal instruction|instruction id|carry out this instruction",
        "instruction+sd-jwt",
    ];
    own.split(|c: char| c.is_whitespace() || "\"'，。：".contains(c)).any(token) || says_any(folded, &orders)
}

fn mail_flags(
    flags: &mut Vec<Flag>,
    mail: &Mail,
    request: &Letter,
    forwarded: bool,
    truncated: bool,
    differs: bool,
) {
    if four_byte(mail) {
        flags.push(Flag::Gb18030FourByte);
    }
    if differs {
        flags.push(Flag::PartsDiffer);
    }
    if hidden(mail) {
        flags.push(Flag::HiddenText);
    }
    let elsewhere = |m: &Mailbox| !m.address.eq_ignore_ascii_case(&mail.from.address);
    if !forwarded && mail.reply_to.iter().any(elsewhere) {
        flags.push(Flag::ReplyToDiffers);
    }
    if !attachments(mail).is_empty() || !forwarded && request.inner.is_some() && mail.inner.is_some() {
        flags.push(Flag::HasAttachments);
    }
    if truncated {
        flags.push(Flag::TextTruncated);
    }
}

fn mails(mail: &Mail) -> impl Iterator<Item = &Mail> {
    std::iter::successors(Some(mail), |m| m.inner.as_deref())
}

fn four_byte(mail: &Mail) -> bool {
    mails(mail).any(|m| m.gb18030_four_byte)
}

/// A line or two of hidden text is a preview for mail programs and does no harm by itself; it is flagged all the same.
fn hidden(mail: &Mail) -> bool {
    mails(mail).any(|m| m.hidden.chars().filter(|c| c.is_alphanumeric()).count() > 0)
}

fn unseen(mail: &Mail) -> String {
    let all: Vec<&str> = mails(mail).flat_map(|m| [m.hidden.as_str(), m.machine.as_str()]).collect();
    cut(all.join("\n").trim())
}

fn attachments(mail: &Mail) -> Vec<Attachment> {
    mails(mail).flat_map(|m| m.attachments.iter().cloned()).collect()
}

/// The innermost date at which an address of PPIO got the mail, or PPIO's people had it to forward.
fn first_received(wrappers: &[Letter], request: &Letter, config: &IntakeConfig) -> Option<Timestamp> {
    if wrappers.is_empty() {
        return None;
    }
    let to_house = |l: &&Letter| l.to.iter().any(|m| is_house(m, config));
    let addressed = std::iter::once(request).chain(wrappers.iter().rev()).find(to_house).and_then(|l| l.date);
    let forwarded_by_house = wrappers.last().is_some_and(|w| is_house(&w.from, config));
    addressed
        .filter(|_| to_house(&request) || !forwarded_by_house)
        .or(request.date.filter(|_| forwarded_by_house))
}

fn date_in_beijing(at: Timestamp) -> jiff::civil::Date {
    jiff::tz::Offset::constant(8).to_datetime(at).date()
}

fn day_in_beijing(at: Timestamp) -> (i16, i8, i8) {
    let date = date_in_beijing(at);
    (date.year(), date.month(), date.day())
}
