import { randomUUID } from "node:crypto";
import type { Stats } from "node:fs";
import { dirname, join } from "node:path";
import { cloneFile } from "../../content/clone-file.js";
import { openRegular } from "../../content/durable-file.js";
import type { FileSystem } from "../../content/file-system.js";
import { isSealed, sealTime } from "../../content/sealed-file.js";
import { ensureDirectory, isErrno, syncDirectory } from "./durable.js";

export interface AdoptOptions {
  readonly fs: FileSystem;
  /** Bytes that the file must have. */
  readonly size: number;
  /** The folder for the temporary name. */
  readonly temporary: string;
  readonly durable: boolean;
}

/**
 * Gives a read-only file of another store a place here too, by reflink or hard link. Its bytes are not looked at.
 * False where the file is not sealed, has another size or is gone, or the file system can't: another device, too
 * many links, no right to.
 */
export async function adoptFile(path: string, target: string, options: AdoptOptions): Promise<boolean> {
  const { fs, size, temporary, durable } = options;
  // a symbolic link among others, or a file that we may not even read
  const opened = await openRegular(fs, path).catch(() => null);
  if (opened === null) return false;
  const { handle, stat } = opened;
  const draft = join(temporary, randomUUID());
  try {
    if (!isSealed(stat) || stat.size !== size) return false;
    // a blob that is committed counts as fresh, and a draft that looks old could be swept under our feet
    const now = sealTime(Date.now());
    await handle.utimes(now, now);
    // the other store may have promised less than we do
    if (durable) await handle.sync();
    await ensureDirectory(fs, dirname(target), durable);
    const cloned = await cloneFile(fs, path, draft, { hardLink: true });
    if (cloned === null) return false;
    if (cloned === "reflink") await seal(fs, draft, durable);
    if (!isTheSame(await fs.lstat(draft), stat, cloned)) return false;
    await fs.rename(draft, target);
    if (durable) await syncDirectory(fs, dirname(target));
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT", "EPERM", "EACCES", "EROFS")) return false;
    throw error;
  } finally {
    await handle.close();
    await fs.rm(draft, { force: true }).catch(() => undefined);
  }
}

/** What we opened is what we linked: a path may have got another meaning in between. */
function isTheSame(draft: Stats, opened: Stats, cloned: "reflink" | "hard-link"): boolean {
  if (!draft.isFile() || draft.size !== opened.size) return false;
  return cloned === "reflink" || (draft.ino === opened.ino && draft.dev === opened.dev);
}

async function seal(fs: FileSystem, path: string, durable: boolean): Promise<void> {
  await fs.chmod(path, 0o444);
  const now = sealTime(Date.now());
  await fs.utimes(path, now, now);
  if (!durable) return;
  const handle = await fs.open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
