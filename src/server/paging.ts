import { Fault } from "./fault.js";

/** The part of a list that a request asks for. */
export interface Page {
  /** Entries at most; 0 asks for none. */
  readonly limit: number;
  /** The list begins after this name, whether there is such a name or not. */
  readonly after: string | null;
}

/**
 * `n` is clamped rather than refused, since a `Link` leads on; nothing is ever allocated by it (CVE-2023-2253).
 * @throws Fault
 */
export function parsePage(query: URLSearchParams, most: number): Page {
  const n = query.get("n");
  if (n !== null && !/^[0-9]{1,20}$/.test(n)) throw new Fault(400, "UNSUPPORTED", "n is not a number of entries");
  return { limit: n === null ? most : Math.min(Number(n), most), after: query.get("last") };
}

/** The headers of a page: a `Link` where there is more. `path` is safe in a URL. */
export function linkToNext(path: string, parameters: Readonly<Record<string, string>>): { readonly link: string } {
  return { link: `<${path}?${new URLSearchParams(parameters).toString()}>; rel="next"` };
}
