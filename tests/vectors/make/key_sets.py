"""Key sets, good and bad: the first, and its successors."""

from typing import Any

from collector import Cases
from forms import (
    CURRENT, DAY, INSTRUCTION, KEY_SET, KEY_SETS, NOW, PIN, general, header, key_set, key_set_digest, key_set_payload,
    listed, role, signature, successor, text_of, without,
)
from published import KEYS, b64, digest, unb64

cases = Cases("key-set")
good, bad = cases.good, cases.bad


def first(names: list[str] = ("root",), **changes: Any) -> str:
    return key_set({name: value for name, value in key_set_payload(**changes).items() if value is not ...}, names)


def second(names: list[str] = ("root",), **changes: Any) -> str:
    return key_set(successor(**changes), names)


def keys(change: Any) -> list[dict[str, Any]]:
    made = key_set_payload()["keys"]
    change(made)
    return made


def roles(**changes: Any) -> dict[str, Any]:
    return key_set_payload()["roles"] | changes


# Two root signers, both needed.
TWO_ROOTS = {
    "keys": [*key_set_payload()["keys"], listed("root-2", "root", "council")],
    "roles": roles(root=role(["root", "root-2"], 2)),
}
# Three root keys of two signers; the threshold is two signers.
TWO_KEYS_OF_ONE = {
    "keys": [*key_set_payload()["keys"], listed("root-2", "root", "board"), listed("stranger", "root", "council")],
    "roles": roles(root=role(["root", "root-2", "stranger"], 2)),
}
# `root-2` takes over from `root`.
HANDED_OVER = {
    "keys": [listed("root-2", "root", "council"), *key_set_payload()["keys"][1:]],
    "roles": roles(root=role(["root-2"])),
}

good("first", "version 1, signed by its own root, its digest pinned", CURRENT)
good("two-roots", "two root signers, both needed", first(["root", "root-2"], **TWO_ROOTS))
good("no-iat", "iat and prev left out", first(iat=..., prev=...))
good("policy", "an hour's hold, a preview before an erasure, more signers for minors and recordings", first(policy={
    "hold": 3600, "preview": ["erase"], "witnesses": 1, "tiers": {"minor": {"erase": 2}, "media": {"preview": 2}}}))
good("second", "version 2, signed by the root of both", second(), after="current")
good("root-handed-over", "the new root and the old one have signed", second(["root", "root-2"], **HANDED_OVER), after="current")
good("a-key-leaves", "a key and its roles are gone", key_set(without("ed", successor())), after="current")
good("after-its-end", "version 1 has expired; its root may still sign version 2",
     key_set(successor(prev=key_set_digest(KEY_SETS["expired"]))), after="expired")

THUMB = "Compare the digest of the payload segment over a second channel, and pin that one."
bad("not-pinned", "another set than the pinned one", "KEY_SET_THUMBPRINT", THUMB, first(exp=NOW + DAY), pin=PIN)
bad("not-first", "the first key set shown is version 2", "KEY_SET_VERSION", "Begin with version 1; later ones follow it one by one.", second())
bad("other-issuer", "iss is another controller", "KEY_SET_ISSUER", "Set iss to the controller and aud to the trail's origin.", first(iss="controllers/other"))
bad("other-audience", "aud is another trail", "KEY_SET_ISSUER", "Set iss to the controller and aud to the trail's origin.", first(aud="other.example/trail"))
bad("other-issuer-later", "iss of the next version is another controller", "KEY_SET_ISSUER", "Let iss and aud stay as they were in version 1.",
    second(iss="controllers/other"), after="current")
bad("other-audience-later", "aud of the next version is another trail", "KEY_SET_ISSUER", "Let iss and aud stay as they were in version 1.",
    second(aud="other.example/trail"), after="current")
bad("past-its-end", "its end has come", "KEY_SET_EXPIRED", "Let exp lie ahead: a year is usual.", first(iat=NOW - 10, exp=NOW))
bad("next-past-its-end", "the next version, whose end has come", "KEY_SET_EXPIRED", "Let exp lie ahead: a year is usual.",
    second(iat=NOW - 10, exp=NOW), after="current")
