import { LocalImage } from "../image/local-image.js";
import { type Digest, isDigest } from "../oci/digest.js";
import { normalizePlatform, type Platform } from "../oci/platform.js";
import type { EngineImage } from "./engine.js";
import { isJsonObject, type JsonObject } from "./json-lines.js";

/** One image as an engine's `inspect` or `list` describes it, checked: engines differ in what they leave out. */
export interface InspectedImage {
  readonly id: Digest;
  /** `name:tag`, as the engine spells it. */
  readonly names: readonly string[];
  readonly repoDigests: readonly string[];
  readonly size: number;
  /** RFC 3339 UTC, or null. */
  readonly created: string | null;
  readonly platforms: readonly Platform[];
  readonly diffIds: readonly Digest[];
  /** What the name points at where the engine keeps original content, else the manifest's digest if it knows one. */
  readonly target: Digest | null;
  /** The manifests below an index and whether their content is there; empty where the engine does not tell. */
  readonly manifests: readonly InspectedManifest[];
}

export interface InspectedManifest {
  readonly digest: Digest;
  readonly kind: "image" | "attestation" | "unknown";
  readonly available: boolean;
  readonly platform: Platform | null;
}

/** Null where the document is not an image's. */
export function readInspected(document: unknown): InspectedImage | null {
  if (!isJsonObject(document)) return null;
  const id = imageId(document.Id);
  if (id === null) return null;
  const rootFs = isJsonObject(document.RootFS) ? document.RootFS : {};
  const descriptor = isJsonObject(document.Descriptor) ? document.Descriptor : {};
  const manifests = list(document.Manifests).filter(isJsonObject).map(readManifest).filter(isPresent);
  const own = platformOf(document.Os, document.Architecture, document.Variant);
  const below = manifests
    .filter(({ kind, available }) => kind === "image" && available)
    .map(({ platform }) => platform);
  return {
    id,
    names: list(document.RepoTags).filter(isString),
    repoDigests: list(document.RepoDigests).filter(isString),
    size: Number.isSafeInteger(document.Size) ? Math.max(0, document.Size as number) : 0,
    created: createdAt(document.Created),
    platforms: below.some(isPresent) ? below.filter(isPresent) : own === null ? [] : [own],
    diffIds: list(rootFs.Layers).filter(isDigest),
    target: isDigest(descriptor.digest) ? descriptor.digest : isDigest(document.Digest) ? document.Digest : null,
    manifests,
  };
}

function readManifest(entry: JsonObject): InspectedManifest | null {
  if (!isDigest(entry.ID)) return null;
  const image = isJsonObject(entry.ImageData) ? entry.ImageData : {};
  const platform = isJsonObject(image.Platform) ? image.Platform : {};
  return {
    digest: entry.ID,
    kind: entry.Kind === "image" || entry.Kind === "attestation" ? entry.Kind : "unknown",
    available: entry.Available === true,
    platform: platformOf(platform.os, platform.architecture, platform.variant),
  };
}

/** One entry per name; one without a name where there is none that Lading can read. */
export function toEngineImages(image: InspectedImage): readonly EngineImage[] {
  const locals = image.names.map(readName).filter(isPresent);
  return (locals.length === 0 ? [null] : locals).map((local) => toEngineImage(image, local));
}

export function toEngineImage(image: InspectedImage, local: LocalImage | null): EngineImage {
  const { id, size, created, platforms, diffIds } = image;
  return { local, id, digest: image.target ?? repoDigest(image, local), size, created, platforms, diffIds };
}

/** The digest under which the image is known in its repository, for engines that keep no manifests. */
function repoDigest({ repoDigests }: InspectedImage, local: LocalImage | null): Digest | null {
  for (const entry of repoDigests) {
    const at = entry.lastIndexOf("@");
    const [name, digest] = [entry.slice(0, at), entry.slice(at + 1)];
    if (isDigest(digest) && (local === null || name === local.name || name === `localhost/${local.name}`))
      return digest;
  }
  return null;
}

/** `name:tag` as an engine spells it; null for `<none>:<none>` and for what is no valid name. */
export function readName(text: string): LocalImage | null {
  const at = text.lastIndexOf(":");
  // Podman's mark for a name without a registry.
  const name = text.slice(0, at).replace(/^localhost\//, "");
  if (at <= 0 || name === "<none>") return null;
  try {
    return new LocalImage(name, text.slice(at + 1));
  } catch {
    return null;
  }
}

function imageId(value: unknown): Digest | null {
  if (isDigest(value)) return value;
  // Podman's own API leaves the algorithm out.
  const full = typeof value === "string" ? `sha256:${value}` : null;
  return isDigest(full) ? full : null;
}

function createdAt(value: unknown): string | null {
  if (typeof value !== "string" && typeof value !== "number") return null;
  const date = new Date(typeof value === "number" ? value * 1000 : value);
  // Go's zero time stands for "not known".
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() < 1970) return null;
  return date.toISOString();
}

function platformOf(os: unknown, architecture: unknown, variant: unknown): Platform | null {
  if (!isString(os) || !isString(architecture) || os === "" || architecture === "") return null;
  return normalizePlatform({ os, architecture, ...(isString(variant) && variant !== "" ? { variant } : {}) });
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function isPresent<Value>(value: Value | null): value is Value {
  return value !== null;
}
