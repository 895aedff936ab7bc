import { createHash, randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { readSmallFile, replaceFile, writeNewFile } from "../content/durable-file.js";
import { type FileSystem, ifThere, nodeFileSystem, removeFile } from "../content/file-system.js";
import { tryCreate, withLock } from "../content/lock.js";
import { livenessOf, ownIdentity, type ProcessIdentity } from "../content/process-identity.js";
import { makeFolder } from "../content/real-folder.js";
import { parseUploadRecord, type UploadKey, type UploadRecord } from "./upload-record.js";
import type { Session } from "./upload-session.js";

export interface UploadJournalOptions {
  /** A folder of its own, made when the first record is written. */
  readonly directory: string;
  /** @default node:fs/promises */
  readonly fs?: FileSystem | undefined;
  /** ms since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined;
  /** How often the owner of a record shows that it lives, in ms. @default 2000 */
  readonly beat?: number | undefined;
}

/** What the journal says of an upload. */
export type UploadClaim =
  /** It is the caller's now. `session`: where an earlier run left off; null where there was none. */
  | { readonly kind: "own"; readonly entry: UploadEntry; readonly session: Session | null }
  /** Somebody else is at it. */
  | { readonly kind: "busy"; readonly pid: number; readonly offset: number }
  /** It can't be kept, for whatever reason: the upload goes on without. */
  | { readonly kind: "none" };

/** No registry keeps a session for longer, in ms. */
const lifetime = 7 * 24 * 3600 * 1000;
/** An owner that was silent for so long may live, but it does nothing: nobody waits for it. In ms. */
const silence = 60_000;
/** One on another machine, of which nothing else can be known, is given up after this, in ms. */
const unknownSilence = 600_000;
const largestRecord = 64 * 1024;

/**
 * Uploads under way, and those that were broken off: a small file each, so that the next run goes on where the registry stands,
 * and two runs at once send a blob once. A record belongs to the process that wrote it while that lives. What it holds is as
 * good as a key to the session: only its owner may read it, and it is never shown.
 */
export class UploadJournal {
  readonly #directory: string;
  readonly #fs: FileSystem;
  readonly #clock: () => number;
  readonly #beat: number;
  readonly #entries = new Set<UploadEntry>();
  #timer: NodeJS.Timeout | null = null;
  #ready: Promise<ProcessIdentity> | null = null;

  constructor({ directory, fs, clock, beat }: UploadJournalOptions) {
    this.#directory = directory;
    this.#fs = fs ?? nodeFileSystem;
    this.#clock = clock ?? Date.now;
    this.#beat = beat ?? 2_000;
  }

  /** Takes an upload over, begins it, or says who is at it. Never fails: a journal is a convenience. */
  async claim(key: UploadKey): Promise<UploadClaim> {
    try {
      this.#ready ??= this.#prepare();
      const self = await this.#ready;
      const entry = new UploadEntry({
        ...{ key, path: this.#pathOf(key), owner: self, fs: this.#fs, temporary: () => this.#temporary() },
        onEnd: () => this.#forget(entry),
      });
      // Nobody has it, mostly: then the file is made, which only one can do.
      const claim = (await entry.begin()) ? own(entry, null) : await this.#takeOver(entry, self);
      if (claim.kind === "own") this.#watch(entry);
      return claim;
    } catch {
      return { kind: "none" };
    }
  }

  /** The blob is there: whatever an earlier run left of it is of no use any more. Never fails. */
  async drop(key: UploadKey): Promise<void> {
    await removeFile(this.#fs, this.#pathOf(key)).catch(() => false);
  }

  #pathOf(key: UploadKey): string {
    return join(this.#directory, `${nameOf(key)}.json`);
  }

  async #takeOver(entry: UploadEntry, self: ProcessIdentity): Promise<UploadClaim> {
    const lock = {
      ...{ fs: this.#fs, self, clock: this.#clock },
      random: randomName,
      temporary: () => this.#temporary(),
    };
    return await withLock(`${entry.path}.lock`, lock, async () => {
      const stat = await ifThere(this.#fs.lstat(entry.path));
      const bytes = await readSmallFile(this.#fs, entry.path, largestRecord);
      const age = stat === null ? 0 : this.#clock() - stat.mtimeMs;
      const record = bytes === null ? null : parseUploadRecord(bytes, entry.key);
      if (record?.owner && age < lifetime) {
        const liveness = await livenessOf(record.owner, self);
        if (liveness !== "dead" && age < silence) {
          return { kind: "busy", pid: record.owner.pid, offset: record.session?.offset ?? 0 };
        }
        // It is stopped, or the machine was asleep: the session stays its own.
        if (liveness === "alive" || (liveness === "unknown" && age < unknownSilence)) return { kind: "none" };
      }
      const session = age < lifetime ? (record?.session ?? null) : null;
      await entry.note(session);
      return own(entry, session);
    });
  }

  #watch(entry: UploadEntry): void {
    this.#entries.add(entry);
    this.#timer ??= setInterval(() => {
      for (const one of this.#entries) void one.beat();
    }, this.#beat);
    // Whoever has nothing else to do may end.
    this.#timer.unref();
  }

  #forget(entry: UploadEntry): void {
    this.#entries.delete(entry);
    if (this.#entries.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  async #prepare(): Promise<ProcessIdentity> {
    const parent = dirname(this.#directory);
    await this.#fs.mkdir(dirname(parent), { recursive: true, mode: 0o700 });
    await makeFolder(this.#fs, parent, "fast");
    await makeFolder(this.#fs, this.#directory, "fast");
    await this.#sweep();
    return await ownIdentity();
  }

  /** Removes what nobody can go on with any more. */
  async #sweep(): Promise<void> {
    for (const name of await this.#fs.readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const stat = await ifThere(this.#fs.lstat(path));
      if (stat !== null && this.#clock() - stat.mtimeMs > lifetime) await removeFile(this.#fs, path);
    }
  }

  #temporary(): string {
    return join(this.#directory, `tmp.${randomName()}`);
  }
}

interface EntryOptions {
  readonly key: UploadKey;
  readonly path: string;
  readonly owner: ProcessIdentity;
  readonly fs: FileSystem;
  readonly temporary: () => string;
  readonly onEnd: () => void;
}

/** The record of one upload, in the hands of its owner. A write that fails is let be: the upload is what counts. */
export class UploadEntry {
  readonly key: UploadKey;
  readonly path: string;
  readonly #options: EntryOptions;
  #session: Session | null = null;
  #ended = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: EntryOptions) {
    this.#options = options;
    this.key = options.key;
    this.path = options.path;
  }

  /** Makes the record; false where there is one. */
  async begin(): Promise<boolean> {
    const { fs, owner } = this.#options;
    const temporary = this.#options.temporary();
    try {
      await writeNewFile(fs, temporary, this.#bytes(owner), { durability: "fast", mode: 0o600 });
      return await tryCreate(fs, temporary, this.path);
    } finally {
      await removeFile(fs, temporary).catch(() => false);
    }
  }

  /** Where the upload is now: written before anything is sent there. */
  async note(session: Session | null): Promise<void> {
    this.#session = session;
    await this.#write();
  }

  /** How far it is: written with the next beat. */
  reached(offset: number): void {
    if (this.#session !== null) this.#session = { ...this.#session, offset };
  }

  /** Shows that the owner lives, and how far it is. */
  async beat(): Promise<void> {
    await this.#write();
  }

  /** Leaves the upload to whoever comes next. */
  async release(): Promise<void> {
    await this.#end(() => this.#replace(null));
  }

  /** The blob is there, or will never be. */
  async remove(): Promise<void> {
    await this.#end(async () => {
      await removeFile(this.#options.fs, this.path);
    });
  }

  async #end(last: () => Promise<void>): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.onEnd();
    await this.#inTurn(last);
  }

  async #write(): Promise<void> {
    await this.#inTurn(async () => {
      if (!this.#ended) await this.#replace(this.#options.owner);
    });
  }

  async #replace(owner: ProcessIdentity | null): Promise<void> {
    const { fs, temporary } = this.#options;
    await replaceFile(fs, this.path, this.#bytes(owner), { temporary: temporary(), durability: "fast" });
  }

  /** One after the other: a record that was removed must not come back. */
  async #inTurn(write: () => Promise<void>): Promise<void> {
    this.#writing = this.#writing.then(write).catch(() => undefined);
    await this.#writing;
  }

  #bytes(owner: ProcessIdentity | null): Uint8Array {
    const session = this.#session;
    const record: UploadRecord = { ...this.key, owner, session };
    const written = { ...record, session: session && { ...session, location: session.location.href } };
    return Buffer.from(JSON.stringify(written));
  }
}

function own(entry: UploadEntry, session: Session | null): UploadClaim {
  return { kind: "own", entry, session };
}

/** One blob on its way to one place, for one who asks. */
function nameOf({ registry, repository, digest, identity }: UploadKey): string {
  return createHash("sha256")
    .update(JSON.stringify([registry, repository, digest, identity]))
    .digest("hex");
}

function randomName(): string {
  return randomBytes(8).toString("hex");
}
