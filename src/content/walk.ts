import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { type Manifest, parseManifest, type RawManifest } from "../oci/manifest.js";
import { isForeignLayerType, isIndexType, isManifestType } from "../oci/media-types.js";
import type { ContentSource } from "./store.js";
import { readVerified } from "./verify.js";

/** A manifest's bytes by descriptor, verified. */
export type ManifestReader = (descriptor: Descriptor) => Promise<RawManifest>;

/** Reads manifests out of any content source. */
export function manifestReader(source: ContentSource, signal?: AbortSignal): ManifestReader {
  return async (descriptor) => {
    const { mediaType, digest, size } = descriptor;
    const bytes = await readVerified(source, descriptor, { limit: "manifest", signal });
    return { descriptor: { mediaType, digest, size }, bytes, manifest: parseManifest(bytes, mediaType) };
  };
}

/** Everything that a root names, each piece once: its manifests, children before parents, and its blobs. */
export interface ContentTree {
  readonly root: Descriptor;
  /** Children before parents; the root is the last one. */
  readonly manifests: readonly RawManifest[];
  /** Configs before layers. */
  readonly blobs: readonly Descriptor[];
  /** The layers among the blobs, in the order in which they are named. */
  readonly layers: readonly Descriptor[];
}

export interface WalkOptions {
  /** Which manifests of an index are followed; the index itself is kept as it is. Default: all. */
  readonly follow?: (entry: Descriptor, index: Descriptor) => boolean;
}

/** Layers that a registry need not hold: their bytes are somewhere else, by `urls`. */
export function isElsewhere(descriptor: Descriptor): boolean {
  return isForeignLayerType(descriptor.mediaType) && (descriptor.urls?.length ?? 0) > 0;
}

/**
 * Reads the manifests below a root. Every digest is read once, depth and number are bounded (a registry is
 * somebody else's server).
 * @throws LadingError `limit-exceeded`, `manifest-invalid`, and what the reader throws
 */
export async function walkTree(
  root: Descriptor,
  read: ManifestReader,
  options: WalkOptions = {},
): Promise<ContentTree> {
  const manifests = new Map<Digest, RawManifest>();
  const configs = new Map<Digest, Descriptor>();
  const layers = new Map<Digest, Descriptor>();
  const reads = new Map<Digest, Promise<RawManifest>>();
  let named = 0;

  const readOnce = (descriptor: Descriptor): Promise<RawManifest> => {
    const running = reads.get(descriptor.digest);
    if (running !== undefined) return running;
    const started = read(descriptor);
    // Its error is thrown where it is awaited; a read ahead that nobody comes to must not end the process.
    started.catch(() => undefined);
    reads.set(descriptor.digest, started);
    return started;
  };

  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    if (manifests.has(descriptor.digest)) return;
    if (depth > limits.indexDepth && isIndexType(descriptor.mediaType)) {
      throw new LadingError("limit-exceeded", `indexes are nested deeper than ${limits.indexDepth} levels`, {
        digest: descriptor.digest,
        limit: "indexDepth",
      });
    }
    const raw = await readOnce(descriptor);
    const { manifest } = raw;
    const children = manifest.kind === "index" ? manifest.manifests : [manifest.config, ...manifest.layers];
    named += children.length;
    if (named > limits.descriptors) {
      throw new LadingError("limit-exceeded", `the image names more than ${limits.descriptors} pieces of content`, {
        limit: "descriptors",
      });
    }
    if (manifest.kind === "image") {
      configs.set(manifest.config.digest, manifest.config);
      for (const layer of manifest.layers) if (!isElsewhere(layer)) layers.set(layer.digest, layer);
    } else {
      const followed = manifest.manifests.filter((entry) => options.follow?.(entry, descriptor) ?? true);
      // Read ahead together: an index of twelve platforms costs one round trip, not twelve.
      for (const entry of followed) {
        const allowed = depth < limits.indexDepth || !isIndexType(entry.mediaType);
        if (allowed && isManifestType(entry.mediaType)) void readOnce(entry);
      }
      for (const entry of followed) {
        if (isManifestType(entry.mediaType)) await visit(entry, depth + 1);
        else layers.set(entry.digest, entry);
      }
    }
    // Set after its children: a Map keeps insertion order, so parents follow.
    manifests.set(descriptor.digest, raw);
  };

  await visit(root, 1);
  for (const digest of configs.keys()) layers.delete(digest);
  return {
    root,
    manifests: [...manifests.values()],
    blobs: [...configs.values(), ...layers.values()],
    layers: [...layers.values()],
  };
}

/** Bytes of the distinct layers that these manifests name: what an image's size means. */
export function layersSize(manifests: Iterable<Manifest>): number {
  const sizes = new Map<Digest, number>();
  for (const manifest of manifests) {
    if (manifest.kind === "image") for (const layer of manifest.layers) sizes.set(layer.digest, layer.size);
  }
  let total = 0;
  for (const size of sizes.values()) total += size;
  return total;
}
