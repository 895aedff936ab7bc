/** An allow-list: whatever else a request carries may be a secret (CVE-2022-23538, CVE-2024-28849). */
const headersForStrangers: ReadonlySet<string> = new Set(["accept", "range", "user-agent"]);

/** Lower-case names. */
export type Headers = Readonly<Record<string, string>>;

/**
 * The one place that puts an `Authorization` on a request: it belongs to an origin (scheme, host and port), and is
 * sent there and nowhere else, whatever the request had before.
 */
export function authorized(headers: Headers, url: URL, origin: string, authorization: string | null): Headers {
  const { authorization: _, ...others } = headers;
  return authorization === null || url.origin !== origin ? others : { ...others, authorization };
}

/**
 * The headers that a redirect takes along: all within an origin, the allow-list beyond it. What was left behind
 * does not come back when a further redirect returns.
 */
export function redirectedHeaders(headers: Headers, from: URL, to: URL): Headers {
  if (from.origin === to.origin) return headers;
  return Object.fromEntries(Object.entries(headers).filter(([name]) => headersForStrangers.has(name)));
}
