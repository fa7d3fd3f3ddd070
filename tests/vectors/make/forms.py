"""The signed forms, byte by byte, with nothing but SHA-256, base64url and JSON: no JOSE library.

Whoever writes a client in another language can read this file as the recipe.
"""

import hashlib
import json
from typing import Any

from published import KEYS, b64, digest, unb64

NOW = 1795420800
DAY = 86400
ORIGIN = "mandate.ppio.example/trail"
CONTROLLER = "controllers/xingyu"
APP = "apps/xingyu-live"
INSTRUCTION, KEY_SET, ACCESS = "instruction+sd-jwt", "keyset+jwt", "at+jwt"
APPROVAL, WITHDRAWAL = "instruction-approval+jwt", "instruction-withdrawal+jwt"
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def text_of(value: Any) -> str:
    """JSON without white space; text that is JSON already stays as it is."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# -- signatures ----------------------------------------------------------------------------------------


def header(name: str, typ: str = INSTRUCTION) -> dict[str, Any]:
    return {"typ": typ, "alg": KEYS[name].alg, "kid": KEYS[name].kid}


def signature(name: str, payload: Any, protected: Any = None, how: str = "sign") -> tuple[str, str, str]:
    """The three segments of a JWS: the signature is over `<protected>.<payload>` (RFC 7515 section 5.1)."""
    first, second = b64(text_of(protected or header(name))), b64(text_of(payload))
    signed = getattr(KEYS[name], how)(f"{first}.{second}".encode("ascii"))
    return first, second, b64(signed)


def compact(name: str, payload: Any, disclosures: list[str], protected: Any = None, how: str = "sign") -> str:
    """One signer: `<jws>~<disclosure>~…~` (RFC 9901 section 4)."""
    return "~".join([".".join(signature(name, payload, protected, how)), *disclosures]) + "~"


def general(names: list[str], payload: Any, disclosures: list[str] = (), typ: str = INSTRUCTION) -> dict[str, Any]:
    """Several signers: General JSON, disclosures in the first unprotected header (RFC 9901 section 8)."""
    entries = []
    for name in names:
        protected, segment, signed = signature(name, payload, header(name, typ))
        entries.append({"protected": protected, "signature": signed})
    if disclosures:
        entries[0]["header"] = {"disclosures": list(disclosures)}
    return {"payload": segment, "signatures": entries}


# -- disclosures ---------------------------------------------------------------------------------------


def salt(label: str) -> str:
    """16 bytes; in earnest they are random, here they follow from the label."""
    return b64(hashlib.sha256(label.encode()).digest()[:16])


def element(label: str, value: Any) -> str:
    """`[salt, value]`: an identifier."""
    return b64(text_of([salt(label), value]))


def member(label: str, name: str, value: Any) -> str:
    """`[salt, name, value]`: a private member."""
    return b64(text_of([salt(label), name, value]))


def placeholders(disclosures: list[str]) -> list[dict[str, str]]:
    return [{"...": digest(one)} for one in disclosures]


def user(sub: str, app: str = APP) -> dict[str, str]:
    return {"format": "iss_sub", "iss": app, "sub": sub}


def device(value: str) -> dict[str, str]:
    return {"format": "opaque", "id": value}


def request(n: int) -> str:
    """The nth case: a UUIDv7 of ten minutes ago, as a gateway gives it."""
    text = f"{(NOW - 600) * 1000:012x}"
    return f"requests/{text[:8]}-{text[8:]}-7000-8000-{n:012x}"


# Cases that were brought to the controller: name, rights that are asked for, whether a minor's.
REQUEST, EXPLAIN, MINORS, TRANSFER = (request(n) for n in range(1, 5))
REQUESTS = [
    (REQUEST, ["access", "delete"], False),
    (EXPLAIN, ["explain_use_and_sharing"], False),
    (MINORS, ["delete"], True),
    (TRANSFER, ["transfer"], False),
]

SUBJECT = [user("u_8839201"), device("device-7f31c2")]

# -- key sets ------------------------------------------------------------------------------------------

ED_ACTS = [
    "rectify", "restrict", "release", "reply", "refuse", "authorize_reply", "revoke", "return_and_erase",
]


def listed(name: str, use: str, signer: str) -> dict[str, Any]:
    key = KEYS[name]
    return key.public | {"kid": key.kid, "alg": key.alg, "signer": signer, "use": use}


def role(names: list[str], threshold: int = 1) -> dict[str, Any]:
    return {"kids": [KEYS[name].kid for name in names], "threshold": threshold}


def key_set_payload(**changes: Any) -> dict[str, Any]:
    """Version 1. `ed` and `ed-2` are two keys of one signer; an erasure takes two signers."""
    everybody = ["ed", "ed-2", "p256", "p384", "rsa"]
    return {
        "iss": CONTROLLER, "aud": ORIGIN, "version": 1, "prev": None, "iat": NOW - 1000,
        "exp": NOW + 365 * DAY,
        "keys": [
            listed("root", "root", "board"),
            listed("ed", "instruction", "ann"), listed("ed-2", "instruction", "ann"),
            listed("p256", "instruction", "bob"), listed("p384", "instruction", "cleo"),
            listed("rsa", "instruction", "dan"),
        ],
        "roles": {
            "root": role(["root"]),
            "preview": role(everybody),
            "erase": role(["ed", "ed-2", "p256"], 2),
            "export": role(["p384"]),
            **{act: role(["ed"]) for act in ED_ACTS},
        },
    } | changes


def key_set(payload: Any, names: list[str] = ("root",)) -> str:
    return text_of(general(list(names), payload, typ=KEY_SET))


def key_set_digest(text: str) -> str:
    return digest(json.loads(text)["payload"])


CURRENT = key_set(key_set_payload())
PIN = key_set_digest(CURRENT)


def successor(**changes: Any) -> dict[str, Any]:
    return key_set_payload(version=2, prev=PIN, iat=NOW + 100) | changes


def without(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The key set without one key; a role that it leaves empty goes, too."""
    kid = KEYS[name].kid
    roles = {}
    for act, entry in payload["roles"].items():
        kids = [one for one in entry["kids"] if one != kid]
        if kids:
            roles[act] = {"kids": kids, "threshold": entry["threshold"]}
    keys = [key for key in payload["keys"] if key["kid"] != kid]
    return payload | {"keys": keys, "roles": roles}


