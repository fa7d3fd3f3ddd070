"""Instructions, good and bad. Each case: a name, what it is, the answer, and what to change."""

import json
from typing import Any

from collector import Cases
from forms import (
    APP, APPROVAL, EVIDENCE, WITHDRAWAL, DAY, INSTRUCTION, KEY_SETS, NOW, PIN, SUBJECT, ACCESS, KEY_SET, claims, compact, device, element, export,
    EXPLAIN, MINORS, REQUEST, TRANSFER, before, general, header, instruction_step, key_set_digest, member, name_of, placeholders, salt, signature, text_of, user, with_private,
)
from published import KEYS, b64, digest

cases = Cases("instruction")
good, bad = cases.good, cases.bad


def signed(label: str, name: str = "ed", /, act: str = "preview", subject: Any = None, protected: Any = None,
           how: str = "sign", **changes: Any) -> str:
    """An instruction with changed members, soundly signed by one."""
    payload, disclosures = claims(label, act, subject, **changes)
    return compact(name, payload, disclosures, protected, how)


def signed_text(label: str, change: Any) -> str:
    """An instruction whose payload's text was changed before it was signed."""
    payload, disclosures = claims(label)
    before = text_of(payload)
    after = change(before)
    assert after != before
    return compact("ed", after, disclosures)


def disclosed(label: str, *arrays: str) -> str:
    """A preview whose disclosures are these JSON texts."""
    disclosures = [b64(text) for text in arrays]
    payload, _ = claims(label)
    payload["sub_id"]["identifiers"] = placeholders(disclosures)
    return compact("ed", payload, disclosures)


def revoke(label: str, target: Any, **changes: Any) -> str:
    return signed(label, act="revoke", sub_id=..., subject=[], target=name_of(target), **changes)


def private(label: str, act: str = "reply", name: str = "ed", change: Any = None, **values: Any) -> str:
    payload, disclosures = with_private(label, *claims(label, act), **values)
    if change:
        payload = change(payload)
    return compact(name, payload, disclosures)


def together(label: str, names: list[str], act: str = "erase", **changes: Any) -> dict[str, Any]:
    payload, disclosures = claims(label, act, **changes)
    return general(names, payload, disclosures)


def third_party(label: str, basis: str = "pipl-13-1", req: Any = ..., **changes: Any) -> str:
    """An export to the third party that the person chose, on consent or a contract that is on record."""
    section = {name: value for name, value in export(**({"evidence": EVIDENCE} | changes)).items() if value is not ...}
    return compact("p384", *with_private(label, *claims(label, "export", basis=basis, export=section, req=req), account="acc-1"))


# -- good ----------------------------------------------------------------------------------------------

good("eddsa", "one signer, Ed25519", signed("eddsa"))
good("ed25519-by-its-new-name", "alg is Ed25519, the name RFC 9864 gives it",
     signed("ed25519-by-its-new-name", protected=header("ed") | {"alg": "Ed25519"}))
good("es256", "one signer, P-256: the signature is r || s", signed("es256", "p256"))
good("es256-high-s", "the other valid ECDSA signature, s replaced by n - s: the same signed bytes",
     signed("es256-high-s", "p256", how="sign_high_s"))
good("es384", "one signer, P-384", signed("es384", "p384"))
good("ps256", "one signer, RSA-2048 with PSS, SHA-256 and a salt of 32 bytes", signed("ps256", "rsa"))
good("white-space", "a payload with white space: the bytes you sign count, not their layout",
     signed_text("white-space", lambda text: json.dumps(json.loads(text), indent=2)))
good("four-identifiers", "one subject by user id, device, e-mail and telephone number", signed(
    "four-identifiers",
    subject=[*SUBJECT, {"format": "email", "email": "user@example.com"},
             {"format": "phone_number", "phone_number": "+8613800000000"}]))
good("unicode", "a user id in Chinese: JSON is UTF-8", signed("unicode", subject=[user("用户八八三九")]))
good("all-categories", "categories is [\"*\"]: all of the agreement", signed("all-categories", categories=["*"]))
good("stores-and-window", "two stores and a window of time",
     signed("stores-and-window", stores=["sdk", "logs"], window={"from": NOW - 90 * DAY, "until": NOW}))
good("not-before-now", "nbf is this second", signed("not-before-now", nbf=NOW))
good("clock-ahead", "iat is 30 seconds ahead: within the leeway", signed("clock-ahead", iat=NOW + 30))
good("longest-life", "a life of exactly 30 days", signed("longest-life", iat=NOW, exp=NOW + 30 * DAY))
good("export", "an export to the holder of an age key, within the agreement's region",
     signed("export", "p384", "export", export=export()))
good("export-account", "an export with a private member: the account of the third party that the person chose", third_party("export-account"))
good("two-signers", "an erasure signed by two: General JSON", together("two-signers", ["ed", "p256"]))
good("one-signer-with-two-keys-and-another", "three signatures by two signers",
     together("one-signer-with-two-keys-and-another", ["ed", "ed-2", "p256"]))
good("after-a-preview", "an erasure that names the preview its signers saw",
     together("after-a-preview", ["p256", "ed"], preview={"digest": digest("preview"), "as_of": NOW - 60}))
good("answers-a-request", "req names the request it answers",
     signed("answers-a-request", req=REQUEST))
target = signed("taken-back")
good("revoke", "takes another instruction back: no subject", revoke("revoke", target), before=before(instruction_step(target)))
good("return-and-erase", "signed years ahead, good for 30 days from the contract's end", signed(
    "return-and-erase", act="return_and_erase", sub_id=..., subject=[], basis="contract-end",
    categories=["*"], export=export(), nbf=NOW + 3 * 365 * DAY, exp=NOW + 3 * 365 * DAY + 30 * DAY))
good("routine-rotation", "at its first lease, under a newer key set in which its signer still has the role",
     signed("routine-rotation"), then=[{"key_set": "rotated"}])

# -- size, shape ---------------------------------------------------------------------------------------

bad("payload-too-large", "a payload over 8 KiB", "INSTRUCTION_TOO_LARGE",
    "Keep the payload within 8192 bytes: leave out white space, or split the order into several instructions.",
    signed_text("payload-too-large", lambda text: text + " " * 8192))
