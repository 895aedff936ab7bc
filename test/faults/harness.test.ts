import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { LadingError } from "../../src/errors.js";
import { Machine } from "../cli/machine.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { randomImage } from "../support/random-image.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { fault } from "./fault.js";
import { faultyLading } from "./faulty-process.js";
import { isVerdict, nothingLost } from "./nothing-lost.js";
import { seeded } from "./seeded.js";
import { storedBlobs } from "./stored-blobs.js";
import { tagMap } from "./tag-map.js";

// What checks the faults is checked here: each check finds what it is for.

async function storeWithImage() {
  const directory = await temporaryFolder({ memory: true });
  const store = new LayoutStore(directory, { durability: "fast" });
  const image = await randomImage(store);
  await store.tag(image.root, "app:1");
  return { directory, store, image };
}

describe("nothingLost", () => {
  it("passes a store that is in order, and says what it looked at", async () => {
    const { directory, image } = await storeWithImage();
    const before = await tagMap(directory);
    expect(before).toEqual({ "app:1": image.root.digest });
    const verdict = await nothingLost({
      N1: [directory],
      N2: [directory],
      N3: { place: directory, before },
      N5: { folders: [directory] },
      N6: { secrets: ["canary-91c2"], texts: ["nothing"], folders: [directory] },
      N9: { store: directory, name: "app:1", digest: image.root.digest },
    });
    expect(verdict.checked).toEqual(["N1", "N2", "N3", "N5", "N6", "N9"]);
    expect([isVerdict(verdict), isVerdict({ ...verdict })]).toEqual([true, false]);
  });

  it("N1 finds a damaged blob, N2 an image that lacks one", async () => {
    const { directory, store, image } = await storeWithImage();
    const [layer] = image.layers;
    const file = (await storedBlobs(directory)).find(({ digest }) => digest === layer?.descriptor.digest)?.path ?? "";
    await store.delete(layer?.descriptor.digest ?? image.root.digest);
    await expect(nothingLost({ N2: [directory] })).rejects.toThrow("N2");
    await nothingLost({ N1: [directory] });
    await writeFile(file, "damaged");
    await expect(nothingLost({ N1: [directory] })).rejects.toThrow("N1");
    await expect(nothingLost({ N1: [new Map([["sha256:00", Buffer.from("x")]])] })).rejects.toThrow("N1");
  });

  it("N3 finds a third state", async () => {
    const { directory } = await storeWithImage();
    const [before, success] = [{}, { "app:2": "sha256:00" }];
    await expect(nothingLost({ N3: { place: directory, before, success } })).rejects.toThrow("N3");
    await nothingLost({ N3: { place: directory, before, success: await tagMap(directory) } });
  });

  it("N4 finds what was acknowledged and is not there", async () => {
    const registry = await startOwnRegistry("memory");
    const repository = `${registry.url}/team/app`;
    const absent = { repository, blobs: [`sha256:${"0".repeat(64)}`], manifests: [] };
    await expect(nothingLost({ N4: absent })).rejects.toThrow("N4");
    await registry.close();
  });

  it("N5 finds temporary files, uploads, and partial downloads beyond those that are meant to stay", async () => {
    for (const path of [
      ".lading/partial/tmp.12",
      ".lading/uploads/0.json",
      "tmp/12",
      "repos/a/_uploads/1/data",
      ".lading/index.lock",
    ]) {
      const directory = await temporaryFolder();
      await mkdir(join(directory, path, ".."), { recursive: true });
      await writeFile(join(directory, path), "");
      await expect(nothingLost({ N5: { folders: [directory] } }), path).rejects.toThrow("N5");
    }
    const directory = await temporaryFolder();
    const partial = join(directory, ".lading", "partial", `sha256-${"0".repeat(64)}.12ab`);
    await mkdir(join(partial, ".."), { recursive: true });
    await writeFile(partial, "");
    await writeFile(`${partial}.json`, "");
    await nothingLost({ N5: { folders: [directory], partials: 1 } });
    await expect(nothingLost({ N5: { folders: [directory] } })).rejects.toThrow("N5");
    await expect(nothingLost({ N5: { folders: [], sessions: new Map([["1", ""]]) } })).rejects.toThrow("N5");
  });

  it("N6 finds a secret in texts, causes, encodings and files", async () => {
    const secret = "canary-91c2";
    const directory = await temporaryFolder();
    await writeFile(join(directory, "log"), `token ${secret}`);
    const basic = Buffer.from(`carol:${secret}!`).toString("base64");
    const caused = new LadingError("io", "failed", { cause: new Error(`with ${secret}`) });
    for (const text of [secret, `Basic ${basic}`, caused, { headers: { secret } }]) {
      await expect(nothingLost({ N6: { secrets: [secret], texts: [text] } })).rejects.toThrow("N6");
    }
    const evidence = { secrets: [secret], texts: ["nothing"], folders: [directory] } as const;
    await expect(nothingLost({ N6: evidence })).rejects.toThrow("N6");
  });

  it("N7 finds a wrong exit code, a stack, and another error", async () => {
    const run = { code: 69, stdout: "", stderr: '{"type":"error","error":{"code":"unreachable","exit":69}}\n' };
    await nothingLost({ N7: { run, exit: 69, code: "unreachable" } });
    await expect(nothingLost({ N7: { run, exit: 0 } })).rejects.toThrow("N7");
    await expect(nothingLost({ N7: { run, exit: 69, code: "io" } })).rejects.toThrow("N7");
    const stack = { ...run, stderr: "x\n    at run (file.js:1:2)\n" };
    await expect(nothingLost({ N7: { run: stack, exit: 69 } })).rejects.toThrow("N7");
    const error = new LadingError("io", "failed");
    await nothingLost({ N7: { error, code: "io" } });
    await expect(nothingLost({ N7: { error, code: "no-space" } })).rejects.toThrow("N7");
    await expect(nothingLost({ N7: { error: new TypeError("x"), code: "internal" } })).rejects.toThrow("N7");
  });

  it("N8 finds too much memory, and that nobody measured", async () => {
    await nothingLost({ N8: { peak: 1_000_000 } });
    for (const peak of [0, 300_000_000]) await expect(nothingLost({ N8: { peak } })).rejects.toThrow("N8");
  });

  it("N9 finds another digest", async () => {
    const { directory } = await storeWithImage();
    const image = { store: directory, name: "app:1", digest: `sha256:${"0".repeat(64)}` };
    await expect(nothingLost({ N9: image })).rejects.toThrow("N9");
  });
});

