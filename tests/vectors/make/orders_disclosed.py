"""What is wrong with the disclosures."""

import json

from forms import APP, SUBJECT, claims, compact, device, element, salt, text_of, user
from orders import bad, disclosed, private, signed, together
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
bad("nested-sd", "a disclosure that holds digests of its own", "DISCLOSURE_NESTED", "Make flat disclosures.",
    disclosed("nested-sd", text_of([salt("n"), {"format": "opaque", "_sd": [digest("x")]}])))
bad("nested-element", "a disclosure that is a digest", "DISCLOSURE_NESTED", "Make flat disclosures.",
    disclosed("nested-element", text_of([salt("n"), {"...": digest("x")}])))
for name, what, array in [
    ("disclosure-object", "a disclosure that is an object", {"salt": salt("n")}),
    ("disclosure-salt-alone", "a disclosure of a salt alone", [salt("n")]),
    ("disclosure-of-four", "a disclosure of four values", [salt("n"), "a", "b", "c"]),
    ("disclosure-salt-number", "a salt that is a number", [7, device("x")]),
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
