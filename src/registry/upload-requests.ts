import { isLadingError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Answer, CallBody } from "./call.js";
import type { Endpoint, EndpointRequest } from "./endpoint.js";
import { isTransient } from "./retry.js";
import { cancelSession, type Session, sessionOf } from "./upload-session.js";

/** How long a registry may take to check what it was sent, in ms. */
const commitPatience = 15 * 60_000;

type Request = Pick<EndpointRequest, "method" | "url" | "expect" | "headers" | "body" | "patience" | "retry" | "role">;

/** The requests that one blob is sent with. What fails is the caller's to repeat, but for what starts and asks. */
export class UploadRequests {
  readonly #endpoint: Endpoint;
  readonly #descriptor: Descriptor;
  readonly #signal: AbortSignal | undefined;

  constructor(endpoint: Endpoint, descriptor: Descriptor, signal: AbortSignal | undefined) {
    this.#endpoint = endpoint;
    this.#descriptor = descriptor;
    this.#signal = signal;
  }

  async start(): Promise<Session> {
    const answer = await this.#send({
      method: "POST",
      url: this.#endpoint.url("blobs/uploads/"),
      role: "registry",
      headers: { "content-length": "0" },
      expect: [202],
      retry: true,
    });
    return sessionOf(answer, null, 0);
  }

  /** All of it, and the end. @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#post-then-put */
  async whole(session: Session, body: CallBody): Promise<void> {
    await this.#send({
      method: "PUT",
      url: this.#closing(session),
      headers: { "content-type": "application/octet-stream", "content-length": String(this.#descriptor.size) },
      body,
      expect: [200, 201, 202, 204],
      patience: commitPatience,
    });
  }

  /** @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks */
  async chunk(session: Session, end: number, body: CallBody): Promise<Session> {
    const { location, offset } = session;
    const answer = await this.#send({
      method: "PATCH",
      url: location,
      headers: {
        "content-type": "application/octet-stream",
        "content-length": String(end - offset),
        "content-range": `${offset}-${end - 1}`,
      },
      body,
      expect: [200, 201, 202, 204],
      patience: commitPatience,
    });
    const next = sessionOf(answer, session, end);
    if (next.offset > end || next.offset < offset) {
      throw new LadingError("unreachable", `${this.#endpoint.authority} lost count of the upload`);
    }
    return next;
  }

  /** The end of an upload whose bytes are there. */
  async commit(session: Session): Promise<void> {
    await this.#send({
      method: "PUT",
      url: this.#closing(session),
      headers: { "content-length": "0" },
      expect: [200, 201, 202, 204],
      patience: commitPatience,
    });
  }

  /** How far the registry is; null where it knows nothing of the session, or nothing of use. */
  async status(session: Session): Promise<Session | null> {
    let answer: Answer;
    try {
      answer = await this.#send({
        method: "GET",
        url: session.location,
        headers: {},
        expect: [200, 202, 204],
        retry: true,
      });
    } catch (error) {
      if (isLadingError(error) && error.status !== null && error.status !== 429 && !isTransient(error)) return null;
      throw error;
    }
    const found = sessionOf(answer, session, 0);
    // `0-0` is one byte or none: not worth guessing.
    if (found.offset > 1 && found.offset <= this.#descriptor.size) return found;
    await cancelSession(this.#endpoint, found);
    return null;
  }

  /** The session's URL with the digest: what the registry put into it stays as it is. */
  #closing({ location }: Session): URL {
    const digest = `digest=${encodeURIComponent(this.#descriptor.digest)}`;
    return new URL(`${location.href}${location.search === "" ? "?" : "&"}${digest}`);
  }

  async #send(request: Request): Promise<Answer> {
    return await this.#endpoint.sendOnly({
      role: "upload",
      retry: false,
      ...request,
      actions: ["pull", "push"],
      doing: `uploading ${this.#descriptor.digest}`,
      digest: this.#descriptor.digest,
      signal: this.#signal,
    });
  }
}
