import { afterEach, describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { testClient } from "../../test/support/registry-client.js";
import {
  type Exchange,
  on,
  type ScriptedRegistry,
  startScriptedRegistry,
} from "../../test/support/scripted-registry.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import type { ByteSource, PutOptions } from "../content/store.js";
import { LadingError } from "../errors.js";
import type { RegistryClientOptions } from "./client.js";
import { systemClock } from "./clock.js";

const bytes = Buffer.from(randomBytesOf("upload", 3_000_000));
const descriptor = describeBytes(bytes);
const start = "/v2/a/b/blobs/uploads/";

let registry: ScriptedRegistry;
let close: () => void = () => {};
afterEach(async () => {
  close();
  await registry.close();
});

async function open(options: Partial<RegistryClientOptions> = {}) {
  registry = await startScriptedRegistry();
  const { client, clock } = testClient(registry.url, options);
  close = () => client.close();
  const repository = client.repository("a/b", { side: "destination" });
  const source = sourceOf(bytes, 100_000);
  const put = async (from: ByteSource = source, options: PutOptions = {}) =>
    await repository.put(descriptor, from, options);
  return { repository, clock, source, put };
}

/** `METHOD` of all requests so far, session ids left out. */
const methods = () => registry.requests.map(({ method }) => method);
const isStored = () => registry.blobs.get(descriptor.digest)?.equals(bytes) ?? false;
const uploadUrl = /\/uploads\/[^?]/;

/** Takes the beginning of a body into the session, as a server does whose connection then breaks. */
async function takeThenBreak(exchange: Exchange, upTo: number): Promise<void> {
  const id = exchange.url.pathname.split("/").at(-1) ?? "";
  for await (const chunk of exchange.request) {
    const have = registry.uploads.get(id) ?? Buffer.alloc(0);
    registry.uploads.set(id, Buffer.concat([have, chunk as Buffer]).subarray(0, upTo));
    if (have.length >= upTo) break;
  }
  exchange.request.socket.destroy();
}

describe("an upload", () => {
  test("is looked for, then sent in one request to exactly the place that was named", async () => {
    const { put, source } = await open();
    const seen: number[] = [];
    const result = await put(source, { onBytes: (stored) => seen.push(stored) });
    expect(result).toEqual({ outcome: "stored", transferred: bytes.length });
    expect(methods()).toEqual(["HEAD", "POST", "PUT"]);
    const { target, headers } = registry.requests[2] ?? { target: "", headers: {} };
    expect(target).toMatch(new RegExp(`\\?state=critical&digest=${encodeURIComponent(descriptor.digest)}$`));
    expect(headers["content-length"]).toBe(String(bytes.length));
    expect(headers["transfer-encoding"]).toBeUndefined();
    expect(seen.at(-1)).toBe(bytes.length);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(isStored()).toBe(true);
  });

  test("reuses the session that a refused mount opened, and takes back the others", async () => {
    const { put, source } = await open();
    await put(source, { mountFrom: ["c/one", "c/two", "c/three", "c/four"] });
    expect(methods()).toEqual(["HEAD", "POST", "POST", "DELETE", "POST", "DELETE", "PUT"]);
    expect(registry.uploads.size).toBe(0);
  });

  test.each([500, 503])("whose mount is answered by %i is sent at once", async (status) => {
    const { put, source, clock } = await open();
    registry.handlers.push(on("POST", /mount=/, (exchange) => exchange.send(status)));
    expect((await put(source, { mountFrom: ["c/one"] })).outcome).toBe("stored");
    expect(methods()).toEqual(["HEAD", "POST", "POST", "PUT"]);
    expect(clock.waits).toEqual([]);
  });

  test("that breaks goes on where the registry stands", async () => {
    const { put, source } = await open();
    registry.handlers.push(on("PUT", uploadUrl, (exchange) => takeThenBreak(exchange, 1_500_000), 1));
    const retries: Error[] = [];
    const result = await put(source, { onRetry: (reason) => retries.push(reason) });
    expect(result.outcome).toBe("stored");
    // What lay in buffers may count as sent: then the blob is looked for once more.
    expect(methods().filter((method) => method !== "HEAD")).toEqual(["POST", "PUT", "GET", "PATCH", "PUT"]);
    const patch = registry.requests.find(({ method }) => method === "PATCH");
    expect(patch?.headers["content-range"]).toMatch(/^\d+-2999999$/);
    expect(source.opened).toHaveLength(2);
    expect(retries).toEqual([withCode("unreachable")]);
    expect(isStored()).toBe(true);
  });

  test("whose session is gone begins anew", async () => {
    const { put } = await open();
    registry.handlers.push(
      on(
        "PUT",
        uploadUrl,
        async (exchange) => {
          await exchange.body();
          registry.uploads.clear();
          exchange.send(404);
        },
        1,
      ),
    );
    expect(await put()).toEqual({ outcome: "stored", transferred: 2 * bytes.length });
    expect(isStored()).toBe(true);
  });

  test("whose last answer is lost is looked for, not sent again", async () => {
    const { put } = await open();
    registry.handlers.push(
      on(
        "PUT",
        uploadUrl,
        async (exchange) => {
          registry.blobs.set(descriptor.digest, await exchange.body());
          exchange.request.socket.destroy();
        },
        1,
      ),
    );
    expect(await put()).toEqual({ outcome: "stored", transferred: bytes.length });
    expect(methods()).toEqual(["HEAD", "POST", "PUT", "HEAD"]);
  });

  test.each([405, 411, 501])("is sent in chunks where one request is answered by %i", async (status) => {
    const { put } = await open();
    registry.handlers.push(on("PUT", uploadUrl, (exchange) => exchange.send(status), 1));
    expect((await put()).outcome).toBe("stored");
    expect(methods().filter((method) => method === "PATCH").length).toBeGreaterThanOrEqual(1);
    expect(registry.requests.find(({ method }) => method === "PATCH")?.headers["content-range"]).toBe("0-2999999");
    expect(isStored()).toBe(true);
  });

  test("is sent in chunks after a 413 only where the registry spoke of chunks", async () => {
    const { put } = await open();
    registry.handlers.push(on("PUT", uploadUrl, (exchange) => exchange.send(413), 1));
    await expect(put()).rejects.toMatchObject({ code: "limit-exceeded", status: 413, side: "destination" });
    expect(methods().at(-1)).toBe("DELETE");
    registry.handlers.splice(
      0,
      1,
      on("POST", start, (exchange) => {
        registry.uploads.set("s", Buffer.alloc(0));
        exchange.send(202, { location: `${start}s?state=critical`, "oci-chunk-min-length": "1000" });
      }),
      on("PUT", uploadUrl, (exchange) => exchange.send(413), 1),
    );
    expect((await put()).outcome).toBe("stored");
  });

  test("realigns after a 416", async () => {
    const { put } = await open();
    let lost = false;
    registry.handlers.push(
      on("PUT", uploadUrl, (exchange) => exchange.send(405), 1),
      on(
        "PATCH",
        uploadUrl,
        async (exchange) => {
          // Takes half of it and says no more than that it does not fit.
          const id = exchange.url.pathname.split("/").at(-1) ?? "";
          const body = await exchange.body();
          registry.uploads.set(id, body.subarray(0, 1_000_000));
          lost = true;
          exchange.send(416);
        },
        1,
      ),
    );
    expect((await put()).outcome).toBe("stored");
    expect(lost).toBe(true);
    expect(registry.requests.filter(({ method }) => method === "PATCH").at(-1)?.headers["content-range"]).toBe(
      "1000000-2999999",
    );
    expect(isStored()).toBe(true);
  });

  test("that arrived damaged is sent once more, and no third time", async () => {
    const { put } = await open();
    const answer = JSON.stringify({ errors: [{ code: "DIGEST_INVALID", message: "other bytes" }] });
    const damaged = async (exchange: Exchange) => {
      await exchange.body();
      exchange.send(400, { "content-type": "application/json" }, answer);
    };
    registry.handlers.push(on("PUT", uploadUrl, damaged, 1));
    expect((await put()).outcome).toBe("stored");
    expect(isStored()).toBe(true);
    registry.blobs.clear();
    registry.handlers.push(on("PUT", uploadUrl, damaged, 2));
    await expect(put()).rejects.toEqual(withCode("digest-mismatch"));
    expect(methods().filter((method) => method === "PUT")).toHaveLength(4);
  });

  test("whose source was damaged on its way is read once more; where it stays so, the first reason is the one", async () => {
    const { put, source } = await open();
    const damage = new LadingError("digest-mismatch", "a bit turned over");
    const broken = (...errors: LadingError[]): ByteSource =>
      async function* (offset) {
        const error = errors.shift();
        if (error === undefined) yield* source(offset);
        else {
          yield bytes.subarray(0, 100_000);
          throw error;
        }
      };
    const missing = new LadingError("not-found", "put aside meanwhile");
    await expect(put(broken(damage, missing))).rejects.toEqual(withCode("digest-mismatch"));
    expect(isStored()).toBe(false);
    expect((await put(broken(damage))).outcome).toBe("stored");
    expect(isStored()).toBe(true);
  });

  test("is given up after ten recoveries without progress", async () => {
    const { put, clock } = await open();
    registry.handlers.push(on("PUT", uploadUrl, (exchange) => exchange.send(503)));
    await expect(put()).rejects.toEqual(withCode("unreachable"));
    expect(methods().filter((method) => method === "PUT")).toHaveLength(11);
    expect(clock.waits.length).toBeGreaterThanOrEqual(10);
  });

  test("refused by a 429 waits as long as it says, and no longer than is worth it", async () => {
    const { put, clock } = await open();
    registry.handlers.push(
      on(
        "PUT",
        uploadUrl,
        async (exchange) => {
          await exchange.body();
          exchange.send(429, { "retry-after": "3" });
        },
        1,
      ),
    );
    expect((await put()).outcome).toBe("stored");
    expect(clock.waits).toEqual([3150]);
  });

  test.each([
    [{ "retry-after": "3600" }, 1, []],
    [{}, 2, [10_000]],
    [{ "retry-after": "880.092µs" }, 2, [10_000]],
  ] as const)("refused by 429 and %j is tried %i times", async (headers, times, waits) => {
    const { put, clock } = await open();
    registry.handlers.push(
      on("PUT", uploadUrl, async (exchange) => {
        await exchange.body();
        exchange.send(429, headers);
      }),
    );
    await expect(put()).rejects.toMatchObject({ code: "rate-limited", status: 429 });
    expect(methods().filter((method) => method === "PUT")).toHaveLength(times);
    expect(clock.waits).toEqual(waits);
  });

  test("that breaks holds back all that goes to the same host", async () => {
    const { put, repository, clock } = await open();
    let head: Promise<unknown> | null = null;
    registry.handlers.push(on("PUT", uploadUrl, (exchange) => exchange.send(503, { "retry-after": "20" }), 1));
    const result = await put(undefined, {
      onRetry: () => {
        head = repository.head("v1");
      },
    });
    await head;
    expect(result.outcome).toBe("stored");
    // The request that was made meanwhile waited too.
    expect(clock.waits.filter((wait) => wait > 19_000).length).toBeGreaterThanOrEqual(1);
  });

  test("whose end is not answered is given up after five tries", async () => {
    const { put } = await open();
    registry.handlers.push(
      on("PUT", uploadUrl, (exchange) => exchange.send(405), 1),
      on("PUT", uploadUrl, (exchange) => exchange.send(503)),
    );
    await expect(put()).rejects.toEqual(withCode("unreachable"));
    expect(methods().filter((method) => method === "PATCH")).toHaveLength(1);
    expect(methods().filter((method) => method === "PUT")).toHaveLength(1 + 5);
  });

  test.each([
    [401, "unauthorized"],
    [403, "denied"],
    [413, "limit-exceeded"],
    [507, "no-space"],
  ] as const)("refused by an early %i stops sending and says %s", async (status, code) => {
    const { repository } = await open();
    const large = Buffer.alloc(50_000_000, 7);
    registry.handlers.push(
      on("PUT", uploadUrl, (exchange) => {
        // Answers with most of the body unread, as a registry does that knows enough.
        exchange.response.writeHead(status, { "content-length": "2", connection: "close" });
        exchange.response.end("no");
      }),
    );
    await expect(repository.put(describeBytes(large), sourceOf(large, 1_000_000))).rejects.toMatchObject({
      code,
      status,
    });
    expect(methods().filter((method) => method === "PUT")).toHaveLength(1);
    expect(methods().at(-1)).toBe("DELETE");
    expect(registry.uploads.size).toBe(0);
  });

  test("whose source is slow is not taken for a silent registry", async () => {
    const { put } = await open({ idleTimeout: 300, clock: systemClock });
    const slow = async function* (offset: number) {
      yield bytes.subarray(offset, 1_000_000);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      yield bytes.subarray(1_000_000);
    };
    expect(await put(slow)).toEqual({ outcome: "stored", transferred: bytes.length });
    expect(methods()).toEqual(["HEAD", "POST", "PUT"]);
  });

  test("location without a path that can be read is unsafe-url", async () => {
    const { put } = await open();
    registry.handlers.push(on("POST", start, (exchange) => exchange.send(202, { location: "http://[bad" })));
    await expect(put()).rejects.toEqual(withCode("unsafe-url"));
  });

  test("of nothing is a PUT of nothing", async () => {
    const { repository } = await open();
    const empty = describeBytes(new Uint8Array());
    expect(await repository.put(empty, sourceOf(new Uint8Array()))).toEqual({ outcome: "stored", transferred: 0 });
    expect(registry.requests.at(-1)?.headers["content-length"]).toBe("0");
  });

  test("fails with closed when the client is closed", async () => {
    const { put } = await open();
    const failing = put(async function* () {
      yield bytes.subarray(0, 1_000_000);
      close();
      await new Promise(() => {});
    });
    await expect(failing).rejects.toEqual(withCode("closed"));
    await expect(put()).rejects.toEqual(withCode("closed"));
  });
});

describe("a manifest", () => {
  const manifest = Buffer.from(
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
  );
  const type = "application/vnd.oci.image.index.v1+json";

  test("whose answer is lost is looked for before it is sent again", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on(
        "PUT",
        "/v2/a/b/manifests/v1",
        async (exchange) => {
          registry.manifests.set("v1", { type, bytes: await exchange.body() });
          exchange.request.socket.destroy();
        },
        1,
      ),
    );
    await repository.putManifest(manifest, type, "v1");
    expect(methods()).toEqual(["PUT", "HEAD"]);
  });

  test("that was lost with its answer is sent again", async () => {
    const { repository } = await open();
    registry.handlers.push(on("PUT", "/v2/a/b/manifests/v1", (exchange) => exchange.send(502), 2));
    await repository.putManifest(manifest, type, "v1");
    expect(methods()).toEqual(["PUT", "HEAD", "PUT", "HEAD", "PUT"]);
  });

  test("stored as something else is a digest-mismatch", async () => {
    const { repository } = await open();
    const other = descriptor.digest;
    registry.handlers.push(
      on("PUT", "/v2/a/b/manifests/v1", async (exchange) => {
        await exchange.body();
        exchange.send(201, { "docker-content-digest": other });
      }),
    );
    await expect(repository.putManifest(manifest, type, "v1")).rejects.toEqual(withCode("digest-mismatch"));
  });
});
