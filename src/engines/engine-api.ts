import { type Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { LadingError, throwIfAborted } from "../errors.js";
import { type LimitName, limits } from "../oci/limits.js";
import { type EngineEndpoint, endpointText } from "./endpoint.js";
import { type ConnectionOptions, openAgent } from "./engine-agent.js";
import { connectionError, statusError } from "./engine-error.js";
import { isJsonObject } from "./json-lines.js";
import { sendBody } from "./send-body.js";

/** The newest version of Docker's Engine API that is spoken; an older engine is spoken to in its own. */
const newestApiVersion = "1.51";
/** Long enough for a socket-activated engine to start. */
const pingTimeout = 20_000;

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
  /** Who asks, where the engine is to speak to a registry: a JSON document. @see {@link registryAuth} */
  readonly registryAuth?: string;
  readonly signal?: AbortSignal | undefined;
  /** Completes "… failed": `listing images`. */
  readonly doing: string;
}

/** The handful of Docker Engine API calls, over socket, pipe, TCP, TLS or ssh. */
export class EngineApi {
  readonly endpoint: EngineEndpoint;
  readonly #options: ConnectionOptions;
  #agent: Promise<Agent> | null = null;
  #ping: Promise<EnginePing> | null = null;
  #closed = false;

  constructor(options: ConnectionOptions) {
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
    const text = await this.#text(response, "listBody", request);
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
    const text = await this.#text(response, "errorBody", request).catch((error: unknown) => {
      throwIfAborted(request.signal);
      return String(error);
    });
    throw statusError(status, errorMessage(text), request.doing);
  }

  async #exchange(request: EngineRequest, target: string): Promise<IncomingMessage> {
    const { signal, body } = request;
    throwIfAborted(signal);
    if (this.#closed) throw new LadingError("closed", "the connection to the engine is closed");
    this.#agent ??= openAgent(this.#options);
    const outgoing = httpRequest({
      agent: await this.#agent,
      ...this.#address(),
      method: request.method ?? "GET",
      path: target,
      headers: {
        Host: this.endpoint.kind === "tcp" ? `${this.endpoint.host}:${this.endpoint.port}` : "docker",
        "User-Agent": "lading",
        ...(body === undefined ? {} : { "Content-Type": "application/x-tar" }),
        ...(request.registryAuth === undefined ? {} : { "X-Registry-Auth": request.registryAuth }),
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
        // Without a server name node looks whether the Host header is an address, with an expression that takes ms to compile.
        return { socketPath: this.endpoint.path, servername: "" };
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

  async *#body(response: IncomingMessage, request: EngineRequest): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) yield chunk;
    } catch (error) {
      throw connectionError(error, this.endpoint, request.signal);
    } finally {
      response.destroy();
    }
  }

  async #text(response: IncomingMessage, limit: LimitName, request: EngineRequest): Promise<string> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this.#body(response, request)) {
      size += chunk.byteLength;
      if (size > limits[limit]) {
        const message = `${request.doing}: the engine's answer is longer than ${limits[limit]} bytes`;
        throw new LadingError("limit-exceeded", message, { limit });
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  }
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
