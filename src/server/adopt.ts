import { isRepositoryPath } from "../image/reference.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, isDigest } from "../oci/digest.js";
import type { Context } from "./context.js";
import { linkBlob, readLink } from "./links.js";

/** A file of this machine that is to become a blob of a repository. */
export interface AdoptBlobRequest {
  readonly repository: string;
  readonly descriptor: Descriptor;
  /** A blob's file of another store, which verified it when it was written. It is read-only and never written again. */
  readonly path: string;
  /** Ends the waiting for other writers. */
  readonly signal?: AbortSignal | undefined;
}

/** A blob of a repository whose file is asked for. */
export interface BlobPathRequest {
  readonly repository: string;
  readonly digest: Digest;
}

/** The same as an upload that was verified. */
export async function adoptBlob(
  { repository, descriptor: { digest, size }, path, signal }: AdoptBlobRequest,
  context: Context,
): Promise<boolean> {
  if (!isRepositoryPath(repository) || !isDigest(digest)) return false;
  const blob = { repository, digest, size, signal };
  return await linkBlob(context, blob, () => context.storage.adoptBlob(digest, size, path));
}

export async function blobPath({ repository, digest }: BlobPathRequest, { storage }: Context): Promise<string | null> {
  if (!isRepositoryPath(repository) || !isDigest(digest)) return null;
  return (await readLink(storage, repository, digest)) !== null ? await storage.blobPath(digest) : null;
}
