"""An enterprise's whole way through Mandate, by ordinary libraries alone.

Usage:  python walk.py --profile DIR/profiles/xingyu.toml [--subject USER_ID] [--dir OUT]

Takes a waiting request for the user (or opens one), then signs a preview, an export and an erase,
follows each to its end, downloads and decrypts the export, and verifies receipts and reports
offline. It signs what is to be done when the contract ends, and takes that back. Then it tries what must fail. Prints
each step; exits 0 only if everything held.
Files (instructions, receipts, reports, evidence, the encrypted package) are left in OUT.
Make the stubs first: ./generate.sh
"""

import argparse
import hashlib
import io
import json
import sys
import tarfile
import time
import uuid
from base64 import b64encode
from pathlib import Path
from typing import Any

import grpc
import pyrage

from execution import DidNotEnd, check_signed_report, follow, state_name, store_id
from instruction import (
    KeySet,
    device,
    export_section,
    instruction_claims,
    instruction_digest,
    payload_of,
    revoke_claims,
    sign_alone,
    user,
)
from mandate_client import Profile, b64url, b64url_decode, open_channel, reason_of
from proof import Checkpoint, NotProven, check_admission, check_consistency, check_receipt
from proof import check_report

from mandate.v1 import audit_service_pb2 as audit
from mandate.v1 import audit_service_pb2_grpc as audit_grpc
from mandate.v1 import execution_service_pb2 as executions
from mandate.v1 import execution_service_pb2_grpc as executions_grpc
from mandate.v1 import export_service_pb2 as exports
from mandate.v1 import export_service_pb2_grpc as exports_grpc
from mandate.v1 import instruction_service_pb2 as instructions
from mandate.v1 import instruction_service_pb2_grpc as instructions_grpc
from mandate.v1 import request_service_pb2 as requests
from mandate.v1 import request_service_pb2_grpc as requests_grpc
from mandate.v1.receipt_pb2 import Receipt

CALL_SECONDS = 30
DAY_SECONDS = 24 * 3600
# Which acts answer which rights; a preview may precede any.
SERVES = {
    # A transfer goes to a third party: private.account, a basis of consent or contract, export.evidence.
    "export": {"access", "copy"},
    "erase": {"delete", "close_account", "withdraw_consent"},
}


