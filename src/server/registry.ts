import { LadingError } from "../errors.js";
import type { WireHandler, WireRequest, WireResponse } from "../oci/wire.js";
import type { AccountService } from "./accounts/account-service.js";
import type { Accounts } from "./accounts/accounts.js";
import { type AdoptBlobRequest, adoptBlob, type BlobPathRequest, blobPath } from "./adopt.js";
import { type Authorize, allowEverything } from "./authorize.js";
import { getBase, instanceHeaders } from "./base.js";
import { deleteBlob, getBlob } from "./blobs.js";
import { getCatalog } from "./catalog.js";
import { asked, type Context, defaultLimits, type Exchange, type RegistryLimits } from "./context.js";
import { Fault } from "./fault.js";
import { handleFetch } from "./fetch.js";
import { type AccountsOptions, lazyAccounts } from "./lazy-accounts.js";
import { deleteManifest, getManifest, putManifest } from "./manifests.js";
import { Quotas } from "./quotas.js";
import { getReferrers } from "./referrers.js";
import { refusal } from "./refusal.js";
import { replyFailure, replyFault } from "./reply.js";
import { mountSource, parseRoute, type Route } from "./route.js";
import { FilesystemStorage } from "./storage/filesystem.js";
import { MemoryStorage } from "./storage/memory.js";
import type { Storage } from "./storage/storage.js";
import { getTags } from "./tags.js";
import { createUpkeep, type Upkeep } from "./upkeep.js";
import { UploadSessions } from "./upload-sessions.js";
import { deleteUpload, getUpload, patchUpload, postUpload, putUpload } from "./uploads.js";

/** What a registry keeps its content in, and how it decides. */
export interface RegistryOptions {
  /** `memory` lives as long as the registry; a folder is made where it is missing, and may be shared by processes. */
  readonly storage: "memory" | { readonly directory: string };
  /**
   * Whether what was acknowledged survives a power cut (`full`) or only the end of the process (`fast`).
   * @default full
   */
  readonly durability?: "full" | "fast" | null | undefined;
  /** The path under which the registry is mounted, `/registry` for `/registry/v2/`. @default none */
  readonly prefix?: string | null | undefined;
  /** Decides about every request. @default everything is allowed */
  readonly authorize?: Authorize | null | undefined;
  /**
   * Keeps accounts in the storage, and lets nobody do anything that they don't allow; in place of `authorize`.
   * @default false
   */
  readonly accounts?: boolean | AccountsOptions | null | undefined;
  /** Whether tags, manifests and blobs may be deleted at all. @default true */
  readonly deletes?: boolean | null | undefined;
  /**
   * Whether a mount without `from` finds blobs of other repositories that the caller may read.
   * @default true, with accounts false: it tells whether a blob is somewhere
   */
  readonly automaticMount?: boolean | null | undefined;
  /** Whether manifests are taken before (or without) the content that they name. @default false */
  readonly sparse?: boolean | null | undefined;
  readonly limits?: Partial<RegistryLimits> | null | undefined;
  /** What went wrong in the registry itself, which clients only see as a 500. */
  readonly onError?: ((error: unknown) => void) | null | undefined;
  /** Called once a writer has waited a second for another process, `pid` where it is known. */
  readonly onWaiting?: ((holder: { readonly pid: number | null }) => void) | null | undefined;
  /** ms since the epoch. @default Date.now */
  readonly now?: (() => number) | null | undefined;
}

