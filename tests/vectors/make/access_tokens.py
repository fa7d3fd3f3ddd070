"""Access tokens, good and bad. The input is the value of the `authorization` metadata."""

from typing import Any

from collector import Cases
from forms import ACCESS, INSTRUCTION, KEY_SET, NOW, SPIFFE, header, signature, text_of, token, token_claims
from published import KEYS, b64

cases = Cases("access-token")


def bearer(label: str, name: str = "access", protected: Any = None, how: str = "sign", **changes: Any) -> str:
    return "Bearer " + token(name, token_claims(label, **changes), protected, how)


def good(name: str, what: str, value: str) -> None:
    cases.good(name, what, value)


def bad(name: str, what: str, reason: str, change: str, value: str, **more: Any) -> None:
    cases.bad(name, what, reason, change, value, **more)


good("token", "a token of 300 seconds", bearer("token"))
good("scheme-in-small-letters", "bearer in small letters (RFC 9110 section 11.1)",
     bearer("scheme-in-small-letters").replace("Bearer", "bearer"))
good("more-claims", "a claim the gateway does not know means nothing", bearer("more-claims", tenant="x"))
good("client-id", "client_id equal to iss", bearer("client-id", client_id="controllers/xingyu"))
good("a-little-late", "ended 30 seconds ago: within the leeway",
     bearer("a-little-late", iat=NOW - 330, exp=NOW - 30))
good("a-little-early", "issued 30 seconds ahead: within the leeway",
     bearer("a-little-early", iat=NOW + 30, exp=NOW + 330))

CALL = "InstructionService/SubmitInstruction"
cases.good("for-a-call", "its scopes hold the call's", bearer("for-a-call"), call=CALL)
bad("scope-of-another-call", "its scopes lack the call's", "SCOPE_MISSING",
    "Put the call's scope into scope: docs/access.txt names it for each call.", bearer("scope-of-another-call", scope="requests.read"), call=CALL)
bad("scope-in-one-word", "scopes joined by a comma", "SCOPE_MISSING",
    "Write scopes with one space between them (RFC 6749 section 3.3).",
    bearer("scope-in-one-word", scope="requests.read,instructions.submit"), call=CALL)
bad("not-for-controllers", "a call that controllers may not make", "KIND_NOT_ALLOWED",
    "Leave it to whom docs/access.txt names.", bearer("not-for-controllers", scope="registry.write"), call="RegistryService/CreateApp")

bad("nothing", "no token", "TOKEN_MISSING", "Send the metadata authorization: Bearer <token>.", "")
bad("basic", "another scheme", "TOKEN_MISSING", "Send the metadata authorization: Bearer <token>.", "Basic eDp5")
bad("two-parts", "a token of two parts", "TOKEN_MALFORMED", "Send header, claims and signature, joined by dots.",
    bearer("two-parts").rsplit(".", 1)[0])
bad("padded", "= at the end of the signature", "TOKEN_MALFORMED", "Encode base64url without padding.",
    bearer("padded") + "==")
bad("too-long", "a token of over 8192 bytes", "TOKEN_MALFORMED", "Keep the token within 8192 bytes.",
    bearer("too-long", note="x" * 8192))
for claim in ("iss", "sub", "aud", "iat", "exp", "jti", "scope"):
    bad(f"no-{claim}", f"{claim} is missing", "TOKEN_MALFORMED", f"Add {claim}.", bearer(f"no-{claim}", **{claim: ...}))
bad("claim-twice", "scope stands twice", "TOKEN_MALFORMED", "Send each claim once.",
    "Bearer " + token("access", text_of(token_claims("claim-twice")).replace('"scope":', '"scope":"x","scope":')))
bad("empty-jti", "jti is empty", "TOKEN_MALFORMED", "Give each token a jti of 1 to 128 bytes.", bearer("empty-jti", jti=""))
bad("long-jti", "a jti of 129 bytes", "TOKEN_MALFORMED", "Give each token a jti of 1 to 128 bytes.", bearer("long-jti", jti="x" * 129))
bad("seconds-as-text", "exp is a string", "TOKEN_MALFORMED", "Send seconds since 1970 as an integer.", bearer("seconds-as-text", exp=str(NOW + 300)))
bad("fraction", "seconds with a fraction", "TOKEN_MALFORMED", "Send whole seconds.", bearer("fraction", iat=NOW + 0.5))
bad("scope-list", "scope is an array", "TOKEN_MALFORMED", "Send scope as one string, with one space between scopes.",
    bearer("scope-list", scope=["requests.read", "instructions.submit"]))
bad("json-form", "the token as JSON", "TOKEN_MALFORMED", "Send the compact form: header, claims and signature, joined by dots.",
    "Bearer " + text_of({"payload": b64(text_of(token_claims("json-form"))), "protected": b64(text_of(header("access", ACCESS))), "signature": "AA"}))
