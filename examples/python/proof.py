"""Checks, offline and by itself, what Mandate proves: receipts, checkpoints and agents' reports.

Nothing here asks the gateway anything. What is trusted stands in pins.toml: the log's key, the
witnesses' keys and how many must have signed, and the agents' report keys.
Formats: RFC 6962 (hashes), RFC 9162 section 2.1 (proofs), C2SP signed-note, tlog-checkpoint,
tlog-cosignature and tlog-proof.
"""

import hashlib
import json
import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from instruction import instruction_digest, payload_of

LOG_SIGNATURE = 0x01
COSIGNATURE = 0x04


class NotProven(Exception):
    """Something does not hold; the text says what."""


def decode64(text: str) -> bytes:
    """Standard base64, and only its one canonical spelling."""
    data = b64decode(text, validate=True)
    if b64encode(data).decode() != text:
        raise NotProven("base64 that is not canonical")
    return data


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_from_inclusion(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        raise NotProven("the index is outside the tree")
    position, last, root = index, size - 1, leaf_hash(leaf)
    for sibling in path:
        if last == 0:
            raise NotProven("the proof is too long")
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise NotProven("the proof is too short")
    return root


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: list[bytes]
) -> None:
    """The newer tree holds the older one unchanged (RFC 9162 section 2.1.4.2)."""
    if not 0 < old_size <= new_size:
        raise NotProven("the sizes are out of order")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise NotProven("two roots for one size")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise NotProven("the consistency proof is empty")
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise NotProven("the consistency proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise NotProven("the newer tree does not hold the older one")


@dataclass(frozen=True)
class NoteKey:
    """A key that signs notes, read from its text `name+id+base64(type, public key)`."""

    name: str
    key_id: bytes
    kind: int
    public: Ed25519PublicKey

    @staticmethod
    def parse(vkey: str) -> "NoteKey":
        name, key_id, encoded = vkey.split("+", 2)
        material = decode64(encoded)
        digest = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
        if digest.hex() != key_id or len(material) != 33:
            raise NotProven("a pinned key's id does not fit it")
        return NoteKey(name, digest, material[0], Ed25519PublicKey.from_public_bytes(material[1:]))

    def has_signed(self, text: bytes, signatures: list[tuple[str, bytes]]) -> bool:
        for name, signature in signatures:
            if name == self.name and signature[:4] == self.key_id:
                self._verify(text, signature[4:])
                return True
        return False

    def _verify(self, text: bytes, signature: bytes) -> None:
        message = text
        if self.kind == COSIGNATURE:
            seconds = struct.unpack(">Q", signature[:8])[0]
            message, signature = f"cosignature/v1\ntime {seconds}\n".encode() + text, signature[8:]
        elif self.kind != LOG_SIGNATURE:
            raise NotProven("a pinned key is of another kind")
        try:
            self.public.verify(signature, message)
        except InvalidSignature:
            raise NotProven(f"the signature of {self.name} does not verify") from None


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    @staticmethod
    def open(note: str, pins: dict[str, Any], log: str = "trail") -> "Checkpoint":
        """Reads a checkpoint whose signatures meet the pins. Verified first, parsed after."""
        text, signatures = split_note(note)
        if not NoteKey.parse(pins[log]["vkey"]).has_signed(text, signatures):
            raise NotProven("the checkpoint is not signed by the log")
        witnesses = pins.get("witnesses", {"required": 0, "vkeys": []})
        keys = [NoteKey.parse(vkey) for vkey in set(witnesses["vkeys"])]
        if sum(key.has_signed(text, signatures) for key in keys) < witnesses["required"]:
            raise NotProven("too few witnesses have signed the checkpoint")
        origin, size, root = text.decode().split("\n")[:3]
        if origin != pins[log]["origin"]:
            raise NotProven("the checkpoint is of another log")
        return Checkpoint(origin, int(size), decode64(root))


def split_note(note: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    """A signed note's text (with its last newline) and its signatures."""
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NotProven("no signed note")
    signatures = []
    for line in tail[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        if dash != "\u2014":
            raise NotProven("a malformed signature line")
        signatures.append((name, decode64(encoded)))
    return (text + "\n").encode(), signatures


def check_receipt(leaf: bytes, index: int, proof: str, pins: dict[str, Any]) -> Checkpoint:
    """A receipt holds: the leaf lies at its index in the tree of a checkpoint the log signed."""
    try:
        return _check_receipt(leaf, index, proof, pins)
    except (ValueError, struct.error) as error:
        raise NotProven("the receipt is malformed") from error


def _check_receipt(leaf: bytes, index: int, proof: str, pins: dict[str, Any]) -> Checkpoint:
    head, _, note = proof.partition("\n\n")
    lines = head.split("\n")
    if lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise NotProven("no tlog-proof")
    if lines and lines[0].startswith("extra "):
        lines.pop(0)  # Not authenticated, and not needed here.
    if not lines or lines.pop(0) != f"index {index}":
        raise NotProven("the proof is for another index")
    checkpoint = Checkpoint.open(note, pins)
    path = [decode64(line) for line in lines]
    if root_from_inclusion(leaf, index, checkpoint.size, path) != checkpoint.root:
        raise NotProven("the leaf is not in the tree the checkpoint names")
    return checkpoint


def check_admission(leaf: bytes, instruction: str) -> None:
    """The leaf says that this very instruction (compact form) was admitted."""
    event = json.loads(leaf)
    if event["type"] != "mandate.instruction.admitted":
        raise NotProven("the leaf is no admission")
    if event["subject"] != f"instructions/{payload_of(instruction)['jti']}":
        raise NotProven("the leaf is of another instruction")
    if event["data"]["digest"] != instruction_digest(instruction):
        raise NotProven("the trail holds another digest than the instruction's")
    if event["data"]["signed_part"] != instruction.split("~")[0]:
        raise NotProven("the trail holds another signed part than was sent")


def check_report(report: str, agents: dict[str, Any]) -> dict[str, Any]:
    """An agent's signed report: who signed it is whom it says it is from. Returns its claims."""
    for name, pin in agents.items():
        signed = JWS()
        signed.deserialize(report)
        try:
            signed.verify(JWK.from_json(pin["report_key"]))
        except JWException:
            continue
        if signed.jose_header.get("typ") != "report+jwt":
            raise NotProven("the signed form is no report")
        claims = json.loads(signed.payload)
        if claims["iss"] != f"agents/{name}":
            raise NotProven("the report is in another agent's name")
        return claims
    raise NotProven("no pinned agent has signed the report")
