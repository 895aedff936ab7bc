import { mkdir, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Client,
  type ImageProgressEvent,
  type LoadSource,
  LocalImage,
  openClient,
  progressEvents,
  RemoteImage,
} from "../../src/index.js";
import { withProgress } from "../../src/operations/transfer-progress.js";
import { putBytes, randomImage } from "../support/random-image.js";
import { on, startScriptedRegistry } from "../support/scripted-registry.js";
import { errorOf, type TestBench, testBench } from "../support/sdk-client.js";

// What all calls of a client have in common, whatever they do.

let bench: TestBench;
const later: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  bench = await testBench();
});
afterEach(async () => {
  for (const close of later.splice(0).reverse()) await close();
  await bench.close();
});

/** A server that takes connections and says nothing. */
async function silentServer(): Promise<{ readonly host: string; readonly asked: Promise<void> }> {
  const sockets = new Set<Socket>();
  let hear = () => {};
  const asked = new Promise<void>((resolve) => {
    hear = resolve;
  });
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", () => hear());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  later.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a server without a port");
  return { host: `127.0.0.1:${address.port}`, asked };
}

const local = new LocalImage("app", "1");
const digest = `sha256:${"a".repeat(64)}`;
const silence: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) };

type Options = { readonly signal?: AbortSignal };
type Call = (client: Client, remote: RemoteImage, options?: Options) => Promise<unknown>;

async function readAll(pages: AsyncIterable<unknown>): Promise<void> {
  for await (const _page of pages) {
    // To its end.
  }
}

const toRegistry: Readonly<Record<string, Call>> = {
  push: (client, remote, options) => client.images.push(local, remote, options),
  pull: (client, remote, options) => client.images.pull(remote, null, options),
  copy: (client, remote, options) => client.images.copy(remote, remote.withTag("2"), options),
  digest: (client, remote, options) => client.images.digest(remote, options),
  size: (client, remote, options) => client.images.size(remote, options),
  tagInfo: (client, remote, options) => client.images.tagInfo(remote, options),
  info: (client, remote, options) => client.images.info(remote, options),
  inspect: (client, remote, options) => client.images.inspect(remote, options),
  rm: (client, remote, options) => client.images.rm(remote, digest, options),
  remove: (client, remote, options) => client.images.remove(remote, options),
  removeTag: (client, remote, options) => client.images.removeTag(remote, options),
  planRemoval: (client, remote, options) => client.images.planRemoval(remote, options),
  tags: (client, { name, registry }, options) =>
    client.images.tags(RemoteImage.newExternalImage(name, registry), options),
  tagPages: (client, { name, registry }, options) =>
    readAll(client.images.tagPages(RemoteImage.newExternalImage(name, registry), options)),
  list: (client, { registry }, options) => client.images.list(null, { registry, ...options }),
  listPages: (client, { registry }, options) => readAll(client.images.listPages(null, { registry, ...options })),
  login: (client, { registry }, options) => client.login({ registry, username: "a", password: "b", ...options }),
};

const toEngine: Readonly<Record<string, Call>> = {
  "local.detect": (client, _remote, options) => client.local.detect(options),
  "local.list": (client, _remote, options) => client.local.list(options),
  "local.inspect": (client, _remote, options) => client.local.inspect(local, options),
  "local.tag": (client, _remote, options) => client.local.tag(local, local, options),
  "local.remove": (client, _remote, options) => client.local.remove(local, options),
  "local.load": (client, _remote, options) => client.local.load(silence, options),
  "local.save": (client, _remote, options) => client.local.save([local], () => Promise.resolve(), options),
  "local.import": (client, _remote, options) => client.local.import(silence, local, options),
  doctor: (client, _remote, options) => client.doctor(options),
};

