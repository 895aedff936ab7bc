import type { LayerProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestHex } from "../oci/digest.js";
import { isJsonObject, type JsonObject } from "./json-lines.js";

/** Docker shortens a diff ID to this many hex digits in its progress lines. */
const shortLength = 12;

/** Reports Docker's "Loading layer" lines by the compressed digest of the layer that they mean. */
export function loadProgress(
  progress: LayerProgress | undefined,
  diffIds: readonly Digest[],
  layers: readonly Descriptor[],
): (line: JsonObject) => void {
  if (progress === undefined) return () => {};
  const byShortId = new Map(diffIds.map((diffId, index) => [digestHex(diffId).slice(0, shortLength), layers[index]]));
  return (line) => {
    const layer = typeof line.id === "string" ? byShortId.get(line.id) : undefined;
    const detail = isJsonObject(line.progressDetail) ? line.progressDetail : {};
    if (layer === undefined || !isCount(detail.current)) return;
    const total = isCount(detail.total) && detail.total > 0 ? detail.total : null;
    progress.report(layer.digest, "loading", detail.current, total);
  };
}

/** Bytes: JSON's numbers may be fractions, negative, and more than there is. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
