import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { type RandomImage, randomImage, randomIndex } from "../../test/support/random-image.js";
import { validateImage } from "../../test/support/validate-image.js";
import { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestHex, digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import { type ArchiveImage, readImageArchive, writeDockerArchive, writeOciArchive } from "./archive.js";
import type { ReadArchiveOptions } from "./archive-contents.js";
import { gzipSize } from "./gzip-size.js";
import { MemoryStore } from "./memory.js";
import { readTar, type TarInput, writeTar } from "./tar.js";
import { readAll } from "./verify.js";

const amd64 = { os: "linux", architecture: "amd64" };
const arm64 = { os: "linux", architecture: "arm64" };

async function* chunked(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}
const whole = async (stream: AsyncIterable<Uint8Array>) => Buffer.from(await readAll(stream, 1e9));
const file = (name: string, body: Uint8Array | string): TarInput => {
  const bytes = Buffer.from(body as Uint8Array);
  return { name, size: bytes.byteLength, body: bytes };
};
const tar = (...entries: readonly TarInput[]) => whole(writeTar(entries));

interface Reading {
  readonly into: MemoryStore;
  readonly images: readonly ArchiveImage[];
  readonly yielded: readonly Descriptor[];
}
async function read(bytes: Uint8Array, options: Partial<ReadArchiveOptions> = {}, size?: number): Promise<Reading> {
  const into = (options.into as MemoryStore | undefined) ?? new MemoryStore();
  const archive = readImageArchive(chunked(bytes, size), { format: "docker", ...options, into });
  const yielded: Descriptor[] = [];
  for await (const descriptor of archive) {
    expect(await into.has(descriptor)).toBe(true);
    yielded.push(descriptor);
  }
  return { into, images: archive.images, yielded };
}
const refusal = async (bytes: Uint8Array, options: Partial<ReadArchiveOptions> = {}) =>
  await read(bytes, options).then(
    () => "nothing was wrong",
    (error: { name: string; code: string }) => (error.name === "LadingError" ? error.code : error),
  );

/** A docker-archive as Docker 20.10 writes it: folders by an ID that tells nothing, `manifest.json` after the layers. */
function dockerEntries(image: RandomImage, options: { tags?: string[] | null; link?: boolean } = {}): TarInput[] {
  const folders = image.layers.map((_, index) => digestHex(digestOf(`v1 ${index}`)));
  const config = `${digestHex(image.config.descriptor.digest)}.json`;
  const layers = folders.map((folder) => `${folder}/layer.tar`);
  const entries = image.layers.flatMap((layer, index): TarInput[] => [
    { name: `${folders[index]}/`, type: "directory" },
    file(`${folders[index]}/VERSION`, "1.0"),
    file(`${folders[index]}/json`, "{}"),
    ...(options.link === true
      ? [
          file(`${digestHex(layer.diffId)}.tar`, layer.tar),
          {
            name: `${folders[index]}/layer.tar`,
            type: "symlink" as const,
            linkName: `../${digestHex(layer.diffId)}.tar`,
          },
        ]
      : [file(`${folders[index]}/layer.tar`, layer.tar)]),
  ]);
  const manifest = [
    { Config: config, RepoTags: options.tags === undefined ? ["app:1"] : options.tags, Layers: layers },
  ];
  return [
    ...entries,
    file(config, image.config.bytes),
    file("manifest.json", JSON.stringify(manifest)),
    file("repositories", "{}"),
  ];
}

/** An OCI layout in a tar, with the blobs before the index as most programs have it. */
function ociEntries(image: RandomImage, annotations?: Record<string, string>): TarInput[] {
  const blob = (descriptor: Descriptor, bytes: Uint8Array) =>
    file(`blobs/sha256/${digestHex(descriptor.digest)}`, bytes);
  const index = {
    schemaVersion: 2,
    manifests: [{ ...image.root, ...(annotations === undefined ? {} : { annotations }) }],
  };
  return [
    ...image.layers.map(({ descriptor, bytes }) => blob(descriptor, bytes)),
    blob(image.config.descriptor, image.config.bytes),
    blob(image.root, image.manifest),
    file("index.json", JSON.stringify(index)),
    file("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
  ];
}

const image = await randomImage(new MemoryStore(), {
  seed: "archive",
  layers: 3,
  format: "docker",
  layerSize: 200_000,
});
const ociImage = await randomImage(new MemoryStore(), {
  seed: "archive",
  layers: 3,
  format: "oci",
  layerSize: 200_000,
});

describe("a docker-archive", () => {
  it("becomes an image whose config is kept and whose layers are compressed, the same each time", async () => {
    const bytes = await tar(...dockerEntries(image));
    const { into, images, yielded } = await read(bytes);
    const [only] = images;
    expect(only?.names).toEqual(["app:1"]);
    expect(only?.root.mediaType).toBe(mediaTypes.dockerManifest);
    expect(yielded.at(-1)).toEqual(only?.root);
    expect(yielded.map(({ digest }) => digest)).toContain(image.config.descriptor.digest);
    await validateImage(into, only?.root as Descriptor);
    for (const [size, wrapped] of [
      [509, null],
      [8191, null],
      [70_000, gzipSync(bytes)],
    ] as const) {
      expect((await read(wrapped ?? bytes, {}, size)).images[0]?.root).toEqual(only?.root);
    }
    const oci = await read(bytes, { format: "oci" });
    expect(oci.images[0]?.root.mediaType).toBe(mediaTypes.ociManifest);
    await validateImage(oci.into, oci.images[0]?.root as Descriptor);
  });

  it("is read whatever the order of its entries, with links for layers, and from a folder's tar", async () => {
    const expected = (await read(await tar(...dockerEntries(image)))).images[0]?.root;
    await fc.assert(
      fc.asyncProperty(
        fc
          .boolean()
          .chain((link) =>
            fc.shuffledSubarray(dockerEntries(image, { link }), { minLength: dockerEntries(image, { link }).length }),
          ),
        fc.constantFrom("", "./"),
        async (entries, prefix) => {
          const named = entries.map((entry) => ({ ...entry, name: `${prefix}${entry.name}` }));
          expect((await read(await tar(...named))).images[0]?.root).toEqual(expected);
        },
      ),
      { numRuns: 20 },
    );
  });

  it("is passed by where the compressed layers are known, and checked nevertheless", async () => {
    const bytes = await tar(...dockerEntries(image));
    const into = new MemoryStore();
    for (const { diffId, descriptor, bytes } of image.layers) {
      await into.put(descriptor, () => chunked(bytes));
      await into.rememberLayer(diffId, descriptor);
    }
    const layerNames = new Map(
      image.layers.map(({ diffId }, index) => [`${digestHex(digestOf(`v1 ${index}`))}/layer.tar`, diffId] as const),
    );
    const ingest = into.ingest.bind(into);
    let ingested = 0;
    into.ingest = async (...parameters) => {
      ingested++;
      return await ingest(...parameters);
    };
    const { images, yielded } = await read(bytes, { into, layerNames });
    expect(ingested).toBe(0);
    await validateImage(into, images[0]?.root as Descriptor);
    expect(yielded.slice(0, 3).map(({ digest }) => digest)).toEqual(
      image.layers.map(({ descriptor }) => descriptor.digest),
    );

    const lie = new Map(
      [...layerNames].map(([path], index) => [path, image.layers[(index + 1) % 3]?.diffId as Digest]),
    );
    expect(await refusal(bytes, { into, layerNames: lie })).toBe("digest-mismatch");
    // Where nothing is known of the layer, a wrong guess is no harm.
    const guess = new Map([...layerNames.keys()].map((path) => [path, digestOf(path)]));
    expect((await read(bytes, { layerNames: guess })).images).toHaveLength(1);
  });

  it("reports the progress of layers by diff ID, up to their size", async () => {
    const steps: [string, string, number, number | null][] = [];
    const layerNames = new Map([[`${digestHex(digestOf("v1 0"))}/layer.tar`, image.layers[0]?.diffId as Digest]]);
    const progress = { report: (...step: [string, string, number, number | null]) => void steps.push(step) };
    await read(await tar(...dockerEntries(image)), { progress, layerNames });
    for (const { diffId, tar: plain } of image.layers) {
      const own = steps.filter(([layer]) => layer === diffId);
      expect(own.at(-1)).toEqual([diffId, "compressing", plain.byteLength, plain.byteLength]);
    }
  });

  it("has several images, names and none, layers that are compressed already or come twice", async () => {
    const [first, second] = image.layers;
    if (first === undefined || second === undefined) throw new Error("no layers");
    const config = {
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [first.diffId, second.diffId, first.diffId] },
    };
    const entries = [
      file(
        "manifest.json",
        JSON.stringify([
          { Config: "c.json", RepoTags: null, Layers: ["1.tar", "2.tgz", "1.tar"] },
          {
            Config: "c.json",
            RepoTags: ["docker.io/library/b:2", "quay.io/o/c:3"],
            Layers: ["1.tar", "2.tgz", "1.tar"],
          },
        ]),
      ),
      file("c.json", JSON.stringify(config)),
      file("1.tar", first.tar),
      file("2.tgz", second.bytes),
      file("unused.tar", first.tar),
    ];
    const { into, images, yielded } = await read(await tar(...entries));
    expect(images.map(({ names }) => names)).toEqual([[], ["b:2", "quay.io/o/c:3"]]);
    expect(yielded.map(({ digest }) => digest)).toContain(second.descriptor.digest);
    await validateImage(into, images[0]?.root as Descriptor);
  });

  it("may leave out layers that the store has", async () => {
    const into = new MemoryStore();
    const [first] = image.layers;
    await into.put(first?.descriptor as Descriptor, () => chunked(first?.bytes as Uint8Array));
    await into.rememberLayer(first?.diffId as Digest, first?.descriptor as Descriptor);
    const without = dockerEntries(image).filter(({ name }) => name !== `${digestHex(digestOf("v1 0"))}/layer.tar`);
    expect(await refusal(await tar(...without))).toBe("archive-invalid");
    await validateImage(into, (await read(await tar(...without), { into })).images[0]?.root as Descriptor);
  });

  it("is taken for the platform of its config alone", async () => {
    const bytes = await tar(...dockerEntries(image));
    expect((await read(bytes, { platform: amd64 })).images).toHaveLength(1);
    expect(await refusal(bytes, { platform: arm64 })).toBe("not-found");
  });
});

describe("an OCI archive", () => {
  it("is kept byte for byte, whatever the order of its entries", async () => {
    const names = { "io.containerd.image.name": "docker.io/library/app:1", "org.opencontainers.image.ref.name": "1" };
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(ociEntries(ociImage, names), { minLength: 7 }), async (entries) => {
        const { into, images, yielded } = await read(await tar(...entries));
        expect(images).toEqual([
          { root: expect.objectContaining({ digest: ociImage.root.digest }), names: ["app:1"], index: null },
        ]);
        expect(yielded).toHaveLength(5);
        expect(yielded.at(-1)?.digest).toBe(ociImage.root.digest);
        await validateImage(into, ociImage.root);
      }),
      { numRuns: 10 },
    );
  });

  it("passes blobs on as they come, where it is an engine's export", async () => {
    const { yielded } = await read(await tar(...ociEntries(ociImage)), { sole: true });
    expect(yielded.map(({ digest }) => digest)).toEqual([
      ...ociImage.layers.map(({ descriptor }) => descriptor.digest),
      ociImage.config.descriptor.digest,
      ociImage.root.digest,
    ]);
  });

  it("yields only what belongs to an image", async () => {
    const stray = randomBytesOf("stray", 5000);
    const entries = [file(`blobs/sha256/${digestHex(digestOf(stray))}`, stray), ...ociEntries(ociImage)];
    const { into, yielded } = await read(await tar(...entries));
    expect(yielded.map(({ digest }) => digest)).not.toContain(digestOf(stray));
    expect(await into.has({ mediaType: "", digest: digestOf(stray), size: 5000 })).toBe(true);
  });

  it("names the names that are names", async () => {
    const named = async (annotations: Record<string, string>) =>
      (await read(await tar(...ociEntries(ociImage, annotations)))).images[0]?.names;
    expect(await named({ "org.opencontainers.image.ref.name": "latest" })).toEqual([]);
    expect(await named({ "org.opencontainers.image.ref.name": "localhost/app:1" })).toEqual(["localhost/app:1"]);
    expect(await named({})).toEqual([]);
  });

  it("keeps an index whole, narrows it to a platform, and to what is there of it", async () => {
    const from = new MemoryStore();
    const index = await randomIndex(from, { seed: "index", platforms: [amd64, arm64], attestations: true });
    const bytes = await whole(writeOciArchive([{ root: index.root, names: ["i:1"] }], from));
    const all = await read(bytes);
    expect(all.images).toEqual([
      { root: expect.objectContaining({ digest: index.root.digest }), names: ["i:1"], index: null },
    ]);
    await validateImage(all.into, index.root);

    const [amd, arm] = index.images;
    const one = await read(bytes, { platform: arm64 });
    expect(one.images[0]).toMatchObject({ root: { digest: arm?.root.digest }, index: { digest: index.root.digest } });
    expect(one.yielded.map(({ digest }) => digest)).not.toContain(amd?.config.descriptor.digest);

    // Docker exports an index of which it has one platform.
    for (const { descriptor } of arm?.layers ?? []) await from.delete(descriptor.digest);
    const sparse = await whole(writeOciArchive([{ root: index.root, names: [] }], from));
    expect((await read(sparse)).images[0]).toMatchObject({
      root: { digest: amd?.root.digest },
      index: { digest: index.root.digest },
    });
    expect(await refusal(sparse, { platform: arm64 })).toBe("not-found");
    await expect(
      whole(writeOciArchive([{ root: index.root, names: [] }], from, { missing: "refuse" })),
    ).rejects.toMatchObject({ code: "not-found" });
  });

  it("is read as a docker-archive where that is preferred: Docker's plain layers are compressed then", async () => {
    const config = `blobs/sha256/${digestHex(image.config.descriptor.digest)}`;
    const layers = image.layers.map(({ diffId }) => `blobs/sha256/${digestHex(diffId)}`);
    const entries = [
      ...image.layers.map(({ tar: plain }, index) => file(layers[index] as string, plain)),
      file(config, image.config.bytes),
      file("index.json", JSON.stringify({ schemaVersion: 2, manifests: [] })),
      file("manifest.json", JSON.stringify([{ Config: config, RepoTags: ["app:1"], Layers: layers }])),
    ];
    const expected = (await read(await tar(...dockerEntries(image)))).images[0]?.root;
    const layerNames = new Map(image.layers.map(({ diffId }, index) => [layers[index] as string, diffId] as const));
    for (const names of [layerNames, undefined]) {
      const { images } = await read(await tar(...entries), { preferDockerArchive: true, layerNames: names });
      expect(images[0]?.root).toEqual(expected);
    }
  });
});

