import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { children, parseImageConfig, parseManifest, type RawManifest } from "../oci/manifest.js";
import { isManifestType } from "../oci/media-types.js";
import { choosePlatform, formatPlatform, isUnknownPlatform, type Platform } from "../oci/platform.js";
import type { ArchiveContents } from "./archive-contents.js";
import { invalidArchive } from "./tar-header.js";
import { readVerified } from "./verify.js";
import { isElsewhere } from "./walk.js";

/** What a root reaches, blobs first and the root last; null where something of it is not there. */
type Whole = readonly Descriptor[] | null;

/** Finds out what is there of the images in an archive. */
export class ArchiveTree {
  readonly #contents: ArchiveContents;
  readonly #whole = new Map<Digest, Whole>();

  constructor(contents: ArchiveContents) {
    this.#contents = contents;
  }

  /** What goes out for a root: all of it, or the one platform that is wanted, or that alone is there. */
  async root(descriptor: Descriptor): Promise<{ whole: readonly Descriptor[]; narrowed: boolean }> {
    const { platform = null } = this.#contents.options;
    if (!isManifestType(descriptor.mediaType)) {
      throw new LadingError(
        "unsupported",
        `index.json of the archive names a ${descriptor.mediaType}, which is no image`,
      );
    }
    if (platform === null) {
      const whole = await this.#below(descriptor, 1);
      if (whole !== null) return { whole, narrowed: false };
    }
    const offered = await this.#images(descriptor, 1);
    const there: { readonly platform: Platform; readonly whole: readonly Descriptor[] }[] = [];
    for (const { image, platform } of offered) {
      const whole = await this.#below(image, 1);
      if (whole !== null) there.push({ platform, whole });
    }
    // Docker keeps an index whose other platforms it never had: what it has of it is the image.
    const [only] = there;
    const chosen = platform === null ? (there.length === 1 ? only : null) : choosePlatform(there, platform);
    if (chosen === null || chosen === undefined) throw this.#notThere(descriptor, platform, there);
    return { whole: chosen.whole, narrowed: chosen.whole.at(-1)?.digest !== descriptor.digest };
  }

  #notThere(root: Descriptor, wanted: Platform | null, there: readonly { readonly platform: Platform }[]): LadingError {
    const platforms = there.map(({ platform }) => formatPlatform(platform)).join(", ");
    if (wanted === null && platforms === "") return invalidArchive(`the archive has only a part of ${root.digest}`);
    const lacks = wanted === null ? "all platforms of its index" : `an image for ${formatPlatform(wanted)}`;
    return new LadingError("not-found", `the archive does not have ${lacks}`, {
      digest: root.digest,
      hint: `it has ${platforms || "no whole image"}; choose one with --platform`,
    });
  }

  /** The images below a root that are not attestations, with what they are for. */
  async #images(descriptor: Descriptor, depth: number): Promise<{ image: Descriptor; platform: Platform }[]> {
    if (isUnknownPlatform(descriptor.platform)) return [];
    const raw = await this.#manifest(descriptor);
    if (raw === null) return [];
    if (raw.manifest.kind === "index") {
      checkDepth(depth);
      const below = await Promise.all(raw.manifest.manifests.map((child) => this.#images(child, depth + 1)));
      return below.flat();
    }
    const platform = descriptor.platform ?? (await this.#configPlatform(raw.manifest.config));
    return platform === null ? [] : [{ image: { ...raw.descriptor }, platform }];
  }

  async #configPlatform(config: Descriptor): Promise<Platform | null> {
    if (!(await this.#there(config)) || config.size > limits.config) return null;
    const { into, signal } = this.#contents.options;
    return parseImageConfig(await readVerified(into, config, { limit: "config", signal })).platform;
  }

  async #below(descriptor: Descriptor, depth: number): Promise<Whole> {
    const known = this.#whole.get(descriptor.digest);
    if (known !== undefined) return known;
    const raw = await this.#manifest(descriptor);
    if (raw === null) return null;
    checkDepth(depth);
    const found = new Map<Digest, Descriptor>();
    const named = children(raw.manifest);
    if (named.length > limits.descriptors) {
      throw new LadingError("limit-exceeded", `an image of the archive names more than ${limits.descriptors} blobs`, {
        limit: "descriptors",
      });
    }
    for (const child of named) {
      if (isElsewhere(child)) continue;
      const below = isManifestType(child.mediaType)
        ? await this.#below(child, depth + 1)
        : (await this.#there(child))
          ? [child]
          : null;
      if (below === null) {
        this.#whole.set(descriptor.digest, null);
        return null;
      }
      for (const each of below) found.set(each.digest, each);
    }
    const whole = [...blobsFirst(found.values()), raw.descriptor];
    this.#whole.set(descriptor.digest, whole);
    return whole;
  }

  async #manifest(descriptor: Descriptor): Promise<RawManifest | null> {
    if (!(await this.#there(descriptor))) return null;
    const { into, signal } = this.#contents.options;
    const bytes = await readVerified(into, descriptor, { limit: "manifest", signal });
    const { mediaType, digest, size } = descriptor;
    return { descriptor: { mediaType, digest, size }, bytes, manifest: parseManifest(bytes, mediaType) };
  }

  /** In the archive, or in the store already. */
  async #there(descriptor: Descriptor): Promise<boolean> {
    const { into, signal } = this.#contents.options;
    const seen = this.#contents.blobs.get(descriptor.digest);
    if (seen !== undefined && seen.size !== descriptor.size) {
      throw new LadingError(
        "size-mismatch",
        `${descriptor.digest} in the archive has ${seen.size} bytes, not ${descriptor.size}`,
        {
          digest: descriptor.digest,
        },
      );
    }
    return seen !== undefined || (await into.has(descriptor, { signal }));
  }
}

/** @throws LadingError `limit-exceeded` */
export function checkDepth(depth: number): void {
  if (depth > limits.indexDepth)
    throw new LadingError("limit-exceeded", "the archive's indexes are nested too deep", { limit: "indexDepth" });
}

function blobsFirst(descriptors: Iterable<Descriptor>): readonly Descriptor[] {
  const all = [...descriptors];
  return [
    ...all.filter(({ mediaType }) => !isManifestType(mediaType)),
    ...all.filter(({ mediaType }) => isManifestType(mediaType)),
  ];
}
