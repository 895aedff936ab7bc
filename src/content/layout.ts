import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ioError, isLadingError, LadingError, throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { createHasher, type Digest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { parseManifest, type RawManifest } from "../oci/manifest.js";
import { abortable } from "./abortable.js";
import { BlobFolder, type StoredBlob } from "./blob-folder.js";
import { writeStream } from "./blob-writer.js";
import { type Durability, openRegular, readSmallFile, replaceFile, writeNewFile } from "./durable-file.js";
import { type FileSystem, ifThere, nodeFileSystem, removeFile } from "./file-system.js";
import { InFlight } from "./in-flight.js";
import type { ContentIngest, ImageFormat, IngestOptions, LayerCache } from "./layer-cache.js";
import { LayerRecords } from "./layer-records.js";
import { type LayoutEntry, LayoutIndex } from "./layout-index.js";
import { withLock } from "./lock.js";
import { isMismatch, retryMismatchOnce } from "./mismatch.js";
import { PartialFolder } from "./partial.js";
import { identifySelf, type ProcessIdentity } from "./process-identity.js";
import { reachable } from "./reachable.js";
import { makeFolder, refuseLink } from "./real-folder.js";
import type { ByteSource, ContentStore, FileBacked, PutOptions, PutResult, ReadOptions } from "./store.js";
import { createVerifier, readAll, readVerified, type Verifier, verifyStream } from "./verify.js";

// Longer than 300 lines: the one place that knows how blobs, index, partial downloads and records of a layout are
// kept consistent with one another. Each of them has a file of its own beside this one.

export interface LayoutStoreOptions {
  /** @default "full" */
  readonly durability?: Durability | undefined;
  /** @default node:fs/promises */
  readonly fs?: FileSystem | undefined;
  /** ms since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined;
  /** A new name each time, of letters and digits. @default 8 random bytes as hex */
  readonly random?: (() => string) | undefined;
  /** How long to wait for another process that writes the index, in ms. @default 60000 */
  readonly lockPatience?: number | undefined;
}

interface Signal {
  readonly signal?: AbortSignal | undefined;
}

/** What a store takes on the disk, in bytes. */
export interface StoreSizes {
  /** What the images in `index.json` reach. */
  readonly own: number;
  /** Everything else under `blobs/`. */
  readonly cache: number;
  /** Downloads that are under way, or wait to be taken up again. */
  readonly partial: number;
}

/** Content of this size and more is worth taking up again after a cut, in bytes. */
const resumableSize = 256 * 1024;
const layoutVersion = "1.0.0";
const privateFolder = ".lading";

/**
 * An OCI image layout on disk: the hub of every transfer, and the images of an engine without a daemon. Any number
 * of processes may work on one layout. `.lading/` beside the standard's files holds what is not content: partial
 * downloads, the lock and the memory of layers.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export class LayoutStore implements ContentStore, LayerCache, ContentIngest, FileBacked {
  readonly directory: string;
  /** The blobs, read without a mark of their use. */
  readonly blobs: BlobFolder;
  readonly #fs: FileSystem;
  readonly #durability: Durability;
  readonly #clock: () => number;
  readonly #random: () => string;
  readonly #lockPatience: number;
  readonly #records: LayerRecords;
  readonly #puts = new InFlight<Digest>();
  #prepared: Promise<PartialFolder> | null = null;
  #self: Promise<ProcessIdentity> | null = null;

  /** Touches nothing: the folder is made by the first write. */
  constructor(directory: string, options: LayoutStoreOptions = {}) {
    this.directory = directory;
    this.#fs = options.fs ?? nodeFileSystem;
    this.#durability = options.durability ?? "full";
    this.#clock = options.clock ?? Date.now;
    this.#random = options.random ?? (() => randomBytes(8).toString("hex"));
    this.#lockPatience = options.lockPatience ?? 60_000;
    const { directory: root } = this;
    this.blobs = new BlobFolder({ fs: this.#fs, root, durability: this.#durability, clock: this.#clock });
    this.#records = new LayerRecords({
      fs: this.#fs,
      directory: join(root, privateFolder),
      prepare: async (folder) => {
        const partials = await this.#prepare();
        await makeFolder(this.#fs, folder);
        return partials.temporary();
      },
    });
  }

  /** The same as the constructor, for symmetry with what must be opened. */
  static open(directory: string, options: LayoutStoreOptions = {}): LayoutStore {
    return new LayoutStore(directory, options);
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return await this.#io("looking into the store", async () => {
      const blob = await this.blobs.stat(descriptor.digest);
      return blob !== null && blob.size === descriptor.size && (await this.blobs.touch(blob));
    });
  }

  async *get(descriptor: Descriptor, options: ReadOptions = {}): AsyncGenerator<Uint8Array> {
    const blob = await this.#io("looking into the store", () => this.blobs.stat(descriptor.digest));
    if (blob !== null) await this.blobs.touch(blob);
    try {
      yield* this.blobs.get(descriptor, options);
    } catch (error) {
      if (isMismatch(error) && blob?.size === descriptor.size) await this.#quarantine(blob);
      throw error;
    }
  }

  async put(descriptor: Descriptor, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    throwIfAborted(options.signal);
    const exists = async (): Promise<PutResult | null> =>
      (await this.has(descriptor)) ? { outcome: "exists", transferred: 0 } : null;
    const take = async (report: (stored: number) => void): Promise<PutResult> => {
      const transfer: Transfer = {
        descriptor,
        read: (offset) => foreignStream(abortable(source(offset, options.signal), options.signal)),
        report: (stored) => foreignCall(() => report(stored)),
        onRetry: (reason) => foreignCall(() => options.onRetry?.(reason)),
        signal: options.signal,
      };
      const transferred = await this.#io(`storing ${descriptor.digest}`, () =>
        descriptor.size < resumableSize ? this.#takeSmall(transfer) : this.#takeLarge(transfer),
      );
      return { outcome: "stored", transferred };
    };
    return (await exists()) ?? (await this.#puts.run(descriptor.digest, options, take, exists));
  }

  async ingest(
    mediaType: string,
    source: AsyncIterable<Uint8Array>,
    { signal, onBytes }: IngestOptions = {},
  ): Promise<Descriptor> {
    const partials = await this.#io("opening the store", () => this.#prepare());
    const path = await this.#io("writing into the store", () => partials.create(null));
    try {
      const handle = await this.#create(path);
      const hasher = createHasher();
      let size: number;
      try {
        size = await writeStream(handle, abortable(source, signal), {
          position: 0,
          limit: Number.MAX_SAFE_INTEGER,
          update: hasher.update,
          onStored: onBytes ?? (() => {}),
          clock: this.#clock,
        });
        await this.#io("writing into the store", () => this.#seal(handle));
      } finally {
        await handle.close();
      }
      const descriptor = { mediaType, digest: hasher.digest(), size };
      await this.#io(`storing ${descriptor.digest}`, () => this.blobs.commit(path, descriptor));
      await partials.finished(path, descriptor);
      return descriptor;
    } catch (error) {
      await partials.discard(path).catch(() => {});
      throw error;
    }
  }

  /**
   * Takes content over from a file of the same file system without copying it. False where that cannot be done:
   * `put` it then.
   * @param verified The file is a blob of another store of content, verified when it was written and never written
   *   again: it may be linked, and is not read. Any other file is cloned, and its bytes are checked.
   * @throws LadingError `digest-mismatch`, `size-mismatch`, `not-found` where there is no such file
   */
  async link(
    descriptor: Descriptor,
    path: string,
    { verified = false }: { readonly verified?: boolean } = {},
  ): Promise<boolean> {
    const { digest, size } = descriptor;
    return await this.#io(`linking ${digest} into the store`, async () => {
      if (await this.has(descriptor)) return true;
      const stat = await ifThere(this.#fs.lstat(path));
      if (!stat?.isFile()) throw new LadingError("not-found", `${path} is no file`, { digest });
      if (stat.size !== size)
        throw new LadingError("size-mismatch", `${path} has ${stat.size} bytes, not ${size}`, { digest });
      const partials = await this.#prepare();
      const temporary = partials.temporary();
      if (!(await this.blobs.cloneFile(path, temporary, { hardLink: verified }))) return false;
      try {
        if (!verified) await this.#check(temporary, descriptor);
        await this.blobs.commit(temporary, descriptor);
        return true;
      } catch (error) {
        await removeFile(this.#fs, temporary).catch(() => {});
        throw error;
      }
    });
  }

  async resolve(reference: string): Promise<Descriptor | null> {
    return (await this.#io("reading the store's index", () => this.#readIndex())).find(reference);
  }

  async tag(descriptor: Descriptor, reference: string, { signal }: Signal = {}): Promise<void> {
    await this.#changeIndex(signal, async (index) => {
      // Under the lock, so that a collection cannot take the content away in between.
      if (!(await this.has(descriptor))) {
        throw new LadingError("not-found", `${descriptor.digest} is not in the store`, { digest: descriptor.digest });
      }
      return index.with(reference, descriptor);
    });
  }

  /** Takes a name away; the content stays until it is collected. False where the name was not there. */
  async untag(name: string, { signal }: Signal = {}): Promise<boolean> {
    let there = false;
    await this.#changeIndex(signal, async (index) => {
      there = index.entries().some((entry) => entry.name === name);
      return there ? index.without(name) : index;
    });
    return there;
  }

  /** The store's own images by name; what is cached for another engine is not among them. */
  async entries(): Promise<readonly LayoutEntry[]> {
    return (await this.#io("reading the store's index", () => this.#readIndex())).entries();
  }

  /** Everything that `index.json` names, also what has no name. */
  async roots(): Promise<readonly Descriptor[]> {
    return (await this.#io("reading the store's index", () => this.#readIndex())).roots();
  }

  /** What the memory of layers and manifests points at. */
  remembered(): AsyncIterable<Descriptor> {
    return this.#records.all();
  }

  /**
   * A manifest that is here.
   * @throws LadingError `not-found`, `digest-mismatch`, `manifest-invalid`, `limit-exceeded`
   */
  async raw(descriptor: Descriptor, { signal }: Signal = {}): Promise<RawManifest> {
    const bytes = await readVerified(this, descriptor, { limit: limits.manifest, signal });
    return { descriptor, bytes, manifest: parseManifest(bytes, descriptor.mediaType) };
  }

  /** Removes a blob, whoever refers to it. False where it was not there. */
  async delete(digest: Digest): Promise<boolean> {
    return await this.#io(`removing ${digest}`, () => this.blobs.remove(digest));
  }

  /** Removes a blob that nobody has used since it was looked at, and that nobody is fetching. */
  async evict(blob: StoredBlob): Promise<boolean> {
    if (this.#puts.has(blob.digest)) return false;
    return await this.#io(`removing ${blob.digest}`, async () => {
      const partials = await this.#prepare();
      return await this.blobs.removeUnused(blob, partials.temporary());
    });
  }

  async path(digest: Digest): Promise<string | null> {
    return await this.#io("looking into the store", async () => {
      const blob = await this.blobs.stat(digest);
      return blob !== null && (await this.blobs.touch(blob)) ? this.blobs.pathOf(digest) : null;
    });
  }

  async compressedLayer(diffId: Digest): Promise<Descriptor | null> {
    return await this.#records.compressedLayer(diffId);
  }

  async rememberLayer(diffId: Digest, compressed: Descriptor): Promise<void> {
    await this.#io("writing into the store", () => this.#records.rememberLayer(diffId, compressed));
  }

  async manifestFor(imageId: Digest, format: ImageFormat | "original", platform: string): Promise<Descriptor | null> {
    return await this.#records.manifestFor(imageId, format, platform);
  }

  async rememberManifest(
    imageId: Digest,
    format: ImageFormat | "original",
    platform: string,
    manifest: Descriptor,
  ): Promise<void> {
    await this.#io("writing into the store", () => this.#records.rememberManifest(imageId, format, platform, manifest));
  }

  async sizes({ signal }: Signal = {}): Promise<StoreSizes> {
    const own = await reachable(this.blobs, await this.roots(), { signal });
    const sizes = { own: 0, cache: 0, partial: 0 };
    return await this.#io("measuring the store", async () => {
      for await (const { digest, size } of this.blobs.list()) sizes[own.has(digest) ? "own" : "cache"] += size;
      sizes.partial = await (await this.#partials()).size();
      return sizes;
    });
  }

  /** Bytes that this user may still write on the store's disk, and bytes of the whole disk. */
  async disk(): Promise<{ readonly free: number; readonly total: number }> {
    return await this.#io("measuring the disk", async () => {
      for (let path = this.directory; ; path = dirname(path)) {
        const stat = await ifThere(this.#fs.statfs(path));
        if (stat !== null) return { free: stat.bavail * stat.bsize, total: stat.blocks * stat.bsize };
        if (path === dirname(path)) throw new LadingError("io", `${this.directory} is on no disk`);
      }
    });
  }

  /** Bytes that this user may still write. */
  async freeBytes(): Promise<number> {
    return (await this.disk()).free;
  }

  /** Runs while no process changes the index. Nothing is written before that. */
  async exclusively<Result>(signal: AbortSignal | undefined, work: () => Promise<Result>): Promise<Result> {
    return await this.#io("locking the store", async () => {
      const partials = await this.#prepare();
      const options = {
        fs: this.#fs,
        self: await this.#identity(),
        random: this.#random,
        temporary: () => partials.temporary(),
        clock: this.#clock,
        patience: this.#lockPatience,
        signal,
      };
      return await withLock(join(this.directory, privateFolder, "index.lock"), options, work);
    });
  }

  async #readIndex(): Promise<LayoutIndex> {
    const bytes = await readSmallFile(this.#fs, join(this.directory, "index.json"), limits.layoutIndex);
    return bytes === null ? LayoutIndex.empty : LayoutIndex.parse(bytes);
  }

  async #changeIndex(
    signal: AbortSignal | undefined,
    change: (index: LayoutIndex) => Promise<LayoutIndex>,
  ): Promise<void> {
    await this.exclusively(signal, async () => {
      const before = await this.#readIndex();
      const after = await change(before);
      throwIfAborted(signal);
      if (after === before) return;
      const temporary = (await this.#prepare()).temporary();
      const path = join(this.directory, "index.json");
      await replaceFile(this.#fs, path, after.bytes(), { temporary, durability: this.#durability });
    });
  }

  /** Small content is held in memory until it is verified, and written in one go. */
  async #takeSmall({ descriptor, read, report, onRetry }: Transfer): Promise<number> {
    let transferred = 0;
    const bytes = await retryMismatchOnce(async () => {
      const counted = count(read(0), (chunk) => {
        transferred += chunk;
      });
      return await readAll(verifyStream(counted, descriptor), descriptor.size, descriptor.digest);
    }, onRetry);
    const temporary = (await this.#prepare()).temporary();
    try {
      await writeNewFile(this.#fs, temporary, bytes, { durability: this.#durability, mode: 0o444 });
      await this.blobs.commit(temporary, descriptor);
    } catch (error) {
      await removeFile(this.#fs, temporary).catch(() => {});
      throw error;
    }
    report(descriptor.size);
    return transferred;
  }

  /** Large content is written while it is verified; what a cut leaves of it is taken up again by whoever comes next. */
  async #takeLarge(transfer: Transfer): Promise<number> {
    const { descriptor } = transfer;
    const partials = await this.#prepare();
    let transferred = 0;
    let anew = false;
    await retryMismatchOnce(async () => {
      const { path, handle } = await this.#openPartial(partials, descriptor, anew);
      anew = true;
      const progress = { stored: 0 };
      try {
        try {
          await fill(handle, transfer, this.#clock, progress, (chunk) => {
            transferred += chunk;
          });
          await this.#seal(handle);
        } finally {
          await handle.close();
        }
        await this.blobs.commit(path, descriptor);
        await partials.finished(path, descriptor);
      } catch (error) {
        const keep = progress.stored > 0 && isWorthKeeping(error);
        await (keep ? partials.release(path) : partials.discard(path)).catch(() => {});
        throw error;
      }
    }, transfer.onRetry);
    return transferred;
  }

  /** What an earlier run left of some content, or an empty file. */
  async #openPartial(partials: PartialFolder, descriptor: Descriptor, anew: boolean): Promise<OpenPartial> {
    const left = anew ? null : await partials.claim(descriptor);
    if (left !== null) {
      try {
        return { path: left, handle: await this.#fs.open(left, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0)) };
      } catch {
        // Such as one that was sealed already: its owner may not write it any more.
        await partials.discard(left);
      }
    }
    const path = await partials.create(descriptor);
    return { path, handle: await this.#create(path) };
  }

  async #create(path: string): Promise<FileHandle> {
    return await this.#io("writing into the store", () => this.#fs.open(path, "wx+", 0o600));
  }

  /** Makes a finished file read-only and durable; it may then be moved to its place. */
  async #seal(handle: FileHandle): Promise<void> {
    await handle.chmod(0o444);
    if (this.#durability === "full") await handle.sync();
  }

  async #check(path: string, descriptor: Descriptor): Promise<void> {
    const opened = await openRegular(this.#fs, path);
    if (opened === null) throw new LadingError("io", `${path} is gone`);
    const { handle } = opened;
    try {
      const verifier = createVerifier(descriptor);
      await rehash(handle, verifier, undefined);
      verifier.finish();
      await this.#seal(handle);
    } finally {
      await handle.close();
    }
  }

  /** Takes a damaged blob out of the way, so that it is fetched again; a layout that others made is left alone. */
  async #quarantine(blob: StoredBlob): Promise<void> {
    const own = join(this.directory, privateFolder);
    try {
      if (!(await refuseLink(this.#fs, own))) return;
      await makeFolder(this.#fs, join(own, "corrupt"));
      await this.#fs.rename(
        this.blobs.pathOf(blob.digest),
        join(own, "corrupt", `${blob.digest.replace(":", "-")}.${this.#random()}`),
      );
    } catch {
      // The mismatch itself is what the caller must hear of.
    }
  }

  #identity(): Promise<ProcessIdentity> {
    this.#self ??= identifySelf();
    return this.#self;
  }

  async #partials(): Promise<PartialFolder> {
    const directory = join(this.directory, privateFolder, "partial");
    const self = await this.#identity();
    return new PartialFolder({ fs: this.#fs, directory, self, random: this.#random, clock: this.#clock });
  }

  /** Once, before the first write: makes the layout, and removes what earlier runs left and nobody wants. */
  async #prepare(): Promise<PartialFolder> {
    this.#prepared ??= this.#makeLayout();
    try {
      return await this.#prepared;
    } catch (error) {
      this.#prepared = null;
      throw error;
    }
  }

  async #makeLayout(): Promise<PartialFolder> {
    const { directory } = this;
    const marker = join(directory, "oci-layout");
    await this.#fs.mkdir(directory, { recursive: true, mode: 0o700 });
    const before = await readSmallFile(this.#fs, marker, 4096);
    if (before !== null) checkVersion(before, directory);
    else await refuseForeign(this.#fs, directory);
    for (const folder of ["blobs", privateFolder, join(privateFolder, "partial")]) {
      await makeFolder(this.#fs, join(directory, folder));
    }
    const partials = await this.#partials();
    if (before === null) {
      const bytes = Buffer.from(JSON.stringify({ imageLayoutVersion: layoutVersion }));
      await replaceFile(this.#fs, marker, bytes, { temporary: partials.temporary(), durability: this.#durability });
      // The standard asks for an index in every layout, also an empty one.
      await this.#makeIndex(partials);
    }
    await partials.sweep().catch(() => {});
    return partials;
  }

  async #makeIndex(partials: PartialFolder): Promise<void> {
    const temporary = partials.temporary();
    await writeNewFile(this.#fs, temporary, LayoutIndex.empty.bytes(), { durability: this.#durability, mode: 0o600 });
    // A link never replaces the index that another process may have written by now.
    await this.#fs.link(temporary, join(this.directory, "index.json")).catch(() => {});
    await removeFile(this.#fs, temporary);
  }

  /** Runs file operations; what they throw becomes `io` or `no-space`, what is a LadingError already stays. */
  async #io<Result>(doing: string, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw error instanceof ForeignError ? error.cause : ioError(error, doing);
    }
  }
}

/** One `put`: whatever its source and its callbacks throw is a {@link ForeignError}, so that it is not taken for the disk's. */
interface Transfer {
  readonly descriptor: Descriptor;
  readonly read: (offset: number) => AsyncIterable<Uint8Array>;
  readonly report: (stored: number) => void;
  readonly onRetry: (reason: Error) => void;
  readonly signal: AbortSignal | undefined;
}

interface OpenPartial {
  readonly path: string;
  readonly handle: FileHandle;
}

/** Reads on from where the file ends, having hashed what is in it, and checks the whole. */
async function fill(
  handle: FileHandle,
  { descriptor, read, report, signal }: Transfer,
  clock: () => number,
  progress: { stored: number },
  onChunk: (bytes: number) => void,
): Promise<void> {
  const verifier = createVerifier(descriptor);
  const position = await rehash(handle, verifier, signal);
  const onStored = (stored: number) => {
    progress.stored = stored;
    report(stored);
  };
  onStored(position);
  if (position < descriptor.size) {
    const options = { position, limit: descriptor.size, update: verifier.update, onStored, clock };
    await writeStream(handle, count(read(position), onChunk), options);
  }
  verifier.finish();
}

/** Hashes a file from its beginning. @returns Its size in bytes. */
async function rehash(handle: FileHandle, verifier: Verifier, signal: AbortSignal | undefined): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(1024 * 1024);
  for (let position = 0; ; ) {
    throwIfAborted(signal);
    const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, position);
    if (bytesRead === 0) return position;
    verifier.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** After a cut or an abort the bytes on disk are good; after a mismatch or a failing disk nobody knows. */
function isWorthKeeping(error: unknown): boolean {
  if (error instanceof ForeignError) return true;
  if (!isLadingError(error) || isMismatch(error)) return false;
  return error.side === "source" || (error.code !== "io" && error.code !== "no-space");
}

async function* count(source: AsyncIterable<Uint8Array>, see: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    see(chunk.byteLength);
    yield chunk;
  }
}

/** What a caller's code threw, on its way through ours. */
class ForeignError extends Error {
  constructor(cause: unknown) {
    super("thrown by the caller", { cause });
  }
}

function foreign(error: unknown): unknown {
  return isLadingError(error) ? error : new ForeignError(error);
}

function foreignCall(call: () => void): void {
  try {
    call();
  } catch (error) {
    throw foreign(error);
  }
}

async function* foreignStream(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    throw foreign(error);
  }
}

function checkVersion(bytes: Uint8Array, directory: string): void {
  let version: unknown;
  try {
    version = (JSON.parse(Buffer.from(bytes).toString()) as { imageLayoutVersion?: unknown } | null)
      ?.imageLayoutVersion;
  } catch {
    // Said below.
  }
  if (typeof version === "string" && version.startsWith("1.")) return;
  throw new LadingError("unsupported", `${directory} is no OCI image layout of version 1`, {
    hint: "choose another folder with --store",
  });
}

const harmless: ReadonlySet<string> = new Set(["blobs", "index.json", "lost+found", privateFolder]);

/** A folder that holds other things is somebody's, and was given by mistake. */
async function refuseForeign(fs: FileSystem, directory: string): Promise<void> {
  const other = (await fs.readdir(directory)).find((name) => !harmless.has(name));
  if (other === undefined) return;
  throw new LadingError("conflict", `${directory} is no OCI image layout, and it is not empty: it holds ${other}`, {
    hint: "choose an empty folder, or one that does not exist",
  });
}