bad("whole-too-large", "over 64 KiB with its disclosures", "INSTRUCTION_TOO_LARGE",
    "Keep the whole message within 65536 bytes: disclose identifiers alone and nothing at length.",
    signed("whole-too-large", subject=[device("x" * 50000)]))
bad("no-tilde", "the closing ~ is missing", "INSTRUCTION_MALFORMED",
    "End the compact form with a ~ after the last disclosure (RFC 9901 section 4).", signed("no-tilde").rstrip("~"))
bad("key-binding", "a key binding JWT after the last ~", "INSTRUCTION_MALFORMED",
    "Send the SD-JWT without key binding: it ends with ~.", signed("key-binding") + "e30.e30.AA")
bad("two-segments", "a JWS without a signature segment", "INSTRUCTION_MALFORMED",
    "Send header, payload and signature, joined by two dots.",
    ".".join(signed("two-segments").split("~")[0].split(".")[:2]) + "~")
bad("not-ascii", "a letter that is not ASCII", "INSTRUCTION_MALFORMED",
    "Send the ASCII text that your SD-JWT library gave, unchanged.", signed("not-ascii").replace(".", "。", 1))
bad("empty", "nothing at all", "INSTRUCTION_MALFORMED", "Send the instruction in the request's `instruction` field.", "")
one = general(["ed"], *claims("flattened"))
bad("flattened", "flattened JSON, as some libraries make of a single signature", "INSTRUCTION_MALFORMED",
    "Send one signature in compact form, or put `protected` and `signature` into a `signatures` array.",
    {"payload": one["payload"], **one["signatures"][0]})
bad("general-member", "General JSON with a member beside payload and signatures", "INSTRUCTION_MALFORMED",
    "Send exactly `payload` and `signatures`.", together("general-member", ["ed", "p256"]) | {"version": 1})
bad("no-signatures", "General JSON with an empty array of signatures", "INSTRUCTION_MALFORMED",
    "Put one entry for each signer into `signatures`.", together("no-signatures", ["ed"]) | {"signatures": []})
bad("seventeen-signatures", "more than 16 signatures", "INSTRUCTION_MALFORMED",
    "Send at most 16 signatures; as many as the threshold asks for are enough.",
    together("seventeen-signatures", ["ed", "p256"] * 8 + ["ed"]))
late = together("disclosures-in-the-second", ["ed", "p256"])
late["signatures"][1]["header"] = late["signatures"][0].pop("header")
bad("disclosures-in-the-second", "the disclosures stand in the second signature's header", "INSTRUCTION_MALFORMED",
    "Put `header.disclosures` into the first signature (RFC 9901 section 8).", late)
more = together("unprotected-member", ["ed", "p256"])
more["signatures"][0]["header"]["kid"] = KEYS["ed"].kid
bad("unprotected-member", "the unprotected header says more than disclosures", "INSTRUCTION_MALFORMED",
    "Leave everything but `disclosures` out of the unprotected header: it is not signed.", more)
bad("payload-no-object", "the payload is a JSON array", "INSTRUCTION_MALFORMED",
    "Sign one JSON object.", compact("ed", "[]", []))
bad("payload-no-json", "the payload is no JSON", "INSTRUCTION_MALFORMED",
    "Sign one JSON object.", signed_text("payload-no-json", lambda text: text[:-1]))
bad("payload-twice", "something stands after the payload's object", "INSTRUCTION_MALFORMED",
    "Sign one JSON object and nothing after it.", signed_text("payload-twice", lambda text: text + "{}"))

# -- encoding ------------------------------------------------------------------------------------------

bad("padded-disclosure", "a disclosure with = at its end", "ENCODING_NOT_CANONICAL",
    "Encode base64url without padding (RFC 7515 section 2).", signed("padded-disclosure")[:-1] + "=~")
first, second, third = signed("standard-alphabet").split("~")[0].split(".")
bad("padded-signature", "a signature with = at its end", "ENCODING_NOT_CANONICAL",
    "Encode base64url without padding (RFC 7515 section 2).", f"{first}.{second}.{third}==~")
bad("standard-alphabet", "+ and / in place of - and _", "ENCODING_NOT_CANONICAL",
    "Use the URL-safe alphabet of base64 (RFC 4648 section 5).",
    f"{first}.{second}.{'+/' + third[2:]}~")
bad("stray-bits", "the last character of the signature carries bits that mean nothing", "ENCODING_NOT_CANONICAL",
    "Send what your encoder gives: the unused bits of the last character are zero.",
    f"{first}.{second}.{third[:-1] + {'A': 'B', 'Q': 'R', 'g': 'h', 'w': 'x'}[third[-1]]}~")
bad("line-break", "a line break inside a segment", "ENCODING_NOT_CANONICAL",
    "Encode without line breaks.", f"{first}.{second[:64]}\n{second[64:]}.{third}~")

# -- header --------------------------------------------------------------------------------------------

HEADERS = {
    "typ-jwt": ("typ is JWT", {"typ": "JWT"}, "Set typ to instruction+sd-jwt."),
    "typ-sd-jwt": ("typ is that of another SD-JWT", {"typ": "dc+sd-jwt"}, "Set typ to instruction+sd-jwt."),
    "typ-key-set": ("typ is a key set's", {"typ": KEY_SET}, "Set typ to instruction+sd-jwt; a root key signs key sets."),
    "typ-access-token": ("typ is an access token's", {"typ": ACCESS}, "Set typ to instruction+sd-jwt."),
    "typ-approval": ("an approval alone, shown as an instruction", {"typ": APPROVAL}, "Set typ to instruction+sd-jwt; an approval adds to one."),
    "typ-withdrawal": ("typ is a withdrawal's", {"typ": WITHDRAWAL}, "Set typ to instruction+sd-jwt."),
    "typ-missing": ("no typ", {"typ": ...}, "Set typ to instruction+sd-jwt."),
    "alg-missing": ("no alg", {"alg": ...}, "Set alg to the key's algorithm."),
    "kid-missing": ("no kid", {"kid": ...}, "Set kid to the RFC 7638 thumbprint of the key."),
    "kid-name": ("kid is a name of your own", {"kid": "key-1"}, "Set kid to the RFC 7638 thumbprint of the key."),
    "crit": ("a critical extension", {"crit": ["b64"], "b64": True}, "Send exactly typ, alg and kid."),
    "unencoded": ("b64 is false (RFC 7797)", {"crit": ["b64"], "b64": False}, "Sign the base64url payload; send exactly typ, alg and kid."),
    "jwk": ("a key in the header", {"jwk": KEYS["ed"].public}, "Leave the key out: kid alone names it, and the key set holds it."),
    "jku": ("an address of keys", {"jku": "https://xingyu.example/keys"}, "Leave jku out: only keys of the key set count."),
    "x5c": ("a certificate in the header", {"x5c": ["AA=="]}, "Leave x5c out: only keys of the key set count."),
    "cty": ("a content type", {"cty": "json"}, "Send exactly typ, alg and kid."),
}
for name, (what, change, advice) in HEADERS.items():
    protected = {key: value for key, value in (header("ed") | change).items() if value is not ...}
    bad(name, what, "HEADER_INVALID", advice, signed(name, protected=protected))
