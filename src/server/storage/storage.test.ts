import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../oci/digest.js";
import { FilesystemStorage } from "./filesystem.js";
import { MemoryStorage } from "./memory.js";
import { repositoriesOf, type Storage } from "./storage.js";

const text = (bytes: Uint8Array | null | undefined) => (bytes ? Buffer.from(bytes).toString() : null);
const bytes = (content: string) => Buffer.from(content);

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const one of source) found.push(one);
  return found;
}

describe.each(["memory", "filesystem"] as const)("what every storage keeps: %s", (kind) => {
  let directory: string;
  let storage: Storage;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "lading-storage-"));
    storage = kind === "memory" ? new MemoryStorage(Date.now) : new FilesystemStorage(directory, { durable: false });
    await storage.open({ write: true });
  });
  afterEach(async () => {
    await storage.close();
    await rm(directory, { recursive: true, force: true });
  });

  it("has one winner where many make or change a record at once", async () => {
    const made = await Promise.all([..."abcdefgh"].map((name) => storage.putIfAbsent("meta/x", "r", bytes(name))));
    expect(made.filter(Boolean)).toHaveLength(1);
    const before = await storage.read("meta/x", "r");
    const version = before?.version ?? "";
    const changed = await Promise.all(
      [..."ijklmnop"].map((to) => storage.putIfMatch("meta/x", "r", bytes(to), version)),
    );
    expect(changed.filter(Boolean)).toHaveLength(1);
    expect(text(await storage.get("meta/x", "r"))).toBe([..."ijklmnop"][changed.indexOf(true)]);
    expect(await storage.deleteIfMatch("meta/x", "r", version)).toBe(false);
    expect(await storage.deleteIfMatch("meta/x", "r", (await storage.read("meta/x", "r"))?.version ?? "")).toBe(true);
    expect(await storage.read("meta/x", "r")).toBeNull();
    expect(await storage.putIfMatch("meta/x", "r", bytes("q"), version)).toBe(false);
  });

  it("finds every repository that has anything, nested ones too", async () => {
    await storage.put("repos/a/_tags", "v1", bytes("{}"));
    await storage.put("repos/a/b/_links/sha256", "ab", bytes("{}"));
    await storage.put("repos/a/b/_referrers/sha256-cd", "sha256-ef", bytes("{}"));
    await storage.put("meta/repos", "a", bytes("{}"));
    expect((await all(repositoriesOf(storage))).sort()).toEqual(["a", "a/b"]);
    expect(await all(storage.folders("meta"))).toEqual(["meta/repos"]);
    expect(await all(storage.folders("nothing"))).toEqual([]);
  });

  it("removes a blob only after it was condemned for long enough, and whoever uses it revives it", async () => {
    const digest = digestOf("content");
    expect([await storage.condemnBlob(digest, 10), await storage.reviveBlob(digest)]).toEqual([false, null]);
    const users: (() => Promise<unknown>)[] = [
      () => storage.reviveBlob(digest),
      () => storage.addBlob(digest, bytes("content")),
      async () => {
        const upload = await storage.createUpload(
          "a",
          `00000000-1111-2222-3333-${String(clock++).padStart(12, "0")}`,
          null,
        );
        await upload.append(
          (async function* () {
            yield bytes("content");
          })(),
        );
        await upload.commit(digest);
      },
    ];
    let clock = 0;
    for (const use of users) {
      await storage.addBlob(digest, bytes("content"));
      expect(await storage.removeBlob(digest, 100)).toBeNull();
      expect([await storage.condemnBlob(digest, 50), await storage.condemnBlob(digest, 60)]).toEqual([true, false]);
      expect(await all(storage.condemnedBlobs())).toEqual([{ digest, since: 50 }]);
      expect(await storage.removeBlob(digest, 49)).toBeNull();
      await use();
      expect(await all(storage.condemnedBlobs())).toEqual([]);
      expect(await storage.removeBlob(digest, 100)).toBeNull();
      expect(await storage.blobSize(digest)).toBe(7);
    }
    await storage.condemnBlob(digest, 50);
    expect(await all(storage.blobs())).toEqual([{ digest, size: 7 }]);
    expect(await storage.removeBlob(digest, 50)).toBe(7);
    expect([await storage.blobSize(digest), await all(storage.blobs())]).toEqual([null, []]);
  });

  it("keeps what is corrupt aside, and takes it again", async () => {
    const digest = digestOf("content");
    await storage.addBlob(digest, bytes("c0ntent"));
    expect([await storage.quarantineBlob(digest), await storage.quarantineBlob(digest)]).toEqual([true, false]);
    expect(await storage.blobSize(digest)).toBeNull();
    await storage.addBlob(digest, bytes("content"));
    const got: Uint8Array[] = await all(storage.blobBytes(digest, 0, 6));
    expect(Buffer.concat(got).toString()).toBe("content");
  });

  it("remembers whose an upload is", async () => {
    const id = "00000000-1111-2222-3333-444444444444";
    await storage.createUpload("a", id, "carol");
    expect((await storage.openUpload("a", id))?.subject).toBe("carol");
  });
});
