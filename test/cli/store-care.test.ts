import { chmod, readdir, readFile, rm, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { openClient, type PruneJson, type RepairJson, type VerifyJson } from "../../src/index.js";
import { type Digest, digestHex } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { createRegistry, type Listening, listen, type Registry } from "../../src/server/index.js";
import { putBytes } from "../support/random-image.js";
import { validateImage } from "../support/validate-image.js";
import { refused } from "./failure.js";
import { Machine, type Outcome } from "./machine.js";
import { conforms } from "./schema.js";

// `lading verify`, `repair` and `prune` as they are shipped, on a store whose files somebody else has changed.

let machine: Machine;
let store: LayoutStore;
let registry: Registry;
let listening: Listening;
beforeEach(async () => {
  machine = await Machine.create();
  store = new LayoutStore(machine.store);
  // Over HTTP: a registry of the same process might hold the very files that are damaged here.
  registry = createRegistry({ storage: "memory" });
  listening = await listen(registry, { port: 0 });
});
afterEach(async () => {
  await listening.close(0);
  await registry.close();
  await machine.remove();
});

const lading = (...args: readonly string[]): Promise<Outcome> => machine.lading(args, env());

const env = () => ({ env: { LADING_REGISTRY_URL: listening.url } });

async function json<Value>(verb: string, code: number, ...args: readonly string[]): Promise<Value> {
  const outcome = await lading(verb, ...args, "--json");
  expect(outcome).toMatchObject({ code });
  return conforms(verb, JSON.parse(outcome.stdout)) as Value;
}

/** Zeros where the content was: the size stays, as after a bad power cut. */
async function zero(digest: Digest): Promise<void> {
  const path = store.blobs.pathOf(digest);
  const { length } = await readFile(path);
  await chmod(path, 0o644);
  await writeFile(path, Buffer.alloc(length));
}

async function blobsOf(name: string) {
  const root = await store.resolve(name);
  if (root === null) throw new Error(`no ${name}`);
  const manifest = JSON.parse((await readFile(store.blobs.pathOf(root.digest))).toString());
  const [layer, other] = manifest.layers.map(({ digest }: { digest: Digest }) => digest) as [Digest, Digest];
  return { root: root.digest, config: manifest.config.digest as Digest, layer, other };
}

async function inRegistry(digest: Digest): Promise<boolean> {
  const { status } = await registry.handle({ method: "HEAD", url: `/v2/alice/app/blobs/${digest}`, headers: {} });
  return status === 200;
}

const aside = async () => await readdir(join(machine.store, ".lading", "corrupt")).catch(() => []);

describe("verify", () => {
  it("finds nothing where nothing is, and makes nothing", async () => {
    const found = await json<VerifyJson>("verify", 0);
    expect(found).toMatchObject({ ok: true, images: [], problems: [], checked: { blobs: 0, bytes: 0 } });
    expect(await readdir(machine.home)).toEqual([]);
  });

  it("reads every blob of a store that is whole, and prints what the SDK gives", async () => {
    const digest = await machine.putImage("app:1", { layers: 2 });
    const found = await json<VerifyJson>("verify", 0);
    expect(found).toMatchObject({
      ok: true,
      store: machine.store,
      images: [{ local: "app:1", digest, ok: true }],
      problems: [],
      checked: { blobs: 4 },
    });
    const client = await openClient({ env: machine.env });
    const result = await client.local.verify([client.parse.localImage("app:1")]);
    await client.close();
    expect(JSON.parse(JSON.stringify(result))).toEqual(found);
    const plain = await lading("verify", "app:1");
    expect(plain).toMatchObject({ code: 0, stdout: "ok    app:1\n" });
    expect(plain.stderr).toContain("verifying");
  });

  it("names what is corrupt and what is missing, and the images that it belongs to", async () => {
    await machine.putImage("app:1", { layers: 2 });
    await machine.putImage("other:1", { seed: "other" });
    const { layer, config } = await blobsOf("app:1");
    await zero(layer);
    await unlink(store.blobs.pathOf(config));
    const found = await json<VerifyJson>("verify", 65);
    expect(found.images.map(({ local, ok }) => [local, ok])).toEqual([
      ["app:1", false],
      ["other:1", true],
    ]);
    expect(found.problems.map(({ kind, digest, images }) => [kind, digest, images])).toEqual([
      ["missing", config, ["app:1"]],
      ["corrupt", layer, ["app:1"]],
    ]);
    expect(await json<VerifyJson>("verify", 0, "other:1")).toMatchObject({ ok: true });
    // Nothing is changed by looking.
    expect(await aside()).toEqual([]);
    await refused(machine, ["verify", "nothing:1"], { code: "not-found", side: null, exit: 72 }, env());
  });

  it("tells of a garbage index, and reads the blobs nevertheless", async () => {
    await machine.putImage("app:1");
    await writeFile(join(machine.store, "index.json"), "{");
    const found = await json<VerifyJson>("verify", 65);
    expect(found).toMatchObject({ ok: false, checked: { blobs: 4 }, problems: [{ kind: "index", digest: null }] });
  });

  it("acts on the store whatever the engine is", async () => {
    await machine.putImage("app:1");
    const outcome = await machine.lading(["verify", "--json"], { env: { LADING_ENGINE: "docker" } });
    expect(outcome).toMatchObject({ code: 0 });
    expect(JSON.parse(outcome.stdout)).toMatchObject({ ok: true, checked: { blobs: 4 } });
  });
});

describe("repair", () => {
  it("puts aside what is damaged, and fetches it from where the image was pushed", async () => {
    const digest = await machine.putImage("app:1", { layers: 2, layerSize: 600_000 });
    expect(await lading("push", "app:1")).toMatchObject({ code: 0 });
    const { layer, root, other } = await blobsOf("app:1");
    // The layer that the damaged manifest names is seen to be missing only once the manifest is here again.
    await zero(layer);
    await zero(root);
    await unlink(store.blobs.pathOf(other));
    const source = `${new URL(listening.url).host}/alice/app`;
    const done = await json<RepairJson>("repair", 0);
    expect(done.ok).toBe(true);
    expect(
      done.repairs.map(({ kind, digest: one, action, source: from }) => [kind, one, action, from]).toSorted(),
    ).toEqual(
      [
        ["corrupt", layer, "fetched", source],
        ["corrupt", root, "fetched", source],
        ["missing", other, "fetched", source],
      ].toSorted(),
    );
    expect(await aside()).toHaveLength(2);
    expect((await store.resolve("app:1"))?.digest).toBe(digest);
    const tagged = await store.resolve("app:1");
    if (tagged !== null) await validateImage(store, tagged);
    expect(await json<VerifyJson>("verify", 0)).toMatchObject({ ok: true });
    expect(await json<RepairJson>("repair", 0)).toMatchObject({ ok: true, repairs: [] });
  });

  it("fetches from where the image was pulled, by the name of a healthy image beside it, too", async () => {
    await machine.putImage("app:1", { layers: 2 });
    await lading("push", "app:1");
    await rm(machine.store, { recursive: true });
    expect(await lading("pull", "image:app:1")).toMatchObject({ code: 0 });
    const { layer } = await blobsOf("app:1");
    await zero(layer);
    expect(await lading("repair", "app:1")).toMatchObject({ code: 0 });
    expect(await json<VerifyJson>("verify", 0)).toMatchObject({ ok: true });
    // What is remembered says where, and nothing of who.
    const origins = join(machine.store, ".lading", "origins");
    const [name = ""] = await readdir(origins);
    expect(JSON.parse(await readFile(join(origins, name), "utf8"))).toEqual([
      `${new URL(listening.url).host}/alice/app`,
    ]);
  });

  it("says what can be done where nobody knows a source, and where the source has nothing either", async () => {
    await machine.putImage("app:1", { layers: 2 });
    const { layer } = await blobsOf("app:1");
    await zero(layer);
    const unknown = await lading("repair", "--json");
    expect(unknown).toMatchObject({ code: 65 });
    const [repair] = (conforms("repair", JSON.parse(unknown.stdout)) as RepairJson).repairs;
    expect(repair).toMatchObject({ digest: layer, action: "failed", error: { code: "digest-mismatch" } });
    expect(await aside()).toHaveLength(1);
    const { root } = await blobsOf("app:1");
    await store.origins.remember(root, `${new URL(listening.url).host}/alice/app`);
    const gone = await lading("repair", "--json");
    expect(gone).toMatchObject({ code: 72 });
    expect(JSON.parse(gone.stdout).repairs).toMatchObject([
      { kind: "missing", digest: layer, action: "failed", error: { code: "not-found", side: "source" } },
    ]);
    // The image's name is still there, and says what it was.
    expect((await store.resolve("app:1"))?.digest).toBe(root);
  });

  it("moves aside what no image needs", async () => {
    const blob = await putBytes(store, mediaTypes.octetStream, Buffer.from("of nobody"));
    await zero(blob.digest);
    expect(await json<RepairJson>("repair", 0)).toMatchObject({
      ok: true,
      repairs: [{ kind: "corrupt", digest: blob.digest, action: "aside" }],
    });
    expect(await aside()).toEqual([expect.stringContaining(digestHex(blob.digest))]);
  });
});

describe("push and pull of a damaged image", () => {
  it("push sends no blob whole that is damaged; pull mends it", async () => {
    await machine.putImage("app:1", { layers: 2, layerSize: 3_000_000 });
    await lading("push", "app:1", "image:safe:1");
    const { layer } = await blobsOf("app:1");
    await zero(layer);
    await refused(machine, ["push", "app:1"], { code: "digest-mismatch", side: "source", exit: 65 }, env());
    expect(await inRegistry(layer)).toBe(false);
    const { status } = await registry.handle({ method: "HEAD", url: "/v2/alice/app/manifests/1", headers: {} });
    expect(status).toBe(404);
    expect(await lading("pull", "image:safe:1", "app:1")).toMatchObject({ code: 0 });
    expect(await json<VerifyJson>("verify", 0)).toMatchObject({ ok: true });
    // Without a push that met the damage first, too: a pull looks at what was written to.
    await zero(layer);
    expect(JSON.parse((await lading("pull", "image:safe:1", "app:1", "--json")).stdout)).toMatchObject({
      blobs: { received: 1 },
    });
    expect(await json<VerifyJson>("verify", 0)).toMatchObject({ ok: true });
    const again = await lading("pull", "image:safe:1", "app:1", "--json");
    expect(JSON.parse(again.stdout)).toMatchObject({ blobs: { received: 0 }, bytesReceived: 0 });
  });

  it("what the disk itself forgot is refused by the registry, told as the store's fault, and put aside", async () => {
    await machine.putImage("app:1", { layers: 2, layerSize: 3_000_000 });
    const { layer } = await blobsOf("app:1");
    const { mtime, atime } = await stat(store.blobs.pathOf(layer));
    await zero(layer);
    // Nobody has written to it, as far as one can see.
    await utimes(store.blobs.pathOf(layer), atime, mtime);
    await chmod(store.blobs.pathOf(layer), 0o444);
    await refused(machine, ["push", "app:1"], { code: "digest-mismatch", side: "source", exit: 65 }, env());
    expect(await inRegistry(layer)).toBe(false);
    const { status } = await registry.handle({ method: "HEAD", url: "/v2/alice/app/manifests/1", headers: {} });
    expect(status).toBe(404);
    expect(await aside()).toEqual([expect.stringContaining(digestHex(layer))]);
  });
});

describe("prune", () => {
  const hour = 3600 * 1000;

  async function age(digests: readonly Digest[], ms: number): Promise<void> {
    const then = Math.floor((Date.now() - ms) / 1000);
    for (const digest of digests) await utimes(store.blobs.pathOf(digest), then, then);
  }

  it("removes what no image needs, cache and leftovers, after saying so in a dry run", async () => {
    await machine.putImage("app:1", { layers: 2 });
    const old = await putBytes(store, mediaTypes.octetStream, Buffer.from("old"));
    const young = await putBytes(store, mediaTypes.octetStream, Buffer.from("young"));
    const cached = await putBytes(store, mediaTypes.ociLayerGzip, Buffer.from("cached"));
    await store.rememberLayer(young.digest, cached);
    await age([old.digest, cached.digest], 25 * hour);
    const partial = join(machine.store, ".lading", "partial", `sha256-${"a".repeat(64)}.left`);
    await writeFile(partial, "half");
    const kept = { store: machine.store, freed: 9 };
    const expected = [
      { kind: "blob", digest: old.digest, size: 3 },
      { kind: "cache", digest: cached.digest, size: 6 },
    ];
    const planned = await json<PruneJson>("prune", 0, "--dry-run");
    expect(planned).toMatchObject({ ...kept, dryRun: true });
    expect(planned.removed.toSorted((one, other) => one.kind.localeCompare(other.kind))).toEqual(expected);
    expect(await readdir(join(machine.store, "blobs", "sha256"))).toContain(digestHex(old.digest));
    const done = await json<PruneJson>("prune", 0);
    expect(done).toEqual({ ...planned, dryRun: false });
    expect([await store.has(old), await store.has(cached), await store.has(young)]).toEqual([false, false, true]);
    expect(await store.compressedLayer(young.digest)).toBeNull();
    // `--older-than 0` takes all that nobody is at.
    const all = await lading("gc", "--older-than", "0");
    expect(all.code).toBe(0);
    expect(all.stdout.trim().split("\n").toSorted()).toEqual([
      `blob  ${young.digest}  5`,
      `partial  sha256:${"a".repeat(64)}  4`,
    ]);
    expect(await json<VerifyJson>("verify", 0)).toMatchObject({ ok: true, checked: { blobs: 4 } });
    await refused(machine, ["prune", "--older-than", "soon"], { code: "usage", side: null, exit: 64 }, env());
  });

  it("spares what a transfer has used that is under way", async () => {
    const release = await store.lease();
    const blob = await putBytes(store, mediaTypes.octetStream, Buffer.from("on its way"));
    expect(await json<PruneJson>("prune", 0, "--older-than", "0")).toMatchObject({ removed: [] });
    await release();
    expect(await json<PruneJson>("prune", 0, "--older-than", "0")).toMatchObject({
      removed: [{ digest: blob.digest }],
    });
  });

  it("removes nothing where a damaged manifest leaves open what is needed", async () => {
    await machine.putImage("app:1", { layers: 2 });
    const { root } = await blobsOf("app:1");
    await zero(root);
    const before = await readdir(join(machine.store, "blobs", "sha256"));
    await refused(machine, ["prune", "--older-than", "0"], { code: "digest-mismatch", side: null, exit: 65 }, env());
    expect(await readdir(join(machine.store, "blobs", "sha256"))).toEqual(before);
  });

  it("makes no store where there is none", async () => {
    expect(await json<PruneJson>("prune", 0)).toMatchObject({ removed: [], freed: 0 });
    expect(await readdir(machine.home)).toEqual([]);
  });
});
