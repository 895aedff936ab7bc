import { ioError, throwIfAborted } from "../../errors.js";
import type { Digest } from "../../oci/digest.js";
import { KeyedMutex, runInParts } from "../mutex.js";
import { MemoryUpload } from "./memory-upload.js";
import type {
  CondemnedBlob,
  SharedScope,
  Storage,
  StoredBlob,
  StoredRecord,
  StoredUpload,
  SweepReport,
  Upload,
} from "./storage.js";

/** A folder's records; their names in order, until one is added or removed. */
interface MemoryFolder {
  readonly records: Map<string, Uint8Array>;
  sorted: readonly string[] | null;
}

/** What is in memory, which may outlive the storage: a test restarts a registry so. */
export interface MemoryContent {
  readonly folders: Map<string, MemoryFolder>;
  readonly blobs: Map<Digest, Uint8Array>;
  /** Since when, ms since the epoch. */
  readonly condemned: Map<Digest, number>;
  readonly corrupt: Map<Digest, Uint8Array>;
  readonly uploads: Map<string, Map<string, MemoryUpload>>;
}

export function memoryContent(): MemoryContent {
  return { folders: new Map(), blobs: new Map(), condemned: new Map(), corrupt: new Map(), uploads: new Map() };
}

/** Nobody changes a record's bytes: a record is as it was read as long as its bytes are the same. */
function versionOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** Everything in memory, for as long as the registry lives. */
export class MemoryStorage implements Storage {
  readonly #content: MemoryContent;
  readonly #mutex = new KeyedMutex();
  readonly #now: () => number;

  constructor(now: () => number, content: MemoryContent = memoryContent()) {
    this.#now = now;
    this.#content = content;
  }

  async open(): Promise<void> {}
  async close(): Promise<void> {}

  async get(folder: string, name: string): Promise<Uint8Array | null> {
    return this.#content.folders.get(folder)?.records.get(name) ?? null;
  }

  async read(folder: string, name: string): Promise<StoredRecord | null> {
    const bytes = await this.get(folder, name);
    return bytes === null ? null : { bytes, version: versionOf(bytes) };
  }

