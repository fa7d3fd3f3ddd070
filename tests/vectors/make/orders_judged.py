"""What is wrong with an instruction by the hour, the key set, its signers, and what came before."""

import hashlib
import json

from forms import (
    DAY, EXPLAIN, KEY_SETS, MINORS, NOW, PIN, SUBJECT, before, detached, element, export, instruction_step,
    key_set_digest, member, name_of, placeholders, request, text_of,
)
from orders import bad, careful, good, revoke, signed, together
from published import b64, digest, unb64

# -- time ----------------------------------------------------------------------------------------------

bad("issued-ahead", "iat is 31 seconds ahead", "INSTRUCTION_NOT_YET_VALID", "Set your clock by NTP; 30 seconds ahead are forgiven.", signed("issued-ahead", iat=NOW + 31))
bad("not-yet", "before its nbf", "INSTRUCTION_NOT_YET_VALID", "Send it when nbf has come, or leave nbf out.", signed("not-yet", nbf=NOW + 60))
bad("expired", "past its end", "INSTRUCTION_EXPIRED", "Sign a new one, with a new jti.", signed("expired", iat=NOW - 9, exp=NOW))
bad("too-long", "a life of one second over 30 days", "INSTRUCTION_LIFETIME", "Let exp be at most 30 days after iat.", signed("too-long", iat=NOW, exp=NOW + 30 * DAY + 1))
bad("backwards", "exp before iat", "INSTRUCTION_LIFETIME", "Let exp be after iat.", signed("backwards", exp=NOW - 9))
bad("ends-before-it-begins", "exp not after nbf", "INSTRUCTION_LIFETIME", "Let exp be after nbf.", signed("ends-before-it-begins", nbf=NOW + 9, exp=NOW + 9))
bad("return-too-long", "a return_and_erase good for over 30 days from its nbf", "INSTRUCTION_LIFETIME",
    "Let exp be at most 30 days after nbf.", signed("return-too-long", act="return_and_erase", sub_id=..., subject=[],
    basis="contract-end", nbf=NOW + DAY, exp=NOW + 31 * DAY + 1))
bad("return-too-far", "a return_and_erase over 20 years ahead", "INSTRUCTION_LIFETIME",
    "Let nbf be at most 20 years after iat.", signed("return-too-far", act="return_and_erase", sub_id=..., subject=[],
    basis="contract-end", nbf=NOW + 21 * 366 * DAY, exp=NOW + 21 * 366 * DAY + DAY))

# -- the key set ---------------------------------------------------------------------------------------

NEWEST = "Read the newest key set (GetKeySet), check it against your pin, and sign under its version and digest."
bad("other-version", "names version 2, which is not the newest", "KEY_SET_NOT_CURRENT", NEWEST, signed("other-version", key_set={"version": 2, "digest": PIN}))
bad("other-digest", "names another key set of this version", "KEY_SET_NOT_CURRENT", NEWEST, signed("other-digest", key_set={"version": 1, "digest": digest("x")}))
PLACE = "Take SHA-256 over the ASCII text of the key set's payload segment, as pins.toml shows it."
document = json.loads(KEY_SETS["current"])["payload"]
bad("digest-of-the-bytes", "key_set.digest is over the payload's bytes, not over its segment", "KEY_SET_NOT_CURRENT", PLACE,
    signed("digest-of-the-bytes", key_set={"version": 1, "digest": b64(hashlib.sha256(unb64(document)).digest())}))
bad("digest-of-the-file", "key_set.digest is over the whole file", "KEY_SET_NOT_CURRENT", PLACE,
    signed("digest-of-the-file", key_set={"version": 1, "digest": digest(KEY_SETS["current"])}))
bad("rotated-meanwhile", "names version 1 after version 2 came into force", "KEY_SET_NOT_CURRENT", NEWEST, signed("rotated-meanwhile"), key_set="rotated")
bad("key-set-expired", "the key set is past its end", "KEY_SET_EXPIRED", "Register the next version; an expired key set's root may still sign it.",
    signed("key-set-expired", key_set={"version": 1, "digest": key_set_digest(KEY_SETS["expired"])}), key_set="expired")
