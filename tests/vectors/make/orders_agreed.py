"""What the app, the agreement and the act do not allow, and the end of a contract."""

from forms import DAY, EVIDENCE, NOW, SUBJECT, TRANSFER, device, element, export, placeholders
from orders import bad, good, private, signed, third_party
from published import digest

# -- app, agreement, act -------------------------------------------------------------------------------

bad("foreign-app", "an app that is not the issuer's", "APP_UNKNOWN", "Name one of your registered apps.",
    signed("foreign-app", subject=[device("x")], app="apps/other"))
bad("no-agreement", "no agreement is in force", "AGREEMENT_MISSING", "Have the agreement registered or renewed.", signed("no-agreement"), agreement="ended")
bad("category-outside", "a category outside the agreement", "OUTSIDE_AGREEMENT", "Stay within the agreement's categories, or have it extended.",
    signed("category-outside", categories=["media"]))
bad("store-outside", "a store outside the agreement", "OUTSIDE_AGREEMENT", "Stay within the agreement's stores, or have it extended.", signed("store-outside", stores=["hr"]))
bad("abroad", "an export out of the agreement's region", "REGION_NOT_ALLOWED", "Choose a region the agreement allows.",
    signed("abroad", "p384", "export", export=export(region="us")))
bad("sub-processor", "reaches a store that a company operates whom the agreement does not name", "SUB_PROCESSOR_UNDECLARED",
    "Name stores that others operate in stores, or agree to the sub-processor in a new agreement.",
    signed("sub-processor"), agreement="operated")
good("sub-processor-left-out", "names the stores that nobody else operates", signed("sub-processor-left-out", stores=["sdk"]), agreement="operated")
good("sub-processor-as-agreed", "reaches a sub-processor that the agreement names", signed("sub-processor-as-agreed"), agreement="operated-as-agreed")
good("abroad-on-record", "an export that leaves the mainland, within the agreement's regions, its basis on record",
     signed("abroad-on-record", "p384", "export", export=export(region="sg", evidence=EVIDENCE)), agreement="abroad")
bad("abroad-unrecorded", "an export that leaves the mainland without a recorded basis", "EVIDENCE_MISSING",
    "Record the separate consent or what else permits it, and set export.evidence to the record's digest.",
    signed("abroad-unrecorded", "p384", "export", export=export(region="sg")), agreement="abroad")
good("transfer-under-contract", "an export to a third party, of data that was given under a contract", third_party("transfer-under-contract", "pipl-13-2"))
bad("transfer-unrecorded", "an export to a third party without recorded consent", "EVIDENCE_MISSING",
    "Record the person's separate consent, and set export.evidence to the record's digest.",
    third_party("transfer-unrecorded", evidence=...))
good("transfer-asked-for", "answers a request for a transfer, and names the third party", third_party("transfer-asked-for", req=TRANSFER))
bad("transfer-without-target", "answers a request for a transfer with an export to the controller itself", "TRANSFER_TARGET_MISSING",
    "Ask the person to whom it shall go, and disclose the account there as private.account.",
    signed("transfer-without-target", "p384", "export", export=export(), req=TRANSFER))
bad("transfer-basis", "an export to a third party that stands on the right of access", "BASIS_NOT_FITTING",
    "Name consent or contract as basis: pipl-13-1, pipl-13-2, gdpr-6-1-a, gdpr-6-1-b or gdpr-20.",
    third_party("transfer-basis", "pipl-45"))
LATER = "Wait for the release that carries it out; the case can be closed with RecordOutcome."
bad("rectify", "an act of a later release", "ACT_NOT_SUPPORTED", LATER, private("rectify", "rectify", set={"city": "x"}))
bad("reply", "an act of a later release", "ACT_NOT_SUPPORTED", LATER, private("reply", text="done", to="user@example.com"))
for act in ("restrict", "release"):
    bad(act, "an act of a later release", "ACT_NOT_SUPPORTED", LATER, signed(act, act=act))
bad("refuse", "an act of a later release", "ACT_NOT_SUPPORTED", LATER,
    signed("refuse", act="refuse", refuse={"ground": "legal-claim", "whose": "controllers", "reason_code": "in-court"}))
bad("authorize-reply", "an act of a later release", "ACT_NOT_SUPPORTED", LATER,
    signed("authorize-reply", act="authorize_reply", authorize_reply={"templates": ["erased"], "until": NOW + DAY}))

# -- the end of a contract -------------------------------------------------------------------------------

good("return-after-the-end", "all is returned and erased though the agreement is over: this is what ends it", signed(
    "return-after-the-end", act="return_and_erase", sub_id=..., subject=[], basis="pipl-21", categories=["*"],
    export=export()), agreement="ended", then=[{"wait": 60}])
good("erase-all", "all is erased at the contract's end and nothing returned: export is left out", signed(
    "erase-all", act="return_and_erase", sub_id=..., subject=[], basis="gdpr-28", categories=["*"]))
bad("return-not-yet", "a return_and_erase that is leased before its nbf", "INSTRUCTION_NOT_YET_VALID",
    "Wait: it is taken in at once and begins at its nbf.", signed("return-not-yet", act="return_and_erase", sub_id=...,
    subject=[], basis="contract-end", nbf=NOW + DAY, exp=NOW + 31 * DAY), then=[{"wait": DAY - 1}])
for name, what, change, more in [
    ("return-basis", "a return_and_erase on a ground that ends no contract", "Let basis be contract-end, pipl-21 or gdpr-28.", {"basis": "pipl-47"}),
    ("return-window", "a return_and_erase of a part of the time", "Leave window out: nothing is kept when a contract ends.", {"window": {"from": 5, "until": 9}}),
    ("return-seen", "a return_and_erase after a preview", "Leave preview out: a preview shows one person's rows.", {"preview": {"digest": digest("preview"), "as_of": NOW - 60}}),
    ("return-subject", "a return_and_erase of one person", "Leave sub_id out: it is about all that is held of the app. To erase one person's, order erase.",
     {"sub_id": {"format": "aliases", "identifiers": placeholders([element("return-subject/0", SUBJECT[0])])}, "subject": [SUBJECT[0]]}),
]:
    bad(name, what, "MEMBER_INVALID", change, signed(name, **({"act": "return_and_erase", "sub_id": ..., "subject": [], "basis": "contract-end"} | more)))
bad("return-abroad", "a return_and_erase that returns out of the agreement's region", "REGION_NOT_ALLOWED", "Choose a region the agreement allows.",
    signed("return-abroad", act="return_and_erase", sub_id=..., subject=[], basis="contract-end", export=export(region="us")))
bad("return-no-agreement", "a return_and_erase of a category that was never agreed on", "OUTSIDE_AGREEMENT", "Name what was entrusted, or [\"*\"].",
    signed("return-no-agreement", act="return_and_erase", sub_id=..., subject=[], basis="contract-end", categories=["media"]))
