import { LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { discard } from "./body.js";
import type { Answer, Call, Send } from "./call.js";
import { redirectedHeaders } from "./origin.js";

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function parseLocation(answer: Answer): URL {
  const location = answer.headers.location;
  try {
    const url = new URL(location ?? "", answer.url);
    url.hash = "";
    if (location !== undefined) return url;
  } catch {
    // Falls through to the error for a missing one.
  }
  throw new LadingError("unsafe-url", `${answer.url.host} redirects to no readable place`, { status: answer.status });
}

/** The call that a redirect asks for. @throws LadingError `unsafe-url` */
function redirected(call: Call, answer: Answer): Call {
  const url = parseLocation(answer);
  const sameOrigin = url.origin === call.url.origin;
  const reads = call.method === "GET" || call.method === "HEAD";
  if (!reads && !(sameOrigin && (answer.status === 307 || answer.status === 308))) {
    throw new LadingError("unsafe-url", `${call.url.host} redirects a ${call.method} to ${url.host}: not followed`, {
      status: answer.status,
    });
  }
  return {
    ...call,
    url,
    role: "redirect",
    namer: answer,
    headers: redirectedHeaders(call.headers, call.url, url),
  };
}

/**
 * Follows redirects by hand: credentials stay with the origin that they were made for, once dropped they never
 * come back, and content is not sent to another place than the one that was asked.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-blobs
 */
export function redirect(send: Send): Send {
  return async (call) => {
    let current = call;
    for (let hops = 0; ; hops += 1) {
      const answer = await send(current);
      if (!redirectStatuses.has(answer.status)) return answer;
      await discard(answer);
      if (hops === limits.redirects) {
        throw new LadingError("limit-exceeded", `${call.url.host} redirects more than ${limits.redirects} times`, {
          limit: "redirects",
        });
      }
      current = redirected(current, answer);
    }
  };
}
