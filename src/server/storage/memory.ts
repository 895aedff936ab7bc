import { ioError, throwIfAborted } from "../../errors.js";
import type { Digest } from "../../oci/digest.js";
import { KeyedMutex } from "../mutex.js";
import type { Storage, Upload } from "./storage.js";

/** Everything in memory, for as long as the registry lives. */
export class MemoryStorage implements Storage {
  readonly #records = new Map<string, Map<string, Uint8Array>>();
  readonly #blobs = new Map<Digest, Uint8Array>();
  readonly #uploads = new Map<string, Map<string, MemoryUpload>>();
  readonly #mutex = new KeyedMutex();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  async open(): Promise<void> {}
  async close(): Promise<void> {}

  async get(folder: string, name: string): Promise<Uint8Array | null> {
    return this.#records.get(folder)?.get(name) ?? null;
  }

  async put(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    const records = this.#records.get(folder) ?? new Map<string, Uint8Array>();
    this.#records.set(folder, records.set(name, bytes));
  }

  async delete(folder: string, name: string): Promise<boolean> {
    return this.#records.get(folder)?.delete(name) ?? false;
  }

  async list(folder: string, { after, limit }: { readonly after: string | null; readonly limit: number }) {
    const names = [...(this.#records.get(folder)?.keys() ?? [])].sort();
    return names.filter((name) => after === null || name > after).slice(0, limit);
  }

  async blobSize(digest: Digest): Promise<number | null> {
    return this.#blobs.get(digest)?.length ?? null;
  }

  async *blobBytes(digest: Digest, start: number, end: number): AsyncIterable<Uint8Array> {
    const blob = this.#blobs.get(digest);
    if (blob === undefined) throw ioError(new Error("the blob is gone"), "reading a blob");
    // a view with a buffer of its own size would let a reader change the blob
    for (let at = start; at <= end; at += chunkSize) yield blob.slice(at, Math.min(at + chunkSize, end + 1));
  }

  async addBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    if (!this.#blobs.has(digest)) this.#blobs.set(digest, bytes.slice());
  }

  async adoptBlob(): Promise<boolean> {
    return false;
  }

  async blobPath(): Promise<string | null> {
    return null;
  }

  async createUpload(repository: string, id: string): Promise<Upload> {
    const uploads = this.#uploads.get(repository) ?? new Map<string, MemoryUpload>();
    this.#uploads.set(repository, uploads);
    const upload = new MemoryUpload(this.#now, {
      commit: (digest, bytes) => {
        if (!this.#blobs.has(digest)) this.#blobs.set(digest, bytes);
      },
      remove: () => uploads.delete(id),
    });
    uploads.set(id, upload);
    return upload;
  }

  async openUpload(repository: string, id: string): Promise<Upload | null> {
    return this.#uploads.get(repository)?.get(id) ?? null;
  }

  async countUploads(repository: string): Promise<number> {
    return this.#uploads.get(repository)?.size ?? 0;
  }

  async exclusive<T>(scope: string, signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T> {
    return await this.#mutex.run(scope, async () => {
      throwIfAborted(signal);
      return await task();
    });
  }

  async sweep(before: number): Promise<void> {
    for (const uploads of this.#uploads.values()) {
      for (const [id, upload] of uploads) if (upload.touched < before) uploads.delete(id);
    }
  }

  async instanceId(): Promise<string | null> {
    return null;
  }
}

const chunkSize = 1024 * 1024;

interface MemoryUploadOwner {
  commit(digest: Digest, bytes: Uint8Array): void;
  remove(): void;
}

class MemoryUpload implements Upload {
  #chunks: Uint8Array[] = [];
  #size = 0;
  #touched: number;
  readonly #now: () => number;
  readonly #owner: MemoryUploadOwner;

  constructor(now: () => number, owner: MemoryUploadOwner) {
    this.#now = now;
    this.#owner = owner;
    this.#touched = now();
  }

  get size(): number {
    return this.#size;
  }

  get touched(): number {
    return this.#touched;
  }

  async append(source: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of source) {
      this.#chunks.push(chunk.slice());
      this.#size += chunk.length;
      this.#touched = this.#now();
    }
  }

  async truncate(size: number): Promise<void> {
    this.#chunks = [Buffer.concat(this.#chunks).subarray(0, size)];
    this.#size = size;
  }

  async *read(): AsyncIterable<Uint8Array> {
    yield* this.#chunks;
  }

  async sync(): Promise<void> {}

  async commit(digest: Digest): Promise<void> {
    this.#owner.commit(digest, Buffer.concat(this.#chunks));
    this.#owner.remove();
  }

  async remove(): Promise<void> {
    this.#owner.remove();
  }
}
