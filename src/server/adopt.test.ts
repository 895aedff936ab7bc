import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import { allowEverything } from "./authorize.js";
import { createRegistry, type Registry, type RegistryOptions } from "./registry.js";

const content = "content of a blob";
const digest = digestOf(content);
const descriptor = { mediaType: mediaTypes.ociLayerGzip, digest, size: content.length };
let directory: string;
let path: string;
const open: Registry[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-adopt-"));
  path = join(directory, "file");
  await writeFile(path, content, { mode: 0o444 });
  await utimes(path, 1e9, 1e9);
});
afterEach(async () => {
  for (const registry of open.splice(0)) await registry.close();
  await rm(directory, { recursive: true, force: true });
});

function registryOf(options: Partial<RegistryOptions> = {}): Registry {
  const registry = createRegistry({ storage: { directory: join(directory, "registry") }, ...options });
  open.push(registry);
  return registry;
}

async function status(registry: Registry, repository: string, method = "GET"): Promise<number> {
  const answer = await registry.handle({ method, url: `/v2/${repository}/blobs/${digest}`, headers: {} });
  for await (const _ of answer.body) {
    // to its end
  }
  return answer.status;
}

describe("a blob that is adopted", () => {
  it("is the repository's as if it had been sent, and no other's", async () => {
    const registry = registryOf();
    expect(await registry.adoptBlob({ repository: "alice/app", descriptor, path })).toBe(true);
    expect([await status(registry, "alice/app"), await status(registry, "bob/app")]).toEqual([200, 404]);
    const shared = await registry.blobPath({ repository: "alice/app", digest });
    expect(await readFile(shared ?? "", "utf8")).toBe(content);
    expect(await registry.blobPath({ repository: "bob/app", digest })).toBeNull();
  });

  it("is deleted like any other, and its file stays with whoever had it", async () => {
    const registry = registryOf();
    await registry.adoptBlob({ repository: "alice/app", descriptor, path });
    expect(await status(registry, "alice/app", "DELETE")).toBe(202);
    expect(await registry.blobPath({ repository: "alice/app", digest })).toBeNull();
    expect(await readFile(path, "utf8")).toBe(content);
  });

  it("is taken once by eight repositories of two registries on one folder", async () => {
    const registries = [registryOf(), registryOf()];
    const taken = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const repository = index < 4 ? "same" : `r${index}`;
        return await registries[index % 2]?.adoptBlob({ repository, descriptor, path });
      }),
    );
    expect(taken).toEqual(Array.from({ length: 8 }, () => true));
    for (const repository of ["same", "r4", "r7"]) expect(await status(registryOf(), repository)).toBe(200);
  });
});

describe("nothing is shared", () => {
  it.each([
    ["with a registry in memory", { storage: "memory" }],
    ["where somebody decides about requests", { authorize: allowEverything }],
  ] as const)("%s", async (_, options) => {
    // what is there already is not handed out either
    await registryOf().adoptBlob({ repository: "a", descriptor, path });
    const registry = registryOf(options);
    expect(await registry.adoptBlob({ repository: "b", descriptor, path })).toBe(false);
    expect([await status(registry, "b"), await registry.blobPath({ repository: "a", digest })]).toEqual([404, null]);
  });

  it("with a registry that is closed", async () => {
    const registry = registryOf();
    await registry.adoptBlob({ repository: "a", descriptor, path });
    await registry.close();
    expect(await registry.adoptBlob({ repository: "b", descriptor, path })).toBe(false);
    expect(await registry.blobPath({ repository: "a", digest })).toBeNull();
  });

  it.each(["../a", "a/../../b", "A", "a/_links", ""])("under the name %j", async (repository) => {
    const registry = registryOf();
    expect(await registry.adoptBlob({ repository, descriptor, path })).toBe(false);
    expect(await registry.blobPath({ repository, digest })).toBeNull();
  });

  it("once the caller has given up", async () => {
    const request = { repository: "a", descriptor, path, signal: AbortSignal.abort() };
    await expect(registryOf().adoptBlob(request)).rejects.toMatchObject({ code: "cancelled" });
    expect(await status(registryOf(), "a")).toBe(404);
  });
});
