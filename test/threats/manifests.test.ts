import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { ErrorCode } from "../../src/errors.js";
import { LocalImage as Local, type LocalImage } from "../../src/index.js";
import type { Digest } from "../../src/oci/digest.js";
import { limits } from "../../src/oci/limits.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { on } from "../support/scripted-registry.js";
import { errorOf, type TestBench, testBench } from "../support/sdk-client.js";
import { withCode } from "../support/store-contract.js";
import {
  bytesOf,
  contentFiles,
  type Document,
  imageParts,
  remoteAt,
  serveBlob,
  serveManifest,
} from "./hostile-image.js";
import { useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const local: LocalImage = new Local("hostile", "1");

/** Pulls and copies what a registry has: both fail with the code, and neither store nor destination has a name for it. */
async function isRefused(document: Document, mediaType: string, code: ErrorCode, what: string): Promise<void> {
  const [registry, bench] = [await stage.registry(), stage.keep(await testBench())];
  serveManifest(registry, mediaType, document, "v1");
  await refusedBy(bench, registry, code, what);
}

async function refusedBy(
  bench: TestBench,
  registry: Awaited<ReturnType<typeof stage.registry>>,
  code: ErrorCode,
  what: string,
): Promise<void> {
  expect(await errorOf(bench.client.images.pull(remoteAt(registry), local)), what).toEqual(withCode(code));
  const copy = bench.client.images.copy(remoteAt(registry), bench.client.parse.remoteImage("image:copy:1"));
  expect(await errorOf(copy), what).toEqual(withCode(code));
  expect(await bench.store.resolve("hostile:1")).toBeNull();
  expect(await contentFiles(join(bench.directory, "store")), what).toEqual([]);
  expect(await errorOf(bench.client.images.digest(bench.client.parse.remoteImage("image:copy:1")))).toEqual(
    withCode("not-found"),
  );
}

threat("A19", "a digest that the user names is the only truth", async () => {
  const [registry, bench] = [await stage.registry(), stage.keep(await testBench())];
  const wanted = serveManifest(registry, mediaTypes.ociManifest, imageParts(registry, "wanted").manifest);
  const other = serveManifest(registry, mediaTypes.ociManifest, imageParts(registry, "other").manifest);
  const bytes = registry.manifests.get(other.digest)?.bytes ?? Buffer.alloc(0);
  // Y for X, with the header of Y, and with that of X.
  for (const header of [other.digest, wanted.digest]) {
    registry.handlers.splice(0, registry.handlers.length, (exchange) => {
      if (!exchange.target.endsWith(`/manifests/${wanted.digest}`)) return false;
      const headers = { "content-type": mediaTypes.ociManifest, "docker-content-digest": header };
      exchange.send(200, { ...headers, "content-length": String(bytes.length) }, bytes);
      return true;
    });
    const byDigest = remoteAt(registry, wanted.digest);
    expect(await errorOf(bench.client.images.pull(byDigest, local))).toMatchObject({
      code: "digest-mismatch",
      side: "source",
      digest: wanted.digest,
    });
    expect(await bench.store.resolve("hostile:1")).toBeNull();
    expect(await contentFiles(join(bench.directory, "store"))).toEqual([]);
  }
});

for (const [what, digest] of [
  ["a path", "sha256:../../../../escape"],
  ["a path in the algorithm", `../sha256:${"a".repeat(64)}`],
  ["upper case", `sha256:${"A".repeat(64)}`],
  ["63 digits", `sha256:${"a".repeat(63)}`],
  ["65 digits", `sha256:${"a".repeat(65)}`],
  ["no digits", "sha256:"],
  ["nothing", ""],
  ["a NUL", `sha256:${"a".repeat(63)}\0`],
  ["three parts", "a:b:c"],
  ["a query", `sha256:${"a".repeat(60)}?x=y`],
  ["a number", 7],
] as const) {
  threat("A21", `${what} instead of a digest reaches no path and no URL`, async () => {
    const registry = await stage.registry();
    const { config, layer } = imageParts(registry);
    for (const document of [
      { schemaVersion: 2, config: { ...config, digest }, layers: [layer] },
      { schemaVersion: 2, config, layers: [{ ...layer, digest }] },
      { schemaVersion: 2, config, layers: [layer], subject: { ...layer, digest } },
    ]) {
      await isRefused(document, mediaTypes.ociManifest, "manifest-invalid", JSON.stringify(document));
    }
    const entry = {
      mediaType: mediaTypes.ociManifest,
      digest,
      size: 10,
      platform: { os: "linux", architecture: "amd64" },
    };
    await isRefused({ schemaVersion: 2, manifests: [entry] }, mediaTypes.ociIndex, "manifest-invalid", "index");

    // From the user, and in a header: nothing is asked for by it.
    const asked = await stage.registry();
    serveManifest(asked, mediaTypes.ociManifest, imageParts(asked).manifest, "v1");
    const { client } = stage.client(asked.url);
    if (typeof digest !== "string") return;
    await expect(client.repository("a/b").manifest(digest)).rejects.toEqual(withCode("bad-reference"));
    await expect(client.repository("a/b").deleteManifest(digest as Digest)).rejects.toEqual(withCode("bad-reference"));
    expect(asked.requests).toEqual([]);
    if (!digest.includes("\0")) {
      asked.handlers.push((exchange) => {
        exchange.response.setHeader("docker-content-digest", digest);
        return false;
      });
      const bytes = asked.manifests.get("v1")?.bytes;
      asked.handlers.push(
        on("GET", /manifests/, (exchange) => {
          exchange.response.writeHead(200, { "content-type": mediaTypes.ociManifest }).end(bytes);
        }),
      );
      expect((await client.repository("a/b").manifest("v1")).descriptor.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    }
  });
}

threat("A23", "a manifest of two kinds, or of another than it was sent as, is refused", async () => {
  const registry = await stage.registry();
  const { manifest, config, layer } = imageParts(registry);
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] };
  const { mediaType: _, ...untyped } = manifest;
  const odd: readonly (readonly [string, Document, string])[] = [
    ["index with layers", { ...index, layers: [layer] }, mediaTypes.ociIndex],
    ["index with config", { ...index, config }, mediaTypes.ociIndex],
    ["index with fsLayers", { ...index, fsLayers: [] }, mediaTypes.ociIndex],
    ["image with manifests", { ...manifest, manifests: [] }, mediaTypes.ociManifest],
    ["image with fsLayers", { ...manifest, fsLayers: [] }, mediaTypes.ociManifest],
    ["image sent as index", manifest, mediaTypes.ociIndex],
    ["index sent as image", index, mediaTypes.ociManifest],
    ["OCI sent as Docker", manifest, mediaTypes.dockerManifest],
    ["an untyped image sent as index", untyped, mediaTypes.ociIndex],
    ["a mediaType that is no text", { ...manifest, mediaType: 1 }, mediaTypes.ociManifest],
  ];
  const own = stage.keep(await startOwnRegistry("memory"));
  for (const [what, document, type] of odd) {
    await isRefused(document, type, "manifest-invalid", what);
    const put = await fetch(`${own.url}/v2/a/b/manifests/v1`, {
      method: "PUT",
      headers: { "content-type": type },
      body: bytesOf(document),
    });
    expect(put.status, what).toBe(400);
    expect(await put.json(), what).toMatchObject({ errors: [{ code: "MANIFEST_INVALID" }] });
  }
  expect((await fetch(`${own.url}/v2/a/b/tags/list`)).status).toBe(404);
});

