import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../oci/digest.js";
import { FilesystemStorage } from "./filesystem.js";

const content = "content";
const digest = digestOf(content);
let directory: string;
let root: string;
let file: string;
let blob: string;
let storage: FilesystemStorage;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-adopt-"));
  root = join(directory, "registry");
  file = join(directory, "file");
  blob = join(root, "blobs/sha256", digest.slice(7, 9), digest.slice(7));
  storage = new FilesystemStorage(root, { durable: true });
  await storage.open({ write: true });
  await writeFile(file, content, { mode: 0o444 });
  await utimes(file, 1e9, 1e9);
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const adopt = (path = file, size = content.length) => storage.adoptBlob(digest, size, path);

/** A folder on another file system, where this machine has one. */
const otherDisk = await (async () => {
  const [here, there] = await Promise.all([stat(tmpdir()), stat("/dev/shm").catch(() => null)]);
  return there !== null && there.dev !== here.dev ? "/dev/shm" : null;
})();

describe("a file of another store", () => {
  it("becomes a blob that is read-only, fresh and whole, and nothing else is left", async () => {
    await utimes(file, new Date(2001, 1, 1), new Date(2001, 1, 1));
    expect(await adopt()).toBe(true);
    expect(await readFile(blob, "utf8")).toBe(content);
    expect((await lstat(blob)).isFile()).toBe(true);
    expect((await stat(blob)).mode & 0o777).toBe(0o444);
    expect((await stat(blob)).mtime.getFullYear()).toBeGreaterThan(2001);
    expect(await readdir(join(root, "tmp"))).toEqual([]);
    expect(await storage.blobPath(digest)).toBe(blob);
  });

  it("lives on when the other store lets go of it, and the other way round", async () => {
    await adopt();
    await rm(file);
    expect(await readFile(blob, "utf8")).toBe(content);
    await link(blob, file);
    await rm(blob);
    expect([await readFile(file, "utf8"), await storage.blobPath(digest)]).toEqual([content, null]);
  });

  it("leaves a blob that is there alone, and takes the place of one that was cut short", async () => {
    await storage.addBlob(digest, Buffer.from(content));
    const { ino } = await stat(blob);
    expect([await adopt(), (await stat(blob)).ino]).toEqual([true, ino]);
    await rm(blob);
    await writeFile(blob, "cont");
    expect([await adopt(), await readFile(blob, "utf8")]).toEqual([true, content]);
  });

  it.each([
    ["may be written", () => chmod(file, 0o644)],
    ["was written to since it was verified", () => utimes(file, 1e9, 1e9 + 0.25)],
    ["is a symbolic link", async () => await symlink(file, `${file}.link`), ".link"],
    ["is a folder", () => mkdir(`${file}.folder`, { mode: 0o555 }), ".folder"],
    ["is not there", async () => {}, ".missing"],
  ] as const)("that %s is not taken", async (_, make, suffix: string = "") => {
    await make();
    expect(await adopt(`${file}${suffix}`)).toBe(false);
    expect([await storage.blobSize(digest), await readdir(join(root, "tmp"))]).toEqual([null, []]);
  });

  it("that has another size is not taken", async () => {
    expect([await adopt(file, content.length + 1), await storage.blobSize(digest)]).toEqual([false, null]);
  });

  it.skipIf(process.getuid?.() !== 0)("that belongs to another user is not taken", async () => {
    await chown(file, 12345, 12345);
    expect([await adopt(), await storage.blobSize(digest)]).toEqual([false, null]);
  });

  it.skipIf(otherDisk === null)("on another file system is not taken", async () => {
    const folder = await mkdtemp(join(otherDisk ?? "", "lading-adopt-"));
    try {
      await writeFile(join(folder, "file"), content, { mode: 0o444 });
      await utimes(join(folder, "file"), 1e9, 1e9);
      expect(await adopt(join(folder, "file"))).toBe(false);
      expect([await storage.blobSize(digest), await readdir(join(root, "tmp"))]).toEqual([null, []]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
