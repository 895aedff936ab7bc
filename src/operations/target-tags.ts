import { LadingError } from "../errors.js";
import { isTag } from "../image/reference.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
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
    throw new LadingError("conflict", `${remote.withTag(tag)} exists and is another image (${head.digest})`, {
      side: "destination",
      digest: head.digest,
      hint: "push without --no-clobber to move the tag, or choose another one",
    });
  }
}
