// Makes signed instructions: SD-JWTs (RFC 9901) by the npm package `@sd-jwt/core`.
//
// Whom an instruction is about stands in disclosures alone. The signed part holds their salted digests, so it can
// lie in a public log for good.

import { createHash, createPrivateKey, constants, randomBytes, sign } from "node:crypto";

import { SDJwtInstance } from "@sd-jwt/core";
import { calculateJwkThumbprint, decodeProtectedHeader, generalVerify, importJWK } from "jose";

import { algorithm, b64url, keyMaterial, require, sha256, uuid7 } from "./mandate-client.mjs";

export const TYP = "instruction+sd-jwt";
export const APPROVAL = "instruction-approval+jwt";
export const WITHDRAWAL = "instruction-withdrawal+jwt";
const LIFETIME_SECONDS = 7 * 24 * 3600; // The longest allowed is 30 days.
// On what ground each act is ordered here; yours may be another. (A revoke has that of what it takes back, or this.)
const BASIS = {
  preview: "pipl-45", export: "pipl-45", erase: "pipl-47", return_and_erase: "contract-end", revoke: "pipl-15",
};

export const hashing = {
  hashAlg: "sha-256",
  hasher: (data, alg) => {
    require(alg === "sha-256", `another hash: ${alg}`);
    return createHash("sha256").update(data).digest();
  },
};

// The key set the signers act under: an instruction names its version and digest.
export function readKeySet(text) {
  const segment = JSON.parse(text).payload;
  const payload = JSON.parse(Buffer.from(segment, "base64url"));
  return { version: payload.version, digest: b64url(sha256(segment)), payload };
}

// The key set is signed by as many of its own root signers as it asks for. (Version 1 is held against the pin besides.)
export async function checkRootSignatures(text) {
  const signed = JSON.parse(text);
  const { payload } = readKeySet(text);
  const { kids, threshold } = payload.roles.root;
  const signers = new Set();
  for (const one of signed.signatures) {
    const { kid, typ } = decodeProtectedHeader(one);
    const listed = payload.keys.find((key) => key.kid === kid && key.use === "root");
    if (typ !== "keyset+jwt" || !listed || !kids.includes(kid)) continue;
    const jwk = keyMaterial(listed);
    require((await calculateJwkThumbprint(jwk)) === kid, "a kid is not the thumbprint of its key");
    await generalVerify({ ...signed, signatures: [one] }, await importJWK(jwk, algorithm(jwk)));
    signers.add(listed.signer);
  }
  require(signers.size >= threshold, "too few root signers have signed the key set");
}

export function maySign(keySet, kid, act) {
  return keySet.payload.roles[act]?.kids.includes(kid) ?? false;
}

// A user id inside an app, as an identifier of RFC 9493.
export const user = (app, id) => ({ format: "iss_sub", iss: app, sub: id });
export const device = (id) => ({ format: "opaque", id });

// The members of an instruction. Each identifier of the subject becomes one disclosure; `revoke` and `return_and_erase`
// are about nobody in particular, and have none.
export function instructionClaims(profile, keySet, act, subject, categories, more = {}) {
  const now = Math.floor(Date.now() / 1000);
  return {
    iss: profile.principal,
    aud: profile.pins.trail.origin,
    jti: uuid7(),
    iat: now,
    exp: now + LIFETIME_SECONDS,
    act,
    app: profile.app,
    ...(subject.length > 0 && { sub_id: { format: "aliases", identifiers: subject } }),
    categories,
    basis: BASIS[act],
    key_set: { version: keySet.version, digest: keySet.digest },
    ...more,
  };
}

// Takes an instruction back, `instructions/<jti>`: what was not begun never is, what was begun stops.
export const revokeClaims = (profile, keySet, target) => instructionClaims(profile, keySet, "revoke", [], ["*"], { target });

// Signs the ASCII bytes in JOSE's form: ECDSA as r || s, PS256 with a salt of 32 bytes.
export function signBytes(data, jwk) {
  const key = createPrivateKey({ key: jwk, format: "jwk" });
  const hash = { EdDSA: null, ES256: "sha256", ES384: "sha384", PS256: "sha256" }[algorithm(jwk)];
  const how = jwk.kty === "RSA" ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } : { dsaEncoding: "ieee-p1363" };
  return b64url(sign(hash, Buffer.from(data, "ascii"), { key, ...how }));
}

async function protectedHeader(jwk, typ = TYP) {
  return { typ, alg: algorithm(jwk), kid: await calculateJwkThumbprint(jwk) };
}

// One signer: the compact form, `<header>.<payload>.<signature>~<disclosure>~...~`.
export async function signAlone(claims, jwk) {
  const { alg, ...header } = await protectedHeader(jwk);
  const library = new SDJwtInstance({
    ...hashing,
    signAlg: alg,
    signer: (data) => signBytes(data, jwk),
    saltGenerator: () => b64url(randomBytes(16)),
  });
  const frame = {};
  if (claims.sub_id) frame.sub_id = { identifiers: { _sd: claims.sub_id.identifiers.map((_, at) => at) } };
  if (claims.private) frame.private = { _sd: Object.keys(claims.private) };
  return library.issue(claims, frame, { header });
}

// Several signers over the same bytes: JWS General JSON, with the disclosures in the first signature's unprotected
// header (RFC 9901 section 8).
export async function signTogether(claims, [first, ...others]) {
  const [signedPart, ...rest] = (await signAlone(claims, first)).split("~");
  const [header, payload, signature] = signedPart.split(".");
  const signatures = [{ protected: header, header: { disclosures: rest.slice(0, -1) }, signature }];
  for (const jwk of others) signatures.push(await coSign(payload, jwk));
  return JSON.stringify({ payload, signatures });
}

// One more signature over a payload segment that exists already. With `APPROVAL` it is what ApproveInstruction takes,
// for an instruction that was submitted and waits, and with `WITHDRAWAL` what takes one's own signature back. Look first
// whether it `isWhole`, and whom its disclosures name.
export async function coSign(payload, jwk, typ = TYP) {
  const header = b64url(JSON.stringify(await protectedHeader(jwk, typ)));
  return { protected: header, signature: signBytes(`${header}.${payload}`, jwk) };
}

// The signed payload, as sent, of either form.
export function payloadSegment(instruction) {
  return instruction.startsWith("{") ? JSON.parse(instruction).payload : instruction.split("~")[0].split(".")[1];
}

export const payloadOf = (instruction) => JSON.parse(Buffer.from(payloadSegment(instruction), "base64url"));

// Whether each digest has its one disclosure, and each disclosure its digest. An SD-JWT library lets a holder withhold
// some; the gateway takes an instruction whole or not at all.
export function isWhole(instruction) {
  const general = instruction.startsWith("{");
  const [, ...rest] = general ? [] : instruction.split("~");
  if (!general && rest.pop() !== "") return false;
  const disclosures = general ? (JSON.parse(instruction).signatures[0].header?.disclosures ?? []) : rest;
  const { sub_id: subject, private: personal } = payloadOf(instruction);
  const digests = [...(subject?.identifiers ?? []).map((one) => one["..."]), ...(personal?._sd ?? [])];
  const made = disclosures.map((one) => b64url(sha256(one)));
  return made.toSorted().join() === digests.toSorted().join() && new Set(made).size === made.length;
}

// What receipts and reports call the instruction by: SHA-256 over the payload segment.
export const instructionDigest = (instruction) => b64url(sha256(payloadSegment(instruction)));

export const subjectDigests = (instruction) => (payloadOf(instruction).sub_id?.identifiers ?? []).map((one) => one["..."]);
