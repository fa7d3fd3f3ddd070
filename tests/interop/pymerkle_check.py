#!/usr/bin/env python3
"""Checks an exported log with programs that are not Mandate's.

    pymerkle_check.py LOG_DIR [RECEIPT_FILE LEAF_FILE]... [--consistency FILE] [--spoil LEVEL]

LOG_DIR holds `checkpoint`, `vkey`, `tile/entries/...` and `tile/<L>/...` of every level (C2SP tlog-tiles); partial
tiles are those of its size and no others. With --spoil each file below `tile/` is spoilt in a copy, and the check
must notice. Each RECEIPT_FILE is a
C2SP tlog-proof, LEAF_FILE the bytes of the leaf it is for. FILE is JSON
{"old_size", "old_root", "new_size", "new_root", "proof": [base64, ...]}.

Needs from PyPI: `pymerkle` 7 (trees and proofs) and `cryptography` (Ed25519). pymerkle hashes as
RFC 6962 does, prefixes 0x00 and 0x01, unless its security is switched off. Two things differ:
its inclusion path begins with the leaf's own hash, and its consistency proof is finer than RFC
9162's. So a consistency proof is checked twice over: pymerkle must find the two roots consistent,
and each hash of the proof must be the root that pymerkle computes of the range RFC 9162 names.

Exit 0 when all agree; 1 with one line when something does not; 2 when it was called wrongly.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InclusionProof, InmemoryTree, InvalidProof, verify_consistency, verify_inclusion


class Disagreement(Exception):
    """Something in the log is not as it should be."""


def decode(text):
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Disagreement("a base64 value is malformed") from error


def decimal(text):
    if not re.fullmatch("0|[1-9][0-9]*", text, re.ASCII):
        raise Disagreement("a number is malformed")
    return int(text)


class VerifierKey:
    """A C2SP vkey of type 0x01: a log's Ed25519 key."""

    def __init__(self, vkey):
        parts = vkey.strip().split("+", 2)
        if len(parts) != 3:
            raise Disagreement("the vkey is malformed")
        self.name, key_id, encoded = parts
        key = decode(encoded)
        if len(key) != 33 or key[0] != 1:
            raise Disagreement("the vkey is no Ed25519 log key")
        self.key_id = hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4]
        if self.key_id.hex() != key_id:
            raise Disagreement("the vkey's key id is not its own")
        self.public = Ed25519PublicKey.from_public_bytes(key[1:])

    def open(self, note):
        """The origin, size and root of a checkpoint that this key signed."""
        text, blank, signatures = note.rpartition("\n\n")
        if not blank or not signatures.endswith("\n"):
            raise Disagreement("the checkpoint is no signed note")
        text += "\n"
        signed = False
        for line in signatures[:-1].split("\n"):
            dash, name, encoded = (line.split(" ") + ["", ""])[:3]
            if dash != "\u2014":
                raise Disagreement("a signature line is malformed")
            signature = decode(encoded)
            if name == self.name and signature[:4] == self.key_id:
                try:
                    self.public.verify(signature[4:], text.encode())
                except InvalidSignature as error:
                    raise Disagreement("the checkpoint's signature does not verify") from error
                signed = True
        if not signed:
            raise Disagreement("the checkpoint is not signed by the log's key")
        lines = text.split("\n")
        if len(lines) < 4:
            raise Disagreement("the checkpoint has too few lines")
        return lines[0], decimal(lines[1]), decode(lines[2])


def index_path(index):
    groups = []
    while True:
        index, group = divmod(index, 1000)
        groups.insert(0, f"{group:03}")
        if index == 0:
            break
    return "/".join(["x" + group for group in groups[:-1]] + [groups[-1]])


