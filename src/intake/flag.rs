//! What support must know about a candidate, each with its stable word.

use serde::{Deserialize, Serialize};

/// What support must know about a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flag {
    NotARequest,
    Bulk,
    AutoReply,
    /// Rights are spoken of, none was recognised.
    NoRightRecognised,
    MinorUnder14,
    /// Proof of the relation is the controller's to check.
    GuardianProofGoesToController,
    DataSensitive,
    AskForAppNameAndUserId,
    /// To look for an address in every tenant would itself be a disclosure.
    DoNotSearchByEmailAcrossTenants,
    RequesterIsInnerSender,
    /// `first_received_by_ppio_YYYY-MM-DD`, Beijing time.
    FirstReceivedByPpio(jiff::civil::Date),
    InnerNotAuthenticated,
    KeepServiceMessages,
    Gb18030FourByte,
    /// The other alternative names other apps, rights or identifiers.
    PartsDiffer,
    /// Text is styled so that nobody sees it.
    HiddenText,
    ReplyToDiffers,
    /// The mail orders something or carries a signed token. It is no instruction.
    ClaimsToInstruct,
    HasAttachments,
    /// Longer than what is read.
    TextTruncated,
    /// Our server says the sender's domain did not send it.
    SenderNotAuthenticated,
}

impl Flag {
    /// The stable word.
    pub fn word(&self) -> String {
        let word = match self {
            Flag::NotARequest => "not_a_request",
            Flag::Bulk => "bulk",
            Flag::AutoReply => "auto_reply",
            Flag::NoRightRecognised => "no_right_recognised",
            Flag::MinorUnder14 => "minor_under_14",
            Flag::GuardianProofGoesToController => "guardian_proof_goes_to_controller",
            Flag::DataSensitive => "data_sensitive",
            Flag::AskForAppNameAndUserId => "ask_for_app_name_and_user_id",
            Flag::DoNotSearchByEmailAcrossTenants => "do_not_search_by_email_across_tenants",
            Flag::RequesterIsInnerSender => "requester_is_inner_sender",
            Flag::FirstReceivedByPpio(date) => return format!("{FIRST_RECEIVED}{date}"),
            Flag::InnerNotAuthenticated => "inner_not_authenticated",
            Flag::KeepServiceMessages => "keep_service_messages",
            Flag::Gb18030FourByte => "gb18030_four_byte",
            Flag::PartsDiffer => "parts_differ",
            Flag::HiddenText => "hidden_text",
            Flag::ReplyToDiffers => "reply_to_differs",
            Flag::ClaimsToInstruct => "claims_to_instruct",
            Flag::HasAttachments => "has_attachments",
            Flag::TextTruncated => "text_truncated",
            Flag::SenderNotAuthenticated => "sender_not_authenticated",
        };
        word.to_owned()
    }

    fn from_word(word: &str) -> Option<Flag> {
        if let Some(date) = word.strip_prefix(FIRST_RECEIVED) {
            return date.parse().ok().map(Flag::FirstReceivedByPpio);
        }
        PLAIN.iter().find(|flag| flag.word() == word).cloned()
    }
}

const FIRST_RECEIVED: &str = "first_received_by_ppio_";
const PLAIN: &[Flag] = &[
    Flag::NotARequest,
    Flag::Bulk,
    Flag::AutoReply,
    Flag::NoRightRecognised,
    Flag::MinorUnder14,
    Flag::GuardianProofGoesToController,
    Flag::DataSensitive,
    Flag::AskForAppNameAndUserId,
    Flag::DoNotSearchByEmailAcrossTenants,
    Flag::RequesterIsInnerSender,
    Flag::InnerNotAuthenticated,
    Flag::KeepServiceMessages,
    Flag::Gb18030FourByte,
    Flag::PartsDiffer,
    Flag::HiddenText,
    Flag::ReplyToDiffers,
    Flag::ClaimsToInstruct,
    Flag::HasAttachments,
    Flag::TextTruncated,
    Flag::SenderNotAuthenticated,
];

impl Serialize for Flag {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.word())
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = <std::borrow::Cow<'_, str>>::deserialize(d)?;
        Flag::from_word(&word).ok_or_else(|| serde::de::Error::custom("not a flag of intake"))
    }
}
