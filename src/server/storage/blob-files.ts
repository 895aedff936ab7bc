import { join } from "node:path";
import { type FileSystem, ifThere } from "../../content/file-system.js";
import { sealTime } from "../../content/sealed-file.js";
import { type Digest, digestAlgorithm, digestHex, isDigest } from "../../oci/digest.js";
import { KeyedMutex } from "../mutex.js";
import { adoptFile } from "./adopt-file.js";
import { ensureDirectory, moveFile, syncDirectory, syncName, writeWhole } from "./durable.js";
import { readFileRange } from "./read-file.js";
import type { RecordFiles, RecordFilesOptions } from "./record-files.js";
import {
  type Blobs,
  type CondemnedBlob,
  condemnedFolder,
  digestName,
  digestOfName,
  type StoredBlob,
} from "./storage.js";
import { TurnMemory } from "./turn-memory.js";

/** Blobs as files that are never written again. That one is condemned is noted beside it, in a record. */
export class BlobFiles implements Blobs {
  readonly #root: string;
  readonly #records: RecordFiles;
  readonly #options: RecordFilesOptions;
  readonly #mutex = new KeyedMutex();
  /** Bytes of each, null where there is none. */
  readonly #sizes: TurnMemory<number | null>;

  constructor(root: string, records: RecordFiles, options: RecordFilesOptions) {
    this.#root = root;
    this.#records = records;
    this.#options = options;
    this.#sizes = new TurnMemory(options.turn ?? (() => null));
  }

  #path(digest: Digest): string {
    const hex = digestHex(digest);
    return join(this.#root, "blobs", digestAlgorithm(digest), hex.slice(0, 2), hex);
  }

  async blobSize(digest: Digest): Promise<number | null> {
    return await this.#sizes.read(
      digest,
      async () => (await ifThere(this.#options.fs.stat(this.#path(digest))))?.size ?? null,
    );
  }

  blobBytes(digest: Digest, start: number, end: number): AsyncIterable<Uint8Array> {
    return readFileRange(this.#options.fs, this.#path(digest), start, end);
  }

  async addBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    const { fs, ...options } = this.#options;
    await this.#mutex.run(digest, async () => {
      if ((await this.#revive(digest)) === bytes.length) return await touch(fs, this.#path(digest));
      await this.#sizes.change(digest, bytes.length, () =>
        writeWhole(fs, this.#path(digest), bytes, { ...options, mode: 0o444 }),
      );
      await touch(fs, this.#path(digest));
    });
  }

  async adoptBlob(digest: Digest, size: number, path: string): Promise<boolean> {
    return await this.#mutex.run(digest, async () => {
      const target = this.#path(digest);
      if ((await this.#revive(digest)) !== size) {
        return await this.#sizes.change(digest, size, () => adoptFile(path, target, { size, ...this.#options }));
      }
      await touch(this.#options.fs, target);
      return true;
    });
  }

  async blobPath(digest: Digest): Promise<string | null> {
    return (await this.blobSize(digest)) === null ? null : this.#path(digest);
  }

  /** Moves a file whose digest and size were checked to the blob's place. False where the blob was there. */
  async place(digest: Digest, size: number, from: string): Promise<boolean> {
    const { fs, durable } = this.#options;
    return await this.#mutex.run(digest, async () => {
      const path = this.#path(digest);
      if ((await this.#revive(digest)) === size) {
        await touch(fs, path);
        return false;
      }
      await touch(fs, from);
      await this.#sizes.change(digest, size, async () => {
        await moveFile(fs, from, path, durable);
        // a blob never changes again; where the file system has no modes, nothing is lost
        if (process.platform !== "win32") await fs.chmod(path, 0o444).catch(() => undefined);
        if (durable) await syncName(fs, path);
      });
      return true;
    });
  }

  async *blobs(): AsyncIterable<StoredBlob> {
    const { fs } = this.#options;
    for (const algorithm of ["sha256", "sha512"] as const) {
      const folder = join(this.#root, "blobs", algorithm);
      for (const part of ((await ifThere(fs.readdir(folder))) ?? []).sort()) {
        for (const hex of ((await ifThere(fs.readdir(join(folder, part)))) ?? []).sort()) {
          const digest = `${algorithm}:${hex}`;
          const size = isDigest(digest) ? await this.blobSize(digest) : null;
          if (size !== null) yield { digest: digest as Digest, size };
        }
      }
    }
  }

  async *condemnedBlobs(): AsyncIterable<CondemnedBlob> {
    for (const name of await this.#records.list(condemnedFolder, { after: null, limit: Number.POSITIVE_INFINITY })) {
      const digest = digestOfName(name);
      const since = digest === null ? null : await this.#since(digest);
      if (digest !== null && since !== null) yield { digest, since };
    }
  }

  async reviveBlob(digest: Digest): Promise<number | null> {
    return await this.#mutex.run(digest, () => this.#revive(digest));
  }

  async #revive(digest: Digest): Promise<number | null> {
    // blobs are seldom condemned: to look is cheaper than to try to remove
    if ((await this.#since(digest)) !== null) await this.#records.delete(condemnedFolder, digestName(digest));
    return await this.blobSize(digest);
  }

  /** Since when a blob is condemned, ms since the epoch; null where it is not. */
  async #since(digest: Digest): Promise<number | null> {
    const bytes = await this.#records.get(condemnedFolder, digestName(digest));
    return bytes === null ? null : Number(Buffer.from(bytes).toString());
  }

  async condemnBlob(digest: Digest, since: number): Promise<boolean> {
    return await this.#mutex.run(digest, async () => {
      if ((await this.#since(digest)) !== null || (await this.blobSize(digest)) === null) return false;
      await this.#records.put(condemnedFolder, digestName(digest), Buffer.from(String(since)));
      return true;
    });
  }

  async removeBlob(digest: Digest, before: number): Promise<number | null> {
    return await this.#mutex.run(digest, async () => {
      const since = await this.#since(digest);
      if (since === null || since > before) return null;
      const size = (await this.blobSize(digest)) ?? 0;
      // the note goes last: where the process dies in between, it only names what is gone
      await this.#sizes.change(digest, null, async () => {
        await ifThere(this.#options.fs.unlink(this.#path(digest)));
      });
      await this.#records.delete(condemnedFolder, digestName(digest));
      return size;
    });
  }

  async quarantineBlob(digest: Digest): Promise<boolean> {
    const { fs, durable } = this.#options;
    return await this.#mutex.run(digest, async () => {
      const folder = join(this.#root, "corrupt");
      await ensureDirectory(fs, folder, durable);
      return await this.#sizes.change(digest, null, async () => {
        const moved = await ifThere(fs.rename(this.#path(digest), join(folder, digestName(digest))).then(() => true));
        if (moved === null) return false;
        if (durable) await syncDirectory(fs, folder);
        return true;
      });
    });
  }

  async quarantinedBlobs(): Promise<ReadonlySet<Digest>> {
    const names = (await ifThere(this.#options.fs.readdir(join(this.#root, "corrupt")))) ?? [];
    return new Set(names.map(digestOfName).filter((digest) => digest !== null));
  }
}

/** Says when a blob was used, and that nobody has written to it since: so another store may trust it. */
async function touch(fs: FileSystem, path: string): Promise<void> {
  const now = sealTime(Date.now());
  // a file of another user keeps its time
  await fs.utimes(path, now, now).catch(() => undefined);
}
