import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { readAll } from "../../src/content/verify.js";
import type { RegistryClient } from "../../src/registry/client.js";
import { makeCertificates } from "../support/certificates.js";
import { startForwardProxy } from "../support/forward-proxy.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { type Handler, on, type RecordedRequest } from "../support/scripted-registry.js";
import { describeBytes, sourceOf, withCode } from "../support/store-contract.js";
import { testNetwork } from "../support/test-network.js";
import { startTlsFront } from "../support/tls-front.js";
import { basic, secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const blob = Buffer.from(randomBytesOf("content behind redirects", 5000));
const descriptor = describeBytes(blob);
const asCarol = { fetchCredentials: async () => secrets };

let folder = "";
let serverFolder = "";
let ca = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-threats-"));
  ({ serverFolder } = await makeCertificates(folder));
  ca = await readFile(join(serverFolder, "ca.pem"), "utf8");
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Basic for everybody; what comes with it goes on. */
const guarded: Handler = (exchange) => {
  if (exchange.headers.authorization === basic) return false;
  exchange.send(401, { "www-authenticate": 'Basic realm="here"' });
  return true;
};

async function readBlob(client: RegistryClient, offset = 0): Promise<Buffer> {
  return Buffer.from(await readAll(client.repository("a/b").get(descriptor, { offset }), descriptor.size - offset));
}

/** All but what HTTP itself says of a connection. */
function headersOf(request: RecordedRequest | undefined): Readonly<Record<string, unknown>> {
  const { host: _host, connection: _connection, ...headers } = request?.headers ?? {};
  return headers;
}

for (const status of [301, 302, 303, 307, 308]) {
  threat("A7", `a token service's ${status} is not followed`, async () => {
    const canary = await stage.canary();
    const registry = await stage.registry(
      on("GET", /^\/token/, (exchange) => exchange.send(status, { location: `http://${canary.host}/` })),
      on("POST", /^\/token/, (exchange) => exchange.send(status, { location: `http://${canary.host}/` })),
    );
    registry.handlers.push((exchange) => {
      exchange.send(401, { "www-authenticate": `Bearer realm="${registry.url}/token",service="s"` });
      return true;
    });
    for (const credential of [secrets, { identityToken: secrets.password }, null]) {
      const { client } = stage.client(registry.url, { fetchCredentials: async () => credential });
      await expect(client.ping()).rejects.toEqual(withCode("unsafe-url"));
    }
    expect(canary.connections).toBe(0);
  });

  threat("A11", `behind a ${status} to another origin a request has the allow-list of headers`, async () => {
    const storage = await stage.registry((exchange) => {
      const from = Number(/^bytes=(\d+)-$/.exec(exchange.headers.range ?? "")?.[1] ?? 0);
      const range = { "content-range": `bytes ${from}-${blob.length - 1}/${blob.length}` };
      exchange.send(from === 0 ? 200 : 206, from === 0 ? {} : range, blob.subarray(from));
      return true;
    });
    const front = stage.keep(await startTlsFront(serverFolder, Number(new URL(storage.url).port)));
    for (const location of [
      `${storage.url}/blob`,
      `${storage.url.replace("127.0.0.1", "localhost")}/blob`,
      `https://127.0.0.1:${front.port}/blob`,
    ]) {
      const registry = await stage.registry(
        guarded,
        on("GET", /\/blobs\//, (exchange) => exchange.send(status, { location })),
      );
      const { client } = stage.client(registry.url, { ...asCarol, ca });
      const before = storage.requests.length;
      expect(await readBlob(client)).toEqual(blob);
      expect(await readBlob(client, 1000)).toEqual(blob.subarray(1000));
      const [whole, part, ...more] = storage.requests.slice(before).map(headersOf);
      const agent = { "user-agent": expect.stringMatching(/^lading\//) };
      expect(whole, location).toEqual(agent);
      expect(part, location).toEqual({ ...agent, range: "bytes=1000-" });
      expect(more).toEqual([]);
    }
  });
}

threat("A11", "a redirect that comes back home comes without credentials", async () => {
  const registry = await stage.registry();
  const elsewhere = await stage.registry((exchange) => {
    exchange.send(307, { location: `${registry.url}/back` });
    return true;
  });
  registry.handlers.push(
    on("GET", "/back", (exchange) => exchange.send(401, { "www-authenticate": 'Basic realm="here"' })),
    guarded,
    on("GET", /\/blobs\//, (exchange) => exchange.send(307, { location: `${elsewhere.url}/` })),
  );
  const { client } = stage.client(registry.url, asCarol);
  await expect(readBlob(client)).rejects.toEqual(withCode("unauthorized"));
  const back = registry.requests.filter(({ target }) => target === "/back");
  expect(back.map(({ headers }) => headers.authorization)).toEqual(back.map(() => undefined));
  expect(back.length).toBeGreaterThan(0);
});

threat("A13", "an upload to another host has no credentials", async () => {
  const other = await stage.registry(
    on("PUT", /^\/up/, async (exchange) => {
      await exchange.body();
      exchange.send(201, { location: "/there" });
    }),
  );
  const registry = await stage.registry(
    guarded,
    on("POST", /\/blobs\/uploads\/$/, (exchange) => exchange.send(202, { location: `${other.url}/up?s=1` })),
  );
  const { client } = stage.client(registry.url, asCarol);
  await client.repository("a/b").put(descriptor, sourceOf(blob));
  expect(other.log).toEqual([`PUT /up?s=1&digest=${encodeURIComponent(descriptor.digest)}`]);
  expect(other.requests[0]?.headers.authorization).toBeUndefined();
});

threat("A13", "an upload at home has them, however its location is written", async () => {
  for (const start of ["", "http://reg.example", "http://reg.example:80", "http://REG.example", "//reg.example:80"]) {
    const registry = await stage.registry(guarded);
    registry.handlers.push(
      on("POST", /\/blobs\/uploads\/$/, (exchange) => {
        registry.uploads.set("one", Buffer.alloc(0));
        exchange.send(202, { location: `${start}/v2/a/b/blobs/uploads/one?state=critical` });
      }),
    );
    // The port of http itself can't be had by a test: the proxy leads it to the registry's own.
    const proxy = stage.keep(await startForwardProxy({ "reg.example:80": Number(new URL(registry.url).port) }));
    const env = { HTTP_PROXY: `http://${proxy.host}` };
    const { client } = stage.client("http://reg.example", { ...asCarol, env, insecure: true });
    await client.repository("a/b").put(descriptor, sourceOf(blob));
    const put = registry.requests.find(({ method }) => method === "PUT");
    expect(put?.headers.authorization, start).toBe(basic);
    expect(registry.blobs.get(descriptor.digest)).toEqual(blob);
  }
});

threat("A14", "no byte of a layer goes where an upload must not lead", async () => {
  const inside = "127.0.0.5";
  const canary = await stage.canary(inside);
  const registry = await stage.registry();
  const network = testNetwork({
    names: { "reg.example": ["127.0.0.1"], "evil.example": [inside] },
    kinds: { "127.0.0.1": "public" },
  });
  const url = registry.url.replace("127.0.0.1", "reg.example");
  for (const place of [
    `https://${canary.host}/up`,
    `http://${canary.host}/up`,
    `https://evil.example:${canary.port}/`,
  ]) {
    registry.handlers.splice(
      0,
      registry.handlers.length,
      on("POST", /\/blobs\/uploads\/$/, (exchange) => exchange.send(202, { location: place })),
    );
    const { client } = stage.client(url, { insecure: true, network });
    const sent = client.repository("a/b").put(descriptor, sourceOf(blob));
    await expect(sent).rejects.toEqual(withCode("unsafe-url"));
  }
  expect(canary.connections).toBe(0);
});

for (const status of [301, 302, 303, 307, 308]) {
  threat("A14", `content does not follow a ${status} to another origin`, async () => {
    // Loopback on another port, which a request without content might follow.
    const canary = await stage.canary();
    const away: Handler = (exchange) => {
      if (exchange.method !== "PUT" && exchange.method !== "PATCH") return false;
      exchange.send(status, { location: `http://${canary.host}/up` });
      return true;
    };
    const registry = await stage.registry(away);
    const { client } = stage.client(registry.url);
    const repository = client.repository("a/b");
    await expect(repository.put(descriptor, sourceOf(blob))).rejects.toEqual(withCode("unsafe-url"));
    // A registry that takes no blob whole is sent chunks.
    registry.handlers.unshift(on("PUT", /uploads/, (exchange) => exchange.send(405), 1));
    await expect(repository.put(descriptor, sourceOf(blob))).rejects.toEqual(withCode("unsafe-url"));
    expect(registry.requests.some(({ method }) => method === "PATCH")).toBe(true);
    expect(canary.connections).toBe(0);
  });
}

threat("A31", "a proxy's credentials are the proxy's alone", async () => {
  const storage = await stage.registry((exchange) => {
    exchange.send(200, {}, blob);
    return true;
  });
  const registry = await stage.registry(
    on("GET", /\/blobs\//, (exchange) => {
      exchange.send(307, { location: `${storage.url}/blob` });
    }),
  );
  const proxied = await stage.registry(
    on("GET", /\/blobs\//, (exchange) => {
      exchange.send(307, { location: "http://other.example/blob" });
    }),
  );
  const proxy = stage.keep(
    await startForwardProxy({
      "reg.example:80": Number(new URL(registry.url).port),
      "through.example:80": Number(new URL(proxied.url).port),
      "other.example:80": Number(new URL(storage.url).port),
    }),
  );
  const env = { HTTP_PROXY: `http://proxy-user:${secrets.password}@${proxy.host}` };
  const through = stage.client("http://through.example", { env, insecure: true, insecureHosts: ["other.example"] });
  expect(await readBlob(through.client)).toEqual(blob);
  expect(proxy.asked.map(({ headers }) => headers["proxy-authorization"])).toEqual([
    expect.stringMatching(/^Basic /),
    expect.stringMatching(/^Basic /),
  ]);
  // Loopback is reached without the proxy.
  const direct = stage.client("http://reg.example", { env, insecure: true, insecureHosts: [storage.host] });
  expect(await readBlob(direct.client)).toEqual(blob);
  for (const { headers } of storage.requests) {
    expect(Object.keys(headers).sort()).toEqual(["connection", "host", "user-agent"]);
  }
  expect(storage.requests).toHaveLength(2);
});
