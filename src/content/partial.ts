import { join } from "node:path";
import type { Descriptor } from "../oci/descriptor.js";
import { digestAlgorithm, digestHex, isDigest } from "../oci/digest.js";
import { readSmallFile, writeNewFile } from "./durable-file.js";
import { type FileSystem, ifThere, removeFile } from "./file-system.js";
import type { LeftFile } from "./left-file.js";
import { isAlive, type ProcessIdentity, parseIdentity } from "./process-identity.js";

export interface PartialFolderOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly self: ProcessIdentity;
  /** A new random name each time. */
  readonly random: () => string;
  /** ms since 1970 */
  readonly clock: () => number;
}

/** A partial download that nobody comes back for is kept this long, in ms. */
export const partialLifetime = 7 * 24 * 3600 * 1000;
/** A small file of a killed process is kept this long, in ms: its name says nothing of its owner. */
const temporaryLifetime = 24 * 3600 * 1000;

/**
 * Content on its way into a store: `<alg>-<hex>.<random>`, and beside it `<the same>.json` with the process that
 * writes it. A file belongs to that process while it lives; afterwards, or when it was released, the next one that
 * wants the same content takes it over by renaming it, which only one of several can do.
 */
export class PartialFolder {
  readonly #options: PartialFolderOptions;

  constructor(options: PartialFolderOptions) {
    this.#options = options;
  }

