import { randomUUID } from "node:crypto";
import { link, open, readFile, rm, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { livenessOf, ownIdentity, type ProcessIdentity } from "../../content/process-identity.js";
import { throwIfAborted } from "../../errors.js";
import { isErrno } from "./durable.js";

interface LockRecord extends ProcessIdentity {
  readonly id: string;
}

export interface FolderLockOptions {
  /** Called once where the lock could not be had for a second. */
  readonly onWaiting?: ((holder: { readonly pid: number | null }) => void) | undefined;
}

interface Held {
  readonly release: () => Promise<void>;
  /** By `performance.now()`. */
  readonly since: number;
  users: number;
}

/** A lock that nobody on this machine can tell about counts as left behind after this long without a sign, in ms. */
const silence = 60_000;
/** How often the holder gives that sign, in ms. */
const beat = 10_000;
/** How long tasks of one process may keep joining before others get their turn, in ms. */
const turn = 100;

/**
 * The lock of a folder between processes: a file that names its holder. Tasks of this process share it. A lock
 * whose holder is dead is taken over, by one process alone.
 */
export class FolderLock {
  readonly #directory: string;
  readonly #options: FolderLockOptions;
  #own: Promise<ProcessIdentity> | null = null;
  #held: Held | null = null;
  /** The step in which the lock is being taken or given back; everybody waits for it. */
  #changing: Promise<unknown> | null = null;

  constructor(directory: string, options: FolderLockOptions = {}) {
    this.#directory = directory;
    this.#options = options;
  }

  /** Runs a task while this process has the lock. `signal` ends the waiting, never the task. */
  async run<T>(signal: AbortSignal | null | undefined, task: () => Promise<T>): Promise<T> {
    const held = await this.#enter(signal);
    try {
      return await task();
    } finally {
      await this.#leave(held);
    }
  }

  async #enter(signal: AbortSignal | null | undefined): Promise<Held> {
    while (true) {
      throwIfAborted(signal);
      if (this.#changing !== null) {
        await this.#changing.catch(() => undefined);
      } else if (this.#held !== null && performance.now() - this.#held.since < turn) {
        this.#held.users++;
        return this.#held;
      } else if (this.#held !== null) {
        // the turn is over: whoever leaves last gives the lock back
        await sleep(2);
      } else {
        const taking = this.#take(signal);
        this.#changing = taking;
        try {
          const held = { release: await taking, since: performance.now(), users: 1 };
          this.#held = held;
          return held;
        } finally {
          this.#changing = null;
        }
      }
    }
  }

  async #leave(held: Held): Promise<void> {
    held.users--;
    if (held.users > 0) return;
    this.#held = null;
    const releasing = held.release();
    this.#changing = releasing;
    try {
      await releasing;
    } finally {
      this.#changing = null;
    }
  }

  async #take(signal: AbortSignal | null | undefined): Promise<() => Promise<void>> {
    this.#own ??= ownIdentity();
    const own = await this.#own;
    return await takeLockFile(this.#directory, "write.lock", own, signal, this.#options.onWaiting);
  }
}

async function takeLockFile(
  directory: string,
  name: string,
  own: ProcessIdentity,
  signal: AbortSignal | null | undefined,
  onWaiting: FolderLockOptions["onWaiting"],
): Promise<() => Promise<void>> {
  const path = join(directory, name);
  const record: LockRecord = { ...own, id: randomUUID() };
  const started = performance.now();
  let told = false;
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    throwIfAborted(signal);
    if (await createLockFile(directory, path, record)) return keep(path);
    const holder = await readLock(path);
    if (holder === "gone") continue;
    if (await isLeftBehind(directory, path, holder, own)) {
      await removeStale(directory, name, holder, own, signal);
      continue;
    }
    if (!told && performance.now() - started > 1000) {
      told = true;
      onWaiting?.({ pid: holder?.pid ?? null });
    }
    // not all at the same moment
    await sleep(pause * (0.5 + Math.random()), undefined, signal ? { signal } : undefined).catch(() => undefined);
  }
}

/** Makes the lock file with its content in one step, so that nobody sees it empty. False where there is one. */
async function createLockFile(directory: string, path: string, record: LockRecord): Promise<boolean> {
  const draft = join(directory, "tmp", `lock-${record.id}`);
  const text = JSON.stringify(record);
  try {
    await writeFile(draft, text, { flag: "wx" });
    await link(draft, path);
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    if (!isErrno(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK")) throw error;
    return await createWithoutLink(path, text);
  } finally {
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

/** For file systems without hard links (FAT, some network shares). */
async function createWithoutLink(path: string, text: string): Promise<boolean> {
  try {
    const handle = await open(path, "wx");
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
}

function keep(path: string): () => Promise<void> {
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, beat);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await unlink(path).catch(() => undefined);
  };
}

/** Null where it can't be read (it is just being written, or was cut off). */
async function readLock(path: string): Promise<LockRecord | null | "gone"> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as LockRecord;
  } catch (error) {
    return isErrno(error, "ENOENT") ? "gone" : null;
  }
}

async function isLeftBehind(
  directory: string,
  path: string,
  holder: LockRecord | null,
  own: ProcessIdentity,
): Promise<boolean> {
  const liveness = holder === null ? "unknown" : await livenessOf(holder, own);
  if (liveness !== "unknown") return liveness === "dead";
  // two clocks may differ; so the file system's own is asked for the time
  const probe = join(directory, "tmp", `clock-${randomUUID()}`);
  try {
    await writeFile(probe, "", { flag: "wx" });
    const [now, then] = await Promise.all([stat(probe), stat(path)]);
    return now.mtimeMs - then.mtimeMs > silence;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
  }
}

/**
 * Takes a dead holder's lock away. Two that do so at once must not take the lock of a third who came in between;
 * so it needs a lock itself, named after the one that goes: with it, and its holder dead, nobody else changes that.
 */
async function removeStale(
  directory: string,
  name: string,
  holder: LockRecord | null,
  own: ProcessIdentity,
  signal: AbortSignal | null | undefined,
): Promise<void> {
  const path = join(directory, name);
  const release = await takeLockFile(directory, `${name}.${holder?.id ?? "unreadable"}`, own, signal, undefined);
  try {
    const current = await readLock(path);
    if (current !== "gone" && current?.id === holder?.id) await unlink(path);
  } finally {
    await release();
  }
}
