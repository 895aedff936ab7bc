import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isLadingError, throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { createHasher } from "../oci/digest.js";
import { abortable } from "./abortable.js";
import type { BlobFolder } from "./blob-folder.js";
import { type WriteOptions, writeStream } from "./blob-writer.js";
import type { Durability } from "./durable-file.js";
import { type FileSystem, removeFile } from "./file-system.js";
import { ForeignError, foreignCall, foreignStream } from "./foreign-error.js";
import type { IngestOptions } from "./layer-cache.js";
import { isMismatch, retryMismatchOnce } from "./mismatch.js";
import type { PartialFolder } from "./partial.js";
import { sealFile } from "./sealed-file.js";
import type { ByteSource, PutOptions } from "./store.js";
import { createThreadVerifier } from "./thread-verifier.js";
import { createVerifier, readAll, verifyStream } from "./verify.js";

export interface BlobIntakeOptions {
  readonly fs: FileSystem;
  readonly durability: Durability;
  /** ms since 1970 */
  readonly clock: () => number;
  readonly blobs: BlobFolder;
  /** Makes the layout where there is none. */
  readonly prepare: () => Promise<PartialFolder>;
  /** Is told of a wait for another process. */
  readonly onWarning: (text: string) => void;
}

interface OpenPartial {
  readonly path: string;
  readonly handle: FileHandle;
}

/** Content of this size and more is worth taking up again after a cut, in bytes. */
const resumableSize = 256 * 1024;
/** From here on it is worth a thread to hash beside the writing. */
const threadedSize = 16 * 1024 * 1024;
/** How often it is looked whether another process has finished, in ms. */
const lookEvery = 200;
/** From how long a wait for another process is worth a word, in ms. */
const notable = 1_000;

/** The way into `blobs/`: what arrives is written beside it, verified, made durable, and then moved. */
export class BlobIntake {
  readonly #options: BlobIntakeOptions;

  constructor(options: BlobIntakeOptions) {
    this.#options = options;
  }

  /**
   * Takes content of a known digest.
   * @returns Bytes that moved; null where another process has brought it meanwhile.
   */
  async take(
    descriptor: Descriptor,
    source: ByteSource,
    { signal, onBytes, onRetry }: PutOptions,
  ): Promise<number | null> {
    const transfer: Transfer = {
      descriptor,
      read: (offset) => foreignStream(abortable(source(offset, signal), signal)),
      report: (stored) => foreignCall(() => onBytes?.(stored)),
      onRetry: (reason) => foreignCall(() => onRetry?.(reason)),
      signal,
    };
    return descriptor.size < resumableSize ? await this.#takeSmall(transfer) : await this.#takeLarge(transfer);
  }

  /** Takes content of which nothing is known but its type. */
  async ingest(
    mediaType: string,
    source: AsyncIterable<Uint8Array>,
    { signal, onBytes }: IngestOptions,
  ): Promise<Descriptor> {
    const { blobs, clock, prepare } = this.#options;
    const partials = await prepare();
    const path = await partials.create(null);
    try {
      const handle = await this.#create(path);
      const hasher = createHasher();
      let size: number;
      try {
        size = await writeStream(handle, foreignStream(abortable(source, signal)), {
          position: 0,
          limit: Number.MAX_SAFE_INTEGER,
          update: hasher.update,
          durable: this.#options.durability === "full",
          onStored: (stored) => foreignCall(() => onBytes?.(stored)),
          clock,
        });
        await this.seal(handle);
      } finally {
        await handle.close();
      }
      const descriptor = { mediaType, digest: hasher.digest(), size };
      await blobs.commit(path, descriptor);
      await partials.finished(path, descriptor);
      return descriptor;
    } catch (error) {
      await partials.discard(path).catch(() => {});
      throw error;
    }
  }

  /** Makes a finished file read-only and durable; it may then be moved to its place. */
  async seal(handle: FileHandle): Promise<void> {
    await sealFile(handle, this.#options.clock());
    if (this.#options.durability === "full") await handle.sync();
  }

  /** Small content is held in memory until it is verified, and written in one go. */
  async #takeSmall({ descriptor, read, report, onRetry }: Transfer): Promise<number> {
    const { fs, blobs, prepare } = this.#options;
    let transferred = 0;
    const bytes = await retryMismatchOnce(async () => {
      const counted = count(read(0), (chunk) => {
        transferred += chunk;
      });
      return await readAll(verifyStream(counted, descriptor), descriptor.size, descriptor.digest);
    }, onRetry);
    const temporary = (await prepare()).temporary();
    try {
      const handle = await this.#create(temporary);
      try {
        await handle.writeFile(bytes);
        await this.seal(handle);
      } finally {
        await handle.close();
      }
      await blobs.commit(temporary, descriptor);
    } catch (error) {
      await removeFile(fs, temporary).catch(() => {});
      throw error;
    }
    report(descriptor.size);
    return transferred;
  }

  /** Large content is written while it is verified; what a cut leaves of it is taken up again by whoever comes next. */
  async #takeLarge(transfer: Transfer): Promise<number | null> {
    const { blobs, clock, prepare } = this.#options;
    const { descriptor } = transfer;
    const partials = await prepare();
    let transferred = 0;
    let anew = false;
    const brought = await retryMismatchOnce(async () => {
      const opened = await this.#openPartial(partials, transfer, anew);
      if (opened === null) return false;
      const { path, handle } = opened;
      anew = true;
      const progress = { stored: 0 };
      try {
        try {
          const durable = this.#options.durability === "full";
          await fill(handle, transfer, { clock, durable }, progress, (chunk) => {
            transferred += chunk;
          });
          await this.seal(handle);
        } finally {
          await handle.close();
        }
        await blobs.commit(path, descriptor);
        await partials.finished(path, descriptor);
        return true;
      } catch (error) {
        const keep = progress.stored > 0 && isWorthKeeping(error);
        await (keep ? partials.release(path) : partials.discard(path)).catch(() => {});
        throw error;
      }
    }, transfer.onRetry);
    return brought ? transferred : null;
  }

