import { limits as wireLimits } from "../oci/limits.js";
import type { WireRequest } from "../oci/wire.js";
import type { Authorize, AuthorizeRequest, Principal } from "./authorize.js";
import type { Quotas } from "./quotas.js";
import type { Storage } from "./storage/storage.js";
import type { UploadSessions } from "./upload-sessions.js";

/** Bounds on what requests may ask for. Bytes unless the name says otherwise. */
export interface RegistryLimits {
  /** @default 4 MiB */
  readonly manifest: number;
  /** Nesting of a manifest's JSON, in levels. @default 32 */
  readonly manifestDepth: number;
  /** Descriptors of one manifest. @default 10000 */
  readonly descriptors: number;
  /** Path and query of a request. @default 8 KiB */
  readonly uri: number;
  /** Entries of a page of tags, repositories or referrers: the default and the most. @default 1000 */
  readonly page: number;
  /** A page of referrers. @default 4 MiB */
  readonly referrersPage: number;
  /** `tag` parameters of one manifest. @default 46 */
  readonly tagParameters: number;
  /** Open uploads of one repository. @default 1000 */
  readonly uploads: number;
  /** Open uploads of one account, in all repositories. Whoever nobody knows by name has no such bound. @default 100 */
  readonly uploadsOfAccount: number;
  /** How long an upload may lie idle, in ms. @default 12 h */
  readonly uploadIdle: number;
  /** How long what nothing names stays before a collection removes it, in ms. Longer than `uploadIdle`. @default 24 h */
  readonly collectGrace: number;
}

export const defaultLimits: RegistryLimits = {
  manifest: wireLimits.manifest,
  manifestDepth: 32,
  descriptors: wireLimits.descriptors,
  uri: 8 * 1024,
  page: 1000,
  referrersPage: 4 * 1024 * 1024,
  tagParameters: 46,
  uploads: 1000,
  uploadsOfAccount: 100,
  uploadIdle: 12 * 60 * 60 * 1000,
  collectGrace: 24 * 60 * 60 * 1000,
};

/** What every handler works with. */
export interface Context {
  readonly storage: Storage;
  readonly sessions: UploadSessions;
  readonly limits: RegistryLimits;
  readonly quotas: Quotas;
  readonly authorize: Authorize;
  readonly now: () => number;
  /** What went wrong in the registry itself. */
  readonly onError: (error: unknown) => void;
  /**
   * What a mount without `from` takes a blob from: any repository in the catalog that the caller may read, or, where
   * everybody may read everything, wherever it comes from.
   */
  readonly automaticMount: "no" | "readable" | "anywhere";
  /** Whether a manifest may name content that is not here. */
  readonly sparse: boolean;
  /** What stands before `/v2/` in every Location and Link: empty, or a path without a slash at its end. */
  readonly prefix: string;
}

/** One request with who made it. */
export interface Exchange {
  readonly request: WireRequest;
  readonly principal: Principal;
}

/** A request as {@link Authorize} is asked about it. */
export function asked(
  request: WireRequest,
  question: Pick<AuthorizeRequest, "action" | "repository"> & Partial<Pick<AuthorizeRequest, "mountFrom" | "purpose">>,
): AuthorizeRequest {
  const { headers, address, url } = request;
  const origin = /^https?:\/\/[^/?#]+/i.exec(url)?.[0] ?? null;
  return { mountFrom: null, purpose: "request", ...question, headers, address: address ?? null, origin };
}

/** The request's body as a stream, whatever it was given as. */
export async function* bodyOf(request: WireRequest): AsyncIterable<Uint8Array> {
  if (request.body instanceof Uint8Array) yield request.body;
  else if (request.body) yield* request.body;
}