describe("cancelling", () => {
  it.each(Object.entries(toRegistry))("%s of a registry that says nothing", async (_name, call) => {
    const image = await randomImage(bench.store);
    await bench.store.tag(image.root, local.toString());
    const reason = new Error("enough");
    for (const end of ["signal", "close"] as const) {
      const { host, asked } = await silentServer();
      const client = await bench.open();
      const stop = new AbortController();
      const options = end === "signal" ? { signal: stop.signal } : undefined;
      const error = errorOf(call(client, RemoteImage.newExternalImage("a/b", host, { tag: "1" }), options));
      await asked;
      if (end === "signal") stop.abort(reason);
      else await client.close();
      expect(await error).toMatchObject(
        end === "signal" ? { code: "cancelled", cause: reason } : { code: "cancelled" },
      );
    }
  });

  it.each(Object.entries(toEngine))("%s of an engine that says nothing", async (_name, call) => {
    const { host, asked } = await silentServer();
    const env = { HOME: bench.directory, DOCKER_HOST: `tcp://${host}` };
    const client = await bench.open({ engine: "docker", env });
    const stop = new AbortController();
    const reason = new Error("enough");
    const error = errorOf(call(client, RemoteImage.newExternalImage("a"), { signal: stop.signal }));
    await asked;
    stop.abort(reason);
    expect(await error).toMatchObject({ code: "cancelled", cause: reason });
  });

  it.each([
    ["a stream that is loaded", (client: Client, options: Options) => client.local.load(silence, options)],
    ["one that is imported", (client: Client, options: Options) => client.local.import(silence, local, options)],
    [
      "a function that takes a saved archive",
      (client: Client, options: Options) => client.local.save([local], () => new Promise(() => {}), options),
    ],
  ])("does not wait for %s", async (_name, call) => {
    const image = await randomImage(bench.store);
    await bench.store.tag(image.root, local.toString());
    expect(await errorOf(call(bench.client, { signal: AbortSignal.timeout(100) }))).toMatchObject({ code: "timeout" });
  });

  it("does not wait for fetchCredentials", async () => {
    const registry = await startScriptedRegistry(
      on("HEAD", /./, ({ send }) => send(401, { "www-authenticate": "Basic realm=x" })),
    );
    later.push(() => registry.close());
    const remote = RemoteImage.newExternalImage("a/b", registry.host, { tag: "1" });
    const options = { signal: AbortSignal.timeout(100), fetchCredentials: () => new Promise<null>(() => {}) };
    expect(await errorOf(bench.client.images.digest(remote, options))).toMatchObject({ code: "timeout" });
  });

  it("the client's own signal closes it, with its reason as the cause", async () => {
    const { host, asked } = await silentServer();
    const stop = new AbortController();
    const client = await bench.open({ signal: stop.signal });
    const error = errorOf(client.images.digest(RemoteImage.newExternalImage("a/b", host, { tag: "1" })));
    await asked;
    const reason = new DOMException("late", "TimeoutError");
    stop.abort(reason);
    expect(await error).toMatchObject({ code: "timeout", cause: reason });
    expect(await errorOf(client.images.list())).toMatchObject({ code: "closed" });
  });
});

describe("after close", () => {
  it.each(Object.entries({ ...toRegistry, ...toEngine }))("%s gives `closed`", async (_name, call) => {
    await bench.client.close();
    const error = errorOf(call(bench.client, RemoteImage.newExternalImage("a/b", "localhost:1", { tag: "1" })));
    expect(await error).toMatchObject({ code: "closed" });
  });

  it("local.engine and logout too, also where the engine was known", async () => {
    expect(await bench.client.local.engine).toMatchObject({ kind: "store" });
    // Known by now: the fields can be read without waiting.
    expect(bench.client.local.engine.kind).toBe("store");
    await bench.client.close();
    expect(await errorOf(bench.client.local.engine)).toMatchObject({ code: "closed" });
    expect(await errorOf(bench.client.logout())).toMatchObject({ code: "closed" });
  });
});

describe("what is given", () => {
  it.each<readonly [string, object]>([
    ["options", Object("text")],
    ["signal", { signal: {} }],
    ["fetchCredentials", { fetchCredentials: "alice:secret" }],
    ["progress", { progress: 5 }],
    ["platform", { platform: 5 }],
  ])("a wrong %s is `usage`, and nothing is done", async (name, options) => {
    const wrong = name === "options" ? ("text" as unknown as object) : options;
    expect(await errorOf(bench.client.images.push(local, null, wrong))).toMatchObject({ code: "usage" });
    expect(await errorOf(bench.client.local.load(join(bench.directory, "none"), wrong))).toMatchObject({
      code: "usage",
    });
  });

  it.each([5, null, Buffer.from("bytes")])("neither a path nor a stream: %j", async (source) => {
    expect(await errorOf(bench.client.local.load(source as unknown as LoadSource))).toMatchObject({ code: "usage" });
  });

  it.each<object>([{ signal: 5 }, { env: 5 }, { config: "main" }, { onWarning: 5 }, { fetchCredentials: 5 }])(
    "openClient(%j) is `usage`",
    async (options) => {
      expect(await errorOf(openClient(options))).toMatchObject({ code: "usage" });
    },
  );

  it("comes back as it is: also a value of another copy of the package", async () => {
    const image = await randomImage(bench.store);
    await bench.store.tag(image.root, local.toString());
    const remote = { ...RemoteImage.newExternalImage("a/b", "localhost:5999", { tag: "1" }), clusterName: "main" };
    const given = { ...remote, owner: "alice" } as unknown as RemoteImage;
    expect(await bench.client.images.push({ ...local } as LocalImage, given)).toBe(given);
    const target = { name: "back", tag: "1" } as LocalImage;
    expect(await bench.client.images.pull(given, target)).toBe(target);
    const gone = { ...given, tag: "gone" } as RemoteImage;
    const error = await errorOf(bench.client.images.digest(gone));
    expect(error).toMatchObject({ code: "not-found", image: "image://main/alice/a/b:gone" });
  });
});

