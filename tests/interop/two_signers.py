"""A key set and instructions with two signers, made by jwcrypto and sd-jwt alone.

Usage:  two_signers.py prepare DIR         before the gateway starts: gives the controller a key set
                                          of two signers, both needed, signed by its own root key
        two_signers.py submit DIR [FILE]  one signer is too few and waits; one signer twice is one signer;
                                          two are enough, at once or by a later approval. FILE: a General
                                          JSON that `mandate sign` made
"""

import json
import sys
from pathlib import Path
from typing import Any

import client_path  # noqa: F401  (puts the client on the path)
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from execution import check_signed_report, follow, state_name
from instruction import (
    APPROVAL,
    KeySet,
    co_sign,
    instruction_claims,
    instruction_digest,
    payload_segment,
    sign_alone,
    sign_together,
    user,
)
from mandate_client import Profile, algorithm, load_key, open_channel
from proof import check_receipt

from mandate.v1 import execution_service_pb2 as executions
from mandate.v1 import execution_service_pb2_grpc as executions_grpc
from mandate.v1 import instruction_service_pb2 as instructions
from mandate.v1 import instruction_service_pb2_grpc as instructions_grpc

CONTROLLER = "yunting"
USER = "YT-900127"
SHARED_ACTS = ("preview", "erase", "export")
SECONDS = 120


def keys_folder(directory: Path) -> Path:
    return directory / "keys" / CONTROLLER


def prepare(directory: Path) -> None:
    folder = keys_folder(directory)
    old = KeySet.read((folder / "keyset.json").read_text())
    second = JWK.generate(kty="EC", crv="P-256")
    (folder / "second.jwk").write_text(second.export())
    text = sign_key_set(with_second_signer(old.payload, second), load_key(folder / "root.jwk"))
    (folder / "keyset.json").write_text(text)
    replaced = replace_digest(directory, old.digest, KeySet.read(text).digest)
    print(f"key set of two signers written; its digest pinned in {', '.join(replaced)}")
    if "pins.toml" not in replaced or "registry.toml" not in replaced:
        raise SystemExit("the old digest was not pinned where it should be")


def with_second_signer(payload: dict, second: JWK) -> dict:
    """The same key set with one more key of one more person, and a threshold of two."""
    instruction_keys = [key for key in payload["keys"] if key["use"] == "instruction"]
    entry = second.export_public(as_dict=True) | {"use": "instruction", "signer": "signer-second"}
    entry.pop("kid", None)
    if "kid" in instruction_keys[0]:
        entry["kid"] = second.thumbprint()
    roles = dict(payload["roles"])
    for act in SHARED_ACTS:
        roles[act] = {"kids": [*roles[act]["kids"], second.thumbprint()], "threshold": 2}
    return payload | {"keys": [*payload["keys"], entry], "roles": roles}


def sign_key_set(payload: dict, root: JWK) -> str:
    header = {"typ": "keyset+jwt", "alg": algorithm(root), "kid": root.thumbprint()}
    jws = JWS(json.dumps(payload))
    jws.add_signature(root, protected=json.dumps(header))
    protected, segment, signature = jws.serialize(compact=True).split(".")
    signed = {"protected": protected, "signature": signature}
    return json.dumps({"payload": segment, "signatures": [signed]})


def replace_digest(directory: Path, old: str, new: str) -> list[str]:
    replaced = []
    for file in sorted(directory.glob("*.toml")):
        text = file.read_text()
        if old in text:
            file.write_text(text.replace(old, new))
            replaced.append(file.name)
    return replaced


class Submitter:
    def __init__(self, directory: Path) -> None:
        self.profile = Profile.load(directory / "profiles" / f"{CONTROLLER}.toml")
        channel = open_channel(self.profile)
        self.instructions = instructions_grpc.InstructionServiceStub(channel)
        self.executions = executions_grpc.ExecutionServiceStub(channel)
        answer = self.instructions.GetKeySet(instructions.GetKeySetRequest(), timeout=SECONDS)
        self.key_set = KeySet.read(answer.key_set)
        self.keys = [
            self.profile.instruction_key(),
            load_key(keys_folder(directory) / "second.jwk"),
        ]

    def claims(self) -> dict:
        return instruction_claims(
            self.profile, self.key_set, "preview", [user(self.profile.app, USER)], ["*"]
        )

    def submit(self, text: str) -> instructions.SubmitInstructionResponse:
        call = instructions.SubmitInstructionRequest(instruction=text.encode())
        return self.instructions.SubmitInstruction(call, timeout=SECONDS)

    def waits(self, what: str, text: str) -> instructions.Instruction:
        shown = self.submit(text).instruction
        missing = [(role.role, role.signers) for role in shown.missing]
        waiting = shown.state == instructions.INSTRUCTION_STATE_WAITING
        if not waiting or missing != [("preview", 1)] or shown.executions:
            raise SystemExit(f"{what}: it does not wait for one signer more")
        print(f"{what}: waits for one more of the role preview")
        return shown

    def approve(self, what: str, text: str, name: str, key: JWK) -> None:
        """The other signer signs the same payload segment, with a header of the approval's own form."""
        parts = co_sign(payload_segment(text), key, APPROVAL)
        call = instructions.ApproveInstructionRequest(
            name=name,
            protected=parts["protected"],
            signature=parts["signature"],
            disclosures=text.split("~")[1:-1],
        )
        answer = self.instructions.ApproveInstruction(call, timeout=SECONDS)
        self.carried_out(what, text, answer)

    def enough(self, what: str, text: str) -> None:
        self.carried_out(what, text, self.submit(text))

    def carried_out(self, what: str, text: str, answer: Any) -> None:
        receipt = answer.receipt
        check_receipt(receipt.leaf, receipt.index, receipt.proof, self.profile.pins)
        if json.loads(receipt.leaf)["data"]["digest"] != instruction_digest(text):
            raise SystemExit(f"{what}: the leaf is of another instruction")
        for name in answer.instruction.executions:
            # The agent too must count two signers before it acts.
            execution = follow(self.executions, name, SECONDS)
            if execution.state != executions.EXECUTION_STATE_COMPLETED:
                raise SystemExit(f"{what}: {state_name(execution)} {execution.reason}")
            check_signed_report(text, execution, self.profile.pins["agents"])
        print(f"{what}: admitted and carried out")


def submit(directory: Path, made_by_cli: list[str]) -> None:
    submitter = Submitter(directory)
    first, second = submitter.keys
    alone = sign_alone(submitter.claims(), first)
    waiting = submitter.waits("one signer", alone)
    submitter.waits("the other signer alone", sign_together(submitter.claims(), [second]))
    submitter.waits("one signer twice", sign_together(submitter.claims(), [first, first]))
    submitter.approve("approved by the other", alone, waiting.name, second)
    submitter.enough("two signers", sign_together(submitter.claims(), [first, second]))
    for file in made_by_cli:
        submitter.enough("two signers by mandate sign", Path(file).read_text().strip())


def main() -> None:
    match sys.argv[1:]:
        case ["prepare", directory]:
            prepare(Path(directory))
        case ["submit", directory, *files]:
            submit(Path(directory), files)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
