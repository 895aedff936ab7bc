import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ownIdentity } from "../../content/process-identity.js";
import { FolderLock } from "./folder-lock.js";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-lock-"));
  path = join(directory, "write.lock");
  await mkdir(join(directory, "tmp"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Adds one to a number in a file, by steps that another's would spoil. */
async function increment(): Promise<void> {
  const counter = join(directory, "counter");
  const count = Number(await readFile(counter, "utf8").catch(() => "0"));
  await new Promise((resolve) => setImmediate(resolve));
  await writeFile(counter, String(count + 1));
}

describe("the lock of a folder", () => {
  it("keeps holders apart, whose own tasks share it", async () => {
    const locks = Array.from({ length: 4 }, () => new FolderLock(directory));
    // one task at a time of each, as the registry does within one repository
    await Promise.all(
      locks.map(async (lock) => {
        for (let round = 0; round < 25; round++) await lock.run(null, increment);
      }),
    );
    expect(await readFile(join(directory, "counter"), "utf8")).toBe("100");
    expect((await readdir(directory)).sort()).toEqual(["counter", "tmp"]);
    expect(await readdir(join(directory, "tmp"))).toEqual([]);
  });

  it("gives others their turn while one process has always something to do", async () => {
    const busy = new FolderLock(directory);
    let stop = false;
    const work = async (): Promise<void> => {
      while (!stop) await busy.run(null, () => new Promise((resolve) => setTimeout(resolve, 5)));
    };
    const working = [work(), work(), work()];
    await new FolderLock(directory).run(null, async () => undefined);
    stop = true;
    await Promise.all(working);
  });

  it("takes away what a waiter has left that was killed", async () => {
    await writeFile(join(directory, "write.lock.wanted"), "");
    await new FolderLock(directory).run(null, async () => undefined);
    expect(await readdir(directory)).toEqual(["tmp"]);
  });

  it("stays with a process that has always something to do as long as nobody else waits", async () => {
    const busy = new FolderLock(directory);
    const turns = new Set<object | null>();
    const started = performance.now();
    let other: Promise<void> | null = null;
    // until another has had it: one turn up to then, a second one after it
    let done = false;
    const work = async (): Promise<void> => {
      while (!done || turns.size < 2) {
        await busy.run(null, async () => {
          turns.add(busy.turn);
          await new Promise((resolve) => setTimeout(resolve, 5));
        });
        // longer than several turns
        if (performance.now() - started < 500) continue;
        if (other === null) expect(turns.size).toBe(1);
        other ??= new FolderLock(directory).run(null, async () => {
          expect(busy.turn).toBeNull();
          done = true;
        });
      }
    };
    await Promise.all([work(), work(), work()]);
    expect(turns).not.toContain(null);
    expect((await readdir(directory)).sort()).toEqual(["tmp"]);
  });

  it("is freed by a task that fails", async () => {
    const lock = new FolderLock(directory);
    const failing = lock.run(null, async () => {
      throw new Error("task");
    });
    await expect(failing).rejects.toThrow("task");
    await new FolderLock(directory).run(null, async () => undefined);
  });

  it("is waited for no longer than the signal allows, and says whom it waits for", async () => {
    const waiting: unknown[] = [];
    await new FolderLock(directory).run(null, async () => {
      const controller = new AbortController();
      const onWaiting = (holder: unknown): void => {
        waiting.push(holder);
        controller.abort();
      };
      const other = new FolderLock(directory, { onWaiting });
      await expect(other.run(controller.signal, async () => undefined)).rejects.toMatchObject({ code: "cancelled" });
    });
    expect(waiting).toEqual([{ pid: process.pid }]);
  });

  it.each([
    ["a dead process", { pid: 2 ** 22 + 1 }],
    ["an earlier process of this number", { started: "1" }],
  ])("left by %s is taken over, by one at a time", async (_, change) => {
    await writeFile(path, JSON.stringify({ ...(await ownIdentity()), id: "left", ...change }));
    const locks = Array.from({ length: 8 }, () => new FolderLock(directory));
    await Promise.all(locks.map((lock) => lock.run(null, increment)));
    expect(await readFile(join(directory, "counter"), "utf8")).toBe("8");
    expect((await readdir(directory)).sort()).toEqual(["counter", "tmp"]);
  });

  it("left by a process that died while it took a lock over is taken over too", async () => {
    const dead = { ...(await ownIdentity()), pid: 2 ** 22 + 1 };
    await writeFile(path, JSON.stringify({ ...dead, id: "left" }));
    await writeFile(`${path}.left`, JSON.stringify({ ...dead, id: "also-left" }));
    await new FolderLock(directory).run(null, increment);
    expect((await readdir(directory)).sort()).toEqual(["counter", "tmp"]);
  });

  it.each([
    ["of another machine", JSON.stringify({ pid: 1, host: "elsewhere", started: null, id: "far" })],
    ["that can't be read", "{"],
  ])("%s counts as left behind once it gives no sign", async (_, text) => {
    await writeFile(path, text);
    const controller = new AbortController();
    const patient = new FolderLock(directory, { onWaiting: () => controller.abort() });
    await expect(patient.run(controller.signal, increment)).rejects.toMatchObject({ code: "cancelled" });
    const old = new Date(Date.now() - 120_000);
    await utimes(path, old, old);
    await new FolderLock(directory).run(null, increment);
    expect(await readFile(join(directory, "counter"), "utf8")).toBe("1");
  });
});
