import { dirname } from "node:path";
import { LadingError } from "../errors.js";
import { type Durability, syncDirectory } from "./durable-file.js";
import { errnoOf, type FileSystem, ifThere } from "./file-system.js";

/**
 * True for a folder, false where nothing is there.
 * @throws LadingError `io` where a symbolic link or something else is in its place
 */
export async function refuseLink(fs: FileSystem, path: string): Promise<boolean> {
  const stat = await ifThere(fs.lstat(path));
  if (stat === null) return false;
  if (stat.isDirectory()) return true;
  throw new LadingError("io", `${path} is not a folder`, {
    hint: "a store holds no symbolic links; remove what is there",
  });
}

/** Makes a folder that only its owner may enter, where there is none. @throws LadingError `io` as {@link refuseLink} */
export async function makeFolder(fs: FileSystem, path: string, durability: Durability): Promise<void> {
  if (await refuseLink(fs, path)) return;
  try {
    await fs.mkdir(path, { mode: 0o700 });
    if (durability === "full") await syncDirectory(fs, dirname(path));
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    await refuseLink(fs, path);
  }
}
