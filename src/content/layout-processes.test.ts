import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { describeBytes } from "../../test/support/store-contract.js";
import { bundleStoreWorker, type StoreProcess, startStoreProcess } from "../../test/support/store-process.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { validateImage } from "../../test/support/validate-image.js";
import { LayoutStore } from "./layout.js";

describe("processes that share a layout", () => {
  let script: string;
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "lading-worker-"));
    script = await bundleStoreWorker(folder);
    return async () => await rm(folder, { recursive: true });
  });

  async function allDone(processes: readonly StoreProcess[]): Promise<void> {
    const ends = await Promise.all(processes.map(({ ended }) => ended));
    expect(ends.filter(({ status }) => status !== 0)).toEqual([]);
  }

  test("twenty tag twenty images, and none is lost", async () => {
    const directory = join(await temporaryFolder(), "store");
    const numbers = Array.from({ length: 20 }, (_, index) => String(index));
    await allDone(numbers.map((number) => startStoreProcess(script, "tag", directory, number, `app:${number}`)));
    const store = new LayoutStore(directory);
    const entries = await store.entries();
    expect(entries.map(({ name }) => name).toSorted()).toEqual(numbers.map((number) => `app:${number}`).toSorted());
    for (const { descriptor } of entries) await validateImage(store, descriptor);
    expect(new Set(entries.map(({ descriptor }) => descriptor.digest)).size).toBe(20);
    expect((await readdir(join(directory, ".lading"))).toSorted()).toEqual(["partial"]);
    expect(await readdir(join(directory, ".lading", "partial"))).toEqual([]);
  });

  test("five move one name, and it ends at one of their images", async () => {
    const directory = join(await temporaryFolder(), "store");
    const seeds = ["a", "b", "c", "d", "e"];
    await allDone(seeds.map((seed) => startStoreProcess(script, "tag", directory, seed, "app:1", "20")));
    const store = new LayoutStore(directory);
    const entries = await store.entries();
    expect(entries.map(({ name }) => name)).toEqual(["app:1"]);
    for (const { descriptor } of entries) await validateImage(store, descriptor);
  });

  test("four put the same content at once, and it is brought once", async () => {
    const directory = join(await temporaryFolder(), "store");
    const args = ["put", directory, "same", "3000000", "on"];
    const processes = [1, 2, 3, 4].map(() => startStoreProcess(script, ...args));
    await allDone(processes);
    const outputs = await Promise.all(processes.map(async ({ ended }) => (await ended).output));
    const transferred = outputs.map((output) => Number(/transferred (\d+)/.exec(output)?.[1]));
    expect(transferred.toSorted((one, other) => one - other)).toEqual([0, 0, 0, 3_000_000]);
    const descriptor = describeBytes(randomBytesOf("same", 3_000_000));
    const store = new LayoutStore(directory);
    for await (const _chunk of store.get(descriptor));
    expect(await readdir(join(directory, ".lading", "partial"))).toEqual([]);
  });

  test("the lock of one that was killed stops nobody", async () => {
    const directory = join(await temporaryFolder(), "store");
    const holder = startStoreProcess(script, "lock", directory);
    await holder.line("locked");
    const waiting = startStoreProcess(script, "tag", directory, "a", "app:1");
    holder.child.kill("SIGKILL");
    expect((await holder.ended).status).toBe("SIGKILL");
    await allDone([waiting]);
    expect((await new LayoutStore(directory).entries()).map(({ name }) => name)).toEqual(["app:1"]);
  });
});
