import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type FileSystem, nodeFileSystem } from "../../content/file-system.js";
import { livenessOf, ownIdentity, type ProcessIdentity } from "../../content/process-identity.js";
import { throwIfAborted } from "../../errors.js";
import { isErrno } from "./durable.js";

interface LockRecord extends ProcessIdentity {
  readonly id: string;
}

export interface FolderLockOptions {
  /** @default the one of Node */
  readonly fs?: FileSystem | undefined;
  /** Called once where the lock could not be had for a second. */
  readonly onWaiting?: ((holder: { readonly pid: number | null }) => void) | undefined;
}

interface Held {
  readonly release: () => Promise<void>;
  /** Until when tasks may join without another look, by `performance.now()`. */
  until: number;
  /** The look whether others wait, while it is taken. */
  looking: Promise<void> | null;
  /** Others wait: nobody joins any more. */
  wanted: boolean;
  /** Called once the last one has left. */
  readonly waiting: (() => void)[];
  users: number;
}

/** A lock that nobody on this machine can tell about counts as left behind after this long without a sign, in ms. */
const silence = 60_000;
/** How often the holder gives that sign, in ms. */
const beat = 10_000;
/** How long tasks of one process may keep joining before it looks whether others wait, in ms. */
const turn = 100;
/** Made by whoever waits, so that the holder gives way. */
const wantedFile = "write.lock.wanted";

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

  /**
   * What this process has the lock by, null where it has not got it. As long as it is the same, nobody else has changed
   * anything in the folder.
   */
  get turn(): object | null {
    return this.#held;
  }

  async #enter(signal: AbortSignal | null | undefined): Promise<Held> {
    while (true) {
      throwIfAborted(signal);
      const held = this.#held;
      if (this.#changing !== null) {
        await this.#changing.catch(() => undefined);
      } else if (held === null) {
        const taking = this.#take(signal);
        this.#changing = taking;
        try {
          const until = performance.now() + turn;
          this.#held = { release: await taking, until, looking: null, wanted: false, waiting: [], users: 1 };
          return this.#held;
        } finally {
          this.#changing = null;
        }
      } else if (held.wanted) {
        // whoever leaves last gives the lock back
        await new Promise<void>((resolve) => held.waiting.push(resolve));
      } else if (performance.now() < held.until) {
        held.users++;
        return held;
      } else {
        // the first one joins meanwhile, so that the lock is not given back under its look
        const first = held.looking === null;
        if (first) held.users++;
        held.looking ??= this.#look(held);
        await held.looking;
        if (first && !held.wanted) return held;
        if (first) await this.#leave(held);
      }
    }
  }

  /** Goes on with the turn where nobody else waits. */
  async #look(held: Held): Promise<void> {
    const { fs = nodeFileSystem } = this.#options;
    const file = join(this.#directory, wantedFile);
    held.wanted = await fs.unlink(file).then(
      () => true,
      // what can't be told counts as wanted: to give the lock back is never wrong
      (error: unknown) => !isErrno(error, "ENOENT"),
    );
    held.until = performance.now() + turn;
    held.looking = null;
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
      for (const resume of held.waiting) resume();
    }
  }

  async #take(signal: AbortSignal | null | undefined): Promise<() => Promise<void>> {
    this.#own ??= ownIdentity();
    const own = await this.#own;
    const { fs = nodeFileSystem, onWaiting } = this.#options;
    const release = await takeLockFile({ fs, directory: this.#directory, own, signal, onWaiting }, "write.lock");
    return async () => {
      // of who waits now, and asks again, or of one that was killed while it waited
      await fs.rm(join(this.#directory, wantedFile), { force: true }).catch(() => undefined);
      await release();
    };
  }
}

/** Who wants a lock in which folder. */
interface Wanting {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly own: ProcessIdentity;
  readonly signal: AbortSignal | null | undefined;
  readonly onWaiting: FolderLockOptions["onWaiting"];
}

async function takeLockFile(wanting: Wanting, name: string): Promise<() => Promise<void>> {
  const { fs, directory, own, signal, onWaiting } = wanting;
  const path = join(directory, name);
  const record: LockRecord = { ...own, id: randomUUID() };
  const started = performance.now();
  let [told, asked] = [false, false];
  try {
    for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
      throwIfAborted(signal);
      if (await createLockFile(fs, directory, path, record)) return keep(fs, path);
      const holder = await readLock(fs, path);
      if (holder === "gone") continue;
      if (await isLeftBehind(wanting, path, holder)) {
        await removeStale(wanting, name, holder);
        continue;
      }
      asked = await fs.writeFile(join(directory, wantedFile), "").then(
        () => true,
        () => asked,
      );
      if (!told && performance.now() - started > 1000) {
        told = true;
        onWaiting?.({ pid: holder?.pid ?? null });
      }
      // not all at the same moment
      await sleep(pause * (0.5 + Math.random()), undefined, signal ? { signal } : undefined).catch(() => undefined);
    }
  } finally {
    // who waits still asks again
    if (asked) await fs.rm(join(directory, wantedFile), { force: true }).catch(() => undefined);
  }
}

/** Makes the lock file with its content in one step, so that nobody sees it empty. False where there is one. */
async function createLockFile(fs: FileSystem, directory: string, path: string, record: LockRecord): Promise<boolean> {
  const draft = join(directory, "tmp", `lock-${record.id}`);
  const text = JSON.stringify(record);
  try {
    await fs.writeFile(draft, text, { flag: "wx" });
    await fs.link(draft, path);
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    if (!isErrno(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK")) throw error;
    return await createWithoutLink(fs, path, text);
  } finally {
    await fs.rm(draft, { force: true }).catch(() => undefined);
  }
}

/** For file systems without hard links (FAT, some network shares). */
async function createWithoutLink(fs: FileSystem, path: string, text: string): Promise<boolean> {
  try {
    const handle = await fs.open(path, "wx");
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

function keep(fs: FileSystem, path: string): () => Promise<void> {
  const timer = setInterval(() => {
    const now = new Date();
    fs.utimes(path, now, now).catch(() => undefined);
  }, beat);
  timer.unref();
  return async () => {
    clearInterval(timer);
    // one that stays would look alive, and hold everybody up for as long as this process lives
    for (let attempt = 1; attempt <= 5; attempt++) {
      try {
        return await fs.unlink(path);
      } catch (error) {
        if (isErrno(error, "ENOENT")) return;
        await sleep(attempt * 10);
      }
    }
  };
}

/** Null where it can't be read (it is just being written, or was cut off). */
async function readLock(fs: FileSystem, path: string): Promise<LockRecord | null | "gone"> {
  try {
    return JSON.parse(await fs.readFile(path, "utf8")) as LockRecord;
  } catch (error) {
    return isErrno(error, "ENOENT") ? "gone" : null;
  }
}

async function isLeftBehind(
  { fs, directory, own }: Wanting,
  path: string,
  holder: LockRecord | null,
): Promise<boolean> {
  const liveness = holder === null ? "unknown" : await livenessOf(holder, own);
  if (liveness !== "unknown") return liveness === "dead";
  // two clocks may differ; so the file system's own is asked for the time
  const probe = join(directory, "tmp", `clock-${randomUUID()}`);
  try {
    await fs.writeFile(probe, "", { flag: "wx" });
    const [now, then] = await Promise.all([fs.stat(probe), fs.stat(path)]);
    return now.mtimeMs - then.mtimeMs > silence;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  } finally {
    await fs.rm(probe, { force: true }).catch(() => undefined);
  }
}

/**
 * Takes a dead holder's lock away. Two that do so at once must not take the lock of a third who came in between;
 * so it needs a lock itself, named after the one that goes: with it, and its holder dead, nobody else changes that.
 */
async function removeStale(wanting: Wanting, name: string, holder: LockRecord | null): Promise<void> {
  const { fs, directory } = wanting;
  const path = join(directory, name);
  const guard = `${name}.${holder?.id ?? "unreadable"}`;
  const release = await takeLockFile({ ...wanting, onWaiting: undefined }, guard);
  try {
    const current = await readLock(fs, path);
    if (current !== "gone" && current?.id === holder?.id) await fs.unlink(path);
  } finally {
    await release();
  }
}
