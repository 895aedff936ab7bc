import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { readAll } from "../../src/content/verify.js";
import type { RegistryClient } from "../../src/registry/client.js";
import { makeCertificates } from "../support/certificates.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { type Handler, on, type ScriptedRegistry } from "../support/scripted-registry.js";
import { describeBytes, withCode } from "../support/store-contract.js";
import { testNetwork } from "../support/test-network.js";
import { startTlsFront } from "../support/tls-front.js";
import { basic, secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const blob = Buffer.from(randomBytesOf("what a redirect leads to", 5000));
const descriptor = describeBytes(blob);
/** Listens here, and is nowhere that a public registry may lead to. */
const inside = "127.0.0.5";

let folder = "";
let serverFolder = "";
let ca = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-threats-"));
  ({ serverFolder } = await makeCertificates(folder, ["cdn.example", "auth.lan"]));
  ca = await readFile(join(serverFolder, "ca.pem"), "utf8");
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const challenge = (realm: string): Handler =>
  on("GET", "/v2/", (exchange) => {
    if (exchange.headers.authorization === "Bearer right") exchange.send(200);
    else exchange.send(401, { "www-authenticate": `Bearer realm="${realm}",service="s"` });
  });
const redirecting = (location: string, times?: number): Handler =>
  on("GET", /\/blobs\/sha256:/, (exchange) => exchange.send(307, { location }), times);
const named = (registry: ScriptedRegistry, name: string) => registry.url.replace("127.0.0.1", name);
const portOf = (registry: ScriptedRegistry) => Number(new URL(registry.url).port);

async function readBlob(client: RegistryClient): Promise<Buffer> {
  return Buffer.from(await readAll(client.repository("a/b").get(descriptor), descriptor.size));
}

async function tlsFront(registry: ScriptedRegistry) {
  return stage.keep(await startTlsFront(serverFolder, portOf(registry)));
}

threat("A3", "a realm that only this machine can reach is asked nothing", async () => {
  const canary = await stage.canary();
  const registry = await stage.registry();
  for (const realm of [
    `http://127.0.0.1:${canary.port}/token`,
    `http://localhost:${canary.port}/token`,
    `https://127.0.0.1:${canary.port}/token`,
    `https://2130706433:${canary.port}/token`,
    `https://0x7f.1:${canary.port}/token`,
    `https://0.0.0.0:${canary.port}/token`,
    `https://[::]:${canary.port}/token`,
    `https://[::1]:${canary.port}/token`,
    `https://[::ffff:127.0.0.1]:${canary.port}/token`,
    `https://[64:ff9b::7f00:1]:${canary.port}/token`,
    "https://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/token",
    `http://someone@${registry.host}/token`,
    `http://someone:else@${registry.host}/token`,
    "file:///etc/passwd",
    "/token",
    "token",
    "",
  ]) {
    registry.handlers.splice(0, registry.handlers.length, challenge(realm));
    const { client } = stage.client(registry.url, { fetchCredentials: async () => secrets });
    await expect(client.ping(), realm).rejects.toEqual(withCode("unsafe-url"));
  }
  expect(canary.connections).toBe(0);
  expect(registry.log.filter((line) => line !== "GET /v2/")).toEqual([]);
});

threat("A3", "a realm at the very host and port that the user typed is asked", async () => {
  const registry = await stage.registry(
    on("GET", /^\/token/, (exchange) => exchange.send(200, {}, '{"token":"right"}')),
  );
  registry.handlers.push(challenge(`${registry.url}/token`));
  await stage.client(registry.url).client.ping();
  expect(registry.log).toEqual(["GET /v2/", "GET /token?service=s", "GET /v2/"]);
});

threat("A5", "a name with one forbidden address among good ones is not dialled", async () => {
  const canary = await stage.canary(inside);
  const registry = await stage.registry();
  for (const addresses of [["203.0.113.7", inside], [inside, "203.0.113.7"], [inside], ["::ffff:127.0.0.5"]]) {
    const network = testNetwork({
      names: { "reg.example": ["127.0.0.1"], "evil.example": addresses },
      kinds: { "127.0.0.1": "public" },
    });
    const { client } = stage.client(named(registry, "reg.example"), { insecure: true, network });
    const evil = `https://evil.example:${canary.port}/`;
    registry.handlers.splice(0, registry.handlers.length, challenge(evil), redirecting(evil));
    await expect(client.ping()).rejects.toEqual(withCode("unsafe-url"));
    await expect(readBlob(client)).rejects.toEqual(withCode("unsafe-url"));
  }
  expect(canary.connections).toBe(0);
});

threat("A5", "a name that moves inside between two lookups is not followed", async () => {
  const storage = await stage.registry();
  storage.handlers.push(on("GET", "/blob", (exchange) => exchange.send(200, { connection: "close" }, blob)));
  const front = await tlsFront(storage);
  const canary = await stage.canary(inside, front.port);
  const registry = await stage.registry(redirecting(`https://cdn.example:${front.port}/blob`));
  const network = testNetwork({
    names: { "reg.example": ["127.0.0.1"], "cdn.example": [["127.0.0.1"], [inside]] },
    kinds: { "127.0.0.1": "public" },
  });
  const { client } = stage.client(named(registry, "reg.example"), { insecure: true, network, ca });
  expect(await readBlob(client)).toEqual(blob);
  await expect(readBlob(client)).rejects.toEqual(withCode("unsafe-url"));
  expect(canary.connections).toBe(0);
  // What was checked was dialled: nobody looked again in between.
  expect(network.lookups.filter((name) => name === "cdn.example")).toHaveLength(2);
});

threat("A5", "a registry that moves inside gains no reach by it", async () => {
  const canary = await stage.canary(inside);
  const registry = await stage.registry(
    on("GET", "/v2/", (exchange) => exchange.send(200, { connection: "close" })),
    redirecting(`https://evil.example:${canary.port}/`),
  );
  const network = testNetwork({
    names: { "reg.example": [["127.0.0.1"], ["::ffff:127.0.0.1"]], "evil.example": [inside] },
    kinds: { "127.0.0.1": "public", "::ffff:127.0.0.1": "private", [inside]: "private" },
  });
  const { client } = stage.client(named(registry, "reg.example"), { insecure: true, network });
  await client.ping();
  await expect(readBlob(client)).rejects.toEqual(withCode("unsafe-url"));
  expect(network.lookups).toEqual(["reg.example", "reg.example", "evil.example"]);
  expect(canary.connections).toBe(0);
});

threat("A5", "a kept connection is no way around the check", async () => {
  const storage = await stage.registry();
  storage.handlers.push(on("GET", "/blob", (exchange) => exchange.send(200, {}, blob)));
  const front = await tlsFront(storage);
  const there = `https://cdn.example:${front.port}`;
  const registry = await stage.registry(challenge(`${there}/token`), redirecting(`${there}/blob`));
  const network = testNetwork({ names: { "cdn.example": ["127.0.0.1"] } });
  const { client } = stage.client(registry.url, { network, ca, fetchCredentials: async () => secrets });
  // From loopback another loopback port is fine for a blob, so there is a connection now; not for a token service.
  await readBlob(client);
  await expect(client.ping()).rejects.toEqual(withCode("unsafe-url"));
  expect(storage.log).toEqual(["GET /blob"]);
});

threat("A6", "a registry in a private network may use its neighbours, never this machine or metadata", async () => {
  const tokens = await stage.registry(on("GET", /^\/token/, (exchange) => exchange.send(200, {}, '{"token":"right"}')));
  const storage = await stage.registry(on("GET", "/blob", (exchange) => exchange.send(200, {}, blob)));
  const [tokenFront, storageFront] = [await tlsFront(tokens), await tlsFront(storage)];
  const canary = await stage.canary(inside);
  const registry = await stage.registry(
    challenge(`https://auth.lan:${tokenFront.port}/token`),
    redirecting(`https://cdn.example:${storageFront.port}/blob`, 1),
    redirecting(`https://evil.example:${canary.port}/`, 1),
    redirecting("https://100.100.100.200/latest"),
  );
  const network = testNetwork({
    names: {
      "reg.lan": ["127.0.0.1"],
      "auth.lan": ["127.0.0.1"],
      "cdn.example": ["127.0.0.1"],
      "evil.example": [inside],
    },
    kinds: { "127.0.0.1": "private" },
  });
  const { client } = stage.client(named(registry, "reg.lan"), { insecure: true, network, ca });
  await client.ping();
  expect(await readBlob(client)).toEqual(blob);
  await expect(readBlob(client)).rejects.toEqual(withCode("unsafe-url"));
  await expect(readBlob(client)).rejects.toEqual(withCode("unsafe-url"));
  expect(canary.connections).toBe(0);
});

threat("A6", "what the user typed is dialled wherever it is", async () => {
  const registry = await stage.registry();
  for (const kind of ["private", "loopback", "forbidden"] as const) {
    const network = testNetwork({ names: { "reg.lan": ["127.0.0.1"] }, kinds: { "127.0.0.1": kind } });
    const { client } = stage.client(named(registry, "reg.lan"), { insecure: true, network });
    await client.ping();
  }
  expect(registry.log).toHaveLength(3);
});

threat("A6", "login and pull work where registry and token service share one port of loopback", async () => {
  const registry = await stage.registry(
    on("GET", /^\/token/, (exchange) => {
      const known = exchange.headers.authorization === basic;
      exchange.send(known ? 200 : 401, {}, known ? '{"token":"right"}' : "");
    }),
  );
  registry.blobs.set(descriptor.digest, blob);
  registry.handlers.push((exchange) => {
    if (exchange.headers.authorization === "Bearer right") return false;
    exchange.send(401, { "www-authenticate": `Bearer realm="${registry.url}/token",service="s"` });
    return true;
  });
  const { client } = stage.client(registry.url, { fetchCredentials: async () => secrets });
  await client.ping();
  expect(await readBlob(client)).toEqual(blob);
});
