import { chmod, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Machine } from "./machine.js";

const env = { NODE_DISABLE_COMPILE_CACHE: "" };
let machine: Machine;
let folder: string;
beforeEach(async () => {
  machine = await Machine.create();
  folder = join(machine.home, ".cache", "lading", "code");
});
afterEach(() => machine.remove());

const run = async (extra: Readonly<Record<string, string>> = {}) =>
  expect(await machine.lading(["images", "--json"], { env: { ...env, ...extra } })).toMatchObject({ code: 0 });

async function pack(): Promise<string> {
  const names = await readdir(folder);
  expect(names).toHaveLength(1);
  return join(folder, names[0] as string);
}

describe("compiled code", () => {
  it("is kept for the next run, for this user alone", async () => {
    await run();
    const path = await pack();
    const made = await stat(path);
    expect(made.mode & 0o777).toBe(0o600);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await run();
    // Everything was there: nothing was compiled, and so nothing is written again.
    expect(await stat(path)).toMatchObject({ ino: made.ino, mtimeMs: made.mtimeMs });
  });

  it("grows with the verbs that are used, and keeps what it has", async () => {
    await run();
    const { size } = await stat(await pack());
    expect(await machine.lading(["config", "show"], { env })).toMatchObject({ code: 0 });
    const grown = await stat(await pack());
    expect(grown.size).toBeGreaterThan(size);
    await run();
    expect(await stat(await pack())).toMatchObject({ ino: grown.ino });
  });

  it.each([
    ["is empty", (path: string) => truncate(path, 0)],
    ["is cut", async (path: string) => truncate(path, (await stat(path)).size - 1000)],
    ["is something else", (path: string) => writeFile(path, "{}".repeat(10_000))],
    ["anybody can write", (path: string) => chmod(path, 0o666)],
  ])("is not used, and made anew, where it %s", async (_, spoil) => {
    await run();
    const path = await pack();
    const [whole, { ino }] = [await readFile(path), await stat(path)];
    await spoil(path);
    await run();
    const mended = await stat(await pack());
    expect(mended.ino).not.toBe(ino);
    expect(mended.mode & 0o777).toBe(0o600);
    expect(mended.size).toBeGreaterThan(whole.length / 2);
  });

  it("is not written where that is not wanted, or not possible", async () => {
    await run({ NODE_DISABLE_COMPILE_CACHE: "1" });
    expect(await readdir(machine.home)).toEqual([]);
    await mkdir(join(machine.home, ".cache"));
    await writeFile(join(machine.home, ".cache", "lading"), "a file where the folder would be");
    await run();
  });

  it("leaves nothing half done where it can't be put in its place", async () => {
    await run();
    const path = await pack();
    await rm(path);
    await mkdir(path);
    await run();
    expect(await pack()).toBe(path);
  });

  it("goes to XDG_CACHE_HOME where that is set", async () => {
    const cache = join(machine.home, "elsewhere");
    await run({ XDG_CACHE_HOME: cache });
    expect(await readdir(join(cache, "lading", "code"))).toHaveLength(1);
  });

  it("keeps stack traces as they were", async () => {
    const broken = ["digest", "localhost:1/x:1", "--debug"];
    const [first, second] = [await machine.lading(broken, { env }), await machine.lading(broken, { env })];
    expect(first.code).toBe(second.code);
    expect(second.stderr).toMatch(/\.js:\d+:\d+/);
  });
});
