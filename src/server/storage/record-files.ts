import type { Dirent } from "node:fs";
import { join } from "node:path";
import { type FileSystem, ifThere } from "../../content/file-system.js";
import { KeyedMutex } from "../mutex.js";
import { syncDirectory, writeWhole } from "./durable.js";
import { decodeName, encodeName } from "./record-name.js";
import type { Records, StoredRecord } from "./storage.js";
import { TurnMemory } from "./turn-memory.js";

export interface RecordFilesOptions {
  readonly fs: FileSystem;
  /** The folder for drafts. */
  readonly temporary: string;
  /** Whether writes are fsynced. */
  readonly durable: boolean;
  /** What this process has the folder's lock by, null where it has not got it. @default never */
  readonly turn?: (() => object | null) | undefined;
}

/** What is changed under the folder's lock alone. Rights are looked up anew each time. */
const remembered = /^(?:repos|meta|gc\/condemned)(?:\/|$)/;

/** A record is told from later ones by its content: what is written again as it was is the same record. */
function versionOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

/** Records as small files. Processes that change them do so one after the other; this keeps the tasks of one apart. */
export class RecordFiles implements Records {
  readonly #root: string;
  readonly #options: RecordFilesOptions;
  readonly #mutex = new KeyedMutex();
  readonly #memory: TurnMemory<Uint8Array | null>;

  constructor(root: string, options: RecordFilesOptions) {
    this.#root = root;
    this.#options = options;
    this.#memory = new TurnMemory(options.turn ?? (() => null));
  }

  #path(folder: string, name: string): string {
    return join(this.#root, folder, encodeName(name));
  }

  async get(folder: string, name: string): Promise<Uint8Array | null> {
    const read = () => ifThere(this.#options.fs.readFile(this.#path(folder, name)));
    return remembered.test(folder) ? await this.#memory.read(`${folder}/${name}`, read) : await read();
  }

  async read(folder: string, name: string): Promise<StoredRecord | null> {
    const bytes = await this.get(folder, name);
    return bytes === null ? null : { bytes, version: versionOf(bytes) };
  }

  async #write(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    const { fs, ...options } = this.#options;
    // hashes of passwords and the keys of tokens are for nobody else of this machine
    const mode = /^auth(?:\/|$)/.test(folder) ? { mode: 0o600 } : {};
    await this.#memory.change(`${folder}/${name}`, bytes, () =>
      writeWhole(fs, this.#path(folder, name), bytes, { ...options, ...mode }),
    );
  }

  async #remove(folder: string, name: string): Promise<boolean> {
    const { fs, durable } = this.#options;
    return await this.#memory.change(`${folder}/${name}`, null, async () => {
      const removed = await ifThere(fs.unlink(this.#path(folder, name)).then(() => true));
      if (removed === null) return false;
      if (durable) await syncDirectory(fs, join(this.#root, folder));
      return true;
    });
  }

  async #alone<T>(folder: string, name: string, task: () => Promise<T>): Promise<T> {
    return await this.#mutex.run(`${folder}/${name}`, task);
  }

  async put(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    await this.#alone(folder, name, () => this.#write(folder, name, bytes));
  }

  async putIfAbsent(folder: string, name: string, bytes: Uint8Array): Promise<boolean> {
    return await this.#alone(folder, name, async () => {
      if ((await this.get(folder, name)) !== null) return false;
      await this.#write(folder, name, bytes);
      return true;
    });
  }

  async putIfMatch(folder: string, name: string, bytes: Uint8Array, version: string): Promise<boolean> {
    return await this.#alone(folder, name, async () => {
      if ((await this.read(folder, name))?.version !== version) return false;
      await this.#write(folder, name, bytes);
      return true;
    });
  }

  async delete(folder: string, name: string): Promise<boolean> {
    return await this.#alone(folder, name, () => this.#remove(folder, name));
  }

  async deleteIfMatch(folder: string, name: string, version: string): Promise<boolean> {
    return await this.#alone(folder, name, async () => {
      if ((await this.read(folder, name))?.version !== version) return false;
      return await this.#remove(folder, name);
    });
  }

  async list(folder: string, { after, limit }: { readonly after: string | null; readonly limit: number }) {
    const files = (await ifThere(this.#options.fs.readdir(join(this.#root, folder)))) ?? [];
    const names = files.map(decodeName).filter((name) => name !== null && (after === null || name > after));
    return (names as string[]).sort().slice(0, limit);
  }

  /** Folders may nest as deep as they like; what grows in `_uploads` is no record. */
  async *folders(under: string): AsyncIterable<string> {
    const read = this.#options.fs.readdir(join(this.#root, under), { withFileTypes: true });
    const entries: readonly Dirent[] = (await ifThere(read)) ?? [];
    if (entries.some((entry) => entry.isFile() && decodeName(entry.name) !== null)) yield under;
    const inner = entries.filter((entry) => entry.isDirectory() && entry.name !== "_uploads").map(({ name }) => name);
    for (const name of inner.sort()) yield* this.folders(`${under}/${name}`);
  }
}
