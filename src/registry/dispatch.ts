import type { ClientRequest, Agent as HttpAgent, IncomingMessage, RequestOptions } from "node:http";
import type { LookupFunction } from "node:net";
import type { SecureContext } from "node:tls";
import { giveBack } from "../content/lent-chunk.js";
import { abortError, isLadingError } from "../errors.js";
import { AbortListeners } from "./abort-listeners.js";
import { emptyBody } from "./body.js";
import type { Answer, Call } from "./call.js";
import { closedError } from "./in-process.js";
import { type Environment, proxyFor } from "./proxy.js";
import { networkError } from "./registry-error.js";

export interface DispatchOptions {
  /** Connections to one host; as many again for content that is being sent. */
  readonly perHost: number;
  /** `host[:port]` whose certificate is not checked. */
  readonly insecureHosts: readonly string[];
  /** Further certificate authorities, as PEM text. */
  readonly ca?: string | undefined;
  /** Where the proxies are named. */
  readonly env: Environment;
  /** How long a connection may be silent, in ms. */
  readonly idleTimeout: number;
  /** How names become addresses: the seam where dialled addresses can be checked. */
  readonly lookup?: LookupFunction | undefined;
}

/** Bytes that are buffered per direction of a connection: large chunks cost less than many small ones. */
const highWaterMark = 1024 * 1024;

class IdleError extends Error {
  override readonly name = "IdleError";
  readonly code = "ETIMEDOUT";
}

/** Sends requests over HTTP/1.1 with kept connections. One per client; nothing of node is loaded before the first request. */
export class HttpDispatch {
  readonly #options: DispatchOptions;
  readonly #agents = new Map<string, Promise<HttpAgent>>();
  readonly #running = new Set<ClientRequest>();
  readonly #listeners = new AbortListeners();
  #secureContext: Promise<SecureContext> | null = null;
  #closed = false;

  constructor(options: DispatchOptions) {
    this.#options = options;
  }

