import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FakeEngine, startFakeEngine } from "../../test/support/fake-engine.js";
import { type RandomImage, randomImage } from "../../test/support/random-image.js";
import { writeDockerArchive } from "../content/archive.js";
import { MemoryStore } from "../content/memory.js";
import { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { digestOf } from "../oci/digest.js";
import { DockerEngine } from "./docker.js";
import { EngineApi } from "./engine-api.js";

const app = new LocalImage("app", "1");
let fake: FakeEngine;
let api: EngineApi;
let engine: DockerEngine;
let hub: MemoryStore;
let image: RandomImage;

beforeEach(async () => {
  fake = await startFakeEngine();
  api = new EngineApi({ endpoint: { kind: "socket", path: fake.socketPath }, env: {}, platform: "linux" });
  engine = new DockerEngine(api);
  hub = new MemoryStore();
  image = await randomImage(hub, { format: "docker", layerSize: 100_000 });
});
afterEach(async () => {
  await engine.close();
  await fake.close();
});

function described(more: Record<string, unknown> = {}): Record<string, unknown> {
  const Layers = image.layers.map(({ diffId }) => diffId);
  const base = { Id: image.config.descriptor.digest, RepoTags: ["app:1"], Os: "linux", Architecture: "amd64", Size: 1 };
  return { ...base, RootFS: { Type: "layers", Layers }, ...more };
}

/** Reads the body and answers with these lines. */
function lines(...all: readonly string[]) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    for await (const _chunk of request);
    response.end(all.map((line) => `${line}\r\n`).join(""));
  };
}

const load = (): Promise<unknown> => engine.importImage(image.root, { from: hub, names: [app], platform: null });

describe("a load", () => {
  it("is what the engine reports afterwards", async () => {
    fake.answers.set("POST /images/load", lines('{"stream":"Loaded image: app:1\\n"}'));
    fake.answers.set("GET /images/app:1/json", { json: described() });
    expect(await load()).toEqual({ id: image.config.descriptor.digest });
  });

  it("fails with an error line, whatever came before and after", async () => {
    fake.answers.set("GET /images/app:1/json", { json: described() });
    for (const [line, code] of [
      ['{"errorDetail":{"message":"broken"},"error":"broken"}', "engine-failed"],
      ['{"error":"no space left on device"}', "no-space"],
      ['{"stream":"Error unpacking image app:1: broken"}', "engine-failed"],
    ] as const) {
      fake.answers.set(
        "POST /images/load",
        lines('{"status":"Loading layer"}', line, '{"stream":"Loaded image: app:1"}'),
      );
      await expect(load()).rejects.toMatchObject({ code });
    }
  });

  it("fails where the engine has something else, or nothing, under the name", async () => {
    fake.answers.set("POST /images/load", lines('{"stream":"Loaded image: app:1\\n"}'));
    await expect(load()).rejects.toMatchObject({ code: "engine-failed" });
    for (const wrong of [{ Id: digestOf("other") }, { RootFS: { Layers: [digestOf("other")] } }]) {
      fake.answers.set("GET /images/app:1/json", { json: described(wrong) });
      await expect(load()).rejects.toMatchObject({ code: "engine-failed" });
    }
  });

  it("fails where the engine hangs up in the middle", async () => {
    fake.answers.set("POST /images/load", (request) => {
      request.once("data", () => request.socket.destroy());
    });
    await expect(load()).rejects.toMatchObject({ code: "engine-failed" });
  });

  it("fails with the source's own error where that breaks, and names nothing", async () => {
    const [layer] = image.layers;
    if (layer === undefined) throw new Error("no layer");
    const broken = new MemoryStore();
    const copy = await randomImage(broken, { format: "docker", layerSize: 100_000 });
    const get = broken.get.bind(broken);
    broken.get = (descriptor, options) =>
      descriptor.digest === layer.descriptor.digest ? breaking() : get(descriptor, options);
    fake.answers.set("POST /images/load", lines());
    const failing = engine.importImage(copy.root, { from: broken, names: [app], platform: null });
    await expect(failing).rejects.toThrow("the disk broke");
  });
});

