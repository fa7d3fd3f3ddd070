"""What is wrong with the signed part: its JSON, its address, personal data, members."""

from typing import Any

from forms import DAY, NOW, PIN, SUBJECT, claims, device, element, export, placeholders, user
from orders import bad, private, signed, signed_text
from published import KEYS, digest

# -- the payload's JSON and address --------------------------------------------------------------------

bad("member-twice", "act stands twice", "MEMBER_DUPLICATE", "Send each member once, at every depth.",
    signed_text("member-twice", lambda text: text.replace('"act":', '"act":"erase","act":')))
bad("inner-member-twice", "version stands twice in key_set", "MEMBER_DUPLICATE", "Send each member once, at every depth.",
    signed_text("inner-member-twice", lambda text: text.replace('"version":1', '"version":1,"version":1')))
bad("other-issuer", "iss is another controller", "ISSUER_MISMATCH",
    "Set iss to the controller that your certificate and access token name.", signed("other-issuer", iss="controllers/other"))
bad("other-audience", "aud is another trail", "AUDIENCE_MISMATCH",
    "Set aud to the trail's origin, as pins.toml and the key set's aud say.", signed("other-audience", aud="other.example/trail"))
bad("gateway-as-audience", "aud is the gateway's name, as in an access token", "AUDIENCE_MISMATCH",
    "Set aud to the trail's origin, as pins.toml and the key set's aud say.", signed("gateway-as-audience", aud="mandate.ppio.example"))

# -- personal data in the clear ------------------------------------------------------------------------

CLEAR = "Put it in a disclosure, and its digest in the signed part."
bad("subject-in-clear", "the user id stands in the signed part", "PERSONAL_DATA_IN_CLEAR", CLEAR,
    signed("subject-in-clear", subject=[], sub_id=user("u_1")))
bad("subject-as-text", "sub_id is the user id itself", "PERSONAL_DATA_IN_CLEAR", CLEAR, signed("subject-as-text", subject=[], sub_id="u_1"))
subject = [element("format-other/0", SUBJECT[0])]
bad("format-other", "sub_id of another format than aliases", "PERSONAL_DATA_IN_CLEAR",
    "Set sub_id.format to aliases, with a digest for each identifier: another format would hold the person in the clear.",
    signed("format-other", subject=[SUBJECT[0]], sub_id={"format": "list", "identifiers": placeholders(subject)}))
bad("identifier-in-clear", "an identifier stands beside the digests", "PERSONAL_DATA_IN_CLEAR", CLEAR,
    signed("identifier-in-clear", subject=[], sub_id={"format": "aliases", "identifiers": [user("u_1")]}))
for name in ("sub", "email", "phone_number", "name", "text", "to", "set", "account"):
    bad(f"{name.replace('_', '-')}-in-clear", f"a member {name} in the signed part", "PERSONAL_DATA_IN_CLEAR", CLEAR,
        signed(f"{name}-in-clear", **{name: "x"}))
bad("reply-in-clear", "a reply's text stands in the signed part", "PERSONAL_DATA_IN_CLEAR",
    "Disclose text and to under private._sd.",
    private("reply-in-clear", text="t", to="user@example.com",
            change=lambda p: p | {"private": p["private"] | {"text": "t"}}))

named, one = claims("identifier-beside"), placeholders([element("identifier-beside/0", SUBJECT[0])])[0]
bad("identifier-beside", "an e-mail address beside the digests", "PERSONAL_DATA_IN_CLEAR", CLEAR,
    signed("identifier-beside", sub_id=named[0]["sub_id"] | {"email": "user@example.com"}))
bad("placeholder-and-more", "a digest and, in the same object, the device it stands for", "PERSONAL_DATA_IN_CLEAR",
    "Let each identifier be {\"...\": \"<digest>\"} and nothing else.",
    signed("placeholder-and-more", subject=[], sub_id={"format": "aliases", "identifiers": [one | {"id": "x"}]}))
