import { LadingError } from "../errors.js";
import type { LimitName } from "../oci/limits.js";
import type { Endpoint, EndpointRequest } from "./endpoint.js";
import { nextPage, type Page, pages } from "./link.js";

/** Registries refuse more (ECR), and answer with fewer as they like. */
export const defaultPageSize = 1000;

export interface ListOptions {
  readonly signal?: AbortSignal | undefined;
  /** Entries asked for per page. @default 1000 */
  readonly pageSize?: number | undefined;
}

type Read = (request: EndpointRequest, limit: LimitName) => ReturnType<Endpoint["read"]>;

/**
 * The pages of a list of names (`tags/list`, `_catalog`). A registry that does not like the page size is asked
 * for its own.
 * @param field The key of the list in the answer; null there is an empty list.
 */
export async function* listNames(
  read: Read,
  request: Omit<EndpointRequest, "expect" | "method">,
  field: "tags" | "repositories",
  pageSize: number = defaultPageSize,
): AsyncGenerator<readonly string[]> {
  const first = new URL(request.url);
  first.searchParams.set("n", String(pageSize));
  const readPage = async (url: URL): Promise<Page<string>> => {
    const own = url.href === first.href;
    let { answer, bytes } = await read(
      { ...request, method: "GET", url, role: own ? "registry" : "page", expect: own ? [200, 400] : [200] },
      "listBody",
    );
    if (answer.status === 400) {
      ({ answer, bytes } = await read({ ...request, method: "GET", expect: [200] }, "listBody"));
    }
    return { entries: parseNames(bytes, field, url.host), next: nextPage(answer.headers.link, url) };
  };
  yield* pages(first, readPage, (name) => name);
}

function parseNames(bytes: Uint8Array, field: string, host: string): readonly string[] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // Refused below.
  }
  const names = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[field] : undefined;
  if (names === null) return [];
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) {
    throw new LadingError("manifest-invalid", `${host} answered with no list of ${field}`);
  }
  return names;
}

/**
 * The tags of a repository, page by page.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 * @throws LadingError `not-found` where there is no such repository
 */
export async function* listTags(endpoint: Endpoint, options: ListOptions = {}): AsyncGenerator<readonly string[]> {
  try {
    yield* listNames(
      (request, limit) => endpoint.read(request, limit),
      {
        url: endpoint.url("tags/list"),
        actions: endpoint.readActions,
        headers: { accept: "application/json" },
        doing: `listing the tags of ${endpoint.name}`,
        missing: `${endpoint.authority} has no repository ${endpoint.name}`,
        signal: options.signal,
      },
      "tags",
      options.pageSize,
    );
  } catch (error) {
    throw endpoint.sided(error);
  }
}
