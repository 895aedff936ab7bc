import { readdir } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  AbstractDockerImageProgress,
  type CredentialRequest,
  type FetchCredentials,
  type ImageProgressEvent,
  type ImageProgressPull,
  type ImageProgressPush,
  type ImageProgressStep,
  LocalImage,
  openClient,
  RemoteImage,
} from "../../src/index.js";
import { createRegistry, type Listening, listen, type Registry } from "../../src/server/index.js";
import { randomImage } from "../support/random-image.js";
import { on, type ScriptedRegistry, startScriptedRegistry } from "../support/scripted-registry.js";
import { errorOf, type TestBench, testBench } from "../support/sdk-client.js";

let bench: TestBench;
const later: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  bench = await testBench();
});
afterEach(async () => {
  for (const close of later.splice(0).reverse()) await close();
  await bench.close();
});

async function scripted(...handlers: Parameters<typeof startScriptedRegistry>): Promise<ScriptedRegistry> {
  const registry = await startScriptedRegistry(...handlers);
  later.push(() => registry.close());
  return registry;
}

async function localImage(name: string, options: Parameters<typeof randomImage>[1] = {}) {
  const image = await randomImage(bench.store, options);
  await bench.store.tag(image.root, name);
  return { image, local: bench.client.parse.localImage(name) };
}

const at = (registry: { readonly host: string }, path: string, tag = "1") =>
  RemoteImage.newExternalImage(path, registry.host, { tag });

describe("progress", () => {
  it("an AbstractDockerImageProgress hears push, pull and step with the data alone", async () => {
    const calls: { method: string; data: object }[] = [];
    class Progress extends AbstractDockerImageProgress {
      override push(data: ImageProgressPush): void {
        calls.push({ method: "push", data });
      }
      override pull(data: ImageProgressPull): void {
        calls.push({ method: "pull", data });
      }
      override step(data: ImageProgressStep): void {
        calls.push({ method: "step", data });
      }
    }
    const { local } = await localImage("app:1");
    const remote = await bench.client.images.push(local, null, { progress: new Progress() });
    await bench.client.images.pull(remote, new LocalImage("back", "1"), { progress: new Progress() });
    expect(calls[0]).toEqual({ method: "push", data: { src: local, dst: remote } });
    expect(calls.find(({ method }) => method === "pull")).toEqual({
      method: "pull",
      data: { src: remote, dst: new LocalImage("back", "1") },
    });
    const step = calls.find(({ method }) => method === "step");
    expect(Object.keys(step?.data ?? {}).sort()).toEqual(["current", "layerId", "message", "status", "total"]);
  });

  it("an object with some of the methods is enough", async () => {
    const { local } = await localImage("app:1");
    const pushes: unknown[] = [];
    await bench.client.images.push(local, null, { progress: { push: (data) => void pushes.push(data) } });
    expect(pushes).toHaveLength(1);
  });

  it("calls nothing after the promise has settled, also when it fails", async () => {
    const registry = await scripted(on("PUT", /uploads/, ({ send }) => send(500)));
    const { local } = await localImage("app:1", { layers: 4, layerSize: 100_000 });
    let settled = false;
    let late = 0;
    const push = bench.client.images.push(local, at(registry, "alice/app"), {
      progress: () => {
        if (settled) late += 1;
      },
      signal: AbortSignal.timeout(300),
    });
    await expect(push).rejects.toBeDefined();
    settled = true;
    await bench.client.close();
    expect(late).toBe(0);
  });

  it("reports a cut download as retrying, and goes on at its high-water mark", async () => {
    const { image, local } = await localImage("app:1", { layers: 1, layerSize: 6_000_000 });
    const registry = await scripted();
    const remote = at(registry, "alice/app");
    await bench.client.images.push(local, remote);
    const layer = image.layers[0];
    if (layer === undefined) throw new Error("an image without a layer");
    await bench.store.delete(layer.descriptor.digest);
    registry.handlers.push(
      on(
        "GET",
        new RegExp(`blobs/${layer.descriptor.digest}`),
        ({ response }) => {
          response.writeHead(200, { "content-length": String(layer.bytes.length) });
          response.write(layer.bytes.subarray(0, 1_200_000), () => response.destroy());
        },
        1,
      ),
    );
    const steps: ImageProgressStep[] = [];
    const result = await bench.client.images.pullDetailed(remote, new LocalImage("back", "1"), {
      progress: { step: (step) => void steps.push(step) },
    });
    expect(result.blobs.received).toBe(1);
    const retry = steps.findIndex(({ status }) => status === "retrying");
    expect(retry).toBeGreaterThan(0);
    const before = steps[retry - 1];
    const after = steps[retry + 1];
    expect(after?.status).toBe(before?.status);
    expect(after?.current).toBeGreaterThanOrEqual(before?.current ?? Number.POSITIVE_INFINITY);
    const ranged = registry.requests.filter(({ headers }) => headers.range !== undefined);
    expect(ranged.length).toBeGreaterThan(0);
  });
});

