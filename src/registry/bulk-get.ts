import type { LookupFunction, OnReadOpts, Socket } from "node:net";
import type { ConnectionOptions, SecureContext } from "node:tls";
import type { ChunkMemory } from "../content/lent-chunk.js";
import { limits } from "../oci/limits.js";
import { BulkBody } from "./bulk-body.js";
import type { Call } from "./call.js";

export interface BulkGetOptions {
  readonly lookup: LookupFunction;
  readonly secureContext: SecureContext | undefined;
  readonly rejectUnauthorized: boolean;
  /** Where the body is received. */
  readonly memory: ChunkMemory;
  /** What an error of the connection means. */
  readonly failure: (error: unknown) => unknown;
}

/** The answer to a GET whose body is large. */
export interface BulkAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: BulkBody;
  /** Whom it came from; a connection that has ended does not tell any more. */
  readonly remoteAddress: string | undefined;
}

/** A GET on a connection of its own. */
export interface BulkGet {
  readonly socket: Socket;
  /** Whether the connection waits for the reader of the body. */
  readonly isHeldUp: () => boolean;
  /**
   * Null where the answer is none of the plain ones: then the request is to be sent again over Node's own parser, which knows all of
   * HTTP, and finds the words for what is no HTTP at all.
   */
  readonly answer: Promise<BulkAnswer | null>;
}

/** Of these the first counts, as Node has it; of others all do. */
const single: ReadonlySet<string> = new Set([
  "age",
  "content-type",
  "etag",
  "expires",
  "last-modified",
  "location",
  "retry-after",
  "server",
]);
const headEnd = "\r\n\r\n";
const statusLine = /^HTTP\/1\.1 ([2-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const headerLine =
  /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?[ \t]*$/;
const headerValue = /^[\t\x20-\x7e]*$/;

/** Whether a call can be written down without Node's help. */
export function isPlainCall({ method, body, headers }: Call): boolean {
  return method === "GET" && !body && Object.values(headers).every((value) => headerValue.test(value));
}

/** Asks for something large, and lets the system write it right into large buffers. The connection is closed behind the answer. */
export async function bulkGet(call: Call, options: BulkGetOptions): Promise<BulkGet> {
  const { url } = call;
  let answered = false;
  let resolve: (answer: BulkAnswer | null) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const answer = new Promise<BulkAnswer | null>((onAnswer, onError) => {
    resolve = onAnswer;
    reject = onError;
  });
  const body = new BulkBody(options.memory, () => socket, options.failure);
  const onRead = (bytes: number): boolean => {
    if (answered) return body.take(bytes);
    body.note(bytes);
    const { received } = body;
    const end = received.indexOf(headEnd);
    if (end < 0 && received.length < limits.responseHeaders) return true;
    answered = true;
    const head = end < 0 ? null : parseHead(received.toString("latin1", 0, end));
    if (head === null) {
      socket.destroy();
      resolve(null);
      return false;
    }
    const { remoteAddress } = socket;
    const goesOn = body.begin(end + headEnd.length, head.length);
    resolve({ status: head.status, headers: head.headers, body, remoteAddress });
    return goesOn;
  };
  const onread: OnReadOpts = { buffer: () => body.room(), callback: onRead };
  const socket = await connectTo(url, options, onread);
  const broken = (error: unknown) => {
    if (answered) body.break(error);
    else {
      answered = true;
      reject(options.failure(error));
    }
  };
  socket.on("error", broken);
  socket.on("close", () => broken(new Error("the connection was closed")));
  socket.write(requestText(call));
  return { socket, isHeldUp: () => answered && body.isHeldUp, answer };
}

async function connectTo(url: URL, options: BulkGetOptions, onread: OnReadOpts): Promise<Socket> {
  const { lookup, secureContext, rejectUnauthorized } = options;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (url.protocol === "http:") {
    const net = await import("node:net");
    return net.connect({ host, port: Number(url.port || 80), lookup, onread });
  }
  const [tls, net] = await Promise.all([import("node:tls"), import("node:net")]);
  // The types know nothing of `onread` here, but Node does.
  const secure: ConnectionOptions & { readonly onread: OnReadOpts } = {
    host,
    port: Number(url.port || 443),
    lookup,
    onread,
    // As the protocol has it, an address is no name to ask for.
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    ALPNProtocols: ["http/1.1"],
    rejectUnauthorized,
    ...(secureContext === undefined ? {} : { secureContext }),
  };
  return tls.connect(secure);
}

function requestText({ url, headers }: Call): string {
  const lines = Object.entries({ host: url.host, ...headers, connection: "close" });
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

interface Head {
  readonly status: number;
  readonly headers: Record<string, string>;
  /** Bytes of the body. */
  readonly length: number;
}

/** The head of an answer whose length is said in the one plain way; null for any other. */
function parseHead(text: string): Head | null {
  const [first = "", ...lines] = text.split("\r\n");
  const status = statusLine.exec(first)?.[1];
  if (status === undefined) return null;
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, written, value = ""] = headerLine.exec(line) ?? [];
    if (written === undefined) return null;
    const name = written.toLowerCase();
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    if (before === undefined) headers[name] = value;
    else if (!single.has(name)) headers[name] = `${before}, ${value}`;
  }
  const length = headers["content-length"] ?? "";
  // Two lengths make a text that is none; a 204 and its like need none.
  if (!/^\d{1,15}$/.test(length) || headers["transfer-encoding"] !== undefined) return null;
  return { status: Number(status), headers, length: status === "204" || status === "304" ? 0 : Number(length) };
}
