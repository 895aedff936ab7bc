import { type Digest, isDigest } from "../oci/digest.js";
import { type ManifestRecord, readManifestRecord } from "./manifest-record.js";
import { matchesAny, type RetentionPolicy } from "./retention-policy.js";
import { folders, type Storage } from "./storage/storage.js";
import { readTag, type TagRecord } from "./tags.js";

/** What a repository has, and what of it its policy lets go. */
export interface Mark {
  readonly manifests: ReadonlyMap<Digest, ManifestRecord>;
  readonly unwantedManifests: readonly Digest[];
  readonly unwantedTags: ReadonlyMap<string, TagRecord>;
}

const all = { after: null, limit: Number.POSITIVE_INFINITY } as const;
const day = 24 * 60 * 60 * 1000;

export async function readManifests(storage: Storage, repository: string): Promise<Map<Digest, ManifestRecord>> {
  const manifests = new Map<Digest, ManifestRecord>();
  for (const folder of folders.allManifests(repository)) {
    const algorithm = folder.slice(folder.lastIndexOf("/") + 1);
    for (const hex of await storage.list(folder, all)) {
      const digest = `${algorithm}:${hex}`;
      const record = isDigest(digest) ? await readManifestRecord(storage, repository, digest) : null;
      // null: it has just been deleted
      if (record !== null) manifests.set(digest as Digest, record);
    }
  }
  return manifests;
}

export async function readTags(storage: Storage, repository: string): Promise<Map<string, TagRecord>> {
  const tags = new Map<string, TagRecord>();
  for (const tag of await storage.list(folders.tags(repository), all)) {
    const record = await readTag(storage, repository, tag);
    if (record !== null) tags.set(tag, record);
  }
  return tags;
}

/** What a tag of the referrers' schema, or one of cosign's (`sha256-….sig`), is attached to. */
function subjectOfTag(tag: string): Digest | null {
  const [, algorithm, hex] = /^(sha256|sha512)-([0-9a-f]{64,128})(?:\..*)?$/.exec(tag) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : null;
}

/** Tags that a policy lets go: of those that it may, the ones that were moved longest ago. */
function unwantedTagsOf(tags: ReadonlyMap<string, TagRecord>, { keepLast, keep, immutable }: RetentionPolicy) {
  if (keepLast === null) return new Map<string, TagRecord>();
  const going = [...tags]
    .filter(([tag]) => subjectOfTag(tag) === null && !matchesAny(tag, keep) && !matchesAny(tag, immutable))
    .sort(([tagA, a], [tagB, b]) => (a.updated < b.updated ? 1 : a.updated > b.updated ? -1 : tagA < tagB ? -1 : 1))
    .slice(keepLast);
  return new Map(going);
}

/** Whether a manifest that nothing names stays nevertheless. */
function staysUntagged({ pushed, untagged }: ManifestRecord, policy: RetentionPolicy, now: number): boolean {
  if (policy.untaggedDays !== null) {
    return Date.parse(untagged ?? pushed) + policy.untaggedDays * day > now;
  }
  // whoever keeps the last tags wants what lost its tag to go with it
  return policy.keepLast === null || untagged === undefined;
}

/**
 * Reads a repository and finds what its policy lets go. A manifest stays by a tag, by an index that stays, or as a
 * referrer of one that stays; each is visited once, so that rings do no harm.
 */
export async function markRepository(
  storage: Storage,
  repository: string,
  policy: RetentionPolicy | null,
  now: number,
): Promise<Mark> {
  // tags first: what is tagged meanwhile is younger than this reading
  const tags = policy === null ? new Map<string, TagRecord>() : await readTags(storage, repository);
  const manifests = await readManifests(storage, repository);
  if (policy === null) return { manifests, unwantedManifests: [], unwantedTags: new Map() };
  const unwantedTags = unwantedTagsOf(tags, policy);
  const attached = new Map<Digest, Digest[]>();
  const attach = (subject: Digest, digest: Digest): void => {
    const others = attached.get(subject);
    if (others === undefined) attached.set(subject, [digest]);
    else others.push(digest);
  };
  const queue: Digest[] = [];
  for (const [tag, { digest }] of tags) {
    const subject = subjectOfTag(tag);
    if (subject !== null) attach(subject, digest);
    else if (!unwantedTags.has(tag)) queue.push(digest);
  }
  for (const [digest, record] of manifests) {
    if (record.subject !== null) attach(record.subject, digest);
    if (staysUntagged(record, policy, now)) queue.push(digest);
  }
  const wanted = new Set<Digest>();
  for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
    const record = manifests.get(digest);
    if (record === undefined || wanted.has(digest)) continue;
    wanted.add(digest);
    for (const next of record.references) queue.push(next);
    for (const next of attached.get(digest) ?? []) queue.push(next);
  }
  return { manifests, unwantedManifests: [...manifests.keys()].filter((digest) => !wanted.has(digest)), unwantedTags };
}
