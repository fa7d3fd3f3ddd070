// An enterprise's whole way through Mandate, by ordinary libraries alone.
//
// Usage:  node walk.mjs --profile DIR/profiles/xingyu.toml [--subject USER_ID] [--dir OUT] [--wait S] [--patience S]
//
// Takes a waiting request for the user (or opens one), then signs a preview, an export and an erase, follows each to
// its end, downloads and decrypts the export, and verifies receipts and reports offline. It signs what is to be done when
// the contract ends, and takes that back. Then it tries what must fail. Prints each step; exits 0 only if everything held. Files (instructions, receipts, reports, evidence, the encrypted
// package) are left in OUT.

import { randomUUID } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { Decrypter, identityToRecipient } from "age-encryption";
import { calculateJwkThumbprint } from "jose";
import tar from "tar-stream";

import { checkSignedReport, follow, stateName, storeId } from "./execution.mjs";
import {
  checkRootSignatures, device, instructionClaims, instructionDigest, maySign, payloadOf, readKeySet, revokeClaims,
  signAlone, user,
} from "./instruction.mjs";
import { b64url, Failed, Gateway, grpc, loadProfile, reasonOf, require, sha256 } from "./mandate-client.mjs";
import { checkAdmission, checkConsistency, checkReceipt, checkReport } from "./proof.mjs";

// Which acts answer which rights; a preview may precede any. (A transfer goes to a third party: private.account, a
// basis of consent or contract, export.evidence.)
const SERVES = { export: ["access", "copy"], erase: ["delete", "close_account", "withdraw_consent"] };

const DAY_SECONDS = 24 * 3600;

const say = (text) => console.log(text);

// One enterprise on its way. Each method is a step.
class Walk {
  constructor(profile, { subject, dir, patience }) {
    Object.assign(this, { profile, subject, folder: dir, patience });
    this.gateway = new Gateway(profile);
    this.key = profile.instructionKey();
    this.identifiers = [user(profile.app, subject)];
    this.categories = ["*"];
  }

  save(name, content) {
    writeFileSync(join(this.folder, name), content);
  }

  // -- the request ----------------------------------------------------------------------------------

  // Watches for a request about the subject, or opens one; then acknowledges it.
  async takeRequest(wait) {
    let waiting = await this.waitingRequest(wait);
    if (waiting) {
      say(`request   ${waiting.name} was waiting, forwarded by PPIO`);
    } else {
      waiting = await this.openRequest();
      say(`request   none was waiting: opened ${waiting.name}`);
    }
    const call = { name: waiting.name, request_id: randomUUID() };
    const { request, receipt } = await this.gateway.call(this.gateway.requests, "AcknowledgeRequest", call);
    require(request.stage === "REQUEST_STAGE_ACKNOWLEDGED", "not acknowledged");
    this.request = request;
    await this.receive(receipt);
    if (waiting.categories.length > 0) this.categories = waiting.categories;
    const devices = waiting.identifiers.filter((one) => one.type === "device_id");
    this.identifiers.push(...devices.map((one) => device(one.value)));
    say(`          acknowledged; it asks for: ${request.rights.map((one) => one.right).join(", ")}`);
  }

  async waitingRequest(wait) {
    const stream = await this.gateway.stream(this.gateway.requests, "WatchRequests", {}, wait);
    try {
      for await (const { request } of stream) if (this.isAboutSubject(request)) return request;
    } catch (error) {
      if (error.code !== grpc.status.DEADLINE_EXCEEDED) throw error;
    } finally {
      stream.on("error", () => {}); // Hanging up ends the stream with CANCELLED.
      stream.cancel();
    }
    return null;
  }

  isAboutSubject(request) {
    const about = (one) => one.type === "app_user_id" && one.value === this.subject;
    return request.app === this.profile.app && request.identifiers.some(about);
  }

  async openRequest() {
    const call = {
      app: this.profile.app,
      rights: ["access", "delete"],
      identifiers: [{ type: "app_user_id", value: this.subject, of: "self" }],
      language: "zh",
      request_id: randomUUID(),
    };
    const first = await this.gateway.call(this.gateway.requests, "CreateRequest", call);
    const again = await this.gateway.call(this.gateway.requests, "CreateRequest", call);
    require(first.request.name === again.request.name, "the same call opened two requests");
    return first.request;
  }

  // -- instructions ---------------------------------------------------------------------------------

