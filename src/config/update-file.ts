import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { link, mkdir, open, readdir, readFile, readlink, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ioError, LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";

/** How long a lock may be held, in ms: the work under it is one small read and one small write. */
const lockLifetime = 10_000;

export interface SmallFile {
  readonly text: string;
  /** Permission bits. */
  readonly mode: number;
}

/**
 * A small file of text; null where it is missing.
 * @throws LadingError `config-invalid` where it cannot be read, is no regular file, or is longer than 1 MiB
 */
export async function readSmallFile(path: string): Promise<SmallFile | null> {
  try {
    // O_NONBLOCK: to open a FIFO would wait for ever.
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const { size, mode } = await file.stat().then((found) => {
        if (!found.isFile()) throw new LadingError("config-invalid", `${path} is not a regular file`);
        return found;
      });
      if (size > limits.configFile) {
        throw new LadingError("config-invalid", `${path} is longer than ${limits.configFile} bytes`);
      }
      return { text: (await file.readFile("utf8")).replace(/^\uFEFF/, ""), mode: mode & 0o777 };
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    if (error instanceof LadingError) throw error;
    throw new LadingError("config-invalid", `${path} cannot be read: ${code ?? "unknown reason"}`, {
      hint: "check its owner and permissions",
      cause: error,
    });
  }
}

/**
 * Replaces a small file by what `change` makes of its text, so that at every moment the old or the new one is there,
 * and nothing is lost between writers that do the same. Mode 0600 in a folder of 0700; a symbolic link stays one.
 * `change` returns null to leave the file as it is.
 * @throws LadingError `io`, `no-space`, `config-invalid`, and what `change` throws
 */
export async function updateFile(
  path: string,
  change: (current: string | null) => string | null | Promise<string | null>,
): Promise<void> {
  try {
    const target = await linkTarget(path);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    const release = await lock(target);
    try {
      const text = await change((await readSmallFile(target))?.text ?? null);
      if (text !== null) await replace(target, text);
    } finally {
      await release();
    }
  } catch (error) {
    throw ioError(error, `writing ${path}`);
  }
}

/** Where a chain of symbolic links ends, also at a file that is not there yet. */
async function linkTarget(path: string): Promise<string> {
  let target = resolve(path);
  for (let hops = 0; hops < 20; hops += 1) {
    let link: string;
    try {
      link = await readlink(target);
    } catch {
      return target;
    }
    target = resolve(dirname(target), link);
  }
  throw new LadingError("config-invalid", `${path} is a symbolic link that leads nowhere`);
}

async function replace(target: string, text: string): Promise<void> {
  const [folder, prefix, suffix] = [dirname(target), `.${basename(target)}.`, ".lading-tmp"];
  const temporary = join(folder, `${prefix}${randomBytes(6).toString("hex")}${suffix}`);
  // What a killed writer left may hold a secret. Whoever has the lock is the only one that writes.
  const left = (await readdir(folder)).filter((name) => name.startsWith(prefix) && name.endsWith(suffix));
  for (const name of left) await rm(join(folder, name), { force: true });
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** Waits for the file's lock; takes over one that a killed process left. */
async function lock(target: string): Promise<() => Promise<void>> {
  const path = `${target}.lading-lock`;
  for (;;) {
    try {
      const file = await open(path, "wx", 0o600);
      await file.writeFile(`${process.pid} ${hostname()}`).finally(() => file.close());
      return async () => await rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const abandoned = await abandonedBy(path);
    if (abandoned === null) await delay(5 + Math.random() * 20);
    else await removeLock(path, abandoned);
  }
}

/** What is written in a lock whose holder is no more, or has had it for too long; else null. */
async function abandonedBy(path: string): Promise<string | null> {
  try {
    const [holder, { mtimeMs }] = [await readFile(path, "utf8"), await stat(path)];
    const [pid, host] = holder.split(" ");
    const isDead = host === hostname() && !isAlive(Number(pid));
    return isDead || Date.now() - mtimeMs > lockLifetime ? holder : null;
  } catch {
    // It has just been freed.
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Moves it aside first: another process may have taken it over since it was read, and gets it back. */
async function removeLock(path: string, holder: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, "utf8")) !== holder) await link(aside, path);
  } catch {
    // Somebody else was faster.
  }
  await rm(aside, { force: true });
}
