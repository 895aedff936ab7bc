import { constants } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { LadingError, throwIfAborted } from "../errors.js";
import { readSmallFile, writeNewFile } from "./durable-file.js";
import { errnoOf, type FileSystem, removeFile } from "./file-system.js";
import { isAlive, type ProcessIdentity, parseIdentity } from "./process-identity.js";

export interface LockOptions {
  readonly fs: FileSystem;
  readonly self: ProcessIdentity;
  /** A new random name each time, of small letters and digits. */
  readonly random: () => string;
  /** A new path in the same file system each time. */
  readonly temporary: () => string;
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for a holder that lives, in ms. @default 60000 */
  readonly patience?: number;
  /** ms */
  readonly clock: () => number;
}

interface Holder {
  readonly id: string;
  readonly identity: ProcessIdentity;
}

/**
 * Does work while no other process (or other caller in this one) does any under the same lock file. The file of a
 * holder that died on this host is taken over; that of one on another host never is, since nobody here can know.
 * @throws LadingError `conflict` where the holder does not let go in time, `cancelled`
 */
export async function withLock<Result>(
  path: string,
  options: LockOptions,
  work: () => Promise<Result>,
): Promise<Result> {
  const id = await acquire(path, options);
  try {
    return await work();
  } finally {
    await release(options.fs, path, id);
  }
}

async function acquire(path: string, options: LockOptions): Promise<string> {
  const { fs, self, random, temporary, signal, patience = 60_000, clock } = options;
  const id = random();
  const own = temporary();
  const deadline = clock() + patience;
  try {
    await writeNewFile(fs, own, Buffer.from(JSON.stringify({ id, ...self })), { durability: "fast", mode: 0o600 });
    for (let wait = 2; ; wait = Math.min(wait * 1.5, 50)) {
      throwIfAborted(signal);
      // A hard link to a finished file: nobody ever sees a lock without its holder's name in it.
      if (await tryCreate(fs, own, path)) return id;
      const holder = await readHolder(fs, path);
      if (holder !== null && !(await isAlive(holder.identity, self))) {
        await takeAway(path, holder, options);
        continue;
      }
      if (clock() > deadline) throw held(path, holder);
      await sleep(wait, undefined, { signal }).catch(() => {});
    }
  } finally {
    // The lock is what counts: nobody would let go of it if this failed the call.
    await removeFile(fs, own).catch(() => {});
  }
}

/** File systems without hard links say one of these. */
const cannotLink: ReadonlySet<string | undefined> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/** Gives a finished file its place, where nothing is there yet: only one of several can. False for the others. */
export async function tryCreate(fs: FileSystem, own: string, path: string): Promise<boolean> {
  try {
    await fs.link(own, path).catch(async (error: unknown) => {
      if (!cannotLink.has(errnoOf(error))) throw error;
      await fs.copyFile(own, path, constants.COPYFILE_EXCL);
    });
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
}

/**
 * Removes a dead holder's lock. All that found it dead do so one after the other, under a lock of their own that
 * bears its id, and the first one alone still finds it: so none removes the lock of a new holder.
 */
async function takeAway(path: string, dead: Holder, options: LockOptions): Promise<void> {
  await withLock(`${path}.${dead.id}`, options, async () => {
    if ((await readHolder(options.fs, path))?.id === dead.id) await removeFile(options.fs, path);
  });
}

/** Tried again where it fails: a lock that stays would stop everybody for as long as this process lives. */
async function release(fs: FileSystem, path: string, id: string, attempts = 3): Promise<void> {
  try {
    if ((await readHolder(fs, path))?.id === id) await removeFile(fs, path);
  } catch (error) {
    if (attempts === 1) throw error;
    await sleep(10);
    await release(fs, path, id, attempts - 1);
  }
}

async function readHolder(fs: FileSystem, path: string): Promise<Holder | null> {
  const bytes = await readSmallFile(fs, path, 4096);
  if (bytes === null) return null;
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    const identity = parseIdentity(value);
    const id = (value as { id?: unknown }).id;
    return identity !== null && typeof id === "string" && /^[a-z0-9]+$/.test(id) ? { id, identity } : null;
  } catch {
    return null;
  }
}

function held(path: string, holder: Holder | null): LadingError {
  const who = holder === null ? "something" : `process ${holder.identity.pid} on ${holder.identity.host}`;
  return new LadingError("conflict", `${who} holds the lock ${path}`, {
    hint: "wait for it; if it is no Lading process that still runs, remove the file",
    retryable: true,
  });
}
