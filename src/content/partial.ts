import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
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
/** One who lives, and has written nothing for so long, is stopped or waits itself: nobody waits for it. In ms. */
const silence = 60_000;
/** How soon it shows which one of two that have begun at the same moment goes on, in ms. */
const meeting = 5;

/** What becomes of one who would fetch some content. */
export type PartialClaim =
  /** The file is the caller's. `left`: an earlier run has begun it; else it is the caller's to create. */
  | { readonly kind: "own"; readonly path: string; readonly left: boolean }
  /** Somebody who lives is at it, and has so many bytes by now. */
  | { readonly kind: "busy"; readonly pid: number; readonly stored: number };

/** A file of the same content as another one, or what says that it is about to be made. */
interface Other {
  readonly name: string;
  /** Bytes; null before there is a file. */
  readonly size: number | null;
  /** Who writes it; null where nobody does, or not any more. */
  readonly owner: ProcessIdentity | null;
  /** When something was written last, in ms since 1970. */
  readonly touched: number;
}

/**
 * Content on its way into a store: `<alg>-<hex>.<random>`, and beside it `<the same>.json` with the process that
 * writes it. A file belongs to that process while it lives: who wants the same content waits for it. Afterwards, or when it
 * was released, the next one takes it over by renaming it, which only one of several can do.
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

  /**
   * Begins to fetch some content, or goes on with what an earlier run left of it, unless somebody else is at it. Each says what it
   * is about to do before it looks at the others: of two that begin at the same moment, one at least sees the other.
   * @param anew Nothing that was left is of use.
   */
  async claim(descriptor: Descriptor, { anew = false }: { readonly anew?: boolean } = {}): Promise<PartialClaim> {
    const { clock } = this.#options;
    const path = await this.create(descriptor);
    try {
      for (;;) {
        const others = await this.#others(descriptor, path);
        // The two clocks may differ, and one may have been set: what is far from now says nothing.
        const rivals = others.filter(({ owner, touched }) => owner && Math.abs(clock() - touched) < silence);
        if (rivals.length === 0)
          return { kind: "own", path, left: !anew && (await this.#takeLeft(descriptor, path, others)) };
        // One that only says that it will is waited for by the smaller name, and sees it: then it goes back.
        const first = rivals.find(({ size, name }) => size !== null || name < basename(path));
        if (first?.owner) {
          await this.discard(path);
          return { kind: "busy", pid: first.owner.pid, stored: Math.min(first.size ?? 0, descriptor.size) };
        }
        await sleep(meeting);
      }
    } catch (error) {
      await this.discard(path).catch(() => {});
      throw error;
    }
  }

  /** Takes over the largest file that nobody is at. */
  async #takeLeft(descriptor: Descriptor, path: string, others: readonly Other[]): Promise<boolean> {
    const { fs, directory } = this.#options;
    const left = others.filter(({ size, owner }) => size !== null && owner === null);
    for (const { name, size } of left.toSorted((one, other) => (other.size ?? 0) - (one.size ?? 0))) {
      // Whoever renames first has it; to the others it is gone.
      const taken = await ifThere(fs.rename(join(directory, name), path).then(() => true));
      if (taken === null) continue;
      await removeFile(fs, join(directory, `${name}${stateSuffix}`));
      if ((size ?? 0) <= descriptor.size) return true;
      await removeFile(fs, path);
    }
    return false;
  }

  /** Everything of some content but one's own. */
  async #others(descriptor: Descriptor, own: string): Promise<readonly Other[]> {
    const { fs, directory } = this.#options;
    const prefix = prefixOf(descriptor);
    const names = (await this.#names()).filter((name) => name.startsWith(prefix)).map(withoutState);
    const others: Other[] = [];
    for (const name of new Set(names)) {
      if (name === basename(own)) continue;
      const [data, state] = await Promise.all(
        [name, `${name}${stateSuffix}`].map((entry) => ifThere(fs.lstat(join(directory, entry)))),
      );
      if (data ? !data.isFile() : !state) continue;
      others.push({
        name,
        size: data?.size ?? null,
        owner: await this.#ownerOf(name),
        touched: Math.max(data?.mtimeMs ?? 0, state?.mtimeMs ?? 0),
      });
    }
    return others;
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
      for (const { name, owner } of await this.#others(descriptor, path)) {
        if (owner === null) await this.discard(join(this.#options.directory, name));
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
      if (stat === null || age < lifetime || (await this.#ownerOf(name, age)) !== null) continue;
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
        if ((await this.#ownerOf(name, age)) === null) await this.discard(path);
      } else if (name.startsWith("tmp.") || name.endsWith(stateSuffix)) {
        const data = name.endsWith(stateSuffix) ? path.slice(0, -stateSuffix.length) : null;
        const inUse = data !== null && (await ifThere(fs.lstat(data))) !== null;
        if (age > temporaryLifetime && !inUse) await removeFile(fs, path);
      } else if (age > partialLifetime && (await this.#ownerOf(name, age)) === null) {
        await this.discard(path);
      }
    }
  }

  async #names(): Promise<readonly string[]> {
    return (await ifThere(this.#options.fs.readdir(this.#options.directory))) ?? [];
  }

  /**
   * Who writes a file: null where nobody does who may still be there.
   * @param age Since it was written last, in ms. Of another host's process it is all that can be known.
   */
  async #ownerOf(name: string, age = 0): Promise<ProcessIdentity | null> {
    const { fs, directory, self } = this.#options;
    const bytes = await readSmallFile(fs, join(directory, `${name}${stateSuffix}`), 4096);
    const owner = bytes === null ? null : parseState(bytes);
    if (owner === null || (owner.host !== self.host && age > partialLifetime)) return null;
    return (await isAlive(owner, self)) ? owner : null;
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

function withoutState(name: string): string {
  return name.endsWith(stateSuffix) ? name.slice(0, -stateSuffix.length) : name;
}

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