describe("what is no good archive", () => {
  it("is refused, with a code of its own and never anything but our error", async () => {
    const docker = dockerEntries(image);
    const oci = ociEntries(ociImage);
    const manifest = (value: unknown) => [
      ...docker.filter(({ name }) => name !== "manifest.json"),
      file("manifest.json", JSON.stringify(value)),
    ];
    const config = `${digestHex(image.config.descriptor.digest)}.json`;
    const cases: [string, readonly TarInput[], string][] = [
      ["nothing in it", [], "archive-invalid"],
      ["no image", [file("hello", "x")], "archive-invalid"],
      ["a second, different manifest.json", [...docker, file("manifest.json", "[]")], "archive-invalid"],
      ["no list", manifest({}), "archive-invalid"],
      ["no images", manifest([]), "archive-invalid"],
      ["a config above the archive", manifest([{ Config: "../../etc/passwd", Layers: [] }]), "archive-invalid"],
      ["an absolute config", manifest([{ Config: "/etc/passwd", Layers: [] }]), "archive-invalid"],
      ["a config with a backslash", manifest([{ Config: "..\\x", Layers: [] }]), "archive-invalid"],
      [
        "a layer that is not there",
        manifest([{ Config: config, Layers: ["a.tar", "b.tar", "c.tar"] }]).filter(
          ({ name }) => !String(name).endsWith("layer.tar"),
        ),
        "archive-invalid",
      ],
      ["fewer layers than the config has", manifest([{ Config: config, Layers: [] }]), "archive-invalid"],
      [
        "layers that are others",
        [...docker.filter(({ name }) => !String(name).endsWith("0/layer.tar")), file("x.tar", "x")].map((entry) =>
          String(entry.name).startsWith(digestHex(digestOf("v1 1"))) && String(entry.name).endsWith("layer.tar")
            ? file(String(entry.name), image.layers[0]?.tar as Uint8Array)
            : entry,
        ),
        "digest-mismatch",
      ],
      [
        "a config under another's name",
        docker.map((entry) => (entry.name === config ? file(config, '{"rootfs":{}}') : entry)),
        "digest-mismatch",
      ],
      [
        "links in a circle",
        [
          ...manifest([{ Config: "a.json", Layers: [] }]),
          { name: "a.json", type: "symlink", linkName: "b.json" },
          { name: "b.json", type: "symlink", linkName: "a.json" },
        ],
        "archive-invalid",
      ],
      ["a name that points outside", [...docker, file("../x", "x")], "archive-invalid"],
      [
        "a blob with other content",
        oci.map((entry, at) => (at === 0 ? file(String(entry.name), randomBytesOf("other", 100)) : entry)),
        "digest-mismatch",
      ],
      [
        "a manifest with other content",
        oci.map((entry, at) => (at === 4 ? file(String(entry.name), "{}") : entry)),
        "digest-mismatch",
      ],
      ["a layer that is missing", oci.slice(1), "archive-invalid"],
      [
        "an index that is no JSON",
        oci.map((entry) => (entry.name === "index.json" ? file("index.json", "{") : entry)),
        "archive-invalid",
      ],
      [
        "an index without a list",
        oci.map((entry) => (entry.name === "index.json" ? file("index.json", "{}") : entry)),
        "archive-invalid",
      ],
      [
        "an index of nonsense",
        oci.map((entry) => (entry.name === "index.json" ? file("index.json", '{"manifests":[1]}') : entry)),
        "manifest-invalid",
      ],
      ["a huge manifest.json", [file("manifest.json", Buffer.alloc(21 * 1024 * 1024, 0x20))], "limit-exceeded"],
    ];
    for (const [what, entries, code] of cases)
      expect([what, await refusal(await tar(...entries))]).toEqual([what, code]);
  });

  it("is refused where it has devices, or is compressed with what nobody here reads", async () => {
    const bytes = await tar(file("x", ""), ...dockerEntries(image));
    const header = bytes.subarray(0, 512);
    header[156] = 0x36; // a FIFO
    header.fill(0x20, 148, 156);
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, "0")}\0`,
      148,
      "latin1",
    );
    expect(await refusal(bytes)).toBe("archive-invalid");
    expect(await refusal(Buffer.from("BZh91AY&SY"))).toBe("unsupported");
    expect(await refusal(gzipSync(await tar(...dockerEntries(image))).subarray(0, 50_000))).toBe("archive-invalid");
  });

  it("is refused wherever it is cut, and leaves no image", async () => {
    for (const bytes of [await tar(...dockerEntries(image)), await tar(...ociEntries(ociImage))]) {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 1024 }), async (length) => {
          expect(await refusal(bytes.subarray(0, length))).toBe("archive-invalid");
        }),
        { numRuns: 25 },
      );
    }
  });

  it("stops at a signal", async () => {
    const bytes = await tar(...dockerEntries(image));
    expect(await refusal(bytes, { signal: AbortSignal.abort() })).toBe("cancelled");
  });
});

describe("writeDockerArchive", () => {
  it("is read back as the same image, with gzip layers and with plain ones", async () => {
    const from = new MemoryStore();
    const made = await randomImage(from, { seed: "write", layers: 2, format: "docker" });
    const names = [new LocalImage("app", "1"), new LocalImage("app")];
    for (const compressed of [true, false]) {
      const bytes = await whole(writeDockerArchive([{ manifest: made.root, names }], from, { compressed }));
      const into = new MemoryStore();
      if (!compressed) {
        for (const { diffId, descriptor } of made.layers) {
          await into.put(descriptor, () => from.get(descriptor));
          await into.rememberLayer(diffId, descriptor);
        }
      }
      const { images, yielded } = await read(bytes, { into });
      expect(images[0]?.names).toEqual(["app:1", "app:latest"]);
      expect(yielded.slice(0, 3).map(({ digest }) => digest)).toEqual(
        [...made.layers, made.config].map(({ descriptor }) => descriptor.digest),
      );
      expect(await whole(writeDockerArchive([{ manifest: made.root, names }], from, { compressed }))).toEqual(bytes);
    }
  });

  it("unpacks a layer whose size is known, and does not take a wrong size for a whole layer", async () => {
    const from = new MemoryStore();
    const made = await randomImage(from, { seed: "known size", layers: 2, format: "oci" });
    const [first, second] = made.layers.map(({ descriptor }) => descriptor);
    const sizes = new Map<Digest, number | null>();
    for (const layer of [first, second] as Descriptor[]) sizes.set(layer.digest, await gzipSize(from, layer));
    expect([...sizes.values()]).toEqual(made.layers.map(({ bytes }) => gunzipSync(bytes).byteLength));
    const write = (unpackedSize: (layer: Descriptor) => Promise<number | null>) =>
      whole(writeDockerArchive([{ manifest: made.root, names: ["a:1"] }], from, { unpackedSize }));
    const plain = await whole(
      writeDockerArchive([{ manifest: made.root, names: ["a:1"] }], from, { compressed: false }),
    );
    expect(await write(async ({ digest }) => sizes.get(digest) ?? null)).toEqual(plain);
    expect(await write(async () => null)).toEqual(
      await whole(writeDockerArchive([{ manifest: made.root, names: ["a:1"] }], from)),
    );
    for (const off of [-1, 1]) {
      const wrong = write(async ({ digest }) => (sizes.get(digest) ?? 0) + off);
      await expect(wrong).rejects.toMatchObject({ code: "size-mismatch" });
    }
  });

  it("unpacks layers, and leaves out those that the reader has", async () => {
    const from = new MemoryStore();
    const made = await randomImage(from, { seed: "omit", layers: 2, format: "oci" });
    const [known, sent] = made.layers;
    const omit = new Set([known?.diffId as Digest]);
    const bytes = await whole(
      writeDockerArchive([{ manifest: made.root, names: ["a:1"], omit }], from, { compressed: false }),
    );
    const bodies = new Map<string, Buffer>();
    for await (const { name, body } of readTar(chunked(bytes))) bodies.set(name, await whole(body));
    expect([...bodies.keys()]).toEqual([
      "manifest.json",
      `${digestHex(made.config.descriptor.digest)}.json`,
      `${digestHex(sent?.diffId as Digest)}.tar`,
    ]);
    expect(bodies.get(`${digestHex(sent?.diffId as Digest)}.tar`)?.equals(gunzipSync(sent?.bytes as Uint8Array))).toBe(
      true,
    );
    expect(JSON.parse(String(bodies.get("manifest.json")))[0].Layers).toHaveLength(2);
  });
});
