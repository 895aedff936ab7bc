import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import type { FileSystem } from "../../content/file-system.js";

/** What makes a folder durable now, and what will once that is over. */
interface FolderSync {
  readonly running: Promise<void>;
  next: Promise<void> | null;
}

const syncs = new WeakMap<FileSystem, Map<string, FolderSync>>();

/**
 * Makes the names in a folder durable: without it a power cut can undo a rename. Who asks while it is being done waits
 * for the next time, which serves all who asked meanwhile.
 */
export async function syncDirectory(fs: FileSystem, directory: string): Promise<void> {
  // Windows has no such call, and keeps its names in a journal
  if (process.platform === "win32") return;
  const folders = syncs.get(fs) ?? new Map<string, FolderSync>();
  syncs.set(fs, folders);
  const current = folders.get(directory);
  if (current === undefined) return await startSync(fs, folders, directory);
  current.next ??= current.running.then(
    () => startSync(fs, folders, directory),
    () => startSync(fs, folders, directory),
  );
  await current.next;
}

function startSync(fs: FileSystem, folders: Map<string, FolderSync>, directory: string): Promise<void> {
  const sync: FolderSync = {
    running: syncNow(fs, directory).finally(() => {
      if (sync.next === null) folders.delete(directory);
    }),
    next: null,
  };
  folders.set(directory, sync);
  return sync.running;
}

async function syncNow(fs: FileSystem, directory: string): Promise<void> {
  const handle = await fs.open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Folders that are being made, whose names are not durable yet. */
const makings = new WeakMap<FileSystem, Set<Promise<void>>>();

/** Makes a folder and those above it, and their names durable. */
export async function ensureDirectory(fs: FileSystem, directory: string, durable: boolean): Promise<void> {
  const running = makings.get(fs) ?? new Set<Promise<void>>();
  makings.set(fs, running);
  const making = makeDirectory(fs, directory, durable);
  running.add(making);
  try {
    await making;
  } finally {
    running.delete(making);
  }
}

async function makeDirectory(fs: FileSystem, directory: string, durable: boolean): Promise<void> {
  const first = await fs.mkdir(directory, { recursive: true, mode: 0o700 });
  if (first === undefined || !durable) return;
  for (let made = directory; made.length >= first.length; made = dirname(made)) await syncDirectory(fs, dirname(made));
}

/** Gives a file another name, in a folder that is made where it is missing. Nothing of it is durable yet. */
export async function moveFile(fs: FileSystem, from: string, path: string, durable: boolean): Promise<void> {
  try {
    await fs.rename(from, path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    await ensureDirectory(fs, dirname(path), durable);
    await fs.rename(from, path);
  }
}

/** Makes the name of a file durable, and the folder's where another task has just made it. */
export async function syncName(fs: FileSystem, path: string): Promise<void> {
  await Promise.all([syncDirectory(fs, dirname(path)), ...(makings.get(fs) ?? [])]);
}

/**
 * Puts a small file in place whole: a temporary one on the same file system, fsync, rename, fsync of the folder.
 * Nobody ever sees a part of it.
 * @param temporary The folder for the temporary file.
 */
export async function writeWhole(
  fs: FileSystem,
  path: string,
  bytes: Uint8Array,
  { temporary, durable, mode }: { readonly temporary: string; readonly durable: boolean; readonly mode?: number },
): Promise<void> {
  const draft = join(temporary, randomUUID());
  try {
    const handle = await fs.open(draft, "wx", mode ?? 0o644);
    try {
      await handle.writeFile(bytes);
      if (durable) await handle.sync();
    } finally {
      await handle.close();
    }
    await moveFile(fs, draft, path, durable);
  } catch (error) {
    await fs.rm(draft, { force: true }).catch(() => undefined);
    throw error;
  }
  if (durable) await syncName(fs, path);
}

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
