import type { LayoutStore } from "../content/layout.js";
import { isLadingError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Repository } from "../registry/repository.js";

/** Bytes of the store's disk that a download still takes: what is there, or was begun, or can be linked, takes none. */
export async function diskNeed(
  store: LayoutStore,
  repository: Repository,
  wanted: readonly Descriptor[],
): Promise<number> {
  let needed = 0;
  for (const blob of wanted) needed += await store.neededBytes(blob, await repository.path(blob.digest));
  return needed;
}

/** Runs a download; where somebody else fills the disk meanwhile, the error says how much is wanted of it. */
export async function sayingDiskNeed<Result>(
  store: LayoutStore,
  need: () => Promise<number>,
  download: () => Promise<Result>,
): Promise<Result> {
  try {
    return await download();
  } catch (error) {
    if (!isLadingError(error) || error.code !== "no-space" || error.side === "source") throw error;
    const needed = await need().catch(() => null);
    if (needed === null) throw error;
    throw new LadingError("no-space", `the disk is full: ${store.directory} needs ${needed} bytes more`, {
      ...error.toJSON(),
      cause: error,
    });
  }
}
