import { join } from "node:path";
import { type FileSystem, ifThere, nodeFileSystem } from "../../content/file-system.js";
import { livenessOf, ownIdentity } from "../../content/process-identity.js";
import { abortError, throwIfAborted } from "../../errors.js";
import { KeyedMutex, runInParts } from "../mutex.js";
import { BlobFiles } from "./blob-files.js";
import { ensureDirectory } from "./durable.js";
import { FileUpload } from "./file-upload.js";
import { FolderLock } from "./folder-lock.js";
import { readHold } from "./hold-record.js";
import { checkLayout, makeLayout } from "./layout-version.js";
import { RecordFiles } from "./record-files.js";
import type { SharedScope, Storage, StoredUpload, SweepReport, Upload } from "./storage.js";

export interface FilesystemOptions {
  /** Whether writes are fsynced. */
  readonly durable: boolean;
  /** @default the one of Node */
  readonly fs?: FileSystem | undefined;
  readonly onWaiting?: ((holder: { readonly pid: number | null }) => void) | undefined;
}

/** A folder, which processes may share. Readers take no lock: whatever they can see is whole. */
export class FilesystemStorage implements Storage {
  readonly #root: string;
  readonly #fs: FileSystem;
  readonly #durable: boolean;
  readonly #records: RecordFiles;
  readonly #blobs: BlobFiles;
  readonly #lock: FolderLock;
  readonly #mutex = new KeyedMutex();
  #readable: Promise<void> | null = null;
  #writable: Promise<void> | null = null;