  async readKeySet() {
    const answer = await this.gateway.call(this.gateway.instructions, "GetKeySet", {});
    const keySet = readKeySet(answer.key_set);
    require(keySet.digest === answer.digest, "the key set's digest is not over its bytes");
    require(keySet.payload.iss === this.profile.principal, "the key set is another's");
    await checkRootSignatures(answer.key_set);
    if (keySet.version === 1) {
      const pin = this.profile.pins.controllers[this.profile.principal.replace("controllers/", "")];
      require(keySet.digest === pin.key_set_digest, "the key set is not the pinned one");
    }
    const kid = await calculateJwkThumbprint(this.key);
    for (const act of ["preview", "export", "erase", "return_and_erase", "revoke"]) {
      require(maySign(keySet, kid, act), `our key may not sign ${act}`);
    }
    this.keySet = keySet;
    say(`key set   version ${keySet.version}, signed by its root; our key may sign`);
  }

  // Signs an instruction under the newest key set. It names the request it answers.
  sign(act, more = {}, identifiers = this.identifiers) {
    const rights = this.request.rights.map((one) => one.right);
    const answers = act === "preview" || SERVES[act].some((right) => rights.includes(right));
    const req = answers ? { req: this.request.name } : {};
    const claims = instructionClaims(this.profile, this.keySet, act, identifiers, this.categories, { ...req, ...more });
    return signAlone(claims, this.key);
  }

  submit(instruction) {
    const message = { instruction: Buffer.from(instruction, "ascii") };
    return this.gateway.call(this.gateway.instructions, "SubmitInstruction", message);
  }

  // Signs, submits, verifies the receipt, follows every store to its end, checks reports.
  async carryOut(act, more = {}) {
    const text = await this.sign(act, more);
    this.save(`${act}.sd-jwt`, text);
    const { instruction, receipt } = await this.submit(text);
    require(instruction.act === act, "another act was admitted");
    require(instruction.digest === instructionDigest(text), "another digest");
    require(instruction.trail_index === receipt.index, "another leaf");
    await this.receive(receipt);
    checkAdmission(receipt.leaf, text);
    this.save(`${act}.leaf.json`, receipt.leaf);
    this.save(`${act}.tlog-proof`, receipt.proof);
    say(`${act.padEnd(10)}admitted as leaf ${receipt.index}; receipt verified offline`);
    require(instruction.executions.length > 0, "no store is to carry it out");
    const ended = [];
    for (const name of instruction.executions) {
      const execution = await follow(this.gateway, name, this.patience);
      await this.checkExecution(act, text, execution);
      ended.push(execution);
    }
    return { text, ended };
  }

  async checkExecution(act, text, execution) {
    say(`          ${execution.store}: ${stateName(execution)} ${execution.reason}`.trimEnd());
    const counts = execution.preview?.counts ?? [];
    for (const one of counts.length > 0 ? counts : execution.collections) {
      const ground = one.ground ? ` (${one.ground})` : "";
      say(`            ${one.collection.padEnd(24)}${one.outcome.padEnd(10)}${String(one.rows).padStart(8)}${ground}`);
    }
    require(execution.state === "EXECUTION_STATE_COMPLETED", "it is not completed");
    const claims = await checkSignedReport(text, execution, this.profile.pins.agents);
    this.save(`${act}-${storeId(execution.store)}.report.jwt`, execution.report);
    say(`          report of ${claims.iss} verified`);
  }

  // -- taking back ----------------------------------------------------------------------------------

  // Signs now what is to be done when the contract ends, in a year: it is held until then. Then revokes it.
  async endContractAndTakeBack() {
    const nbf = Math.floor(Date.now() / 1000) + 365 * DAY_SECONDS;
    const section = { nbf, exp: nbf + 30 * DAY_SECONDS, export: await this.exportSection("cn") };
    const ending = instructionClaims(this.profile, this.keySet, "return_and_erase", [], ["*"], section);
    const held = await this.takeIn("ending", await signAlone(ending, this.key));
    require(held.state === "INSTRUCTION_STATE_HELD", "it is not held");
    say(`held      until ${new Date(held.hold_until_time.seconds * 1000).toISOString()}`);
    const revoke = () => signAlone(revokeClaims(this.profile, this.keySet, held.name), this.key);
    const done = await this.takeIn("revoke", await revoke());
    require(done.state === "INSTRUCTION_STATE_DONE", "the revoke is not done");
    const { instruction: back } = await this.gateway.call(this.gateway.instructions, "GetInstruction", { name: held.name });
    require(back.state === "INSTRUCTION_STATE_REVOKED", "it was not taken back");
    for (const name of back.executions) {
      const { store, reason } = await follow(this.gateway, name, this.patience);
      require(reason === "INSTRUCTION_REVOKED", `${store}: ${reason}`);
    }
    say(`revoke    ${held.name} is taken back before anything was begun`);
    await this.refused("revoked once more", await revoke(), ["STAGE_CONFLICT"]);
  }

