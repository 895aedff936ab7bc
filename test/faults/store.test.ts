import { chmod, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import type { Digest } from "../../src/oci/digest.js";
import { failureOf } from "../cli/failure.js";
import { Machine, type Outcome } from "../cli/machine.js";
import { type RunningRegistry, startOwnRegistry } from "../support/own-registry.js";
import { type Loss, powerCut } from "../support/power-cut.js";
import { randomImage } from "../support/random-image.js";
import { bundleStoreWorker, type StoreProcess, startStoreProcess } from "../support/store-process.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { fault } from "./fault.js";
import { faultyLading } from "./faulty-process.js";
import { nothingLost } from "./nothing-lost.js";
import { tagMap } from "./tag-map.js";

// F21-F27: what happens to a store on its own disk, beside other processes, and behind its back.

let machine: Machine;
let registry: RunningRegistry;
let host: string;
let worker: string;
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "lading-worker-"));
  worker = await bundleStoreWorker(folder);
  return async () => await rm(folder, { recursive: true });
});
beforeEach(async () => {
  machine = await Machine.create();
  registry = await startOwnRegistry("memory");
  host = new URL(registry.url).host;
});
afterEach(async () => {
  await registry.close();
  await machine.remove();
});

/** Puts an image into the registry, and leaves the machine without it. */
async function pushed(name: string, options: Parameters<Machine["putImage"]>[1] = {}): Promise<string> {
  const digest = await machine.putImage("made:1", options);
  expect(await machine.lading(["push", "made:1", `${host}/team/${name}:1`])).toMatchObject({ code: 0 });
  await rm(machine.store, { recursive: true });
  return digest;
}

const pull = (name: string) => ["pull", `${host}/team/${name}:1`, `${name}:1`, "--json"];
const code = (outcome: Outcome) => failureOf(outcome).code;

async function allDone(processes: readonly StoreProcess[]): Promise<void> {
  const ends = await Promise.all(processes.map(({ ended }) => ended));
  expect(ends.filter(({ status }) => status !== 0)).toEqual([]);
}

for (const at of ["sync partial 1", "sync temporary 4", "sync index 1"]) {
  const shown = at === "sync index 1" ? "sync folder 2" : at;
  fault(
    "F21",
    `EIO out of fsync once (${shown}): an error, nothing half visible, and the next run succeeds`,
    ["N1", "N3", "N7"],
    async () => {
      // One layer that is written as a partial download, one that is written in one go.
      const digest = await pushed("app", { layers: 2, layerSize: 700_000 });
      const run = await faultyLading(machine, pull("app"), { fail: { at: shown, errno: "EIO" } });
      await nothingLost({ N1: [machine.store], N3: { place: machine.store, before: {} } });
      expect(code(run)).toBe("io");
      expect(await machine.lading(pull("app"))).toMatchObject({ code: 0 });
      const success = { "app:1": digest };
      return await nothingLost({
        N1: [machine.store],
        N3: { place: machine.store, before: success },
        N7: { run, exit: 74, code: "io" },
      });
    },
  );
}

for (const errno of ["EACCES", "EBUSY", "EPERM"]) {
  fault(
    "F22",
    `rename fails with ${errno}, as on Windows (injected): typed, and the old state is intact`,
    ["N1", "N3", "N5", "N7"],
    async () => {
      const digest = await pushed("app", { layers: 2, layerSize: 700_000 });
      await machine.putImage("old:1", { seed: "old" });
      const before = await tagMap(machine.store);
      for (const at of ["rename blob 1", "rename blob 2", "rename index 1"]) {
        const run = await faultyLading(machine, pull("app"), { fail: { at, errno } });
        await nothingLost({
          N1: [machine.store],
          N3: { place: machine.store, before },
          N5: { folders: [machine.store] },
          N7: { run, exit: 74, code: "io" },
        });
      }
      const run = await machine.lading(pull("app"));
      return await nothingLost({
        N1: [machine.store],
        N3: { place: machine.store, before: { ...before, "app:1": digest } },
        N5: { folders: [machine.store] },
        N7: { run, exit: 0 },
      });
    },
  );
}

