"""What is wrong with an instruction before its payload is read: size, shape, header, algorithm, key, signature."""

import json

from forms import (
    ACCESS, APPROVAL, KEY_SET, WITHDRAWAL, claims, compact, detached, device, general, header, signature, text_of,
)
from orders import bad, signed, signed_text, together
from published import KEYS, b64, unb64

# -- size, shape ---------------------------------------------------------------------------------------

bad("payload-too-large", "a payload over 8 KiB", "INSTRUCTION_TOO_LARGE",
    "Keep the payload within 8192 bytes: leave out white space, or split the order into several instructions.",
    signed_text("payload-too-large", lambda text: text + " " * 8192))
bad("whole-too-large", "over 64 KiB with its disclosures", "INSTRUCTION_TOO_LARGE",
    "Keep the whole message within 65536 bytes: disclose identifiers alone and nothing at length.",
    signed("whole-too-large", subject=[device("x" * 50000)]))
bad("no-tilde", "the closing ~ is missing", "INSTRUCTION_MALFORMED",
    "End the compact form with a ~ after the last disclosure (RFC 9901 section 4).", signed("no-tilde").rstrip("~"))
bad("key-binding", "a key binding JWT after the last ~", "INSTRUCTION_MALFORMED",
    "Send the SD-JWT without key binding: it ends with ~.", signed("key-binding") + "e30.e30.AA")
bad("two-segments", "a JWS without a signature segment", "INSTRUCTION_MALFORMED",
    "Send header, payload and signature, joined by two dots.",
    ".".join(signed("two-segments").split("~")[0].split(".")[:2]) + "~")
bad("not-ascii", "a letter that is not ASCII", "INSTRUCTION_MALFORMED",
    "Send the ASCII text that your SD-JWT library gave, unchanged.", signed("not-ascii").replace(".", "。", 1))
bad("empty", "nothing at all", "INSTRUCTION_MALFORMED", "Send the instruction in the request's `instruction` field.", "")
one = general(["ed"], *claims("flattened"))
bad("flattened", "flattened JSON, as some libraries make of a single signature", "INSTRUCTION_MALFORMED",
    "Send one signature in compact form, or put `protected` and `signature` into a `signatures` array.",
    {"payload": one["payload"], **one["signatures"][0]})
bad("general-member", "General JSON with a member beside payload and signatures", "INSTRUCTION_MALFORMED",
    "Send exactly `payload` and `signatures`.", together("general-member", ["ed", "p256"]) | {"version": 1})
bad("no-signatures", "General JSON with an empty array of signatures", "INSTRUCTION_MALFORMED",
    "Put one entry for each signer into `signatures`.", together("no-signatures", ["ed"]) | {"signatures": []})
bad("seventeen-signatures", "more than 16 signatures", "INSTRUCTION_MALFORMED",
    "Send at most 16 signatures; as many as the threshold asks for are enough.",
    together("seventeen-signatures", ["ed", "p256"] * 8 + ["ed"]))
late = together("disclosures-in-the-second", ["ed", "p256"])
late["signatures"][1]["header"] = late["signatures"][0].pop("header")
bad("disclosures-in-the-second", "the disclosures stand in the second signature's header", "INSTRUCTION_MALFORMED",
    "Put `header.disclosures` into the first signature (RFC 9901 section 8).", late)
more = together("unprotected-member", ["ed", "p256"])
more["signatures"][0]["header"]["kid"] = KEYS["ed"].kid
bad("unprotected-member", "the unprotected header says more than disclosures", "INSTRUCTION_MALFORMED",
    "Leave everything but `disclosures` out of the unprotected header: it is not signed.", more)
bad("payload-no-object", "the payload is a JSON array", "INSTRUCTION_MALFORMED",
    "Sign one JSON object.", compact("ed", "[]", []))
bad("payload-no-json", "the payload is no JSON", "INSTRUCTION_MALFORMED",
    "Sign one JSON object.", signed_text("payload-no-json", lambda text: text[:-1]))