  /** A name for a small file that is written in one go. */
  temporary(): string {
    return join(this.#options.directory, `tmp.${this.#options.random()}`);
  }

  /** Takes over what an earlier run left of some content; null where there is nothing, or somebody is at it. */
  async claim(descriptor: Descriptor): Promise<string | null> {
    const { fs, directory, random } = this.#options;
    const prefix = prefixOf(descriptor);
    const left: { name: string; size: number }[] = [];
    for (const name of await this.#names()) {
      if (!name.startsWith(prefix) || name.endsWith(stateSuffix)) continue;
      const stat = await ifThere(fs.lstat(join(directory, name)));
      if (stat?.isFile()) left.push({ name, size: stat.size });
    }
    left.sort((one, other) => other.size - one.size);
    for (const { name, size } of left) {
      if (await this.#isHeld(name)) continue;
      const own = join(directory, `${prefix}${random()}`);
      await this.#writeState(own, this.#options.self);
      // Whoever renames first has it; to the others it is gone.
      const taken = await ifThere(fs.rename(join(directory, name), own).then(() => true));
      if (taken !== null) await removeFile(fs, join(directory, `${name}${stateSuffix}`));
      if (taken !== null && size <= descriptor.size) return own;
      await this.discard(own);
    }
    return null;
  }

  /** Bytes that an earlier run left of some content, or another process has by now. */
  async bytesOf(descriptor: Descriptor): Promise<number> {
    const { fs, directory } = this.#options;
    const prefix = prefixOf(descriptor);
    let most = 0;
    for (const name of await this.#names()) {
      if (!name.startsWith(prefix) || name.endsWith(stateSuffix)) continue;
      most = Math.max(most, (await ifThere(fs.lstat(join(directory, name))))?.size ?? 0);
    }
    return Math.min(most, descriptor.size);
  }

  /** A name for new content of this process; the file is the caller's to create. */
  async create(descriptor: Descriptor | null): Promise<string> {
    const { directory, random, self } = this.#options;
    const path = join(directory, `${descriptor === null ? ingestPrefix : prefixOf(descriptor)}${random()}`);
    await this.#writeState(path, self);
    return path;
  }

  /** Leaves a partial for whoever wants the content next. */
  async release(path: string): Promise<void> {
    await this.#writeState(path, null);
  }

  async discard(path: string): Promise<void> {
    // The file first: one without a state counts as left behind.
    await removeFile(this.#options.fs, path);
    await removeFile(this.#options.fs, `${path}${stateSuffix}`);
  }

  /** Forgets a file that has been moved to its place, and what else is left of its content. Never fails: sweeping does the rest. */
  async finished(path: string, descriptor: Descriptor): Promise<void> {
    try {
      await removeFile(this.#options.fs, `${path}${stateSuffix}`);
      for (;;) {
        const left = await this.claim(descriptor);
        if (left === null) return;
        await this.discard(left);
      }
    } catch {
      // The content is there, and that is what was asked for.
    }
  }

  /** Bytes of everything that is on its way or was left. */
  async size(): Promise<number> {
    const { fs, directory } = this.#options;
    let total = 0;
    for (const name of await this.#names()) total += (await ifThere(fs.lstat(join(directory, name))))?.size ?? 0;
    return total;
  }

  /** Content that nobody is at, and that was written last so many ms ago or more. */
  async left(lifetime: number): Promise<readonly LeftFile[]> {
    const { fs, directory, clock } = this.#options;
    const found: LeftFile[] = [];
    for (const name of await this.#names()) {
      if (name.endsWith(stateSuffix) || name.startsWith("tmp.")) continue;
      const stat = await ifThere(fs.lstat(join(directory, name)));
      const age = stat === null ? 0 : clock() - stat.mtimeMs;
      if (stat === null || age < lifetime || (await this.#isHeld(name, age))) continue;
      const digest = name.replace(/\..*$/, "").replace("-", ":");
      const path = join(directory, name);
      found.push({ path, digest: isDigest(digest) ? digest : null, size: stat.size, since: stat.mtimeMs });
    }
    return found;
  }

  /** Removes what is too old or of no use to anybody; never what a living process writes. */
  async sweep(): Promise<void> {
    const { fs, directory, clock } = this.#options;
    for (const name of await this.#names()) {
      const path = join(directory, name);
      const stat = await ifThere(fs.lstat(path));
      if (stat === null) continue;
      const age = clock() - stat.mtimeMs;
      if (name.startsWith(ingestPrefix) && !name.endsWith(stateSuffix)) {
        if (!(await this.#isHeld(name, age))) await this.discard(path);
      } else if (name.startsWith("tmp.") || name.endsWith(stateSuffix)) {
        const data = name.endsWith(stateSuffix) ? path.slice(0, -stateSuffix.length) : null;
        const inUse = data !== null && (await ifThere(fs.lstat(data))) !== null;
        if (age > temporaryLifetime && !inUse) await removeFile(fs, path);
      } else if (age > partialLifetime && !(await this.#isHeld(name, age))) {
        await this.discard(path);
      }
    }
  }

  async #names(): Promise<readonly string[]> {
    return (await ifThere(this.#options.fs.readdir(this.#options.directory))) ?? [];
  }

  /** @param age Since it was written last, in ms. Of another host's process it is all that can be known. */
  async #isHeld(name: string, age = 0): Promise<boolean> {
    const { fs, directory, self } = this.#options;
    const bytes = await readSmallFile(fs, join(directory, `${name}${stateSuffix}`), 4096);
    const owner = bytes === null ? null : parseState(bytes);
    if (owner === null || (owner.host !== self.host && age > partialLifetime)) return false;
    return await isAlive(owner, self);
  }

  async #writeState(path: string, owner: ProcessIdentity | null): Promise<void> {
    const { fs } = this.#options;
    const temporary = this.temporary();
    const bytes = Buffer.from(JSON.stringify({ owner }));
    try {
      await writeNewFile(fs, temporary, bytes, { durability: "fast", mode: 0o600 });
      await fs.rename(temporary, `${path}${stateSuffix}`);
    } catch (error) {
      await removeFile(fs, temporary).catch(() => {});
      throw error;
    }
  }
}

const stateSuffix = ".json";
const ingestPrefix = "ingest.";

function prefixOf({ digest }: Descriptor): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}.`;
}

/** The owner; null where nobody is, or the file is garbage. */
function parseState(bytes: Uint8Array): ProcessIdentity | null {
  try {
    return parseIdentity((JSON.parse(Buffer.from(bytes).toString()) as { owner?: unknown } | null)?.owner);
  } catch {
    return null;
  }
}
