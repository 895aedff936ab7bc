import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";
import { ChunkMemory } from "../content/lent-chunk.js";
import { Limiter } from "../content/limiter.js";
import { abortError, isLadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { AbortListeners } from "./abort-listeners.js";
import { type AddressKind, addressKind } from "./address.js";
import { Agents } from "./agents.js";
import { emptyBody } from "./body.js";
import { bulkGet, isPlainCall } from "./bulk-get.js";
import type { Answer, Call } from "./call.js";
import { checkedLookup, type Network, systemNetwork } from "./checked-lookup.js";
import type { Clock } from "./clock.js";
import { watchIdle } from "./idle-watch.js";
import { closedError } from "./in-process.js";
import { type Environment, proxyAuthorization, proxyFor, tunnelRefusal } from "./proxy.js";
import { networkError } from "./registry-error.js";
import { responseBody } from "./response-body.js";
import { isListed } from "./url-gate.js";
import { isStarved, writeBody } from "./write-body.js";

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

/** Bytes that the system writes at once into memory of ours, where much is to come. */
const bulkBuffer = 1024 * 1024;

class IdleError extends Error {
  override readonly name = "IdleError";
  readonly code = "ETIMEDOUT";
}

/** Sends requests over HTTP/1.1 with kept connections. One per client; nothing of node is loaded before the first request. */
export class HttpDispatch {
  readonly #options: DispatchOptions;
  readonly #agents: Agents;
  readonly #running = new Set<ClientRequest | Socket>();
  /** Where large bodies are received: threads may read it. */
  readonly #memory = new ChunkMemory(bulkBuffer, { shared: true });
  /** Connections for large bodies, by origin. */
  readonly #bulkLimiters = new Map<string, Limiter>();
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
      const bulk = call.bulk === true && isPlainCall(call) ? await this.#receiveBulk(call) : null;
      if (bulk !== null) return bulk;
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

  /** A large body, on a connection of its own; null where it has to come the ordinary way. */
  async #receiveBulk(call: Call): Promise<Answer | null> {
    const { signal, url } = call;
    const { env, insecureHosts, idleTimeout, clock, perHost } = this.#options;
    if (proxyFor(url, env) !== null) return null;
    const network = await this.#network();
    const secureContext = url.protocol === "https:" ? await this.#tls() : undefined;
    const limiter = this.#bulkLimiters.get(url.origin) ?? new Limiter(perHost);
    this.#bulkLimiters.set(url.origin, limiter);
    return await new Promise<Answer | null>((resolve, reject) => {
      const receive = async (): Promise<void> => {
        if (this.#closed) throw closedError();
        const { socket, isHeldUp, answer } = await bulkGet(call, {
          lookup: checkedLookup(network, call.permit ?? null),
          secureContext,
          rejectUnauthorized: !isListed(url, insecureHosts),
          memory: this.#memory,
          failure: this.#failure(call),
        });
        const closed = new Promise<void>((done) => socket.once("close", () => done()));
        this.#running.add(socket);
        const unwatch = watchIdle({
          clock,
          socket: () => socket,
          allowed: () => idleTimeout,
          excused: isHeldUp,
          onIdle: () => socket.destroy(new IdleError(`no byte for ${idleTimeout / 1000} s`)),
        });
        const unlisten = signal && this.#listeners.add(signal, () => socket.destroy(new Error("aborted")));
        try {
          const got = await answer;
          if (got === null) resolve(null);
          else {
            const { remoteAddress, ...rest } = got;
            const kind = remoteAddress === undefined ? undefined : this.#kindOf(remoteAddress);
            resolve({ ...rest, url, addressKind: kind });
          }
          // The place among the connections of the host is taken as long as there is one.
          await closed;
        } finally {
          unlisten?.();
          unwatch();
          this.#running.delete(socket);
        }
      };
      limiter.run(receive, signal).catch(reject);
    });
  }

  /** What an error of the connection means. */
  #failure({ signal, url }: Call): (error: unknown) => unknown {
    return (error) => {
      if (signal?.aborted) return abortError(signal);
      return this.#closed ? closedError() : networkError(error, url, {}, proxyFor(url, this.#options.env));
    };
  }

  #kindOf(address: string): AddressKind {
    return (this.#options.network?.kindOf ?? addressKind)(address);
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
    const lost = this.#failure(call);
    let response: IncomingMessage | null = null;
    let sourceError: { readonly error: unknown } | null = null;

    const failure = (error: unknown) =>
      sourceError !== null && signal?.aborted !== true ? sourceError.error : lost(error);
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
          addressKind: direct && remoteAddress !== undefined ? this.#kindOf(remoteAddress) : undefined,
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

/** Whether an answer waits for its reader, or has come whole. */
function isHeldUp(response: IncomingMessage): boolean {
  return response.isPaused() || response.readableLength > 0 || response.complete;
}

function plainHeaders(incoming: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}
