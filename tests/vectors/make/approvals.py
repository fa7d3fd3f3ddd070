"""Approvals, good and bad: one more signature over the payload of an instruction that waits.

The input is `<protected>..<signature>`, `of` the instruction. On the wire the two parts stand in ApproveInstruction.
"""

from typing import Any

from collector import Later
from forms import (
    APPROVAL, DAY, INSTRUCTION, KEY_SETS, WITHDRAWAL, approval_step, before, claims, compact, detached, element,
    instruction_step, key_set_digest, name_of, user, withdrawal_step,
)
from orders import revoke
from published import KEYS, b64

cases = Later("approval")
good, bad = cases.good, cases.bad


def waiting(label: str, name: str = "ed", **changes: Any) -> str:
    """An erasure that one of two has signed."""
    return compact(name, *claims(label, "erase", **changes))


of = waiting("completes")
good("completes", "the second of two signers approves", of, detached("p256", of))
of = waiting("the-other-way", "p256")
good("the-other-way", "any of the role may be the second", of, detached("ed-2", of))

AGAIN = "Have another signer of the role approve: one signer counts once, with one key or two."
of = waiting("same-signer")
bad("same-signer", "the same signer again: it still waits", "WAITS", AGAIN, of, detached("ed", of))
bad("second-key-of-the-signer", "the same signer with a second key: it still waits", "WAITS", AGAIN, of, detached("ed-2", of))
bad("no-role", "a signer without the act's role", "SIGNER_ROLE", "Have a signer approve who has the act's role.", of, detached("rsa", of))
bad("stranger", "a key that is not in the key set", "KEY_UNKNOWN", "Approve with a key that the newest key set lists with use instruction.", of, detached("stranger", of))
bad("root-key", "a root key: it signs key sets only", "KEY_UNKNOWN", "Approve with an instruction key.", of, detached("root", of))
TYP = "Set typ to instruction-approval+jwt."
bad("typ-instruction", "typ is an instruction's", "HEADER_INVALID", TYP, of, detached("p256", of, INSTRUCTION))
bad("typ-withdrawal", "a withdrawal, shown as an approval", "HEADER_INVALID", TYP, of, detached("p256", of, WITHDRAWAL))
bad("other-instruction", "an approval of another instruction", "SIGNATURE_INVALID", "Sign <protected>.<payload segment> of the very instruction that waits.",
    of, detached("p256", waiting("other")))
bad("spoilt", "another key signed than kid names", "SIGNATURE_INVALID", "Set kid to the thumbprint of the very key that signs.",
    of, detached("p256", of).split("..")[0] + ".." + b64(KEYS["stranger"].sign(b"x")))
protected, signature = detached("p256", of).split("..")
bad("attached", "a compact JWS with its payload", "INSTRUCTION_MALFORMED", "Leave the payload out: it is the instruction's own.",
    of, f"{protected}.{of.split('~')[0].split('.')[1]}.{signature}")
bad("padded", "base64 with padding", "ENCODING_NOT_CANONICAL", "Encode base64url without padding.", of, f"{protected}..{signature}==")
bad("alg-none", "alg none", "ALGORITHM_NOT_ALLOWED", "Sign with a key of the key set and name its algorithm.",
    of, b64('{"typ":"%s","alg":"none","kid":"%s"}' % (APPROVAL, KEYS["p256"].kid)) + "..")
bad("header-member", "a key in the header", "HEADER_INVALID", "Send exactly typ, alg and kid.", of, detached("p256", of, more={"jwk": KEYS["p256"].public}))
# What stands in `of` is what the approver sends; the instruction came whole.
SEEN = "Send every disclosure of the instruction, as it came: nobody approves what he cannot see."
jws, first, second, _ = of.split("~")
for name, what, reason, shown in [
    ("undisclosed", "approved without the disclosures", "DISCLOSURE_MISSING", []),
    ("one-withheld", "approved with one of two disclosures", "DISCLOSURE_MISSING", [first]),
    ("one-swapped", "approved with a disclosure that names somebody else", "DISCLOSURE_ALIEN",
     [element("same-signer/0", user("somebody-else")), second]),
    ("one-twice", "approved with a disclosure twice", "DISCLOSURE_REPEATED", [first, second, first]),
]:
    bad(name, what, reason, SEEN, "~".join([jws, *shown, ""]), detached("p256", of), before=before(instruction_step(waiting("same-signer"), "WAITS")))

