//! Every reason for which something is refused, once.
//!
//! A reason code is part of the contract: it never changes its meaning.
//! `docs/errors.md` is generated from this table and a test holds the two together.

use std::borrow::Cow;
use std::fmt;

/// The family a reason belongs to; the gRPC edge maps each to one status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The caller is not proven. `UNAUTHENTICATED`.
    Unauthenticated,
    /// The caller is proven and may not. `PERMISSION_DENIED`.
    Denied,
    /// The input is wrong whatever the state. `INVALID_ARGUMENT`.
    Invalid,
    /// The input is right, the state is not. `FAILED_PRECONDITION`.
    Precondition,
    /// Not there, or not the caller's: one answer. `NOT_FOUND`.
    Missing,
    /// Used up or taken. `ALREADY_EXISTS`.
    Exists,
    /// Lost a race; the same call may go through. `ABORTED`.
    Conflict,
    /// Too much, come back later. `RESOURCE_EXHAUSTED`, with `RetryInfo`.
    Exhausted,
    /// Not now. `UNAVAILABLE`, with `RetryInfo`.
    Unavailable,
    /// Our fault. `INTERNAL`.
    Internal,
}

macro_rules! reasons {
    ($( $area:literal { $( $variant:ident = $code:literal, $class:ident, $what:literal, $todo:literal; )+ } )+) => {
        /// A stable reason code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($($variant),+),+ }

        impl Reason {
            pub const ALL: &'static [Reason] = &[$($(Reason::$variant),+),+];

            /// The code on the wire (`google.rpc.ErrorInfo.reason`).
            pub fn code(self) -> &'static str { match self { $($(Reason::$variant => $code),+),+ } }
            pub fn class(self) -> Class { match self { $($(Reason::$variant => Class::$class),+),+ } }
            /// What is wrong, in a sentence.
            pub fn what(self) -> &'static str { match self { $($(Reason::$variant => $what),+),+ } }
            /// What the caller should do.
            pub fn remedy(self) -> &'static str { match self { $($(Reason::$variant => $todo),+),+ } }
            /// The heading it stands under in `docs/errors.md`.
            pub fn area(self) -> &'static str { match self { $($(Reason::$variant => $area),+),+ } }

            pub fn from_code(code: &str) -> Option<Reason> { match code { $($($code => Some(Reason::$variant),)+)+ _ => None } }
        }
    };
}

