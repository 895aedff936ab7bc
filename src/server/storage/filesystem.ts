import { mkdir, open, readdir, readFile, rm, stat, unlink, utimes } from "node:fs/promises";
import { join } from "node:path";
import { livenessOf, ownIdentity } from "../../content/process-identity.js";
import { abortError, LadingError, throwIfAborted } from "../../errors.js";
import { type Digest, digestAlgorithm, digestHex } from "../../oci/digest.js";
import { KeyedMutex } from "../mutex.js";
import { adoptFile } from "./adopt-file.js";
import { ensureDirectory, isErrno, syncDirectory, writeWhole } from "./durable.js";
import { FileUpload } from "./file-upload.js";
import { FolderLock } from "./folder-lock.js";
import { readHold } from "./hold-record.js";
import { readFileRange } from "./read-file.js";
import { decodeName, encodeName } from "./record-name.js";
import type { Storage, Upload } from "./storage.js";

/** Says what a folder is, and in which layout, so that a later one can migrate it. */
const versionFile = "lading-registry.json";
const layoutVersion = 1;
/** What lies in a folder of ours. Anything else in a folder without a version file is somebody else's. */
const ours = /^(?:blobs|repos|meta|tmp|held\.json|lading-registry\.json|write\.lock.*|lost\+found|\..*)$/;

export interface FilesystemOptions {
  /** Whether writes are fsynced. */
  readonly durable: boolean;
  readonly onWaiting?: ((holder: { readonly pid: number | null }) => void) | undefined;
}

async function orNull<T>(task: Promise<T>): Promise<T | null> {
  try {
    return await task;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return null;
    throw error;
  }
}

/** A folder, which processes may share. Readers take no lock: whatever they can see is whole. */
export class FilesystemStorage implements Storage {
  readonly #root: string;
  readonly #options: FilesystemOptions;
  readonly #lock: FolderLock;
  readonly #mutex = new KeyedMutex();
  #readable: Promise<void> | null = null;
  #writable: Promise<void> | null = null;

  constructor(root: string, options: FilesystemOptions) {
    this.#root = root;
    this.#options = options;
    this.#lock = new FolderLock(root, options);
  }

