import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ownIdentity } from "../content/process-identity.js";
import { holderOf, holdFolder, isAnswering } from "./hold.js";
import { createRegistry } from "./registry.js";
import { holdPath } from "./storage/hold-record.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-hold-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe("a registry's folder", () => {
  it("is nobody's, somebody's alone, and nobody's again", async () => {
    expect(await holderOf(directory)).toBeNull();
    const hold = await holdFolder(directory, { url: "http://localhost:1" });
    expect(await holderOf(directory)).toEqual({
      pid: process.pid,
      url: "http://localhost:1",
      instanceId: hold.instanceId,
    });
    await expect(holdFolder(directory, { url: "http://localhost:2" })).rejects.toMatchObject({ code: "conflict" });
    await hold.release();
    await hold.release();
    expect(await holderOf(directory)).toBeNull();
    await (await holdFolder(directory, { url: "http://localhost:3" })).release();
  });

  it("goes to one of many that claim it at once", async () => {
    const claims = await Promise.allSettled(
      Array.from({ length: 8 }, (_, index) => holdFolder(directory, { url: `http://localhost:${index}` })),
    );
    expect(claims.filter((claim) => claim.status === "fulfilled")).toHaveLength(1);
  });

  it("is free when its holder is dead, also where its number lives on, or its record is damaged", async () => {
    const own = await ownIdentity();
    const record = { ...own, url: "http://localhost:1", instanceId: "x" };
    for (const text of [
      JSON.stringify({ ...record, pid: 2 ** 22 + 1 }),
      JSON.stringify({ ...record, started: "1" }),
      "{",
      "null",
      "{}",
    ]) {
      await writeFile(holdPath(directory), text);
      expect(await holderOf(directory)).toBeNull();
    }
    await (await holdFolder(directory, { url: "http://localhost:1" })).release();
  });

  it("is not made of somebody else's", async () => {
    await writeFile(join(directory, "thesis.txt"), "mine");
    await expect(holdFolder(directory, { url: "http://localhost:1" })).rejects.toMatchObject({
      code: "config-invalid",
    });
    expect(await readdir(directory)).toEqual(["thesis.txt"]);
  });

  it("is answered for by its holder's id", async () => {
    const registry = createRegistry({ storage: { directory } });
    const hold = await holdFolder(directory, { url: "http://localhost:1/" });
    const holder = await holderOf(directory);
    if (holder === null) throw new Error("nobody holds it");
    expect(await isAnswering(holder, registry.handle)).toBe(true);
    expect(await isAnswering({ ...holder, instanceId: "another" }, registry.handle)).toBe(false);
    const refusing = async (): Promise<never> => {
      throw new Error("connection refused");
    };
    expect(await isAnswering(holder, refusing)).toBe(false);
    await hold.release();
    expect(await isAnswering(holder, registry.handle)).toBe(false);
    await registry.close();
  });
});
