import type { ByteSource, PutOptions, PutResult } from "../content/store.js";
import { abortError, isLadingError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { shareBlob } from "./blob-sharing.js";
import { hasBlob } from "./blobs.js";
import type { Endpoint } from "./endpoint.js";
import { KeptUpload } from "./kept-upload.js";
import { mountBlob } from "./mounts.js";
import { RegistryAnswer } from "./registry-error.js";
import { isTransient, Patience, retryPolicy } from "./retry.js";
import { UploadRequests } from "./upload-requests.js";
import { cancelSession, type Session } from "./upload-session.js";

/** Bytes per request where an upload goes in chunks; a registry may ask for more (`OCI-Chunk-Min-Length`). */
const chunkSize = 64 * 1024 * 1024;
/** The least to which chunks shrink on a line that breaks; registries on object storage take no less. */
const smallestChunk = 8 * 1024 * 1024;

/**
 * Moves one blob into a repository: looks for it, tries to mount it or to share its file, then sends it in one request. What breaks
 * goes on where the registry says that it stands, in this run or the next; a registry that wants chunks gets chunks, and one that
 * keeps nothing of a broken request too.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
 */
export async function uploadBlob(
  endpoint: Endpoint,
  descriptor: Descriptor,
  source: ByteSource,
  options: PutOptions = {},
): Promise<PutResult> {
  if (await hasBlob(endpoint, descriptor, options)) {
    await new KeptUpload(endpoint, descriptor, options).found();
    return { outcome: "exists", transferred: 0 };
  }
  const mount = await mountBlob(endpoint, descriptor, options);
  if (mount === "mounted") return { outcome: "mounted", transferred: 0 };
  if (await shareBlob(endpoint.sharing, endpoint.name, descriptor, options)) {
    if (mount !== null) await cancelSession(endpoint, mount);
    options.onBytes?.(descriptor.size);
    return { outcome: "stored", transferred: descriptor.size };
  }
  return await new Upload(endpoint, descriptor, source, options).run(mount);
}

/** One blob on its way, with what is known of it. */
class Upload {
  readonly #endpoint: Endpoint;
  readonly #descriptor: Descriptor;
  readonly #source: ByteSource;
  readonly #options: PutOptions;
  readonly #requests: UploadRequests;
  readonly #kept: KeptUpload;
  #patience: Patience;
  #session: Session | null = null;
  /** Why it goes in chunks: the registry wants it so, or what broke was lost as a whole. */
  #chunked: "no" | "wanted" | "lossy" = "no";
  #chunkSize = chunkSize;
  /** All bytes are there, and the last request alone is open. */
  #committing = false;
  #transferred = 0;
  /** Bytes sent that the registry may have, in the current session. */
  #position = 0;
  #sourceFailure: { readonly error: unknown } | null = null;

  constructor(endpoint: Endpoint, descriptor: Descriptor, source: ByteSource, options: PutOptions) {
    this.#endpoint = endpoint;
    this.#descriptor = descriptor;
    this.#source = source;
    this.#options = options;
    this.#requests = new UploadRequests(endpoint, descriptor, options.signal);
    this.#kept = new KeptUpload(endpoint, descriptor, options);
    this.#patience = new Patience(endpoint);
  }

  /** @param session One that a refused mount has opened. */
  async run(session: Session | null): Promise<PutResult> {
    this.#session = session;
    let recoveries = 0;
    let furthest = 0;
    let damaged: LadingError | null = null;
    try {
      if (await this.#takeUp()) return { outcome: "exists", transferred: 0 };
      furthest = this.#position;
      for (;;) {
        try {
          await this.#attempt();
          break;
        } catch (error) {
          if (this.#options.signal?.aborted) throw abortError(this.#options.signal);
          const failed = this.#sourceFailure?.error ?? error;
          if (isDamaged(failed) && damaged === null) {
            // A bit that turned over on the way, there or here, or parts that did not fit together: once more, in one piece.
            damaged = failed;
            this.#sourceFailure = null;
            this.#options.onRetry?.(damaged);
            await this.#startAnew();
            continue;
          }
          // What its store has put aside by now is damaged, and not missing.
          if (this.#sourceFailure !== null) throw isDamaged(failed) ? failed : (damaged ?? failed);
          const chunked = this.#otherWay(error);
          if (chunked !== null) {
            this.#chunked = chunked;
            await this.#startAnew();
            continue;
          }
          if (!isRecoverable(error)) throw error;
          const stood = await this.#recover(error, recoveries);
          if (stood === "stored") break;
          const progressed = stood - furthest >= retryPolicy.progress;
          if (progressed) this.#patience = new Patience(this.#endpoint);
          recoveries = progressed ? 1 : recoveries + 1;
          furthest = Math.max(furthest, stood);
          if (recoveries > retryPolicy.recoveries) throw error;
        }
      }
      await this.#kept.forget();
      return { outcome: "stored", transferred: this.#transferred };
    } catch (error) {
      await this.#letGo(error);
      throw this.#sourceFailure === null ? this.#endpoint.sided(error, this.#descriptor.digest) : error;
    }
  }

  /** Goes on with what an earlier run has left. True where somebody else has sent the blob meanwhile. */
  async #takeUp(): Promise<boolean> {
    const { session, waited } = await this.#kept.begin();
    if (waited && (await hasBlob(this.#endpoint, this.#descriptor, this.#options))) {
      await this.#kept.forget();
      if (this.#session !== null) await cancelSession(this.#endpoint, this.#session);
      return true;
    }
    if (session !== null) await this.#resume(session);
    if (this.#session !== null) await this.#kept.moved(this.#session);
    return false;
  }

  /** Asks a session of an earlier run where it stands; what it has is not sent again. */
  async #resume(left: Session): Promise<void> {
    const found = await this.#requests.status(left).catch((error: unknown) => {
      // Where it led may be gone or forbidden by now; the registry itself is still to be asked.
      const gone = isLadingError(error) && error.code === "unsafe-url";
      const elsewhere = isTransient(error) && left.location.origin !== this.#endpoint.registry.origin;
      if (gone || elsewhere) return null;
      throw error;
    });
    if (found === null) {
      if (left.offset > chunkSize) this.#chunked = "lossy";
      return;
    }
    if (this.#session !== null) await cancelSession(this.#endpoint, this.#session);
    this.#session = found;
    this.#position = found.offset;
    this.#options.onBytes?.(found.offset);
  }

  /** Leaves the session to the next run, or takes it back. */
  async #letGo(error: unknown): Promise<void> {
    const clean = this.#sourceFailure === null || this.#options.signal?.aborted === true;
    if (clean && this.#session !== null && this.#kept.isWorthKeeping(error)) {
      await this.#kept.leave();
      return;
    }
    // A registry that cannot be reached forgets the session by itself.
    if (this.#session !== null && !isTransient(error)) await cancelSession(this.#endpoint, this.#session);
    await this.#kept.forget();
  }

  async #attempt(): Promise<void> {
    const { size } = this.#descriptor;
    this.#committing = false;
    if (this.#session === null) {
      this.#session = await this.#requests.start();
      this.#position = 0;
      const left = await this.#kept.started(this.#session);
      if (left !== null) await this.#resume(left);
      if (left !== null) await this.#kept.moved(this.#session);
    }
    if (this.#chunked === "no" && this.#session.offset === 0) {
      await this.#requests.whole(this.#session, size === 0 ? new Uint8Array(0) : () => this.#bytes(0, size));
      return;
    }
    while (this.#session.offset < size) {
      const { offset, minimum } = this.#session;
      const end = Math.min(size, offset + Math.max(this.#chunkSize, minimum));
      this.#session = await this.#requests.chunk(this.#session, end, () => this.#bytes(offset, end));
      await this.#kept.moved(this.#session);
    }
    this.#committing = true;
    await this.#requests.commit(this.#session);
  }

  /** The blob's bytes from `start` to `end`, counted: a source that has others is never sent to its end. */
  async *#bytes(start: number, end: number): AsyncGenerator<Uint8Array> {
    const { digest, size } = this.#descriptor;
    const { onBytes, signal } = this.#options;
    let position = start;
    try {
      for await (const chunk of this.#source(start, signal)) {
        const part = position + chunk.length > end ? chunk.subarray(0, end - position) : chunk;
        if (part.length < chunk.length && end === size) {
          throw new LadingError("size-mismatch", `${digest} is longer than its ${size} bytes`, { digest });
        }
        yield part;
        position += part.length;
        this.#position = position;
        this.#transferred += part.length;
        this.#kept.reached(position);
        onBytes?.(position);
        if (position === end && end < size) return;
      }
      if (position < end) {
        throw new LadingError("size-mismatch", `${digest} ended after ${position} of its ${size} bytes`, { digest });
      }
    } catch (error) {
      this.#sourceFailure = { error };
      throw error;
    }
  }

  /** Whether it should go in chunks from now on, or in one piece after all, by what a registry says to a request. */
  #otherWay(error: unknown): "wanted" | "no" | null {
    if (!isLadingError(error) || this.#session === null || this.#descriptor.size === 0) return null;
    const refused = [405, 411, 501].includes(error.status ?? 0) || error.code === "unsupported";
    if (this.#chunked === "lossy") return refused && this.#session.offset === 0 ? "no" : null;
    if (this.#chunked === "wanted") return null;
    return refused || (error.status === 413 && this.#session.minimum > 0) ? "wanted" : null;
  }

  async #startAnew(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    if (session !== null) await cancelSession(this.#endpoint, session);
    this.#options.onBytes?.(0);
  }

  /** Finds out where the registry stands: it has all, a part, or nothing any more. */
  async #recover(error: unknown, recoveries: number): Promise<"stored" | number> {
    const { signal, onRetry, onBytes } = this.#options;
    const session = this.#session;
    const wait = this.#waitAfter(error, recoveries);
    if (wait === null) throw error;
    onRetry?.(error instanceof Error ? error : new Error(String(error)));
    if (wait > 0) await this.#endpoint.pause(session?.location ?? this.#endpoint.registry, wait, signal);
    const complete = this.#position === this.#descriptor.size;
    if (complete && (await hasBlob(this.#endpoint, this.#descriptor, { signal }))) return "stored";
    const [before, sent] = [session?.offset ?? 0, this.#position];
    this.#session = session === null ? null : await this.#requests.status(session);
    this.#position = this.#session?.offset ?? 0;
    if (this.#session !== null) await this.#kept.moved(this.#session);
    this.#shrink(before, sent);
    onBytes?.(this.#position);
    return this.#position;
  }

  /** A registry that kept nothing of what had been sent is sent less at a time. */
  #shrink(before: number, sent: number): void {
    if (this.#position > before || sent - before < smallestChunk) return;
    if (this.#chunked === "no") this.#chunked = "lossy";
    else this.#chunkSize = Math.max(smallestChunk, Math.min(this.#chunkSize, sent - before) / 2);
  }

  /** The wait before a registry is asked where it stands; null where there is nothing to wait for. */
  #waitAfter(error: unknown, recoveries: number): number | null {
    if (!isLadingError(error)) return null;
    const { status, message, cause } = error;
    if (status === 416) return 0;
    const value = cause instanceof RegistryAnswer ? cause.retryAfter : undefined;
    if (status === 429) return this.#patience.afterRefusal({ retryAfter: value, text: message }, recoveries + 1);
    const most = this.#committing ? retryPolicy.tries : retryPolicy.recoveries + 1;
    return this.#patience.afterTrouble(value, recoveries + 1, most);
  }
}

/** Other bytes arrived than were meant: here, or (by what it says of the digest) at the registry. */
function isDamaged(error: unknown): error is LadingError {
  if (!isLadingError(error)) return false;
  return error.code === "digest-mismatch" || (error.code === "size-mismatch" && error.status === null);
}

/** Trouble after which it is worth asking where the upload stands. */
function isRecoverable(error: unknown): boolean {
  if (!isLadingError(error)) return false;
  return isTransient(error) || error.status === 404 || error.status === 416 || error.status === 429;
}
