import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { TransferStore } from "../../src/content/layer-cache.js";
import { readAll } from "../../src/content/verify.js";
import type { ErrorCode } from "../../src/errors.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { type Digest, digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { randomBytesOf } from "./random-bytes.js";
import { putBytes, randomImage, randomIndex } from "./random-image.js";
import { validateImage } from "./validate-image.js";

/** What the contract needs of a store beside {@link TransferStore}. */
export interface LocalStore extends TransferStore {
  entries(): Promise<readonly { readonly name: string; readonly descriptor: Descriptor }[]>;
  untag(name: string): Promise<boolean>;
  delete(digest: Digest): Promise<boolean>;
}

/** A source that remembers at which offsets it was opened. */
export function sourceOf(bytes: Uint8Array, chunkSize = 1000) {
  const opened: number[] = [];
  async function* source(offset: number) {
    opened.push(offset);
    for (let at = offset; at < bytes.byteLength; at += chunkSize) yield bytes.subarray(at, at + chunkSize);
  }
  return Object.assign(source, { opened });
}

export function describeBytes(bytes: Uint8Array, mediaType: string = mediaTypes.octetStream): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
}

export function withCode(code: ErrorCode) {
  return expect.objectContaining({ code });
}

async function read(store: TransferStore, descriptor: Descriptor, offset = 0): Promise<Buffer> {
  return Buffer.from(await readAll(store.get(descriptor, { offset }), descriptor.size));
}

