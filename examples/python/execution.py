"""Follows an execution to its end, and holds what the agent signed against what was ordered."""

import time
from typing import Any

import grpc

from instruction import instruction_digest, payload_of, subject_digests
from proof import NotProven, check_report

from mandate.v1 import execution_service_pb2 as executions
from mandate.v1 import execution_service_pb2_grpc as executions_grpc

ENDED = {
    executions.EXECUTION_STATE_COMPLETED,
    executions.EXECUTION_STATE_PARTIAL,
    executions.EXECUTION_STATE_FAILED,
    executions.EXECUTION_STATE_REFUSED,
}
# The stream ends with its access token, or with the connection: it is taken up again.
RESUMABLE = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE}


class DidNotEnd(Exception):
    """The execution was still open when patience ended."""


def follow(
    stub: executions_grpc.ExecutionServiceStub, name: str, patience: float
) -> executions.Execution:
    """Watches an execution until it ended; at most `patience` seconds."""
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        call = executions.WatchExecutionRequest(name=name)
        try:
            for response in stub.WatchExecution(call, timeout=left):
                if response.execution.state in ENDED:
                    return response.execution
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                break
            if error.code() not in RESUMABLE:
                raise
        time.sleep(0.5)
    raise DidNotEnd(f"{name} did not end within {patience} s")


def state_name(execution: executions.Execution) -> str:
    name = executions.ExecutionState.Name(execution.state)
    return name.removeprefix("EXECUTION_STATE_").lower()


def store_id(name: str) -> str:
    return name.removeprefix("stores/")


def check_signed_report(
    instruction: str, execution: executions.Execution, agents: dict[str, Any]
) -> dict[str, Any]:
    """The report is signed by a pinned agent and is about this instruction, this subject and this
    store; the gateway shows the same numbers as the agent signed. Returns its claims."""
    claims = check_report(execution.report, agents)
    payload = payload_of(instruction)
    expected = {
        "aud": payload["aud"],
        "execution": execution.name,
        "instruction": f"instructions/{payload['jti']}",
        "instruction_digest": instruction_digest(instruction),
        "act": payload["act"],
        "outcome": state_name(execution),
    }
    for member, value in expected.items():
        if claims[member] != value:
            raise NotProven(f"the report's {member} is another")
    if store_id(claims["store"]) != store_id(execution.store):
        raise NotProven("the report's store is another")
    if sorted(claims["sub_digests"]) != sorted(subject_digests(instruction)):
        raise NotProven("the report is about another subject")
    signed = {
        (one["collection"], one["outcome"], one.get("rows", 0)) for one in claims["collections"]
    }
    shown = {(one.collection, one.outcome, one.rows) for one in execution.collections}
    if shown != signed:
        raise NotProven("the gateway shows other numbers than the agent signed")
    return claims