bad("private-in-clear", "a private member in the clear, in an act that has none", "PERSONAL_DATA_IN_CLEAR", "Leave private out of this act.",
    signed("private-in-clear", private={"text": "x"}))
bad("account-inside-in-clear", "the third party's account in the clear under private", "PERSONAL_DATA_IN_CLEAR",
    "Disclose account under private._sd.",
    signed("account-inside-in-clear", "p384", "export", export=export(), private={"account": "acc-1"}))

# -- members -------------------------------------------------------------------------------------------

bad("unknown-member", "a member the profile does not know", "MEMBER_UNKNOWN", "Leave it out.", signed("unknown-member", note="x"))
bad("unknown-inner-member", "a member of key_set the profile does not know", "MEMBER_UNKNOWN", "Leave it out.",
    signed("unknown-inner-member", key_set={"version": 1, "digest": PIN, "url": "x"}))
bad("holder-key", "cnf, the holder's key, as SD-JWT libraries put it in for key binding", "MEMBER_UNKNOWN",
    "Leave cnf out: there is no key binding.", signed("holder-key", cnf={"jwk": KEYS["ed"].public}))
bad("unknown-window-member", "a member of window the profile does not know", "MEMBER_UNKNOWN", "Leave it out.",
    signed("unknown-window-member", window={"from": 5, "until": 9, "zone": "x"}))
bad("section-digest", "a member of export hidden behind a digest", "MEMBER_UNKNOWN",
    "Write recipient, format and region in the clear; disclose identifiers and the act's private members alone.",
    signed("section-digest", "p384", "export", export=export(_sd=[digest("x")])))
for name in ("iss", "aud", "jti", "iat", "exp", "act", "app", "sub_id", "categories", "basis", "key_set", "_sd_alg"):
    label = f"no-{name.strip('_').replace('_', '-')}"
    bad(label, f"{name} is missing", "MEMBER_MISSING", f"Add {name}.", signed(label, **{name: ...}))
bad("no-export", "an export without its section", "MEMBER_MISSING", "Add export: recipient, format and region.",
    signed("no-export", "p384", "export"))
bad("no-target", "a revoke that names no instruction", "MEMBER_MISSING", "Add target: instructions/<jti>.",
    signed("no-target", act="revoke", subject=[], sub_id=...))
bad("no-region", "an export without a region", "MEMBER_MISSING", "Add export.region.",
    signed("no-region", "p384", "export", export={"recipient": export()["recipient"], "format": "jsonl+csv"}))
for label, name in [("no-recipient", "recipient"), ("no-format", "format")]:
    section = {key: value for key, value in export().items() if key != name}
    bad(label, f"an export without {name}", "MEMBER_MISSING", f"Add export.{name}.", signed(label, "p384", "export", export=section))
bad("no-set-version", "key_set without version", "MEMBER_MISSING", "Add key_set.version.", signed("no-set-version", key_set={"digest": PIN}))
bad("no-set-digest", "key_set without digest", "MEMBER_MISSING", "Add key_set.digest.", signed("no-set-digest", key_set={"version": 1}))
bad("no-as-of", "preview without as_of", "MEMBER_MISSING", "Add preview.as_of, as the preview's answer says.",
    signed("no-as-of", act="erase", preview={"digest": digest("preview")}))
bad("no-refuse", "a refuse without its section", "MEMBER_MISSING", "Add refuse: ground, whose and reason_code.", signed("no-refuse", act="refuse"))
bad("no-reason-code", "a refuse without its reason_code", "MEMBER_MISSING", "Add refuse.reason_code.",
    signed("no-reason-code", act="refuse", refuse={"ground": "legal-claim", "whose": "controllers"}))
bad("no-authorize-reply", "an authorize_reply without its section", "MEMBER_MISSING", "Add authorize_reply: templates and until.",
    signed("no-authorize-reply", act="authorize_reply"))
