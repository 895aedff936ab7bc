// Over 300 lines, since what is written and what is read back, as a folder and as a tar, must stay the same.
import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ifThere } from "../content/file-system.js";
import { readTar, type TarInput, writeTar } from "../content/tar.js";
import { ioError, LadingError } from "../errors.js";
import { createHasher, type Digest, digestAlgorithm, digestHex, isDigest } from "../oci/digest.js";
import type { Context } from "./context.js";
import { DigestSet } from "./digest-set.js";
import { type Lease, withLease } from "./lease.js";
import type { LinkRecord } from "./links.js";
import { readManifestRecord } from "./manifest-record.js";
import { FilesystemStorage } from "./storage/filesystem.js";
import { layoutVersion } from "./storage/layout-version.js";
import { decodeName, encodeName } from "./storage/record-name.js";
import { decodeRecord, digestName, encodeRecord, folders, repositoriesOf, type Storage } from "./storage/storage.js";
import { readTag } from "./tags.js";

/** What a backup, or what was restored from one, holds. */
export interface BackupReport {
  /** The folder or the `.tar`. */
  readonly path: string;
  readonly repositories: number;
  readonly manifests: number;
  readonly tags: number;
  readonly blobs: number;
  /** Bytes of the blobs. */
  readonly bytes: number;
  /** Blobs that were not what their digest says, or could not be read: they are not part of it. */
  readonly damaged: readonly Digest[];
}

type Entry =
  | { readonly kind: "record"; readonly folder: string; readonly name: string; readonly bytes: Uint8Array }
  | { readonly kind: "blob"; readonly digest: Digest; readonly size: number; readonly body: AsyncIterable<Uint8Array> };

type Counts = { -readonly [K in keyof Omit<BackupReport, "path" | "damaged">]: number } & { damaged: Digest[] };

const all = { after: null, limit: Number.POSITIVE_INFINITY } as const;
/** Where blobs grow; no repository is called so. */
const staging = "_restore";
const newCounts = (): Counts => ({ repositories: 0, manifests: 0, tags: 0, blobs: 0, bytes: 0, damaged: [] });

/**
 * Copies a registry that may be serving meanwhile: to a folder that is a registry's then, or to a `.tar` of it. Tags
 * are read before manifests, and these before what they name, none of which is collected until the end: so every tag
 * of the copy leads to an image that is whole.
 * @throws LadingError `conflict` where the folder is not empty or the file is there, or a collection runs; `io`, `no-space`
 */
export async function backup(context: Context, path: string, signal?: AbortSignal | null): Promise<BackupReport> {
  const counts = newCounts();
  return await withLease(context.storage, context.now, "backup", async (lease) => {
    const entries = entriesOf(context.storage, counts, lease, signal ?? null);
    await (isTar(path) ? writeToTar(entries, path, counts) : writeToFolder(entries, path, counts));
    return { path, ...counts };
  });
}

/**
 * Makes a registry's folder of a backup. Every blob is hashed on the way.
 * @throws LadingError `conflict` where the folder is not empty, `archive-invalid`, `not-found`, `config-invalid`, `io`, `no-space`
 */
export async function restore(from: string, directory: string): Promise<BackupReport> {
  const found = await ifThere(stat(from));
  if (found === null) throw new LadingError("not-found", `there is no ${from}`);
  const counts = newCounts();
  if (found.isFile()) {
    await writeToFolder(entriesOfTar(from, counts), directory, counts);
  } else {
    const source = new FilesystemStorage(from, { durable: true });
    await source.open({ write: false });
    await writeToFolder(entriesOf(source, counts, null, null), directory, counts);
  }
  return { path: directory, ...counts };
}

function isTar(path: string): boolean {
  return path.endsWith(".tar");
}

async function* entriesOf(
  storage: Storage,
  counts: Counts,
  lease: Lease | null,
  signal: AbortSignal | null,
): AsyncGenerator<Entry> {
  const done = new DigestSet();
  const blob = async function* (digest: Digest): AsyncGenerator<Entry> {
    const size = done.has(digest) ? null : await storage.blobSize(digest);
    done.add(digest);
    if (size !== null) yield { kind: "blob", digest, size, body: storage.blobBytes(digest, 0, size - 1) };
  };
  for await (const repository of repositoriesOf(storage)) {
    signal?.throwIfAborted();
    await lease?.beat();
    counts.repositories++;
    yield* repositoryEntries(storage, repository, counts, blob);
  }
  for (const under of ["meta", "auth"]) {
    for await (const folder of storage.folders(under)) {
      for (const name of await storage.list(folder, all)) {
        const bytes = await storage.get(folder, name);
        if (bytes !== null) yield { kind: "record", folder, name, bytes };
      }
    }
  }
}

