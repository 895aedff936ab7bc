import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect } from "vitest";
import { LocalImage } from "../../src/index.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { type Handler, on, type ScriptedRegistry } from "../support/scripted-registry.js";
import { errorOf, testBench } from "../support/sdk-client.js";
import { sourceOf, withCode } from "../support/store-contract.js";
import { validateImage } from "../support/validate-image.js";
import { sendEndlessly } from "./endless.js";
import { contentFiles, imageParts, remoteAt, serveBlob, serveManifest } from "./hostile-image.js";
import { secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const local = new LocalImage("hostile", "1");
const asCarol = { fetchCredentials: async () => secrets };

/** What a pull would do with one blob, on a clock whose waits are over at once: the store takes it, or keeps nothing. */
async function download(registry: ScriptedRegistry, descriptor: Descriptor) {
  const bench = stage.keep(await testBench());
  const { client } = stage.client(registry.url);
  const repository = client.repository("a/b");
  const result = await errorOf(bench.store.put(descriptor, (offset) => repository.get(descriptor, { offset })));
  return {
    result,
    left: await contentFiles(join(bench.directory, "store")),
    stored: await bench.store.has(descriptor),
  };
}

for (const [id, title, urlsOf] of [
  ["A1", "gets no credentials: it is not dialled", (host: string) => [`http://${host}/layer`, `https://${host}/layer`]],
  [
    "A2",
    "leads nowhere, whatever it names",
    (host: string) => [`http://${host}/`, `https://localhost:${host.split(":")[1]}/`, "https://169.254.169.254/latest"],
  ],
  ["A2", "leads into no file", () => ["file:///etc/passwd"]],
] as const) {
  threat(id, `a layer's urls: ${title}`, async () => {
    const canary = await stage.canary();
    const registry = await stage.registry();
    const { manifest, layer } = imageParts(registry);
    for (const mediaType of [
      mediaTypes.ociForeignLayerGzip,
      mediaTypes.dockerForeignLayerGzip,
      mediaTypes.ociLayerGzip,
    ]) {
      const away = { mediaType, digest: digestOf(`away ${mediaType}`), size: 7, urls: urlsOf(canary.host) };
      const intoFiles = away.urls.some((url) => url.startsWith("file:"));
      const { digest } = serveManifest(registry, mediaTypes.ociManifest, { ...manifest, layers: [layer, away] }, "v1");
      const bench = stage.keep(await testBench());
      const { images, parse } = bench.client;
      const copied = parse.remoteImage("image:copy:1");
      const works = [
        () => images.pull(remoteAt(registry), local, asCarol),
        () => images.copy(remoteAt(registry), copied, asCarol),
        () => images.inspect(remoteAt(registry), asCarol),
        () => images.size(remoteAt(registry), asCarol),
      ];
      for (const work of works) {
        const error = await errorOf(work());
        // A layer of a usual type is asked of the registry alone, which has it not.
        if (mediaType === mediaTypes.ociLayerGzip && works.indexOf(work) < 2) {
          expect(error).toMatchObject({ code: "not-found", digest: away.digest });
        }
        // The embedded registry takes no manifest that leads into somebody's files.
        if (mediaType === mediaTypes.ociForeignLayerGzip && works.indexOf(work) === 1 && intoFiles) {
          expect(error).toEqual(withCode("manifest-invalid"));
          expect(error).toMatchObject({ side: "destination", digest });
        }
      }
      if (mediaType !== mediaTypes.ociForeignLayerGzip) continue;
      if (intoFiles) expect(await errorOf(images.digest(copied))).toEqual(withCode("not-found"));
      else expect(await images.digest(copied)).toBe(digest);
    }
    expect(canary.connections).toBe(0);
    expect(registry.requests.filter(({ target }) => !target.startsWith("/v2/a/b/"))).toEqual([]);
  });
}

threat("A2", "content inside of a descriptor is not believed: what counts is what has the digest", async () => {
  const registry = await stage.registry();
  const { manifest, config, layer } = imageParts(registry);
  const data = Buffer.from('{"os":"windows","rootfs":{"diff_ids":[]}}').toString("base64");
  const url = Buffer.from("http://127.0.0.1/").toString("base64");
  const document = { ...manifest, config: { ...config, data }, layers: [{ ...layer, data: url }] };
  serveManifest(registry, mediaTypes.ociManifest, document, "v1");
  const bench = stage.keep(await testBench());
  await bench.client.images.pull(remoteAt(registry), local);
  const root = await bench.store.resolve("hostile:1");
  expect(root === null ? 0 : (await validateImage(bench.store, root)).images).toBe(1);
  registry.blobs.delete(config.digest);
  const fresh = stage.keep(await testBench());
  expect(await errorOf(fresh.client.images.pull(remoteAt(registry), local))).toEqual(withCode("not-found"));
});

threat("A20", "bytes behind the end of a layer's archive count like all others", async () => {
  const registry = await stage.registry();
  const { layer } = imageParts(registry);
  const gzip = registry.blobs.get(layer.digest) ?? Buffer.alloc(0);
  const tar = gunzipSync(gzip);
  for (const honest of [Buffer.concat([gzip, Buffer.alloc(600)]), Buffer.concat([tar, Buffer.alloc(600)])]) {
    const descriptor = { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(honest), size: honest.length };
    for (const at of [honest.length - 1, honest.length - 600]) {
      const lie = Buffer.from(honest);
      lie[at] = 1;
      registry.blobs.set(descriptor.digest, lie);
      const { result, left, stored } = await download(registry, descriptor);
      expect(result).toEqual(withCode("digest-mismatch"));
      expect([left, stored]).toEqual([[], false]);
    }
  }
});

threat("A22", "sha512 works from end to end, and no algorithm stands for another", async () => {
  const bench = stage.keep(await testBench());
  const other = stage.keep(await testBench());
  const put = async (mediaType: string, bytes: Buffer): Promise<Descriptor> => {
    const descriptor = { mediaType, digest: digestOf(bytes, "sha512"), size: bytes.length };
    await bench.store.put(descriptor, sourceOf(bytes));
    return descriptor;
  };
  const scripted = await stage.registry();
  const parts = imageParts(scripted);
  const layer = await put(mediaTypes.ociLayerGzip, scripted.blobs.get(parts.layer.digest) ?? Buffer.alloc(0));
  const config = await put(mediaTypes.ociConfig, Buffer.from(JSON.stringify(parts.configDocument)));
  const bytes = Buffer.from(JSON.stringify({ ...parts.manifest, config, layers: [layer] }));
  const root = await put(mediaTypes.ociManifest, bytes);
  await bench.store.tag(root, "app:512");
  const remote = bench.client.parse.remoteImage("image:app:512");
  await bench.client.images.push(new LocalImage("app", "512"), remote);
  const again = await other.open({
    config: {
      clusters: { main: { registryUrl: "http://localhost:5999", registry: bench.registry } },
      cluster: "main",
      owner: "alice",
    },
  });
  await again.images.pull(remote, local);
  const pulled = await other.store.resolve("hostile:1");
  expect(
    pulled === null
      ? null
      : await readFile(join(other.directory, "store", "blobs", ...pulled.digest.split(":")), "utf8"),
  ).toBe(String(bytes));
  for (const { digest } of [config, layer]) {
    expect(await readFile(join(other.directory, "store", "blobs", "sha512", digest.slice(7)))).toHaveLength(
      digest === config.digest ? config.size : layer.size,
    );
  }

  // By its sha512 from a registry that knows sha256 alone: the body decides.
  const headers = { "content-type": mediaTypes.ociManifest, "docker-content-digest": digestOf(bytes) };
  scripted.handlers.push(on("GET", /manifests\/sha512:/, (exchange) => exchange.send(200, headers, bytes), 1));
  const repository = stage.client(scripted.url).client.repository("a/b");
  expect((await repository.manifest(root.digest)).descriptor.digest).toBe(root.digest);
  const wrong = Buffer.from(`${bytes} `);
  const wrongHeaders = { ...headers, "docker-content-digest": digestOf(wrong) };
  scripted.handlers.push(on("GET", /manifests\/sha512:/, (exchange) => exchange.send(200, wrongHeaders, wrong)));
  await expect(repository.manifest(root.digest)).rejects.toEqual(withCode("digest-mismatch"));

  const before = scripted.requests.length;
  for (const unknown of [`md5:${"a".repeat(32)}`, `sha1:${"a".repeat(40)}`, `sha999:${"a".repeat(64)}`]) {
    await expect(repository.manifest(unknown)).rejects.toEqual(withCode("bad-reference"));
    serveManifest(
      scripted,
      mediaTypes.ociManifest,
      { ...parts.manifest, layers: [{ ...layer, digest: unknown }] },
      "odd",
    );
    await expect(repository.manifest("odd")).rejects.toEqual(withCode("manifest-invalid"));
  }
  expect(scripted.requests.slice(before).map(({ target }) => target)).toEqual(
    Array.from({ length: 3 }, () => "/v2/a/b/manifests/odd"),
  );
});

const content = Buffer.from(randomBytesOf("sized", 50_000));
const endless: Handler = on("GET", /\/blobs\//, async ({ response }) => {
  await sendEndlessly(response.writeHead(200), content);
});
const chunked = (bytes: Buffer): Handler =>
  on("GET", /\/blobs\//, ({ response }) => void response.writeHead(200).end(bytes));
const whole = (bytes: Buffer): Handler => on("GET", /\/blobs\//, (exchange) => exchange.send(200, {}, bytes));
for (const [what, handler] of [
  ["one byte more, as it says", whole(Buffer.concat([content, Buffer.alloc(1)]))],
  ["one byte more, without a word", chunked(Buffer.concat([content, Buffer.alloc(1)]))],
  ["one byte less, as it says", whole(content.subarray(1))],
  ["one byte less, without a word", chunked(content.subarray(0, -1))],
  ["no end", endless],
] as const) {
  threat("A26", `a blob with ${what} is refused, and nothing stays`, async () => {
    const registry = await stage.registry(handler);
    const descriptor = serveBlob(registry, mediaTypes.ociLayerGzip, content);
    const { result, left, stored } = await download(registry, descriptor);
    expect(result).toEqual(withCode("size-mismatch"));
    expect(stored).toBe(false);
    expect(left.filter((file) => !file.startsWith("partial"))).toEqual([]);
  });
}

for (const [what, value] of [
  ["gzip", "gzip"],
  ["two at once", "gzip, br"],
  ["500 at once", Array.from({ length: 500 }, () => "gzip").join(",")],
  ["5000 at once", Array.from({ length: 5000 }, () => "gzip").join(",")],
  ["one that nobody knows", "x-canary"],
] as const) {
  threat("A27", `an encoding that was not asked for is refused: ${what}`, async () => {
    const registry = await stage.registry((exchange) => {
      // Would it be decoded, it would be a bomb.
      exchange.response.setHeader("content-encoding", value);
      return false;
    });
    const descriptor = serveBlob(registry, mediaTypes.ociLayerGzip, content);
    serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "v1");
    const { client } = stage.client(registry.url);
    await expect(client.repository("a/b").manifest("v1")).rejects.toEqual(withCode("unsupported"));
    const { result, left, stored } = await download(registry, descriptor);
    expect(result).toEqual(withCode("unsupported"));
    expect([left, stored]).toEqual([[], false]);
    expect(registry.requests.map(({ headers }) => headers["accept-encoding"])).toEqual(
      registry.requests.map(() => "identity"),
    );
  });
}

threat("A27", "more headers than anybody needs are refused at once", async () => {
  const registry = await stage.registry((exchange) => {
    exchange.response.setHeader("content-encoding", Array.from({ length: 50_000 }, () => "gzip").join(","));
    return false;
  });
  const { client } = stage.client(registry.url);
  await expect(client.repository("a/b").manifest("v1")).rejects.toEqual(withCode("limit-exceeded"));
  expect(registry.requests).toHaveLength(1);
});
