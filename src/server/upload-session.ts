import { createHasher, type Digest, type DigestAlgorithm } from "../oci/digest.js";
import { Fault } from "./fault.js";
import type { Upload } from "./storage/storage.js";
import { UploadHash } from "./upload-hash.js";

interface Writer {
  stop(): void;
  readonly ended: Promise<void>;
}

/**
 * One upload while this process lives. The bytes are in the storage, where a later process finds them; the hash
 * runs along here, and where it is lost (a restart) the bytes are hashed again at the end.
 */
export class UploadSession {
  readonly repository: string;
  readonly id: string;
  readonly #upload: Upload;
  #hash: UploadHash | null;
  #writer: Writer | null = null;
  /** The offset that the client was last told: it may go on from there even where more has arrived. */
  #acknowledged: number;

  constructor(repository: string, id: string, upload: Upload, algorithm: DigestAlgorithm) {
    this.repository = repository;
    this.id = id;
    this.#upload = upload;
    this.#acknowledged = upload.size;
    this.#hash = upload.size === 0 ? new UploadHash(algorithm) : null;
  }

  /** Whom the session belongs to. */
  get subject(): string | null {
    return this.#upload.subject;
  }

  /** Bytes received. */
  get size(): number {
    return this.#upload.size;
  }

  get touched(): number {
    return this.#upload.touched;
  }

  /** Tells how far the upload is; the client may count on it. */
  acknowledge(): number {
    this.#acknowledged = this.#upload.size;
    return this.#acknowledged;
  }

  /**
   * Makes the caller the session's only writer. One that still runs is stopped: mostly it belongs to a connection
   * that its client has given up already, and what it has stored stays.
   */
  async write<T>(task: (stopped: AbortSignal) => Promise<T>): Promise<T> {
    while (this.#writer !== null) {
      this.#writer.stop();
      await this.#writer.ended;
    }
    const controller = new AbortController();
    let end = (): void => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#writer = { stop: () => controller.abort(), ended };
    try {
      return await task(controller.signal);
    } finally {
      this.#writer = null;
      end();
    }
  }

  /**
   * Brings the session to an offset at which the client wants to go on.
   * @returns false where that is neither its end nor the offset that was last acknowledged
   */
  async seek(offset: number): Promise<boolean> {
    if (offset === this.#upload.size) return true;
    if (offset !== this.#acknowledged || offset > this.#upload.size) return false;
    await this.rewind(offset);
    return true;
  }

  /** Forgets everything from an offset on. */
  async rewind(offset: number): Promise<void> {
    await this.#upload.truncate(offset);
    const algorithm = this.#hash?.algorithm ?? "sha256";
    this.#hash?.drop();
    this.#hash = offset === 0 ? new UploadHash(algorithm) : null;
  }

  /** Adds bytes until the source ends, or another writer takes over. @throws Fault where one did */
  async append(source: AsyncIterable<Uint8Array>, stopped: AbortSignal): Promise<void> {
    const hash = this.#hash;
    // while the write runs the hash may be ahead of the file
    this.#hash = null;
    const hashing = hash !== null && hash.position === this.#upload.size;
    const see = hashing ? (bytes: Uint8Array) => hash.update(bytes) : undefined;
    try {
      await this.#upload.append(untilStopped(source, stopped), see);
    } finally {
      if (hashing && hash.position === this.#upload.size) this.#hash = hash;
      else hash?.drop();
    }
  }

  /** The digest of all bytes so far. Ends the running hash. */
  async digest(algorithm: DigestAlgorithm): Promise<Digest> {
    const hash = this.#hash;
    this.#hash = null;
    if (hash !== null && hash.algorithm === algorithm && hash.position === this.#upload.size) {
      const found = await hash.digest();
      if (found !== null) return found;
    } else hash?.drop();
    const hasher = createHasher(algorithm);
    for await (const chunk of this.#upload.read()) hasher.update(chunk);
    return hasher.digest();
  }

  async sync(): Promise<void> {
    await this.#upload.sync();
  }

  async commit(digest: Digest): Promise<void> {
    await this.#upload.commit(digest);
  }

  async remove(): Promise<void> {
    this.#hash?.drop();
    this.#hash = null;
    await this.#upload.remove();
  }
}

/** Waits for each chunk no longer than until the signal fires. */
async function* untilStopped(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let stop = (): void => {};
  const onAbort = (): void => stop();
  signal.addEventListener("abort", onAbort, { once: true });
  // a promise per chunk: `Promise.race` with one that lives as long as the upload would keep every chunk alive
  const next = (): Promise<IteratorResult<Uint8Array> | "stopped"> =>
    new Promise((resolve, reject) => {
      stop = () => resolve("stopped");
      if (signal.aborted) stop();
      else iterator.next().then(resolve, reject);
    });
  let ended = false;
  try {
    while (true) {
      const result = await next();
      if (result === "stopped") throw new Fault(416, "BLOB_UPLOAD_INVALID", "another request went on with this upload");
      if (result.done) {
        ended = true;
        return;
      }
      yield result.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // not awaited: a source that waits for its peer would hold the next writer up
    if (!ended) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}