ending = {"version": 1, "digest": key_set_digest(KEY_SETS["ending"])}
bad("key-set-ended-before", "the key set's end came while it was on its way", "KEY_SET_EXPIRED",
    "Register the next version in time; an expired key set's root may still sign it.",
    signed("key-set-ended-before", key_set=ending), key_set="ending", before=before({"wait": 3600}))
bad("left-the-set", "signed by a key that left in version 2", "KEY_UNKNOWN", "Sign with a key of the newest key set.",
    signed("left-the-set", key_set={"version": 2, "digest": key_set_digest(KEY_SETS["without-ed"])}), key_set="without-ed")
bad("signer-left", "at its first lease its signer has left the role", "SIGNER_REVOKED",
    "Sign again with keys of the newest key set.", signed("signer-left"), then=[{"key_set": "without-ed"}])

bad("signer-lost-the-role", "at its first lease its signer is still in the set, without the act's role", "SIGNER_REVOKED",
    "Sign again with a key that the newest key set gives this act.", signed("signer-lost-the-role"), then=[{"key_set": "role-moved"}])
bad("one-of-two-left", "at its first lease one of its two signers' keys has left, though others are enough", "SIGNER_REVOKED",
    "Sign again with keys of the newest key set.", together("one-of-two-left", ["ed", "p256"]), then=[{"key_set": "without-ed"}])

# -- roles and threshold -------------------------------------------------------------------------------

bad("no-role", "a signer without the act's role", "SIGNER_ROLE", "Sign with a key that the key set gives this act.", signed("no-role", "rsa", "export", export=export()))
bad("outsider-beside-enough", "two who may, and one who may not", "SIGNER_ROLE",
    "Leave out the signature of who has no role in the act.", together("outsider-beside-enough", ["ed", "p256", "rsa"]))
bad("nobodys-act", "an act that the key set gives to nobody", "SIGNER_ROLE", "Add the act's role to the next version of the key set.",
    signed("nobodys-act", act="rectify", key_set={"version": 1, "digest": key_set_digest(KEY_SETS["narrow"])}, sub_id={
        "format": "aliases", "identifiers": placeholders([element("nobodys-act/0", SUBJECT[0])])},
        subject=[SUBJECT[0]], private={"_sd": [digest(member("nobodys-act/set", "set", {"city": "x"}))]})
    + member("nobodys-act/set", "set", {"city": "x"}) + "~", key_set="narrow")
bad("one-signer", "an erasure signed by one of two: it waits", "WAITS", "Have a second signer of the role sign the same payload segment, or approve it (ApproveInstruction).",
    signed("one-signer", "ed", "erase"))
bad("one-signer-twice", "the same signature twice: it waits", "WAITS", "Have a second signer sign: the same key twice counts once.",
    together("one-signer-twice", ["ed", "ed"]))
bad("one-signer-two-keys", "two keys of one signer: it waits", "WAITS", "Have a second signer sign: two keys of one signer count once.",
    together("one-signer-two-keys", ["ed", "ed-2"]))

own = together("approved-by-himself", ["ed"])
own["signatures"].append(dict(zip(["protected", "signature"], detached("ed-2", text_of(own)).split(".."))))
bad("approved-by-himself", "one signer, who also approves with a second key, in one message: it waits", "WAITS",
    "Have a second signer sign or approve: one signer counts once, in whatever form.", own)

# -- what the key set's policy asks, and what is taken back ----------------------------------------------


erasure = together("erased-unseen", ["ed", "p256"], key_set={"version": 1, "digest": key_set_digest(KEY_SETS["careful"])})
bad("erased-unseen", "an erasure that names no preview, where the policy asks for one", "PREVIEW_REQUIRED",
    "Order a preview first, and name its digest and instant in preview.", erasure, key_set="careful")