bad("claims-no-object", "the claims are an array", "TOKEN_MALFORMED", "Sign one JSON object of claims.", "Bearer " + token("access", "[]"))
bad("audience-list", "aud is an array", "TOKEN_MALFORMED", "Send aud as one string.",
    bearer("audience-list", aud=["mandate.ppio.example"]))
bad("two-spaces", "two spaces between scopes", "TOKEN_MALFORMED", "Put one space between scopes.",
    bearer("two-spaces", scope="requests.read  instructions.submit"))
bad("header-member", "a header member more", "TOKEN_MALFORMED", "Send exactly typ, alg and kid.",
    bearer("header-member", protected=header("access", ACCESS) | {"jku": "https://xingyu.example/keys"}))
bad("no-kid", "the header has no kid", "TOKEN_MALFORMED", "Set kid to the RFC 7638 thumbprint of the access key.",
    bearer("no-kid", protected={"typ": ACCESS, "alg": "EdDSA"}))
for name, typ in [("typ-jwt", "JWT"), ("typ-instruction", INSTRUCTION), ("typ-key-set", KEY_SET), ("typ-media-type", "application/at+jwt")]:
    bad(name, f"typ is {typ}", "TOKEN_TYPE", "Set typ to at+jwt (RFC 9068 section 2.1).",
        bearer(name, protected=header("access", typ)))
bad("no-typ", "no typ", "TOKEN_TYPE", "Set typ to at+jwt (RFC 9068 section 2.1).",
    bearer("no-typ", protected={"alg": "EdDSA", "kid": KEYS["access"].kid}))
first = b64(text_of(header("access", ACCESS) | {"alg": "none"}))
bad("alg-none", "alg none, no signature", "TOKEN_ALGORITHM", "Sign with the registered access key and its own algorithm.",
    f"Bearer {first}.{b64(text_of(token_claims('alg-none')))}.")
bad("no-alg", "no alg", "TOKEN_ALGORITHM", "Set alg to the registered key's own algorithm.",
    bearer("no-alg", protected={"typ": ACCESS, "kid": KEYS["access"].kid}))
for name, alg in [("hs256", "HS256"), ("rs256", "RS256"), ("es256-with-ed25519", "ES256")]:
    bad(name, f"alg {alg} with an Ed25519 key", "TOKEN_ALGORITHM", "Sign with the registered access key and its own algorithm.",
        bearer(name, protected=header("access", ACCESS) | {"alg": alg}))
bad("stranger", "a key that is not registered", "TOKEN_KEY_UNKNOWN", "Have the access key registered, and set kid to its thumbprint.",
    bearer("stranger", "stranger"))
bad("instruction-key", "an instruction key", "TOKEN_KEY_UNKNOWN", "Sign tokens with the access key: one key has one use.",
    bearer("instruction-key", "ed"))
bad("root-key", "a root key", "TOKEN_KEY_UNKNOWN", "Sign tokens with the access key: one key has one use.", bearer("root-key", "root"))
bad("kid-uri", "kid is a thumbprint URI (RFC 9278)", "TOKEN_KEY_UNKNOWN", "Set kid to the bare thumbprint, base64url.", bearer(
    "kid-uri", protected=header("access", ACCESS) | {"kid": f"urn:ietf:params:oauth:jwk-thumbprint:sha-256:{KEYS['access'].kid}"}))
bad("kid-name", "kid is a name of your own", "TOKEN_KEY_UNKNOWN", "Set kid to the RFC 7638 thumbprint of the access key.",
    bearer("kid-name", protected=header("access", ACCESS) | {"kid": "key-1"}))
one, _, three = signature("access", token_claims("tampered"), header("access", ACCESS))
bad("tampered", "scope was changed after signing", "TOKEN_SIGNATURE", "Sign the exact bytes you send.",
    f"Bearer {one}.{b64(text_of(token_claims('tampered', scope='trail.read')))}.{three}")
bad("no-signature", "an empty signature", "TOKEN_SIGNATURE", "Send the signature.",
    bearer("no-signature").rsplit(".", 1)[0] + ".")
bad("signed-by-another", "kid names the access key, another key signed", "TOKEN_SIGNATURE", "Sign with the key that kid names.",
    bearer("signed-by-another", "ed", protected=header("access", ACCESS)))
bad("issuer", "iss is another's name", "TOKEN_ISSUER", "Set iss to your resource name, as controllers/<id>.", bearer("issuer", iss="controllers/other"))
bad("issuer-spiffe", "iss is the SPIFFE URI", "TOKEN_ISSUER", "Set iss to your resource name, as controllers/<id>; the SPIFFE URI is sub.",
    bearer("issuer-spiffe", iss=SPIFFE))
