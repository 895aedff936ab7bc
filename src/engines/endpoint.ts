import { LadingError } from "../errors.js";

/** Files of a TLS connection to an engine, as `docker` names them; null where there is none. */
export interface EngineTls {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** False only where a docker context says so itself (`SkipTLSVerify`). */
  readonly verify: boolean;
}

/** Where an engine answers. */
export type EngineEndpoint =
  /** A Unix socket, or a named pipe on Windows (`\\.\pipe\…`). */
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly tls: EngineTls | null }
  | {
      readonly kind: "ssh";
      readonly host: string;
      readonly user: string | null;
      readonly port: number | null;
      /** The socket on the other machine; null for what its client finds itself. */
      readonly socketPath: string | null;
      /** The client that is run there: `docker system dial-stdio` or `podman system dial-stdio`. */
      readonly program: "docker" | "podman";
      readonly identityFile: string | null;
    };

export interface EndpointOptions {
  /** Names what carried the text in errors: `DOCKER_HOST`, `docker context "lab"`. */
  readonly origin: string;
  readonly tls?: EngineTls | null | undefined;
  readonly program?: "docker" | "podman" | undefined;
  readonly identityFile?: string | null | undefined;
}

/** Host, user and socket path of an `ssh://` endpoint become arguments of a program: nothing else is let through. */
const sshHost = /^[A-Za-z0-9_][A-Za-z0-9._-]*$|^[0-9A-Fa-f:]+$/;
const sshUser = /^[A-Za-z0-9_][A-Za-z0-9._@-]*$/;
const sshPath = /^\/[A-Za-z0-9._/-]+$/;

/**
 * Reads `unix://`, `tcp://`, `http://`, `https://`, `ssh://`, `npipe://` and `fd://`-less paths as `docker` does.
 * @throws LadingError `config-invalid`
 */
export function parseEndpoint(text: string, options: EndpointOptions): EngineEndpoint {
  const { origin } = options;
  const invalid = (why: string, cause?: unknown): LadingError =>
    new LadingError("config-invalid", `${origin} is not an engine's address: ${why}`, {
      hint: "for example unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host",
      cause,
    });

  const unix = /^unix:\/\/(.*)$/s.exec(text)?.[1];
  if (unix !== undefined || text.startsWith("/")) {
    const path = unix ?? text;
    if (!path.startsWith("/") || path.includes("\0")) throw invalid("a Unix socket needs an absolute path");
    return { kind: "socket", path };
  }
  const pipe = /^npipe:(?:\/\/)?([/\\]{2}[^/\\]+[/\\]pipe[/\\][A-Za-z0-9._-]+)$/.exec(text)?.[1];
  if (pipe !== undefined) return { kind: "socket", path: pipe.replaceAll("/", "\\") };

  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw invalid("it is no URL", cause);
  }
  if (url.password !== "") throw invalid("a password does not belong into it");
  if (url.search !== "" || url.hash !== "") throw invalid("it has a query or a fragment");
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  switch (url.protocol) {
    case "tcp:":
    case "http:":
    case "https:": {
      if (hostname === "") throw invalid("it names no host");
      if (url.username !== "") throw invalid("a user name does not belong into it");
      if (url.pathname !== "" && url.pathname !== "/") throw invalid("a path is not supported");
      const tls = options.tls ?? (url.protocol === "https:" ? { ca: null, cert: null, key: null, verify: true } : null);
      return { kind: "tcp", host: hostname, port: tcpPort(url, tls !== null), tls };
    }
    case "ssh:": {
      // Not decoded: the characters that are allowed need no percent signs.
      const user = url.username;
      if (!sshHost.test(hostname)) throw invalid("the host of ssh:// has characters that are not allowed");
      if (user !== "" && !sshUser.test(user)) throw invalid("the user of ssh:// has characters that are not allowed");
      const path = url.pathname === "/" ? "" : url.pathname;
      if (path !== "" && !sshPath.test(path)) throw invalid("the path of ssh:// has characters that are not allowed");
      return {
        kind: "ssh",
        host: hostname,
        user: user === "" ? null : user,
        port: url.port === "" ? null : Number(url.port),
        socketPath: path === "" ? null : path,
        program: options.program ?? "docker",
        identityFile: options.identityFile ?? null,
      };
    }
    default:
      throw invalid(`${url.protocol}// is not supported`);
  }
}

function tcpPort(url: URL, tls: boolean): number {
  if (url.port !== "") return Number(url.port);
  // The URL parser drops 80 and 443 where they are the scheme's own.
  if (url.protocol === "http:") return 80;
  if (url.protocol === "https:") return 443;
  return tls ? 2376 : 2375;
}

/** The endpoint for people: never with credentials. */
export function endpointText(endpoint: EngineEndpoint): string {
  switch (endpoint.kind) {
    case "socket":
      return endpoint.path.startsWith("\\")
        ? `npipe://${endpoint.path.replaceAll("\\", "/")}`
        : `unix://${endpoint.path}`;
    case "tcp":
      return `${endpoint.tls === null ? "http" : "https"}://${urlHost(endpoint.host)}:${endpoint.port}`;
    case "ssh": {
      const user = endpoint.user === null ? "" : `${endpoint.user}@`;
      const port = endpoint.port === null ? "" : `:${endpoint.port}`;
      return `ssh://${user}${urlHost(endpoint.host)}${port}${endpoint.socketPath ?? ""}`;
    }
  }
}

function urlHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** Addresses that never leave the machine. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * An engine behind plain TCP gives root to whoever can reach it, and shows every byte: it is spoken to on loopback
 * only, unless its host is listed as insecure.
 * @throws LadingError `unsafe-url`
 */
export function requireSafeEndpoint(endpoint: EngineEndpoint, insecure: readonly string[], origin: string): void {
  if (endpoint.kind !== "tcp" || endpoint.tls !== null || isLoopbackHost(endpoint.host)) return;
  if (insecure.includes(endpoint.host) || insecure.includes(`${urlHost(endpoint.host)}:${endpoint.port}`)) return;
  throw new LadingError("unsafe-url", `${origin} is ${endpointText(endpoint)}: an engine on another host without TLS`, {
    hint: "use ssh://, or TLS with DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or list the host as insecure",
  });
}
