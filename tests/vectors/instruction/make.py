"""Makes the vectors beside this file, with libraries that are not ours.

    python -m venv venv && venv/bin/pip install sd-jwt==0.10.4 && venv/bin/python make.py

The keys are new on every run and thrown away; the vectors keep what they need.
Each file: name, sentence, now (seconds), key_set (General JSON), pin (its
digest), instruction (as sent), expect ("OK" or a reason code). The controller
is controllers/xingyu, its only app apps/xingyu-live, the agreement covers
device, network and sdk_interaction on the stores sdk and logs, region cn.
"""

import hashlib
import json
import pathlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.common import SDObj
from sd_jwt.issuer import SDJWTIssuer

HERE = pathlib.Path(__file__).parent
NOW = 1795420800
ORIGIN = "mandate.ppio.example/trail"
SALT = "AAECAwQFBgcICQoLDA0ODw"


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def digest(text):
    return b64(hashlib.sha256(text.encode("ascii")).digest())


KEYS = {
    "root": (JWK.generate(kty="EC", crv="P-256"), "ES256"),
    "ed": (JWK.generate(kty="OKP", crv="Ed25519"), "EdDSA"),
    "p256": (JWK.generate(kty="EC", crv="P-256"), "ES256"),
    "p384": (JWK.generate(kty="EC", crv="P-384"), "ES384"),
    "rsa": (JWK.generate(kty="RSA", size=2048), "PS256"),
    "stranger": (JWK.generate(kty="EC", crv="P-256"), "ES256"),
}


def kid(name):
    return KEYS[name][0].thumbprint()


def sign(payload, name, typ="instruction+sd-jwt", **header):
    key, alg = KEYS[name]
    jws = JWS(payload)
    jws.add_signature(key, alg=alg, protected=json.dumps({"alg": alg, "typ": typ, "kid": kid(name)} | header))
    return jws.serialize(compact=True)


def general(payload, names, disclosures=(), typ="instruction+sd-jwt"):
    """jwcrypto flattens a single signature, so General JSON is put together here."""
    signatures = []
    for index, name in enumerate(names):
        protected, body, signature = sign(payload, name, typ).split(".")
        entry = {"protected": protected, "signature": signature}
        if index == 0 and disclosures:
            entry["header"] = {"disclosures": list(disclosures)}
        signatures.append(entry)
    return json.dumps({"payload": body, "signatures": signatures})


def listed(name, usage):
    public = KEYS[name][0].export_public(as_dict=True)
    public.pop("kid", None)
    return public | {"kid": kid(name), "signer": f"signer-{name}", "use": usage}


ALL = ["ed", "p256", "p384", "rsa"]
KEY_SET = general(
    json.dumps({
        "iss": "controllers/xingyu", "aud": ORIGIN, "version": 1, "prev": None, "iat": NOW - 1000,
        "exp": NOW + 365 * 86400,
        "keys": [listed("root", "root")] + [listed(name, "instruction") for name in ALL],
        "roles": {
            "root": {"kids": [kid("root")], "threshold": 1},
            "preview": {"kids": [kid(name) for name in ALL], "threshold": 1},
            "erase": {"kids": [kid("ed"), kid("p256")], "threshold": 2},
            "export": {"kids": [kid("p384")], "threshold": 1},
        },
    }),
    ["root"],
    typ="keyset+jwt",
)
PIN = digest(json.loads(KEY_SET)["payload"])


def claims(act="preview", **more):
    return {
        "iss": "controllers/xingyu", "aud": ORIGIN, "jti": "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88",
        "iat": NOW - 5, "exp": NOW + 7 * 86400, "act": act, "app": "apps/xingyu-live",
        "sub_id": {"format": "aliases", "identifiers": [
            SDObj({"format": "iss_sub", "iss": more.get("app", "apps/xingyu-live"), "sub": "u_8839201"}),
            SDObj({"format": "opaque", "id": "device-7f31c2"}),
        ]},
        "categories": ["device", "network"], "basis": "pipl-47", "key_set": {"version": 1, "digest": PIN},
    } | more


