// One file, long: a table whose every row makes an input of a given size, and a row for each limit.
import { chmod, mkdir, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { askHelper } from "../src/config/credential-helper.js";
import { readSmallFile } from "../src/config/update-file.js";
import { readImageArchive } from "../src/content/archive.js";
import { type Compression, decompress } from "../src/content/decompress.js";
import { LayoutStore } from "../src/content/layout.js";
import { MemoryStore } from "../src/content/memory.js";
import { readFolder } from "../src/content/root-folder.js";
import { readRootTar } from "../src/content/root-tar.js";
import { readTar } from "../src/content/tar.js";
import { manifestReader, walkTree } from "../src/content/walk.js";
import { jsonLines } from "../src/engines/json-lines.js";
import { isLadingError } from "../src/errors.js";
import type { Descriptor } from "../src/oci/descriptor.js";
import { digestOf } from "../src/oci/digest.js";
import { type LimitName, limits } from "../src/oci/limits.js";
import { parseImageConfig, parseManifest } from "../src/oci/manifest.js";
import { mediaTypes } from "../src/oci/media-types.js";
import { bodyOf } from "../src/registry/body.js";
import { nextPage, pages } from "../src/registry/link.js";
import { safeText } from "../src/registry/registry-error.js";
import { fetchToken } from "../src/registry/token.js";
import { dockerArchiveEntries, file, type HostileEntry, hostileTar } from "./support/hostile-tar.js";
import { randomBytesOf } from "./support/random-bytes.js";
import { testClient } from "./support/registry-client.js";
import { on, startScriptedRegistry } from "./support/scripted-registry.js";
import { temporaryFolder } from "./support/temporary-folder.js";

// Those that would take gigabytes are lowered; what is tried is that each one holds where it is said to, at its very edge.
vi.mock("../src/oci/limits.js", async (original) => {
  const real = (await original<typeof import("../src/oci/limits.js")>()).limits;
  const lower = {
    unpacked: 18_000_000,
    unpackedAtLeast: 100_000,
    rootEntries: 30,
    archiveEntries: 40,
    archiveJson: 50_000,
    archiveManifest: 20_000,
    archiveTrailer: 100_000,
    zstdWindow: 2 ** 20,
  };
  return { limits: { ...real, ...lower, listEntries: 1000, pages: 20, descriptors: 50 } };
});

interface LimitCase {
  /** Reads something that is as large as it says. */
  readonly at: (size: number) => unknown;
  /** What comes of more: the code of an error; or the rest is passed over, and `at` says how it shows. @default "limit-exceeded" */
  readonly beyond?: string;
  /** Of which limit the error speaks. @default the row's own */
  readonly named?: LimitName;
  /** What nobody can make to the byte: how far from the limit is tried. @default 0 within, 1 beyond */
  readonly margin?: number;
}

const padded = (value: unknown, size: number): Buffer => {
  const text = JSON.stringify(value);
  if (size < text.length) throw new RangeError(`${size} bytes are too few`);
  return Buffer.from(text.padEnd(size));
};

async function* inOne(bytes: Uint8Array) {
  yield bytes;
}

async function drain(source: AsyncIterable<unknown>): Promise<void> {
  for await (const part of source) void part;
}

const described = (mediaType: string, bytes: Uint8Array): Descriptor => ({
  ...{ mediaType, digest: digestOf(bytes), size: bytes.length },
});
const layerAt = (index: number): Descriptor => described(mediaTypes.ociLayerGzip, Buffer.from(`layer ${index}`));
const layersOf = (count: number) => Array.from({ length: count }, (_, index) => layerAt(index));
const config = { os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [] } };
const configDescriptor = described(mediaTypes.ociConfig, Buffer.from(JSON.stringify(config)));
const image = { schemaVersion: 2, config: configDescriptor, layers: [] as readonly Descriptor[] };

