import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { LadingError } from "../errors.js";
import { type Durability, syncDirectory } from "./durable-file.js";
import { errnoOf, type FileSystem, ifThere } from "./file-system.js";

export interface MoveOptions {
  /** Where it is to be: no link in between. */
  readonly folder: string;
  readonly name: string;
  readonly durability: Durability;
}

/**
 * Moves a file into a folder that is held open meanwhile: whoever puts a symbolic link in the folder's place at that moment does not
 * lead the file elsewhere. Node has no `renameat`; Linux has names for open folders. Elsewhere the folder is named by its path.
 * @throws LadingError `io` where something else is in the folder's place
 */
export async function moveInto(fs: FileSystem, from: string, { folder, name, durability }: MoveOptions): Promise<void> {
  const pinned = process.platform === "linux" ? await pin(fs, folder) : null;
  try {
    await fs.rename(from, join(pinned?.path ?? folder, name));
    if (durability === "full") await syncDirectory(fs, pinned?.path ?? folder);
  } finally {
    await pinned?.handle.close();
  }
}

/** Null where the system shows no names of open folders. */
async function pin(
  fs: FileSystem,
  folder: string,
): Promise<{ readonly handle: FileHandle; readonly path: string } | null> {
  let handle: FileHandle;
  try {
    handle = await fs.open(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    throw errnoOf(error) === "ELOOP" || errnoOf(error) === "ENOTDIR" ? elsewhere(folder) : error;
  }
  try {
    const path = `/proc/self/fd/${handle.fd}`;
    const where = await ifThere(fs.readlink(path));
    if (where === folder) return { handle, path };
    if (where !== null) throw elsewhere(folder);
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return null;
}

function elsewhere(folder: string): LadingError {
  return new LadingError("io", `${folder} is not the folder that it was`, {
    hint: "a store holds no symbolic links; remove what is there",
  });
}