def issue(name, **kwargs):
    """An ordinary SD-JWT by the PyPI library."""
    key, alg = KEYS[name]
    header = {"typ": "instruction+sd-jwt", "kid": kid(name)}
    issuer = SDJWTIssuer(claims(**kwargs), key, sign_alg=alg, extra_header_parameters=header)
    return issuer.sd_jwt_issuance


def payload_of(text):
    return json.loads(unb64(text.split("~")[0].split(".")[1]))


def disclosures_of(text):
    return text.split("~")[1:-1]


def resign(payload, disclosures, name="ed", **header):
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return "~".join([sign(text, name, **header), *disclosures]) + "~"


def with_disclosures(texts):
    """The good preview with these disclosure JSON texts in place of its own."""
    payload = payload_of(GOOD)
    disclosures = [b64(text) for text in texts]
    payload["sub_id"]["identifiers"] = [{"...": digest(d)} for d in disclosures]
    return resign(payload, disclosures)


COUNT = 0


def vector(name, sentence, instruction, expect):
    global COUNT
    COUNT += 1
    body = {"name": name, "sentence": sentence, "now": NOW, "key_set": KEY_SET, "pin": PIN,
            "instruction": instruction, "expect": expect}
    (HERE / f"{COUNT:02}-{name}.json").write_text(json.dumps(body, indent=1) + "\n")


for old in HERE.glob("*.json"):
    old.unlink()

GOOD = issue("ed")
PAYLOAD, DISCLOSED = payload_of(GOOD), disclosures_of(GOOD)
HEAD, BODY, SIGNATURE = GOOD.split("~")[0].split(".")
REST = "~" + "~".join(DISCLOSED) + "~"

vector("eddsa", "Ed25519, by the PyPI sd-jwt library", GOOD, "OK")
vector("es256", "P-256, by the PyPI sd-jwt library", issue("p256"), "OK")
vector("es384", "P-384, by the PyPI sd-jwt library", issue("p384"), "OK")
vector("ps256", "RSA-2048 with PSS, by the PyPI sd-jwt library", issue("rsa"), "OK")
recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
export = {"recipient": recipient, "format": "jsonl+csv", "region": "cn"}
vector("export", "an export within the agreement's region", issue("p384", act="export", export=export), "OK")
erase = issue("ed", act="erase")
two = json.dumps(payload_of(erase))
vector("two-signers", "an erasure signed by two, General JSON",
       general(two, ["ed", "p256"], disclosures_of(erase)), "OK")

vector("one-signer", "an erasure signed by one of two", erase, "THRESHOLD_NOT_MET")
vector("one-signer-twice", "the same signer twice", general(two, ["ed", "ed"], disclosures_of(erase)),
       "THRESHOLD_NOT_MET")
vector("no-role", "a signer without the act's role", general(two, ["ed", "rsa"], disclosures_of(erase)),
       "SIGNER_ROLE")
vector("stranger", "a key that is not in the key set", issue("stranger"), "KEY_UNKNOWN")
vector("root-key", "a root key signs key sets only", issue("root"), "KEY_UNKNOWN")
vector("tampered", "act changed after signing",
       HEAD + "." + b64(json.dumps(PAYLOAD | {"act": "erase"})) + "." + SIGNATURE + REST, "SIGNATURE_INVALID")
none = b64(json.dumps({"typ": "instruction+sd-jwt", "alg": "none", "kid": kid("ed")}))
vector("alg-none", "alg none, no signature", none + "." + BODY + "." + REST, "ALGORITHM_NOT_ALLOWED")
mac = JWS(json.dumps(PAYLOAD))
mac.add_signature(JWK(kty="oct", k=KEYS["ed"][0].export_public(as_dict=True)["x"]), alg="HS256",
                  protected=json.dumps({"typ": "instruction+sd-jwt", "alg": "HS256", "kid": kid("ed")}))
vector("hs256", "HS256 with the public key as secret", mac.serialize(compact=True) + REST,
       "ALGORITHM_NOT_ALLOWED")
