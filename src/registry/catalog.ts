import { isLadingError, LadingError } from "../errors.js";
import type { Endpoint } from "./endpoint.js";
import { type ListOptions, listNames } from "./tags.js";

/**
 * The repositories of a registry, page by page. The catalog is no part of the OCI specification: many registries
 * have none.
 * @see https://github.com/distribution/distribution/blob/v3.0.0/docs/content/spec/api.md#listing-repositories
 * @throws LadingError `unsupported` for a registry without one
 */
export async function* listCatalog(endpoint: Endpoint, options: ListOptions = {}): AsyncGenerator<readonly string[]> {
  try {
    yield* listNames(
      (request, limit) => endpoint.read(request, limit),
      {
        url: endpoint.url("_catalog"),
        actions: [],
        catalog: true,
        headers: { accept: "application/json" },
        doing: "listing the repositories",
        signal: options.signal,
      },
      "repositories",
      options.pageSize,
    );
  } catch (error) {
    if (isLadingError(error) && error.code === "not-found") {
      throw new LadingError("unsupported", `${endpoint.authority} has no catalog of its repositories`, {
        side: endpoint.side,
        status: error.status,
        cause: error,
      });
    }
    throw endpoint.sided(error);
  }
}
