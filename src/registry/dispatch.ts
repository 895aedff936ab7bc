import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import type { SecureContext } from "node:tls";
import { giveBack } from "../content/lent-chunk.js";
import { abortError, isLadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { AbortListeners } from "./abort-listeners.js";
import { addressKind } from "./address.js";
import { Agents } from "./agents.js";
import { emptyBody } from "./body.js";
import type { Answer, Call } from "./call.js";
import { checkedLookup, type Network, systemNetwork } from "./checked-lookup.js";
import type { Clock } from "./clock.js";
import { watchIdle } from "./idle-watch.js";
import { closedError } from "./in-process.js";
import { type Environment, proxyAuthorization, proxyFor, tunnelRefusal } from "./proxy.js";
import { networkError } from "./registry-error.js";
import { responseBody } from "./response-body.js";
import { isListed } from "./url-gate.js";

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
  readonly clock: Clock;
  /** @default the system's */
  readonly network?: Network | undefined;
}

class IdleError extends Error {
  override readonly name = "IdleError";
  readonly code = "ETIMEDOUT";
}

/** Sends requests over HTTP/1.1 with kept connections. One per client; nothing of node is loaded before the first request. */
export class HttpDispatch {
  readonly #options: DispatchOptions;
  readonly #agents: Agents;
  readonly #running = new Set<ClientRequest>();
  readonly #listeners = new AbortListeners();
  #secureContext: Promise<SecureContext> | null = null;
  #closed = false;

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#agents = new Agents(options.perHost);
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
        // Or it was not stale, and the server has done its work before it broke.
        const confirmed = (await call.confirm?.()) ?? null;
        if (confirmed !== null) return confirmed;
      }
    }
  };

  /** Ends all connections at once; what is under way fails with `closed`. */
  close(): void {
    this.#closed = true;
    for (const request of this.#running) request.destroy(closedError());
    this.#agents.close();
  }

  async #open(call: Call): Promise<ClientRequest> {
    const { url } = call;
    const { env, insecureHosts } = this.#options;
    const proxy = proxyFor(url, env);
    const permit = call.permit ?? null;
    const options: RequestOptions & Record<string, unknown> = {
      method: call.method,
      headers: call.headers,
      maxHeaderSize: limits.responseHeaders,
      agent: await this.#agents.agent({ url, proxy, permit, sending: typeof call.body === "function" }),
      // The proxy's own address is the user's word, and behind it names are the proxy's to look up.
      ...(proxy === null ? { lookup: checkedLookup(await this.#network(), permit) } : {}),
    };
    if (url.protocol === "https:") {
      const https = await import("node:https");
      const context = await this.#tls();
      if (context !== undefined) options.secureContext = context;
      options.rejectUnauthorized = !isListed(url, insecureHosts);
      const request = https.request(url, options);
      if (proxy !== null) {
        request.once("proxyConnect", ({ statusCode }: { readonly statusCode: number }) => {
          if (statusCode !== 200) request.destroy(tunnelRefusal(proxy, url, statusCode));
        });
      }
      return request;
    }
    const http = await import("node:http");
    if (proxy === null) return http.request(url, options);
    const authorization = proxyAuthorization(proxy);
    options.headers = { ...call.headers, host: url.host, ...authorization };
    options.path = url.href;
    // Else node makes an `Authorization` for the registry of the user and password in the proxy's URL.
    options.auth = null;
    return proxy.protocol === "https:"
      ? (await import("node:https")).request(proxy, options)
      : http.request(proxy, options);
  }

  async #network(): Promise<Network> {
    return this.#options.network ?? (await systemNetwork());
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
    const { idleTimeout, clock } = this.#options;
    const direct = proxyFor(url, this.#options.env) === null;
    const kindOf = this.#options.network?.kindOf ?? addressKind;
    let response: IncomingMessage | null = null;
    let sourceError: { readonly error: unknown } | null = null;

    const failure = (error: unknown) => {
      if (signal?.aborted) return abortError(signal);
      if (sourceError !== null) return sourceError.error;
      return this.#closed ? closedError() : networkError(error, url);
    };
    let unlisten = () => {};
    let unwatch = () => {};
    let allowed = idleTimeout;
    const settle = () => {
      unlisten();
      unwatch();
      this.#running.delete(request);
    };
    this.#running.add(request);

    return await new Promise<Answer>((resolve, reject) => {
      unwatch = watchIdle({
        clock,
        socket: () => request.socket,
        allowed: () => allowed,
        // Silence because our reader or our source is slow is none of the server's.
        excused: () => (response === null ? isStarved(request) : isHeldUp(response)),
        onIdle: () => (response ?? request).destroy(new IdleError(`no byte for ${allowed / 1000} s`)),
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
        allowed = idleTimeout;
        const { remoteAddress } = incoming.socket;
        const bodiless = call.method === "HEAD" || incoming.statusCode === 204 || incoming.statusCode === 304;
        if (bodiless) incoming.resume();
        resolve({
          status: incoming.statusCode ?? 0,
          headers: plainHeaders(incoming),
          body: bodiless ? emptyBody : responseBody(incoming, request, failure),
          url,
          addressKind: direct && remoteAddress !== undefined ? kindOf(remoteAddress) : undefined,
        });
      });
      if (signal !== undefined) {
        unlisten = this.#listeners.add(signal, () => (response ?? request).destroy(new Error("aborted")));
      }
      writeBody(request, call, () => response !== null).then(
        () => {
          if (response === null && call.patience !== undefined) allowed = call.patience;
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

/** Whether an answer waits for its reader, or has come whole. */
function isHeldUp(response: IncomingMessage): boolean {
  return response.isPaused() || response.readableLength > 0 || response.complete;
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
