import type { Digest } from "../oci/digest.js";

/**
 * The layers of an image that an engine with a graph driver has already: a layer is kept together with all below it,
 * so what counts is the longest common beginning with any of the engine's images. A layer that comes again above it
 * is not known, since it is needed there.
 * @param diffIds Of the image, lowest first.
 * @param images Those of the engine's images.
 */
export function knownPrefix(diffIds: readonly Digest[], images: Iterable<readonly Digest[]>): ReadonlySet<Digest> {
  let longest = 0;
  for (const other of images) {
    let common = 0;
    while (common < diffIds.length && diffIds[common] === other[common]) common++;
    longest = Math.max(longest, common);
  }
  const known = new Set(diffIds.slice(0, longest));
  for (const diffId of diffIds.slice(longest)) known.delete(diffId);
  return known;
}
