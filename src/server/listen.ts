import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { LadingError } from "../errors.js";
import { serveExchange } from "./exchange.js";
import type { Registry } from "./registry.js";

/** Where a registry listens, and whom it believes. */
export interface ListenOptions {
  /**
   * Where to listen. `127.0.0.1` and `localhost` mean both loopback families, on one port; `::1` that one alone.
   * @default 127.0.0.1
   */
  readonly host?: string | null | undefined;
  /** 0 takes a free one. @default 5050 */
  readonly port?: number | null | undefined;
  /**
   * Allows a host other than loopback for a registry without accounts, where everybody who reaches it may read, write and
   * delete.
   * @default false
   */
  readonly open?: boolean | null | undefined;
  /** Further names under which clients may reach it (`Host`), without port. */
  readonly hostNames?: readonly string[] | null | undefined;
  /**
   * Addresses of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; those of others are taken away.
   * @default none
   */
  readonly trustedProxies?: readonly string[] | null | undefined;
  /** How long a peer may neither send nor take a byte of a body, in ms. @default 60000 */
  readonly idleMs?: number | null | undefined;
  /** Bytes of a body that a peer has to send in as much time. @default 4096 */
  readonly leastBytes?: number | null | undefined;
  /** How long a peer may take for the head of a request, in ms. @default 60000 */
  readonly headersMs?: number | null | undefined;
  /** Connections that one address may have at a time; further ones are closed. @default 1000 */
  readonly connectionsPerAddress?: number | null | undefined;
  /** What went wrong with a connection; never a client's own trouble. */
  readonly onError?: ((error: unknown) => void) | null | undefined;
}

/** A registry that listens. */
export interface Listening {
  /** The URL to show: `http://localhost:5050`. */
  readonly url: string;
  /** One per address. */
  readonly urls: readonly string[];
  /**
   * Takes no new request, lets those that run end for `graceMs`, then cuts them off. The registry stays open.
   * @param graceMs @default 10000
   */
  close(graceMs?: number): Promise<void>;
}

const defaultPort = 5050;
const portTries = 20;

/**
 * Serves a registry over HTTP.
 * @throws LadingError `usage` for a host that is not loopback without `open`, `conflict` where the port is taken, `io`
 */
export async function listen(
  registry: Pick<Registry, "handle"> & Partial<Pick<Registry, "hasAccounts">>,
  given: ListenOptions | null = null,
): Promise<Listening> {
  const options = given ?? {};
  const host = options.host ?? "127.0.0.1";
  const port = options.port ?? defaultPort;
  // who has to prove who they are may come from anywhere
  const open = (options.open ?? false) || registry.hasAccounts === true;
  if (!open && !isLoopback(host)) {
    throw new LadingError(
      "usage",
      `${host} is not a loopback address: everybody who reaches it could write and delete`,
      {
        hint: "make accounts with `lading registry init`, allow it with --open, or listen on 127.0.0.1",
      },
    );
  }
  const isOurs = hostCheck(host, options.hostNames ?? [], open);
  const proxies = new Set(options.trustedProxies ?? []);
  const isTrusted = (address: string): boolean => proxies.has(address);
  const bounds = { idleMs: options.idleMs ?? 60_000, leastBytes: options.leastBytes ?? 4096 };
  let closing = false;
  let servers: readonly Server[] = [];
  const closeIdle = (): void => {
    for (const server of servers) server.closeIdleConnections();
  };
  const onRequest = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    // one that is kept alive after its last answer would hold the closing up
    response.on("close", () => {
      if (closing) setImmediate(closeIdle);
    });
    serveExchange(registry.handle, request, response, { ...bounds, isOurs, isTrusted, expectsContinue }).catch(
      (error: unknown) => {
        response.destroy();
        options.onError?.(error);
      },
    );
  };
  const onConnection = boundConnections(options.connectionsPerAddress ?? 1000);
  const addresses = host === "127.0.0.1" || host === "localhost" ? ["127.0.0.1", "::1"] : [host];
  servers = await bindAll(addresses, port, () =>
    makeServer({ onRequest, onConnection, headersMs: options.headersMs ?? 60_000 }),
  );
  for (const server of servers) server.on("error", (error) => options.onError?.(error));
  const urls = servers.map((server) => urlOf(server.address() as AddressInfo));
  const bound = (servers[0]?.address() as AddressInfo | undefined)?.port ?? port;
  return {
    url: addresses.length > 1 ? `http://localhost:${bound}` : (urls[0] ?? ""),
    urls,
    close: async (graceMs = 10_000) => {
      closing = true;
      const cut = setTimeout(() => {
        for (const server of servers) server.closeAllConnections();
      }, graceMs);
      await Promise.all(servers.map(closeServer));
      clearTimeout(cut);
    },
  };
}