for (const point of ["rename index 1", "after rename index 1"]) {
  fault("F23", `killed at ${point}: the old index or the new one`, ["N1", "N2", "N3"], async () => {
    const digest = await pushed("app");
    await machine.putImage("old:1", { seed: "old" });
    const before = await tagMap(machine.store);
    const { report } = await faultyLading(machine, pull("app"), { kill: point });
    expect(report.killed).toBe(point);
    const success = { ...before, "app:1": digest };
    await nothingLost({ N2: [machine.store], N3: { place: machine.store, before, success } });
    expect(await machine.lading(pull("app"))).toMatchObject({ code: 0 });
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N3: { place: machine.store, before: success },
    });
  });
}

for (const loss of ["names", "content"] satisfies Loss[]) {
  fault(
    "F23",
    `a power cut at any call that loses unflushed ${loss}: every tag that is there is whole`,
    ["N2", "N3"],
    async () => {
      const folder = await temporaryFolder({ memory: true });
      const work = async (directory: string, cutAt: number) => {
        const cut = powerCut(cutAt);
        const store = new LayoutStore(directory, { fs: cut.fs });
        const ended = await (async () => {
          const { root } = await randomImage(store, { seed: "new", layers: 1, layerSize: 600_000 });
          await store.tag(root, "new:1");
          return root.digest;
        })().catch(() => null);
        return { cut, ended };
      };
      const prepare = async (name: string) => {
        const directory = join(folder, name);
        const store = new LayoutStore(directory);
        const { root } = await randomImage(store, { seed: "old", layers: 1 });
        await store.tag(root, "old:1");
        return { directory, before: await tagMap(directory) };
      };
      const counted = await prepare("counted");
      const { cut, ended } = await work(counted.directory, 0);
      const success = { ...counted.before, "new:1": ended ?? "" };
      expect(cut.calls()).toBeGreaterThan(40);
      let lost = 0;
      for (let call = 1; call <= cut.calls() + 1; call++) {
        const { directory, before } = await prepare(String(call));
        const run = await work(directory, call);
        await run.cut.lose(loss);
        const evidence = { place: directory, before, success };
        await nothingLost({ N2: [directory], N3: evidence });
        if (run.ended === null) lost += 1;
        await rm(directory, { recursive: true });
      }
      expect(lost).toBeGreaterThan(30);
      return await nothingLost({ N2: [counted.directory], N3: { place: counted.directory, before: success } });
    },
  );
}

fault(
  "F24",
  "twenty processes tag twenty images in one layout: all are there",
  ["N1", "N2", "N3", "N5", "N9"],
  async () => {
    const numbers = Array.from({ length: 20 }, (_, index) => String(index));
    await allDone(numbers.map((number) => startStoreProcess(worker, "tag", machine.store, number, `app:${number}`)));
    const found = await tagMap(machine.store);
    expect(Object.keys(found).toSorted()).toEqual(numbers.map((number) => `app:${number}`).toSorted());
    expect(new Set(Object.values(found)).size).toBe(20);
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N3: { place: machine.store, before: found },
      N5: { folders: [machine.store] },
      N9: { store: machine.store, name: "app:7", digest: found["app:7"] ?? "" },
    });
  },
);

fault(
  "F25",
  "ten processes move one tag a hundred times: it ends at one of theirs, and every image is whole",
  ["N1", "N2", "N3", "N5"],
  async () => {
    const seeds = Array.from({ length: 10 }, (_, index) => `seed ${index}`);
    const digests = await Promise.all(
      seeds.map(async (seed) => {
        const store = new LayoutStore(join(machine.home, `store-${seed}`), { durability: "fast" });
        return (await randomImage(store, { seed })).root.digest;
      }),
    );
    await allDone(seeds.map((seed) => startStoreProcess(worker, "tag", machine.store, seed, "app:1", "100")));
    const found = await tagMap(machine.store);
    expect(Object.keys(found)).toEqual(["app:1"]);
    expect(digests).toContain(found["app:1"]);
    // Every manifest that was written is there, whoever won.
    const store = new LayoutStore(machine.store);
    const there = await Promise.all(digests.map(async (digest) => await store.path(digest)));
    expect(there).not.toContain(null);
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N3: { place: machine.store, before: found },
      N5: { folders: [machine.store] },
    });
  },
);

