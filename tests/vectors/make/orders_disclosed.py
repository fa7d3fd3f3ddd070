"""What is wrong with the disclosures."""

import json

from forms import (
    APP, CONTROLLER, EVIDENCE, SUBJECT, claims, compact, device, element, export, member, salt, text_of, user,
    with_private,
)
from orders import bad, disclosed, private, signed, third_party, together
from published import b64, digest

# -- disclosures ---------------------------------------------------------------------------------------

text = signed("withheld")
rest = text.split("~")[1:-1]
bad("withheld", "one of two disclosures is withheld", "DISCLOSURE_MISSING",
    "Send every disclosure, each time: a withheld one would change the order.", text.replace(rest[1] + "~", ""))
bad("all-withheld", "the signed part alone", "DISCLOSURE_MISSING", "Send every disclosure, each time.", signed("all-withheld").split("~")[0] + "~")
general_withheld = together("general-withheld", ["ed", "p256"])
del general_withheld["signatures"][0]["header"]
bad("general-withheld", "General JSON without disclosures", "DISCLOSURE_MISSING",
    "Put header.disclosures into the first signature.", general_withheld)
bad("decoy", "a digest without a disclosure among the identifiers", "DISCLOSURE_MISSING",
    "Add no decoy digests: every digest has its disclosure.",
    signed("decoy", subject=[], sub_id={"format": "aliases", "identifiers": [{"...": digest("decoy")}]}))
third = third_party("private-withheld")
bad("private-withheld", "the private member's disclosure is withheld", "DISCLOSURE_MISSING",
    "Send every disclosure, each time: also those of private.", "~".join(third.split("~")[:-2]) + "~")
bad("private-decoy", "a digest without a disclosure under private", "DISCLOSURE_MISSING", "Add no decoy digests: every digest has its disclosure.",
    private("private-decoy", text="t", to="user@example.com",
            change=lambda p: p | {"private": {"_sd": [*p["private"]["_sd"], digest("decoy")]}}))
text = signed("repeated")
bad("repeated", "a disclosure stands twice", "DISCLOSURE_REPEATED", "Send each disclosure once.", text + text.split("~")[1] + "~")
payload, disclosures = claims("digest-twice")
payload["sub_id"]["identifiers"] *= 2
bad("digest-twice", "a digest stands twice", "DISCLOSURE_REPEATED", "Give every identifier a salt and a digest of its own.", compact("ed", payload, disclosures))
bad("alien", "a disclosure of another instruction", "DISCLOSURE_ALIEN", "Send only the disclosures of this payload.",
    signed("alien") + signed("other").split("~")[1] + "~")
text = signed("swapped")
bad("swapped", "a disclosure was replaced by one that names somebody else", "DISCLOSURE_ALIEN",
    "Send the disclosures exactly as they were when their digests were signed.",
    text.replace(text.split("~")[1], element("swapped/0", user("somebody-else"))))
bad("written-anew", "a disclosure was decoded and encoded again with white space", "DISCLOSURE_ALIEN",
    "Keep the text of each disclosure; its digest is over that text.",
    text.replace(text.split("~")[1], b64(json.dumps([salt("swapped/0"), SUBJECT[0]]))))
bad("top-level-digest", "digests at the top level of the payload", "DISCLOSURE_ALIEN",
    "Disclose nothing but identifiers and the act's private members.", signed("top-level-digest", _sd=[digest("x")]))
bad("sub-id-digest", "the whole of sub_id's members as digests", "DISCLOSURE_ALIEN",
    "Disclose each identifier as an array element: identifiers: [{\"...\": digest}].",
    signed("sub-id-digest", subject=[], sub_id={"format": "aliases", "_sd": [digest("x")]}))
bad("named-identifier", "an identifier disclosed with a name", "DISCLOSURE_ALIEN",
    "Disclose identifiers as [salt, value], without a name.",
    disclosed("named-identifier", text_of([salt("n"), "id", device("x")])))
payload, disclosures = claims("private-element", "export", export=export())
loose = element("private-element/account", "acc-1")
bad("private-element", "a private member disclosed without its name", "DISCLOSURE_ALIEN", "Disclose private members as [salt, name, value].",
    compact("p384", payload | {"private": {"_sd": [digest(loose)]}}, [*disclosures, loose]))
bad("nested-deeper", "a disclosure that holds a digest deep inside", "DISCLOSURE_NESTED", "Make flat disclosures.",
    disclosed("nested-deeper", text_of([salt("n"), {"format": "opaque", "id": [{"...": digest("x")}]}])))
bad("nested-sd", "a disclosure that holds digests of its own", "DISCLOSURE_NESTED", "Make flat disclosures.",
    disclosed("nested-sd", text_of([salt("n"), {"format": "opaque", "_sd": [digest("x")]}])))
bad("nested-element", "a disclosure that is a digest", "DISCLOSURE_NESTED", "Make flat disclosures.",
    disclosed("nested-element", text_of([salt("n"), {"...": digest("x")}])))
for name, what, array in [
    ("disclosure-object", "a disclosure that is an object", {"salt": salt("n")}),
    ("disclosure-salt-alone", "a disclosure of a salt alone", [salt("n")]),
    ("disclosure-of-four", "a disclosure of four values", [salt("n"), "a", "b", "c"]),
    ("disclosure-salt-number", "a salt that is a number", [7, device("x")]),
    ("disclosure-reserved-name", "a disclosure whose name is _sd", [salt("n"), "_sd", []]),
    ("disclosure-fraction", "a disclosure with a fraction", [salt("n"), 1.5]),
]:
    bad(name, what, "DISCLOSURE_MALFORMED", "Make each disclosure [salt, value] or [salt, name, value] (RFC 9901 section 4.2).",
        disclosed(name, text_of(array)))
