import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { EarlySync } from "../../content/early-sync.js";
import type { FileSystem } from "../../content/file-system.js";
import { ChunkMemory, giveBack } from "../../content/lent-chunk.js";
import type { Digest } from "../../oci/digest.js";
import { readFileRange } from "./read-file.js";
import type { Upload } from "./storage.js";

/** Small chunks are gathered up to this many bytes before they are written. */
const batchSize = 1024 * 1024;
/** Chunks from this many bytes on are written as they are. */
const largeChunk = 256 * 1024;

export interface FileUploadState {
  readonly fs: FileSystem;
  readonly size: number;
  readonly touched: number;
  readonly subject: string | null;
  readonly durable: boolean;
  /** Makes the file a blob, and says false where it is one already. */
  readonly place: (digest: Digest, size: number, path: string) => Promise<boolean>;
}

/** An upload as a file of its own. The file is the truth: what a killed process had written counts. */
export class FileUpload implements Upload {
  readonly #directory: string;
  readonly #fs: FileSystem;
  readonly #place: FileUploadState["place"];
  readonly #durable: boolean;
  readonly subject: string | null;
  #size: number;
  #touched: number;

  constructor(directory: string, { fs, size, touched, subject, durable, place }: FileUploadState) {
    this.#directory = directory;
    this.#fs = fs;
    this.#size = size;
    this.#touched = touched;
    this.subject = subject;
    this.#durable = durable;
    this.#place = place;
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

  async append(source: AsyncIterable<Uint8Array>, see?: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    const writer = new BatchWriter({
      fs: this.#fs,
      path: this.#data,
      position: this.#size,
      durable: this.#durable,
      see: see ?? (async () => {}),
      onWritten: (written) => {
        this.#size += written;
        this.#touched = Date.now();
      },
    });
    try {
      try {
        for await (const chunk of source) await writer.add(chunk);
      } finally {
        // also what came before the source failed is kept: the client goes on from there
        await writer.flush();
      }
    } finally {
      await writer.close();
    }
  }

  async truncate(size: number): Promise<void> {
    await this.#fs.truncate(this.#data, size);
    this.#size = size;
  }

  read(): AsyncIterable<Uint8Array> {
    return readFileRange(this.#fs, this.#data, 0, this.#size - 1);
  }

  async sync(): Promise<void> {
    const handle = await this.#fs.open(this.#data, "r+");
    try {
      // a failed write can leave bytes beyond those that count
      if ((await handle.stat()).size !== this.#size) await handle.truncate(this.#size);
      if (this.#durable) await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async commit(digest: Digest): Promise<void> {
    await this.#place(digest, this.#size, this.#data);
    // the blob is in place: what is left of the session may wait for a sweep
    await this.#fs.rmdir(this.#directory).catch(() => this.remove().catch(() => undefined));
  }

  async remove(): Promise<void> {
    await this.#fs.rm(this.#directory, { recursive: true, force: true });
  }
}

interface BatchWriterOptions {
  readonly fs: FileSystem;
  readonly path: string;
  readonly position: number;
  readonly durable: boolean;
  /** Gets what is being written; it stays as it is until that is done. */
  readonly see: (bytes: Uint8Array) => Promise<void>;
  readonly onWritten: (bytes: number) => void;
}

/** Writes chunks one after the other at a growing position; the next ones are gathered meanwhile. */
class BatchWriter {
  readonly #options: BatchWriterOptions;
  /** Threads may read it: they hash. */
  readonly #memory = new ChunkMemory(batchSize, { shared: true });
  #position: number;
  #handle: FileHandle | null = null;
  #batch: Buffer | null = null;
  #batched = 0;
  #writing: Promise<void> = Promise.resolve();
  #early: EarlySync | null = null;

  constructor(options: BatchWriterOptions) {
    this.#options = options;
    this.#position = options.position;
  }

  async add(chunk: Uint8Array): Promise<void> {
    if (this.#batched + chunk.length > batchSize || chunk.length >= largeChunk) await this.#writeBatch();
    if (chunk.length >= largeChunk) {
      await this.#writing;
      // its giver may use the buffer again, so it is written before the next one is asked for
      this.#start(chunk);
      await this.#writing;
      return;
    }
    this.#batch ??= this.#memory.take();
    this.#batch.set(chunk, this.#batched);
    this.#batched += chunk.length;
  }

  async flush(): Promise<void> {
    await this.#writeBatch();
    await this.#writing;
    await this.#early?.settled();
  }

  async close(): Promise<void> {
    // a failed write leaves it running
    await this.#early?.settled().catch(() => undefined);
    await this.#handle?.close();
  }

  async #writeBatch(): Promise<void> {
    await this.#writing;
    if (this.#batch === null) return;
    const bytes = this.#memory.lend(this.#batch, this.#batched);
    this.#batch = null;
    this.#batched = 0;
    this.#start(bytes);
  }

  #start(bytes: Uint8Array): void {
    this.#writing = Promise.all([this.#write(bytes), this.#options.see(bytes)]).then(() => giveBack(bytes));
    // whoever comes next looks at it; until then it must not count as unhandled
    this.#writing.catch(() => undefined);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const { fs, path, durable } = this.#options;
    this.#handle ??= await fs.open(path, "r+");
    if (durable) this.#early ??= new EarlySync(this.#handle);
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at, this.#position);
      at += bytesWritten;
      this.#position += bytesWritten;
      this.#options.onWritten(bytesWritten);
    }
    this.#early?.wrote(bytes.length);
  }
}
