//! To which one controller a person's words belong (DESIGN §9).
//!
//! By the role of the data first: words about PPIO's own account, site or
//! commercial mail go to the house controller. Then by exact registered facts,
//! found in the text a person sees; never by the sender's domain. One app
//! routes. None, several, or an app beside PPIO's own account: a person
//! decides, and sees the evidence. A common word only suggests.

mod anchor;
mod another;
mod company;
mod disowned;
mod house;
mod joined;
mod matching;
mod stranger;
mod tails;
mod vocabulary;
mod writer;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{AppId, ControllerId};
use super::phrase;
use anchor::Hold;

pub use matching::{Sighting, sightings};

/// What kind of registered fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    Name,
    Alias,
    BundleId,
    Domain,
    SdkAppId,
    /// The company behind the app. Never routes; another controller's company stops a route.
    Company,
    /// Something of PPIO's own: its console, its site.
    House,
}

/// One registered fact of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub kind: FactKind,
    pub text: String,
    /// A word that people also use without meaning the app. It only suggests.
    pub common: bool,
}

impl Fact {
    pub fn new(kind: FactKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), common: false }
    }

    pub fn common(kind: FactKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), common: true }
    }
}

/// An app with its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    pub app: AppId,
    pub controller: ControllerId,
    pub facts: Vec<Fact>,
}

/// PPIO as a controller of its own: what is its own, and how people address it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct House {
    pub app: AppId,
    pub controller: ControllerId,
    /// How people address PPIO. Being addressed is no evidence: every mail addresses PPIO.
    pub brands: Vec<String>,
    /// PPIO's own web domains.
    pub domains: Vec<String>,
}

/// All registered facts: a snapshot the caller takes before it routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub house: House,
    pub apps: Vec<Registered>,
}

/// Whose words a passage holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Voice {
    /// The requester's own words. Only these route.
    Own,
    /// What else a reader of the mail sees: earlier mail that is quoted, a
    /// forwarder's remark, the other alternative. Another app in it stops a
    /// route; it never makes one.
    Context,
}

/// Where in the mail the words stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Subject,
    Body,
}

/// A piece of the text a person sees. Personal data; `Debug` shows its length alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    pub voice: Voice,
    pub place: Place,
    pub text: String,
}

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passage({:?}, {:?}, {} bytes)", self.voice, self.place, self.text.len())
    }
}

/// How much a sighting says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// The registered fact itself.
    Exact,
    /// A common word, or part of a longer name: shown to support, routes nothing.
    Suggests,
}

/// A registered fact and the words it was found in. Personal data; `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub app: AppId,
    pub kind: FactKind,
    pub fact: String,
    pub weight: Weight,
    pub voice: Voice,
    pub place: Place,
    /// The words around it, as the person wrote them.
    pub words: String,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence({:?}, {:?}, {:?})", self.app, self.kind, self.weight)
    }
}

/// Why a person must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriageReason {
    /// No registered fact, or only a suggestion.
    NoApp,
    SeveralApps,
    /// An app, and PPIO's own account or site.
    AppAndHouse,
    /// The app stands only in what is quoted or forwarded, or in words that do not say the writer uses it.
    OnlyInContext,
    /// A company that is not the app's controller is named.
    OtherCompany,
    /// The words are such as the press, a lawyer, a researcher or an enterprise's staff would write.
    NotTheSubject,
    /// Not a rights request.
    NotARequest,
    /// It speaks of rights or answers a question, and no right was recognised.
    NoRight,
    /// The text is longer than what is read.
    TooLong,
}