USE = "Make a new key: a key has one use and one principal, for ever."
with_access = [*key_set_payload()["keys"], listed("access", "instruction", "eve")]
bad("access-key", "a key that opens the gateway would sign instructions, too", "KEY_ALREADY_USED", USE, first(keys=with_access))
bad("access-key-later", "the same in the next version", "KEY_ALREADY_USED", USE, second(keys=with_access), after="current")
SIGN = "Have the root keys sign: as many distinct signers as the threshold of the root role asks for."
bad("signed-by-no-root", "signed by an instruction key", "KEY_SET_SIGNATURE", SIGN, first(["ed"]))
bad("signed-by-a-stranger", "signed by a key that is not in the set", "KEY_SET_SIGNATURE", SIGN, first(["stranger"]))
bad("root-and-another", "signed by the root and, beside it, by an instruction key", "KEY_SET_SIGNATURE",
    "Leave out signatures of keys that are no root keys.", first(["root", "ed"]))
bad("one-of-two-roots", "one of two root signers", "KEY_SET_SIGNATURE", SIGN, first(["root"], **TWO_ROOTS))
bad("one-root-twice", "the same root signer twice", "KEY_SET_SIGNATURE", SIGN, first(["root", "root"], **TWO_ROOTS))
bad("one-signer-two-root-keys", "two root keys of one signer, where two signers are asked for", "KEY_SET_SIGNATURE",
    "Have another signer's root key sign: two keys of one signer count once.", first(["root", "root-2"], **TWO_KEYS_OF_ONE))
spoilt = general(["root"], key_set_payload(), typ=KEY_SET)
spoilt["payload"] = signature("root", key_set_payload(exp=NOW + DAY), header("root", KEY_SET))[1]
bad("tampered", "a member was changed after signing", "KEY_SET_SIGNATURE", "Sign the exact bytes you send.", spoilt)
bad("old-root-missing", "the old root has not signed", "KEY_SET_SIGNATURE", "Have the roots of both versions sign.", second(["root-2"], **HANDED_OVER), after="current")
bad("new-root-missing", "the new root has not signed", "KEY_SET_SIGNATURE", "Have the roots of both versions sign.", second(["root"], **HANDED_OVER), after="current")
older = {"prev": key_set_digest(KEY_SETS["two-roots"])}
bad("one-of-two-old-roots", "one of the two root signers that the version before asks for", "KEY_SET_SIGNATURE",
    "Have as many roots of the version before sign as it asks for.", second(["root"], **older), after="two-roots")
bad("one-of-two-new-roots", "one of the two root signers that the new version asks for", "KEY_SET_SIGNATURE",
    "Have as many roots of the new version sign as it asks for.", second(["root"], **TWO_ROOTS), after="current")
NEXT = "Let version be exactly the newest plus one, and prev the newest's digest."
bad("gap", "version 3 after version 1", "KEY_SET_VERSION", NEXT, second(version=3), after="current")
bad("again", "version 1 after version 1", "KEY_SET_VERSION", NEXT, first(exp=NOW + DAY), after="current")
bad("back", "version 2 after version 2", "KEY_SET_VERSION", NEXT, second(exp=NOW + DAY), after="rotated")
bad("root-lost", "version 1 anew, under another root, in place of version 2", "KEY_SET_VERSION",
    "Have the new version 1 pinned by hand at every agent and verifier: the gateway takes no recovery in.", KEY_SETS["recovered"], after="current")
bad("fork", "prev names another predecessor", "KEY_SET_VERSION", NEXT, second(prev=digest("x")), after="current")

FORM = "See docs/integrate/key-set.md for the members and their values."
bad("compact", "the compact form", "KEY_SET_MALFORMED", "Send JWS General JSON, also for one signature.",
    ".".join(signature("root", key_set_payload(), header("root", KEY_SET))))
flat = general(["root"], key_set_payload(), typ=KEY_SET)
bad("flattened", "flattened JSON, as some libraries make of a single signature", "KEY_SET_MALFORMED",
    "Put protected and signature into a signatures array of one.", {"payload": flat["payload"], **flat["signatures"][0]})
bad("no-signatures", "an empty array of signatures", "KEY_SET_MALFORMED", "Put one entry for each root signer into signatures.",
    general(["root"], key_set_payload(), typ=KEY_SET) | {"signatures": []})
bad("general-member", "General JSON with a member beside payload and signatures", "KEY_SET_MALFORMED", "Send exactly payload and signatures.",
    general(["root"], key_set_payload(), typ=KEY_SET) | {"version": 1})
bad("member-twice", "version stands twice", "KEY_SET_MALFORMED", "Send each member once, at every depth.",
    key_set(text_of(key_set_payload()).replace('"version":1', '"version":1,"version":1')))