bad("payload-twice", "something stands after the payload's object", "INSTRUCTION_MALFORMED",
    "Sign one JSON object and nothing after it.", signed_text("payload-twice", lambda text: text + "{}"))

bound = together("general-key-binding", ["ed", "p256"])
bound["signatures"][0]["header"]["kb_jwt"] = "e30.e30.AA"
bad("general-key-binding", "General JSON with a key binding JWT", "INSTRUCTION_MALFORMED",
    "Leave kb_jwt out: the unprotected header is exactly disclosures.", bound)

# -- encoding ------------------------------------------------------------------------------------------

bad("padded-disclosure", "a disclosure with = at its end", "ENCODING_NOT_CANONICAL",
    "Encode base64url without padding (RFC 7515 section 2).", signed("padded-disclosure")[:-1] + "=~")
first, second, third = signed("standard-alphabet").split("~")[0].split(".")
bad("padded-signature", "a signature with = at its end", "ENCODING_NOT_CANONICAL",
    "Encode base64url without padding (RFC 7515 section 2).", f"{first}.{second}.{third}==~")
bad("standard-alphabet", "+ and / in place of - and _", "ENCODING_NOT_CANONICAL",
    "Use the URL-safe alphabet of base64 (RFC 4648 section 5).",
    f"{first}.{second}.{'+/' + third[2:]}~")
bad("stray-bits", "the last character of the signature carries bits that mean nothing", "ENCODING_NOT_CANONICAL",
    "Send what your encoder gives: the unused bits of the last character are zero.",
    f"{first}.{second}.{third[:-1] + {'A': 'B', 'Q': 'R', 'g': 'h', 'w': 'x'}[third[-1]]}~")
bad("line-break", "a line break inside a segment", "ENCODING_NOT_CANONICAL",
    "Encode without line breaks.", f"{first}.{second[:64]}\n{second[64:]}.{third}~")

bad("padded-header", "a header with = at its end", "ENCODING_NOT_CANONICAL", "Encode base64url without padding (RFC 7515 section 2).",
    f"{first}=.{second}.{third}~")
bad("padded-payload", "a payload with = at its end", "ENCODING_NOT_CANONICAL", "Encode base64url without padding (RFC 7515 section 2).",
    f"{first}.{second}=.{third}~")

# -- header --------------------------------------------------------------------------------------------

HEADERS = {
    "typ-jwt": ("typ is JWT", {"typ": "JWT"}, "Set typ to instruction+sd-jwt."),
    "typ-sd-jwt": ("typ is that of another SD-JWT", {"typ": "dc+sd-jwt"}, "Set typ to instruction+sd-jwt."),
    "typ-key-set": ("typ is a key set's", {"typ": KEY_SET}, "Set typ to instruction+sd-jwt; a root key signs key sets."),
    "typ-access-token": ("typ is an access token's", {"typ": ACCESS}, "Set typ to instruction+sd-jwt."),
    "typ-approval": ("an approval alone, shown as an instruction", {"typ": APPROVAL}, "Set typ to instruction+sd-jwt; an approval adds to one."),
    "typ-withdrawal": ("typ is a withdrawal's", {"typ": WITHDRAWAL}, "Set typ to instruction+sd-jwt."),
    "typ-media-type": ("typ with application/ before it", {"typ": "application/instruction+sd-jwt"}, "Set typ to instruction+sd-jwt, without application/."),
    "typ-missing": ("no typ", {"typ": ...}, "Set typ to instruction+sd-jwt."),
    "alg-missing": ("no alg", {"alg": ...}, "Set alg to the key's algorithm."),
    "kid-missing": ("no kid", {"kid": ...}, "Set kid to the RFC 7638 thumbprint of the key."),
    "kid-name": ("kid is a name of your own", {"kid": "key-1"}, "Set kid to the RFC 7638 thumbprint of the key."),
    "kid-uri": ("kid is a thumbprint URI (RFC 9278)", {"kid": f"urn:ietf:params:oauth:jwk-thumbprint:sha-256:{KEYS['ed'].kid}"},
                "Set kid to the bare thumbprint, base64url."),
    "kid-hex": ("kid is the thumbprint in hex", {"kid": unb64(KEYS["ed"].kid).hex()}, "Write the thumbprint as base64url, not in hex."),
    "alg-number": ("alg is the number COSE gives it", {"alg": -8}, "Set alg to its name in JOSE: EdDSA."),
    "crit": ("a critical extension", {"crit": ["b64"], "b64": True}, "Send exactly typ, alg and kid."),
    "unencoded": ("b64 is false (RFC 7797)", {"crit": ["b64"], "b64": False}, "Sign the base64url payload; send exactly typ, alg and kid."),
    "jwk": ("a key in the header", {"jwk": KEYS["ed"].public}, "Leave the key out: kid alone names it, and the key set holds it."),
    "jku": ("an address of keys", {"jku": "https://xingyu.example/keys"}, "Leave jku out: only keys of the key set count."),
    "x5c": ("a certificate in the header", {"x5c": ["AA=="]}, "Leave x5c out: only keys of the key set count."),
    "cty": ("a content type", {"cty": "json"}, "Send exactly typ, alg and kid."),
}
for name, (what, change, advice) in HEADERS.items():
    protected = {key: value for key, value in (header("ed") | change).items() if value is not ...}
    bad(name, what, "HEADER_INVALID", advice, signed(name, protected=protected))
