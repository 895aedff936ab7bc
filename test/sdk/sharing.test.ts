import { chmod, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { type Client, type ImageProgressStep, openClient } from "../../src/index.js";
import { type Digest, digestHex } from "../../src/oci/digest.js";
import { type RandomImage, randomImage } from "../support/random-image.js";
import { validateImage } from "../support/validate-image.js";

/** A folder on another file system, where this machine has one. */
const otherDisk = await (async () => {
  const [here, there] = await Promise.all([stat(tmpdir()), stat("/dev/shm").catch(() => null)]);
  return there !== null && there.dev !== here.dev ? "/dev/shm" : null;
})();

let home: string;
let store: LayoutStore;
let client: Client;
let requests: string[];
const clients: Client[] = [];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "lading-sharing-"));
  requests = [];
  client = await newClient();
  store = new LayoutStore(client.config.store);
});
afterEach(async () => {
  for (const each of clients.splice(0)) await each.close();
  await rm(home, { recursive: true, force: true });
});

/** The default configuration: a store and the cluster `local`, both below one home. */
async function newClient(): Promise<Client> {
  const opened = await openClient({ engine: "store", env: { HOME: home }, onDebug: (text) => requests.push(text) });
  clients.push(opened);
  return opened;
}

async function localImage(name: string, seed = "1"): Promise<RandomImage> {
  const image = await randomImage(store, { seed, layers: 3, layerSize: 300_000 });
  await store.tag(image.root, name);
  return image;
}

const blobsOf = (image: RandomImage): readonly Digest[] =>
  [...image.layers, image.config].map(({ descriptor }) => descriptor.digest);
const registryFolder = () => client.config.clusters.local?.data ?? "";
const registryPath = (digest: Digest) =>
  join(registryFolder(), "blobs/sha256", digestHex(digest).slice(0, 2), digestHex(digest));
/** Requests that carried a blob's bytes in either direction. */
const transfers = () =>
  requests.filter((line) => /^(?:PUT|PATCH) \S*\/blobs\/|^POST \S*\/blobs\/uploads|^GET \S*\/blobs\/sha/.test(line));

/** One file with two names; where the file system clones files, two that share their bytes, which cannot be seen. */
async function expectShared(digest: Digest): Promise<void> {
  const [here, there] = await Promise.all([stat(store.blobs.pathOf(digest)), stat(registryPath(digest))]);
  expect([here.mode & 0o777, there.mode & 0o777, there.size]).toEqual([0o444, 0o444, here.size]);
  if (here.nlink > 1) expect(there.ino).toBe(here.ino);
  expect(transfers().filter((line) => line.includes(digest))).toEqual([]);
}

describe("a store and a registry on one file system", () => {
  it("have a blob that is pushed once between them", async () => {
    const image = await localImage("app:1");
    const steps: ImageProgressStep[] = [];
    const result = await client.images.pushDetailed(client.parse.localImage("app:1"), null, {
      progress: { step: (step) => void steps.push(step) },
    });
    for (const digest of blobsOf(image)) await expectShared(digest);
    expect(transfers()).toEqual([]);
    const bytes = [...image.layers, image.config].reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    expect(result.toJSON()).toMatchObject({ blobs: { sent: 4, mounted: 0, existing: 0 }, bytesSent: bytes });
    for (const { descriptor } of image.layers) {
      const last = steps.filter(({ layerId }) => layerId === descriptor.digest).at(-1);
      expect(last).toMatchObject({ status: "done", current: descriptor.size, total: descriptor.size });
    }
  });

  it("have a blob that is pulled once between them", async () => {
    const image = await localImage("app:1");
    const remote = await client.images.push(client.parse.localImage("app:1"));
    await rm(store.directory, { recursive: true });
    requests = [];
    const result = await (await newClient()).images.pullDetailed(remote);
    for (const digest of blobsOf(image)) await expectShared(digest);
    expect(transfers()).toEqual([]);
    expect(result.toJSON().blobs.received).toBeGreaterThan(0);
    await validateImage(new LayoutStore(store.directory), image.root);
  });

  it("do not lose what the other one deletes", async () => {
    const image = await localImage("app:1");
    const remote = await client.images.push(client.parse.localImage("app:1"));
    await rm(store.directory, { recursive: true });
    await (await newClient()).images.pull(remote);
    await rm(registryFolder(), { recursive: true });
    await validateImage(new LayoutStore(store.directory), image.root);
    const again = await newClient();
    await again.images.push(again.parse.localImage("app:1"));
    for (const digest of blobsOf(image)) await store.delete(digest);
    await again.images.pull(remote);
    await validateImage(new LayoutStore(store.directory), image.root);
  });

  it("share with eight pushes and pulls at once", async () => {
    const image = await localImage("app:1");
    const others = await Promise.all(Array.from({ length: 7 }, newClient));
    const remotes = await Promise.all(
      [client, ...others].map((each, index) =>
        each.images.push(
          each.parse.localImage("app:1"),
          each.parse.remoteImage(`image://local/alice/${index < 4 ? "app" : `app${index}`}:1`),
        ),
      ),
    );
    for (const digest of blobsOf(image)) await expectShared(digest);
    for (const digest of blobsOf(image)) await store.delete(digest);
    await Promise.all(
      remotes.map((remote, index) => {
        const each = others[index] ?? client;
        return each.images.pull(remote, each.parse.localImage("back:1"));
      }),
    );
    await validateImage(store, image.root);
    for (const digest of blobsOf(image)) await expectShared(digest);
  });

  it.skipIf(otherDisk === null)("on two file systems copy every blob", async () => {
    const folder = await mkdtemp(join(otherDisk ?? "", "lading-sharing-"));
    try {
      const options = { engine: "store", storePath: folder, env: { HOME: home } } as const;
      const far = await openClient(options);
      clients.push(far);
      store = new LayoutStore(folder);
      const image = await localImage("app:1");
      const remote = await far.images.push(far.parse.localImage("app:1"));
      for (const digest of blobsOf(image)) expect((await stat(registryPath(digest))).nlink).toBe(1);
      for (const digest of blobsOf(image)) await store.delete(digest);
      await far.images.pull(remote);
      await validateImage(store, image.root);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("copy a blob that somebody may write", async () => {
    const image = await localImage("app:1");
    for (const digest of blobsOf(image)) await chmod(store.blobs.pathOf(digest), 0o644);
    await client.images.push(client.parse.localImage("app:1"));
    for (const digest of blobsOf(image)) {
      const [here, there] = await Promise.all([stat(store.blobs.pathOf(digest)), stat(registryPath(digest))]);
      expect([there.ino === here.ino, there.mode & 0o777]).toEqual([false, 0o444]);
    }
  });
});
