import { describe, expect, it } from "vitest";
import { putBytes, randomImage, randomIndex } from "../../test/support/random-image.js";
import { validateImage } from "../../test/support/validate-image.js";
import { MemoryStore } from "../content/memory.js";
import { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import { StoreEngine } from "./store.js";

const app = new LocalImage("app", "1");
const amd64 = { os: "linux", architecture: "amd64" };

function open(): { store: MemoryStore; engine: StoreEngine } {
  const store = new MemoryStore();
  return { store, engine: new StoreEngine(store, { architecture: "x64", endpoint: "memory" }) };
}

async function collect(source: AsyncIterable<Descriptor>): Promise<readonly Descriptor[]> {
  const all: Descriptor[] = [];
  for await (const descriptor of source) all.push(descriptor);
  return all;
}

describe("StoreEngine", () => {
  it("tells what it is", async () => {
    const { engine } = open();
    expect(await engine.info()).toMatchObject({ kind: "store", imageStore: "oci-layout", platform: amd64 });
  });

  it("takes an image that is in its store by naming it", async () => {
    const { store, engine } = open();
    const { root, layers } = await randomImage(store);
    expect(await engine.list()).toEqual([]);
    const names = [app, new LocalImage("lab.example/team/app")];
    expect(await engine.importImage(root, { from: store, names, platform: null })).toEqual({ id: root.digest });
    const size = layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    const expected = { id: root.digest, digest: root.digest, size, created: "2024-05-06T07:08:09.000Z" };
    const diffIds = layers.map(({ diffId }) => diffId);
    expect(await engine.list()).toEqual([
      { ...expected, local: app, platforms: [amd64], diffIds },
      { ...expected, local: new LocalImage("lab.example/team/app", "latest"), platforms: [amd64], diffIds },
    ]);
    expect(await engine.inspect(app)).toMatchObject({ ...expected, local: app });
    expect(await engine.inspect(root.digest)).toMatchObject({ ...expected, local: null });
    expect(await engine.inspect(new LocalImage("other"))).toBeNull();
  });

  it("takes an image out of another store", async () => {
    const from = new MemoryStore();
    const { store, engine } = open();
    const { root } = await randomIndex(from, { attestations: true });
    await engine.importImage(root, { from, names: [app], platform: null });
    await validateImage(store, root);
    expect((await engine.inspect(app))?.platforms).toEqual([amd64, { os: "linux", architecture: "arm64" }]);
  });

  it("narrows to a platform where one is asked for", async () => {
    const { store, engine } = open();
    const { root, images } = await randomIndex(store);
    const { id } = await engine.importImage(root, { from: store, names: [app], platform: amd64 });
    expect(id).toBe(images[0]?.root.digest);
    const missing = { os: "linux", architecture: "s390x" };
    await expect(engine.importImage(root, { from: store, names: [app], platform: missing })).rejects.toMatchObject({
      code: "not-found",
    });
    expect((await engine.inspect(app))?.id).toBe(id);
  });

  it("gives what a name points at, blobs first and the root last, without copying", async () => {
    const { store, engine } = open();
    const { root, manifest, layers } = await randomImage(store);
    await engine.importImage(root, { from: store, names: [app], platform: null });
    const out = await collect(engine.exportImage(app, { into: store, platform: null, format: "docker" }));
    expect(out).toHaveLength(layers.length + 2);
    expect(out.at(-1)).toMatchObject({ digest: root.digest, size: manifest.byteLength });
  });

  it("gives a copy to another store", async () => {
    const into = new MemoryStore();
    const { store, engine } = open();
    const { root, images } = await randomIndex(store, { attestations: true });
    await engine.importImage(root, { from: store, names: [app], platform: null });
    const all = await collect(engine.exportImage(app, { into, platform: null, format: "docker" }));
    expect(all.at(-1)?.digest).toBe(root.digest);
    await validateImage(into, root);
    const one = await collect(engine.exportImage(app, { into, platform: amd64, format: "docker" }));
    expect(one.at(-1)?.digest).toBe(images[0]?.root.digest);
  });

  it("narrows an index of which only its own platform is there", async () => {
    const { store, engine } = open();
    const { root, images } = await randomIndex(store);
    const [first, second] = images;
    await engine.importImage(root, { from: store, names: [app], platform: null });
    for (const { descriptor } of second?.layers ?? []) await store.delete(descriptor.digest);
    expect((await engine.inspect(app))?.platforms).toEqual([amd64]);
    const out = await collect(engine.exportImage(app, { into: store, platform: null, format: "docker" }));
    expect(out.at(-1)?.digest).toBe(first?.root.digest);
    const arm64 = { os: "linux", architecture: "arm64" };
    await expect(
      collect(engine.exportImage(app, { into: store, platform: arm64, format: "docker" })),
    ).rejects.toMatchObject({ code: "not-found" });
  });

  it("passes artifacts on, which have no platform", async () => {
    const { store, engine } = open();
    const config = await putBytes(store, mediaTypes.ociEmpty, Buffer.from("{}"));
    const layer = await putBytes(store, "text/plain", Buffer.from("hello"));
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      artifactType: "a/b",
      config,
      layers: [layer],
    };
    const root = await putBytes(store, mediaTypes.ociManifest, Buffer.from(JSON.stringify(manifest)));
    await engine.importImage(root, { from: store, names: [app], platform: null });
    expect(await engine.inspect(app)).toMatchObject({ platforms: [], size: 5, created: null });
    const out = await collect(engine.exportImage(app, { into: store, platform: null, format: "docker" }));
    expect(out.at(-1)?.digest).toBe(root.digest);
  });

  it("lists an image whose content is gone, and does not send it", async () => {
    const { store, engine } = open();
    const { root, layers } = await randomImage(store);
    await engine.importImage(root, { from: store, names: [app], platform: null });
    await store.delete(layers[0]?.descriptor.digest ?? digestOf(""));
    expect(await engine.list()).toMatchObject([{ local: app, platforms: [] }]);
    const out = engine.exportImage(app, { into: store, platform: null, format: "docker" });
    await expect(collect(out)).rejects.toMatchObject({ code: "not-found" });
    await store.delete(root.digest);
    expect(await engine.list()).toMatchObject([{ local: app, id: root.digest, size: 0 }]);
  });

  it("tags and removes names", async () => {
    const { store, engine } = open();
    const { root } = await randomImage(store);
    const other = new LocalImage("other", "2");
    await engine.importImage(root, { from: store, names: [app], platform: null });
    await engine.tag(app, other);
    expect((await engine.inspect(other))?.id).toBe(root.digest);
    await expect(engine.remove(root.digest, { force: false })).rejects.toMatchObject({ code: "conflict" });
    await engine.remove(app, { force: false });
    expect(await engine.inspect(app)).toBeNull();
    await engine.tag(root.digest, app);
    await engine.remove(root.digest, { force: true });
    expect(await engine.list()).toEqual([]);
    for (const failing of [
      () => engine.tag(app, other),
      () => engine.remove(app, { force: true }),
      () => engine.remove(root.digest, { force: true }),
      () => collect(engine.exportImage(app, { into: store, platform: null, format: "docker" })),
    ]) {
      await expect(failing()).rejects.toMatchObject({ code: "not-found" });
    }
    expect(await store.has(root)).toBe(true);
  });

  it("does not name what it does not have", async () => {
    const { engine } = open();
    const { root } = await randomImage(new MemoryStore());
    await expect(
      engine.importImage(root, { from: new MemoryStore(), names: [app], platform: null }),
    ).rejects.toMatchObject({ code: "not-found" });
    expect(await engine.list()).toEqual([]);
  });
});
