import { constants } from "node:fs";
import { dirname } from "node:path";
import { LadingError } from "../errors.js";
import { type Bound, boundOf } from "../oci/bound.js";
import { errnoOf, type FileSystem, ifThere, removeFile } from "./file-system.js";

/** `full`: what was written survives a power cut. `fast`: it survives the end of the process. */
export type Durability = "full" | "fast";

export interface ReplaceOptions {
  /** Where the new content is written first: a name of its own in the same file system. */
  readonly temporary: string;
  readonly durability: Durability;
  /** @default 0o600 */
  readonly mode?: number;
}

/**
 * Opens a file that must be a regular one: a symbolic link is refused, whatever it points at. Null where it is missing.
 * @param mark False: reading it is no use of it, where the system can leave its access time alone. @default true
 */
export async function openRegular(fs: FileSystem, path: string, { mark = true }: { readonly mark?: boolean } = {}) {
  let handle: Awaited<ReturnType<FileSystem["open"]>> | null;
  // Windows has none of these flags. Without O_NONBLOCK a FIFO would hang here.
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  try {
    const quiet = mark ? 0 : (constants.O_NOATIME ?? 0);
    handle = await ifThere(
      fs.open(path, flags | quiet).catch((error: unknown) => {
        // Of somebody else's file the access time is not ours to keep.
        if (quiet === 0 || errnoOf(error) !== "EPERM") throw error;
        return fs.open(path, flags);
      }),
    );
  } catch (error) {
    if (errnoOf(error) === "ELOOP" || errnoOf(error) === "EMLINK") throw notRegular(path);
    throw error;
  }
  if (handle === null) return null;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw notRegular(path);
    return { handle, stat };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function notRegular(path: string): LadingError {
  return new LadingError("io", `${path} is not a regular file`, {
    hint: "a store holds no symbolic links; remove what is there",
  });
}

/**
 * A small file's bytes; null where it is missing.
 * @throws LadingError `limit-exceeded`, `io` where it is no regular file
 */
export async function readSmallFile(fs: FileSystem, path: string, bound: Bound): Promise<Uint8Array | null> {
  const { most, limit } = boundOf(bound);
  const opened = await openRegular(fs, path);
  if (opened === null) return null;
  const { handle, stat } = opened;
  try {
    if (stat.size > most) throw new LadingError("limit-exceeded", `${path} is longer than ${most} bytes`, { limit });
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** Puts a whole new content in a file's place: at every moment the old or the new one is there. */
export async function replaceFile(
  fs: FileSystem,
  path: string,
  bytes: Uint8Array,
  { temporary, durability, mode = 0o600 }: ReplaceOptions,
): Promise<void> {
  try {
    await writeNewFile(fs, temporary, bytes, { durability, mode });
    await fs.rename(temporary, path);
  } catch (error) {
    await removeFile(fs, temporary).catch(() => {});
    throw error;
  }
  if (durability === "full") await syncDirectory(fs, dirname(path));
}

/** Writes a file that must not be there yet. */
export async function writeNewFile(
  fs: FileSystem,
  path: string,
  bytes: Uint8Array,
  { durability, mode }: { readonly durability: Durability; readonly mode: number },
): Promise<void> {
  const handle = await fs.open(path, "wx", 0o600);
  try {
    await handle.writeFile(bytes);
    if (mode !== 0o600) await handle.chmod(mode);
    if (durability === "full") await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Systems that cannot open or flush a folder say one of these; their renames are durable in their own way. */
const cannotSync: ReadonlySet<string | undefined> = new Set(["EISDIR", "EPERM", "EACCES", "EINVAL", "ENOTSUP"]);

/** Makes renames in a folder survive a power cut. */
export async function syncDirectory(fs: FileSystem, directory: string): Promise<void> {
  try {
    const handle = await fs.open(directory, constants.O_RDONLY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!cannotSync.has(errnoOf(error))) throw error;
  }
}
