import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";

/** One request as a script sees it. */
export interface Exchange {
  readonly method: string;
  /** `/v2/…?…` */
  readonly target: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The body, read when first asked for. */
  body(): Promise<Buffer>;
  send(status: number, headers?: Readonly<Record<string, string>>, body?: string | Uint8Array): void;
}

/** Answers a request and says true, or leaves it to the next one: at last to the registry in memory. */
export type Handler = (exchange: Exchange) => boolean | Promise<boolean>;

export interface RecordedRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
}

export interface ScriptedRegistry {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** All requests so far. */
  readonly requests: readonly RecordedRequest[];
  /** `METHOD /target` of all requests so far. */
  readonly log: readonly string[];
  /** Content by digest: of all repositories alike. */
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, { readonly type: string; readonly bytes: Buffer }>;
  /** Open upload sessions: what each has taken. */
  readonly uploads: Map<string, Buffer>;
  /** Asked first to last before the registry in memory. Tests add and take away. */
  readonly handlers: Handler[];
  close(): Promise<void>;
}

/** A handler for requests that match, for the first `times` of them. */
export function on(
  method: string,
  target: RegExp | string,
  act: (exchange: Exchange) => void | Promise<void>,
  times = Number.POSITIVE_INFINITY,
): Handler {
  let left = times;
  return async (exchange) => {
    const hit = typeof target === "string" ? exchange.target === target : target.test(exchange.target);
    if (left === 0 || exchange.method !== method || !hit) return false;
    left -= 1;
    await act(exchange);
    return true;
  };
}

/**
 * A registry whose every answer a test can replace: over a small one in memory that follows the specification as
 * far as the client needs it. On a free loopback port.
 */