bad("client-id-other", "client_id is not iss", "TOKEN_ISSUER", "Let client_id equal iss, or leave it out.",
    bearer("client-id-other", client_id="backend"))
bad("subject-name", "sub is no SPIFFE id", "TOKEN_SUBJECT", "Set sub to the SPIFFE URI of your client certificate.", bearer("subject-name", sub="backend"))
bad("subject-resource", "sub is the resource name", "TOKEN_SUBJECT", "Set sub to the SPIFFE URI of your client certificate.",
    bearer("subject-resource", sub="controllers/xingyu"))
bad("subject-kind", "sub is an id of another kind", "PRINCIPAL_MISMATCH", "Set sub to the SPIFFE URI of the certificate you connect with.",
    bearer("subject-kind", sub="spiffe://ppio.example/agent/xingyu/backend"))
bad("subject-domain", "sub is of another trust domain", "PRINCIPAL_MISMATCH", "Set sub to the SPIFFE URI of the certificate you connect with.",
    bearer("subject-domain", sub="spiffe://other.example/controller/xingyu/backend"))
bad("subject-workload", "sub is another workload's id than the certificate's", "PRINCIPAL_MISMATCH",
    "Set sub to the SPIFFE URI of the certificate you connect with.",
    bearer("subject-workload", sub="spiffe://ppio.example/controller/xingyu/other"))
bad("subject-other", "sub is another controller's id", "PRINCIPAL_MISMATCH",
    "Set sub to the SPIFFE URI of the certificate you connect with.",
    bearer("subject-other", sub="spiffe://ppio.example/controller/other/backend"))
bad("audience", "aud is another gateway", "TOKEN_AUDIENCE", "Set aud to the gateway's name.", bearer("audience", aud="other.example"))
bad("trail-as-audience", "aud is the trail's origin, as in an instruction", "TOKEN_AUDIENCE", "Set aud to the gateway's name.",
    bearer("trail-as-audience", aud="mandate.ppio.example/trail"))
bad("lives-too-long", "a life of 301 seconds", "TOKEN_LIFETIME", "Let exp - iat be at most 300.", bearer("lives-too-long", exp=NOW + 301))
bad("lives-no-second", "exp equal to iat", "TOKEN_LIFETIME", "Let exp be after iat.", bearer("lives-no-second", exp=NOW))
bad("milliseconds", "milliseconds in place of seconds", "TOKEN_LIFETIME", "Send seconds since 1970, not milliseconds.",
    bearer("milliseconds", iat=NOW * 1000, exp=(NOW + 300) * 1000))
bad("backwards", "exp before iat", "TOKEN_LIFETIME", "Let exp be after iat.", bearer("backwards", exp=NOW - 1))
bad("expired", "ended 31 seconds ago", "TOKEN_EXPIRED", "Make a new token, and set your clock by NTP.",
    bearer("expired", iat=NOW - 331, exp=NOW - 31))
bad("issued-ahead", "issued 31 seconds ahead", "TOKEN_NOT_YET_VALID", "Set your clock by NTP; 30 seconds ahead are forgiven.",
    bearer("issued-ahead", iat=NOW + 31, exp=NOW + 331))
bad("nbf-ahead", "before its nbf", "TOKEN_NOT_YET_VALID", "Leave nbf out, or send the token when it has come.", bearer("nbf-ahead", nbf=NOW + 31))
bad("not-bound", "no cnf", "TOKEN_BINDING", "Set cnf.x5t#S256 to the thumbprint of the certificate you connect with (RFC 8705).",
    bearer("not-bound", cnf=...))
bad("bound-to-another", "bound to another certificate", "TOKEN_BINDING",
    "Set cnf.x5t#S256 to the thumbprint of the certificate you connect with (RFC 8705).",
    bearer("bound-to-another", cnf={"x5t#S256": b64(bytes(32))}))
bad("bound-in-hex", "the certificate's thumbprint in hex", "TOKEN_BINDING",
    "Write the SHA-256 of the certificate's DER as base64url, not in hex.", bearer("bound-in-hex", cnf={"x5t#S256": "00" * 32}))
CERTIFICATE = "Put the SHA-256 of the certificate's DER into cnf.x5t#S256: a key or another hash does not name a certificate."
bad("bound-by-sha1", "bound by x5t, the SHA-1 of the certificate", "TOKEN_BINDING", CERTIFICATE, bearer("bound-by-sha1", cnf={"x5t": b64(bytes(20))}))
bad("bound-to-a-key", "bound to a key (DPoP, RFC 9449)", "TOKEN_BINDING", CERTIFICATE, bearer("bound-to-a-key", cnf={"jkt": KEYS["access"].kid}))
