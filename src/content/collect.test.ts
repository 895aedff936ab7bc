import { chmod, readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { putBytes, randomImage, randomIndex } from "../../test/support/random-image.js";
import { describeBytes, withCode } from "../../test/support/store-contract.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { validateImage } from "../../test/support/validate-image.js";
import { type Digest, digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import { collect, evictCache } from "./collect.js";
import { LayoutStore } from "./layout.js";
import { ownIdentity } from "./process-identity.js";

const hour = 3600 * 1000;

async function openStore(): Promise<LayoutStore> {
  return new LayoutStore(join(await temporaryFolder(), "store"));
}

/** Makes blobs look as if they had been used last so many ms ago. */
async function age(store: LayoutStore, digests: Iterable<Digest>, ms: number): Promise<void> {
  const then = (Date.now() - ms) / 1000;
  for (const digest of digests) await utimes(store.blobs.pathOf(digest), then, then);
}

async function allDigests(store: LayoutStore): Promise<Digest[]> {
  const digests: Digest[] = [];
  for await (const { digest } of store.blobs.list()) digests.push(digest);
  return digests.toSorted();
}

describe("collect", () => {
  test("keeps what images reach, index and all, and removes the rest when it is old", async () => {
    const store = await openStore();
    const index = await randomIndex(store, { attestations: true });
    await store.tag(index.root, "app:1");
    const { digests: needed } = await validateImage(store, index.root);
    const gone = await randomImage(store, { seed: "gone" });
    await age(store, await allDigests(store), 25 * hour);
    const young = await putBytes(store, mediaTypes.octetStream, Buffer.from("young"));
    const all = await allDigests(store);
    const planned = await collect(store, { dryRun: true });
    expect(await allDigests(store)).toEqual(all);
    const done = await collect(store);
    expect(new Set(done.digests)).toEqual(new Set(planned.digests));
    expect(done.freed).toBe(planned.freed);
    expect(done.digests).toHaveLength(gone.layers.length + 2);
    expect(await allDigests(store)).toEqual([...needed, young.digest].toSorted());
    await validateImage(store, index.root);
    expect((await collect(store, { graceMs: 0 })).digests).toEqual([young.digest]);
  });

  test("an image whose last name went is removed, what another still needs is not", async () => {
    const store = await openStore();
    const one = await randomImage(store, { seed: "one" });
    const shared = { ...JSON.parse(Buffer.from(one.manifest).toString()), annotations: { other: "1" } };
    const two = await putBytes(store, mediaTypes.ociManifest, Buffer.from(JSON.stringify(shared)));
    await store.tag(one.root, "one:1");
    await store.tag(two, "two:1");
    await store.untag("one:1");
    expect((await collect(store, { graceMs: 0 })).digests).toEqual([one.root.digest]);
    await validateImage(store, two);
  });

  test("keeps what is remembered as cache", async () => {
    const store = await openStore();
    const cached = await randomImage(store, { seed: "cached" });
    await store.rememberManifest(digestOf("id"), "docker", "linux/amd64", cached.root);
    const layer = await putBytes(store, mediaTypes.ociLayerGzip, Buffer.from("layer"));
    await store.rememberLayer(digestOf("diff"), layer);
    expect((await collect(store, { graceMs: 0 })).digests).toEqual([]);
  });

  test("one platform of an index may be all that is there", async () => {
    const store = await openStore();
    const index = await randomIndex(store);
    await store.tag(index.root, "app:1");
    const other = index.images[1]?.root.digest;
    if (other === undefined) throw new Error("no second image");
    await store.delete(other);
    const done = await collect(store, { graceMs: 0 });
    expect(done.digests).toHaveLength(3);
    await validateImage(store, index.images[0]?.root ?? index.root);
  });

  test.each([
    ["a manifest is damaged", "digest-mismatch"],
    ["the index is garbage", "manifest-invalid"],
    ["an entry is of a type that nobody knows", "unsupported"],
  ] as const)("removes nothing where %s", async (what, code) => {
    const store = await openStore();
    const image = await randomImage(store);
    await store.tag(image.root, "app:1");
    await randomImage(store, { seed: "garbage" });
    if (code === "digest-mismatch") {
      const path = store.blobs.pathOf(image.root.digest);
      await chmod(path, 0o644);
      await writeFile(path, Buffer.from(image.manifest).fill(32, 0, 1));
    } else {
      const manifests = [describeBytes(Buffer.from(what), "application/x-unknown")];
      const text = code === "unsupported" ? JSON.stringify({ schemaVersion: 2, manifests }) : "{";
      await writeFile(join(store.directory, "index.json"), text);
    }
    const before = await allDigests(store);
    await expect(collect(store, { graceMs: 0 })).rejects.toEqual(withCode(code));
    await expect(evictCache(store, { limit: 0, graceMs: 0 })).rejects.toEqual(withCode(code));
    expect(await allDigests(store)).toEqual(before);
  });

  test("heeds the lease of a transfer that is under way, and not that of a dead process", async () => {
    const store = await openStore();
    const release = await store.lease();
    const { digest } = await putBytes(store, mediaTypes.octetStream, Buffer.from("on its way"));
    expect((await collect(store, { graceMs: 0 })).digests).toEqual([]);
    await release();
    const leases = join(store.directory, ".lading", "leases");
    const { host } = await ownIdentity();
    await writeFile(join(leases, "dead.json"), JSON.stringify({ pid: 2 ** 22 + 1, host, started: "1", since: 1 }));
    expect((await collect(store, { graceMs: 0 })).digests).toEqual([digest]);
    expect(await readdir(leases)).toEqual([]);
  });

  test("spares what somebody uses while it runs", async () => {
    const store = await openStore();
    const { digest } = await putBytes(store, mediaTypes.octetStream, Buffer.from("used"));
    await age(store, [digest], 48 * hour);
    const blob = await store.blobs.stat(digest);
    if (blob === null) throw new Error("no blob");
    expect(await store.has(describeBytes(Buffer.from("used")))).toBe(true);
    expect(await store.evict(blob)).toBe(false);
    expect(await store.has(describeBytes(Buffer.from("used")))).toBe(true);
    const again = await store.blobs.stat(digest);
    expect(again !== null && (await store.evict(again))).toBe(true);
    expect(await store.has(describeBytes(Buffer.from("used")))).toBe(false);
  });
});

describe("evictCache", () => {
  test("removes the least recently used first, down to the limit, and never an image of the store", async () => {
    const store = await openStore();
    const own = await randomImage(store, { seed: "own" });
    await store.tag(own.root, "own:1");
    const { digests: needed } = await validateImage(store, own.root);
    await age(store, needed, 1000 * hour);
    const cached = [];
    for (const number of [1, 2, 3, 4, 5]) {
      const blob = await putBytes(store, mediaTypes.ociLayerGzip, Buffer.alloc(1000, String(number)));
      await store.rememberLayer(digestOf(String(number)), blob);
      await age(store, [blob.digest], (10 - number) * hour);
      cached.push(blob);
    }
    const [first, second, third, fourth, fifth] = cached.map(({ digest }) => digest);
    const sizes = await store.sizes();
    expect(sizes.cache).toBe(5000);
    expect(sizes.own).toBeGreaterThan(0);
    // Used again: now the youngest.
    for await (const _chunk of store.get(cached[0] ?? own.root));
    const keep = new Set([second].filter((digest) => digest !== undefined));
    expect((await evictCache(store, { limit: 3500, keep, dryRun: true })).digests).toEqual([third, fourth]);
    const done = await evictCache(store, { limit: 3500, keep });
    expect(done).toMatchObject({ digests: [third, fourth], freed: 2000 });
    expect(await allDigests(store)).toEqual([...needed, first, second, fifth].toSorted());
    // What has just been used stays, whatever the limit says.
    expect((await evictCache(store, { limit: 0 })).digests).toEqual([second, fifth]);
    await validateImage(store, own.root);
    expect(await store.compressedLayer(digestOf("3"))).toEqual(cached[2]);
    expect((await store.sizes()).cache).toBe(1000);
  });

  test("makes room on the disk, whatever the limit would allow", async () => {
    const store = await openStore();
    const blob = await putBytes(store, mediaTypes.ociLayerGzip, Buffer.alloc(1000));
    await age(store, [blob.digest], 2 * hour);
    expect((await evictCache(store, { limit: null })).digests).toEqual([]);
    const more = (await store.freeBytes()) * 2;
    expect((await evictCache(store, { limit: null, needFree: more })).digests).toEqual([blob.digest]);
  });
});
