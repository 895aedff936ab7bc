import { LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";

interface Link {
  readonly target: string;
  readonly parameters: string;
}

/** Splits a `Link` header. Targets without their angle brackets are taken too: some registries leave them out. */
function parseLinks(header: string): readonly Link[] {
  if (!header.includes("<")) {
    const end = header.indexOf(";");
    return end < 0 ? [] : [{ target: header.slice(0, end).trim(), parameters: header.slice(end) }];
  }
  const links: Link[] = [];
  let at = 0;
  for (;;) {
    const open = header.indexOf("<", at);
    const close = header.indexOf(">", open);
    if (open < 0 || close < 0) return links;
    const next = header.indexOf("<", close);
    links.push({
      target: header.slice(open + 1, close),
      parameters: header.slice(close + 1, next < 0 ? undefined : next),
    });
    if (next < 0) return links;
    at = next;
  }
}

/**
 * The next page's URL, or null at the end. It must lie at the same origin and endpoint: a registry names pages,
 * not places.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 * @throws LadingError `unsafe-url`
 */
export function nextPage(header: string | undefined, page: URL): URL | null {
  if (header === undefined) return null;
  if (header.length > limits.authorization)
    throw new LadingError("limit-exceeded", "the Link header is too long", { limit: "authorization" });
  const link = parseLinks(header).find(({ parameters }) => /;\s*rel\s*=\s*"?next\b/i.test(parameters));
  if (link === undefined) return null;
  let url: URL | null = null;
  try {
    url = new URL(link.target, page);
  } catch {
    // Refused below.
  }
  if (url === null || url.origin !== page.origin || url.pathname !== page.pathname || url.username !== "") {
    throw new LadingError("unsafe-url", `${page.host} links the next page to another place than ${page.pathname}`);
  }
  url.hash = "";
  return url;
}

/** One page of a list: its entries, and where the next one is. */
export interface Page<Entry> {
  readonly entries: readonly Entry[];
  readonly next: URL | null;
}

/**
 * All pages, each with the entries that no earlier one had. A server that goes in circles or never ends is
 * stopped (CVE-2023-46737).
 * @throws LadingError `limit-exceeded`
 */
export async function* pages<Entry>(
  first: URL,
  read: (url: URL) => Promise<Page<Entry>>,
  key: (entry: Entry) => string,
): AsyncGenerator<readonly Entry[]> {
  const seenPages = new Set<string>();
  const seen = new Set<string>();
  for (let url: URL | null = first; url !== null; ) {
    if (seenPages.has(url.href))
      throw new LadingError("limit-exceeded", `${url.host} lists its pages in a circle`, { limit: "pages" });
    if (seenPages.size === limits.pages) {
      throw new LadingError("limit-exceeded", `${url.host} lists more than ${limits.pages} pages`, { limit: "pages" });
    }
    seenPages.add(url.href);
    const page: Page<Entry> = await read(url);
    const fresh = page.entries.filter((entry) => !seen.has(key(entry)) && seen.add(key(entry)));
    if (seen.size > limits.listEntries) {
      throw new LadingError("limit-exceeded", `${url.host} lists more than ${limits.listEntries} entries`, {
        limit: "listEntries",
      });
    }
    if (fresh.length === 0 && page.entries.length > 0 && page.next !== null) {
      throw new LadingError("limit-exceeded", `${url.host} lists the same entries again`, { limit: "listEntries" });
    }
    yield fresh;
    url = page.next;
  }
}
