import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestOf } from "../oci/digest.js";
import type { RawManifest } from "../oci/manifest.js";
import { parseManifest } from "../oci/manifest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { ImageFormat } from "./layer-cache.js";

const toOci: ReadonlyMap<string, string> = new Map([
  [mediaTypes.dockerManifest, mediaTypes.ociManifest],
  [mediaTypes.dockerList, mediaTypes.ociIndex],
  [mediaTypes.dockerConfig, mediaTypes.ociConfig],
  [mediaTypes.dockerLayer, mediaTypes.ociLayer],
  [mediaTypes.dockerLayerGzip, mediaTypes.ociLayerGzip],
  [mediaTypes.dockerForeignLayerGzip, mediaTypes.ociForeignLayerGzip],
]);
const toDocker: ReadonlyMap<string, string> = new Map([...toOci].map(([docker, oci]) => [oci, docker]));

/** A media type in a format's words; one that the format has no word for stays. */
export function mediaTypeIn(mediaType: string, format: ImageFormat): string {
  return (format === "oci" ? toOci : toDocker).get(mediaType) ?? mediaType;
}

/** What Docker's schema 2 has no word for. */
function refuse(what: string): LadingError {
  return new LadingError("unsupported", `Docker's image format has no ${what}`, {
    hint: "push it as it is, or with --format oci",
  });
}

function convertDescriptor(value: Record<string, unknown>, format: ImageFormat): Record<string, unknown> {
  const mediaType = String(value.mediaType);
  if (format === "docker" && mediaType.endsWith("+zstd")) throw refuse("zstd layers");
  return { ...value, mediaType: mediaTypeIn(mediaType, format) };
}

/**
 * The same image in the other format's media types; blobs keep their bytes. `done` maps the digests of children that
 * were converted before to what they became. A manifest that is in the format already is returned as it is,
 * byte for byte.
 * @throws LadingError `unsupported` for artifacts, subjects and zstd layers towards `docker`
 */
export function convertManifest(
  raw: RawManifest,
  format: ImageFormat,
  done: ReadonlyMap<Digest, Descriptor> = new Map(),
): RawManifest {
  const { manifest } = raw;
  const mediaType = mediaTypeIn(manifest.mediaType, format);
  const childChanged = manifest.kind === "index" && manifest.manifests.some((entry) => done.has(entry.digest));
  if (mediaType === manifest.mediaType && !childChanged) return raw;
  if (format === "docker") {
    if (manifest.artifactType !== null) throw refuse("artifacts");
    if (manifest.subject !== null) throw refuse("subjects");
    if (manifest.kind === "image" && mediaTypeIn(manifest.config.mediaType, format) !== mediaTypes.dockerConfig) {
      throw refuse(`config of type ${manifest.config.mediaType}`);
    }
  }
  // The document itself, so that fields that Lading does not know survive.
  const document = JSON.parse(new TextDecoder().decode(raw.bytes)) as Record<string, unknown>;
  document.mediaType = mediaType;
  if (manifest.kind === "image") {
    document.config = convertDescriptor(document.config as Record<string, unknown>, format);
    document.layers = ((document.layers ?? []) as Record<string, unknown>[]).map((layer) =>
      convertDescriptor(layer, format),
    );
  } else {
    document.manifests = ((document.manifests ?? []) as Record<string, unknown>[]).map((entry) => {
      const next = done.get(entry.digest as Digest);
      return next === undefined
        ? convertDescriptor(entry, format)
        : { ...entry, mediaType: next.mediaType, digest: next.digest, size: next.size };
    });
  }
  const bytes = new TextEncoder().encode(JSON.stringify(document));
  return {
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    bytes,
    manifest: parseManifest(bytes, mediaType),
  };
}

/** All manifests of an image, children first, in another format. */
export function convertManifests(manifests: readonly RawManifest[], format: ImageFormat): readonly RawManifest[] {
  const done = new Map<Digest, Descriptor>();
  return manifests.map((raw) => {
    const next = convertManifest(raw, format, done);
    if (next !== raw) done.set(raw.descriptor.digest, next.descriptor);
    return next;
  });
}
