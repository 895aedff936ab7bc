// Longer than 300 lines: one face over blobs, index, partial downloads, leases and records of a layout, each of which has a
// file of its own beside this one.
import { randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { isLadingError, LadingError, throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { parseManifest, type RawManifest } from "../oci/manifest.js";
import { BlobFolder, type StoredBlob } from "./blob-folder.js";
import { BlobIntake, rehash } from "./blob-intake.js";
import { cloneFile } from "./clone-file.js";
import { type Durability, openRegular, readSmallFile, replaceFile } from "./durable-file.js";
import { type FileSystem, ifThere, nodeFileSystem, removeFile } from "./file-system.js";
import { onDisk } from "./foreign-error.js";
import { InFlight } from "./in-flight.js";
import type { ContentIngest, ImageFormat, IngestOptions, LayerCache } from "./layer-cache.js";
import { LayerRecords } from "./layer-records.js";
import { LayoutFolder, privateFolder } from "./layout-folder.js";
import { type LayoutEntry, LayoutIndex } from "./layout-index.js";
import { LeaseFolder } from "./lease-folder.js";
import type { LeftFile } from "./left-file.js";
import { withLock } from "./lock.js";
import { isMismatch } from "./mismatch.js";
import { OriginRecords } from "./origin-records.js";
import { PartialFolder } from "./partial.js";
import { ownIdentity, type ProcessIdentity } from "./process-identity.js";
import { reachable } from "./reachable.js";
import { makeFolder } from "./real-folder.js";
import { isSealed, sealTime } from "./sealed-file.js";
import type { ByteSource, ContentStore, FileBacked, PutOptions, PutResult, ReadOptions } from "./store.js";
import { createVerifier, readVerified } from "./verify.js";

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
  /** Is told of a wait for another process that brings the same content. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

const damagedHint = "`lading verify` says what is damaged in the store, `lading repair` fetches it again";

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
  readonly #folder: LayoutFolder;
  readonly #records: LayerRecords;
  /** Where the images of the store came from. */
  readonly origins: OriginRecords;
  readonly #intake: BlobIntake;
  readonly #puts = new InFlight<Digest>();
  /** Blobs without a seal that were read and are what they are called: where they may not be sealed, that is known here. */
  readonly #checked = new Set<string>();
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
    const parts = { fs: this.#fs, durability: this.#durability, clock: this.#clock };
    this.blobs = new BlobFolder({ ...parts, root: directory });
    this.#folder = new LayoutFolder({ ...parts, directory, random: this.#random });
    const onWarning = options.onWarning ?? (() => {});
    this.#intake = new BlobIntake({ ...parts, blobs: this.blobs, prepare: () => this.#prepare(), onWarning });
    const prepare = async (folder: string) => {
      const partials = await this.#prepare();
      await makeFolder(this.#fs, folder, "fast");
      return partials.temporary();
    };
    this.#records = new LayerRecords({ fs: this.#fs, directory: this.#folder.path(privateFolder), prepare });
    this.origins = new OriginRecords({
      fs: this.#fs,
      directory: this.#folder.path(privateFolder, "origins"),
      prepare,
    });
  }

  /** The same as the constructor, for symmetry with what must be opened. */
  static open(directory: string, options: LayoutStoreOptions = {}): LayoutStore {
    return new LayoutStore(directory, options);
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return await onDisk("looking into the store", async () => {
      const blob = await this.blobs.stat(descriptor.digest);
      return blob !== null && blob.size === descriptor.size && (await this.blobs.touch(blob));
    });
  }

  /**
   * As `has`, for who would fetch the content otherwise: what somebody wrote to since it was verified is read once more, and
   * put aside where it is not what it is called.
   */
  async intact(descriptor: Descriptor, { signal }: Signal = {}): Promise<boolean> {
    return await onDisk("looking into the store", async () => {
      const blob = await this.blobs.stat(descriptor.digest);
      if (blob === null || blob.size !== descriptor.size || !(await this.blobs.touch(blob))) return false;
      const key = `${blob.digest} ${blob.used}`;
      if (blob.sealed || this.#checked.has(key)) return true;
      const good = await this.blobs.check(blob, { signal });
      if (good) this.#checked.add(key);
      else await this.quarantine(blob.digest);
      return good;
    });
  }

  async *get(descriptor: Descriptor, options: ReadOptions = {}): AsyncGenerator<Uint8Array> {
    const blob = await onDisk("looking into the store", () => this.blobs.stat(descriptor.digest));
    if (blob !== null) await this.blobs.touch(blob);
    try {
      yield* this.blobs.get(descriptor, options);
    } catch (error) {
      if (isMismatch(error) && blob?.size === descriptor.size) await this.#quarantine(blob.digest);
      throw isMismatch(error) && isLadingError(error) ? error.with({ hint: damagedHint }) : error;
    }
  }

  async put(descriptor: Descriptor, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    throwIfAborted(options.signal);
    const exists = async (): Promise<PutResult | null> =>
      (await this.intact(descriptor, options)) ? { outcome: "exists", transferred: 0 } : null;
    const take = async (onBytes: (stored: number) => void): Promise<PutResult> => {
      if (await this.#takeFile(descriptor, options)) {
        onBytes(descriptor.size);
        return { outcome: "stored", transferred: descriptor.size };
      }
      const transferred = await onDisk(`storing ${descriptor.digest}`, () =>
        this.#intake.take(descriptor, source, { ...options, onBytes }),
      );
      return transferred === null ? { outcome: "exists", transferred: 0 } : { outcome: "stored", transferred };
    };
    return (await exists()) ?? (await this.#puts.run(descriptor.digest, options, take, exists));
  }

  async ingest(mediaType: string, source: AsyncIterable<Uint8Array>, options: IngestOptions = {}): Promise<Descriptor> {
    return await onDisk("storing new content", () => this.#intake.ingest(mediaType, source, options));
  }

  /**
   * Takes content over from a file of the same file system without copying it. False where that cannot be done:
   * `put` it then.
   * @param verified The file is a blob of another store of content, verified when it was written and never written
   *   again: if it is sealed indeed, it may be linked, and is not read. Any other file is cloned, and its bytes are
   *   checked.
   * @throws LadingError `digest-mismatch`, `size-mismatch`, `not-found` where there is no such file
   */
  async link(
    descriptor: Descriptor,
    path: string,
    { verified = false }: { readonly verified?: boolean } = {},
  ): Promise<boolean> {
    const { digest, size } = descriptor;
    return await onDisk(`linking ${digest} into the store`, async () => {
      if (await this.intact(descriptor)) return true;
      const stat = await ifThere(this.#fs.lstat(path));
      if (!stat?.isFile()) throw new LadingError("not-found", `${path} is no file`, { digest });
      if (stat.size !== size) throw new LadingError("size-mismatch", `${path} has ${stat.size} bytes`, { digest });
      const partials = await this.#prepare();
      const temporary = partials.temporary();
      const trusted = verified && isSealed(stat);
      // Before the file has a second name: one that looks old could be collected before anybody names its image.
      const now = sealTime(this.#clock());
      if (trusted) await this.#fs.lutimes(path, now, now);
      const cloned = await cloneFile(this.#fs, path, temporary, { hardLink: trusted });
      if (cloned === null) return false;
      try {
        if (cloned === "reflink") await this.#sealClone(temporary, trusted ? null : descriptor);
        await this.blobs.commit(temporary, descriptor);
        await partials.finished(temporary, descriptor);
        return true;
      } catch (error) {
        await removeFile(this.#fs, temporary).catch(() => {});
        throw error;
      }
    });
  }

  async resolve(reference: string): Promise<Descriptor | null> {
    return (await onDisk("reading the store's index", () => this.#readIndex())).find(reference);
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
    const isThere = (entries: readonly LayoutEntry[]) => entries.some((entry) => entry.name === name);
    if (!isThere(await this.entries())) return false;
    let there = false;
    await this.#changeIndex(signal, async (index) => {
      there = isThere(index.entries());
      return there ? index.without(name) : index;
    });
    return there;
  }

  /** The store's own images by name; what is cached for another engine is not among them. */
  async entries(): Promise<readonly LayoutEntry[]> {
    return (await onDisk("reading the store's index", () => this.#readIndex())).entries();
  }

  /** Everything that `index.json` names, also what has no name. */
  async roots(): Promise<readonly Descriptor[]> {
    return (await onDisk("reading the store's index", () => this.#readIndex())).roots();
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
    const bytes = await readVerified(this, descriptor, { limit: "manifest", signal });
    return { descriptor, bytes, manifest: parseManifest(bytes, descriptor.mediaType) };
  }

  /** Removes a blob, whoever refers to it. False where it was not there. */
  async delete(digest: Digest): Promise<boolean> {
    return await onDisk(`removing ${digest}`, () => this.blobs.remove(digest));
  }

  /**
   * Removes a blob that nobody has used since it was looked at, and that nobody is fetching.
   * @param isUnused Asked once more while nobody can see the blob: a transfer that has begun by then may have seen it.
   */
  async evict(blob: StoredBlob, isUnused?: () => Promise<boolean>): Promise<boolean> {
    if (this.#puts.has(blob.digest)) return false;
    return await onDisk(`removing ${blob.digest}`, async () => {
      const partials = await this.#prepare();
      return await this.blobs.removeUnused(blob, partials.temporary(), isUnused);
    });
  }

  /**
   * Says that a transfer is under way: what it uses from now on is not collected before it has ended, whether an image names
   * it yet or not. A store that may only be read is not collected anyway.
   */
  async lease(): Promise<() => Promise<void>> {
    try {
      await this.#prepare();
      const leases = await this.#leases();
      await makeFolder(this.#fs, this.#folder.path(privateFolder, "leases"), "fast");
      return await leases.take();
    } catch {
      return async () => {};
    }
  }

  /** When the oldest transfer that is under way began, in ms since 1970; null where none is. */
  async leasedSince(): Promise<number | null> {
    return await onDisk("looking at who uses the store", async () => await (await this.#leases()).oldest());
  }

  /** A folder for temporary files, which only this user may enter: what is left in it as `ingest.…` is swept away. */
  async scratch(): Promise<string> {
    return await onDisk("making a temporary folder", async () => {
      await this.#prepare();
      return this.#folder.path(privateFolder, "partial");
    });
  }

  /** True where there is a layout, were it an empty one. */
  async exists(): Promise<boolean> {
    return await onDisk("looking for the store", async () => {
      return (await ifThere(this.#fs.lstat(this.#folder.path("oci-layout")))) !== null;
    });
  }

  /** Moves a damaged blob aside, where nobody takes it for a good one. @returns Where it is now. */
  async quarantine(digest: Digest): Promise<string | null> {
    return await onDisk(`putting ${digest} aside`, async () => {
      await this.#prepare();
      return await this.#folder.quarantine(this.blobs.pathOf(digest), digest);
    });
  }

  /** Damaged blobs that were put aside. */
  async quarantined(): Promise<readonly LeftFile[]> {
    return await onDisk("looking at what was put aside", () => this.#folder.quarantined());
  }

  /** Partial downloads and small files that nobody is at. @param lifetime ms since they were written last; what is younger stays. */
  async leftovers(lifetime: number): Promise<readonly LeftFile[]> {
    return await onDisk("looking at partial downloads", async () => await (await this.#partials()).left(lifetime));
  }

  /** Removes what {@link quarantined} or {@link leftovers} has found. */
  async discard({ path }: LeftFile): Promise<void> {
    await onDisk(`removing ${path}`, async () => (await this.#partials()).discard(path));
  }

  /** Forgets what is remembered of content that is not here any more. */
  async forget(): Promise<void> {
    await onDisk("tidying the store", async () => {
      await this.#records.prune((descriptor) => this.blobs.has(descriptor));
      await this.origins.keep(new Set((await this.roots()).map(({ digest }) => digest)));
    });
  }

  async path(digest: Digest): Promise<string | null> {
    return await onDisk("looking into the store", async () => {
      const blob = await this.blobs.stat(digest);
      return blob !== null && (await this.blobs.touch(blob)) ? this.blobs.pathOf(digest) : null;
    });
  }

  async compressedLayer(diffId: Digest): Promise<Descriptor | null> {
    return await this.#records.compressedLayer(diffId);
  }

  async rememberLayer(diffId: Digest, compressed: Descriptor): Promise<void> {
    await onDisk("writing into the store", () => this.#records.rememberLayer(diffId, compressed));
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
    await onDisk("writing into the store", () => this.#records.rememberManifest(imageId, format, platform, manifest));
  }

  async sizes({ signal }: Signal = {}): Promise<StoreSizes> {
    const own = await reachable(this.blobs, await this.roots(), { signal });
    const sizes = { own: 0, cache: 0, partial: 0 };
    return await onDisk("measuring the store", async () => {
      for await (const { digest, size } of this.blobs.list()) sizes[own.has(digest) ? "own" : "cache"] += size;
      sizes.partial = await (await this.#partials()).size();
      return sizes;
    });
  }

  /** Bytes that this user may still write on the store's disk, and bytes of the whole disk. */
  async disk(): Promise<{ readonly free: number; readonly total: number }> {
    return await onDisk("measuring the disk", async () => {
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

  /**
   * Bytes of disk that some content still needs: nothing where it is there, and the rest where an earlier run was cut.
   * @param file The content as a file of another store: on the same disk it is linked, and takes no room.
   */
  async neededBytes(descriptor: Descriptor, file: string | null): Promise<number> {
    return await onDisk("looking at the store", async () => {
      if (await this.has(descriptor)) return 0;
      const theirs = file === null ? null : await ifThere(this.#fs.lstat(file));
      if (theirs !== null && theirs.dev === (await ifThere(this.#fs.lstat(this.directory)))?.dev) return 0;
      return descriptor.size - (await (await this.#partials()).bytesOf(descriptor));
    });
  }

  /** Leaves the standard's files alone where there is nothing else to keep: for a layout that is handed to somebody. */
  async tidy(): Promise<void> {
    this.#prepared = null;
    await this.#folder.tidy();
  }

  /** Runs while no process changes the index. Nothing is written before that. */
  async exclusively<Result>(signal: AbortSignal | undefined, work: () => Promise<Result>): Promise<Result> {
    return await onDisk("locking the store", async () => {
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
      return await withLock(this.#folder.path(privateFolder, "index.lock"), options, work);
    });
  }

  async #readIndex(): Promise<LayoutIndex> {
    const bytes = await readSmallFile(this.#fs, this.#folder.path("index.json"), "layoutIndex");
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
      const path = this.#folder.path("index.json");
      await replaceFile(this.#fs, path, after.bytes(), { temporary, durability: this.#durability });
    });
  }

  /** False where there is no file, or it cannot be linked: then the source is read, and tells what is wrong with it. */
  async #takeFile(descriptor: Descriptor, { file, signal }: PutOptions): Promise<boolean> {
    try {
      const path = (await file?.()) ?? null;
      return path !== null && (await this.link(descriptor, path, { verified: true }));
    } catch {
      throwIfAborted(signal);
      return false;
    }
  }

  /** @param expected What it must be; null where that is known. */
  async #sealClone(path: string, expected: Descriptor | null): Promise<void> {
    const opened = await openRegular(this.#fs, path);
    if (opened === null) throw new LadingError("io", `${path} is gone`);
    const { handle } = opened;
    try {
      if (expected !== null) {
        const verifier = createVerifier(expected);
        await rehash(handle, verifier);
        verifier.finish();
      }
      await this.#intake.seal(handle);
    } finally {
      await handle.close();
    }
  }

  async #leases(): Promise<LeaseFolder> {
    const directory = this.#folder.path(privateFolder, "leases");
    const self = await this.#identity();
    return new LeaseFolder({ fs: this.#fs, directory, self, random: this.#random, clock: this.#clock });
  }

  async #quarantine(digest: Digest): Promise<void> {
    try {
      await this.#folder.quarantine(this.blobs.pathOf(digest), digest);
    } catch {
      // The mismatch itself is what the caller must hear of.
    }
  }

  #identity(): Promise<ProcessIdentity> {
    this.#self ??= ownIdentity();
    return this.#self;
  }

  async #partials(): Promise<PartialFolder> {
    const directory = this.#folder.path(privateFolder, "partial");
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
    const partials = await this.#partials();
    await this.#folder.make(partials);
    await partials.sweep().catch(() => {});
    return partials;
  }
}
