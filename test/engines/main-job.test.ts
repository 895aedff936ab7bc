/** The main job with real engines through the built command line: what is built there goes out and comes back, and runs. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { suiteName } from "../support/programs.js";
import { randomIndex } from "../support/random-image.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { validateImage } from "../support/validate-image.js";
import { expectedOutput, nothingToBuild } from "./build-context.js";
import {
  type EngineUser,
  type EngineUserKind,
  newestDockerUser,
  olderDockerUser,
  podmanUser,
  podmanWithoutService,
} from "./engine-users.js";
import { JobBench, removedAfterwards } from "./job-bench.js";
import { checkDockerArchive, openSavedLayout } from "./saved-archive.js";

/** An engine's own archive of an image has all of it. */
async function checkSaved(kind: EngineUserKind, engine: EngineUser, name: string): Promise<void> {
  const id = await engine.id(name);
  const folder = await temporaryFolder();
  const archive = join(folder, "saved.tar");
  await engine.save(name, archive);
  if (!kind.keepsManifest) {
    expect(await checkDockerArchive(archive, join(folder, "saved"))).toBe(id);
    return;
  }
  const { store, roots } = await openSavedLayout(archive, join(folder, "saved"));
  expect(roots.map(({ digest }) => digest)).toEqual([id]);
  for (const root of roots) await validateImage(store, root, { mixedFormats: true });
}

/** What was pulled does what the image was built for. */
async function checkRuns(kind: EngineUserKind, engine: EngineUser, name: string): Promise<void> {
  if (kind.runs) expect(await engine.run(name)).toBe(await expectedOutput());
}

