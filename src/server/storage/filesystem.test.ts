import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../oci/digest.js";
import { FilesystemStorage } from "./filesystem.js";

const id = "00000000-1111-2222-3333-444444444444";
let directory: string;
let root: string;
let storage: FilesystemStorage;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-storage-"));
  root = join(directory, "deep", "data");
  storage = new FilesystemStorage(root, { durable: true });
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function* bytes(text: string): AsyncIterable<Uint8Array> {
  yield Buffer.from(text);
}

describe("a registry's folder", () => {
  it("is not made by reading", async () => {
    await storage.open({ write: false });
    expect(await storage.list("meta/repos", { after: null, limit: 5 })).toEqual([]);
    await expect(stat(root)).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("says what it is", async () => {
    await storage.open({ write: true });
    expect(JSON.parse(await readFile(join(root, "lading-registry.json"), "utf8"))).toEqual({
      layout: "lading-registry",
      version: 2,
    });
    expect((await readdir(root)).sort()).toEqual(["lading-registry.json", "tmp"]);
  });

  it.each([
    ["of somebody else", "thesis.txt", "mine"],
    ["of a later version", "lading-registry.json", '{"version":3}'],
    ["that is damaged", "lading-registry.json", '{"ver'],
  ])("%s is left alone", async (_, name, text) => {
    await mkdir(root, { recursive: true });
    await writeFile(join(root, name), text);
    for (const write of [false, true]) {
      await expect(storage.open({ write })).rejects.toMatchObject({ code: "config-invalid" });
    }
    expect(await readdir(root)).toEqual([name]);
  });

  it("shows a blob only once it is committed, and replaces one that was cut short", async () => {
    await storage.open({ write: true });
    const digest = digestOf("content");
    const path = join(root, "blobs/sha256", digest.slice(7, 9), digest.slice(7));
    for (const damage of [false, true]) {
      if (damage) {
        await rm(path);
        await writeFile(path, "cont");
      }
      const upload = await storage.createUpload("a/b", id, null);
      await upload.append(bytes("content"));
      await upload.sync();
      expect(await storage.blobSize(digest)).toBe(damage ? 4 : null);
      await upload.commit(digest);
      expect(await readFile(path, "utf8")).toBe("content");
      expect(await storage.openUpload("a/b", id)).toBeNull();
    }
    expect((await stat(path)).mode & 0o777).toBe(0o444);
    expect(await readdir(join(root, "tmp"))).toEqual([]);
  });

  it("counts a blob that comes again as fresh", async () => {
    await storage.open({ write: true });
    const digest = digestOf("content");
    const path = join(root, "blobs/sha256", digest.slice(7, 9), digest.slice(7));
    const old = new Date(2001, 1, 1);
    await storage.addBlob(digest, Buffer.from("content"));
    await utimes(path, old, old);
    await storage.addBlob(digest, Buffer.from("content"));
    expect((await stat(path)).mtime.getFullYear()).toBeGreaterThan(2001);
    const { ino } = await stat(path);
    await utimes(path, old, old);
    const upload = await storage.createUpload("a", id, null);
    await upload.append(bytes("content"));
    await upload.commit(digest);
    expect([(await stat(path)).ino, (await stat(path)).mtime.getFullYear() > 2001]).toEqual([ino, true]);
  });

  it("finds an upload again after a restart, with all that was written", async () => {
    await storage.open({ write: true });
    await (await storage.createUpload("a", id, null)).append(bytes("first "));
    const later = new FilesystemStorage(root, { durable: true });
    const upload = await later.openUpload("a", id);
    expect(upload?.size).toBe(6);
    await upload?.append(bytes("second"));
    await upload?.sync();
    await upload?.commit(digestOf("first second"));
    expect(await later.blobSize(digestOf("first second"))).toBe(12);
  });

  it("is swept of what nobody goes on with, in nested repositories too", async () => {
    await storage.open({ write: true });
    const old = new Date(Date.now() - 60_000);
    for (const repository of ["a", "a/b", "a/b/c"]) {
      const upload = await storage.createUpload(repository, id, null);
      await upload.append(bytes("x"));
      if (repository !== "a/b") await utimes(join(root, "repos", repository, "_uploads", id, "data"), old, old);
    }
    await writeFile(join(root, "tmp", "left-by-a-killed-process"), "");
    await utimes(join(root, "tmp", "left-by-a-killed-process"), old, old);
    await writeFile(join(root, "tmp", "fresh"), "");
    await storage.sweep(Date.now() - 30_000);
    expect(await Promise.all(["a", "a/b", "a/b/c"].map((name) => storage.countUploads(name)))).toEqual([0, 1, 0]);
    expect(await readdir(join(root, "tmp"))).toEqual(["fresh"]);
  });
});
