import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { RemoteImage } from "../../src/index.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import type { ScriptedRegistry } from "../support/scripted-registry.js";

/** JSON as it goes over the wire: a value, or the very text. */
export type Document = string | object;

export function bytesOf(document: Document): Buffer {
  return Buffer.from(typeof document === "string" ? document : JSON.stringify(document));
}

/** Puts a blob into a registry; the descriptor is what an honest manifest would say of it. */
export function serveBlob(registry: ScriptedRegistry, mediaType: string, content: Document | Buffer): Descriptor {
  const bytes = Buffer.isBuffer(content) ? content : bytesOf(content);
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  registry.blobs.set(descriptor.digest, bytes);
  return descriptor;
}

/** Puts a manifest into a registry, under its digest and the tags. */
export function serveManifest(
  registry: ScriptedRegistry,
  mediaType: string,
  document: Document,
  ...tags: readonly string[]
): Descriptor {
  const bytes = bytesOf(document);
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  for (const name of [descriptor.digest, ...tags]) registry.manifests.set(name, { type: mediaType, bytes });
  return descriptor;
}

/** The parts of an honest image of one layer, to be put together in dishonest ways. */
export function imageParts(registry: ScriptedRegistry, seed = "x") {
  const tar = Buffer.concat([Buffer.from(seed.repeat(512).slice(0, 512)), Buffer.alloc(1024)]);
  const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
  const layer = serveBlob(registry, mediaTypes.ociLayerGzip, gzipSync(tar));
  const configDocument = { os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [diffId] } };
  const config = serveBlob(registry, mediaTypes.ociConfig, configDocument);
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] };
  return { layer, diffId, config, configDocument, manifest };
}

/** `HOST/a/b:TAG`, or by digest. */
export function remoteAt(registry: ScriptedRegistry, reference = "v1"): RemoteImage {
  const named = reference.includes(":") ? { digest: reference } : { tag: reference };
  return RemoteImage.newExternalImage("a/b", registry.host, named);
}

/** All files below a folder that hold content of an image, or may come to: no locks, no empty index. */
export async function contentFiles(folder: string): Promise<readonly string[]> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return files
    .filter((entry) => entry.isFile() && !/^(?:oci-layout|index\.json)$|lock/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}
