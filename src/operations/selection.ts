import type { ManifestReader } from "../content/walk.js";
import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { limits } from "../oci/limits.js";
import type { RawManifest } from "../oci/manifest.js";
import { isIndexType } from "../oci/media-types.js";
import { choosePlatform, formatPlatform, isUnknownPlatform, type Platform, parsePlatform } from "../oci/platform.js";

/** `all` keeps an index whole; null leaves the choice to the verb. */
export type PlatformOption = string | null | undefined;

/** The platform that an option asks for: null for `all`, the fallback where nothing is said. */
export function wantedPlatform(
  option: PlatformOption,
  configured: string | null,
  fallback: Platform | null,
): Platform | null {
  const text = option ?? configured;
  if (text === null || text === undefined) return fallback;
  return text === "all" ? null : parsePlatform(text);
}

/** The annotation by which BuildKit says which manifest of an index an attestation is about. */
const attestationOf = "vnd.docker.reference.digest";

/** Entries of an index that belong to a platform's manifest: itself and its attestations. */
export function belongsTo(chosen: Descriptor): (entry: Descriptor) => boolean {
  return (entry) => entry.digest === chosen.digest || entry.annotations?.[attestationOf] === chosen.digest;
}

/**
 * Goes down from a root to the image manifest of a platform, through nested indexes.
 * @throws LadingError `not-found` where the index has no such platform, naming those that it has
 */
export async function selectManifest(
  root: RawManifest,
  platform: Platform,
  read: ManifestReader,
): Promise<{ readonly image: RawManifest; readonly entry: Descriptor | null }> {
  let current = root;
  let entry: Descriptor | null = null;
  for (let depth = 0; current.manifest.kind === "index"; depth += 1) {
    if (depth >= limits.indexDepth) {
      throw new LadingError("limit-exceeded", `indexes are nested deeper than ${limits.indexDepth} levels`, {
        limit: "indexDepth",
      });
    }
    const { manifests } = current.manifest;
    const chosen =
      choosePlatform(manifests, platform) ??
      // An index of one image that does not say its platform leaves no choice; nor does one that nests.
      onlyCandidate(manifests);
    if (chosen === null) {
      const offered = manifests
        .map((candidate) => candidate.platform)
        .filter((candidate): candidate is Platform => candidate !== undefined && !isUnknownPlatform(candidate))
        .map(formatPlatform);
      throw new LadingError("not-found", `the image has no ${formatPlatform(platform)}`, {
        digest: root.descriptor.digest,
        side: "source",
        hint: `it has ${offered.join(", ") || "no platform at all"}: choose one with --platform, or --platform all`,
      });
    }
    entry = chosen;
    current = await read(chosen);
  }
  return { image: current, entry };
}

function onlyCandidate(entries: readonly Descriptor[]): Descriptor | null {
  const candidates = entries.filter((entry) => entry.platform === undefined || isIndexType(entry.mediaType));
  return entries.length === candidates.length && candidates.length === 1 ? (candidates[0] ?? null) : null;
}

/** `os/architecture[/variant]` of every image in an index, attestations left out. */
export function indexPlatforms(entries: readonly Descriptor[]): readonly string[] {
  return entries.flatMap((entry) =>
    entry.platform === undefined || isUnknownPlatform(entry.platform) ? [] : [formatPlatform(entry.platform)],
  );
}
