import { setMaxListeners } from "node:events";
import type { Config } from "../config/config.js";
import { nameContext } from "../config/config.js";
import { unlessAborted } from "../content/abortable.js";
import type { BlobEvent } from "../content/copy.js";
import type { LayoutStore } from "../content/layout.js";
import { Limiter } from "../content/limiter.js";
import { SharedWork } from "../content/shared-work.js";
import type { PutResult } from "../content/store.js";
import type { DetectedEngine } from "../engines/engine.js";
import { abortError, isLadingError, LadingError, type Side, throwIfAborted } from "../errors.js";
import { Parser } from "../image/parser.js";
import { type RemoteImage, wireName } from "../image/remote-image.js";
import type { FetchCredentials } from "../oci/credential.js";
import type { Digest } from "../oci/digest.js";
import type { Network } from "../registry/checked-lookup.js";
import type { RegistryClient } from "../registry/client.js";
import type { Clock } from "../registry/clock.js";
import type { Repository } from "../registry/repository.js";
import { type CallInput, type CallOptions, checkCallOptions, imageText } from "./call-options.js";
import type { EngineRoute } from "./engine-route.js";
import { MountCandidates } from "./mount-candidates.js";
import { RegistryConnections } from "./registry-connections.js";

export type { CallOptions } from "./call-options.js";

export interface ContextOptions {
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fetchCredentials?: FetchCredentials | null | undefined;
  readonly onWarning?: ((text: string) => void) | null | undefined;
  readonly onDebug?: ((text: string) => void) | null | undefined;
  /** How names become addresses: a seam for tests. @default the system's way */
  readonly network?: Network | undefined;
  /** Time and the jitter of waits, as the registries' clients see them: seams for tests. @default the system's */
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
}

/** Milliseconds that a cancelled call has to let go of sockets, files and children before it is left to itself. */
const patience = 4000;

/**
 * What the operations of one client share: connections, limits, the engine, the store, and the list of what runs.
 * Nothing is opened before it is asked for.
 */
export class ClientContext {
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly parser: Parser;
  readonly blobs: Limiter;
  readonly exports: Limiter;
  readonly transfers: Limiter;
  readonly mounts = new MountCandidates();
  readonly shared = new SharedWork<PutResult, BlobEvent>();
  readonly #options: ContextOptions;
  readonly #connections: RegistryConnections;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  readonly #identities = new WeakMap<object, number>();
  #identityCount = 0;
  readonly #detection = new SharedWork<DetectedEngine, never>();
  #engine: DetectedEngine | null = null;
  #store: Promise<LayoutStore> | null = null;
  #closed: Promise<void> | null = null;

