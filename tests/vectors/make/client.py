"""What an enterprise's client is given to sign or to refuse, so that `mandate conformance client` can judge it."""

import json
from typing import Any

from approvals import waiting
from forms import (
    APP, DAY, EVIDENCE, NOW, PIN, RECIPIENT, REQUEST, X5T, claims, device, element, general, instruction_step, jti, name_of,
    text_of, user,
)
from orders import signed
from published import b64, digest, unb64


def order(name: str, act: str, keys: list[str], what: str, **more: Any) -> dict[str, Any]:
    """`keys` sign in this order; `subject` and `private` are to be disclosed, `members` stand in the payload."""
    subject = more.pop("subject", [user("u_8839201")])
    private = more.pop("private", {})
    before = more.pop("before", [])
    members = {
        "iss": "controllers/xingyu", "aud": "mandate.ppio.example/trail", "jti": jti(f"client {name}"), "iat": NOW,
        "exp": NOW + 7 * DAY, "act": act, "app": APP, "categories": ["device", "network"], "basis": "pipl-47",
        "key_set": {"version": 1, "digest": PIN}, "_sd_alg": "sha-256",
    } | more
    return {"name": name, "what": what, "file": f"{name}.txt", "keys": keys, "members": members,
            "subject": subject, "private": private} | ({"before": before} if before else {})


# What the revoke takes back.
REVOKED = signed("client revoked")

INSTRUCTIONS = [
    order("preview-eddsa", "preview", ["ed"], "one signer, Ed25519, compact form"),
    order("preview-es256", "preview", ["p256"], "one signer, P-256: the signature is r || s"),
    order("preview-es384", "preview", ["p384"], "one signer, P-384: the signature is r || s of 96 bytes"),
    order("preview-ps256", "preview", ["rsa"], "one signer, RSA-PSS with a salt of 32 bytes"),
    order("preview-unicode", "preview", ["ed"], "a user id in Chinese", subject=[user("用户八八三九")]),
    order("preview-everything", "preview", ["ed"], "four identifiers, stores, a window, nbf, a request, all categories",
          subject=[user("u_8839201"), device("device-7f31c2"), {"format": "email", "email": "user@example.com"},
                   {"format": "phone_number", "phone_number": "+8613800000000"}],
          categories=["*"], stores=["sdk", "logs"], window={"from": NOW - 90 * DAY, "until": NOW}, nbf=NOW,
          req=REQUEST),
    order("erase-two-signers", "erase", ["ed", "p256"], "two signers over one payload: General JSON",
          preview={"digest": digest("preview"), "as_of": NOW - 60}),
    order("export", "export", ["p384"], "an export to the holder of an age key",
          export={"recipient": RECIPIENT, "format": "jsonl+csv", "region": "cn"}),
    order("export-account", "export", ["p384"], "an export with a private member: a third party's account",
          basis="pipl-13-1", private={"account": "acc-1"},
          export={"recipient": RECIPIENT, "format": "jsonl+csv", "region": "cn", "evidence": EVIDENCE}),
    order("revoke", "revoke", ["ed"], "takes another back: about nobody, so no sub_id and no disclosures", subject=[],
          categories=["*"], basis="pipl-15", target=name_of(REVOKED), before=[instruction_step(REVOKED)]),
    order("return-and-erase", "return_and_erase", ["ed"], "the end of the contract, signed a year before: no sub_id",
          subject=[], categories=["*"], basis="contract-end", nbf=NOW + 365 * DAY, exp=NOW + 395 * DAY,
          export={"recipient": RECIPIENT, "format": "jsonl+csv", "region": "cn"}),
]

ACCESS_TOKENS = [{
    "name": "access-token", "what": "a token for the calls", "file": "access-token.txt", "key": "access",
    "claims": {
        "iss": "controllers/xingyu", "sub": "spiffe://ppio.example/controller/xingyu/backend",
        "aud": "mandate.ppio.example", "iat": NOW, "exp": NOW + 300, "jti": jti("client access-token"),
        "scope": "requests.read instructions.submit",
        "cnf": {"x5t#S256": X5T},
    },
}]


# -- what others signed ----------------------------------------------------------------------------------


def brought(name: str, what: str, says: str, of: Any, expect: str = "OK", change: str = "") -> dict[str, Any]:
    """Another's instruction: `key` is to sign it, too, or to take back what it signed; REFUSED where it may not."""
    assert (expect == "OK") == (change == "")
    return {"name": name, "what": what, "file": f"{name}.txt", "says": says, "key": "p256" if says == "approval" else "ed",
            "of": text_of(of), "expect": expect} | ({"change": change} if change else {})


def changed(of: str, **members: Any) -> str:
    """Its payload changed, and its signature kept."""
    jws, *rest = of.split("~")
    protected, payload, signature = jws.split(".")
    return "~".join([f"{protected}.{b64(text_of(json.loads(unb64(payload)) | members))}.{signature}", *rest])


OF = waiting("client brought")
JWS, FIRST, SECOND, _ = OF.split("~")
WHOLE = ("Before you sign, compare the digests of the disclosures with those of sub_id.identifiers and private._sd: each has "
         "exactly one, and whom it is about is what they say.")
PROVEN = "Before you sign, verify every signature that is there under the instruction keys of the newest key set."
PAYLOAD, DISCLOSURES = claims("client brought json", "erase")

BROUGHT = [
    brought("approve", "one of two has signed, compact form", "approval", OF),
    brought("approve-json", "one of two has signed, General JSON", "approval", general(["ed"], PAYLOAD, DISCLOSURES)),
    brought("withdraw", "your own signature, taken back", "withdrawal", OF),
    brought("approve-swapped", "a disclosure names somebody else", "approval",
            "~".join([JWS, element("client brought/0", user("somebody-else")), SECOND, ""]), "DISCLOSURE_ALIEN", WHOLE),
    brought("approve-withheld", "one of two disclosures is missing", "approval", f"{JWS}~{FIRST}~", "DISCLOSURE_MISSING", WHOLE),
    brought("approve-undisclosed", "all disclosures are missing", "approval", f"{JWS}~", "DISCLOSURE_MISSING", WHOLE),
    brought("approve-one-more", "a disclosure that no digest names", "approval",
            "~".join([JWS, FIRST, SECOND, element("client more", user("somebody-else")), ""]), "DISCLOSURE_ALIEN", WHOLE),
    brought("approve-one-twice", "a disclosure stands twice", "approval", "~".join([JWS, FIRST, SECOND, FIRST, ""]),
            "DISCLOSURE_REPEATED", WHOLE),
    brought("approve-changed", "the payload was changed after it was signed", "approval", changed(OF, categories=["*"]),
            "SIGNATURE_INVALID", PROVEN),
    brought("approve-stranger", "signed by a key that is in no key set", "approval", waiting("client stranger", "stranger"),
            "KEY_UNKNOWN", PROVEN),
]
