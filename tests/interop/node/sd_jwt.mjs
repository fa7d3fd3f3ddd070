// A second SD-JWT library that is not ours (`@sd-jwt/core`), both ways.
//
// Usage:  node sd_jwt.mjs read KEY_SET USER FILE           a compact form that `mandate sign` made
//         node sd_jwt.mjs read-general KEY_SET USER FILE   JWS General JSON (RFC 9901 section 8)
//         node sd_jwt.mjs submit PROTO_FOLDER PROFILE USER  makes a preview, and has it admitted
//
// Reading: it must verify with keys of the key set and disclose the user; tampered, it must not.

import { createHash, createPrivateKey, randomBytes, sign } from "node:crypto";
import { readFileSync } from "node:fs";

import { GeneralJSON, SDJwtGeneralJSONInstance, SDJwtInstance } from "@sd-jwt/core";
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK } from "jose";

import { algorithm, call, connect, keyMaterial, loadProfile, mintToken, readKey, require } from "./profile.mjs";

const TYP = "instruction+sd-jwt";
const DAY = 24 * 3600;

const hasher = (data, alg) => {
  require(alg === "sha-256", `another hash: ${alg}`);
  return createHash("sha256").update(data).digest();
};
const hashing = { hasher, hashAlg: "sha-256" };

function readKeySet(text) {
  const segment = JSON.parse(text).payload;
  const digest = createHash("sha256").update(segment).digest("base64url");
  return { digest, payload: JSON.parse(Buffer.from(segment, "base64url").toString()) };
}

// Verifies one signature with the key its header names, if the key set holds that key.
function verifierOf(keySet) {
  return async (data, signature) => {
    const header = decodeProtectedHeader(`${data}.${signature}`);
    require(Object.keys(header).sort().join() === "alg,kid,typ", "the header has other members");
    require(header.typ === TYP, `another typ: ${header.typ}`);
    for (const key of keySet.payload.keys.map(keyMaterial)) {
      if ((await calculateJwkThumbprint(key)) !== header.kid) continue;
      await compactVerify(`${data}.${signature}`, await importJWK(key, algorithm(key)));
      return true;
    }
    return false;
  };
}

function names(payload, user) {
  return payload.sub_id.identifiers.some((one) => one.format === "iss_sub" && one.sub === user);
}

async function refused(what, verify) {
  const accepted = await verify().then(() => true, () => false);
  require(!accepted, `a tampered ${what} was accepted`);
}

// The same text with the character at a place changed to another of base64url.
function flip(text, at) {
  return text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
}

async function read(keySetFile, user, file) {
  const keySet = readKeySet(readFileSync(keySetFile, "utf8"));
  const library = new SDJwtInstance({ ...hashing, verifier: verifierOf(keySet) });
  const compact = readFileSync(file, "utf8").trim();
  const { payload } = await library.verify(compact);
  require(names(payload, user), "the user is not in the disclosures");
  await refused("payload", () => library.verify(flip(compact, compact.indexOf(".") + 20)));
  await refused("signature", () => library.verify(flip(compact, compact.lastIndexOf(".") + 9)));
  const { payload: bare } = await library.verify(`${compact.split("~")[0]}~`);
  require(!names(bare, user), "the user stands in the signed part");
  console.log("@sd-jwt/core accepts it, and refuses it tampered");
}

async function readGeneral(keySetFile, user, file) {
  const keySet = readKeySet(readFileSync(keySetFile, "utf8"));
  const library = new SDJwtGeneralJSONInstance({ ...hashing, verifier: verifierOf(keySet) });
  const json = JSON.parse(readFileSync(file, "utf8"));
  require(json.signatures.length > 1, "there is one signature only");
  const { payload } = await library.verify(GeneralJSON.fromSerialized(json));
  require(names(payload, user), "the user is not in the disclosures");
  for (const at of json.signatures.keys()) {
    const changed = structuredClone(json);
    changed.signatures[at].signature = flip(changed.signatures[at].signature, 9);
    await refused(`signature ${at}`, () => library.verify(GeneralJSON.fromSerialized(changed)));
  }
  console.log(`@sd-jwt/core accepts ${json.signatures.length} signatures over one payload`);
}

function uuid7() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [8, 12, 16, 20, 32].map((end, i, ends) => hex.slice(ends[i - 1] ?? 0, end)).join("-");
}

async function makePreview(profile, keySet, user) {
  const jwk = readKey(profile, profile.controller.instruction_key);
  const key = createPrivateKey({ key: jwk, format: "jwk" });
  const hash = { EdDSA: null, ES256: "sha256", ES384: "sha384" }[algorithm(jwk)];
  const library = new SDJwtInstance({
    ...hashing,
    signAlg: algorithm(jwk),
    signer: (data) => sign(hash, Buffer.from(data), { key, dsaEncoding: "ieee-p1363" }).toString("base64url"),
    saltGenerator: (length) => randomBytes(length).toString("base64url"),
  });
  const now = Math.floor(Date.now() / 1000);
  const app = profile.controller.apps[0];
  const claims = {
    iss: profile.principal,
    aud: profile.pins.trail.origin,
    jti: uuid7(),
    iat: now,
    exp: now + DAY,
    act: "preview",
    app,
    sub_id: { format: "aliases", identifiers: [{ format: "iss_sub", iss: app, sub: user }] },
    categories: ["*"],
    basis: "pipl-45",
    key_set: { version: keySet.payload.version, digest: keySet.digest },
  };
  const frame = { sub_id: { identifiers: { _sd: [0] } } };
  const header = { typ: TYP, kid: await calculateJwkThumbprint(jwk) };
  return { name: `instructions/${claims.jti}`, text: await library.issue(claims, frame, { header }) };
}

async function submit(protoFolder, profilePath, user) {
  const profile = loadProfile(profilePath);
  const { instructions, requests } = connect(protoFolder, profile);
  const token = await mintToken(profile);
  const { key_set: text } = await call(instructions, "GetKeySet", {}, token);
  const preview = await makePreview(profile, readKeySet(text), user);
  const message = { instruction: Buffer.from(preview.text) };
  const { instruction, receipt } = await call(instructions, "SubmitInstruction", message, token);
  require(instruction.name === preview.name, "another instruction was admitted");
  const leaf = JSON.parse(receipt.leaf.toString());
  require(leaf.data.signed_part === preview.text.split("~")[0], "the leaf holds another signed part");
  console.log(`an instruction by @sd-jwt/core is admitted as leaf ${receipt.index}`);
  instructions.close();
  requests.close();
}

const [mode, ...rest] = process.argv.slice(2);
const run = { read, "read-general": readGeneral, submit }[mode];
if (!run || rest.length !== 3) {
  console.error("usage: see the head of this file");
  process.exit(2);
}
run(...rest).catch((error) => {
  console.error(`FAILED: ${error.message}`);
  process.exit(1);
});
