import { waitText } from "./retry-after.js";

/** What a registry says of how often it may still be asked, as Docker Hub does. */
export interface RateBudget {
  readonly limit: number;
  readonly remaining: number;
  /** Seconds after which what was used is there again; null where the registry does not say. */
  readonly window: number | null;
  /** Whom the registry counts for: an address or an account; null where it does not say. */
  readonly source: string | null;
}

/**
 * The budget that an answer tells, or null.
 * @see https://docs.docker.com/docker-hub/usage/pulls/
 */
export function rateBudgetOf(headers: Readonly<Record<string, string>>): RateBudget | null {
  const limit = quantity(headers["ratelimit-limit"]);
  const remaining = quantity(headers["ratelimit-remaining"]);
  if (limit === null || remaining === null) return null;
  const source = headers["docker-ratelimit-source"];
  return {
    limit: limit.count,
    remaining: remaining.count,
    window: remaining.window ?? limit.window,
    source: source !== undefined && /^[\w.:@-]{1,100}$/.test(source) ? source : null,
  };
}

/** `100;w=21600`. */
function quantity(value: string | undefined): { readonly count: number; readonly window: number | null } | null {
  const match = /^(\d{1,9})(?:\s*;\s*w=(\d{1,9}))?(?:$|[\s;,])/.exec(value ?? "");
  if (match === null) return null;
  return { count: Number(match[1]), window: match[2] === undefined ? null : Number(match[2]) };
}

/** A budget for people: `76 of 100 requests in 6 h left for 192.0.2.1`. */
export function rateBudgetText({ limit, remaining, window, source }: RateBudget): string {
  const period = window === null ? "" : ` in ${waitText(window * 1000)}`;
  return `${remaining} of ${limit} requests${period} left${source === null ? "" : ` for ${source}`}`;
}

/** The last word of each host on its budget: shared by all requests of a client. */
export class RateBudgets {
  readonly #byHost = new Map<string, RateBudget>();

  note(host: string, headers: Readonly<Record<string, string>>): void {
    if (headers["ratelimit-remaining"] === undefined) return;
    const budget = rateBudgetOf(headers);
    if (budget !== null) this.#byHost.set(host, budget);
  }

  of(host: string): RateBudget | null {
    return this.#byHost.get(host) ?? null;
  }
}