describe("what a result counts", () => {
  it("is every blob of the image, the config too, as many received as were sent", async () => {
    const { local } = await localImage("app:1", { layers: 2 });
    const remote = bench.client.parse.remoteImage("image:app:1");
    const pushed = await bench.client.images.pushDetailed(local, remote);
    expect(pushed.blobs).toEqual({ sent: 3, mounted: 0, existing: 0 });
    const other = await bench.open({ storePath: join(bench.directory, "other") });
    const pulled = await other.images.pullDetailed(remote);
    expect(pulled.blobs).toEqual({ received: 3, existing: 0 });
    expect(pulled.bytesReceived).toBe(pushed.bytesSent);
    const again = await other.images.pullDetailed(remote);
    expect(again).toMatchObject({ unchanged: true, bytesReceived: 0, blobs: { received: 0, existing: 3 } });
  });

  it("says unchanged where the registry had it all under its tags, whether the first push is remembered or not", async () => {
    const { local } = await localImage("app:1");
    const [remote, moved] = ["image:app:1", "image:app:2"].map((text) => bench.client.parse.remoteImage(text));
    if (remote === undefined || moved === undefined) throw new Error("no names");
    const { digest } = await bench.client.images.pushDetailed(local, remote);
    const other = await bench.open({ storePath: join(bench.directory, "other") });
    await other.images.pullDetailed(remote, local);
    const nothing = { digest, bytesSent: 0, blobs: { sent: 0, mounted: 0, existing: 3 } };
    expect(await other.images.pushDetailed(local, remote)).toMatchObject({ ...nothing, unchanged: true });
    expect(await other.images.pushDetailed(local, moved)).toMatchObject({ ...nothing, unchanged: false });
    expect(await bench.client.images.digest(moved)).toBe(digest);
  });
});

describe("many layers", () => {
  it("60 at once make no warning of node's, in either direction", async () => {
    const warnings: string[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning.message);
    process.on("warning", onWarning);
    later.push(async () => void process.off("warning", onWarning));
    const { local } = await localImage("app:1", { layers: 60, layerSize: 2000 });
    const registry = await scripted();
    const remote = await bench.client.images.push(local, at(registry, "alice/app"), {
      signal: new AbortController().signal,
    });
    const other = await bench.open({ storePath: join(bench.directory, "other") });
    await other.images.pull(remote);
    // Warnings are emitted in a later turn.
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });
});

