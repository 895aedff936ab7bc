import { Limiter } from "../content/limiter.js";
import { isLadingError, LadingError, type LadingErrorJson } from "../errors.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { isIndexType } from "../oci/media-types.js";
import { isReferrersTag } from "../registry/referrers.js";
import type { Repository } from "../registry/repository.js";
import { type CallOptions, type ClientContext, wirePath } from "./context.js";
import { notInRegistry } from "./size.js";

/** Options of a removal. */
export interface RemovalOptions extends CallOptions {
  /** Every tag of the repository. @default false */
  readonly allTags?: boolean | null | undefined;
  /** Also remove what was not named: other tags of a digest. @default false */
  readonly force?: boolean | null | undefined;
  /** What is not there is no error. @default false */
  readonly ignoreMissing?: boolean | null | undefined;
  /** Look, but remove nothing. @default false */
  readonly dryRun?: boolean | null | undefined;
}

/** One removal as JSON. */
export interface RemovalJson {
  readonly image: string;
  readonly digest: string | null;
  readonly removes: "tag" | "manifest";
  readonly tags: readonly string[];
  readonly otherTags: readonly string[];
  readonly indexes: readonly string[];
  readonly referrers: readonly string[];
  readonly needsForce: boolean;
  readonly removed: boolean;
  readonly error: LadingErrorJson | null;
}

/** What removing one name takes away. */
export interface Removal {
  readonly image: RemoteImage;
  /** What the name points at; null where there is nothing. */
  readonly digest: Digest | null;
  /** The tag alone, or the manifest with all its tags. */
  readonly removes: "tag" | "manifest";
  /** Tags that go. */
  readonly tags: readonly string[];
  /** Tags of the same digest that were not named. */
  readonly otherTags: readonly string[];
  /** Digests of indexes in the repository that name this manifest. */
  readonly indexes: readonly string[];
  /** Digests of what refers to this manifest: signatures, attestations. */
  readonly referrers: readonly string[];
  /** More than was named would go. */
  readonly needsForce: boolean;
  readonly removed: boolean;
  readonly error: LadingErrorJson | null;
}

/** Manifests of one repository that are looked at together. */
const manifestsAtOnce = 16;

/** Finds out what each removal would take away: who else uses the digest, and how. Reads only. */
export async function planRemovals(
  context: ClientContext,
  images: readonly RemoteImage[],
  options: RemovalOptions,
  signal: AbortSignal,
): Promise<Removal[]> {
  const removals: Removal[] = [];
  const usages = new Map<Repository, Promise<Usage>>();
  for (const image of images) {
    try {
      const repository = await context.repository(image, "destination", options);
      let usage = usages.get(repository);
      if (usage === undefined) {
        usage = readUsage(repository, signal);
        usages.set(repository, usage);
      }
      const named = await usage;
      if (options.allTags) {
        removals.push(...planAllTags(image, named));
      } else if (image.tag === null && image.digest === null) {
        throw new LadingError("usage", `${image} names no image: rm needs a tag, a digest or --all-tags`);
      } else {
        removals.push(await planOne(repository, image, named, images, signal));
      }
    } catch (error) {
      if (!isLadingError(error) || signal.aborted) throw error;
      if (error.code === "not-found" && options.ignoreMissing) continue;
      removals.push(failed(image, error));
    }
  }
  return removals;
}

function failed(image: RemoteImage, error: LadingError): Removal {
  const nothing = { tags: [], otherTags: [], indexes: [], referrers: [], needsForce: false, removed: false };
  const removes = image.digest === null ? "tag" : "manifest";
  return { image, digest: null, removes, ...nothing, error: error.with({ image: image.toString() }).toJSON() };
}

/** What a repository's tags point at. */
interface Usage {
  readonly tags: ReadonlyMap<string, Descriptor>;
  /** Digest of a manifest -> digests of the indexes that name it. */
  readonly indexes: ReadonlyMap<Digest, readonly Digest[]>;
}

