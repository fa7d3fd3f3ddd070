"""Signing keys that stand in RFCs, private part and all, and signing with them the same way every time.

Everybody knows these keys, so nothing may ever trust one. Ed25519 signatures are deterministic anyway,
ECDSA is made so by RFC 6979, and RSASSA-PSS by a salt that follows from the message: one input has one
signature, and the vectors are the same bytes on every machine.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

VECTORS = Path(__file__).resolve().parent.parent

RFC_8037_A1 = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_7515_A3 = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
RFC_7517_A2 = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"
RFC_6979_A26 = (
    "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5"
)
RFC_8032 = {
    "TEST 2": "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "TEST 3": "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "TEST 1024": "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
    "TEST SHA(abc)": "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
}


def b64(data: bytes | str) -> str:
    data = data.encode() if isinstance(data, str) else data
    return urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def digest(text: str) -> str:
    """SHA-256 over ASCII text, as every digest of the profile."""
    return b64(hashlib.sha256(text.encode("ascii")).digest())


class Key:
    """A published private key as a JWK, and where it was published."""

    def __init__(self, source: str, private: object, alg: str) -> None:
        self.source, self.private, self.alg = source, private, alg
        self.public = public_members(private)
        canonical = json.dumps(self.public, sort_keys=True, separators=(",", ":"))
        self.kid = digest(canonical)  # RFC 7638

    def sign(self, message: bytes) -> bytes:
        """In JOSE's form: ECDSA as r || s of fixed length (RFC 7518 section 3.4)."""
        match self.private:
            case ed25519.Ed25519PrivateKey():
                return self.private.sign(message)
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.sign_der(message))
                size = self.private.curve.key_size // 8
                return r.to_bytes(size) + s.to_bytes(size)
            case _:
                return pss(self.private, message)

    def sign_der(self, message: bytes) -> bytes:
        """ECDSA as ASN.1 DER, which is what OpenSSL and many an HSM give."""
        hashed = hashes.SHA256() if self.alg == "ES256" else hashes.SHA384()
        return self.private.sign(message, ec.ECDSA(hashed, deterministic_signing=True))

    def sign_high_s(self, message: bytes) -> bytes:
        """The other valid ECDSA signature of the same message: s replaced by n - s (P-256)."""
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        signature = self.sign(message)
        s = order - int.from_bytes(signature[32:])
        return signature[:32] + s.to_bytes(32)

    def sign_pkcs1(self, message: bytes) -> bytes:
        """RS256: the RSA padding that is not accepted."""
        return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def sign_short_salt(self, message: bytes) -> bytes:
        """PS256's algorithm with a salt of 20 bytes in place of 32."""
        return pss(self.private, message, 20)

    def jwk(self) -> dict[str, str]:
        return self.public | private_members(self.private)


def integer(value: int, size: int = 0) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8))


def public_members(private: object) -> dict[str, str]:
    match private:
        case ed25519.Ed25519PrivateKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(private.public_key().public_bytes_raw())}
        case ec.EllipticCurvePrivateKey():
            numbers, size = private.public_key().public_numbers(), private.curve.key_size // 8
            curve = {"secp256r1": "P-256", "secp384r1": "P-384"}[private.curve.name]
            return {
                "kty": "EC", "crv": curve, "x": integer(numbers.x, size), "y": integer(numbers.y, size)
            }
        case _:
            numbers = private.public_key().public_numbers()
            return {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e)}


def private_members(private: object) -> dict[str, str]:
    match private:
        case ed25519.Ed25519PrivateKey():
            return {"d": b64(private.private_bytes_raw())}
        case ec.EllipticCurvePrivateKey():
            return {"d": integer(private.private_numbers().private_value, private.curve.key_size // 8)}
        case _:
            numbers = private.private_numbers()
            names = {"d": "d", "p": "p", "q": "q", "dmp1": "dp", "dmq1": "dq", "iqmp": "qi"}
            return {jose: integer(getattr(numbers, name)) for name, jose in names.items()}


def pss(private: rsa.RSAPrivateKey, message: bytes, salt_length: int = 32) -> bytes:
    """RSASSA-PSS with SHA-256 (RFC 8017 section 8.1.1) and a salt that follows from the message."""
    numbers = private.private_numbers()
    modulus = numbers.public_numbers.n
    bits = modulus.bit_length() - 1
    size = (bits + 7) // 8
    hashed = hashlib.sha256(message).digest()
    salt = hashlib.sha256(b"salt" + message).digest()[:salt_length]
    h = hashlib.sha256(bytes(8) + hashed + salt).digest()
    block = bytes(size - salt_length - len(h) - 2) + b"\x01" + salt
    mask = b"".join(hashlib.sha256(h + n.to_bytes(4)).digest() for n in range(size // 32 + 1))
    masked = bytearray(a ^ b for a, b in zip(block, mask))
    masked[0] &= 0xFF >> (8 * size - bits)
    encoded = int.from_bytes(bytes(masked) + h + b"\xbc")
    return pow(encoded, numbers.d, modulus).to_bytes((modulus.bit_length() + 7) // 8)


def okp(source: str, seed: bytes) -> Key:
    return Key(source, ed25519.Ed25519PrivateKey.from_private_bytes(seed), "EdDSA")


def curve(source: str, scalar: bytes, alg: str) -> Key:
    which = ec.SECP256R1() if alg == "ES256" else ec.SECP384R1()
    return Key(source, ec.derive_private_key(int.from_bytes(scalar), which), alg)


def rfc_7515_rsa() -> Key:
    jwk = json.loads((VECTORS / "rfc7515-a2-rsa.jwk.json").read_text())
    n, e, d, p, q, dp, dq, qi = (
        int.from_bytes(unb64(jwk[name])) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi")
    )
    numbers = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n))
    return Key("RFC 7515, Appendix A.2.1", numbers.private_key(), "PS256")


KEYS = {
    "root": okp("RFC 8032, section 7.1, TEST 3", bytes.fromhex(RFC_8032["TEST 3"])),
    "root-2": okp("RFC 8032, section 7.1, TEST SHA(abc)", bytes.fromhex(RFC_8032["TEST SHA(abc)"])),
    "ed": okp("RFC 8037, Appendix A.1", unb64(RFC_8037_A1)),
    "ed-2": okp("RFC 8032, section 7.1, TEST 2", bytes.fromhex(RFC_8032["TEST 2"])),
    "p256": curve("RFC 7515, Appendix A.3.1", unb64(RFC_7515_A3), "ES256"),
    "p384": curve("RFC 6979, Appendix A.2.6", bytes.fromhex(RFC_6979_A26), "ES384"),
    "rsa": rfc_7515_rsa(),
    "access": okp("RFC 8032, section 7.1, TEST 1024", bytes.fromhex(RFC_8032["TEST 1024"])),
    "stranger": curve("RFC 7517, Appendix A.2", unb64(RFC_7517_A2), "ES256"),
}
