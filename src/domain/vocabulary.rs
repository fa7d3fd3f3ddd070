//! The registered vocabularies: every word that may stand in the clear in an
//! instruction, a leaf or a report. Closed sets; a new word is a new release.

/// The word is not in the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a registered {0}")]
pub struct UnknownWord(pub &'static str);

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::vocabulary::UnknownWord;
            fn from_str(word: &str) -> Result<Self, $crate::domain::vocabulary::UnknownWord> {
                match word { $($word => Ok($name::$variant),)+ _ => Err($crate::domain::vocabulary::UnknownWord($what)) }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(self.as_str()) }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'_, str>>::deserialize(d)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use vocabulary;

vocabulary! {
    /// What a person may ask for (policy §4; PIPL 44–48).
    Right, "right" {
        WithdrawConsent = "withdraw_consent",
        Access = "access",
        ExplainUseAndSharing = "explain_use_and_sharing",
        Correct = "correct",
        Delete = "delete",
        Restrict = "restrict",
        ExplainAutomatedDecision = "explain_automated_decision",
        Copy = "copy",
        Transfer = "transfer",
        MarketingOptOut = "marketing_opt_out",
        CloseAccount = "close_account",
    }
}

vocabulary! {
    /// What kind of data (the policy's tables, R24).
    Category, "category" {
        /// 设备类型、操作系统
        Device = "device",
        /// 动态IP地址、网络类型
        Network = "network",
        /// 收发端用户ID、频道信息、使用时长、日志
        SdkInteraction = "sdk_interaction",
        /// 音频流信息、视频流信息
        Media = "media",
        /// 申请、要求、诉求及投诉
        Inquiry = "inquiry",
        /// From partners.
        Partner = "partner",
        /// PPIO's own account.
        Account = "account",
        /// Commercial mail.
        Marketing = "marketing",
    }
}

/// In which role PPIO holds data (R24): the data's role selects the route, never the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// 个人信息处理受托方: the enterprise decides.
    EntrustedProcessor,
    /// 个人信息处理者: PPIO decides, through its house controller.
    Controller,
}

impl Category {
    pub fn role(self) -> Role {
        match self {
            Category::Device | Category::Network | Category::SdkInteraction | Category::Media => {
                Role::EntrustedProcessor
            }
            Category::Inquiry | Category::Partner | Category::Account | Category::Marketing => {
                Role::Controller
            }
        }
    }
}

vocabulary! {
    /// What an instruction orders (DESIGN §6).
    Act, "act" {
        Preview = "preview",
        Erase = "erase",
        Export = "export",
        Rectify = "rectify",
        Restrict = "restrict",
        Release = "release",
        Reply = "reply",
        Refuse = "refuse",
        AuthorizeReply = "authorize_reply",
        Revoke = "revoke",
        ReturnAndErase = "return_and_erase",
    }
}

impl Act {
    /// Whether this release carries the act out. The others are verified and
    /// then refused as `ACT_NOT_SUPPORTED`.
    pub fn is_supported(self) -> bool {
        self.is_for_agents() || self == Act::Revoke
    }

    /// Whether an agent carries it out, at this release.
    pub fn is_for_agents(self) -> bool {
        matches!(self, Act::Preview | Act::Erase | Act::Export | Act::ReturnAndErase)
    }

    /// Whether it is about one person. A `revoke` is about an instruction, a `return_and_erase` about all that
    /// is held of an app.
    pub fn has_subject(self) -> bool {
        !matches!(self, Act::Revoke | Act::ReturnAndErase)
    }

    /// Whether its signers may have seen a preview first (DESIGN §10). A preview shows one person's rows.
    pub fn may_follow_a_preview(self) -> bool {
        matches!(self, Act::Erase | Act::Export | Act::Rectify | Act::Restrict | Act::Release)
    }

    /// Whether the act may answer the right (DESIGN §9). A preview answers none, but may precede any.
    pub fn serves(self, right: Right) -> bool {
        match self {
            Act::Preview => true,
            Act::Erase => {
                matches!(right, Right::Delete | Right::CloseAccount | Right::WithdrawConsent)
            }
            Act::Export => matches!(right, Right::Access | Right::Copy | Right::Transfer),
            Act::Rectify => right == Right::Correct,
            Act::Restrict => matches!(right, Right::WithdrawConsent | Right::Restrict),
            Act::Release => right == Right::Restrict,
            Act::Reply | Act::Refuse | Act::AuthorizeReply => true,
            Act::Revoke | Act::ReturnAndErase => false,
        }
    }
}