bad("no-set", "a rectify that discloses something else than set", "MEMBER_MISSING", "Disclose set: the fields and their new values.",
    private("no-set", "rectify", text="x"))
bad("no-private", "a reply without text and to", "MEMBER_MISSING", "Disclose text and to under private._sd.",
    signed("no-private", act="reply"))
bad("no-to", "a reply that discloses its text alone", "MEMBER_MISSING", "Disclose both text and to.", private("no-to", text="t"))
bad("window-half", "a window without an end", "MEMBER_MISSING", "Give both from and until.", signed("window-half", window={"from": 5}))
bad("window-no-from", "a window without a beginning", "MEMBER_MISSING", "Give both from and until.", signed("window-no-from", window={"until": 9}))
bad("no-preview-digest", "preview without its digest", "MEMBER_MISSING", "Add preview.digest, as the preview's answer says.",
    signed("no-preview-digest", act="erase", preview={"as_of": NOW}))
for label, name in [("no-ground", "ground"), ("no-whose", "whose")]:
    whole = {"ground": "legal-claim", "whose": "controllers", "reason_code": "in-court"}
    bad(label, f"a refuse without its {name}", "MEMBER_MISSING", f"Add refuse.{name}.",
        signed(label, act="refuse", refuse={key: value for key, value in whole.items() if key != name}))
for label, name in [("no-templates", "templates"), ("no-until", "until")]:
    whole = {"templates": ["erased"], "until": NOW + DAY}
    bad(label, f"an authorize_reply without {name}", "MEMBER_MISSING", f"Add authorize_reply.{name}.",
        signed(label, act="authorize_reply", authorize_reply={key: value for key, value in whole.items() if key != name}))

