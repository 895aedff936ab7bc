import { type Digest, digestHex } from "../oci/digest.js";
import type { Context } from "./context.js";
import { decodeRecord, encodeRecord, folders, type Records, readRecord, type Storage } from "./storage/storage.js";

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

/** In the scope of the repository, as everything that writes such a record; others may share it. */
export async function writeManifestRecord(
  storage: Storage,
  repository: string,
  digest: Digest,
  record: ManifestRecord,
): Promise<void> {
  await storage.put(folders.manifests(repository, digest), digestHex(digest), encodeRecord(record));
}

/**
 * Changes a record from what it is at that moment: two that share the scope don't lose each other's change.
 * @param change Null leaves it as it is.
 * @returns false where there is none
 */
async function changeManifestRecord(
  storage: Storage,
  repository: string,
  digest: Digest,
  change: (record: ManifestRecord) => ManifestRecord | null,
): Promise<boolean> {
  const [folder, name] = [folders.manifests(repository, digest), digestHex(digest)];
  while (true) {
    const found = await storage.read(folder, name);
    if (found === null) return false;
    const changed = change(decodeRecord<ManifestRecord>(found.bytes));
    if (changed === null) return true;
    if (await storage.putIfMatch(folder, name, encodeRecord(changed), found.version)) return true;
  }
}

/** Enters a manifest that is pushed, where it is not known as live with this type. Others may share the scope. */
export async function enterManifest(
  storage: Storage,
  repository: string,
  digest: Digest,
  record: ManifestRecord,
): Promise<void> {
  const [folder, name] = [folders.manifests(repository, digest), digestHex(digest)];
  while (true) {
    const found = await storage.read(folder, name);
    if (found === null) {
      if (await storage.putIfAbsent(folder, name, encodeRecord(record))) return;
      continue;
    }
    const { mediaType, condemned } = decodeRecord<ManifestRecord>(found.bytes);
    if (mediaType === record.mediaType && condemned === undefined) return;
    if (await storage.putIfMatch(folder, name, encodeRecord(record), found.version)) return;
  }
}

/**
 * Makes a manifest live, and its bytes too. Its time without a tag begins anew. In the scope of the repository.
 * @returns false where the repository has no such manifest, or its bytes are gone
 */
export async function touchManifest({ storage, now }: Context, repository: string, digest: Digest): Promise<boolean> {
  const there = await changeManifestRecord(storage, repository, digest, ({ condemned, ...live }) =>
    condemned === undefined ? null : { ...live, untagged: new Date(now()).toISOString() },
  );
  return there && (await storage.reviveBlob(digest)) !== null;
}

/** Notes that a tag is about to leave a manifest. In the scope of the repository. */
export async function noteUntagged(storage: Storage, repository: string, digest: Digest, now: number): Promise<void> {
  const untagged = new Date(now).toISOString();
  await changeManifestRecord(storage, repository, digest, (record) => ({ ...record, untagged }));
}
