import type { Side } from "../errors.js";

/** What a registry is given to prove who asks. */
export type Credential =
  | { readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, sent to the token service. */
  | { readonly identityToken: string }
  /** A finished bearer token, sent as it is. */
  | { readonly registryToken: string };

/** What a request wants to do to a repository. */
export type RepositoryAction = "pull" | "push" | "delete";

/** What `fetchCredentials` is asked for: whose credentials, and what for. */
export interface CredentialRequest {
  /** `host[:port]`, exactly as it is dialled; Docker Hub is `docker.io`. */
  readonly registry: string;
  readonly repository: string | null;
  readonly actions: readonly RepositoryAction[];
  readonly side: Side | null;
  readonly signal: AbortSignal | undefined;
}

/** Answers who asks; null is anonymous. */
export type FetchCredentials = (request: CredentialRequest) => Promise<Credential | null>;
