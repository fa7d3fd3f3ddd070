"""One list of tampered instructions, given to the gateway and to libraries that are not ours: both refuse them.

A library alone takes those of the list that name it under `takes`, exactly; with `is_whole` beside it, none.

Usage:  tampered.py alone PROFILE USER [FILE]     compact instructions: one that `sd-jwt` makes here, and that of FILE
        tampered.py together DIR USER [FILE]      General JSON of two signers: one that `jwcrypto` makes here, and FILE

FILE was made by `mandate sign`. What is done, what the gateway says and what a library must do stands in tampered.json.
The untouched instruction is taken in the end. Exits 1 with one line where anything disagrees.
"""

import json
import sys
from pathlib import Path
from typing import Any, Callable

import client_path  # noqa: F401  (puts the client on the path)
import grpc
from jwcrypto.jwk import JWK

from instruction import TYP, KeySet, co_sign, device, instruction_claims, is_whole, sign_alone, sign_together, user
from mandate_client import Profile, b64url, b64url_decode, load_key, open_channel, reason_of
from sd_jwt_check import Disagrees, as_compact, identifiers, require, verified

from mandate.v1 import instruction_service_pb2 as instructions
from mandate.v1 import instruction_service_pb2_grpc as instructions_grpc

LISTED = json.loads((Path(__file__).parent / "tampered.json").read_text())
SECONDS = 30
LIBRARY = "sd-jwt"
STRANGER = JWK.generate(kty="OKP", crv="Ed25519")


def flipped(signature: str) -> str:
    raw = b64url_decode(signature)
    return b64url(bytes([raw[0] ^ 1]) + raw[1:])


def changed(payload: str, change: Callable[[dict[str, Any]], None]) -> str:
    members = json.loads(b64url_decode(payload))
    change(members)
    return b64url(json.dumps(members).encode())


def other_act(members: dict[str, Any]) -> None:
    members["act"] = "export" if members["act"] != "export" else "preview"


def other_subject(members: dict[str, Any]) -> None:
    members["sub_id"]["identifiers"][0]["..."] = b64url(bytes(32))


def somebody_else(disclosure: str) -> str:
    salt, identifier = json.loads(b64url_decode(disclosure))
    return b64url(json.dumps([salt, identifier | {"sub": "somebody-else"}]).encode())


def salted_anew(disclosure: str) -> str:
    return b64url(json.dumps([b64url(bytes(range(16))), json.loads(b64url_decode(disclosure))[1]]).encode())


def header_of(**members: Any) -> str:
    return b64url(json.dumps(members).encode())


def alone(text: str) -> dict[str, str]:
    """Everything that is done to a compact instruction, by its name in the list."""
    jws, first, *rest, _ = text.split("~")
    header, payload, signature = jws.split(".")
    disclosures = [first, *rest]
    protected = json.loads(b64url_decode(header))

    def joined(jws: str, disclosures: list[str]) -> str:
        return "~".join([jws, *disclosures, ""])

    by_stranger = co_sign(payload, STRANGER)
    other = b64url(json.dumps([b64url(bytes(range(1, 17))), {"format": "opaque", "id": "somebody-else"}]).encode())
    return {
        "payload": joined(f"{header}.{changed(payload, other_act)}.{signature}", disclosures),
        "subject": joined(f"{header}.{changed(payload, other_subject)}.{signature}", disclosures),
        "signature": joined(f"{header}.{payload}.{flipped(signature)}", disclosures),
        "unsigned": joined(f"{header}.{payload}.", disclosures),
        "other-key": joined(f"{header}.{payload}.{by_stranger['signature']}", disclosures),
        "stranger": joined(f"{by_stranger['protected']}.{payload}.{by_stranger['signature']}", disclosures),
        "alg-none": joined(f"{header_of(typ=TYP, alg='none', kid=protected['kid'])}.{payload}.", disclosures),
        "header": joined(f"{header_of(**protected | {'typ': 'JWT'})}.{payload}.{signature}", disclosures),
        "withheld": joined(jws, rest),
        "all-withheld": joined(jws, []),
        "swapped": joined(jws, [somebody_else(first), *rest]),
        "salted-anew": joined(jws, [salted_anew(first), *rest]),
        "added": joined(jws, [*disclosures, other]),
        "twice": joined(jws, [*disclosures, first]),
        "cut-short": text.removesuffix("~"),
    }


