import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { splitTar } from "../../test/support/tar-split.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { MemoryStore } from "../content/memory.js";
import { type TarInput, writeTar } from "../content/tar.js";
import type { Descriptor } from "../oci/descriptor.js";
import { digestOf } from "../oci/digest.js";
import { exportFolders } from "./folder-export.js";
import { assembleTar } from "./tar-split.js";

let folder: string;
let layer: { files: string; tarSplit: string };
let tar: Buffer;

async function read(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  // What is lent is filled again: a reader that keeps it takes a copy.
  for await (const chunk of source) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

beforeEach(async () => {
  folder = await temporaryFolder({ memory: true });
  layer = { files: join(folder, "diff"), tarSplit: join(folder, "tar-split.json.gz") };
  const entries: TarInput[] = [
    { name: "etc/", type: "directory" },
    ...[0, 1, 511, 512, 513, 70_000, 1_048_576, 2_500_000].map((size) => ({
      name: `etc/file-${size}`,
      size,
      body: randomBytesOf(`file ${size}`, size),
    })),
    ...Array.from({ length: 300 }, (_, index) => ({
      name: `etc/small-${index}`,
      size: 7,
      body: Buffer.from("content"),
    })),
  ];
  tar = await read(writeTar(entries));
  const { record, files } = splitTar(tar);
  await writeFile(layer.tarSplit, record);
  for (const [name, content] of files) {
    await mkdir(dirname(join(layer.files, name)), { recursive: true });
    await writeFile(join(layer.files, name), content);
  }
});

describe("a layer's tar out of the folder in which an engine keeps it", () => {
  it("is the tar that it was unpacked from", async () => {
    expect((await read(assembleTar(layer))).equals(tar)).toBe(true);
  });

  it("fails where a file is gone, shorter, no file any more, or lies behind a link", async () => {
    const file = join(layer.files, "etc", "file-70000");
    const change = async (change: () => Promise<unknown>) => {
      await rm(file, { recursive: true, force: true });
      await change();
      await expect(read(assembleTar(layer))).rejects.toThrow();
    };
    await change(async () => {});
    await change(() => writeFile(file, "short"));
    await change(() => mkdir(file));
    await change(() => symlink("/etc/passwd", file));
    const elsewhere = join(folder, "elsewhere");
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, "file-70000"), randomBytesOf("file 70000", 70_000));
    await rm(join(layer.files, "etc"), { recursive: true });
    await symlink(elsewhere, join(layer.files, "etc"));
    await expect(read(assembleTar(layer))).rejects.toThrow();
  });

  it.each([
    ["leaves the layer", { type: 1, name: "../elsewhere", size: 4 }],
    ["begins at the root", { type: 1, name: "/etc/passwd", size: 4 }],
    ["is of an unknown type", { type: 3, name: "etc/small-1", size: 4 }],
    ["has a name that is no text", { type: 1, name_raw: "/w==", size: 4 }],
    ["has a size that is none", { type: 1, name: "etc/small-1", size: -4 }],
  ])("fails where an entry %s", async (_what, entry) => {
    await writeFile(join(folder, "elsewhere"), "text");
    await writeFile(layer.tarSplit, gzipSync(`${JSON.stringify(entry)}\n`));
    await expect(read(assembleTar(layer))).rejects.toThrow();
  });

  it("fails where the record is cut", async () => {
    await writeFile(layer.tarSplit, splitTar(tar).record.subarray(0, 500));
    await expect(read(assembleTar(layer))).rejects.toThrow();
  });
});

describe("an export out of folders", () => {
  const config = Buffer.from("{}");
  const run = async (diffId = digestOf(tar), signal?: AbortSignal) => {
    const into = new MemoryStore();
    const all: Descriptor[] = [];
    const folders = { config, layers: [{ ...layer, diffId, size: tar.length }] };
    const key = [digestOf(config), "docker", "all"] as const;
    const source = exportFolders(folders, { into, format: "docker", platform: null, signal }, key);
    let step = await source.next();
    for (; step.done !== true; step = await source.next()) all.push(step.value);
    return { all, done: step.value, remembered: await into.manifestFor(...key) };
  };

  it("ends with the manifest, which is remembered", async () => {
    const { all, done, remembered } = await run();
    expect(done).toBe(true);
    expect(all).toHaveLength(3);
    expect(remembered?.digest).toBe(all.at(-1)?.digest);
  });

  it("leaves it to the engine where a layer is not what it should be, or can't be read", async () => {
    for (const spoil of [async () => {}, () => rm(layer.tarSplit)]) {
      await spoil();
      const { all, done, remembered } = await run(digestOf(Buffer.from("another layer")));
      expect({ all, done, remembered }).toEqual({ all: [], done: false, remembered: null });
    }
  });

  it("is cancelled as any other", async () => {
    await expect(run(digestOf(tar), AbortSignal.abort())).rejects.toMatchObject({ code: "cancelled" });
  });
});