threat("A24", "a name that comes twice and a number that is too large are refused", async () => {
  const registry = await stage.registry();
  const { manifest, layer } = imageParts(registry);
  const text = JSON.stringify(manifest);
  const twice = `${text.slice(0, -1)},"layers":[]}`;
  expect(JSON.parse(twice)).toMatchObject({ layers: [] });
  const own = stage.keep(await startOwnRegistry("memory"));
  for (const document of [
    twice,
    `{"schemaVersion":2,"\\u006dediaType":"x",${text.slice(1)}`,
    text.replace(`"size":${layer.size}`, `"size":9007199254740993`),
    text.replace(`"size":${layer.size}`, `"size":1e400`),
    text.replace(`"size":${layer.size}`, `"size":"${layer.size}"`),
    text.replace(`"size":${layer.size}`, `"size":0.5`),
  ]) {
    expect(document).not.toBe(text);
    await isRefused(document, mediaTypes.ociManifest, "manifest-invalid", document);
    const headers = { "content-type": mediaTypes.ociManifest };
    const put = await fetch(`${own.url}/v2/a/b/manifests/v1`, { method: "PUT", headers, body: document });
    expect(put.status, document).toBe(400);
  }
});

threat("A24", "__proto__ is a name like any other, and bytes pass as they are", async () => {
  const [registry, bench] = [await stage.registry(), stage.keep(await testBench())];
  const { config, layer } = imageParts(registry);
  const parts = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] });
  const annotations = '{"__proto__":"polluted","constructor":"x","toString":"y","hasOwnProperty":"z"}';
  const text = ` ${parts.slice(0, -1)} , "annotations" : ${annotations}\n}`;
  const { digest } = serveManifest(registry, mediaTypes.ociManifest, text, "v1");
  const before = Object.getOwnPropertyNames(Object.prototype).join();
  const { client } = stage.client(registry.url);
  const { manifest } = await client.repository("a/b").manifest("v1");
  expect(JSON.stringify(manifest.annotations)).toBe(annotations);
  expect(Object.getPrototypeOf(manifest.annotations)).toBeNull();
  await bench.client.images.pull(remoteAt(registry), local);
  await bench.client.images.copy(remoteAt(registry), bench.client.parse.remoteImage("image:copy:1"));
  expect(await bench.client.images.digest(bench.client.parse.remoteImage("image:copy:1"))).toBe(digest);
  expect(await readFile(join(bench.directory, "store", "blobs", ...digest.split(":")), "utf8")).toBe(text);
  expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(before);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