bad("header-member-twice", "alg stands twice in the header", "HEADER_INVALID", "Send each header member once.",
    signed("header-member-twice", protected=text_of(header("ed")).replace('"alg"', '"alg":"none","alg"')))
bad("header-no-json", "the header is no JSON", "HEADER_INVALID", "Send exactly typ, alg and kid, as one JSON object.",
    signed("header-no-json", protected="typ=instruction"))

# -- algorithm -----------------------------------------------------------------------------------------

payload, disclosures = claims("alg-none")
unsigned = [b64(text_of(header("ed") | {"alg": "none"})), b64(text_of(payload)), ""]
bad("alg-none", "alg none, no signature", "ALGORITHM_NOT_ALLOWED",
    "Sign with a key of the key set and name its algorithm.", "~".join([".".join(unsigned), *disclosures]) + "~")
bad("hs256", "HS256: a MAC whose secret would be the public key", "ALGORITHM_NOT_ALLOWED",
    "Sign with the private key: EdDSA, ES256, ES384 or PS256.", signed("hs256", protected=header("ed") | {"alg": "HS256"}))
for name, key, alg, how in [("rs256", "rsa", "RS256", "sign_pkcs1"), ("ps384", "rsa", "PS384", "sign"),
                            ("es512", "p256", "ES512", "sign"), ("es256k", "p256", "ES256K", "sign")]:
    bad(name, f"alg {alg}", "ALGORITHM_NOT_ALLOWED", "Use EdDSA, ES256, ES384 or PS256, whichever fits your key.",
        signed(name, key, protected=header(key) | {"alg": alg}, how=how))
bad("alg-of-another-key", "alg ES256 with an Ed25519 key", "ALGORITHM_NOT_ALLOWED",
    "Name the algorithm of the key that kid names: each key has exactly one.",
    signed("alg-of-another-key", protected=header("ed") | {"alg": "ES256"}))

# -- keys and signatures -------------------------------------------------------------------------------

bad("stranger", "a key that is not in the key set", "KEY_UNKNOWN",
    "Sign with a key that the newest key set lists with use instruction.", signed("stranger", "stranger"))
bad("root-key", "a root key: it signs key sets only", "KEY_UNKNOWN",
    "Sign with an instruction key; keep the root key for key sets.", signed("root-key", "root"))
bad("access-key", "the key that signs access tokens", "KEY_UNKNOWN",
    "Sign with an instruction key: one key has one use, for ever.", signed("access-key", "access"))
bad("kid-of-another-key", "kid names another key than the one that signed", "SIGNATURE_INVALID",
    "Set kid to the thumbprint of the very key that signs.", signed("kid-of-another-key", "ed", protected=header("ed-2")))
payload, disclosures = claims("tampered")
first, _, third = signature("ed", payload)
bad("tampered", "act was changed after signing", "SIGNATURE_INVALID", "Sign the exact bytes you send.",
    "~".join([".".join([first, b64(text_of(payload | {"act": "erase"})), third]), *disclosures]) + "~")
first, second, third = signature("ed", payload)
bad("encoded-again", "the payload was written anew after signing: same members, other bytes", "SIGNATURE_INVALID",
    "Keep the payload segment that was signed and send it as it is.",
    "~".join([".".join([first, b64(json.dumps(payload)), third]), *disclosures]) + "~")
bad("bytes-not-segments", "the signature is over the payload's JSON, not over <protected>.<payload>", "SIGNATURE_INVALID",
    "Sign the ASCII text <protected>.<payload> of the two base64url segments (RFC 7515 section 5.1).",
    "~".join([".".join([first, second, b64(KEYS["ed"].sign(text_of(payload).encode()))]), *disclosures]) + "~")
bad("der", "an ECDSA signature in ASN.1 DER, as OpenSSL and many an HSM give it", "SIGNATURE_INVALID",
    "Turn the DER signature into r || s, each 32 bytes for P-256 and 48 for P-384 (RFC 7518 section 3.4).",
    signed("der", "p256", how="sign_der"))
bad("pkcs1", "RSA with PKCS #1 v1.5 padding under alg PS256", "SIGNATURE_INVALID",
    "Use RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.", signed("pkcs1", "rsa", how="sign_pkcs1"))
bad("short-salt", "PS256 with a salt of 20 bytes", "SIGNATURE_INVALID",
    "Set the salt length of PSS to that of the hash, 32 bytes.", signed("short-salt", "rsa", how="sign_short_salt"))
bad("no-signature", "an empty signature", "SIGNATURE_INVALID", "Send the signature.",
    "~".join([f"{first}.{second}.", *disclosures]) + "~")
bad("half-a-signature", "half a signature", "SIGNATURE_INVALID", "Send the whole signature.",
    "~".join([f"{first}.{second}.{b64(KEYS['ed'].sign(f'{first}.{second}'.encode())[:32])}", *disclosures]) + "~")