class Failed(Exception):
    """A step did not go as it must."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def say(text: str) -> None:
    print(text, flush=True)


class Walk:
    """One enterprise on its way. Each method is a step."""

    def __init__(self, profile: Profile, subject: str, folder: Path, patience: int) -> None:
        channel = open_channel(profile)
        self.requests = requests_grpc.RequestServiceStub(channel)
        self.instructions = instructions_grpc.InstructionServiceStub(channel)
        self.executions = executions_grpc.ExecutionServiceStub(channel)
        self.exports = exports_grpc.ExportServiceStub(channel)
        self.audit = audit_grpc.AuditServiceStub(channel)
        self.profile = profile
        self.key = profile.instruction_key()
        self.subject = subject
        self.folder = folder
        self.patience = patience
        self.request = requests.Request()
        self.identifiers: list[dict[str, str]] = [user(profile.app, subject)]
        self.categories = ["*"]
        self.checkpoint: Checkpoint | None = None

    # -- the request ---------------------------------------------------------------------------

    def take_request(self, wait_seconds: float) -> None:
        """Watches for a request about the subject, or opens one; then acknowledges it."""
        waiting = self.waiting_request(wait_seconds)
        if waiting:
            say(f"request   {waiting.name} was waiting, forwarded by PPIO")
        else:
            waiting = self.open_request()
            say(f"request   none was waiting: opened {waiting.name}")
        answer = self.requests.AcknowledgeRequest(
            requests.AcknowledgeRequestRequest(name=waiting.name, request_id=str(uuid.uuid4())),
            timeout=CALL_SECONDS,
        )
        self.request = answer.request
        require(self.request.stage == requests.REQUEST_STAGE_ACKNOWLEDGED, "not acknowledged")
        self.receive(answer.receipt)
        self.categories = list(waiting.categories) or ["*"]
        devices = [one.value for one in waiting.identifiers if one.type == "device_id"]
        self.identifiers += [device(value) for value in devices]
        rights = ", ".join(one.right for one in self.request.rights)
        say(f"          acknowledged; it asks for: {rights}")

    def waiting_request(self, wait_seconds: float) -> requests.Request | None:
        stream = self.requests.WatchRequests(requests.WatchRequestsRequest(), timeout=wait_seconds)
        try:
            for response in stream:
                if self.is_about_subject(response.request):
                    return response.request
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        finally:
            stream.cancel()
        return None

    def is_about_subject(self, request: requests.Request) -> bool:
        about = (one.value for one in request.identifiers if one.type == "app_user_id")
        return request.app == self.profile.app and self.subject in about

    def open_request(self) -> requests.Request:
        call = requests.CreateRequestRequest(
            app=self.profile.app,
            rights=["access", "delete"],
            identifiers=[
                requests.SubjectIdentifier(type="app_user_id", value=self.subject, of="self")
            ],
            language="zh",
            request_id=str(uuid.uuid4()),
        )
        first = self.requests.CreateRequest(call, timeout=CALL_SECONDS)
        again = self.requests.CreateRequest(call, timeout=CALL_SECONDS)
        require(first.request.name == again.request.name, "the same call opened two requests")
        return first.request

    # -- instructions --------------------------------------------------------------------------

    def read_key_set(self) -> KeySet:
        answer = self.instructions.GetKeySet(instructions.GetKeySetRequest(), timeout=CALL_SECONDS)
        key_set = KeySet.read(answer.key_set)
        require(key_set.digest == answer.digest, "the key set's digest is not over its bytes")
        require(key_set.payload["iss"] == self.profile.principal, "the key set is another's")
        if key_set.version == 1:
            pin = self.profile.pins["controllers"][self.profile.controller_id]
            require(key_set.digest == pin["key_set_digest"], "the key set is not the pinned one")
        for act in ("preview", "export", "erase", "return_and_erase", "revoke"):
            require(key_set.may_sign(self.key.thumbprint(), act), f"our key may not sign {act}")
        say(f"key set   version {key_set.version}, as pinned; our key may sign")
        return key_set

    def sign(self, act: str, identifiers: list[dict[str, str]] | None = None, **more: Any) -> str:
        """Signs an instruction under the newest key set. It names the request it answers."""
        rights = {one.right for one in self.request.rights}
        answers = act == "preview" or SERVES[act] & rights
        claims = instruction_claims(
            self.profile,
            self.key_set,
            act,
            identifiers or self.identifiers,
            self.categories,
            request=self.request.name if answers else "",
            **more,
        )
        return sign_alone(claims, self.key)

    def submit(self, instruction: str) -> instructions.SubmitInstructionResponse:
        return self.instructions.SubmitInstruction(
            instructions.SubmitInstructionRequest(instruction=instruction.encode("ascii")),
            timeout=CALL_SECONDS,
        )

    def carry_out(self, act: str, **more: Any) -> tuple[str, list[executions.Execution]]:
        """Signs, submits, verifies the receipt, follows every store to its end, checks reports."""
        instruction = self.sign(act, **more)
        self.save(f"{act}.sd-jwt", instruction)
        answer = self.submit(instruction)
        require(answer.instruction.act == act, "another act was admitted")
        require(answer.instruction.digest == instruction_digest(instruction), "another digest")
        require(answer.instruction.trail_index == answer.receipt.index, "another leaf")
        self.receive(answer.receipt)
        check_admission(answer.receipt.leaf, instruction)
        self.save(f"{act}.leaf.json", answer.receipt.leaf)
        self.save(f"{act}.tlog-proof", answer.receipt.proof)
        say(f"{act:<9} admitted as leaf {answer.receipt.index}; receipt verified offline")
        require(len(answer.instruction.executions) > 0, "no store is to carry it out")
        ended = [
            follow(self.executions, name, self.patience) for name in answer.instruction.executions
        ]
        for execution in ended:
            self.check_execution(instruction, execution)
        return instruction, ended

    def check_execution(self, instruction: str, execution: executions.Execution) -> None:
        say(f"          {execution.store}: {state_name(execution)} {execution.reason}".rstrip())
        for one in execution.preview.counts or execution.collections:
            ground = f" ({one.ground})" if one.ground else ""
            say(f"            {one.collection:<24}{one.outcome:<10}{one.rows:>8}{ground}")
        require(execution.state == executions.EXECUTION_STATE_COMPLETED, "it is not completed")
        claims = check_signed_report(instruction, execution, self.profile.pins["agents"])
        act, store = payload_of(instruction)["act"], store_id(execution.store)
        self.save(f"{act}-{store}.report.jwt", execution.report)
        say(f"          report of {claims['iss']} verified")

    # -- taking back ---------------------------------------------------------------------------

    def end_contract_and_take_back(self) -> None:
        """Signs now what is to be done when the contract ends, in a year: it is held until then. Then revokes it."""
        begins = int(time.time()) + 365 * DAY_SECONDS
        ending = instruction_claims(
            self.profile,
            self.key_set,
            "return_and_erase",
            [],
            ["*"],
            nbf=begins,
            exp=begins + 30 * DAY_SECONDS,
            export=export_section(self.profile, "cn"),
        )
        held = self.take_in("ending", sign_alone(ending, self.key))
        require(held.state == instructions.INSTRUCTION_STATE_HELD, "it is not held")
        say(f"held      until {held.hold_until_time.ToJsonString()}")
        revoke = sign_alone(revoke_claims(self.profile, self.key_set, held.name), self.key)
        done = self.take_in("revoke", revoke)
        require(done.state == instructions.INSTRUCTION_STATE_DONE, "the revoke is not done")
        call = instructions.GetInstructionRequest(name=held.name)
        back = self.instructions.GetInstruction(call, timeout=CALL_SECONDS).instruction
        require(back.state == instructions.INSTRUCTION_STATE_REVOKED, "it was not taken back")
        for name in back.executions:
            ended = follow(self.executions, name, self.patience)
            require(ended.reason == "INSTRUCTION_REVOKED", f"{ended.store}: {ended.reason}")
        say(f"revoke    {held.name} is taken back before anything was begun")
        again = sign_alone(revoke_claims(self.profile, self.key_set, held.name), self.key)
        self.refused("revoked once more", again, {"STAGE_CONFLICT"})

    def take_in(self, name: str, instruction: str) -> instructions.Instruction:
        """Submits, and verifies the receipt."""
        self.save(f"{name}.sd-jwt", instruction)
        answer = self.submit(instruction)
        self.receive(answer.receipt)
        check_admission(answer.receipt.leaf, instruction)
        return answer.instruction

    # -- the export ----------------------------------------------------------------------------

    def fetch_export(self, execution: executions.Execution) -> None:
        require(execution.export != "", "the export has no package")
        export = self.exports.GetExport(
            exports.GetExportRequest(name=execution.export), timeout=CALL_SECONDS
        ).export
        package = self.download(export)
        digest = b64url(hashlib.sha256(package).digest())
        signed = check_report(execution.report, self.profile.pins["agents"])["export"]
        require(digest == signed["digest"] == export.digest, "the package is not the signed one")
        require(len(package) == signed["size"], "the package has another size than was signed")
        self.save(f"export-{store_id(execution.store)}.tar.age", package)
        say(f"          downloaded {len(package)} bytes in two goes; digest as the agent signed")
        self.open_package(package)

    def download(self, export: exports.Export) -> bytes:
        """Stops half way on purpose, and goes on from there."""
        half = export.size // 2
        package = self.take(export.name, 0, half)
        package += self.take(export.name, half, export.size - half)
        require(len(package) == export.size, "the download is not complete")
        return package

    def take(self, name: str, offset: int, length: int) -> bytes:
        """Reads `length` bytes from an offset on, then hangs up."""
        call = exports.DownloadExportRequest(name=name, offset=offset)
        stream = self.exports.DownloadExport(call, timeout=self.patience)
        data = bytearray()
        try:
            for chunk in stream:
                require(chunk.offset == offset + len(data), "a chunk is out of place")
                data += chunk.data
                if len(data) >= length:
                    break
        finally:
            stream.cancel()
        return bytes(data[:length])

    def open_package(self, package: bytes) -> None:
        """Decrypts in memory; the plain text never lies on the disk."""
        identity = pyrage.x25519.Identity.from_str(self.profile.export_identity())
        plain = pyrage.decrypt(package, [identity])
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            contents = {name: file.read() for name, file in files.items() if file}
        require("manifest.json" in contents, "the package has no manifest")
        for name, content in contents.items():
            say(f"            {name:<40}{len(content):>10} bytes")

    # -- proofs --------------------------------------------------------------------------------

    def receive(self, receipt: Receipt) -> None:
        """Verifies a receipt offline, and keeps the newest checkpoint seen."""
        checkpoint = check_receipt(receipt.leaf, receipt.index, receipt.proof, self.profile.pins)
        if self.checkpoint:
            self.check_grown(self.checkpoint, checkpoint)
        self.checkpoint = checkpoint

    def check_grown(self, older: Checkpoint, newer: Checkpoint) -> None:
        """The log only ever grows: the newer checkpoint's tree holds the older one's."""
        require(newer.size >= older.size, "the gateway shows an older checkpoint than before")
        if newer.size == older.size:
            require(newer.root == older.root, "two roots for one size")
            return
        proof = self.audit.GetConsistencyProof(
            audit.GetConsistencyProofRequest(
                log=audit.LOG_TRAIL, old_size=older.size, new_size=newer.size
            ),
            timeout=CALL_SECONDS,
        )
        check_consistency(older.size, older.root, newer.size, newer.root, list(proof.hashes))
        kept = {
            "old_size": older.size,
            "old_root": b64encode(older.root).decode(),
            "new_size": newer.size,
            "new_root": b64encode(newer.root).decode(),
            "proof": [b64encode(one).decode() for one in proof.hashes],
        }
        self.save("consistency.json", json.dumps(kept))

    def renew_receipt(self, instruction: str) -> None:
        call = instructions.GetReceiptRequest(name=f"instructions/{payload_of(instruction)['jti']}")
        receipt = self.instructions.GetReceipt(call, timeout=CALL_SECONDS).receipt
        self.receive(receipt)
        check_admission(receipt.leaf, instruction)
        say("receipt   renewed to the newest checkpoint, whose tree holds the older ones")

    def save_evidence(self, instruction: str) -> None:
        call = instructions.GetEvidenceRequest(
            name=f"instructions/{payload_of(instruction)['jti']}"
        )
        bundle = self.instructions.GetEvidence(call, timeout=CALL_SECONDS).bundle
        require(self.subject.encode() not in bundle, "the evidence names the user")
        self.save("erase.evidence.json", bundle)
        say("evidence  saved, without personal data: mandate-verify evidence checks it")

    # -- what must not work --------------------------------------------------------------------

    def submit_again(self, instruction: str) -> None:
        """The same instruction again: the first answer, and nothing happens twice."""
        name = f"instructions/{payload_of(instruction)['jti']}"
        call = instructions.GetInstructionRequest(name=name)
        first = self.instructions.GetInstruction(call, timeout=CALL_SECONDS).instruction
        again = self.submit(instruction).instruction
        require(again.name == first.name, "the same instruction got another name")
        require(again.trail_index == first.trail_index, "the same instruction got another leaf")
        require(list(again.executions) == list(first.executions), "it would run a second time")
        say("again     the same instruction gets the first answer")

    def refused(self, what: str, instruction: str, reasons: set[str]) -> None:
        try:
            self.submit(instruction)
        except grpc.RpcError as error:
            reason = reason_of(error)
            require(reason in reasons, f"{what}: refused as {reason}, not {sorted(reasons)}")
            say(f"refused   {what}: {reason}")
            return
        raise Failed(f"{what} was taken")

    def try_attacks(self, erase: str) -> None:
        preview = self.sign("preview")
        self.refused(
            "a tampered payload", with_member(preview, "act", "erase"), {"SIGNATURE_INVALID"}
        )
        self.refused("a withheld disclosure", preview.split("~")[0] + "~", {"DISCLOSURE_MISSING"})
        self.refused(
            "another user put in",
            with_other_user(preview),
            {"DISCLOSURE_ALIEN", "DISCLOSURE_MISSING"},
        )
        self.refused(
            "a used jti on another payload",
            self.sign("preview", jti=payload_of(erase)["jti"]),
            {"JTI_REUSED"},
        )
        nowhere = "apps/no-such-app"
        self.refused(
            "an app that is not ours",
            self.sign("preview", [user(nowhere, self.subject)], app=nowhere),
            {"APP_UNKNOWN"},
        )

    # -- all of it -----------------------------------------------------------------------------

    def run(self, wait_seconds: float) -> None:
        self.take_request(wait_seconds)
        self.key_set = self.read_key_set()
        self.carry_out("preview")
        _, exported = self.carry_out("export", export=export_section(self.profile, "cn"))
        for execution in exported:
            self.fetch_export(execution)
        erase, _ = self.carry_out("erase")
        self.renew_receipt(erase)
        self.save_evidence(erase)
        self.submit_again(erase)
        self.end_contract_and_take_back()
        self.try_attacks(erase)

    def save(self, name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        (self.folder / name).write_bytes(data)


def with_member(instruction: str, name: str, value: str) -> str:
    """The instruction with a member of its payload changed and its signature kept."""
    signed_part, *rest = instruction.split("~")
    header, _, signature = signed_part.split(".")
    payload = payload_of(instruction) | {name: value}
    changed = b64url(json.dumps(payload).encode())
    return "~".join([f"{header}.{changed}.{signature}", *rest])


def with_other_user(instruction: str) -> str:
    """The instruction with its first disclosure naming somebody else."""
    signed_part, first, *rest = instruction.split("~")
    salt, identifier = json.loads(b64url_decode(first))
    other = json.dumps([salt, identifier | {"sub": "somebody-else"}])
    return "~".join([signed_part, b64url(other.encode()), *rest])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", required=True, help="a controller's profile file")
    parser.add_argument("--subject", default="u_8839201", help="a user id in the app")
    parser.add_argument("--dir", type=Path, default=Path("walk-out"), help="where files are left")
    parser.add_argument("--wait", type=float, default=5, help="seconds to wait for a request")
    parser.add_argument("--patience", type=int, default=120, help="seconds for each execution")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    chosen.dir.mkdir(parents=True, exist_ok=True)
    profile = Profile.load(chosen.profile)
    try:
        Walk(profile, chosen.subject, chosen.dir, chosen.patience).run(chosen.wait)
    except (Failed, NotProven, DidNotEnd) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except grpc.RpcError as error:
        print(f"FAILED: {reason_of(error)} ({error.details()})", file=sys.stderr)
        return 1
    say("everything held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