wide = general(["root"], key_set_payload(), typ=KEY_SET)
bad("padded", "a payload with = at its end", "KEY_SET_MALFORMED", "Encode base64url without padding.", wide | {"payload": wide["payload"] + "="})
for name, what, protected, advice in [
    ("header-member", "a header member more", header("root", KEY_SET) | {"crit": ["b64"], "b64": True}, "Send exactly typ, alg and kid."),
    ("no-kid", "the header has no kid", {"typ": KEY_SET, "alg": "EdDSA"}, "Set kid to the root key's thumbprint."),
    ("alg-none", "alg none", header("root", KEY_SET) | {"alg": "none"}, "Sign with a root key and name its algorithm."),
    ("alg-of-another-key", "alg ES256 with an Ed25519 key", header("root", KEY_SET) | {"alg": "ES256"}, "Name the algorithm of the key that kid names."),
]:
    one, payload, made = signature("root", key_set_payload(), protected)
    bad(name, what, "KEY_SET_MALFORMED", advice, {"payload": payload, "signatures": [{"protected": one, "signature": made}]})
bad("typ", "typ is an instruction's", "KEY_SET_MALFORMED", "Set typ to keyset+jwt.", general(["root"], key_set_payload(), typ=INSTRUCTION))
loose = general(["root"], key_set_payload(), typ=KEY_SET)
loose["signatures"][0]["header"] = {"kid": KEYS["root"].kid}
bad("unprotected-header", "an unprotected header", "KEY_SET_MALFORMED", "Leave the unprotected header out: it is not signed.", loose)
for name, what, change, advice in [
    ("member", "a member the form does not know", {"note": "x"}, "Leave it out."),
    *((f"no-{name}", f"no {name}", {name: ...}, f"Add {name}.") for name in ("iss", "aud", "version", "roles")),
    ("keys-left-out", "no member keys", {"keys": ...}, "List 1 to 64 keys."),
    ("keys-too-many", "66 keys", {"keys": key_set_payload()["keys"] * 11}, "List 1 to 64 keys."),
    ("issuer-bare", "iss without controllers/", {"iss": "xingyu"}, "Write resource names whole: controllers/<id>."),
    ("exp-as-text", "exp is a date", {"exp": "2027-11-23"}, "Send seconds since 1970 as an integer."),
    ("version-none", "version 0", {"version": 0}, "Begin with version 1."),
    ("version-two-without-prev", "version 2 without prev", {"version": 2}, NEXT),
    ("prev-of-the-first", "prev in version 1", {"prev": digest("x")}, "Leave prev out of version 1."),
    ("ends-before-it-begins", "exp before iat", {"exp": 1}, "Let exp be after iat."),
    ("no-exp", "no end", {"exp": ...}, "Add exp, in seconds: a key set that nobody renews must end."),
    ("no-keys", "no keys", {"keys": []}, "List 1 to 64 keys."),
    ("no-root", "no root role", {"roles": {"preview": role(["ed"])}}, "Add a root role."),
    ("role-unknown", "a role that is no act", {"roles": roles(delete=role(["ed"]))}, "Name roles after acts; to delete is erase."),
    ("role-no-kids", "a role without kids", {"roles": roles(erase={"threshold": 1})}, "Add kids: the thumbprints of the role's keys."),
    ("role-no-threshold", "a role without a threshold", {"roles": roles(erase={"kids": [KEYS["ed"].kid]})}, "Add threshold."),
    ("role-of-nobody", "a role of no key", {"roles": roles(erase={"kids": [], "threshold": 1})}, "Name the role's keys, or leave the role out."),
    ("role-key-twice", "a role names a key twice", {"roles": roles(erase=role(["ed", "ed"]))}, "Name each key once."),
    ("role-member", "a role with a member more", {"roles": roles(erase=role(["ed"]) | {"note": "x"})}, "Leave it out."),
    ("role-by-name", "a role names signers, not keys", {"roles": roles(erase={"kids": ["ann", "bob"], "threshold": 2})}, "Name thumbprints of keys in kids; thresholds count their signers."),
    ("root-role-of-an-instruction-key", "an instruction key in the root role", {"roles": roles(root=role(["root", "ed"]))}, "Give the root role to root keys alone."),
    ("threshold-none", "a threshold of 0", {"roles": roles(erase=role(["ed"], 0))}, "Let the threshold be 1 or more."),
    ("threshold-too-high", "a threshold of three with two signers", {"roles": roles(erase=role(["ed", "ed-2", "p256"], 3))},
     "Let the threshold be at most the number of distinct signers: two keys of one signer count once."),
    ("role-of-a-root-key", "a root key in an act's role", {"roles": roles(erase=role(["root"]))}, "Give acts to instruction keys alone."),
    ("role-of-a-stranger", "a role names a key that is not in the set", {"roles": roles(erase=role(["stranger"]))}, "List the key under keys, too."),
    ("policy-unknown", "a policy that is not known", {"policy": {"quorum": 2}}, "Ask for hold, preview, witnesses and tiers alone."),
    ("policy-hold", "a hold of over 30 days", {"policy": {"hold": 31 * DAY}}, "Let hold be at most 30 days, in seconds."),
    ("policy-preview", "a preview before a revoke", {"policy": {"preview": ["revoke"]}}, "Name acts that a preview may precede."),
    ("policy-witnesses", "over 64 witnesses", {"policy": {"witnesses": 65}}, "Ask for at most 64 witnesses."),
    ("policy-hold-text", "a hold as text", {"policy": {"hold": "1h"}}, "Let hold be seconds, as an integer."),
    ("policy-tier", "more signers for a minor than there are", {"policy": {"tiers": {"minor": {"erase": 3}}}},
     "Let a tier ask for at most the number of the act's distinct signers."),
    ("policy-tier-unknown", "a tier that is not known", {"policy": {"tiers": {"adult": {"erase": 1}}}}, "Use the tiers minor and media."),
    ("key-twice", "a key stands twice", {"keys": keys(lambda made: made.append(made[1]))}, "List each key once."),
    ("key-of-two-uses", "a key stands as a root key and as an instruction key", {"keys": keys(lambda made: made.append(listed("root", "instruction", "board")))},
     "Make a second key: one key has one use, for ever."),
    ("no-use", "a key without use", {"keys": keys(lambda made: made[1].pop("use"))}, "Set use to root or instruction."),
    ("no-signer", "a key without signer", {"keys": keys(lambda made: made[1].pop("signer"))}, "Add signer: the opaque id of who holds the key."),
    ("use-unknown", "use is sig", {"keys": keys(lambda made: made[1].update(use="sig"))}, "Set use to root or instruction."),
    ("signer-address", "a signer's e-mail address", {"keys": keys(lambda made: made[1].update(signer="ann@xingyu.example"))},
     "Name signers by opaque ids: a key set is published for good."),
    ("key-member", "a member the key's form does not know", {"keys": keys(lambda made: made[1].update(name="x"))}, "Leave it out."),
    ("private-key", "a private key stands in the set", {"keys": keys(lambda made: made[1].update(d="AAAA"))},
     "List public keys alone, and make a new key: this one is known now."),
]:
    bad(name, what, "KEY_SET_MALFORMED", advice, first(**change))
