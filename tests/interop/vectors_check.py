"""The published vectors, judged by libraries that are not ours: PyPI `sd-jwt` and `jwcrypto`.

Usage:  vectors_check.py            holds tests/vectors against them
        vectors_check.py sign DIR   signs or refuses the inputs of tests/vectors/client.json, for `mandate conformance client DIR`

A library knows signatures, algorithms, keys and disclosures; it does not know our members. So it must accept every
good vector and find its subject, must refuse what is wrong by what it knows, and may not find in the rest what was
withheld, swapped or put in. Exits 1 with one line for each vector where that does not hold.
"""

import json
import sys
from pathlib import Path

import client_path
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.common import SDObj
from sd_jwt.verifier import SDJWTVerifier

from instruction import APPROVAL, WITHDRAWAL, co_sign, is_whole, payload_segment, sign_alone, sign_together
from mandate_client import algorithm, b64url, b64url_decode

VECTORS = client_path.ROOT / "tests" / "vectors"
WORLD = json.loads((VECTORS / "world.json").read_text())
ALGORITHMS = ["EdDSA", "Ed25519", "ES256", "ES384", "PS256"]
# What these libraries must refuse by themselves, whatever the members say.
BY_SIGNATURE = {
    "SIGNATURE_INVALID", "ALGORITHM_NOT_ALLOWED", "KEY_UNKNOWN", "KEY_SET_SIGNATURE", "TOKEN_SIGNATURE",
    "TOKEN_ALGORITHM", "TOKEN_KEY_UNKNOWN",
}
# Signatures of these key sets verify; which keys count, and how many, a library cannot know.
COUNTED = {
    "one-of-two-roots", "one-root-twice", "one-signer-two-root-keys", "one-of-two-old-roots", "one-of-two-new-roots",
    "old-root-missing", "new-root-missing", "signed-by-no-root", "root-and-another",
}
# jwcrypto 1.6 knows Ed25519 by its older name alone.
NEW_NAME = "ed25519-by-its-new-name"


class Refused(Exception):
    """The library refuses it; the text says why."""


def known_key(name: str) -> JWK:
    return JWK(**WORLD["keys"][name]["jwk"])


def key_of(kid: str, allowed: list[str]) -> JWK:
    for name in allowed:
        if known_key(name).thumbprint() == kid:
            return known_key(name)
    raise Refused("no such key")


INSTRUCTION_KEYS = ["ed", "ed-2", "p256", "p384", "rsa"]
# In the set `without-ed` this one has left.
LEFT = dict.fromkeys(["left-the-set", "new-after-its-key-left"], ["ed-2", "p256", "p384", "rsa"])


def verify(compact: str, keys: list[str]) -> dict:
    """One signature by jwcrypto, with the profile's algorithms; the payload where it is JSON."""
    try:
        signed = JWS()
        signed.allowed_algs = ALGORITHMS
        signed.deserialize(compact)
        signed.verify(key_of(signed.jose_header["kid"], keys))
        return signed.jose_header
    except (JWException, KeyError, ValueError, TypeError) as error:
        raise Refused(str(error)) from error


def as_compacts(text: str) -> list[str]:
    """Each signature as a compact SD-JWT of its own; jwcrypto judges one at a time."""
    if not text.startswith("{"):
        return [text]
    try:
        general = json.loads(text)
        disclosures = general["signatures"][0].get("header", {}).get("disclosures", [])
        tail = "".join(f"~{one}" for one in disclosures) + "~"
        return [f"{one['protected']}.{general['payload']}.{one['signature']}{tail}" for one in general["signatures"]]
    except (KeyError, IndexError, TypeError) as error:
        raise Refused("no General JSON") from error


def disclosed(text: str, keys: list[str]) -> tuple[list, int]:
    """The identifiers that the sd-jwt library finds, and how many private members, after every signature held."""
    compacts = as_compacts(text)
    if not compacts:
        raise Refused("no signature")
    for compact in compacts:
        verify(compact.split("~")[0], keys)
    try:
        verifier = SDJWTVerifier(compacts[0], lambda _issuer, header: key_of(header["kid"], keys))
        payload = verifier.get_verified_payload()
        section = {name: payload[name] if isinstance(payload.get(name), dict) else {} for name in ("sub_id", "private")}
        return section["sub_id"].get("identifiers", []), len(section["private"])
    except Refused:
        raise
    except Exception as error:  # The library has exceptions of many kinds.
        raise Refused(str(error)) from error


