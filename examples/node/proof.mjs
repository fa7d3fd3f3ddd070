// Checks, offline and by itself, what Mandate proves: receipts, checkpoints and agents' reports.
//
// Nothing here asks the gateway anything. What is trusted stands in pins.toml: the log's key, the witnesses' keys and
// how many must have signed, and the agents' report keys.
// Formats: RFC 6962 (hashes), RFC 9162 section 2.1 (proofs), C2SP signed-note, tlog-checkpoint, tlog-cosignature and
// tlog-proof.

import { createPublicKey, verify } from "node:crypto";

import { compactVerify, decodeProtectedHeader, importJWK } from "jose";

import { algorithm, b64url, require, sha256 } from "./mandate-client.mjs";
import { instructionDigest, payloadOf } from "./instruction.mjs";

const LOG_SIGNATURE = 0x01;
const COSIGNATURE = 0x04;

const leafHash = (leaf) => sha256(Buffer.concat([Buffer.from([0]), leaf]));
const nodeHash = (left, right) => sha256(Buffer.concat([Buffer.from([1]), left, right]));
// Sizes go to 2^53 here; a log that has more needs BigInt.
const isOdd = (n) => n % 2 === 1;
const half = (n) => Math.floor(n / 2);

// Standard base64, and only its one canonical spelling.
function decode64(text) {
  const data = Buffer.from(text, "base64");
  require(data.toString("base64") === text, "base64 that is not canonical");
  return data;
}

// The root that an inclusion proof leads to (RFC 9162 section 2.1.3.2).
export function rootFromInclusion(leaf, index, size, path) {
  require(index >= 0 && index < size, "the index is outside the tree");
  let [position, last, root] = [index, size - 1, leafHash(leaf)];
  for (const sibling of path) {
    require(last > 0, "the proof is too long");
    if (isOdd(position) || position === last) {
      root = nodeHash(sibling, root);
      while (position > 0 && !isOdd(position)) [position, last] = [half(position), half(last)];
    } else {
      root = nodeHash(root, sibling);
    }
    [position, last] = [half(position), half(last)];
  }
  require(last === 0, "the proof is too short");
  return root;
}

// The newer tree holds the older one unchanged (RFC 9162 section 2.1.4.2).
export function checkConsistency(older, newer, proof) {
  require(older.size > 0 && older.size < newer.size, "the sizes are out of order");
  const path = [...proof];
  if (Number.isInteger(Math.log2(older.size))) path.unshift(older.root);
  require(path.length > 0, "the consistency proof is empty");
  let [position, last] = [older.size - 1, newer.size - 1];
  while (isOdd(position)) [position, last] = [half(position), half(last)];
  let [first, ...rest] = path;
  let [was, is] = [first, first];
  for (const sibling of rest) {
    require(last > 0, "the consistency proof is too long");
    if (isOdd(position) || position === last) {
      [was, is] = [nodeHash(sibling, was), nodeHash(sibling, is)];
      while (position > 0 && !isOdd(position)) [position, last] = [half(position), half(last)];
    } else {
      is = nodeHash(is, sibling);
    }
    [position, last] = [half(position), half(last)];
  }
  require(last === 0 && was.equals(older.root) && is.equals(newer.root), "the newer tree does not hold the older one");
}

// A key that signs notes, read from its text `name+id+base64(type, public key)`.
function noteKey(vkey) {
  const [name, id, encoded] = [...vkey.split("+", 2), vkey.split("+").slice(2).join("+")];
  const material = decode64(encoded);
  const keyId = sha256(Buffer.concat([Buffer.from(`${name}\n`), material])).subarray(0, 4);
  require(keyId.toString("hex") === id && material.length === 33, "a pinned key's id does not fit it");
  const jwk = { kty: "OKP", crv: "Ed25519", x: b64url(material.subarray(1)) };
  return { name, keyId, kind: material[0], public: createPublicKey({ key: jwk, format: "jwk" }) };
}