export async function startScriptedRegistry(...handlers: Handler[]): Promise<ScriptedRegistry> {
  const requests: RecordedRequest[] = [];
  const state = {
    blobs: new Map<string, Buffer>(),
    manifests: new Map<string, { type: string; bytes: Buffer }>(),
    uploads: new Map<string, Buffer>(),
    tags: new Set<string>(),
  };
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const target = request.url ?? "/";
    const method = request.method ?? "GET";
    requests.push({ method, target, headers: request.headers });
    // A client that goes away is part of many a script.
    request.on("error", () => {});
    response.on("error", () => {});
    let body: Promise<Buffer> | null = null;
    const exchange: Exchange = {
      method,
      target,
      url: new URL(target, "http://scripted"),
      headers: request.headers,
      request,
      response,
      body: () => {
        body ??= readAll(request);
        return body;
      },
      send: (status, headers = {}, content = "") => {
        const bytes = Buffer.from(content);
        response.writeHead(status, { "content-length": String(bytes.length), ...headers });
        response.end(method === "HEAD" ? undefined : bytes);
      },
    };
    serve(exchange).catch(() => response.destroy());
  });
  async function serve(exchange: Exchange): Promise<void> {
    for (const handler of handlers) if (await handler(exchange)) return;
    await inMemory(exchange, state);
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const host = `127.0.0.1:${address.port}`;
  return {
    url: `http://${host}`,
    host,
    requests,
    get log() {
      return requests.map(({ method, target }) => `${method} ${target}`);
    },
    ...state,
    handlers,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

interface State {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, { type: string; bytes: Buffer }>;
  readonly uploads: Map<string, Buffer>;
  readonly tags: Set<string>;
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function refuse(exchange: Exchange, status: number, code: string): void {
  exchange.send(status, { "content-type": "application/json" }, JSON.stringify({ errors: [{ code, message: code }] }));
}

async function inMemory(exchange: Exchange, state: State): Promise<void> {
  const { pathname } = exchange.url;
  if (pathname === "/v2/") return exchange.send(200);
  const [, , kind = "", rest = ""] = /^\/v2\/(.+?)\/(blobs\/uploads|blobs|manifests|tags)\/(.*)$/.exec(pathname) ?? [];
  if (kind === "blobs/uploads") return await upload(exchange, state, rest);
  if (kind === "blobs") return blob(exchange, state.blobs.get(rest), rest);
  if (kind === "manifests") return await manifest(exchange, state, rest);
  if (kind === "tags") return exchange.send(200, {}, JSON.stringify({ name: "x", tags: [...state.tags].sort() }));
  refuse(exchange, 404, "NAME_UNKNOWN");
}

function blob(exchange: Exchange, bytes: Buffer | undefined, digest: string): void {
  if (bytes === undefined) {
    refuse(exchange, 404, "BLOB_UNKNOWN");
    return;
  }
  const from = /^bytes=(\d+)-$/.exec(exchange.headers.range ?? "")?.[1];
  const headers = { "docker-content-digest": digest, "content-type": "application/octet-stream" };
  if (from === undefined) {
    exchange.send(200, { ...headers, "content-length": String(bytes.length) }, bytes);
  } else {
    const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
    exchange.send(206, { ...headers, "content-range": range }, bytes.subarray(Number(from)));
  }
}

async function manifest(exchange: Exchange, state: State, reference: string): Promise<void> {
  if (exchange.method === "PUT") {
    const bytes = await exchange.body();
    const stored = { type: exchange.headers["content-type"] ?? "", bytes };
    state.manifests.set(reference, stored);
    state.manifests.set(sha256(bytes), stored);
    if (!reference.includes(":")) state.tags.add(reference);
    return exchange.send(201, { location: exchange.url.pathname, "docker-content-digest": sha256(bytes) });
  }
  const found = state.manifests.get(reference);
  if (found === undefined) return refuse(exchange, 404, "MANIFEST_UNKNOWN");
  if (exchange.method === "DELETE") {
    state.manifests.delete(reference);
    return exchange.send(202);
  }
  const { type, bytes } = found;
  const headers = { "content-type": type, "content-length": String(bytes.length) };
  exchange.send(200, { ...headers, "docker-content-digest": sha256(bytes) }, bytes);
}

async function upload(exchange: Exchange, { blobs, uploads }: State, id: string): Promise<void> {
  const base = exchange.url.pathname.slice(0, exchange.url.pathname.length - id.length);
  const standing = (session: string) => ({
    location: `${base}${session}?state=critical`,
    range: `0-${Math.max(0, (uploads.get(session)?.length ?? 0) - 1)}`,
  });
  if (exchange.method === "POST") {
    const session = randomUUID();
    uploads.set(session, Buffer.alloc(0));
    return exchange.send(202, standing(session));
  }
  const before = uploads.get(id);
  if (before === undefined || !exchange.target.includes("state=critical")) {
    return refuse(exchange, 404, "BLOB_UPLOAD_UNKNOWN");
  }
  if (exchange.method === "GET") return exchange.send(204, standing(id));
  if (exchange.method === "DELETE") {
    uploads.delete(id);
    return exchange.send(204);
  }
  const start = /^(\d+)-/.exec(exchange.headers["content-range"] ?? "")?.[1];
  if (start !== undefined && Number(start) !== before.length) return exchange.send(416, standing(id));
  // Chunk by chunk, so that what arrived before a cut stays.
  try {
    // Room for all that was announced: a copy of the whole for each piece would take seconds.
    const room = Buffer.alloc(before.length + Number(exchange.headers["content-length"] ?? 0));
    before.copy(room);
    for await (const chunk of exchange.request as AsyncIterable<Buffer>) {
      const have = uploads.get(id) ?? before;
      chunk.copy(room, have.length);
      uploads.set(id, room.subarray(0, have.length + chunk.length));
    }
  } catch {
    return;
  }
  if (exchange.method === "PATCH") return exchange.send(202, standing(id));
  const bytes = uploads.get(id) ?? Buffer.alloc(0);
  const digest = exchange.url.searchParams.get("digest") ?? "";
  if (sha256(bytes) !== digest) return refuse(exchange, 400, "DIGEST_INVALID");
  blobs.set(digest, bytes);
  uploads.delete(id);
  exchange.send(201, { location: `${base.replace("uploads/", "")}${digest}` });
}