# -- what the gateway has seen before --------------------------------------------------------------------

CAREFUL = {"key_set": "careful", "agreement": "media"}


def recordings(label: str, name: str = "ed") -> str:
    """A preview of recordings, which takes three under the set `careful`."""
    named = {"version": 1, "digest": key_set_digest(KEY_SETS["careful"])}
    return compact(name, *claims(label, categories=["media"], key_set=named))


of = recordings("took-back")
WAITS = instruction_step(of, "WAITS")
second = approval_step(of, detached("p256", of), "WAITS")
back = withdrawal_step(of, detached("p256", of, WITHDRAWAL))
ANEW = "Sign a new instruction under another jti."
bad("second-of-three", "the second of three: it still waits", "WAITS", "Have a third signer of the role approve.",
    of, detached("p256", of), before=before(WAITS), **CAREFUL)
good("third-of-three", "the third of three", of, detached("rsa", of), before=before(WAITS, second), **CAREFUL)
bad("took-back", "a signer approves again what he took his signature from", "SIGNATURE_WITHDRAWN", ANEW,
    of, detached("p256", of), before=before(WAITS, second, back), **CAREFUL)
bad("third-without-the-second", "the third, after the second took his back: it still waits", "WAITS",
    "Have another signer of the role approve: who took his signature back does not count.",
    of, detached("rsa", of), before=before(WAITS, second, back), **CAREFUL)
of = waiting("enough-before")
bad("enough-before", "enough had signed before", "STAGE_CONFLICT", "Leave it: it was admitted, and waits for nobody.",
    of, detached("ed-2", of), before=before(instruction_step(of, "WAITS"), approval_step(of, detached("p256", of))))
good("the-same-again", "the very approval that completed it: it gets the first answer", of, detached("p256", of),
     before=before(instruction_step(of, "WAITS"), approval_step(of, detached("p256", of))))
of = waiting("the-same-again-later")
good("the-same-again-later", "the very approval that completed it, after the key set was rotated: it gets the first answer", of, detached("p256", of),
     before=before(instruction_step(of, "WAITS"), approval_step(of, detached("p256", of)), {"key_set": "without-ed"}))
of = waiting("all-took-back")
bad("all-took-back", "everybody who had signed took it back", "STAGE_CONFLICT", ANEW, of, detached("p256", of),
    before=before(instruction_step(of, "WAITS"), withdrawal_step(of, detached("ed", of, WITHDRAWAL))))
of = waiting("contested-meanwhile")
bad("contested-meanwhile", "contested by the processor while it waited", "STAGE_CONFLICT",
    "Speak with the processor; only a new instruction resumes.", of, detached("p256", of),
    before=before(instruction_step(of, "WAITS"), {"contest": name_of(of)}))
of = waiting("rotated-meanwhile")
bad("rotated-meanwhile", "the key set was rotated while it waited", "KEY_SET_NOT_CURRENT", "Sign a new instruction under the newest key set.",
    of, detached("p256", of), before=before(instruction_step(of, "WAITS"), {"key_set": "rotated"}))
of = waiting("ended-meanwhile")
bad("ended-meanwhile", "its end came while it waited", "INSTRUCTION_EXPIRED", "Sign a new one, with a new jti, and let it live longer.",
    of, detached("p256", of), before=before(instruction_step(of, "WAITS"), {"wait": 7 * DAY}))
of = waiting("key-set-ended-meanwhile", key_set={"version": 1, "digest": key_set_digest(KEY_SETS["ending"])})
bad("key-set-ended-meanwhile", "the key set's end came while it waited", "KEY_SET_EXPIRED",
    "Register the next version in time, and sign anew under it.", of, detached("p256", of), key_set="ending",
    before=before(instruction_step(of, "WAITS"), {"wait": 3600}))
of = waiting("revoked-meanwhile")
bad("revoked-meanwhile", "revoked while it waited", "STAGE_CONFLICT", ANEW, of, detached("p256", of),
    before=before(instruction_step(of, "WAITS"), instruction_step(revoke("revokes-while-it-waits", of))))