/** A registry as a value: a request goes in, a response comes out. */
export interface Registry {
  /**
   * The registry itself. Never rejects but for `request.signal`. Chunks of a request's body must not be changed
   * before the promise settles.
   */
  readonly handle: WireHandler;
  /** The same for the web's `Request` and `Response`. */
  readonly fetch: (request: Request) => Promise<Response>;
  /**
   * Makes a verified, read-only file of another store a blob of a repository by reflink or hard link: for a store on the
   * same file system, in this process alone. The bytes are not read again; a file with another size is not taken.
   * False where it cannot be done, and the blob must be sent: the storage is memory or on another file system, the
   * file is not sealed, or there is an `authorize`, which is asked about requests alone.
   * @throws LadingError `cancelled`, `config-invalid`
   */
  adoptBlob(request: AdoptBlobRequest): Promise<boolean>;
  /**
   * The file of a blob that the repository may read: verified, read-only, and never written again. It may be linked,
   * never moved or changed. Null where there is none, or it must be asked for by a request.
   */
  blobPath(request: BlobPathRequest): Promise<string | null>;
  /** Whether it has accounts: without them whoever reaches it may do everything that `authorize` allows. */
  readonly hasAccounts: boolean;
  /**
   * Its accounts, for whoever has this object: nobody is asked for a password here.
   * @throws LadingError `usage` for a registry without accounts
   */
  accounts(): Promise<Accounts>;
  /**
   * Makes the first account: an admin with a password that is made up, and ends after a day unless it is changed.
   * `keepPassword` leaves it in the storage too (`auth/registry/first-password`, for this user alone) until it is changed.
   * @throws LadingError `conflict` where there are accounts already, `usage` for a registry without accounts
   */
  initAccounts(
    name: string,
    options?: { readonly keepPassword?: boolean },
  ): Promise<{ readonly user: string; readonly password: string }>;
  /**
   * Lets whoever may read the storage's files manage the accounts while it is served: what proves it is kept there.
   * Ends with `close`.
   * @throws LadingError `usage` for a registry without accounts
   */
  admitOperator(): Promise<void>;
  /**
   * Makes a new key for tokens; what the key before it signed stays valid until it ends.
   * @throws LadingError `usage` for a registry without accounts
   */
  rotateKeys(): Promise<void>;
  /** What its operator does: collect, check, back up, … */
  readonly upkeep: Upkeep;
  /**
   * Looks at the storage now instead of at the first request.
   * @throws LadingError `config-invalid`, `io`
   */
  open(): Promise<void>;
  /** Waits for the requests that are under way; later ones are answered with 503. */
  close(): Promise<void>;
}

const sweepEvery = 60 * 60 * 1000;

function checkedPrefix(prefix: string): string {
  if (prefix === "" || /^(?:\/[A-Za-z0-9._~-]+)+$/.test(prefix)) return prefix;
  throw new LadingError("usage", `${JSON.stringify(prefix)} is not a prefix: expected a path such as /registry`);
}

/**
 * An OCI distribution registry in this process. Touches nothing before the first request.
 * @throws LadingError `usage`
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
 */
export function createRegistry(options: RegistryOptions): Registry {
  const { storage: place } = options ?? {};
  if (place !== "memory" && typeof place?.directory !== "string") {
    throw new LadingError("usage", "a registry needs a storage", { hint: 'expected "memory" or { directory }' });
  }
  const storage =
    place === "memory"
      ? new MemoryStorage(options.now ?? Date.now)
      : new FilesystemStorage(place.directory, {
          durable: options.durability !== "fast",
          onWaiting: options.onWaiting ?? undefined,
        });
  return createRegistryOn(storage, options);
}

