import type { PutResult } from "../content/store.js";
import type { ContentTree } from "../content/walk.js";
import type { Digest } from "../oci/digest.js";

/** What became of an image's blobs at a registry. */
export interface BlobCounts {
  readonly sent: number;
  readonly mounted: number;
  readonly existing: number;
}

/** Counts the blobs of a tree by what happened to them; one that nobody had to look at was there. */
export function countSent(
  tree: ContentTree,
  results: ReadonlyMap<Digest, PutResult>,
): { readonly blobs: BlobCounts; readonly bytes: number } {
  const blobs = { sent: 0, mounted: 0, existing: 0 };
  let bytes = 0;
  for (const { digest } of tree.blobs) {
    const result = results.get(digest);
    bytes += result?.transferred ?? 0;
    if (result?.outcome === "stored") blobs.sent += 1;
    else if (result?.outcome === "mounted") blobs.mounted += 1;
    else blobs.existing += 1;
  }
  return { blobs, bytes };
}
