import type { Action } from "./route.js";

/** Who asks for what. Never the body: a decision does not depend on it. */
export interface AuthorizeRequest {
  readonly action: Action;
  /** Null where no single repository is meant (`ping`, `catalog`). */
  readonly repository: string | null;
  /** The request's headers, lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Who it is that may. Upload sessions belong to one principal. */
export interface Principal {
  /** Null is anonymous. */
  readonly subject: string | null;
}

export type Decision =
  | { readonly allowed: true; readonly principal: Principal }
  /** `challenge` is the `WWW-Authenticate` value of a 401. */
  | { readonly allowed: false; readonly status: 401; readonly challenge: string; readonly message: string }
  /** 405: nobody may do this here, deletion where that is switched off. */
  | { readonly allowed: false; readonly status: 403 | 404 | 405; readonly message: string };

/** Asked before every handler, and once more for the other repository of a mount. */
export type Authorize = (request: AuthorizeRequest) => Promise<Decision>;

/** The single-user mode: whoever reaches the registry may do everything. What listens keeps strangers out. */
export const allowEverything: Authorize = async () => ({ allowed: true, principal: { subject: null } });
