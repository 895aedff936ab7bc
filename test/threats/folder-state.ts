import { createHash } from "node:crypto";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

/** All that can be changed of what is below a folder: paths, kinds, inodes, links to them, modes, times, contents. */
export async function folderState(folder: string): Promise<Readonly<Record<string, string>>> {
  const state: Record<string, string> = {};
  for (const name of ["", ...(await readdir(folder, { recursive: true })).sort()]) {
    const path = join(folder, name);
    const stat = await lstat(path);
    const content = stat.isFile()
      ? createHash("sha256")
          .update(await readFile(path))
          .digest("hex")
      : stat.isSymbolicLink()
        ? await readlink(path)
        : "";
    state[name] = [stat.ino, stat.nlink, stat.mode, stat.size, stat.mtimeMs, stat.ctimeMs, content].join(" ");
  }
  return state;
}