def read_entries(log, size):
    entries = []
    while len(entries) < size:
        width = min(256, size - len(entries))
        path = log / "tile/entries" / (index_path(len(entries) // 256) + ("" if width == 256 else f".p/{width}"))
        try:
            bundle = path.read_bytes()
        except OSError as error:
            raise Disagreement(f"{path.relative_to(log)} cannot be read") from error
        at = 0
        for _ in range(width):
            if at + 2 > len(bundle):
                raise Disagreement(f"{path.relative_to(log)} ends early")
            (length,) = struct.unpack_from(">H", bundle, at)
            entry = bundle[at + 2 : at + 2 + length]
            if len(entry) != length:
                raise Disagreement(f"{path.relative_to(log)} ends early")
            entries.append(entry)
            at += 2 + length
        if at != len(bundle):
            raise Disagreement(f"{path.relative_to(log)} is too long")
    return entries


def tiles_of(entries):
    """Path and bytes of every tile of the log, as pymerkle computes them: a hash of level L is the root of
    256^L leaves, and a level holds a hash only of leaves that are all there."""
    level, span = 0, 1
    while len(entries) >= span:
        count = len(entries) // span
        hashes = [
            InmemoryTree.init_from_entries(entries[at * span : (at + 1) * span]).get_root() for at in range(count)
        ]
        for start in range(0, count, 256):
            width = min(256, count - start)
            path = f"tile/{level}/" + index_path(start // 256) + ("" if width == 256 else f".p/{width}")
            yield path, b"".join(hashes[start : start + width])
        level, span = level + 1, span * 256


def bundles_of(size):
    """The paths of the entries, which were read before."""
    for start in range(0, size, 256):
        width = min(256, size - start)
        yield "tile/entries/" + index_path(start // 256) + ("" if width == 256 else f".p/{width}")


def check_tiles(log, entries):
    """Every tile of every level is the one that pymerkle computes; there is none too few and none too many.
    Answers how many there are, by level."""
    known, levels = set(bundles_of(len(entries))), {}
    for path, expected in tiles_of(entries):
        try:
            tile = (log / path).read_bytes()
        except OSError as error:
            raise Disagreement(f"{path} cannot be read") from error
        if tile != expected:
            raise Disagreement(f"{path} is not that of the entries")
        known.add(path)
        level = path.split("/")[1]
        levels[level] = levels.get(level, 0) + 1
    for file in (log / "tile").rglob("*"):
        if file.is_file() and file.relative_to(log).as_posix() not in known:
            raise Disagreement(f"{file.relative_to(log)} is no tile of a log of {len(entries)} leaves")
    return levels


def check_log(log):
    """Checkpoint, entries and tiles. Answers key, origin, entries, tree and the number of tiles by level."""
    key = VerifierKey((log / "vkey").read_text(encoding="utf-8"))
    origin, size, root = key.open((log / "checkpoint").read_bytes().decode("utf-8"))
    entries = read_entries(log, size)
    tree = InmemoryTree.init_from_entries(entries)
    if tree.get_root() != root:
        raise Disagreement("the checkpoint's root is not the one that pymerkle computes")
    return key, origin, entries, tree, check_tiles(log, entries)


def check_spoilt(log, level):
    """Each tile of the log spoilt in turn, in a copy: changed, cut short, away, and one that is too many. Every
    one must be a disagreement. The log must have a tile of that level."""
    if not list((log / "tile" / str(level)).rglob("*")):
        raise Disagreement(f"the log is too small: it has no tile of level {level} to spoil")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "log"
        shutil.copytree(log, copy)
        tiles = [file for file in (copy / "tile").rglob("*") if file.is_file()]
        for tile in tiles:
            good = tile.read_bytes()
            for bad in (bytes([good[0] ^ 1]) + good[1:], good[:-1] + bytes([good[-1] ^ 128]), good[:-1], None):
                tile.unlink() if bad is None else tile.write_bytes(bad)
                must_disagree(copy, f"{tile.relative_to(copy)} spoilt")
                tile.write_bytes(good)
        extra = copy / "tile" / str(level + 1) / "000.p" / "1"
        extra.parent.mkdir(parents=True)
        extra.write_bytes(bytes(32))
        must_disagree(copy, f"{extra.relative_to(copy)} added")
        extra.unlink()
        check_log(copy)
    return len(tiles)


def must_disagree(log, what):
    try:
        check_log(log)
    except Disagreement:
        return
    raise Disagreement(f"nothing was noticed with {what}")


def check_receipt(key, origin, tree, receipt, leaf, name):
    head, blank, note = receipt.partition("\n\n")
    if not blank:
        raise Disagreement(f"{name}: no blank line")
    lines = head.split("\n")
    if lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Disagreement(f"{name}: another format")
    if lines and lines[0].startswith("extra "):
        decode(lines.pop(0)[6:])
    if not lines or not lines[0].startswith("index "):
        raise Disagreement(f"{name}: no index")
    index = decimal(lines.pop(0)[6:])
    path = [decode(line) for line in lines]
    its_origin, size, root = key.open(note)
    if its_origin != origin:
        raise Disagreement(f"{name}: another origin")
    if size > tree.get_size() or index >= size:
        raise Disagreement(f"{name}: outside the log")
    if tree.get_root(size) != root:
        raise Disagreement(f"{name}: its checkpoint is not of this log")
    theirs = tree.prove_inclusion(index + 1, size)
    if theirs.path[1:] != path:
        raise Disagreement(f"{name}: pymerkle makes another proof")
    base = tree.hash_buff(leaf)
    ours = InclusionProof("sha256", True, size, index + 1, theirs.rule, [base, *path])
    try:
        verify_inclusion(base, root, ours, index=index + 1, size=size, algorithm="sha256")
    except InvalidProof as error:
        raise Disagreement(f"{name}: pymerkle does not take it: {error}") from error


def consistency_ranges(old, new):
    """The leaf ranges whose roots make up a consistency proof (RFC 9162, 2.1.4.1)."""

    def subproof(old, start, end, whole):
        if old == end:
            return [] if whole else [(start, end)]
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if old <= middle:
            return subproof(old, start, middle, whole) + [(middle, end)]
        return subproof(old, middle, end, False) + [(start, middle)]

    return subproof(old, 0, new, True) if 0 < old < new else []


def check_consistency(tree, entries, claim):
    old, new = claim["old_size"], claim["new_size"]
    old_root, new_root = decode(claim["old_root"]), decode(claim["new_root"])
    proof = [decode(line) for line in claim["proof"]]
    if not 0 < old <= new <= tree.get_size():
        raise Disagreement("consistency: the sizes lie outside the log")
    try:
        verify_consistency(
            old_root,
            new_root,
            tree.prove_consistency(old, new),
            prior_size=old,
            later_size=new,
            algorithm="sha256",
        )
    except InvalidProof as error:
        raise Disagreement(f"consistency: pymerkle does not take the roots: {error}") from error
    ranges = consistency_ranges(old, new)
    if len(ranges) != len(proof):
        raise Disagreement("consistency: the proof has another length than RFC 9162 says")
    for number, ((start, end), digest) in enumerate(zip(ranges, proof)):
        if InmemoryTree.init_from_entries(entries[start:end]).get_root() != digest:
            raise Disagreement(f"consistency: hash {number} is not the root of leaves {start} to {end}")


def main():
    parser = argparse.ArgumentParser(description="check an exported log with pymerkle")
    parser.add_argument("log", type=Path, metavar="LOG_DIR")
    parser.add_argument("pairs", type=Path, nargs="*", metavar="RECEIPT_FILE LEAF_FILE")
    parser.add_argument("--consistency", type=Path, metavar="FILE")
    parser.add_argument("--spoil", type=int, metavar="LEVEL", help="the log must have tiles up to LEVEL: spoil each")
    arguments = parser.parse_intermixed_args()
    if len(arguments.pairs) % 2:
        parser.error("each RECEIPT_FILE needs its LEAF_FILE")

    key, origin, entries, tree, levels = check_log(arguments.log)
    for receipt, leaf in zip(arguments.pairs[::2], arguments.pairs[1::2]):
        text = receipt.read_bytes().decode("utf-8")
        check_receipt(key, origin, tree, text, leaf.read_bytes(), receipt.name)
    if arguments.consistency:
        check_consistency(tree, entries, json.loads(arguments.consistency.read_text(encoding="utf-8")))
    tiles = ", ".join(f"{count} of level {level}" for level, count in levels.items())
    print(
        f"{origin}: {len(entries)} leaves, root, tiles ({tiles}), {len(arguments.pairs) // 2} receipts"
        + (" and a consistency proof" if arguments.consistency else "")
        + " agree with pymerkle"
    )
    if arguments.spoil is not None:
        print(f"each of {check_spoilt(arguments.log, arguments.spoil)} files spoilt in a copy: noticed")


if __name__ == "__main__":
    try:
        main()
    except (Disagreement, OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        print(f"pymerkle_check: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