bad("header-member-twice", "alg stands twice in the header", "HEADER_INVALID", "Send each header member once.",
    signed("header-member-twice", protected=text_of(header("ed")).replace('"alg"', '"alg":"none","alg"')))
bad("header-no-json", "the header is no JSON", "HEADER_INVALID", "Send exactly typ, alg and kid, as one JSON object.",
    signed("header-no-json", protected="typ=instruction"))

alone = together("approvals-alone", ["ed"])
alone["signatures"][0] |= dict(zip(["protected", "signature"], detached("ed", text_of(alone)).split("..")))
bad("approvals-alone", "General JSON that holds approvals and no signature of an instruction", "HEADER_INVALID",
    "Have one signer sign with typ instruction+sd-jwt; an approval adds to that.", alone)

# -- algorithm -----------------------------------------------------------------------------------------

payload, disclosures = claims("alg-none")
unsigned = [b64(text_of(header("ed") | {"alg": "none"})), b64(text_of(payload)), ""]
bad("alg-none", "alg none, no signature", "ALGORITHM_NOT_ALLOWED",
    "Sign with a key of the key set and name its algorithm.", "~".join([".".join(unsigned), *disclosures]) + "~")
bad("hs256", "HS256: a MAC whose secret would be the public key", "ALGORITHM_NOT_ALLOWED",
    "Sign with the private key: EdDSA, ES256, ES384 or PS256.", signed("hs256", protected=header("ed") | {"alg": "HS256"}))
for name, key, alg, how in [("rs256", "rsa", "RS256", "sign_pkcs1"), ("ps384", "rsa", "PS384", "sign"),
                            ("es512", "p256", "ES512", "sign"), ("es256k", "p256", "ES256K", "sign")]:
    bad(name, f"alg {alg}", "ALGORITHM_NOT_ALLOWED", "Use EdDSA, ES256, ES384 or PS256, whichever fits your key.",
        signed(name, key, protected=header(key) | {"alg": alg}, how=how))
bad("alg-in-small-letters", "alg eddsa", "ALGORITHM_NOT_ALLOWED", "Write alg as it is registered: EdDSA.",
    signed("alg-in-small-letters", protected=header("ed") | {"alg": "eddsa"}))
bad("es256-of-p384", "alg ES256 with a P-384 key", "ALGORITHM_NOT_ALLOWED", "Name ES384 for a P-384 key: each key has exactly one algorithm.",
    signed("es256-of-p384", "p384", protected=header("p384") | {"alg": "ES256"}))
