"""Makes signed instructions: SD-JWTs (RFC 9901) by the PyPI `sd-jwt` package.

Whom an instruction is about stands in disclosures alone. The signed part holds their salted
digests, so it can lie in a public log for good.
"""

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

import pyrage
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.common import SDObj
from sd_jwt.issuer import SDJWTIssuer

from mandate_client import Profile, algorithm, b64url, b64url_decode, uuid7

LIFETIME_SECONDS = 7 * 24 * 3600  # The longest allowed is 30 days.
TYP = "instruction+sd-jwt"
APPROVAL = "instruction-approval+jwt"
WITHDRAWAL = "instruction-withdrawal+jwt"
# On what ground each act is ordered here; yours may be another. (A revoke has that of what it takes back, or this.)
BASIS = {
    "preview": "pipl-45", "export": "pipl-45", "erase": "pipl-47", "return_and_erase": "contract-end", "revoke": "pipl-15",
}


@dataclass(frozen=True)
class KeySet:
    """The key set the signers act under: an instruction names its version and digest."""

    version: int
    digest: str
    payload: dict[str, Any] = field(repr=False)

    @staticmethod
    def read(text: str) -> "KeySet":
        """Reads a key set (JWS General JSON); its digest is over the payload segment."""
        segment = json.loads(text)["payload"]
        payload = json.loads(b64url_decode(segment))
        digest = b64url(hashlib.sha256(segment.encode("ascii")).digest())
        return KeySet(payload["version"], digest, payload)

    def may_sign(self, kid: str, act: str) -> bool:
        role = self.payload["roles"].get(act)
        return role is not None and kid in role["kids"]


def user(app: str, user_id: str) -> dict[str, str]:
    """A user id inside an app, as an identifier of RFC 9493."""
    return {"format": "iss_sub", "iss": app, "sub": user_id}


def device(device_id: str) -> dict[str, str]:
    return {"format": "opaque", "id": device_id}


def export_section(profile: Profile, region: str) -> dict[str, str]:
    """Where an export goes: only the holder of the age identity can read the package."""
    recipient = pyrage.x25519.Identity.from_str(profile.export_identity()).to_public()
    return {"recipient": str(recipient), "format": "jsonl+csv", "region": region}


def instruction_claims(
    profile: Profile,
    key_set: KeySet,
    act: str,
    subject: list[dict[str, str]],
    categories: list[str],
    request: str = "",
    **more: Any,
) -> dict[str, Any]:
    """The members of an instruction. Each identifier of the subject becomes one disclosure; `revoke` and
    `return_and_erase` are about nobody in particular, and have none."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": profile.principal,
        "aud": profile.pins["trail"]["origin"],
        "jti": uuid7(),
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
        "act": act,
        "app": profile.app,
        "categories": categories,
        "basis": BASIS[act],
        "key_set": {"version": key_set.version, "digest": key_set.digest},
    }
    if subject:
        claims["sub_id"] = {"format": "aliases", "identifiers": [SDObj(one) for one in subject]}
    if request:
        claims["req"] = request
    claims.update(more)
    return claims


def revoke_claims(profile: Profile, key_set: KeySet, target: str) -> dict[str, Any]:
    """Takes an instruction back, `instructions/<jti>`: what was not begun never is, what was begun stops."""
    return instruction_claims(profile, key_set, "revoke", [], ["*"], target=target)


def sign_alone(claims: dict[str, Any], key: JWK) -> str:
    """One signer: the compact form, `<header>.<payload>.<signature>~<disclosure>~...~`."""
    alg = algorithm(key)
    header = {"typ": TYP, "kid": key.thumbprint()}
    issuer = SDJWTIssuer(claims, key, sign_alg=alg, extra_header_parameters=header)
    return issuer.sd_jwt_issuance


def sign_together(claims: dict[str, Any], keys: list[JWK]) -> str:
    """Several signers over the same bytes: JWS General JSON, with the disclosures in the first
    signature's unprotected header (RFC 9901 section 8)."""
    signed_part, *disclosures, _ = sign_alone(claims, keys[0]).split("~")
    protected, payload, signature = signed_part.split(".")
    first = {"protected": protected, "signature": signature, "header": {"disclosures": disclosures}}
    others = [co_sign(payload, key) for key in keys[1:]]
    return json.dumps({"payload": payload, "signatures": [first, *others]})


def co_sign(payload: str, key: JWK, typ: str = TYP) -> dict[str, str]:
    """One more signature over a payload segment that exists already. With `typ=APPROVAL` it is what
    ApproveInstruction takes, for an instruction that was submitted and waits, and with `typ=WITHDRAWAL` what takes
    one's own signature back. Look first whether it `is_whole`, and whom its disclosures name."""
    header = {"typ": typ, "alg": algorithm(key), "kid": key.thumbprint()}
    jws = JWS(b64url_decode(payload))
    jws.add_signature(key, protected=json.dumps(header))
    protected, _, signature = jws.serialize(compact=True).split(".")
    return {"protected": protected, "signature": signature}


def payload_segment(instruction: str) -> str:
    """The signed payload, as sent, of either form."""
    if instruction.startswith("{"):
        return json.loads(instruction)["payload"]
    return instruction.split("~")[0].split(".")[1]


def payload_of(instruction: str) -> dict[str, Any]:
    return json.loads(b64url_decode(payload_segment(instruction)))


def is_whole(instruction: str) -> bool:
    """Whether each digest has its one disclosure, and each disclosure its digest. An SD-JWT library lets a holder
    withhold some; the gateway takes an instruction whole or not at all."""
    if instruction.startswith("{"):
        disclosures = json.loads(instruction)["signatures"][0].get("header", {}).get("disclosures", [])
    else:
        _, *disclosures, rest = instruction.split("~")
        if rest:
            return False
    payload = payload_of(instruction)
    digests = [one["..."] for one in payload.get("sub_id", {}).get("identifiers", [])]
    digests += payload.get("private", {}).get("_sd", [])
    made = [b64url(hashlib.sha256(one.encode("ascii")).digest()) for one in disclosures]
    return sorted(made) == sorted(digests) and len(made) == len(set(made))


def instruction_digest(instruction: str) -> str:
    """What receipts and reports call the instruction by: SHA-256 over the payload segment."""
    return b64url(hashlib.sha256(payload_segment(instruction).encode("ascii")).digest())


def subject_digests(instruction: str) -> list[str]:
    subject = payload_of(instruction).get("sub_id", {})
    return [one["..."] for one in subject.get("identifiers", [])]