reasons! {
    "Connection" {
        CertificateRequired = "CERTIFICATE_REQUIRED", Unauthenticated, "the connection shows no client certificate", "connect with the client certificate issued to your workload";
        CertificateUntrusted = "CERTIFICATE_UNTRUSTED", Unauthenticated, "the certificate chains to no registered trust anchor", "use a certificate of the anchor that was registered for you";
        CertificateExpired = "CERTIFICATE_EXPIRED", Unauthenticated, "the certificate is past its end", "renew the certificate";
        CertificateNotYetValid = "CERTIFICATE_NOT_YET_VALID", Unauthenticated, "the certificate is not valid yet", "check the clock, or wait";
        CertificateRevoked = "CERTIFICATE_REVOKED", Unauthenticated, "the certificate is on its issuer's revocation list", "have a new certificate issued";
        RevocationListStale = "REVOCATION_LIST_STALE", Unauthenticated, "the issuer's revocation list is missing or past its next update", "the operator must install a current revocation list";
        CertificateUnusable = "CERTIFICATE_UNUSABLE", Unauthenticated, "the certificate cannot be used for a client", "use a certificate with the client profile of certs/README.md";
        SpiffeIdMissing = "SPIFFE_ID_MISSING", Unauthenticated, "the certificate names no SPIFFE id", "put exactly one URI SAN spiffe://<trust-domain>/<kind>/<id>/<workload> in the certificate";
        SpiffeIdAmbiguous = "SPIFFE_ID_AMBIGUOUS", Unauthenticated, "the certificate names more than one URI", "put exactly one URI SAN in the certificate";
        SpiffeIdMalformed = "SPIFFE_ID_MALFORMED", Unauthenticated, "the URI is no SPIFFE id of this trust domain", "use spiffe://<trust-domain>/<kind>/<id>/<workload>";
        AnchorNotEntitled = "ANCHOR_NOT_ENTITLED", Unauthenticated, "the certificate's anchor may not vouch for this kind or id", "use a certificate of the anchor registered for that kind and id";
        TlsKeyUsedElsewhere = "TLS_KEY_USED_ELSEWHERE", Unauthenticated, "the key of the certificate is registered for another use, or for another principal", "make a new TLS key, have a certificate issued for it and connect with that: one key has one use and one principal, for ever";
        MaterialInvalid = "MATERIAL_INVALID", Internal, "the new certificates, anchors, revocation lists or configuration do not load", "only in the operator's log: correct what the entry names; it is read again when it changes";
    }
    "Access token" {
        TokenMissing = "TOKEN_MISSING", Unauthenticated, "no access token was sent", "send 'authorization: Bearer <token>'";
        TokenMalformed = "TOKEN_MALFORMED", Unauthenticated, "the access token is no JWT of the profile", "see docs/integrate for the token's members";
        TokenType = "TOKEN_TYPE", Unauthenticated, "the token's typ is not at+jwt", "set typ to at+jwt (RFC 9068 section 2.1)";
        TokenAlgorithm = "TOKEN_ALGORITHM", Unauthenticated, "the token's alg is not that of the registered key", "sign with the registered access key and its own algorithm";
        TokenKeyUnknown = "TOKEN_KEY_UNKNOWN", Unauthenticated, "the token's kid names no registered access key", "set kid to the RFC 7638 thumbprint of a registered access key";
        TokenSignature = "TOKEN_SIGNATURE", Unauthenticated, "the token's signature does not verify", "sign with the key that kid names";
        TokenIssuer = "TOKEN_ISSUER", Unauthenticated, "the token's iss is not the key's owner", "set iss to your resource name";
        TokenSubject = "TOKEN_SUBJECT", Unauthenticated, "the token's sub is no SPIFFE id", "set sub to the SPIFFE URI of your certificate";
        TokenAudience = "TOKEN_AUDIENCE", Unauthenticated, "the token is for another audience", "set aud to the gateway's name";
        TokenLifetime = "TOKEN_LIFETIME", Unauthenticated, "the token lives longer than 300 seconds", "make exp - iat at most 300";
        TokenExpired = "TOKEN_EXPIRED", Unauthenticated, "the token is past its end", "make a new token";
        TokenNotYetValid = "TOKEN_NOT_YET_VALID", Unauthenticated, "the token was issued in the future", "check the clock";
        TokenBinding = "TOKEN_BINDING", Unauthenticated, "the token is bound to another certificate", "set cnf.x5t#S256 to the thumbprint of the certificate you connect with (RFC 8705)";
        PrincipalMismatch = "PRINCIPAL_MISMATCH", Unauthenticated, "certificate and token name different principals", "use a certificate and a token of the same principal";
        ScopeMissing = "SCOPE_MISSING", Denied, "the token lacks the scope this call needs", "ask for the scope named in the error";
        KindNotAllowed = "KIND_NOT_ALLOWED", Denied, "this kind of caller may not make this call", "see docs/access.txt for who may call what";
    }
    "Every call" {
        FieldRequired = "FIELD_REQUIRED", Invalid, "a required field is empty", "fill in the field named in the error";
        FieldInvalid = "FIELD_INVALID", Invalid, "a field has a value it cannot have", "correct the field named in the error";
        PageTokenInvalid = "PAGE_TOKEN_INVALID", Invalid, "the page or resume token is not one of ours for this call", "start again without a token";
        RequestIdReused = "REQUEST_ID_REUSED", Exists, "the request id was used for another payload", "use a new request id for a new call";
        NotFound = "NOT_FOUND", Missing, "there is nothing of that name for you", "check the resource name";
        MessageTooLarge = "MESSAGE_TOO_LARGE", Exhausted, "the message is larger than the limit", "send less in one call";
        RateLimited = "RATE_LIMITED", Exhausted, "too many calls", "wait as long as RetryInfo says";
        Overloaded = "OVERLOADED", Exhausted, "the queue is full", "wait as long as RetryInfo says";
        Unavailable = "UNAVAILABLE", Unavailable, "the gateway cannot answer now", "wait as long as RetryInfo says";
        Internal = "INTERNAL", Internal, "the gateway failed", "try again; tell the operator the error's id";
        StageConflict = "STAGE_CONFLICT", Precondition, "the case, instruction or execution is not at a stage that allows this", "read it again and see its stage";
    }
    "Registry" {
        NameTaken = "NAME_TAKEN", Exists, "the name, alias, bundle id, domain or id is taken", "choose another, or release it where it is used";
        KeyAlreadyUsed = "KEY_ALREADY_USED", Exists, "the key was registered before, for another use or principal", "make a new key: one key has one use and one principal, for ever";
        KeyUnsuitable = "KEY_UNSUITABLE", Invalid, "the key is of a type or size that is not accepted", "use Ed25519, P-256, P-384 or RSA of at least 2048 bits";
        AgreementInvalid = "AGREEMENT_INVALID", Invalid, "the agreement's period, categories or stores do not fit together", "correct the field named in the error";
        KeySetMalformed = "KEY_SET_MALFORMED", Invalid, "the key set is not of the profile", "see docs/integrate for the key set's members";
        KeySetSignature = "KEY_SET_SIGNATURE", Invalid, "the key set lacks a valid signature of its root threshold", "sign with the root keys it names";
        KeySetVersion = "KEY_SET_VERSION", Precondition, "the key set's version is not the next", "the next version is exactly the newest plus one";
        KeySetExpired = "KEY_SET_EXPIRED", Precondition, "the key set is past its end", "register the next version";
        KeySetIssuer = "KEY_SET_ISSUER", Invalid, "the key set is another controller's or for another audience", "set iss to the controller and aud to the trail's origin";
        KeySetThumbprint = "KEY_SET_THUMBPRINT", Precondition, "the key set is not the one whose thumbprint was confirmed", "compare the thumbprint over the second channel again";
    }
    "Instruction" {
        InstructionTooLarge = "INSTRUCTION_TOO_LARGE", Invalid, "payload over 8 KiB or the whole over 64 KiB", "name fewer identifiers, or split the instruction";
        InstructionMalformed = "INSTRUCTION_MALFORMED", Invalid, "no SD-JWT of the profile", "see docs/integrate/instruction.md";
        EncodingNotCanonical = "ENCODING_NOT_CANONICAL", Invalid, "a segment is not canonical base64url", "encode without padding and without stray bits (RFC 7515 section 2)";
        HeaderInvalid = "HEADER_INVALID", Invalid, "the protected header is not exactly typ, alg and kid", "send exactly typ instruction+sd-jwt, alg and kid";
        AlgorithmNotAllowed = "ALGORITHM_NOT_ALLOWED", Invalid, "the algorithm is not one of EdDSA, ES256, ES384, PS256, or not the key's", "sign with an allowed algorithm that fits the key";
        KeyUnknown = "KEY_UNKNOWN", Denied, "the signing key is not in the controller's key set", "sign with a key of the newest key set";
        SignatureInvalid = "SIGNATURE_INVALID", Denied, "the signature does not verify", "sign the exact bytes you send";
        MemberUnknown = "MEMBER_UNKNOWN", Invalid, "the payload has a member the profile does not know", "leave it out";
        MemberDuplicate = "MEMBER_DUPLICATE", Invalid, "a member stands twice", "send each member once";
        MemberMissing = "MEMBER_MISSING", Invalid, "a required member is missing", "add the member named in the error";
        MemberInvalid = "MEMBER_INVALID", Invalid, "a member has a value it cannot have", "correct the member named in the error";
        IssuerMismatch = "ISSUER_MISMATCH", Denied, "the instruction's iss is not the caller", "submit only your own instructions";
        AudienceMismatch = "AUDIENCE_MISMATCH", Invalid, "the instruction is for another trail", "set aud to this trail's origin";
        InstructionExpired = "INSTRUCTION_EXPIRED", Precondition, "the instruction is past its end", "sign a new one";
        InstructionNotYetValid = "INSTRUCTION_NOT_YET_VALID", Precondition, "the instruction is not valid yet", "wait, or check the clock";
        InstructionLifetime = "INSTRUCTION_LIFETIME", Invalid, "exp - iat is not within 1 second and 30 days", "sign with a shorter life";
        JtiReused = "JTI_REUSED", Exists, "the jti was used up by another payload", "use a new UUIDv7 as jti for every instruction";
        AppUnknown = "APP_UNKNOWN", Missing, "there is no such app of yours", "name one of your registered apps";
        SubjectMismatch = "SUBJECT_MISMATCH", Invalid, "an identifier belongs to another app than the instruction", "one subject in one app per instruction; iss of iss_sub equals app";
        PersonalDataInClear = "PERSONAL_DATA_IN_CLEAR", Invalid, "an identifier or a personal value stands in the signed part", "put it in a disclosure";
        DisclosureMissing = "DISCLOSURE_MISSING", Invalid, "a digest has no disclosure", "send every disclosure: a withheld one changes the order";
        DisclosureRepeated = "DISCLOSURE_REPEATED", Invalid, "a disclosure or digest stands twice", "send each once";
        DisclosureNested = "DISCLOSURE_NESTED", Invalid, "a disclosure holds digests of its own", "make flat disclosures";
        DisclosureAlien = "DISCLOSURE_ALIEN", Invalid, "a disclosure belongs to no digest of the payload, or stands at a place that takes none", "send only the disclosures of this payload";
        DisclosureMalformed = "DISCLOSURE_MALFORMED", Invalid, "a disclosure is not [salt, value] or [salt, name, value]", "make it as RFC 9901 section 4.2 says";
        SaltWeak = "SALT_WEAK", Invalid, "a salt has less than 128 bits, or two are equal", "use 16 random bytes for each disclosure";
        KeySetNotCurrent = "KEY_SET_NOT_CURRENT", Precondition, "the instruction names a key set that is not the newest", "read the newest key set and sign again";
        SignerRole = "SIGNER_ROLE", Denied, "a signer has no role for this act", "sign with a key that has the act's role";
        ThresholdNotMet = "THRESHOLD_NOT_MET", Denied, "fewer distinct signers than the act needs", "have more signers of the role sign the same payload";
        KeySetRecovered = "KEY_SET_RECOVERED", Precondition, "it was admitted under key sets whose root was lost since; the controller began anew", "sign again under the newest key set, with a new jti";
        SignerRevoked = "SIGNER_REVOKED", Precondition, "a counted key has since left its role", "sign again with keys of the newest key set";
        InstructionRevoked = "INSTRUCTION_REVOKED", Precondition, "the instruction was revoked", "sign a new one if it is still wanted";
        InstructionContested = "INSTRUCTION_CONTESTED", Precondition, "the processor believes the instruction unlawful and contests it", "speak with the processor; only a new instruction resumes";
        InstructionHeld = "INSTRUCTION_HELD", Precondition, "the key set's policy holds the order back for a while", "wait until the hold is over; until then it can be revoked";
        SignatureWithdrawn = "SIGNATURE_WITHDRAWN", Precondition, "the signer took his signature on this instruction back", "sign a new instruction under another jti";
        TargetUnknown = "TARGET_UNKNOWN", Missing, "there is no such instruction of yours to revoke", "name an instruction of the same app";
        PreviewUnknown = "PREVIEW_UNKNOWN", Precondition, "the preview that the instruction names is not known for this store, or was shredded", "order a new preview of this store and name its digest";
        PreviewMapMoved = "PREVIEW_MAP_MOVED", Precondition, "the data map has changed since the preview that the signers saw", "order a new preview and sign again";
        PreviewScopeMoved = "PREVIEW_SCOPE_MOVED", Precondition, "the instruction reaches other data than the preview that its signers saw", "name the preview of this subject, these categories and this window; if it is that one, order a new one and sign again";
        PreviewAgreementMoved = "PREVIEW_AGREEMENT_MOVED", Precondition, "every category is instructed, and the agent's agreement has others than the preview that the signers saw", "order a new preview and sign again";
        PreviewCountMoved = "PREVIEW_COUNT_MOVED", Precondition, "more rows are dated before the preview than its signers saw", "see in the report of which collections and how many; order a new preview and sign again";
        PreviewRequired = "PREVIEW_REQUIRED", Precondition, "the key set's policy asks for the preview that the signers saw", "order a preview and name its digest";
        ActNotSupported = "ACT_NOT_SUPPORTED", Precondition, "the act is known but not carried out by this release", "see docs for the acts of this release";
        AgreementMissing = "AGREEMENT_MISSING", Precondition, "no agreement is in force for the app", "have the agreement registered or renewed";
        OutsideAgreement = "OUTSIDE_AGREEMENT", Precondition, "the instruction goes beyond the agreement's categories or stores", "stay within the agreement, or have it extended";
        SubProcessorUndeclared = "SUB_PROCESSOR_UNDECLARED", Denied, "the instruction would reach a sub-processor that the agreement does not name", "name stores that others operate, or agree to the sub-processor in a new agreement";
        BasisNotFitting = "BASIS_NOT_FITTING", Precondition, "the basis does not let data go to a third party", "a transfer stands on consent or a contract: pipl-13-1, pipl-13-2, gdpr-6-1-a, gdpr-6-1-b or gdpr-20";
        EvidenceMissing = "EVIDENCE_MISSING", Precondition, "data would go to a third party or out of the mainland without a recorded basis", "record the person's separate consent, or what else permits it, and put the record's digest in export.evidence (PIPL 23, 39)";
        TransferTargetMissing = "TRANSFER_TARGET_MISSING", Precondition, "the request asks for a transfer and the export names no third party", "ask the person, and disclose the third party's account as private.account";
        RegionNotAllowed = "REGION_NOT_ALLOWED", Precondition, "the destination lies outside the agreement's region", "choose a region the agreement allows";
        RequestUnknown = "REQUEST_UNKNOWN", Missing, "there is no such request of yours", "name one of your requests, or leave req out";
        ActDoesNotServe = "ACT_DOES_NOT_SERVE", Precondition, "the act answers none of the request's rights", "see which acts serve which rights";
        RecipientInvalid = "RECIPIENT_INVALID", Invalid, "the export's recipient is no age public key", "give an age X25519 recipient (age1…)";
        SubjectBusy = "SUBJECT_BUSY", Precondition, "another act on the same subject and store is still open", "wait until it ended";
    }
    "Intake" {
        MailMalformed = "MAIL_MALFORMED", Invalid, "the bytes are no mail (RFC 5322)", "send the mail as it was received, headers and all";
        MailTooLarge = "MAIL_TOO_LARGE", Invalid, "the mail is over the limit, or nested or split too deeply", "send it without attachments";
        ReleaseRequired = "RELEASE_REQUIRED", Precondition, "the original may name more than one app and was not released", "support must release a redacted version first";
        RightUnanswered = "RIGHT_UNANSWERED", Invalid, "the outcome names a right the case does not hold, or leaves out what it needs", "give one outcome for each right you answered";
    }
    "Execution" {
        LeaseLost = "LEASE_LOST", Precondition, "the lease ended or belongs to another", "lease again";
        OrderAltered = "ORDER_ALTERED", Precondition, "what the gateway keeps of the instruction is not what was admitted", "an auditor must look: the gateway's database was edited or damaged; order anew under another jti";
        OrderRepeated = "ORDER_REPEATED", Exists, "the agent was given the instruction before under another execution", "an auditor must look: an instruction is ordered once for each store";
        ReportInvalid = "REPORT_INVALID", Invalid, "the report does not verify or does not fit its order", "sign with the registered report key and report on the leased order";
        AuthorityStale = "AUTHORITY_STALE", Precondition, "the authority log's head is older than the agent allows", "the gateway must publish a fresh head";
        AuthorityForked = "AUTHORITY_FORKED", Precondition, "the authority log does not continue what was replicated before", "an auditor must look at both heads";
        TrailForked = "TRAIL_FORKED", Precondition, "the trail does not continue what was seen before, or does not hold the admission", "an auditor must look at both heads";
        TenantUnbound = "TENANT_UNBOUND", Precondition, "the agent's own configuration binds the app to no or another controller", "the agent's operator must bind the app";
        StoreUnknown = "STORE_UNKNOWN", Precondition, "the agent stands beside no such store", "check which agent serves the store";
        LedgerBehind = "LEDGER_BEHIND", Precondition, "the agent's ledger lacks what the trail says it reported", "restore the ledger; do not start with an older one";
        MapInvalid = "MAP_INVALID", Precondition, "the data map leaves a collection without a tenant predicate or does not fit the store", "complete the overlay";
        StoreFailed = "STORE_FAILED", Unavailable, "the store did not answer or refused a statement", "it is tried again by itself";
        SubjectTooLarge = "SUBJECT_TOO_LARGE", Precondition, "the subject has more rows in the store than one act may touch", "split the instruction by window or category";
        RowsUndated = "ROWS_UNDATED", Precondition, "rows stay whose time cannot be read, so that nothing shows until when they may", "the store's operator must give these rows a time that can be read; then order anew";
        ReadBackFailed = "READ_BACK_FAILED", Precondition, "rows of the subject were still there after the erasure", "an operator must look at the store";
        ExportGone = "EXPORT_GONE", Precondition, "the export package has expired or is not complete", "instruct a new export";
        DigestMismatch = "DIGEST_MISMATCH", Invalid, "the bytes do not have the digest that was announced", "send them again";
    }
    "Publishing and witnesses" {
        WitnessesMissing = "WITNESSES_MISSING", Unavailable, "fewer witnesses than required have cosigned the head", "it goes on by itself once enough witnesses answer; the operator must look at those that do not";
        CheckpointMalformed = "CHECKPOINT_MALFORMED", Invalid, "the body is no add-checkpoint request of C2SP tlog-witness", "send old size, consistency proof, an empty line and the signed checkpoint";
        LogUnknown = "LOG_UNKNOWN", Missing, "the witness watches no log of this origin", "have the witness's operator add the log's origin and key";
        CheckpointUnsigned = "CHECKPOINT_UNSIGNED", Denied, "the checkpoint is not signed by the key that is pinned for its origin", "sign it with the log's key";
        CheckpointConflict = "CHECKPOINT_CONFLICT", Conflict, "the witness cosigned another size last", "prove consistency from the size in the answer";
        CheckpointForked = "CHECKPOINT_FORKED", Precondition, "the log does not continue what was cosigned before", "an auditor must look at both checkpoints; nothing is cosigned until then";
        CheckpointRolledBack = "CHECKPOINT_ROLLED_BACK", Precondition, "the log is shorter than what was cosigned before", "the database was set back: restore the newer one, or open a new origin";
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let code = <Cow<'_, str>>::deserialize(d)?;
        Reason::from_code(&code).ok_or_else(|| serde::de::Error::custom("no such reason"))
    }
}

/// A refusal: a stable reason, the field it is about, and a note that never
/// holds anything of the input (it is shown to the caller and may be logged).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// Path of the field or member, such as `payload.sub_id`. A name of ours, never of the input's.
    pub field: Option<Cow<'static, str>>,
    /// What exactly, beyond the reason's own sentence: numbers, limits, our own words.
    pub note: Option<Cow<'static, str>>,
}

impl Refusal {
    pub fn new(reason: Reason) -> Self {
        Self { reason, field: None, note: None }
    }

    pub fn at(reason: Reason, field: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, field: Some(field.into()), note: None }
    }

    pub fn note(mut self, note: impl Into<Cow<'static, str>>) -> Self {
        self.note = Some(note.into());
        self
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.reason.what())?;
        if let Some(field) = &self.field {
            write!(f, " [{field}]")?;
        }
        if let Some(note) = &self.note {
            write!(f, " ({note})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
