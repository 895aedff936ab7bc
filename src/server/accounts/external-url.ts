import type { AuthorizeRequest } from "../authorize.js";

/**
 * Where clients reach this registry. Configuration says it; without it, the `Host` of the request does, which `listen` has
 * checked. The scheme is `https` only where a trusted proxy says so: `listen` takes `X-Forwarded-…` of all others away.
 */
export function externalUrl(
  configured: string | null,
  { headers, origin }: Pick<AuthorizeRequest, "headers" | "origin">,
): string {
  if (configured !== null) return configured.replace(/\/+$/, "");
  if (origin !== null) return origin;
  const scheme = headers["x-forwarded-proto"] === "https" ? "https" : "http";
  const host = headers.host ?? "";
  return `${scheme}://${/^[A-Za-z0-9.:[\]-]{1,255}$/.test(host) ? host : "localhost"}`;
}
