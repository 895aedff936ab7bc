import type { Descriptor } from "./descriptor.js";
import type { Manifest } from "./manifest.js";

/**
 * The descriptor of a manifest with a subject, as a list of referrers shows it: its annotations, and its type, which of an
 * image falls back to its config's, of an index to none.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export function referrerDescriptor({ mediaType, digest, size }: Descriptor, manifest: Manifest): Descriptor {
  const artifactType = manifest.artifactType || (manifest.kind === "image" ? manifest.config.mediaType : null);
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === null ? {} : { artifactType }),
    ...(Object.keys(manifest.annotations).length === 0 ? {} : { annotations: manifest.annotations }),
  };
}
