import { type Digest, digestAlgorithm, digestHex, isDigest } from "../../oci/digest.js";

/** A record with what tells it from later ones. */
export interface StoredRecord {
  readonly bytes: Uint8Array;
  /** Opaque: a hash, an ETag, … */
  readonly version: string;
}

/** Small records (links, tags, …), which lie in folders under their names. */
export interface Records {
  get(folder: string, name: string): Promise<Uint8Array | null>;
  read(folder: string, name: string): Promise<StoredRecord | null>;
  put(folder: string, name: string, bytes: Uint8Array): Promise<void>;
  /** False where there is one already. */
  putIfAbsent(folder: string, name: string, bytes: Uint8Array): Promise<boolean>;
  /** False where it is no longer the one that was read. */
  putIfMatch(folder: string, name: string, bytes: Uint8Array, version: string): Promise<boolean>;
  /** False where it was not there. */
  delete(folder: string, name: string): Promise<boolean>;
  /** False where it is no longer the one that was read. */
  deleteIfMatch(folder: string, name: string, version: string): Promise<boolean>;
  /** Names of a folder in byte order, from after `after` on. */
  list(folder: string, page: { readonly after: string | null; readonly limit: number }): Promise<readonly string[]>;
  /** A folder that holds records, and those within it, in no order. */
  folders(under: string): AsyncIterable<string>;
}

/** An upload that is open. */
export interface StoredUpload {
  readonly repository: string;
  readonly id: string;
  /** Whose it is; null for whoever nobody knows by name. */
  readonly subject: string | null;
}

export interface StoredBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

export interface CondemnedBlob {
  readonly digest: Digest;
  /** ms since the epoch. */
  readonly since: number;
}

/**
 * Content, which lies once under its digest. A blob is live, or condemned: that is read as ever, and removed a while
 * later unless somebody has revived it. Whatever places a blob revives it too.
 */
export interface Blobs {
  /** Bytes, or null where there is no such blob. */
  blobSize(digest: Digest): Promise<number | null>;
  /** Bytes `start` to `end`, both included. */
  blobBytes(digest: Digest, start: number, end: number): AsyncIterable<Uint8Array>;
  /** Adds a small blob whose digest the caller has checked. */
  addBlob(digest: Digest, bytes: Uint8Array): Promise<void>;
  /**
   * Makes a file of this machine, whose digest its owner has checked, a blob without copying it. False where that
   * can't be done.
   */
  adoptBlob(digest: Digest, size: number, path: string): Promise<boolean>;
  /** The file that a blob is, which is never written again; null where there is none. */
  blobPath(digest: Digest): Promise<string | null>;
  /** All that are there, in the order of their digests. */
  blobs(): AsyncIterable<StoredBlob>;
  condemnedBlobs(): AsyncIterable<CondemnedBlob>;
  /** Makes sure that a blob is live. Its bytes, or null where it is not there. */
  reviveBlob(digest: Digest): Promise<number | null>;
  /** False where it is condemned already, or not there. */
  condemnBlob(digest: Digest, since: number): Promise<boolean>;
  /** Removes a blob that has been condemned since before `before`. Its bytes; null where it has not been. */
  removeBlob(digest: Digest, before: number): Promise<number | null>;
  /** Takes a blob that is not what its digest says out of reach, and keeps it aside. False where it is not there. */
  quarantineBlob(digest: Digest): Promise<boolean>;
  /** Those that were taken out of reach, though they may be there again: none, mostly, and this is quick then. */
  quarantinedBlobs(): Promise<ReadonlySet<Digest>>;
}

/**
 * What a registry needs of the place where it keeps things: records, blobs, and uploads that grow beside them until
 * they become blobs. Everything that is written is durable once its promise resolves; nobody sees half of it before.
 */
export interface Storage extends Records, Blobs {
  /**
   * Called before the first request, and with `write` before the first that writes: reading creates nothing.
   * @throws LadingError `config-invalid` where the folder holds something else or a newer layout
   */
  open(options: { readonly write: boolean; readonly signal?: AbortSignal | null | undefined }): Promise<void>;
  close(): Promise<void>;

  /** @param subject Whom the upload belongs to; null is anonymous. */
  createUpload(repository: string, id: string, subject: string | null): Promise<Upload>;
  /** Null where there is none. */
  openUpload(repository: string, id: string): Promise<Upload | null>;
  /** How many uploads of a repository are open. */
  countUploads(repository: string): Promise<number>;
  /** Those of all repositories. */
  uploads(): AsyncIterable<StoredUpload>;

