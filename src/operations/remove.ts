import { isLadingError, LadingError } from "../errors.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Digest } from "../oci/digest.js";
import type { Repository } from "../registry/repository.js";
import { type CallOptions, type ClientContext, wirePath } from "./context.js";
import { planRemovals, type Removal, type RemovalJson, type RemovalOptions } from "./removal-plan.js";
import { notInRegistry } from "./size.js";

/** The result of a removal as JSON. */
export interface RemovalJsonResult {
  readonly dryRun: boolean;
  readonly removals: readonly RemovalJson[];
}

/** What was removed, or would be with `dryRun`. */
export interface RemovalResult {
  readonly dryRun: boolean;
  readonly removals: readonly Removal[];
  toJSON(): RemovalJsonResult;
}

/** What the removals would take away, with nothing removed. */
export async function planRemoval(
  context: ClientContext,
  images: readonly RemoteImage[],
  options: RemovalOptions,
  signal: AbortSignal,
): Promise<RemovalResult> {
  return removalResult(await planRemovals(context, images, options, signal), true);
}

/** Removes what was named, one after another; a failure of one is in its row, and the others are still tried. */
export async function remove(
  context: ClientContext,
  images: readonly RemoteImage[],
  options: RemovalOptions,
  signal: AbortSignal,
): Promise<RemovalResult> {
  const removals = await planRemovals(context, images, options, signal);
  if (options.dryRun) return removalResult(removals, true);
  const done: Removal[] = [];
  const gone = new Set<string>();
  for (const removal of removals) {
    if (removal.error !== null || removal.digest === null) {
      done.push(removal);
      continue;
    }
    const key = `${wirePath(removal.image)}@${removal.digest}`;
    try {
      const repository = await context.repository(removal.image, "destination", options);
      // An earlier name of this call may have taken the manifest with all its tags.
      if (!gone.has(key)) {
        const removes = await execute(repository, removal, options, signal);
        if (removes === "manifest") gone.add(key);
        done.push({ ...removal, removes, removed: true });
      } else done.push({ ...removal, removed: true });
    } catch (error) {
      if (!isLadingError(error) || signal.aborted) throw error;
      done.push({ ...removal, error: error.with({ image: removal.image.toString() }).toJSON() });
    }
  }
  return removalResult(done, false);
}

async function execute(
  repository: Repository,
  removal: Removal,
  { force }: RemovalOptions,
  signal: AbortSignal,
): Promise<"tag" | "manifest"> {
  const { image, digest } = removal;
  if (digest === null) throw notInRegistry(image, "destination");
  if (removal.needsForce && !force) throw moreThanNamed(removal);
  if (removal.removes === "manifest") {
    await repository.deleteManifest(digest, { signal });
    return "manifest";
  }
  try {
    for (const tag of removal.tags) await repository.deleteTag(tag, { signal });
    return "tag";
  } catch (error) {
    if (!isLadingError(error) || error.code !== "unsupported") throw error;
    if (!force) throw cannotRemoveTagAlone(removal, error);
    await repository.deleteManifest(digest, { signal });
    return "manifest";
  }
}

function moreThanNamed({ image, digest, tags, indexes }: Removal): LadingError {
  const what = tags.length > 1 ? `the tags ${tags.join(", ")}` : `the manifest that ${indexes.length} indexes name`;
  return new LadingError("conflict", `removing ${image} would take away ${what}`, {
    side: "destination",
    digest,
    hint: "use --force to remove them all, or name a single tag",
  });
}

function cannotRemoveTagAlone({ image, digest, tags, otherTags, indexes, referrers }: Removal, cause: LadingError) {
  const users = [
    ...otherTags.map((tag) => `tag ${tag}`),
    ...indexes.map((index) => `index ${index}`),
    ...referrers.map((referrer) => `referrer ${referrer}`),
  ];
  return new LadingError(
    "conflict",
    `this registry can't remove the tag ${tags.join(", ")} alone, and its digest is used by ${users.join(", ")}`,
    {
      side: "destination",
      image: image.toString(),
      digest,
      status: cause.status,
      hint: "--force removes the digest, and all these with it",
      cause,
    },
  );
}

/** Removes one tag, and its manifest only if nothing else uses it. */
export async function removeTag(
  context: ClientContext,
  image: RemoteImage,
  options: RemovalOptions,
  signal: AbortSignal,
): Promise<RemovalResult> {
  const result = await remove(context, [image], options, signal);
  const error = result.removals.find((removal) => removal.error !== null)?.error;
  if (error) {
    const { code, message, ...details } = error;
    throw new LadingError(code, message, details);
  }
  return result;
}

function removalResult(removals: readonly Removal[], dryRun: boolean): RemovalResult {
  const json: RemovalJsonResult = {
    dryRun,
    removals: removals.map(({ image, ...rest }) => ({ image: image.toString(), ...rest })),
  };
  return { dryRun, removals, toJSON: () => json };
}

/** `images.rm`: deletes by digest, whatever tags point at it, as the reference has it. */
export async function removeDigest(
  context: ClientContext,
  image: RemoteImage,
  digest: Digest,
  options: CallOptions,
  signal: AbortSignal,
): Promise<string> {
  const repository = await context.repository(image, "destination", options);
  await repository.deleteManifest(digest, { signal });
  return digest;
}
