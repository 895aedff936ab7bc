import { LadingError } from "../errors.js";
import type { Digest } from "../oci/digest.js";
import type { EngineReference } from "./engine.js";
import type { InspectedImage } from "./engine-image.js";
import { referenceText } from "./engine-reference.js";

/** What should be in the engine after a load. */
export interface LoadExpectation {
  readonly id: Digest;
  readonly diffIds: readonly Digest[];
  /** Every name of the image; none for one that is known by its ID. */
  readonly names: readonly EngineReference[];
}

/**
 * Compares what the engine reports with what was sent, under each name: an engine that answered 200 may still have
 * made something else of it.
 * @throws LadingError `engine-failed`
 */
export async function checkLoaded(
  { id, diffIds, names }: LoadExpectation,
  inspect: (reference: EngineReference) => Promise<InspectedImage | null>,
): Promise<void> {
  for (const reference of names.length === 0 ? [id] : names) {
    const differs = difference(await inspect(reference), id, diffIds);
    if (differs === null) continue;
    throw new LadingError(
      "engine-failed",
      `after loading ${id}, ${referenceText(reference)} ${differs} in the engine`,
      {
        digest: id,
      },
    );
  }
}

function difference(found: InspectedImage | null, id: Digest, diffIds: readonly Digest[]): string | null {
  if (found === null) return "is not there";
  if (found.id !== id) return `is ${found.id}`;
  // The containerd store tells no layers where the engine's own platform is not among what was loaded.
  return found.diffIds.length > 0 && found.diffIds.join() !== diffIds.join() ? "has other layers" : null;
}
