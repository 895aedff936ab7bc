import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { readAll } from "../../src/content/verify.js";
import { RemoteImage } from "../../src/index.js";
import { makeCertificates } from "../support/certificates.js";
import { startForwardProxy } from "../support/forward-proxy.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { on, type ScriptedRegistry } from "../support/scripted-registry.js";
import { errorOf, testBench } from "../support/sdk-client.js";
import { describeBytes, withCode } from "../support/store-contract.js";
import { startTlsFront } from "../support/tls-front.js";
import { secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const asCarol = { fetchCredentials: async () => secrets };
const blob = Buffer.from(randomBytesOf("behind TLS", 1000));
const descriptor = describeBytes(blob);

let folder = "";
let serverFolder = "";
let ca = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-threats-"));
  ({ serverFolder } = await makeCertificates(folder, ["reg.example"]));
  ca = await readFile(join(serverFolder, "ca.pem"), "utf8");
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** `https://127.0.0.1:PORT` before a registry. */
async function secured(registry: ScriptedRegistry): Promise<string> {
  const front = stage.keep(await startTlsFront(serverFolder, Number(new URL(registry.url).port)));
  return `https://127.0.0.1:${front.port}`;
}

threat("A17", "after a failed TLS handshake nothing is said in plain text, and nothing again", async () => {
  const registry = await stage.registry();
  await expect(stage.client(await secured(registry), asCarol).client.ping()).rejects.toEqual(withCode("tls"));
  expect(registry.requests).toEqual([]);
  // Who answers a handshake in plain text hears a handshake alone.
  const canary = await stage.canary();
  const { client } = stage.client(`https://${canary.host}`, asCarol);
  await expect(client.repository("a/b").manifest("v1")).rejects.toEqual(withCode("tls"));
  expect(canary.connections).toBe(1);
  expect(canary.heard.startsWith("\u0016")).toBe(true);
  expect(canary.heard).not.toMatch(/GET|Authorization/i);
});

threat("A17", "from https no realm, redirect, location or page leads to http, marked or not", async () => {
  const canary = await stage.canary();
  const there = `http://${canary.host}/`;
  const registry = await stage.registry(
    on("GET", "/v2/", (exchange) => exchange.send(401, { "www-authenticate": `Bearer realm="${there}",service="s"` })),
    on("GET", /\/blobs\//, (exchange) => exchange.send(307, { location: there })),
    on("POST", /\/blobs\//, (exchange) => exchange.send(202, { location: there })),
    on("GET", /\/tags\//, (exchange) => exchange.send(200, { link: `<${there}>; rel="next"` }, '{"tags":["a"]}')),
  );
  const url = await secured(registry);
  for (const insecureHosts of [[], [canary.host]]) {
    const { client } = stage.client(url, { ...asCarol, ca, insecureHosts, authHosts: insecureHosts });
    const repository = client.repository("a/b");
    await expect(client.ping()).rejects.toEqual(withCode("unsafe-url"));
    await expect(readAll(repository.get(descriptor), 1000)).rejects.toEqual(withCode("unsafe-url"));
    const put = repository.put(descriptor, async function* () {
      yield blob;
    });
    await expect(put).rejects.toEqual(withCode("unsafe-url"));
    await expect(repository.tags()[Symbol.asyncIterator]().next()).rejects.toEqual(withCode("unsafe-url"));
  }
  expect(canary.connections).toBe(0);
});

threat("A17", "what is marked insecure is one host and port, not whom it names", async () => {
  const other = await stage.registry();
  const elsewhere = await secured(other);
  const registry = await stage.registry(
    on("GET", "/v2/", (exchange) =>
      exchange.send(401, { "www-authenticate": `Bearer realm="${elsewhere}/token",service="s"` }),
    ),
    on("GET", /\/blobs\//, (exchange) => exchange.send(307, { location: `${elsewhere}/blob` })),
    on("POST", /\/blobs\//, (exchange) => exchange.send(202, { location: `${elsewhere}/up` })),
  );
  const url = await secured(registry);
  const options = { ...asCarol, insecure: true, authHosts: [new URL(elsewhere).host] };
  const { client } = stage.client(url, options);
  const repository = client.repository("a/b");
  await expect(client.ping()).rejects.toEqual(withCode("tls"));
  await expect(readAll(repository.get(descriptor), 1000)).rejects.toEqual(withCode("tls"));
  const put = repository.put(descriptor, async function* () {
    yield blob;
  });
  await expect(put).rejects.toEqual(withCode("tls"));
  expect(registry.requests.length).toBeGreaterThan(0);
  expect(other.requests).toEqual([]);
});

threat("A18", "the scheme is what the name says: nobody is asked in plain http beside", async () => {
  const registry = await stage.registry();
  const tls = Number(new URL(await secured(registry)).port);
  const plain = await stage.canary();
  const hosts = [
    "x.local",
    "registry:5000",
    "10.0.0.1",
    "192.168.1.1:5000",
    "host.docker.internal",
    "localhost.example",
  ];
  const routes = hosts.flatMap((host) => {
    const [name, port = "443"] = host.split(":");
    return [
      [`${name}:${port}`, tls],
      [`${name}:80`, plain.port],
    ] as const;
  });
  const proxy = stage.keep(await startForwardProxy(Object.fromEntries(routes)));
  const way = `http://${proxy.host}`;
  const bench = stage.keep(await testBench({ env: { HTTPS_PROXY: way, HTTP_PROXY: way } }));
  for (const host of hosts) {
    const remote = RemoteImage.newExternalImage("a/b", host, { tag: "v1" });
    expect(await errorOf(bench.client.images.digest(remote)), host).toEqual(withCode("tls"));
  }
  const wanted = hosts.map((host) => `CONNECT ${host.includes(":") ? host : `${host}:443`}`);
  expect(proxy.asked.map(({ line }) => line)).toEqual(wanted);
  expect(plain.connections).toBe(0);
  expect(registry.requests).toEqual([]);
});
