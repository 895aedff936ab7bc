import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failingFileSystem } from "../../test/support/failing-file-system.js";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { putBytes, randomImage } from "../../test/support/random-image.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { validateImage } from "../../test/support/validate-image.js";
import { mediaTypes } from "../oci/media-types.js";
import type { FileSystem } from "./file-system.js";
import { LayoutStore } from "./layout.js";

const run = promisify(execFile);
const large = randomBytesOf("fault", 600_000);

/** Everything that writes, once: a large blob, an ingested one, an image, two names, a record. */
async function work(directory: string, fs?: FileSystem): Promise<void> {
  const store = new LayoutStore(directory, { fs });
  await store.put(describeBytes(large), sourceOf(large, 100_000));
  const layer = await store.ingest(mediaTypes.ociLayerGzip, sourceOf(large.subarray(1), 100_000)(0));
  const { root } = await randomImage(store, { layers: 1 });
  await store.tag(root, "app:1");
  await store.tag(root, "app:2");
  await store.untag("app:1");
  await store.rememberLayer(layer.digest, layer);
}

/** What must hold whatever failed: every blob is what its name says, every name's image is whole, nothing else lies about. */
async function nothingLost(directory: string): Promise<void> {
  const store = new LayoutStore(directory);
  for await (const { digest, size } of store.blobs.list()) {
    for await (const _chunk of store.blobs.get({ mediaType: mediaTypes.octetStream, digest, size }));
  }
  for (const { descriptor } of await store.entries()) await validateImage(store, descriptor);
}

async function leftovers(directory: string): Promise<readonly string[]> {
  const names = await readdir(join(directory, ".lading", "partial")).catch(() => []);
  const locks = (await readdir(join(directory, ".lading")).catch(() => [])).filter((name) => name.includes("lock"));
  return [...names, ...locks];
}

describe.each(["EIO", "ENOSPC"])("a file system that fails once with %s", (errno) => {
  test("at any call: the error has its code, nothing is lost, and the next run succeeds", async () => {
    const folder = await temporaryFolder({ memory: true });
    const counting = failingFileSystem(errno, 0);
    await work(join(folder, "count"), counting.fs);
    let failures = 0;
    const failAt = async (call: number): Promise<void> => {
      const directory = join(folder, String(call));
      const { fs } = failingFileSystem(errno, call);
      const failure: unknown = await work(directory, fs).then(
        () => null,
        (error: unknown) => error,
      );
      // What is not needed for the result may fail in silence: removing a temporary file, say.
      if (failure !== null) {
        expect(failure, `call ${call}`).toEqual(withCode(errno === "ENOSPC" ? "no-space" : "io"));
        failures += 1;
      }
      await nothingLost(directory);
      await work(directory);
      await nothingLost(directory);
      expect((await new LayoutStore(directory).entries()).map(({ name }) => name)).toEqual(["app:2"]);
      await rm(directory, { recursive: true });
    };
    const all = Array.from({ length: counting.calls() }, (_, index) => index + 1);
    while (all.length > 0) await Promise.all(all.splice(0, 8).map(failAt));
    expect(failures).toBeGreaterThan(counting.calls() / 2);
  }, 240_000);
});

test("a full disk leaves no file behind", async () => {
  const directory = join(await temporaryFolder(), "store");
  const counting = failingFileSystem("ENOSPC", 0);
  await putBytes(new LayoutStore(directory, { fs: counting.fs }), mediaTypes.octetStream, Buffer.from("first"));
  const full: FileSystem = new Proxy(counting.fs, {
    get: (target, key, receiver) =>
      key === "open"
        ? async (path: string, flags: unknown, mode: number) => {
            const handle = await target.open(path, flags as string, mode);
            const fail = async () => {
              throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
            };
            return Object.assign(handle, { write: fail, writev: fail, writeFile: fail });
          }
        : Reflect.get(target, key, receiver),
  });
  const store = new LayoutStore(directory, { fs: full });
  await expect(store.put(describeBytes(large), sourceOf(large))).rejects.toEqual(withCode("no-space"));
  await expect(store.ingest(mediaTypes.ociLayer, sourceOf(large)(0))).rejects.toEqual(withCode("no-space"));
  expect(await leftovers(directory)).toEqual([]);
});

/** A real file system of 4 MB, or why there can be none. */
async function mountSmallDisk(): Promise<{ path: string } | { reason: string }> {
  const path = await mkdtemp(join(tmpdir(), "lading-small-disk-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", path]);
    return { path };
  } catch (error) {
    await rm(path, { recursive: true });
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

describe("a disk that is really full", () => {
  let disk: Awaited<ReturnType<typeof mountSmallDisk>>;
  beforeAll(async () => {
    disk = await mountSmallDisk();
  });
  afterAll(async () => {
    if (!("path" in disk)) return;
    await run("umount", [disk.path]);
    await rm(disk.path, { recursive: true });
  });

  test("no-space, nothing half visible, and success once there is room", async (context) => {
    if (!("path" in disk)) return context.skip(`no small disk can be mounted here: ${disk.reason}`);
    const directory = join(disk.path, "store");
    const store = new LayoutStore(directory);
    const image = await randomImage(store);
    await store.tag(image.root, "app:1");
    const filler = randomBytesOf("filler", 2_500_000);
    const kept = await putBytes(store, mediaTypes.octetStream, filler);
    const index = await readFile(join(directory, "index.json"), "utf8");
    const bytes = randomBytesOf("too much", 3_000_000);
    await expect(store.put(describeBytes(bytes), sourceOf(bytes, 65_536))).rejects.toEqual(withCode("no-space"));
    await expect(store.ingest(mediaTypes.ociLayer, sourceOf(bytes, 65_536)(0))).rejects.toEqual(withCode("no-space"));
    expect(await store.has(describeBytes(bytes))).toBe(false);
    expect(await leftovers(directory)).toEqual([]);
    expect(await readFile(join(directory, "index.json"), "utf8")).toBe(index);
    await nothingLost(directory);
    await store.delete(kept.digest);
    expect((await store.put(describeBytes(bytes), sourceOf(bytes, 65_536))).outcome).toBe("stored");
  });
});
