import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { putBytes, randomImage } from "../../test/support/random-image.js";
import { describeBytes, describeStore, sourceOf, withCode } from "../../test/support/store-contract.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { validateImage } from "../../test/support/validate-image.js";
import { digestHex, digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import { nodeFileSystem } from "./file-system.js";
import { LayoutStore } from "./layout.js";
import { readAll } from "./verify.js";

for (const durability of ["full", "fast"] as const) {
  describeStore(`a layout on disk (${durability})`, async () => {
    const directory = await mkdtemp(join(tmpdir(), "lading-layout-"));
    return {
      store: LayoutStore.open(join(directory, "store"), { durability }),
      close: async () => await rm(directory, { recursive: true }),
    };
  });
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

async function openStore(): Promise<LayoutStore> {
  return new LayoutStore(join(await temporaryFolder(), "store"));
}

describe("the files of a layout", () => {
  test("reading makes none", async () => {
    const store = await openStore();
    const missing = describeBytes(Buffer.from("missing"));
    expect(await store.has(missing)).toBe(false);
    expect(await store.resolve("app:1")).toBeNull();
    expect(await store.entries()).toEqual([]);
    expect(await store.path(missing.digest)).toBeNull();
    expect(await store.compressedLayer(missing.digest)).toBeNull();
    expect(await store.sizes()).toEqual({ own: 0, cache: 0, partial: 0 });
    expect(await store.freeBytes()).toBeGreaterThan(0);
    await expect(stat(store.directory)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("are those of the standard, and for their owner alone", async () => {
    const store = await openStore();
    const image = await randomImage(store);
    await store.tag(image.root, "localhost:5000/team/app:1");
    expect((await readdir(store.directory)).toSorted()).toEqual([".lading", "blobs", "index.json", "oci-layout"]);
    expect(JSON.parse(await readFile(join(store.directory, "oci-layout"), "utf8"))).toEqual({
      imageLayoutVersion: "1.0.0",
    });
    expect(JSON.parse(await readFile(join(store.directory, "index.json"), "utf8"))).toEqual({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: [
        {
          ...image.root,
          annotations: {
            "org.opencontainers.image.ref.name": "localhost:5000/team/app:1",
            "io.containerd.image.name": "localhost:5000/team/app:1",
          },
        },
      ],
    });
    const blob = await store.path(image.root.digest);
    expect(blob).toBe(join(store.directory, "blobs", "sha256", digestHex(image.root.digest)));
    expect(await modeOf(blob ?? "")).toBe(0o444);
    expect(await modeOf(join(store.directory, "index.json"))).toBe(0o600);
    for (const folder of [".", "blobs", "blobs/sha256", ".lading"]) {
      expect(await modeOf(join(store.directory, folder))).toBe(0o700);
    }
    expect(await readdir(join(store.directory, ".lading", "partial"))).toEqual([]);
  });

  test("are the standard's alone after tidying, unless there is more to keep", async () => {
    const store = await openStore();
    const image = await randomImage(store);
    await store.tag(image.root, "app:1");
    await store.tidy();
    expect((await readdir(store.directory)).toSorted()).toEqual(["blobs", "index.json", "oci-layout"]);
    await store.rememberLayer(digestOf("diff"), image.root);
    await store.tidy();
    expect(await store.compressedLayer(digestOf("diff"))).toEqual(image.root);
    await store.tag(image.root, "app:2");
    expect(await store.entries()).toHaveLength(2);
  });

  test("an empty layout is whole, too", async () => {
    const store = await openStore();
    await putBytes(store, mediaTypes.octetStream, Buffer.from("x"));
    expect(JSON.parse(await readFile(join(store.directory, "index.json"), "utf8"))).toMatchObject({ manifests: [] });
  });

  test("what others wrote into the index stays", async () => {
    const store = await openStore();
    const image = await randomImage(store);
    const foreign = {
      ...image.root,
      annotations: { "org.opencontainers.image.ref.name": "v1", other: "kept" },
      "x-field": { deep: [1] },
    };
    const nameless = { mediaType: "application/x-unknown", digest: digestOf("nameless"), size: 8 };
    const document = { schemaVersion: 2, annotations: { a: "b" }, manifests: [foreign, nameless], "x-top": true };
    await writeFile(join(store.directory, "index.json"), JSON.stringify(document));
    await store.tag(image.root, "app:1");
    await store.tag(image.root, "app:2");
    await store.untag("app:1");
    const after = JSON.parse(await readFile(join(store.directory, "index.json"), "utf8"));
    expect(after).toMatchObject({ annotations: { a: "b" }, "x-top": true });
    expect(after.manifests.slice(0, 2)).toEqual([foreign, nameless]);
    expect(after.manifests).toHaveLength(3);
    expect((await store.entries()).map(({ name }) => name)).toEqual(["v1", "app:2"]);
    expect(await store.resolve("v1")).toEqual(image.root);
  });

  test("an entry with a fuller name is found by its short one, too", async () => {
    const store = await openStore();
    const image = await randomImage(store);
    const annotations = {
      "org.opencontainers.image.ref.name": "1",
      "io.containerd.image.name": "docker.io/library/app:1",
    };
    const index = { schemaVersion: 2, manifests: [{ ...image.root, annotations }] };
    await writeFile(join(store.directory, "index.json"), JSON.stringify(index));
    expect(await store.resolve("docker.io/library/app:1")).toEqual(image.root);
    expect(await store.resolve("1")).toEqual(image.root);
    expect((await store.entries()).map(({ name }) => name)).toEqual(["docker.io/library/app:1"]);
  });

  test.each(["[]", "{", '{"schemaVersion":1}', '{"schemaVersion":2,"manifests":{}}'])(
    "an index that is none is refused and left as it is: %s",
    async (text) => {
      const store = await openStore();
      const image = await randomImage(store);
      await writeFile(join(store.directory, "index.json"), text);
      await expect(store.entries()).rejects.toEqual(withCode("manifest-invalid"));
      await expect(store.tag(image.root, "app:1")).rejects.toEqual(withCode("manifest-invalid"));
      expect(await readFile(join(store.directory, "index.json"), "utf8")).toBe(text);
    },
  );

  test("a folder with other things in it is nobody's store", async () => {
    const store = await openStore();
    await mkdir(store.directory);
    await writeFile(join(store.directory, "thesis.txt"), "");
    await expect(randomImage(store)).rejects.toEqual(withCode("conflict"));
    expect(await readdir(store.directory)).toEqual(["thesis.txt"]);
    await unlink(join(store.directory, "thesis.txt"));
    await writeFile(join(store.directory, "oci-layout"), '{"imageLayoutVersion":"2.0.0"}');
    await expect(randomImage(store)).rejects.toEqual(withCode("unsupported"));
  });

  test("what bears its seal is not hashed for a taker that does, what was written to is", async () => {
    const store = await openStore();
    const bytes = randomBytesOf("sealed", 100_000);
    const descriptor = await putBytes(store, mediaTypes.octetStream, bytes);
    const path = store.blobs.pathOf(descriptor.digest);
    const { atime, mtime } = await stat(path);
    await chmod(path, 0o644);
    await writeFile(path, Buffer.alloc(bytes.length));
    await chmod(path, 0o444);
    const read = (verify: boolean) => readAll(store.get(descriptor, { verify }), bytes.length);
    await utimes(path, atime, mtime);
    expect(Buffer.from(await read(false))).toEqual(Buffer.alloc(bytes.length));
    await utimes(path, atime, new Date(mtime.getTime() + 500));
    await expect(read(false)).rejects.toEqual(withCode("digest-mismatch"));
  });

  test("a damaged blob is refused, put aside, and can be put again", async () => {
    const store = await openStore();
    const bytes = randomBytesOf("damage", 2_000_000);
    const descriptor = await putBytes(store, mediaTypes.octetStream, bytes);
    const path = (await store.path(descriptor.digest)) ?? "";
    const damaged = Buffer.from(bytes);
    damaged[1_500_000] = (damaged[1_500_000] ?? 0) ^ 1;
    await chmod(path, 0o644);
    await writeFile(path, damaged);
    await expect(readAll(store.get(descriptor), bytes.byteLength)).rejects.toEqual(withCode("digest-mismatch"));
    expect(await store.has(descriptor)).toBe(false);
    expect(await readdir(join(store.directory, ".lading", "corrupt"))).toHaveLength(1);
    expect((await store.put(descriptor, sourceOf(bytes))).outcome).toBe("stored");
    expect(await readAll(store.get(descriptor), bytes.byteLength)).toHaveLength(bytes.byteLength);
  });

  test("a blob that became shorter is not there, and can be put again", async () => {
    const store = await openStore();
    const bytes = randomBytesOf("short", 1000);
    const descriptor = await putBytes(store, mediaTypes.octetStream, bytes);
    const path = (await store.path(descriptor.digest)) ?? "";
    await chmod(path, 0o644);
    await writeFile(path, "");
    expect(await store.has(descriptor)).toBe(false);
    await expect(readAll(store.get(descriptor), 1000)).rejects.toEqual(withCode("size-mismatch"));
    expect((await store.put(descriptor, sourceOf(bytes))).outcome).toBe("stored");
    expect(await store.has(descriptor)).toBe(true);
  });
});

describe("symbolic links (C7)", () => {
  /** A layout whose `part` is a link to where it has been moved, outside. */
  async function linked(part: (hex: string) => string) {
    const folder = await temporaryFolder();
    const store = new LayoutStore(join(folder, "store"));
    const image = await randomImage(store);
    await store.tag(image.root, "app:1");
    const path = join(store.directory, part(digestHex(image.root.digest)));
    await rename(path, join(folder, "outside"));
    await symlink(join(folder, "outside"), path);
    return { store: new LayoutStore(store.directory), image, outside: join(folder, "outside") };
  }

  test.each([
    ["a blob", (hex: string) => `blobs/sha256/${hex}`],
    ["blobs/", () => "blobs"],
    ["blobs/sha256/", () => "blobs/sha256"],
  ])("%s is refused", async (_what, part) => {
    const { store, image } = await linked(part);
    await expect(store.has(image.root)).rejects.toEqual(withCode("io"));
    await expect(readAll(store.get(image.root), 10_000)).rejects.toEqual(withCode("io"));
    await expect(store.path(image.root.digest)).rejects.toEqual(withCode("io"));
    await expect(store.put(image.root, sourceOf(image.manifest))).rejects.toEqual(withCode("io"));
    await expect(store.delete(image.root.digest)).rejects.toEqual(withCode("io"));
  });

  test.each(["blobs", "blobs/sha256"])("nothing is written through %s", async (part) => {
    const { store, outside } = await linked(() => part);
    const before = await readdir(outside);
    const bytes = randomBytesOf("through", 500_000);
    await expect(store.put(describeBytes(bytes), sourceOf(bytes))).rejects.toEqual(withCode("io"));
    expect(await readdir(outside)).toEqual(before);
  });

  test("index.json is refused for reading and for writing", async () => {
    const { store, image, outside } = await linked(() => "index.json");
    const before = await readFile(outside, "utf8");
    await expect(store.resolve("app:1")).rejects.toEqual(withCode("io"));
    await expect(store.tag(image.root, "app:2")).rejects.toEqual(withCode("io"));
    expect(await readFile(outside, "utf8")).toBe(before);
  });

  test("so is the folder of partial downloads", async () => {
    const { store, outside } = await linked(() => ".lading/partial");
    const bytes = randomBytesOf("partial", 500_000);
    await expect(store.put(describeBytes(bytes), sourceOf(bytes))).rejects.toEqual(withCode("io"));
    expect(await readdir(outside)).toEqual([]);
  });
});

describe("linking a file of another store", () => {
  test("takes a verified blob over, whatever the disk can do for it", async () => {
    const folder = await temporaryFolder();
    const [giver, taker] = [new LayoutStore(join(folder, "giver")), new LayoutStore(join(folder, "taker"))];
    const image = await randomImage(giver, { layerSize: 100_000 });
    for (const { descriptor } of [...image.layers, image.config, { descriptor: image.root }]) {
      const path = (await giver.path(descriptor.digest)) ?? "";
      expect(await taker.link(descriptor, path, { verified: true })).toBe(true);
      expect(await taker.link(descriptor, path, { verified: true })).toBe(true);
    }
    await rm(giver.directory, { recursive: true });
    await validateImage(taker, image.root);
    expect(await readdir(join(taker.directory, ".lading", "partial"))).toEqual([]);
  });

  test("checks size and kind of any file, and the bytes of one that nobody verified", async () => {
    const store = await openStore();
    const folder = await temporaryFolder();
    const bytes = randomBytesOf("unverified", 100_000);
    const descriptor = describeBytes(bytes);
    const path = join(folder, "file");
    await expect(store.link(descriptor, path, { verified: true })).rejects.toEqual(withCode("not-found"));
    await writeFile(path, bytes.subarray(1));
    await expect(store.link(descriptor, path, { verified: true })).rejects.toEqual(withCode("size-mismatch"));
    await symlink(path, join(folder, "link"));
    await expect(store.link(descriptor, join(folder, "link"), { verified: true })).rejects.toEqual(
      withCode("not-found"),
    );
    await writeFile(path, randomBytesOf("wrong", 100_000));
    // Without reflinks nothing is taken over at all.
    const refused = await store.link(descriptor, path).catch((error: unknown) => error);
    expect([false, withCode("digest-mismatch")]).toContainEqual(refused);
    await copyFile(path, join(folder, "copy"));
    expect(await store.has(descriptor)).toBe(false);
  });
});

describe("content that is offered as a file", () => {
  const bytes = randomBytesOf("offered", 400_000);
  const descriptor = describeBytes(bytes);

  /** A store's file of the content, and what tells whether the source was read instead. */
  async function offer() {
    const giver = await openStore();
    await giver.put(descriptor, sourceOf(bytes));
    const path = giver.blobs.pathOf(descriptor.digest);
    return { giver, path, source: sourceOf(bytes) };
  }

  test("is linked, not read, and counts as taken over and as used now", async () => {
    const { giver, path, source } = await offer();
    await utimes(path, 1000, 1000);
    const store = await openStore();
    const stored: number[] = [];
    const result = await store.put(descriptor, source, {
      file: () => giver.path(descriptor.digest),
      onBytes: (count) => stored.push(count),
    });
    expect(result).toEqual({ outcome: "stored", transferred: 400_000 });
    expect([source.opened, stored]).toEqual([[], [400_000]]);
    expect((await store.blobs.stat(descriptor.digest))?.used).toBeGreaterThan(1e12);
    await giver.delete(descriptor.digest);
    expect(Buffer.from(await readAll(store.get(descriptor), 400_000)).equals(bytes)).toBe(true);
    expect(await readdir(join(store.directory, ".lading", "partial"))).toEqual([]);
  });

  test("is read where the file system cannot link it", async () => {
    const { path, source } = await offer();
    const refuse = async () => {
      throw Object.assign(new Error("another device"), { code: "EXDEV" });
    };
    const fs = { ...nodeFileSystem, link: refuse, copyFile: refuse };
    const store = new LayoutStore(join(await temporaryFolder(), "store"), { fs });
    expect(await store.put(descriptor, source, { file: async () => path })).toMatchObject({ outcome: "stored" });
    expect(source.opened).toEqual([0]);
    expect((await stat(store.blobs.pathOf(descriptor.digest))).nlink).toBe(1);
  });

  test.each([
    ["is not there", async (path: string) => await unlink(path)],
    ["has another size", async (path: string) => await replace(path, bytes.subarray(1), 0o444)],
    ["may be written, and has other bytes", async (path: string) => await replace(path, Buffer.alloc(400_000), 0o644)],
  ])("is read where the file %s", async (_, damage) => {
    const { path, source } = await offer();
    await damage(path);
    const store = await openStore();
    expect(await store.put(descriptor, source, { file: async () => path })).toMatchObject({ outcome: "stored" });
    expect(source.opened).toEqual([0]);
    expect(Buffer.from(await readAll(store.get(descriptor), 400_000)).equals(bytes)).toBe(true);
  });
});

async function replace(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await unlink(path);
  await writeFile(path, bytes, { mode });
}

describe("the memory of layers", () => {
  test("garbage is as good as nothing, and is written over", async () => {
    const store = await openStore();
    const layer = describeBytes(Buffer.from("layer"), mediaTypes.ociLayerGzip);
    const diffId = digestOf("diff");
    await store.rememberLayer(diffId, layer);
    const path = join(store.directory, ".lading", "layers", `sha256-${digestHex(diffId)}.json`);
    for (const garbage of ["", "{", "null", '{"digest":"sha256:../../x"}', "x".repeat(100_000)]) {
      await writeFile(path, garbage);
      expect(await store.compressedLayer(diffId)).toBeNull();
    }
    await store.rememberLayer(diffId, layer);
    expect(await store.compressedLayer(diffId)).toEqual(layer);
    expect(await new LayoutStore(store.directory).compressedLayer(diffId)).toEqual(layer);
  });
});
