import { readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import { bundleStoreWorker, startStoreProcess } from "../../test/support/store-process.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { LadingError } from "../errors.js";
import { LayoutStore, type LayoutStoreOptions } from "./layout.js";
import { readAll } from "./verify.js";

const bytes = randomBytesOf("resume", 3_000_000);
const descriptor = describeBytes(bytes);
const cut = new LadingError("unreachable", "cut");

/** Gives so many bytes, then fails. */
function cutAfter(size: number) {
  return async function* (offset: number) {
    for (let at = offset; at < size; at += 50_000) yield bytes.subarray(at, Math.min(at + 50_000, size));
    throw cut;
  };
}

async function storeWith(options: LayoutStoreOptions = {}) {
  const directory = join(await temporaryFolder(), "store");
  return { directory, store: new LayoutStore(directory, options) };
}

async function partials(directory: string): Promise<readonly string[]> {
  return await readdir(join(directory, ".lading", "partial"));
}

async function partialFile(directory: string): Promise<string> {
  const name = (await partials(directory)).find((entry) => !entry.endsWith(".json"));
  if (name === undefined) throw new Error("no partial");
  return join(directory, ".lading", "partial", name);
}

describe("a download that was cut", () => {
  test("goes on where it stopped, in this run and in the next", async () => {
    const { directory, store } = await storeWith();
    await expect(store.put(descriptor, cutAfter(1_234_567))).rejects.toBe(cut);
    expect(await store.has(descriptor)).toBe(false);
    expect((await store.sizes()).partial).toBeGreaterThanOrEqual(1_234_567);
    expect(await store.neededBytes(descriptor, null)).toBe(3_000_000 - 1_234_567);
    expect(await store.neededBytes(descriptor, directory)).toBe(0);
    await expect(store.put(descriptor, cutAfter(2_000_000))).rejects.toBe(cut);
    const source = sourceOf(bytes, 100_000);
    const stored: number[] = [];
    const next = new LayoutStore(directory);
    const result = await next.put(descriptor, source, { onBytes: (size) => stored.push(size) });
    expect(source.opened).toEqual([2_000_000]);
    expect(result).toEqual({ outcome: "stored", transferred: 1_000_000 });
    expect(stored.at(0)).toBe(2_000_000);
    expect(stored.at(-1)).toBe(3_000_000);
    expect(Buffer.from(await readAll(next.get(descriptor), 3_000_000)).equals(bytes)).toBe(true);
    expect(await partials(directory)).toEqual([]);
    expect(await next.neededBytes(descriptor, null)).toBe(0);
  });

  test("needs no source where nothing is missing but the last step", async () => {
    const { directory, store } = await storeWith();
    await expect(store.put(descriptor, cutAfter(2_999_999))).rejects.toBe(cut);
    await writeFile(await partialFile(directory), bytes);
    const source = sourceOf(bytes);
    expect(await store.put(descriptor, source)).toEqual({ outcome: "stored", transferred: 0 });
    expect(source.opened).toEqual([]);
  });

  test("is kept when the caller cancels", async () => {
    const { store } = await storeWith();
    const abort = new AbortController();
    const put = store.put(
      descriptor,
      async function* () {
        yield bytes.subarray(0, 2_000_000);
        abort.abort();
        // A source that does not listen must not keep its caller waiting.
        await new Promise(() => {});
      },
      { signal: abort.signal },
    );
    await expect(put).rejects.toEqual(withCode("cancelled"));
    const source = sourceOf(bytes, 100_000);
    await store.put(descriptor, source);
    expect(source.opened).toEqual([2_000_000]);
  });

  test("begins anew where the partial was damaged", async () => {
    const { directory, store } = await storeWith();
    await expect(store.put(descriptor, cutAfter(2_000_000))).rejects.toBe(cut);
    const path = await partialFile(directory);
    const damaged = await readFile(path);
    damaged[1_000_000] = (damaged[1_000_000] ?? 0) ^ 1;
    await writeFile(path, damaged);
    const source = sourceOf(bytes, 100_000);
    const retries: Error[] = [];
    const result = await store.put(descriptor, source, { onRetry: (reason) => retries.push(reason) });
    expect(source.opened).toEqual([2_000_000, 0]);
    expect(retries).toEqual([withCode("digest-mismatch")]);
    expect(result).toEqual({ outcome: "stored", transferred: 4_000_000 });
    expect(await partials(directory)).toEqual([]);
  });

  test("begins anew where the partial is longer than the content", async () => {
    const { directory, store } = await storeWith();
    await expect(store.put(descriptor, cutAfter(2_000_000))).rejects.toBe(cut);
    await writeFile(await partialFile(directory), Buffer.concat([bytes, bytes]));
    const source = sourceOf(bytes, 100_000);
    await store.put(descriptor, source);
    expect(source.opened).toEqual([0]);
  });

  test("wrong content leaves no partial", async () => {
    const { directory, store } = await storeWith();
    const wrong = sourceOf(randomBytesOf("wrong", 3_000_000), 100_000);
    await expect(store.put(descriptor, wrong)).rejects.toEqual(withCode("digest-mismatch"));
    expect(await partials(directory)).toEqual([]);
  });

  test("is forgotten after a week", async () => {
    let now = Date.now();
    const { directory, store } = await storeWith({ clock: () => now });
    await expect(store.put(descriptor, cutAfter(2_000_000))).rejects.toBe(cut);
    const small = Buffer.from("small");
    now += 6 * 24 * 3600 * 1000;
    await new LayoutStore(directory, { clock: () => now }).put(describeBytes(small), sourceOf(small));
    expect(await partials(directory)).toHaveLength(2);
    now += 2 * 24 * 3600 * 1000;
    const other = Buffer.from("other");
    await new LayoutStore(directory, { clock: () => now }).put(describeBytes(other), sourceOf(other));
    expect(await partials(directory)).toEqual([]);
  });

  test("is taken from nobody who still writes it, however old", async () => {
    const { directory, store } = await storeWith();
    const second = new LayoutStore(directory, { clock: () => Date.now() + 30 * 24 * 3600 * 1000 });
    const other = sourceOf(bytes, 100_000);
    const result = await store.put(descriptor, async function* () {
      yield bytes.subarray(0, 1_500_000);
      const path = await partialFile(directory);
      await utimes(path, 1000, 1000);
      await second.put(descriptor, other);
      expect(await partialFile(directory)).toBe(path);
      yield bytes.subarray(1_500_000);
    });
    expect(other.opened).toEqual([0]);
    expect(result).toEqual({ outcome: "stored", transferred: 3_000_000 });
    expect(await partials(directory)).toEqual([]);
    expect(Buffer.from(await readAll(store.get(descriptor), 3_000_000)).equals(bytes)).toBe(true);
  });

  test("a source may fill its buffers again: what it gives is copied at once", async () => {
    const { store } = await storeWith();
    const buffer = Buffer.alloc(100_000);
    await store.put(descriptor, async function* (offset) {
      for (let at = offset; at < bytes.byteLength; at += buffer.byteLength) {
        buffer.set(bytes.subarray(at, at + buffer.byteLength));
        yield buffer;
      }
    });
    expect(Buffer.from(await readAll(store.get(descriptor), 3_000_000)).equals(bytes)).toBe(true);
  });
});

describe("content that somebody else is bringing", () => {
  /** A source that gives a half, and the rest when it is told to. */
  function halfWay() {
    let onHalf = () => {};
    let goOn: (error?: Error) => void = () => {};
    const half = new Promise<void>((resolve) => {
      onHalf = resolve;
    });
    const told = new Promise<Error | undefined>((resolve) => {
      goOn = resolve;
    });
    const source = async function* (offset: number) {
      yield bytes.subarray(offset, 1_500_000);
      const failure = await told;
      if (failure !== undefined) throw failure;
      yield bytes.subarray(Math.max(offset, 1_500_000));
    };
    const onBytes = (stored: number) => {
      if (stored >= 1_000_000) onHalf();
    };
    return { source, half, onBytes, goOn };
  }

  /** Resolves with the process that is waited for. */
  function waiting(directory: string) {
    let onWarning: (text: string) => void = () => {};
    const warned = new Promise<string>((resolve) => {
      onWarning = resolve;
    });
    return { warned, store: new LayoutStore(directory, { onWarning: (text) => onWarning(text) }) };
  }

  test("is waited for, and not brought twice", async () => {
    const { directory, store } = await storeWith();
    const first = halfWay();
    const put = store.put(descriptor, first.source, { onBytes: first.onBytes });
    await first.half;
    const other = sourceOf(bytes);
    const second = waiting(directory);
    const stored: number[] = [];
    const waited = second.store.put(descriptor, other, { onBytes: (size) => stored.push(size) });
    expect(await second.warned).toContain(String(process.pid));
    first.goOn();
    expect(await put).toEqual({ outcome: "stored", transferred: 3_000_000 });
    expect(await waited).toEqual({ outcome: "exists", transferred: 0 });
    expect(other.opened).toEqual([]);
    expect(stored.at(-1)).toBe(3_000_000);
    expect(await partials(directory)).toEqual([]);
  });

  test("is gone on with where that one fails", async () => {
    const { directory, store } = await storeWith();
    const first = halfWay();
    const put = store.put(descriptor, first.source, { onBytes: first.onBytes });
    await first.half;
    const other = sourceOf(bytes, 100_000);
    const second = waiting(directory);
    const waited = second.store.put(descriptor, other);
    await second.warned;
    first.goOn(cut);
    await expect(put).rejects.toBe(cut);
    expect(await waited).toEqual({ outcome: "stored", transferred: 1_500_000 });
    expect(other.opened).toEqual([1_500_000]);
    expect(await partials(directory)).toEqual([]);
  });

  test("is waited for no longer than the caller wants", async () => {
    const { directory, store } = await storeWith();
    const first = halfWay();
    const put = store.put(descriptor, first.source, { onBytes: first.onBytes });
    await first.half;
    const second = waiting(directory);
    const abort = new AbortController();
    const waited = second.store.put(descriptor, sourceOf(bytes), { signal: abort.signal });
    void second.warned.then(() => abort.abort());
    await expect(waited).rejects.toEqual(withCode("cancelled"));
    first.goOn();
    expect(await put).toEqual({ outcome: "stored", transferred: 3_000_000 });
    expect(await partials(directory)).toEqual([]);
  });

  test("is brought once where many begin in the same moment", async () => {
    const { directory } = await storeWith();
    const sources = Array.from({ length: 8 }, () => sourceOf(bytes, 100_000));
    const results = await Promise.all(sources.map((source) => new LayoutStore(directory).put(descriptor, source)));
    expect(results.reduce((sum, { transferred }) => sum + transferred, 0)).toBe(3_000_000);
    expect(sources.flatMap(({ opened }) => opened)).toEqual([0]);
    expect(await partials(directory)).toEqual([]);
  });
});

describe("a process that was killed", () => {
  test("its partial is taken up by the next one, and by one only", async () => {
    const folder = await temporaryFolder();
    const directory = join(folder, "store");
    const script = await bundleStoreWorker(folder);
    const killed = startStoreProcess(script, "put", directory, "resume", "3000000");
    await killed.line("half");
    // A live writer's partial is its own, also where it has been silent for so long that nobody waits for it.
    const living = sourceOf(bytes, 100_000);
    const beside = new LayoutStore(directory, { clock: () => Date.now() + 120_000 });
    await expect(beside.put(descriptor, (offset) => cutAfter(offset + 1)(offset))).rejects.toBe(cut);
    killed.child.kill("SIGKILL");
    expect((await killed.ended).status).toBe("SIGKILL");
    const result = await new LayoutStore(directory).put(descriptor, living);
    expect(living.opened).toHaveLength(1);
    expect(living.opened[0]).toBeGreaterThanOrEqual(1_500_000);
    expect(result.transferred).toBeLessThanOrEqual(1_500_000);
    expect(await partials(directory)).toEqual([]);
    expect(Buffer.from(await readAll(beside.get(descriptor), 3_000_000)).equals(bytes)).toBe(true);
  });

  test("is waited for until then, and the next one goes on from there", async () => {
    const folder = await temporaryFolder();
    const directory = join(folder, "store");
    const script = await bundleStoreWorker(folder);
    const killed = startStoreProcess(script, "put", directory, "resume", "3000000");
    await killed.line("half");
    const next = startStoreProcess(script, "put", directory, "resume", "3000000", "on");
    await next.line("waiting");
    killed.child.kill("SIGKILL");
    expect((await killed.ended).status).toBe("SIGKILL");
    const { status, output } = await next.ended;
    expect(status, output).toBe(0);
    const transferred = Number(/transferred (\d+)/.exec(output)?.[1]);
    expect(transferred).toBeGreaterThan(0);
    expect(transferred).toBeLessThanOrEqual(1_500_000);
    expect(await partials(directory)).toEqual([]);
  });

  test("on another host, its partial is left alone for a week", async () => {
    let now = Date.now();
    const { directory, store } = await storeWith({ clock: () => now });
    await expect(store.put(descriptor, cutAfter(2_000_000))).rejects.toBe(cut);
    const path = await partialFile(directory);
    await writeFile(`${path}.json`, JSON.stringify({ owner: { pid: 1, host: "elsewhere", started: null } }));
    const source = sourceOf(bytes, 100_000);
    now += 120_000;
    await new LayoutStore(directory, { clock: () => now }).put(descriptor, source);
    expect(source.opened).toEqual([0]);
    expect(await partials(directory)).toHaveLength(2);
    now += 8 * 24 * 3600 * 1000;
    await new LayoutStore(directory, { clock: () => now }).rememberLayer(descriptor.digest, descriptor);
    expect(await partials(directory)).toEqual([]);
  });

  test("content that it was making up is removed by the next one", async () => {
    const { directory, store } = await storeWith();
    const small = Buffer.from("small");
    await store.put(describeBytes(small), sourceOf(small));
    // As `ingest` leaves it: the owner is a process that is no more.
    const path = join(directory, ".lading", "partial", "ingest.0123456789abcdef");
    const { ownIdentity } = await import("./process-identity.js");
    const self = await ownIdentity();
    await writeFile(path, "x".repeat(1000));
    await writeFile(`${path}.json`, JSON.stringify({ owner: self }));
    const next = async () => await new LayoutStore(directory).rememberLayer(descriptor.digest, descriptor);
    await next();
    expect(await partials(directory)).toHaveLength(2);
    await writeFile(`${path}.json`, JSON.stringify({ owner: { ...self, started: "earlier" } }));
    await next();
    expect(await partials(directory)).toEqual([]);
  });
});