/** What every local store promises, whatever it is made of. */
export function describeStore(name: string, open: () => Promise<{ store: LocalStore; close: () => Promise<void> }>) {
  describe(name, () => {
    let store: LocalStore;
    let close: () => Promise<void>;
    beforeEach(async () => {
      ({ store, close } = await open());
    });
    afterEach(async () => {
      await close();
    });

    test("gives back what was put, from any offset", async () => {
      const bytes = randomBytesOf("put", 5000);
      const descriptor = describeBytes(bytes);
      expect(await store.has(descriptor)).toBe(false);
      const seen: number[] = [];
      const result = await store.put(descriptor, sourceOf(bytes), { onBytes: (stored) => seen.push(stored) });
      expect(result).toEqual({ outcome: "stored", transferred: 5000 });
      expect(seen.at(-1)).toBe(5000);
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
      expect(await store.has(descriptor)).toBe(true);
      expect(await store.has({ ...descriptor, size: 4999 })).toBe(false);
      for (const offset of [0, 1, 4999, 5000]) {
        expect(await read(store, descriptor, offset)).toEqual(Buffer.from(bytes.subarray(offset)));
      }
    });

    test("does not read what is there", async () => {
      const bytes = randomBytesOf("twice", 100);
      await store.put(describeBytes(bytes), sourceOf(bytes));
      const again = sourceOf(bytes);
      expect(await store.put(describeBytes(bytes), again)).toEqual({ outcome: "exists", transferred: 0 });
      expect(again.opened).toEqual([]);
    });

    test("takes empty content and sha512", async () => {
      const empty = describeBytes(new Uint8Array());
      await store.put(empty, sourceOf(new Uint8Array()));
      expect(await readAll(store.get(empty), 10)).toHaveLength(0);
      const bytes = randomBytesOf("sha512", 3000);
      const descriptor = { ...describeBytes(bytes), digest: digestOf(bytes, "sha512") };
      await store.put(descriptor, sourceOf(bytes));
      expect(await read(store, descriptor)).toEqual(Buffer.from(bytes));
    });

    test("what is missing is not-found", async () => {
      const descriptor = describeBytes(randomBytesOf("missing", 10));
      await expect(readAll(store.get(descriptor), 10)).rejects.toEqual(withCode("not-found"));
      await expect(store.tag(descriptor, "a:1")).rejects.toEqual(withCode("not-found"));
      expect(await store.delete(descriptor.digest)).toBe(false);
    });

    test("reads wrong content once more, and takes it if it was right then", async () => {
      const bytes = randomBytesOf("flip", 3000);
      let reads = 0;
      const retries: Error[] = [];
      const result = await store.put(
        describeBytes(bytes),
        async function* (offset) {
          expect(offset).toBe(0);
          const copy = Buffer.from(bytes);
          if (reads++ === 0) copy[1500] = ~(copy[1500] ?? 0) & 255;
          yield copy;
        },
        { onRetry: (reason) => retries.push(reason) },
      );
      expect(result).toEqual({ outcome: "stored", transferred: 6000 });
      expect(retries).toEqual([withCode("digest-mismatch")]);
    });

    test.each([
      ["other bytes", "digest-mismatch", (right: Uint8Array) => randomBytesOf("other", right.byteLength)],
      ["too few bytes", "size-mismatch", (right: Uint8Array) => right.subarray(1)],
      ["too many bytes", "size-mismatch", (right: Uint8Array) => Buffer.concat([right, Buffer.alloc(1)])],
    ] as const)("refuses %s, and keeps nothing", async (_what, code, wrong) => {
      const bytes = randomBytesOf("wrong", 3000);
      const source = sourceOf(wrong(bytes));
      await expect(store.put(describeBytes(bytes), source)).rejects.toEqual(withCode(code));
      expect(source.opened).toEqual([0, 0]);
      expect(await store.has(describeBytes(bytes))).toBe(false);
      expect(await store.put(describeBytes(bytes), sourceOf(bytes))).toEqual({ outcome: "stored", transferred: 3000 });
    });

    test("says what was wrong first where the source can be read once only", async () => {
      const bytes = randomBytesOf("once", 3000);
      let reads = 0;
      await expect(
        store.put(describeBytes(bytes), async function* () {
          if (reads++ > 0) throw new Error("read already");
          yield randomBytesOf("other", 3000);
        }),
      ).rejects.toEqual(withCode("digest-mismatch"));
    });

    test("a source never ends: it is left at the first byte too many", async () => {
      const bytes = randomBytesOf("endless", 3000);
      let left = 0;
      const endless = async function* () {
        try {
          for (;;) yield bytes;
        } finally {
          left += 1;
        }
      };
      await expect(store.put(describeBytes(bytes), endless)).rejects.toEqual(withCode("size-mismatch"));
      expect(left).toBe(2);
    });

    test("a failing source fails the put with its own error", async () => {
      const bytes = randomBytesOf("fail", 3000);
      const failure = new Error("cut");
      const put = store.put(describeBytes(bytes), async function* () {
        yield bytes.subarray(0, 1000);
        throw failure;
      });
      await expect(put).rejects.toBe(failure);
      expect(await store.has(describeBytes(bytes))).toBe(false);
    });

    test("stops when its signal fires", async () => {
      const bytes = randomBytesOf("abort", 3000);
      const abort = new AbortController();
      const put = store.put(
        describeBytes(bytes),
        async function* () {
          yield bytes.subarray(0, 1000);
          abort.abort(new Error("enough"));
          yield bytes.subarray(1000);
        },
        { signal: abort.signal },
      );
      await expect(put).rejects.toEqual(withCode("cancelled"));
      await expect(store.put(describeBytes(bytes), sourceOf(bytes), { signal: abort.signal })).rejects.toEqual(
        withCode("cancelled"),
      );
      expect(await store.has(describeBytes(bytes))).toBe(false);
    });

    test("content that several want at once is read once", async () => {
      const bytes = randomBytesOf("share", 300_000);
      const descriptor = describeBytes(bytes);
      const sources = [1, 2, 3, 4].map(() => sourceOf(bytes));
      const lasts = sources.map(() => 0);
      const results = await Promise.all(
        sources.map((source, index) =>
          store.put(descriptor, source, {
            onBytes: (stored) => {
              lasts[index] = stored;
            },
          }),
        ),
      );
      expect(sources.flatMap(({ opened }) => opened)).toEqual([0]);
      expect(results.map(({ outcome }) => outcome).toSorted()).toEqual(["exists", "exists", "exists", "stored"]);
      expect(lasts).toEqual([300_000, 300_000, 300_000, 300_000]);
    });

    test("cancelling one of several that want the same never fails another", async () => {
      const bytes = randomBytesOf("takeover", 300_000);
      const descriptor = describeBytes(bytes);
      const abort = new AbortController();
      let reached = () => {};
      const half = new Promise<void>((resolve) => {
        reached = resolve;
      });
      const first = store.put(
        descriptor,
        async function* () {
          yield bytes.subarray(0, 150_000);
          reached();
          await new Promise((resolve) => abort.signal.addEventListener("abort", resolve, { once: true }));
          yield bytes.subarray(150_000);
        },
        { signal: abort.signal },
      );
      await half;
      const second = store.put(descriptor, sourceOf(bytes));
      abort.abort();
      await expect(first).rejects.toEqual(withCode("cancelled"));
      expect((await second).outcome).toBe("stored");
      expect(await store.has(descriptor)).toBe(true);
    });

    test("names point at content, move, and go", async () => {
      const one = await randomImage(store, { seed: "one" });
      const two = await randomImage(store, { seed: "two" });
      expect(await store.resolve("app:1")).toBeNull();
      await store.tag(one.root, "app:1");
      await store.tag(one.root, "localhost:5000/team/app:1");
      expect(await store.resolve("app:1")).toEqual(one.root);
      await store.tag(two.root, "app:1");
      expect(await store.resolve("app:1")).toEqual(two.root);
      expect((await store.entries()).toSorted((a, b) => a.name.localeCompare(b.name))).toEqual([
        { name: "app:1", descriptor: two.root },
        { name: "localhost:5000/team/app:1", descriptor: one.root },
      ]);
      expect(await store.untag("app:1")).toBe(true);
      expect(await store.untag("app:1")).toBe(false);
      expect(await store.resolve("app:1")).toBeNull();
      expect(await store.resolve("localhost:5000/team/app:1")).toEqual(one.root);
    });

    test("content of unknown digest is taken and described", async () => {
      const bytes = randomBytesOf("ingest", 5000);
      const seen: number[] = [];
      const descriptor = await store.ingest(mediaTypes.ociLayerGzip, sourceOf(bytes)(0), {
        onBytes: (stored) => seen.push(stored),
      });
      expect(descriptor).toEqual(describeBytes(bytes, mediaTypes.ociLayerGzip));
      expect(seen.at(-1)).toBe(5000);
      expect(await read(store, descriptor)).toEqual(Buffer.from(bytes));
      expect(await store.ingest(mediaTypes.ociLayerGzip, sourceOf(bytes)(0))).toEqual(descriptor);
      const failure = new Error("cut");
      const failing = store.ingest(
        mediaTypes.ociLayerGzip,
        (async function* () {
          yield bytes.subarray(1);
          throw failure;
        })(),
      );
      await expect(failing).rejects.toBe(failure);
    });

    test("layers and manifests are remembered", async () => {
      const { layers, root } = await randomImage(store, { seed: "cache" });
      const [layer] = layers;
      if (layer === undefined) throw new Error("no layer");
      expect(await store.compressedLayer(layer.diffId)).toBeNull();
      await store.rememberLayer(layer.diffId, layer.descriptor);
      expect(await store.compressedLayer(layer.diffId)).toEqual(layer.descriptor);
      await store.delete(layer.descriptor.digest);
      expect(await store.compressedLayer(layer.diffId)).toEqual(layer.descriptor);
      const id = digestOf("image");
      expect(await store.manifestFor(id, "docker", "linux/amd64")).toBeNull();
      await store.rememberManifest(id, "docker", "linux/amd64", root);
      expect(await store.manifestFor(id, "docker", "linux/amd64")).toEqual(root);
      expect(await store.manifestFor(id, "oci", "linux/amd64")).toBeNull();
      expect(await store.manifestFor(id, "docker", "linux/arm64")).toBeNull();
    });

    test("random images are whole, the same for the same seed, and others for another", async () => {
      const docker = await randomImage(store, { seed: 7, format: "docker", layers: 3 });
      expect((await validateImage(store, docker.root)).digests).toHaveLength(5);
      expect((await randomImage(store, { seed: 7, format: "docker", layers: 3 })).root).toEqual(docker.root);
      expect((await randomImage(store, { seed: 8, format: "docker", layers: 3 })).root).not.toEqual(docker.root);
      const index = await randomIndex(store, { seed: 7, attestations: true });
      expect((await validateImage(store, index.root)).images).toBe(2);
      const [layer] = docker.layers;
      if (layer === undefined) throw new Error("no layer");
      await store.delete(layer.descriptor.digest);
      await expect(validateImage(store, docker.root)).rejects.toThrow("missing");
    });

    test("an image whose diff ID does not fit its layer is not valid", async () => {
      const image = await randomImage(store, { layers: 1 });
      const [layer] = image.layers;
      if (layer === undefined) throw new Error("no layer");
      const wrong = Buffer.from(Buffer.from(image.config.bytes).toString().replace(layer.diffId, digestOf("else")));
      const config = await putBytes(store, mediaTypes.ociConfig, wrong);
      const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer.descriptor] };
      const root = await putBytes(store, mediaTypes.ociManifest, Buffer.from(JSON.stringify(manifest)));
      await expect(validateImage(store, root)).rejects.toThrow("unpacks to");
    });
  });
}
