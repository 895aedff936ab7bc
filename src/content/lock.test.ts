import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { withCode } from "../../test/support/store-contract.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { type FileSystem, nodeFileSystem } from "./file-system.js";
import { type LockOptions, withLock } from "./lock.js";
import { ownIdentity } from "./process-identity.js";

async function lockIn(overrides: Partial<LockOptions> = {}) {
  const folder = await temporaryFolder();
  let next = 0;
  const options: LockOptions = {
    fs: nodeFileSystem,
    self: await ownIdentity(),
    random: () => `id${next++}`,
    temporary: () => join(folder, `new${next++}`),
    clock: Date.now,
    ...overrides,
  };
  return { folder, path: join(folder, "lock"), options };
}

/** Counts how many do the work at the same time. */
function crowd() {
  let inside = 0;
  const state = { most: 0, done: 0 };
  const work = async () => {
    inside += 1;
    state.most = Math.max(state.most, inside);
    await new Promise((resolve) => setImmediate(resolve));
    inside -= 1;
    state.done += 1;
  };
  return { state, work };
}

const noLinks: FileSystem = new Proxy(nodeFileSystem, {
  get: (target, key, receiver) =>
    key === "link"
      ? async () => {
          throw Object.assign(new Error("no hard links here"), { code: "EPERM" });
        }
      : Reflect.get(target, key, receiver),
});

describe("withLock", () => {
  test.each([
    ["with hard links", nodeFileSystem],
    ["without", noLinks],
  ])("lets one in at a time, and leaves no file (%s)", async (_what, fs) => {
    const { folder, path, options } = await lockIn({ fs });
    const { state, work } = crowd();
    await Promise.all(Array.from({ length: 20 }, () => withLock(path, options, work)));
    expect(state).toEqual({ most: 1, done: 20 });
    expect(await readdir(folder)).toEqual([]);
  });

  test("lets go when the work fails", async () => {
    const { folder, path, options } = await lockIn();
    const failure = new Error("work");
    await expect(
      withLock(path, options, async () => {
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(await readdir(folder)).toEqual([]);
  });

  test("many take over from one that died, one at a time", async () => {
    const { folder, path, options } = await lockIn();
    const dead = { ...options.self, started: "an earlier boot" };
    await writeFile(path, JSON.stringify({ id: "dead", ...dead }));
    // One that died while it took the first one's lock away.
    await writeFile(`${path}.dead`, JSON.stringify({ id: "dead2", ...dead }));
    const { state, work } = crowd();
    await Promise.all(Array.from({ length: 20 }, () => withLock(path, options, work)));
    expect(state).toEqual({ most: 1, done: 20 });
    expect(await readdir(folder)).toEqual([]);
  });

  test.each([
    ["of a living process", {}],
    ["of another host, where nobody here can know", { host: "elsewhere", pid: 999_999_999 }],
  ])("does not touch the lock %s", async (_what, other) => {
    const { folder, path, options } = await lockIn({ patience: 0 });
    await writeFile(path, JSON.stringify({ id: "other", ...options.self, ...other }));
    await expect(withLock(path, options, async () => {})).rejects.toEqual(withCode("conflict"));
    expect(await readdir(folder)).toEqual(["lock"]);
  });

  test("a file that names no holder is somebody's", async () => {
    const { path, options } = await lockIn({ patience: 0 });
    await writeFile(path, "");
    await expect(withLock(path, options, async () => {})).rejects.toEqual(withCode("conflict"));
  });

  test("stops waiting when the signal fires", async () => {
    const abort = new AbortController();
    const { folder, path, options } = await lockIn({ signal: abort.signal });
    await writeFile(path, JSON.stringify({ id: "other", ...options.self }));
    const waiting = withLock(path, options, async () => {});
    setImmediate(() => abort.abort());
    await expect(waiting).rejects.toEqual(withCode("cancelled"));
    expect(await readdir(folder)).toEqual(["lock"]);
  });
});
