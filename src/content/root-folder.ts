import { constants, type Stats } from "node:fs";
import { lstat, open, readdir, readlink } from "node:fs/promises";
import { ioError, LadingError, throwIfAborted } from "../errors.js";
import { limits } from "../oci/limits.js";
import {
  isWhiteout,
  linkGroup,
  type ReadRootOptions,
  type RootEntry,
  type RootFile,
  type RootFiles,
} from "./root-files.js";

interface Linked {
  readonly names: Buffer[];
  readonly stats: Stats;
}

const slash = Buffer.from("/");
const chunkSize = 1024 * 1024;

/**
 * The files below a folder. Links are not followed, and other file systems mounted in it are not left out. A file that changes while
 * it is read is an error, since the layer would have neither of its contents.
 */
export async function readFolder(directory: string, { warn, signal }: ReadRootOptions): Promise<RootFiles> {
  const root = Buffer.from(directory);
  const entries: RootEntry[] = [];
  const linked = new Map<string, Linked>();
  const path = (name: Buffer) => Buffer.concat([root, slash, name]);

  const add = async (name: Buffer): Promise<void> => {
    if (entries.length >= limits.rootEntries) {
      throw new LadingError("limit-exceeded", `the folder has more than ${limits.rootEntries} files`, {
        limit: "rootEntries",
      });
    }
    if (isWhiteout(name)) {
      warn(`${name} is left out: in a layer this name would delete a file`);
      return;
    }
    const stats = await lstat(path(name));
    const common = { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
    if (stats.isDirectory()) {
      const folder = Buffer.concat([name, slash]);
      entries.push({ name: folder, type: "directory", ...common });
      await walk(folder);
    } else if (stats.isSymbolicLink()) {
      const linkName = await readlink(path(name), { encoding: "buffer" });
      entries.push({ name, type: "symlink", ...common, mode: 0o777, linkName });
    } else if (!stats.isFile()) {
      warn(`${name} is left out: it is a device, a FIFO or a socket`);
    } else if (stats.nlink > 1) {
      const key = `${stats.dev}:${stats.ino}`;
      const group = linked.get(key) ?? { names: [], stats };
      group.names.push(name);
      linked.set(key, group);
    } else {
      entries.push({ name, type: "file", ...common, size: stats.size, offset: 0 });
    }
  };
  const walk = async (folder: Buffer): Promise<void> => {
    throwIfAborted(signal);
    for (const name of await readdir(path(folder), { encoding: "buffer" })) await add(Buffer.concat([folder, name]));
  };

  try {
    await walk(Buffer.alloc(0));
  } catch (error) {
    throw notFoundOrIo(error, directory);
  }
  for (const { names, stats } of linked.values()) {
    const { file, links } = linkGroup(names);
    const common = { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
    entries.push({ name: file, type: "file", ...common, size: stats.size, offset: 0 });
    for (const name of links) entries.push({ name, type: "hardlink", ...common, linkName: file });
  }
  return { entries, read: (file) => readFile(path(file.name), file, signal), close: async () => {} };
}

async function* readFile(
  path: Buffer,
  { size }: RootFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let handle: Awaited<ReturnType<typeof open>> | null = null;
  try {
    // Not a link that took the file's place, and no FIFO to wait for.
    handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size !== size) throw new LadingError("io", `${path} changed while it was read`);
    for (let at = 0; at < size; ) {
      throwIfAborted(signal);
      const { bytesRead, buffer } = await handle.read(
        Buffer.allocUnsafe(Math.min(chunkSize, size - at)),
        0,
        undefined,
        at,
      );
      if (bytesRead === 0) throw new LadingError("io", `${path} changed while it was read`);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (error) {
    throw ioError(error, `reading ${path}`, { side: "source" });
  } finally {
    await handle?.close();
  }
}

function notFoundOrIo(error: unknown, directory: string): LadingError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new LadingError("not-found", `${directory} is no folder`, { side: "source", cause: error });
  }
  return ioError(error, `reading ${directory}`, { side: "source" });
}
