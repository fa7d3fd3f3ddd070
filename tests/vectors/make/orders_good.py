"""Instructions that are taken, each for what it shows."""

import json

from forms import DAY, NOW, REQUEST, SUBJECT, before, detached, export, header, instruction_step, text_of, user
from orders import good, revoke, signed, signed_text, third_party, together
from published import digest

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
good("members-in-another-order", "the members in another order: it is free", signed_text(
    "members-in-another-order", lambda text: text_of(dict(reversed(json.loads(text).items())))))
good("header-in-another-order", "the header's members in another order", signed(
    "header-in-another-order", protected=dict(reversed(header("ed").items()))))
text = signed("disclosures-in-another-order")
good("disclosures-in-another-order", "the disclosures in another order than their digests",
     "~".join([text.split("~")[0], *reversed(text.split("~")[1:-1]), ""]))
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
good("general-of-one", "one signer in General JSON, a signatures array of one", together("general-of-one", ["ed"], "preview"))
both = together("with-an-approval-inside", ["ed"])
protected, signed_by = detached("p256", text_of(both)).split("..")
both["signatures"].append({"protected": protected, "signature": signed_by})
good("with-an-approval-inside", "an instruction and an approval of it in one message", both)
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
