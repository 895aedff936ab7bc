import type { FileHandle } from "node:fs/promises";
import { ioError, LadingError } from "../errors.js";
import { EarlySync } from "./early-sync.js";
import { ChunkMemory, giveBack, isLent } from "./lent-chunk.js";

export interface WriteOptions {
  /** Where in the file to begin. */
  readonly position: number;
  /** No byte is written beyond this size. */
  readonly limit: number;
  /** Hashes what is written. The chunk stays as it is until that is done. */
  readonly update: (chunk: Uint8Array) => void | Promise<void>;
  /** Whether chunks are to lie in memory that threads share. @default false */
  readonly shared?: boolean;
  /** Whether the file is to be durable in the end. */
  readonly durable: boolean;
  /** The file's size so far. */
  readonly onStored: (stored: number) => void;
  /** ms */
  readonly clock: () => number;
}

/** Bytes that are written at once: enough to make the cost of a call small. */
const batchSize = 1024 * 1024;
/** Lent chunks from this size on are written as they are: to copy them would cost more than the call. In bytes. */
const largeChunk = 256 * 1024;
/** However slowly it comes, it is on disk after this many ms. */
const batchTime = 250;

/**
 * Writes a stream into a file: while one batch is on its way to the disk, the next one is filled. Chunks are copied into
 * batches, so that a source can have its memory back at once, and nothing small is kept alive; but large ones that are lent are
 * written as they are. Where the source fails, all that
 * had come before is in the file.
 * @returns Bytes that the source gave.
 * @throws LadingError `size-mismatch`, `no-space`, `io`; the source's own error as it is
 */
export async function writeStream(
  handle: FileHandle,
  source: AsyncIterable<Uint8Array>,
  { position, limit, update, shared = false, durable, onStored, clock }: WriteOptions,
): Promise<number> {
  const early = durable ? new EarlySync(handle) : null;
  const batches = new ChunkMemory(batchSize, { shared });
  let batch: Buffer | null = null;
  let filled = 0;
  let received = position;
  let flushed = clock();
  let writing: Promise<void> = Promise.resolve();
  const write = async (bytes: Uint8Array, at: number): Promise<void> => {
    const stored = writeAt(handle, bytes, at);
    await Promise.all([stored, update(bytes)]);
    early?.wrote(bytes.byteLength);
    giveBack(bytes);
    onStored(at + bytes.byteLength);
  };
  const begin = (bytes: Uint8Array, at: number): void => {
    writing = write(bytes, at);
    // Its failure is seen at the next flush; until then it is not unhandled.
    writing.catch(() => {});
  };
  const flush = async (): Promise<void> => {
    await writing;
    flushed = clock();
    if (batch === null) return;
    begin(batches.lend(batch, filled), received - filled);
    batch = null;
    filled = 0;
  };
  const isWrittenAsItIs = (chunk: Uint8Array): boolean =>
    chunk.byteLength >= largeChunk && isLent(chunk) && (!shared || chunk.buffer instanceof SharedArrayBuffer);
  let failure: { readonly error: unknown } | null = null;
  try {
    for await (const chunk of source) {
      if (received + chunk.byteLength > limit) throw new LadingError("size-mismatch", `longer than ${limit} bytes`);
      if (isWrittenAsItIs(chunk)) {
        await flush();
        await writing;
        flushed = clock();
        begin(chunk, received);
        received += chunk.byteLength;
        continue;
      }
      for (let at = 0; at < chunk.byteLength; ) {
        batch ??= batches.take();
        const part = chunk.subarray(at, at + batchSize - filled);
        batch.set(part, filled);
        filled += part.byteLength;
        received += part.byteLength;
        at += part.byteLength;
        if (filled === batchSize) await flush();
      }
      giveBack(chunk);
      if (clock() - flushed >= batchTime) await flush();
    }
  } catch (error) {
    failure = { error };
  }
  try {
    await flush();
    await writing;
  } catch (error) {
    failure ??= { error };
  }
  try {
    await early?.settled();
  } catch (error) {
    failure ??= { error: ioError(error, "writing into the store") };
  }
  if (failure !== null) throw failure.error;
  return received - position;
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  try {
    // The system may take a part only, as it does when the disk fills up.
    for (let done = 0; done < bytes.byteLength; ) {
      done += (await handle.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten;
    }
  } catch (error) {
    throw ioError(error, "writing into the store");
  }
}