impl TriageReason {
    /// In words, for support.
    pub fn words(self) -> &'static str {
        match self {
            TriageReason::NoApp => "no app",
            TriageReason::SeveralApps => "more than one app",
            TriageReason::AppAndHouse => "an app and PPIO's own account",
            TriageReason::OnlyInContext => {
                "the app is named only in quoted, forwarded or disowning words, or nothing says that the writer uses it"
            }
            TriageReason::OtherCompany => "a company that is not the app's is named",
            TriageReason::NotTheSubject => "perhaps not from the person whose data it is",
            TriageReason::NotARequest => "not a rights request",
            TriageReason::NoRight => "no right recognised",
            TriageReason::TooLong => "the text is longer than what is read",
        }
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Route {
    App { app: AppId, controller: ControllerId, matched: Vec<Evidence> },
    House { app: AppId, controller: ControllerId, matched: Vec<Evidence> },
    Triage { reason: TriageReason, suggestions: Vec<AppId>, evidence: Vec<Evidence> },
}

impl Route {
    /// The app the mail goes to, if it goes anywhere by itself.
    pub fn app(&self) -> Option<&AppId> {
        match self {
            Route::App { app, .. } | Route::House { app, .. } => Some(app),
            Route::Triage { .. } => None,
        }
    }

    pub fn controller(&self) -> Option<&ControllerId> {
        match self {
            Route::App { controller, .. } | Route::House { controller, .. } => Some(controller),
            Route::Triage { .. } => None,
        }
    }

