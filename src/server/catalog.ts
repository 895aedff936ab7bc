import type { WireResponse } from "../oci/wire.js";
import { asked, type Context, type Exchange } from "./context.js";
import { linkToNext, parsePage } from "./paging.js";
import { replyJson } from "./reply.js";
import type { Route } from "./route.js";
import { encodeRecord, folders, readRecord, type Storage } from "./storage/storage.js";

/** Makes a repository show in the catalog. Called before its first tag. */
export async function enterRepository(storage: Storage, repository: string, created: number): Promise<void> {
  if ((await storage.get(folders.repositories, repository)) !== null) return;
  const record = encodeRecord({ created: new Date(created).toISOString() });
  await storage.put(folders.repositories, repository, record);
}

/** Takes a repository out of the catalog with its last manifest. */
export async function leaveWhenEmpty(storage: Storage, repository: string): Promise<void> {
  for (const folder of folders.allManifests(repository)) {
    if ((await storage.list(folder, { after: null, limit: 1 })).length > 0) return;
  }
  await storage.delete(folders.repositories, repository);
}

/** True once a repository holds or held anything that was finished. */
export async function isKnownRepository(storage: Storage, repository: string): Promise<boolean> {
  if ((await readRecord(storage, folders.repositories, repository)) !== null) return true;
  for (const folder of folders.allLinks(repository)) {
    if ((await storage.list(folder, { after: null, limit: 1 })).length > 0) return true;
  }
  return false;
}

/** Repositories that hold manifests, in byte order, paged. Shows only what the caller may read. */
export async function getCatalog(
  route: Extract<Route, { endpoint: "base" | "catalog" }>,
  { request }: Exchange,
  { storage, limits, authorize, prefix }: Context,
): Promise<WireResponse> {
  const { limit, after } = parsePage(route.query, limits.page);
  const names: string[] = [];
  let position = after;
  let more = limit > 0;
  while (more && names.length <= limit) {
    const found = await storage.list(folders.repositories, { after: position, limit: limits.page });
    more = found.length === limits.page;
    for (const repository of found) {
      position = repository;
      const decision = await authorize(asked(request, { action: "pull", repository, purpose: "list" }));
      if (decision.allowed) names.push(repository);
    }
  }
  const repositories = names.slice(0, limit);
  const last = repositories.at(-1);
  const headers =
    names.length > limit && last !== undefined
      ? linkToNext(`${prefix}/v2/_catalog`, { n: String(limit), last })
      : undefined;
  return replyJson(200, { repositories }, { head: route.method === "HEAD", ...(headers ? { headers } : {}) });
}