bad("alg-of-another-key", "alg ES256 with an Ed25519 key", "ALGORITHM_NOT_ALLOWED",
    "Name the algorithm of the key that kid names: each key has exactly one.",
    signed("alg-of-another-key", protected=header("ed") | {"alg": "ES256"}))

# -- keys and signatures -------------------------------------------------------------------------------

bad("stranger", "a key that is not in the key set", "KEY_UNKNOWN",
    "Sign with a key that the newest key set lists with use instruction.", signed("stranger", "stranger"))
bad("root-key", "a root key: it signs key sets only", "KEY_UNKNOWN",
    "Sign with an instruction key; keep the root key for key sets.", signed("root-key", "root"))
bad("access-key", "the key that signs access tokens", "KEY_UNKNOWN",
    "Sign with an instruction key: one key has one use, for ever.", signed("access-key", "access"))
bad("kid-of-another-key", "kid names another key than the one that signed", "SIGNATURE_INVALID",
    "Set kid to the thumbprint of the very key that signs.", signed("kid-of-another-key", "ed", protected=header("ed-2")))
payload, disclosures = claims("tampered")
first, _, third = signature("ed", payload)
bad("tampered", "act was changed after signing", "SIGNATURE_INVALID", "Sign the exact bytes you send.",
    "~".join([".".join([first, b64(text_of(payload | {"act": "erase"})), third]), *disclosures]) + "~")
first, second, third = signature("ed", payload)
bad("encoded-again", "the payload was written anew after signing: same members, other bytes", "SIGNATURE_INVALID",
    "Keep the payload segment that was signed and send it as it is.",
    "~".join([".".join([first, b64(json.dumps(payload)), third]), *disclosures]) + "~")
bad("bytes-not-segments", "the signature is over the payload's JSON, not over <protected>.<payload>", "SIGNATURE_INVALID",
    "Sign the ASCII text <protected>.<payload> of the two base64url segments (RFC 7515 section 5.1).",
    "~".join([".".join([first, second, b64(KEYS["ed"].sign(text_of(payload).encode()))]), *disclosures]) + "~")
bad("der", "an ECDSA signature in ASN.1 DER, as OpenSSL and many an HSM give it", "SIGNATURE_INVALID",
    "Turn the DER signature into r || s, each 32 bytes for P-256 and 48 for P-384 (RFC 7518 section 3.4).",
    signed("der", "p256", how="sign_der"))
bad("pkcs1", "RSA with PKCS #1 v1.5 padding under alg PS256", "SIGNATURE_INVALID",
    "Use RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.", signed("pkcs1", "rsa", how="sign_pkcs1"))
bad("short-salt", "PS256 with a salt of 20 bytes", "SIGNATURE_INVALID",
    "Set the salt length of PSS to that of the hash, 32 bytes.", signed("short-salt", "rsa", how="sign_short_salt"))
bad("no-signature", "an empty signature", "SIGNATURE_INVALID", "Send the signature.",
    "~".join([f"{first}.{second}.", *disclosures]) + "~")
bad("half-a-signature", "half a signature", "SIGNATURE_INVALID", "Send the whole signature.",
    "~".join([f"{first}.{second}.{b64(KEYS['ed'].sign(f'{first}.{second}'.encode())[:32])}", *disclosures]) + "~")
spoilt = together("one-of-two-spoilt", ["ed", "p256"])
spoilt["signatures"][1]["signature"] = together("another", ["ed", "p256"])["signatures"][1]["signature"]
bad("one-of-two-spoilt", "a good signature, and one of another instruction", "SIGNATURE_INVALID",
    "Have every signer sign the same payload segment; leave out signatures of anything else.", spoilt)
bad("verified-first", "a signature that does not verify, over a payload that is wrong besides", "SIGNATURE_INVALID",
    "Sign the exact bytes you send; what the payload says is read after its signatures verify.",
    signed("verified-first", "ed", protected=header("ed-2"), note="x"))
