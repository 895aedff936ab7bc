import type { PutOptions } from "../content/store.js";
import { throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";

/** What a registry of this process can do for a store of the same machine, beside what its wire can. */
export interface BlobSharing {
  /**
   * Makes a file, which is a verified blob of a store, a blob of the repository without copying it. False where that
   * cannot be done.
   */
  adoptBlob(request: {
    readonly repository: string;
    readonly descriptor: Descriptor;
    readonly path: string;
    readonly signal?: AbortSignal | undefined;
  }): Promise<boolean>;
  /** The read-only file that a blob of the repository is; null where there is none, or it may not be shared. */
  blobPath(request: { readonly repository: string; readonly digest: Digest }): Promise<string | null>;
}

/** Gives a registry the file of a blob, if both have something of the kind. False: it must be sent. */
export async function shareBlob(
  sharing: BlobSharing | null,
  repository: string,
  descriptor: Descriptor,
  { file, signal }: PutOptions,
): Promise<boolean> {
  if (sharing === null || file === undefined) return false;
  try {
    const path = await file();
    return path !== null && (await sharing.adoptBlob({ repository, descriptor, path, signal }));
  } catch {
    // Sending it will tell what is wrong.
    throwIfAborted(signal);
    return false;
  }
}
