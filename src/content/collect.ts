import { throwIfAborted } from "../errors.js";
import type { Digest } from "../oci/digest.js";
import type { StoredBlob } from "./blob-folder.js";
import type { LayoutStore } from "./layout.js";
import { reachable } from "./reachable.js";

export interface CollectOptions {
  /** Only say what would go. @default false */
  readonly dryRun?: boolean;
  /**
   * What was written or used within this time stays, in ms: somebody may be about to name it, or in the midst of a
   * transfer. @default 24 hours; 1 hour for {@link evictCache}
   */
  readonly graceMs?: number;
  /** ms since 1970. @default Date.now */
  readonly clock?: () => number;
  readonly signal?: AbortSignal | undefined;
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
  const { graceMs = day, clock = Date.now, signal } = options;
  return await store.exclusively(signal, async () => {
    const own = await reachable(store.blobs, await store.roots(), { signal });
    const remembered = await reachable(store.blobs, store.remembered(), { signal, opaqueRoots: true });
    const unused: StoredBlob[] = [];
    for await (const blob of store.blobs.list()) {
      const needed = own.has(blob.digest) || remembered.has(blob.digest);
      if (!needed && clock() - blob.used >= graceMs) unused.push(blob);
    }
    return await remove(store, unused, options);
  });
}

/**
 * Removes what only passed through the store, least recently used first, until the rest of it is within the limit.
 * Images of the store are never touched.
 */
export async function evictCache(store: LayoutStore, options: EvictOptions): Promise<Collected> {
  const { keep, needFree = 0, graceMs = hour, clock = Date.now, signal } = options;
  return await store.exclusively(signal, async () => {
    const own = await reachable(store.blobs, await store.roots(), { signal });
    const cached: StoredBlob[] = [];
    for await (const blob of store.blobs.list()) if (!own.has(blob.digest)) cached.push(blob);
    cached.sort((one, other) => one.used - other.used);
    let size = cached.reduce((sum, blob) => sum + blob.size, 0);
    const { free, total } = await store.disk();
    const limit = Math.min(options.limit ?? defaultLimit(total), size - (needFree - free));
    const unwanted: StoredBlob[] = [];
    for (const blob of cached) {
      if (size <= limit) break;
      if (keep?.has(blob.digest) || clock() - blob.used < graceMs) continue;
      unwanted.push(blob);
      size -= blob.size;
    }
    return await remove(store, unwanted, options);
  });
}

function defaultLimit(diskSize: number): number {
  return Math.min(tenGigabytes, Math.floor(diskSize / 10));
}

async function remove(store: LayoutStore, blobs: readonly StoredBlob[], options: CollectOptions): Promise<Collected> {
  const gone: StoredBlob[] = [];
  for (const blob of blobs) {
    throwIfAborted(options.signal);
    if (options.dryRun === true || (await store.evict(blob))) gone.push(blob);
  }
  return { digests: gone.map(({ digest }) => digest), freed: gone.reduce((sum, { size }) => sum + size, 0) };
}
