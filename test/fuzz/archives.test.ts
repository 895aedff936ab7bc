import fc from "fast-check";
import { describe, expect } from "vitest";
import { readImageArchive, writeDockerArchive } from "../../src/content/archive.js";
import { MemoryStore } from "../../src/content/memory.js";
import { readTar, type TarInput, writeTar } from "../../src/content/tar.js";
import { parsePax, parseTarBlock } from "../../src/content/tar-header.js";
import { readAll } from "../../src/content/verify.js";
import type { ErrorCode } from "../../src/errors.js";
import { digestHex } from "../../src/oci/digest.js";
import { validateImage } from "../support/validate-image.js";
import { fuzz, unlessRefused } from "./fuzz.js";
import { hostileJson } from "./json-mutation.js";
import { hostileBytes, mutated } from "./mutation.js";
import { dockerImage, ociImage } from "./samples.js";

const whole = async (stream: AsyncIterable<Uint8Array>) => Buffer.from(await readAll(stream, 1e8));
const file = (name: string, body: Uint8Array): TarInput => ({ name, size: body.byteLength, body });
async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const kinds = await whole(
  writeTar([
    file("a.txt", Buffer.from("content")),
    { name: "folder/", type: "directory" },
    { name: "link", type: "symlink", linkName: "a.txt" },
    { name: "hard", type: "hardlink", linkName: "a.txt" },
    file(`${"long/".repeat(60)}name-é.bin`, Buffer.alloc(700, 7)),
    { name: "big", size: 0, uid: 3_000_000, mtime: 2 ** 34 },
  ]),
);

/** Headers whose sum is right again, so that what is odd in them is looked at. */
function summed(bytes: Buffer): Buffer {
  const fixed = Buffer.from(bytes);
  for (let at = 0; at + 512 <= fixed.length; at += 512) {
    const block = fixed.subarray(at, at + 512);
    if (block.toString("latin1", 257, 262) !== "ustar") continue;
    block.write("        ", 148, "latin1");
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  }
  return fixed;
}

const archiveCodes: readonly ErrorCode[] = ["archive-invalid", "limit-exceeded"];
const imageCodes: readonly ErrorCode[] = [
  ...["archive-invalid", "digest-mismatch", "size-mismatch", "limit-exceeded"],
  ...["manifest-invalid", "not-found", "unsupported"],
] as ErrorCode[];

const blocks = Array.from({ length: kinds.length / 512 }, (_, index) => kinds.subarray(index * 512, index * 512 + 512));
const size512 = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(512)]).subarray(0, 512);

describe("tar", () => {
  const block = hostileBytes(blocks).map(size512);
  fuzz("a header is read, or refused", fc.oneof(block, block.map(summed)), async (bytes) => {
    const header = await unlessRefused(archiveCodes, () => parseTarBlock(bytes));
    if (header === null) return;
    for (const number of [header.size, header.mode, header.uid, header.gid, header.mtime])
      expect(Number.isSafeInteger(number) && number >= 0, String(number)).toBe(true);
  });

  const pax = ["30 path=some/long/name/of/it\n", "20 mtime=1700000000\n", "16 size=1234567\n19 linkpath=../a/b\n"];
  const records = hostileBytes(pax.map((text) => Buffer.from(text)));
  fuzz("a PAX header is read, or refused", records, async (bytes) => {
    const overrides = await unlessRefused(archiveCodes, () => parsePax(bytes));
    if (overrides === null) return;
    for (const number of [overrides.size, overrides.uid, overrides.gid, overrides.mtime])
      expect(number === undefined || (Number.isSafeInteger(number) && number >= 0), String(number)).toBe(true);
  });

  const archive = hostileBytes([kinds]);
  const cuts = fc.integer({ min: 1, max: 3000 });
  fuzz(
    "an archive is read, or refused",
    fc.tuple(fc.oneof(archive, archive.map(summed)), cuts),
    async ([bytes, cut]) => {
      await unlessRefused(archiveCodes, async () => {
        let passed = 0;
        for await (const entry of readTar(pieces(bytes, cut))) {
          expect(entry.name).not.toContain("\0");
          for await (const chunk of entry.body) passed += chunk.length;
        }
        expect(passed).toBeLessThanOrEqual(bytes.length);
      });
    },
  );
});

async function readImages(bytes: Buffer): Promise<void> {
  await unlessRefused(imageCodes, async () => {
    const into = new MemoryStore();
    const archive = readImageArchive(pieces(bytes, 4000), { format: "oci", into });
    for await (const descriptor of archive) expect(await into.has(descriptor)).toBe(true);
    // What is taken is whole, whatever it was made of.
    for (const { root } of archive.images) await validateImage(into, root, { mixedFormats: true });
  });
}

describe("image archives", async () => {
  const store = new MemoryStore();
  for (const { descriptor, bytes } of [...dockerImage.layers, dockerImage.config])
    await store.put(descriptor, async function* () {
      yield bytes;
    });
  await store.put(dockerImage.root, async function* () {
    yield dockerImage.manifest;
  });
  const dockerBytes = await whole(writeDockerArchive([{ manifest: dockerImage.root, names: [] }], store));
  const docker: TarInput[] = [];
  for await (const entry of readTar(pieces(dockerBytes, 4096))) docker.push(file(entry.name, await whole(entry.body)));
  const isManifest = ({ name }: TarInput) => name === "manifest.json";
  const manifest = JSON.parse(String(docker.find(isManifest)?.body)) as unknown;

  fuzz("a docker-archive with any manifest.json is whole, or refused", hostileJson([manifest]), async (bytes) => {
    const entries = docker.map((entry) => (isManifest(entry) ? file("manifest.json", bytes) : entry));
    await readImages(await whole(writeTar(entries)));
  });

  const archives = mutated([dockerBytes]);
  fuzz("a docker-archive with any damage is whole, or refused", fc.oneof(archives, archives.map(summed)), readImages);

  const blob = (hex: string, bytes: Uint8Array) => file(`blobs/sha256/${hex}`, bytes);
  const oci = [
    ...ociImage.layers.map(({ descriptor, bytes }) => blob(digestHex(descriptor.digest), bytes)),
    blob(digestHex(ociImage.config.descriptor.digest), ociImage.config.bytes),
    blob(digestHex(ociImage.root.digest), ociImage.manifest),
    file("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}')),
  ];
  const annotations = { "org.opencontainers.image.ref.name": "1" };
  const untyped = { schemaVersion: 2, manifests: [{ digest: ociImage.root.digest, size: ociImage.root.size }] };
  const index = { schemaVersion: 2, manifests: [{ ...ociImage.root, annotations }] };
  fuzz("an OCI archive with any index.json is whole, or refused", hostileJson([index, untyped]), async (bytes) => {
    await readImages(await whole(writeTar([...oci, file("index.json", bytes)])));
  });

  const damaged = mutated([await whole(writeTar([...oci, file("index.json", Buffer.from(JSON.stringify(index)))]))]);
  fuzz("an OCI archive with any damage is whole, or refused", fc.oneof(damaged, damaged.map(summed)), readImages);
});