  /**
   * Runs a change alone among those of its scope, whatever process they are in. A repository is a scope, and so is
   * one blob of it. Never within another.
   * `signal` ends the waiting, never the task.
   */
  exclusive<T>(scope: string, signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T>;
  /**
   * Runs a change beside others that share its scope, never beside one that has it exclusively; alone among those
   * that name one of the same parts of it.
   */
  shared<T>(scope: SharedScope, signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T>;
  /** Removes uploads, and what killed processes left, that nobody has touched since (ms since the epoch). */
  sweep(before: number): Promise<SweepReport>;
  /** The id under which a server holds this storage for itself, if it does so from this process. */
  instanceId(): Promise<string | null>;
}

export interface SharedScope {
  readonly scope: string;
  /** What two changes must not do at once, tags of a repository. */
  readonly parts: readonly string[];
}

export interface SweepReport {
  readonly uploads: number;
  readonly bytes: number;
}

/** A blob on its way in. One caller at a time. */
export interface Upload {
  /** Bytes that are there. */
  readonly size: number;
  /** When it last grew, ms since the epoch. */
  readonly touched: number;
  /** Whom it belongs to; null is anonymous. */
  readonly subject: string | null;
  /**
   * Adds what `source` gives. Where that fails, what came before stays and counts.
   * A chunk is not changed by its giver before the promise settles.
   * @param see Gets the bytes in pieces as they are stored, each of which stays as it is until its promise settles.
   */
  append(source: AsyncIterable<Uint8Array>, see?: (bytes: Uint8Array) => Promise<void>): Promise<void>;
  truncate(size: number): Promise<void>;
  /** All bytes, to hash them again. */
  read(): AsyncIterable<Uint8Array>;
  /** Makes the bytes durable. Slow, so it is done before the repository is locked. */
  sync(): Promise<void>;
  /** Becomes the blob, whose digest the caller has checked; where that is there already it only counts as fresh. */
  commit(digest: Digest): Promise<void>;
  remove(): Promise<void>;
}

/** Where records lie. The same names serve a folder and a bucket. */
export const folders = {
  links: (repository: string, digest: Digest) => `repos/${repository}/_links/${digestAlgorithm(digest)}`,
  allLinks: (repository: string) => [`repos/${repository}/_links/sha256`, `repos/${repository}/_links/sha512`],
  manifests: (repository: string, digest: Digest) => `repos/${repository}/_manifests/${digestAlgorithm(digest)}`,
  allManifests: (repository: string) => [
    `repos/${repository}/_manifests/sha256`,
    `repos/${repository}/_manifests/sha512`,
  ],
  tags: (repository: string) => `repos/${repository}/_tags`,
  referrers: (repository: string, subject: Digest) =>
    `repos/${repository}/_referrers/${digestAlgorithm(subject)}-${digestHex(subject)}`,
  repositories: "meta/repos",
  /** Repositories that were given a blob, whether they hold a manifest by now or not. */
  linked: "meta/linked",
} as const;

/** Blobs that are condemned, where a storage keeps that in records. */
export const condemnedFolder = "gc/condemned";

/** Every repository that has or had anything, in no order. */
export async function* repositoriesOf(storage: Storage): AsyncIterable<string> {
  const seen = new Set<string>();
  for await (const folder of storage.folders("repos")) {
    const repository = folder.slice("repos/".length).split("/_", 1)[0] ?? "";
    if (seen.has(repository)) continue;
    seen.add(repository);
    yield repository;
  }
}

/** The scope of changes of one blob in one repository. */
export function blobScope(repository: string, digest: Digest): string {
  return `${repository}@${digest}`;
}

/** `<algorithm>-<hex>`, for records of both algorithms in one folder. */
export function digestName(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}`;
}

/** The digest of such a name, or null. */
export function digestOfName(name: string): Digest | null {
  const digest = name.replace("-", ":");
  return isDigest(digest) ? digest : null;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeRecord(value: object): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

/** One of our own records. */
export function decodeRecord<T extends object>(bytes: Uint8Array): T {
  return JSON.parse(decoder.decode(bytes)) as T;
}

/** Our own record, or null where there is none. */
export async function readRecord<T extends object>(storage: Records, folder: string, name: string): Promise<T | null> {
  const bytes = await storage.get(folder, name);
  return bytes === null ? null : decodeRecord<T>(bytes);
}
