// The published vectors, judged by libraries that are not ours: npm `jose` and `@sd-jwt/core`.
//
// Usage:  node vectors.mjs VECTORS            holds tests/vectors against them
//         node vectors.mjs VECTORS sign DIR   signs or refuses the inputs of client.json, for `mandate conformance client DIR`
//
// The libraries know signatures, algorithms, keys and disclosures; they do not know our members. So they must accept
// every good vector and find its subject, must refuse what is wrong by what they know, and may not find in the rest
// what was withheld, swapped or put in. Runs beside the files of examples/node: run.sh puts them into one folder.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { SDJwtInstance } from "@sd-jwt/core";
import { compactVerify, decodeProtectedHeader, importJWK } from "jose";

import { APPROVAL, coSign, hashing, isWhole, payloadSegment, signAlone, signTogether, WITHDRAWAL } from "./instruction.mjs";
import { algorithm, keyMaterial, signToken } from "./mandate-client.mjs";

const ALGORITHMS = ["EdDSA", "Ed25519", "ES256", "ES384", "PS256"];
// What the libraries must refuse by themselves, whatever the members say.
const BY_SIGNATURE = [
  "SIGNATURE_INVALID", "ALGORITHM_NOT_ALLOWED", "KEY_UNKNOWN", "KEY_SET_SIGNATURE", "TOKEN_SIGNATURE", "TOKEN_ALGORITHM",
  "TOKEN_KEY_UNKNOWN",
];
// Signatures of these key sets verify; which keys count, and how many, a library cannot know.
const COUNTED = ["one-of-two-roots", "one-root-twice", "one-signer-two-root-keys", "one-of-two-old-roots", "one-of-two-new-roots", "old-root-missing", "new-root-missing", "signed-by-no-root", "root-and-another"];
const KEYS = { instruction: ["ed", "ed-2", "p256", "p384", "rsa"], approval: ["ed", "ed-2", "p256", "p384", "rsa"], withdrawal: ["ed", "ed-2", "p256", "p384", "rsa"], "access-token": ["access"], "key-set": ["root", "root-2", "ed"] };

const [folder, mode, out] = process.argv.slice(2);
const json = (name) => JSON.parse(readFileSync(join(folder, name)));
const world = json("world.json");
const knownKey = (name) => keyMaterial(world.keys[name].jwk);

// One signature by jose, with the profile's algorithms and the key that kid names.
async function verify(compact, names) {
  const { kid } = decodeProtectedHeader(compact);
  const name = names.find((one) => world.keys[one].kid === kid);
  if (!name) throw new Error("no such key");
  const { d, p, q, dp, dq, qi, ...jwk } = knownKey(name);
  const { alg } = decodeProtectedHeader(compact);
  // jose takes the algorithm of the key, and refuses a header with another.
  const own = alg === "Ed25519" && jwk.crv === "Ed25519" ? alg : algorithm(jwk);
  await compactVerify(compact, await importJWK(jwk, own), { algorithms: ALGORITHMS.filter((one) => one === own) });
}

// Each signature as a compact SD-JWT of its own.
function asCompacts(text) {
  if (!text.startsWith("{")) return [text];
  const { payload, signatures } = JSON.parse(text);
  const disclosures = signatures[0].header?.disclosures ?? [];
  const tail = disclosures.map((one) => `~${one}`).join("") + "~";
  return signatures.map((one) => `${one.protected}.${payload}.${one.signature}${tail}`);
}

const list = (value) => (Array.isArray(value) ? value : []);

// The identifiers that the SD-JWT library finds and the private members, after every signature held.
async function disclosed(text, names) {
  const compacts = asCompacts(text);
  for (const compact of compacts) await verify(compact.split("~")[0], names);
  const library = new SDJwtInstance({
    ...hashing,
    verifier: (data, signature) => verify(`${data}.${signature}`, names).then(() => true),
  });
  // The library knows nbf and exp, too: it is asked at the vectors' hour, or when the instruction begins.
  const { nbf } = JSON.parse(Buffer.from(compacts[0].split(".")[1], "base64url"));
  const { payload } = await library.verify(compacts[0], { currentDate: nbf ?? world.now, skewSeconds: 30 });
  return [...list(payload.sub_id?.identifiers), ...Object.values(Object(payload.private))];
}