  #put(folder: string, name: string, bytes: Uint8Array): void {
    const found = this.#content.folders.get(folder) ?? { records: new Map<string, Uint8Array>(), sorted: null };
    this.#content.folders.set(folder, found);
    if (!found.records.has(name)) found.sorted = null;
    found.records.set(name, bytes);
  }

  #delete(folder: string, name: string): boolean {
    const found = this.#content.folders.get(folder);
    if (!found?.records.delete(name)) return false;
    found.sorted = null;
    if (found.records.size === 0) this.#content.folders.delete(folder);
    return true;
  }

  #matches(folder: string, name: string, version: string): boolean {
    const bytes = this.#content.folders.get(folder)?.records.get(name);
    return bytes !== undefined && versionOf(bytes) === version;
  }

  async put(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    this.#put(folder, name, bytes);
  }

  async putIfAbsent(folder: string, name: string, bytes: Uint8Array): Promise<boolean> {
    if (this.#content.folders.get(folder)?.records.has(name)) return false;
    this.#put(folder, name, bytes);
    return true;
  }

  async putIfMatch(folder: string, name: string, bytes: Uint8Array, version: string): Promise<boolean> {
    if (!this.#matches(folder, name, version)) return false;
    this.#put(folder, name, bytes);
    return true;
  }

  async delete(folder: string, name: string): Promise<boolean> {
    return this.#delete(folder, name);
  }

  async deleteIfMatch(folder: string, name: string, version: string): Promise<boolean> {
    return this.#matches(folder, name, version) && this.#delete(folder, name);
  }

  async list(folder: string, { after, limit }: { readonly after: string | null; readonly limit: number }) {
    const found = this.#content.folders.get(folder);
    if (found === undefined) return [];
    found.sorted ??= [...found.records.keys()].sort();
    const start = after === null ? 0 : firstAfter(found.sorted, after);
    return found.sorted.slice(start, start + limit);
  }

  async *folders(under: string): AsyncIterable<string> {
    for (const folder of [...this.#content.folders.keys()]) {
      if (folder === under || folder.startsWith(`${under}/`)) yield folder;
    }
  }

  async blobSize(digest: Digest): Promise<number | null> {
    return this.#content.blobs.get(digest)?.length ?? null;
  }

  async *blobBytes(digest: Digest, start: number, end: number): AsyncIterable<Uint8Array> {
    const blob = this.#content.blobs.get(digest);
    if (blob === undefined) throw ioError(new Error("the blob is gone"), "reading a blob");
    // a view with a buffer of its own size would let a reader change the blob
    for (let at = start; at <= end; at += chunkSize) yield blob.slice(at, Math.min(at + chunkSize, end + 1));
  }

  async addBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    this.#place(digest, bytes.slice());
  }

  #place(digest: Digest, bytes: Uint8Array): void {
    this.#content.condemned.delete(digest);
    if (!this.#content.blobs.has(digest)) this.#content.blobs.set(digest, bytes);
  }

  async adoptBlob(): Promise<boolean> {
    return false;
  }

  async blobPath(): Promise<string | null> {
    return null;
  }

  async *blobs(): AsyncIterable<StoredBlob> {
    for (const digest of [...this.#content.blobs.keys()].sort()) {
      const bytes = this.#content.blobs.get(digest);
      if (bytes !== undefined) yield { digest, size: bytes.length };
    }
  }

  async *condemnedBlobs(): AsyncIterable<CondemnedBlob> {
    for (const [digest, since] of [...this.#content.condemned]) yield { digest, since };
  }

  async reviveBlob(digest: Digest): Promise<number | null> {
    this.#content.condemned.delete(digest);
    return this.#content.blobs.get(digest)?.length ?? null;
  }

  async condemnBlob(digest: Digest, since: number): Promise<boolean> {
    if (this.#content.condemned.has(digest) || !this.#content.blobs.has(digest)) return false;
    this.#content.condemned.set(digest, since);
    return true;
  }

  async removeBlob(digest: Digest, before: number): Promise<number | null> {
    const since = this.#content.condemned.get(digest);
    if (since === undefined || since > before) return null;
    const size = this.#content.blobs.get(digest)?.length ?? 0;
    this.#content.condemned.delete(digest);
    this.#content.blobs.delete(digest);
    return size;
  }

  async quarantinedBlobs(): Promise<ReadonlySet<Digest>> {
    return new Set(this.#content.corrupt.keys());
  }

  async quarantineBlob(digest: Digest): Promise<boolean> {
    const bytes = this.#content.blobs.get(digest);
    if (bytes === undefined) return false;
    this.#content.corrupt.set(digest, bytes);
    return this.#content.blobs.delete(digest);
  }

  async createUpload(repository: string, id: string, subject: string | null): Promise<Upload> {
    const uploads = this.#content.uploads.get(repository) ?? new Map<string, MemoryUpload>();
    this.#content.uploads.set(repository, uploads);
    const upload = new MemoryUpload(this.#now, subject, {
      commit: (digest, bytes) => this.#place(digest, bytes),
      remove: () => uploads.delete(id),
    });
    uploads.set(id, upload);
    return upload;
  }

  async openUpload(repository: string, id: string): Promise<Upload | null> {
    return this.#content.uploads.get(repository)?.get(id) ?? null;
  }

  async countUploads(repository: string): Promise<number> {
    return this.#content.uploads.get(repository)?.size ?? 0;
  }

  async *uploads(): AsyncIterable<StoredUpload> {
    for (const [repository, uploads] of this.#content.uploads) {
      for (const [id, { subject }] of uploads) yield { repository, id, subject };
    }
  }

  async exclusive<T>(scope: string, signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T> {
    return await this.#mutex.run(scope, async () => {
      throwIfAborted(signal);
      return await task();
    });
  }

  async shared<T>(
    { scope, parts }: SharedScope,
    signal: AbortSignal | null | undefined,
    task: () => Promise<T>,
  ): Promise<T> {
    return await this.#mutex.share(scope, () =>
      runInParts(this.#mutex, scope, parts, async () => {
        throwIfAborted(signal);
        return await task();
      }),
    );
  }

  async sweep(before: number): Promise<SweepReport> {
    const report = { uploads: 0, bytes: 0 };
    for (const uploads of this.#content.uploads.values()) {
      for (const [id, upload] of uploads) {
        if (upload.touched >= before) continue;
        uploads.delete(id);
        report.uploads++;
        report.bytes += upload.size;
      }
    }
    return report;
  }

  async instanceId(): Promise<string | null> {
    return null;
  }
}

const chunkSize = 1024 * 1024;

/** Where the names begin that come after one, by halving. */
function firstAfter(sorted: readonly string[], after: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? "") > after) high = middle;
    else low = middle + 1;
  }
  return low;
}
