"""Approvals, good and bad: one more signature over the payload of an instruction that waits.

The input is `<protected>..<signature>`, `of` the instruction. On the wire the two parts stand in ApproveInstruction.
"""

from collector import Cases
from forms import APPROVAL, INSTRUCTION, WITHDRAWAL, claims, compact, detached
from published import KEYS, b64

cases = Cases("approval")


def waiting(label: str, name: str = "ed") -> str:
    """An erasure that one of two has signed."""
    return compact(name, *claims(label, "erase"))


def good(name: str, what: str, of: str, signature: str) -> None:
    cases.good(name, what, signature, of=of)


def bad(name: str, what: str, reason: str, change: str, of: str, signature: str) -> None:
    cases.bad(name, what, reason, change, signature, of=of)


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
undisclosed = of.split("~")[0] + "~"
bad("undisclosed", "approved without the disclosures", "DISCLOSURE_MISSING", "Send every disclosure of the instruction: nobody approves what he cannot see.",
    undisclosed, detached("p256", undisclosed))
