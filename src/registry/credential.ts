import { createHash } from "node:crypto";
import type { Side } from "../errors.js";

/** What a registry is given to prove who asks. The same shape as in `config/`, which this room does not know. */
export type Credential =
  | { readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, sent to the token service. */
  | { readonly identityToken: string }
  /** A finished bearer token, sent as it is. */
  | { readonly registryToken: string };

/** What a request wants to do to a repository. */
export type Action = "pull" | "push" | "delete";

export interface CredentialRequest {
  /** `host[:port]`, exactly as it is dialled; Docker Hub is `docker.io`. */
  readonly registry: string;
  readonly repository: string | null;
  readonly actions: readonly Action[];
  readonly side: Side | null;
  readonly signal: AbortSignal | undefined;
}

/** Answers who asks; null is anonymous. */
export type FetchCredentials = (request: CredentialRequest) => Promise<Credential | null>;

/** Who asks, for what, with whose credentials: all that authentication needs to know of a request. */
export interface Access {
  readonly fetchCredentials: FetchCredentials;
  /** Null where the registry itself is asked (`/v2/`, the catalog). */
  readonly repository: string | null;
  readonly actions: readonly Action[];
  readonly side: Side | null;
  /** A repository of the same registry that a mount reads. */
  readonly mountFrom?: string | undefined;
  readonly catalog?: boolean | undefined;
}

/**
 * The scopes of a request: only those that Lading computed, never those that a challenge asks for. The wanted
 * one is first, because some token services read no other.
 * @see https://github.com/distribution/distribution/blob/v3.0.0/docs/content/spec/auth/scope.md
 */
export function scopesOf(access: Access): readonly string[] {
  const scopes: string[] = [];
  if (access.repository !== null) scopes.push(`repository:${access.repository}:${access.actions.join(",")}`);
  if (access.mountFrom !== undefined) scopes.push(`repository:${access.mountFrom}:pull`);
  if (access.catalog === true) scopes.push("registry:catalog:*");
  return scopes;
}

/** A name for a credential in the keys of caches, from which it cannot be read back. Anonymous is the empty string. */
export function credentialId(credential: Credential | null): string {
  if (credential === null) return "";
  const parts =
    "username" in credential
      ? ["basic", credential.username, credential.password]
      : "identityToken" in credential
        ? ["identity", credential.identityToken]
        : ["registry", credential.registryToken];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
