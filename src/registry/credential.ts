import { createHash } from "node:crypto";
import type { Side } from "../errors.js";
import type { Credential, FetchCredentials, RepositoryAction } from "../oci/credential.js";

/** Who asks, for what, with whose credentials: all that authentication needs to know of a request. */
export interface Access {
  readonly fetchCredentials: FetchCredentials;
  /** Null where the registry itself is asked (`/v2/`, the catalog). */
  readonly repository: string | null;
  readonly actions: readonly RepositoryAction[];
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

/** Whether what a program's own function gave is one of them. */
export function isCredential(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { username, password, identityToken, registryToken } = value as Readonly<Record<string, unknown>>;
  const isPair = typeof username === "string" && typeof password === "string";
  return isPair || typeof identityToken === "string" || typeof registryToken === "string";
}