async function* repositoryEntries(
  storage: Storage,
  repository: string,
  counts: Counts,
  blob: (digest: Digest) => AsyncGenerator<Entry>,
): AsyncGenerator<Entry> {
  const tags: { readonly name: string; readonly digest: Digest; readonly bytes: Uint8Array }[] = [];
  for (const name of await storage.list(folders.tags(repository), all)) {
    const record = await readTag(storage, repository, name);
    if (record !== null) tags.push({ name, digest: record.digest, bytes: encodeRecord(record) });
  }
  const manifests = new Map<Digest, Uint8Array>();
  const named = new Map<Digest, number | null>();
  const referrers: { readonly folder: string; readonly name: string }[] = [];
  for (const folder of folders.allManifests(repository)) {
    for (const hex of await storage.list(folder, all)) {
      const digest = `${folder.slice(folder.lastIndexOf("/") + 1)}:${hex}`;
      const record = isDigest(digest) ? await readManifestRecord(storage, repository, digest) : null;
      if (record === null) continue;
      manifests.set(digest as Digest, encodeRecord(record));
      for (const reference of record.references) named.set(reference, null);
      if (record.subject === null) continue;
      referrers.push({ folder: folders.referrers(repository, record.subject), name: digestName(digest as Digest) });
    }
  }
  for (const folder of folders.allLinks(repository)) {
    for (const hex of await storage.list(folder, all)) {
      const digest = `${folder.slice(folder.lastIndexOf("/") + 1)}:${hex}`;
      const bytes = isDigest(digest) ? await storage.get(folder, hex) : null;
      if (bytes !== null) named.set(digest as Digest, decodeRecord<LinkRecord>(bytes).size);
    }
  }
  for (const [digest, size] of named) {
    yield* blob(digest);
    // a link that went after its manifest was read comes back with it
    const there = size ?? (manifests.has(digest) ? null : await storage.blobSize(digest));
    if (there === null) continue;
    const record: LinkRecord = { size: there, linked: new Date().toISOString() };
    yield {
      kind: "record",
      folder: folders.links(repository, digest),
      name: digestHex(digest),
      bytes: encodeRecord(record),
    };
  }
  for (const [digest, bytes] of manifests) {
    counts.manifests++;
    yield* blob(digest);
    yield { kind: "record", folder: folders.manifests(repository, digest), name: digestHex(digest), bytes };
  }
  for (const { folder, name } of referrers) {
    const bytes = await storage.get(folder, name);
    if (bytes !== null) yield { kind: "record", folder, name, bytes };
  }
  for (const { name, digest, bytes } of tags) {
    // one whose manifest was deleted in between was deleted too
    if (!manifests.has(digest)) continue;
    counts.tags++;
    yield { kind: "record", folder: folders.tags(repository), name, bytes };
  }
}

async function writeToFolder(entries: AsyncIterable<Entry>, directory: string, counts: Counts): Promise<void> {
  const there = await ifThere(readdir(directory));
  if (there !== null && there.length > 0) {
    throw new LadingError("conflict", `${directory} is not empty`, { hint: "name a folder that does not exist yet" });
  }
  const target = new FilesystemStorage(directory, { durable: true });
  await target.open({ write: true });
  for await (const entry of entries) {
    if (entry.kind === "record") {
      await target.put(entry.folder, entry.name, entry.bytes);
      continue;
    }
    const upload = await target.createUpload(staging, randomUUID(), null);
    try {
      if (!(await isWhole(entry, counts, (body) => upload.append(body)))) continue;
      await upload.sync();
      await upload.commit(entry.digest);
    } finally {
      await upload.remove();
    }
  }
  await rm(join(directory, "repos", staging), { recursive: true, force: true });
}

