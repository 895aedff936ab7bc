import type { ClientRequest, IncomingMessage } from "node:http";

/** Bytes that may wait for a slow reader before the connection has to wait too. */
const most = 256 * 1024;

/**
 * The body of an answer as the stack reads it: chunks as they came. Node's own iterator joins those that wait into one, which costs as
 * much as to hash them.
 * @param failure What an error of the connection means.
 */
export function responseBody(
  incoming: IncomingMessage,
  request: ClientRequest,
  failure: (error: unknown) => unknown,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]: () => new BodyReader(incoming, request, failure),
  };
}

class BodyReader implements AsyncIterator<Uint8Array> {
  readonly #incoming: IncomingMessage;
  readonly #request: ClientRequest;
  readonly #failure: (error: unknown) => unknown;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #state: "unread" | "open" | "ended" | { readonly error: unknown } = "unread";
  /** Wakes the reader that waits. */
  #wake: () => void = () => undefined;

  constructor(incoming: IncomingMessage, request: ClientRequest, failure: (error: unknown) => unknown) {
    this.#incoming = incoming;
    this.#request = request;
    this.#failure = failure;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#state === "unread") this.#begin();
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#size -= chunk.length;
        if (this.#size < most / 2 && this.#state === "open" && this.#incoming.isPaused()) this.#incoming.resume();
        return { done: false, value: chunk };
      }
      if (this.#state === "ended") return { done: true, value: undefined };
      // What had arrived before the cut was given out first, and need not come again.
      if (typeof this.#state === "object") throw this.#state.error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    // Also for a body that nobody has begun to read, which would hold its connection for ever.
    this.#incoming.destroy();
    this.#end("ended");
    this.#chunks.length = 0;
    return { done: true, value: undefined };
  }

  #begin(): void {
    const incoming = this.#incoming;
    this.#state = "open";
    const closed = () => this.#break(incoming.errored ?? new Error("the connection was closed"));
    incoming.on("error", (error) => this.#break(error));
    incoming.on("close", closed);
    incoming.on("end", () => this.#end("ended"));
    incoming.on("data", (chunk: Uint8Array) => this.#take(chunk));
    // Its events have been and gone.
    if (incoming.destroyed) closed();
  }

  #take(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size >= most) this.#incoming.pause();
    this.#wake();
  }

  #break(cause: unknown): void {
    if (this.#state !== "open") return;
    // Node keeps what came while the reader was slow, and gives it out no more by itself.
    const rest: Uint8Array | null = this.#incoming.read();
    if (rest !== null) this.#chunks.push(rest);
    this.#end({ error: this.#failure(cause) });
  }

  #end(state: "ended" | { readonly error: unknown }): void {
    if (typeof this.#state === "object" || this.#state === "ended") return;
    this.#state = state;
    // After an early answer the rest of the request will never be sent: the connection is of no more use.
    if (!this.#request.writableEnded) this.#request.destroy();
    this.#wake();
  }
}
