import type { Digest } from "../../oci/digest.js";
import type { Upload } from "./storage.js";

/** What an upload tells of its end. */
export interface MemoryUploadOwner {
  commit(digest: Digest, bytes: Uint8Array): void;
  remove(): void;
}

/** An upload in memory. */
export class MemoryUpload implements Upload {
  #chunks: Uint8Array[] = [];
  #size = 0;
  #touched: number;
  readonly subject: string | null;
  readonly #now: () => number;
  readonly #owner: MemoryUploadOwner;

  constructor(now: () => number, subject: string | null, owner: MemoryUploadOwner) {
    this.subject = subject;
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

  async append(source: AsyncIterable<Uint8Array>, see?: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    for await (const chunk of source) {
      await see?.(chunk);
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
