import { spawn } from "node:child_process";
import { lstat, mkdir, readdir, rename, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { type FileSystem, nodeFileSystem } from "../../src/content/file-system.js";
import { LayoutStore } from "../../src/content/layout.js";
import { isLadingError } from "../../src/index.js";
import { Machine } from "../cli/machine.js";
import { faultyLading } from "../faults/faulty-process.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { describeBytes, sourceOf } from "../support/store-contract.js";
import { threat } from "./threat.js";

// Rows C13 and C14: what a killed process leaves, and who changes folders under a running one.

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.create();
});
afterEach(async () => {
  await machine.remove();
});

/** Files of the store that are not finished, and everything in it that others than its owner could get at. */
async function examined(): Promise<{ unfinished: string[]; open: string[] }> {
  const names = await readdir(machine.store, { recursive: true }).catch(() => []);
  const unfinished: string[] = [];
  const open: string[] = [];
  for (const name of names) {
    const stat = await lstat(join(machine.store, name));
    const finished =
      /^(?:blobs\/sha256\/[0-9a-f]{64}|index\.json|oci-layout|\.lading\/(?:layers|manifests|origins)\/.*)$/;
    if (stat.isFile() && !finished.test(name)) unfinished.push(name);
    // A finished blob is read-only for all; the folders around it are its owner's alone.
    const sealed = stat.isFile() && (stat.mode & 0o777) === 0o444;
    if (!sealed && (stat.mode & 0o077) !== 0) open.push(`${name} ${(stat.mode & 0o777).toString(8)}`);
  }
  const root = await lstat(machine.store).catch(() => null);
  if (root !== null && (root.mode & 0o077) !== 0) open.push(". is open");
  return { unfinished, open };
}

threat(
  "C13",
  "killed at twenty points of a pull, a load and an import: nothing is readable by others, and the next start sweeps",
  async () => {
    const registry = await startOwnRegistry("memory");
    const before = process.umask(0);
    try {
      const host = new URL(registry.url).host;
      await machine.putImage("app:1", { layers: 2, layerSize: 700_000 });
      expect(await machine.lading(["push", "app:1", `${host}/team/app:1`])).toMatchObject({ code: 0 });
      const archive = join(machine.home, "archive.tar");
      const tar = join(machine.home, "root.tar");
      expect(await machine.lading(["save", "app:1", "-o", archive, "--as", "docker-archive"])).toMatchObject({
        code: 0,
      });
      await machine.lading(["save", "app:1", "-o", tar, "--as", "oci-archive"]);
      const verbs: readonly (readonly string[])[] = [
        ["pull", `${host}/team/app:1`, "back:1"],
        ["load", archive, "--force"],
        ["import", tar, "files:1"],
      ];
      const away = async () => await rename(machine.store, join(machine.home, `away-${Math.random()}`));
      await away();
      let killed = 0;
      for (const verb of verbs) {
        const whole = await faultyLading(machine, verb);
        expect(whole).toMatchObject({ code: 0 });
        await away();
        for (let point = 1; point <= 7; point++) {
          const kill = `step ${Math.floor((point * whole.report.steps) / 8)}`;
          const { report } = await faultyLading(machine, verb, { kill });
          if (report.killed !== null) killed += 1;
          expect((await examined()).open, `${verb[0]} ${kill}`).toEqual([]);
          // Eight days later.
          const then = Date.now() / 1000 - 8 * 24 * 3600;
          for (const name of (await examined()).unfinished) await utimes(join(machine.store, name), then, then);
          expect(await machine.lading(["pull", `${host}/team/app:1`, "again:1"])).toMatchObject({ code: 0 });
          expect(await machine.lading(["prune"])).toMatchObject({ code: 0 });
          expect((await examined()).unfinished, `${verb[0]} ${kill}`).toEqual([]);
          await away();
        }
      }
      expect(killed).toBeGreaterThanOrEqual(20);
    } finally {
      process.umask(before);
      await registry.close();
    }
  },
);

