"""Withdrawals, good and bad: a signer takes back what he signed, while the instruction waits.

The input is `<protected>..<signature>`, `of` the instruction. On the wire the two parts stand in WithdrawApproval.
"""

from approvals import CAREFUL, recordings, waiting
from collector import Later
from forms import APPROVAL, DAY, INSTRUCTION, WITHDRAWAL, approval_step, before, detached, instruction_step, withdrawal_step
from published import KEYS, b64

cases = Later("withdrawal")
good, bad = cases.good, cases.bad


def withdrawal(name: str, of: str) -> str:
    return detached(name, of, WITHDRAWAL)


of = waiting("alone")
good("alone", "who signed alone takes it back: with that it is revoked", of, withdrawal("ed", of))
good("by-another-key", "by another key of the same signer", of, withdrawal("ed-2", of))
good("again", "the very same again: it gets the first answer", of, withdrawal("ed", of),
     before=before(instruction_step(of, "WAITS"), withdrawal_step(of, withdrawal("ed", of))))
good("again-later", "the very same again, after the key that signed it has left: it gets the first answer", of, withdrawal("ed", of),
     before=before(instruction_step(of, "WAITS"), withdrawal_step(of, withdrawal("ed", of)), {"key_set": "without-ed"}))
of = recordings("one-of-two")
both = before(instruction_step(of, "WAITS"), approval_step(of, detached("p256", of), "WAITS"))
good("one-of-two", "one of two who have signed: it waits for two again", of, withdrawal("p256", of), before=both, **CAREFUL)

of = waiting("refused")
SIGNED = "Withdraw what you signed yourself; what others ordered is taken back with a revoke."
bad("not-his", "a signer who has signed nothing here", "STAGE_CONFLICT", SIGNED, of, withdrawal("p256", of))
bad("admitted", "enough have signed: it no longer waits", "STAGE_CONFLICT", "Revoke it: a signature is taken back only while it waits.",
    of, withdrawal("ed", of), before=before(instruction_step(of, "WAITS"), approval_step(of, detached("p256", of))))
bad("ended-meanwhile", "its end came while it waited", "INSTRUCTION_EXPIRED", "Leave it: it has ended by itself, and nothing of it is carried out.",
    of, withdrawal("ed", of), before=before(instruction_step(of, "WAITS"), {"wait": 7 * DAY}))
bad("stranger", "a key that is not in the key set", "KEY_UNKNOWN", "Withdraw with a key of the newest key set.", of, withdrawal("stranger", of))
TYP = "Set typ to instruction-withdrawal+jwt."
bad("typ-instruction", "typ is an instruction's", "HEADER_INVALID", TYP, of, detached("ed", of, INSTRUCTION))
bad("typ-approval", "an approval, shown as a withdrawal", "HEADER_INVALID", TYP, of, detached("ed", of, APPROVAL))
bad("other-instruction", "a withdrawal from another instruction", "SIGNATURE_INVALID", "Sign <protected>.<payload segment> of the very instruction.",
    of, withdrawal("ed", waiting("another")))
bad("spoilt", "another key signed than kid names", "SIGNATURE_INVALID", "Set kid to the thumbprint of the very key that signs.",
    of, withdrawal("ed", of).split("..")[0] + ".." + b64(KEYS["stranger"].sign(b"x")))
bad("rotated-meanwhile", "the key set was rotated while it waited", "KEY_SET_NOT_CURRENT",
    "Leave it: it can no longer be completed.", of, withdrawal("ed", of), before=before(instruction_step(of, "WAITS"), {"key_set": "rotated"}))
bad("root-key", "a root key: it signs key sets only", "KEY_UNKNOWN", "Withdraw with the instruction key of who signed.", of, withdrawal("root", of))
bad("padded", "base64 with padding", "ENCODING_NOT_CANONICAL", "Encode base64url without padding.", of, withdrawal("ed", of) + "==")
bad("alg-none", "alg none", "ALGORITHM_NOT_ALLOWED", "Sign with a key of the key set and name its algorithm.",
    of, b64('{"typ":"%s","alg":"none","kid":"%s"}' % (WITHDRAWAL, KEYS["ed"].kid)) + "..")
