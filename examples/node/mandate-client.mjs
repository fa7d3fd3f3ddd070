// How an enterprise's backend connects to Mandate: profile, access token, channel, refusals.
//
// Two things prove who calls: the TLS client certificate, and a short access token that the caller signs itself
// with its registered access key (RFC 9068) and binds to that certificate (RFC 8705).

import { createHash, randomBytes, randomUUID, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { calculateJwkThumbprint, importJWK, SignJWT } from "jose";
import protobuf from "protobufjs";
import { parse } from "smol-toml";

const TOKEN_SECONDS = 300; // The longest a gateway takes.
const RENEW_BEFORE_END = 60;
const CALL_MILLISECONDS = 30_000;
const PROTO = process.env.MANDATE_PROTO ?? join(dirname(fileURLToPath(import.meta.url)), "../../proto");
const SERVICES = ["request", "instruction", "execution", "export", "audit"];

export class Failed extends Error {}

export function require(holds, what) {
  if (!holds) throw new Failed(what);
}

export const sha256 = (data) => createHash("sha256").update(data).digest();
export const b64url = (data) => Buffer.from(data).toString("base64url");

// A JWK without what is no key material (`use`, `signer`).
export function keyMaterial(jwk) {
  const names = ["kty", "crv", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi"];
  return Object.fromEntries(names.filter((name) => name in jwk).map((name) => [name, jwk[name]]));
}

// The one JOSE algorithm that fits the key.
export function algorithm(jwk) {
  return jwk.kty === "RSA" ? "PS256" : { Ed25519: "EdDSA", "P-256": "ES256", "P-384": "ES384" }[jwk.crv];
}

// A UUID version 7 (RFC 9562 section 5.7): milliseconds, then random bits.
export function uuid7() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

// One principal's way in: a profile file, with every path in it resolved.
export function loadProfile(path) {
  const read = (name) => readFileSync(resolve(dirname(path), name));
  const text = parse(readFileSync(path, "utf8"));
  return {
    ...text,
    ca: read(text.ca),
    certificate: read(text.certificate),
    key: read(text.key),
    accessKey: keyMaterial(JSON.parse(read(text.access_key))),
    pins: parse(read(text.pins).toString()),
    app: text.controller?.apps[0],
    instructionKey: () => keyMaterial(JSON.parse(read(text.controller.instruction_key))),
    // The age secret key exports are decrypted with; `#` lines of the file are comments.
    exportIdentity: () => /^AGE-SECRET-KEY-\S+/m.exec(read(text.controller.export_identity).toString())[0],
  };
}

// Makes an access token: RFC 9068's shape, signed with the registered access key.
export async function mintToken(profile, claims = {}) {
  const jwk = profile.accessKey;
  const now = Math.floor(Date.now() / 1000);
  // `x5t#S256` of RFC 8705: SHA-256 over the DER of the certificate on the connection.
  const thumbprint = b64url(sha256(new X509Certificate(profile.certificate).raw));
  const payload = {
    iss: profile.principal,
    sub: profile.spiffe_id,
    aud: profile.audience,
    iat: now,
    exp: now + TOKEN_SECONDS,
    jti: randomUUID(),
    scope: profile.scopes.join(" "),
    cnf: { "x5t#S256": thumbprint },
    ...claims,
  };
  return signToken(payload, jwk);
}

export async function signToken(payload, jwk) {
  const header = { typ: "at+jwt", alg: algorithm(jwk), kid: await calculateJwkThumbprint(jwk) };
  return new SignJWT(payload).setProtectedHeader(header).sign(await importJWK(jwk, header.alg));
}

// A mutually authenticated channel to every service; a token on each call, made anew before the last one ends.
export class Gateway {
  constructor(profile, { withToken = true } = {}) {
    this.profile = profile;
    this.withToken = withToken;
    this.renewAt = 0;
    const files = SERVICES.map((name) => `mandate/v1/${name}_service.proto`);
    const definition = protoLoader.loadSync(files, {
      includeDirs: [PROTO], keepCase: true, longs: Number, enums: String, defaults: true,
    });
    const { v1 } = grpc.loadPackageDefinition(definition).mandate;
    const tls = grpc.credentials.createSsl(profile.ca, profile.key, profile.certificate);
    const options = { "grpc.ssl_target_name_override": profile.server_name };
    const service = (name) => new v1[`${name}Service`](profile.gateway, tls, options);
    this.requests = service("Request");
    this.instructions = service("Instruction");
    this.executions = service("Execution");
    this.exports = service("Export");
    this.audit = service("Audit");
  }

  async metadata() {
    const metadata = new grpc.Metadata();
    if (!this.withToken) return metadata;
    if (Date.now() / 1000 >= this.renewAt) {
      this.token = await mintToken(this.profile);
      this.renewAt = Date.now() / 1000 + TOKEN_SECONDS - RENEW_BEFORE_END;
    }
    metadata.set("authorization", `Bearer ${this.token}`);
    return metadata;
  }

  // One call of a service: `await gateway.call(gateway.requests, "ListRequests", {})`.
  async call(client, method, message) {
    const metadata = await this.metadata();
    const deadline = Date.now() + CALL_MILLISECONDS;
    return new Promise((done, fail) =>
      client[method](message, metadata, { deadline }, (error, answer) => (error ? fail(error) : done(answer))),
    );
  }

  // A call that answers with a stream; `for await` reads it, `cancel()` hangs up.
  async stream(client, method, message, milliseconds) {
    return client[method](message, await this.metadata(), { deadline: Date.now() + milliseconds });
  }

  close() {
    for (const client of [this.requests, this.instructions, this.executions, this.exports, this.audit]) client.close();
  }
}

const errorTypes = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`, { keepCase: true }).root;

// The stable reason code of a refusal (google.rpc.ErrorInfo), or the gRPC code without one.
export function reasonOf(error) {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = packed ? errorTypes.lookupType("Status").decode(packed).details : [];
  const info = details.find((one) => one.type_url.endsWith("google.rpc.ErrorInfo"));
  return info ? errorTypes.lookupType("ErrorInfo").decode(info.value).reason : (grpc.status[error.code] ?? error.message);
}

export { grpc };
