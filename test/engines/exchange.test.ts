/** An engine that pushes and pulls by itself: what it moves is what Lading would have moved, and nothing of it stays behind. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { type Client, LocalImage, openClient } from "../../src/index.js";
import { createRegistry, type Listening, listen, type Registry } from "../../src/server/index.js";
import { makeCertificates } from "../support/certificates.js";
import { newestDocker, type RunningEngine } from "../support/engines.js";
import { output } from "../support/programs.js";
import { type RandomImage, randomImage } from "../support/random-image.js";
import { startTlsFront } from "../support/tls-front.js";

const reason = await newestDocker.available();
const password = "canary-of-the-exchange";
const basic = `Basic ${Buffer.from(`alice:${password}`).toString("base64")}`;

describe.skipIf(reason !== null)(`newest Docker by itself${reason === null ? "" : ` (${reason})`}`, () => {
  let folder: string;
  let engine: RunningEngine;
  let registry: Registry;
  let server: Listening;
  let image: RandomImage;
  let said: string[];
  const cleanups: (() => Promise<unknown>)[] = [];

  const docker = (...args: string[]) => output("docker", ["-H", `unix://${engine.socketPath}`, ...args]);
  const names = async () =>
    (await docker("image", "ls", "--all", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}"))
      .trim()
      .split("\n")
      .sort();
  const host = () => `127.0.0.1:${new URL(server.url).port}`;

  /** A client with a store of its own; `clusters` beside the registry that asks for a password. */
  async function open(use: (client: Client, store: LayoutStore) => Promise<void>, config: { ca?: string } = {}) {
    const home = await mkdtemp(join(folder, "home-"));
    said = [];
    const client = await openClient({
      config: {
        clusters: {
          main: { registryUrl: `http://${host()}` },
          here: { registryUrl: "http://localhost:5999", data: join(home, "registry") },
        },
        ...{ cluster: "main", owner: "alice", ...config },
      },
      engine: "docker",
      storePath: join(home, "store"),
      env: { HOME: home, PATH: process.env.PATH, DOCKER_HOST: `unix://${engine.socketPath}` },
      fetchCredentials: async () => ({ username: "alice", password }),
      onDebug: (text) => said.push(text),
    });
    try {
      await use(client, new LayoutStore(join(home, "store")));
    } finally {
      await client.close();
    }
    // Whoever reads what was said learns no password.
    expect(said.join("\n")).not.toContain(password);
  }

  /** Only what was exported or fetched by Lading itself is in its store. */
  const throughStore = async (store: LayoutStore) =>
    (await Promise.all(image.layers.map(({ descriptor }) => store.has(descriptor)))).every(Boolean);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lading-exchange-"));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    engine = await newestDocker.start();
    cleanups.push(engine.stop);
    registry = createRegistry({
      storage: "memory",
      authorize: async ({ headers }) =>
        headers.authorization === basic
          ? { allowed: true, principal: { subject: "alice" } }
          : { allowed: false, status: 401, challenge: 'Basic realm="test"', message: "who are you?" },
    });
    cleanups.push(() => registry.close());
    server = await listen(registry, { port: 0 });
    cleanups.push(() => server.close(0));
    const store = new LayoutStore(join(folder, "made"), { durability: "fast" });
    image = await randomImage(store, { seed: "exchange", layers: 3, layerSize: 400_000 });
    await open(async (client) => {
      await store.tag(image.root, "made:1");
      await client.local.load(join(folder, "made"), {});
      await docker("tag", image.root.digest, "app:1");
    });
  });
  afterAll(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup();
  });

  it("pushes with the credentials of the call, and leaves no name behind", async () => {
    const before = await names();
    await open(async (client, store) => {
      const pushed = await client.images.pushDetailed(new LocalImage("app", "1"), null, { tags: ["1", "2"] });
      expect(pushed).toMatchObject({ digest: image.root.digest, unchanged: false, bytesSent: expect.any(Number) });
      expect(pushed.blobs.sent).toBe(image.layers.length + 1);
      for (const tag of ["1", "2"]) {
        const remote = client.parse.remoteImage(`image:app:${tag}`);
        expect(await client.images.digest(remote)).toBe(image.root.digest);
      }
      expect(await throughStore(store)).toBe(false);
      const again = await client.images.pushDetailed(new LocalImage("app", "1"), null, { tags: ["1", "2"] });
      expect(again).toMatchObject({ digest: image.root.digest, unchanged: true, bytesSent: 0 });
    });
    expect(await names()).toEqual(before);
  });

  it("pulls with them, under the name that was asked for alone", async () => {
    await open(
      async (client) =>
        void (await client.images.push(new LocalImage("app", "1"), client.parse.remoteImage("image:there:1"))),
    );
    const before = await names();
    await open(async (client, store) => {
      const steps = new Map<string, string>();
      const pulled = await client.images.pullDetailed(
        client.parse.remoteImage("image:there:1"),
        new LocalImage("back", "1"),
        {
          progress: (event) => {
            if (event.type === "step") steps.set(event.layerId, event.status);
          },
        },
      );
      expect(pulled).toMatchObject({ id: image.root.digest, digest: image.root.digest, unchanged: false });
      expect([...steps.keys()].sort()).toEqual(image.layers.map(({ descriptor }) => descriptor.digest).sort());
      for (const status of steps.values()) expect(["done", "exists"]).toContain(status);
      expect(await throughStore(store)).toBe(false);
    });
    await docker("rmi", "back:1");
    expect(await names()).toEqual(before);
  });

  it("goes to a registry of Lading's own process, which lets nobody else in", async () => {
    const before = await names();
    await open(async (client, store) => {
      const remote = client.parse.remoteImage("image://here/alice/app:1");
      expect(await client.images.pushDetailed(new LocalImage("app", "1"), remote)).toMatchObject({
        digest: image.root.digest,
      });
      const pulled = await client.images.pullDetailed(remote, new LocalImage("from-here", "1"));
      expect(pulled.id).toBe(image.root.digest);
      expect(await throughStore(store)).toBe(false);
    });
    await docker("rmi", "from-here:1");
    expect(await names()).toEqual(before);
  });

  it("does not move a name that somebody gave to another image, and pushes all the same", async () => {
    const store = new LayoutStore(join(folder, "second"), { durability: "fast" });
    const second = await randomImage(store, { seed: "second", layers: 1, layerSize: 1000 });
    await store.tag(second.root, "second:1");
    await open(async (client) => {
      await client.local.load(join(folder, "second"), {});
      await docker("tag", second.root.digest, `${host()}/alice/taken:1`);
      const before = await names();
      const pushed = await client.images.pushDetailed(
        new LocalImage("app", "1"),
        client.parse.remoteImage("image:taken:1"),
      );
      expect(pushed.digest).toBe(image.root.digest);
      expect(await names()).toEqual(before);
    });
  });

  it("is left alone where it would need what Lading alone was told: another authority", async () => {
    const { serverFolder } = await makeCertificates(join(folder, "certificates"));
    const front = await startTlsFront(serverFolder, Number(host().split(":")[1]));
    cleanups.push(front.close);
    await open(
      async (client, store) => {
        const remote = client.parse.remoteImage(`localhost:${front.port}/alice/tls:1`);
        const pushed = await client.images.pushDetailed(new LocalImage("app", "1"), remote);
        expect(pushed.digest).toBe(image.root.digest);
        expect(await throughStore(store)).toBe(true);
      },
      { ca: join(serverFolder, "ca.pem") },
    );
  });

  it("takes its name back where it is cancelled, and where the registry refuses", async () => {
    const before = await names();
    const push = async (signal: AbortSignal | null, username: string) => {
      const client = await openClient({
        config: { clusters: { main: { registryUrl: `http://${host()}` } }, cluster: "main", owner: "alice" },
        engine: "docker",
        storePath: join(folder, "cancelled"),
        env: { HOME: folder, PATH: process.env.PATH, DOCKER_HOST: `unix://${engine.socketPath}` },
        fetchCredentials: async () => ({ username, password }),
      });
      try {
        await client.images.push(new LocalImage("app", "1"), client.parse.remoteImage("image:never:1"), { signal });
      } finally {
        await client.close();
      }
    };
    await expect(push(null, "mallory")).rejects.toMatchObject({ code: "unauthorized" });
    expect(await names()).toEqual(before);
    const controller = new AbortController();
    const pushing = push(controller.signal, "alice");
    setImmediate(() => controller.abort());
    await expect(pushing).rejects.toMatchObject({ code: "cancelled" });
    expect(await names()).toEqual(before);
  });
});
