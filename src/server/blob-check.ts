import { createHasher, type Digest, digestAlgorithm } from "../oci/digest.js";
import type { Context } from "./context.js";
import type { ReadRate } from "./read-rate.js";

/** A blob that was read, and what is wrong with it; null where nothing is. */
export interface CheckedBlob {
  readonly digest: Digest;
  readonly bytes: number;
  readonly problem: "blob-corrupt" | "blob-unreadable" | null;
  /** It was taken out of reach. */
  readonly quarantined: boolean;
}

/** How blobs are read. */
export interface CheckBlobsOptions {
  readonly rate: ReadRate;
  /** Begins behind this digest. */
  readonly after?: Digest | null;
  /** Takes what is corrupt out of reach. */
  readonly quarantine: boolean;
  readonly signal?: AbortSignal | null | undefined;
}

/** Reads every blob, in the order of the digests, and looks whether it is what it is called. */
export async function* checkBlobs(
  { storage, onError }: Pick<Context, "storage" | "onError">,
  { rate, after, quarantine, signal }: CheckBlobsOptions,
): AsyncIterable<CheckedBlob> {
  for await (const { digest, size } of storage.blobs()) {
    signal?.throwIfAborted();
    if (after && digest <= after) continue;
    const hasher = createHasher(digestAlgorithm(digest));
    let bytes = 0;
    let problem: CheckedBlob["problem"] = null;
    try {
      for await (const chunk of storage.blobBytes(digest, 0, size - 1)) {
        hasher.update(chunk);
        bytes += chunk.length;
        await rate.read(chunk.length, signal);
      }
      if (hasher.digest() !== digest) problem = "blob-corrupt";
    } catch (error) {
      signal?.throwIfAborted();
      // a collection may have been faster
      if ((await storage.blobSize(digest)) === null) continue;
      onError(error);
      problem = "blob-unreadable";
    }
    const moving = quarantine && problem === "blob-corrupt";
    const quarantined =
      moving && (await storage.exclusive(`blob@${digest}`, null, () => storage.quarantineBlob(digest)));
    yield { digest, bytes, problem, quarantined };
  }
}