async function* breaking(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(10);
  throw new Error("the disk broke");
}

describe("an export", () => {
  const out = async (into: MemoryStore): Promise<readonly Descriptor[]> => {
    const all: Descriptor[] = [];
    for await (const found of engine.exportImage(app, { into, platform: null, format: "docker" })) all.push(found);
    return all;
  };
  const get = `GET /images/`;

  beforeEach(() => {
    fake.answers.set("GET /images/app:1/json", { json: described() });
  });

  const archive = async (): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of writeDockerArchive([{ manifest: image.root, names: [app] }], hub)) chunks.push(chunk);
    return Buffer.concat(chunks);
  };

  it("is asked for by ID, once", async () => {
    const bytes = await archive();
    fake.answers.set(`${get}${image.config.descriptor.digest}/get`, (_request, response) => void response.end(bytes));
    const into = new MemoryStore();
    const first = await out(into);
    expect((await out(into)).at(-1)).toEqual(first.at(-1));
    expect(fake.asked.filter((line) => line.endsWith("/get"))).toHaveLength(1);
    // What the store lost since has to come again.
    for (const { digest } of first) await into.delete(digest);
    expect((await out(into)).at(-1)).toEqual(first.at(-1));
    expect(fake.asked.filter((line) => line.endsWith("/get"))).toHaveLength(2);
  });

  it("that breaks off, in whatever way, fails and is not remembered", async () => {
    const bytes = await archive();
    const key = `${get}${image.config.descriptor.digest}/get`;
    const into = new MemoryStore();
    fake.answers.set(key, (_request, response) => {
      response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
    });
    await expect(out(into)).rejects.toMatchObject({ code: "engine-failed" });
    fake.answers.set(key, (_request, response) => {
      response.write(bytes.subarray(0, bytes.length / 2));
      response.end('{"error":"it broke"}');
    });
    await expect(out(into)).rejects.toMatchObject({ code: "archive-invalid" });
    expect(await into.manifestFor(image.config.descriptor.digest, "docker", "all")).toBeNull();
  });

  it("of another platform than the one that is wanted is not-found", async () => {
    const platform = { os: "linux", architecture: "arm64" };
    const failing = engine.exportImage(app, { into: hub, platform, format: "docker" });
    await expect(failing.next()).rejects.toMatchObject({ code: "not-found" });
    expect(fake.asked.some((line) => line.endsWith("/get"))).toBe(false);
  });
});

describe("a list", () => {
  it("leaves out what goes meanwhile, and takes names that are none for no name", async () => {
    const [one, two] = [digestOf("1"), digestOf("2")];
    fake.answers.set("GET /images/json", { json: [{ Id: one }, { Id: two }, "nonsense"] });
    fake.answers.set(`GET /images/${two}/json`, {
      json: described({ Id: two, RepoTags: ["<none>:<none>", "UPPER:1"] }),
    });
    expect(await engine.list()).toMatchObject([{ id: two, local: null }]);
  });

  it("of something else is empty, and an unknown description is engine-failed", async () => {
    fake.answers.set("GET /images/json", { json: { message: "?" } });
    expect(await engine.list()).toEqual([]);
    fake.answers.set("GET /images/app:1/json", { json: ["?"] });
    await expect(engine.inspect(app)).rejects.toMatchObject({ code: "engine-failed" });
  });
});

it("asks again what it is after a failure", async () => {
  fake.answers.set("GET /info", { status: 500, json: { message: "starting" } });
  await expect(engine.info()).rejects.toMatchObject({ code: "engine-failed" });
  fake.answers.set("GET /info", {
    json: { OSType: "linux", Architecture: "aarch64", DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]] },
  });
  expect(await engine.info()).toMatchObject({ imageStore: "containerd", platform: { architecture: "arm64" } });
});
