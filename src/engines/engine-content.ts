import type { TransferStore } from "../content/layer-cache.js";
import type { ContentSource } from "../content/store.js";
import { readVerified } from "../content/verify.js";
import { manifestReader, walkTree } from "../content/walk.js";
import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, parseDigest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { type ImageManifest, parseImageConfig, type RawManifest } from "../oci/manifest.js";
import { isIndexType, isManifestType, mediaTypes } from "../oci/media-types.js";
import {
  choosePlatform,
  formatPlatform,
  isUnknownPlatform,
  normalizePlatform,
  type Platform,
} from "../oci/platform.js";

/** One image for one platform, as an engine loads it. */
export interface PlatformImage {
  readonly raw: RawManifest;
  readonly manifest: ImageManifest;
  readonly platform: Platform;
  /** One per layer, lowest first. */
  readonly diffIds: readonly Digest[];
}

/**
 * The image below a root that serves a platform, with its config read.
 * @throws LadingError `not-found` where the index has none, `manifest-invalid`, `unsupported` for artifacts
 */
export async function platformImage(
  from: ContentSource,
  root: Descriptor,
  platform: Platform,
  signal?: AbortSignal,
): Promise<PlatformImage> {
  const read = manifestReader(from, signal);
  let chosen = root;
  for (let depth = 0; isIndexType(chosen.mediaType); depth++) {
    const { manifest } = await read(chosen);
    const entries = manifest.kind === "index" ? manifest.manifests : [];
    const next = choosePlatform(entries, platform) ?? onlyImage(entries);
    if (next === null || depth >= limits.indexDepth) {
      const offered = entries.map((entry) => (entry.platform === undefined ? "?" : formatPlatform(entry.platform)));
      throw new LadingError("not-found", `the image has nothing for ${formatPlatform(platform)}`, {
        digest: root.digest,
        hint: `it has ${offered.join(", ") || "no platform at all"}; choose one with --platform`,
      });
    }
    chosen = next;
  }
  const raw = await read(chosen);
  const { manifest } = raw;
  if (manifest.kind !== "image") throw new LadingError("manifest-invalid", `${chosen.digest} is no image manifest`);
  const bytes = await readVerified(from, manifest.config, { limit: "config", signal });
  const config = parseImageConfig(bytes);
  const diffIds = config.diffIds.map((diffId) => parseDigest(diffId, "manifest-invalid"));
  if (diffIds.length !== manifest.layers.length) {
    throw new LadingError(
      "manifest-invalid",
      `the config names ${diffIds.length} layers and the manifest ${manifest.layers.length}: an artifact, or broken`,
      { digest: chosen.digest },
    );
  }
  return { raw, manifest, platform: config.platform, diffIds };
}

/**
 * Before anything is sent: every layer is here or in the engine. An engine may keep a name for what is incomplete.
 * @throws LadingError `not-found`
 */
export async function requireLayers(
  from: ContentSource,
  { manifest, diffIds }: PlatformImage,
  known: ReadonlySet<Digest>,
  signal?: AbortSignal,
): Promise<void> {
  for (const [index, layer] of manifest.layers.entries()) {
    const diffId = diffIds[index];
    if (diffId !== undefined && known.has(diffId)) continue;
    if (await from.has(layer, { signal })) continue;
    throw new LadingError("not-found", `the layer ${layer.digest} is neither here nor in the engine`, {
      digest: layer.digest,
      hint: "pull the image again",
    });
  }
}

/** The one entry of an index whose maker did not say what it is for. */
function onlyImage(entries: readonly Descriptor[]): Descriptor | null {
  const [only] = entries;
  return entries.length === 1 && only !== undefined && only.platform === undefined ? only : null;
}

/**
 * All that a root names, blobs first and the root last, or null where any of it is not there (any more).
 */
export async function wholeTree(
  from: TransferStore,
  root: Descriptor,
  signal?: AbortSignal,
): Promise<readonly Descriptor[] | null> {
  if (!(await from.has(root, { signal }))) return null;
  let tree: Awaited<ReturnType<typeof walkTree>>;
  try {
    tree = await walkTree(root, manifestReader(from, signal));
  } catch (error) {
    if (error instanceof LadingError && error.code === "not-found") return null;
    throw error;
  }
  for (const blob of tree.blobs) if (!(await from.has(blob, { signal }))) return null;
  return [...tree.blobs, ...tree.manifests.map(({ descriptor }) => descriptor)];
}

/**
 * What of a root can go out whole. An index of which only some platforms are there (a pull fetches the engine's own)
 * can't be pushed as it is, since registries refuse an index without its children: it is narrowed to the engine's
 * platform, or to the only one there is.
 * @param wanted The platform asked for; null for all that there is.
 * @throws LadingError `not-found` where nothing whole serves
 */
export async function presentRoot(
  from: TransferStore,
  root: Descriptor,
  wanted: Platform | null,
  engine: Platform,
  signal?: AbortSignal,
): Promise<readonly Descriptor[]> {
  if (wanted === null) {
    const whole = await wholeTree(from, root, signal);
    if (whole !== null) return whole;
  }
  const single = await platformImage(from, root, wanted ?? engine, signal).catch(async (error: unknown) => {
    if (wanted !== null) throw error;
    const present = await presentPlatforms(from, root, signal);
    const [only] = present;
    if (present.length !== 1 || only === undefined) throw error;
    return await platformImage(from, root, only, signal);
  });
  const whole = await wholeTree(from, single.raw.descriptor, signal);
  if (whole !== null) return whole;
  throw new LadingError("not-found", `${single.raw.descriptor.digest} is only partly here`, {
    digest: single.raw.descriptor.digest,
    hint: "pull the image again; `lading verify` says what is not there or damaged",
  });
}

/** The platforms of a root whose content is there. */
export async function presentPlatforms(
  from: TransferStore,
  root: Descriptor,
  signal?: AbortSignal,
): Promise<readonly Platform[]> {
  if (!(await from.has(root, { signal }))) return [];
  const read = manifestReader(from, signal);
  const { manifest } = await read(root);
  if (manifest.kind === "index") {
    const below = await Promise.all(
      manifest.manifests
        .filter(({ mediaType, platform }) => isManifestType(mediaType) && !isUnknownPlatform(platform))
        .map((entry) => presentPlatforms(from, entry, signal)),
    );
    return below.flat();
  }
  for (const blob of [manifest.config, ...manifest.layers]) if (!(await from.has(blob, { signal }))) return [];
  if (!imageConfigTypes.has(manifest.config.mediaType)) return [];
  const bytes = await readVerified(from, manifest.config, { limit: "config", signal });
  return [normalizePlatform(parseImageConfig(bytes).platform)];
}

const imageConfigTypes: ReadonlySet<string> = new Set([mediaTypes.ociConfig, mediaTypes.dockerConfig]);