VALUES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("jti-v4", "jti is a random UUID, version 4", "Make jti a UUIDv7 (RFC 9562 section 5.7).", {"jti": "01938a5e-7c1d-4b2e-9f7a-3d2c1b0a9e88"}),
    ("jti-upper-case", "jti in capitals", "Write jti in lower case, with hyphens.", {"jti": "01938A5E-7C1D-7B2E-9F7A-3D2C1B0A9E88"}),
    ("jti-no-hyphens", "jti without hyphens", "Write jti in lower case, with hyphens.", {"jti": "01938a5e7c1d7b2e9f7a3d2c1b0a9e88"}),
    ("jti-urn", "jti as a URN", "Write the UUID alone, without urn:uuid:.", {"jti": "urn:uuid:01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88"}),
    ("issuer-spiffe", "iss is the SPIFFE URI of the certificate", "Write controllers/<id>; the SPIFFE URI is the access token's sub.", {"iss": "spiffe://ppio.example/controller/xingyu/backend"}),
    ("nbf-as-text", "nbf is a date", "Send seconds since 1970 as an integer.", {"nbf": "2026-11-23"}),
    ("seconds-as-text", "iat is a string", "Send seconds since 1970 as an integer.", {"iat": "1795420795"}),
    ("fraction", "seconds with a fraction", "Send whole seconds: every number is an integer.", {"iat": NOW - 0.5}),
    ("milliseconds", "milliseconds in place of seconds", "Send seconds since 1970, not milliseconds.", {"iat": NOW * 1000, "exp": NOW * 1000 + 1000}),
    ("negative-seconds", "seconds before 1970", "Send seconds since 1970.", {"iat": -1}),
    ("exponent", "a number written with an exponent", "Write integers without exponent or fraction.", {"exp": 1.7954e9}),
    ("audience-list", "aud is an array", "Send aud as one string.", {"aud": ["mandate.ppio.example/trail"]}),
    ("issuer-bare", "iss without controllers/", "Write resource names whole: controllers/<id>.", {"iss": "xingyu"}),
    ("act-unknown", "act is delete", "Use an act of the vocabulary; to delete is erase.", {"act": "delete"}),
    ("app-bare", "app without apps/", "Write resource names whole: apps/<id>.", {"app": "xingyu-live"}),
    ("request-bare", "req names no request", "Name the request as requests/<id>, or leave req out.", {"req": "01938a5e-0000-7000-8000-000000000001"}),
    ("categories-as-text", "categories is one word, not a list", "Send categories as an array.", {"categories": "device"}),
    ("category-digest", "a category hidden behind a digest", "Write categories in the clear.", {"categories": [{"...": digest("x")}]}),
    ("categories-none", "no category", "Name the categories, or [\"*\"] for all of the agreement.", {"categories": []}),
    ("category-twice", "a category stands twice", "Name each category once.", {"categories": ["device", "device"]}),
    ("category-beside-star", "\"*\" beside a category", "Send [\"*\"] alone, or name the categories.", {"categories": ["*", "device"]}),
    ("category-unknown", "a word that is no category", "Use the registered categories.", {"categories": ["love-letters"]}),
    ("stores-none", "an empty list of stores", "Name the stores, or leave stores out for all of the agreement.", {"stores": []}),
    ("store-id", "a store id in capitals", "Use the registered store ids.", {"stores": ["SDK"]}),
    ("window-backwards", "a window that ends before it begins", "Let from be before until.", {"window": {"from": 9, "until": 5}}),
    ("window-as-text", "a window whose times are strings", "Send from and until as integers, seconds.", {"window": {"from": "5", "until": "9"}}),
    ("basis-unknown", "a ground that is not registered", "Use a registered basis, such as pipl-47.", {"basis": "because"}),
    ("version-none", "key_set.version is 0", "Name the version of the newest key set; it begins at 1.", {"key_set": {"version": 0, "digest": PIN}}),
    ("version-as-text", "key_set.version is a string", "Send the version as an integer.", {"key_set": {"version": "1", "digest": PIN}}),
    ("key-set-as-text", "key_set is the digest alone", "Send key_set as {version, digest}.", {"key_set": PIN}),
    ("digest-padded", "key_set.digest with padding", "Write digests as base64url without padding, 43 characters.", {"key_set": {"version": 1, "digest": PIN + "="}}),
    ("digest-hex", "key_set.digest in hex", "Write digests as base64url without padding, 43 characters.", {"key_set": {"version": 1, "digest": "00" * 32}}),
    ("hash-unknown", "_sd_alg is sha-512", "Set _sd_alg to sha-256.", {"_sd_alg": "sha-512"}),
    ("no-identifier", "no identifier", "Name 1 to 16 identifiers of one subject.", {"sub_id": {"format": "aliases", "identifiers": []}}),
    ("identifiers-no-list", "identifiers is no array", "Send identifiers as an array.", {"sub_id": {"format": "aliases", "identifiers": "x"}}),
    ("identifier-no-digest", "a digest of another length", "Write digests as base64url of SHA-256, 43 characters.", {"sub_id": {"format": "aliases", "identifiers": [{"...": "x"}]}}),
    ("target-elsewhere", "target in an act that takes none", "Leave target out: it belongs to revoke.", {"target": "instructions/01938a5e-7c1d-7b2e-9f7a-000000000000"}),
    ("export-elsewhere", "an export section in an act that takes none", "Leave export out: it belongs to export and return_and_erase.", {"export": export()}),
    ("preview-elsewhere", "preview in an act that takes none", "Leave preview out: a preview names none.", {"preview": {"digest": PIN, "as_of": NOW}}),
    ("refuse-elsewhere", "a refuse section in an act that takes none", "Leave refuse out: it belongs to refuse.", {"refuse": {"ground": "legal-claim", "whose": "controllers", "reason_code": "in-court"}}),
    ("authorize-reply-elsewhere", "an authorize_reply section in an act that takes none", "Leave authorize_reply out: it belongs to authorize_reply.", {"authorize_reply": {"templates": ["erased"], "until": NOW + DAY}}),
    ("private-elsewhere", "private in an act that takes none", "Leave private out.", {"private": {"_sd": [digest("x")]}}),
]
for name, what, advice, change in VALUES:
    subject = [] if "sub_id" in change else None
    bad(name, what, "MEMBER_INVALID", advice, signed(name, subject=subject, **change))
