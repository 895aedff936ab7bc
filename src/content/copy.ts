import { setMaxListeners } from "node:events";
import { isLadingError, LadingError, type Side, throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { RawManifest } from "../oci/manifest.js";
import { isManifestType } from "../oci/media-types.js";
import type { Limiter } from "./limiter.js";
import { isMismatch } from "./mismatch.js";
import type { SharedWork } from "./shared-work.js";
import { type ByteSource, type ContentSource, type ContentStore, isFileBacked, type PutResult } from "./store.js";

/** What happens to one blob on its way; several transfers that want the same blob hear the same events. */
export type BlobEvent =
  | { readonly kind: "checking" }
  | { readonly kind: "moving"; readonly current: number }
  | { readonly kind: "retrying"; readonly current: number; readonly reason: Error };

export interface BlobCopyOptions {
  readonly source: ContentSource;
  readonly destination: ContentStore;
  /** Bounds the blobs that move at the same time, over all transfers of a client. */
  readonly limiter: Limiter;
  /** Blobs in flight, by {@link sharedKey}. */
  readonly shared: SharedWork<PutResult, BlobEvent>;
  /** Says which two ends this is, so that only the same work of the same tenant is shared. */
  readonly sharedKey: string;
  /** `put` hashes what it takes, as stores on this machine do: then the source need not hash it too. @default false */
  readonly destinationVerifies?: boolean | undefined;
  /**
   * The source holds what it has verified itself, and sees when somebody has written to it: then it need not hash again what the
   * destination checks, as a registry does. What was refused is hashed when it is sent once more, which tells whose fault it was.
   * @default false
   */
  readonly sourceVerified?: boolean | undefined;
  readonly mountFrom?: ((descriptor: Descriptor) => readonly string[]) | undefined;
  /**
   * Both ends hold what they have verified themselves, read-only, and for nobody else: then a file of one may become
   * one of the other too, where they share a file system. Never for a folder that somebody handed us, or is handed.
   * @default false
   */
  readonly shareFiles?: boolean | undefined;
  readonly onEvent?: ((descriptor: Descriptor, event: BlobEvent) => void) | undefined;
  /** The blob is at the destination. */
  readonly onBlob?: ((descriptor: Descriptor, result: PutResult) => void) | undefined;
  readonly signal: AbortSignal;
}

/** An error with the side it came from; what is known already is kept. */
function sided(error: unknown, side: Side, digest?: string): unknown {
  return isLadingError(error) ? error.with({ side, digest }) : error;
}

/** A byte source whose errors say that they are the source's. */
function fromSource(
  { source, destinationVerifies = false, sourceVerified = false }: BlobCopyOptions,
  descriptor: Descriptor,
  onRetry: (reason: Error) => void,
): ByteSource {
  let sent = false;
  return async function* (offset, signal) {
    const verify = !destinationVerifies && (sent || !sourceVerified);
    sent = true;
    try {
      yield* source.get(descriptor, { offset, signal, onRetry, verify });
    } catch (error) {
      throw sided(error, "source", descriptor.digest);
    }
  };
}

/** The source's own file of a blob, where it has one. Whatever is wrong with it, reading it will tell. */
function fileOf({ source, shareFiles }: BlobCopyOptions, { digest }: Descriptor) {
  if (shareFiles !== true || !isFileBacked(source)) return undefined;
  return () => source.path(digest).catch(() => null);
}

/**
 * Moves blobs as they become available, several at a time: present ones are skipped, those that the registry has
 * elsewhere are mounted, an interrupted one goes on where it stopped. Manifests in the stream are handed back in order,
 * since they may move only when all that they name is there.
 *
 * The first failure ends the others; the call returns when all of them have let go.
 */
export async function copyBlobs(
  available: AsyncIterable<Descriptor> | Iterable<Descriptor>,
  options: BlobCopyOptions,
): Promise<{ readonly results: ReadonlyMap<Digest, PutResult>; readonly manifests: readonly Descriptor[] }> {
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  // One listener for each blob under way, however many layers there are: no leak that node should warn of.
  setMaxListeners(0, signal);
  const results = new Map<Digest, PutResult>();
  const seen = new Set<Digest>();
  const manifests: Descriptor[] = [];
  const moves: Promise<void>[] = [];
  let firstError: unknown;
  const fail = (error: unknown) => {
    if (firstError === undefined) firstError = error;
    failure.abort(error);
  };

  const move = async (descriptor: Descriptor): Promise<void> => {
    try {
      const result = await moveBlob(descriptor, options, signal);
      results.set(descriptor.digest, result);
      options.onBlob?.(descriptor, result);
    } catch (error) {
      fail(error);
    }
  };

  try {
    for await (const descriptor of available) {
      if (firstError !== undefined) break;
      throwIfAborted(options.signal);
      if (seen.has(descriptor.digest)) {
        // An index can name a manifest twice, but what comes last is the root.
        continue;
      }
      seen.add(descriptor.digest);
      if (isManifestType(descriptor.mediaType)) manifests.push(descriptor);
      else moves.push(move(descriptor));
    }
  } catch (error) {
    fail(sided(error, "source"));
  }
  await Promise.all(moves);
  if (firstError !== undefined) throw firstError;
  return { results, manifests };
}

async function moveBlob(descriptor: Descriptor, options: BlobCopyOptions, signal: AbortSignal): Promise<PutResult> {
  const { destination, limiter } = options;
  const onEvent = (event: BlobEvent) => options.onEvent?.(descriptor, event);
  const { value, joined } = await options.shared.run(
    `${options.sharedKey} ${descriptor.digest}`,
    (workSignal, emit) =>
      limiter.run(async () => {
        emit({ kind: "checking" });
        let current = 0;
        const onRetry = (reason: Error) => emit({ kind: "retrying", current, reason });
        try {
          return await destination.put(descriptor, fromSource(options, descriptor, onRetry), {
            signal: workSignal,
            mountFrom: options.mountFrom?.(descriptor),
            file: fileOf(options, descriptor),
            onBytes: (stored) => {
              current = stored;
              emit({ kind: "moving", current });
            },
            onRetry,
          });
        } catch (error) {
          // A local store that finds wrong bytes was given them.
          const given = options.destinationVerifies === true && isMismatch(error);
          throw sided(error, given ? "source" : "destination", descriptor.digest);
        }
      }, workSignal),
    { signal, onEvent },
  );
  // Who joined found the work being done: the bytes were moved once, and are counted once.
  return joined && value.outcome === "stored" ? { outcome: "exists", transferred: 0 } : value;
}

/**
 * Puts manifests, children first. The caller has moved all blobs, and points tags at the root afterwards: whatever a
 * reader can see is complete at any moment.
 */
export async function copyManifests(
  manifests: readonly RawManifest[],
  destination: ContentStore,
  signal: AbortSignal,
): Promise<void> {
  for (const { descriptor, bytes } of manifests) {
    throwIfAborted(signal);
    try {
      await destination.put(
        descriptor,
        async function* (offset) {
          yield bytes.subarray(offset);
        },
        { signal },
      );
    } catch (error) {
      throw sided(error, "destination", descriptor.digest);
    }
  }
}

/** @throws LadingError `internal` where an engine's or an archive's stream ended without a root. */
export function rootOf(manifests: readonly Descriptor[]): Descriptor {
  const root = manifests.at(-1);
  if (root === undefined) throw new LadingError("internal", "the export ended without a manifest", { side: "source" });
  return root;
}
