import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import type { ContentSource } from "../../src/content/store.js";
import { readVerified, verifyStream } from "../../src/content/verify.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { createHasher, type Digest } from "../../src/oci/digest.js";
import { limits } from "../../src/oci/limits.js";
import { children, parseImageConfig, parseManifest } from "../../src/oci/manifest.js";
import { isIndexType, isManifestType, layerCompression, mediaTypes } from "../../src/oci/media-types.js";

export interface ValidateOptions {
  /** Allows media types of both formats in one image: Docker's legacy builder makes such. @default false */
  readonly mixedFormats?: boolean;
}

/** What was checked. */
export interface ValidatedImage {
  /** Digests of everything that the root reaches, the root first, each once. */
  readonly digests: readonly Digest[];
  /** How many image configs had diff IDs that fit their layers. */
  readonly images: number;
}

const imageConfigTypes: ReadonlySet<string> = new Set([mediaTypes.ociConfig, mediaTypes.dockerConfig]);

/**
 * Checks everything that an image promises: digests and sizes of all blobs, media types that agree, manifests and
 * configs that parse, diff IDs that are the hashes of the unpacked layers. Throws at the first thing that is wrong.
 */
export async function validateImage(
  source: ContentSource,
  root: Descriptor,
  { mixedFormats = false }: ValidateOptions = {},
): Promise<ValidatedImage> {
  const digests = new Set<Digest>();
  let images = 0;
  const visit = async (descriptor: Descriptor): Promise<void> => {
    if (digests.has(descriptor.digest)) return;
    digests.add(descriptor.digest);
    if (!(await source.has(descriptor))) throw new Error(`${descriptor.digest} is missing`);
    if (!isManifestType(descriptor.mediaType)) {
      await drain(verifyStream(source.get(descriptor), descriptor));
      return;
    }
    const bytes = await readVerified(source, descriptor, { limit: limits.manifest });
    const manifest = parseManifest(bytes, descriptor.mediaType);
    for (const child of children(manifest)) {
      if (manifest.kind === "index" && !isManifestType(child.mediaType))
        throw new Error(`${child.mediaType} in an index`);
      await visit(child);
    }
    if (manifest.kind === "index" || !imageConfigTypes.has(manifest.config.mediaType)) return;
    const layers = manifest.layers.filter(({ mediaType }) => layerCompression(mediaType) !== null);
    if (layers.length !== manifest.layers.length) return; // an attestation: its layers are no tars
    const docker = descriptor.mediaType === mediaTypes.dockerManifest;
    for (const { mediaType } of [manifest.config, ...layers]) {
      if (!mixedFormats && mediaType.startsWith("application/vnd.docker.") !== docker)
        throw new Error(`${mediaType} in the other format`);
    }
    const config = parseImageConfig(await readVerified(source, manifest.config, { limit: limits.config }));
    if (config.platform.os === "" || config.platform.architecture === "") throw new Error("the config has no platform");
    if (config.diffIds.length !== layers.length) throw new Error("diff_ids and layers differ in number");
    for (const [index, layer] of layers.entries()) {
      const found = await diffIdOf(source, layer);
      if (found !== null && found !== config.diffIds[index]) {
        throw new Error(`layer ${layer.digest} unpacks to ${found}, the config says ${config.diffIds[index]}`);
      }
    }
    images += 1;
  };
  await visit(root);
  if (!isManifestType(root.mediaType) && !isIndexType(root.mediaType)) throw new Error(`${root.mediaType} is no root`);
  return { digests: [...digests], images };
}

/** Reads a stream to its end. */
export async function drain(stream: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0;
  for await (const chunk of stream) size += chunk.byteLength;
  return size;
}

/** Null for zstd, which the oldest Node cannot unpack. */
async function diffIdOf(source: ContentSource, layer: Descriptor): Promise<Digest | null> {
  const compression = layerCompression(layer.mediaType);
  if (compression === "zstd") return null;
  const hasher = createHasher();
  const hash = async (unpacked: AsyncIterable<Uint8Array>) => {
    for await (const chunk of unpacked) hasher.update(chunk);
  };
  const packed = Readable.from(source.get(layer));
  await (compression === "gzip" ? pipeline(packed, createGunzip(), hash) : pipeline(packed, hash));
  return hasher.digest();
}