describe("fault", () => {
  it("refuses ids that are no rows, an empty list and checks that are none", () => {
    const body = async () => await nothingLost({});
    expect(() => fault("F41", "x", ["N1"], body)).toThrow(RangeError);
    expect(() => fault("A1", "x", ["N1"], body)).toThrow(RangeError);
    expect(() => fault("F01", "x", [] as never, body)).toThrow(RangeError);
    expect(() => fault("F01", "x", ["N10" as never], body)).toThrow(RangeError);
  });

  it("a seed that failed is named with the command that repeats it", async () => {
    const seen: number[] = [];
    const failing = seeded("F18", 3, async (chance, seed) => {
      seen.push(chance.below(1000));
      if (seed === "1.1") throw new Error("x");
    });
    await expect(failing).rejects.toThrow(
      "LADING_FAULT_SEED=1.1 LADING_FAULT_ROUNDS=1 npx vitest run --project faults",
    );
    expect(seen).toHaveLength(2);
  });
});

describe("a faulty process", () => {
  it("is killed at the point that was named, or has a call fail, and tells its peak where it ends", async () => {
    const machine = await Machine.create();
    const registry = await startOwnRegistry("memory");
    try {
      const digest = await machine.putImage("app:1");
      const reference = `${new URL(registry.url).host}/team/app:1`;
      expect(await machine.lading(["push", "app:1", reference])).toMatchObject({ code: 0 });
      const pull = ["pull", reference, "back:1", "--json"];
      for (const point of ["request GET blob 1", "response GET blob 2", "rename blob 1", "after rename blob 3"]) {
        const { code, report } = await faultyLading(machine, [...pull, "--store", `${machine.home}/other`], {
          kill: point,
        });
        expect([code, report.killed], point).toEqual([null, point]);
      }
      const failed = await faultyLading(machine, [...pull, "--store", `${machine.home}/third`], {
        fail: { at: "rename blob 1", errno: "EIO" },
      });
      expect(JSON.parse(failed.stderr.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({ error: { code: "io" } });
      const whole = await faultyLading(machine, [...pull, "--store", `${machine.home}/other`]);
      expect(whole).toMatchObject({ code: 0, report: { killed: null } });
      expect(whole.report.peak).toBeGreaterThan(10_000_000);
      expect(await tagMap(`${machine.home}/other`)).toEqual({ "back:1": digest });
    } finally {
      await registry.close();
      await machine.remove();
    }
  });
});
