"""The Python client by itself, against known answers and libraries not ours. Needs no gateway."""

import hashlib
import json
import tempfile
import unittest
from base64 import b64encode
from pathlib import Path

import client_path
import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.common import SDObj
from sd_jwt.verifier import SDJWTVerifier

from instruction import (
    instruction_digest,
    payload_of,
    sign_alone,
    sign_together,
    subject_digests,
    user,
)
from mandate_client import Profile, b64url, b64url_decode, load_key, mint_token, uuid7
from proof import (
    Checkpoint,
    NoteKey,
    NotProven,
    check_consistency,
    check_receipt,
    check_report,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    split_note,
)

SAMPLE = client_path.ROOT / "tests" / "vectors" / "sample-instruction-erase.json"
ORIGIN = "log.example/trail"

# The eight leaves of Certificate Transparency's test vectors, and the roots of their trees.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def split_point(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    at = split_point(len(leaves))
    return node_hash(root_of(leaves[:at]), root_of(leaves[at:]))


def inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    at = split_point(len(leaves))
    if index < at:
        return inclusion(index, leaves[:at]) + [root_of(leaves[at:])]
    return inclusion(index - at, leaves[at:]) + [root_of(leaves[:at])]


def consistency(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    at = split_point(len(leaves))
    if old <= at:
        return consistency(old, leaves[:at], whole) + [root_of(leaves[at:])]
    return consistency(old - at, leaves[at:], False) + [root_of(leaves[:at])]


def b64(data: bytes) -> str:
    return b64encode(data).decode()


class Note:
    """A log's signing side, for these tests."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        material = b"\x01" + self.key.public_key().public_bytes_raw()
        self.key_id = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
        self.vkey = f"{name}+{self.key_id.hex()}+{b64(material)}"

    def sign(self, text: str) -> str:
        signature = self.key.sign(text.encode())
        return f"{text}\n\u2014 {self.name} {b64(self.key_id + signature)}\n"

    def checkpoint(self, leaves: list[bytes]) -> str:
        return self.sign(f"{ORIGIN}\n{len(leaves)}\n{b64(root_of(leaves))}\n")


def receipt(log: Note, index: int, leaves: list[bytes]) -> str:
    path = "".join(f"{b64(one)}\n" for one in inclusion(index, leaves))
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{path}\n{log.checkpoint(leaves)}"


def pins_for(log: Note) -> dict:
    return {"trail": {"origin": ORIGIN, "vkey": log.vkey}}


class Proofs(unittest.TestCase):
    def test_the_roots_of_certificate_transparency_are_reached_from_every_leaf(self) -> None:
        for size, root in enumerate(CT_ROOTS, start=1):
            leaves = CT_LEAVES[:size]
            for index, leaf in enumerate(leaves):
                path = inclusion(index, leaves)
                self.assertEqual(root_from_inclusion(leaf, index, size, path).hex(), root)

    def test_a_proof_for_another_index_size_or_length_does_not_hold(self) -> None:
        leaves = [bytes([n]) for n in range(23)]
        root, path = root_of(leaves), inclusion(9, leaves)
        for index, size, hashes in (
            (8, 23, path),
            (10, 23, path),
            (9, 11, path),
            (9, 23, path[:-1]),
            (9, 23, path + [path[0]]),
            (9, 23, path[::-1]),
            (23, 23, path),
            (-1, 23, path),
        ):
            with self.subTest(index=index, size=size, hashes=len(hashes)):
                try:
                    self.assertNotEqual(root_from_inclusion(leaves[9], index, size, hashes), root)
                except NotProven:
                    pass

    def test_every_older_tree_is_shown_inside_every_newer_one(self) -> None:
        leaves = [bytes([n]) for n in range(20)]
        for new in range(1, 21):
            for old in range(1, new + 1):
                roots = root_of(leaves[:old]), root_of(leaves[:new])
                proof = consistency(old, leaves[:new])
                check_consistency(old, roots[0], new, roots[1], proof)
                with self.assertRaises(NotProven):
                    check_consistency(old, leaf_hash(b"other"), new, roots[1], proof)
                with self.assertRaises(NotProven):
                    check_consistency(old, roots[0], new, roots[1], proof + [roots[0]])

    def test_the_note_of_the_c2sp_specification_verifies(self) -> None:
        key = NoteKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
        note = (
            "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YE"
            "q6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
        )
        self.assertTrue(key.has_signed(*split_note(note)))
        with self.assertRaises(NotProven):
            key.has_signed(*split_note(note.replace("example message", "exemple message")))

    def test_a_receipt_holds_and_a_changed_character_anywhere_breaks_it(self) -> None:
        log = Note(ORIGIN)
        leaves = [bytes([n]) for n in range(11)]
        text, pins = receipt(log, 6, leaves), pins_for(log)
        self.assertEqual(
            check_receipt(leaves[6], 6, text, pins), Checkpoint(ORIGIN, 11, root_of(leaves))
        )
        for at, character in enumerate(text):
            changed = text[:at] + chr(ord(character) ^ 1) + text[at + 1 :]
            with self.subTest(at=at), self.assertRaises(NotProven):
                check_receipt(leaves[6], 6, changed, pins)
        with self.assertRaises(NotProven):
            check_receipt(b"another leaf", 6, text, pins)
        with self.assertRaises(NotProven):
            check_receipt(leaves[6], 6, text, pins_for(Note(ORIGIN)))

    def test_too_few_witnesses_are_not_enough(self) -> None:
        log, witness = Note(ORIGIN), Note("witness.example")
        material = b"\x04" + witness.key.public_key().public_bytes_raw()
        key_id = hashlib.sha256(b"witness.example\n" + material).digest()[:4]
        vkey = f"witness.example+{key_id.hex()}+{b64(material)}"
        pins = pins_for(log) | {"witnesses": {"required": 1, "vkeys": [vkey]}}
        note = log.checkpoint(CT_LEAVES)
        with self.assertRaises(NotProven):
            Checkpoint.open(note, pins)
        text = note.partition("\n\n")[0] + "\n"
        for stamped, claimed in ((7, 7), (7, 8)):
            signature = witness.key.sign(f"cosignature/v1\ntime {stamped}\n{text}".encode())
            line = b64(key_id + claimed.to_bytes(8, "big") + signature)
            cosigned = f"{note}\u2014 witness.example {line}\n"
            if stamped == claimed:
                self.assertEqual(Checkpoint.open(cosigned, pins).size, 8)
            else:
                with self.assertRaises(NotProven):
                    Checkpoint.open(cosigned, pins)

    def test_a_report_counts_only_from_the_agent_that_signed_it(self) -> None:
        mine, other = (JWK.generate(kty="OKP", crv="Ed25519") for _ in range(2))
        pins = {
            "one": {"report_key": mine.export_public()},
            "two": {"report_key": other.export_public()},
        }

        def report(key: JWK, iss: str, typ: str = "report+jwt") -> str:
            jws = JWS(json.dumps({"iss": iss}))
            jws.add_signature(key, protected=json.dumps({"typ": typ, "alg": "EdDSA"}))
            return jws.serialize(compact=True)

        self.assertEqual(check_report(report(mine, "agents/one"), pins)["iss"], "agents/one")
        stranger = JWK.generate(kty="OKP", crv="Ed25519")
        for bad in (
            report(other, "agents/one"),
            report(stranger, "agents/one"),
            report(mine, "agents/one", typ="at+jwt"),
        ):
            with self.assertRaises(NotProven):
                check_report(bad, pins)


class Instructions(unittest.TestCase):
    def setUp(self) -> None:
        self.keys = [JWK.generate(kty="OKP", crv="Ed25519"), JWK.generate(kty="EC", crv="P-256")]
        self.claims = {
            "iss": "controllers/xingyu",
            "sub_id": {
                "format": "aliases",
                "identifiers": [SDObj(user("apps/xingyu-live", "u_1"))],
            },
        }

    def test_the_shared_sample_reads_as_it_says(self) -> None:
        sample = json.loads(SAMPLE.read_text())
        self.assertEqual(payload_of(sample["compact"]), sample["payload"])
        self.assertEqual(instruction_digest(sample["compact"]), sample["instruction_digest"])
        self.assertEqual(len(subject_digests(sample["compact"])), len(sample["disclosures"]))

    def test_the_reference_verifier_finds_the_subject_only_in_the_disclosures(self) -> None:
        for key in self.keys:
            compact = sign_alone(dict(self.claims), key)
            signed_part, disclosure, last = compact.split("~")
            self.assertEqual(last, "")
            self.assertNotIn("u_1", b64url_decode(signed_part.split(".")[1]).decode())
            verified = SDJWTVerifier(compact, lambda *_, key=key: key).get_verified_payload()
            self.assertEqual(verified["sub_id"]["identifiers"], [user("apps/xingyu-live", "u_1")])
            digest = b64url(hashlib.sha256(disclosure.encode()).digest())
            self.assertEqual(subject_digests(compact), [digest])
            header = json.loads(b64url_decode(signed_part.split(".")[0]))
            self.assertEqual(set(header), {"typ", "alg", "kid"})
            self.assertEqual(
                (header["typ"], header["kid"]), ("instruction+sd-jwt", key.thumbprint())
            )

    def test_several_signers_sign_the_same_bytes(self) -> None:
        general = json.loads(sign_together(dict(self.claims), self.keys))
        self.assertEqual(len(general["signatures"]), 2)
        self.assertEqual(len(general["signatures"][0]["header"]["disclosures"]), 1)
        self.assertNotIn("header", general["signatures"][1])
        for one, key in zip(general["signatures"], self.keys, strict=True):
            jws = JWS()
            jws.deserialize(f"{one['protected']}.{general['payload']}.{one['signature']}")
            jws.verify(key)

    def test_a_uuid_has_version_7_and_grows_with_time(self) -> None:
        one = uuid7()
        self.assertRegex(
            one, r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
        )
        self.assertLessEqual(one[:13], uuid7()[:13])


class Identity(unittest.TestCase):
    def test_a_private_jwk_with_other_members_loads(self) -> None:
        key = JWK.generate(kty="OKP", crv="Ed25519")
        members = key.export(as_dict=True) | {"use": "instruction", "signer": "s-1"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "key.jwk"
            path.write_text(json.dumps(members))
            self.assertEqual(load_key(path).thumbprint(), key.thumbprint())

    def test_a_token_is_bound_short_and_of_the_profile(self) -> None:
        key = JWK.generate(kty="OKP", crv="Ed25519")
        profile = Profile(
            gateway="",
            server_name="",
            audience="gw.example",
            principal="controllers/xingyu",
            spiffe_id="spiffe://x/controller/xingyu/backend",
            scopes=("a.b", "c.d"),
            ca=b"",
            certificate=b"",
            tls_key=b"",
            access_key=key,
            pins={},
            folder=Path(),
            controller={},
        )
        object.__setattr__(profile, "certificate_thumbprint", lambda: "thumbprint")
        jws = JWS()
        jws.deserialize(mint_token(profile, 1_000))
        jws.verify(key)
        self.assertEqual(
            jws.jose_header, {"typ": "at+jwt", "alg": "EdDSA", "kid": key.thumbprint()}
        )
        claims = json.loads(jws.payload)
        self.assertEqual(claims["exp"] - claims["iat"], 300)
        self.assertEqual(claims["cnf"], {"x5t#S256": "thumbprint"})
        self.assertEqual(
            (claims["iss"], claims["aud"], claims["scope"]),
            ("controllers/xingyu", "gw.example", "a.b c.d"),
        )

    def test_a_package_opens_only_with_the_recipients_identity(self) -> None:
        identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
        package = pyrage.encrypt(b"rows", [identity.to_public()])
        self.assertEqual(pyrage.decrypt(package, [identity]), b"rows")
        with self.assertRaises(pyrage.DecryptError):
            pyrage.decrypt(package, [other])


if __name__ == "__main__":
    unittest.main()