  constructor(root: string, { durable, fs = nodeFileSystem, onWaiting }: FilesystemOptions) {
    this.#root = root;
    this.#fs = fs;
    this.#durable = durable;
    const files = { fs, durable, temporary: this.#temporary, turn: () => this.#lock.turn };
    this.#records = new RecordFiles(root, files);
    this.#blobs = new BlobFiles(root, this.#records, files);
    this.#lock = new FolderLock(root, { fs, onWaiting });
  }

  async open({ write, signal }: { readonly write: boolean; readonly signal?: AbortSignal | null | undefined }) {
    // what failed once may succeed later: only success is remembered
    this.#readable ??= checkLayout(this.#fs, this.#root).catch((error) => {
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

  async #makeLayout(): Promise<void> {
    const files = { fs: this.#fs, durable: this.#durable, temporary: this.#temporary };
    await ensureDirectory(this.#fs, this.#temporary, this.#durable);
    await this.#lock.run(null, () => makeLayout(this.#root, this.#records, files));
  }

  async close(): Promise<void> {}

  get #temporary(): string {
    return join(this.#root, "tmp");
  }

  readonly get: Storage["get"] = (...key) => this.#records.get(...key);
  readonly read: Storage["read"] = (...key) => this.#records.read(...key);
  readonly put: Storage["put"] = (...record) => this.#records.put(...record);
  readonly putIfAbsent: Storage["putIfAbsent"] = (...record) => this.#records.putIfAbsent(...record);
  readonly putIfMatch: Storage["putIfMatch"] = (...record) => this.#records.putIfMatch(...record);
  readonly delete: Storage["delete"] = (...key) => this.#records.delete(...key);
  readonly deleteIfMatch: Storage["deleteIfMatch"] = (...key) => this.#records.deleteIfMatch(...key);
  readonly list: Storage["list"] = (...page) => this.#records.list(...page);
  readonly folders: Storage["folders"] = (under) => this.#records.folders(under);

  readonly blobSize: Storage["blobSize"] = (digest) => this.#blobs.blobSize(digest);
  readonly blobBytes: Storage["blobBytes"] = (...range) => this.#blobs.blobBytes(...range);
  readonly addBlob: Storage["addBlob"] = (...blob) => this.#blobs.addBlob(...blob);
  readonly adoptBlob: Storage["adoptBlob"] = (...blob) => this.#blobs.adoptBlob(...blob);
  readonly blobPath: Storage["blobPath"] = (digest) => this.#blobs.blobPath(digest);
  readonly blobs: Storage["blobs"] = () => this.#blobs.blobs();
  readonly condemnedBlobs: Storage["condemnedBlobs"] = () => this.#blobs.condemnedBlobs();
  readonly reviveBlob: Storage["reviveBlob"] = (digest) => this.#blobs.reviveBlob(digest);
  readonly condemnBlob: Storage["condemnBlob"] = (...blob) => this.#blobs.condemnBlob(...blob);
  readonly removeBlob: Storage["removeBlob"] = (...blob) => this.#blobs.removeBlob(...blob);
  readonly quarantineBlob: Storage["quarantineBlob"] = (digest) => this.#blobs.quarantineBlob(digest);
  readonly quarantinedBlobs: Storage["quarantinedBlobs"] = () => this.#blobs.quarantinedBlobs();

  async createUpload(repository: string, id: string, subject: string | null): Promise<Upload> {
    const directory = this.#uploadPath(repository, id);
    await this.#fs.mkdir(directory, { recursive: true, mode: 0o700 });
    try {
      // before the data, without which there is no upload: nobody finds it without its owner
      if (subject !== null) await this.#fs.writeFile(join(directory, "subject"), subject, { flag: "wx" });
      await (await this.#fs.open(join(directory, "data"), "wx")).close();
    } catch (error) {
      await this.#fs.rm(directory, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
    return this.#upload(directory, { size: 0, touched: Date.now(), subject });
  }

  async openUpload(repository: string, id: string): Promise<Upload | null> {
    const directory = this.#uploadPath(repository, id);
    const found = await ifThere(this.#fs.stat(join(directory, "data")));
    if (found === null) return null;
    const subject = await ifThere(this.#fs.readFile(join(directory, "subject"), "utf8"));
    return this.#upload(directory, { size: found.size, touched: found.mtimeMs, subject });
  }

  #uploadPath(repository: string, id: string): string {
    return join(this.#root, "repos", repository, "_uploads", id);
  }

  #upload(directory: string, state: { size: number; touched: number; subject: string | null }): Upload {
    const place = this.#blobs.place.bind(this.#blobs);
    return new FileUpload(directory, { ...state, fs: this.#fs, durable: this.#durable, place });
  }

  async countUploads(repository: string): Promise<number> {
    return ((await ifThere(this.#fs.readdir(join(this.#root, "repos", repository, "_uploads")))) ?? []).length;
  }

  async exclusive<T>(scope: string, signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T> {
    return await this.#locked(signal, task, (locked) => this.#mutex.run(scope, locked));
  }

  async shared<T>(
    { scope, parts }: SharedScope,
    signal: AbortSignal | null | undefined,
    task: () => Promise<T>,
  ): Promise<T> {
    return await this.#locked(signal, task, (locked) =>
      this.#mutex.share(scope, () => runInParts(this.#mutex, scope, parts, locked)),
    );
  }

  async #locked<T>(
    signal: AbortSignal | null | undefined,
    task: () => Promise<T>,
    queue: (locked: () => Promise<T>) => Promise<T>,
  ): Promise<T> {
    let started = false;
    const running = queue(async () => {
      throwIfAborted(signal);
      return await this.#lock.run(signal, async () => {
        started = true;
        return await task();
      });
    });
    return await waitFor(running, signal, () => !started);
  }

  async sweep(before: number): Promise<SweepReport> {
    for (const name of (await ifThere(this.#fs.readdir(this.#temporary))) ?? [])
      await this.#removeOld(join(this.#temporary, name), before);
    const report = { uploads: 0, bytes: 0 };
    for await (const { repository, id } of this.#uploadsBelow("")) {
      const removed = await this.#removeOld(this.#uploadPath(repository, id), before, "data");
      if (removed === null) continue;
      report.uploads++;
      report.bytes += removed;
    }
    return report;
  }

  async *uploads(): AsyncIterable<StoredUpload> {
    for await (const { repository, id } of this.#uploadsBelow("")) {
      const upload = await this.openUpload(repository, id);
      if (upload !== null) yield { repository, id, subject: upload.subject };
    }
  }

  /** Repositories nest, and one without a manifest is in no catalog: so the folders are walked. */
  async *#uploadsBelow(path: string): AsyncIterable<{ readonly repository: string; readonly id: string }> {
    const directory = join(this.#root, "repos", path);
    for (const entry of (await ifThere(this.#fs.readdir(directory, { withFileTypes: true }))) ?? []) {
      if (!entry.isDirectory()) continue;
      if (!entry.name.startsWith("_")) yield* this.#uploadsBelow(path === "" ? entry.name : `${path}/${entry.name}`);
      if (entry.name !== "_uploads") continue;
      for (const id of (await ifThere(this.#fs.readdir(join(directory, entry.name)))) ?? [])
        yield { repository: path, id };
    }
  }

  /**
   * Removes a file or folder that nobody has touched since; `inner` is the file in it whose time counts.
   * @returns the file's bytes, or null where nothing was removed
   */
  async #removeOld(path: string, before: number, inner = ""): Promise<number | null> {
    const file = await ifThere(this.#fs.stat(join(path, inner)));
    const found = file ?? (await ifThere(this.#fs.stat(path)));
    if (found === null || found.mtimeMs >= before) return null;
    await this.#fs.rm(path, { recursive: true, force: true });
    return file?.size ?? 0;
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