async function readUsage(repository: Repository, signal: AbortSignal): Promise<Usage> {
  const tags = new Map<string, Descriptor>();
  const limiter = new Limiter(manifestsAtOnce);
  const names: string[] = [];
  try {
    for await (const page of repository.tags({ signal })) names.push(...page);
  } catch (error) {
    // Where the last tag is gone some registries forget the name; a manifest may still be there by digest.
    if (!isLadingError(error) || error.code !== "not-found") throw error;
  }
  await Promise.all(
    names.map((name) =>
      limiter.run(async () => {
        const descriptor = await repository.head(name, { signal });
        if (descriptor !== null) tags.set(name, descriptor);
      }, signal),
    ),
  );
  const indexes = new Map<Digest, Digest[]>();
  // A list of referrers, which clients keep, holds nothing: what is removed is taken out of it.
  const named = [...tags].filter(([tag, { mediaType }]) => isIndexType(mediaType) && !isReferrersTag(tag));
  const tops = new Map(named.map(([, descriptor]) => [descriptor.digest, descriptor]));
  await Promise.all(
    [...tops.keys()].map((digest) =>
      limiter.run(async () => {
        const { manifest } = await repository.manifest(digest, { signal });
        if (manifest.kind !== "index") return;
        for (const entry of manifest.manifests) {
          indexes.set(entry.digest, [...(indexes.get(entry.digest) ?? []), digest]);
        }
      }, signal),
    ),
  );
  // The registry's order, not the answers'.
  const ordered = new Map(names.flatMap((name) => (tags.has(name) ? [[name, tags.get(name) as Descriptor]] : [])));
  return { tags: ordered, indexes };
}

async function planOne(
  repository: Repository,
  image: RemoteImage,
  usage: Usage,
  all: readonly RemoteImage[],
  signal: AbortSignal,
): Promise<Removal> {
  const digest = image.digest ?? usage.tags.get(image.tag ?? "")?.digest ?? null;
  if (digest === null || (image.digest !== null && (await repository.head(image.digest, { signal })) === null)) {
    throw notInRegistry(image, "destination");
  }
  const sharing = [...usage.tags].filter(([, descriptor]) => descriptor.digest === digest).map(([tag]) => tag);
  const indexes = usage.indexes.get(digest) ?? [];
  const referrers: string[] = [];
  try {
    for (const referrer of await repository.referrers(digest, { signal })) referrers.push(referrer.digest);
  } catch (error) {
    if (!isLadingError(error) || (error.code !== "unsupported" && error.code !== "not-found")) throw error;
  }
  const common = { image, digest, referrers, removed: false, error: null };
  if (image.digest !== null) {
    const needsForce = sharing.length > 1 || indexes.length > 0;
    return { ...common, removes: "manifest", tags: sharing, otherTags: [], indexes, needsForce };
  }
  // Tags that are named in the same call go with it, and do not hold the manifest.
  const named = new Set(all.filter((other) => wirePath(other) === wirePath(image)).map((other) => other.tag));
  const otherTags = sharing.filter((tag) => tag !== image.tag);
  const held = otherTags.some((tag) => !named.has(tag)) || indexes.length > 0 || referrers.length > 0;
  const tags = image.tag === null ? [] : [image.tag];
  return { ...common, removes: held ? "tag" : "manifest", tags, otherTags, indexes, needsForce: false };
}

function planAllTags(image: RemoteImage, usage: Usage): readonly Removal[] {
  const byDigest = new Map<Digest, string[]>();
  for (const [tag, { digest }] of usage.tags) byDigest.set(digest, [...(byDigest.get(digest) ?? []), tag]);
  if (byDigest.size === 0) {
    throw new LadingError("not-found", `${wirePath(image)} has no tags`, {
      side: "destination",
      image: image.toString(),
      hint: "`lading ls` lists the repositories",
    });
  }
  // Lists of referrers first: what goes after them is not taken out of them any more.
  const lists = [...usage.tags].filter(([tag]) => isReferrersTag(tag));
  const others = [...usage.tags].filter(([tag]) => !isReferrersTag(tag));
  return [...lists, ...others].map(([tag, { digest }]) => ({
    image: image.withTag(tag),
    digest,
    removes: "manifest" as const,
    tags: [tag],
    otherTags: (byDigest.get(digest) ?? []).filter((other) => other !== tag),
    indexes: [],
    referrers: [],
    needsForce: false,
    removed: false,
    error: null,
  }));
}
