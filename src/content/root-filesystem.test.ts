import { execFileSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { validateImage } from "../../test/support/validate-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { parseImageConfig, parseManifest } from "../oci/manifest.js";
import { MemoryStore } from "./memory.js";
import { importRootFilesystem, type RootFilesystemSource } from "./root-filesystem.js";
import { readTar, type TarInput, writeTar } from "./tar.js";
import { readAll } from "./verify.js";

const platform = { os: "linux", architecture: "amd64" };
let root: string;
let spool: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "lading-root-"));
  spool = mkdtempSync(join(tmpdir(), "lading-spool-"));
});
afterEach(() => {
  expect(readdirSync(spool)).toEqual([]);
  for (const folder of [root, spool]) rmSync(folder, { recursive: true });
});

async function* chunked(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}
const tarOf = (bytes: Uint8Array): RootFilesystemSource => ({ tar: chunked(bytes), spoolDirectory: spool });
const run = async (source: RootFilesystemSource, options = {}) => {
  const into = new MemoryStore();
  const made = await importRootFilesystem(source, { into, platform, ...options });
  return { into, made };
};
const digest = async (source: RootFilesystemSource, options = {}) => (await run(source, options)).made.digest;
const gnuTar = (...flags: string[]) =>
  execFileSync("tar", ["-C", root, ...flags, "-cf", "-", "."], { maxBuffer: 1 << 28 });

async function layerEntries(into: MemoryStore, made: Descriptor) {
  const manifest = parseManifest(await readAll(into.get(made), 1e6), made.mediaType);
  if (manifest.kind !== "image") throw new Error("an index");
  const layer = gunzipSync(await readAll(into.get(manifest.layers[0] as Descriptor), 1e9));
  const entries = [];
  for await (const entry of readTar(chunked(layer))) {
    const body = Buffer.from(await readAll(entry.body, 1e9)).toString("latin1");
    entries.push({ ...entry, body });
  }
  const config = parseImageConfig(await readAll(into.get(manifest.config), 1e6));
  return { entries, config, layer };
}

function sampleTree(): void {
  mkdirSync(join(root, "usr/bin"), { recursive: true });
  mkdirSync(join(root, "a"));
  writeFileSync(join(root, "a.txt"), "beside the folder");
  writeFileSync(join(root, "a/z"), "z");
  writeFileSync(join(root, "usr/bin/tool"), randomBytesOf("tool", 300_000));
  chmodSync(join(root, "usr/bin/tool"), 0o4755);
  linkSync(join(root, "usr/bin/tool"), join(root, "usr/bin/also"));
  linkSync(join(root, "usr/bin/tool"), join(root, "zz"));
  symlinkSync("usr/bin", join(root, "bin"));
  symlinkSync("../nowhere", join(root, "a/dangling"));
}