spoilt = together("one-of-two-spoilt", ["ed", "p256"])
spoilt["signatures"][1]["signature"] = together("another", ["ed", "p256"])["signatures"][1]["signature"]
bad("one-of-two-spoilt", "a good signature, and one of another instruction", "SIGNATURE_INVALID",
    "Have every signer sign the same payload segment; leave out signatures of anything else.", spoilt)

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
bad("identifier-in-clear", "an identifier stands beside the digests", "PERSONAL_DATA_IN_CLEAR", CLEAR,
    signed("identifier-in-clear", subject=[], sub_id={"format": "aliases", "identifiers": [user("u_1")]}))
for name in ("sub", "email", "phone_number", "name", "text", "to", "account"):
    bad(f"{name.replace('_', '-')}-in-clear", f"a member {name} in the signed part", "PERSONAL_DATA_IN_CLEAR", CLEAR,
        signed(f"{name}-in-clear", **{name: "x"}))
bad("reply-in-clear", "a reply's text stands in the signed part", "PERSONAL_DATA_IN_CLEAR",
    "Disclose text and to under private._sd.",
    private("reply-in-clear", text="t", to="user@example.com",
            change=lambda p: p | {"private": p["private"] | {"text": "t"}}))

# -- members -------------------------------------------------------------------------------------------

bad("unknown-member", "a member the profile does not know", "MEMBER_UNKNOWN", "Leave it out.", signed("unknown-member", note="x"))
bad("unknown-inner-member", "a member of key_set the profile does not know", "MEMBER_UNKNOWN", "Leave it out.",
    signed("unknown-inner-member", key_set={"version": 1, "digest": PIN, "url": "x"}))
for name in ("iss", "aud", "jti", "iat", "exp", "act", "app", "sub_id", "categories", "basis", "key_set", "_sd_alg"):
    label = f"no-{name.strip('_').replace('_', '-')}"
    bad(label, f"{name} is missing", "MEMBER_MISSING", f"Add {name}.", signed(label, **{name: ...}))
bad("no-export", "an export without its section", "MEMBER_MISSING", "Add export: recipient, format and region.",
    signed("no-export", "p384", "export"))
bad("no-target", "a revoke that names no instruction", "MEMBER_MISSING", "Add target: instructions/<jti>.",
    signed("no-target", act="revoke", subject=[], sub_id=...))
bad("no-region", "an export without a region", "MEMBER_MISSING", "Add export.region.",
    signed("no-region", "p384", "export", export={"recipient": export()["recipient"], "format": "jsonl+csv"}))
bad("no-private", "a reply without text and to", "MEMBER_MISSING", "Disclose text and to under private._sd.",
    signed("no-private", act="reply"))
bad("no-to", "a reply that discloses its text alone", "MEMBER_MISSING", "Disclose both text and to.", private("no-to", text="t"))
bad("window-half", "a window without an end", "MEMBER_MISSING", "Give both from and until.", signed("window-half", window={"from": 5}))

VALUES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("jti-v4", "jti is a random UUID, version 4", "Make jti a UUIDv7 (RFC 9562 section 5.7).", {"jti": "01938a5e-7c1d-4b2e-9f7a-3d2c1b0a9e88"}),
    ("jti-upper-case", "jti in capitals", "Write jti in lower case, with hyphens.", {"jti": "01938A5E-7C1D-7B2E-9F7A-3D2C1B0A9E88"}),
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
    ("categories-none", "no category", "Name the categories, or [\"*\"] for all of the agreement.", {"categories": []}),
    ("category-twice", "a category stands twice", "Name each category once.", {"categories": ["device", "device"]}),
    ("category-beside-star", "\"*\" beside a category", "Send [\"*\"] alone, or name the categories.", {"categories": ["*", "device"]}),
    ("category-unknown", "a word that is no category", "Use the registered categories.", {"categories": ["love-letters"]}),
    ("stores-none", "an empty list of stores", "Name the stores, or leave stores out for all of the agreement.", {"stores": []}),
    ("store-id", "a store id in capitals", "Use the registered store ids.", {"stores": ["SDK"]}),
    ("window-backwards", "a window that ends before it begins", "Let from be before until.", {"window": {"from": 9, "until": 5}}),
    ("basis-unknown", "a ground that is not registered", "Use a registered basis, such as pipl-47.", {"basis": "because"}),
    ("version-none", "key_set.version is 0", "Name the version of the newest key set; it begins at 1.", {"key_set": {"version": 0, "digest": PIN}}),
    ("digest-padded", "key_set.digest with padding", "Write digests as base64url without padding, 43 characters.", {"key_set": {"version": 1, "digest": PIN + "="}}),
    ("digest-hex", "key_set.digest in hex", "Write digests as base64url without padding, 43 characters.", {"key_set": {"version": 1, "digest": "00" * 32}}),
    ("hash-unknown", "_sd_alg is sha-512", "Set _sd_alg to sha-256.", {"_sd_alg": "sha-512"}),
    ("no-identifier", "no identifier", "Name 1 to 16 identifiers of one subject.", {"sub_id": {"format": "aliases", "identifiers": []}}),
    ("target-elsewhere", "target in an act that takes none", "Leave target out: it belongs to revoke.", {"target": "instructions/01938a5e-7c1d-7b2e-9f7a-000000000000"}),
    ("export-elsewhere", "an export section in an act that takes none", "Leave export out: it belongs to export and return_and_erase.", {"export": export()}),
    ("preview-elsewhere", "preview in an act that takes none", "Leave preview out: a preview names none.", {"preview": {"digest": PIN, "as_of": NOW}}),
    ("refuse-elsewhere", "a refuse section in an act that takes none", "Leave refuse out: it belongs to refuse.", {"refuse": {"ground": "legal-claim", "whose": "controllers", "reason_code": "in-court"}}),
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

# -- disclosures ---------------------------------------------------------------------------------------

text = signed("withheld")
rest = text.split("~")[1:-1]
bad("withheld", "one of two disclosures is withheld", "DISCLOSURE_MISSING",
    "Send every disclosure, each time: a withheld one would change the order.", text.replace(rest[1] + "~", ""))
bad("all-withheld", "the signed part alone", "DISCLOSURE_MISSING", "Send every disclosure, each time.", signed("all-withheld").split("~")[0] + "~")
general_withheld = together("general-withheld", ["ed", "p256"])
del general_withheld["signatures"][0]["header"]
bad("general-withheld", "General JSON without disclosures", "DISCLOSURE_MISSING",
    "Put header.disclosures into the first signature.", general_withheld)
