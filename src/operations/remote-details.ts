import { readVerified } from "../content/verify.js";
import { layersSize, type ManifestReader, walkTree } from "../content/walk.js";
import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { type ImageConfig, parseImageConfig, type RawManifest } from "../oci/manifest.js";
import { isIndexType, isManifestType, mediaTypes } from "../oci/media-types.js";
import { formatPlatform, isUnknownPlatform } from "../oci/platform.js";
import type { Repository } from "../registry/repository.js";

/** One image of a reference: the reference's own, or one of its index. */
export interface PlatformImage {
  /** `os/architecture[/variant]`; null where neither index nor config says. */
  readonly platform: string | null;
  readonly image: RawManifest;
}

/** Reads a repository's manifests and configs, each digest once, however many tags name it. */
export class RemoteDetails {
  readonly #repository: Repository;
  readonly #signal: AbortSignal;
  readonly #manifests = new Map<Digest, Promise<RawManifest>>();
  readonly #configs = new Map<Digest, Promise<ImageConfig | null>>();

  constructor(repository: Repository, signal: AbortSignal) {
    this.#repository = repository;
    this.#signal = signal;
  }

  /** By tag or digest; what it names is remembered by digest. */
  async top(reference: string): Promise<RawManifest> {
    const raw = await this.#repository.manifest(reference, { signal: this.#signal });
    this.#manifests.set(raw.descriptor.digest, Promise.resolve(raw));
    return raw;
  }

  readonly read: ManifestReader = (descriptor) => {
    let reading = this.#manifests.get(descriptor.digest);
    if (reading === undefined) {
      reading = this.#repository.manifest(descriptor.digest, { signal: this.#signal });
      reading.catch(() => undefined);
      this.#manifests.set(descriptor.digest, reading);
    }
    return reading;
  };

  /** Null for an artifact, whose config is nobody's to read. */
  config(image: RawManifest): Promise<ImageConfig | null> {
    if (image.manifest.kind !== "image" || !isImageConfig(image.manifest.config)) return Promise.resolve(null);
    const { config } = image.manifest;
    let reading = this.#configs.get(config.digest);
    if (reading === undefined) {
      reading = readVerified(this.#repository, config, { limit: "config", signal: this.#signal }).then(
        parseImageConfig,
      );
      reading.catch(() => undefined);
      this.#configs.set(config.digest, reading);
    }
    return reading;
  }

  /**
   * The images of a reference, attestations left out; entries that are no manifests are no images. An index that is
   * named again has been looked at: a registry could make it 2^n ways to one image.
   * @throws LadingError `limit-exceeded` for indexes that nest too deep or name too much, and what reading throws
   */
  async images(top: RawManifest): Promise<readonly PlatformImage[]> {
    const seen = new Set<Digest>([top.descriptor.digest]);
    let named = 0;
    const below = async (index: readonly Descriptor[], depth: number): Promise<readonly PlatformImage[]> => {
      named += index.length;
      if (depth > limits.indexDepth || named > limits.descriptors) {
        const limit = depth > limits.indexDepth ? "indexDepth" : "descriptors";
        const what = limit === "indexDepth" ? `nest deeper than ${limits[limit]} levels` : "name too much";
        throw new LadingError("limit-exceeded", `the indexes ${what}`, { digest: top.descriptor.digest, limit });
      }
      const entries = index.filter(
        (entry) => isManifestType(entry.mediaType) && !isUnknownPlatform(entry.platform) && !seen.has(entry.digest),
      );
      const nested = await Promise.all(
        entries.map(async (entry) => {
          if (isIndexType(entry.mediaType)) {
            if (seen.has(entry.digest)) return [];
            seen.add(entry.digest);
          }
          const image = await this.read(entry);
          if (image.manifest.kind === "index") return await below(image.manifest.manifests, depth + 1);
          const own = entry.platform === undefined ? (await this.config(image))?.platform : entry.platform;
          return [{ platform: own === undefined || own.os === "" ? null : formatPlatform(own), image }];
        }),
      );
      return nested.flat();
    };
    if (top.manifest.kind === "index") return await below(top.manifest.manifests, 1);
    const config = await this.config(top);
    return [
      { platform: config === null || config.platform.os === "" ? null : formatPlatform(config.platform), image: top },
    ];
  }

  /** Compressed bytes of the distinct layers of a reference. */
  async size(top: RawManifest): Promise<number> {
    if (top.manifest.kind === "image") return layersSize([top.manifest]);
    const tree = await walkTree(top.descriptor, async (descriptor) =>
      descriptor.digest === top.descriptor.digest ? top : await this.read(descriptor),
    );
    return layersSize(tree.manifests.filter((raw) => !isAttestation(raw)).map((raw) => raw.manifest));
  }
}

/** Whether a config is an image's, of a size that is read: any other is nobody's to parse. */
export function isImageConfig({ mediaType, size }: Descriptor): boolean {
  return (mediaType === mediaTypes.ociConfig || mediaType === mediaTypes.dockerConfig) && size <= limits.config;
}

/** BuildKit's attestations have in-toto statements in place of layers. */
function isAttestation({ manifest }: RawManifest): boolean {
  return (
    manifest.kind === "image" &&
    manifest.layers.length > 0 &&
    manifest.layers.every((layer) => layer.mediaType === "application/vnd.in-toto+json")
  );
}