threat("A28", "metadata that lacks what it should have is a typed error, whatever is done with it", async () => {
  const registry = await stage.registry();
  const { manifest, config, configDocument, layer, diffId } = imageParts(registry);
  const withConfig = (document: Document) => ({
    ...manifest,
    config: serveBlob(registry, mediaTypes.ociConfig, document),
  });
  const refusedAtOnce: readonly (readonly [string, Document])[] = [
    ["no config", { schemaVersion: 2, layers: [layer] }],
    ["config null", { ...manifest, config: null }],
    ["a layer null", { ...manifest, layers: [null] }],
    ["layers of another kind", { ...manifest, layers: { 0: layer } }],
    ["negative size", { ...manifest, layers: [{ ...layer, size: -1 }] }],
    ["no size", { ...manifest, layers: [{ mediaType: layer.mediaType, digest: layer.digest }] }],
    ["no mediaType", { ...manifest, layers: [{ digest: layer.digest, size: layer.size }] }],
    ["no schemaVersion", { config, layers: [layer] }],
    ["a list", "[]"],
    ["null", "null"],
    ["half of it", JSON.stringify(manifest).slice(0, 100)],
    ["annotations of numbers", { ...manifest, annotations: { a: 1 } }],
  ];
  for (const [what, document] of refusedAtOnce) {
    await isRefused(document, mediaTypes.ociManifest, "manifest-invalid", what);
  }

  // Found when the config is there.
  for (const [what, document] of [
    ["fewer diff_ids", withConfig({ ...configDocument, rootfs: { type: "layers", diff_ids: [] } })],
    ["more diff_ids", withConfig({ ...configDocument, rootfs: { type: "layers", diff_ids: [diffId, diffId] } })],
    ["no rootfs", withConfig({ os: "linux", architecture: "amd64" })],
    ["diff_ids null", withConfig({ ...configDocument, rootfs: { type: "layers", diff_ids: null } })],
    ["layers null", { ...manifest, layers: null }],
    ["a diff_id that is none", withConfig({ ...configDocument, rootfs: { diff_ids: ["sha256:x"] } })],
    ["a config that is a list", withConfig("[]")],
    ["a config that is half", withConfig(JSON.stringify(configDocument).slice(0, 20))],
    ["a config with a name twice", withConfig(`{"os":"x",${JSON.stringify(configDocument).slice(1)}`)],
  ] as const) {
    const bench = stage.keep(await testBench());
    serveManifest(registry, mediaTypes.ociManifest, document, "v1");
    expect(await errorOf(bench.client.images.pull(remoteAt(registry), local)), what).toEqual(
      withCode("manifest-invalid"),
    );
    expect(await bench.store.resolve("hostile:1"), what).toBeNull();
    // It is looked at without more than a typed error, too.
    for (const look of ["inspect", "info", "size"] as const) {
      await bench.client.images[look](remoteAt(registry)).catch((error: unknown) => {
        expect(error, what).toEqual(withCode("manifest-invalid"));
      });
    }
  }
});

