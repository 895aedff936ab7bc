import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isIP } from "node:net";
import type { WireHandler, WireResponse } from "../oci/wire.js";
import { Fault } from "./fault.js";
import { Pace } from "./pace.js";
import { replyFault } from "./reply.js";

export interface ExchangeOptions {
  readonly isOurs: (host: string | undefined) => boolean;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
  /** ms without a byte of a body, in either direction. */
  readonly idleMs: number;
  /** Bytes of a body that have to come in as much time. */
  readonly leastBytes: number;
  /** Whether what a peer says of whom it speaks for is believed. */
  readonly isTrusted: (address: string) => boolean;
}

/** One exchange of node:http through a registry: streams both bodies, and lets go of both on every path. */
export async function serveExchange(
  handle: WireHandler,
  request: IncomingMessage,
  response: ServerResponse,
  options: ExchangeOptions,
): Promise<void> {
  const gone = new AbortController();
  const leave = (): void => {
    // after a finished answer this means nothing any more
    if (!response.writableFinished) gone.abort(new Error("the client has gone"));
  };
  response.on("close", leave);
  // the reader of the body and the writer of the answer hear of these on their own
  request.on("error", () => {});
  response.on("error", () => {});
  const head = request.method === "HEAD";
  try {
    const forwarded = forwardedBy(request, options.isTrusted);
    const refused = refusalOf(request, options.isOurs);
    const answer =
      refused === null
        ? await handle({
            method: request.method ?? "GET",
            // a whole URL names a host that nobody has checked
            url: (request.url ?? "/").replace(/^https?:\/\/[^/?#]*/i, "") || "/",
            headers: forwarded.headers,
            address: forwarded.address,
            body: hasBody(request) ? bodyOf(request, response, options) : null,
            signal: gone.signal,
          })
        : replyFault(refused, head);
    await send(request, response, answer, options.idleMs);
  } catch (error) {
    if (gone.signal.aborted) return;
    throw error;
  } finally {
    response.off("close", leave);
  }
}

/** A page of another site, or one whose name was made to point here. */
function refusalOf({ headers }: IncomingMessage, isOurs: ExchangeOptions["isOurs"]): Fault | null {
  if (!isOurs(headers.host)) return new Fault(421, "DENIED", "this registry is not known under that name");
  const { origin } = headers;
  if (origin === undefined || origin === `http://${headers.host}` || origin === `https://${headers.host}`) return null;
  return new Fault(403, "DENIED", "pages of other sites may not use this registry");
}

function headersOf(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}

/** The client's address, and headers that say no more of it than is true: only a trusted proxy may speak for others. */
function forwardedBy(request: IncomingMessage, isTrusted: ExchangeOptions["isTrusted"]) {
  const headers = headersOf(request);
  // an IPv4 peer of a socket that listens for both families
  const peer = request.socket.remoteAddress?.replace(/^::ffff:/, "") ?? null;
  if (peer === null || !isTrusted(peer)) {
    for (const name of Object.keys(headers))
      if (/^(?:x-)?forwarded(?:-|$)|^x-real-ip$/.test(name)) delete headers[name];
    return { headers, address: peer };
  }
  // each proxy adds whom it heard: the first from the end that is no proxy of ours is the client
  const hops = (headers["x-forwarded-for"] ?? "").split(",").map((hop) => hop.trim());
  const client = hops.findLast((hop) => isIP(hop) !== 0 && !isTrusted(hop));
  return { headers, address: client ?? peer };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** The body, as long as bytes keep coming. */
async function* bodyOf(
  request: IncomingMessage,
  response: ServerResponse,
  { expectsContinue, idleMs, leastBytes }: ExchangeOptions,
): AsyncIterable<Uint8Array> {
  if (expectsContinue) response.writeContinue();
  const onSlow = () => void request.destroy(new Error(`less than ${leastBytes} bytes in ${idleMs} ms`));
  const pace = new Pace({ idleMs, leastBytes, onSlow });
  try {
    pace.wait();
    // `destroyOnReturn` would close the connection before the answer says why the rest is not read
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      pace.came((chunk as Uint8Array).length);
      yield chunk as Uint8Array;
      pace.wait();
    }
  } finally {
    pace.end();
  }
}

async function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: WireResponse,
  idleMs: number,
): Promise<void> {
  // a body that nobody reads any more would hold the connection; its client learns why first
  const unread = hasBody(request) && !request.readableEnded;
  if (unread) response.setHeader("connection", "close");
  response.writeHead(status, headers);
  // the socket's own one: it sees how far a large chunk has gone
  response.setTimeout(idleMs, () => response.destroy(new Error(`no byte taken for ${idleMs} ms`)));
  for await (const chunk of body) {
    if (response.destroyed) return;
    if (!response.write(chunk)) await drained(response);
  }
  if (unread) {
    // Node closes at the end of an answer that says so; its length has told the client already that it is whole
    response.flushHeaders();
    await linger(request);
  }
  response.end();
  if (unread) request.destroy();
}

async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  const done = new AbortController();
  try {
    await Promise.race([
      once(response, "drain", { signal: done.signal }),
      once(response, "close", { signal: done.signal }),
    ]);
  } finally {
    done.abort();
  }
}

/**
 * Reads on for a moment, since closing at once would reset the connection before the answer has been read. What is on
 * its way already may fill the buffers of both ends, ten megabytes on loopback.
 */
async function linger(request: IncomingMessage): Promise<void> {
  const deadline = setTimeout(() => request.destroy(), 2000);
  let left = 32 * 1024 * 1024;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      left -= (chunk as Uint8Array).length;
      if (left < 0) break;
    }
  } catch {
    // the client went first
  } finally {
    clearTimeout(deadline);
  }
}
