import type { ContentTree } from "../content/walk.js";
import { isLadingError, LadingError } from "../errors.js";
import { isTag } from "../image/reference.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { Repository } from "../registry/repository.js";
import { misused } from "./call-options.js";

/** The tags that a push gives, each once. @throws LadingError `bad-reference` */
export function targetTags(remote: RemoteImage, more: readonly string[] | null | undefined): readonly string[] {
  if (more && !Array.isArray(more)) throw misused("tags", "a list of tags");
  for (const tag of more ?? []) {
    if (!isTag(tag)) throw new LadingError("bad-reference", `${JSON.stringify(tag)} is not a tag`);
  }
  if (remote.digest !== null) {
    throw new LadingError("bad-reference", `${remote} names a digest; a push goes to a tag`, { side: "destination" });
  }
  return [...new Set([remote.tag ?? "latest", ...(more ?? [])])];
}

/** @throws LadingError `conflict` where one of the tags is another image */
export function refuseMoved(
  tags: readonly string[],
  heads: readonly (Descriptor | null)[],
  digest: Digest,
  remote: RemoteImage,
): void {
  for (const [index, tag] of tags.entries()) {
    const head = heads[index] ?? null;
    if (head === null || head.digest === digest) continue;
    throw tagTaken(remote.withTag(tag), head.digest);
  }
}

/**
 * Points a tag at the root of a tree that is there. With `noClobber` the registry decides too, where it knows conditions: another
 * push may be faster, and a tag whose image is damaged there can't be seen by HEAD.
 * @throws LadingError `conflict` where the tag is another image
 */
export async function pointTag(
  repository: Repository,
  { root, manifests }: ContentTree,
  remote: RemoteImage,
  { noClobber, signal }: { readonly noClobber: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const condition = noClobber ? ({ absent: true } as const) : undefined;
  try {
    await repository.tag(root, remote.tag ?? "latest", { signal, bytes: manifests.at(-1)?.bytes, condition });
  } catch (error) {
    throw isLadingError(error) && error.status === 412 ? tagTaken(remote, error.digest) : error;
  }
}

/** @param digest Null where the registry does not say what the tag stands for. */
function tagTaken(remote: RemoteImage, digest: string | null): LadingError {
  return new LadingError("conflict", `${remote} exists and is another image${digest === null ? "" : ` (${digest})`}`, {
    side: "destination",
    digest,
    hint: "push without --no-clobber to move the tag, or choose another one",
  });
}