bad("seventeen-identifiers", "more than 16 identifiers", "MEMBER_INVALID", "Name at most 16 identifiers of one subject.",
    signed("seventeen-identifiers", subject=[device(f"d{at}") for at in range(17)]))
bad("nested-deep", "JSON nested more than 8 deep", "MEMBER_INVALID", "Send the members of the profile alone; none nests deep.",
    signed_text("nested-deep", lambda text: text[:-1] + ',"x":' + "[" * 20 + "]" * 20 + "}"))
bad("subject-of-a-revoke", "a revoke that names a subject", "MEMBER_INVALID", "Leave sub_id out: target says what is taken back.",
    signed("subject-of-a-revoke", act="revoke", target="instructions/01938a5e-7c1d-7b2e-9f7a-000000000000"))
bad("export-format", "an export as pdf", "MEMBER_INVALID", "Set export.format to jsonl+csv.",
    signed("export-format", "p384", "export", export=export(format="pdf")))
bad("export-region", "a region that is not registered", "MEMBER_INVALID", "Use a registered region, such as cn.",
    signed("export-region", "p384", "export", export=export(region="moon")))
bad("export-evidence", "evidence as a sentence", "MEMBER_INVALID", "Send the digest of the recorded consent.",
    signed("export-evidence", "p384", "export", export=export(evidence="told so")))
bad("recipient", "a recipient that is an SSH key", "RECIPIENT_INVALID", "Give an age X25519 recipient (age1…).",
    signed("recipient", "p384", "export", export=export(recipient="ssh-ed25519 AAAA")))
bad("recipient-checksum", "a recipient with a mistyped letter", "RECIPIENT_INVALID", "Copy the age recipient whole: its checksum does not hold.",
    signed("recipient-checksum", "p384", "export", export=export(recipient=export()["recipient"][:-1] + "q")))
bad("recipient-secret", "the secret half of the age key as recipient", "RECIPIENT_INVALID",
    "Give the recipient (age1…), make a new key pair, and keep the secret half: this one was sent.",
    signed("recipient-secret", "p384", "export", export=export(recipient="AGE-SECRET-KEY-" + "1" * 59)))
bad("target-bare", "target without instructions/", "MEMBER_INVALID", "Write target whole: instructions/<jti>.",
    signed("target-bare", act="revoke", subject=[], sub_id=..., target="01938a5e-7c1d-7b2e-9f7a-000000000000"))
bad("preview-digest", "preview.digest in hex", "MEMBER_INVALID", "Copy the preview's digest as it is: base64url, 43 characters.",
    signed("preview-digest", act="erase", preview={"digest": "00" * 32, "as_of": NOW}))
for label, what, advice, more in [
    ("refuse-ground", "a ground that is not registered", "Use a registered ground, such as legal-claim.", {"ground": "because"}),
    ("refuse-whose", "whose is neither ours nor controllers", "Set whose to ours or controllers.", {"whose": "mine"}),
    ("refuse-reason", "a sentence as reason_code", "Use a registered code, in small letters with hyphens.", {"reason_code": "We are in court."}),
]:
    bad(label, what, "MEMBER_INVALID", advice, signed(
        label, act="refuse", refuse={"ground": "legal-claim", "whose": "controllers", "reason_code": "in-court"} | more))
bad("templates-none", "an authorize_reply of no template", "MEMBER_INVALID", "Name the templates that may be sent.",
    signed("templates-none", act="authorize_reply", authorize_reply={"templates": [], "until": NOW + DAY}))