bad("decoy", "a digest without a disclosure among the identifiers", "DISCLOSURE_MISSING",
    "Add no decoy digests: every digest has its disclosure.",
    signed("decoy", subject=[], sub_id={"format": "aliases", "identifiers": [{"...": digest("decoy")}]}))
text = signed("repeated")
bad("repeated", "a disclosure stands twice", "DISCLOSURE_REPEATED", "Send each disclosure once.", text + text.split("~")[1] + "~")
payload, disclosures = claims("digest-twice")
payload["sub_id"]["identifiers"] *= 2
bad("digest-twice", "a digest stands twice", "DISCLOSURE_REPEATED", "Give every identifier a salt and a digest of its own.", compact("ed", payload, disclosures))
bad("alien", "a disclosure of another instruction", "DISCLOSURE_ALIEN", "Send only the disclosures of this payload.",
    signed("alien") + signed("other").split("~")[1] + "~")
text = signed("swapped")
bad("swapped", "a disclosure was replaced by one that names somebody else", "DISCLOSURE_ALIEN",
    "Send the disclosures exactly as they were when their digests were signed.",
    text.replace(text.split("~")[1], element("swapped/0", user("somebody-else"))))
bad("written-anew", "a disclosure was decoded and encoded again with white space", "DISCLOSURE_ALIEN",
    "Keep the text of each disclosure; its digest is over that text.",
    text.replace(text.split("~")[1], b64(json.dumps([salt("swapped/0"), SUBJECT[0]]))))
bad("top-level-digest", "digests at the top level of the payload", "DISCLOSURE_ALIEN",
    "Disclose nothing but identifiers and the act's private members.", signed("top-level-digest", _sd=[digest("x")]))
bad("sub-id-digest", "the whole of sub_id's members as digests", "DISCLOSURE_ALIEN",
    "Disclose each identifier as an array element: identifiers: [{\"...\": digest}].",
    signed("sub-id-digest", subject=[], sub_id={"format": "aliases", "_sd": [digest("x")]}))
bad("named-identifier", "an identifier disclosed with a name", "DISCLOSURE_ALIEN",
    "Disclose identifiers as [salt, value], without a name.",
    disclosed("named-identifier", text_of([salt("n"), "id", device("x")])))
bad("nested-sd", "a disclosure that holds digests of its own", "DISCLOSURE_NESTED", "Make flat disclosures.",
    disclosed("nested-sd", text_of([salt("n"), {"format": "opaque", "_sd": [digest("x")]}])))
bad("nested-element", "a disclosure that is a digest", "DISCLOSURE_NESTED", "Make flat disclosures.",
    disclosed("nested-element", text_of([salt("n"), {"...": digest("x")}])))
for name, what, array in [
    ("disclosure-object", "a disclosure that is an object", {"salt": salt("n")}),
    ("disclosure-salt-alone", "a disclosure of a salt alone", [salt("n")]),
    ("disclosure-of-four", "a disclosure of four values", [salt("n"), "a", "b", "c"]),
    ("disclosure-salt-number", "a salt that is a number", [7, device("x")]),
    ("disclosure-fraction", "a disclosure with a fraction", [salt("n"), 1.5]),
]:
    bad(name, what, "DISCLOSURE_MALFORMED", "Make each disclosure [salt, value] or [salt, name, value] (RFC 9901 section 4.2).",
        disclosed(name, text_of(array)))
bad("disclosure-no-json", "a disclosure that is no JSON", "DISCLOSURE_MALFORMED",
    "Encode the disclosure's JSON array as base64url.", disclosed("disclosure-no-json", "no json"))
bad("disclosure-member-twice", "a member stands twice in a disclosure", "MEMBER_DUPLICATE", "Send each member once, at every depth.",
    disclosed("disclosure-member-twice", f'["{salt("n")}",{{"format":"opaque","id":"a","id":"b"}}]'))
bad("weak-salt", "a salt of 64 bits", "SALT_WEAK", "Take 16 random bytes for each salt.", disclosed("weak-salt", text_of(["AAECAwQFBgc", device("x")])))
bad("plain-salt", "a salt that is no base64url", "SALT_WEAK", "Encode the salt's 16 random bytes as base64url.",
    disclosed("plain-salt", text_of(["this is a salt of many letters!", device("x")])))
bad("equal-salts", "two equal salts", "SALT_WEAK", "Take fresh random bytes for each disclosure.",
    disclosed("equal-salts", text_of([salt("n"), device("a")]), text_of([salt("n"), device("b")])))
for name, what, value in [
    ("identifier-text", "an identifier that is a plain string", "u_1"),
    ("identifier-format", "a format that is not accepted", {"format": "account", "uri": "acct:x@y.example"}),
    ("identifier-member", "an identifier with one member more", device("x") | {"note": "y"}),
    ("identifier-empty", "an empty identifier", device("")),
    ("identifier-control", "a control character in an identifier", device("a\u0000b")),
    ("identifier-no-sub", "iss_sub without sub", {"format": "iss_sub", "iss": APP}),
    ("email-no-address", "an e-mail identifier that is no address", {"format": "email", "email": "nobody"}),
    ("phone-local", "a telephone number without its country", {"format": "phone_number", "phone_number": "13800000000"}),
    ("aliases-in-aliases", "aliases inside aliases", {"format": "aliases", "identifiers": []}),
]:
    bad(name, what, "MEMBER_INVALID",
        "Write the identifier as RFC 9493 says: iss_sub, email, phone_number (E.164) or opaque, with exactly its members.",
        signed(name, subject=[value]))
bad("same-identifier-twice", "the same identifier under two salts", "MEMBER_INVALID", "Name each identifier once.",
    signed("same-identifier-twice", subject=[device("x"), device("x")]))
bad("other-apps-user", "a user id of another app", "SUBJECT_MISMATCH", "Let iss of iss_sub equal app: one subject in one app.",
    signed("other-apps-user", subject=[user("u_1", "apps/other")]))
bad("private-name", "a private member of another act", "MEMBER_UNKNOWN", "Disclose the private members of this act alone.",
    private("private-name", text="t", to="user@example.com", account="x"))

# -- time ----------------------------------------------------------------------------------------------

