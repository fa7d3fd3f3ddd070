"""An SD-JWT library that is not ours reads what `mandate sign` makes, and refuses it tampered.

Usage:  sd_jwt_check.py --key-set FILE --app apps/ID --user USER_ID INSTRUCTION_FILE
        sd_jwt_check.py --key-set FILE --app apps/ID --user USER_ID --signers N INSTRUCTION_FILE

With --signers the file is JWS General JSON; the PyPI `sd-jwt` package reads only an older draft of
that form, so each signature is verified with jwcrypto, and the disclosures are read as compact.
Exits 1 with one line where anything disagrees.
"""

import argparse
import json
import sys
from pathlib import Path

import client_path  # noqa: F401  (puts the client on the path)
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from sd_jwt.holder import SDJWTHolder
from sd_jwt.verifier import SDJWTVerifier

from instruction import TYP, KeySet, user
from mandate_client import b64url, b64url_decode


class Disagrees(Exception):
    """The library and `mandate sign` do not agree; the text says where."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Disagrees(what)


def public_key(key_set: KeySet, kid: str) -> JWK:
    """The key of the set whose RFC 7638 thumbprint, computed by jwcrypto, is the kid."""
    for members in key_set.payload["keys"]:
        material = {
            name: members[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in members
        }
        key = JWK(**material)
        if key.thumbprint() == kid:
            return key
    raise Disagrees("the header's kid is the thumbprint of no key in the key set")


def verified(compact: str, key_set: KeySet) -> dict:
    def issuer_key(_issuer: str, header: dict) -> JWK:
        require(set(header) == {"typ", "alg", "kid"}, "the header is not exactly typ, alg and kid")
        require(header["typ"] == TYP, "the typ is another")
        return public_key(key_set, header["kid"])

    return SDJWTVerifier(compact, issuer_key).get_verified_payload()


def identifiers(payload: dict) -> list[dict]:
    return payload["sub_id"]["identifiers"]


def check_accepted(compact: str, key_set: KeySet, app: str, user_id: str) -> None:
    payload = verified(compact, key_set)
    require(payload["app"] == app, "the app is another")
    require(
        payload["key_set"] == {"version": key_set.version, "digest": key_set.digest},
        "it does not name the key set",
    )
    require(user(app, user_id) in identifiers(payload), "the subject is not in the disclosures")
    signed_text = b64url_decode(compact.split(".")[1]).decode()
    require(user_id not in signed_text, "the user id stands in the signed part")


def check_holder(compact: str) -> None:
    """The library's holder, told to disclose all, presents the very same text."""
    holder = SDJWTHolder(compact)
    count = len(compact.split("~")) - 2
    holder.create_presentation({"sub_id": {"identifiers": [True] * count}})
    presented = holder.sd_jwt_presentation.split("~")
    require(sorted(presented) == sorted(compact.split("~")), "the holder presents something else")


def check_refused(compact: str, key_set: KeySet, app: str, user_id: str) -> None:
    signed_part, *rest = compact.split("~")
    header, payload, signature = signed_part.split(".")
    members = json.loads(b64url_decode(payload))
    other = b64url(json.dumps(members | {"act": "revoke"}).encode())
    flipped = bytes([b64url_decode(signature)[0] ^ 1]) + b64url_decode(signature)[1:]
    for what, part in (
        ("payload", f"{header}.{other}.{signature}"),
        ("signature", f"{header}.{payload}.{b64url(flipped)}"),
    ):
        try:
            verified("~".join([part, *rest]), key_set)
        except JWException:
            continue
        raise Disagrees(f"a tampered {what} was accepted")
    salt, identifier = json.loads(b64url_decode(rest[0]))
    swapped = b64url(json.dumps([salt, identifier | {"sub": "somebody-else"}]).encode())
    left = identifiers(verified("~".join([signed_part, swapped, *rest[1:]]), key_set))
    require(len(left) == len(rest) - 2, "a disclosure that was swapped still counts")
    require(all(one.get("sub") != "somebody-else" for one in left), "a swapped subject was taken")


def as_compact(general: dict) -> list[str]:
    """Each signature of a General JSON as a compact SD-JWT of its own."""
    first = general["signatures"][0]
    require("disclosures" in first["header"], "the first signature carries no disclosures")
    require(
        all("header" not in one for one in general["signatures"][1:]),
        "a later signature has an unprotected header",
    )
    disclosures = "".join(f"~{one}" for one in first["header"]["disclosures"])
    return [
        f"{one['protected']}.{general['payload']}.{one['signature']}{disclosures}~"
        for one in general["signatures"]
    ]


def kid_of(compact: str) -> str:
    return json.loads(b64url_decode(compact.split(".")[0]))["kid"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--key-set", required=True, type=Path)
    parser.add_argument("--app", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--signers", type=int, default=0)
    parser.add_argument("instruction", type=Path)
    chosen = parser.parse_args()
    key_set = KeySet.read(chosen.key_set.read_text())
    text = chosen.instruction.read_text().strip()
    forms = as_compact(json.loads(text)) if chosen.signers else [text]
    try:
        if chosen.signers:
            kids = {kid_of(one) for one in forms}
            require(len(kids) == chosen.signers, f"{len(kids)} keys have signed")
        for compact in forms:
            check_accepted(compact, key_set, chosen.app, chosen.user)
            check_holder(compact)
            check_refused(compact, key_set, chosen.app, chosen.user)
    except (Disagrees, JWException, ValueError, KeyError) as error:
        print(f"sd-jwt disagrees: {error}", file=sys.stderr)
        return 1
    print(f"sd-jwt accepts {len(forms)} signed form(s), and refuses them tampered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
