import type { WireHandler, WireRequest } from "../../src/oci/wire.js";

async function* empty(): AsyncGenerator<Uint8Array> {}

/**
 * A registry as they were before the referrers API: it has no such list, and says nothing of a manifest's subject.
 * @param conditions False for one that writes a tag whatever it was to be; all the older ones do.
 */
export function withoutReferrers(handle: WireHandler, { conditions = true } = {}): WireHandler {
  return async (request: WireRequest) => {
    const { pathname } = new URL(request.url, "http://registry");
    if (/^\/v2\/.+\/referrers\//.test(pathname)) return { status: 404, headers: {}, body: empty() };
    const { "if-match": _match, "if-none-match": _none, ...unconditional } = request.headers;
    const answer = await handle(conditions ? request : { ...request, headers: unconditional });
    const { "oci-subject": _subject, etag, ...headers } = answer.headers;
    return { ...answer, headers: conditions && etag !== undefined ? { ...headers, etag } : headers };
  };
}