bad("ends-while-held", "it would end while the policy still holds it back", "INSTRUCTION_LIFETIME",
    "Let it live longer than the hold of the key set's policy.", careful("ends-while-held", exp=NOW + 3600), key_set="careful")
bad("held", "leased before the hold of the key set's policy is over", "INSTRUCTION_HELD",
    "Wait: the agent begins when the hold is over; until then it can be revoked.", careful("held"), key_set="careful", then=[{"wait": 3599}])
good("hold-over", "the same, a second later", careful("hold-over"), key_set="careful", then=[{"wait": 3600}])
bad("minor", "one signer, where the policy asks for two if the case is a minor's: it waits", "WAITS",
    "Have as many signers sign as the policy's tier asks for.", careful("minor", req=MINORS), key_set="careful")
bad("recordings", "one signer, where the policy asks for three if recordings are meant: it waits", "WAITS",
    "Have as many signers sign as the policy's tier asks for, or leave media out.",
    careful("recordings", categories=["media"]), key_set="careful", agreement="media")
bad("no-case", "one signer, where the policy asks for two if the case is a minor's, and no case is named: it waits", "WAITS",
    "Name the case that it answers, if it is an adult's; else have as many signers sign as the policy's tier asks for.",
    careful("no-case", req=...), key_set="careful")
good("no-tier", "the same, of an adult's data without recordings", careful("no-tier"), key_set="careful")
bad("witnesses", "the policy asks for more witnesses than the gateway has", "WITNESSES_MISSING",
    "Have the operator add witnesses, or ask for fewer in the next key set.", careful("witnesses", key_set="witnessed"), key_set="witnessed")
bad("revoked", "revoked before its first lease", "INSTRUCTION_REVOKED", "Sign a new one, with a new jti, if it is still wanted.",
    one := signed("revoked"), then=[instruction_step(revoke("revokes-it", one))])
bad("contested", "contested by the processor before its first lease", "INSTRUCTION_CONTESTED",
    "Speak with the processor; only a new instruction resumes.", one := signed("contested"), then=[{"contest": name_of(one)}])
bad("expired-unleased", "no agent began it before its end", "INSTRUCTION_EXPIRED",
    "Sign a new one, with a new jti, and let it live as long as the store may be away.",
    signed("expired-unleased"), then=[{"wait": 7 * DAY}])
good("begun-in-time", "the same, a second earlier", signed("begun-in-time"), then=[{"wait": 7 * DAY - 1}])

# -- what the gateway has seen before --------------------------------------------------------------------

first = signed("used-up")
jti = {"jti": name_of(first).removeprefix("instructions/")}
JTI = "Make a new UUIDv7 for every instruction, also for one that is corrected."
good("again", "the very same again: it gets the first answer, and nothing happens twice", first, before=before(instruction_step(first)))
good("again-after-its-key-left", "the very same again, after its signer's key has left the set: it gets the first answer", first,
     before=before(instruction_step(first), {"key_set": "without-ed"}))
bad("new-after-its-key-left", "beside one that was taken, another signed by the key that has left", "KEY_UNKNOWN", "Sign with a key of the newest key set.",
    signed("new-after-its-key-left"), before=before(instruction_step(first), {"key_set": "without-ed"}))
bad("jti-reused", "another payload under an id that was used up", "JTI_REUSED", JTI,
    signed("jti-reused", **jti), before=before(instruction_step(first)))
bad("jti-reused-by-a-revoke", "a revocation under the id of what it revokes", "JTI_REUSED", JTI,
    revoke("jti-reused-by-a-revoke", first, **jti), before=before(instruction_step(first)))
bad("signed-again", "the same members with new salts: another payload", "JTI_REUSED", JTI,
    signed("used-up-with-new-salts", **jti), before=before(instruction_step(first)))
