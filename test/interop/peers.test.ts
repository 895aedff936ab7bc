import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { type Client, openClient } from "../../src/index.js";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { type RunningRegistry, startOwnRegistry } from "../support/own-registry.js";
import { suiteName } from "../support/programs.js";
import { randomImage, randomIndex } from "../support/random-image.js";
import { validateImage } from "../support/validate-image.js";
import { type LayoutImage, type Peer, type PeerKind, peers } from "./peers.js";

// Other people's clients against our registry and Debian's, and Lading in between: what one pushes every other one reads,
// with one digest.

const dockerRegistry = await findDockerRegistry();
const registries = [
  {
    name: "our registry",
    reason: null,
    start: (folder: string): Promise<RunningRegistry> => startOwnRegistry({ directory: join(folder, "registry") }),
  },
  {
    name: "docker-registry 2.8",
    reason: dockerRegistry === null ? "docker-registry not on this machine" : null,
    start: (): Promise<RunningRegistry> => startDockerRegistry(dockerRegistry ?? ""),
  },
];
const reasons = new Map(await Promise.all(peers.map(async (peer) => [peer, await peer.available()] as const)));

const contents = [
  { index: false, make: (store: LayoutStore) => randomImage(store, { seed: "oci", layers: 3 }) },
  { index: true, make: (store: LayoutStore) => randomIndex(store, { seed: "index" }) },
];

/** What the suite of one registry shares with those of its peers. */
interface Bench {
  readonly folder: string;
  readonly authority: string;
  readonly client: Client;
  readonly images: readonly LayoutImage[];
}

describe.each(registries)("$name", (registryKind) => {
  let folder = "";
  let registry: RunningRegistry;
  let bench: Bench;

  beforeAll(async () => {
    if (registryKind.reason !== null) return;
    folder = await mkdtemp(join(tmpdir(), "lading-interop-"));
    registry = await registryKind.start(folder);
    const images = await Promise.all(
      contents.map(async ({ index, make }) => {
        const layout = join(folder, index ? "index" : "image");
        const store = LayoutStore.open(layout);
        const { root } = await make(store);
        // The full form is what docker load understands; the others take any name.
        const name = `docker.io/library/${index ? "index" : "image"}:1`;
        await store.tag(root, name);
        return { folder: layout, name, digest: root.digest, index };
      }),
    );
    const client = await openClient({
      config: { clusters: { main: { registryUrl: registry.url } }, cluster: "main", owner: "alice" },
      engine: "store",
      storePath: join(folder, "store"),
      env: {},
    });
    bench = { folder, authority: new URL(registry.url).host, client, images };
  });

  afterAll(async () => {
    await bench?.client.close();
    await registry?.close();
    if (folder !== "") await rm(folder, { recursive: true, force: true });
  });

  for (const peerKind of peers) {
    peerSuite(peerKind, registryKind.reason ?? reasons.get(peerKind) ?? null, () => bench);
  }
});

function peerSuite(kind: PeerKind, reason: string | null, bench: () => Bench): void {
  const repository = (prefix: string, index: boolean): string =>
    [prefix, ...(kind.name.match(/[a-z]+/g) ?? []), index ? "index" : "image"].join("-");

  describe.skipIf(reason !== null)(suiteName(kind.name, reason), () => {
    let peer: Peer;
    beforeAll(async () => {
      peer = await kind.start();
    });
    afterAll(async () => {
      await peer?.close();
    });

    const kinds = kind.indexes ? [false, true] : [false];
    it.each(kinds)("pushes and pulls, and Lading pulls the same (index: %s)", async (index) => {
      const { folder, authority, client, images } = bench();
      const image = images.find((one) => one.index === index);
      if (image === undefined) throw new Error("no such image");
      const name = repository("from", index);
      const reference = `${authority}/alice/${name}:1`;
      const said = await peer.push(image, reference);
      const digest = said ?? image.digest;
      if (kind.carries) expect(digest).toBe(image.digest);
      await peer.pull(reference);

      const remote = client.parse.remoteImage(`image:${name}:1`);
      expect(await client.images.digest(remote)).toBe(digest);
      const pulled = await client.images.pullDetailed(remote, null, { platform: "all" });
      expect(pulled.digest).toBe(digest);
      const store = LayoutStore.open(join(folder, "store"));
      const root = await store.resolve(`${name}:1`);
      expect(root?.digest).toBe(digest);
      if (root !== null) await validateImage(store, root);
    });

    it.each([false, true])("reads what Lading pushed, with the digest that it printed (index: %s)", async (index) => {
      const { folder, authority, client } = bench();
      const name = repository("lading", index);
      const store = LayoutStore.open(join(folder, "store"));
      const root = (await contents.find((one) => one.index === index)?.make(store))?.root;
      if (root === undefined) throw new Error("no such image");
      await store.tag(root, `${name}:1`);
      const pushed = await client.images.pushDetailed(client.parse.localImage(`${name}:1`));
      expect(pushed.digest).toBe(root.digest);
      expect(pushed.reference).toBe(`${authority}/alice/${name}@${root.digest}`);

      const reference = `${authority}/alice/${name}:1`;
      // Podman gives the digest of the one image that it took out of an index.
      if (!(index && kind.name === "podman")) expect(await peer.digest(reference)).toBe(pushed.digest);
      await peer.pull(reference);
      // What Lading prints is a reference that every tool takes.
      await peer.pull(pushed.reference);
    });
  });
}