def check_instruction(vector: dict) -> str | None:
    keys = LEFT.get(vector["name"], INSTRUCTION_KEYS)
    try:
        found, found_private = disclosed(vector["input"], keys)
    except Refused as refused:
        if vector["expect"] == "OK" and vector["name"] != NEW_NAME:
            return f"a good one was refused: {refused}"
        return None
    if vector["expect"] in BY_SIGNATURE:
        return "was accepted"
    signed = json.loads(b64url_decode(as_compacts(vector["input"])[0].split("~")[0].split(".")[1]))
    sub_id, private = signed.get("sub_id"), signed.get("private")
    named = len(sub_id.get("identifiers", [])) if isinstance(sub_id, dict) else 0
    named_private = len(private.get("_sd", [])) if isinstance(private, dict) else 0
    if vector["expect"] == "OK" and len(found) != named:
        return f"{len(found)} of {named} identifiers were found"
    # A digest whose disclosure was withheld, or does not fit, discloses nothing.
    if vector["expect"] == "DISCLOSURE_MISSING" and len(found) + found_private == named + named_private:
        return "an identifier was found that was withheld"
    if vector["name"] in ("swapped", "alien") and any("somebody-else" in str(one) for one in found):
        return "a swapped identifier was found"
    return None


def check_signed(vector: dict, compacts: list[str], keys: list[str]) -> str | None:
    """A key set or a token: signatures alone."""
    try:
        for compact in compacts:
            verify(compact, keys)
    except Refused as refused:
        return f"a good one was refused: {refused}" if vector["expect"] == "OK" else None
    if vector["expect"] in BY_SIGNATURE and vector["name"] not in COUNTED:
        return "was accepted"
    return None


def check(vector: dict) -> str | None:
    match vector["form"]:
        case "instruction":
            return check_instruction(vector)
        case "approval" | "withdrawal":
            # The payload is that of the instruction it adds to (RFC 7515 appendix F).
            payload = vector["of"].split("~")[0].split(".")[1]
            compact = vector["input"].replace("..", f".{payload}.") if ".." in vector["input"] else ""
            return check_signed(vector, [compact], INSTRUCTION_KEYS)
        case "access-token":
            return check_signed(vector, [vector["input"].partition(" ")[2]], ["access"])
        case _:
            try:
                compacts = [one.split("~")[0] for one in as_compacts(vector["input"])]
            except Refused:
                return "a good one was refused" if vector["expect"] == "OK" else None
            return check_signed(vector, compacts, ["root", "root-2", "ed"])


def check_all() -> None:
    wrong, good, must_refuse, total = [], 0, 0, 0
    for form in ("instruction", "approval", "withdrawal", "access-token", "key-set"):
        for path in sorted((VECTORS / form).glob("*.json")):
            vector = json.loads(path.read_text())
            fault = check(vector)
            total += 1
            good += vector["expect"] == "OK"
            must_refuse += vector["expect"] in BY_SIGNATURE and vector["name"] not in COUNTED
            if fault:
                wrong.append(f"{form}/{path.stem}: {fault}")
    if wrong or good < 30 or must_refuse < 20:
        raise SystemExit("\n".join(wrong) or "vectors are missing")
    print(f"{total} vectors: {good} accepted, {must_refuse} refused by the libraries themselves, the rest as they must")


# -- signing the published inputs ------------------------------------------------------------------


def sign_inputs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cases = json.loads((VECTORS / "client.json").read_text())
    for case in cases["instructions"]:
        (folder / case["file"]).write_text(sign_instruction(case))
    for case in cases["access_tokens"]:
        key = known_key(case["key"])
        token = JWS(json.dumps(case["claims"]))
        header = {"typ": "at+jwt", "alg": algorithm(key), "kid": key.thumbprint()}
        token.add_signature(key, protected=json.dumps(header))
        (folder / case["file"]).write_text(token.serialize(compact=True))
    for case in cases["brought"]:
        (folder / case["file"]).write_text(answer(case))
    print(sum(len(one) for one in cases.values()), "inputs signed or refused")


def sign_instruction(case: dict) -> str:
    claims = {name: value for name, value in case["members"].items() if name != "_sd_alg"}
    if case["subject"]:
        claims["sub_id"] = {"format": "aliases", "identifiers": [SDObj(one) for one in case["subject"]]}
    if case["private"]:
        claims["private"] = {SDObj(name): value for name, value in case["private"].items()}
    keys = [known_key(name) for name in case["keys"]]
    return sign_alone(claims, keys[0]) if len(keys) == 1 else sign_together(claims, keys)


def answer(case: dict) -> str:
    """What another signed: signed, too, or taken back; refused where it is not proven or not whole."""
    try:
        disclosed(case["of"], INSTRUCTION_KEYS)
    except Refused:
        return "REFUSED"
    if not is_whole(case["of"]):
        return "REFUSED"
    typ = {"approval": APPROVAL, "withdrawal": WITHDRAWAL}[case["says"]]
    signed = co_sign(payload_segment(case["of"]), known_key(case["key"]), typ)
    return f"{signed['protected']}..{signed['signature']}"


def main() -> None:
    match sys.argv[1:]:
        case []:
            check_all()
        case ["sign", folder]:
            sign_inputs(Path(folder))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