  async open({ write, signal }: { readonly write: boolean; readonly signal?: AbortSignal | null | undefined }) {
    // what failed once may succeed later: only success is remembered
    this.#readable ??= this.#checkLayout().catch((error) => {
      this.#readable = null;
      throw error;
    });
    await this.#readable;
    if (!write) return;
    // without the signal: the others who wait for it have not cancelled anything
    this.#writable ??= this.#makeLayout().catch((error) => {
      this.#writable = null;
      throw error;
    });
    await waitFor(this.#writable, signal, () => true);
  }

  async #checkLayout(): Promise<void> {
    const bytes = await orNull(readFile(join(this.#root, versionFile), "utf8"));
    if (bytes === null) {
      const foreign = ((await orNull(readdir(this.#root))) ?? []).find((name) => !ours.test(name));
      if (foreign === undefined) return;
      throw new LadingError("config-invalid", `${this.#root} is not a registry's folder: it holds ${foreign}`, {
        hint: "name an empty folder, or one that does not exist yet",
      });
    }
    let version: unknown;
    try {
      version = (JSON.parse(bytes) as { readonly version?: unknown }).version;
    } catch (cause) {
      throw new LadingError("config-invalid", `${join(this.#root, versionFile)} is damaged`, { cause });
    }
    if (version === layoutVersion) return;
    throw new LadingError("config-invalid", `${this.#root} has the layout ${String(version)}, not ${layoutVersion}`, {
      hint: "use the version of Lading that made it, or a newer one",
    });
  }

  async #makeLayout(): Promise<void> {
    await ensureDirectory(this.#temporary, this.#options.durable);
    await this.#lock.run(null, async () => {
      const path = join(this.#root, versionFile);
      if ((await orNull(stat(path))) !== null) return await this.#checkLayout();
      const text = `${JSON.stringify({ layout: "lading-registry", version: layoutVersion })}\n`;
      await this.#write(path, new TextEncoder().encode(text));
    });
  }

  async close(): Promise<void> {}

  get #temporary(): string {
    return join(this.#root, "tmp");
  }

  async #write(path: string, bytes: Uint8Array, mode?: number): Promise<void> {
    const { durable } = this.#options;
    await writeWhole(path, bytes, { temporary: this.#temporary, durable, ...(mode === undefined ? {} : { mode }) });
  }

  async get(folder: string, name: string): Promise<Uint8Array | null> {
    return await orNull(readFile(join(this.#root, folder, encodeName(name))));
  }

  async put(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    await this.#write(join(this.#root, folder, encodeName(name)), bytes);
  }

  async delete(folder: string, name: string): Promise<boolean> {
    const directory = join(this.#root, folder);
    const removed = await orNull(unlink(join(directory, encodeName(name))).then(() => true));
    if (removed === null) return false;
    if (this.#options.durable) await syncDirectory(directory);
    return true;
  }

  async list(folder: string, { after, limit }: { readonly after: string | null; readonly limit: number }) {
    const files = (await orNull(readdir(join(this.#root, folder)))) ?? [];
    const names = files.map(decodeName).filter((name) => name !== null && (after === null || name > after));
    return (names as string[]).sort().slice(0, limit);
  }

  #blobPath(digest: Digest): string {
    const hex = digestHex(digest);
    return join(this.#root, "blobs", digestAlgorithm(digest), hex.slice(0, 2), hex);
  }

  async blobSize(digest: Digest): Promise<number | null> {
    return (await orNull(stat(this.#blobPath(digest))))?.size ?? null;
  }

  blobBytes(digest: Digest, start: number, end: number): AsyncIterable<Uint8Array> {
    return readFileRange(this.#blobPath(digest), start, end);
  }

  async addBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    const path = this.#blobPath(digest);
    if ((await this.blobSize(digest)) === bytes.length) return await touch(path);
    await this.#write(path, bytes, 0o444);
  }

  async adoptBlob(digest: Digest, size: number, path: string): Promise<boolean> {
    const target = this.#blobPath(digest);
    if ((await this.blobSize(digest)) !== size) {
      return await adoptFile(path, target, { size, temporary: this.#temporary, durable: this.#options.durable });
    }
    await touch(target);
    return true;
  }

  async blobPath(digest: Digest): Promise<string | null> {
    return (await this.blobSize(digest)) === null ? null : this.#blobPath(digest);
  }

  async createUpload(repository: string, id: string): Promise<Upload> {
    const directory = this.#uploadPath(repository, id);
    await mkdir(directory, { recursive: true });
    const handle = await open(join(directory, "data"), "wx");
    await handle.close();
    return this.#upload(directory, 0, Date.now());
  }

  async openUpload(repository: string, id: string): Promise<Upload | null> {
    const directory = this.#uploadPath(repository, id);
    const found = await orNull(stat(join(directory, "data")));
    return found === null ? null : this.#upload(directory, found.size, found.mtimeMs);
  }

  #uploadPath(repository: string, id: string): string {
    return join(this.#root, "repos", repository, "_uploads", id);
  }

  #upload(directory: string, size: number, touched: number): Upload {
    const blobPath = (digest: Digest): string => this.#blobPath(digest);
    return new FileUpload(directory, { size, touched, blobPath, durable: this.#options.durable });
  }

  async countUploads(repository: string): Promise<number> {
    return ((await orNull(readdir(join(this.#root, "repos", repository, "_uploads")))) ?? []).length;
  }

  async exclusive<T>(scope: string, signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T> {
    let started = false;
    const running = this.#mutex.run(scope, async () => {
      throwIfAborted(signal);
      return await this.#lock.run(signal, async () => {
        started = true;
        return await task();
      });
    });
    return await waitFor(running, signal, () => !started);
  }

  async sweep(before: number): Promise<void> {
    for (const name of (await orNull(readdir(this.#temporary))) ?? [])
      await removeOld(join(this.#temporary, name), before);
    await this.#sweepUploads(join(this.#root, "repos"), before);
  }

  /** Repositories nest, and one without a manifest is in no catalog: so the folders are walked. */
  async #sweepUploads(directory: string, before: number): Promise<void> {
    for (const entry of (await orNull(readdir(directory, { withFileTypes: true }))) ?? []) {
      if (!entry.isDirectory()) continue;
      const path = join(directory, entry.name);
      if (!entry.name.startsWith("_")) await this.#sweepUploads(path, before);
      if (entry.name !== "_uploads") continue;
      for (const id of (await orNull(readdir(path))) ?? []) await removeOld(join(path, id), before, "data");
    }
  }

  async instanceId(): Promise<string | null> {
    const hold = await readHold(this.#root);
    if (hold === null || hold.pid !== process.pid) return null;
    // a record that outlived its process may bear our number
    return (await livenessOf(hold, await ownIdentity())) === "dead" ? null : hold.instanceId;
  }
}

/** Waits for a task, and no longer once the signal fires while it may be left. */
async function waitFor<T>(
  task: Promise<T>,
  signal: AbortSignal | null | undefined,
  mayLeave: () => boolean,
): Promise<T> {
  if (!signal) return await task;
  return await new Promise<T>((resolve, reject) => {
    const leave = (): void => {
      if (mayLeave()) reject(abortError(signal));
    };
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    task.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}

async function touch(path: string): Promise<void> {
  const now = new Date();
  // only collection asks for the time; a file of another user keeps its own
  await utimes(path, now, now).catch(() => undefined);
}

/** Removes a file or folder that nobody has touched since; `inner` is the file in it whose time counts. */
async function removeOld(path: string, before: number, inner = ""): Promise<void> {
  const found = (await orNull(stat(join(path, inner)))) ?? (await orNull(stat(path)));
  if (found !== null && found.mtimeMs < before) await rm(path, { recursive: true, force: true });
}
