import type { Stats } from "node:fs";
import { join } from "node:path";
import { ioError, LadingError, throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestAlgorithm, digestHex, isDigest } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import { rehash } from "./blob-intake.js";
import { type Durability, openRegular, syncDirectory } from "./durable-file.js";
import { errnoOf, type FileSystem, ifThere, removeFile } from "./file-system.js";
import { ChunkMemory } from "./lent-chunk.js";
import { isMismatch } from "./mismatch.js";
import { moveInto } from "./pinned-folder.js";
import { makeFolder, refuseLink } from "./real-folder.js";
import { bearsSeal, isSealed, sealTime } from "./sealed-file.js";
import type { ContentSource, ReadOptions } from "./store.js";
import { createVerifier } from "./verify.js";

export interface BlobFolderOptions {
  readonly fs: FileSystem;
  /** The layout's folder, which holds `blobs/`. */
  readonly root: string;
  readonly durability: Durability;
  /** ms since 1970 */
  readonly clock: () => number;
}

export interface StoredBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** When it was written or last used, in ms since 1970; exact to {@link useGrain}. */
  readonly used: number;
  /** Nobody has written to it since it was verified, as far as a look at the file tells. */
  readonly sealed: boolean;
}

export interface CheckOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes that were read since the last call. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** Bytes read at once. */
const chunkSize = 1024 * 1024;
/** Uses of a blob within this time of one another are noted once, in ms; no grace of a collection should be shorter. */
export const useGrain = 60 * 1000;
const algorithms = ["sha256", "sha512"] as const;

/**
 * `blobs/<alg>/<hex>` of an OCI layout. A symbolic link is refused wherever a folder or a blob should be.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md#blobs
 */
export class BlobFolder implements ContentSource {
  readonly #options: BlobFolderOptions;

  constructor(options: BlobFolderOptions) {
    this.#options = options;
  }