vector("typ", "typ of another form", resign(PAYLOAD, DISCLOSED, typ="JWT"), "HEADER_INVALID")
vector("crit", "a fourth header member", resign(PAYLOAD, DISCLOSED, cty="x"), "HEADER_INVALID")
vector("padded", "base64 with padding", GOOD.replace("~", "=~", 1), "ENCODING_NOT_CANONICAL")
vector("no-tilde", "the closing tilde is missing", GOOD.rstrip("~"), "INSTRUCTION_MALFORMED")
flat = JWS(json.dumps(PAYLOAD))
flat.add_signature(KEYS["ed"][0], alg="EdDSA",
                   protected=json.dumps({"typ": "instruction+sd-jwt", "alg": "EdDSA", "kid": kid("ed")}))
vector("flattened", "flattened JSON", flat.serialize(compact=False), "INSTRUCTION_MALFORMED")
vector("too-large", "a payload over 8 KiB", resign(json.dumps(PAYLOAD) + " " * 8192, DISCLOSED),
       "INSTRUCTION_TOO_LARGE")
vector("other-issuer", "iss is another controller", issue("ed", iss="controllers/other"), "ISSUER_MISMATCH")
vector("other-audience", "aud is another trail", issue("ed", aud="other.example/trail"), "AUDIENCE_MISMATCH")
vector("unknown-member", "a member the profile does not know", issue("ed", note="x"), "MEMBER_UNKNOWN")
vector("duplicate-member", "act stands twice",
       resign(json.dumps(PAYLOAD).replace('"act":', '"act": "erase", "act":'), DISCLOSED), "MEMBER_DUPLICATE")
vector("float-seconds", "seconds with a fraction", issue("ed", iat=NOW - 0.5), "MEMBER_INVALID")
vector("subject-in-clear", "the user id stands in the signed part",
       resign(PAYLOAD | {"sub_id": {"format": "iss_sub", "iss": "apps/xingyu-live", "sub": "u_1"}}, []),
       "PERSONAL_DATA_IN_CLEAR")
vector("withheld", "a disclosure is withheld", GOOD.replace(DISCLOSED[1] + "~", ""), "DISCLOSURE_MISSING")
vector("repeated", "a disclosure stands twice", GOOD + DISCLOSED[0] + "~", "DISCLOSURE_REPEATED")
other = disclosures_of(issue("ed"))
vector("alien", "a disclosure of another instruction", GOOD + other[0] + "~", "DISCLOSURE_ALIEN")
vector("decoy", "a digest without a disclosure",
       resign(PAYLOAD | {"_sd": [digest("decoy")]}, DISCLOSED), "DISCLOSURE_ALIEN")
vector("nested", "a disclosure that holds a digest",
       with_disclosures(['["%s", {"format": "opaque", "_sd": ["%s"]}]' % (SALT, digest("x"))]),
       "DISCLOSURE_NESTED")
vector("weak-salt", "a salt of 64 bits",
       with_disclosures(['["AAECAwQFBgc", {"format": "opaque", "id": "x"}]']), "SALT_WEAK")
vector("equal-salts", "two equal salts",
       with_disclosures(['["%s", {"format": "opaque", "id": "%s"}]' % (SALT, x) for x in "ab"]), "SALT_WEAK")
vector("other-apps-user", "the user id belongs to another app", with_disclosures(
    ['["%s", {"format": "iss_sub", "iss": "apps/other", "sub": "u_1"}]' % SALT]), "SUBJECT_MISMATCH")
vector("foreign-app", "an app that is not the issuer's", issue("ed", app="apps/other"), "APP_UNKNOWN")
vector("outside-agreement", "a category outside the agreement", issue("ed", categories=["media"]),
       "OUTSIDE_AGREEMENT")
vector("abroad", "an export out of the agreement's region",
       issue("p384", act="export", export=export | {"region": "us"}), "REGION_NOT_ALLOWED")
vector("expired", "past its end", issue("ed", iat=NOW - 9, exp=NOW), "INSTRUCTION_EXPIRED")
vector("not-yet", "before its nbf", issue("ed", nbf=NOW + 60), "INSTRUCTION_NOT_YET_VALID")
vector("too-long", "a life of 31 days", issue("ed", exp=NOW + 31 * 86400), "INSTRUCTION_LIFETIME")
vector("old-key-set", "names another key set", issue("ed", key_set={"version": 2, "digest": PIN}),
       "KEY_SET_NOT_CURRENT")
print(COUNT, "vectors")
