import { constants } from "node:fs";
import { errnoOf, type FileSystem, removeFile } from "./file-system.js";

/**
 * A file with another one's content, without copying a byte: a reflink, or a hard link where the file will never be
 * written again. Null where the file system can do neither.
 */
export async function cloneFile(
  fs: FileSystem,
  from: string,
  to: string,
  { hardLink }: { readonly hardLink: boolean },
): Promise<"reflink" | "hard-link" | null> {
  try {
    await fs.copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    return "reflink";
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOSPC") throw error;
    await removeFile(fs, to);
  }
  if (!hardLink) return null;
  try {
    await fs.link(from, to);
    return "hard-link";
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOSPC") throw error;
    return null;
  }
}
