"""Health and reflection, as Python's own gRPC clients see them.

Usage:  grpc_check.py wait PROFILE SECONDS   until the gateway says that it serves
        grpc_check.py health PROFILE         with a certificate, no token; without one: nothing
        grpc_check.py reflection PROFILE     only with a token; lists and describes every service
        grpc_check.py token PROFILE          prints an access token, for other clients
"""

import sys
import time

import client_path  # noqa: F401  (puts the client on the path)
import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from mandate_client import AccessTokens, Profile, open_channel, reason_of

SECONDS = 10
SERVICES = {
    "mandate.v1.AgentService",
    "mandate.v1.AuditService",
    "mandate.v1.ExecutionService",
    "mandate.v1.ExportService",
    "mandate.v1.InstructionService",
    "mandate.v1.IntakeService",
    "mandate.v1.RegistryService",
    "mandate.v1.RequestService",
}


def is_serving(channel: grpc.Channel) -> bool:
    answer = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(), timeout=SECONDS
    )
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def wait(profile: Profile, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    last = "not serving"
    while time.monotonic() < deadline:
        with open_channel(profile, with_token=False) as channel:
            try:
                if is_serving(channel):
                    print("the gateway serves")
                    return
            except grpc.RpcError as error:
                last = f"{error.code().name} {error.details()}"
        time.sleep(0.3)
    raise SystemExit(f"the gateway did not serve within {seconds} s: {last}")


def health(profile: Profile) -> None:
    with open_channel(profile, with_token=False) as channel:
        if not is_serving(channel):
            raise SystemExit("health does not say SERVING")
    print("with a certificate and no token: SERVING")
    bare = grpc.ssl_channel_credentials(root_certificates=profile.ca)
    options = [("grpc.ssl_target_name_override", profile.server_name)]
    with grpc.secure_channel(profile.gateway, bare, options=options) as channel:
        try:
            is_serving(channel)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise SystemExit(f"without a certificate: {error.code().name}") from None
            print("without a certificate: no connection")
            return
    raise SystemExit("health answered without a certificate")


def refuses_reflection(profile: Profile) -> None:
    with open_channel(profile, with_token=False) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        try:
            list(stub.ServerReflectionInfo(call, timeout=SECONDS))
        except grpc.RpcError as error:
            answer = (error.code(), reason_of(error))
            if answer != (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"):
                raise SystemExit(f"without a token: {answer}") from None
            print("without a token: UNAUTHENTICATED, TOKEN_MISSING")
            return
    raise SystemExit("reflection answered without a token")


def reflection(profile: Profile) -> None:
    refuses_reflection(profile)
    with open_channel(profile) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        missing = SERVICES - set(database.get_services())
        if missing:
            raise SystemExit(f"reflection does not list {sorted(missing)}")
        pool = DescriptorPool(database)
        methods = [
            method.full_name
            for name in sorted(SERVICES)
            for method in pool.FindServiceByName(name).methods
        ]
    print(f"with a token: {len(SERVICES)} services, {len(methods)} methods described")


def main() -> None:
    match sys.argv[1:]:
        case ["wait", profile, seconds]:
            wait(Profile.load(profile), float(seconds))
        case ["health", profile]:
            health(Profile.load(profile))
        case ["reflection", profile]:
            reflection(Profile.load(profile))
        case ["token", profile]:
            print(AccessTokens(Profile.load(profile)).bearer())
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