bad("issued-ahead", "iat is 31 seconds ahead", "INSTRUCTION_NOT_YET_VALID", "Set your clock by NTP; 30 seconds ahead are forgiven.", signed("issued-ahead", iat=NOW + 31))
bad("not-yet", "before its nbf", "INSTRUCTION_NOT_YET_VALID", "Send it when nbf has come, or leave nbf out.", signed("not-yet", nbf=NOW + 60))
bad("expired", "past its end", "INSTRUCTION_EXPIRED", "Sign a new one, with a new jti.", signed("expired", iat=NOW - 9, exp=NOW))
bad("too-long", "a life of one second over 30 days", "INSTRUCTION_LIFETIME", "Let exp be at most 30 days after iat.", signed("too-long", iat=NOW, exp=NOW + 30 * DAY + 1))
bad("backwards", "exp before iat", "INSTRUCTION_LIFETIME", "Let exp be after iat.", signed("backwards", exp=NOW - 9))
bad("ends-before-it-begins", "exp not after nbf", "INSTRUCTION_LIFETIME", "Let exp be after nbf.", signed("ends-before-it-begins", nbf=NOW + 9, exp=NOW + 9))
bad("return-too-long", "a return_and_erase good for over 30 days from its nbf", "INSTRUCTION_LIFETIME",
    "Let exp be at most 30 days after nbf.", signed("return-too-long", act="return_and_erase", sub_id=..., subject=[],
    basis="contract-end", nbf=NOW + DAY, exp=NOW + 31 * DAY + 1))
bad("return-too-far", "a return_and_erase over 20 years ahead", "INSTRUCTION_LIFETIME",
    "Let nbf be at most 20 years after iat.", signed("return-too-far", act="return_and_erase", sub_id=..., subject=[],
    basis="contract-end", nbf=NOW + 21 * 366 * DAY, exp=NOW + 21 * 366 * DAY + DAY))

# -- the key set ---------------------------------------------------------------------------------------

NEWEST = "Read the newest key set (GetKeySet), check it against your pin, and sign under its version and digest."
bad("other-version", "names version 2, which is not the newest", "KEY_SET_NOT_CURRENT", NEWEST, signed("other-version", key_set={"version": 2, "digest": PIN}))
bad("other-digest", "names another key set of this version", "KEY_SET_NOT_CURRENT", NEWEST, signed("other-digest", key_set={"version": 1, "digest": digest("x")}))
bad("rotated-meanwhile", "names version 1 after version 2 came into force", "KEY_SET_NOT_CURRENT", NEWEST, signed("rotated-meanwhile"), key_set="rotated")
bad("key-set-expired", "the key set is past its end", "KEY_SET_EXPIRED", "Register the next version; an expired key set's root may still sign it.",
    signed("key-set-expired", key_set={"version": 1, "digest": key_set_digest(KEY_SETS["expired"])}), key_set="expired")
bad("left-the-set", "signed by a key that left in version 2", "KEY_UNKNOWN", "Sign with a key of the newest key set.",
    signed("left-the-set", key_set={"version": 2, "digest": key_set_digest(KEY_SETS["without-ed"])}), key_set="without-ed")
bad("signer-left", "at its first lease its signer has left the role", "SIGNER_REVOKED",
    "Sign again with keys of the newest key set.", signed("signer-left"), then=[{"key_set": "without-ed"}])

# -- roles and threshold -------------------------------------------------------------------------------

bad("no-role", "a signer without the act's role", "SIGNER_ROLE", "Sign with a key that the key set gives this act.", signed("no-role", "rsa", "export", export=export()))
bad("outsider-beside-enough", "two who may, and one who may not", "SIGNER_ROLE",
    "Leave out the signature of who has no role in the act.", together("outsider-beside-enough", ["ed", "p256", "rsa"]))
bad("nobodys-act", "an act that the key set gives to nobody", "SIGNER_ROLE", "Add the act's role to the next version of the key set.",
    signed("nobodys-act", act="rectify", key_set={"version": 1, "digest": key_set_digest(KEY_SETS["narrow"])}, sub_id={
        "format": "aliases", "identifiers": placeholders([element("nobodys-act/0", SUBJECT[0])])},
        subject=[SUBJECT[0]], private={"_sd": [digest(member("nobodys-act/set", "set", {"city": "x"}))]})
    + member("nobodys-act/set", "set", {"city": "x"}) + "~", key_set="narrow")
bad("one-signer", "an erasure signed by one of two: it waits", "WAITS", "Have a second signer of the role sign the same payload segment, or approve it (ApproveInstruction).",
    signed("one-signer", "ed", "erase"))
bad("one-signer-twice", "the same signature twice: it waits", "WAITS", "Have a second signer sign: the same key twice counts once.",
    together("one-signer-twice", ["ed", "ed"]))
bad("one-signer-two-keys", "two keys of one signer: it waits", "WAITS", "Have a second signer sign: two keys of one signer count once.",
    together("one-signer-two-keys", ["ed", "ed-2"]))

# -- what the key set's policy asks, and what is taken back ----------------------------------------------


def careful(label: str, name: str = "ed", act: str = "preview", key_set: str = "careful", **changes: Any) -> str:
    """Signed under another of the world's key sets."""
    named = {"version": 1, "digest": key_set_digest(KEY_SETS[key_set])}
    return signed(label, name, act, key_set=named, **changes)


erasure = together("erased-unseen", ["ed", "p256"], key_set={"version": 1, "digest": key_set_digest(KEY_SETS["careful"])})
bad("erased-unseen", "an erasure that names no preview, where the policy asks for one", "PREVIEW_REQUIRED",
    "Order a preview first, and name its digest and instant in preview.", erasure, key_set="careful")
bad("ends-while-held", "it would end while the policy still holds it back", "INSTRUCTION_LIFETIME",
    "Let it live longer than the hold of the key set's policy.", careful("ends-while-held", exp=NOW + 3600), key_set="careful")
bad("held", "leased before the hold of the key set's policy is over", "INSTRUCTION_HELD",
    "Wait: the agent begins when the hold is over; until then it can be revoked.", careful("held"), key_set="careful", then=[{"wait": 3599}])