def together(text: str) -> dict[str, str]:
    """The same of General JSON."""
    made: dict[str, str] = {}

    def add(name: str, change: Callable[[dict[str, Any]], Any]) -> None:
        general = json.loads(text)
        change(general)
        made[name] = json.dumps(general)

    def flip(at: int) -> Callable[[dict[str, Any]], Any]:
        return lambda g: g["signatures"][at].update(signature=flipped(g["signatures"][at]["signature"]))

    def change_over(general: dict[str, Any]) -> None:
        first, last = general["signatures"][0], general["signatures"][-1]
        first["signature"], last["signature"] = last["signature"], first["signature"]

    def disclose(change: Callable[[list[str]], list[str]]) -> Callable[[dict[str, Any]], None]:
        def apply(general: dict[str, Any]) -> None:
            header = general["signatures"][0]["header"]
            header["disclosures"] = change(header["disclosures"])
        return apply

    payload = json.loads(text)["payload"]
    unsigned = {"protected": header_of(typ=TYP, alg="none", kid=STRANGER.thumbprint()), "signature": ""}
    add("payload", lambda g: g.update(payload=changed(payload, other_act)))
    add("first-signature", flip(0))
    add("last-signature", flip(-1))
    add("changed-over", change_over)
    add("stranger-beside", lambda g: g["signatures"].append(co_sign(payload, STRANGER)))
    add("alg-none-beside", lambda g: g["signatures"].append(unsigned))
    add("withheld", disclose(lambda disclosures: disclosures[1:]))
    add("swapped", disclose(lambda disclosures: [somebody_else(disclosures[0]), *disclosures[1:]]))
    return made


def found(text: str, key_set: KeySet) -> list[dict[str, Any]] | None:
    """The identifiers that the libraries find after every signature held; none where one refuses it."""
    try:
        forms = as_compact(json.loads(text)) if text.startswith("{") else [text]
        return [identifiers(verified(compact, key_set)) for compact in forms][0]
    except Exception:  # The libraries have exceptions of many kinds.
        return None


class Gateway:
    def __init__(self, profile: Profile) -> None:
        self.stub = instructions_grpc.InstructionServiceStub(open_channel(profile))
        answer = self.stub.GetKeySet(instructions.GetKeySetRequest(), timeout=SECONDS)
        self.key_set = KeySet.read(answer.key_set)

    def says(self, text: str) -> str:
        call = instructions.SubmitInstructionRequest(instruction=text.encode())
        try:
            answer = self.stub.SubmitInstruction(call, timeout=SECONDS)
        except grpc.RpcError as error:
            return reason_of(error)
        return instructions.InstructionState.Name(answer.instruction.state)


def check(what: str, text: str, listed: list[dict[str, Any]], made: dict[str, str], gateway: Gateway) -> None:
    whole = found(text, gateway.key_set)
    require(whole is not None and is_whole(text), f"{what}: the library refuses it untouched")
    require([one["name"] for one in listed] == list(made), f"{what}: not all of the list is made here")
    taken = []
    for one in listed:
        name, tampered = one["name"], made[one["name"]]
        require(tampered != text, f"{what}, {name}: nothing was changed")
        said = gateway.says(tampered)
        require(said in one["gateway"], f"{what}, {name}: the gateway says {said}")
        seen = found(tampered, gateway.key_set)
        if LIBRARY not in one.get("takes", []):
            require(seen is None, f"{what}, {name}: the library takes it")
            continue
        require(seen is not None, f"{what}, {name}: the library refuses it by now; the list says it does not")
        require(all(id in whole for id in seen), f"{what}, {name}: the library finds another subject")
        require(not is_whole(tampered), f"{what}, {name}: it passes for whole")
        taken.append(name)
    # What was refused used no id up: the untouched one is taken.
    said = gateway.says(text)
    require(said == "INSTRUCTION_STATE_ADMITTED", f"{what}: the gateway says {said} of it untouched")
    print(f"{what}: taken untouched; {len(listed)} times tampered with, refused by the gateway each time; "
          f"by {LIBRARY} each time but {', '.join(taken)}, and with is_whole each time")


def claims(profile: Profile, key_set: KeySet, user_id: str) -> dict[str, Any]:
    subject = [user(profile.app, user_id), device("device-of-nobody")]
    return instruction_claims(profile, key_set, "preview", subject, ["*"])


def main() -> int:
    match sys.argv[1:]:
        case ["alone", profile, user_id, *files]:
            profile = Profile.load(profile)
            gateway = Gateway(profile)
            made = sign_alone(claims(profile, gateway.key_set, user_id), profile.instruction_key())
            take, listed, by = alone, LISTED["signed"], "sd-jwt"
        case ["together", folder, user_id, *files]:
            profile = Profile.load(Path(folder) / "profiles" / "yunting.toml")
            gateway = Gateway(profile)
            keys = [profile.instruction_key(), load_key(Path(folder) / "keys" / "yunting" / "second.jwk")]
            made = sign_together(claims(profile, gateway.key_set, user_id), keys)
            take, listed, by = together, LISTED["by many"], "jwcrypto"
        case _:
            raise SystemExit(__doc__)
    try:
        check(f"made by {by}", made, listed, take(made), gateway)
        for file in files:
            text = Path(file).read_text().strip()
            check("made by mandate sign", text, listed, take(text), gateway)
    except Disagrees as error:
        print(f"disagree: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
