import { readFile } from "node:fs/promises";
import { Agent, type AgentOptions, type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as TlsAgent } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { LadingError, throwIfAborted } from "../errors.js";
import { limits } from "../oci/limits.js";
import { type EngineEndpoint, type EngineTls, endpointText } from "./endpoint.js";
import { connectionError, statusError } from "./engine-error.js";
import { isJsonObject } from "./json-lines.js";
import { programPath } from "./program-path.js";
import { SshSocket } from "./ssh-socket.js";

/** The newest version of Docker's Engine API that is spoken; an older engine is spoken to in its own. */
const newestApiVersion = "1.51";
/** Long enough for a socket-activated engine to start. */
const pingTimeout = 20_000;

export interface EngineApiOptions {
  readonly endpoint: EngineEndpoint;
  /** For `ssh`: PATH, agent and home. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
}

export interface EnginePing {
  /** The version that is spoken from now on: the lower one of the engine's and ours. */
  readonly apiVersion: string;
  /** The engine is Podman, with this version of its own API. */
  readonly libpodVersion: string | null;
}

export interface EngineRequest {
  readonly method?: "GET" | "POST" | "DELETE";
  /** Without the version: `/images/json`; `/libpod/…` for Podman's own API. */
  readonly path: string;
  /** Undefined values are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** A tar, streamed. */
  readonly body?: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
  /** Completes "… failed": `listing images`. */
  readonly doing: string;
}

/** The handful of Docker Engine API calls, over socket, pipe, TCP, TLS or ssh. */
export class EngineApi {
  readonly endpoint: EngineEndpoint;
  readonly #options: EngineApiOptions;
  #agent: Promise<Agent> | null = null;
  #ping: Promise<EnginePing> | null = null;
  #closed = false;

  constructor(options: EngineApiOptions) {
    this.endpoint = options.endpoint;
    this.#options = options;
  }

