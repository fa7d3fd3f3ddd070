// Follows an execution to its end, and holds what the agent signed against what was ordered.

import { setTimeout as sleep } from "node:timers/promises";

import { Failed, grpc, require } from "./mandate-client.mjs";
import { instructionDigest, payloadOf, subjectDigests } from "./instruction.mjs";
import { checkReport } from "./proof.mjs";

const ENDED = ["COMPLETED", "PARTIAL", "FAILED", "REFUSED"].map((word) => `EXECUTION_STATE_${word}`);
// The stream ends with its access token, or with the connection: it is taken up again.
const RESUMABLE = [grpc.status.UNAUTHENTICATED, grpc.status.UNAVAILABLE];

// Watches an execution until it ended; at most `patience` milliseconds.
export async function follow(gateway, name, patience) {
  const deadline = Date.now() + patience;
  while (Date.now() < deadline) {
    const stream = await gateway.stream(gateway.executions, "WatchExecution", { name }, deadline - Date.now());
    try {
      for await (const { execution } of stream) {
        if (ENDED.includes(execution.state)) return execution;
      }
    } catch (error) {
      if (error.code === grpc.status.DEADLINE_EXCEEDED) break;
      if (!RESUMABLE.includes(error.code)) throw error;
    } finally {
      stream.on("error", () => {}); // Hanging up ends the stream with CANCELLED.
      stream.cancel();
    }
    await sleep(500);
  }
  throw new Failed(`${name} did not end within ${patience / 1000} s`);
}

export const stateName = (execution) => execution.state.replace("EXECUTION_STATE_", "").toLowerCase();
export const storeId = (name) => name.replace("stores/", "");

// The report is signed by a pinned agent and is about this instruction, this subject and this store; the gateway
// shows the same numbers as the agent signed. Returns its claims.
export async function checkSignedReport(instruction, execution, agents) {
  const claims = await checkReport(execution.report, agents);
  const payload = payloadOf(instruction);
  const expected = {
    aud: payload.aud,
    execution: execution.name,
    instruction: `instructions/${payload.jti}`,
    instruction_digest: instructionDigest(instruction),
    act: payload.act,
    outcome: stateName(execution),
  };
  for (const [member, value] of Object.entries(expected)) {
    require(claims[member] === value, `the report's ${member} is another`);
  }
  require(storeId(claims.store) === storeId(execution.store), "the report's store is another");
  const same = (one, other) => JSON.stringify([...one].sort()) === JSON.stringify([...other].sort());
  require(same(claims.sub_digests, subjectDigests(instruction)), "the report is about another subject");
  const numbers = (list) => list.map((one) => `${one.collection} ${one.outcome} ${one.rows ?? 0}`);
  require(same(numbers(execution.collections), numbers(claims.collections)), "the gateway shows other numbers than the agent signed");
  return claims;
}
