/** One suite over all engines: what a caller may rely on, whichever one it is. Long because it is one matrix. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { MemoryStore } from "../../src/content/memory.js";
import { detectEngine } from "../../src/engines/detect.js";
import type { EngineInfo, ExportOptions, LocalEngine } from "../../src/engines/engine.js";
import { StoreEngine } from "../../src/engines/store.js";
import { LocalImage } from "../../src/image/local-image.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { type Digest, digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import type { Platform } from "../../src/oci/platform.js";
import { type EngineStarter, newestDocker, newestGraphDriver, olderDocker, podman } from "../support/engines.js";
import { putBytes, type RandomImage, randomImage, randomIndex } from "../support/random-image.js";
import { validateImage } from "../support/validate-image.js";

const amd64: Platform = { os: "linux", architecture: "amd64" };
const arm64: Platform = { os: "linux", architecture: "arm64" };

interface Subject {
  readonly name: string;
  readonly starter: EngineStarter | null;
  readonly kind: EngineInfo["kind"];
  readonly imageStore: EngineInfo["imageStore"];
  readonly moves: EngineInfo["moves"];
}

const subjects: readonly Subject[] = [
  { name: olderDocker.name, starter: olderDocker, kind: "docker", imageStore: "graph-driver", moves: "folders" },
  {
    name: newestGraphDriver.name,
    starter: newestGraphDriver,
    kind: "docker",
    imageStore: "graph-driver",
    moves: "folders",
  },
  { name: newestDocker.name, starter: newestDocker, kind: "docker", imageStore: "containerd", moves: "by-itself" },
  { name: podman.name, starter: podman, kind: "podman", imageStore: "containers-storage", moves: "folders" },
  { name: "store", starter: null, kind: "store", imageStore: "oci-layout", moves: "files" },
];

/** The progress of one transfer, by layer and status. */
class Recorder {
  readonly seen = new Map<string, Set<string>>();
  report(layerId: string, status: string): void {
    const statuses = this.seen.get(layerId) ?? new Set();
    this.seen.set(layerId, statuses.add(status));
  }
  statuses(layerId: string): readonly string[] {
    return [...(this.seen.get(layerId) ?? [])];
  }
}

async function collect(source: AsyncIterable<Descriptor>): Promise<readonly Descriptor[]> {
  const all: Descriptor[] = [];
  for await (const descriptor of source) all.push(descriptor);
  return all;
}

