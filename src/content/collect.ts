import { throwIfAborted } from "../errors.js";
import type { Digest } from "../oci/digest.js";
import { type StoredBlob, useGrain } from "./blob-folder.js";
import type { LayoutStore } from "./layout.js";
import { reachable } from "./reachable.js";

export interface CollectOptions {
  /** Only say what would go. @default false */
  readonly dryRun?: boolean;
  /**
   * What was written or used within this time stays, in ms: somebody may be about to name it, or in the midst of a
   * transfer. What was used since the oldest transfer began that is under way stays in any case.
   * @default 24 hours; 1 hour for {@link evictCache}
   */
  readonly graceMs?: number;
  /** ms since 1970. @default Date.now */
  readonly clock?: () => number;
  /** Also what is only remembered for another engine. @default false */
  readonly cache?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface CollectedBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** It was cached for another engine. */
  readonly cached: boolean;
}

export interface EvictOptions extends CollectOptions {
  /** Bytes that the cache may keep; null: 10 GB or a tenth of the disk, the smaller. */
  readonly limit: number | null;
  /** Bytes that must be free on the disk afterwards, as far as the cache can give them. @default 0 */
  readonly needFree?: number;
  /** What stays in any case, such as the content of a transfer that is under way. */
  readonly keep?: ReadonlySet<Digest>;
}

/** What went, or would go. */
export interface Collected {
  readonly blobs: readonly CollectedBlob[];
  readonly digests: readonly Digest[];
  /** Bytes. */
  readonly freed: number;
}

const hour = 3600 * 1000;
const day = 24 * hour;
const tenGigabytes = 10_000_000_000;

/**
 * Removes blobs that no image of the store reaches, and that are not remembered as cache either. Where anything
 * that is needed to know this cannot be read, nothing is removed.
 */
export async function collect(store: LayoutStore, options: CollectOptions = {}): Promise<Collected> {
  const { graceMs = day, clock = Date.now, cache = false, signal } = options;
  return await locked(store, options, async () => {
    const own = await reachable(store.blobs, await store.roots(), { signal });
    const remembered = await reachable(store.blobs, store.remembered(), { signal, opaqueRoots: true });
    const before = await usedBefore(store, clock() - graceMs);
    const unused: StoredBlob[] = [];
    for await (const blob of store.blobs.list()) {
      const needed = own.has(blob.digest) || (!cache && remembered.has(blob.digest));
      if (!needed && blob.used <= before) unused.push(blob);
    }
    return await remove(store, unused, remembered, options);
  });
}

/** What was used later than this stays: by grace, and by what transfers under way have used since they began. */
async function usedBefore(store: LayoutStore, cutoff: number): Promise<number> {
  const since = await store.leasedSince();
  // A use soon after another one leaves no mark.
  return since === null ? cutoff : Math.min(cutoff, since - useGrain);
}

/** Who only looks stops nobody, and writes nothing. */
async function locked<Result>(
  store: LayoutStore,
  { dryRun, signal }: CollectOptions,
  work: () => Promise<Result>,
): Promise<Result> {
  return dryRun === true ? await work() : await store.exclusively(signal, work);
}

/**
 * Removes what only passed through the store, least recently used first, until the rest of it is within the limit.
 * Images of the store are never touched.
 */
export async function evictCache(store: LayoutStore, options: EvictOptions): Promise<Collected> {
  const { keep, needFree = 0, graceMs = hour, clock = Date.now, signal } = options;
  // Mostly there is room. To see that nobody has to be stopped, and nothing has to be read.
  if (await hasRoom(store, options)) return { blobs: [], digests: [], freed: 0 };
  return await locked(store, options, async () => {
    const own = await reachable(store.blobs, await store.roots(), { signal });
    const cached: StoredBlob[] = [];
    for await (const blob of store.blobs.list()) if (!own.has(blob.digest)) cached.push(blob);
    cached.sort((one, other) => one.used - other.used);
    let size = cached.reduce((sum, blob) => sum + blob.size, 0);
    const { free, total } = await store.disk();
    const limit = Math.min(options.limit ?? defaultLimit(total), size - (needFree - free));
    const before = await usedBefore(store, clock() - graceMs);
    const unwanted: StoredBlob[] = [];
    for (const blob of cached) {
      if (size <= limit) break;
      if (keep?.has(blob.digest) || blob.used > before) continue;
      unwanted.push(blob);
      size -= blob.size;
    }
    return await remove(store, unwanted, new Set(unwanted.map(({ digest }) => digest)), options);
  });
}

/** Not even everything in the store, images that are its own included, is more than the cache may take. */
async function hasRoom(store: LayoutStore, { limit, needFree = 0 }: EvictOptions): Promise<boolean> {
  const { free, total } = await store.disk();
  if (needFree > free) return false;
  let size = 0;
  for await (const blob of store.blobs.list()) size += blob.size;
  return size <= (limit ?? defaultLimit(total));
}

function defaultLimit(diskSize: number): number {
  return Math.min(tenGigabytes, Math.floor(diskSize / 10));
}

async function remove(
  store: LayoutStore,
  unused: readonly StoredBlob[],
  cache: ReadonlySet<Digest>,
  { dryRun = false, signal }: CollectOptions,
): Promise<Collected> {
  const blobs: CollectedBlob[] = [];
  for (const blob of unused) {
    throwIfAborted(signal);
    const { digest, size } = blob;
    // A transfer that has begun meanwhile may have found the blob, and left no mark so soon after another use.
    const isUnused = async () => blob.used <= (await usedBefore(store, blob.used));
    if (dryRun || (await store.evict(blob, isUnused))) blobs.push({ digest, size, cached: cache.has(digest) });
  }
  const freed = blobs.reduce((sum, { size }) => sum + size, 0);
  return { blobs, digests: blobs.map(({ digest }) => digest), freed };
}
