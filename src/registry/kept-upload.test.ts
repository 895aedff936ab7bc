import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { testClient } from "../../test/support/registry-client.js";
import { on, type ScriptedRegistry, startScriptedRegistry } from "../../test/support/scripted-registry.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import type { ByteSource } from "../content/store.js";
import type { RegistryClientOptions } from "./client.js";
import { UploadJournal } from "./upload-journal.js";

// Uploads that are broken off in one client and go on in another, over one journal.

const bytes = Buffer.from(randomBytesOf("kept", 17_000_000));
const descriptor = describeBytes(bytes);
const half = 8_000_000;
const uploadUrl = /\/uploads\/[^?]/;

let registry: ScriptedRegistry;
let directory: string;
const closers: (() => void)[] = [];
beforeEach(async () => {
  registry = await startScriptedRegistry();
  directory = join(await temporaryFolder(), "store", ".lading", "uploads");
});
afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await registry.close();
});

/** A client of its own, as the next run has one. */
function run(options: Partial<RegistryClientOptions> = {}) {
  const journal = new UploadJournal({ directory });
  const opened = testClient(registry.url, { uploads: async () => journal, ...options });
  closers.push(() => opened.client.close());
  const repository = opened.client.repository("a/b", { side: "destination" });
  return { ...opened, put: (source: ByteSource, more = {}) => repository.put(descriptor, source, more) };
}

const whole = sourceOf(bytes, 500_000);
const records = () => readdir(directory);
const methods = () => registry.requests.map(({ method }) => method);
const isStored = () => registry.blobs.get(descriptor.digest)?.equals(bytes) ?? false;

/** Pushes, and cancels when the registry has a good part. */
async function breakOff(options: Partial<RegistryClientOptions> = {}): Promise<void> {
  const controller = new AbortController();
  const slow: ByteSource = async function* (offset) {
    yield bytes.subarray(offset, half);
    while (![...registry.uploads.values()].some(({ length }) => length >= half)) await new Promise(setImmediate);
    controller.abort();
    await new Promise(() => {});
  };
  const { put, client } = run(options);
  await expect(put(slow, { signal: controller.signal })).rejects.toEqual(withCode("cancelled"));
  client.close();
}

describe("an upload that was broken off", () => {
  test("goes on in the next run where the registry stands, without a new session", async () => {
    await breakOff();
    expect(await records()).toHaveLength(1);
    expect(registry.uploads.size).toBe(1);
    const before = registry.requests.length;
    const seen: number[] = [];
    const { put } = run();
    expect(await put(whole, { onBytes: (stored: number) => seen.push(stored) })).toEqual({
      outcome: "stored",
      transferred: bytes.length - half,
    });
    expect(methods().slice(before)).toEqual(["HEAD", "GET", "PATCH", "PUT"]);
    expect(registry.requests.at(-2)?.headers["content-range"]).toBe(`${half}-${bytes.length - 1}`);
    expect(seen[0]).toBe(half);
    expect(isStored()).toBe(true);
    expect(await records()).toEqual([]);
  });

  test("begins anew where the session is gone", async () => {
    await breakOff();
    registry.uploads.clear();
    const before = registry.requests.length;
    expect((await run().put(whole)).transferred).toBe(bytes.length);
    expect(methods().slice(before)).toEqual(["HEAD", "GET", "POST", "PUT"]);
    expect(await records()).toEqual([]);
  });

  test("is sent once more in one piece where the parts do not fit together", async () => {
    await breakOff();
    for (const [id, taken] of registry.uploads) registry.uploads.set(id, Buffer.from(taken).fill(7, 0, 10));
    expect((await run().put(whole)).outcome).toBe("stored");
    expect(isStored()).toBe(true);
    expect(registry.uploads.size).toBe(0);
  });

  test("is not looked for where the blob has arrived in another way", async () => {
    await breakOff();
    registry.blobs.set(descriptor.digest, bytes);
    const before = registry.requests.length;
    expect((await run().put(whole)).outcome).toBe("exists");
    expect(methods().slice(before)).toEqual(["HEAD"]);
    expect(await records()).toEqual([]);
  });

  test("is kept where the registry can't be reached any more", async () => {
    registry.handlers.push(
      on("PUT", uploadUrl, ({ request }) => void request.socket.destroy()),
      on("GET", uploadUrl, ({ request }) => void request.socket.destroy()),
    );
    await expect(run().put(whole)).rejects.toEqual(withCode("unreachable"));
    expect(await records()).toHaveLength(1);
    expect(methods()).not.toContain("DELETE");
  });

  test.each([
    [413, "limit-exceeded"],
    [507, "no-space"],
    [403, "denied"],
  ] as const)("by a %i is taken back: it can't succeed", async (status, code) => {
    registry.handlers.push(on("PUT", uploadUrl, (exchange) => exchange.send(status)));
    await expect(run().put(whole)).rejects.toMatchObject({ code, status });
    expect(registry.uploads.size).toBe(0);
    expect(await records()).toEqual([]);
  });

  test("whose place is another host that is gone begins anew", async () => {
    const elsewhere = await startScriptedRegistry();
    registry.handlers.push(
      on(
        "POST",
        /uploads\/$/,
        (exchange) => exchange.send(202, { location: `${elsewhere.url}/v2/a/b/blobs/uploads/1?state=critical` }),
        1,
      ),
    );
    elsewhere.handlers.push(on("PUT", uploadUrl, ({ request }) => void request.socket.destroy()));
    elsewhere.handlers.push(on("GET", uploadUrl, ({ request }) => void request.socket.destroy()));
    await expect(run().put(whole)).rejects.toEqual(withCode("unreachable"));
    await elsewhere.close();
    expect(await records()).toHaveLength(1);
    expect((await run().put(whole)).outcome).toBe("stored");
    expect(await records()).toEqual([]);
  });

  test("is never shown: not to a log, and not in an error", async () => {
    const lines: string[] = [];
    registry.handlers.push(
      on("POST", /uploads\/$/, (exchange) => {
        registry.uploads.set("1", Buffer.alloc(0));
        exchange.send(202, { location: "/v2/a/b/blobs/uploads/1?state=critical&signature=canary-5ec7e7" });
      }),
    );
    await breakOff({ onDebug: (line) => lines.push(line) });
    registry.handlers.push(on("PATCH", uploadUrl, (exchange) => exchange.send(403)));
    const error: Error = await run({ onDebug: (line) => lines.push(line) })
      .put(whole)
      .catch((reason) => reason);
    expect(error).toEqual(withCode("denied"));
    expect(lines.some((line) => line.startsWith("GET "))).toBe(true);
    expect([...lines, error.message, JSON.stringify(error), String(error.cause)].join("\n")).not.toContain("canary");
  });
});