/** A store with a manifest, and what is below it. */
async function stored(...documents: readonly (readonly [mediaType: string, value: unknown])[]) {
  const store = new MemoryStore();
  let root = configDescriptor;
  for (const [mediaType, value] of documents) {
    const bytes = Buffer.from(JSON.stringify(value));
    root = described(mediaType, bytes);
    await store.put(root, () => inOne(bytes));
  }
  return await walkTree(root, manifestReader(store));
}

/** Indexes in each other, the innermost of no manifests. */
async function nested(levels: number) {
  const documents: [string, unknown][] = [];
  let inner: readonly Descriptor[] = [];
  for (let level = 0; level < levels; level += 1) {
    const index = { schemaVersion: 2, manifests: inner };
    documents.push([mediaTypes.ociIndex, index]);
    inner = [described(mediaTypes.ociIndex, Buffer.from(JSON.stringify(index)))];
  }
  return await stored(...documents);
}

async function loaded(entries: readonly HostileEntry[]): Promise<void> {
  await drain(readImageArchive(inOne(hostileTar(entries)), { into: new MemoryStore(), format: "oci" }));
}

const archive = dockerArchiveEntries([], ["app:1"]);
const bytesOf = ({ body = "" }: HostileEntry) => Buffer.from(body).length;
const read = (bytes: Uint8Array, compression: Compression) => drain(decompress(inOne(bytes), compression));

/** A gzip stream that is as long as wanted: its header holds a comment. */
function gzipOfLength(content: Uint8Array, length: number): Buffer {
  const plain = gzipSync(content);
  const comment = Buffer.alloc(length - plain.length, "c");
  comment[comment.length - 1] = 0;
  plain[3] = 0x10;
  return Buffer.concat([plain.subarray(0, 10), comment, plain.subarray(10)]);
}

async function repositoryOf(...handlers: Parameters<typeof startScriptedRegistry>) {
  const registry = await startScriptedRegistry(...handlers);
  const { client } = testClient(registry.url);
  onTestFinished(async () => {
    client.close();
    await registry.close();
  });
  return client.repository("a/b");
}

