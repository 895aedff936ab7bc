import { chmod, type FileHandle, open, rename, rm, stat, truncate, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Digest } from "../../oci/digest.js";
import { ensureDirectory, isErrno, syncDirectory } from "./durable.js";
import { readFileRange } from "./read-file.js";
import type { Upload } from "./storage.js";

/** Small chunks are gathered up to this many bytes before they are written. */
const batchSize = 1024 * 1024;
/** A chunk of this many bytes is written before the next one is asked for: its giver may use one buffer again. */
const largeChunk = 256 * 1024;

export interface FileUploadState {
  readonly size: number;
  readonly touched: number;
  readonly blobPath: (digest: Digest) => string;
  readonly durable: boolean;
}

/** An upload as a file of its own. The file is the truth: what a killed process had written counts. */
export class FileUpload implements Upload {
  readonly #directory: string;
  readonly #blobPath: (digest: Digest) => string;
  readonly #durable: boolean;
  #size: number;
  #touched: number;

  constructor(directory: string, { size, touched, blobPath, durable }: FileUploadState) {
    this.#directory = directory;
    this.#size = size;
    this.#touched = touched;
    this.#blobPath = blobPath;
    this.#durable = durable;
  }

  get size(): number {
    return this.#size;
  }

  get touched(): number {
    return this.#touched;
  }

  get #data(): string {
    return join(this.#directory, "data");
  }

  async append(source: AsyncIterable<Uint8Array>): Promise<void> {
    let handle: FileHandle | null = null;
    let batch: Uint8Array[] = [];
    let batched = 0;
    let writing: Promise<void> = Promise.resolve();
    const flush = async (): Promise<void> => {
      await writing;
      if (batched === 0) return;
      handle ??= await open(this.#data, "r+");
      const [chunks, length] = [batch, batched];
      batch = [];
      batched = 0;
      writing = this.#write(handle, chunks, length);
      // looked at by the next flush; until then it must not count as unhandled
      writing.catch(() => undefined);
    };
    try {
      try {
        for await (const chunk of source) {
          batch.push(chunk);
          batched += chunk.length;
          if (batched >= batchSize || chunk.length >= largeChunk) await flush();
          if (chunk.length >= largeChunk) await writing;
        }
      } finally {
        // also what came before the source failed is kept: the client goes on from there
        await flush();
        await writing;
      }
    } finally {
      await (handle as FileHandle | null)?.close();
    }
  }

  async #write(handle: FileHandle, chunks: readonly Uint8Array[], length: number): Promise<void> {
    const { bytesWritten } = await handle.writev(chunks, this.#size);
    let written = bytesWritten;
    if (written < length) {
      const rest = Buffer.concat(chunks).subarray(written);
      for (let at = 0; at < rest.length; ) {
        const more = await handle.write(rest, at, rest.length - at, this.#size + written);
        at += more.bytesWritten;
        written += more.bytesWritten;
      }
    }
    this.#size += written;
    this.#touched = Date.now();
  }

  async truncate(size: number): Promise<void> {
    await truncate(this.#data, size);
    this.#size = size;
  }

  read(): AsyncIterable<Uint8Array> {
    return readFileRange(this.#data, 0, this.#size - 1);
  }

  async sync(): Promise<void> {
    const handle = await open(this.#data, "r+");
    try {
      // a failed write can leave bytes beyond those that count
      if ((await handle.stat()).size !== this.#size) await handle.truncate(this.#size);
      if (this.#durable) await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async commit(digest: Digest): Promise<void> {
    const path = this.#blobPath(digest);
    if ((await sizeOf(path)) === this.#size) {
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined);
    } else {
      await ensureDirectory(dirname(path), this.#durable);
      await rename(this.#data, path);
      // a blob never changes again; where the file system has no modes, nothing is lost
      if (process.platform !== "win32") await chmod(path, 0o444).catch(() => undefined);
      if (this.#durable) await syncDirectory(dirname(path));
    }
    // the blob is in place: what is left of the session may wait for a sweep
    await this.remove().catch(() => undefined);
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null;
    throw error;
  }
}
