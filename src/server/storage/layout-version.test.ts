import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodeFileSystem } from "../../content/file-system.js";
import { digestOf } from "../../oci/digest.js";
import { mediaTypes } from "../../oci/media-types.js";
import { createRegistry } from "../registry.js";
import { layoutVersion, type Migration, makeLayout } from "./layout-version.js";
import { RecordFiles } from "./record-files.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-layout-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const versionOf = async () => JSON.parse(await readFile(join(directory, "lading-registry.json"), "utf8")).version;

async function write(path: string, content: string | object): Promise<void> {
  const file = join(directory, path);
  await mkdir(join(file, ".."), { recursive: true });
  await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
}

/** A folder as version 0.1 left it, file by file. */
async function writeLayout1() {
  const blob = async (content: string) => {
    const hex = digestOf(content).slice(7);
    await write(`blobs/sha256/${hex.slice(0, 2)}/${hex}`, content);
    return { digest: `sha256:${hex}`, size: content.length, hex };
  };
  const config = await blob("{}");
  const layer = await blob("layer");
  const link = ({ size }: { size: number }) => ({ size, linked: "2026-11-20T00:00:00.000Z" });
  const describe = ({ digest, size }: typeof config, mediaType: string) => ({ mediaType, digest, size });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: describe(config, mediaTypes.ociConfig),
    layers: [describe(layer, mediaTypes.ociLayer)],
  });
  const stored = await blob(manifest);
  await write("lading-registry.json", { layout: "lading-registry", version: 1 });
  for (const part of [config, layer]) await write(`repos/a/b/_links/sha256/${part.hex}`, link(part));
  await write(`repos/a/b/_manifests/sha256/${stored.hex}`, {
    mediaType: mediaTypes.ociManifest,
    size: stored.size,
    pushed: "2026-11-20T00:00:00.000Z",
    subject: null,
    artifactType: null,
    references: [config.digest, layer.digest],
  });
  await write("repos/a/b/_tags/v1+1", {
    digest: stored.digest,
    mediaType: mediaTypes.ociManifest,
    size: stored.size,
    updated: "2026-11-20T00:00:00.000Z",
    generation: 1,
  });
  await write("meta/repos/a=b", { created: "2026-11-20T00:00:00.000Z" });
  await mkdir(join(directory, "tmp"));
  return { manifest, layer };
}

describe("a folder of an older version", () => {
  it("is read as it is, and becomes one of this version with the first write", async () => {
    const { manifest, layer } = await writeLayout1();
    const registry = createRegistry({ storage: { directory } });
    const send = async (method: string, url: string, body: string | null = null) => {
      const response = await registry.handle({
        method,
        url,
        headers: {},
        body: body === null ? null : Buffer.from(body),
      });
      const chunks: Uint8Array[] = [];
      for await (const chunk of response.body) chunks.push(chunk);
      return [response.status, Buffer.concat(chunks).toString()];
    };
    const expectRead = async () => {
      expect(await send("GET", "/v2/a/b/manifests/V1")).toEqual([200, manifest]);
      expect(await send("GET", `/v2/a/b/blobs/${layer.digest}`)).toEqual([200, "layer"]);
      expect(await send("GET", "/v2/_catalog")).toEqual([200, JSON.stringify({ repositories: ["a/b"] })]);
    };
    await expectRead();
    expect(await versionOf()).toBe(1);
    expect((await send("POST", `/v2/a/b/blobs/uploads/?digest=${digestOf("new")}`, "new"))[0]).toBe(201);
    expect(await versionOf()).toBe(layoutVersion);
    await expectRead();
    await registry.close();
  });

  it("goes every step in order, and makes one that was cut short again", async () => {
    const files = { fs: nodeFileSystem, durable: false, temporary: join(directory, "tmp") };
    const records = new RecordFiles(directory, files);
    await write("lading-registry.json", { layout: "lading-registry", version: 1 });
    await mkdir(join(directory, "tmp"));
    const ran: number[] = [];
    let broken = true;
    const step =
      (from: number): Migration =>
      async () => {
        ran.push(from);
        if (from === 2 && broken) throw new Error("cut short");
      };
    const table = [step(1), step(2), step(3)];
    await expect(makeLayout(directory, records, files, table)).rejects.toThrow("cut short");
    expect(await versionOf()).toBe(2);
    broken = false;
    await makeLayout(directory, records, files, table);
    await makeLayout(directory, records, files, table);
    expect([ran, await versionOf()]).toEqual([[1, 2, 2, 3], 4]);
  });
});
