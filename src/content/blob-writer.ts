import type { FileHandle } from "node:fs/promises";
import { ioError, LadingError } from "../errors.js";

export interface WriteOptions {
  /** Where in the file to begin. */
  readonly position: number;
  /** No byte is written beyond this size. */
  readonly limit: number;
  /** Hashes what has been written. */
  readonly update: (chunk: Uint8Array) => void;
  /** The file's size so far. */
  readonly onStored: (stored: number) => void;
  /** A chunk is written and hashed: its memory may be filled again. */
  readonly release?: ((chunk: Uint8Array) => void) | undefined;
  /** ms */
  readonly clock: () => number;
}

/** Bytes that are written at once: enough to make the cost of a call small. */
const batchSize = 1024 * 1024;
/** However slowly it comes, it is on disk after this many ms. */
const batchTime = 250;

/**
 * Writes a stream into a file: while one batch is on its way to the disk, the next one is read. Each chunk is hashed
 * after it was written, so that a source which fills a buffer again too early cannot go unnoticed. Where the source
 * fails, all that had come before is in the file.
 * @returns Bytes that the source gave.
 * @throws LadingError `size-mismatch`, `no-space`, `io`; the source's own error as it is
 */
export async function writeStream(
  handle: FileHandle,
  source: AsyncIterable<Uint8Array>,
  { position, limit, update, onStored, release, clock }: WriteOptions,
): Promise<number> {
  let batch: Uint8Array[] = [];
  let batched = 0;
  let received = position;
  let stored = position;
  let flushed = clock();
  let writing: Promise<void> = Promise.resolve();
  const write = async (chunks: readonly Uint8Array[], at: number): Promise<void> => {
    await writeAt(handle, chunks, at);
    for (const chunk of chunks) {
      update(chunk);
      stored += chunk.byteLength;
      release?.(chunk);
    }
    onStored(stored);
  };
  const flush = async (): Promise<void> => {
    await writing;
    if (batched > 0) writing = write(batch, received - batched);
    // Its failure is seen at the next flush; until then it is not unhandled.
    writing.catch(() => {});
    [batch, batched, flushed] = [[], 0, clock()];
  };
  let failure: { readonly error: unknown } | null = null;
  try {
    for await (const chunk of source) {
      if (received + chunk.byteLength > limit) throw new LadingError("size-mismatch", `longer than ${limit} bytes`);
      received += chunk.byteLength;
      batch.push(chunk);
      batched += chunk.byteLength;
      if (batched >= batchSize || clock() - flushed >= batchTime) await flush();
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

async function writeAt(handle: FileHandle, chunks: readonly Uint8Array[], position: number): Promise<void> {
  try {
    let { bytesWritten } = await handle.writev([...chunks], position);
    let at = position;
    for (const chunk of chunks) {
      // The system may have taken a part only, as it does when the disk fills up.
      let done = Math.min(bytesWritten, chunk.byteLength);
      bytesWritten -= done;
      while (done < chunk.byteLength) {
        done += (await handle.write(chunk, done, chunk.byteLength - done, at + done)).bytesWritten;
      }
      at += chunk.byteLength;
    }
  } catch (error) {
    throw ioError(error, "writing into the store");
  }
}
