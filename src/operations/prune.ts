import type { CollectedBlob } from "../content/collect.js";
import type { LeftFile } from "../content/left-file.js";
import { partialLifetime } from "../content/partial.js";
import { misused } from "./call-options.js";
import type { ClientContext } from "./context.js";

/** Options of `prune`. */
export interface PruneOptions {
  /** Only say what would go. @default false */
  readonly dryRun?: boolean | null | undefined;
  /**
   * Seconds: what was written or used since then stays. Default: a day for blobs, a week for partial downloads and for damaged blobs
   * that were put aside.
   */
  readonly olderThan?: number | null | undefined;
}

/**
 * `blob`: no image of the store needs it. `cache`: it passed through on its way to or from another engine. `partial`: a download that
 * nobody came back for. `corrupt`: a damaged blob that was put aside.
 */
export type PrunedKind = "blob" | "cache" | "partial" | "corrupt";

/** Something that `prune` removed, or would. */
export interface Pruned {
  readonly kind: PrunedKind;
  /** Null where nobody knows what it was to become. */
  readonly digest: string | null;
  /** Bytes. */
  readonly size: number;
}

/** The result of `prune` as JSON. */
export interface PruneJson {
  /** The store's folder. */
  readonly store: string;
  readonly dryRun: boolean;
  readonly removed: readonly Pruned[];
  /** Bytes of all of it. */
  readonly freed: number;
}

/** What `prune` removed, or would. */
export interface PruneResult extends PruneJson {
  toJSON(): PruneJson;
}

const day = 24 * 3600;

/** Removes what no image of the store needs. What a transfer that is under way has used stays, however short the grace. */
export async function prune(context: ClientContext, options: PruneOptions, signal: AbortSignal): Promise<PruneResult> {
  const { olderThan = null, dryRun = false } = options;
  if (olderThan !== null && !(Number.isFinite(olderThan) && olderThan >= 0)) {
    throw misused("olderThan", "a number of seconds");
  }
  const store = await context.store();
  const removed: Pruned[] = [];
  // A folder that is none yet does not become one by looking.
  if (await store.exists()) {
    const { collect } = await import("../content/collect.js");
    const lifetime = olderThan === null ? partialLifetime : olderThan * 1000;
    const now = Date.now();
    const partials = await store.leftovers(lifetime);
    const corrupt = (await store.quarantined()).filter(({ since }) => now - since >= lifetime);
    const graceMs = (olderThan ?? day) * 1000;
    const { blobs } = await collect(store, { cache: true, graceMs, dryRun: dryRun === true, signal });
    removed.push(...blobs.map(prunedBlob));
    removed.push(...partials.map(left("partial")), ...corrupt.map(left("corrupt")));
    if (dryRun !== true) {
      for (const file of [...partials, ...corrupt]) await store.discard(file);
      await store.forget();
    }
  }
  const freed = removed.reduce((sum, { size }) => sum + size, 0);
  const json: PruneJson = { store: store.directory, dryRun: dryRun === true, removed, freed };
  return { ...json, toJSON: () => json };
}

function prunedBlob({ digest, size, cached }: CollectedBlob): Pruned {
  return { kind: cached ? "cache" : "blob", digest, size };
}

function left(kind: PrunedKind): (file: LeftFile) => Pruned {
  return ({ digest, size }) => ({ kind, digest, size });
}