bad("disclosure-no-json", "a disclosure that is no JSON", "DISCLOSURE_MALFORMED",
    "Encode the disclosure's JSON array as base64url.", disclosed("disclosure-no-json", "no json"))
bad("disclosure-member-twice", "a member stands twice in a disclosure", "MEMBER_DUPLICATE", "Send each member once, at every depth.",
    disclosed("disclosure-member-twice", f'["{salt("n")}",{{"format":"opaque","id":"a","id":"b"}}]'))
bad("weak-salt", "a salt of 64 bits", "SALT_WEAK", "Take 16 random bytes for each salt.", disclosed("weak-salt", text_of(["AAECAwQFBgc", device("x")])))
bad("plain-salt", "a salt that is no base64url", "SALT_WEAK", "Encode the salt's 16 random bytes as base64url.",
    disclosed("plain-salt", text_of(["this is a salt of many letters!", device("x")])))
bad("equal-salts", "two equal salts", "SALT_WEAK", "Take fresh random bytes for each disclosure.",
    disclosed("equal-salts", text_of([salt("n"), device("a")]), text_of([salt("n"), device("b")])))
for name, what, value in [
    ("identifier-text", "an identifier that is a plain string", "u_1"),
    ("identifier-format", "a format that is not accepted", {"format": "account", "uri": "acct:x@y.example"}),
    ("identifier-member", "an identifier with one member more", device("x") | {"note": "y"}),
    ("identifier-long", "an identifier of over 512 bytes", device("x" * 513)),
    ("identifier-empty", "an empty identifier", device("")),
    ("identifier-control", "a control character in an identifier", device("a\u0000b")),
    ("identifier-no-sub", "iss_sub without sub", {"format": "iss_sub", "iss": APP}),
    ("email-no-address", "an e-mail identifier that is no address", {"format": "email", "email": "nobody"}),
    ("phone-local", "a telephone number without its country", {"format": "phone_number", "phone_number": "13800000000"}),
    ("aliases-in-aliases", "aliases inside aliases", {"format": "aliases", "identifiers": []}),
]:
    bad(name, what, "MEMBER_INVALID",
        "Write the identifier as RFC 9493 says: iss_sub, email, phone_number (E.164) or opaque, with exactly its members.",
        signed(name, subject=[value]))
bad("same-identifier-twice", "the same identifier under two salts", "MEMBER_INVALID", "Name each identifier once.",
    signed("same-identifier-twice", subject=[device("x"), device("x")]))
bad("other-apps-user", "a user id of another app", "SUBJECT_MISMATCH", "Let iss of iss_sub equal app: one subject in one app.",
    signed("other-apps-user", subject=[user("u_1", "apps/other")]))
bad("private-name", "a private member of another act", "MEMBER_UNKNOWN", "Disclose the private members of this act alone.",
    private("private-name", text="t", to="user@example.com", account="x"))
bad("two-users", "two user ids in one instruction", "SUBJECT_MISMATCH", "Order one subject per instruction; send many in one batch call.",
    signed("two-users", subject=[user("u_1"), user("u_2")]))
bad("user-of-the-controller", "a user id whose iss is the controller", "SUBJECT_MISMATCH", "Let iss of iss_sub equal app: apps/<id>.",
    signed("user-of-the-controller", subject=[user("u_1", CONTROLLER)]))
bad("private-twice", "a private member twice, under two salts", "MEMBER_DUPLICATE", "Disclose each private member once.",
    private("private-twice", text="t", to="user@example.com", change=lambda p: p | {
        "private": {"_sd": [*p["private"]["_sd"], digest(member("private-twice/again", "text", "u"))]}})
    + member("private-twice/again", "text", "u") + "~")
for name, what, values in [
    ("reply-empty", "a reply without text", {"text": "", "to": "user@example.com"}),
    ("reply-long", "a reply of over 16 KiB", {"text": "x" * 16385, "to": "user@example.com"}),
]:
    bad(name, what, "MEMBER_INVALID", "Let text have 1 to 16384 bytes.", private(name, **values))
for name, what, fields in [
    ("rectify-nothing", "a rectify of no field", {}),
    ("rectify-nested", "a rectify whose new value is an object", {"address": {"city": "x"}}),
]:
    bad(name, what, "MEMBER_INVALID", "Let set name 1 to 32 fields, each with a string, an integer, a boolean or null.",
        private(name, "rectify", set=fields))
bad("account-number", "an account that is a number", "MEMBER_INVALID", "Send account as a string.",
    compact("p384", *with_private("account-number", *claims("account-number", "export", basis="pipl-13-1", export=export(evidence=EVIDENCE)), account=7)))
for name, what, change in [
    ("private-empty", "private without a digest", {"_sd": []}),
    ("private-no-digest", "a digest of another length under private", {"_sd": ["x"]}),
]:
    bad(name, what, "MEMBER_INVALID", "Let private._sd hold the digests of the act's private members, or leave private out.",
        signed(name, "p384", "export", export=export(), private=change))