const cases: { readonly [Name in LimitName]: LimitCase } = {
  manifest: { at: (size) => parseManifest(padded(image, size), mediaTypes.ociManifest) },
  config: { at: (size) => parseImageConfig(padded(config, size)) },
  layoutIndex: {
    at: async (size) => {
      const folder = await temporaryFolder();
      await writeFile(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
      await writeFile(join(folder, "index.json"), padded({ schemaVersion: 2, manifests: [] }, size));
      await new LayoutStore(folder, { durability: "fast" }).resolve("app:1");
    },
  },
  archiveManifest: {
    at: (size) =>
      loaded(archive.map((entry) => (entry.name === "manifest.json" ? { ...entry, body: pad(entry, size) } : entry))),
  },
  tokenBody: {
    at: (size) =>
      fetchToken(
        async () => ({ status: 200, headers: {}, body: bodyOf(padded({ token: "abc" }, size)) }) as never,
        { realm: new URL("https://auth.example/token"), service: null, scopes: [], credential: null },
        AbortSignal.timeout(60_000),
      ),
  },
  errorBody: {
    // Of a body that is cut nothing is shown.
    beyond: "passed over",
    at: async (size) => {
      const [before, after] = ['{"errors":[{"code":"DENIED","message":"told"}],"more":"', '"}'];
      const body = `${before.padEnd(size - after.length, "x")}${after}`;
      const repository = await repositoryOf(on("GET", /manifests/, (exchange) => exchange.send(403, {}, body)));
      const error: unknown = await repository.manifest("v1").catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "denied" });
      return String(error).includes("told") ? "taken" : "passed over";
    },
  },
  errorText: {
    beyond: "passed over",
    at: (size) => (safeText("x".repeat(size)).length === size ? "taken" : "passed over"),
  },
  responseHeaders: {
    margin: 1024,
    at: async (size) => {
      const repository = await repositoryOf(
        on("GET", /manifests/, (exchange) =>
          exchange.send(
            200,
            { "content-type": mediaTypes.ociManifest, "x-long": "x".repeat(size) },
            JSON.stringify(image),
          ),
        ),
      );
      await repository.manifest("v1");
    },
  },
  listBody: {
    at: async (size) => {
      const body = padded({ name: "a/b", tags: ["1"] }, size);
      await drain((await repositoryOf(on("GET", /tags/, (exchange) => exchange.send(200, {}, body)))).tags());
    },
  },
  redirects: {
    at: async (hops) => {
      let left = hops;
      const repository = await repositoryOf(
        on("GET", /blobs/, (exchange) => {
          if (left === 0) exchange.send(200, {}, JSON.stringify(config));
          else exchange.send(307, { location: `${exchange.url.pathname}?hop=${left--}` });
        }),
      );
      await drain(repository.get(configDescriptor));
    },
  },
  pages: {
    at: (count) => {
      const page = (number: number) => new URL(`https://registry.example/v2/_catalog?last=${number}`);
      const next = (url: URL) => Number(url.searchParams.get("last")) + 1;
      const answer = (url: URL) => ({ entries: [`${next(url)}`], next: next(url) < count ? page(next(url)) : null });
      return drain(pages(page(0), async (url) => answer(url), String));
    },
  },
  listEntries: {
    at: (count) => {
      const entries = Array.from({ length: count }, (_, index) => `t${index}`);
      return drain(pages(new URL("https://registry.example/v2/"), async () => ({ entries, next: null }), String));
    },
  },
  indexDepth: { at: nested },
  // One of them is the config.
  descriptors: { at: (count) => stored([mediaTypes.ociManifest, { ...image, layers: layersOf(count - 1) }]) },
  layers: {
    at: (count) =>
      parseManifest(padded({ ...image, layers: shortLayers(count) }, limits.manifest), mediaTypes.ociManifest),
  },
  archiveEntries: {
    at: (count) => drain(readTar(inOne(hostileTar(Array.from({ length: count }, (_, index) => file(`${index}`)))))),
  },
  archiveHeader: {
    at: (size) => drain(readTar(inOne(hostileTar([{ name: "p", flag: "x", body: paxComment(size) }, file("a")])))),
  },
  archiveTrailer: {
    at: (size) => drain(readTar(inOne(Buffer.concat([hostileTar([file("a")], 0), Buffer.alloc(512 + size)])))),
  },
  archiveName: { at: (size) => drain(readTar(inOne(hostileTar([{ ...file("a"), pax: { path: "n".repeat(size) } }])))) },
  archiveJson: {
    at: (size) => {
      const kept = archive.reduce((sum, entry) => sum + bytesOf(entry), 0);
      return loaded([...archive, { name: "more.json", body: padded({}, size - kept) }]);
    },
  },
  rootEntries: {
    at: async (count) => {
      const entries = Array.from({ length: count }, (_, index) => file(`f${index}`));
      const folder = join(await temporaryFolder(), "root");
      await mkdir(folder);
      for (const { name } of entries) await writeFile(join(folder, name), "");
      const [spool, quiet] = [await temporaryFolder(), { warn: () => undefined }];
      // Both have to take it, or both to refuse it.
      const outcomes = await Promise.allSettled([
        readRootTar(inOne(hostileTar(entries)), spool, quiet),
        readFolder(folder, quiet),
      ]);
      for (const outcome of outcomes) if (outcome.status === "fulfilled") await outcome.value.close();
      const refused = outcomes.filter((outcome) => outcome.status === "rejected");
      expect([0, 2]).toContain(refused.length);
      if (refused[0] !== undefined) throw refused[0].reason;
    },
  },
  unpacked: { at: (size) => read(gzipSync(randomBytesOf("unpacked", size)), "gzip") },
  // Where it is small enough, the ratio does not count.
  unpackedAtLeast: { named: "unpackedRatio", at: (size) => read(gzipSync(Buffer.alloc(size)), "gzip") },
  unpackedRatio: {
    at: (ratio) => {
      const size = limits.unpackedAtLeast + 50_000;
      const length = ratio > limits.unpackedRatio ? Math.floor((size - 1) / (ratio - 1)) : Math.ceil(size / ratio);
      return read(gzipOfLength(Buffer.alloc(size), length), "gzip");
    },
  },
  zstdWindow: { at: (size) => read(zstdOf(size), "zstd"), margin: 2 ** 17 },
  diskReserve: {
    // All that is free, and more than that, as the file would leave it.
    beyond: "no-space",
    margin: 0,
    at: async (reserve) => {
      const folder = await temporaryFolder();
      const { bavail, bsize } = await statfs(folder);
      const asked = reserve > limits.diskReserve ? bavail * bsize + 1 : 17_000_000;
      await (await readRootTar(fileOf(asked), folder, { warn: () => undefined })).close();
    },
  },
  engineLine: {
    at: (size) => drain(jsonLines(inOne(Buffer.concat([padded({}, size), Buffer.from("\n")])), { doing: "loading" })),
  },
  helperOutput: {
    at: async (size) => {
      const folder = await temporaryFolder();
      await writeFile(join(folder, "answer"), padded({ ServerURL: "a", Username: "u", Secret: "s" }, size));
      const program = join(folder, "docker-credential-long");
      await writeFile(program, `#!/bin/sh\nexec cat '${folder}/answer'\n`);
      await chmod(program, 0o755);
      await askHelper("long", "registry.example", { env: { PATH: `${folder}:/usr/bin:/bin` } });
    },
  },
  configFile: {
    beyond: "config-invalid",
    at: async (size) => {
      const path = join(await temporaryFolder(), "config.toml");
      await writeFile(path, "#".repeat(size));
      await readSmallFile(path);
    },
  },
  authorization: {
    at: (size) =>
      nextPage(`<?last=${"x".repeat(size - 20)}>; rel="next"`, new URL("https://registry.example/v2/a/b/tags/list")),
  },
};