    /// The same evidence, but a person decides.
    pub fn into_triage(self, reason: TriageReason) -> Route {
        match self {
            Route::App { app, matched, .. } | Route::House { app, matched, .. } => {
                Route::Triage { reason, suggestions: vec![app], evidence: matched }
            }
            Route::Triage { suggestions, evidence, .. } => Route::Triage { reason, suggestions, evidence },
        }
    }
}

/// Mentions of apps in one mail that are looked at. More are no letter.
const MOST_LOOKS: usize = 100;

/// Decides. Pure: the same words and facts give the same route.
pub fn route(passages: &[Passage], facts: &Facts) -> Route {
    let mut evidence = Vec::new();
    let mut disowned_apps: Vec<AppId> = Vec::new();
    let own = |p: &&Passage| p.voice == Voice::Own;
    let another = passages
        .iter()
        .filter(own)
        .any(|p| another::is_named(&p.text, facts) || stranger::is_bound(&p.text, facts));
    let no_subject = passages.iter().filter(own).any(|p| writer::may_be_no_subject(&p.text, facts));
    // A subject says what a letter is about; that it is the writer's own affair, an identifier shows.
    let given = passages.iter().filter(own).any(|p| writer::gives_identifier(&phrase::fold(&p.text)));
    let mut holds: Vec<(AppId, bool, Hold)> = Vec::new();
    let mut looks = 0;
    for passage in passages {
        let chars: Vec<char> = passage.text.chars().collect();
        let went_on = own(&passage) && anchor::went_on(&passage.text);
        for sighting in sightings(&passage.text, facts) {
            if own(&passage) && disowned::is_disowned(&chars, sighting.start, sighting.end) {
                disowned_apps.push(facts.apps[sighting.app].app.clone());
            }
            let personal = passage.place == Place::Body || given;
            let technical = matches!(sighting.kind, FactKind::BundleId | FactKind::SdkAppId);
            let subject = passage.place == Place::Subject;
            let app = &facts.apps[sighting.app].app;
            let names = sighting.weight == Weight::Exact && sighting.kind != FactKind::Company;
            // What is apart decides, and a name that is repeated without end is.
            if own(&passage) && names && personal && !holds.contains(&(app.clone(), false, Hold::Apart)) {
                looks += 1;
                let held = match () {
                    () if technical => Hold::Firm,
                    () if looks > MOST_LOOKS => Hold::Apart,
                    () => anchor::hold(&chars, sighting.start, sighting.end, subject, went_on),
                };
                let held = (app.clone(), subject, held);
                if !holds.contains(&held) {
                    holds.push(held);
                }
            }
            evidence.push(Evidence {
                app: facts.apps[sighting.app].app.clone(),
                kind: sighting.kind,
                fact: sighting.fact.clone(),
                weight: sighting.weight,
                voice: passage.voice,
                place: passage.place,
                words: sighting.words,
            });
        }
    }
    // What is disowned in one place is not meant in another (a subject, a signature).
    for found in &mut evidence {
        if disowned_apps.contains(&found.app) {
            found.voice = Voice::Context;
        }
    }
    let house = house::look(passages, facts);
    let weak = house.weak && !house.strong;
    let decided = decide(evidence, house, facts);
    if another && weak && matches!(decided, Route::House { .. }) {
        return decided.into_triage(TriageReason::SeveralApps);
    }
    let Route::App { app, .. } = &decided else { return decided };
    let registered = facts.apps.iter().find(|r| r.app == *app);
    let says_other =
        |r: &Registered| passages.iter().filter(own).any(|p| company::contradicts(&p.text, r, facts));
    if another {
        decided.into_triage(TriageReason::SeveralApps)
    } else if no_subject {
        decided.into_triage(TriageReason::NotTheSubject)
    } else if !is_held(app, &holds, given) {
        decided.into_triage(TriageReason::OnlyInContext)
    } else if registered.is_some_and(says_other) {
        decided.into_triage(TriageReason::OtherCompany)
    } else {
        decided
    }
}

/// Whether the mentions of the app (of a subject: true) are those of the writer's own. Each in the letter
/// must be, but where his identifier stands beside one, the others may be mere words. `given`: he gives an
/// identifier anywhere; then it is enough that the name stands where one speaks of using.
fn is_held(app: &AppId, holds: &[(AppId, bool, Hold)], given: bool) -> bool {
    let has = |subject: bool, hold: Hold| {
        holds.iter().any(|(of, place, held)| of == app && *place == subject && *held == hold)
    };
    let firm = has(false, Hold::Firm) || has(true, Hold::Firm);
    let used = |subject: bool| has(subject, Hold::Anchored) || given && has(subject, Hold::Used);
    let loose = has(false, Hold::Loose) || !given && has(false, Hold::Used);
    (firm || used(false) || used(true)) && !has(false, Hold::Apart) && (firm || !loose)
}

fn decide(evidence: Vec<Evidence>, house: house::Look, facts: &Facts) -> Route {
    let named = |e: &&Evidence| e.weight == Weight::Exact && e.kind != FactKind::Company;
    let own = distinct(evidence.iter().filter(named).filter(|e| e.voice == Voice::Own));
    let all = distinct(evidence.iter().filter(named));
    let mut suggestions = distinct(evidence.iter());
    let mut seen = evidence.clone();
    seen.extend(house.evidence.iter().cloned());

    let triage = |reason, suggestions, evidence| Route::Triage { reason, suggestions, evidence };
    match (own.as_slice(), all.as_slice()) {
        ([], []) if house.strong || house.weak => {
            let matched = house.evidence;
            Route::House { app: facts.house.app.clone(), controller: facts.house.controller.clone(), matched }
        }
        ([], []) => triage(TriageReason::NoApp, suggestions, seen),
        ([], _) => triage(TriageReason::OnlyInContext, suggestions, seen),
        ([app], [_]) if !house.strong => {
            let Some(registered) = facts.apps.iter().find(|r| r.app == *app) else {
                return triage(TriageReason::NoApp, suggestions, seen);
            };
            let controller = registered.controller.clone();
            let other_company = evidence.iter().any(|e| {
                e.kind == FactKind::Company
                    && facts.apps.iter().any(|r| r.app == e.app && r.controller != controller)
                    // One company may stand behind several apps; a name shared with this controller's is its own.
                    && !registered.facts.iter().any(|f| f.kind == FactKind::Company && f.text == e.fact)
            });
            if other_company {
                return triage(TriageReason::OtherCompany, suggestions, seen);
            }
            let matched = evidence.into_iter().filter(|e| e.app == *app).collect();
            Route::App { app: app.clone(), controller, matched }
        }
        ([_], [_]) => {
            suggestions.push(facts.house.app.clone());
            triage(TriageReason::AppAndHouse, suggestions, seen)
        }
        _ => triage(TriageReason::SeveralApps, suggestions, seen),
    }
}

fn distinct<'e>(evidence: impl Iterator<Item = &'e Evidence>) -> Vec<AppId> {
    let mut apps: Vec<AppId> = evidence.map(|e| e.app.clone()).collect();
    apps.sort();
    apps.dedup();
    apps
}

#[cfg(test)]
mod tests;