describe("cancelling", () => {
  it("a TimeoutError is `timeout`, and its reason the cause", async () => {
    const registry = await scripted(on("POST", /uploads/, () => undefined));
    const { local } = await localImage("app:1");
    const signal = AbortSignal.timeout(100);
    const error = await errorOf(bench.client.images.push(local, at(registry, "alice/app"), { signal }));
    expect(error).toMatchObject({ code: "timeout", cause: signal.reason });
  });

  it("keeps what can be resumed: the next pull asks only for the rest", async () => {
    const { image, local } = await localImage("app:1", { layers: 1, layerSize: 6_000_000 });
    const registry = await scripted();
    const remote = at(registry, "alice/app");
    await bench.client.images.push(local, remote);
    const layer = image.layers[0];
    if (layer === undefined) throw new Error("an image without a layer");
    await bench.store.delete(layer.descriptor.digest);
    const stop = new AbortController();
    registry.handlers.push(
      on(
        "GET",
        new RegExp(`blobs/${layer.descriptor.digest}`),
        ({ response }) => {
          response.writeHead(200, { "content-length": String(layer.bytes.length) });
          response.write(layer.bytes.subarray(0, 1_500_000));
        },
        1,
      ),
    );
    const pull = bench.client.images.pull(remote, new LocalImage("back", "1"), {
      signal: stop.signal,
      progress: {
        step: ({ status, current }) => void (status === "downloading" && current > 1_000_000 && stop.abort()),
      },
    });
    expect(await errorOf(pull)).toMatchObject({ code: "cancelled" });
    expect(await bench.store.resolve("back:1")).toBeNull();
    const result = await bench.client.images.pullDetailed(remote, new LocalImage("back", "1"));
    expect(result.bytesReceived).toBeLessThan(layer.bytes.length - 900_000);
    expect((await bench.store.resolve("back:1"))?.digest).toBe(image.root.digest);
  });

  it("cancelling one of two transfers of the same blobs does not fail the other", async () => {
    const { image, local } = await localImage("app:1", { layers: 3, layerSize: 500_000 });
    const stop = new AbortController();
    const registry = await scripted(
      on(
        "PUT",
        /uploads/,
        async ({ response, request }) => {
          stop.abort();
          // The rest is the registry's own business again.
          request.resume();
          response.writeHead(503, { "content-length": "0" });
          response.end();
        },
        1,
      ),
    );
    const remote = at(registry, "alice/app");
    const one = bench.client.images.push(local, remote, { signal: stop.signal });
    const two = bench.client.images.push(local, remote);
    expect(await errorOf(one)).toMatchObject({ code: "cancelled" });
    await two;
    expect(registry.manifests.size).toBeGreaterThan(0);
    expect(await bench.client.images.digest(remote)).toBe(image.root.digest);
  });

  it("close cancels what runs and waits for it", async () => {
    const registry = await scripted(on("POST", /uploads/, () => undefined));
    const { local } = await localImage("app:1");
    const push = errorOf(bench.client.images.push(local, at(registry, "alice/app")));
    await expect.poll(() => registry.log.some((line) => line.startsWith("POST"))).toBe(true);
    await bench.client.close();
    expect(await push).toMatchObject({ code: "cancelled" });
  });
});

describe("several tenants on one client", () => {
  /** A token registry of two tenants: each sees its own repository alone. */
  async function tenantRegistry(): Promise<{ registry: Registry; listening: Listening; host: string }> {
    const registry = createRegistry({
      storage: "memory",
      authorize: ({ headers, repository }) => {
        const [, encoded = ""] = /^Basic (.*)$/.exec(headers.authorization ?? "") ?? [];
        const [user = ""] = Buffer.from(encoded, "base64").toString().split(":");
        if (user === "") {
          return Promise.resolve({ allowed: false, status: 401, challenge: 'Basic realm="t"', message: "who?" });
        }
        if (repository !== null && !repository.startsWith(`${user}/`)) {
          return Promise.resolve({ allowed: false, status: 403, message: "not yours" });
        }
        return Promise.resolve({ allowed: true, principal: { subject: user } });
      },
    });
    const listening = await listen(registry, { port: 0 });
    later.push(async () => {
      await listening.close(0);
      await registry.close();
    });
    return { registry, listening, host: new URL(listening.url).host };
  }

  const tenant =
    (username: string, asked: CredentialRequest[] = []): FetchCredentials =>
    (request) => {
      asked.push(request);
      return Promise.resolve({ username, password: "x" });
    };

  it("the call's credentials win, and are told what they are for", async () => {
    const { host } = await tenantRegistry();
    const { local } = await localImage("app:1");
    const asked: CredentialRequest[] = [];
    await bench.client.images.push(local, at({ host }, "bob/app"), { fetchCredentials: tenant("bob", asked) });
    expect(asked.length).toBeGreaterThan(0);
    expect(asked[0]).toMatchObject({ registry: host, repository: "bob/app", side: "destination" });
    expect(asked[0]?.actions).toContain("push");
  });

  it("neither profits from the other: what bob may, carol may not", async () => {
    const { host } = await tenantRegistry();
    const { local } = await localImage("app:1");
    const image = at({ host }, "bob/app");
    await bench.client.images.push(local, image, { fetchCredentials: tenant("bob") });
    expect(await bench.client.images.digest(image, { fetchCredentials: tenant("bob") })).toMatch(/^sha256:/);
    const denied = await errorOf(bench.client.images.digest(image, { fetchCredentials: tenant("carol") }));
    expect(denied).toMatchObject({ code: "denied", side: "source" });
    const anonymous = await errorOf(
      bench.client.images.digest(image, { fetchCredentials: () => Promise.resolve(null) }),
    );
    expect(anonymous).toMatchObject({ code: "unauthorized" });
  });

  it("a mount is only tried from what the same credential has seen", async () => {
    const { host } = await tenantRegistry();
    const { local } = await localImage("app:1", { layers: 2 });
    await bench.client.images.push(local, at({ host }, "bob/app"), { fetchCredentials: tenant("bob") });
    const result = await bench.client.images.pushDetailed(local, at({ host }, "carol/app"), {
      fetchCredentials: tenant("carol"),
    });
    expect(result.blobs).toEqual({ sent: 3, mounted: 0, existing: 0 });
  });
});

