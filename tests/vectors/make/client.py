"""What an enterprise's client is given to sign, so that `mandate conformance client` can judge it."""

from typing import Any

from forms import APP, DAY, EVIDENCE, NOW, PIN, RECIPIENT, REQUEST, X5T, device, jti, user
from published import digest


def order(name: str, act: str, keys: list[str], what: str, **more: Any) -> dict[str, Any]:
    """`keys` sign in this order; `subject` and `private` are to be disclosed, `members` stand in the payload."""
    subject = more.pop("subject", [user("u_8839201")])
    private = more.pop("private", {})
    members = {
        "iss": "controllers/xingyu", "aud": "mandate.ppio.example/trail", "jti": jti(f"client {name}"), "iat": NOW,
        "exp": NOW + 7 * DAY, "act": act, "app": APP, "categories": ["device", "network"], "basis": "pipl-47",
        "key_set": {"version": 1, "digest": PIN}, "_sd_alg": "sha-256",
    } | more
    return {"name": name, "what": what, "file": f"{name}.txt", "keys": keys, "members": members,
            "subject": subject, "private": private}


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