for (const kind of [olderDockerUser, newestDockerUser, podmanUser]) {
  const reason = (await kind.available()) ?? nothingToBuild;
  describe.skipIf(reason !== null)(suiteName(kind.name, reason), () => {
    let bench: JobBench;
    let engine: EngineUser;
    beforeAll(async () => {
      bench = await JobBench.create([kind]);
      engine = bench.engine(kind);
    });
    afterAll(async () => {
      await bench?.close();
    });

    const proof = kind.runs ? "it runs" : "its archive is whole";
    it(`has an image back as it was after it was pushed and deleted, and ${proof}`, async () => {
      const { id, layers } = await bench.build(engine, "job:1", "there and back");
      const told = await engine.inspect("job:1");
      await checkRuns(kind, engine, "job:1");
      const pushed = await (await bench.newcomer(engine)).push("job:1");
      expect(pushed).toMatchObject({ engine: kind.engine, unchanged: false, tags: ["1"] });
      expect(pushed.blobs).toEqual({ sent: layers + 1, mounted: 0, existing: 0 });
      if (kind.keepsManifest) expect(pushed.digest).toBe(id);

      await engine.remove("job:1");
      expect(await engine.id("job:1")).toBeNull();

      const pulled = await (await bench.newcomer(engine)).pull("image:job:1");
      expect(pulled).toMatchObject({
        engine: kind.engine,
        local: "job:1",
        id,
        previousId: null,
        digest: pushed.digest,
      });
      expect(pulled.blobs).toEqual({ received: layers + 1, existing: 0 });
      expect(pulled.bytesReceived).toBe(pushed.bytesSent);
      expect(await engine.id("job:1")).toBe(id);
      expect(await engine.inspect("job:1")).toEqual(told);
      await checkRuns(kind, engine, "job:1");
      await checkSaved(kind, engine, "job:1");
    });

    it("sends nothing a second time, and gives one digest with and without memory of the first", async () => {
      const { layers } = await bench.build(engine, "again:1", "once more");
      const here = await bench.newcomer(engine);
      const { digest, bytesSent } = await here.push("again:1");
      expect(await here.push("again:1")).toMatchObject({
        ...{ digest, unchanged: true, bytesSent: 0 },
        blobs: { sent: 0, mounted: 0, existing: layers + 1 },
      });
      await here.forget();
      expect(await here.push("again:1")).toMatchObject({
        ...{ digest, unchanged: true, bytesSent: 0 },
        blobs: { sent: 0, mounted: 0, existing: layers + 1 },
      });
      // By somebody else, to where none of it is. The containerd store pushes itself, and knows where the registry has it.
      const elsewhere = await (await bench.newcomer(engine)).push("again:1", "image:/bob/elsewhere:1");
      const blobs = { sent: 0, mounted: 0, existing: 0 };
      if (kind.keepsManifest) {
        expect(elsewhere).toMatchObject({ digest, bytesSent: 0, blobs: { ...blobs, mounted: layers + 1 } });
      } else {
        expect(elsewhere).toMatchObject({ digest, bytesSent, blobs: { ...blobs, sent: layers + 1 } });
      }
    });

    it("sends a small layer that changed, the config and the manifest, and nothing else", async () => {
      const { layers } = await bench.build(engine, "top:1", "the first");
      const here = await bench.newcomer(engine);
      await here.push("top:1");
      await bench.build(engine, "top:2", "the second");
      const pushed = await here.push("top:2");
      expect(pushed).toMatchObject({ unchanged: false, blobs: { sent: 2, mounted: 0, existing: layers - 1 } });
      expect(pushed.bytesSent).toBeLessThan(16_384);
    });

    // The containerd store pulls by itself, and reads every blob from the registry again.
    if (!kind.keepsManifest)
      it("does not fetch the layers that are there already", async () => {
        const { layers } = await bench.build(engine, "part:1", "the first");
        const { id } = await bench.build(engine, "part:2", "the second");
        await (await bench.newcomer(engine)).push("part:2");
        await engine.remove("part:2");
        expect(await engine.id("part:2")).toBeNull();

        const pulled = await (await bench.newcomer(engine)).pull("image:part:2");
        expect(pulled).toMatchObject({ id, blobs: { received: 2, existing: layers - 1 } });
        expect(pulled.bytesReceived).toBeLessThan(16_384);
        await checkSaved(kind, engine, "part:2");
        await checkRuns(kind, engine, "part:2");
      });

    if (kind.keepsManifest)
      describe("with an index", () => {
        /** Two platforms with attestations, in the registry. */
        async function pushIndex(name: string) {
          const workplace = await bench.newcomer(null);
          const store = new LayoutStore(workplace.store, { durability: "fast" });
          const index = await randomIndex(store, { seed: name, layerSize: 100_000, attestations: true });
          await store.tag(index.root, `${name}:1`);
          expect(await workplace.push(`${name}:1`)).toMatchObject({ digest: index.root.digest });
          return index;
        }

        it("has its digest for the ID, and the blobs of its own platform and attestation", async () => {
          const index = await pushIndex("own");
          const { digest } = index.root;
          const pulled = await (await bench.newcomer(engine)).pull("image:own:1");
          expect(pulled).toMatchObject({ id: digest, digest, platforms: ["linux/amd64"] });
          expect((await removedAfterwards(engine, "own:1")).id).toBe(digest);

          const folder = await temporaryFolder();
          await engine.save("own:1", join(folder, "saved.tar"));
          const { store, roots } = await openSavedLayout(join(folder, "saved.tar"), join(folder, "saved"));
          expect(roots.map((root) => root.digest)).toEqual([digest]);
          const { manifests } = JSON.parse(Buffer.from(index.manifest).toString()) as {
            readonly manifests: readonly Descriptor[];
          };
          const [own, other, attestation] = manifests;
          for (const entry of [own, attestation]) if (entry !== undefined) await validateImage(store, entry);
          expect(other !== undefined && (await store.has(other))).toBe(false);
        });

        it("has another platform under the digest of that one's manifest", async () => {
          const other = (await pushIndex("other")).images[1];
          const pulled = await (await bench.newcomer(engine)).pull("image:other:1", "--platform", "linux/arm64");
          expect(pulled).toMatchObject({ id: other?.root.digest, platforms: ["linux/arm64"] });
          await removedAfterwards(engine, "other:1");
          expect(await engine.inspect("other:1")).toMatchObject({ Architecture: "arm64" });
          await checkSaved(kind, engine, "other:1");
        });

        it("gives and takes all of it where all was asked for, the same index", async () => {
          const { root } = await pushIndex("whole");
          const here = await bench.newcomer(engine);
          await here.pull("image:whole:1", "--platform", "all");
          expect((await removedAfterwards(engine, "whole:1")).id).toBe(root.digest);
          await checkSaved(kind, engine, "whole:1");
          await here.forget();
          const pushed = await here.push("whole:1", "image:/bob/whole:1");
          expect(pushed).toMatchObject({ digest: root.digest, mediaType: mediaTypes.ociIndex });
          expect(pushed.platforms).toEqual(["linux/amd64", "linux/arm64"]);
        });
      });
  });
}

