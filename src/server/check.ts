import { type Digest, isDigest } from "../oci/digest.js";
import { children, parseManifest } from "../oci/manifest.js";
import { isForeignLayerType } from "../oci/media-types.js";
import { checkBlobs } from "./blob-check.js";
import type { Context } from "./context.js";
import { readLink } from "./links.js";
import { type ManifestRecord, readManifestRecord } from "./manifest-record.js";
import { ReadRate } from "./read-rate.js";
import { noteScrubbed } from "./scrub.js";
import { digestName, folders, repositoriesOf, type Storage } from "./storage/storage.js";
import { readTag } from "./tags.js";

/** Options of a check. */
export interface CheckOptions {
  /** Leaves the content of blobs unread. @default false */
  readonly quick?: boolean | null | undefined;
  /** Takes blobs that are not what their digest says out of reach, so that a push repairs them. @default false */
  readonly quarantine?: boolean | null | undefined;
  /** Bytes read in a second at most. @default no bound */
  readonly rate?: number | null | undefined;
  readonly signal?: AbortSignal | null | undefined;
}

/** What is broken. */
export type ProblemKind =
  /** A record that can't be read. */
  | "record-damaged"
  /** A tag of a manifest that is not there. */
  | "tag-dangling"
  /** A manifest whose bytes are not there, or too short or long. */
  | "manifest-lost"
  /** Content that a manifest names is not there. */
  | "content-missing"
  /** A referrer that the list of its subject lacks. */
  | "referrer-unlisted"
  /** A blob whose bytes are not what its digest says. */
  | "blob-corrupt"
  /** A blob that can't be read. */
  | "blob-unreadable";

/** Something that is broken; null is what it does not concern. */
export interface Problem {
  readonly kind: ProblemKind;
  readonly repository: string | null;
  readonly tag: string | null;
  readonly digest: Digest | null;
}

/** What a check read, and what is broken; `ok` where nothing is. */
export interface CheckReport {
  readonly ok: boolean;
  readonly repositories: number;
  readonly tags: number;
  readonly manifests: number;
  readonly blobs: number;
  /** Bytes that were read and hashed. */
  readonly bytes: number;
  readonly quarantined: number;
  readonly problems: readonly Problem[];
}

const all = { after: null, limit: Number.POSITIVE_INFINITY } as const;

/**
 * Looks whether all that tags and manifests name is there and is what it is called, while the registry serves. What
 * looks wrong is looked at again alone, since somebody may just be changing it.
 */
export async function check(context: Context, options: CheckOptions = {}): Promise<CheckReport> {
  const run = new Check(context, options);
  return await run.run();
}

class Check {
  readonly #context: Context;
  readonly #storage: Storage;
  readonly #options: CheckOptions;
  readonly #problems: Problem[] = [];
  readonly #counts = { repositories: 0, tags: 0, manifests: 0, blobs: 0, bytes: 0, quarantined: 0 };

  constructor(context: Context, options: CheckOptions) {
    this.#context = context;
    this.#storage = context.storage;
    this.#options = options;
  }

  async run(): Promise<CheckReport> {
    for await (const repository of repositoriesOf(this.#storage)) {
      this.#options.signal?.throwIfAborted();
      this.#counts.repositories++;
      await this.#tags(repository);
      await this.#manifests(repository);
    }
    if (this.#options.quick !== true) await this.#blobs();
    return { ok: this.#problems.length === 0, ...this.#counts, problems: this.#problems };
  }

  /** What is wrong, if it is so still when nobody changes the repository. */
  async #look(repository: string, find: () => Promise<readonly Problem[]>): Promise<void> {
    if ((await find()).length === 0) return;
    this.#problems.push(...(await this.#storage.exclusive(repository, this.#options.signal, find)));
  }

  async #tags(repository: string): Promise<void> {
    for (const tag of await this.#storage.list(folders.tags(repository), all)) {
      this.#counts.tags++;
      const problem = (kind: ProblemKind, digest: Digest | null): readonly Problem[] => [
        { kind, repository, tag, digest },
      ];
      await this.#look(repository, async () => {
        try {
          const record = await readTag(this.#storage, repository, tag);
          if (record === null) return [];
          const target = await readManifestRecord(this.#storage, repository, record.digest);
          return target === null ? problem("tag-dangling", record.digest) : [];
        } catch (error) {
          this.#context.onError(error);
          return problem("record-damaged", null);
        }
      });
    }
  }

  async #manifests(repository: string): Promise<void> {
    for (const folder of folders.allManifests(repository)) {
      for (const name of await this.#storage.list(folder, all)) {
        const digest = `${folder.slice(folder.lastIndexOf("/") + 1)}:${name}`;
        if (!isDigest(digest)) continue;
        this.#counts.manifests++;
        await this.#look(repository, () => this.#manifest(repository, digest));
      }
    }
  }

  async #manifest(repository: string, digest: Digest): Promise<readonly Problem[]> {
    const problem = (kind: ProblemKind, of: Digest = digest): Problem => ({ kind, repository, tag: null, digest: of });
    let record: ManifestRecord | null;
    try {
      record = await readManifestRecord(this.#storage, repository, digest);
    } catch (error) {
      this.#context.onError(error);
      return [problem("record-damaged")];
    }
    if (record === null) return [];
    const problems: Problem[] = [];
    if (record.subject !== null) {
      const folder = folders.referrers(repository, record.subject);
      if ((await this.#storage.get(folder, digestName(digest))) === null) problems.push(problem("referrer-unlisted"));
    }
    const wanted = await this.#wanted(digest, record);
    if (wanted === null) return [...problems, problem("manifest-lost")];
    for (const child of wanted) {
      const link = await readLink(this.#storage, repository, child);
      const known = link ?? (await readManifestRecord(this.#storage, repository, child));
      const size = known === null ? null : await this.#storage.blobSize(child);
      if ((known === null || size !== known.size) && !this.#context.sparse)
        problems.push(problem("content-missing", child));
    }
    return problems;
  }

  /** What a manifest names and has to be here; null where its own bytes are not. */
  async #wanted(digest: Digest, { size, mediaType }: ManifestRecord): Promise<ReadonlySet<Digest> | null> {
    if ((await this.#storage.blobSize(digest)) !== size) return null;
    try {
      const chunks: Uint8Array[] = [];
      for await (const chunk of this.#storage.blobBytes(digest, 0, size - 1)) chunks.push(chunk);
      const named = children(parseManifest(Buffer.concat(chunks), mediaType));
      const here = named.filter(({ mediaType, urls }) => !isForeignLayerType(mediaType) || (urls?.length ?? 0) === 0);
      return new Set(here.map((child) => child.digest));
    } catch (error) {
      this.#context.onError(error);
      return null;
    }
  }

  async #blobs(): Promise<void> {
    const { rate, quarantine, signal } = this.#options;
    const reading = { quarantine: quarantine === true, signal, rate: new ReadRate(rate ?? null) };
    for await (const { digest, bytes, problem, quarantined } of checkBlobs(this.#context, reading)) {
      this.#counts.blobs++;
      this.#counts.bytes += bytes;
      if (problem !== null) this.#problems.push({ kind: problem, repository: null, tag: null, digest });
      if (quarantined) this.#counts.quarantined++;
    }
    if (quarantine === true) await noteScrubbed(this.#storage, this.#context.now());
  }
}