fault(
  "F26",
  "a collection in a loop beside eight pulls: none fails, and nothing that is on its way is removed",
  ["N1", "N2", "N3", "N5"],
  async () => {
    const names = Array.from({ length: 8 }, (_, index) => `app${index}`);
    const digests: Record<string, string> = {};
    // Each shares nothing with the others, so that nothing keeps it but its own pull.
    for (const name of names) {
      digests[`${name}:1`] = await pushed(name, { seed: name, layers: 3, layerSize: 1_500_000 });
    }
    let pulling = true;
    let rounds = 0;
    const collecting = (async () => {
      while (pulling) {
        expect(await machine.lading(["prune", "--older-than", "0", "--json"])).toMatchObject({ code: 0 });
        rounds += 1;
      }
    })();
    const pulls = await Promise.all(names.map((name) => machine.lading(pull(name))));
    pulling = false;
    await collecting;
    expect(pulls.map((run) => [run.code, run.stderr])).toEqual(pulls.map(({ stderr }) => [0, stderr]));
    expect(rounds).toBeGreaterThan(0);
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N3: { place: machine.store, before: digests },
      N5: { folders: [machine.store] },
    });
  },
  240_000,
);

/** What happens to a blob's file behind the store's back. */
const damages: Readonly<Record<string, (path: string, size: number) => Promise<void>>> = {
  "cut short": async (path, size) => await truncate(path, Math.floor(size / 2)),
  emptied: async (path) => await truncate(path, 0),
  "filled with zeros": async (path, size) => await writeFile(path, Buffer.alloc(size)),
};

for (const [damage, hurt] of Object.entries(damages)) {
  fault(
    "F27",
    `a blob ${damage}: verify reports, push refuses, pull repairs`,
    ["N1", "N2", "N3", "N4", "N9"],
    async () => {
      const digest = await pushed("app", { layers: 2, layerSize: 900_000 });
      expect(await machine.lading(pull("app"))).toMatchObject({ code: 0 });
      const before = await tagMap(machine.store);
      const store = new LayoutStore(machine.store);
      const manifest = JSON.parse((await readFile(store.blobs.pathOf(digest as Digest))).toString());
      const layer = manifest.layers[1] as { readonly digest: Digest; readonly size: number };
      const path = store.blobs.pathOf(layer.digest);
      const injure = async () => {
        await chmod(path, 0o644);
        await hurt(path, layer.size);
      };
      await injure();
      const verified = await machine.lading(["verify", "--json"]);
      expect(verified.code).toBe(65);
      expect(JSON.parse(verified.stdout).problems).toMatchObject([
        { kind: "corrupt", digest: layer.digest, images: ["app:1"] },
      ]);
      const push = await machine.lading(["push", "app:1", `${host}/team/other:1`, "--json"]);
      // One of another size is not there at all, as far as a push is concerned.
      expect(push.code).not.toBe(0);
      expect(code(push)).toBe(damage === "filled with zeros" ? "digest-mismatch" : "not-found");
      const other = await fetch(`${registry.url}/v2/team/other/blobs/${layer.digest}`, { method: "HEAD" });
      expect(other.status).toBe(404);
      expect((await fetch(`${registry.url}/v2/team/other/manifests/1`, { method: "HEAD" })).status).toBe(404);
      expect(await machine.lading(pull("app"))).toMatchObject({ code: 0 });
      expect(await machine.lading(["verify"])).toMatchObject({ code: 0 });
      // Also where no push has met the damage before.
      await injure();
      expect(await machine.lading(pull("app"))).toMatchObject({ code: 0 });
      expect(await machine.lading(["push", "app:1", `${host}/team/other:1`])).toMatchObject({ code: 0 });
      return await nothingLost({
        N1: [machine.store],
        N2: [machine.store],
        N3: { place: machine.store, before },
        N4: { repository: `${registry.url}/team/other`, blobs: [layer.digest], manifests: ["1"] },
        N9: { store: machine.store, name: "app:1", digest },
      });
    },
  );
}