KEY_SETS = {
    "current": CURRENT,
    # Its end has come before the instruction's.
    "expired": key_set(key_set_payload(exp=NOW - 10)),
    # Nobody may do anything but preview.
    "narrow": key_set(key_set_payload(roles={"root": role(["root"]), "preview": role(["ed"])})),
    # What a policy can ask: an hour's hold, a preview before an erasure, more signers for a minor or recordings.
    "careful": key_set(key_set_payload(policy={
        "hold": 3600, "preview": ["erase"], "tiers": {"minor": {"preview": 2}, "media": {"preview": 3}}})),
    # More witnesses than the gateway's heads get.
    "witnessed": key_set(key_set_payload(policy={"witnesses": 2})),
    # Its end comes while an instruction waits.
    "ending": key_set(key_set_payload(exp=NOW + 3600)),
    # Two root signers, both needed; `root-2` is the second one's.
    "two-roots": key_set(key_set_payload(
        keys=[*key_set_payload()["keys"], listed("root-2", "root", "council")],
        roles=key_set_payload()["roles"] | {"root": role(["root", "root-2"], 2)}), ["root", "root-2"]),
    # A routine rotation: nobody leaves.
    "rotated": key_set(successor()),
    # The root was lost: a version 1 anew, under another root, with the signers of before.
    "recovered": key_set(key_set_payload(iat=NOW + 100, keys=[
        listed("root-2", "root", "board-2"), *key_set_payload()["keys"][1:]],
        roles=key_set_payload()["roles"] | {"root": role(["root-2"])}), ["root-2"]),
    # The key `ed` is still there, but may order no preview any more.
    "role-moved": key_set(successor(roles=key_set_payload()["roles"] | {"preview": role(["p256", "p384", "rsa"])})),
    # The key `ed` has left.
    "without-ed": key_set(without("ed", successor())),
}