/** Hands a blob's bytes on, and counts it where they are what they should be. */
async function isWhole(
  { digest, size, body }: Extract<Entry, { kind: "blob" }>,
  counts: Counts,
  take: (body: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<boolean> {
  const hasher = createHasher(digestAlgorithm(digest));
  let broken = false;
  await take(
    (async function* () {
      try {
        for await (const chunk of body) {
          hasher.update(chunk);
          yield chunk;
        }
      } catch {
        broken = true;
      }
    })(),
  );
  if (broken || hasher.digest() !== digest) {
    counts.damaged.push(digest);
    return false;
  }
  counts.blobs++;
  counts.bytes += size;
  return true;
}

function blobName(digest: Digest): string {
  const hex = digestHex(digest);
  return `blobs/${digestAlgorithm(digest)}/${hex.slice(0, 2)}/${hex}`;
}

async function writeToTar(entries: AsyncIterable<Entry>, path: string, counts: Counts): Promise<void> {
  if ((await ifThere(stat(path))) !== null) throw new LadingError("conflict", `${path} is there already`);
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${randomUUID()}.part`;
  const tar = writeTar(tarEntries(entries, counts));
  try {
    await pipeline(Readable.from(tar, { objectMode: false }), createWriteStream(draft, { mode: 0o600, flush: true }));
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw ioError(error, `writing ${path}`);
  }
}

async function* tarEntries(entries: AsyncIterable<Entry>, counts: Counts): AsyncGenerator<TarInput> {
  const version = encodeRecord({ layout: "lading-registry", version: layoutVersion });
  yield { name: "lading-registry.json", size: version.length, body: version };
  for await (const entry of entries) {
    if (entry.kind === "record") {
      const name = `${entry.folder}/${encodeName(entry.name)}`;
      yield { name, size: entry.bytes.length, body: entry.bytes, mode: 0o600 };
      continue;
    }
    const { digest, size, body } = entry;
    const hasher = createHasher(digestAlgorithm(digest));
    const hashed = (async function* () {
      for await (const chunk of body) {
        hasher.update(chunk);
        yield chunk;
      }
    })();
    yield { name: blobName(digest), size, body: hashed, mode: 0o444 };
    // the archive has it as it is: restoring leaves it out
    if (hasher.digest() !== digest) counts.damaged.push(digest);
    else {
      counts.blobs++;
      counts.bytes += size;
    }
  }
}

/** Records have their places within these. */
const recordPath =
  /^(?:repos(?:\/[a-z0-9._-]+)+\/_(?:links|manifests|tags|referrers)(?:\/[a-z0-9-]+)?|meta\/[a-z-]+|auth(?:\/[a-z0-9_-]+)*)$/;
const mostRecord = 16 * 1024 * 1024;

async function* entriesOfTar(path: string, counts: Counts): AsyncGenerator<Entry> {
  const repositories = new Set<string>();
  let first = true;
  for await (const { name, type, size, body } of readTar(createReadStream(path), {
    maxEntries: Number.MAX_SAFE_INTEGER,
  })) {
    if (first && name !== "lading-registry.json")
      throw new LadingError("archive-invalid", `${path} is no backup of a registry`);
    first = false;
    if (type !== "file") throw new LadingError("archive-invalid", `${path} holds what no backup has`);
    const slash = name.lastIndexOf("/");
    const [folder, file] = [name.slice(0, Math.max(slash, 0)), name.slice(slash + 1)];
    if (name.startsWith("blobs/")) {
      const digest = `${name.split("/")[1]}:${file}`;
      if (!isDigest(digest) || blobName(digest) !== name)
        throw new LadingError("archive-invalid", `${path} names no blob so`);
      yield { kind: "blob", digest, size, body };
      continue;
    }
    if (size > mostRecord) throw new LadingError("archive-invalid", `${path} holds too large a record`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk.slice());
    const bytes = Buffer.concat(chunks);
    if (folder === "") {
      const { version } = JSON.parse(bytes.toString()) as { readonly version?: unknown };
      if (version === layoutVersion) continue;
      throw new LadingError("config-invalid", `${path} has the layout ${String(version)}, not ${layoutVersion}`);
    }
    const record = decodeName(file);
    if (record === null || !recordPath.test(folder))
      throw new LadingError("archive-invalid", `${path} holds what no backup has`);
    const repository = folder.startsWith("repos/") ? folder.slice("repos/".length).split("/_", 1)[0] : undefined;
    if (repository !== undefined) repositories.add(repository);
    counts.repositories = repositories.size;
    if (folder.includes("/_manifests/")) counts.manifests++;
    if (folder.endsWith("/_tags")) counts.tags++;
    yield { kind: "record", folder, name: record, bytes };
  }
}
