// How a JavaScript client connects: profile, access token, mutually authenticated channel, calls.

import { createHash, randomUUID, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { calculateJwkThumbprint, importJWK, SignJWT } from "jose";
import { parse } from "smol-toml";

const TOKEN_SECONDS = 300;

export function require(holds, what) {
  if (!holds) throw new Error(what);
}

export function loadProfile(path) {
  const read = (name) => readFileSync(resolve(dirname(path), name));
  const text = parse(readFileSync(path, "utf8"));
  return {
    ...text,
    read,
    ca: read(text.ca),
    certificate: read(text.certificate),
    key: read(text.key),
    accessKey: JSON.parse(read(text.access_key)),
    pins: parse(read(text.pins).toString()),
  };
}

export function readKey(profile, path) {
  return keyMaterial(JSON.parse(profile.read(path)));
}

// A JWK without what is no key material (`use`, `signer`).
export function keyMaterial(jwk) {
  const names = ["kty", "crv", "x", "y", "d", "n", "e"];
  return Object.fromEntries(names.filter((name) => name in jwk).map((name) => [name, jwk[name]]));
}

export function algorithm(jwk) {
  return { Ed25519: "EdDSA", "P-256": "ES256", "P-384": "ES384" }[jwk.crv];
}

export async function mintToken(profile) {
  const jwk = keyMaterial(profile.accessKey);
  const alg = algorithm(jwk);
  const thumbprint = createHash("sha256").update(new X509Certificate(profile.certificate).raw);
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    scope: profile.scopes.join(" "),
    cnf: { "x5t#S256": thumbprint.digest("base64url") },
  };
  return new SignJWT(claims)
    .setProtectedHeader({ typ: "at+jwt", alg, kid: await calculateJwkThumbprint(jwk) })
    .setIssuer(profile.principal)
    .setSubject(profile.spiffe_id)
    .setAudience(profile.audience)
    .setIssuedAt(now)
    .setExpirationTime(now + TOKEN_SECONDS)
    .setJti(randomUUID())
    .sign(await importJWK(jwk, alg));
}

export function connect(protoFolder, profile) {
  const definition = protoLoader.loadSync(
    ["mandate/v1/request_service.proto", "mandate/v1/instruction_service.proto"],
    { includeDirs: [protoFolder], keepCase: true, longs: String, enums: String },
  );
  const { mandate } = grpc.loadPackageDefinition(definition);
  const tls = grpc.credentials.createSsl(profile.ca, profile.key, profile.certificate);
  const options = { "grpc.ssl_target_name_override": profile.server_name };
  return {
    requests: new mandate.v1.RequestService(profile.gateway, tls, options),
    instructions: new mandate.v1.InstructionService(profile.gateway, tls, options),
  };
}

export function call(client, method, message, token) {
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  const deadline = Date.now() + 10_000;
  return new Promise((done, fail) =>
    client[method](message, metadata, { deadline }, (error, answer) => (error ? fail(error) : done(answer))),
  );
}
