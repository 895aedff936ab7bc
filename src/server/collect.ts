// Over 300 lines, since the steps of a collection rest on each other: that they are safe is one argument.
import { type Digest, digestHex, isDigest } from "../oci/digest.js";
import type { CollectOptions, CollectReport } from "./collect-report.js";
import type { Context } from "./context.js";
import { DigestSet } from "./digest-set.js";
import { type Lease, withLease } from "./lease.js";
import type { LinkRecord } from "./links.js";
import { readManifestRecord, writeManifestRecord } from "./manifest-record.js";
import { removeManifest } from "./manifests.js";
import { type Mark, markRepository } from "./mark.js";
import { retentionPolicyOf } from "./retention-policy.js";
import { decodeRecord, encodeRecord, folders, readRecord, repositoriesOf, type Storage } from "./storage/storage.js";
import { readTag, removeTag, removeTagsOf } from "./tags.js";

type Counts<T> = { -readonly [K in keyof T]: T[K] extends number | boolean ? T[K] : Counts<T[K]> };

/** Changes of one turn of a repository's lock: others wait for no longer than these take. */
const batch = 32;
/** With no grace each pass does the next step: tags, manifests, links, blobs condemned, blobs gone. */
const mostPasses = 6;

/**
 * Collects what nothing names any more, while the registry serves. Nothing goes at once: a manifest, a link and a
 * blob are each condemned first, and go in a collection a grace later, unless somebody has used them; so that
 * whoever was told that something is there finds it. What can't be read is left alone with all that it may name.
 * @throws LadingError `conflict` where a collection or a backup runs
 */
export async function collect(context: Context, options: CollectOptions = {}): Promise<CollectReport> {
  const run = new Collection(context, options);
  if (options.dryRun === true) return await run.pass(null);
  return await withLease(context.storage, context.now, "collection", async (lease) => {
    let report = await run.pass(lease);
    for (let pass = 1; run.grace === 0 && pass < mostPasses && run.changed; pass++) report = await run.pass(lease);
    await context.storage.put("gc", "last", encodeRecord({ finished: new Date(context.now()).toISOString() }));
    return report;
  });
}

/** When a collection last came to its end, ms since the epoch; null where none did. */
export async function lastCollected(storage: Storage): Promise<number | null> {
  const record = await readRecord<{ readonly finished: string }>(storage, "gc", "last");
  return record === null ? null : Date.parse(record.finished);
}

class Collection {
  readonly grace: number;
  changed = false;
  readonly #context: Context;
  readonly #storage: Storage;
  readonly #dryRun: boolean;
  readonly #signal: AbortSignal | null;
  readonly #report: Counts<CollectReport>;
  readonly #errors: { repository: string | null; message: string }[] = [];
  /** What they hold has to be counted again. */
  readonly #owners = new Set<string>();
  #lease: Lease | null = null;
  #due = 0;