for (const { name, starter, kind, imageStore, moves } of subjects) {
  const reason = (await starter?.available()) ?? null;
  // What does not apply to an engine is no test of it; only an engine that is not installed is skipped.
  describe.skipIf(reason !== null)(`${name}${reason === null ? "" : ` (${reason})`}`, () => {
    /** The image ID is the digest of what the name points at, and original bytes are kept. */
    const original = imageStore === "containerd" || imageStore === "oci-layout";
    const unpacks = imageStore !== "oci-layout";
    let engine: LocalEngine;
    let hub: LayoutStore;
    const cleanups: (() => Promise<void>)[] = [];

    beforeAll(async () => {
      const folder = await mkdtemp(join(tmpdir(), "lading-hub-"));
      cleanups.push(() => rm(folder, { recursive: true, force: true }));
      hub = new LayoutStore(join(folder, "hub"));
      const own = new LayoutStore(join(folder, "own"));
      const running = await starter?.start();
      if (running !== undefined) cleanups.push(() => running.stop());
      const address =
        running === undefined
          ? {}
          : { [kind === "podman" ? "CONTAINER_HOST" : "DOCKER_HOST"]: `unix://${running.socketPath}` };
      const detected = await detectEngine({
        engine: kind,
        env: { HOME: folder, PATH: process.env.PATH, ...address },
        platform: process.platform,
        homeDirectory: folder,
        store: async () => new StoreEngine(own),
      });
      engine = detected.engine;
      cleanups.push(() => engine.close());
      expect(detected.kind).toBe(kind);
    });
    afterAll(async () => {
      for (const cleanup of cleanups.reverse()) await cleanup();
    });

    const idOf = (image: RandomImage): Digest => (original ? image.root.digest : image.config.descriptor.digest);
    const out = (image: LocalImage | Digest, options: Partial<ExportOptions> & Pick<ExportOptions, "into">) =>
      collect(engine.exportImage(image, { platform: null, format: "docker", ...options }));
    /** Makes an image and loads it. */
    const load = async (
      seed: string,
      names: readonly LocalImage[],
      more: { layers?: number; format?: "docker" | "oci" } = {},
    ) => {
      const image = await randomImage(hub, { seed, format: "docker", layers: 3, ...more });
      const { id } = await engine.importImage(image.root, { from: hub, names, platform: null });
      return { image, id };
    };

    it("tells what it is", async () => {
      const info = await engine.info();
      expect(info).toMatchObject({ kind, imageStore, moves, platform: { os: "linux" } });
      expect(await engine.info()).toBe(info);
    });

    it("loads an image under all its names and reports it", async () => {
      const names = [
        new LocalImage("shop/cart", "1"),
        new LocalImage("cart"),
        new LocalImage("lab.example:5000/cart", "x"),
      ];
      const { image, id } = await load("cart", names);
      expect(id).toBe(idOf(image));
      const listed = await engine.list();
      for (const local of names) {
        const full = new LocalImage(local.name, local.tag ?? "latest");
        expect(listed.filter((entry) => entry.local?.equals(full))).toMatchObject([{ id, platforms: [amd64] }]);
        const found = await engine.inspect(local);
        expect(found).toMatchObject({ id, platforms: [amd64], created: "2024-05-06T07:08:09.000Z" });
        expect(found?.diffIds).toEqual(image.layers.map(({ diffId }) => diffId));
        expect(found?.size).toBeGreaterThan(0);
      }
      expect(await engine.inspect(id)).toMatchObject({ id, platforms: [amd64] });
    });

    it("loads a layer of several gzip members, whose trailer tells the size of the last one", async () => {
      const image = await randomImage(hub, { seed: "members", format: "docker", layers: 1 });
      const [layer] = image.layers;
      if (layer === undefined) throw new Error("the image has no layer");
      const plain = gunzipSync(layer.bytes);
      const members = [plain.subarray(0, 1000), plain.subarray(1000)].map((part) => gzipSync(part));
      const packed = await putBytes(hub, layer.descriptor.mediaType, Buffer.concat(members));
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.dockerManifest,
        config: image.config.descriptor,
        layers: [packed],
      };
      const root = await putBytes(hub, mediaTypes.dockerManifest, Buffer.from(JSON.stringify(manifest)));
      const several = new LocalImage("members", "1");
      await engine.importImage(root, { from: hub, names: [several], platform: null });
      expect((await engine.inspect(several))?.diffIds).toEqual([layer.diffId]);
    });

    it("says null of an image that it does not have", async () => {
      expect(await engine.inspect(new LocalImage("nobody/knows", "this"))).toBeNull();
      expect(await engine.inspect(digestOf("nobody"))).toBeNull();
    });

    it.each(["docker", "oci"] as const)(
      "gives a whole image (%s), each part once it is there, the root last",
      async (format) => {
        const local = new LocalImage("out", format);
        const { image } = await load(`out-${format}`, [local], { format });
        const into = new MemoryStore();
        let root: Descriptor | null = null;
        for await (const descriptor of engine.exportImage(local, { into, platform: null, format })) {
          expect(await into.has(descriptor)).toBe(true);
          root = descriptor;
        }
        if (root === null) throw new Error("nothing came");
        const { digests } = await validateImage(into, root);
        expect(root.mediaType).toBe(format === "docker" ? mediaTypes.dockerManifest : mediaTypes.ociManifest);
        if (original) expect(root.digest).toBe(image.root.digest);
        // The config is the same bytes everywhere: it is the image's identity.
        expect(digests).toContain(image.config.descriptor.digest);
      },
    );

    it("gives the same digest again, from its memory and anew", async () => {
      const local = new LocalImage("again", "1");
      const { id } = await load("again", [local]);
      const into = new MemoryStore();
      const first = await out(local, { into });
      const progress = new Recorder();
      const second = await out(id, { into, progress });
      expect(second.at(-1)).toEqual(first.at(-1));
      expect(new Set(second.map(({ digest }) => digest))).toEqual(new Set(first.map(({ digest }) => digest)));
      expect(progress.seen.size).toBe(0);
      const anew = await out(local, { into: new MemoryStore() });
      expect(anew.at(-1)?.digest).toBe(first.at(-1)?.digest);
    });

    if (unpacks && !original)
      it("does not compress again what it knows", async () => {
        const { image } = await load("base", [new LocalImage("base", "1")], { layers: 2 });
        await load("base", [new LocalImage("derived", "1")], { layers: 3 });
        const into = new MemoryStore();
        const first = new Recorder();
        await out(new LocalImage("base", "1"), { into, progress: first });
        const second = new Recorder();
        await out(new LocalImage("derived", "1"), { into, progress: second });
        for (const { diffId } of image.layers) {
          expect(first.statuses(diffId)).toContain("compressing");
          expect(second.statuses(diffId)).toEqual(["exporting"]);
        }
        expect([...second.seen.values()].filter((statuses) => statuses.has("compressing"))).toHaveLength(1);
      });

    it("needs only the layers that it lacks, where it unpacks them", async () => {
      const { image: base } = await load("known", [new LocalImage("known", "1")], { layers: 2 });
      const there = new MemoryStore();
      const derived = await randomImage(there, { seed: "known", format: "docker", layers: 3 });
      const diffIds = derived.layers.map(({ diffId }) => diffId);
      const known = await engine.knownLayers(diffIds);
      expect([...known]).toEqual(original ? [] : base.layers.map(({ diffId }) => diffId));
      for (const { diffId, descriptor } of derived.layers) if (known.has(diffId)) await there.delete(descriptor.digest);
      const names = [new LocalImage("known", "2"), new LocalImage("known", "also")];
      const { id } = await engine.importImage(derived.root, { from: there, names, platform: null });
      expect(id).toBe(idOf(derived));
      const into = new MemoryStore();
      const root = (await out(id, { into })).at(-1);
      if (root === undefined) throw new Error("nothing came");
      expect((await validateImage(into, root)).digests).toContain(derived.config.descriptor.digest);
    });

    it("reports what is being loaded", async () => {
      const image = await randomImage(hub, { seed: "loading", format: "docker", layers: 2, layerSize: 200_000 });
      const progress = new Recorder();
      await engine.importImage(image.root, {
        from: hub,
        names: [new LocalImage("loading", "1")],
        platform: null,
        progress,
      });
      for (const [layerId, statuses] of progress.seen) {
        expect(image.layers.map(({ descriptor }) => descriptor.digest)).toContain(layerId);
        expect([...statuses]).toEqual(["loading"]);
      }
      if (imageStore === "graph-driver") expect(progress.seen.size).toBe(2);
    });

    it("takes uncompressed layers, and zstd where it can", async () => {
      const image = await randomImage(hub, { seed: "plain", layers: 1, format: "oci" });
      const [layer] = image.layers;
      if (layer === undefined) throw new Error("no layer");
      const plain = await putBytes(hub, mediaTypes.ociLayer, layer.tar);
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: image.config.descriptor,
        layers: [plain],
      };
      const root = await putBytes(hub, mediaTypes.ociManifest, Buffer.from(JSON.stringify(manifest)));
      const local = new LocalImage("plain", "1");
      const { id } = await engine.importImage(root, { from: hub, names: [local], platform: null });
      expect((await engine.inspect(local))?.id).toBe(id);
      const into = new MemoryStore();
      const exported = (await out(local, { into, format: "oci" })).at(-1);
      if (exported === undefined) throw new Error("nothing came");
      await validateImage(into, exported);
    });

    it("takes an index: whole where it keeps one, else its own platform", async () => {
      const index = await randomIndex(hub, { seed: "index", attestations: true });
      const [own, other] = index.images;
      if (own === undefined || other === undefined) throw new Error("no images");
      const local = new LocalImage("index", "1");
      const { id } = await engine.importImage(index.root, { from: hub, names: [local], platform: null });
      expect(id).toBe(original ? index.root.digest : own.config.descriptor.digest);
      expect((await engine.inspect(local))?.platforms).toEqual(original ? [amd64, arm64] : [amd64]);
      const into = new MemoryStore();
      const whole = (await out(local, { into })).at(-1);
      if (whole === undefined) throw new Error("nothing came");
      await validateImage(into, whole);
      if (original) expect(whole.digest).toBe(index.root.digest);
      const narrow = (await out(local, { into: new MemoryStore(), platform: amd64 })).at(-1);
      if (original) expect(narrow?.digest).toBe(own.root.digest);
      await expect(
        out(local, { into: new MemoryStore(), platform: { os: "linux", architecture: "s390x" } }),
      ).rejects.toMatchObject({ code: "not-found" });
    });

    it("keeps the ID of an index of which only its own platform came along", async () => {
      const from = new MemoryStore();
      const index = await randomIndex(from, { seed: "sparse", attestations: true });
      const [own, other] = index.images;
      if (own === undefined || other === undefined) throw new Error("no images");
      for (const { digest } of [
        other.root,
        other.config.descriptor,
        ...other.layers.map((layer) => layer.descriptor),
      ]) {
        await from.delete(digest);
      }
      const local = new LocalImage("sparse", "1");
      const { id } = await engine.importImage(index.root, { from, names: [local], platform: null });
      expect(id).toBe(original ? index.root.digest : own.config.descriptor.digest);
      expect((await engine.inspect(local))?.platforms).toEqual([amd64]);
      // It can't go out as it is: no registry takes an index without its children.
      const into = new MemoryStore();
      const root = (await out(local, { into })).at(-1);
      if (root === undefined) throw new Error("nothing came");
      await validateImage(into, root);
      if (original) expect(root.digest).toBe(own.root.digest);
      await expect(out(local, { into, platform: arm64 })).rejects.toMatchObject({ code: "not-found" });
    });

    it("takes the platform that was asked for", async () => {
      const index = await randomIndex(hub, { seed: "chosen" });
      const other = index.images[1];
      if (other === undefined) throw new Error("no image");
      const local = new LocalImage("chosen", "arm");
      const { id } = await engine.importImage(index.root, { from: hub, names: [local], platform: arm64 });
      expect(id).toBe(idOf(other));
      expect((await engine.inspect(local))?.platforms).toEqual([arm64]);
    });

    it("tags, moves a name, and removes names and images", async () => {
      const [one, two] = [new LocalImage("names", "1"), new LocalImage("names", "2")];
      const { id } = await load("names", [one]);
      await engine.tag(one, two);
      await engine.tag(id, new LocalImage("lab.example/names", "3"));
      expect((await engine.inspect(two))?.id).toBe(id);
      const { id: next } = await load("names-next", [two]);
      expect((await engine.inspect(two))?.id).toBe(next);
      expect((await engine.inspect(one))?.id).toBe(id);
      await engine.remove(one, { force: false });
      expect(await engine.inspect(one)).toBeNull();
      expect((await engine.inspect(new LocalImage("lab.example/names", "3")))?.id).toBe(id);
      await engine.remove(new LocalImage("lab.example/names", "3"), { force: false });
      expect(await engine.inspect(id)).toBeNull();
      expect((await engine.inspect(two))?.id).toBe(next);
    });

    it("does not remove an image with several names by its ID, unless forced", async () => {
      const names = [new LocalImage("several", "1"), new LocalImage("more/several", "2")];
      const { id } = await load("several", names);
      await expect(engine.remove(id, { force: false })).rejects.toMatchObject({ code: "conflict" });
      expect((await engine.inspect(names[1] as LocalImage))?.id).toBe(id);
      await engine.remove(id, { force: true });
      expect(await engine.inspect(names[0] as LocalImage)).toBeNull();
    });

    it("says not-found of what is not there", async () => {
      const nobody = new LocalImage("nobody", "x");
      for (const failing of [
        () => engine.tag(nobody, new LocalImage("other")),
        () => engine.remove(nobody, { force: false }),
        () => engine.remove(digestOf("nobody"), { force: true }),
        () => out(nobody, { into: new MemoryStore() }),
      ]) {
        await expect(failing()).rejects.toMatchObject({ code: "not-found" });
      }
    });

    // Podman takes the layers for what the config says of them, as its own pull does.
    if (kind === "docker")
      it("refuses layers that are not what the config says", async () => {
        const image = await randomImage(hub, { seed: "liar", layers: 1, format: "docker" });
        const { layers } = await randomImage(hub, { seed: "other", layers: 1, format: "docker" });
        const manifest = {
          schemaVersion: 2,
          mediaType: mediaTypes.dockerManifest,
          config: image.config.descriptor,
          layers: layers.map(({ descriptor }) => descriptor),
        };
        const root = await putBytes(hub, mediaTypes.dockerManifest, Buffer.from(JSON.stringify(manifest)));
        const names = [new LocalImage("liar", "1")];
        await expect(engine.importImage(root, { from: hub, names, platform: null })).rejects.toMatchObject({
          code: "engine-failed",
        });
      });

    it("fails with what is missing where a layer is neither here nor there", async () => {
      const from = new MemoryStore();
      const image = await randomImage(from, { seed: "gone", format: "docker" });
      for (const { descriptor } of image.layers) await from.delete(descriptor.digest);
      const names = [new LocalImage("gone", "1")];
      const failing = engine.importImage(image.root, { from, names, platform: null });
      await expect(failing).rejects.toMatchObject({ code: "not-found" });
      if (unpacks) expect(await engine.inspect(names[0] as LocalImage)).toBeNull();
    });

    it("stops when the caller does", async () => {
      const local = new LocalImage("stop", "1");
      const { image } = await load("stop", [local]);
      const signal = AbortSignal.abort(new Error("enough"));
      for (const failing of [
        () => out(local, { into: new MemoryStore(), signal }),
        () => engine.importImage(image.root, { from: hub, names: [local], platform: null, signal }),
      ]) {
        await expect(failing()).rejects.toMatchObject({ code: "cancelled" });
      }
      const controller = new AbortController();
      const progress = { report: () => controller.abort() };
      const failing = out(local, { into: new MemoryStore(), signal: controller.signal, progress });
      // The store's own content is there already: there is nothing to report and nothing to stop.
      if (unpacks) await expect(failing).rejects.toMatchObject({ code: "cancelled" });
      else await failing;
    });
  });
}
