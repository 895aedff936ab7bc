import type { FileHandle } from "node:fs/promises";
import { ioError, LadingError } from "../errors.js";
import { ChunkMemory, giveBack } from "./lent-chunk.js";

export interface WriteOptions {
  /** Where in the file to begin. */
  readonly position: number;
  /** No byte is written beyond this size. */
  readonly limit: number;
  /** Hashes what is written. The chunk stays as it is until that is done. */
  readonly update: (chunk: Uint8Array) => void | Promise<void>;
  /** Whether chunks are to lie in memory that threads share. @default false */
  readonly shared?: boolean;
  /** The file's size so far. */
  readonly onStored: (stored: number) => void;
  /** ms */
  readonly clock: () => number;
}

/** Bytes that are written at once: enough to make the cost of a call small. */
const batchSize = 1024 * 1024;
/** However slowly it comes, it is on disk after this many ms. */
const batchTime = 250;

/**
 * Writes a stream into a file: while one batch is on its way to the disk, the next one is filled. Chunks are copied into the two
 * batches, so that a source can have its memory back at once, and nothing small is kept alive. Where the source fails, all that
 * had come before is in the file.
 * @returns Bytes that the source gave.
 * @throws LadingError `size-mismatch`, `no-space`, `io`; the source's own error as it is
 */
export async function writeStream(
  handle: FileHandle,
  source: AsyncIterable<Uint8Array>,
  { position, limit, update, shared = false, onStored, clock }: WriteOptions,
): Promise<number> {
  const batches = new ChunkMemory(batchSize, { shared });
  let batch = batches.take();
  let filled = 0;
  let received = position;
  let flushed = clock();
  let writing: Promise<void> = Promise.resolve();
  const write = async (memory: Buffer, size: number, at: number): Promise<void> => {
    const bytes = memory.subarray(0, size);
    const hashing = update(bytes);
    await Promise.all([writeAt(handle, bytes, at), hashing]);
    batches.putBack(memory);
    onStored(at + size);
  };
  const flush = async (): Promise<void> => {
    await writing;
    flushed = clock();
    if (filled === 0) return;
    writing = write(batch, filled, received - filled);
    // Its failure is seen at the next flush; until then it is not unhandled.
    writing.catch(() => {});
    batch = batches.take();
    filled = 0;
  };
  let failure: { readonly error: unknown } | null = null;
  try {
    for await (const chunk of source) {
      if (received + chunk.byteLength > limit) throw new LadingError("size-mismatch", `longer than ${limit} bytes`);
      for (let at = 0; at < chunk.byteLength; ) {
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