vocabulary! {
    /// On what ground the controller orders it.
    Basis, "basis" {
        /// 取得个人的同意
        Pipl13Consent = "pipl-13-1",
        /// 为订立、履行个人作为一方当事人的合同所必需
        Pipl13Contract = "pipl-13-2",
        Pipl15 = "pipl-15",
        Pipl21 = "pipl-21",
        Pipl44 = "pipl-44",
        Pipl45 = "pipl-45",
        Pipl46 = "pipl-46",
        Pipl47 = "pipl-47",
        Pipl48 = "pipl-48",
        Gdpr6Consent = "gdpr-6-1-a",
        Gdpr6Contract = "gdpr-6-1-b",
        Gdpr7 = "gdpr-7",
        Gdpr15 = "gdpr-15",
        Gdpr16 = "gdpr-16",
        Gdpr17 = "gdpr-17",
        Gdpr18 = "gdpr-18",
        Gdpr20 = "gdpr-20",
        Gdpr28 = "gdpr-28",
        Ccpa105 = "ccpa-1798.105",
        Ccpa110 = "ccpa-1798.110",
        ContractEnd = "contract-end",
        ControllerDecision = "controller-decision",
    }
}

impl Basis {
    /// Consent, or a contract with the person: what data may go to a third party of the person's choice on
    /// (条例 25; GDPR 20 applies to nothing else).
    pub fn is_consent_or_contract(self) -> bool {
        matches!(
            self,
            Basis::Pipl13Consent
                | Basis::Pipl13Contract
                | Basis::Gdpr6Consent
                | Basis::Gdpr6Contract
                | Basis::Gdpr20
        )
    }

    /// Whether it says that the processing itself is over (PIPL 21, GDPR 28(3)(g)).
    pub fn ends_the_contract(self) -> bool {
        matches!(self, Basis::ContractEnd | Basis::Pipl21 | Basis::Gdpr28)
    }
}

vocabulary! {
    /// Why something stays: lawfully (R9, R19, R20), or because the agent's agreement does not reach it.
    Ground, "ground" {
        LegalObligation = "legal-obligation",
        CategoryNotInstructed = "category-not-instructed",
        BackupUntilExpiry = "backup-until-expiry",
        LegalClaim = "legal-claim",
        SharedWithOthers = "shared-with-others",
        OutsideAgreement = "outside-agreement",
    }
}

impl Ground {
    /// Whether it lawfully holds until then. Most need a last date; one is no ground of law at all: what was
    /// instructed and lies outside the agent's agreement was not done.
    pub fn holds(self, until: Option<i64>) -> bool {
        match self {
            Ground::SharedWithOthers | Ground::CategoryNotInstructed => true,
            Ground::LegalObligation | Ground::BackupUntilExpiry | Ground::LegalClaim => until.is_some(),
            Ground::OutsideAgreement => false,
        }
    }

    /// Whether a data map may give it for a retention: what was instructed and agreed is not for the map to say.
    pub fn is_for_maps(self) -> bool {
        !matches!(self, Ground::CategoryNotInstructed | Ground::OutsideAgreement)
    }
}

vocabulary! {
    /// Why a controller does not do what was asked (policy §4.5, the eight grounds of R20 and the four of R19).
    RefusalGround, "refusal ground" {
        LegalDuty = "legal-duty",
        NationalSecurity = "national-security",
        PublicInterest = "public-interest",
        CriminalProceedings = "criminal-proceedings",
        BadFaith = "bad-faith",
        VitalInterests = "vital-interests",
        SeriousHarm = "serious-harm",
        TradeSecret = "trade-secret",
        Repetitive = "repetitive",
        DisproportionateEffort = "disproportionate-effort",
        RiskToOthers = "risk-to-others",
        Impractical = "impractical",
    }
}

vocabulary! {
    /// For what purpose PPIO processes under an agreement (the policy's SDK table).
    Purpose, "purpose" {
        ServiceDelivery = "service-delivery",
        Troubleshooting = "troubleshooting",
        NetworkQuality = "network-quality",
        Recording = "recording",
        ContentModeration = "content-moderation",
        CustomerSupport = "customer-support",
        Marketing = "marketing",
    }
}

vocabulary! {
    /// Where data lies or goes (R22). `cn` is the mainland.
    Region, "region" {
        Cn = "cn",
        Hk = "hk",
        Sg = "sg",
        Eu = "eu",
        Us = "us",
    }
}

impl Region {
    /// Whether it is 中国境内, which data leaves only on a recorded basis.
    pub fn is_mainland(self) -> bool {
        self == Region::Cn
    }

    /// Whether data that is let go to `these` may lie here: in the mainland, or in one of them (R22).
    pub fn is_open_to<'a>(self, these: impl IntoIterator<Item = &'a Region>) -> bool {
        self.is_mainland() || these.into_iter().any(|region| *region == self)
    }
}

vocabulary! {
    /// The kind of caller (DESIGN §5), as in the SPIFFE id. A gateway calls witnesses, and nobody else.
    Kind, "kind" {
        Controller = "controller",
        Support = "support",
        Auditor = "auditor",
        Operator = "operator",
        Agent = "agent",
        Witness = "witness",
        Gateway = "gateway",
    }
}

impl Kind {
    /// The collection its resource names live in: a controller `xingyu` is `controllers/xingyu`.
    pub fn collection(self) -> &'static str {
        match self {
            Kind::Controller => "controllers",
            Kind::Support => "support",
            Kind::Auditor => "auditors",
            Kind::Operator => "operators",
            Kind::Agent => "agents",
            Kind::Witness => "witnesses",
            Kind::Gateway => "gateways",
        }
    }
}