/** A frame of nothing that asks for a window: a power of two, or one with some eighths more. */
function zstdOf(window: number): Buffer {
  const exponent = Math.floor(Math.log2(window));
  const eighths = (window - 2 ** exponent) / 2 ** (exponent - 3);
  return Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, ((exponent - 10) << 3) | eighths, 1, 0, 0]);
}

function pad({ body = "" }: HostileEntry, size: number): Buffer {
  return padded(JSON.parse(Buffer.from(body).toString()), size);
}

/** So many layers within the limit of the manifest itself. */
function shortLayers(count: number) {
  return Array.from({ length: count }, () => ({ mediaType: "a/b", digest: configDescriptor.digest, size: 1 }));
}

/** A PAX record of this many bytes. */
function paxComment(size: number): Buffer {
  return Buffer.from(`${size} comment=`.padEnd(size - 1, "x").concat("\n"));
}

/** The beginning of a tar with one file, as large as it says, of which nothing is made before it is asked for. */
async function* fileOf(size: number) {
  yield hostileTar([{ name: "large", pax: { size: String(size) } }], 0);
  for (let left = size + ((512 - (size % 512)) % 512); left > 0; left -= 1_048_576)
    yield Buffer.alloc(Math.min(left, 1_048_576));
  yield Buffer.alloc(1024);
}

/** The code of an error, and the limit that it names. */
async function outcomeOf(work: () => unknown): Promise<{ readonly what: string; readonly limit: string | null }> {
  try {
    const result = await work();
    return { what: typeof result === "string" ? result : "taken", limit: null };
  } catch (error) {
    if (isLadingError(error)) return { what: error.code, limit: error.limit };
    throw error;
  }
}

describe("every limit", () => {
  it("has its row", () => expect(Object.keys(cases).sort()).toEqual(Object.keys(limits).sort()));

  for (const name of Object.keys(limits) as LimitName[]) {
    const { at, beyond = "limit-exceeded", margin = 0, named } = cases[name];
    it(`${name}: takes as much, and refuses more`, async () => {
      expect((await outcomeOf(() => at(limits[name] - margin))).what, "within").toBe("taken");
      const outcome = await outcomeOf(() => at(limits[name] + Math.max(1, margin)));
      const limit = beyond === "limit-exceeded" ? (named ?? name) : null;
      expect(outcome, "beyond").toEqual({ what: beyond, limit });
    });
  }
});