  constructor(context: Context, { dryRun, grace, signal }: CollectOptions) {
    this.#context = context;
    this.#storage = context.storage;
    this.grace = grace ?? context.limits.collectGrace;
    this.#dryRun = dryRun ?? false;
    this.#signal = signal ?? null;
    this.#report = {
      dryRun: this.#dryRun,
      grace: this.grace / 1000,
      repositories: 0,
      tags: { removed: 0 },
      manifests: { condemned: 0, revived: 0, removed: 0 },
      links: { condemned: 0, revived: 0, removed: 0 },
      blobs: { condemned: 0, condemnedBytes: 0, revived: 0, removed: 0, removedBytes: 0 },
      uploads: { removed: 0, removedBytes: 0 },
      errors: this.#errors,
    } as Counts<CollectReport>;
  }

  async pass(lease: Lease | null): Promise<CollectReport> {
    this.#lease = lease;
    this.#due = this.#now - this.grace;
    this.changed = false;
    this.#errors.length = 0;
    let repositories = 0;
    try {
      for await (const repository of repositoriesOf(this.#storage)) {
        this.#report.repositories = Math.max(this.#report.repositories, ++repositories);
        this.#owners.add(repository.split("/", 1)[0] ?? "");
        await this.#guarded(repository, () => this.#repository(repository));
      }
    } catch (error) {
      this.#stopWhenAsked(error);
      this.#fail(null, error);
    }
    // a repository that could not be read may name any blob
    if (this.#errors.length === 0) await this.#guarded(null, () => this.#blobs());
    if (!this.#dryRun) await this.#guarded(null, () => this.#uploads());
    for (const owner of this.#owners) this.#context.quotas.forget(owner);
    return structuredClone(this.#report) as CollectReport;
  }

  async #guarded(repository: string | null, task: () => Promise<void>): Promise<void> {
    try {
      await this.#lease?.beat();
      this.#signal?.throwIfAborted();
      await task();
    } catch (error) {
      this.#stopWhenAsked(error);
      this.#fail(repository, error);
    }
  }

  /** A lost lease or a signal ends the whole; anything else only leaves its repository out. */
  #stopWhenAsked(error: unknown): void {
    this.#signal?.throwIfAborted();
    if ((error as { code?: unknown } | null)?.code === "conflict") throw error;
  }

  #fail(repository: string | null, error: unknown): void {
    this.#context.onError(error);
    // the report goes over the wire: what the system says may name paths
    this.#errors.push({ repository, message: "could not be read; the registry's log says why" });
  }

  get #now(): number {
    return this.#context.now();
  }

  /**
   * Whatever has been on its way out since before this moment may go. By the time when the pass began, not by now: what
   * is condemned by another collection, after this one has read who names what, is not this one's to remove.
   */
  #isDue(condemned: string): boolean {
    return Date.parse(condemned) <= this.#due;
  }

  async #turn(scope: string, task: () => Promise<void>): Promise<void> {
    this.changed = true;
    await this.#lease?.beat();
    await this.#storage.exclusive(scope, this.#signal, task);
  }

  async #repository(repository: string): Promise<void> {
    const policy = await retentionPolicyOf(this.#storage, repository);
    const mark = await markRepository(this.#storage, repository, policy, this.#now);
    const links = await this.#readLinks(repository);
    // all is read: from here on something goes
    await this.#tags(repository, mark);
    const removed = await this.#manifests(repository, mark);
    const named = new DigestSet();
    for (const [digest, { references }] of mark.manifests) {
      if (!removed.has(digest)) for (const reference of references) named.add(reference);
    }
    await this.#links(repository, links, named);
  }

  async #tags(repository: string, { unwantedTags }: Mark): Promise<void> {
    const { tags } = this.#report;
    if (this.#dryRun) {
      tags.removed += unwantedTags.size;
      return;
    }
    for (const [tag, seen] of unwantedTags) {
      await this.#turn(repository, async () => {
        const now = await readTag(this.#storage, repository, tag);
        // it may have been moved meanwhile
        if (now === null || now.digest !== seen.digest || now.updated !== seen.updated) return;
        if (await removeTag(this.#storage, repository, tag, this.#now)) tags.removed++;
      });
    }
  }

  /** @returns those that are gone */
  async #manifests(repository: string, { manifests, unwantedManifests }: Mark): Promise<ReadonlySet<Digest>> {
    const counts = this.#report.manifests;
    const removed = new Set<Digest>();
    const unwanted = new Set(unwantedManifests);
    const changes: (() => Promise<void>)[] = [];
    for (const [digest, { condemned }] of manifests) {
      if (unwanted.has(digest) ? condemned !== undefined && !this.#isDue(condemned) : condemned === undefined) continue;
      changes.push(async () => {
        const record = this.#dryRun
          ? manifests.get(digest)
          : await readManifestRecord(this.#storage, repository, digest);
        // what somebody has used meanwhile is another record now
        if (!record || record.condemned !== condemned) return;
        if (!unwanted.has(digest)) {
          counts.revived++;
          const { condemned: _, ...live } = record;
          if (!this.#dryRun) await writeManifestRecord(this.#storage, repository, digest, live);
        } else if (condemned === undefined) {
          counts.condemned++;
          const gone = { ...record, condemned: new Date(this.#now).toISOString() };
          if (!this.#dryRun) await writeManifestRecord(this.#storage, repository, digest, gone);
        } else {
          counts.removed++;
          removed.add(digest);
          if (this.#dryRun) return;
          await removeTagsOf(this.#storage, repository, digest);
          await removeManifest(this.#storage, repository, digest, record);
        }
      });
    }
    await this.#inTurns(repository, changes);
    return removed;
  }

  async #inTurns(scope: string, changes: readonly (() => Promise<void>)[]): Promise<void> {
    for (let at = 0; at < changes.length; at += batch) {
      const some = async (): Promise<void> => {
        for (const change of changes.slice(at, at + batch)) await change();
      };
      await (this.#dryRun ? some() : this.#turn(scope, some));
    }
  }

  async #readLinks(repository: string): Promise<readonly Link[]> {
    const links: Link[] = [];
    for (const folder of folders.allLinks(repository)) {
      for (const name of await this.#storage.list(folder, { after: null, limit: Number.POSITIVE_INFINITY })) {
        const digest = `${folder.slice(folder.lastIndexOf("/") + 1)}:${name}`;
        if (isDigest(digest)) links.push({ folder, digest });
      }
    }
    return links;
  }

  async #links(repository: string, links: readonly Link[], named: DigestSet): Promise<void> {
    const counts = this.#report.links;
    const changes: (() => Promise<void>)[] = [];
    for (const { folder, digest } of links) {
      const name = digestHex(digest);
      const found = await this.#storage.read(folder, name);
      if (found === null) continue;
      const { condemned, ...live } = decodeRecord<LinkRecord>(found.bytes);
      const put = async (record: LinkRecord) =>
        this.#dryRun || (await this.#storage.putIfMatch(folder, name, encodeRecord(record), found.version));
      if (named.has(digest)) {
        if (condemned === undefined) continue;
        changes.push(async () => {
          if (await put(live)) counts.revived++;
        });
      } else if (condemned === undefined) {
        if (!this.#isDue(live.linked)) continue;
        changes.push(async () => {
          if (await put({ ...live, condemned: new Date(this.#now).toISOString() })) counts.condemned++;
        });
      } else if (this.#isDue(condemned)) {
        changes.push(async () => {
          if (this.#dryRun || (await this.#storage.deleteIfMatch(folder, name, found.version))) counts.removed++;
        });
      }
      if (changes.length >= batch) await this.#inTurns(repository, changes.splice(0));
    }
    await this.#inTurns(repository, changes);
  }

  /**
   * A link that was made before this reading is seen here; one that is made later has its blob revived after it, or
   * finds it gone: so what is condemned still when it is removed has nobody.
   */
  async #blobs(): Promise<void> {
    const storage = this.#storage;
    const counts = this.#report.blobs;
    const named = new DigestSet();
    for await (const repository of repositoriesOf(storage)) {
      await this.#lease?.beat();
      for (const folder of [...folders.allLinks(repository), ...folders.allManifests(repository)]) {
        for (const name of await storage.list(folder, { after: null, limit: Number.POSITIVE_INFINITY })) {
          const digest = `${folder.slice(folder.lastIndexOf("/") + 1)}:${name}`;
          if (isDigest(digest)) named.add(digest);
        }
      }
    }
    const condemned = new DigestSet();
    for await (const { digest, since } of storage.condemnedBlobs()) {
      condemned.add(digest);
      if (named.has(digest)) {
        counts.revived++;
        if (!this.#dryRun) await this.#turn(`blob@${digest}`, async () => void (await storage.reviveBlob(digest)));
      } else if (since <= this.#due) {
        const remove = async (): Promise<void> => {
          const size = this.#dryRun ? await storage.blobSize(digest) : await storage.removeBlob(digest, this.#due);
          if (size === null) return;
          counts.removed++;
          counts.removedBytes += size;
        };
        await (this.#dryRun ? remove() : this.#turn(`blob@${digest}`, remove));
      }
    }
    for await (const { digest, size } of storage.blobs()) {
      if (named.has(digest) || condemned.has(digest)) continue;
      const condemn = async (): Promise<void> => {
        if (!this.#dryRun && !(await storage.condemnBlob(digest, this.#now))) return;
        counts.condemned++;
        counts.condemnedBytes += size;
      };
      await (this.#dryRun ? condemn() : this.#turn(`blob@${digest}`, condemn));
    }
  }

  async #uploads(): Promise<void> {
    const { uploads } = this.#report;
    this.#context.sessions.sweep();
    const swept = await this.#storage.sweep(this.#now - this.#context.limits.uploadIdle);
    uploads.removed += swept.uploads;
    uploads.removedBytes += swept.bytes;
  }
}

interface Link {
  readonly folder: string;
  readonly digest: Digest;
}
