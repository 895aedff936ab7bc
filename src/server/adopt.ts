import { isRepositoryPath } from "../image/reference.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, isDigest } from "../oci/digest.js";
import { isLinked, linkBlob } from "./blobs.js";
import type { Context } from "./context.js";
import { blobScope } from "./storage/storage.js";

export interface AdoptBlobRequest {
  readonly repository: string;
  readonly descriptor: Descriptor;
  /** A blob's file of another store, which verified it when it was written. It is read-only and never written again. */
  readonly path: string;
  /** Ends the waiting for other writers. */
  readonly signal?: AbortSignal | undefined;
}

export interface BlobPathRequest {
  readonly repository: string;
  readonly digest: Digest;
}

/** The same as an upload that was verified: first the bytes, then the repository's link to them. */
export async function adoptBlob(
  { repository, descriptor: { digest, size }, path, signal }: AdoptBlobRequest,
  { storage, now }: Context,
): Promise<boolean> {
  if (!isRepositoryPath(repository) || !isDigest(digest)) return false;
  return await storage.exclusive(blobScope(repository, digest), signal, async () => {
    if (!(await storage.adoptBlob(digest, size, path))) return false;
    await linkBlob(storage, repository, digest, size, now());
    return true;
  });
}

export async function blobPath({ repository, digest }: BlobPathRequest, { storage }: Context): Promise<string | null> {
  if (!isRepositoryPath(repository) || !isDigest(digest)) return null;
  return (await isLinked(storage, repository, digest)) ? await storage.blobPath(digest) : null;
}