  // Submits, and verifies the receipt.
  async takeIn(name, text) {
    this.save(`${name}.sd-jwt`, text);
    const { instruction, receipt } = await this.submit(text);
    await this.receive(receipt);
    checkAdmission(receipt.leaf, text);
    return instruction;
  }

  // -- the export -----------------------------------------------------------------------------------

  async exportSection(region) {
    // Only the holder of the age identity can read the package.
    return { recipient: await identityToRecipient(this.profile.exportIdentity()), format: "jsonl+csv", region };
  }

  async fetchExport(execution) {
    require(execution.export !== "", "the export has no package");
    const call = { name: execution.export };
    const { export: announced } = await this.gateway.call(this.gateway.exports, "GetExport", call);
    const size = announced.size;
    // Stops half way on purpose, and goes on from there.
    const middle = Math.floor(size / 2);
    const halves = [await this.take(call.name, 0, middle), await this.take(call.name, middle, size - middle)];
    const packed = Buffer.concat(halves);
    require(packed.length === size, "the download is not complete");
    const { export: signed } = await checkReport(execution.report, this.profile.pins.agents);
    const digest = b64url(sha256(packed));
    require(digest === signed.digest && digest === announced.digest, "the package is not the signed one");
    require(packed.length === signed.size, "the package has another size than was signed");
    this.save(`export-${storeId(execution.store)}.tar.age`, packed);
    say(`          downloaded ${packed.length} bytes in two goes; digest as the agent signed`);
    await this.openPackage(packed);
  }

  // Reads `length` bytes from an offset on, then hangs up.
  async take(name, offset, length) {
    const stream = await this.gateway.stream(this.gateway.exports, "DownloadExport", { name, offset }, this.patience);
    const chunks = [];
    let read = 0;
    try {
      for await (const chunk of stream) {
        require(chunk.offset === offset + read, "a chunk is out of place");
        chunks.push(chunk.data);
        read += chunk.data.length;
        if (read >= length) break;
      }
    } finally {
      stream.on("error", () => {}); // Hanging up ends the stream with CANCELLED.
      stream.cancel();
    }
    return Buffer.concat(chunks).subarray(0, length);
  }

  // Decrypts in memory; the plain text never lies on the disk.
  async openPackage(packed) {
    const age = new Decrypter();
    age.addIdentity(this.profile.exportIdentity());
    const plain = await age.decrypt(packed);
    const extract = tar.extract();
    extract.end(Buffer.from(plain));
    const names = [];
    for await (const entry of extract) {
      let bytes = 0;
      for await (const chunk of entry) bytes += chunk.length;
      if (entry.header.type !== "file") continue;
      names.push(entry.header.name);
      say(`            ${entry.header.name.padEnd(40)}${String(bytes).padStart(10)} bytes`);
    }
    require(names.includes("manifest.json"), "the package has no manifest");
  }

  // -- proofs ---------------------------------------------------------------------------------------

  // Verifies a receipt offline, and keeps the newest checkpoint seen: the log only ever grows.
  async receive(receipt) {
    const newer = checkReceipt(receipt, this.profile.pins);
    const older = this.checkpoint;
    this.checkpoint = newer;
    if (!older) return;
    require(newer.size >= older.size, "the gateway shows an older checkpoint than before");
    if (newer.size === older.size) {
      require(newer.root.equals(older.root), "two roots for one size");
      return;
    }
    const call = { log: "LOG_TRAIL", old_size: older.size, new_size: newer.size };
    const { hashes } = await this.gateway.call(this.gateway.audit, "GetConsistencyProof", call);
    checkConsistency(older, newer, hashes);
  }

  async renewReceipt(text) {
    const call = { name: `instructions/${payloadOf(text).jti}` };
    const { receipt } = await this.gateway.call(this.gateway.instructions, "GetReceipt", call);
    await this.receive(receipt);
    checkAdmission(receipt.leaf, text);
    say("receipt   renewed to the newest checkpoint, whose tree holds the older ones");
  }

  async saveEvidence(text) {
    const call = { name: `instructions/${payloadOf(text).jti}` };
    const { bundle } = await this.gateway.call(this.gateway.instructions, "GetEvidence", call);
    require(!bundle.includes(this.subject), "the evidence names the user");
    this.save("erase.evidence.json", bundle);
    say("evidence  saved, without personal data: mandate-verify evidence checks it");
  }