describe("importRootFilesystem", () => {
  it("makes one digest of a folder and of a tar of it, in any order, format and compression, at any time", async () => {
    sampleTree();
    const expected = await digest({ directory: root });
    const names = execFileSync("find", [".", "-print"], { cwd: root, encoding: "utf8" }).trim().split("\n").reverse();
    const reversed = execFileSync("tar", ["-C", root, "--no-recursion", "-cf", "-", ...names]);
    for (const tar of [
      gnuTar(),
      gnuTar("--format=posix"),
      gnuTar("--format=gnu", "--sort=name"),
      gzipSync(gnuTar()),
      reversed,
    ]) {
      expect(await digest(tarOf(tar))).toBe(expected);
    }
    lutimesSync(join(root, "a.txt"), 1e9, 1e9);
    expect(await digest({ directory: root })).toBe(expected);
    expect(await digest({ directory: `${root}/` })).toBe(expected);
  });

  it("makes a layer in byte order, owned by root, of one time, with modes and links", async () => {
    sampleTree();
    const { into, made } = await run({ directory: root });
    await validateImage(into, made);
    const { entries, config } = await layerEntries(into, made);
    const names = entries.map(({ rawName }) => Buffer.from(rawName));
    expect(names).toEqual([...names].sort(Buffer.compare));
    expect(entries.map(({ name, type, linkName }) => [name, type, linkName])).toEqual([
      ["a.txt", "file", ""],
      ["a/", "directory", ""],
      ["a/dangling", "symlink", "../nowhere"],
      ["a/z", "file", ""],
      ["bin", "symlink", "usr/bin"],
      ["usr/", "directory", ""],
      ["usr/bin/", "directory", ""],
      ["usr/bin/also", "file", ""],
      ["usr/bin/tool", "hardlink", "usr/bin/also"],
      ["zz", "hardlink", "usr/bin/also"],
    ]);
    expect(new Set(entries.map(({ uid, gid, mtime }) => `${uid}:${gid}:${mtime}`))).toEqual(new Set(["0:0:0"]));
    const tool = entries.find(({ name }) => name === "usr/bin/also");
    expect(tool?.mode).toBe(0o4755);
    expect(tool?.body).toBe(Buffer.from(randomBytesOf("tool", 300_000)).toString("latin1"));
    expect(config).toMatchObject({ platform, created: "1970-01-01T00:00:00Z" });
  });

  it("takes the time that is given, and owners where they are kept", async () => {
    const tar = await readAll(writeTar([{ name: "f", uid: 1000, gid: 100, mtime: 5 }]), 1e6);
    const { into, made } = await run(tarOf(tar), { epoch: 1_700_000_000, keepOwner: true, format: "docker" });
    await validateImage(into, made);
    const { entries, config } = await layerEntries(into, made);
    expect(entries[0]).toMatchObject({ uid: 1000, gid: 100, mtime: 1_700_000_000 });
    expect(config.created).toBe("2023-11-14T22:13:20Z");
    expect(made.mediaType).toContain("docker");
    const plain = await run(tarOf(tar), { epoch: 1_700_000_000 });
    expect((await layerEntries(plain.into, plain.made)).entries[0]).toMatchObject({ uid: 0, gid: 0 });
  });

  it("agrees for random trees", async () => {
    const part = fc.stringMatching(/^[a-z.-]{1,4}$/).filter((text) => text !== "." && text !== "..");
    const file = fc.tuple(fc.array(part, { minLength: 1, maxLength: 3 }), fc.nat(5000));
    await fc.assert(
      fc.asyncProperty(fc.array(file, { maxLength: 12 }), async (files) => {
        const folder = mkdtempSync(join(root, "tree-"));
        for (const [parts, size] of files) {
          const path = join(folder, ...parts);
          try {
            mkdirSync(dirname(path), { recursive: true });
            writeFileSync(path, randomBytesOf(path.slice(folder.length), size));
          } catch {
            // A name that is a folder already, or below a file.
          }
        }
        const tar = execFileSync("tar", ["-C", folder, "-cf", "-", "."], { maxBuffer: 1 << 26 });
        expect(await digest(tarOf(tar))).toBe(await digest({ directory: folder }));
      }),
      { numRuns: 25 },
    );
  });

  it("leaves out what a layer cannot hold, and says so", async () => {
    writeFileSync(join(root, "keep"), "x");
    writeFileSync(join(root, ".wh.gone"), "x");
    execFileSync("mkfifo", [join(root, "fifo")]);
    for (const source of [{ directory: root }, tarOf(gnuTar())]) {
      const warnings: string[] = [];
      const { into, made } = await run(source, { onWarning: (text: string) => warnings.push(text) });
      expect((await layerEntries(into, made)).entries.map(({ name }) => name)).toEqual(["keep"]);
      expect(warnings).toHaveLength(2);
    }
  });

  it("makes an image of nothing", async () => {
    const { into, made } = await run({ directory: root });
    await validateImage(into, made);
    expect(await digest(tarOf(gnuTar()))).toBe(made.digest);
  });

  it.each<[string, readonly TarInput[]]>([
    ["a name that points outside", [{ name: "../etc/passwd" }]],
    ["a link to nothing", [{ name: "a", type: "hardlink", linkName: "b" }]],
    ["a file twice", [{ name: "a" }, { name: "./a" }]],
    ["a folder and a file of one name", [{ name: "a/", type: "directory" }, { name: "a" }]],
  ])("refuses %s", async (_, entries) => {
    const tar = await readAll(writeTar(entries), 1e6);
    await expect(run(tarOf(tar))).rejects.toMatchObject({ code: "archive-invalid" });
  });

  it("refuses a cut tar, a missing folder, a file for a folder, and stops at a signal", async () => {
    sampleTree();
    await expect(run(tarOf(gnuTar().subarray(0, 20_000)))).rejects.toMatchObject({ code: "archive-invalid" });
    await expect(run({ directory: join(root, "none") })).rejects.toMatchObject({ code: "not-found", side: "source" });
    await expect(run({ directory: join(root, "a.txt") })).rejects.toMatchObject({ code: "not-found" });
    const signal = AbortSignal.abort();
    await expect(run({ directory: root }, { signal })).rejects.toMatchObject({ code: "cancelled" });
  });
});