interface ServerOptions {
  readonly onRequest: (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) => void;
  readonly onConnection: (socket: Socket) => void;
  readonly headersMs: number;
}

function makeServer({ onRequest, onConnection, headersMs }: ServerOptions): Server {
  const server = createServer({
    // the time of a whole request has no bound: the pace of its body has (Node's own default kills long pushes)
    requestTimeout: 0,
    headersTimeout: headersMs,
    // how often Node looks for those that take longer
    connectionsCheckingInterval: Math.min(headersMs, 30_000),
    keepAliveTimeout: 65_000,
    maxHeaderSize: 16 * 1024,
    highWaterMark: 64 * 1024,
    noDelay: true,
  });
  server.on("connection", onConnection);
  server.on("request", (request, response) => onRequest(request, response, false));
  // 100 Continue is sent once somebody wants the body, so that a refusal comes before it
  server.on("checkContinue", (request, response) => onRequest(request, response, true));
  return server;
}

/** Closes what one address has beyond its share, so that no one peer takes all descriptors. */
function boundConnections(most: number): (socket: Socket) => void {
  const counts = new Map<string, number>();
  return (socket) => {
    const address = socket.remoteAddress ?? "";
    const count = (counts.get(address) ?? 0) + 1;
    counts.set(address, count);
    socket.once("close", () => {
      const left = (counts.get(address) ?? 1) - 1;
      if (left === 0) counts.delete(address);
      else counts.set(address, left);
    });
    if (count > most) socket.destroy();
  };
}

async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

function urlOf({ address, family, port }: AddressInfo): string {
  return family === "IPv6" ? `http://[${address}]:${port}` : `http://${address}:${port}`;
}

/**
 * Which `Host` is ours. A page of somebody else's whose name points here (DNS rebinding) names another one; an
 * address can't be pointed elsewhere.
 */
function hostCheck(host: string, names: readonly string[], open: boolean): (header: string | undefined) => boolean {
  const known = new Set(["localhost", "host.docker.internal", "host.containers.internal", host, ...names]);
  return (header) => {
    // only HTTP/1.0 leaves it out, which no browser speaks
    if (header === undefined) return true;
    const name = header.replace(/:[0-9]+$/, "").toLowerCase();
    if (known.has(name)) return true;
    const address = name.replace(/^\[|\]$/g, "");
    return isLoopback(address) || (open && isAddress(address));
  };
}

function isAddress(text: string): boolean {
  return /^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$/.test(text) || /^[0-9a-f:.]*:[0-9a-f:.]*$/.test(text);
}

function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes(String((error as NodeJS.ErrnoException | null)?.code));
}

/** All addresses on one port; one that this machine does not have is left out, as long as there is another. */
async function bindAll(addresses: readonly string[], port: number, make: () => Server): Promise<readonly Server[]> {
  for (let attempt = 1; ; attempt++) {
    const servers: Server[] = [];
    try {
      for (const address of addresses) {
        const server = make();
        const wanted = (servers[0]?.address() as AddressInfo | undefined)?.port ?? port;
        try {
          await bind(server, address, wanted);
          servers.push(server);
        } catch (error) {
          if (servers.length === 0 || !isErrno(error, "EADDRNOTAVAIL", "EAFNOSUPPORT")) throw error;
        }
      }
      return servers;
    } catch (error) {
      await Promise.all(servers.map(closeServer));
      // a port that was free for one family only
      if (port === 0 && attempt < portTries && isErrno(error, "EADDRINUSE")) continue;
      if (isErrno(error, "EADDRINUSE")) {
        throw new LadingError("conflict", `port ${port} is taken by another program`, {
          hint: "choose another port with --port, or 0 for a free one",
          cause: error,
        });
      }
      const reason = error instanceof Error ? error.message : String(error);
      throw new LadingError("io", `can't listen on port ${port}: ${reason}`, { cause: error });
    }
  }
}

async function bind(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, ipv6Only: host.includes(":") && host !== "::" }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
