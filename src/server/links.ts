import { type Digest, digestHex } from "../oci/digest.js";
import type { Context } from "./context.js";
import { blobScope, decodeRecord, encodeRecord, folders, type Storage } from "./storage/storage.js";

/** That a repository may read a blob. */
export interface LinkRecord {
  /** Bytes of the blob. */
  readonly size: number;
  /** When the repository was last given the blob, RFC 3339. */
  readonly linked: string;
  /** Since when the link is on its way out, RFC 3339. It is read as ever; whoever uses it revives it. */
  readonly condemned?: string;
}

/** A repository may read a blob only through its own link, wherever else the blob is known (CVE-2024-39897). */
export async function readLink(storage: Storage, repository: string, digest: Digest): Promise<LinkRecord | null> {
  const bytes = await storage.get(folders.links(repository, digest), digestHex(digest));
  return bytes === null ? null : decodeRecord<LinkRecord>(bytes);
}

/**
 * Makes a link live, and has the blob live too: in this order, so that a collection that runs meanwhile sees either
 * the link or a blob that is live again. To be called alone in the scope of the repository or of the blob.
 * @returns the blob's bytes, or null where the repository has no link or the blob is gone
 */
export async function touchLink(context: Context, repository: string, digest: Digest): Promise<number | null> {
  const { storage, now } = context;
  const [folder, name] = [folders.links(repository, digest), digestHex(digest)];
  while (true) {
    const found = await storage.read(folder, name);
    if (found === null) return null;
    const { size, condemned } = decodeRecord<LinkRecord>(found.bytes);
    const live: LinkRecord = { size, linked: new Date(now()).toISOString() };
    if (condemned === undefined || (await storage.putIfMatch(folder, name, encodeRecord(live), found.version))) {
      return await storage.reviveBlob(digest);
    }
  }
}

/**
 * Gives a repository a blob: first the link, then the bytes that `place` puts there or finds. A collection that
 * counted links before this one was made finds the blob live again, or finds no blob yet; one that counts them later
 * sees the link. Where there are no bytes in the end the link stays, until a collection takes it: it leads nowhere, and
 * to remove it could take it from a manifest that has just counted on it.
 * @param place False where there are no bytes.
 * @throws Fault where the owner's quota is reached
 */
export async function linkBlob(
  context: Context,
  {
    repository,
    digest,
    size,
    signal,
  }: {
    readonly repository: string;
    readonly digest: Digest;
    readonly size: number;
    readonly signal?: AbortSignal | null | undefined;
  },
  place: () => Promise<boolean>,
): Promise<boolean> {
  const { storage, now, quotas } = context;
  const [folder, name] = [folders.links(repository, digest), digestHex(digest)];
  return await storage.exclusive(blobScope(repository, digest), signal, async () => {
    const record = encodeRecord({ size, linked: new Date(now()).toISOString() } satisfies LinkRecord);
    const link = (): Promise<boolean> => linkAlone(storage, folder, name, record);
    const isNew = (await storage.get(folder, name)) === null;
    if (await (isNew ? quotas.reserve(repository, size, link) : link())) await enterLinked(context, repository);
    if (!(await place())) return false;
    // one that was there before may have been condemned while the bytes came, or have gone
    while (true) {
      const found = await readLink(storage, repository, digest);
      if (found !== null && found.condemned === undefined) return true;
      await (found === null ? quotas.reserve(repository, size, link) : link());
      if ((await storage.reviveBlob(digest)) === null) return false;
    }
  });
}

/** Has a mount without `from` look into a repository, where it looks: before its first manifest too. */
async function enterLinked({ storage, automaticMount }: Context, repository: string): Promise<void> {
  if (automaticMount !== "readable" || (await storage.get(folders.linked, repository)) !== null) return;
  await storage.putIfAbsent(folders.linked, repository, encodeRecord({}));
}

/** Repositories that may have a blob: what a mount without `from` looks through. */
export async function listLinked(storage: Storage): Promise<readonly string[]> {
  const all = { after: null, limit: Number.POSITIVE_INFINITY };
  const listed = await Promise.all([folders.linked, folders.repositories].map((folder) => storage.list(folder, all)));
  return [...new Set(listed.flat())];
}

/** True where there was no link. */
async function linkAlone(storage: Storage, folder: string, name: string, record: Uint8Array): Promise<boolean> {
  while (true) {
    const found = await storage.read(folder, name);
    if (found === null) {
      if (await storage.putIfAbsent(folder, name, record)) return true;
      continue;
    }
    if (decodeRecord<LinkRecord>(found.bytes).condemned === undefined) return false;
    if (await storage.putIfMatch(folder, name, record, found.version)) return false;
  }
}