async function checkInstruction(vector) {
  // In the key set `without-ed` that key has left.
  const left = ["left-the-set", "new-after-its-key-left"].includes(vector.name);
  const names = KEYS.instruction.filter((name) => !(left && name === "ed"));
  let found;
  try {
    found = await disclosed(vector.input, names);
  } catch (error) {
    return vector.expect === "OK" ? `a good one was refused: ${error.message}` : null;
  }
  if (BY_SIGNATURE.includes(vector.expect)) return "was accepted";
  const segment = asCompacts(vector.input)[0].split("~")[0].split(".")[1];
  const { sub_id: subject, private: personal } = JSON.parse(Buffer.from(segment, "base64url"));
  const named = list(subject?.identifiers).length + list(personal?._sd).length;
  const open = found.filter((one) => !("..." in Object(one))).length;
  if (vector.expect === "OK" && open !== named) return `${open} of ${named} disclosures were found`;
  // A digest whose disclosure was withheld, or does not fit, discloses nothing.
  if (vector.expect === "DISCLOSURE_MISSING" && open === named) return "an identifier was found that was withheld";
  if (JSON.stringify(found).includes("somebody-else")) return "a swapped identifier was found";
  return null;
}

async function check(vector) {
  if (vector.form === "instruction") return checkInstruction(vector);
  try {
    let text = vector.form === "access-token" ? vector.input.split(" ")[1] : vector.input;
    // The payload is that of the instruction it adds to (RFC 7515 appendix F).
    if (vector.form === "approval" || vector.form === "withdrawal") text = text.replace("..", `.${vector.of.split("~")[0].split(".")[1]}.`);
    for (const compact of asCompacts(text)) await verify(compact.split("~")[0], KEYS[vector.form]);
  } catch (error) {
    return vector.expect === "OK" ? `a good one was refused: ${error.message}` : null;
  }
  return BY_SIGNATURE.includes(vector.expect) && !COUNTED.includes(vector.name) ? "was accepted" : null;
}

async function checkAll() {
  const wrong = [];
  let [total, good, refused] = [0, 0, 0];
  for (const form of Object.keys(KEYS)) {
    for (const file of readdirSync(join(folder, form)).sort()) {
      const vector = json(join(form, file));
      const fault = await check(vector);
      total += 1;
      if (vector.expect === "OK") good += 1;
      if (BY_SIGNATURE.includes(vector.expect) && !COUNTED.includes(vector.name)) refused += 1;
      if (fault) wrong.push(`${form}/${file}: ${fault}`);
    }
  }
  if (wrong.length > 0 || good < 30 || refused < 20) throw new Error(wrong.join("\n") || "vectors are missing");
  console.log(`${total} vectors: ${good} accepted, ${refused} refused by the libraries themselves, the rest as they must`);
}

async function signInputs() {
  mkdirSync(out, { recursive: true });
  const cases = json("client.json");
  for (const { file, keys, members, subject, private: personal } of cases.instructions) {
    const { _sd_alg, ...claims } = members; // The library sets it.
    if (subject.length > 0) claims.sub_id = { format: "aliases", identifiers: subject };
    if (Object.keys(personal).length > 0) claims.private = personal;
    const jwks = keys.map(knownKey);
    writeFileSync(join(out, file), jwks.length === 1 ? await signAlone(claims, jwks[0]) : await signTogether(claims, jwks));
  }
  for (const { file, key, claims } of cases.access_tokens) writeFileSync(join(out, file), await signToken(claims, knownKey(key)));
  for (const { file, says, key, of } of cases.brought) writeFileSync(join(out, file), await answer(says, key, of));
  console.log(`${Object.values(cases).flat().length} inputs signed or refused`);
}

// What another signed: signed, too, or taken back; refused where it is not proven or not whole.
async function answer(says, key, of) {
  const proven = await disclosed(of, KEYS.instruction).then(() => true, () => false);
  if (!proven || !isWhole(of)) return "REFUSED";
  const typ = { approval: APPROVAL, withdrawal: WITHDRAWAL }[says];
  const signed = await coSign(payloadSegment(of), knownKey(key), typ);
  return `${signed.protected}..${signed.signature}`;
}

const run = mode === "sign" && out ? signInputs : checkAll;
run().catch((error) => {
  console.error(`FAILED: ${error.message}`);
  process.exit(1);
});
