import { type Digest, digestAlgorithm, digestHex } from "../../oci/digest.js";

/**
 * What a registry needs of the place where it keeps things. Small records (links, tags, …) lie in folders under
 * their names; blobs lie once each under their digest; uploads grow beside them until they become blobs.
 * Everything that is written is durable once its promise resolves; nobody sees half of it before.
 */
export interface Storage {
  /**
   * Called before the first request, and with `write` before the first that writes: reading creates nothing.
   * @throws LadingError `config-invalid` where the folder holds something else or a newer layout
   */
  open(options: { readonly write: boolean; readonly signal?: AbortSignal | null | undefined }): Promise<void>;
  close(): Promise<void>;

  get(folder: string, name: string): Promise<Uint8Array | null>;
  put(folder: string, name: string, bytes: Uint8Array): Promise<void>;
  /** False where it was not there. */
  delete(folder: string, name: string): Promise<boolean>;
  /** Names of a folder in byte order, from after `after` on. */
  list(folder: string, page: { readonly after: string | null; readonly limit: number }): Promise<readonly string[]>;

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

  createUpload(repository: string, id: string): Promise<Upload>;
  /** Null where there is none. */
  openUpload(repository: string, id: string): Promise<Upload | null>;
  /** How many uploads of a repository are open. */
  countUploads(repository: string): Promise<number>;

  /**
   * Runs a change alone among those of its scope, whatever process they are in. A repository is a scope, and so is
   * one blob of it.
   * `signal` ends the waiting, never the task.
   */
  exclusive<T>(scope: string, signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T>;
  /** Removes uploads, and what killed processes left, that nobody has touched since (ms since the epoch). */
  sweep(before: number): Promise<void>;
  /** The id under which a server holds this storage for itself, if it does so from this process. */
  instanceId(): Promise<string | null>;
}

/** A blob on its way in. One caller at a time. */
export interface Upload {
  /** Bytes that are there. */
  readonly size: number;
  /** When it last grew, ms since the epoch. */
  readonly touched: number;
  /**
   * Adds what `source` gives. Where that fails, what came before stays and counts.
   * A chunk is not changed by its giver before the promise settles.
   */
  append(source: AsyncIterable<Uint8Array>): Promise<void>;
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
} as const;

/** The scope of changes of one blob in one repository. */
export function blobScope(repository: string, digest: Digest): string {
  return `${repository}@${digest}`;
}

/** `<algorithm>-<hex>`, for records of both algorithms in one folder. */
export function digestName(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}`;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeRecord(value: object): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

/** Our own record, or null where there is none. */
export async function readRecord<T extends object>(storage: Storage, folder: string, name: string): Promise<T | null> {
  const bytes = await storage.get(folder, name);
  return bytes === null ? null : (JSON.parse(decoder.decode(bytes)) as T);
}
