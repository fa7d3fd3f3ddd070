"""Key sets, good and bad: the first, and its successors."""

from typing import Any

from collector import Cases
from forms import (
    CURRENT, DAY, INSTRUCTION, KEY_SET, KEY_SETS, NOW, PIN, general, header, key_set, key_set_digest, key_set_payload,
    listed, role, signature,
    successor, text_of, without,
)
from published import KEYS, digest

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


# Two root signers, both needed; the second key of `board` does not make a second signer.
TWO_ROOTS = {
    "keys": [*key_set_payload()["keys"], listed("root-2", "root", "council")],
    "roles": roles(root=role(["root", "root-2"], 2)),
}
ONE_PERSON = {
    "keys": [*key_set_payload()["keys"], listed("root-2", "root", "board")],
    "roles": roles(root=role(["root", "root-2"], 1)),
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
spoilt = general(["root"], key_set_payload(), typ=KEY_SET)
spoilt["payload"] = signature("root", key_set_payload(exp=NOW + DAY), header("root", KEY_SET))[1]
bad("tampered", "a member was changed after signing", "KEY_SET_SIGNATURE", "Sign the exact bytes you send.", spoilt)
bad("old-root-missing", "the old root has not signed", "KEY_SET_SIGNATURE", "Have the roots of both versions sign.", second(["root-2"], **HANDED_OVER), after="current")
bad("new-root-missing", "the new root has not signed", "KEY_SET_SIGNATURE", "Have the roots of both versions sign.", second(["root"], **HANDED_OVER), after="current")
NEXT = "Let version be exactly the newest plus one, and prev the newest's digest."
bad("gap", "version 3 after version 1", "KEY_SET_VERSION", NEXT, second(version=3), after="current")
bad("again", "version 1 after version 1", "KEY_SET_VERSION", NEXT, first(exp=NOW + DAY), after="current")
bad("fork", "prev names another predecessor", "KEY_SET_VERSION", NEXT, second(prev=digest("x")), after="current")

FORM = "See docs/integrate/key-set.md for the members and their values."
bad("compact", "the compact form", "KEY_SET_MALFORMED", "Send JWS General JSON, also for one signature.",
    ".".join(signature("root", key_set_payload(), header("root", KEY_SET))))
flat = general(["root"], key_set_payload(), typ=KEY_SET)
bad("flattened", "flattened JSON, as some libraries make of a single signature", "KEY_SET_MALFORMED",
    "Put protected and signature into a signatures array of one.", {"payload": flat["payload"], **flat["signatures"][0]})
bad("typ", "typ is an instruction's", "KEY_SET_MALFORMED", "Set typ to keyset+jwt.", general(["root"], key_set_payload(), typ=INSTRUCTION))
loose = general(["root"], key_set_payload(), typ=KEY_SET)
loose["signatures"][0]["header"] = {"kid": KEYS["root"].kid}
bad("unprotected-header", "an unprotected header", "KEY_SET_MALFORMED", "Leave the unprotected header out: it is not signed.", loose)
for name, what, change, advice in [
    ("member", "a member the form does not know", {"note": "x"}, "Leave it out."),
    ("version-none", "version 0", {"version": 0}, "Begin with version 1."),
    ("version-two-without-prev", "version 2 without prev", {"version": 2}, NEXT),
    ("prev-of-the-first", "prev in version 1", {"prev": digest("x")}, "Leave prev out of version 1."),
    ("ends-before-it-begins", "exp before iat", {"exp": 1}, "Let exp be after iat."),
    ("no-exp", "no end", {"exp": ...}, "Add exp, in seconds: a key set that nobody renews must end."),
    ("no-keys", "no keys", {"keys": []}, "List 1 to 64 keys."),
    ("no-root", "no root role", {"roles": {"preview": role(["ed"])}}, "Add a root role."),
    ("role-unknown", "a role that is no act", {"roles": roles(delete=role(["ed"]))}, "Name roles after acts; to delete is erase."),
    ("threshold-none", "a threshold of 0", {"roles": roles(erase=role(["ed"], 0))}, "Let the threshold be 1 or more."),
    ("threshold-too-high", "a threshold of three with two signers", {"roles": roles(erase=role(["ed", "ed-2", "p256"], 3))},
     "Let the threshold be at most the number of distinct signers: two keys of one signer count once."),
    ("role-of-a-root-key", "a root key in an act's role", {"roles": roles(erase=role(["root"]))}, "Give acts to instruction keys alone."),
    ("role-of-a-stranger", "a role names a key that is not in the set", {"roles": roles(erase=role(["stranger"]))}, "List the key under keys, too."),
    ("policy-unknown", "a policy that is not known", {"policy": {"quorum": 2}}, "Ask for hold, preview, witnesses and tiers alone."),
    ("policy-hold", "a hold of over 30 days", {"policy": {"hold": 31 * DAY}}, "Let hold be at most 30 days, in seconds."),
    ("policy-preview", "a preview before a revoke", {"policy": {"preview": ["revoke"]}}, "Name acts that a preview may precede."),
    ("policy-tier", "more signers for a minor than there are", {"policy": {"tiers": {"minor": {"erase": 3}}}},
     "Let a tier ask for at most the number of the act's distinct signers."),
    ("policy-tier-unknown", "a tier that is not known", {"policy": {"tiers": {"adult": {"erase": 1}}}}, "Use the tiers minor and media."),
    ("key-twice", "a key stands twice", {"keys": keys(lambda made: made.append(made[1]))}, "List each key once."),
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
    ("x25519", "a key of X25519", {"crv": "X25519"}, "Use Ed25519, P-256, P-384 or RSA of 2048 to 4096 bits."),
]:
    def change_ed(made: list[dict[str, Any]], change: dict[str, Any] = change) -> None:
        made[1] = {key: value for key, value in (made[1] | change).items() if value is not ...}
    bad(name, what, "KEY_UNSUITABLE", advice, first(keys=keys(change_ed)))
bad("signer-changed", "a key changed its signer", "KEY_SET_MALFORMED", "Make a new key: a key keeps its signer and its use for ever.",
    second(keys=keys(lambda made: made[3].update(signer="eve"))), after="current")
bad("use-changed", "an instruction key became a root key", "KEY_SET_MALFORMED", "Make a new key: a key keeps its signer and its use for ever.",
    key_set(without("rsa", successor()) | {"keys": keys(lambda made: made[5].update(use="root"))}), after="current")
