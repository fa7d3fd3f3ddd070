// A second SD-JWT library that is not ours (`@sd-jwt/core`) reads what `mandate sign` makes.
//
// Usage:  node sd_jwt.mjs read KEY_SET USER FILE           the compact form
//         node sd_jwt.mjs read-general KEY_SET USER FILE   JWS General JSON (RFC 9901 section 8)
//
// It must verify with keys of the key set and disclose the user; tampered, it must not.
// Runs beside the files of examples/node: run.sh puts them into one folder.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { GeneralJSON, SDJwtGeneralJSONInstance, SDJwtInstance } from "@sd-jwt/core";
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK } from "jose";

import { hashing, readKeySet, TYP } from "./instruction.mjs";
import { algorithm, keyMaterial, require } from "./mandate-client.mjs";

// Verifies one signature with the key its header names, if the key set holds that key.
export function verifierOf(keySet) {
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

// Not where another file takes the verifier from here.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [mode, ...rest] = process.argv.slice(2);
  const run = { read, "read-general": readGeneral }[mode];
  if (!run || rest.length !== 3) {
    console.error("usage: see the head of this file");
    process.exit(2);
  }
  run(...rest).catch((error) => {
    console.error(`FAILED: ${error.message}`);
    process.exit(1);
  });
}