/** Two indexes a level, each of which names both of the next: 2^levels ways lead down. */
function diamond(registry: Awaited<ReturnType<typeof stage.registry>>, levels: number): number {
  const image = serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest);
  let below = [image];
  for (let level = levels; level > 0; level -= 1) {
    const pair = level === 1 ? ["top"] : ["left", "right"];
    below = pair.map((side) =>
      serveManifest(
        registry,
        mediaTypes.ociIndex,
        { schemaVersion: 2, manifests: below, annotations: { side, level: String(level) } },
        ...(level === 1 ? ["v1"] : []),
      ),
    );
  }
  return 2 * levels;
}

threat("A29", "a diamond of indexes is read once each; what nests deeper is refused", async () => {
  for (const levels of [limits.indexDepth - 6, limits.indexDepth, limits.indexDepth + 1, 30, 100]) {
    const [registry, bench] = [await stage.registry(), stage.keep(await testBench())];
    diamond(registry, levels);
    const pull = bench.client.images.pull(remoteAt(registry), local, { platform: "all" });
    if (levels <= limits.indexDepth) {
      await pull;
      expect(await bench.store.resolve("hostile:1")).not.toBeNull();
    } else {
      expect(await errorOf(pull)).toEqual(withCode("limit-exceeded"));
      expect(await bench.store.resolve("hostile:1")).toBeNull();
    }
    const reads = registry.log.filter((line) => line.includes("/manifests/"));
    expect(new Set(reads).size).toBe(reads.length);
    expect(reads.length).toBeLessThanOrEqual(2 * limits.indexDepth + 1);
    const { images, parse } = bench.client;
    for (const look of [
      () => images.copy(remoteAt(registry), parse.remoteImage("image:copy:1")),
      () => images.inspect(remoteAt(registry)),
      () => images.info(remoteAt(registry)),
      () => images.size(remoteAt(registry)),
    ]) {
      if (levels <= limits.indexDepth) await look();
      else expect(await errorOf(look())).toEqual(withCode("limit-exceeded"));
    }
  }
});

threat("A32", "a manifest that is missing is never looked for among the blobs", async () => {
  const [registry, bench] = [await stage.registry(), stage.keep(await testBench())];
  const { manifest } = imageParts(registry);
  const { digest } = serveBlob(registry, mediaTypes.ociManifest, manifest);
  const remote = remoteAt(registry, digest);
  expect(await errorOf(bench.client.images.pull(remote, local))).toEqual(withCode("not-found"));
  expect(await errorOf(bench.client.images.copy(remote, bench.client.parse.remoteImage("image:copy:1")))).toEqual(
    withCode("not-found"),
  );
  expect(registry.log.filter((line) => !line.startsWith("GET /v2/a/b/manifests/"))).toEqual([]);
  expect(await contentFiles(join(bench.directory, "store"))).toEqual([]);
});