  /** @throws LadingError `unreachable`, `tls`, `cancelled`, `timeout`, `closed` */
  readonly send = async (call: Call): Promise<Answer> => {
    for (;;) {
      if (this.#closed) throw closedError();
      if (call.signal?.aborted) throw abortError(call.signal);
      const request = await this.#open(call);
      try {
        return await this.#exchange(request, call);
      } catch (error) {
        // A kept connection that the server had closed meanwhile: no attempt at all, so the next one is tried.
        const stale = request.reusedSocket && typeof call.body !== "function" && isLadingError(error);
        if (!(stale && error.code === "unreachable" && !(error.cause instanceof IdleError))) throw error;
      }
    }
  };

  /** Ends all connections at once; what is under way fails with `closed`. */
  close(): void {
    this.#closed = true;
    for (const request of this.#running) request.destroy(closedError());
    for (const agent of this.#agents.values())
      agent.then(
        (made) => made.destroy(),
        () => {},
      );
    this.#agents.clear();
  }

  async #open(call: Call): Promise<ClientRequest> {
    const { url } = call;
    const { env, idleTimeout, insecureHosts, lookup } = this.#options;
    const proxy = proxyFor(url, env);
    const options: RequestOptions & Record<string, unknown> = {
      method: call.method,
      headers: call.headers,
      timeout: idleTimeout,
      agent: await this.#agent(url, proxy, typeof call.body === "function"),
      ...(lookup === undefined ? {} : { lookup }),
    };
    if (url.protocol === "https:") {
      const https = await import("node:https");
      const context = await this.#tls();
      if (context !== undefined) options.secureContext = context;
      options.rejectUnauthorized = !insecureHosts.includes(url.host);
      return https.request(url, options);
    }
    const http = await import("node:http");
    if (proxy === null) return http.request(url, options);
    const authorization = proxyAuthorization(proxy);
    options.headers = { ...call.headers, host: url.host, ...authorization };
    options.path = url.href;
    return proxy.protocol === "https:"
      ? (await import("node:https")).request(proxy, options)
      : http.request(proxy, options);
  }

  /**
   * Content that is sent has connections of its own: a copy within one registry reads what it sends over the
   * others, and would wait for itself if senders could take them all.
   */
  async #agent(url: URL, proxy: URL | null, sending: boolean): Promise<HttpAgent> {
    const tunnel = proxy !== null && url.protocol === "https:";
    const secure = (tunnel ? url : (proxy ?? url)).protocol === "https:";
    const key = `${sending ? "send" : "ask"} ${tunnel ? `tunnel ${proxy.href}` : secure ? "https" : "http"}`;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      // The types know nothing of it, but it reaches the socket's constructor and sizes its buffers.
      const options = { keepAlive: true, maxSockets: this.#options.perHost, highWaterMark };
      agent = tunnel
        ? import("https-proxy-agent").then(({ HttpsProxyAgent }) => new HttpsProxyAgent(proxy, options))
        : secure
          ? import("node:https").then((https) => new https.Agent(options))
          : import("node:http").then((http) => new http.Agent(options));
      this.#agents.set(key, agent);
    }
    return await agent;
  }

  async #tls(): Promise<SecureContext | undefined> {
    const { ca } = this.#options;
    if (ca === undefined) return undefined;
    // Made once: a context holds some 150 certificates, and naming `ca` alone would drop them.
    this.#secureContext ??= import("node:tls").then((tls) => {
      // Newer versions of Node tell what is trusted by default, NODE_EXTRA_CA_CERTS included.
      const { getCACertificates } = tls as { readonly getCACertificates?: (type: "default") => readonly string[] };
      return tls.createSecureContext({ ca: [...(getCACertificates?.("default") ?? tls.rootCertificates), ca] });
    });
    return await this.#secureContext;
  }

  async #exchange(request: ClientRequest, call: Call): Promise<Answer> {
    const { signal, url } = call;
    const { idleTimeout } = this.#options;
    let response: IncomingMessage | null = null;
    let sourceError: { readonly error: unknown } | null = null;

    const failure = (error: unknown) => {
      if (signal?.aborted) return abortError(signal);
      if (sourceError !== null) return sourceError.error;
      return this.#closed ? closedError() : networkError(error, url);
    };
    let unlisten = () => {};
    const settle = () => {
      unlisten();
      this.#running.delete(request);
    };
    this.#running.add(request);

    return await new Promise<Answer>((resolve, reject) => {
      request.on("timeout", () => {
        // Silence because our reader or our source is slow is none of the server's.
        if (response === null ? isStarved(request) : response.readableLength > 0 || response.complete) {
          request.setTimeout(idleTimeout);
        } else {
          (response ?? request).destroy(new IdleError(`no byte for ${idleTimeout / 1000} s`));
        }
      });
      request.on("error", (error) => {
        if (response !== null) return;
        settle();
        reject(failure(error));
      });
      request.on("close", () => {
        if (response !== null) return;
        settle();
        reject(failure(new Error("the connection was closed")));
      });
      request.once("response", (incoming) => {
        response = incoming;
        // The reader of the body sees errors itself; before it starts they must not bring the process down.
        incoming.on("error", () => {});
        incoming.once("close", settle);
        request.setTimeout(idleTimeout);
        const bodiless = call.method === "HEAD" || incoming.statusCode === 204 || incoming.statusCode === 304;
        if (bodiless) incoming.resume();
        resolve({
          status: incoming.statusCode ?? 0,
          headers: plainHeaders(incoming),
          body: bodiless ? emptyBody : responseBody(incoming, request, failure),
          url,
        });
      });
      if (signal !== undefined) {
        unlisten = this.#listeners.add(signal, () => (response ?? request).destroy(new Error("aborted")));
      }
      writeBody(request, call, () => response !== null).then(
        () => {
          if (response === null && call.patience !== undefined) request.setTimeout(call.patience);
        },
        (error: unknown) => {
          sourceError = { error };
          request.destroy(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }
}

/**
 * Writes a body with back-pressure. A server that answers before the end has made up its mind: writing stops
 * and the answer counts, instead of the broken pipe that would follow.
 */
async function writeBody(request: ClientRequest, call: Call, answered: () => boolean): Promise<void> {
  const { body } = call;
  if (typeof body !== "function") {
    request.end(body ?? undefined);
    return;
  }
  // Not before there is a connection: the source may be one that others are waiting for.
  if (!(await connected(request))) return;
  for await (const chunk of body()) {
    if (answered() || request.destroyed) return;
    const done = (error?: Error | null) => {
      if (!error) giveBack(chunk);
    };
    if (!request.write(chunk, done)) await drained(request);
  }
  if (!request.destroyed) request.end();
}

/** Whether a request waits for more of its own content. */
function isStarved(request: ClientRequest): boolean {
  return request.socket?.connecting === false && !request.writableEnded && request.writableLength === 0;
}

/** Whether a request got its socket, once that is decided. */
async function connected(request: ClientRequest): Promise<boolean> {
  if (request.socket === null && !request.destroyed) await anyOf(request, "socket", "close");
  return !request.destroyed;
}

async function drained(request: ClientRequest): Promise<void> {
  if (!request.destroyed && request.writableNeedDrain) await anyOf(request, "drain", "close", "response");
}

async function anyOf(request: ClientRequest, ...events: readonly string[]): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      for (const event of events) request.off(event, done);
      resolve();
    };
    for (const event of events) request.on(event, done);
  });
}

function plainHeaders(incoming: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}

function responseBody(
  incoming: IncomingMessage,
  request: ClientRequest,
  failure: (error: unknown) => unknown,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner: AsyncIterator<Uint8Array> = incoming[Symbol.asyncIterator]();
      // After an early answer the rest of the request will never be sent: the connection is of no more use.
      const end = () => {
        if (!request.writableEnded) request.destroy();
      };
      return {
        async next() {
          try {
            const step = await inner.next();
            if (step.done === true) end();
            return step;
          } catch (error) {
            end();
            throw failure(error);
          }
        },
        async return() {
          // Also for a body that nobody has begun to read, which would hold its connection for ever.
          incoming.destroy();
          end();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === "") return {};
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
}