  pathOf(digest: Digest): string {
    return join(this.#folderOf(digest), digestHex(digest));
  }

  /** Null where the blob is not there. @throws LadingError `io` where something else is in its place */
  async stat(digest: Digest): Promise<StoredBlob | null> {
    const { fs } = this.#options;
    const folder = this.#folderOf(digest);
    if (!(await refuseLink(fs, join(folder, "..")))) return null;
    if (!(await refuseLink(fs, folder))) return null;
    const stat = await ifThere(fs.lstat(this.pathOf(digest)));
    if (stat === null) return null;
    if (!stat.isFile()) throw new LadingError("io", `${this.pathOf(digest)} is not a regular file`, { digest });
    return storedBlob(digest, stat);
  }

  async has({ digest, size }: Descriptor): Promise<boolean> {
    return (await this.stat(digest))?.size === size;
  }

  /** Notes that a blob is used, so that it is not evicted soon. False where it is not there any more. */
  async touch(blob: StoredBlob): Promise<boolean> {
    const { fs, clock } = this.#options;
    const now = clock();
    if (Math.abs(now - blob.used) < useGrain) return true;
    try {
      const path = this.pathOf(blob.digest);
      const { mtimeMs } = await fs.lstat(path);
      await fs.lutimes(path, now / 1000, mtimeMs / 1000);
      return true;
    } catch (error) {
      // A store that may only be read is one from which nothing is evicted.
      return errnoOf(error) !== "ENOENT";
    }
  }

  async *get(
    descriptor: Descriptor,
    { signal, offset = 0, verify = true }: ReadOptions = {},
  ): AsyncGenerator<Uint8Array> {
    const { digest, size } = descriptor;
    throwIfAborted(signal);
    const found = await this.stat(digest);
    const opened = found === null ? null : await openRegular(this.#options.fs, this.pathOf(digest));
    if (opened === null) throw new LadingError("not-found", `${digest} is not in the store`, { digest });
    const { handle, stat } = opened;
    const chunks = new ChunkMemory(Math.min(chunkSize, size - offset));
    const read = async (position: number): Promise<Uint8Array> => {
      const memory = chunks.take();
      const wanted = Math.min(memory.byteLength, size - position);
      return chunks.lend(memory, (await handle.read(memory, 0, wanted, position)).bytesRead);
    };
    let ahead: Promise<Uint8Array> | null = null;
    try {
      if (stat.size !== size) {
        throw new LadingError("size-mismatch", `${digest} has ${stat.size} bytes in the store, not ${size}`, {
          digest,
        });
      }
      const hashes = offset === 0 && (verify || !isSealed(stat));
      const verifier = hashes ? createVerifier(descriptor) : null;
      let position = offset;
      ahead = position < size ? read(position) : null;
      while (ahead !== null) {
        const chunk: Uint8Array = await ahead;
        position += chunk.byteLength;
        // The next read runs while this chunk is hashed and sent.
        ahead = chunk.byteLength > 0 && position < size ? read(position) : null;
        ahead?.catch(() => {});
        verifier?.update(chunk);
        throwIfAborted(signal);
        if (position < size && chunk.byteLength === 0) {
          throw new LadingError("size-mismatch", `${digest} became shorter while it was read`, { digest });
        }
        // Before the last chunk goes out: what is found wrong here is never sent on whole.
        if (position === size) verifier?.finish();
        yield chunk;
      }
      if (size === 0) verifier?.finish();
    } catch (error) {
      throw ioError(error, `reading ${digest} from the store`, { digest });
    } finally {
      await ahead?.catch(() => {});
      await handle.close();
    }
  }

  /**
   * Moves a finished, flushed file to its place. What is there already stays, unless somebody wrote to it. The bytes must
   * have been verified, and the file be in the same file system.
   */
  async commit(temporary: string, { digest, size }: Descriptor): Promise<void> {
    const { fs, durability } = this.#options;
    const folder = this.#folderOf(digest);
    await makeFolder(fs, join(folder, ".."), durability);
    await makeFolder(fs, folder, durability);
    const there = await this.stat(digest);
    if (there?.size === size && there.sealed && (await this.touch(there))) {
      await removeFile(fs, temporary);
      if (durability === "full") await syncDirectory(fs, folder);
      return;
    }
    // The store's own folder may be reached through links; what is in it may not.
    const target = join(await fs.realpath(this.#options.root), "blobs", digestAlgorithm(digest));
    await moveInto(fs, temporary, { folder: target, name: digestHex(digest), durability });
  }

  /** False where it was not there. */
  async remove(digest: Digest): Promise<boolean> {
    return (await this.stat(digest)) !== null && (await removeFile(this.#options.fs, this.pathOf(digest)));
  }

  /**
   * Removes a blob unless it was used since it was looked at. It is moved aside first: whoever uses it after that
   * finds it gone and fetches it again, and whoever used it before has left a mark.
   * @param aside A name in the same file system.
   * @param isUnused Asked once more when it is aside.
   */
  async removeUnused(blob: StoredBlob, aside: string, isUnused?: () => Promise<boolean>): Promise<boolean> {
    const { fs } = this.#options;
    const path = this.pathOf(blob.digest);
    if ((await ifThere(fs.rename(path, aside).then(() => true))) === null) return false;
    const stat = await fs.lstat(aside);
    if (Math.max(stat.mtimeMs, stat.atimeMs) > blob.used || (await isUnused?.()) === false) {
      await fs.rename(aside, path);
      return false;
    }
    await removeFile(fs, aside);
    return true;
  }

  /**
   * Reads a blob to see whether it is what it is called, without a mark of its use. One that is, and was written to by other means
   * than {@link commit}, is sealed, where this user may do that.
   * @throws LadingError `not-found`, `io`, `cancelled`
   */
  async check(blob: StoredBlob, { signal, onBytes }: CheckOptions = {}): Promise<boolean> {
    const { fs, clock } = this.#options;
    const { digest, size } = blob;
    const path = this.pathOf(digest);
    const opened = await openRegular(fs, path, { mark: false });
    if (opened === null) throw new LadingError("not-found", `${digest} is not in the store`, { digest });
    const { handle, stat } = opened;
    try {
      const verifier = createVerifier({ mediaType: mediaTypes.octetStream, digest, size });
      const update = (chunk: Uint8Array) => {
        verifier.update(chunk);
        onBytes?.(chunk.byteLength);
      };
      await rehash(handle, { update }, signal);
      verifier.finish();
      // One of somebody else's, or on a disk that may only be read, is looked at again each time.
      const now = sealTime(clock());
      if (!bearsSeal(stat) && (await handle.stat()).mtimeMs === stat.mtimeMs)
        await handle.utimes(now, now).catch(() => {});
      return true;
    } catch (error) {
      if (isMismatch(error)) return false;
      throw ioError(error, `reading ${digest} from the store`, { digest });
    } finally {
      await handle.close();
    }
  }

  /** Every blob. Names that are no digests, and what is no regular file, are passed over. */
  async *list(): AsyncGenerator<StoredBlob> {
    const { fs, root } = this.#options;
    for (const algorithm of algorithms) {
      const names = (await ifThere(fs.readdir(join(root, "blobs", algorithm)))) ?? [];
      const digests = names.map((name) => `${algorithm}:${name}`).filter(isDigest);
      for (let at = 0; at < digests.length; at += looksAtOnce) {
        const looks = digests.slice(at, at + looksAtOnce).map(async (digest) => {
          const stat = await ifThere(fs.lstat(this.pathOf(digest)));
          return stat?.isFile() ? storedBlob(digest, stat) : null;
        });
        for (const blob of await Promise.all(looks)) if (blob !== null) yield blob;
      }
    }
  }

  #folderOf(digest: Digest): string {
    return join(this.#options.root, "blobs", digestAlgorithm(digest));
  }
}

/** Files that are looked at together when all are listed. */
const looksAtOnce = 32;

function storedBlob(digest: Digest, stat: Stats): StoredBlob {
  return { digest, size: stat.size, used: Math.max(stat.mtimeMs, stat.atimeMs), sealed: bearsSeal(stat) };
}
