import type { ImageArchive } from "../content/archive.js";
import type { LayerCache } from "../content/layer-cache.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { ImageFormat } from "./engine.js";

/** Under what the manifest of an engine's image is remembered. */
export type ManifestKey = readonly [id: Digest, format: ImageFormat | "original", platform: string];

/**
 * Passes an engine's export on, with the image's manifest as its last descriptor, and remembers that manifest once
 * all of it is there: pushing the image again needs no export. An export may bring more than the image (newer engines
 * add what refers to it); the image comes first in it.
 */
export async function* rememberingRoot(
  archive: ImageArchive,
  into: LayerCache,
  key: ManifestKey,
): AsyncGenerator<Descriptor> {
  let last: Descriptor | null = null;
  for await (const descriptor of archive) {
    last = descriptor;
    yield descriptor;
  }
  const root = archive.images[0]?.root;
  if (root === undefined) return;
  await into.rememberManifest(...key, root);
  if (last?.digest !== root.digest) yield root;
}