  constructor(options: ContextOptions) {
    this.#options = options;
    this.config = options.config;
    this.env = options.env;
    this.parser = new Parser(nameContext(options.config));
    this.blobs = new Limiter(options.config.concurrency.blobs);
    this.exports = new Limiter(options.config.concurrency.exports);
    this.transfers = new Limiter(options.config.concurrency.transfers);
    this.#connections = new RegistryConnections({
      config: options.config,
      env: options.env,
      fetchCredentials: options.fetchCredentials ?? null,
      onWarning: (text) => this.warn(text),
      onDebug: options.onDebug ?? null,
      network: options.network,
      clock: options.clock,
      random: options.random,
    });
  }

  /** Whether the program that opened the client answers for credentials itself: then nothing else is asked. */
  get fetchesCredentials(): boolean {
    return Boolean(this.#options.fetchCredentials);
  }

  warn(text: string): void {
    this.#options.onWarning?.(text);
  }

  debug(text: string): void {
    this.#options.onDebug?.(text);
  }

  /**
   * Runs one call of the client: refused once the client is closed, cancelled by the caller's signal or by `close`,
   * and whatever it throws leaves as a LadingError that names the operation.
   */
  run<T>(operation: string, input: CallInput, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const work = this.#call(operation, input, task);
    const tracked = work.then(
      () => undefined,
      () => undefined,
    );
    this.#running.add(tracked);
    void tracked.then(() => this.#running.delete(tracked));
    return work;
  }

  async #call<T>(
    operation: string,
    { options, image }: CallInput,
    task: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    // Before anything can fail: a reader of the events ends with the call, however that ends.
    const detach = attach(options?.progress);
    let own: AbortSignal | null = null;
    let joined = this.#closing.signal;
    try {
      if (joined.aborted) throw new LadingError("closed", "the client is closed");
      checkCallOptions(options);
      own = options?.signal ?? null;
      joined = AbortSignal.any(own ? [joined, own] : [joined]);
      // Each transfer, blob and request under way listens to it, and stops when it is done.
      setMaxListeners(0, joined);
      throwIfAborted(joined);
      return await unlessAborted(task(joined), joined, patience);
    } catch (error) {
      throw this.#leave(error, joined, own).with({ operation, image: imageText(image) });
    } finally {
      detach();
    }
  }

  #leave(error: unknown, joined: AbortSignal, own: AbortSignal | null): LadingError {
    if (isLadingError(error) && (error.code === "callback-failed" || error.code === "closed")) return error;
    // What broke because everything was torn down is not the reason; the signal is.
    if (own?.aborted) return abortError(own);
    if (joined.aborted) return abortError(joined);
    if (isLadingError(error)) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new LadingError("internal", `unexpected failure: ${message}`, { cause: error });
  }

  /** The engine in use, where one was found and the client is not closed. */
  get detected(): DetectedEngine | null {
    return this.#closing.signal.aborted ? null : this.#engine;
  }

  /** The engine in use, found at the first call. A failure is not remembered: the engine may be started meanwhile. */
  async engine(signal: AbortSignal): Promise<DetectedEngine> {
    if (this.#engine !== null) return this.#engine;
    const find = (workSignal: AbortSignal) => this.#findEngine(workSignal);
    return (await this.#detection.run("engine", find, { signal })).value;
  }

  async #findEngine(signal: AbortSignal): Promise<DetectedEngine> {
    const [{ detectEngine }, { homedir }] = await Promise.all([import("../engines/detect.js"), import("node:os")]);
    const detected = await detectEngine({
      engine: this.config.engine,
      env: this.env,
      platform: process.platform,
      homeDirectory: this.env.HOME ?? homedir(),
      insecure: this.config.insecure,
      signal,
      store: async () => {
        const { StoreEngine } = await import("../engines/store.js");
        return new StoreEngine(await this.store());
      },
    });
    this.#engine = detected;
    this.debug(`engine: ${detected.kind} (${detected.reason})`);
    return detected;
  }

  /** The content store on disk: the hub of all transfers, and the store engine's home. */
  store(): Promise<LayoutStore> {
    this.#store ??= (async () => {
      const { LayoutStore } = await import("../content/layout.js");
      return new LayoutStore(this.config.store, { onWarning: (text) => this.warn(text) });
    })();
    return this.#store;
  }

  /** Runs a transfer through the store: what it uses is not collected before it has ended. */
  async holding<Result>(work: () => Promise<Result>): Promise<Result> {
    const release = await (await this.store()).lease();
    try {
      return await work();
    } finally {
      await release();
    }
  }

  /** Remembers which repository has an image of the store, so that it can be repaired from there. Never fails. */
  async rememberOrigin(root: Digest, image: RemoteImage): Promise<void> {
    await (await this.store()).origins.remember(root, wirePath(image)).catch(() => {});
  }

  /**
   * What passed through the store for another engine goes, oldest use first, where it is over the limit, or where
   * `needFree` bytes are wanted on the disk.
   */
  async trimCache(needFree = 0): Promise<void> {
    try {
      const { evictCache } = await import("../content/collect.js");
      await evictCache(await this.store(), { limit: this.config.cacheLimit, needFree });
    } catch (error) {
      // The transfer itself is done.
      this.warn(`the cache could not be trimmed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /**
   * Better to know before an hour of transfer than at its end. What is cached for other engines makes room first.
   * @throws LadingError `no-space`
   */
  async requireSpace(needed: number): Promise<void> {
    if (needed === 0) return;
    const store = await this.store();
    if (needed <= (await store.freeBytes())) return;
    await this.trimCache(needed);
    const free = await store.freeBytes();
    if (needed <= free) return;
    throw new LadingError("no-space", `this needs ${needed} bytes, and ${store.directory} has ${free} free`, {
      side: "destination",
      hint: "free disk space, or choose another folder with --store",
    });
  }

  /** The registry of a cluster or an external host. */
  registry(target: { readonly cluster: string } | { readonly host: string }): Promise<RegistryClient> {
    return this.#connections.registry(target);
  }

  /** The repository of an image, with the credentials of this call. */
  repository(image: RemoteImage, side: Side, options: CallOptions = {}): Promise<Repository> {
    return this.#connections.repository(image, side, options.fetchCredentials ?? null);
  }

  /** The repository as an engine reaches it by itself; null where it can't. */
  engineRoute(
    image: RemoteImage,
    options: CallOptions,
    request: Parameters<RegistryConnections["engineRoute"]>[2],
  ): Promise<EngineRoute | null> {
    return this.#connections.engineRoute(image, options.fetchCredentials ?? null, request);
  }

  /** A number that tells the credentials of calls apart; 0 for the client's own. */
  credential({ fetchCredentials }: CallOptions): number {
    return fetchCredentials ? this.identity(fetchCredentials) : 0;
  }

  /** A number that tells objects apart, for keys of shared work. */
  identity(object: object): number {
    let id = this.#identities.get(object);
    if (id === undefined) {
      this.#identityCount += 1;
      id = this.#identityCount;
      this.#identities.set(object, id);
    }
    return id;
  }

  /** Fires when the client is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Cancels what runs, waits for it, and lets go of connections, files and children. */
  close(reason: unknown = new Error("the client is being closed")): Promise<void> {
    this.#closed ??= (async () => {
      this.#closing.abort(reason);
      await Promise.all(this.#running);
      await this.#engine?.engine.close();
      await this.#connections.close();
    })();
    return this.#closed;
  }
}

/** Tells a progress object that wants to know it (`progressEvents()`) that a transfer begins; what it gives back, that it is over. */
function attach(progress: unknown): () => void {
  const candidate = progress as { attach?: unknown } | null | undefined;
  return typeof candidate?.attach === "function" ? (candidate as { attach(): () => void }).attach() : () => {};
}

/** `host[:port]/path` of an image on the wire: what every tool takes in front of `@digest` or `:tag`. */
export function wirePath(image: RemoteImage): string {
  const { registry, repository } = wireName(image);
  return `${registry}/${repository}`;
}