describe("openClient", () => {
  it("touches no folder, engine or network", async () => {
    const storePath = join(bench.directory, "untouched");
    const client = await openClient({ env: { HOME: join(bench.directory, "home") }, storePath });
    await client.close();
    expect(await readdir(bench.directory)).not.toContain("untouched");
    expect(await readdir(bench.directory)).not.toContain("home");
  });

  it("closes when its signal fires", async () => {
    const stop = new AbortController();
    const client = await bench.open({ signal: stop.signal });
    stop.abort();
    expect(await errorOf(client.images.list())).toMatchObject({ code: "closed" });
  });

  it("names the engine in use", async () => {
    expect(await bench.client.local.engine).toMatchObject({ kind: "store", reason: expect.any(String) });
    expect(bench.client.local.engine.kind).toBe("store");
  });
});

describe("bad input", () => {
  it("an image that is for another platform alone is pulled, with a warning", async () => {
    const { local } = await localImage("app:1");
    const remote = await bench.client.images.push(local);
    await bench.client.images.pull(remote, null, { platform: "linux/amd64" });
    expect(bench.warnings).toEqual([]);
    await bench.client.images.pull(remote, null, { platform: "linux/s390x" });
    expect(bench.warnings).toEqual([expect.stringContaining("linux/s390x")]);
  });

  it("a registry that is not there is unreachable, and nothing moved", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    await new Promise((resolve) => server.close(resolve));
    const before = await bench.store.entries();
    const error = await errorOf(
      bench.client.images.pull(RemoteImage.newExternalImage("a/b", `127.0.0.1:${port}`, { tag: "1" }), null),
    );
    expect(error).toMatchObject({ code: "unreachable", side: "source", retryable: true });
    expect(await bench.store.entries()).toEqual(before);
  });

  it("a blob that is not what its digest says is refused, and the tag stays", async () => {
    const { image, local } = await localImage("app:1", { layers: 1, layerSize: 400_000 });
    const registry = await scripted();
    const remote = at(registry, "alice/app");
    await bench.client.images.push(local, remote);
    const layer = image.layers[0]?.descriptor.digest;
    if (layer === undefined) throw new Error("an image without a layer");
    await bench.store.delete(layer);
    await bench.store.untag("app:1");
    registry.blobs.set(layer, Buffer.from(registry.blobs.get(layer) ?? "").fill(7, 100, 200));
    expect(await errorOf(bench.client.images.pull(remote))).toMatchObject({ code: "digest-mismatch", side: "source" });
    expect(await bench.store.entries()).toEqual([]);
  });

  const events: ImageProgressEvent[] = [];
  it("a foreign name is refused with both readings", async () => {
    const { local } = await localImage("quay.io/org/app:1");
    expect(
      await errorOf(bench.client.images.push(local, null, { progress: (event) => void events.push(event) })),
    ).toMatchObject({
      code: "bad-reference",
    });
    expect(events).toEqual([]);
  });
});