describe("an upload of one user", () => {
  const as = (username: string): Partial<RegistryClientOptions> => ({
    fetchCredentials: async () => ({ username, password: "secret" }),
  });
  beforeEach(() => {
    registry.handlers.push((exchange) => {
      if (exchange.headers.authorization !== undefined) return false;
      exchange.send(401, { "www-authenticate": 'Basic realm="here"' });
      return true;
    });
  });

  test("is none of another's", async () => {
    await breakOff(as("carol"));
    const before = registry.requests.length;
    expect((await run(as("dave")).put(whole)).transferred).toBe(bytes.length);
    expect(methods().slice(before)).not.toContain("PATCH");
    expect(await records()).toHaveLength(1);
  });

  test("goes on for the same one, whatever the password", async () => {
    await breakOff(as("carol"));
    const again = { fetchCredentials: async () => ({ username: "carol", password: "another" }) };
    expect((await run(again).put(whole)).transferred).toBe(bytes.length - half);
    expect(await records()).toEqual([]);
  });

  test("is found where the registry asks for a name only when something is written", async () => {
    registry.handlers.unshift(on("HEAD", /blobs/, (exchange) => exchange.send(404)));
    await breakOff(as("carol"));
    expect(await records()).toHaveLength(1);
    const before = registry.requests.length;
    expect((await run(as("carol")).put(whole)).transferred).toBe(bytes.length - half);
    // The session that was begun before anybody could know is taken back.
    expect(methods().slice(before)).toEqual(["HEAD", "POST", "POST", "GET", "DELETE", "PATCH", "PUT"]);
    expect(registry.uploads.size).toBe(0);
  });
});

describe("an upload that somebody else is at", () => {
  test("is waited for, and counted as there", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow: ByteSource = async function* (offset) {
      yield bytes.subarray(offset, half);
      await held;
      yield bytes.subarray(half);
    };
    const first = run().put(slow);
    while (registry.uploads.size === 0) await new Promise(setImmediate);
    const second = run({ clock: undefined });
    // It hears how far the first one is, and that is when it is known to wait.
    const other = second.put(whole, { onBytes: () => release() });
    expect(await first).toEqual({ outcome: "stored", transferred: bytes.length });
    expect(await other).toEqual({ outcome: "exists", transferred: 0 });
    expect(methods().filter((method) => method === "PUT")).toHaveLength(1);
  });
});
