import type { Action } from "./route.js";

/** Who asks for what. Never the body: a decision does not depend on it. */
export interface AuthorizeRequest {
  readonly action: Action;
  /** Null where no single repository is meant (`ping`, `catalog`). */
  readonly repository: string | null;
  /** The request's headers, lower-case names: the same object whenever one request is asked about. */
  readonly headers: Readonly<Record<string, string>>;
  /** The repository that a mount names as its source; it is asked about once more when it is read. */
  readonly mountFrom: string | null;
  /**
   * What the answer decides: the `request` itself; whether a `mount` may read another repository; whether a `list` shows
   * one, or an automatic mount looks into it.
   */
  readonly purpose: "request" | "mount" | "list";
  /** The peer's address, where it is known. */
  readonly address: string | null;
  /** `https://host[:port]` of a request whose URL is absolute. */
  readonly origin: string | null;
}

/** Who it is that may. Upload sessions belong to one principal. */
export interface Principal {
  /** Null is anonymous. */
  readonly subject: string | null;
}

/** What `authorize` says of a request. */
export type Decision =
  | { readonly allowed: true; readonly principal: Principal }
  /** `challenge` is the `WWW-Authenticate` value of a 401. */
  | { readonly allowed: false; readonly status: 401; readonly challenge: string; readonly message: string }
  /** 405: nobody may do this here, deletion where that is switched off. */
  | { readonly allowed: false; readonly status: 403 | 404 | 405; readonly message: string }
  /** `retryAfter` in seconds. */
  | { readonly allowed: false; readonly status: 429; readonly retryAfter: number; readonly message: string };

/** Asked before every handler, and once more for each other repository of a mount or a list. */
export type Authorize = (request: AuthorizeRequest) => Promise<Decision>;

/** The single-user mode: whoever reaches the registry may do everything. What listens keeps strangers out. */
export const allowEverything: Authorize = async () => ({ allowed: true, principal: { subject: null } });