/** A registry on any storage: tests give it ones that crash and fail. */
export function createRegistryOn(storage: Storage, options: Omit<RegistryOptions, "storage">): Registry {
  const now = options.now ?? Date.now;
  const limits = { ...defaultLimits, ...options.limits };
  const prefix = checkedPrefix(options.prefix ?? "");
  const service = lazyAccounts(options, { storage, now, prefix });
  const authorize: Authorize =
    service === null
      ? (options.authorize ?? allowEverything)
      : async (request) => await (await service()).authorize(request);
  const guarded = service !== null || (options.authorize ?? null) !== null;
  const context: Context = {
    storage,
    sessions: new UploadSessions(storage, now, limits),
    limits,
    quotas: new Quotas(storage, now),
    authorize,
    now,
    onError: (error) => options.onError?.(error),
    automaticMount: !(options.automaticMount ?? service === null) ? "no" : guarded ? "readable" : "anywhere",
    sparse: options.sparse ?? false,
    prefix,
  };
  const running = new Set<Promise<unknown>>();
  let closed = false;
  let swept = Number.NEGATIVE_INFINITY;

  const track = async <T>(task: Promise<T>): Promise<T> => {
    running.add(task);
    try {
      return await task;
    } finally {
      running.delete(task);
    }
  };

  /** Abandoned uploads go when somebody writes, at most once an hour: an idle registry does nothing. */
  const sweep = (): void => {
    if (now() - swept < sweepEvery) return;
    swept = now();
    context.sessions.sweep();
    void track(storage.sweep(swept - limits.uploadIdle)).catch((error) => options.onError?.(error));
  };

  const answer = async (request: WireRequest): Promise<WireResponse> => {
    if (closed) throw new LadingError("closed", "the registry is closed");
    const target = targetOf(request.url, prefix, limits.uri);
    if (service !== null && target.startsWith("/auth/")) return await (await service()).handle(request, target);
    const route = parseRoute(request.method, target);
    const repository = "repository" in route ? route.repository : null;
    const question = { action: route.action, repository, mountFrom: mountSource(route) };
    const decision = await context.authorize(asked(request, question));
    if (!decision.allowed) throw refusal(decision, route.endpoint === "base" ? await instanceHeaders(context) : {});
    if (route.action === "delete" && options.deletes === false) {
      throw new Fault(405, "UNSUPPORTED", "nothing is deleted here");
    }
    const write = route.action === "push" || route.action === "delete";
    await storage.open({ write, signal: request.signal });
    if (write) sweep();
    return await dispatch(route, { request, principal: decision.principal }, context);
  };

  const handle: WireHandler = async (request) => {
    const head = request.method === "HEAD";
    try {
      return await track(answer(request));
    } catch (error) {
      if (error instanceof Fault) return replyFault(error, head);
      if (request.signal?.aborted) throw error;
      options.onError?.(error);
      return replyFailure(error, head);
    }
  };

  const adopt = async (request: AdoptBlobRequest): Promise<boolean> => {
    await storage.open({ write: true, signal: request.signal });
    sweep();
    return await adoptBlob(request, context);
  };

  const findPath = async (request: BlobPathRequest): Promise<string | null> => {
    await storage.open({ write: false });
    return await blobPath(request, context);
  };

  /** Whoever asks about requests relies on being asked. */
  const isShared = (): boolean => !closed && !guarded;

  const withAccounts = async (): Promise<AccountService> => {
    if (service === null) throw new LadingError("usage", "this registry has no accounts");
    return await service();
  };

  return {
    handle,
    adoptBlob: async (request) => isShared() && (await track(adopt(request))),
    blobPath: async (request) => (isShared() ? await track(findPath(request)) : null),
    fetch: (request) => handleFetch(handle, request),
    hasAccounts: service !== null,
    accounts: async () => (await withAccounts()).accounts,
    initAccounts: async (name, given = {}) => await (await withAccounts()).accounts.initialise(name, given),
    admitOperator: async () => await (await withAccounts()).admitOperator(),
    rotateKeys: async () => await (await withAccounts()).rotateKeys(),
    upkeep: createUpkeep(context, track),
    open: () => storage.open({ write: false }),
    close: async () => {
      closed = true;
      await Promise.allSettled(running);
      if (service !== null) await (await service()).close();
      await storage.close();
    },
  };
}

/** Path and query below the prefix, out of a URL or of a path alone. @throws Fault */
function targetOf(url: string, prefix: string, limit: number): string {
  const origin = /^https?:\/\/[^/?#]*/i.exec(url)?.[0] ?? "";
  const target = url.slice(origin.length).split("#", 1)[0] || "/";
  if (target.length > limit) throw new Fault(414, "UNSUPPORTED", `path and query may have ${limit} characters at most`);
  if (!target.startsWith(`${prefix}/`)) throw new Fault(404, "UNSUPPORTED", "there is no such endpoint");
  return target.slice(prefix.length);
}

async function dispatch(route: Route, exchange: Exchange, context: Context): Promise<WireResponse> {
  const { method } = route;
  switch (route.endpoint) {
    case "base":
      return await getBase(route, context);
    case "catalog":
      return await getCatalog(route, exchange, context);
    case "tags":
      return await getTags(route, exchange, context);
    case "referrers":
      return await getReferrers(route, exchange, context);
    case "blob":
      return await (method === "DELETE" ? deleteBlob : getBlob)(route, exchange, context);
    case "manifest":
      if (method === "PUT") return await putManifest(route, exchange, context);
      return await (method === "DELETE" ? deleteManifest : getManifest)(route, exchange, context);
    case "uploads":
      return await postUpload(route, exchange, context);
    case "upload":
      if (method === "PATCH") return await patchUpload(route, exchange, context);
      if (method === "PUT") return await putUpload(route, exchange, context);
      return await (method === "DELETE" ? deleteUpload : getUpload)(route, exchange, context);
  }
}
