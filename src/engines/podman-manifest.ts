import { mediaTypeIn } from "../content/convert.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { PlatformImage } from "./engine-content.js";

interface SentImage {
  readonly descriptor: Descriptor;
  readonly added: ReadonlyMap<Digest, Uint8Array>;
  readonly hidden: ReadonlySet<Digest>;
}

/**
 * The manifest that Podman is given. It asks its storage for each layer before it opens the layer's file, so one that
 * it has may be named by its diff ID (as a plain tar) and left out. Layers are named in the words of the manifest's
 * own format: Podman keeps a mixture, such as Docker's classic builder writes, and can't save it again. Where
 * neither is called for, the original bytes go.
 */
export function podmanManifest(image: PlatformImage, known: ReadonlySet<Digest>): SentImage {
  const { config, layers, mediaType } = image.manifest;
  const format = mediaType === mediaTypes.dockerManifest ? "docker" : "oci";
  const plain = format === "docker" ? mediaTypes.dockerLayer : mediaTypes.ociLayer;
  const hidden = new Set<Digest>();
  const named = layers.map((layer, index) => {
    const diffId = image.diffIds[index];
    if (diffId === undefined || !known.has(diffId)) {
      return { mediaType: mediaTypeIn(layer.mediaType, format), digest: layer.digest, size: layer.size };
    }
    hidden.add(diffId);
    // Its size is not known and not looked at.
    return { mediaType: plain, digest: diffId, size: 0 };
  });
  if (
    named.every(({ mediaType: type, digest }, at) => type === layers[at]?.mediaType && digest === layers[at].digest)
  ) {
    return { descriptor: image.raw.descriptor, added: new Map(), hidden };
  }
  const manifest = { schemaVersion: 2, mediaType, config, layers: named };
  const bytes = new TextEncoder().encode(JSON.stringify(manifest));
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  return { descriptor, added: new Map([[descriptor.digest, bytes]]), hidden };
}