# -- instructions --------------------------------------------------------------------------------------


def claims(label: str, act: str = "preview", subject: list[Any] | None = None, **changes: Any) -> tuple[dict[str, Any], list[str]]:
    """The payload of a good instruction, changed, and its disclosures. A change to `...` takes a member out."""
    subject = SUBJECT if subject is None else subject
    disclosures = [element(f"{label}/{at}", value) for at, value in enumerate(subject)]
    payload = {
        "iss": CONTROLLER, "aud": ORIGIN, "jti": jti(label), "iat": NOW - 5, "exp": NOW + 7 * DAY,
        "act": act, "app": APP,
        "sub_id": {"format": "aliases", "identifiers": placeholders(disclosures)},
        "categories": ["device", "network"], "basis": "pipl-47",
        "key_set": {"version": 1, "digest": PIN}, "_sd_alg": "sha-256",
    } | changes
    return {name: value for name, value in payload.items() if value is not ...}, disclosures


def with_private(label: str, payload: dict[str, Any], disclosures: list[str], **values: Any) -> tuple[dict[str, Any], list[str]]:
    private = [member(f"{label}/{name}", name, value) for name, value in values.items()]
    digests = sorted(digest(one) for one in private)
    return payload | {"private": {"_sd": digests}}, disclosures + private


def jti(label: str) -> str:
    """A UUIDv7 that follows from the label: every vector has its own."""
    random = hashlib.sha256(f"jti {label}".encode()).digest()[:10]
    value = (NOW * 1000 << 80) | int.from_bytes(random)
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    text = f"{value:032x}"
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])


def export(**changes: Any) -> dict[str, Any]:
    return {"recipient": RECIPIENT, "format": "jsonl+csv", "region": "cn"} | changes


# Of the record of the person's separate consent, which stays with the controller.
EVIDENCE = digest("the record of the consent, with 16 random bytes of its own")


def detached(name: str, text: str, typ: str = APPROVAL, more: dict[str, Any] | None = None) -> str:
    """One more signature over the payload segment of an instruction (RFC 7515 appendix F)."""
    segment = json.loads(text)["payload"] if text.startswith("{") else text.split("~")[0].split(".")[1]
    protected = b64(text_of(header(name, typ) | (more or {})))
    return f"{protected}..{b64(KEYS[name].sign(f'{protected}.{segment}'.encode('ascii')))}"


# -- what comes before ---------------------------------------------------------------------------------


def before(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    return list(steps)


def instruction_step(given: Any, answer: str | None = None) -> dict[str, Any]:
    return {"instruction": text_of(given)} | ({"answer": answer} if answer else {})


def approval_step(of: Any, signature: str, answer: str | None = None) -> dict[str, Any]:
    return {"approval": {"input": signature, "of": text_of(of)}} | ({"answer": answer} if answer else {})


def withdrawal_step(of: Any, signature: str) -> dict[str, Any]:
    return {"withdrawal": {"input": signature, "of": text_of(of)}}


def name_of(given: Any) -> str:
    """The resource name of an instruction."""
    text = text_of(given)
    segment = json.loads(text)["payload"] if text.startswith("{") else text.split("~")[0].split(".")[1]
    return f"instructions/{json.loads(unb64(segment))['jti']}"


# -- access tokens -------------------------------------------------------------------------------------

AUDIENCE = "mandate.ppio.example"
SPIFFE = "spiffe://ppio.example/controller/xingyu/backend"
# Of a certificate whose DER would be this text.
X5T = digest("the client certificate")


def token_claims(label: str, **changes: Any) -> dict[str, Any]:
    payload = {
        "iss": CONTROLLER, "sub": SPIFFE, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 300, "jti": jti(label),
        "scope": "requests.read instructions.submit", "cnf": {"x5t#S256": X5T},
    } | changes
    return {name: value for name, value in payload.items() if value is not ...}


def token(name: str, payload: Any, protected: Any = None, how: str = "sign") -> str:
    return ".".join(signature(name, payload, protected or header(name, ACCESS), how))