for name, what, change, advice in [
    ("kid-name", "kid is a name of your own", {"kid": "key-1"}, "Set kid to the RFC 7638 thumbprint, or leave it out."),
    ("alg-other", "alg is not the key's", {"alg": "ES384"}, "Set alg to the key's own algorithm, or leave it out."),
    ("small-order", "an Ed25519 point of small order", {"x": "A" * 43, "kid": ...}, "Make a new key with a library that is not broken."),
    ("p521", "a key on P-521", {"kty": "EC", "crv": "P-521", "y": "A" * 43}, "Use Ed25519, P-256, P-384 or RSA of 2048 to 4096 bits."),
    ("symmetric", "a symmetric key", {"kty": "oct"}, "Use Ed25519, P-256, P-384 or RSA of 2048 to 4096 bits."),
    ("rsa-1024", "RSA of 1024 bits", {"kty": "RSA", "crv": ..., "x": ..., "alg": ..., "kid": ..., "e": "AQAB", "n": b64(unb64(KEYS["rsa"].public["n"])[:127] + b"\xff")}, "Use RSA of 2048 to 4096 bits."),
    ("x25519", "a key of X25519", {"crv": "X25519"}, "Use Ed25519, P-256, P-384 or RSA of 2048 to 4096 bits."),
]:
    def change_ed(made: list[dict[str, Any]], change: dict[str, Any] = change) -> None:
        made[1] = {key: value for key, value in (made[1] | change).items() if value is not ...}
    bad(name, what, "KEY_UNSUITABLE", advice, first(keys=keys(change_ed)))
bad("signer-changed", "a key changed its signer", "KEY_SET_MALFORMED", "Make a new key: a key keeps its signer and its use for ever.",
    second(keys=keys(lambda made: made[3].update(signer="eve"))), after="current")
bad("use-changed", "an instruction key became a root key", "KEY_SET_MALFORMED", "Make a new key: a key keeps its signer and its use for ever.",
    key_set(without("rsa", successor()) | {"keys": keys(lambda made: made[5].update(use="root"))}), after="current")