describe("concurrency.transfers", () => {
  it("bounds the images that move at the same time", async () => {
    const client = await bench.open({ concurrency: { transfers: 1 } });
    const heard: string[] = [];
    await Promise.all(
      ["one", "two", "three"].map(async (seed) => {
        const image = await randomImage(bench.store, { seed });
        await bench.store.tag(image.root, `${seed}:1`);
        await client.images.push(new LocalImage(seed, "1"), null, { progress: () => void heard.push(seed) });
      }),
    );
    // One after another: each is heard in one piece.
    expect(heard.filter((seed, index) => seed !== heard[index - 1])).toHaveLength(3);
  });
});

describe("what a registry says", () => {
  it("leaves a tag out that no reference can name, with a warning", async () => {
    const registry = await startScriptedRegistry(
      on("GET", /tags\/list/, ({ send }) => send(200, {}, JSON.stringify({ name: "a/b", tags: ["ok", "not ok"] }))),
    );
    later.push(() => registry.close());
    const repository = RemoteImage.newExternalImage("a/b", registry.host);
    expect((await bench.client.images.tags(repository)).map(({ tag }) => tag)).toEqual(["ok"]);
    expect(bench.warnings).toHaveLength(1);
  });

  it.each<unknown>(["secret", { username: "alice" }, 5])(
    "%j from fetchCredentials is no credential",
    async (answer) => {
      const registry = await startScriptedRegistry(
        on("HEAD", /./, ({ send }) => send(401, { "www-authenticate": "Basic realm=x" })),
      );
      later.push(() => registry.close());
      const options = { fetchCredentials: () => Promise.resolve(answer as null) };
      const remote = RemoteImage.newExternalImage("a/b", registry.host, { tag: "1" });
      expect(await errorOf(bench.client.images.digest(remote, options))).toMatchObject({ code: "callback-failed" });
    },
  );

  it("credentials in files are not looked at where the program answers for them: also by doctor", async () => {
    await mkdir(join(bench.directory, ".docker"));
    await writeFile(join(bench.directory, ".docker", "config.json"), "not JSON");
    const client = await bench.open({ fetchCredentials: () => Promise.resolve(null) });
    expect((await client.doctor()).checks.filter(({ status }) => status === "fail")).toEqual([]);
  });
});

describe("doctor", () => {
  it.each([
    [{ "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600" }, "ok"],
    [{ "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "3;w=21600" }, "warn"],
    [{}, "skip"],
  ])("says what the registry leaves of requests: %j is %s", async (headers, status) => {
    const registry = await startScriptedRegistry(on("GET", "/v2/", ({ send }) => send(200, headers)));
    later.push(() => registry.close());
    const client = await bench.open({
      config: { clusters: { counted: { registryUrl: registry.url } }, cluster: "counted", owner: "alice" },
    });
    const { checks } = await client.doctor();
    expect(checks.find(({ id }) => id === "rate-limit")).toMatchObject({ status, code: null });
    // It is the registry's own answer that tells: nothing more is asked.
    expect(registry.log).toEqual(["GET /v2/"]);
  });
});

describe("local.inspect", () => {
  it("leaves an artifact's config alone", async () => {
    const config = await putBytes(bench.store, "application/vnd.example+text", Buffer.from("no JSON"));
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [] }));
    await bench.store.tag(await putBytes(bench.store, mediaType, manifest), "artifact:1");
    const { platforms } = await bench.client.local.inspect(new LocalImage("artifact", "1"));
    expect(platforms).toMatchObject([{ platform: null, config: null }]);
  });
});

describe("progress", () => {
  it("tells of each layer that is loaded how it ended", async () => {
    const image = await randomImage(bench.store, { layers: 3 });
    await bench.store.tag(image.root, local.toString());
    const archive = join(bench.directory, "app.tar");
    await bench.client.local.save([local], archive);
    const other = await bench.open({ storePath: join(bench.directory, "other") });
    const ends = new Map<string, string>();
    await other.local.load(archive, { progress: { step: ({ layerId, status }) => void ends.set(layerId, status) } });
    expect([...ends.values()]).toEqual(["done", "done", "done"]);
  });

  it("tells nothing once a call is cancelled, whatever still runs", async () => {
    const stop = new AbortController();
    const told: string[] = [];
    const hear = (event: ImageProgressEvent) => void told.push(event.type);
    await withProgress(hear, stop.signal, async (progress) => {
      progress.report("layer", "waiting", 0, 1);
      stop.abort();
      progress.report("layer", "uploading", 1, 1);
    });
    expect(told).toEqual(["step"]);
  });
});

describe("progressEvents", () => {
  it.each<readonly [string, (progress: ReturnType<typeof progressEvents>) => Promise<unknown>]>([
    ["an image that is not there", (progress) => bench.client.images.push(local, null, { progress })],
    ["no image", (progress) => bench.client.images.pull("app:1" as unknown as RemoteImage, null, { progress })],
    [
      "a signal that has fired",
      (progress) => bench.client.images.push(local, null, { progress, signal: AbortSignal.abort() }),
    ],
  ])("ends with a transfer that fails at once: %s", async (_why, transfer) => {
    const progress = progressEvents();
    const error = errorOf(transfer(progress));
    await readAll(progress);
    expect(await error).toHaveProperty("code");
  });
});
