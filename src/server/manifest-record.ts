import { type Digest, digestHex } from "../oci/digest.js";
import type { Context } from "./context.js";
import { encodeRecord, folders, type Records, readRecord, type Storage } from "./storage/storage.js";

/** What is known of a manifest of a repository without reading it. */
export interface ManifestRecord {
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
  /** RFC 3339. */
  readonly pushed: string;
  readonly subject: Digest | null;
  readonly artifactType: string | null;
  /** What it points at, its subject left out. */
  readonly references: readonly Digest[];
  /** When a tag last left it, RFC 3339. */
  readonly untagged?: string;
  /** Since when it is on its way out, RFC 3339. It is read as ever; whoever uses it revives it. */
  readonly condemned?: string;
}

export async function readManifestRecord(
  storage: Records,
  repository: string,
  digest: Digest,
): Promise<ManifestRecord | null> {
  return await readRecord<ManifestRecord>(storage, folders.manifests(repository, digest), digestHex(digest));
}

/** To be called alone in the scope of the repository, as everything that writes such a record. */
export async function writeManifestRecord(
  storage: Storage,
  repository: string,
  digest: Digest,
  record: ManifestRecord,
): Promise<void> {
  await storage.put(folders.manifests(repository, digest), digestHex(digest), encodeRecord(record));
}

/**
 * Makes a manifest live, and its bytes too. Its time without a tag begins anew. Alone in the scope of the repository.
 * @returns false where the repository has no such manifest, or its bytes are gone
 */
export async function touchManifest({ storage, now }: Context, repository: string, digest: Digest): Promise<boolean> {
  const record = await readManifestRecord(storage, repository, digest);
  if (record === null) return false;
  if (record.condemned !== undefined) {
    const { condemned: _, ...live } = record;
    await writeManifestRecord(storage, repository, digest, { ...live, untagged: new Date(now()).toISOString() });
  }
  return (await storage.reviveBlob(digest)) !== null;
}

/** Notes that a tag is about to leave a manifest. Alone in the scope of the repository. */
export async function noteUntagged(storage: Storage, repository: string, digest: Digest, now: number): Promise<void> {
  const record = await readManifestRecord(storage, repository, digest);
  if (record === null) return;
  await writeManifestRecord(storage, repository, digest, { ...record, untagged: new Date(now).toISOString() });
}