  /** What an earlier run left of some content, or an empty file; null where another process had it done while it was waited for. */
  async #openPartial(partials: PartialFolder, transfer: Transfer, anew: boolean): Promise<OpenPartial | null> {
    const { fs, blobs } = this.#options;
    const { digest, size } = transfer.descriptor;
    const { path, left } = await this.#claim(partials, transfer, anew);
    try {
      // Also where nobody was waited for: another process may have begun and ended since it was looked for.
      const there = await blobs.stat(digest);
      if (there?.sealed && there.size === size) {
        await partials.discard(path);
        transfer.report(size);
        return null;
      }
      if (left) {
        const flags = constants.O_RDWR | (constants.O_NOFOLLOW ?? 0);
        const handle = await fs.open(path, flags).catch(() => null);
        if (handle !== null) return { path, handle };
        // Such as one that was sealed already: its owner may not write it any more.
        await removeFile(fs, path);
      }
      return { path, handle: await this.#create(path) };
    } catch (error) {
      await partials.discard(path).catch(() => {});
      throw error;
    }
  }

  /** Waits while another process brings the same content, and tells how far that is. */
  async #claim(partials: PartialFolder, { descriptor, report, signal }: Transfer, anew: boolean) {
    for (let waited = 0; ; waited += lookEvery) {
      throwIfAborted(signal);
      const claim = await partials.claim(descriptor, { anew });
      if (claim.kind === "own") return claim;
      if (waited === notable) {
        this.#options.onWarning(`waiting for process ${claim.pid}, which brings ${descriptor.digest} into the store`);
      }
      report(claim.stored);
      await sleep(lookEvery, undefined, { signal }).catch(() => {});
    }
  }

  async #create(path: string): Promise<FileHandle> {
    return await this.#options.fs.open(path, "wx+", 0o600);
  }
}

/** One `put`: whatever its source and its callbacks throw is a {@link ForeignError}. */
interface Transfer {
  readonly descriptor: Descriptor;
  readonly read: (offset: number) => AsyncIterable<Uint8Array>;
  readonly report: (stored: number) => void;
  readonly onRetry: (reason: Error) => void;
  readonly signal: AbortSignal | undefined;
}

/** Reads on from where the file ends, having hashed what is in it, and checks the whole. */
async function fill(
  handle: FileHandle,
  { descriptor, read, report, signal }: Transfer,
  means: Pick<WriteOptions, "clock" | "durable">,
  progress: { stored: number },
  onChunk: (bytes: number) => void,
): Promise<void> {
  const beside = descriptor.size < threadedSize ? null : createThreadVerifier(descriptor);
  const verifier = beside ?? createVerifier(descriptor);
  let whole = false;
  try {
    const position = await rehash(handle, verifier, signal);
    const onStored = (stored: number) => {
      progress.stored = stored;
      report(stored);
    };
    onStored(position);
    if (position < descriptor.size) {
      const { update } = verifier;
      const options = { ...means, position, limit: descriptor.size, update, shared: beside !== null, onStored };
      await writeStream(handle, count(read(position), onChunk), options);
    }
    whole = (await verifier.finish()) !== false;
  } finally {
    beside?.drop();
  }
  if (whole) return;
  const again = createVerifier(descriptor);
  await rehash(handle, again, signal);
  again.finish();
}

/** Hashes a file from its beginning. @returns Its size in bytes. */
export async function rehash(
  handle: FileHandle,
  verifier: { update(chunk: Uint8Array): void | Promise<void> },
  signal?: AbortSignal,
): Promise<number> {
  const buffer = Buffer.from(new SharedArrayBuffer(1024 * 1024));
  for (let position = 0; ; ) {
    throwIfAborted(signal);
    const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, position);
    if (bytesRead === 0) return position;
    await verifier.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** After a cut or an abort the bytes on disk are good; after a mismatch or a failing disk nobody knows. */
function isWorthKeeping(error: unknown): boolean {
  if (error instanceof ForeignError) return true;
  if (!isLadingError(error) || isMismatch(error)) return false;
  return error.side === "source" || (error.code !== "io" && error.code !== "no-space");
}

async function* count(source: AsyncIterable<Uint8Array>, see: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    see(chunk.byteLength);
    yield chunk;
  }
}