function hasSigned(key, text, signatures) {
  const found = signatures.find((one) => one.name === key.name && one.data.subarray(0, 4).equals(key.keyId));
  if (!found) return false;
  let [message, signature] = [text, found.data.subarray(4)];
  if (key.kind === COSIGNATURE) {
    const seconds = signature.readBigUInt64BE(0);
    message = Buffer.concat([Buffer.from(`cosignature/v1\ntime ${seconds}\n`), text]);
    signature = signature.subarray(8);
  } else {
    require(key.kind === LOG_SIGNATURE, "a pinned key is of another kind");
  }
  require(verify(null, message, key.public, signature), `the signature of ${key.name} does not verify`);
  return true;
}

// A signed note's text (with its last newline) and its signatures.
function splitNote(note) {
  const at = note.lastIndexOf("\n\n");
  require(at > 0 && note.endsWith("\n"), "no signed note");
  const lines = note.slice(at + 2, -1).split("\n");
  const signatures = lines.map((line) => {
    const [dash, name, encoded] = line.split(" ");
    require(dash === "\u2014", "a malformed signature line");
    return { name, data: decode64(encoded) };
  });
  return [Buffer.from(note.slice(0, at + 1)), signatures];
}

// Reads a checkpoint whose signatures meet the pins. Verified first, parsed after.
export function openCheckpoint(note, pins, log = "trail") {
  const [text, signatures] = splitNote(note);
  require(hasSigned(noteKey(pins[log].vkey), text, signatures), "the checkpoint is not signed by the log");
  const { required, vkeys } = pins.witnesses ?? { required: 0, vkeys: [] };
  const witnesses = [...new Set(vkeys)].filter((vkey) => hasSigned(noteKey(vkey), text, signatures));
  require(witnesses.length >= required, "too few witnesses have signed the checkpoint");
  const [origin, size, root] = text.toString().split("\n");
  require(origin === pins[log].origin, "the checkpoint is of another log");
  return { origin, size: Number(size), root: decode64(root) };
}

// A receipt holds: the leaf lies at its index in the tree of a checkpoint the log signed.
export function checkReceipt({ leaf, index, proof }, pins) {
  const at = proof.indexOf("\n\n");
  const lines = proof.slice(0, at).split("\n");
  require(lines.shift() === "c2sp.org/tlog-proof@v1", "no tlog-proof");
  if (lines[0]?.startsWith("extra ")) lines.shift(); // Not authenticated, and not needed here.
  require(lines.shift() === `index ${index}`, "the proof is for another index");
  const checkpoint = openCheckpoint(proof.slice(at + 2), pins);
  const root = rootFromInclusion(leaf, index, checkpoint.size, lines.map(decode64));
  require(root.equals(checkpoint.root), "the leaf is not in the tree the checkpoint names");
  return checkpoint;
}

// The leaf says that this very instruction (compact form) was admitted.
export function checkAdmission(leaf, instruction) {
  const event = JSON.parse(leaf);
  require(event.type === "mandate.instruction.admitted", "the leaf is no admission");
  require(event.subject === `instructions/${payloadOf(instruction).jti}`, "the leaf is of another instruction");
  require(event.data.digest === instructionDigest(instruction), "the trail holds another digest than the instruction's");
  require(event.data.signed_part === instruction.split("~")[0], "the trail holds another signed part than was sent");
}

// An agent's signed report: who signed it is whom it says it is from. Returns its claims.
export async function checkReport(report, agents) {
  for (const [name, pin] of Object.entries(agents)) {
    const jwk = JSON.parse(pin.report_key);
    const key = await importJWK(jwk, algorithm(jwk));
    const verified = await compactVerify(report, key, { algorithms: [algorithm(jwk)] }).catch(() => null);
    if (!verified) continue;
    require(decodeProtectedHeader(report).typ === "report+jwt", "the signed form is no report");
    const claims = JSON.parse(Buffer.from(verified.payload));
    require(claims.iss === `agents/${name}`, "the report is in another agent's name");
    return claims;
  }
  throw new Error("no pinned agent has signed the report");
}