good("hold-over", "the same, a second later", careful("hold-over"), key_set="careful", then=[{"wait": 3600}])
bad("minor", "one signer, where the policy asks for two if the case is a minor's: it waits", "WAITS",
    "Have as many signers sign as the policy's tier asks for.", careful("minor", req=MINORS), key_set="careful")
bad("recordings", "one signer, where the policy asks for three if recordings are meant: it waits", "WAITS",
    "Have as many signers sign as the policy's tier asks for, or leave media out.",
    careful("recordings", categories=["media"]), key_set="careful", agreement="media")
good("no-tier", "the same, of an adult's data without recordings", careful("no-tier"), key_set="careful")
bad("witnesses", "the policy asks for more witnesses than the gateway has", "WITNESSES_MISSING",
    "Have the operator add witnesses, or ask for fewer in the next key set.", careful("witnesses", key_set="witnessed"), key_set="witnessed")
bad("revoked", "revoked before its first lease", "INSTRUCTION_REVOKED", "Sign a new one, with a new jti, if it is still wanted.",
    one := signed("revoked"), then=[instruction_step(revoke("revokes-it", one))])
bad("contested", "contested by the processor before its first lease", "INSTRUCTION_CONTESTED",
    "Speak with the processor; only a new instruction resumes.", one := signed("contested"), then=[{"contest": name_of(one)}])
bad("expired-unleased", "no agent began it before its end", "INSTRUCTION_EXPIRED",
    "Sign a new one, with a new jti, and let it live as long as the store may be away.",
    signed("expired-unleased"), then=[{"wait": 7 * DAY}])
good("begun-in-time", "the same, a second earlier", signed("begun-in-time"), then=[{"wait": 7 * DAY - 1}])

# -- what the gateway has seen before --------------------------------------------------------------------

first = signed("used-up")
jti = {"jti": name_of(first).removeprefix("instructions/")}
JTI = "Make a new UUIDv7 for every instruction, also for one that is corrected."
good("again", "the very same again: it gets the first answer, and nothing happens twice", first, before=before(instruction_step(first)))
bad("jti-reused", "another payload under an id that was used up", "JTI_REUSED", JTI,
    signed("jti-reused", **jti), before=before(instruction_step(first)))
bad("jti-reused-by-a-revoke", "a revocation under the id of what it revokes", "JTI_REUSED", JTI,
    revoke("jti-reused-by-a-revoke", first, **jti), before=before(instruction_step(first)))
bad("signed-again", "the same members with new salts: another payload", "JTI_REUSED", JTI,
    signed("used-up-with-new-salts", **jti), before=before(instruction_step(first)))
outside = signed("outside", categories=["media"])
refused = instruction_step(outside, "OUTSIDE_AGREEMENT")
bad("jti-of-a-refused", "corrected after a refusal, under the same id", "JTI_REUSED", JTI,
    signed("outside-corrected", jti=name_of(outside).removeprefix("instructions/")), before=before(refused))
bad("refused-again", "the very same again after a refusal: it stays refused", "OUTSIDE_AGREEMENT",
    "Stay within the agreement, and make a new jti: a refused instruction is not tried again.", outside, before=before(refused))
spoilt = first.replace(".", "..", 1)
good("jti-after-a-broken-one", "an id is used up once the signatures verify, not before", first,
     before=before(instruction_step(spoilt, "INSTRUCTION_MALFORMED")))
bad("target-unknown", "revokes what never was", "TARGET_UNKNOWN", "Name an instruction of yours, of the same app, as instructions/<jti>.",
    revoke("target-unknown", first))
bad("target-refused", "revokes what was refused", "TARGET_UNKNOWN", "Leave it: what was refused is not carried out.",
    revoke("target-refused", outside), before=before(refused))
STOPPED = "Leave it: it was stopped before, and nothing more of it is begun."
bad("revoked-twice", "revokes what was revoked", "STAGE_CONFLICT", STOPPED, revoke("revoked-twice", first),
    before=before(instruction_step(first), instruction_step(revoke("revoked-once", first))))
bad("revokes-what-is-contested", "revokes what the processor contests", "STAGE_CONFLICT", STOPPED,
    revoke("revokes-what-is-contested", first), before=before(instruction_step(first), {"contest": name_of(first)}))
bad("revokes-a-revocation", "revokes a revocation, which is done", "STAGE_CONFLICT",
    "Sign a new instruction under another jti if the first is wanted after all.", revoke("revokes-a-revocation", revoke("a-revocation", first)),
    before=before(instruction_step(first), instruction_step(revoke("a-revocation", first))))
waiting = signed("revoked-while-it-waits", "ed", "erase")
good("revokes-what-waits", "revokes what still waits for a second signer", revoke("revokes-what-waits", waiting),
     before=before(instruction_step(waiting, "WAITS")))
bad("late", "it arrives when its end has come", "INSTRUCTION_EXPIRED", "Sign a new one, with a new jti.", signed("late"), before=before({"wait": 7 * DAY}))
bad("rotated-before", "the key set was rotated while it was on its way", "KEY_SET_NOT_CURRENT", NEWEST,
    signed("rotated-before"), before=before({"key_set": "rotated"}))
bad("request-unknown", "answers a request that is not yours", "REQUEST_UNKNOWN", "Name one of your requests, or leave req out.",
    signed("request-unknown", req="requests/01938a5e-0000-7000-8000-00000000000f"))
bad("does-not-serve", "an erasure answers a request for an explanation", "ACT_DOES_NOT_SERVE",
    "Name a request with a right that the act serves, or answer this one with RecordOutcome.", together("does-not-serve", ["ed", "p256"], req=EXPLAIN))

bad("recovered", "admitted under key sets whose root was lost before its first lease", "KEY_SET_RECOVERED",
    "Sign again under the newest key set, with a new jti.", signed("recovered"), then=[{"key_set": "recovered"}])

# -- app, agreement, act -------------------------------------------------------------------------------

bad("foreign-app", "an app that is not the issuer's", "APP_UNKNOWN", "Name one of your registered apps.",
    signed("foreign-app", subject=[device("x")], app="apps/other"))