const content = randomBytesOf("content", 400_000);

/** A store whose `blobs/sha256` becomes a link to a folder outside, right before a call. */
function swapping(at: (call: string, path: string) => boolean): {
  fs: FileSystem;
  outside: string;
  swapped: () => boolean;
} {
  const outside = join(machine.home, "outside");
  let done = false;
  const fs = new Proxy(nodeFileSystem, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        if (!done && at(String(key), String(args[0]))) {
          done = true;
          await mkdir(outside);
          await rename(join(machine.store, "blobs", "sha256"), join(machine.home, "moved"));
          await symlink(outside, join(machine.store, "blobs", "sha256"));
        }
        return await value(...args);
      };
    },
  });
  return { fs, outside, swapped: () => done };
}

if (process.platform === "linux") {
  for (const [moment, at] of [
    ["when it is opened", (call: string, path: string) => call === "open" && path.endsWith("/blobs/sha256")],
    ["when it is looked at", (call: string) => call === "readlink"],
    [
      "when the blob is moved",
      (call: string, path: string) => call === "rename" && /sha256-[0-9a-f]+\.\w+$/.test(path),
    ],
  ] as const) {
    threat("C14", `blobs/sha256 becomes a link ${moment}: no byte goes through it (Linux)`, async () => {
      await machine.putImage("app:1");
      const { fs, outside, swapped } = swapping(at);
      const store = new LayoutStore(machine.store, { fs });
      const error: unknown = await store.put(describeBytes(content), sourceOf(content, 65_536)).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      expect(swapped()).toBe(true);
      if (error !== null) expect(isLadingError(error) && error.code).toBe("io");
      expect(await readdir(outside)).toEqual([]);
    });
  }

  threat(
    "C14",
    "one process swaps blobs/sha256 for a link in a loop while another writes: nothing outside (Linux)",
    async () => {
      await machine.putImage("app:1");
      const outside = join(machine.home, "outside");
      await mkdir(outside);
      await writeFile(
        join(machine.home, "swap.mjs"),
        `import { renameSync, rmSync, symlinkSync } from "node:fs";
const [folder, moved, outside] = process.argv.slice(2);
process.stdout.write("started\\n");
const attempt = (work) => { try { work(); } catch {} };
for (;;) {
  attempt(() => renameSync(folder, moved));
  // The other process makes a folder where there is none.
  attempt(() => symlinkSync(outside, folder));
  attempt(() => rmSync(folder, { recursive: true, force: true }));
  attempt(() => renameSync(moved, folder));
}
`,
      );
      const folder = join(machine.store, "blobs", "sha256");
      const child = spawn(process.execPath, [
        join(machine.home, "swap.mjs"),
        folder,
        join(machine.home, "moved"),
        outside,
      ]);
      const ended = new Promise((resolve) => child.once("close", resolve));
      await new Promise((resolve) => child.stdout.once("data", resolve));
      try {
        const outcomes: (string | null)[] = [];
        const put = async (number: number) => {
          const bytes = randomBytesOf(`content ${number}`, 1000);
          // A process of its own, as far as the store can tell.
          const store = new LayoutStore(machine.store, { durability: "fast" });
          try {
            await store.put(describeBytes(bytes), sourceOf(bytes));
            outcomes.push(null);
          } catch (error) {
            if (!isLadingError(error)) throw error;
            outcomes.push(error.code);
          }
        };
        for (let round = 0; round < 250; round++) {
          await Promise.all(Array.from({ length: 16 }, (_, index) => put(round * 16 + index)));
        }
        expect(new Set(outcomes.filter((code) => code !== null && code !== "io"))).toEqual(new Set());
        expect(child.exitCode).toBeNull();
      } finally {
        child.kill("SIGKILL");
        await ended;
      }
      expect(await readdir(outside)).toEqual([]);
    },
  );
}
