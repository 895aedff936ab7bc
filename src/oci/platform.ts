import { LadingError } from "../errors.js";

/**
 * The platform of an image, as an index names it.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions
 */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
}

const architectureAliases: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x64: ["amd64"],
  x86_64: ["amd64"],
  "x86-64": ["amd64"],
  ia32: ["386"],
  i386: ["386"],
  i686: ["386"],
  aarch64: ["arm64"],
  arm64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"],
  arm: ["arm", "v7"],
};

/** The usual spelling: `x64` is amd64, arm64 has variant v8 only where it differs, arm without a variant is v7. */
export function normalizePlatform(platform: Platform): Platform {
  const named = platform.architecture.toLowerCase();
  // Own names alone: there are images whose architecture is called `constructor`.
  const alias = Object.hasOwn(architectureAliases, named) ? architectureAliases[named] : undefined;
  const [architecture, aliasVariant] = alias ?? [named];
  let variant: string | undefined = platform.variant ?? aliasVariant;
  if (architecture === "arm64" && (variant === "v8" || variant === "8")) variant = undefined;
  if (architecture === "amd64" && variant === "v1") variant = undefined;
  if (architecture === "arm" && variant !== undefined && /^\d$/.test(variant)) variant = `v${variant}`;
  const { variant: _dropped, ...rest } = platform;
  return { ...rest, os: platform.os.toLowerCase(), architecture, ...(variant === undefined ? {} : { variant }) };
}

/**
 * `os/architecture[/variant]`; a bare architecture means linux.
 * @throws LadingError `usage`
 */
export function parsePlatform(text: string): Platform {
  const parts = text.split("/");
  const [first, second, variant] = parts;
  const bad = parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.-]+$/.test(part));
  if (bad || first === undefined) {
    throw new LadingError("usage", `${JSON.stringify(text)} is not a platform: expected os/architecture[/variant]`, {
      hint: "for example linux/amd64 or linux/arm64",
    });
  }
  if (second === undefined) return normalizePlatform({ os: "linux", architecture: first });
  return normalizePlatform({ os: first, architecture: second, ...(variant === undefined ? {} : { variant }) });
}

export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return variant === undefined || variant === "" ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Entries of an index that are no image to run: BuildKit's attestations. */
export function isUnknownPlatform(platform: Platform | undefined): boolean {
  return platform !== undefined && platform.os === "unknown" && platform.architecture === "unknown";
}

/** How well an offered platform serves a wanted one; null where it does not. Higher is better. */
function score(wanted: Platform, offered: Platform): number | null {
  const [want, have] = [normalizePlatform(wanted), normalizePlatform(offered)];
  if (want.os !== have.os || want.architecture !== have.architecture) return null;
  if (want.variant === have.variant) return 100;
  if (want.variant === undefined) return have.architecture === "amd64" ? null : 50;
  if (have.variant === undefined) return 40;
  const [wantNumber, haveNumber] = [variantNumber(want.variant), variantNumber(have.variant)];
  // A processor runs code for its own variant and for lower ones.
  if (wantNumber === null || haveNumber === null || haveNumber > wantNumber) return null;
  return 30 + haveNumber;
}

function variantNumber(variant: string): number | null {
  const match = /^v(\d+)$/.exec(variant);
  return match === null ? null : Number(match[1]);
}

/** The entry that serves the wanted platform best; attestations are never chosen. */
export function choosePlatform<Entry extends { readonly platform?: Platform }>(
  entries: readonly Entry[],
  wanted: Platform,
): Entry | null {
  let best: { entry: Entry; score: number } | null = null;
  for (const entry of entries) {
    if (entry.platform === undefined || isUnknownPlatform(entry.platform)) continue;
    const points = score(wanted, entry.platform);
    if (points !== null && (best === null || points > best.score)) best = { entry, score: points };
  }
  return best?.entry ?? null;
}

/** The platform of images for a host: linux, whatever the host's own system is, and its architecture. */
export function hostPlatform(nodeArchitecture: string): Platform {
  return normalizePlatform({ os: "linux", architecture: nodeArchitecture });
}