bad("no-agreement", "no agreement is in force", "AGREEMENT_MISSING", "Have the agreement registered or renewed.", signed("no-agreement"), agreement="ended")
bad("category-outside", "a category outside the agreement", "OUTSIDE_AGREEMENT", "Stay within the agreement's categories, or have it extended.",
    signed("category-outside", categories=["media"]))
bad("store-outside", "a store outside the agreement", "OUTSIDE_AGREEMENT", "Stay within the agreement's stores, or have it extended.", signed("store-outside", stores=["hr"]))
bad("abroad", "an export out of the agreement's region", "REGION_NOT_ALLOWED", "Choose a region the agreement allows.",
    signed("abroad", "p384", "export", export=export(region="us")))
bad("sub-processor", "reaches a store that a company operates whom the agreement does not name", "SUB_PROCESSOR_UNDECLARED",
    "Name stores that others operate in stores, or agree to the sub-processor in a new agreement.",
    signed("sub-processor"), agreement="operated")
good("sub-processor-left-out", "names the stores that nobody else operates", signed("sub-processor-left-out", stores=["sdk"]), agreement="operated")
good("sub-processor-as-agreed", "reaches a sub-processor that the agreement names", signed("sub-processor-as-agreed"), agreement="operated-as-agreed")
good("abroad-on-record", "an export that leaves the mainland, within the agreement's regions, its basis on record",
     signed("abroad-on-record", "p384", "export", export=export(region="sg", evidence=EVIDENCE)), agreement="abroad")
bad("abroad-unrecorded", "an export that leaves the mainland without a recorded basis", "EVIDENCE_MISSING",
    "Record the separate consent or what else permits it, and set export.evidence to the record's digest.",
    signed("abroad-unrecorded", "p384", "export", export=export(region="sg")), agreement="abroad")
good("transfer-under-contract", "an export to a third party, of data that was given under a contract", third_party("transfer-under-contract", "pipl-13-2"))
bad("transfer-unrecorded", "an export to a third party without recorded consent", "EVIDENCE_MISSING",
    "Record the person's separate consent, and set export.evidence to the record's digest.",
    third_party("transfer-unrecorded", evidence=...))
good("transfer-asked-for", "answers a request for a transfer, and names the third party", third_party("transfer-asked-for", req=TRANSFER))
bad("transfer-without-target", "answers a request for a transfer with an export to the controller itself", "TRANSFER_TARGET_MISSING",
    "Ask the person to whom it shall go, and disclose the account there as private.account.",
    signed("transfer-without-target", "p384", "export", export=export(), req=TRANSFER))
bad("transfer-basis", "an export to a third party that stands on the right of access", "BASIS_NOT_FITTING",
    "Name consent or contract as basis: pipl-13-1, pipl-13-2, gdpr-6-1-a, gdpr-6-1-b or gdpr-20.",
    third_party("transfer-basis", "pipl-45"))
LATER = "Wait for the release that carries it out; the case can be closed with RecordOutcome."
bad("rectify", "an act of a later release", "ACT_NOT_SUPPORTED", LATER, private("rectify", "rectify", set={"city": "x"}))
bad("reply", "an act of a later release", "ACT_NOT_SUPPORTED", LATER, private("reply", text="done", to="user@example.com"))
for act in ("restrict", "release"):
    bad(act, "an act of a later release", "ACT_NOT_SUPPORTED", LATER, signed(act, act=act))
bad("refuse", "an act of a later release", "ACT_NOT_SUPPORTED", LATER,
    signed("refuse", act="refuse", refuse={"ground": "legal-claim", "whose": "controllers", "reason_code": "in-court"}))
bad("authorize-reply", "an act of a later release", "ACT_NOT_SUPPORTED", LATER,
    signed("authorize-reply", act="authorize_reply", authorize_reply={"templates": ["erased"], "until": NOW + DAY}))

# -- the end of a contract -------------------------------------------------------------------------------

good("return-after-the-end", "all is returned and erased though the agreement is over: this is what ends it", signed(
    "return-after-the-end", act="return_and_erase", sub_id=..., subject=[], basis="pipl-21", categories=["*"],
    export=export()), agreement="ended", then=[{"wait": 60}])
good("erase-all", "all is erased at the contract's end and nothing returned: export is left out", signed(
    "erase-all", act="return_and_erase", sub_id=..., subject=[], basis="gdpr-28", categories=["*"]))
bad("return-not-yet", "a return_and_erase that is leased before its nbf", "INSTRUCTION_NOT_YET_VALID",
    "Wait: it is taken in at once and begins at its nbf.", signed("return-not-yet", act="return_and_erase", sub_id=...,
    subject=[], basis="contract-end", nbf=NOW + DAY, exp=NOW + 31 * DAY), then=[{"wait": DAY - 1}])
for name, what, change, more in [
    ("return-basis", "a return_and_erase on a ground that ends no contract", "Let basis be contract-end, pipl-21 or gdpr-28.", {"basis": "pipl-47"}),
    ("return-window", "a return_and_erase of a part of the time", "Leave window out: nothing is kept when a contract ends.", {"window": {"from": 5, "until": 9}}),
    ("return-seen", "a return_and_erase after a preview", "Leave preview out: a preview shows one person's rows.", {"preview": {"digest": digest("preview"), "as_of": NOW - 60}}),
    ("return-subject", "a return_and_erase of one person", "Leave sub_id out: it is about all that is held of the app. To erase one person's, order erase.",
     {"sub_id": {"format": "aliases", "identifiers": placeholders([element("return-subject/0", SUBJECT[0])])}, "subject": [SUBJECT[0]]}),
]:
    bad(name, what, "MEMBER_INVALID", change, signed(name, **({"act": "return_and_erase", "sub_id": ..., "subject": [], "basis": "contract-end"} | more)))
bad("return-abroad", "a return_and_erase that returns out of the agreement's region", "REGION_NOT_ALLOWED", "Choose a region the agreement allows.",
    signed("return-abroad", act="return_and_erase", sub_id=..., subject=[], basis="contract-end", export=export(region="us")))
bad("return-no-agreement", "a return_and_erase of a category that was never agreed on", "OUTSIDE_AGREEMENT", "Name what was entrusted, or [\"*\"].",
    signed("return-no-agreement", act="return_and_erase", sub_id=..., subject=[], basis="contract-end", categories=["media"]))