  /**
   * Asks who is there and agrees on the version of the API. One request, remembered.
   * @throws LadingError `engine-unavailable` where nothing answers, `tls`
   */
  ping(signal?: AbortSignal): Promise<EnginePing> {
    this.#ping ??= this.#askVersion(signal).catch((error: unknown) => {
      // The next caller asks again: a cancelled question says nothing about the engine.
      this.#ping = null;
      throw error;
    });
    return this.#ping;
  }

  async #askVersion(signal?: AbortSignal): Promise<EnginePing> {
    const timeout = AbortSignal.timeout(pingTimeout);
    const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    let response: IncomingMessage;
    try {
      response = await this.#exchange({ path: "/_ping", signal: either, doing: "asking for the version" }, "/_ping");
      response.resume();
    } catch (error) {
      throwIfAborted(signal);
      if (timeout.aborted) throw this.#silent(`no answer within ${pingTimeout / 1000} s`, error);
      // A server that answers nonsense or hangs up is no engine.
      if (error instanceof LadingError && error.code === "engine-failed") throw this.#silent(error.message, error);
      throw error;
    }
    if (response.statusCode !== 200) throw this.#silent(`it answers with status ${response.statusCode}`);
    const theirs = response.headers["api-version"];
    const libpod = response.headers["libpod-api-version"];
    if (typeof theirs !== "string" || !/^\d+\.\d+$/.test(theirs)) throw this.#silent("its answer is not an engine's");
    return {
      apiVersion: compareVersions(theirs, newestApiVersion) < 0 ? theirs : newestApiVersion,
      libpodVersion: typeof libpod === "string" && /^\d+\.\d+\.\d+/.test(libpod) ? libpod : null,
    };
  }

  #silent(why: string, cause?: unknown): LadingError {
    return new LadingError(
      "engine-unavailable",
      `the engine at ${endpointText(this.endpoint)} does not answer: ${why}`,
      {
        hint: "restart it, or work without an engine: --engine store",
        cause,
      },
    );
  }

  /** One call whose answer is a small JSON document, or nothing: then null. Bounded. */
  async json(request: EngineRequest): Promise<unknown> {
    const response = await this.#send(request);
    const text = await this.#text(response, limits.listBody, request);
    if (text.trim() === "") return null;
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new LadingError("engine-failed", `${request.doing} failed: the engine's answer is no JSON`, { cause });
    }
  }

  /** One call whose answer is a stream, to be read to its end or left by `return()`. */
  async stream(request: EngineRequest): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#send(request);
    return this.#body(response, request);
  }

  /** Ends all connections, ssh children included. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const agent = await this.#agent?.catch(() => null);
    agent?.destroy();
  }

  async #send(request: EngineRequest): Promise<IncomingMessage> {
    const { apiVersion, libpodVersion } = await this.ping(request.signal);
    const version = request.path.startsWith("/libpod/") ? (libpodVersion ?? apiVersion) : apiVersion;
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(key, `${value}`);
    const suffix = query.size === 0 ? "" : `?${query}`;
    const response = await this.#exchange(request, `/v${version}${request.path}${suffix}`);
    const status = response.statusCode ?? 0;
    if (status < 300 || status === 304) return response;
    const text = await this.#text(response, limits.errorBody, request).catch((error: unknown) => {
      throwIfAborted(request.signal);
      return String(error);
    });
    throw statusError(status, errorMessage(text), request.doing);
  }

  async #exchange(request: EngineRequest, target: string): Promise<IncomingMessage> {
    const { signal, body } = request;
    throwIfAborted(signal);
    if (this.#closed) throw new LadingError("closed", "the connection to the engine is closed");
    this.#agent ??= this.#openAgent();
    const outgoing = httpRequest({
      agent: await this.#agent,
      ...this.#address(),
      method: request.method ?? "GET",
      path: target,
      headers: {
        Host: this.endpoint.kind === "tcp" ? `${this.endpoint.host}:${this.endpoint.port}` : "docker",
        "User-Agent": "lading",
        ...(body === undefined ? {} : { "Content-Type": "application/x-tar" }),
        ...(body === undefined && request.method === "POST" ? { "Content-Length": "0" } : {}),
      },
      ...(signal === undefined ? {} : { signal }),
    });
    // Resolves with the answer, which may come before the body has been sent.
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once("response", resolve);
      outgoing.on("error", (error) => reject(connectionError(error, this.endpoint, signal)));
      outgoing.once("close", () =>
        reject(connectionError(new Error("closed without an answer"), this.endpoint, signal)),
      );
    });
    if (body === undefined) {
      outgoing.end();
      return await answer;
    }
    answer.catch(() => {});
    const failed = await sendBody(outgoing, body, answer);
    if (failed === null) return await answer;
    outgoing.destroy();
    throwIfAborted(signal);
    throw failed.error;
  }

  #address(): Record<string, unknown> {
    switch (this.endpoint.kind) {
      case "socket":
        return { socketPath: this.endpoint.path };
      case "tcp":
        return {
          host: this.endpoint.host,
          port: this.endpoint.port,
          ...(this.endpoint.tls === null ? {} : { protocol: "https:" }),
        };
      case "ssh":
        return { host: "docker" };
    }
  }

  async #openAgent(): Promise<Agent> {
    const { endpoint } = this;
    if (endpoint.kind === "tcp" && endpoint.tls !== null) return await openTlsAgent(endpoint.tls, endpoint.host);
    if (endpoint.kind !== "ssh") return new Agent({ keepAlive: false });
    const program = await programPath("ssh", this.#options.env, this.#options.platform);
    if (program === null) {
      throw new LadingError(
        "engine-unavailable",
        `${endpointText(endpoint)} needs the program ssh, which is not on PATH`,
        {
          hint: "install an ssh client, or use --engine store",
        },
      );
    }
    // Kept alive: each connection is a process and a login on the other machine.
    return new SshAgent(
      { keepAlive: true, maxFreeSockets: 1 },
      () => new SshSocket(program, endpoint, this.#options.env),
    );
  }

  async *#body(response: IncomingMessage, request: EngineRequest): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) yield chunk;
    } catch (error) {
      throw connectionError(error, this.endpoint, request.signal);
    } finally {
      response.destroy();
    }
  }

  async #text(response: IncomingMessage, limit: number, request: EngineRequest): Promise<string> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this.#body(response, request)) {
      size += chunk.byteLength;
      if (size > limit) {
        throw new LadingError("limit-exceeded", `${request.doing}: the engine's answer is longer than ${limit} bytes`);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  }
}

class SshAgent extends Agent {
  readonly #connect: () => Duplex;
  constructor(options: AgentOptions, connect: () => Duplex) {
    super(options);
    this.#connect = connect;
  }
  override createConnection(): Duplex {
    return this.#connect();
  }
}

async function openTlsAgent(tls: EngineTls, host: string): Promise<Agent> {
  const read = async (path: string | null): Promise<string | undefined> => {
    if (path === null) return undefined;
    try {
      return await readFile(path, "utf8");
    } catch (cause) {
      throw new LadingError("config-invalid", `the engine's TLS file ${path} can't be read`, {
        hint: "DOCKER_CERT_PATH must hold ca.pem, cert.pem and key.pem",
        cause,
      });
    }
  };
  const [ca, cert, key] = await Promise.all([read(tls.ca), read(tls.cert), read(tls.key)]);
  return new TlsAgent({
    keepAlive: false,
    rejectUnauthorized: tls.verify,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
}

/**
 * Writes a body as fast as the engine takes it. An engine that refuses answers before the end: then the rest is not
 * sent and its answer counts. Gives the body's own failure, which counts for more than what the engine makes of it.
 */
async function sendBody(
  outgoing: ClientRequest,
  body: AsyncIterable<Uint8Array>,
  answer: Promise<IncomingMessage>,
): Promise<{ readonly error: unknown } | null> {
  let stopped = false;
  answer.then(
    (response) => {
      stopped ||= (response.statusCode ?? 0) >= 300;
    },
    () => {
      stopped = true;
    },
  );
  try {
    for await (const chunk of body) {
      if (stopped || outgoing.destroyed) return null;
      if (!outgoing.write(chunk)) await drained(outgoing);
    }
  } catch (error) {
    return { error };
  }
  outgoing.end();
  return null;
}

function drained(outgoing: ClientRequest): Promise<void> {
  if (outgoing.destroyed || !outgoing.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      for (const event of ["drain", "close", "error", "response"]) outgoing.off(event, settle);
      resolve();
    };
    for (const event of ["drain", "close", "error", "response"]) outgoing.on(event, settle);
  });
}

function errorMessage(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value) && typeof value.message === "string") return value.message;
  } catch {
    // Plain text, as proxies and very old engines answer.
  }
  return text;
}

/** By number, part by part: 1.9 is older than 1.41. */
function compareVersions(left: string, right: string): number {
  const [leftParts, rightParts] = [left.split(".").map(Number), right.split(".").map(Number)];
  for (let index = 0; index < Math.max(leftParts.length, rightParts.length); index++) {
    const difference = (leftParts[index] ?? 0) - (rightParts[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Whether a version of the API is new enough for a feature. */
export function versionAtLeast(version: string, wanted: string): boolean {
  return compareVersions(version, wanted) >= 0;
}
