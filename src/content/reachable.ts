import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { children, parseManifest } from "../oci/manifest.js";
import { isIndexType, isManifestType } from "../oci/media-types.js";
import type { ContentSource } from "./store.js";
import { readVerified } from "./verify.js";

export interface ReachableOptions {
  readonly signal?: AbortSignal | undefined;
  /** Roots may be of any type: those that are no manifest reach themselves alone. @default false */
  readonly opaqueRoots?: boolean;
}

/**
 * The digests of everything that some content reaches, itself included. What an index names and the source does not
 * hold reaches nothing further: a layout may hold one platform of several.
 * @throws LadingError `limit-exceeded`, `unsupported` for a root that is no manifest, unless allowed: nobody knows what it needs; what reading throws
 */
export async function reachable(
  source: ContentSource,
  roots: AsyncIterable<Descriptor> | Iterable<Descriptor>,
  { signal, opaqueRoots = false }: ReachableOptions = {},
): Promise<ReadonlySet<Digest>> {
  const seen = new Set<Digest>();
  // Apart from `seen`: the same bytes may be named as a layer before they are named as a manifest.
  const read = new Set<Digest>();
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    seen.add(descriptor.digest);
    if (depth > limits.indexDepth && isIndexType(descriptor.mediaType)) {
      throw new LadingError("limit-exceeded", `indexes are nested deeper than ${limits.indexDepth} levels`, {
        digest: descriptor.digest,
        limit: "indexDepth",
      });
    }
    if (!isManifestType(descriptor.mediaType) || read.has(descriptor.digest)) return;
    read.add(descriptor.digest);
    if (!(await source.has(descriptor, { signal }))) return;
    const bytes = await readVerified(source, descriptor, { limit: "manifest", signal });
    for (const child of children(parseManifest(bytes, descriptor.mediaType))) await visit(child, depth + 1);
  };
  for await (const root of roots) {
    if (!opaqueRoots && !isManifestType(root.mediaType)) {
      throw new LadingError("unsupported", `${root.mediaType} in index.json is no type that Lading knows`, {
        digest: root.digest,
        hint: "remove the entry with the tool that wrote it",
      });
    }
    await visit(root, 1);
  }
  return seen;
}
