// A second client that is not ours: JavaScript's own gRPC and JOSE libraries.
//
// Usage:  node client.mjs PROTO_FOLDER PROFILE
//
// Mints an access token, lists the caller's requests, reads its key set and verifies it. Without a
// token it must be refused, with a stable reason. Exits 1 where anything does not hold.

import { createHash } from "node:crypto";

import grpc from "@grpc/grpc-js";
import { calculateJwkThumbprint, decodeProtectedHeader, generalVerify, importJWK } from "jose";

import { algorithm, call, connect, keyMaterial, loadProfile, mintToken, require } from "./profile.mjs";

async function refusedWithoutToken(clients) {
  try {
    await call(clients.instructions, "GetKeySet", {});
  } catch (error) {
    require(error.code === grpc.status.UNAUTHENTICATED, `without a token: code ${error.code}`);
    // The reason stands as text in the packed google.rpc.ErrorInfo.
    const details = error.metadata.get("grpc-status-details-bin");
    require(details.some((one) => one.includes("TOKEN_MISSING")), "the refusal has no reason");
    console.log("without a token: UNAUTHENTICATED, TOKEN_MISSING");
    return;
  }
  throw new Error("answered without a token");
}

async function verifyKeySet(answer, profile) {
  const signed = JSON.parse(answer.key_set);
  const digest = createHash("sha256").update(signed.payload).digest("base64url");
  require(digest === answer.digest, "the key set's digest is not over its bytes");
  const payload = JSON.parse(Buffer.from(signed.payload, "base64url").toString());
  require(payload.iss === profile.principal, "the key set is another's");
  const { kid } = decodeProtectedHeader(signed.signatures[0]);
  for (const key of payload.keys) {
    const material = keyMaterial(key);
    if ((await calculateJwkThumbprint(material)) !== kid) continue;
    require(payload.roles.root.kids.includes(kid), "the key set is not signed by a root key");
    await generalVerify(signed, await importJWK(material, algorithm(material)));
    return payload;
  }
  throw new Error("the key set is signed by no key of its own");
}

async function main([protoFolder, profilePath]) {
  const profile = loadProfile(profilePath);
  const clients = connect(protoFolder, profile);
  await refusedWithoutToken(clients);
  const token = await mintToken(profile);
  const { requests = [] } = await call(clients.requests, "ListRequests", { page_size: 10 }, token);
  console.log(`requests: ${requests.length}`);
  const payload = await verifyKeySet(await call(clients.instructions, "GetKeySet", {}, token), profile);
  console.log(`key set: version ${payload.version}, signed by its own root key`);
  clients.requests.close();
  clients.instructions.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`FAILED: ${error.message}`);
  process.exit(1);
});
