import type { Descriptor } from "../oci/descriptor.js";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { ImageFormat } from "./layer-cache.js";

/**
 * A manifest that Lading makes itself. The same image gives the same bytes: those that `docker push` makes (three spaces, media type,
 * size, digest), so that an image whose layers are those of its first push gets its first digest again; for OCI, without white space.
 */
export function imageManifestBytes(
  format: ImageFormat,
  config: Descriptor,
  layers: readonly Descriptor[],
): { readonly descriptor: Descriptor; readonly bytes: Uint8Array } {
  const mediaType = format === "docker" ? mediaTypes.dockerManifest : mediaTypes.ociManifest;
  const entry = ({ mediaType, size, digest }: Descriptor) =>
    format === "docker" ? { mediaType, size, digest } : { mediaType, digest, size };
  const document = { schemaVersion: 2, mediaType, config: entry(config), layers: layers.map(entry) };
  const bytes = Buffer.from(format === "docker" ? JSON.stringify(document, null, 3) : JSON.stringify(document));
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength }, bytes };
}
