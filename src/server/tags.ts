import type { Digest } from "../oci/digest.js";
import type { WireResponse } from "../oci/wire.js";
import { isKnownRepository } from "./catalog.js";
import type { Context, Exchange } from "./context.js";
import { Fault } from "./fault.js";
import { noteUntagged } from "./manifest-record.js";
import { linkToNext, parsePage } from "./paging.js";
import { replyJson } from "./reply.js";
import type { Route } from "./route.js";
import { encodeRecord, folders, readRecord, type Storage } from "./storage/storage.js";

/** Where a tag points, with what a HEAD answers, so that it costs one read. */
export interface TagRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes of the manifest. */
  readonly size: number;
  /** RFC 3339. */
  readonly updated: string;
  /** Counts the moves of the tag. */
  readonly generation: number;
}

export async function readTag(storage: Storage, repository: string, tag: string): Promise<TagRecord | null> {
  return await readRecord<TagRecord>(storage, folders.tags(repository), tag);
}

/** Points a tag at a manifest that is there. Nothing is written where it points there already. */
export async function moveTag(
  storage: Storage,
  repository: string,
  tag: string,
  target: { readonly digest: Digest; readonly mediaType: string; readonly size: number },
  now: number,
): Promise<void> {
  const before = await readTag(storage, repository, tag);
  if (before?.digest === target.digest && before.mediaType === target.mediaType) return;
  const { digest, mediaType, size } = target;
  if (before !== null && before.digest !== digest) await noteUntagged(storage, repository, before.digest, now);
  const generation = (before?.generation ?? 0) + 1;
  const record: TagRecord = { digest, mediaType, size, updated: new Date(now).toISOString(), generation };
  await storage.put(folders.tags(repository), tag, encodeRecord(record));
}

/** Removes a tag alone. False where there is none. */
export async function removeTag(storage: Storage, repository: string, tag: string, now: number): Promise<boolean> {
  const before = await readTag(storage, repository, tag);
  if (before === null) return false;
  await noteUntagged(storage, repository, before.digest, now);
  return await storage.delete(folders.tags(repository), tag);
}

export async function tagsOf(storage: Storage, repository: string, digest: Digest): Promise<readonly string[]> {
  const tags: string[] = [];
  for (const tag of await storage.list(folders.tags(repository), { after: null, limit: Number.POSITIVE_INFINITY })) {
    if ((await readTag(storage, repository, tag))?.digest === digest) tags.push(tag);
  }
  return tags;
}

/** Removes every tag of a manifest. */
export async function removeTagsOf(storage: Storage, repository: string, digest: Digest): Promise<void> {
  for (const tag of await tagsOf(storage, repository, digest)) await storage.delete(folders.tags(repository), tag);
}

/** @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags */
export async function getTags(
  route: Extract<Route, { endpoint: "tags" | "uploads" }>,
  _exchange: Exchange,
  { storage, limits, prefix }: Context,
): Promise<WireResponse> {
  const { repository } = route;
  const { limit, after } = parsePage(route.query, limits.page);
  // one more than asked for tells whether a Link is due
  const found = limit === 0 ? [] : await storage.list(folders.tags(repository), { after, limit: limit + 1 });
  if (found.length === 0 && !(await isKnownRepository(storage, repository))) {
    throw new Fault(404, "NAME_UNKNOWN", "there is no such repository");
  }
  const tags = found.slice(0, limit);
  const last = tags.at(-1);
  const headers =
    found.length > limit && last !== undefined
      ? linkToNext(`${prefix}/v2/${repository}/tags/list`, { n: String(limit), last })
      : undefined;
  return replyJson(200, { name: repository, tags }, { head: route.method === "HEAD", ...(headers ? { headers } : {}) });
}