  // -- what must not work ---------------------------------------------------------------------------

  // The same instruction again: the first answer, and nothing happens twice.
  async submitAgain(text) {
    const call = { name: `instructions/${payloadOf(text).jti}` };
    const { instruction: first } = await this.gateway.call(this.gateway.instructions, "GetInstruction", call);
    const { instruction: again } = await this.submit(text);
    for (const member of ["name", "trail_index", "executions"]) {
      require(JSON.stringify(again[member]) === JSON.stringify(first[member]), `the same instruction got another ${member}`);
    }
    say("again     the same instruction gets the first answer");
  }

  async refused(what, text, reasons) {
    const reason = await this.submit(text).then(() => "taken", reasonOf);
    require(reasons.includes(reason), `${what}: ${reason}, not ${reasons}`);
    say(`refused   ${what}: ${reason}`);
  }

  async refusedWithoutToken() {
    const stranger = new Gateway(this.profile, { withToken: false });
    const reason = await stranger.call(stranger.instructions, "GetKeySet", {}).then(() => "taken", reasonOf);
    stranger.close();
    require(reason === "TOKEN_MISSING", `a call without a token: ${reason}`);
    say(`refused   a call without a token: ${reason}`);
  }

  async tryAttacks(erase) {
    const preview = await this.sign("preview");
    await this.refused("a tampered payload", withMember(preview, "act", "erase"), ["SIGNATURE_INVALID"]);
    await this.refused("a withheld disclosure", `${preview.split("~")[0]}~`, ["DISCLOSURE_MISSING"]);
    const others = ["DISCLOSURE_ALIEN", "DISCLOSURE_MISSING"];
    await this.refused("another user put in", withOtherUser(preview), others);
    const reused = await this.sign("preview", { jti: payloadOf(erase).jti });
    await this.refused("a used jti on another payload", reused, ["JTI_REUSED"]);
    const nowhere = "apps/no-such-app";
    const foreign = await this.sign("preview", { app: nowhere }, [user(nowhere, this.subject)]);
    await this.refused("an app that is not ours", foreign, ["APP_UNKNOWN"]);
    await this.refusedWithoutToken();
  }

  // -- all of it ------------------------------------------------------------------------------------

  async run(wait) {
    await this.takeRequest(wait);
    await this.readKeySet();
    await this.carryOut("preview");
    const exported = await this.carryOut("export", { export: await this.exportSection("cn") });
    for (const execution of exported.ended) await this.fetchExport(execution);
    const { text: erase } = await this.carryOut("erase");
    await this.renewReceipt(erase);
    await this.saveEvidence(erase);
    await this.submitAgain(erase);
    await this.endContractAndTakeBack();
    await this.tryAttacks(erase);
    this.gateway.close();
  }
}

// The instruction with a member of its payload changed and its signature kept.
function withMember(instruction, name, value) {
  const [signedPart, ...rest] = instruction.split("~");
  const [header, , signature] = signedPart.split(".");
  const changed = b64url(JSON.stringify({ ...payloadOf(instruction), [name]: value }));
  return [`${header}.${changed}.${signature}`, ...rest].join("~");
}

// The instruction with its first disclosure naming somebody else.
function withOtherUser(instruction) {
  const [signedPart, first, ...rest] = instruction.split("~");
  const [salt, identifier] = JSON.parse(Buffer.from(first, "base64url"));
  return [signedPart, b64url(JSON.stringify([salt, { ...identifier, sub: "somebody-else" }])), ...rest].join("~");
}

const { values } = parseArgs({
  options: {
    profile: { type: "string" },
    subject: { type: "string", default: "u_8839201" },
    dir: { type: "string", default: "walk-out" },
    wait: { type: "string", default: "5" },
    patience: { type: "string", default: "120" },
  },
});
if (!values.profile) {
  console.error("--profile FILE is needed: a controller's profile");
  process.exit(2);
}
mkdirSync(values.dir, { recursive: true });
const walk = new Walk(loadProfile(values.profile), { ...values, patience: Number(values.patience) * 1000 });
walk.run(Number(values.wait) * 1000).then(
  () => say("everything held"),
  (error) => {
    const grpcError = typeof error.code === "number" && `${reasonOf(error)} (${error.details})`;
    console.error(`FAILED: ${grpcError || (error instanceof Failed ? error.message : error.stack)}`);
    process.exit(1);
  },
);
