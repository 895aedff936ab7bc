/**
 * One HTTP exchange as plain values: what the registry client sends and the embedded registry answers.
 * Plain objects rather than the global `Request`, whose first use costs a third of an empty node's start-up.
 */
export interface WireRequest {
  readonly method: string;
  /** Absolute where it goes to another host; a path with query is enough for {@link WireHandler} of a registry. */
  readonly url: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: AsyncIterable<Uint8Array> | Uint8Array | null;
  readonly signal?: AbortSignal | null;
  /** Of a request that is received: the peer's IP address, where it is known. */
  readonly address?: string | null;
}

/** An answer of the distribution API as a plain value. */
export interface WireResponse {
  readonly status: number;
  /** Lower-case names; several values of one name are joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /** To be read to its end or left by `return()`; empty for HEAD. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Answers one request of the distribution API. */
export type WireHandler = (request: WireRequest) => Promise<WireResponse>;