outside = signed("outside", categories=["media"])
refused = instruction_step(outside, "OUTSIDE_AGREEMENT")
bad("jti-of-a-refused", "corrected after a refusal, under the same id", "JTI_REUSED", JTI,
    signed("outside-corrected", jti=name_of(outside).removeprefix("instructions/")), before=before(refused))
bad("refused-again", "the very same again after a refusal: it stays refused", "OUTSIDE_AGREEMENT",
    "Stay within the agreement, and make a new jti: a refused instruction is not tried again.", outside, before=before(refused))
bad("refused-again-after-its-key-left", "the very same again after a refusal and a rotation: it stays refused", "OUTSIDE_AGREEMENT",
    "Stay within the agreement, and make a new jti: a refused instruction is not tried again.", outside, before=before(refused, {"key_set": "without-ed"}))
spoilt = first.replace(".", "..", 1)
good("jti-after-a-broken-one", "an id is used up once the signatures verify, not before", first,
     before=before(instruction_step(spoilt, "INSTRUCTION_MALFORMED")))
bad("target-unknown", "revokes what never was", "TARGET_UNKNOWN", "Name an instruction of yours, of the same app, as instructions/<jti>.",
    revoke("target-unknown", first))
bad("revokes-itself", "a revoke of its own id", "TARGET_UNKNOWN", "Name the instruction that is to be taken back; a revoke has a jti of its own.",
    revoke("revokes-itself", signed("revokes-itself")))
bad("target-refused", "revokes what was refused", "TARGET_UNKNOWN", "Leave it: what was refused is not carried out.",
    revoke("target-refused", outside), before=before(refused))
STOPPED = "Leave it: it was stopped before, and nothing more of it is begun."
bad("revoked-twice", "revokes what was revoked", "STAGE_CONFLICT", STOPPED, revoke("revoked-twice", first),
    before=before(instruction_step(first), instruction_step(revoke("revoked-once", first))))
bad("revokes-what-is-contested", "revokes what the processor contests", "STAGE_CONFLICT", STOPPED,
    revoke("revokes-what-is-contested", first), before=before(instruction_step(first), {"contest": name_of(first)}))
bad("revokes-a-revocation", "revokes a revocation, which is done", "STAGE_CONFLICT",
    "Sign a new instruction under another jti if the first is wanted after all.", revoke("revokes-a-revocation", revoke("a-revocation", first)),
    before=before(instruction_step(first), instruction_step(revoke("a-revocation", first))))
brief = signed("brief", exp=NOW + 60)
bad("revokes-what-has-ended", "revokes what nobody had begun when its end came", "INSTRUCTION_EXPIRED",
    "Leave it: it has ended by itself, and nothing of it is carried out.", revoke("revokes-what-has-ended", brief),
    before=before(instruction_step(brief), {"wait": 60}))
waiting = signed("revoked-while-it-waits", "ed", "erase")
good("revokes-what-waits", "revokes what still waits for a second signer", revoke("revokes-what-waits", waiting),
     before=before(instruction_step(waiting, "WAITS")))
bad("late", "it arrives when its end has come", "INSTRUCTION_EXPIRED", "Sign a new one, with a new jti.", signed("late"), before=before({"wait": 7 * DAY}))
bad("rotated-before", "the key set was rotated while it was on its way", "KEY_SET_NOT_CURRENT", NEWEST,
    signed("rotated-before"), before=before({"key_set": "rotated"}))
bad("request-unknown", "answers a request that is not yours", "REQUEST_UNKNOWN", "Name one of your requests, or leave req out.",
    signed("request-unknown", req=request(15)))
bad("does-not-serve", "an erasure answers a request for an explanation", "ACT_DOES_NOT_SERVE",
    "Name a request with a right that the act serves, or answer this one with RecordOutcome.", together("does-not-serve", ["ed", "p256"], req=EXPLAIN))

bad("recovered", "admitted under key sets whose root was lost before its first lease", "KEY_SET_RECOVERED",
    "Sign again under the newest key set, with a new jti.", signed("recovered"), then=[{"key_set": "recovered"}])
