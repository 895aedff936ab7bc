import { once } from "node:events";
import {
  Agent,
  type ClientRequest,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Dice } from "./dice.js";
import { PatienceError, within } from "./patience.js";

/** What the front does to a request. */
export const faultKinds = [
  "reset before the request",
  "reset inside the request",
  "answer lost",
  "answer reset",
  "answer cut",
  "answer stalled",
  "byte of a blob corrupted on its way down",
  "byte of a blob corrupted on its way up",
  "500",
  "502",
  "503",
  "504",
  "429 with seconds",
  "429 with a date",
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface FaultyFrontOptions {
  /** Where the registry listens. */
  readonly port: number;
  readonly dice: Dice;
  /** Share of requests with a fault. */
  readonly rate: number;
  readonly onFault: (kind: FaultKind) => void;
  /** An exchange did not come to its end: which, and how far it had got. */
  readonly onExpired: (text: string) => void;
  /** How long an exchange may take, in ms. @default 120000 */
  readonly patience?: number;
  /** How long a stalled answer stands still. @default 1.5 s */
  readonly stall?: (response: ServerResponse) => Promise<unknown>;
}

/** An HTTP proxy in front of a registry that strikes some requests with a fault. */
export interface FaultyFront {
  readonly port: number;
  readonly requests: number;
  /** Requests that were made again after a fault had struck them. */
  readonly retries: number;
  /** Resolves once the registry has answered all that it was asked, whoever has gone meanwhile. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** Headers of one connection only. */
const hopByHop: ReadonlySet<string> = new Set(["connection", "keep-alive", "transfer-encoding", "expect"]);

export async function startFaultyFront(options: FaultyFrontOptions): Promise<FaultyFront> {
  const { dice, rate, onFault, onExpired, patience = 120_000, stall = () => sleep(1_500) } = options;
  const agent = new Agent({ keepAlive: true });
  const sockets = new Set<Socket>();
  const running = new Set<Promise<void>>();
  /** Method and path of what a fault struck. */
  const owed = new Set<string>();
  let requests = 0;
  let retries = 0;

  const server = createServer({ keepAliveTimeout: 30_000 }, (request, response) => {
    requests += 1;
    const progress: Progress = { fault: null, waitsFor: "the request", upstream: null };
    const task = within(`${request.method} ${request.url}`, patience, exchange(request, response, progress))
      .catch((error: unknown) => {
        const { fault, waitsFor, upstream } = progress;
        if (error instanceof PatienceError) onExpired(`${error.message} (fault: ${fault}), there for ${waitsFor}`);
        upstream?.destroy();
        reset(request.socket);
      })
      .finally(() => running.delete(task));
    running.add(task);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });

  async function exchange(request: IncomingMessage, response: ServerResponse, progress: Progress): Promise<void> {
    const length = Number(request.headers["content-length"] ?? 0);
    const isBlob = /\/blobs\//.test(request.url ?? "");
    const possible = faultKinds.filter((kind) => {
      if (kind === "reset inside the request") return length > 0;
      if (kind === "byte of a blob corrupted on its way up") return isBlob && length > 0;
      if (kind === "byte of a blob corrupted on its way down") return isBlob && request.method === "GET";
      return !/^answer (?!lost)/.test(kind) || request.method === "GET";
    });
    let fault = dice.chance(rate) ? dice.pick(possible) : null;
    progress.fault = fault;
    const position = dice.next();
    const key = `${request.method} ${request.url?.replace(/\?.*/, "")}`;
    if (owed.delete(key)) retries += 1;
    const struck = (): void => {
      if (fault === null) return;
      owed.add(key);
      onFault(fault);
    };
    if (fault === "reset before the request") {
      struck();
      reset(request.socket);
      return;
    }
    const refusal = fault === null ? null : refusalOf(fault);
    if (refusal !== null) {
      struck();
      await consumed(request);
      response.writeHead(refusal.status, { ...refusal.headers, "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "UNAVAILABLE", message: "the soak's fault" }] }));
      return;
    }

    const upstream = httpRequest({
      ...{ host: "127.0.0.1", port: options.port, agent, method: request.method, path: request.url },
      headers: passedOn(request.headers),
    });
    progress.upstream = upstream;
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      upstream.once("response", resolve);
      upstream.on("error", reject);
      // After either of the others this says nothing.
      upstream.once("close", () => reject(new Error("no answer came")));
    });
    answered.catch(() => undefined);
    // Whoever asked is gone: what it has not sent does not come any more.
    request.once("aborted", () => upstream.destroy());

    const cutAt = fault === "reset inside the request" ? Math.floor(position * length) : Infinity;
    const turnAt = fault === "byte of a blob corrupted on its way up" ? Math.floor(position * length) : -1;
    let sent = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (turnAt >= sent && turnAt < sent + chunk.length) {
        chunk[turnAt - sent] = (chunk[turnAt - sent] ?? 0) ^ 0xff;
        struck();
      }
      sent += chunk.length;
      if (sent > cutAt) {
        struck();
        upstream.destroy();
        reset(request.socket);
        return;
      }
      if (!upstream.write(chunk)) await drained(upstream, answered);
    }
    upstream.end();

    progress.waitsFor = "the registry's answer";
    const answer = await answered;
    progress.waitsFor = "the answer's body";
    const size = Number(answer.headers["content-length"] ?? 0);
    const hasBody = request.method !== "HEAD" && size > 0;
    // What needs a body, and finds none.
    if (fault !== null && !hasBody && /^answer (?!lost)/.test(fault)) fault = "answer lost";
    if (fault === "byte of a blob corrupted on its way down" && !(hasBody && isBlob)) fault = "answer lost";
    if (fault === "answer lost") {
      struck();
      await consumed(answer);
      reset(request.socket);
      return;
    }
    response.writeHead(answer.statusCode ?? 502, passedOn(answer.headers));
    const at = hasBody ? Math.floor(position * size) : -1;
    let passed = 0;
    if (hasBody && fault !== null && /^answer/.test(fault)) struck();
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      if (request.socket.destroyed) break;
      const here = at >= passed && at < passed + chunk.length;
      passed += chunk.length;
      if (here && (fault === "answer reset" || fault === "answer cut")) {
        response.write(chunk.subarray(0, at - passed + chunk.length));
        // So that what was written is on its way before the end.
        await sleep(20);
        if (fault === "answer reset") reset(request.socket);
        else request.socket.end();
        answer.destroy();
        return;
      }
      if (here && fault === "answer stalled") await stall(response);
      if (here && isBlob && fault === "byte of a blob corrupted on its way down") {
        chunk[at - passed + chunk.length] = (chunk[at - passed + chunk.length] ?? 0) ^ 0xff;
        struck();
      }
      if (!response.write(chunk)) await drained(response);
    }
    response.end();
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    get requests() {
      return requests;
    },
    get retries() {
      return retries;
    },
    async settled() {
      while (running.size > 0) await Promise.allSettled(running);
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** How far an exchange has got. */
interface Progress {
  fault: FaultKind | null;
  waitsFor: string;
  upstream: ClientRequest | null;
}

/** Reads a body to its end; rejects where it has none, even where that was so before this was called. */
async function consumed(message: IncomingMessage): Promise<void> {
  for await (const chunk of message) void chunk;
}

/** Resolves once a stream takes more, or never will. */
async function drained(stream: Writable, ...also: readonly Promise<unknown>[]): Promise<void> {
  // Its "close" has been and does not come again: who had asked went away while the answer stood still.
  if (stream.destroyed) return;
  const stop = new AbortController();
  const { signal } = stop;
  try {
    await Promise.race([once(stream, "drain", { signal }), once(stream, "close", { signal }), ...also]);
  } finally {
    stop.abort();
  }
}

function refusalOf(
  fault: FaultKind,
): { readonly status: number; readonly headers: Readonly<Record<string, string>> } | null {
  if (/^5\d\d$/.test(fault)) return { status: Number(fault), headers: {} };
  if (fault === "429 with seconds") return { status: 429, headers: { "retry-after": "1" } };
  if (fault === "429 with a date")
    return { status: 429, headers: { "retry-after": new Date(Date.now() + 2_000).toUTCString() } };
  return null;
}

function passedOn(headers: IncomingMessage["headers"]): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(([name, value]) => !hopByHop.has(name) && value !== undefined);
  return Object.fromEntries(kept) as Record<string, string | string[]>;
}

/** RST, without the FIN that Node sends before it. */
function reset(socket: Socket): void {
  Object.assign(socket, { _final: (done: () => void) => done() });
  socket.resetAndDestroy();
}
