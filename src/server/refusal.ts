import type { Decision } from "./authorize.js";
import { Fault } from "./fault.js";

/** What a client is told whom {@link Authorize} refuses. @param more Headers of a 401. */
export function refusal(
  decision: Extract<Decision, { allowed: false }>,
  more: Readonly<Record<string, string>>,
): Fault {
  const { message } = decision;
  switch (decision.status) {
    case 401:
      return new Fault(401, "UNAUTHORIZED", message, {
        headers: { ...more, "www-authenticate": decision.challenge },
      });
    case 429:
      return new Fault(429, "TOOMANYREQUESTS", message, { headers: { "retry-after": String(decision.retryAfter) } });
    case 403:
      return new Fault(403, "DENIED", message);
    case 404:
      return new Fault(404, "NAME_UNKNOWN", message);
    case 405:
      return new Fault(405, "UNSUPPORTED", message);
  }
}
