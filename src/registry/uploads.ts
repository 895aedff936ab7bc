import type { ByteSource, PutOptions, PutResult } from "../content/store.js";
import { abortError, isLadingError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { shareBlob } from "./blob-sharing.js";
import { hasBlob } from "./blobs.js";
import type { Endpoint, EndpointRequest } from "./endpoint.js";
import { mountBlob } from "./mounts.js";
import { backOff, isTransient, retryPolicy } from "./retry.js";
import { cancelSession, type Session, sessionOf } from "./upload-session.js";

/** Bytes per request where an upload goes in chunks; a registry may ask for more (`OCI-Chunk-Min-Length`). */
const chunkSize = 64 * 1024 * 1024;
/** How long a registry may take to check what it was sent, in ms. */
const commitPatience = 15 * 60_000;

/**
 * Moves one blob into a repository: looks for it, tries to mount it or to share its file, then sends it in one request. What breaks
 * goes on where the registry says that it stands; a registry that wants chunks gets chunks.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
 */
export async function uploadBlob(
  endpoint: Endpoint,
  descriptor: Descriptor,
  source: ByteSource,
  options: PutOptions = {},
): Promise<PutResult> {
  if (await hasBlob(endpoint, descriptor, options)) return { outcome: "exists", transferred: 0 };
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
  #session: Session | null = null;
  #chunked = false;
  #transferred = 0;
  /** Bytes sent that the registry may have, in the current session. */
  #position = 0;
  #sourceFailure: { readonly error: unknown } | null = null;

  constructor(endpoint: Endpoint, descriptor: Descriptor, source: ByteSource, options: PutOptions) {
    this.#endpoint = endpoint;
    this.#descriptor = descriptor;
    this.#source = source;
    this.#options = options;
  }

  async run(session: Session | null): Promise<PutResult> {
    this.#session = session;
    let recoveries = 0;
    let furthest = 0;
    let restarted = false;
    try {
      for (;;) {
        try {
          await this.#attempt();
          return { outcome: "stored", transferred: this.#transferred };
        } catch (error) {
          if (this.#options.signal?.aborted) throw abortError(this.#options.signal);
          if (this.#sourceFailure !== null) throw this.#sourceFailure.error;
          if (this.#wantsChunks(error)) {
            this.#chunked = true;
            await this.#startAnew();
            continue;
          }
          if (isLadingError(error) && error.code === "digest-mismatch" && recoveries > 0 && !restarted) {
            // The parts did not fit together: once more, in one piece.
            restarted = true;
            await this.#startAnew();
            continue;
          }
          if (!isRecoverable(error)) throw error;
          const stood = await this.#recover(error, recoveries);
          if (stood === "stored") return { outcome: "stored", transferred: this.#transferred };
          recoveries = stood - furthest >= retryPolicy.progress ? 0 : recoveries + 1;
          furthest = Math.max(furthest, stood);
          if (recoveries > retryPolicy.recoveries) throw error;
        }
      }
    } catch (error) {
      // A registry that cannot be reached forgets the session by itself.
      if (this.#session !== null && !isTransient(error)) await cancelSession(this.#endpoint, this.#session);
      throw this.#sourceFailure === null ? this.#endpoint.sided(error, this.#descriptor.digest) : error;
    }
  }

  async #attempt(): Promise<void> {
    const { size } = this.#descriptor;
    this.#session ??= await this.#start();
    if (!this.#chunked && this.#session.offset === 0) {
      await this.#sendWhole(this.#session);
      return;
    }
    while (this.#session.offset < size) this.#session = await this.#sendChunk(this.#session);
    await this.#commit(this.#session);
  }

  async #start(): Promise<Session> {
    const answer = await this.#send({
      method: "POST",
      url: this.#endpoint.url("blobs/uploads/"),
      role: "registry",
      headers: { "content-length": "0" },
      expect: [202],
      retry: true,
    });
    this.#position = 0;
    return sessionOf(answer, null, 0);
  }

  async #sendWhole(session: Session): Promise<void> {
    const { size } = this.#descriptor;
    await this.#send({
      method: "PUT",
      url: this.#closing(session),
      headers: { "content-type": "application/octet-stream", "content-length": String(size) },
      body: size === 0 ? new Uint8Array(0) : () => this.#bytes(0, size),
      expect: [200, 201, 202, 204],
      patience: commitPatience,
    });
  }

  async #sendChunk(session: Session): Promise<Session> {
    const { size } = this.#descriptor;
    const { offset, minimum } = session;
    const end = Math.min(size, offset + Math.max(chunkSize, minimum));
    const answer = await this.#send({
      method: "PATCH",
      url: session.location,
      headers: {
        "content-type": "application/octet-stream",
        "content-length": String(end - offset),
        "content-range": `${offset}-${end - 1}`,
      },
      body: () => this.#bytes(offset, end),
      expect: [200, 201, 202, 204],
      patience: commitPatience,
    });
    const next = sessionOf(answer, session, end);
    if (next.offset > end || next.offset < offset) {
      throw new LadingError("unreachable", `${this.#endpoint.authority} lost count of the upload`);
    }
    return next;
  }

  async #commit(session: Session): Promise<void> {
    await this.#send({
      method: "PUT",
      url: this.#closing(session),
      headers: { "content-length": "0" },
      expect: [200, 201, 202, 204],
      patience: commitPatience,
    });
  }

  /** The session's URL with the digest: what the registry put into it stays as it is. */
  #closing({ location }: Session): URL {
    const digest = `digest=${encodeURIComponent(this.#descriptor.digest)}`;
    return new URL(`${location.href}${location.search === "" ? "?" : "&"}${digest}`);
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

  /** A registry that takes no blob in one request, by what it says to one. */
  #wantsChunks(error: unknown): boolean {
    if (this.#chunked || !isLadingError(error) || this.#session === null || this.#descriptor.size === 0) return false;
    if (error.status === 413) return this.#session.minimum > 0;
    return error.status === 405 || error.status === 411 || error.status === 501 || error.code === "unsupported";
  }

  async #startAnew(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    if (session !== null) await cancelSession(this.#endpoint, session);
    this.#options.onBytes?.(0);
  }

  /** Finds out where the registry stands: it has all, a part, or nothing any more. */
  async #recover(error: unknown, attempt: number): Promise<"stored" | number> {
    const { signal, onRetry, onBytes } = this.#options;
    onRetry?.(error instanceof Error ? error : new Error(String(error)));
    const status = isLadingError(error) ? error.status : null;
    if (status !== 416) {
      const wait = status === 429 ? retryPolicy.rateLimit : backOff(attempt, this.#endpoint.random);
      await this.#endpoint.clock.sleep(wait, signal);
    }
    const complete = this.#position === this.#descriptor.size;
    if (complete && (await hasBlob(this.#endpoint, this.#descriptor, { signal }))) return "stored";
    const session = this.#session;
    this.#session = session === null ? null : await this.#status(session);
    this.#position = this.#session?.offset ?? 0;
    onBytes?.(this.#position);
    return this.#position;
  }

  /** @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks */
  async #status(session: Session): Promise<Session | null> {
    try {
      const answer = await this.#send({
        method: "GET",
        url: session.location,
        headers: {},
        expect: [200, 202, 204],
        retry: true,
      });
      const found = sessionOf(answer, session, 0);
      // `0-0` is one byte or none: not worth guessing.
      if (found.offset > 1 && found.offset <= this.#descriptor.size) return found;
      await cancelSession(this.#endpoint, found);
      return null;
    } catch (error) {
      if (isLadingError(error) && error.status !== null && !isTransient(error)) return null;
      throw error;
    }
  }

  async #send(
    request: Pick<EndpointRequest, "method" | "url" | "expect" | "headers" | "body" | "patience" | "retry" | "role">,
  ) {
    return await this.#endpoint.sendOnly({
      role: "upload",
      retry: false,
      ...request,
      actions: ["pull", "push"],
      doing: `uploading ${this.#descriptor.digest}`,
      digest: this.#descriptor.digest,
      signal: this.#options.signal,
    });
  }
}

/** Trouble after which it is worth asking where the upload stands. */
function isRecoverable(error: unknown): boolean {
  if (!isLadingError(error)) return false;
  return isTransient(error) || error.status === 404 || error.status === 416 || error.status === 429;
}
