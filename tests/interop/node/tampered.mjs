// One list of tampered instructions, given to the gateway and to libraries that are not ours: both refuse them. The
// library alone takes those of the list that name it under `takes`, exactly; with `isWhole` beside it, none.
//
// Usage:  node tampered.mjs LIST PROFILE USER [FILE]
//
// LIST is tests/interop/tampered.json: what is done, what the gateway says, what a library must do. A compact
// instruction is made here by `@sd-jwt/core`; that of FILE was made by `mandate sign`. The untouched one is taken in
// the end. Runs beside the files of examples/node: run.sh puts them into one folder.

import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";

import { SDJwtInstance } from "@sd-jwt/core";

import { coSign, device, hashing, instructionClaims, isWhole, readKeySet, signAlone, TYP, user } from "./instruction.mjs";
import { b64url, Failed, Gateway, loadProfile, reasonOf, require } from "./mandate-client.mjs";
import { verifierOf } from "./sd_jwt.mjs";

const [list, profileFile, userId, file] = process.argv.slice(2);
const listed = JSON.parse(readFileSync(list)).signed;
const stranger = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });

const LIBRARY = "@sd-jwt/core";

const json = (segment) => JSON.parse(Buffer.from(segment, "base64url"));
const segment = (value) => b64url(JSON.stringify(value));

function flipped(signature) {
  const raw = Buffer.from(signature, "base64url");
  raw[0] ^= 1;
  return b64url(raw);
}

// Everything that is done to a compact instruction, by its name in the list.
async function tampered(text) {
  const [jws, first, ...rest] = text.split("~").slice(0, -1);
  const [header, payload, signature] = jws.split(".");
  const [members, fields] = [json(payload), json(header)];
  const disclosures = [first, ...rest];
  const joined = (signed, disclosed) => [signed, ...disclosed, ""].join("~");
  const [salt, identifier] = json(first);
  const byStranger = await coSign(payload, stranger);
  const otherSubject = structuredClone(members);
  otherSubject.sub_id.identifiers[0]["..."] = b64url(Buffer.alloc(32));
  const other = segment([b64url(Buffer.alloc(16, 7)), { format: "opaque", id: "somebody-else" }]);
  const anew = segment([b64url(Buffer.from([...Array(16).keys()])), identifier]);
  return {
    payload: joined(`${header}.${segment({ ...members, act: "export" })}.${signature}`, disclosures),
    subject: joined(`${header}.${segment(otherSubject)}.${signature}`, disclosures),
    signature: joined(`${header}.${payload}.${flipped(signature)}`, disclosures),
    unsigned: joined(`${header}.${payload}.`, disclosures),
    "other-key": joined(`${header}.${payload}.${byStranger.signature}`, disclosures),
    stranger: joined(`${byStranger.protected}.${payload}.${byStranger.signature}`, disclosures),
    "alg-none": joined(`${segment({ typ: TYP, alg: "none", kid: fields.kid })}.${payload}.`, disclosures),
    header: joined(`${segment({ ...fields, typ: "JWT" })}.${payload}.${signature}`, disclosures),
    withheld: joined(jws, rest),
    "all-withheld": joined(jws, []),
    swapped: joined(jws, [segment([salt, { ...identifier, sub: "somebody-else" }]), ...rest]),
    "salted-anew": joined(jws, [anew, ...rest]),
    added: joined(jws, [...disclosures, other]),
    twice: joined(jws, [...disclosures, first]),
    "cut-short": text.slice(0, -1),
  };
}

class Parties {
  constructor(gateway, keySet) {
    this.gateway = gateway;
    this.library = new SDJwtInstance({ ...hashing, verifier: verifierOf(keySet) });
  }

  // The identifiers that the library finds, each as text; null where it refuses.
  async found(text) {
    try {
      const { payload } = await this.library.verify(text);
      return payload.sub_id.identifiers.filter((one) => !("..." in one)).map((one) => JSON.stringify(one));
    } catch {
      return null;
    }
  }

  async says(text) {
    const message = { instruction: Buffer.from(text, "ascii") };
    const answer = this.gateway.call(this.gateway.instructions, "SubmitInstruction", message);
    return answer.then(({ instruction }) => instruction.state, reasonOf);
  }

  async check(what, text) {
    const whole = await this.found(text);
    require(whole?.length > 0 && isWhole(text), `${what}: the library refuses it untouched`);
    const made = await tampered(text);
    require(listed.map((one) => one.name).join() === Object.keys(made).join(), "not all of the list is made here");
    const taken = [];
    for (const { name, gateway, takes = [] } of listed) {
      require(made[name] !== text, `${what}, ${name}: nothing was changed`);
      const said = await this.says(made[name]);
      require(gateway.includes(said), `${what}, ${name}: the gateway says ${said}`);
      const seen = await this.found(made[name]);
      if (!takes.includes(LIBRARY)) {
        require(seen === null, `${what}, ${name}: the library takes it`);
        continue;
      }
      require(seen !== null, `${what}, ${name}: the library refuses it by now; the list says it does not`);
      require(seen.every((one) => whole.includes(one)), `${what}, ${name}: the library finds another subject`);
      require(!isWhole(made[name]), `${what}, ${name}: it passes for whole`);
      taken.push(name);
    }
    // What was refused used no id up: the untouched one is taken.
    const said = await this.says(text);
    require(said === "INSTRUCTION_STATE_ADMITTED", `${what}: the gateway says ${said} of it untouched`);
    console.log(`${what}: taken untouched; ${listed.length} times tampered with, refused by the gateway each time;`);
    console.log(`  by ${LIBRARY} each time but ${taken.join(", ")}, and with isWhole each time`);
  }
}

async function run() {
  const profile = loadProfile(profileFile);
  const gateway = new Gateway(profile);
  const keySet = readKeySet((await gateway.call(gateway.instructions, "GetKeySet", {})).key_set);
  const parties = new Parties(gateway, keySet);
  const subject = [user(profile.app, userId), device("device-of-nobody")];
  const claims = instructionClaims(profile, keySet, "preview", subject, ["*"]);
  await parties.check("made by @sd-jwt/core", await signAlone(claims, profile.instructionKey()));
  if (file) await parties.check("made by mandate sign", readFileSync(file, "utf8").trim());
  gateway.close();
}

run().catch((error) => {
  console.error(`FAILED: ${error instanceof Failed ? error.message : error.stack}`);
  process.exit(1);
});
