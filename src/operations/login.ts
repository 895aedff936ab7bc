import { eraseCredential, storeCredential } from "../config/credentials.js";
import { isLadingError, LadingError } from "../errors.js";
import { authorityOf, isAuthority } from "../image/reference.js";
import type { Credential, FetchCredentials } from "../oci/credential.js";
import { misused } from "./call-options.js";
import type { ClientContext } from "./context.js";

/** A registry, and who logs in there. */
export interface LoginOptions {
  /** `host[:port]` or a cluster's name. Default: the current cluster. */
  readonly registry?: string | null | undefined;
  readonly username: string;
  readonly password: string;
  readonly signal?: AbortSignal | null | undefined;
}

/** Where a login went to. */
export interface LoginResult {
  /** `host[:port]`. */
  readonly registry: string;
  readonly username: string;
  /** Where the credential is kept now: a file's path, or a helper program's name. */
  readonly storedIn: string;
  toJSON(): { readonly registry: string; readonly username: string; readonly storedIn: string };
}

/** Verifies first, then stores: a failed login changes nothing. */
export async function login(context: ClientContext, options: LoginOptions, signal: AbortSignal): Promise<LoginResult> {
  for (const name of ["username", "password"] as const) {
    if (typeof options?.[name] !== "string") throw misused(name, "a string");
  }
  const target = registryTarget(context, options.registry ?? null);
  const credential: Credential = { username: options.username, password: options.password };
  if (options.username === "" || options.username.includes(":")) {
    throw new LadingError("usage", "a user name is not empty and has no colon");
  }
  let asked = false;
  const answer: FetchCredentials = () => {
    asked = true;
    return Promise.resolve(credential);
  };
  const client = await context.registry(target);
  try {
    await client.ping({ fetchCredentials: answer, signal });
  } catch (error) {
    throw asked ? refused(error, client.authority) : error;
  }
  if (!asked) {
    context.warn(`${client.authority} asks for no credentials: these are stored, but were not checked`);
  }
  const storedIn = await storeCredential({ registry: client.authority, credential, env: context.env });
  const json = { registry: client.authority, username: options.username, storedIn };
  return { ...json, toJSON: () => json };
}

/** To log in is no advice for somebody who just tried. */
function refused(error: unknown, authority: string): unknown {
  if (!isLadingError(error) || error.code !== "unauthorized") return error;
  return new LadingError(error.code, `${authority} does not take this user name and password`, {
    ...error.toJSON(),
    hint: "check both; where two factors are asked for, an access token takes the password's place. Nothing was stored",
    cause: error,
  });
}

/** What a logout removed. */
export interface LogoutResult {
  readonly registry: string;
  /** Whether there was something to remove. */
  readonly removed: boolean;
  toJSON(): { readonly registry: string; readonly removed: boolean };
}

export async function logout(context: ClientContext, registry: string | null): Promise<LogoutResult> {
  const target = registryTarget(context, registry);
  const authority =
    "host" in target ? target.host : authorityOf(context.config.clusters[target.cluster]?.registryUrl ?? "");
  const removed = await eraseCredential({ registry: authority, env: context.env });
  const json = { registry: authority, removed };
  return { ...json, toJSON: () => json };
}

function registryTarget(
  context: ClientContext,
  text: string | null,
): { readonly cluster: string } | { readonly host: string } {
  if (text === null) return { cluster: context.config.cluster };
  if (typeof text !== "string") throw misused("registry", "host[:port] or a cluster's name");
  if (Object.hasOwn(context.config.clusters, text)) return { cluster: text };
  const host = text.replace(/^https?:\/\//, "").replace(/\/+$/, "");
  if (!isAuthority(host)) {
    throw new LadingError("usage", `${JSON.stringify(text)} is neither a registry (host[:port]) nor a known cluster`, {
      hint: `known clusters: ${Object.keys(context.config.clusters).join(", ")}`,
    });
  }
  for (const [name, { registryUrl }] of Object.entries(context.config.clusters)) {
    if (authorityOf(registryUrl) === host) return { cluster: name };
  }
  return { host };
}
