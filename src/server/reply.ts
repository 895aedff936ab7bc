import { ioError, isLadingError } from "../errors.js";
import type { WireResponse } from "../oci/wire.js";
import type { Fault } from "./fault.js";

type Headers = Readonly<Record<string, string>>;

/** Content of a registry comes from strangers: no browser may guess what it is. */
const always: Headers = { "x-content-type-options": "nosniff" };

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

/** An answer that is in memory. `content-length` is what the body has, unless the headers say it (HEAD). */
export function reply(status: number, headers: Headers = {}, body: Uint8Array = new Uint8Array(0)): WireResponse {
  // RFC 9110 8.6: none with 204; 304 describes what it stands for, and need not
  const length: Headers = status === 204 || status === 304 ? {} : { "content-length": String(body.length) };
  return { status, headers: { ...always, ...length, ...headers }, body: once(body) };
}

/** An answer that is streamed; `headers` must hold its exact `content-length`. */
export function replyStream(status: number, headers: Headers, body: AsyncIterable<Uint8Array>): WireResponse {
  return { status, headers: { ...always, ...headers }, body };
}

/** The body is left out where only the head is asked for. */
export function replyJson(
  status: number,
  value: unknown,
  options: { readonly headers?: Headers; readonly contentType?: string; readonly head?: boolean } = {},
): WireResponse {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  const headers = {
    "content-type": options.contentType ?? "application/json",
    "content-length": String(bytes.length),
    ...options.headers,
  };
  return options.head ? reply(status, headers) : reply(status, headers, bytes);
}

/** @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes */
export function replyFault(fault: Fault, head: boolean): WireResponse {
  const entry = { code: fault.code, message: fault.message, detail: fault.detail ?? null };
  return replyJson(fault.status, { errors: [entry] }, { headers: fault.headers, head });
}

/** What went wrong in the registry itself. The texts are fixed: they never show paths or other inner matters. */
export function replyFailure(error: unknown, head: boolean): WireResponse {
  const known = isLadingError(error) ? error : ioError(error, "serving a request");
  const [status, entry] =
    known.code === "no-space"
      ? [507, { code: "DENIED", message: "the registry's disk is full", detail: { limit: "disk" } }]
      : known.code === "closed"
        ? [503, { code: "UNAVAILABLE", message: "the registry is closing", detail: null }]
        : [500, { code: "UNKNOWN", message: "the registry failed to answer; its log says why", detail: null }];
  return replyJson(status, { errors: [entry] }, { head });
}
