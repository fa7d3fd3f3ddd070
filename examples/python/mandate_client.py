"""How an enterprise's backend connects to Mandate: profile, access token, channel, refusals.

Two things prove who calls: the TLS client certificate, and a short access token that the caller
signs itself with its registered access key (RFC 9068) and binds to that certificate (RFC 8705).
"""

import hashlib
import json
import secrets
import sys
import threading
import time
import tomllib
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

# Where generate.sh puts the stubs; after this, `from mandate.v1 import ...` works.
GENERATED = Path(__file__).resolve().parent / "generated"
if str(GENERATED) not in sys.path:
    sys.path.insert(0, str(GENERATED))

TOKEN_SECONDS = 300  # The longest a gateway takes.
RENEW_BEFORE_END = 60


def b64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def load_key(path: Path) -> JWK:
    """Reads a private JWK. Members that are no key material (`use`, `signer`) are left out."""
    members = json.loads(path.read_text())
    material = ("kty", "crv", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi")
    return JWK(**{name: members[name] for name in material if name in members})


def algorithm(key: JWK) -> str:
    """The one JOSE algorithm that fits the key."""
    members = key.export(private_key=False, as_dict=True)
    if members["kty"] == "RSA":
        return "PS256"
    return {"Ed25519": "EdDSA", "P-256": "ES256", "P-384": "ES384"}[members["crv"]]


def uuid7() -> str:
    """A UUID version 7 (RFC 9562 section 5.7): milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64)
    value |= (0b10 << 62) | secrets.randbits(62)
    return str(uuid.UUID(int=value))


@dataclass(frozen=True)
class Profile:
    """One principal's way in: a profile file, with every path in it resolved."""

    gateway: str
    server_name: str
    audience: str
    principal: str
    spiffe_id: str
    scopes: tuple[str, ...]
    ca: bytes
    certificate: bytes
    tls_key: bytes
    access_key: JWK
    pins: dict[str, Any]
    folder: Path
    controller: dict[str, Any]

    @staticmethod
    def load(path: str | Path) -> "Profile":
        file = Path(path)
        folder = file.resolve().parent
        text = tomllib.loads(file.read_text())
        return Profile(
            gateway=text["gateway"],
            server_name=text["server_name"],
            audience=text["audience"],
            principal=text["principal"],
            spiffe_id=text["spiffe_id"],
            scopes=tuple(text["scopes"]),
            ca=(folder / text["ca"]).read_bytes(),
            certificate=(folder / text["certificate"]).read_bytes(),
            tls_key=(folder / text["key"]).read_bytes(),
            access_key=load_key(folder / text["access_key"]),
            pins=tomllib.loads((folder / text["pins"]).read_text()),
            folder=folder,
            controller=text.get("controller", {}),
        )

    @property
    def app(self) -> str:
        return self.controller["apps"][0]

    @property
    def controller_id(self) -> str:
        return self.principal.removeprefix("controllers/")

    def instruction_key(self) -> JWK:
        return load_key(self.folder / self.controller["instruction_key"])

    def export_identity(self) -> str:
        """The age secret key exports are decrypted with; `#` lines of the file are comments."""
        lines = (self.folder / self.controller["export_identity"]).read_text().splitlines()
        return next(line.strip() for line in lines if line.startswith("AGE-SECRET-KEY-"))

    def certificate_thumbprint(self) -> str:
        """`x5t#S256` of RFC 8705: SHA-256 over the DER of the certificate on the connection."""
        certificate = x509.load_pem_x509_certificates(self.certificate)[0]
        return b64url(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest())


def mint_token(profile: Profile, now: int) -> str:
    """Makes an access token: RFC 9068's shape, signed with the registered access key."""
    key = profile.access_key
    header = {"typ": "at+jwt", "alg": algorithm(key), "kid": key.thumbprint()}
    claims = {
        "iss": profile.principal,
        "sub": profile.spiffe_id,
        "aud": profile.audience,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "jti": str(uuid.uuid4()),
        "scope": " ".join(profile.scopes),
        "cnf": {"x5t#S256": profile.certificate_thumbprint()},
    }
    token = JWS(json.dumps(claims))
    token.add_signature(key, protected=json.dumps(header))
    return token.serialize(compact=True)


class AccessTokens(grpc.AuthMetadataPlugin):
    """Puts a token on every call, and makes a new one before the last one ends."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0

    def bearer(self) -> str:
        now = int(time.time())
        with self._lock:
            if now >= self._renew_at:
                self._token = mint_token(self._profile, now)
                self._renew_at = now + TOKEN_SECONDS - RENEW_BEFORE_END
            return f"Bearer {self._token}"

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        try:
            callback((("authorization", self.bearer()),), None)
        except Exception as error:  # gRPC's thread: an error must reach the call, not the thread.
            callback((), error)


def open_channel(profile: Profile, with_token: bool = True) -> grpc.Channel:
    """A mutually authenticated channel. Without a token only the health service answers."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=profile.ca,
        private_key=profile.tls_key,
        certificate_chain=profile.certificate,
    )
    if with_token:
        tokens = grpc.metadata_call_credentials(AccessTokens(profile), name="access-token")
        credentials = grpc.composite_channel_credentials(credentials, tokens)
    options = [("grpc.ssl_target_name_override", profile.server_name)]
    return grpc.secure_channel(profile.gateway, credentials, options=options)


def reason_of(error: grpc.RpcError) -> str:
    """The stable reason code of a refusal (google.rpc.ErrorInfo), or the gRPC code without one."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
            return info.reason
    return error.code().name
