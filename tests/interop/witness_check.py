"""A log that is not ours asks `mandate witness`: Python's ssl and http.client, pyca's Ed25519, hashlib's SHA-256.

Usage: witness_check.py MANDATE SETUP WORK     SETUP is what `mandate init` made, WORK a folder to make.

It plays a log of its own, as C2SP tlog-witness describes one, and checks each cosignature (C2SP
tlog-cosignature) without any of our code.
"""

import base64
import hashlib
import http.client
import pathlib
import ssl
import subprocess
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DASH = "\u2014"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class Log:
    """A key and a name; signs checkpoints (C2SP signed-note)."""

    def __init__(self, origin: str):
        self.origin = origin
        self.key = Ed25519PrivateKey.generate()
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
        self.vkey = "+".join([origin, self.id.hex(), b64(b"\x01" + public)])

    def body(self, size: int, root: bytes) -> str:
        return f"{self.origin}\n{size}\n{b64(root)}\n"

    def sign(self, body: str) -> str:
        return f"{body}\n{DASH} {self.origin} {b64(self.id + self.key.sign(body.encode()))}\n"


def check_cosignature(line: str, vkey: str, body: str) -> int:
    """The time of a cosignature over the body; raises where it is not good."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == 4, "no cosigner's key"
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id
    dash, signer, signature = line.split(" ")
    assert (dash, signer) == (DASH, name), line
    raw = base64.b64decode(signature, validate=True)
    assert raw[:4].hex() == key_id and len(raw) == 4 + 8 + 64
    seconds = int.from_bytes(raw[4:12], "big")
    message = f"cosignature/v1\ntime {seconds}\n{body}"
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[12:], message.encode())
    return seconds


def main() -> None:
    mandate, setup, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    work.mkdir(parents=True)
    log, other = Log("elsewhere.example/trail"), Log("elsewhere.example/authority")
    pins = work / "pins.toml"
    pins.write_text(
        f'[trail]\norigin = "{log.origin}"\nvkey = "{log.vkey}"\n'
        f'[authority]\norigin = "{other.origin}"\nvkey = "{other.vkey}"\n'
    )
    folder = work / "w1"
    subprocess.run(
        [mandate, "witness", "init", folder, "--id", "w1", "--trust-domain", "ppio.example", "--pins", pins]
        + ["--gateway-ca", setup / "ca/ppio.pem", "--gateway-crl", setup / "ca/ppio.crl"]
        + ["--listen", "127.0.0.1:0"],
        check=True,
    )
    snippet = (folder / "for-the-gateway.toml").read_text()
    vkey = next(line.split('"')[1] for line in snippet.splitlines() if line.startswith("vkey"))

    tls = ssl.create_default_context(cafile=folder / "ca.pem")
    tls.load_cert_chain(setup / "keys/gateway/calling.pem", setup / "keys/gateway/calling.key")

    def start():
        process = subprocess.Popen(
            [mandate, "witness", "--config", folder / "witness.toml"], stdout=subprocess.PIPE, text=True
        )
        host, port = process.stdout.readline().split()[-1].rsplit(":", 1)
        return process, http.client.HTTPSConnection(host, int(port), context=tls, timeout=20)

    process, line = start()

    def ask(old: int, proof: list, checkpoint: str):
        text = f"old {old}\n" + "".join(b64(h) + "\n" for h in proof) + "\n" + checkpoint
        line.request("POST", "/add-checkpoint", text.encode())
        answer = line.getresponse()
        return answer.status, answer.getheader("content-type"), answer.read().decode()

    leaves = [leaf(f"entry {n}".encode()) for n in range(4)]
    left, right = node(*leaves[:2]), node(*leaves[2:])
    heads = {1: leaves[0], 2: left, 4: node(left, right)}
    signed = {size: log.sign(log.body(size, root)) for size, root in heads.items()}
    try:
        for old, size, proof in [(0, 1, []), (1, 2, [leaves[1]]), (2, 4, [right]), (4, 4, [])]:
            status, _, answer = ask(old, proof, signed[size])
            assert status == 200, (size, status, answer)
            seconds = check_cosignature(answer.rstrip("\n"), vkey, log.body(size, heads[size]))
            assert abs(time.time() - seconds) < 60
        process.kill()
        process.wait()
        process, line = start()
        assert ask(0, [], signed[4]) == (409, "text/x.tlog.size", "4\n"), "it forgot after kill -9"
        assert ask(2, [right], signed[2])[0] == 409, "a log that shrank was cosigned"
        fork = log.sign(log.body(4, leaf(b"another")))
        assert ask(4, [], fork)[0] == 409, "a second tree of one size was cosigned"
        grown = log.sign(log.body(8, leaf(b"another")))
        assert ask(4, [left], grown)[0] == 422, "a tree that does not continue was cosigned"
        forged = other.sign(log.body(4, heads[4]))
        assert ask(4, [], forged)[0] == 403, "a stranger's signature was taken"
        stranger = Log("stranger.example/log")
        assert ask(0, [], stranger.sign(stranger.body(1, leaves[0])))[0] == 404
        assert ask(9, [], signed[4])[0] == 400
        line.request("POST", "/add-checkpoint", b"nonsense")
        assert line.getresponse().status == 400
    finally:
        process.kill()
        process.wait()
    print("cosignatures of mandate witness verify; what it must refuse it refuses")


main()