/** From what is built in one engine to what runs in another one. */
const ways = [
  [olderDockerUser, podmanUser],
  [newestDockerUser, podmanUser],
  [podmanUser, olderDockerUser],
  [podmanUser, newestDockerUser],
] as const;
const crossing = [olderDockerUser, newestDockerUser, podmanUser];
const noCrossing =
  (await Promise.all(crossing.map((kind) => kind.available()))).find((reason) => reason !== null) ?? nothingToBuild;

describe.skipIf(noCrossing !== null)(suiteName("from one engine to another", noCrossing), () => {
  let bench: JobBench;
  beforeAll(async () => {
    bench = await JobBench.create(crossing);
  });
  afterAll(async () => {
    await bench?.close();
  });

  for (const [from, to] of ways) {
    const title = `${from.name} to ${to.name}`;
    it(title, async () => {
      const [source, target] = [bench.engine(from), bench.engine(to)];
      const built = await bench.build(source, "moving:1", title);
      const { digest } = await (await bench.newcomer(source)).push("moving:1");
      const { id } = await (await bench.newcomer(target)).pull("image:moving:1");
      const arrived = await removedAfterwards(target, "moving:1");
      expect(arrived).toEqual({ id, layers: built.layers });
      const config = await bench.configDigest("alice/moving", digest);
      expect(id).toBe(to.keepsManifest ? digest : config);
      expect(built.id).toBe(from.keepsManifest ? digest : config);
      await checkRuns(to, target, "moving:1");
      await checkSaved(to, target, "moving:1");
      // Whichever way its IDs are made: what is pushed from there is the same image.
      const back = await (await bench.newcomer(target)).push("moving:1", `image:back:${to.engine}`);
      const returned = await (await bench.newcomer(source)).pull(`image:back:${to.engine}`, "returned:1");
      await removedAfterwards(source, "returned:1");
      if (from.keepsManifest) expect(returned.id).toBe(back.digest);
      else expect(returned.id).toBe(built.id);
    });
  }
});

const noPodman = (await podmanUser.available()) ?? nothingToBuild;
describe.skipIf(noPodman !== null)(suiteName("Podman without a service", noPodman), () => {
  let bench: JobBench;
  let engine: EngineUser;
  beforeAll(async () => {
    bench = await JobBench.create([]);
    engine = await podmanWithoutService(bench.folder);
  });
  afterAll(async () => {
    await engine?.stop();
    await bench?.close();
  });

  it("does the main job with one that is started for each command, and leaves none running", async () => {
    const built = await bench.build(engine, "demand:1", "on demand");
    const pushed = await (await bench.newcomer(engine)).push("demand:1", "--engine", "podman");
    expect(pushed).toMatchObject({ engine: "podman", unchanged: false });
    await engine.remove("demand:1");
    const there = await bench.newcomer(engine);
    const pulled = await there.pull("image:demand:1", "--engine", "podman");
    expect(pulled).toMatchObject({ engine: "podman", id: built.id, digest: pushed.digest });
    expect(await engine.id("demand:1")).toBe(built.id);
    expect(await engine.run("demand:1")).toBe(await expectedOutput());
    expect(await processesNaming(bench.folder)).toEqual([]);
  });
});

/** Command lines of the processes whose environment or arguments name a folder. */
async function processesNaming(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const read = (name: string) => readFile(join("/proc", pid, name), "latin1").catch(() => "");
    const line = await read("cmdline");
    if (`${line}\0${await read("environ")}`.includes(folder)) found.push(line.replaceAll("\0", " "));
  }
  return found;
}
